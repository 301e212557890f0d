"""The rules for numbers: whole numbers stored as 3 or as 3.0 are the same, and so are numbers stored as text."""

from __future__ import annotations

import numpy as np

from tightbound.data.cells.raw import Level
from tightbound.data.types.column import Kind
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import (
    ALMOST_ALL,
    COLLISIONS,
    COUNT_BELOW,
    COVERED,
    ENOUGH,
    ENOUGH_BOUNDED,
    EXACT,
    FADED,
    FEW,
    HOLE,
    INTERVALS,
    REPEATS,
    THREE,
)
from tightbound.data.types.verdict import Verdict


def amount(value: float) -> str:
    """A number for a sentence."""
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.6g}"


def _range(distinct: np.ndarray) -> str:
    return f"from {amount(distinct[0])} to {amount(distinct[-1])}"


def _is_whole(distinct: np.ndarray) -> bool:
    return bool((distinct == np.rint(distinct)).all()) and bool(np.abs(distinct[[0, -1]]).max() <= EXACT)


def distinct_levels(reading: Reading) -> tuple[Level, ...]:
    """The different numbers in order: as texts where text spells each in one way, whole ones as int."""
    distinct = reading.tally[0]
    if reading.words is not None and reading.numbers is not None and len(reading.texts) == len(distinct):
        first = {}
        for number, text in zip(reading.numbers, reading.words.to_list(), strict=True):
            if text is not None:
                first[float(number)] = text
        return tuple(first[float(number)] for number in distinct)
    return tuple(int(number) if _is_whole(distinct) else float(number) for number in distinct)


def codes_beyond_exact(reading: Reading) -> Verdict | None:
    """Whole numbers beyond 2^53 are codes or identifiers: dropped."""
    distinct = reading.tally[0]
    if max(abs(distinct[0]), abs(distinct[-1])) <= EXACT or not reading.raw.series.dtype.is_integer():
        return None
    return Verdict(Kind.REAL, "Whole numbers beyond 2^53 are codes, not magnitudes", dropped=True)


def counting_up(reading: Reading) -> Verdict | None:
    """Whole numbers that avoid repeating where chance would repeat: identifiers, dropped."""
    distinct, n = reading.tally[0], reading.n
    if not _is_whole(distinct) or len(distinct) < ALMOST_ALL * n:
        return None
    if n * (n - 1) / 2 < COLLISIONS * (1 + 10 * (n - len(distinct))) * (distinct[-1] - distinct[0] + 1):
        return None
    return Verdict(
        Kind.REAL, f"{len(distinct):,} different whole numbers {_range(distinct)} that count up", dropped=True
    )


def two_numbers(reading: Reading) -> Verdict | None:
    """0 and 1, or any two numbers that are each seen often, are binary."""
    distinct = reading.tally[0]
    if len(distinct) != 2 or (distinct.tolist() != [0, 1] and reading.n < 2 * REPEATS):
        return None
    return Verdict(
        Kind.BINARY, f"Two different numbers, {amount(distinct[0])} and {amount(distinct[1])}", distinct_levels(reading)
    )


def few_numbers(reading: Reading) -> Verdict | None:
    """Up to twelve different numbers, each seen often: a scale when evenly spaced, else codes; a count if it fades."""
    distinct, counts = reading.tally
    k = len(distinct)
    if k > FEW or reading.n < REPEATS * k:
        return None
    levels, words = distinct_levels(reading), f"Only {k} different numbers {_range(distinct)}"
    if not _is_whole(distinct):
        return Verdict(Kind.ORDINAL, f"{words}, each seen often: levels of a scale", levels)
    step = int(np.gcd.reduce(np.diff(distinct).astype(np.int64)))
    fades = counts[-1] - np.sqrt(counts[-1]) <= FADED * counts.max()
    if step == 1 and distinct[0] in (0, 1) and fades and k > THREE and not _holes(distinct, counts, step):
        return Verdict(Kind.COUNT, f"Whole numbers {_range(distinct)} that fade out as counts do")
    if _holes(distinct, counts, step):
        return Verdict(Kind.CATEGORICAL, f"{words}, with gaps between frequent ones: codes of categories", levels)
    if k == THREE and step == 1 and distinct[0] >= 0:
        return Verdict(Kind.CATEGORICAL, f"{words}: too few to tell a scale from codes", levels)
    return Verdict(Kind.ORDINAL, f"{words}, evenly spaced and each seen often: levels of a scale", levels)


def _holes(distinct: np.ndarray, counts: np.ndarray, step: int) -> bool:
    wide = np.diff(distinct) > step
    return bool((wide & (np.minimum(counts[:-1], counts[1:]) >= HOLE)).any())


def too_few(reading: Reading) -> Verdict | None:
    """Fewer than ten numbers say nothing of the support: real."""
    if reading.n >= ENOUGH:
        return None
    return Verdict(Kind.REAL, f"{reading.n} values are too few to say more than that they are numbers")


def within_interval(reading: Reading) -> Verdict | None:
    """Values that fill a natural interval (0 to 1, 0 to 100, degrees) and meet its ends; percentages."""
    distinct = reading.tally[0]
    low, high = distinct[0], distinct[-1]
    if reading.n < ENOUGH_BOUNDED:
        return None
    if reading.unit == "%" and low >= 0 and high <= 100:
        return Verdict(Kind.BOUNDED, "Percentages between 0 and 100", bounds=(0.0, 100.0))
    whole = _is_whole(distinct)
    for a, b in INTERVALS:
        inside = a <= low and high <= b and high - low >= COVERED * (b - a)
        near = 0.02 * (b - a)
        meets = high == b and (low == a or (a == 0 and not whole))
        if (a, b) == (-1.0, 1.0):
            meets = low <= a + near and high >= b - near
        if inside and (meets or (a, b) == (0.0, 1.0)):
            words = f"Numbers {_range(distinct)} fill the interval {amount(a)} to {amount(b)}"
            return Verdict(Kind.BOUNDED, words, bounds=(a, b))
    return None


def counts(reading: Reading) -> Verdict | None:
    """Whole numbers from 0 or more, of step 1, whose typical value is small: counts."""
    distinct = reading.tally[0]
    if distinct[0] < 0 or not _is_whole(distinct) or np.gcd.reduce(np.diff(distinct).astype(np.int64)) != 1:
        return None
    typical = float(np.median(reading.observed[reading.observed > 0]))
    if typical >= COUNT_BELOW:
        return None
    return Verdict(Kind.COUNT, f"Whole numbers {_range(distinct)}, typically {amount(typical)}")


def positive(reading: Reading) -> Verdict | None:
    """No negative value among ten or more: positive; zeros are a spike, since a density on (0, inf) has none."""
    distinct = reading.tally[0]
    if distinct[0] < 0:
        return None
    rounded = ", whole but too large to be told from rounded measurements" if _is_whole(distinct) else ""
    return Verdict(Kind.POSITIVE, f"Numbers {_range(distinct)}, none negative{rounded}")


def real(reading: Reading) -> Verdict:
    """Everything else."""
    return Verdict(Kind.REAL, f"Numbers {_range(reading.tally[0])} of both signs")


NUMBER_RULES = (
    codes_beyond_exact,
    counting_up,
    two_numbers,
    few_numbers,
    too_few,
    within_interval,
    counts,
    positive,
    real,
)
