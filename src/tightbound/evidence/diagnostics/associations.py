"""How strongly columns go together, in the data and in samples; levels as codes, NaN for a missing cell."""

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.evidence.diagnostics.marginals import Marginal
from tightbound.evidence.rows import spread_out

Array = NDArray[Any]

MOST_ASSOCIATED = 20
MOST_CANDIDATES = 60
FEWEST_PAIRS = 10
"""With fewer rows that know both columns an association is not measured."""


@final
@dataclasses.dataclass(frozen=True)
class Associations:
    """Association of k columns with each other, between 0 and 1; NaN where there is none to measure."""

    names: tuple[str, ...]
    """(k,) of the columns."""
    data: Array
    """(k, k) in the data, NaN on the diagonal."""
    samples: Array
    """(k, k) in the samples."""
    n_columns: int
    """Of how many they were chosen."""


def associations(columns: Sequence[Marginal], data: Array, samples: Array) -> Associations | None:
    """The associations of the up to 20 columns with the largest, among at most 60, spread over the table.

    Args: the d columns, and codes of rows (n, d) and of samples (m, d).

    Returns None for fewer than two columns, or where nothing can be measured.
    """
    candidates = spread_out(len(columns), MOST_CANDIDATES)
    of_data = association_matrix(data[:, candidates], [len(columns[j].levels) for j in candidates])
    # The columns with the largest associations, squared and added up, in the table's order.
    chosen = np.sort(np.argsort(-np.nansum(of_data**2, axis=0), kind="stable")[:MOST_ASSOCIATED])
    kept = candidates[chosen]
    if len(kept) < 2 or np.isnan(of_data).all():
        return None
    of_samples = association_matrix(samples[:, kept], [len(columns[j].levels) for j in kept])
    names = tuple(columns[j].name for j in kept)
    return Associations(names, of_data[np.ix_(chosen, chosen)], of_samples, len(columns))


def association(first: Array, second: Array, levels: tuple[int, int]) -> float:
    """Return the association of two columns between 0 and 1, over the rows that know both; NaN where there is none.

    |Pearson's correlation| of numbers, Cramer's V corrected for bias (Bergsma, 2013) of levels, the correlation ratio
    corrected for the number of levels (Kelley, 1935) of numbers with levels.
    """
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    if both.sum() < FEWEST_PAIRS or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    if not any(levels):
        return abs(correlation(first, second))
    if all(levels):
        return cramers_v(first, second)
    return correlation_ratio(first, second) if levels[0] else correlation_ratio(second, first)


def cramers_v(first: Array, second: Array) -> float:
    """Return sqrt(max(0, phi^2 - (r - 1)(c - 1) / (n - 1)) / (min(r', c') - 1)), r' = r - (r - 1)^2 / (n - 1).

    Source: Bergsma (2013), A bias-correction for Cramer's V and Tschuprow's T; NaN where a column has a single level.
    """
    n = len(first)
    (r, at_r), (c, at_c) = ((len(v), at) for v, at in (np.unique(x, return_inverse=True) for x in (first, second)))
    observed = np.bincount(at_r * c + at_c, minlength=r * c).reshape(r, c)
    expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0, keepdims=True) / n
    phi = ((observed - expected) ** 2 / expected).sum() / n
    corrected = max(0.0, phi - (r - 1) * (c - 1) / (n - 1))
    smaller = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, np.sqrt(corrected / smaller))) if smaller > 0 else float("nan")


def correlation_ratio(groups: Array, values: Array) -> float:
    """Return sqrt(max(0, 1 - (n - 1) / (n - k) SS_within / SS_total)) of values in k groups (Kelley, 1935)."""
    n, (names, at) = len(groups), np.unique(groups, return_inverse=True)
    total = float(((values - values.mean()) ** 2).sum())
    if n <= len(names) or not 0 < total < np.inf:
        return float("nan")
    means = np.bincount(at, weights=values) / np.bincount(at)
    within = float(((values - means[at]) ** 2).sum())
    return float(np.sqrt(max(0.0, 1 - (n - 1) / (n - len(names)) * within / total)))


def association_matrix(data: Array, levels: Sequence[int]) -> Array:
    """Return the association of every pair of columns, (d, d), symmetric, NaN on the diagonal."""
    d = data.shape[1]
    found = np.full((d, d), np.nan)
    for i in range(d):
        for j in range(i):
            found[i, j] = found[j, i] = association(data[:, i], data[:, j], (levels[i], levels[j]))
    return found


def correlation(first: Array, second: Array) -> float:
    """Return the correlation of two columns over the rows where both are known; NaN where there is none."""
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 3 or np.ptp(first[both]) == 0 or np.ptp(second[both]) == 0:
        return float("nan")
    return float(np.corrcoef(first[both], second[both])[0, 1])
