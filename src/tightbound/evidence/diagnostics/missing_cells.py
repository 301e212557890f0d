"""Which cells of a table are missing together; NaN is a missing cell."""

import dataclasses
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FEWEST_TOGETHER = 5
"""Rows that miss both cells, for two columns to be said to go together."""
LEAST_CORRELATION = 0.3
MOST_PAIRED = 200
"""Columns that are compared two by two."""


@final
@dataclasses.dataclass(frozen=True)
class Patterns:
    """Which cells of some rows are missing together."""

    columns: Array
    """(c,) positions of the columns that miss most."""
    share: Array
    """(c,) of their cells that is missing."""
    patterns: Array
    """(p, c) which of them are missing together, most frequent first."""
    counts: Array
    """(p,) rows in which just these are."""
    n_patterns: int
    """Of how many patterns these are the first."""


@final
@dataclasses.dataclass(frozen=True)
class Pair:
    """Two columns whose cells are missing together."""

    columns: tuple[int, int]
    rows: int
    """In so many rows both are missing."""
    expected: float
    """In so many they would be, if independent."""
    correlation: float
    """Of the one's being missing with the other's."""


def missing_patterns(data: Array, most_columns: int, most_patterns: int) -> Patterns:
    """Return the most frequent patterns of missing cells, over the columns that miss most."""
    gone = ~np.isfinite(data)
    share = gone.mean(axis=0) if len(gone) else np.zeros(data.shape[1])
    order = np.argsort(-share, kind="stable")[:most_columns]
    columns = np.sort(order[share[order] > 0])
    patterns, counts = np.unique(gone[:, columns], axis=0, return_counts=True)
    first = np.argsort(-counts, kind="stable")[:most_patterns]
    return Patterns(columns, share[columns], patterns[first], counts[first], len(counts))


def missing_together(data: Array) -> tuple[int, float]:
    """Return how many rows miss two or more cells, and how many would if columns went missing independently."""
    gone = ~np.isfinite(data)
    none, one = 1.0, 0.0
    for p in gone.mean(axis=0):
        none, one = none * (1 - p), one * (1 - p) + none * p
    return int((gone.sum(axis=1) >= 2).sum()), float(len(gone) * max(0.0, 1 - none - one))


def most_together(gone: Array) -> Pair | None:
    """The two columns of the highest correlation, of those that miss more cells together than chance explains.

    Args:
        gone: (n, d) which cells are missing.
    """
    varying = np.flatnonzero(gone.any(axis=0) & ~gone.all(axis=0))[:MOST_PAIRED]
    if len(varying) < 2:
        return None
    own = gone[:, varying].astype(float)
    both, expected = own.T @ own, np.outer(own.sum(axis=0), own.mean(axis=0))
    clear = (both >= FEWEST_TOGETHER) & (both > expected + 3 * np.sqrt(expected))
    phi = np.where(clear, np.corrcoef(own.T), -1.0)
    np.fill_diagonal(phi, -1.0)
    i, j = sorted(int(k) for k in np.unravel_index(int(np.argmax(phi)), phi.shape))
    if phi[i, j] < LEAST_CORRELATION:
        return None
    return Pair((int(varying[i]), int(varying[j])), int(both[i, j]), float(expected[i, j]), float(phi[i, j]))
