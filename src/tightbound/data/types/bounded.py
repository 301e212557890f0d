"""Bounded: numbers between two ends that are known."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from tightbound.data.types.column import Column
from tightbound.data.types.line import LINE, Numeric
from tightbound.data.types.numbers import amount, natural_interval, span
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import INTERVALS


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

    def is_open(self, column: Column) -> bool:
        """Whether its bounds or its format are still to be read."""
        return column.bounds is None or super().is_open(column)
