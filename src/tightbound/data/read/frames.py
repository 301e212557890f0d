"""Data frames as tables: of numbers where all columns are numbers, else coded by a schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from tightbound.data.cells.objects import is_missing
from tightbound.data.cells.raw import RawColumn, RawTable, raw_table
from tightbound.data.cells.text import MISSING, NumberFormat, is_number, numbers_from_text
from tightbound.data.coding import coded
from tightbound.data.errors import DataError, listing, row_words
from tightbound.data.names import NOTHING_ASIDE, Aside, Choice, default_names, require_cells
from tightbound.data.schema import Schema
from tightbound.data.table import Table
from tightbound.data.types.reading import Reading, read_column
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
    as_text: bool = False,
) -> Table:
    """A narwhals frame as a table: of numbers if all columns are, else coded by a schema.

    Args:
        frame: the frame.
        choice: which columns to set aside.
        source: words for messages.
        where: words for a row number (a file says its line).
        named: whether the names are the user's; by default they are, unless pandas numbered the columns itself.
        schema, unseen: of a mixed table; see `as_table`.
        as_text: whether numbers may have come as text, as in a file.

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
    columns = None if schema is not None else _all_numbers(raw, where)
    if columns is not None:
        return replace(table, values=_stack([values for values, _ in columns]), dtypes=tuple(d for _, d in columns))
    if as_text and schema is None:
        table = replace(table, native=_typed(raw))
    return coded(table, schema, unseen=unseen)


def _all_numbers(raw: RawTable, where: Callable[[int], str]) -> list[tuple[np.ndarray, str]] | None:
    """Every column as numbers, with its dtype to give back; None where some are words, categories or dates.

    Words in a column that is mostly numbers are a mistake, and an error; one sentence names all such columns.
    """
    numbers, errors, mixed = [], {}, False
    for column in raw.columns:
        if column.categories or column.series.dtype.is_temporal():
            mixed = True
        elif column.series.dtype != pl.String:
            numbers.append(_numbers(column))
        else:
            try:
                numbers.append(numbers_from_text(column.series, source=raw.source, name=column.name, where=where))
            except DataError as error:
                mixed = True
                if _mostly_numbers(column.series):
                    errors[column.name] = error
    if not errors:
        return None if mixed else numbers
    first, *others = errors
    if not others:
        raise errors[first]
    raise DataError(f"{str(errors[first]).removesuffix('.')}; the same goes for {listing(others, 30)}.") from None


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
    counts = Counter(word for word in texts.drop_nulls() if word.strip() not in MISSING)
    words = list(counts)[:1000]
    numbers = {word for word in words if is_number(word)}
    if len(counts) <= MOST_CODES and all(n >= OFTEN for word, n in counts.items() if word not in numbers):
        return False
    return bool(words) and len(numbers) >= 0.5 * len(words)


def _typed(raw: RawTable) -> pl.DataFrame:
    """A frame of texts, with numbers in the columns that hold plain ones: what a file's author meant."""
    found = []
    for each in raw.columns:
        reading = read_column(each, source=raw.source)
        style, column = reading.format, each.series
        if reading.words is not None and isinstance(style, NumberFormat) and style.plain and _as_number(reading):
            column = pl.Series(each.name, reading.numbers).fill_nan(None)
            whole = not style.pointed and not style.places and bool((reading.observed % 1 == 0).all())
            if whole and bool((np.abs(reading.observed) < 2**53).all()):
                column = column.cast(pl.Int64)
        found.append(column.alias(each.name))
    return pl.DataFrame(found)


def _as_number(reading: Reading) -> bool:
    """Whether text that spells numbers is a number, no level."""
    column = decide(reading)
    return not column.type.levelled or all(not isinstance(level, str) for level in column.levels or ("",))


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
