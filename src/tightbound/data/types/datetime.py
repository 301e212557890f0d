"""Datetime: dates and moments, as days since 1970-01-01 in UTC."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import polars as pl

from tightbound.data.cells.dates import FORMATS, date_format, read_dates, spell_dates
from tightbound.data.cells.storage import is_text, ticks, unit_in
from tightbound.data.errors import complain
from tightbound.data.types.column import Column, not_given
from tightbound.data.types.line import LINE, Line
from tightbound.data.types.reading import Reading, days_from_ticks

_YEARS = (-719_162.0, 2_932_896.0)
_NANOSECONDS = (-106_751.0, 106_751.0)
"""Days of 0001-01-01 and 9999-12-31, and those that 64 bits of nanoseconds reach."""


@final
class Datetime(Line):
    """Dates, with or without times."""

    word = "datetime"
    families = LINE
    moments = True
    noun = "dates"

    def infer(self, reading: Reading) -> Column | None:
        """Whatever is a date."""
        if not reading.moment:
            return None
        days = (reading.observed.min(), reading.observed.max())
        first, last = (str(np.datetime64(int(np.floor(day)), "D")) for day in days)
        how = f"Dates written as {reading.format}" if reading.format else "Dates"
        return self.found(reading, f"{how}, from {first} to {last}")

    def read_text(self, column: Column, text: pl.Series) -> tuple[np.ndarray, str]:
        """Texts as the column's format spells dates, or the format that reads them all."""
        style = column.date_format or _found_format(text)
        return days_from_ticks(read_dates(text, style)), f"hold dates written as {FORMATS.get(style, style)}"

    def code(self, column: Column, value: Any) -> float:
        """A date, or its days since 1970-01-01."""
        if isinstance(value, int | float):
            return super().code(column, value)
        try:
            moment: np.datetime64 = np.datetime64(str(value), "us")
        except ValueError:
            moment = np.datetime64("NaT", "us")
        if np.isnat(moment):
            raise not_given(column, "a date such as 2024-02-29 or 2024-02-29T12:30", value, "correct it")
        return float((moment - np.datetime64("1970-01-01", "us")) / np.timedelta64(1, "D"))

    def written(self, column: Column, code: float) -> Any:
        """A date, to the second."""
        return self.told(code)

    def told(self, value: float) -> str:
        """A date."""
        moment = np.datetime64("1970-01-01", "s") + np.timedelta64(round(value * 86_400), "s")
        return str(moment).removesuffix("T00:00:00")

    def require_support(self, column: Column, numbers: np.ndarray, source: str) -> None:
        """Every moment can be."""

    def cells(self, column: Column, codes: np.ndarray, storage: str) -> pl.Series:
        """Moments, or the text that spells them."""
        moments = ticks(codes, unit_in(storage)).cast(pl.Datetime(unit_in(storage)))
        if not is_text(storage, column.format):
            return moments
        return spell_dates(moments, column.date_format or "%Y-%m-%d")

    def kept_as(self, column: Column) -> Any:
        """Text or moments."""
        return str if is_text(column.storage, column.format) else "moment"

    def check(self, column: Column, what: str) -> None:
        """No format of numbers."""
        super().check(column, what)
        if column.format is not None and not column.date_format:
            raise complain(
                f"Entry 'format' of {what}", "be a format of dates", "it is one of numbers", "set it to null"
            )

    def lowest(self, column: Column, values: np.ndarray) -> float:
        """The first day that can be written: of the year 1, or of what nanoseconds reach."""
        return _NANOSECONDS[0] if unit_in(column.storage) == "ns" else _YEARS[0]

    def highest(self, column: Column) -> float:
        """The last one."""
        return _NANOSECONDS[1] if unit_in(column.storage) == "ns" else _YEARS[1]

    def step(self, column: Column) -> float:
        """A grid of less than a tenth of a second is that of the clock."""
        return column.grid if column.grid >= 1e-6 else 0.0


def _found_format(text: pl.Series) -> str:
    texts = text.drop_nulls().unique().sort()
    found = date_format(texts) if texts.len() else None
    return found[0] if found else "%Y-%m-%d"
