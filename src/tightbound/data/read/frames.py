"""pandas and polars data frames as tables (through narwhals), and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from tightbound.data.cells.text import MISSING, NumberFormat, is_number, numbers_from_text, read_numbers
from tightbound.data.coding import coded
from tightbound.data.errors import DataError, complain, listing
from tightbound.data.names import NOTHING_ASIDE, Aside, Choice, default_names, require_cells
from tightbound.data.read.arrays import numbers_from_objects
from tightbound.data.table import Table
from tightbound.data.types import Kind, TableSchema, infer_table_schema
from tightbound.data.types.column import LEVELLED


def _row_words(row: int) -> str:
    return f"row {row} (counting from 0)"


MOST_CODES = 20
OFTEN = 3
"""In a column of at most 20 different cells, a word that is there 3 times among numbers is a level."""


def table_from_frame(
    frame: nw.DataFrame[Any],
    choice: Choice,
    *,
    source: str,
    where: Callable[[int], str] = _row_words,
    named: bool | None = None,
    schema: TableSchema | None = None,
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
    labels = None if at is None else _label_values(frame[:, at])
    kept = [j for j in range(len(names)) if j not in out]
    require_cells((len(frame), len(kept)), source)
    aside = Aside(None if at is None else names[at], tuple(names[j] for j in sorted(out - {at})))
    kept_names = tuple(names[j] for j in kept) if named else default_names(len(kept))
    modelled = frame[:, kept]
    columns = None
    if schema is None:
        columns = _all_numbers({names[j]: frame[:, j] for j in kept}, source, where)
    container = "pandas" if frame.implementation.is_pandas() else "polars"
    index = frame.to_native().index if container == "pandas" else None
    if columns is None:
        return _mixed(modelled, kept_names, named, container, source, labels, index, aside, schema, unseen, as_text)
    dtypes = tuple(dtype for _, dtype in columns)
    values = _stack([c for c, _ in columns])
    return Table(
        values,
        kept_names,
        named,
        (len(kept),),
        container,
        dtypes,
        source,
        labels,
        index,
        aside if named else NOTHING_ASIDE,
        modelled.to_native(),
    )


def _mixed(
    frame: nw.DataFrame[Any],
    names: tuple[str, ...],
    named: bool,
    container: str,
    source: str,
    labels: np.ndarray | None,
    index: Any | None,
    aside: Aside,
    schema: TableSchema | None,
    unseen: str,
    as_text: bool,
) -> Table:
    """A frame as a table coded by a schema (None: inferred)."""
    native = frame.to_native()
    if as_text and schema is None:
        native = typed(native, source)
    nothing = np.empty((len(frame), 0))
    table = Table(
        nothing,
        names,
        named,
        (len(names),),
        container,
        (),
        source,
        labels,
        index,
        aside if named else NOTHING_ASIDE,
        native,
    )
    return coded(table, schema, unseen=unseen)


def _all_numbers(
    columns: Mapping[str, nw.Series[Any]], source: str, where: Callable[[int], str]
) -> list[tuple[np.ndarray, str]] | None:
    """Every column as numbers; None where some are words, categories or dates.

    Words in a column that is mostly numbers are a mistake, and an error; one sentence names all such columns.
    """
    numbers, errors, mixed = [], {}, False
    for name, column in columns.items():
        try:
            numbers.append(_numbers(column, source, name, where))
        except DataError as error:
            if isinstance(column.dtype, nw.String | nw.Object) and mostly_numbers(column.to_list()):
                errors[name] = error
            mixed = True
    if not errors:
        return None if mixed else numbers
    first, *others = errors
    if not others:
        raise errors[first]
    raise DataError(f"{str(errors[first]).removesuffix('.')}; the same goes for {listing(others, 30)}.") from None


def typed(frame: Any, source: str) -> Any:
    """A polars frame of texts, with numbers in the columns that hold plain ones: what a file's author meant."""
    found = []
    for column in infer_table_schema(frame, source=source).columns:
        series, style = frame[column.name], column.format
        number = column.kind not in (*LEVELLED, Kind.DATETIME) or all(
            isinstance(level, int | float) for level in column.levels or ("",)
        )
        if series.dtype == pl.String and number and isinstance(style, NumberFormat) and _is_plain(style):
            values = pl.Series(column.name, read_numbers(series, style)).fill_nan(None)
            whole = not style.pointed and not style.places and bool((values.drop_nulls() % 1 == 0).all())
            fits = whole and bool((values.drop_nulls().abs() < 2**53).all())
            series = values.cast(pl.Int64) if fits else values
        found.append(series)
    return pl.DataFrame(found)


