"""What the types on a line share: cells are numbers or moments, whose text is read by the column's format."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import polars as pl

from tightbound.data.cells.raw import RawColumn
from tightbound.data.cells.storage import is_duration, is_text, ticks, unit_in
from tightbound.data.cells.text import numbers_like
from tightbound.data.errors import complain, shorten
from tightbound.data.types.column import Column, ColumnType, bad_cell
from tightbound.data.types.numbers import amount, grid, heavy_tails, point_masses
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
        """A column of this type, with the shape of its values: grid, point masses and tails."""
        column = super().found(reading, "; ".join([reason, *reading.notes]), **what)
        distinct, counts = reading.tally
        if column.dropped:
            return column
        column = replace(column, grid=grid(distinct, _epsilon(column.storage)))
        if len(distinct) == 0:
            return column
        found = self.masses(column, distinct, counts)
        tails = self.tailed(reading.observed[~np.isin(reading.observed, found)])
        heavy = tails is not None and heavy_tails(tails)
        shares = [float(counts[distinct == at].sum() / counts.sum()) for at in found]
        clauses = [
            f"a point mass at {self.told(at)} ({_percent(share)})" for at, share in zip(found, shares, strict=True)
        ]
        reason = "; ".join([column.reason.removesuffix("."), *clauses, *(["heavy tails"] if heavy else [])]) + "."
        return replace(column, point_masses=found, heavy_tails=heavy, reason=reason)

    @abstractmethod
    def told(self, value: float) -> str:
        """A value for a sentence."""

    def tailed(self, values: np.ndarray) -> np.ndarray | None:
        """The values on the scale where heavy tails are looked for; None where they are not."""
        return None

    def masses(self, column: Column, distinct: np.ndarray, counts: np.ndarray) -> tuple[float, ...]:
        """Values of positive probability."""
        return point_masses(distinct, counts)

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

    def departs(self, column: Column, raw: RawColumn, missing: tuple[str, ...]) -> np.ndarray:
        """Those that differ by more than rounding, and all that are of another kind."""
        series, constant = raw.series, column.constant
        spelled = isinstance(constant, str)
        known = float(self.read_text(column, pl.Series([constant]))[0][0] if spelled else constant or 0.0)
        if series.dtype == pl.String:
            series = without_missing(series, missing, doubtful=True).str.strip_chars()
            numbers = self.read_text(column, series)[0]
        elif are_moments(series) is not self.moments:
            numbers = np.full(series.len(), np.nan)
        else:
            numbers = numbers_of(series)
        same = np.abs(numbers - known) <= 4 * _epsilon(column.storage) * abs(known)
        return np.asarray(series.is_not_null().to_numpy() & ~same)

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


class Numeric(Line):
    """Numbers, and spans of time as numbers of days."""

    noun = "numbers"

    @abstractmethod
    def outside(self, column: Column, numbers: np.ndarray) -> tuple[np.ndarray | None, str]:
        """Which numbers lie beyond the column's ends (None: it has none), and what they should be."""

    def told(self, value: float) -> str:
        """With commas between thousands."""
        return amount(value)

    def read_text(self, column: Column, text: pl.Series) -> tuple[np.ndarray, str]:
        """Texts as the column's format spells numbers."""
        return numbers_like(text, column.number_format), f"hold numbers, since it is {self.word}"

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


def _epsilon(storage: str) -> float:
    """Relative size of the rounding in numbers of this type."""
    single = storage.lower().startswith(("f", "d")) and "32" in storage
    return 2.0**-23 if single else 2.0**-52


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "below 0.1%"
