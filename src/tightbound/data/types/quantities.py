"""Columns of numbers on the line: real, positive, bounded, counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import numpy as np

from tightbound.data.types.column import Column, bad_cell, not_given
from tightbound.data.types.line import ABOVE, COUNTS, LINE, Numeric
from tightbound.data.types.numbers import amount, few_numbers, is_whole, natural_interval, point_masses, span
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import COUNT_BELOW, ENOUGH, INTERVALS, SMALL_COUNTS


@final
class Real(Numeric):
    """Numbers of both signs, and too few numbers to say more: real excludes nothing."""

    word = "real"
    families = LINE
    any_number = True

    def infer(self, reading: Reading) -> Column | None:
        """Whatever is a number."""
        if not reading.is_numbers:
            return None
        if reading.n < ENOUGH:
            return self.found(reading, f"{reading.n} values are too few to say more than that they are numbers")
        return self.found(reading, f"Numbers {span(reading.tally[0])} of both signs")

    def tailed(self, values: np.ndarray) -> np.ndarray:
        """Tails as they are."""
        return values

    def outside(self, column: Column, numbers: np.ndarray) -> tuple[None, str]:
        """It has no ends."""
        return None, ""


@final
class Positive(Numeric):
    """No negative value among ten or more; zeros are a point mass, since a density on (0, inf) has none."""

    word = "positive"
    families = ABOVE

    def infer(self, reading: Reading) -> Column | None:
        """Numbers of which none is negative."""
        if not reading.is_numbers or reading.n < ENOUGH or reading.tally[0][0] < 0:
            return None
        distinct = reading.tally[0]
        rounded = ", whole but too large to be told from rounded measurements" if is_whole(distinct) else ""
        return self.found(reading, f"Numbers {span(distinct)}, none negative{rounded}")

    def masses(self, column: Column, distinct: np.ndarray, counts: np.ndarray) -> tuple[float, ...]:
        """Zero is one as soon as it occurs."""
        found = point_masses(distinct, counts)
        return (0.0, *found) if distinct[0] == 0 and 0.0 not in found else found

    def tailed(self, values: np.ndarray) -> np.ndarray:
        """Tails on the scale of the logarithm."""
        return np.asarray(np.log(values))

    def outside(self, column: Column, numbers: np.ndarray) -> tuple[np.ndarray, str]:
        """What is not above 0 and no point mass."""
        should = "hold numbers above 0" + (" or 0 itself" if 0.0 in column.point_masses else "")
        return (numbers <= 0) & ~np.isin(numbers, column.point_masses), should

    def support(self, column: Column) -> tuple[float, float]:
        """0 is excluded."""
        return 0.0, np.inf

    def lowest(self, column: Column, values: np.ndarray) -> float:
        """One step of the grid, or the smallest number there is."""
        return column.grid or float(np.finfo(np.float64).tiny)


@final
class Bounded(Numeric):
    """Values that fill a natural interval (0 to 1, 0 to 100, degrees) and meet its ends; percentages."""

    word = "bounded"
    families = (*LINE, "beta")
    ends = True

    def infer(self, reading: Reading) -> Column | None:
        """Numbers that fill a natural interval."""
        bounds = natural_interval(reading)
        if bounds is None:
            return None
        if reading.unit == "%" and bounds == (0.0, 100.0):
            return self.found(reading, "Percentages between 0 and 100", bounds=bounds)
        low, high = bounds
        words = f"Numbers {span(reading.tally[0])} fill the interval {amount(low)} to {amount(high)}"
        return self.found(reading, words, bounds=bounds)

    def force(self, reading: Reading, source: str) -> Column:
        """Between the ends of the first natural interval around the values, or their range."""
        column = super().force(reading, source)
        low, high = (reading.observed.min(), reading.observed.max()) if len(reading.observed) else (0.0, 1.0)
        around = (float(low), float(high if high > low else low + 1.0))
        return replace(column, bounds=next(((a, b) for a, b in INTERVALS if a <= low and high <= b), around))

    def outside(self, column: Column, numbers: np.ndarray) -> tuple[np.ndarray | None, str]:
        """What lies beyond the bounds."""
        if column.bounds is None:
            return None, ""
        low, high = column.bounds
        return (numbers < low) | (numbers > high), f"hold numbers from {low:g} to {high:g}"

    def masses(self, column: Column, distinct: np.ndarray, counts: np.ndarray) -> tuple[float, ...]:
        """An end is one as soon as it occurs: a density between the ends has none."""
        found = point_masses(distinct, counts)
        return tuple(sorted({*found, *(end for end in column.bounds or () if end in distinct[[0, -1]])}))

    def support(self, column: Column) -> tuple[float, float]:
        """Its bounds."""
        return (-np.inf, np.inf) if column.bounds is None else column.bounds

    def is_open(self, column: Column) -> bool:
        """Whether its bounds or its format are still to be read."""
        return column.bounds is None or super().is_open(column)


@final
class Count(Numeric):
    """Whole numbers from 0 or more, of step 1, whose typical value is small; few different ones if they fade out."""

    word = "count"
    families = (*COUNTS, *ABOVE)
    whole = True

    def infer(self, reading: Reading) -> Column | None:
        """Whole numbers of step 1 that are small, or fade out."""
        if few := few_numbers(reading):
            words = f"Whole numbers {span(few.distinct)} that fade out as counts do"
            return self.found(reading, words) if few.fade else None
        distinct = reading.tally[0]
        if not reading.is_numbers or reading.n < ENOUGH or distinct[0] < 0 or not is_whole(distinct):
            return None
        step = np.gcd.reduce(np.diff(distinct).astype(np.int64))
        typical = float(np.median(reading.observed[reading.observed > 0]))
        if step != 1 or typical >= COUNT_BELOW or natural_interval(reading) is not None:
            return None
        return self.found(reading, f"Whole numbers {span(distinct)}, typically {amount(typical)}")

    def outside(self, column: Column, numbers: np.ndarray) -> tuple[np.ndarray, str]:
        """What is no count."""
        return (numbers < 0) | (numbers != np.rint(numbers)) & ~np.isnan(numbers), "hold counts (0, 1, 2, ...)"

    def code(self, column: Column, value: Any) -> float:
        """A whole number."""
        number = super().code(column, value)
        if number != round(number):
            raise not_given(column, "a whole number", number, "give a count")
        return number

    def require_support(self, column: Column, numbers: np.ndarray, source: str) -> None:
        """Refuses what is no count."""
        outside, must = self.outside(column, numbers)
        if outside.any():
            row = int(outside.argmax())
            raise bad_cell(source, column, row, must, f"{numbers[row]:.15g}")

    def usual_family(self, column: Column, values: np.ndarray, continuous: str, counts: str) -> str:
        """A negative binomial for small counts that spread at least as far as a Poisson; others go on the line."""
        if counts != "auto":
            return counts
        if len(values):
            mean, variance = float(values.mean()), float(values.var())
            if mean < SMALL_COUNTS and variance >= 0.8 * mean:
                return "hurdle_negative_binomial" if 0.0 in column.point_masses else "negative_binomial"
        return continuous

    def support(self, column: Column) -> tuple[float, float]:
        """0 is what is rounded to it."""
        return -0.5, np.inf

    def lowest(self, column: Column, values: np.ndarray) -> float:
        """0."""
        return 0.0
