"""A table's cells as codes of a schema: mixed tables, and tables of counts, sparse ones among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import narwhals as nw
import numpy as np

from tightbound.data.errors import DataError, complain, shorten
from tightbound.data.names import column_position, matched
from tightbound.data.schema import Schema, infer_schema
from tightbound.data.sparse import SparseMatrix
from tightbound.data.table import Table
from tightbound.data.types import Column, Count


def coded(
    table: Table, schema: Schema | None = None, *, unseen: str = "error", expected_by: str = "the model"
) -> Table:
    """The table's cells as codes of a schema; of a block of numbers as they are, its columns in the schema's order.

    Args:
        table: any but images, unless the schema is that of a block.
        schema: what is still open in it is read from this table; None: inferred from this table.
        unseen: "error" or "missing", for levels that the schema does not know.
        expected_by: who expects the columns, for messages.

    Raises:
        DataError: for images, for other columns, and for cells that the schema has no place for.
    """
    if schema is not None and schema.block:
        return _as_block(table, schema, expected_by)
    if schema is not None and table.coded == schema:
        return table
    if len(table.shape) > 1:
        raise complain(
            table.source,
            "be a table to be modelled column by column",
            f"each datum has the shape {table.shape}",
            "leave out the schema and the likelihood 'columns'",
        )
    if table.sparse:
        return _coded_counts(table, schema, unseen=unseen)
    native: Any = table.values if table.native is None else table.native
    if schema is None:
        schema = table.found or infer_schema(native, source=table.source)
        if isinstance(native, np.ndarray) and table.names != schema.names:
            renamed = zip(schema.columns, table.names, strict=True)
            schema = replace(schema, columns=tuple(replace(column, name=name) for column, name in renamed))
    elif any(column.is_open for column in schema.columns):
        schema = schema.settled(native, source=table.source)
    names = tuple(column.name for column in schema.modelled)
    codes = schema.codes(native, unseen=unseen, source=table.source)
    shape, dtypes = (len(names),), ("float64",) * len(names)
    return replace(table, values=codes, names=names, shape=shape, dtypes=dtypes, coded=schema, native=native)


def _as_block(table: Table, schema: Schema, expected_by: str) -> Table:
    """Numbers in the order and shape of the schema's columns, by name where both sides have the user's names."""
    _require_numbers(table)
    names, by_name = schema.names, schema.named and table.named
    at = matched(table.names, names, by_name=by_name, source=table.source, expected_by=expected_by)
    if table.shape != schema.shape and len(table.shape) > 1 and len(schema.shape) > 1:
        raise complain(
            table.source,
            f"hold data of shape {schema.shape}, as those {expected_by} was fitted on",
            f"each datum has the shape {table.shape}",
            "give images of the same size",
        )
    if by_name and table.names != names:
        table = replace(table, values=table.values[:, at], dtypes=tuple(table.dtypes[j] for j in at if j is not None))
    return replace(table, names=names, shape=schema.shape, named=schema.named)


def _require_numbers(table: Table) -> None:
    """Refuses a table of several kinds where numbers alone were fitted, naming the first column that is none."""
    if table.coded is None:
        return
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


def counted(table: Table, given: Sequence[str | int] = ()) -> Table:
    """A table without a schema, read as one of counts, but for the columns that are `given`.

    Raises:
        DataError: for columns that are not there, and cells that are no whole numbers of at least 0.
    """
    others = [column_position(key, table.names, table.source) for key in given]
    _require_counts(table, tuple(others))
    count = Column("", Count(), storage=table.values.dtype.name, reason="It is one of a table of counts")
    columns = [replace(count, name=name) for name in table.names]
    for j in others:
        found = infer_schema(np.asarray(table.values[:, j], float)[:, None], source=table.source).columns[0]
        columns[j] = replace(found, name=table.names[j], dropped=False, storage=count.storage)
    return _coded_counts(table, Schema(tuple(columns), container="numpy", named=table.named))


def _coded_counts(table: Table, schema: Schema | None, *, unseen: str = "error") -> Table:
    """The codes of a table that has a schema of counts; one that stays sparse where all but a few columns are counts.

    Raises:
        DataError: as `coded`.
    """
    if schema is None:
        return counted(table)
    others = [j for j, column in enumerate(schema.columns) if not column.type.whole]
    if len(schema.columns) != table.n_columns or any(column.dropped or column.is_open for column in schema.columns):
        return coded(table.dense(), schema, unseen=unseen)
    _require_counts(table, tuple(others))
    codes: dict[int, np.ndarray] = {}
    for j in others:
        one = Schema((schema.columns[j],), container="numpy", named=False)
        cells = np.asarray(table.values[:, j])[:, None]
        codes[j] = one.codes(cells, unseen=unseen, source=table.source)[:, 0]
    names = tuple(column.name for column in schema.columns)
    values: Any = table.values.astype(np.float64)
    if isinstance(values, SparseMatrix):
        values = values.with_columns(codes)
    else:
        for j, column in codes.items():
            values[:, j] = column
    native = None if table.sparse else table.values if table.native is None else table.native
    return replace(table, values=values, names=names, dtypes=("float64",) * len(names), coded=schema, native=native)


def _require_counts(table: Table, but: tuple[int, ...]) -> None:
    matrix = table.values if isinstance(table.values, SparseMatrix) else SparseMatrix(table.values, table.source)
    found = matrix.first_no_count(but)
    if found is not None:
        raise _no_count(table, *found)


def _no_count(table: Table, row: int, column: int) -> DataError:
    value = float(table.values[row][column])
    if np.isnan(value):
        return complain(
            f"Counts in {table.source}",
            "have no gaps where they are read as one table of counts",
            f"{table.cell(row, column)} is missing",
            "write 0 for what was not seen; of counts with gaps give a data frame or a schema",
        )
    return complain(
        table.source,
        "hold counts: whole numbers of at least 0",
        f"{table.cell(row, column)} holds {value:g}",
        "correct it, drop the column, or choose another likelihood",
    )
