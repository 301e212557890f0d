"""What an encoder's network sees of a row: numbers centred, levels as one-hot codes, and which cells are observed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.model.distributions import Mask, Vector
from tightbound.model.likelihoods import ColumnSpecification
from tightbound.model.networks.dense import MLP

_MOST_CODES = 64
"""Levels that are spelled out one by one; of an ordinal column with more, the code is enough."""
_STRAIGHT = 4.0
"""Standard deviations up to which a number enters as it is; beyond, it enters by its logarithm."""
LEAST_SD_OF_COUNTS = 0.3


class AbstractInputs(eqx.Module):
    """From a row and its mask to the vector that a network sees."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Length of that vector."""

    @property
    @abstractmethod
    def n_cells(self) -> int:
        """Length of a row."""

    @abstractmethod
    def __call__(self, x: Vector, observed: Mask = None) -> Float[Array, " i"]:
        """The network's input for one row (`observed` None: every cell is)."""


@final
class CentredInputs(AbstractInputs):
    """x - center, with 0 (the column's mean) where a cell is missing; and the mask, if `with_mask`.

    With the mask, "average" and "unknown" differ.
    """

    center: Float[Array, " d"]
    with_mask: bool = eqx.field(static=True, default=False)

    @property
    def size(self) -> int:
        """d, or 2 d with the mask."""
        return self.center.shape[0] * (2 if self.with_mask else 1)

    @property
    def n_cells(self) -> int:
        """d."""
        return self.center.shape[0]

    @property
    def owners(self) -> NDArray[np.int64]:
        """The cell that each number stands for, before the mask."""
        return np.arange(self.n_cells)

    def __call__(self, x: Vector, observed: Mask = None) -> Float[Array, " i"]:
        """Centred cells, and 1 or 0 for each."""
        h = x - jax.lax.stop_gradient(self.center)
        seen = jnp.ones(x.shape, bool) if observed is None else observed
        h = jnp.where(seen, h, 0) if observed is not None else h
        return jnp.concatenate([h, seen.astype(h.dtype)]) if self.with_mask else h


@final
class ColumnsInputs(AbstractInputs):
    """A mixed row: standardised numbers (counts by log(1 + x)), one-hot levels and spikes, and the mask.

    `moments` (2, d) are mean and standard deviation of what `as_numbers` makes of every column. Counts under an
    exposure enter as log(1 + x / exposure), the exposure relative to a typical one.
    """

    moments: Float[Array, "_ d"]
    codes: Float[Array, " c"]
    """The level or spike that each one-hot entry stands for."""
    log_typical: Float[Array, ""]
    """Mean log total of a row, where that is the exposure."""
    columns: tuple[ColumnSpecification, ...] = eqx.field(static=True)
    exposure: int | None = eqx.field(static=True)
    """The column that holds the log exposure; -1: the exposure is the sum of a row's counts; None: there is none."""
    with_mask: bool = eqx.field(static=True)

    def __init__(
        self,
        columns: Sequence[ColumnSpecification],
        moments: Float[Array, "_ d"],
        *,
        exposure: int | None = None,
        log_typical: float = 0.0,
        with_mask: bool = True,
    ):
        """One `ColumnSpecification` a column."""
        self.columns, self.moments, self.exposure, self.with_mask = tuple(columns), moments, exposure, with_mask
        self.codes = jnp.asarray(np.concatenate([np.zeros(0), *map(self._codes_of, self.columns)]), moments.dtype)
        self.log_typical = jnp.asarray(log_typical, moments.dtype)

    @property
    def size(self) -> int:
        """Numbers, one-hot entries, mask."""
        return len(self._numbers) + len(self._places) + (self.n_cells if self.with_mask else 0)

    @property
    def n_cells(self) -> int:
        """d."""
        return len(self.columns)

    @property
    def owners(self) -> NDArray[np.int64]:
        """The cell that each number and code stands for, before the mask."""
        return np.concatenate([self._numbers, self._places])

    @property
    def _numbers(self) -> NDArray[np.int64]:
        return np.array([j for j, c in enumerate(self.columns) if _is_number(c)], int)

    @property
    def _places(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(self.n_cells), [len(self._codes_of(c)) for c in self.columns])

    def _codes_of(self, column: ColumnSpecification) -> NDArray[np.float64]:
        # Of counts under an exposure, a zero says no more than the number does.
        return _codes(column) if self.exposure is None or not column.is_count else np.zeros(0)

    def __call__(self, x: Vector, observed: Mask = None) -> Float[Array, " i"]:
        """All of it; what is missing enters as zeros."""
        seen = jnp.ones(x.shape, bool) if observed is None else observed
        numbers, places = self._numbers, self._places
        mean, sd = (a.astype(x.dtype)[numbers] for a in jax.lax.stop_gradient(self.moments))
        known = jnp.where(seen, x, 0)
        h = (as_numbers(known, self.columns, self._log_exposure(x))[numbers] - mean) / sd
        h = jnp.where(jnp.abs(h) > _STRAIGHT, jnp.sign(h) * (_STRAIGHT + jnp.log(_beyond(h))), h)
        hot = (x[places] == jax.lax.stop_gradient(self.codes).astype(x.dtype)) & seen[places]
        mask = [seen.astype(x.dtype)] if self.with_mask else []
        return jnp.concatenate([jnp.where(seen[numbers], h, 0), hot.astype(x.dtype), *mask])

    def _log_exposure(self, x: Vector) -> Array | None:
        """Of a row, relative to a typical one; a sum of counts is of what stands there, hidden or not."""
        if self.exposure is None:
            return None
        if self.exposure >= 0:
            return x[self.exposure]
        return log_totals(x, self.columns) - jax.lax.stop_gradient(self.log_typical).astype(x.dtype)


