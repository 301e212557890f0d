"""The shape of a column of numbers: its grid, its spikes, its tails."""

from __future__ import annotations

import numpy as np

from tightbound.data.types.column import Kind
from tightbound.data.types.rules import (
    DECIMALS,
    ENOUGH_TAIL,
    HEAVY,
    MOST_SPIKES,
    SPIKE_CELLS,
    SPIKE_HEIGHT,
    SPIKE_NEIGHBOURS,
    SPIKE_SHARE,
    SPIKE_SHARE_END,
)


def grid(distinct: np.ndarray, epsilon: float = 2.0**-52) -> float:
    """The step that all differences are multiples of: the values as decimals, and their greatest common divisor.

    Args:
        distinct: different values in order.
        epsilon: relative size of the rounding in them.

    Returns:
        0 when there is no such step above rounding.
    """
    if len(distinct) < 2:
        return 0.0
    few = distinct[:: max(1, len(distinct) // 16)]
    largest = max(abs(float(distinct[0])), abs(float(distinct[-1])))
    for decimals in range(DECIMALS + 1):
        if 4 * epsilon * largest >= 0.01 / 10.0**decimals:
            return 0.0
        if _whole(few * 10.0**decimals, epsilon) and _whole(distinct * 10.0**decimals, epsilon):
            steps = np.rint(np.diff(np.rint(distinct * 10.0**decimals)))
            return float(np.gcd.reduce(steps.astype(np.int64)) / 10.0**decimals)
    return 0.0


def _whole(scaled: np.ndarray, epsilon: float) -> bool:
    rounding = 4 * epsilon * np.abs(scaled)
    off = np.abs(scaled - np.rint(scaled))
    return bool((off <= rounding).all())


def spikes(distinct: np.ndarray, counts: np.ndarray) -> tuple[float, ...]:
    """Values that are taken far more often than their neighbours, in order; see `rules.SPIKE_*`."""
    n, last = int(counts.sum()), len(counts) - 1
    share = np.full(len(counts), SPIKE_SHARE)
    share[[0, last]] = SPIKE_SHARE_END
    candidates = np.flatnonzero(counts >= np.maximum(SPIKE_CELLS, share * n))
    tall = [i for i in candidates if counts[i] >= SPIKE_HEIGHT * _around(counts, int(i))]
    tallest = sorted(sorted(tall, key=lambda i: -int(counts[i]))[:MOST_SPIKES])
    return tuple(float(distinct[i]) + 0.0 for i in tallest)


def _around(counts: np.ndarray, i: int) -> float:
    """How often a neighbour occurs, the median: another spike beside it does not hide one."""
    low = max(0, i - SPIKE_NEIGHBOURS)
    near = np.concatenate([counts[low:i], counts[i + 1 : i + 1 + SPIKE_NEIGHBOURS]])
    return float(np.median(near)) if len(near) else np.inf


def heavy_tails(values: np.ndarray, kind: Kind, at: tuple[float, ...]) -> bool:
    """True when the quantiles are spread out as a Gaussian's are not; a positive column on the log scale."""
    rest = values[~np.isin(values, at)] if at else values
    if len(rest) < ENOUGH_TAIL or kind not in (Kind.REAL, Kind.POSITIVE):
        return False
    low, first, third, high = np.quantile(np.log(rest) if kind is Kind.POSITIVE else rest, [0.025, 0.25, 0.75, 0.975])
    return bool(high - low > HEAVY * (third - first))
