"""Bijections: differentiable one-to-one maps of one vector, from which flows are built.

`forward` draws (u from the base to z), `inverse` evaluates densities. Which of the two is one pass of the network and
which takes `dim` passes is what tells the autoregressive flows apart; coupling layers are quick both ways.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.distributions import AbstractDistribution, DiagonalGaussian, Latent, Mask, Scalar, Vector
from tightbound.model.flows.masked import AbstractTransformer, Affine, MaskedMLP, RationalQuadraticSpline
from tightbound.model.networks.dense import MLP, Network

__all__ = [
    "AbstractBijection",
    "AbstractTransformer",
    "Affine",
    "Autoregressive",
    "Chain",
    "Coupling",
    "Inverted",
    "Planar",
    "RationalQuadraticSpline",
    "autoregressive_flow",
    "coupling",
    "coupling_flow",
    "planar_flow",
]

Context = Float[Array, " c"]

_MIN_SLOPE = 1e-3
_SOFTPLUS_INVERSE_OF_ONE = math.log(math.expm1(1))


class AbstractBijection(eqx.Module):
    """A differentiable one-to-one map z = T(u; context) of R^d."""

    @property
    @abstractmethod
    def context_size(self) -> int:
        """How many numbers of context it needs (0: none; then it takes and ignores any)."""

    @abstractmethod
    def forward(self, u: Latent, context: Context) -> tuple[Latent, Scalar]:
        """z = T(u; context) and log |det dz/du|."""

    @abstractmethod
    def inverse(self, z: Latent, context: Context) -> tuple[Latent, Scalar]:
        """u with T(u; context) = z, and log |det du/dz|."""


@final
class Coupling(AbstractBijection):
    """z_kept = u_kept, z_moved = t(u_moved; network(u_kept, context)) (Dinh et al., 2017).

    The even dimensions are kept and the odd ones moved, or with `flip` the other way round. One pass either way.

    Raises `ValueError` for fewer than two dimensions, and when the network's output has another length than needed.
    """

    network: Network
    transformer: AbstractTransformer
    dim: int = eqx.field(static=True)
    n_context: int = eqx.field(static=True)
    flip: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        if self.dim < 2:
            raise ValueError(
                f"A coupling flow must have a dimension of at least 2; got {self.dim}; "
                "use an autoregressive flow (posterior='iaf'), or more latent dimensions."
            )

    @property
    def context_size(self) -> int:
        """n_context."""
        return self.n_context

    def forward(self, u: Latent, context: Context) -> tuple[Latent, Scalar]:
        """z and the sum of the moved dimensions' log slopes."""
        moved = slice(0 if self.flip else 1, None, 2)
        z, log_det = self.transformer.forward(u[moved], self._raw(u, context))
        return u.at[moved].set(z), jnp.sum(log_det)

    def inverse(self, z: Latent, context: Context) -> tuple[Latent, Scalar]:
        """u and minus that sum: the kept half is the same on both sides."""
        moved = slice(0 if self.flip else 1, None, 2)
        u, log_det = self.transformer.inverse(z[moved], self._raw(z, context))
        return z.at[moved].set(u), jnp.sum(log_det)

    def _raw(self, vector: Latent, context: Context) -> Float[Array, "m p"]:
        kept = vector[int(self.flip) :: 2]
        raw = self.network(jnp.concatenate([kept, context]))
        rows, columns = self.dim - kept.shape[0], self.transformer.n_parameters
        if raw.shape != (rows * columns,):
            raise ValueError(
                f"The coupling's network must return {rows * columns} numbers ({columns} for each moved dimension); "
                f"it returned an array of shape {raw.shape}; change the size of its last layer."
            )
        return raw.reshape(rows, columns)


