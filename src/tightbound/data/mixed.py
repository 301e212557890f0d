"""Mixed tables: frames with texts, categories and dates, as codes of a schema."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tightbound.data.errors import complain, shorten
from tightbound.data.table import Table

if TYPE_CHECKING:
    from tightbound.data.types import TableSchema

MOST_CODES = 20
OFTEN = 3
"""In a column of at most 20 different cells, a word that is there 3 times among numbers is a level."""


def coded(table: Table, schema: TableSchema | None = None, *, unseen: str = "error") -> Table:
    """The table's cells as codes of a schema.

    Args:
        table: any but images.
        schema: what is still open in it is read from this table; None: inferred from this table.
        unseen: "error" or "missing", for levels that the schema does not know.

    Raises:
        DataError: for images, and for cells that the schema has no place for.
    """
    from tightbound.data.types import infer_table_schema

    if len(table.shape) > 1:
        raise complain(
            table.source,
            "be a table to be modelled column by column",
            f"each datum has the shape {table.shape}",
            "leave out the schema and the likelihood 'columns'",
        )
    if table.sparse:
        from tightbound.data.counting import coded_counts

        return coded_counts(table, schema, unseen=unseen)
    native: Any = table.values if table.native is None else table.native
    if schema is None:
        schema = infer_table_schema(native, source=table.source)
        if isinstance(native, np.ndarray) and table.names != schema.names:
            renamed = zip(schema.columns, table.names, strict=True)
            schema = replace(schema, columns=tuple(replace(column, name=name) for column, name in renamed))
    elif any(column.is_open for column in schema.columns):
        schema = schema.settled(native, source=table.source)
    names = tuple(column.name for column in schema.modelled)
    codes = schema.codes(native, unseen=unseen, source=table.source)  # type: ignore[arg-type]
    shape, dtypes = (len(names),), ("float64",) * len(names)
    return replace(table, values=codes, names=names, shape=shape, dtypes=dtypes, coded=schema, native=native)


def typed(frame: Any, source: str) -> Any:
    """A polars frame of texts, with numbers in the columns that hold plain ones: what a file's author meant."""
    import polars as pl

    from tightbound.data.types import infer_table_schema
    from tightbound.data.types.column import LEVELLED, Kind, NumberFormat
    from tightbound.data.types.numerals import read_numbers

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
    from tightbound.data.read.text import MISSING, is_number

    counts = Counter(cell for cell in cells if isinstance(cell, str))
    counts = Counter({word: n for word, n in counts.items() if word.strip() and word.strip() not in MISSING})
    words = list(counts)[:1000]
    numbers = {word for word in words if is_number(word)}
    if len(counts) <= MOST_CODES and all(n >= OFTEN for word, n in counts.items() if word not in numbers):
        return False
    return bool(words) and len(numbers) >= 0.5 * len(words)


def require_numbers(table: Table) -> None:
    """Refuses a table of several kinds where numbers alone were fitted, naming the first column that is none."""
    if table.coded is None:
        return
    import narwhals as nw

    native: Any = table.native
    frame = nw.from_native(native)
    for name in frame.columns:
        column = frame[name]
        if not (column.dtype.is_numeric() or isinstance(column.dtype, nw.Boolean)) and column.null_count() < len(
            column
        ):
            raise complain(
                f"Column {name!r} of {table.source}",
                "hold numbers, as it did when the model was fitted",
                f"it holds {shorten(column.drop_nulls()[0])}",
                "correct it, or drop the column (an empty cell is a missing value)",
            )
