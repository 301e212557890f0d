"""Families: maps from a vector of unconstrained numbers to a distribution.

A family is the last step of every encoder (network, then family) and of every set of per-row variational parameters.
"""

from abc import abstractmethod
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tightbound.model.distributions import AbstractDistribution, DiagonalGaussian, FullGaussian

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
    """A parametric family of distributions over vectors of length `dim`."""

    dim: eqx.AbstractVar[int]
    distribution: eqx.AbstractClassVar[type[AbstractDistribution]]

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """How many unconstrained numbers make one member."""

    @abstractmethod
    def __call__(self, parameters: Float[Array, " m"]) -> AbstractDistribution:
        """The member with these parameters, shape (n_parameters,)."""


@final
class DiagonalGaussianFamily(AbstractFamily):
    """N(loc, diag(scale^2)) from 2 dim numbers."""

    dim: int = eqx.field(static=True)
    distribution = DiagonalGaussian

    @property
    def n_parameters(self) -> int:
        """2 dim."""
        return 2 * self.dim

    def __call__(self, parameters: Float[Array, " m"]) -> DiagonalGaussian:
        """First half: loc; second half: scale through softplus."""
        loc, raw = jnp.split(parameters, 2)
        return DiagonalGaussian(loc, positive(raw))


@final
class FullGaussianFamily(AbstractFamily):
    """N(loc, L L') from dim + dim (dim + 1) / 2 numbers."""

    dim: int = eqx.field(static=True)
    distribution = FullGaussian

    @property
    def n_parameters(self) -> int:
        """dim (dim + 3) / 2."""
        return self.dim * (self.dim + 3) // 2

    def __call__(self, parameters: Float[Array, " m"]) -> FullGaussian:
        """First dim numbers: loc; the rest: the lower triangle."""
        return FullGaussian(parameters[: self.dim], lower_triangle(parameters[self.dim :], self.dim))


FAMILIES: dict[str, type[AbstractFamily]] = {"diagonal": DiagonalGaussianFamily, "full": FullGaussianFamily}