@final
class Autoregressive(AbstractBijection):
    """z_i = t(u_i; network_i(u_before(i), context)): inverse autoregressive flow (Kingma et al., 2016).

    Forward is one pass of the network; the inverse takes `dim` passes, one dimension after the other.
    """

    network: MaskedMLP
    transformer: AbstractTransformer

    def __check_init__(self) -> None:
        if self.network.n_outputs != self.transformer.n_parameters:
            raise ValueError(
                f"The network's n_outputs must be {self.transformer.n_parameters} for a "
                f"{type(self.transformer).__name__}; got {self.network.n_outputs}; "
                "build it with n_outputs=transformer.n_parameters."
            )

    @property
    def context_size(self) -> int:
        """The network's."""
        return self.network.context_size

    def forward(self, u: Latent, context: Context) -> tuple[Latent, Scalar]:
        """z and the sum of log slopes: dz/du is triangular in the network's order."""
        z, log_det = self.transformer.forward(u, self.network(u, context))
        return z, jnp.sum(log_det)

    def inverse(self, z: Latent, context: Context) -> tuple[Latent, Scalar]:
        """u and minus that sum, dimension by dimension in the network's order."""

        def step(carry: tuple[Latent, Latent], now: Array) -> tuple[tuple[Latent, Latent], None]:
            # Dimensions still to come stay 0: numbers that are not yet meant could overflow on the way.
            found = self.transformer.inverse(z, self.network(carry[0], context))
            return (jnp.where(now, found[0], carry[0]), jnp.where(now, found[1], carry[1])), None

        turns = jnp.asarray(np.eye(self.network.dim, dtype=bool)[np.array(self.network.order)])
        (u, log_det), _ = jax.lax.scan(step, (jnp.zeros_like(z), jnp.zeros_like(z)), turns)
        return u, jnp.sum(log_det)


@final
class Inverted(AbstractBijection):
    """T^-1 in the place of T.

    `Inverted(Autoregressive(...))` is a masked autoregressive flow (Papamakarios et al., 2017): density in one pass.
    """

    bijection: AbstractBijection

    @property
    def context_size(self) -> int:
        """That of the bijection."""
        return self.bijection.context_size

    def forward(self, u: Latent, context: Context) -> tuple[Latent, Scalar]:
        """The bijection's inverse."""
        return self.bijection.inverse(u, context)

    def inverse(self, z: Latent, context: Context) -> tuple[Latent, Scalar]:
        """The bijection's forward."""
        return self.bijection.forward(z, context)


@final
class Planar(AbstractBijection):
    """z = u + v tanh(w'u + b), with (v, w, b) made from the 2 dim + 1 numbers of context (Rezende and Mohamed, 2015).

    w is the raw one plus (1, ..., 1)/sqrt(dim), so that context 0 has a gradient; v is moved along w until w'v > -1
    (appendix A.1 of the paper, with softplus shifted such that v = 0 stays 0): context 0 is the identity.
    The slope along w is at least 0.001.
    """

    dim: int = eqx.field(static=True)

    @property
    def context_size(self) -> int:
        """2 dim + 1."""
        return 2 * self.dim + 1

    def forward(self, u: Latent, context: Context) -> tuple[Latent, Scalar]:
        """z and log(1 + w'v (1 - tanh^2(w'u + b)))."""
        v, w, b, wv = self._parameters(context)
        t = jnp.tanh(w @ u + b)
        return u + v * t, jnp.log1p(wv * (1 - t**2))

    def inverse(self, z: Latent, context: Context) -> tuple[Latent, Scalar]:
        """Solve a + w'v tanh(a + b) = w'z for a = w'u; then u = z - v tanh(a + b)."""
        v, w, b, wv = self._parameters(context)
        t = jnp.tanh(_solve_planar(w @ z, wv, b) + b)
        return z - v * t, -jnp.log1p(wv * (1 - t**2))

    def _parameters(self, context: Context) -> tuple[Latent, Latent, Scalar, Scalar]:
        """v, w, b and w'v."""
        raw, w, b = context[: self.dim], context[self.dim : -1] + self.dim**-0.5, context[-1]
        before = w @ raw
        wv = (1 - _MIN_SLOPE) * (jax.nn.softplus(before + _SOFTPLUS_INVERSE_OF_ONE) - 1)
        square = jnp.maximum(w @ w, np.finfo(w.dtype).eps)
        return raw + (wv - before) / square * w, w, b, wv


