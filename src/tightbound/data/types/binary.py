"""Binary: one of two levels."""

from __future__ import annotations

from typing import final

import numpy as np
import polars as pl

from tightbound.data.cells.raw import Level
from tightbound.data.errors import complain, shorten
from tightbound.data.types.column import Column
from tightbound.data.types.levelled import Levelled, in_order
from tightbound.data.types.numbers import amount, distinct_levels
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import REPEATS


@final
class Binary(Levelled):
    """True or false; two declared categories, two words; 0 and 1, or any two numbers that are each seen often."""

    word = "binary"
    families = ("bernoulli", "categorical")

    def infer(self, reading: Reading) -> Column | None:
        """Two levels."""
        if (declared := reading.raw.declared) is not None:
            both = len(declared) == 2
            return self.found(reading, "Its type lists two categories", levels=declared) if both else None
        if reading.raw.series.dtype == pl.Boolean:
            return self.found(reading, "It is true or false", levels=(False, True))
        if reading.numbers is None and len(reading.texts) == 2:
            one, other = levels = in_order(reading, tuple(reading.texts))
            return self.found(reading, f"Two different values, {shorten(one)} and {shorten(other)}", levels=levels)
        distinct = reading.tally[0].tolist()
        if not reading.is_numbers or len(distinct) != 2 or (distinct != [0, 1] and reading.n < 2 * REPEATS):
            return None
        words = f"Two different numbers, {amount(distinct[0])} and {amount(distinct[1])}"
        return self.found(reading, words, levels=distinct_levels(reading))

    def arranged(self, reading: Reading, levels: tuple[Level, ...], what: str) -> tuple[Level, ...]:
        """In the order of their words; there must be two."""
        if len(levels) != 2:
            raise complain(what, "have two levels to be binary", f"it has {len(levels)}", "call it categorical")
        return in_order(reading, levels)

    def check(self, column: Column, what: str) -> None:
        """Two levels."""
        super().check(column, what)
        if column.levels is not None and len(column.levels) != 2:
            came = f"it is {shorten(list(column.levels))}"
            raise complain(f"The levels of {what}", "be two, since it is binary", came, "call it categorical")

    def usual_family(self, column: Column, values: np.ndarray, continuous: str, counts: str) -> str:
        """Bernoulli."""
        return "bernoulli"
