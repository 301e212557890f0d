"""A cell that is given, not modelled: a condition, an exposure."""

from typing import ClassVar, final

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from tightbound.model.distributions import Scalar
from tightbound.model.likelihoods.base import AbstractCells, Column, Measure, Raw


@final
class GivenCells(AbstractCells):
    """The cell is what its one number says, and adds nothing to log p.

    Whatever stands in a row, the density is that of the row's other cells given it.
    """

    measure: ClassVar[Measure] = "counting"

    @property
    def n_outputs(self) -> int:
        """1."""
        return 1

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """0."""
        return jnp.zeros((), raw.dtype)

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """What is given."""
        return raw[0]

    def mean(self, raw: Raw) -> Scalar:
        """What is given."""
        return raw[0]

    def variance(self, raw: Raw) -> Scalar:
        """0."""
        return jnp.zeros((), raw.dtype)

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """A step at what is given."""
        return (x >= raw[0]).astype(raw.dtype)

    def start(self, column: Column) -> Column:
        """The column's mean."""
        return np.array([float(np.mean(column)) if len(column) else 0.0])
