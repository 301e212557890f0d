"""Columns whose values are levels: binary, categorical, ordinal."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, final

import numpy as np
import polars as pl

from tightbound.data.cells.raw import Level, RawColumn, cell, floats
from tightbound.data.cells.text import beyond_exact, numbers_like, read_numbers
from tightbound.data.errors import UnseenLevelError, complain, cut, listing, shorten, suggestion
from tightbound.data.types.column import Column, ColumnType, not_given
from tightbound.data.types.numbers import amount, distinct_levels, few_numbers
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import DIFFERENT_TEXTS, ENOUGH_TEXTS, MOST_LEVELS, REPEATS

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
            raise UnseenLevelError(
                source,
                f"hold levels that column {column.name!r} had when it was fitted, {listing(levels)}",
                f"{cell(row, column.name)} holds {shorten(series[row])}{close}",
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
            first, second, last = (cut(levels[k], 12) for k in (0, 1, -1))
            between = ["…"] if len(levels) > 3 else []
            shown = [first, second, *between, last] if len(levels) > 2 else [cut(level, 20) for level in levels]
            text = f"{self.mark.join(shown)} ({len(levels)} levels)"
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
    if series.dtype.is_temporal() or (series.dtype.is_integer() and beyond_exact(pl.Series(words))):
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
