"""Masked network: an MLP whose i-th row of outputs sees only the inputs before the i-th (autoregressive models)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.networks.dense import ACTIVATIONS, MLP
from tightbound.model.networks.output import Linear

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
