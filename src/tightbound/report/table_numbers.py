"""Arithmetic on the codes of a mixed table: distances of marginals, associations, missing patterns, closest rows.

Everywhere `levels` holds the number of levels of each column, 0 for numbers; NaN is a missing cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tightbound.report.choose import correlation
from tightbound.report.diagnostics import Array

FEWEST_PAIRS = 10
"""With fewer rows that know both columns an association is not measured."""
CHUNK = 64


def shares(codes: Array, levels: int) -> Array:
    """Return the share of each level among the known codes, (levels,); zeros where none is known."""
    counts = np.bincount(codes[np.isfinite(codes)].astype(int), minlength=levels).astype(float)
    return np.asarray(counts / max(counts.sum(), 1))


def marginal_distance(data: Array, samples: Array, levels: int) -> tuple[float, float]:
    """Return the distance of two columns and its 95 % quantile under chance: total variation, or Kolmogorov-Smirnov.

    Chance: by 200 simulations from the pooled shares for levels, by Kolmogorov's limit (conservative where values are
    tied) for numbers. NaN where a column has no known cell.
    """
    data, samples = data[np.isfinite(data)], samples[np.isfinite(samples)]
    if not data.size or not samples.size:
        return float("nan"), float("nan")
    if not levels:
        values = np.concatenate([data, samples])
        below = [np.searchsorted(np.sort(part), values, side="right") / part.size for part in (data, samples)]
        return float(np.abs(below[0] - below[1]).max()), float(1.358 * np.sqrt(1 / data.size + 1 / samples.size))
    distance = 0.5 * np.abs(shares(data, levels) - shares(samples, levels)).sum()
    pooled, rng = shares(np.concatenate([data, samples]), levels), np.random.default_rng(0)
    drawn = [rng.multinomial(part.size, pooled, size=200) / part.size for part in (data, samples)]
    return float(distance), float(np.quantile(0.5 * np.abs(drawn[0] - drawn[1]).sum(axis=1), 0.95))


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


def associations(data: Array, levels: Sequence[int]) -> Array:
    """Return the association of every pair of columns, (d, d), symmetric, NaN on the diagonal."""
    d = data.shape[1]
    found = np.full((d, d), np.nan)
    for i in range(d):
        for j in range(i):
            found[i, j] = found[j, i] = association(data[:, i], data[:, j], (levels[i], levels[j]))
    return found


def most_associated(matrix: Array, most: int) -> Array:
    """Return the up to `most` columns with the largest associations, squared and added up, in the table's order."""
    total = np.nansum(matrix**2, axis=0)
    return np.sort(np.argsort(-total, kind="stable")[:most])


@dataclass(frozen=True)
class Patterns:
    """Which cells of the report's rows are missing together.

    `columns` (c,): positions of the columns shown; `share` (c,) of their cells that is missing; `patterns` (p, c),
    most frequent first, with `counts` (p,): rows in which just these of the columns are missing.
    """

    columns: Array
    share: Array
    patterns: Array
    counts: Array
    n_patterns: int


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
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
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
