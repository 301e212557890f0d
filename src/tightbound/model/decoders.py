"""Decoders: p(x | z), a network followed by a head that turns its output into a distribution."""

from abc import abstractmethod
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.model.distributions import (
    AbstractDistribution,
    Bernoulli,
    DiagonalGaussian,
    FullGaussian,
    Latent,
    LowRankGaussian,
    Vector,
)
from tightbound.model.families import inverse_positive, lower_triangle, positive
from tightbound.model.networks.dense import Network, n_outputs


class AbstractHead(eqx.Module):
    """A map from a network's output to p(x | z) over `dim` cells; it may own parameters that do not depend on z."""

    has_total: ClassVar[bool] = False
    """Whether its cells are counts whose sum is known, so that draws must be told it."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of cells."""

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """How many numbers the network must return."""

    @abstractmethod
    def __call__(self, h: Float[Array, " m"]) -> AbstractDistribution:
        """The distribution of x for a network output of shape (n_inputs,)."""

    @abstractmethod
    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """Where the inputs after the first `dim` (the location) should begin, (n_inputs - dim,), whatever z is.

        A spread that begins at random, different for every z, can give densities of e^(-10^23) before the first step.
        """

    @property
    def by_total(self) -> bool:
        """Whether a row's exposure is its own total, into which cells that are only hidden count."""
        return False

    @property
    def counts(self) -> NDArray[np.intp]:
        """Positions of the cells whose first number is a log mean, which an exposure multiplies."""
        return np.zeros(0, np.intp)

    def exposed(self, h: Float[Array, " m"], log_exposure: Float[Array, ""]) -> Float[Array, " m"]:
        """The network output in which the means of all `counts` are `exposure` times as large."""
        del log_exposure
        return h

    def is_gaussian(self, j: int) -> bool:
        """Whether cell j is Gaussian, and independent of the others."""
        del j
        return False


@final
class BernoulliHead(AbstractHead):
    """Independent yes/no cells; the network returns log-odds."""

    n_cells: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.n_cells

    @property
    def n_inputs(self) -> int:
        """dim."""
        return self.dim

    def __call__(self, h: Float[Array, " m"]) -> Bernoulli:
        """Bernoulli with log-odds h."""
        return Bernoulli(h)

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """Nothing: the log-odds are all there is."""
        return jnp.zeros(0)


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


@final
class Decoder(eqx.Module):
    """p(x | z) = head(network(z)).

    Raises `ValueError` when the network does not return the numbers that the head needs.
    """

    network: Network
    head: AbstractHead
    latent_dim: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        dtypes = [a.dtype.name for a in jax.tree.leaves(self) if eqx.is_inexact_array(a)]
        given = n_outputs(self.network, self.latent_dim, dtypes[0] if dtypes else None)
        if given != self.head.n_inputs:
            raise ValueError(
                f"The decoder's network must return {self.head.n_inputs} numbers for a {type(self.head).__name__} of "
                f"{self.head.dim} cells; it returned {given}; change the size of its last layer."
            )

    def __call__(self, z: Latent) -> AbstractDistribution:
        """p(x | z) for one latent vector."""
        return self.head(self.network(z))
