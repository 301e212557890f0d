"""Categorical: levels in no order."""

from __future__ import annotations

from typing import final

import numpy as np

from tightbound.data.cells.raw import Level
from tightbound.data.types.column import Column
from tightbound.data.types.levelled import Levelled
from tightbound.data.types.numbers import distinct_levels, few_numbers
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import DIFFERENT_TEXTS, ENOUGH_TEXTS, MOST_LEVELS


@final
class Categorical(Levelled):
    """Declared categories, words in no order that is known, few numbers that are codes; too many levels are dropped."""

    word = "categorical"
    families = ("categorical",)

    def infer(self, reading: Reading) -> Column | None:
        """Levels in no order."""
        if (declared := reading.raw.declared) is not None:
            if reading.raw.ordered and len(declared) <= MOST_LEVELS:
                return None
            return self._modelled(reading, declared, f"Its type lists {len(declared)} categories")
        if reading.numbers is None and reading.order is None:
            return self._words(reading)
        few = few_numbers(reading)
        if few is None or few.fade or not (few.holes or few.doubtful):
            return None
        why = (
            ", with gaps between frequent ones: codes of categories"
            if few.holes
            else ": too few to tell a scale from codes"
        )
        return self.found(reading, f"{few.words}{why}", levels=distinct_levels(reading))

    def _words(self, reading: Reading) -> Column:
        n, levels = reading.n, tuple(reading.texts)
        if n >= ENOUGH_TEXTS and len(levels) >= DIFFERENT_TEXTS * n:
            why = f"{len(levels):,} different texts in {n:,} cells are names or remarks, not categories"
            return self.found(reading, why, dropped=True)
        return self._modelled(reading, levels, f"{len(levels)} different words in no order that is known")

    def _modelled(self, reading: Reading, levels: tuple[Level, ...], why: str) -> Column:
        """The column with these levels, or dropped when a model cannot give so many probabilities."""
        if len(levels) <= MOST_LEVELS:
            return self.found(reading, why, levels=levels)
        why = f"{len(levels):,} levels in {reading.n:,} cells are more than the {MOST_LEVELS:,} that can be modelled"
        return self.found(reading, f"{why}; merge the rare ones", dropped=True)

    def arranged(self, reading: Reading, levels: tuple[Level, ...], what: str) -> tuple[Level, ...]:
        """As they come."""
        return levels

    def usual_family(self, column: Column, values: np.ndarray, continuous: str, counts: str) -> str:
        """Its one."""
        return "categorical"
