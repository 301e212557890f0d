"""A raw column as numbers, words, or both: text is read, missing words become missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np
import polars as pl

from tightbound.data.cells.dates import date_format, mixed_dates, read_dates
from tightbound.data.cells.raw import RawColumn, cell, floats
from tightbound.data.cells.storage import PER_DAY
from tightbound.data.cells.text import (
    MISSING,
    NumberFormat,
    are_codes,
    distinct,
    most_numerals,
    number_format,
    read_numbers,
    unit_of,
    usual_decimal,
)
from tightbound.data.errors import complain, shorten
from tightbound.data.types.orders import ordered_levels
from tightbound.data.types.rules import MISSING_AMONG_NUMBERS, MISSING_ANYWHERE, MIXED_NUMBERS


@final
@dataclass(frozen=True, eq=False)
class Reading:
    """A column as it is understood.

    Attributes:
        raw: the column as it came.
        words: its texts, as they came, null where missing; None for a column of another type.
        numbers: (n,) float64, NaN where missing; days for dates and durations. None for words.
        format: how text was read as numbers or dates.
        unit: "%", "$", "days", or "".
        moment: True for dates and times.
        notes: what was noticed on the way, as clauses.
    """

    raw: RawColumn
    words: pl.Series | None = None
    numbers: np.ndarray | None = None
    format: NumberFormat | str | None = None
    unit: str = ""
    moment: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def is_numbers(self) -> bool:
        """True for numbers, written as text or not, that are neither moments, truths nor declared categories."""
        truths = self.raw.series.dtype == pl.Boolean
        return self.numbers is not None and not (self.moment or truths or self.raw.declared is not None)

    @cached_property
    def observed(self) -> np.ndarray:
        """The observed numbers (none for words)."""
        return np.empty(0) if self.numbers is None else self.numbers[~np.isnan(self.numbers)]

    @cached_property
    def tally(self) -> tuple[np.ndarray, np.ndarray]:
        """The different numbers in order, and how often each occurs."""
        distinct, counts = np.unique(self.observed, return_counts=True)
        return distinct, counts

    @cached_property
    def texts(self) -> list[str]:
        """The different words, in order of their characters."""
        return [] if self.words is None else self.words.drop_nulls().unique().sort().to_list()

    @cached_property
    def order(self) -> tuple[tuple[str, ...], str] | None:
        """The different words from least to most and what orders them; None for numbers, and when nothing does."""
        return ordered_levels(self.texts) if self.numbers is None else None

    @property
    def n(self) -> int:
        """Number of observed cells."""
        if self.words is not None:
            return self.words.len() - self.words.null_count()
        return len(self.observed)

    @property
    def n_missing(self) -> int:
        """Number of missing cells."""
        return self.raw.series.len() - self.n


def usual_mark(columns: Iterable[RawColumn], missing: Sequence[str] = (), semicolons: bool = False) -> str:
    """The decimal mark of a table's texts; see `usual_decimal`."""
    texts = [each.series for each in columns if each.series.dtype == pl.String and each.declared is None]
    return usual_decimal((distinct(without_missing(each, missing, doubtful=True)) for each in texts), semicolons)


def read_column(
    raw: RawColumn, missing: Sequence[str] = (), source: str = "X", *, strict: bool = True, usual: str = "."
) -> Reading:
    """The column as it is understood.

    Args:
        raw: the column as it came.
        missing: words for missing, beside the usual ones.
        source: words for messages.
        strict: False to take a column of several types or formats as words.
        usual: the decimal mark to assume where a column could be read with either.

    Raises:
        DataError: for dates in several formats, numbers among which single cells are words, and infinite numbers.
    """
    series = raw.series
    if series.dtype == pl.String:
        if raw.declared is not None:
            return Reading(raw, words=series)
        return _read_text(raw, missing, source, strict, usual)
    if raw.declared is None and are_codes(series):
        return Reading(raw, words=series.cast(pl.String))
    numbers = numbers_of(series)
    require_finite_cells(numbers, raw.name, source)
    return Reading(raw, numbers=numbers, unit="days" if series.dtype.is_temporal() else "", moment=are_moments(series))


def are_moments(series: pl.Series) -> bool:
    """Whether a series is of dates or of moments."""
    return series.dtype.base_type() in (pl.Date, pl.Datetime)


def numbers_of(series: pl.Series) -> np.ndarray:
    """Anything but text as float64: numbers as they are, dates and spans of time in days; NaN where null."""
    if series.dtype == pl.Null:
        return np.full(series.len(), np.nan)
    return days_from_ticks(series) if series.dtype.is_temporal() else floats(series)


