"""Families: maps from a vector of unconstrained numbers to a distribution.

A family is the last step of every encoder (network, then family) and of every set of per-row variational parameters.
"""

import dataclasses
from abc import abstractmethod
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model import axes
from tightbound.model.distributions import AbstractDistribution, Bernoulli, Categorical, DiagonalGaussian, FullGaussian
from tightbound.model.flows.bijections import (
    AbstractBijection,
    Affine,
    RationalQuadraticSpline,
    Transformed,
    autoregressive_flow,
    coupling_flow,
    planar_flow,
)
from tightbound.model.mixtures import GaussianMixture, Mixture

_SOFTPLUS_INVERSE_OF_ONE = 0.5413248546129181


def positive(raw: Array) -> Array:
    """softplus(raw + c), with c such that 0 maps to 1: a standard deviation that starts near the prior's."""
    return jax.nn.softplus(raw + _SOFTPLUS_INVERSE_OF_ONE)


def inverse_positive(value: Array) -> Array:
    """The raw number that `positive` maps to `value` (> 0)."""
    value = jnp.asarray(value)
    return value + jnp.log(-jnp.expm1(-value)) - _SOFTPLUS_INVERSE_OF_ONE


def lower_triangle(raw: Float[Array, " m"], dim: int) -> Float[Array, "d d"]:
    """Lower-triangular matrix with a positive diagonal from dim (dim + 1) / 2 numbers (the diagonal first)."""
    rows, columns = jnp.tril_indices(dim, -1)
    matrix = jnp.diag(positive(raw[:dim]))
    # 1/sqrt(dim): a triangle with entries of order one has an inverse that grows exponentially with dim.
    return matrix.at[rows, columns].set(raw[dim:] / dim**0.5)


class AbstractFamily(eqx.Module):
    """A parametric family of distributions over vectors of length `dim`.

    It may own arrays of its own that all members share (a flow's networks).
    """

    neutral: ClassVar[float] = 0.0
    """The mean from which a search may start: that of N(0, I), or of the uniform distribution of discrete ones."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of one draw."""

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """How many unconstrained numbers make one member."""

    @abstractmethod
    def __call__(self, parameters: Float[Array, " m"]) -> AbstractDistribution:
        """The member with these parameters, shape (n_parameters,)."""

    def mixture(self, logits: Float[Array, " c"], parameters: Float[Array, "c m"]) -> "GaussianMixture | Mixture":
        """The mixture of the members with these parameters."""
        return Mixture(logits, eqx.filter_vmap(self)(parameters))

    @abstractmethod
    def init_from_moments(self, mean: Float[Array, " d"], scale: Float[Array, " d"]) -> Float[Array, " m"]:
        """Parameters of a member with about this mean and standard deviation (probabilities, for discrete ones)."""

    def natural_direction(
        self, parameters: Float[Array, " m"], gradient: Float[Array, " m"]
    ) -> Float[Array, " m"] | None:
        """F^-1 gradient, F the Fisher information of a member in its parameters; None where that is not known."""
        del parameters, gradient
        return None


def first_parameters(family: AbstractFamily, dtype: str | None = None) -> Float[Array, " m"]:
    """Parameters of a member near N(0, I), or near the uniform one of a discrete family: where a search may start."""
    zero = jnp.zeros(family.dim, dtype)
    return family.init_from_moments(zero + family.neutral, jnp.ones_like(zero))