def _is_plain(style: Any) -> bool:
    return style.decimal == "." and not (style.thousands or style.prefix or style.suffix)


def mostly_numbers(cells: list[Any]) -> bool:
    """Whether at least half of the different cells are numbers: then a word among them is a mistake.

    Unless the column has few different cells, and every word is there several times: "9+" is a level, no slip.
    """
    counts = Counter(cell for cell in cells if isinstance(cell, str))
    counts = Counter({word: n for word, n in counts.items() if word.strip() and word.strip() not in MISSING})
    words = list(counts)[:1000]
    numbers = {word for word in words if is_number(word)}
    if len(counts) <= MOST_CODES and all(n >= OFTEN for word, n in counts.items() if word not in numbers):
        return False
    return bool(words) and len(numbers) >= 0.5 * len(words)


def _stack(columns: list[np.ndarray]) -> np.ndarray:
    """Columns as one matrix: in their dtype when they share it, else in float64."""
    dtypes = {column.dtype for column in columns}
    values = np.empty((len(columns[0]), len(columns)), dtype=dtypes.pop() if len(dtypes) == 1 else np.float64)
    for j, column in enumerate(columns):
        values[:, j] = column
    return values


def _numbers(column: nw.Series[Any], source: str, name: str, where: Callable[[int], str]) -> tuple[np.ndarray, str]:
    """One column as numbers, and the dtype name to give back."""
    dtype = column.dtype
    if isinstance(dtype, nw.String):
        return numbers_from_text(column.to_list(), source=source, name=name, where=where)
    if isinstance(dtype, nw.Object):
        return numbers_from_objects(column.to_numpy(), source=source, name=name), "float64"
    empty = column.null_count() == len(column)
    if not (dtype.is_numeric() or isinstance(dtype, nw.Boolean) or empty):
        raise _unsupported(source, name, dtype)
    if isinstance(dtype, nw.Boolean):
        kind = "bool"
    else:
        kind = str(dtype).lower() if dtype.is_integer() or dtype.is_float() else "float64"
    if column.null_count() > 0 or kind not in _PLAIN:
        wide = nw.Float32 if kind == "float32" else nw.Float64
        return _native_floats(column.cast(wide).to_numpy()), kind if kind in _PLAIN else "float64"
    return np.asarray(column.to_numpy(), dtype=kind), kind


_PLAIN = ("bool", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def _native_floats(array: np.ndarray) -> np.ndarray:
    # pandas gives nullable columns with gaps as objects holding its NA
    if array.dtype.kind == "f":
        return array
    return np.array([np.nan if type(cell).__name__ == "NAType" else cell for cell in array], dtype=np.float64)


def _unsupported(source: str, name: str, dtype: object) -> DataError:
    return complain(
        f"Column {name!r} of {source}",
        "hold numbers",
        f"its values are of type {dtype}",
        "drop the column, or use it as the label, or convert it to numbers, texts or dates",
    )


def _label_values(column: nw.Series[Any]) -> np.ndarray:
    """Labels as numbers when they are numbers, else as text with "" where one is missing."""
    if column.dtype.is_numeric() and column.null_count() == 0:
        return np.asarray(column.to_numpy())
    if column.dtype.is_float():
        return _native_floats(np.asarray(column.to_numpy()))
    cells = column.to_list()
    return np.array(["" if cell is None or cell != cell else str(cell) for cell in cells], dtype=str)