def days_from_ticks(series: pl.Series) -> np.ndarray:
    """Dates, moments, durations and times of day as days (since 1970-01-01 in UTC, for the first two)."""
    if series.dtype == pl.Date:
        return floats(series.to_physical())
    ticks, per_day = series.to_physical(), PER_DAY[getattr(series.dtype, "time_unit", "ns")]
    gone = ticks.is_null().to_numpy()
    whole, rest = np.divmod(ticks.fill_null(0).to_numpy(), per_day)
    return np.where(gone, np.nan, whole + rest / per_day)


def require_finite_cells(numbers: np.ndarray, name: str, source: str) -> None:
    """Refuses infinity, naming its first cell."""
    infinite = np.isinf(numbers)
    if infinite.any():
        raise complain(
            source,
            "hold finite numbers or missing cells",
            f"{cell(int(infinite.argmax()), name)} holds infinity",
            "correct it, or make it missing",
        )


def without_missing(series: pl.Series, missing: Sequence[str], doubtful: bool) -> pl.Series:
    """Text with null where a cell is empty or spells a missing value; `doubtful` words count as missing too."""
    usual = [word for word in MISSING if word not in MISSING_AMONG_NUMBERS]
    words = [*usual, *MISSING_ANYWHERE, *missing, *(MISSING_AMONG_NUMBERS if doubtful else ())]
    return series.set(series.str.strip_chars().is_in(words), None)


def _read_text(raw: RawColumn, missing: Sequence[str], source: str, strict: bool, usual: str) -> Reading:
    plain = without_missing(raw.series, missing, doubtful=False)
    bare = without_missing(raw.series, missing, doubtful=True)
    texts = distinct(bare)
    if texts.len() == 0:
        return Reading(raw, words=bare)
    if found := date_format(texts):
        style, ambiguous = found
        notes = ("day and month could be the other way round; day first is assumed",) if ambiguous else ()
        numbers = days_from_ticks(read_dates(bare.str.strip_chars(), style))
        return Reading(raw, bare, numbers, style, "days", True, notes)
    if numeric := number_format(texts, usual):
        numbers = read_numbers(bare, numeric)
        require_finite_cells(numbers, raw.name, source)
        return Reading(raw, bare, numbers, numeric, unit_of(numeric), False, _notes(numeric, bare, plain))
    if strict:
        _require_unmixed(bare, raw.name, source)
    return Reading(raw, words=_lone_dash_missing(plain))


def _notes(style: NumberFormat, strict: pl.Series, plain: pl.Series) -> tuple[str, ...]:
    marks = []
    if style.thousands or style.decimal != ".":
        marks.append(
            f"decimal mark {style.decimal!r}" + (f", thousands {style.thousands!r}" if style.thousands else "")
        )
    if unit_of(style):
        marks.append(f"unit {unit_of(style)!r}")
    notes = ["the numbers are stored as text" + (f" ({', '.join(marks)})" if marks else "")]
    gone = plain.filter(strict.is_null() & plain.is_not_null()).str.strip_chars().unique().sort().to_list()
    return (*notes, *([f"{' and '.join(repr(word) for word in gone)} is taken as missing"] if gone else []))


def _lone_dash_missing(words: pl.Series) -> pl.Series:
    """A dash among words is a missing cell, unless there is a plus as well."""
    marks = words.str.strip_chars()
    if bool(marks.is_in(["+"]).any()) or not bool(marks.is_in(["-", "--"]).any()):
        return words
    return words.set(marks.is_in(["-", "--"]), None)


def _require_unmixed(words: pl.Series, name: str, source: str) -> None:
    texts = words.str.strip_chars()
    if error := mixed_dates(texts, name, source):
        raise error
    numbers = most_numerals(texts)
    n, count = texts.len() - texts.null_count(), int(numbers.sum() or 0)
    if count * 2 < n or count == n or texts.filter(numbers).n_unique() <= MIXED_NUMBERS or _is_codes(texts):
        return
    row = int(numbers.arg_min() or 0)
    raise complain(
        f"Column {name!r} of {source}",
        "hold values of one type",
        f"row {row} (counting from 0) holds {shorten(words[row])} where {count} of {n} cells hold numbers",
        "correct that cell, name that word as missing, or say that the column is categorical",
    )


def _is_codes(texts: pl.Series) -> bool:
    return bool(texts.drop_nulls().str.contains(r"^\d+$").all())
