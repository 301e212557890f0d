"""What the types with levels share: a cell is one of a few words or numbers, given as its position among them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import polars as pl

from tightbound.data.cells.raw import Level, RawColumn, cell, floats
from tightbound.data.cells.text import numbers_like, read_numbers
from tightbound.data.errors import complain, listing, shorten, suggestion
from tightbound.data.types.column import Column, ColumnType, not_given
from tightbound.data.types.numbers import distinct_levels
from tightbound.data.types.reading import Reading

BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Levelled(ColumnType):
    """Levels: code k stands for `column.levels[k]`."""

    levelled = True
    mark: ClassVar[str] = ", "
    """What stands between levels where they are shown."""

    @abstractmethod
    def arranged(self, reading: Reading, levels: tuple[Level, ...], what: str) -> tuple[Level, ...]:
        """The levels that were found in the cells, in the order of the codes; a DataError where they do not fit."""

    def force(self, reading: Reading, source: str) -> Column:
        """The column with the levels that its type declares, or that its cells have."""
        levels = reading.raw.declared or all_levels(reading)
        levels = self.arranged(reading, levels, f"Column {reading.raw.name!r} of {source}")
        return self.found(reading, f"You said that it is {self.word}", levels=levels)

    def codes(
        self, column: Column, raw: RawColumn, *, missing: tuple[str, ...], unseen: str, source: str
    ) -> np.ndarray:
        """Positions of the cells among the levels; NaN where missing."""
        levels, series = column.levels or (), raw.series
        codes = _positions(column, series)
        unknown = np.isnan(codes) & ~self.gaps(raw, missing)
        if unseen == "error" and unknown.any():
            row = int(unknown.argmax())
            close = suggestion(str(series[row]), [str(level) for level in levels])
            raise complain(
                source,
                f"hold levels that column {column.name!r} had when it was fitted, {listing(levels)}",
                f"{cell(row, column.name)} holds {shorten(series[row])}{close}",
                "correct it, make it missing, or ask for unseen levels to be missing (unseen='missing')",
            )
        return codes

    def departs(self, column: Column, raw: RawColumn, missing: tuple[str, ...]) -> np.ndarray:
        """Other levels."""
        one = replace(column, levels=() if column.constant is None else (column.constant,))
        codes = self.codes(one, raw, missing=missing, unseen="missing", source="")
        return np.isnan(codes) & ~self.gaps(raw, missing)

    def cells(self, column: Column, codes: np.ndarray, storage: str) -> pl.Series:
        """The levels that the codes stand for."""
        levels, gone = column.levels or (), np.isnan(codes)
        plain = np.where(gone, 0, codes)
        wrong = (plain != np.rint(plain)) | (plain < 0) | (plain >= max(1, len(levels)))
        if wrong.any():
            row = int(wrong.argmax())
            raise complain(
                f"Column {column.name!r} of The matrix",
                f"hold level codes, whole numbers from 0 to {len(levels) - 1}",
                f"row {row} (counting from 0) holds {codes[row]:g}",
                "round to the level that is meant",
            )
        if not levels:
            return pl.Series([None] * len(codes), dtype=pl.String)
        values = pl.Series(list(levels), strict=False)
        return values.gather(pl.Series(plain.astype(np.uint32))).set(pl.Series(gone), None)

    def code(self, column: Column, value: Any) -> float:
        """The level of that name; yes and no, 1 and 0 for true and false."""
        levels, text = column.levels or (), str(value).strip()
        found = [k for k, level in enumerate(levels) if level == value or str(level) == text]
        found += [k for k, level in enumerate(levels) if str(level) == text.removesuffix(".0")]
        if not found and {*levels} == {False, True} and text.lower() in BOOLEANS:
            found = [levels.index(BOOLEANS[text.lower()])]
        if not found:
            shown = ", ".join(map(str, levels[:10])) + (", ..." if len(levels) > 10 else "")
            raise not_given(column, f"one of its levels, {shown}", value, "give one of those")
        return float(found[0])

    def written(self, column: Column, code: float) -> Any:
        """The level."""
        return (column.levels or ())[int(code)]

    def is_open(self, column: Column) -> bool:
        """Whether its levels are still to be read."""
        return column.levels is None

    def kept_as(self, column: Column) -> Any:
        """The type of its levels, text where they are of several."""
        types = {type(level) for level in column.levels or ()}
        return types.pop() if len(types) == 1 else str

    def details(self, column: Column) -> list[str]:
        """Its levels, a long list cut short, and their unit."""
        if column.levels is None:
            return [column.unit] if column.unit else []
        levels = [str(level) for level in column.levels]
        text = self.mark.join(levels)
        if len(text) > 40:
            ends = self.mark.join(levels[:2])[:30], levels[-1][:15]
            text = f"{ends[0]}{self.mark}...{self.mark}{ends[1]} ({len(levels)} levels)"
        beside = ("" if column.dropped else column.date_format) if column.date_format else column.unit
        return [text, beside] if beside else [text]


def all_levels(reading: Reading) -> tuple[Level, ...]:
    """The different values of a column, in order."""
    if reading.numbers is None:
        return tuple(reading.texts)
    if reading.raw.series.dtype == pl.Boolean:
        return tuple(bool(value) for value in reading.tally[0])
    return distinct_levels(reading)


def in_order(reading: Reading, levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """The levels in the order of their words, where they have one and the column's type declares none."""
    return reading.order[0] if reading.order and reading.raw.declared is None else levels


def _positions(column: Column, series: pl.Series) -> np.ndarray:
    """Codes of the cells that are levels: words with words, numbers with numbers."""
    levels = column.levels or ()
    words = [str(level) for level in levels]
    if series.dtype == pl.Null or not levels:
        return np.full(series.len(), np.nan)
    if series.dtype == pl.String and all(type(level) is str for level in levels):
        exact = _looked_up(series, words)
        return np.where(np.isnan(exact), _looked_up(series.str.strip_chars(), words), exact)
    if series.dtype == pl.String and all(type(level) is bool for level in levels):
        return _looked_up(series.str.strip_chars().str.to_lowercase(), [word.lower() for word in words])
    if series.dtype.is_temporal():
        return _looked_up(series.cast(pl.String), words)
    return _numbers_looked_up(column, series)


def _looked_up(series: pl.Series, levels: list[str]) -> np.ndarray:
    codes = pl.Series(range(len(levels)), dtype=pl.Float64)
    found = series.replace_strict(pl.Series(levels, dtype=pl.String), codes, default=None, return_dtype=pl.Float64)
    return floats(found)


def _numbers_looked_up(column: Column, series: pl.Series) -> np.ndarray:
    style, levels = column.number_format, column.levels or ()
    if all(type(level) is str for level in levels):
        known = read_numbers(pl.Series(levels, dtype=pl.String), style)
    else:
        known = np.array([float(level) for level in levels])
    given = numbers_like(series, style) if series.dtype == pl.String else floats(series)
    order = np.argsort(known)  # NaN last
    at = np.clip(np.searchsorted(known[order], given), 0, len(known) - 1)
    return np.where(known[order][at] == given, order[at].astype(np.float64), np.nan)