@final
class Chain(AbstractBijection):
    """z = T_n(... T_1(u)): the members in order, the first applied first; log-determinants add up.

    All members see the same context, or with `split_context` each its own slice of it, in order.

    Raises `ValueError` when members that share a context need different numbers of it.
    """

    bijections: tuple[AbstractBijection, ...]
    split_context: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        sizes = [bijection.context_size for bijection in self.bijections]
        if not self.split_context and len({size for size in sizes if size}) > 1:
            raise ValueError(
                f"Members of a chain that share their context must need equally many numbers of it; got {sizes}; "
                "use split_context=True to give each its own."
            )

    @property
    def context_size(self) -> int:
        """The members' common size, or with `split_context` the sum of their sizes."""
        sizes = [bijection.context_size for bijection in self.bijections]
        return sum(sizes) if self.split_context else max(sizes, default=0)

    def forward(self, u: Latent, context: Context) -> tuple[Latent, Scalar]:
        """Through all members, first to last."""
        total = jnp.zeros((), u.dtype)
        for bijection, own in zip(self.bijections, self._contexts(context), strict=True):
            u, log_det = bijection.forward(u, own)
            total = total + log_det
        return u, total

    def inverse(self, z: Latent, context: Context) -> tuple[Latent, Scalar]:
        """Back through all members, last to first."""
        total = jnp.zeros((), z.dtype)
        for bijection, own in zip(self.bijections[::-1], self._contexts(context)[::-1], strict=True):
            z, log_det = bijection.inverse(z, own)
            total = total + log_det
        return z, total

    def _contexts(self, context: Context) -> list[Array]:
        if not self.split_context:
            return [context] * len(self.bijections)
        ends = np.cumsum([bijection.context_size for bijection in self.bijections])
        return [context[end - b.context_size : end] for b, end in zip(self.bijections, ends, strict=True)]


def coupling(
    dim: int,
    context_size: int,
    hidden_sizes: Sequence[int],
    transformer: AbstractTransformer,
    flip: bool = False,
    *,
    dtype: str | None = None,
    key: PRNGKeyArray,
) -> Coupling:
    """One coupling layer with an MLP whose last layer is zero: it starts as the identity."""
    n_kept = dim // 2 if flip else (dim + 1) // 2
    n_outputs = (dim - n_kept) * transformer.n_parameters
    network = MLP(n_kept + context_size, n_outputs, hidden_sizes, dtype=dtype, key=key)
    network = network.with_output(network.output.begun(np.zeros(n_outputs), np.zeros(n_outputs)))
    return Coupling(network, transformer, dim, context_size, flip)


def coupling_flow(
    dim: int,
    context_size: int,
    *,
    n_layers: int,
    hidden_sizes: Sequence[int],
    transformer: AbstractTransformer,
    dtype: str | None = None,
    key: PRNGKeyArray,
) -> Chain:
    """`n_layers` coupling layers that move the odd and the even dimensions in turn (Dinh et al., 2017).

    Starts as the identity. With one layer the even dimensions are never moved: take two or more.
    """
    keys = jax.random.split(key, _checked_layers(n_layers))
    layers = [
        coupling(dim, context_size, hidden_sizes, transformer, i % 2 == 1, dtype=dtype, key=k)
        for i, k in enumerate(keys)
    ]
    return Chain(tuple(layers))


