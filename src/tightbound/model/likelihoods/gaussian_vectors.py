"""Gaussian rows: joint densities with scales shared or from z, diagonal, low-rank or full covariances."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.distributions import DiagonalGaussian, FullGaussian, LowRankGaussian, Vector
from tightbound.model.families import inverse_positive, lower_triangle, positive
from tightbound.model.likelihoods.heads import AbstractHead, Modelled

# A Gaussian density has no upper limit where a column repeats a value, so every standard deviation stays above a
# floor: scale = floor + softplus(raw). `floor` is data, not a parameter; gradients through it are stopped.


@final
class FixedScaleGaussianHead(AbstractHead):
    """N(network(z), scale^2) with learned scales that do not depend on z: one in all, or one a feature.

    `raw_scale` has shape () for covariance "shared" and (dim,) for "feature".
    """

    raw_scale: Float[Array, "..."]
    floor: Float[Array, " d"]

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.floor.shape[0]

    @property
    def n_inputs(self) -> int:
        """dim."""
        return self.dim

    @property
    def scale(self) -> Vector:
        """Standard deviation of every cell, (dim,)."""
        floor = jax.lax.stop_gradient(self.floor)
        if self.raw_scale.ndim == 0:
            # One number for all: the rounding noise of the columns, averaged in variance.
            return jnp.broadcast_to(jnp.sqrt(jnp.mean(floor**2)) + positive(self.raw_scale), (self.dim,))
        return floor + positive(self.raw_scale)

    def __call__(self, h: Float[Array, " m"]) -> DiagonalGaussian:
        """Gaussian with mean h."""
        return DiagonalGaussian(h, self.scale)

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """Nothing: the scales are not inputs."""
        return jnp.zeros(0)

    def is_gaussian(self, j: int) -> bool:
        """True."""
        return True


@final
class DiagonalGaussianHead(AbstractHead):
    """N(loc(z), diag(scale(z)^2)): mean and scales from the network."""

    floor: Float[Array, " d"]

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.floor.shape[0]

    @property
    def n_inputs(self) -> int:
        """2 dim."""
        return 2 * self.dim

    def __call__(self, h: Float[Array, " m"]) -> DiagonalGaussian:
        """First half of h: loc; second half: scale."""
        loc, raw = jnp.split(h, 2)
        return DiagonalGaussian(loc, jax.lax.stop_gradient(self.floor) + positive(raw))

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """Zeros: scales of one."""
        return jnp.zeros(self.dim)

    def is_gaussian(self, j: int) -> bool:
        """True."""
        return True


@final
class LowRankGaussianHead(AbstractHead):
    """N(loc(z), F(z) F(z)' + diag(scale(z)^2)) with F of shape (dim, rank), all from the network."""

    floor: Float[Array, " d"]
    rank: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.floor.shape[0]

    @property
    def n_inputs(self) -> int:
        """(2 + rank) dim."""
        return (2 + self.rank) * self.dim

    def __call__(self, h: Float[Array, " m"]) -> LowRankGaussian:
        """Loc, raw scale, then the factor by rows."""
        loc, raw, factor = jnp.split(h, [self.dim, 2 * self.dim])
        scale = jax.lax.stop_gradient(self.floor) + positive(raw)
        # 1/sqrt(rank): the variance of a cell at the start does not depend on the rank.
        return LowRankGaussian(loc, factor.reshape(self.dim, self.rank) / self.rank**0.5, scale)

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """Zeros for the scales, small random numbers for the factor, whose gradient vanishes at zero."""
        factor = 0.3 * jax.random.normal(key, (self.rank * self.dim,))
        return jnp.concatenate([jnp.zeros(self.dim), factor])


@final
class FullGaussianHead(AbstractHead):
    """N(loc(z), L(z) L(z)'): the mean vector and the whole covariance from the network."""

    floor: Float[Array, " d"]

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.floor.shape[0]

    @property
    def n_inputs(self) -> int:
        """dim (dim + 3) / 2."""
        return self.dim * (self.dim + 3) // 2

    def __call__(self, h: Float[Array, " m"]) -> FullGaussian:
        """First dim numbers: loc; the rest: the lower triangle, whose diagonal stays above the floor."""
        tril = lower_triangle(h[self.dim :], self.dim) + jnp.diag(jax.lax.stop_gradient(self.floor))
        return FullGaussian(h[: self.dim], tril)

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """Zeros: the identity."""
        return jnp.zeros(self.n_inputs - self.dim)


COVARIANCES = ("shared", "feature", "diagonal", "low_rank", "full")


def gaussian_head(covariance: str, floor: Float[Array, " d"], *, rank: int = 5) -> AbstractHead:
    """The Gaussian head with this covariance ("shared", "feature", "diagonal", "low_rank" or "full").

    `floor` (dim,) is the smallest standard deviation of each cell; learned scales start at one.
    Raises `ValueError` for another name or a rank below one.
    """
    if covariance not in COVARIANCES:
        raise ValueError(
            f"covariance must be one of {', '.join(COVARIANCES)}; got {covariance!r}; choose one of those."
        )
    if covariance == "low_rank" and not rank >= 1:
        raise ValueError(f"rank must be a whole number of at least 1; got {rank!r}; 5 is usual.")
    dim = floor.shape[0]
    start = inverse_positive(jnp.ones((), floor.dtype))
    if covariance == "shared":
        return FixedScaleGaussianHead(start, floor)
    if covariance == "feature":
        return FixedScaleGaussianHead(jnp.full((dim,), start), floor)
    if covariance == "diagonal":
        return DiagonalGaussianHead(floor)
    return LowRankGaussianHead(floor, rank) if covariance == "low_rank" else FullGaussianHead(floor)


def make(member: Any, modelled: Modelled) -> AbstractHead:
    """The head of the member "gaussian"."""
    floor = jnp.asarray(modelled.floor, modelled.dtype)
    return gaussian_head(member.covariance, floor, rank=min(member.rank, modelled.size))
