"""What an encoder's network sees of a row: numbers centred, levels as one-hot codes, and which cells are observed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from tightbound.model.cells import CellWords
from tightbound.model.distributions import Mask, Vector

_MOST_CODES = 64
"""Levels that are spelled out one by one; of an ordinal column with more, the code is enough."""
_STRAIGHT = 4.0
"""Standard deviations up to which a number enters as it is; beyond, it enters by its logarithm."""


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

    def __call__(self, x: Vector, observed: Mask = None) -> Float[Array, " i"]:
        """Centred cells, and 1 or 0 for each."""
        h = x - jax.lax.stop_gradient(self.center)
        seen = jnp.ones(x.shape, bool) if observed is None else observed
        h = jnp.where(seen, h, 0) if observed is not None else h
        return jnp.concatenate([h, seen.astype(h.dtype)]) if self.with_mask else h


@final
class ColumnsInputs(AbstractInputs):
    """A mixed row: standardised numbers (counts by log(1 + x)), one-hot levels and spikes, and the mask.

    `moments` (2, d) are mean and standard deviation of what `as_numbers` makes of every column.
    """

    moments: Float[Array, "_ d"]
    codes: Float[Array, " c"]
    """The level or spike that each one-hot entry stands for."""
    columns: tuple[CellWords, ...] = eqx.field(static=True)

    def __init__(self, columns: Sequence[CellWords], moments: Float[Array, "_ d"]):
        """One `CellWords` a column."""
        self.columns, self.moments = tuple(columns), moments
        self.codes = jnp.asarray(np.concatenate([np.zeros(0), *(_codes(c) for c in self.columns)]), moments.dtype)

    @property
    def size(self) -> int:
        """Numbers, one-hot entries, mask."""
        return len(self._numbers) + len(self._places) + self.n_cells

    @property
    def n_cells(self) -> int:
        """d."""
        return len(self.columns)

    @property
    def _numbers(self) -> NDArray[np.int64]:
        return np.array([j for j, c in enumerate(self.columns) if _is_number(c)], int)

    @property
    def _places(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(self.n_cells), [len(_codes(c)) for c in self.columns])

    def __call__(self, x: Vector, observed: Mask = None) -> Float[Array, " i"]:
        """All of it; what is missing enters as zeros."""
        seen = jnp.ones(x.shape, bool) if observed is None else observed
        numbers, places = self._numbers, self._places
        mean, sd = (a.astype(x.dtype)[numbers] for a in jax.lax.stop_gradient(self.moments))
        h = (as_numbers(jnp.where(seen, x, 0), self.columns)[numbers] - mean) / sd
        h = jnp.where(jnp.abs(h) > _STRAIGHT, jnp.sign(h) * (_STRAIGHT + jnp.log(_beyond(h))), h)
        hot = (x[places] == jax.lax.stop_gradient(self.codes).astype(x.dtype)) & seen[places]
        return jnp.concatenate([jnp.where(seen[numbers], h, 0), hot.astype(x.dtype), seen.astype(x.dtype)])


def _beyond(h: Array) -> Array:
    return jnp.maximum(jnp.abs(h) - (_STRAIGHT - 1), 1)


def as_numbers(x: Any, columns: Sequence[CellWords]) -> Any:
    """Rows (..., d) with log(1 + x) in place of counts."""
    counts = np.array([c.is_count for c in columns])
    if not counts.any():
        return x
    library = np if isinstance(x, np.ndarray) else jnp
    return library.where(counts, library.log1p(library.maximum(library.where(counts, x, 0), 0)), x)


def moments_of(
    x: NDArray[Any], observed: NDArray[np.bool_] | None, columns: Sequence[CellWords]
) -> NDArray[np.float64]:
    """Mean and standard deviation (1 where there is none) of every column as a number, over observed cells, (2, d)."""
    values = np.asarray(as_numbers(np.asarray(x, np.float64), columns))
    values = values if observed is None else np.where(observed, values, np.nan)
    out = np.stack([np.zeros(values.shape[1]), np.ones(values.shape[1])])
    for j in range(values.shape[1]):
        own = values[:, j][~np.isnan(values[:, j])]
        if len(own):
            out[:, j] = own.mean(), own.std() if own.std() > 1e-6 else 1.0
    return out


def _is_number(column: CellWords) -> bool:
    return not column.has_levels or column.family == "cumulative_logit"


def _codes(column: CellWords) -> NDArray[np.float64]:
    if column.has_levels:
        many = column.family == "cumulative_logit" and column.n_levels > _MOST_CODES
        return np.zeros(0) if many else np.arange(float(column.n_levels))
    zero = [0.0] if column.is_count else []
    return np.array([*column.spikes, *zero], float)
