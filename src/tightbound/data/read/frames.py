"""Data frames as tables: of numbers where all columns are numbers, else coded by a schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from tightbound.data.cells.objects import is_missing
from tightbound.data.cells.raw import RawColumn, RawTable, raw_table
from tightbound.data.cells.text import MISSING, NumberFormat, are_codes, most_numerals, numbers_from_text
from tightbound.data.coding import coded
from tightbound.data.errors import DataError, listing, row_words
from tightbound.data.names import NOTHING_ASIDE, Aside, Choice, default_names, require_cells
from tightbound.data.schema import Schema
from tightbound.data.table import Table
from tightbound.data.types.numbers import is_whole
from tightbound.data.types.reading import Reading, read_column, usual_mark
from tightbound.data.types.registry import decide

MOST_CODES = 20
OFTEN = 3
"""In a column of at most 20 different cells, a word that is there 3 times among numbers is a level."""


def table_from_frame(
    frame: nw.DataFrame[Any],
    choice: Choice,
    *,
    source: str,
    where: Callable[[int], str] = row_words,
    named: bool | None = None,
    schema: Schema | None = None,
    unseen: str = "error",
    text: bool = False,
    semicolons: bool = False,
) -> Table:
    """A narwhals frame as a table: of numbers if all columns are, else coded by a schema.

    Args:
        frame: the frame.
        choice: which columns to set aside.
        source: words for messages.
        where: words for a row number (a file says its line).
        named: whether the names are the user's; by default they are, unless pandas numbered the columns itself.
        schema, unseen: of a mixed table; see `as_table`.
        text: whether the cells are those of a text file, whose numbers are numbers, however it spells them.
        semicolons: whether semicolons stood between the fields of that file.

    Raises:
        DataError: for columns that are not numbers, unknown names, no rows or no columns.
    """
    names = [str(name) for name in frame.columns]
    if named is None:
        numbered: list[Any] = list(range(len(names)))
        named = list(frame.columns) != numbered
    at, out = choice.positions(names, named, source)
    kept = [j for j in range(len(names)) if j not in out]
    require_cells((len(frame), len(kept)), source)
    aside = Aside(None if at is None else names[at], tuple(names[j] for j in sorted(out - {at})))
    raw = raw_table(frame[:, kept].to_native(), source)
    pandas = raw.container == "pandas"
    table = Table(
        np.empty((len(frame), 0)),
        tuple(names[j] for j in kept) if named else default_names(len(kept)),
        named,
        (len(kept),),
        raw.container,
        (),
        source,
        labels=None if at is None else _label_values(frame[:, at]),
        index=raw.native.index if pandas else None,
        aside=aside if named else NOTHING_ASIDE,
        native=raw.native,
    )
    if schema is not None:
        return coded(table, schema, unseen=unseen)
    usual = usual_mark(raw.columns, semicolons=semicolons)
    columns = _all_numbers(raw, where, usual)
    if text and any(each.series.dtype == pl.String for each in raw.columns):
        native, found = _understood(raw, usual)
        table = replace(table, native=native, found=found)
    if columns is None:
        return coded(table, unseen=unseen)
    return replace(table, values=_stack([values for values, _ in columns]), dtypes=tuple(d for _, d in columns))


def _all_numbers(raw: RawTable, where: Callable[[int], str], usual: str) -> list[tuple[np.ndarray, str]] | None:
    """Every column as numbers, with its dtype to give back; None where some are none that float64 can hold.

    Words in a column that is mostly numbers are a mistake, and an error; one sentence names all such columns.
    """
    numbers, errors, mixed = [], {}, False
    for column in raw.columns:
        try:
            found = _as_numbers(column, raw.source, where, usual)
        except DataError as error:
            found = None
            if _mostly_numbers(column.series):
                errors[column.name] = error
        mixed = mixed or found is None
        numbers += [] if found is None else [found]
    if not errors:
        return None if mixed else numbers
    first, *others = errors
    if not others:
        raise errors[first]
    raise DataError(f"{str(errors[first]).removesuffix('.')}; the same goes for {listing(others, 30)}.") from None


def _as_numbers(
    column: RawColumn, source: str, where: Callable[[int], str], usual: str
) -> tuple[np.ndarray, str] | None:
    """The column as numbers, with its dtype to give back; None for categories, dates and codes."""
    series = column.series
    if column.categories or series.dtype.is_temporal() or are_codes(series):
        return None
    if series.dtype != pl.String:
        return _numbers(column)
    return numbers_from_text(series, source=source, name=column.name, where=where, usual=usual)


def _numbers(column: RawColumn) -> tuple[np.ndarray, str]:
    """One column of numbers, and the dtype name to give back."""
    series = column.series
    name = "bool" if series.dtype == pl.Boolean else str(series.dtype).lower()
    kind = name if name in _PLAIN and column.storage.lower() != "object" else "float64"
    if series.null_count() == 0 and kind == name:
        return series.to_numpy(), kind
    wide = pl.Float32 if kind == "float32" else pl.Float64
    return np.asarray(series.cast(wide).to_numpy()), kind


_PLAIN = ("bool", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def _mostly_numbers(texts: pl.Series) -> bool:
    """Whether at least half of the different cells are numbers: then a word among them is a mistake.

    Unless the column has few different cells, and every word is there several times: "9+" is a level, no slip.
    """
    words = texts.drop_nulls().str.strip_chars()
    counts = words.filter(~words.is_in(MISSING)).value_counts()
    spelled = most_numerals(counts[texts.name])
    if counts.height <= MOST_CODES and bool((spelled | (counts["count"] >= OFTEN)).all()):
        return False
    return 2 * int(spelled.sum()) >= counts.height > 0


def _understood(raw: RawTable, usual: str) -> tuple[pl.DataFrame, Schema]:
    """A frame of texts with numbers in the columns that hold plain ones, as a file's author meant; and its schema."""
    series, columns = [], []
    for each in raw.columns:
        text = read_column(each, source=raw.source, usual=usual)
        reading = _as_typed(text) or text
        column = decide(reading)
        if column.type.levelled and reading is not text:
            as_text = decide(text)
            if all(isinstance(level, str) for level in as_text.levels or ()):  # each is spelled in one way, and so kept
                reading, column = text, as_text
        series.append(reading.raw.series.alias(each.name))
        columns.append(column)
    return pl.DataFrame(series), Schema(tuple(columns), raw.container, raw.named)


