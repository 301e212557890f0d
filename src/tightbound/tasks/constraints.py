"""Sets that cells are conditioned on: P(x_j in A_j | z) as a weight of z, and draws of x_j within A_j."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.model import AbstractDistribution
from tightbound.model.distributions import Scalar, Vector


@final
@dataclass(frozen=True)
class Interval:
    """low <= x <= high, both ends included, in the model's units; infinite ends are open.

    Raises `ValueError` when low is above high or an end is no number.
    Example: `Interval(low=40.0)`.
    """

    low: float = -np.inf
    high: float = np.inf
    codes: ClassVar[tuple[float, ...]] = ()

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(
                f"An interval must have a low end that is at most its high end; got {self.low!r} and {self.high!r}; "
                "exchange them."
            )


@final
@dataclass(frozen=True)
class OneOf:
    """x is one of these values, in the model's units: codes of levels, counts, or point masses of a continuous column.

    Each must have positive probability: a value of a continuous column has none, it is an observed cell.
    Raises `ValueError` for no value, and for one that is not finite.
    Example: `OneOf((0, 3))`.
    """

    codes: tuple[float, ...]
    low: ClassVar[float] = -np.inf
    high: ClassVar[float] = np.inf

    def __init__(self, codes: Sequence[float]):
        """The values, in any order."""
        values = tuple(sorted({float(code) for code in codes}))
        if not values or not np.isfinite(values).all():
            raise ValueError(f"A set must have one finite value or more; got {tuple(codes)!r}; list the codes.")
        object.__setattr__(self, "codes", values)


Constraints = Mapping[int, Interval | OneOf]
"""The set of each constrained column, by its position."""


class CellSet(eqx.Module):
    """The set of one column; only the numbers are arrays, so that another interval runs the same program."""

    column: int = eqx.field(static=True)
    by_code: bool = eqx.field(static=True)
    before: Float[Array, ""]
    """The last number below the interval."""
    low: Float[Array, ""]
    high: Float[Array, ""]
    codes: Float[Array, " k"]

    def holds(self, x: Scalar) -> Bool[Array, ""]:
        """Whether `x` lies in the set."""
        return jnp.any(self.codes == x) if self.by_code else (x > self.before) & (x <= self.high)

    def log_prob(self, d: AbstractDistribution) -> Scalar:
        """log P(X in the set): a sum over codes, or a difference of the cdf."""
        if self.by_code:
            return jax.nn.logsumexp(self._code_log_probs(d))
        above, below = d.cdf_at(self.column, self.high), d.cdf_at(self.column, self.before)
        # What rounding leaves of a difference is no probability.
        some = above - below > 4 * np.finfo(above.dtype).eps * above
        return jnp.log(jnp.where(some, above - below, 0))

    def sample(self, d: AbstractDistribution, *, key: PRNGKeyArray) -> Scalar:
        """One draw within the set: a code, or the least number whose cdf reaches a uniform draw."""
        if self.by_code:
            return self.codes[jax.random.categorical(key, self._code_log_probs(d))]
        below, above = d.cdf_at(self.column, self.before), d.cdf_at(self.column, self.high)
        u = below + (above - below) * (1 - jax.random.uniform(key, dtype=below.dtype))
        found = least(lambda x: d.cdf_at(self.column, x) >= u, self.low.dtype)
        return jnp.clip(found, self.low, self.high)

    def _code_log_probs(self, d: AbstractDistribution) -> Float[Array, " k"]:
        return jax.vmap(lambda code: d.log_prob_at(self.column, code))(self.codes)


class Region(eqx.Module):
    """The sets of all constrained columns."""

    sets: tuple[CellSet, ...]

    def weighed(
        self, d: AbstractDistribution, x: Vector, observed: Bool[Array, " d"], *, key: PRNGKeyArray
    ) -> tuple[Scalar, Vector]:
        """log P(every constrained cell in its set), with the means; or one draw within, with its log weight, of cells
        that are correlated in `d`, which is `given` those observed."""
        if d.factorised:
            missing = [jnp.where(observed[s.column], 0, s.log_prob(d)) for s in self.sets]
            return sum(missing, self._log_observed(x, observed)), d.mean
        low, high = jnp.full(d.dim, -jnp.inf, x.dtype), jnp.full(d.dim, jnp.inf, x.dtype)
        point = np.zeros(d.dim, bool)
        for s in self.sets:
            low, high = low.at[s.column].set(s.low), high.at[s.column].set(s.high)
            point[s.column] = s.by_code
        log_weight, draw = d.within(low, high, observed, key=key)
        no_chance = jnp.any(jnp.asarray(point) & ~observed)  # one value of a continuous cell
        return jnp.where(no_chance, -jnp.inf, log_weight) + self._log_observed(x, observed), draw

    def _log_observed(self, x: Vector, observed: Bool[Array, " d"]) -> Scalar:
        """0 where the observed cells lie in their sets, else -inf."""
        fine = jnp.stack([~observed[s.column] | s.holds(x[s.column]) for s in self.sets])
        return jnp.where(jnp.all(fine), 0, -jnp.inf).astype(x.dtype)

    def sample(self, d: AbstractDistribution, x: Vector, *, key: PRNGKeyArray) -> Vector:
        """`x` with every constrained cell drawn anew within its set, for cells that are independent in `d`."""
        for s in self.sets:
            x = x.at[s.column].set(s.sample(d, key=jax.random.fold_in(key, s.column)))
        return x


def region_of(constraints: Constraints | None, dim: int, dtype: Any) -> Region | None:
    """The sets as arrays in the precision of the data; None for no constraint.

    Raises `ValueError` for a column that the table does not have, `TypeError` for what is no set.
    """
    if not constraints:
        return None
    columns = sorted(int(j) for j in constraints)
    if columns[0] < 0 or columns[-1] >= dim:
        wrong = next(j for j in columns if not 0 <= j < dim)
        raise ValueError(
            f"A constraint must be on a column from 0 to {dim - 1}; got column {wrong}; name one of those."
        )
    sets = [constraints[j] for j in columns]
    for j, each in zip(columns, sets, strict=True):
        if not isinstance(each, Interval | OneOf):
            raise TypeError(
                f"The constraint on column {j} must be an Interval or a OneOf; got {type(each).__name__}; make one."
            )
    return Region(tuple(_cell_set(j, each, np.dtype(dtype)) for j, each in zip(columns, sets, strict=True)))


def _cell_set(column: int, given: Interval | OneOf, dtype: np.dtype[Any]) -> CellSet:
    ends, codes = np.array([given.low, given.high], dtype), np.array(given.codes, dtype)
    return CellSet(column, len(codes) > 0, *map(jnp.asarray, (before(ends[:1])[0], ends[0], ends[1], codes)))


def before(x: NDArray[Any]) -> NDArray[Any]:
    """The next number below, where P(X <= before(x)) is P(X < x); none is subnormal, which programs may take for 0."""
    tiny = np.finfo(x.dtype).tiny
    below = np.nextafter(x, np.array(-np.inf, x.dtype))
    return np.where(np.abs(x) <= tiny, np.where(x > 0, 0, -tiny), below).astype(x.dtype)


def least(reached: Any, dtype: Any) -> Scalar:
    """The least number for which `reached` (false, then true) holds, to its last bit, by halving the list of floats."""
    integer = jnp.int32 if dtype == jnp.float32 else jnp.int64
    bits = np.finfo(dtype).bits
    largest = jax.lax.bitcast_convert_type(jnp.asarray(np.finfo(dtype).max, dtype), integer)

    def number(i: Array) -> Array:
        # Negative floats in the order of their size: the sign bit apart, counted downwards.
        magnitude = jax.lax.bitcast_convert_type(jnp.where(i < 0, -i - 1, i), dtype)
        return jnp.where(i < 0, -magnitude, magnitude)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low & high) + ((low ^ high) >> 1)  # their mean, without overflow
        yes = reached(number(middle))
        return jnp.where(yes, low, middle), jnp.where(yes, middle, high)

    found = number(jax.lax.fori_loop(0, bits, halve, (-largest - 1, largest))[1])
    return jnp.where(jnp.abs(found) < np.finfo(dtype).tiny, 0, found)
