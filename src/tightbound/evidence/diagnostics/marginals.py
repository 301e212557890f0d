"""Columns of samples beside those of the data: one by one, in pairs, and the rows that are closest."""

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp, kstwobign

from tightbound.evidence.rows import spread_out

Array = NDArray[Any]

CHANCE = 0.95
_SIMULATIONS = 200


@final
@dataclasses.dataclass(frozen=True)
class Marginal:
    """One column of a table, and how far the marginal of samples is from that of the data."""

    name: str
    kind: str
    """Its type in a word: real, positive, bounded, count, ordinal, categorical, binary or datetime (then numbers are
    days since 1970-01-01)."""
    family: str
    """The distribution that it is modelled with, or what it is given as."""
    levels: tuple[str, ...] = ()
    """Their names in the order of codes; () for numbers."""
    distance: float = float("nan")
    """Total variation of levels, Kolmogorov-Smirnov of numbers, between 0 and 1; NaN where nothing is known."""
    chance: float = float("nan")
    """What 95 % of samples of the same size from the very same distribution stay below."""

    def measured(self, data: Array, samples: Array) -> "Marginal":
        """The same with the distance of two columns of codes, (n,) and (m,)."""
        distance, chance = marginal_distance(data, samples, len(self.levels))
        return dataclasses.replace(self, distance=distance, chance=chance)


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
        distance = ks_2samp(data, samples, method="asymp").statistic
        return float(distance), float(kstwobign.ppf(CHANCE) * np.sqrt(1 / data.size + 1 / samples.size))
    distance = 0.5 * np.abs(shares(data, levels) - shares(samples, levels)).sum()
    pooled, rng = shares(np.concatenate([data, samples]), levels), np.random.default_rng(0)
    drawn = [rng.multinomial(part.size, pooled, size=_SIMULATIONS) / part.size for part in (data, samples)]
    return float(distance), float(np.quantile(0.5 * np.abs(drawn[0] - drawn[1]).sum(axis=1), CHANCE))


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