@final
class DiagonalGaussianFamily(AbstractFamily):
    """N(loc, diag(scale^2)) from 2 dim numbers."""

    size: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.size

    @property
    def n_parameters(self) -> int:
        """2 dim."""
        return 2 * self.dim

    def __call__(self, parameters: Float[Array, " m"]) -> DiagonalGaussian:
        """First half: loc; second half: scale through softplus."""
        loc, raw = jnp.split(parameters, 2)
        return DiagonalGaussian(loc, positive(raw))

    def mixture(self, logits: Float[Array, " c"], parameters: Float[Array, "c m"]) -> GaussianMixture:
        """With differentiable draws."""
        components = jax.vmap(self)(parameters)
        return GaussianMixture(logits, components.loc, components.scale)

    def init_from_moments(self, mean: Float[Array, " d"], scale: Float[Array, " d"]) -> Float[Array, " m"]:
        """Exactly these."""
        return jnp.concatenate([mean, inverse_positive(scale)])

    def natural_direction(self, parameters: Float[Array, " m"], gradient: Float[Array, " m"]) -> Float[Array, " m"]:
        """1 / s^2 for the location, 2 for log s."""
        return _diagonal_direction(parameters, gradient)


@final
class FullGaussianFamily(AbstractFamily):
    """N(loc, L L') from dim + dim (dim + 1) / 2 numbers."""

    size: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.size

    @property
    def n_parameters(self) -> int:
        """dim (dim + 3) / 2."""
        return self.dim * (self.dim + 3) // 2

    def __call__(self, parameters: Float[Array, " m"]) -> FullGaussian:
        """First dim numbers: loc; the rest: the lower triangle."""
        return FullGaussian(parameters[: self.dim], lower_triangle(parameters[self.dim :], self.dim))

    def init_from_moments(self, mean: Float[Array, " d"], scale: Float[Array, " d"]) -> Float[Array, " m"]:
        """Exactly these, without correlations."""
        return jnp.concatenate([mean, inverse_positive(scale), jnp.zeros(self.dim * (self.dim - 1) // 2, mean.dtype)])

    def natural_direction(self, parameters: Float[Array, " m"], gradient: Float[Array, " m"]) -> Float[Array, " m"]:
        """In the coordinates of the triangle."""
        return _full_direction(self.dim, parameters, gradient)


@final
class MixtureFamily(AbstractFamily):
    """sum_c pi_c component_c: logits of the weights, then the parameters of every component in turn."""

    component: AbstractFamily
    n_components: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.n_components < 1:
            raise ValueError(f"n_components must be at least 1; got {self.n_components}; 10 is usual.")

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.component.dim

    @property
    def n_parameters(self) -> int:
        """n_components (1 + numbers of a component)."""
        return self.n_components * (1 + self.component.n_parameters)

    def __call__(self, parameters: Float[Array, " m"]) -> GaussianMixture | Mixture:
        """The mixture; with differentiable draws when the components are diagonal Gaussians."""
        logits, rest = jnp.split(parameters, [self.n_components])
        return self.component.mixture(logits, rest.reshape(self.n_components, -1))

    def init_from_moments(self, mean: Float[Array, " d"], scale: Float[Array, " d"]) -> Float[Array, " m"]:
        """Components spread about the mean, by half a standard deviation: alike, they would stay alike."""
        noise = jax.random.normal(jax.random.key(0), (self.n_components, self.dim), mean.dtype)
        each = jax.vmap(lambda e: self.component.init_from_moments(mean + 0.5 * scale * e, 0.87 * scale))(noise)
        return jnp.concatenate([jnp.zeros(self.n_components, mean.dtype), each.ravel()])


@final
class FlowFamily(AbstractFamily):
    """A diagonal Gaussian carried through a bijection: 2 dim numbers for the Gaussian, then the bijection's context.

    The bijection's networks belong to the family and are shared by all rows; the numbers differ from row to row.
    """

    size: int = eqx.field(static=True)
    bijection: AbstractBijection

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.size

    @property
    def n_parameters(self) -> int:
        """2 dim + size of the context."""
        return 2 * self.dim + self.bijection.context_size

    def __call__(self, parameters: Float[Array, " m"]) -> Transformed:
        """Loc and raw scale of the base, then the context."""
        loc, raw, context = jnp.split(parameters, [self.dim, 2 * self.dim])
        return Transformed(DiagonalGaussian(loc, positive(raw)), self.bijection, context)

    def init_from_moments(self, mean: Float[Array, " d"], scale: Float[Array, " d"]) -> Float[Array, " m"]:
        """These for the base, with a context of zeros: exact while the bijection is the identity."""
        return jnp.concatenate([mean, inverse_positive(scale), jnp.zeros(self.bijection.context_size, mean.dtype)])

    def natural_direction(self, parameters: Float[Array, " m"], gradient: Float[Array, " m"]) -> Float[Array, " m"]:
        """The base's, for the KL of two members with one context is that of their bases."""
        size = 2 * self.dim
        base = _diagonal_direction(parameters[:size], gradient[:size])
        return jnp.concatenate([base, 0.1 * gradient[size:]])


@final
class BernoulliFamily(AbstractFamily):
    """Independent bits from their log-odds."""

    neutral: ClassVar[float] = 0.5
    size: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Number of bits."""
        return self.size

    @property
    def n_parameters(self) -> int:
        """dim."""
        return self.dim

    def __call__(self, parameters: Float[Array, " m"]) -> Bernoulli:
        """Log-odds."""
        return Bernoulli(parameters)

    def init_from_moments(self, mean: Float[Array, " d"], scale: Float[Array, " d"]) -> Float[Array, " m"]:
        """Log-odds of the mean, at most 1 - 1e-4 sure."""
        p = jnp.clip(mean, 1e-4, 1 - 1e-4)
        return jnp.log(p) - jnp.log1p(-p)


@final
class CategoricalFamily(AbstractFamily):
    """Independent variables of n_levels levels each, as one-hot codes."""

    neutral: ClassVar[float] = 1.0
    n_variables: int = eqx.field(static=True)
    n_levels: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.n_levels < 2:
            raise ValueError(f"n_levels must be at least 2; got {self.n_levels}; 10 is usual.")

    @property
    def dim(self) -> int:
        """n_variables times n_levels."""
        return self.n_variables * self.n_levels

    @property
    def n_parameters(self) -> int:
        """dim."""
        return self.dim

    def __call__(self, parameters: Float[Array, " m"]) -> Categorical:
        """Logits, variable by variable."""
        return Categorical(parameters.reshape(self.n_variables, self.n_levels))

    def init_from_moments(self, mean: Float[Array, " d"], scale: Float[Array, " d"]) -> Float[Array, " m"]:
        """Log probabilities, none below 1e-4."""
        return jnp.log(jnp.maximum(mean, 1e-4))


def _scale_and_slope(raw: Array) -> tuple[Array, Array]:
    """positive(raw) and its derivative."""
    return jax.jvp(positive, (raw,), (jnp.ones_like(raw),))


def _diagonal_direction(parameters: Array, gradient: Array) -> Array:
    # Fisher information: 1 / s^2 for the location, 2 for log s.
    _, raw = jnp.split(parameters, 2)
    g_loc, g_raw = jnp.split(gradient, 2)
    scale, slope = _scale_and_slope(raw)
    return jnp.concatenate([scale**2 * g_loc, 0.5 * (scale / slope) ** 2 * g_raw])


def _full_direction(d: int, parameters: Array, gradient: Array) -> Array:
    # In the coordinates L (I + A), A lower triangular, the Fisher information of A at 0 is 2 on the diagonal, else 1.
    rows, columns = jnp.tril_indices(d, -1)
    tril = lower_triangle(parameters[d:], d)
    _, slope = _scale_and_slope(parameters[d : 2 * d])
    wrt_tril = jnp.diag(gradient[d : 2 * d] / slope).at[rows, columns].set(gradient[2 * d :] * d**0.5)
    a = jnp.tril(tril.T @ wrt_tril)
    change = tril @ (a - 0.5 * jnp.diag(jnp.diagonal(a)))
    loc = tril @ (tril.T @ gradient[:d])
    return jnp.concatenate([loc, jnp.diagonal(change) / slope, change[rows, columns] * d**0.5])


POSTERIORS = tuple(each.word for each in axes.posteriors.MEMBERS)


@final
@dataclasses.dataclass(frozen=True)
class Making:
    """What a family or a prior is made for, whatever it is."""

    dim: int
    """Length of z; of discrete latents the number of variables."""
    key: PRNGKeyArray
    """Draws the weights of a flow's networks."""
    dtype: str | None = None
    flow_sizes: tuple[int, ...] = (64,)
    """Widths of the networks inside a flow."""
    context_size: int = 16
    """Numbers that the encoder hands to a flow's networks."""
    density_first: bool = False
    """Make autoregressive flows fast for log_prob (a prior's need) and not for draws (a posterior's)."""
    pseudo_inputs: Float[Array, "c d"] | None = None
    """Where those of a VampPrior start."""

    def flow(self, n_layers: int) -> dict[str, Any]:
        """What a flow with networks is made with."""
        return {"n_layers": n_layers, "hidden_sizes": self.flow_sizes, "dtype": self.dtype, "key": self.key}


def diagonal(making: Making) -> AbstractFamily:
    """Gaussians with independent latents."""
    return DiagonalGaussianFamily(making.dim)


def full(making: Making) -> AbstractFamily:
    """Gaussians with a full covariance."""
    return FullGaussianFamily(making.dim)


def mixture(making: Making, *, n_components: int) -> AbstractFamily:
    """Mixtures of diagonal Gaussians."""
    return MixtureFamily(DiagonalGaussianFamily(making.dim), n_components)


def planar(making: Making, *, flow_layers: int) -> AbstractFamily:
    """Planar flows, whose numbers belong to the row."""
    return FlowFamily(making.dim, planar_flow(making.dim, flow_layers))


def iaf(making: Making, *, flow_layers: int) -> AbstractFamily:
    """Autoregressive flows."""
    options = {**making.flow(flow_layers), "transformer": Affine(), "inverted": making.density_first}
    return FlowFamily(making.dim, autoregressive_flow(making.dim, making.context_size, **options))


def coupling(making: Making, *, flow_layers: int) -> AbstractFamily:
    """Flows of affine couplings."""
    options = {**making.flow(flow_layers), "transformer": Affine()}
    return FlowFamily(making.dim, coupling_flow(making.dim, making.context_size, **options))


def spline(making: Making, *, flow_layers: int) -> AbstractFamily:
    """Flows of rational-quadratic splines."""
    options = {**making.flow(flow_layers), "transformer": RationalQuadraticSpline()}
    return FlowFamily(making.dim, coupling_flow(making.dim, making.context_size, **options))


def bernoulli(making: Making) -> AbstractFamily:
    """Independent bits."""
    return BernoulliFamily(making.dim)


def categorical(making: Making, *, n_levels: int = 10) -> AbstractFamily:
    """Independent categories."""
    return CategoricalFamily(making.dim, n_levels)


def make_family(posterior: Any, dim: int, *, key: PRNGKeyArray, **making: Any) -> AbstractFamily:
    """The family that a member of the axis, or its word, stands for.

    Args:
        posterior: `posteriors.Mixture(n_components=5)`, say, or "mixture(n_components=5)".
        dim: length of z (of discrete latents: number of variables).
        key: draws the weights of a flow's networks.
        making: further fields of `Making`.
    """
    return made(axes.as_member("posterior", posterior), Making(dim, key, **making))


def made(member: Any, making: Making) -> Any:
    """What a member's maker, or the user's own, makes."""
    if isinstance(member, axes.Own):
        return cast(member.value(making.dim, key=making.key), making.dtype)
    return axes.maker(member.home)(making, **member.get_params())


def cast(made: Any, dtype: str | None) -> Any:
    """With every array in that precision: what a user makes comes in the precision of the process."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if dtype and eqx.is_inexact_array(leaf) else leaf, made)
