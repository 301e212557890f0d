"""What to show of what there is: which columns, which part of an axis. Arithmetic only, no pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightbound.estimator.formatting import short
from tightbound.evidence.rows import spread_out

Array = NDArray[Any]
Limits = tuple[float, float]

MOST_ROWS_FOR_CHOICE = 2000


def finite(values: Array) -> Array:
    """Return the finite entries, as one flat array of floats."""
    flat = np.asarray(values, dtype=float).ravel()
    return flat[np.isfinite(flat)]


def view_limits(*groups: Array) -> Limits:
    """Return axis limits that show nearly all values, unless a few far ones would flatten the rest.

    The limits reach five interquartile ranges beyond the quartiles and hold at least the central 96 per cent, but no
    more than the values themselves.
    """
    values = finite(np.concatenate([np.ravel(np.asarray(group, dtype=float)) for group in groups]))
    if values.size == 0:
        return 0.0, 1.0
    first, third = np.quantile(values, [0.25, 0.75])
    reach = 5 * (third - first)
    low = max(values.min(), min(first - reach, np.quantile(values, 0.02, method="higher")))
    high = min(values.max(), max(third + reach, np.quantile(values, 0.98, method="lower")))
    if low >= high:
        low, high = values.min(), values.max()
    margin = 0.04 * (high - low) or max(0.5, 0.05 * abs(low))
    return float(low - margin), float(high + margin)


def bins(limits: Limits, rows: int, most: int = 40) -> list[float]:
    """Return the edges of a histogram's bins, more of them for more rows."""
    count = min(most, max(8, int(2 * np.sqrt(rows))))
    return [float(edge) for edge in np.linspace(*limits, count + 1)]


def count_outside(values: Array, limits: Limits) -> int:
    """Return how many finite values lie outside `limits`."""
    known = finite(values)
    return int(np.sum((known < limits[0]) | (known > limits[1])))


def largest_first(values: Array) -> Array:
    """Return positions, that of the largest value first."""
    return np.argsort(-np.nan_to_num(values), kind="stable")


def mean_and_spread(values: Array) -> str:
    """Return mean and standard deviation of the finite entries in words."""
    known = finite(values)
    return f"{short(float(known.mean()))} and {short(float(known.std()))}" if known.size else "no values"


def telling_columns(data: Array, most: int) -> Array:
    """Return up to `most` columns: those most correlated with the rest, without near copies, in the table's order."""
    columns = data.shape[1]
    if columns <= most:
        return np.arange(columns)
    squared = _squared_correlations(data)
    followed = squared.sum(axis=0) - np.diagonal(squared)
    chosen = [int(np.argmax(followed))]
    while len(chosen) < most:
        new = 1 - squared[chosen].max(axis=0)
        score = (followed + 1e-6) * np.sqrt(np.clip(new, 0, 1))
        score[chosen] = -1
        chosen.append(int(np.argmax(score)))
    return np.sort(chosen)


def which_columns(columns: int, shown: int) -> str:
    """Say how many `telling_columns` are shown of how many; nothing where all are."""
    if shown == columns:
        return ""
    return f"{shown} of {columns} columns: those that the others follow most closely, without near copies. "


def _squared_correlations(data: Array) -> Array:
    """Return squared correlations with missing cells at their column's mean; a constant column gets zeros."""
    rows = np.asarray(data[spread_out(len(data), MOST_ROWS_FOR_CHOICE)], dtype=float)
    known = np.isfinite(rows)
    mean = np.where(known, rows, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, rows - mean, 0)
    norm = np.sqrt((centred**2).sum(axis=0))
    unit = centred / np.where(norm > 0, norm, 1)
    squared = (unit.T @ unit) ** 2
    return np.asarray(squared * (norm > 1e-12 * (1 + np.abs(mean))))