def _as_typed(reading: Reading) -> Reading | None:
    """Text that spells numbers as programs do as a column of numbers; None for any other."""
    style = reading.format
    if reading.words is None or not isinstance(style, NumberFormat) or not style.plain:
        return None
    numbers = pl.Series(reading.numbers).fill_nan(None)
    if not style.pointed and not style.places and is_whole(reading.tally[0]):
        numbers = numbers.cast(pl.Int64)
    return read_column(RawColumn(reading.raw.name, numbers, str(numbers.dtype)))


def _stack(columns: list[np.ndarray]) -> np.ndarray:
    """Columns as one matrix: in their dtype when they share it, else in float64."""
    dtypes = {column.dtype for column in columns}
    values = np.empty((len(columns[0]), len(columns)), dtype=dtypes.pop() if len(dtypes) == 1 else np.float64)
    for j, column in enumerate(columns):
        values[:, j] = column
    return values


def _label_values(column: nw.Series[Any]) -> np.ndarray:
    """Labels as numbers when they are numbers, else as text with "" where one is missing."""
    if column.dtype.is_numeric() and column.null_count() == 0:
        return np.asarray(column.to_numpy())
    cells = [None if is_missing(cell) else cell for cell in column.to_list()]
    if column.dtype.is_float():
        return np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
    return np.array(["" if cell is None else str(cell) for cell in cells], dtype=str)
