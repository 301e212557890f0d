"""Which cells of a table are missing together; NaN is a missing cell."""

import dataclasses
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


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
