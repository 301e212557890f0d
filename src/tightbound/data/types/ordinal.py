"""Ordinal: levels that have an order."""

from __future__ import annotations

from typing import final

import numpy as np

from tightbound.data.cells.raw import Level
from tightbound.data.types.column import Column
from tightbound.data.types.levelled import Levelled, in_order
from tightbound.data.types.numbers import distinct_levels, few_numbers
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import MOST_LEVELS


@final
class Ordinal(Levelled):
    """Categories in a declared order; words of a common scale, grades, intervals; few numbers that make a scale."""

    word = "ordinal"
    families = ("cumulative_logit", "categorical")
    mark = " < "

    def infer(self, reading: Reading) -> Column | None:
        """Levels in an order."""
        if (levels := reading.raw.declared) is not None:
            if not reading.raw.ordered or len(levels) > MOST_LEVELS:
                return None
            return self.found(reading, f"Its type lists {len(levels)} categories in order", levels=levels)
        if reading.order is not None:
            levels, how = reading.order
            return self.found(reading, f"{len(levels)} levels in the order of {how}", levels=levels)
        few = few_numbers(reading)
        if few is None or few.fade or few.holes or few.doubtful:
            return None
        evenly = ", evenly spaced and each seen often" if few.whole else ", each seen often"
        return self.found(reading, f"{few.words}{evenly}: levels of a scale", levels=distinct_levels(reading))

    def arranged(self, reading: Reading, levels: tuple[Level, ...], what: str) -> tuple[Level, ...]:
        """From least to most."""
        return in_order(reading, levels)

    def usual_family(self, column: Column, values: np.ndarray, continuous: str, counts: str) -> str:
        """Cumulative logits, which two levels do not need."""
        return "cumulative_logit" if len(column.levels or ()) > 2 else "categorical"
