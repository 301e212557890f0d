"""What all column likelihoods have in common."""

import math
from abc import abstractmethod
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.model.distributions import Scalar, Vector

Raw = Float[Array, " n"]
Column = NDArray[np.float64]
Measure = Literal["lebesgue", "counting", "mixed"]

ONE = math.log(math.expm1(1))  # softplus of it is 1
FAR = 1e30  # a number of a network that stands for infinity: sums of it and its gradients stay finite in float32


class AbstractColumnLikelihood(eqx.Module):
    """The distribution of one column's cell, p(x; raw), from the `n_outputs` unconstrained numbers of a network.

    Written for one cell: x has shape (), raw (n_outputs,); rows and columns are `jax.vmap`s. `raw[0]` is the location
    (a mean, a log mean, log-odds); what follows is spread, shape and weights. What a cell owns itself (a floor, bounds,
    spikes) are arrays without gradient, so that columns that differ in nothing else are stacked into one program.

    A value outside the support has log density -inf, and gradients of zero. Missing cells are a mask's, elsewhere.
    """

    measure: eqx.AbstractClassVar[Measure]
    """What `log_prob` is a density with respect to: length, counting, or both (length plus points)."""
    is_count: ClassVar[bool] = False
    """Whether the first number is a log mean, which an exposure can be added to."""
    is_nominal: ClassVar[bool] = False
    """Whether x is the code of a level, and codes have no order."""
    is_gaussian: ClassVar[bool] = False
    """Whether x is N(loc, scale^2)."""
    filler: ClassVar[float] = -FAR
    """What stands for the numbers that `resized` cells do not have themselves: the logit of what never occurs."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Numbers a cell."""

    @abstractmethod
    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """Log density of one cell, in nats."""

    @abstractmethod
    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """One draw of the cell."""

    @abstractmethod
    def mean(self, raw: Raw) -> Scalar:
        """E[x] (for a nominal cell, its most probable level)."""

    @abstractmethod
    def variance(self, raw: Raw) -> Scalar:
        """Var[x] (for a nominal cell, that of its one-hot code, summed)."""

    @abstractmethod
    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """P(X <= x), for probability integral transforms.

        In float32 good to 0.005 where shapes (1 / dispersion) or counts are in the thousands, to 1e-4 elsewhere.
        """

    @abstractmethod
    def start(self, column: Column) -> Column:
        """Numbers (n_outputs,) that fit the observed values of the column, (n,), by their moments.

        Where a network's bias should begin. On the host, in NumPy: nothing is compiled for every length of a column.
        """

    @property
    def levels(self) -> int:
        """How many levels x has; 0 for numbers."""
        return 0

    def level_log_probs(self, raw: Raw, n_levels: int) -> Vector:
        """Log probability of the codes 0, ..., n_levels - 1, (n_levels,)."""
        return jax.vmap(lambda code: self.log_prob(code.astype(raw.dtype), raw))(jnp.arange(n_levels))

    def moved(self, raw: Raw, noise: Scalar, here: Bool[Array, ""] | bool) -> tuple["AbstractColumnLikelihood", Raw]:
        """The cell at loc + scale * noise, with a scale of zero, if it is Gaussian and `here`."""
        del noise, here
        return self, raw

    # Cells of different sizes can be made cells of one: three levels are five of which two have no probability. What is
    # stacked is compiled once.

    def resized(self, n_outputs: int) -> "AbstractColumnLikelihood":
        """The cells with so many numbers: more levels or spikes that never occur, or without them again."""
        del n_outputs
        return self

    def narrowest(self) -> "AbstractColumnLikelihood":
        """The cells with two levels or one spike: what can be made of one size looks the same."""
        return self


def constant(value: object) -> Array:
    """A number (or several) that a cell owns, in JAX's default precision."""
    return jnp.asarray(value, float)


def held(value: Array, like: Array) -> Array:
    """A constant in the precision of `like`, without gradient."""
    return jax.lax.stop_gradient(value).astype(like.dtype)


def joint(log_weight: Scalar, log_p: Scalar) -> Scalar:
    """log_weight + log_p, without a gradient in the weight where log_p is -inf."""
    return jnp.where(log_p > -jnp.inf, log_weight + log_p, -jnp.inf)


def moments(column: Column) -> tuple[float, float]:
    """Mean and variance (divisor n); 0 and 1 of nothing."""
    return (float(np.mean(column)), float(np.var(column))) if len(column) else (0.0, 1.0)


def raw_scale(floor: Array, scale: float) -> float:
    """The raw number with floor + positive(raw) = scale; just above the floor for what lies below it."""
    least = float(floor)
    above = max(scale - least, 0.01 * least)
    return above + math.log(-math.expm1(-above)) - ONE


def log_odds(p: float) -> float:
    """log p - log(1 - p)."""
    return math.log(p) - math.log1p(-p)


def check_positive(name: str, value: float, why: str) -> None:
    """Refuse (`ValueError`) a number that is not above 0."""
    if not value > 0:
        raise ValueError(f"{name} must be above 0, {why}; got {value!r}; 0.01 is usual.")


def check_whole(name: str, value: int, least: int, usual: str) -> None:
    """Refuse (`ValueError`) what is no whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}; {usual}.")
