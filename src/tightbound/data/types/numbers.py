"""What is noticed of a column of numbers: whether they are whole, fade out, fill an interval; their grid and tails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from tightbound.data.cells.raw import Level
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import (
    COVERED,
    DECIMALS,
    ENOUGH_BOUNDED,
    ENOUGH_TAIL,
    EXACT,
    FADED,
    FEW,
    HEAVY,
    HOLE,
    INTERVALS,
    MOST_POINT_MASSES,
    POINT_MASS_ABOVE_NEAREST,
    POINT_MASS_CELLS,
    POINT_MASS_ENOUGH,
    POINT_MASS_HEIGHT,
    POINT_MASS_NEAREST,
    POINT_MASS_NEIGHBOURS,
    POINT_MASS_SHARE,
    POINT_MASS_SHARE_END,
    REPEATS,
    THREE,
)


def amount(value: float) -> str:
    """A number for a sentence; four digits stand as a year does."""
    if value != round(value) or abs(value) >= 1e15:
        return f"{value:.6g}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"


def span(distinct: np.ndarray) -> str:
    """From where to where the values go, in words."""
    return f"from {amount(distinct[0])} to {amount(distinct[-1])}"


def is_whole(distinct: np.ndarray) -> bool:
    """Whether all values (different, in order) are whole numbers that float64 holds exactly."""
    return bool((distinct == np.rint(distinct)).all()) and bool(np.abs(distinct[[0, -1]]).max() <= EXACT)


def distinct_levels(reading: Reading) -> tuple[Level, ...]:
    """The different numbers in order: as texts where text spells each in one way, whole ones as int."""
    distinct = reading.tally[0]
    if reading.words is not None and reading.numbers is not None and len(reading.texts) == len(distinct):
        cells = zip(reading.numbers, reading.words.to_list(), strict=True)
        spelled = {float(number): text for number, text in cells if text is not None}
        return tuple(spelled[float(number)] for number in distinct)
    return tuple(int(number) if is_whole(distinct) else float(number) for number in distinct)


@final
@dataclass(frozen=True, eq=False)
class FewNumbers:
    """Up to twelve different numbers, each seen often: a scale when evenly spaced, else codes; a count if they fade.

    Attributes:
        distinct, counts: the numbers in order, and how often each occurs.
    """

    distinct: np.ndarray
    counts: np.ndarray

    @property
    def words(self) -> str:
        """The beginning of a reason."""
        return f"Only {len(self.distinct)} different numbers {span(self.distinct)}"

    @property
    def whole(self) -> bool:
        """Whether all are whole numbers."""
        return is_whole(self.distinct)

    @property
    def step(self) -> int:
        """The greatest common divisor of the differences of whole numbers."""
        return int(np.gcd.reduce(np.diff(self.distinct).astype(np.int64)))

    @property
    def holes(self) -> bool:
        """Whether a number that never occurs lies between two frequent ones."""
        if not self.whole:
            return False
        wide = np.diff(self.distinct) > self.step
        return bool((wide & (np.minimum(self.counts[:-1], self.counts[1:]) >= HOLE)).any())

    @property
    def fade(self) -> bool:
        """Whether they are counts that fade out."""
        few = len(self.distinct) <= THREE
        if not self.whole or self.step != 1 or self.distinct[0] not in ((0,) if few else (0, 1)):
            return False
        if few and not (np.diff(self.counts) < 0).all():
            return False
        last = self.counts[-1] - np.sqrt(self.counts[-1])
        return bool(last <= FADED * self.counts.max()) and not self.holes

    @property
    def doubtful(self) -> bool:
        """Whether they are three consecutive numbers, as often codes as a scale."""
        return len(self.distinct) == THREE and self.whole and self.step == 1 and bool(self.distinct[0] >= 0)


def few_numbers(reading: Reading) -> FewNumbers | None:
    """The numbers of a column that has only a few different ones, each seen often; None for all other columns."""
    distinct, counts = reading.tally
    k = len(distinct)
    if not reading.is_numbers or k < 3 or k > FEW or reading.n < REPEATS * k:
        return None
    return FewNumbers(distinct, counts)


def natural_interval(reading: Reading) -> tuple[float, float] | None:
    """The natural interval (0 to 1, 0 to 100, degrees) that the values fill and whose ends they meet."""
    distinct = reading.tally[0]
    if not reading.is_numbers or reading.n < ENOUGH_BOUNDED:
        return None
    low, high = distinct[0], distinct[-1]
    if reading.unit == "%" and low >= 0 and high <= 100:
        return 0.0, 100.0
    whole = is_whole(distinct)
    for a, b in INTERVALS:
        near = 0.02 * (b - a)
        meets = high == b and (low == a or (a == 0 and not whole))
        if (a, b) == (-1.0, 1.0):
            meets = low <= a + near and high >= b - near
        inside = a <= low and high <= b and high - low >= COVERED * (b - a)
        if inside and (meets or (a, b) == (0.0, 1.0)):
            return a, b
    return None


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


def point_masses(distinct: np.ndarray, counts: np.ndarray) -> tuple[float, ...]:
    """Values that are taken far more often than their neighbours, in order; see `rules.POINT_MASS_*`."""
    n, last = int(counts.sum()), len(counts) - 1
    share = np.full(len(counts), POINT_MASS_SHARE)
    share[[0, last]] = POINT_MASS_SHARE_END
    candidates = np.flatnonzero(counts >= np.clip(share * n, POINT_MASS_CELLS, POINT_MASS_ENOUGH))
    tall = [int(i) for i in candidates if _stands_out(counts, int(i))]
    tallest = sorted(sorted(tall, key=lambda i: -int(counts[i]))[:MOST_POINT_MASSES])
    return tuple(float(distinct[i]) + 0.0 for i in tallest)


def _stands_out(counts: np.ndarray, i: int) -> bool:
    """Whether a value is taller by far than those around it, and than the nearest: no mode of a narrow count."""
    around, nearest = _around(counts, i, POINT_MASS_NEIGHBOURS), _around(counts, i, POINT_MASS_NEAREST)
    return bool(counts[i] >= POINT_MASS_HEIGHT * around and counts[i] >= POINT_MASS_ABOVE_NEAREST * nearest)


def _around(counts: np.ndarray, i: int, reach: int) -> float:
    """How often a neighbour occurs, the median: another one beside it does not hide one."""
    near = np.concatenate([counts[max(0, i - reach) : i], counts[i + 1 : i + 1 + reach]])
    return float(np.median(near)) if len(near) else np.inf


def heavy_tails(values: np.ndarray) -> bool:
    """True when the quantiles are spread out as a Gaussian's are not."""
    if len(values) < ENOUGH_TAIL:
        return False
    low, first, third, high = np.quantile(values, [0.025, 0.25, 0.75, 0.975])
    return bool(high - low > HEAVY * (third - first))
