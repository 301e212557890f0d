"""Real: any number."""

from __future__ import annotations

from typing import final

import numpy as np

from tightbound.data.types.column import Column
from tightbound.data.types.line import LINE, Numeric
from tightbound.data.types.numbers import span
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import ENOUGH


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