def autoregressive_flow(
    dim: int,
    context_size: int,
    *,
    n_layers: int,
    hidden_sizes: Sequence[int],
    transformer: AbstractTransformer,
    inverted: bool = False,
    dtype: str | None = None,
    key: PRNGKeyArray,
) -> Chain:
    """`n_layers` autoregressive layers with the order of dimensions reversed between them; starts as the identity.

    Draws take one pass (inverse autoregressive flow; Kingma et al., 2016), or with `inverted` densities do (masked
    autoregressive flow; Papamakarios et al., 2017); the other direction takes `dim` passes a layer.
    """
    members: list[AbstractBijection] = []
    sizes = (dim, context_size, hidden_sizes, transformer.n_parameters)
    for i, k in enumerate(jax.random.split(key, _checked_layers(n_layers))):
        # The order turns about, not the dimensions: the flow starts as the identity whatever its depth.
        order = tuple(range(dim))[:: -1 if i % 2 else 1]
        layer = Autoregressive(MaskedMLP(*sizes, order=order, zero_start=True, dtype=dtype, key=k), transformer)
        members.append(Inverted(layer) if inverted else layer)
    return Chain(tuple(members))


def planar_flow(dim: int, n_layers: int) -> Chain:
    """`n_layers` planar layers, each with its own 2 dim + 1 numbers of context (Rezende and Mohamed, 2015)."""
    return Chain((Planar(dim),) * _checked_layers(n_layers), split_context=True)


def _checked_layers(n_layers: int) -> int:
    if n_layers < 1:
        raise ValueError(f"n_layers must be at least 1; got {n_layers}; leave the flow out to have none.")
    return n_layers


def _solve_planar(target: Scalar, wv: Scalar, b: Scalar) -> Scalar:
    """The a with a + wv tanh(a + b) = target, for wv > -1: bisection, then two Newton steps.

    The bisection has no gradient; the Newton steps from its end have those of the implicit function, to third order.
    """
    goal, rise, shift = jax.lax.stop_gradient((target, wv, b))

    def halve(_: Array, bracket: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = bracket
        middle = low + (high - low) / 2
        below = middle + rise * jnp.tanh(middle + shift) < goal
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    reach = jnp.abs(rise)
    low, high = jax.lax.fori_loop(0, np.finfo(goal.dtype).nmant + 4, halve, (goal - reach, goal + reach))
    a = low + (high - low) / 2
    for _ in range(2):
        t = jnp.tanh(a + b)
        a = a - (a + wv * t - target) / (1 + wv * (1 - t**2))
    return a


_MOMENT_DRAWS = 128


@final
class Transformed(AbstractDistribution):
    """z = T(u; context) with u ~ base: log q(z) = log base(u) - log |det dz/du|.

    Source: Rezende and Mohamed (2015); Papamakarios et al. (2021).
    """

    reparameterised: ClassVar[bool] = True
    base: DiagonalGaussian
    bijection: AbstractBijection
    context: Float[Array, " c"]

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.base.dim

    @property
    def mean(self) -> Vector:
        """E[z] by 256 fixed draws in antithetic pairs: a flow's moments have no closed form."""
        return jnp.mean(self._fixed_draws(), axis=0)

    @property
    def variance(self) -> Vector:
        """Var[z_j] by the draws of `mean`."""
        return jnp.var(self._fixed_draws(), axis=0)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """T(u) for one draw u of the base."""
        return self.bijection.forward(self.base.sample(key=key), self.context)[0]

    def sample_and_log_prob(self, *, key: PRNGKeyArray) -> tuple[Latent, Scalar]:
        """One draw and its log density, from one pass (log_prob would have to invert the flow)."""
        u = self.base.sample(key=key)
        z, log_det = self.bijection.forward(u, self.context)
        return z, self.base.log_prob(u) - log_det

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """log base(T^-1(x)) + log |det dT^-1/dx|; the vector is seen as a whole (`observed` is None)."""
        del observed
        u, log_det = self.bijection.inverse(x, self.context)
        return self.base.log_prob(u) + log_det

    def _fixed_draws(self) -> Float[Array, "s d"]:
        epsilon = jax.random.normal(jax.random.key(0), (_MOMENT_DRAWS, self.dim), self.base.loc.dtype)
        both = jnp.concatenate([epsilon, -epsilon])
        u = self.base.loc[None, :] + self.base.scale[None, :] * both
        return jax.vmap(lambda u: self.bijection.forward(u, self.context)[0])(u)
