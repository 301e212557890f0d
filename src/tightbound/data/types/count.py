"""Count: whole numbers from 0 on."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tightbound.data.types.column import Column, bad_cell, not_given
from tightbound.data.types.line import ABOVE, COUNTS, Numeric
from tightbound.data.types.numbers import amount, few_numbers, is_whole, natural_interval, span
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import COUNT_BELOW, ENOUGH, SMALL_COUNTS


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

    def lowest(self, column: Column, values: np.ndarray) -> float:
        """0."""
        return 0.0
