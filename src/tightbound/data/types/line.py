"""What the types on a line share: cells are numbers or moments, whose text is read by the column's format."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import polars as pl

from tightbound.data.cells.raw import RawColumn
from tightbound.data.cells.storage import is_text
from tightbound.data.errors import complain, shorten
from tightbound.data.types.column import Column, ColumnType, bad_cell
from tightbound.data.types.numbers import amount, grid
from tightbound.data.types.reading import Reading, are_moments, numbers_of, require_finite_cells, without_missing

LINE = ("normal_scores", "gaussian", "student_t", "gaussian_mixture", "logistic_mixture")
ABOVE = (*LINE, "log_normal", "gamma")
COUNTS = (
    "poisson",
    "negative_binomial",
    "zero_inflated_poisson",
    "zero_inflated_negative_binomial",
    "hurdle_poisson",
    "hurdle_negative_binomial",
)
"""Families of distributions that several column types share."""


class Line(ColumnType):
    """Values on a line, each a float64."""

    noun: ClassVar[str]
    """What cells are: "numbers" or "dates"."""

    @abstractmethod
    def read_text(self, column: Column, text: pl.Series) -> tuple[np.ndarray, str]:
        """Stripped texts as numbers, NaN where one is none, and what they must be."""

    @abstractmethod
    def require_support(self, column: Column, numbers: np.ndarray, source: str) -> None:
        """Refuses numbers that the column cannot hold; warns of those beyond its ends."""

    def force(self, reading: Reading, source: str) -> Column:
        """The column as one of this type, since the user says so."""
        what = f"Column {reading.raw.name!r} of {source}"
        must = f"hold {self.noun} to be {self.word}"
        if reading.numbers is None and reading.n:
            words = reading.words if reading.words is not None else reading.raw.series
            row = int(words.is_not_null().arg_max() or 0)
            raise complain(
                what,
                must,
                f"row {row} (counting from 0) holds {shorten(words[row])}",
                "call it categorical, or name the words that stand for missing cells",
            )
        if self.moments is not reading.moment and reading.n:
            came = "its cells are dates" if reading.moment else "its cells are numbers"
            raise complain(what, must, came, "give it another type")
        return self.found(reading, f"You said that it is {self.word}")

    def found(self, reading: Reading, reason: str, **what: Any) -> Column:
        """A column of this type, with what the reading noticed and the grid of its values."""
        column = super().found(reading, "; ".join([reason, *reading.notes]), **what)
        if column.dropped:
            return column
        single = column.storage.lower().startswith(("f", "d")) and "32" in column.storage
        return replace(column, grid=grid(reading.tally[0], 2.0**-23 if single else 2.0**-52))

    def codes(
        self, column: Column, raw: RawColumn, *, missing: tuple[str, ...], unseen: str, source: str
    ) -> np.ndarray:
        """Numbers as they are, days since 1970-01-01; NaN where missing."""
        numbers = self._numbers(column, raw.series, missing, source)
        require_finite_cells(numbers, column.name, source)
        self.require_support(column, numbers, source)
        return numbers

    def _numbers(self, column: Column, series: pl.Series, missing: tuple[str, ...], source: str) -> np.ndarray:
        if series.dtype == pl.String:
            text = without_missing(series, missing, doubtful=True).str.strip_chars()
            numbers, must = self.read_text(column, text)
            wrong = np.isnan(numbers) & text.is_not_null().to_numpy()
            if wrong.any():
                row = int(wrong.argmax())
                raise bad_cell(source, column, row, must, shorten(series[row]))
            return numbers
        if are_moments(series) is not self.moments and series.null_count() < series.len():
            row = int(series.is_not_null().arg_max() or 0)
            raise bad_cell(source, column, row, f"hold {self.noun}, since it is {self.word}", str(series[row]))
        return numbers_of(series)

    def is_open(self, column: Column) -> bool:
        """Whether the format of text is still to be read."""
        return column.format is None and is_text(column.storage)

    def details(self, column: Column) -> list[str]:
        """Bounds, format, step and unit."""
        parts = [] if column.bounds is None else [f"[{amount(column.bounds[0])}, {amount(column.bounds[1])}]"]
        dates = column.date_format
        if not column.dropped:
            parts += [dates] if dates else []
            parts += [f"step {amount(column.grid)}"] if column.grid else []
        parts += [column.unit] if column.unit and not dates else []
        return [*parts, "text"] if column.format and not dates and not column.dropped else parts

    def usual_family(self, column: Column, values: np.ndarray, continuous: str, counts: str) -> str:
        """The one of continuous columns."""
        return continuous
