"""How close samples come to rows of the data; levels as codes, NaN for a missing cell."""

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.evidence.diagnostics.marginals import Marginal
from tightbound.evidence.rows import spread_out

Array = NDArray[Any]

MOST_SAMPLES = 1000
MOST_CELLS = 120_000
"""Of the data, among which closest rows are looked for: fewer rows of wide tables, but at least 200."""
_CHUNK = 64


@final
@dataclasses.dataclass(frozen=True)
class ClosestRows:
    """Distances to the closest row of the data, between 0 and 1."""

    of_samples: Array
    """(s,) of samples."""
    of_data: Array
    """(n,) of rows of the data, to the closest other row."""


def closest_rows(columns: Sequence[Marginal], data: Array, samples: Array) -> ClosestRows | None:
    """Distances of samples (m, d), and of rows (n, d), to the closest (other) row of the data; None without any.

    Samples get the gaps of data rows: a distance over fewer columns is a smaller one as often as not.
    """
    if len(data) < 2 or not len(samples):
        return None
    levels = [len(column.levels) for column in columns]
    gaps = ~np.isfinite(data[np.arange(len(samples)) % len(data)])
    most = min(2 * MOST_SAMPLES, max(200, MOST_CELLS // len(columns)))
    holed = np.where(gaps, np.nan, samples)[: min(MOST_SAMPLES, most)]
    scale = scales(data, levels)
    shown = data[spread_out(len(data), most)]
    found = (closest(holed, shown, levels, scale), closest(shown, shown, levels, scale, same=True))
    known = [distances[np.isfinite(distances)] for distances in found]
    return ClosestRows(*known) if all(distances.size for distances in known) else None


def scales(data: Array, levels: Sequence[int]) -> Array:
    """Return the distance that counts as 1 in each column: from the 1st to the 99th percentile of numbers."""
    found = np.ones(data.shape[1])
    for j, count in enumerate(levels):
        known = data[np.isfinite(data[:, j]), j]
        if not count and known.size:
            low, high = np.quantile(known, [0.01, 0.99])
            found[j] = (high - low) or float(np.ptp(known)) or 1.0
    return found


def closest(rows: Array, others: Array, levels: Sequence[int], scale: Array, *, same: bool = False) -> Array:
    """Return Gower's distance of each row to the closest of the others, (n,); `same`: a row is no other of itself.

    The mean over columns known in both of |difference| / scale, at most 1, and of whether levels differ. Pairs that
    share less than half of the columns do not count; infinite where none does. Source: Gower (1971).
    """
    has_levels = np.asarray(levels) > 0
    found = np.full(len(rows), np.inf)
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        total, common = (np.zeros((len(chunk), len(others))) for _ in range(2))
        for j in range(rows.shape[1]):
            apart = np.abs(chunk[:, j, None] - others[None, :, j])
            apart = (apart > 0) * 1.0 if has_levels[j] else np.minimum(apart / scale[j], 1)
            both = np.isfinite(chunk[:, j])[:, None] & np.isfinite(others[:, j])[None, :]
            total += np.where(both, apart, 0)
            common += both
        distance = np.where(2 * common >= rows.shape[1], total / np.maximum(common, 1), np.inf)
        if same:
            distance[np.arange(len(chunk)), start + np.arange(len(chunk))] = np.inf
        if len(others):
            found[start : start + len(chunk)] = distance.min(axis=1)
    return found
