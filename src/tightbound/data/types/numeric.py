"""What the types of numbers share: spikes, tails, spans of time, and how text spells them."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from tightbound.data.cells.storage import is_duration, is_text, ticks, unit_in
from tightbound.data.cells.text import read_numbers
from tightbound.data.errors import complain, shorten
from tightbound.data.types.column import Column
from tightbound.data.types.line import Line
from tightbound.data.types.numbers import amount, heavy_tails, spikes
from tightbound.data.types.reading import Reading


class Numeric(Line):
    """Numbers, and spans of time as numbers of days."""

    noun = "numbers"

    @abstractmethod
    def outside(self, column: Column, numbers: np.ndarray) -> tuple[np.ndarray | None, str]:
        """Which numbers lie beyond the column's ends (None: it has none), and what they should be."""

    def tailed(self, values: np.ndarray) -> np.ndarray | None:
        """The values on the scale where heavy tails are looked for; None where they are not."""
        return None

    def spiked(self, distinct: np.ndarray, counts: np.ndarray) -> tuple[float, ...]:
        """Values of positive probability."""
        return spikes(distinct, counts)

    def found(self, reading: Reading, reason: str, **what: Any) -> Column:
        """A column of this type, with the shape of its values: grid, spikes and tails."""
        column = super().found(reading, reason, **what)
        distinct, counts = reading.tally
        if column.dropped or len(distinct) == 0:
            return column
        found = self.spiked(distinct, counts)
        tails = self.tailed(reading.observed[~np.isin(reading.observed, found)])
        heavy = tails is not None and heavy_tails(tails)
        shares = [float(counts[distinct == at].sum() / counts.sum()) for at in found]
        clauses = [f"a spike at {amount(at)} ({_percent(share)})" for at, share in zip(found, shares, strict=True)]
        reason = "; ".join([column.reason.removesuffix("."), *clauses, *(["heavy tails"] if heavy else [])]) + "."
        return replace(column, spikes=found, heavy_tails=heavy, reason=reason)

    def read_text(self, column: Column, text: pl.Series) -> tuple[np.ndarray, str]:
        """Texts as the column's format spells numbers."""
        return read_numbers(text, column.number_format), f"hold numbers, since it is {self.word}"

    def require_support(self, column: Column, numbers: np.ndarray, source: str) -> None:
        """Warns of numbers beyond the column's ends."""
        with np.errstate(invalid="ignore"):
            outside, should = self.outside(column, numbers)
        if outside is not None and outside.any():
            row = int(outside.argmax())
            # Where a column ends was read off other rows: to go beyond is unlikely, not impossible.
            warnings.warn(
                f"Column {column.name!r} of {source} should {should}, as the fitted rows do, but {int(outside.sum())} "
                f"of its cells do not: row {row} (counting from 0) holds {numbers[row]:.15g}. Such rows count as "
                "unlikely.",
                UserWarning,
                stacklevel=2,
            )

    def cells(self, column: Column, codes: np.ndarray, storage: str) -> pl.Series:
        """Numbers as they are, spans of time, or the text that spells them."""
        if is_duration(storage):
            return ticks(codes, unit_in(storage)).cast(pl.Duration(unit_in(storage)))
        series = pl.Series(codes, dtype=pl.Float64).fill_nan(None)
        if not is_text(storage, column.format):
            return series
        return pl.Series([None if x is None else column.number_format.spell(x) for x in series], dtype=pl.String)

    def kept_as(self, column: Column) -> Any:
        """Text, spans of time, whole numbers or floats."""
        if is_text(column.storage, column.format):
            return str
        if is_duration(column.storage):
            return "duration"
        return int if column.storage.lower().startswith(("int", "uint")) else float

    def check(self, column: Column, what: str) -> None:
        """No format of dates."""
        super().check(column, what)
        if column.date_format:
            came = f"it is {shorten(column.date_format)}"
            raise complain(f"Entry 'format' of {what}", "be a format of numbers", came, "set it to null")


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "below 0.1%"
