"""Masked networks, whose i-th outputs see only the inputs before the i-th, and maps of one number that they feed."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.distributions import Latent
from tightbound.model.networks.dense import ACTIVATIONS, MLP, Linear

Raw = Float[Array, "k p"]

_MAX_LOG_SCALE = 3.0
_MIN_BIN = 1e-3  # of the spline's interval
_MIN_SLOPE = 1e-3


class AbstractTransformer(eqx.Module):
    """A monotone map of the line for every dimension, z_i = t(u_i; raw_i); raw_i = 0 is the identity."""

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """How many unconstrained numbers one dimension takes."""

    @abstractmethod
    def forward(self, u: Latent, raw: Raw) -> tuple[Latent, Latent]:
        """z and log(dz_i/du_i), each of shape (k,), with raw of shape (k, n_parameters)."""

    @abstractmethod
    def inverse(self, z: Latent, raw: Raw) -> tuple[Latent, Latent]:
        """u and log(du_i/dz_i), each of shape (k,)."""


@final
class Affine(AbstractTransformer):
    """z = exp(s) u + m with s = 3 tanh(raw_0 / 3), m = raw_1 (Dinh et al., 2017, with a softly bounded log scale).

    The bound |s| < 3 keeps a deep chain from exploding at the start of training.
    """

    @property
    def n_parameters(self) -> int:
        """Two: log scale and shift."""
        return 2

    def forward(self, u: Latent, raw: Raw) -> tuple[Latent, Latent]:
        """exp(s) u + m, s."""
        s = self._log_scale(raw)
        return jnp.exp(s) * u + raw[:, 1], s

    def inverse(self, z: Latent, raw: Raw) -> tuple[Latent, Latent]:
        """(z - m) exp(-s), -s."""
        s = self._log_scale(raw)
        return (z - raw[:, 1]) * jnp.exp(-s), -s

    def _log_scale(self, raw: Raw) -> Latent:
        return _MAX_LOG_SCALE * jnp.tanh(raw[:, 0] / _MAX_LOG_SCALE)


@final
class RationalQuadraticSpline(AbstractTransformer):
    """Monotone rational-quadratic spline on [-limit, limit], the identity outside (Durkan et al., 2019, section 3.1).

    Raw numbers of one dimension: n_bins widths and n_bins heights (softmax), n_bins - 1 inner slopes (softplus); the
    slope at both ends is 1. No bin is smaller than 0.001 of the interval and no inner slope smaller than 0.001.

    Example: `RationalQuadraticSpline(8, limit=5.0).n_parameters == 23`.
    """

    n_bins: int = eqx.field(static=True, default=8)
    limit: float = eqx.field(static=True, default=5.0)

    def __check_init__(self) -> None:
        if not 1 <= self.n_bins < 1 / _MIN_BIN:
            raise ValueError(f"n_bins must be from 1 to 999; got {self.n_bins}; 8 is a good choice.")
        if not 0 < self.limit < math.inf:
            raise ValueError(f"limit must be positive and finite; got {self.limit}; 5.0 is a good choice.")

    @property
    def n_parameters(self) -> int:
        """3 n_bins - 1."""
        return 3 * self.n_bins - 1

    def forward(self, u: Latent, raw: Raw) -> tuple[Latent, Latent]:
        """Equations 4 and 5 of the paper inside the interval; u and 0 outside."""
        inside = jnp.abs(u) < self.limit
        safe = jnp.where(inside, u, 0)  # first of the two `where`s that keep gradients outside the interval finite
        x, y, slopes = self._knots(raw)
        x_k, width, y_k, height, d_k, d_next = _bin(safe, x, (x, y), slopes)
        s = height / width
        xi = _within_one((safe - x_k) / width)
        z = y_k + height * (s * xi**2 + d_k * xi * (1 - xi)) / _denominator(xi, s, d_k, d_next)
        return jnp.where(inside, z, u), jnp.where(inside, _log_slope(xi, s, d_k, d_next), 0)

    def inverse(self, z: Latent, raw: Raw) -> tuple[Latent, Latent]:
        """Equations 6 to 8: the root of a quadratic, in the form without cancellation."""
        inside = jnp.abs(z) < self.limit
        safe = jnp.where(inside, z, 0)
        x, y, slopes = self._knots(raw)
        x_k, width, y_k, height, d_k, d_next = _bin(safe, y, (x, y), slopes)
        s = height / width
        rise = safe - y_k
        bend = rise * (d_next + d_k - 2 * s)
        a, b, c = height * (s - d_k) + bend, height * d_k - bend, -s * rise
        # The discriminant is positive but for rounding; at the floor its root has a finite gradient.
        root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, np.finfo(z.dtype).tiny))
        xi = _within_one(2 * c / (-b - root))
        return jnp.where(inside, x_k + width * xi, z), jnp.where(inside, -_log_slope(xi, s, d_k, d_next), 0)

    def _knots(self, raw: Raw) -> tuple[Array, Array, Array]:
        """Knots x, y and slopes there, each of shape (k, n_bins + 1)."""
        n = self.n_bins
        # softplus(offset) = 1 - _MIN_SLOPE: a raw number of 0 is a slope of 1.
        inner = _MIN_SLOPE + jax.nn.softplus(raw[:, 2 * n :] + math.log(math.expm1(1 - _MIN_SLOPE)))
        return self._edges(raw[:, :n]), self._edges(raw[:, n : 2 * n]), _padded(inner, 1.0, 1.0)

    def _edges(self, raw: Float[Array, "k n"]) -> Float[Array, "k m"]:
        fractions = _MIN_BIN + (1 - _MIN_BIN * self.n_bins) * jax.nn.softmax(raw, axis=-1)
        inner = self.limit * (2 * jnp.cumsum(fractions, axis=-1)[:, :-1] - 1)
        return _padded(inner, -self.limit, self.limit)


def _padded(inner: Float[Array, "k n"], first: float, last: float) -> Float[Array, "k m"]:
    """`inner` with a constant column at either end."""
    column = jnp.ones((inner.shape[0], 1), inner.dtype)
    return jnp.concatenate([first * column, inner, last * column], axis=-1)


def _bin(value: Latent, edges: Array, knots: tuple[Array, Array], slopes: Array) -> tuple[Latent, ...]:
    """x_k, width, y_k, height and both slopes of the bin between `edges` in which each value lies."""
    index = jnp.sum(value[:, None] >= edges[:, 1:-1], axis=-1)
    here = index[:, None] == jnp.arange(edges.shape[-1] - 1)[None, :]

    def pick(table: Array) -> Latent:  # a masked sum: the gradient of a gather is a slow scatter
        return jnp.sum(jnp.where(here, table, 0), axis=-1)

    x, y = knots
    sizes = (pick(x[:, :-1]), pick(jnp.diff(x)), pick(y[:, :-1]), pick(jnp.diff(y)))
    return (*sizes, pick(slopes[:, :-1]), pick(slopes[:, 1:]))


def _within_one(xi: Latent) -> Latent:
    # Rounding may leave the bin, and logs of negative numbers be taken. No `clip`: it halves the gradient at a knot.
    return jnp.where(xi < 0, 0, jnp.where(xi > 1, 1, xi))


def _denominator(xi: Latent, s: Latent, d_k: Latent, d_next: Latent) -> Latent:
    """s + (d_next + d_k - 2 s) xi (1 - xi), as a sum of positive terms."""
    rest = xi * (1 - xi)
    return s * (1 - 2 * rest) + (d_next + d_k) * rest


def _log_slope(xi: Latent, s: Latent, d_k: Latent, d_next: Latent) -> Latent:
    """Log of equation 5 of Durkan et al. (2019)."""
    numerator = d_next * xi**2 + 2 * s * xi * (1 - xi) + d_k * (1 - xi) ** 2
    return 2 * jnp.log(s) + jnp.log(numerator) - 2 * jnp.log(_denominator(xi, s, d_k, d_next))


_Degrees = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]


@final
class MaskedMLP(eqx.Module):
    """MADE (Germain et al., 2015): (x, context) -> (dim, n_outputs), row i a function of x_before(i) and the context.

    h <- activation((M * W) h + b), where M is 1 where degree(out) >= degree(in) (> in the last layer) and else 0.
    The degree of an input is its place in `order` (1 for the first), that of the context 0; those of hidden units are
    spread evenly. `order[k]` is the input that comes k-th. Masked weights get no gradient and may hold anything.

    Example: `MaskedMLP(784, 0, (500,), 1, key=key)(x, jnp.zeros(0))` are the log-odds of an image, pixel by pixel.
    """

    layers: tuple[Linear, ...]
    activation: str = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    context_size: int = eqx.field(static=True)
    n_outputs: int = eqx.field(static=True)
    order: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        context_size: int,
        hidden_sizes: Sequence[int],
        n_outputs: int,
        *,
        order: Sequence[int] | None = None,
        activation: str = "silu",
        zero_start: bool = False,
        dtype: str | None = None,
        key: PRNGKeyArray,
    ):
        """Draw the weights: Gaussian with variance 1/(unmasked fan-in); `zero_start`: the last layer is zero."""
        self.order = checked_order(range(dim) if order is None else order, dim)
        self.dim = dim
        self.context_size = context_size
        self.n_outputs = n_outputs
        self.activation = activation
        sizes = (dim + context_size, dim * n_outputs, hidden_sizes)
        mlp = MLP(*sizes, activation=activation, residual=False, dtype=dtype, key=key)
        masks = self._masks([layer.weight.shape[1] for layer in mlp.layers[:-1]])
        layers = [_rescaled(layer, mask) for layer, mask in zip(mlp.layers, masks, strict=True)]
        self.layers = (*layers[:-1], zeroed(layers[-1]) if zero_start else layers[-1])

    def __call__(self, x: Float[Array, " k"], context: Float[Array, " c"]) -> Float[Array, "k n"]:
        """Map one vector and its context (of length 0 where there is none)."""
        masks = self._masks([layer.weight.shape[1] for layer in self.layers[:-1]])
        activation = ACTIVATIONS[self.activation]
        h = jnp.concatenate([x, context])
        for layer, mask in zip(self.layers[:-1], masks[:-1], strict=True):
            h = activation(_masked(layer, mask, h))
        return _masked(self.layers[-1], masks[-1], h).reshape(self.dim, self.n_outputs)

    def _masks(self, hidden_sizes: Sequence[int]) -> list[_Mask]:
        """Masks of shape (in, out), computed while tracing: constants, and no leaves that an optimiser would train."""
        place = np.argsort(self.order) + 1
        degrees = [np.concatenate([place, np.zeros(self.context_size, np.int64)])]
        degrees += [self._hidden_degrees(size) for size in hidden_sizes]
        masks = [after[None, :] >= before[:, None] for before, after in pairwise(degrees)]
        return [*masks, np.repeat(place, self.n_outputs)[None, :] > degrees[-1][:, None]]

    def _hidden_degrees(self, size: int) -> _Degrees:
        # Degree 0 sees the context alone: of use only where there is one (or where there is nothing else to see).
        lowest = 0 if self.context_size or self.dim == 1 else 1
        return lowest + np.arange(size) * (self.dim - lowest) // size


def checked_order(order: Sequence[int], dim: int) -> tuple[int, ...]:
    """`order` as a tuple; raises `ValueError` unless it holds each of 0, ..., dim - 1 once."""
    order = tuple(int(i) for i in order)
    if sorted(order) != list(range(dim)):
        raise ValueError(
            f"order must hold each of the numbers 0 to {dim - 1} once; got {order}; "
            "write a permutation of them, or leave it out for the natural order."
        )
    return order


def zeroed(layer: Linear) -> Linear:
    """The layer with weight and bias 0: what it feeds starts at its neutral value."""
    zeros = (jnp.zeros_like(layer.weight), jnp.zeros_like(layer.bias))
    return eqx.tree_at(lambda linear: (linear.weight, linear.bias), layer, zeros)


def _rescaled(layer: Linear, mask: _Mask) -> Linear:
    # Variance 1/(number of inputs) was drawn for all of them; a unit that sees fewer gets larger weights.
    factor = np.sqrt(mask.shape[0] / np.maximum(mask.sum(axis=0), 1))
    weight = layer.weight * jnp.asarray(np.where(mask, factor[None, :], 0), layer.weight.dtype)
    return eqx.tree_at(lambda linear: linear.weight, layer, weight)


def _masked(layer: Linear, mask: _Mask, x: Float[Array, " i"]) -> Float[Array, " o"]:
    return x @ jnp.where(mask, layer.weight, 0) + layer.bias
