"""Heads: what turns a network's output into p(x | z), and says where that output should begin."""

import dataclasses
from abc import abstractmethod
from typing import ClassVar, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike, NDArray

from tightbound.model.distributions import AbstractDistribution
from tightbound.model.likelihoods.column_specification import ColumnSpecification
from tightbound.model.networks.dense import AbstractOutput, Network, check_size

_QUIET = 0.1


@final
@dataclasses.dataclass(frozen=True)
class Modelled:
    """The cells that a likelihood is to be of."""

    floor: NDArray[np.float64]
    """(d,) least standard deviation of each; of columns of several kinds, see `columns`."""
    dtype: str
    columns: tuple[ColumnSpecification, ...] = ()
    """The likelihood of each, where they differ."""
    first: NDArray[np.float64] | None = None
    """What is known of their marginals; None: nothing."""

    @property
    def size(self) -> int:
        """How many."""
        return len(self.floor)


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

    def location_at_start(self, mean: NDArray[np.float64], first: NDArray[np.float64] | None) -> ArrayLike:
        """Where the first `dim` inputs should begin, (dim,), so that no step is spent on learning the marginals.

        `mean` (dim,) of every cell in the model's units; `first`: what else is known of the marginals.
        """
        del mean, first
        return np.zeros(self.dim)

    def start(
        self,
        output: AbstractOutput,
        mean: NDArray[np.float64],
        first: NDArray[np.float64] | None = None,
        *,
        key: PRNGKeyArray,
    ) -> AbstractOutput:
        """The output layer of a network where this likelihood should begin: at the marginals, with a spread that does
        not depend on z, and with small weights into log means."""
        gain = np.where(np.arange(self.n_inputs) < self.dim, 1.0, 0.0)
        gain[self.log_means] = _QUIET
        parts = (self.location_at_start(mean, first), self.spread_at_start(key=key))
        return output.begun(gain, jnp.concatenate([jnp.asarray(part) for part in parts]))

    def check_network(self, network: Network, in_size: int, dtype: str | None) -> None:
        """Refuse (`ValueError`) a network that does not map `in_size` numbers to those that this needs."""
        needed_by = f"a {type(self).__name__} of {self.dim} cells"
        check_size(network, (in_size, self.n_inputs), dtype, "decoder", needed_by)

    @property
    def log_means(self) -> NDArray[np.intp]:
        """Positions of the cells whose location is a logarithm: a standard deviation there multiplies by e."""
        return self.counts

    def spreads(self, *, gaussian_alone: bool = False) -> tuple[int, ...]:
        """Which inputs are spreads and shapes that need not depend on z (`gaussian_alone`: Gaussian scales)."""
        del gaussian_alone
        return ()

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