def _beyond(h: Array) -> Array:
    return jnp.maximum(jnp.abs(h) - (_STRAIGHT - 1), 1)


def as_numbers(x: Any, columns: Sequence[ColumnSpecification], log_exposure: Any = None) -> Any:
    """Rows (..., d) with log(1 + x) in place of counts, or log(1 + x / exposure) for a log exposure (...)."""
    counts = np.array([c.is_count for c in columns])
    if not counts.any():
        return x
    library = np if isinstance(x, np.ndarray) else jnp
    known = library.maximum(library.where(counts, x, 0), 0)
    if log_exposure is not None:
        known = known * library.exp(-log_exposure)[..., None]
    return library.where(counts, library.log1p(known), x)


def log_totals(x: Any, columns: Sequence[ColumnSpecification]) -> Any:
    """Log of the sum of the counts of rows (..., d), at least log 1: (...)."""
    return log_total_of(x, np.flatnonzero([c.is_count for c in columns]))


def log_total_of(x: Any, counts: NDArray[np.intp]) -> Any:
    """The same for counts at these positions; what is not there must be 0."""
    library = np if isinstance(x, np.ndarray) else jnp
    return library.log(library.maximum(library.sum(library.maximum(x[..., counts], 0), axis=-1), 1))


def moments_of(
    x: NDArray[Any],
    observed: NDArray[np.bool_] | None,
    columns: Sequence[ColumnSpecification],
    log_exposure: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Mean and standard deviation (1 where there is none) of every column as a number, over observed cells, (2, d).

    Under an exposure counts have at least 0.3, so that one that is almost never there does not shout.
    """
    values = np.asarray(as_numbers(np.asarray(x, np.float64), columns, log_exposure))
    values = values if observed is None else np.where(observed, values, np.nan)
    out = np.stack([np.zeros(values.shape[1]), np.ones(values.shape[1])])
    for j, column in enumerate(columns):
        own = values[:, j][~np.isnan(values[:, j])]
        # A point mass far out (the year 9999) would leave no difference between the others; it has an input of its own.
        others = own[~np.isin(own.astype(np.float32), np.asarray(column.spikes, np.float32))]
        own = others if len(others) else own
        if len(own):
            sd = own.std() if own.std() > 1e-6 else 1.0
            out[:, j] = own.mean(), sd if log_exposure is None or not column.is_count else max(sd, LEAST_SD_OF_COUNTS)
    return out


def _is_number(column: ColumnSpecification) -> bool:
    return not column.has_levels or column.family == "cumulative_logit"


def _codes(column: ColumnSpecification) -> NDArray[np.float64]:
    if column.has_levels:
        many = column.family == "cumulative_logit" and column.n_levels > _MOST_CODES
        return np.zeros(0) if many else np.arange(float(column.n_levels))
    zero = [0.0] if column.is_count else []
    return np.array([*column.spikes, *zero], float)


CELL_SIZE = 32
SET_SIZE = 128


@final
class SetInputs(AbstractInputs):
    """sum over observed j of phi(e_j + sum_i v_i w_i) / sqrt(d), v_i the numbers and codes that stand for cell j.

    e_j says which column a cell is of, so the order of the columns does not matter, and what is not observed is not
    there: no number stands in for it. phi is one network for all cells. `set_inputs` makes one.
    Source: Zaheer et al. (2017); for rows with missing cells, Ma et al. (2019).
    """

    cells: CentredInputs | ColumnsInputs
    """What each cell enters as."""
    columns: Float[Array, "d e"]
    """e."""
    entries: Float[Array, "i e"]
    """w."""
    phi: MLP

    @property
    def size(self) -> int:
        """Of the sum."""
        return SET_SIZE

    @property
    def n_cells(self) -> int:
        """d."""
        return self.cells.n_cells

    def __call__(self, x: Vector, observed: Mask = None) -> Float[Array, " i"]:
        """The set of one row."""
        seen = jnp.ones(x.shape, bool) if observed is None else observed
        values = self.cells(x, seen)
        owners = jnp.asarray(self.cells.owners)
        each = self.columns.at[owners].add(values[:, None] * self.entries)
        found = jax.vmap(self.phi)(each)
        return jnp.sum(jnp.where(seen[:, None], found, 0), axis=0) / self.n_cells**0.5


def set_inputs(cells: CentredInputs | ColumnsInputs, *, dtype: str, key: PRNGKeyArray) -> SetInputs:
    """The set of the cells that `cells` makes vectors of (without its mask)."""
    key_columns, key_entries, key_phi = jax.random.split(key, 3)
    columns = jax.random.normal(key_columns, (cells.n_cells, CELL_SIZE), dtype)
    entries = jax.random.normal(key_entries, (cells.size, CELL_SIZE), dtype)
    phi = MLP(CELL_SIZE, SET_SIZE, (SET_SIZE,), dtype=dtype, key=key_phi)
    return SetInputs(cells, 0.5 * columns, 0.5 * entries, phi)
