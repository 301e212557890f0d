"""Tables of counts, sparse ones among them: their schema, and their cells as what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tightbound.data.errors import DataError, complain
from tightbound.data.read.sparse import SparseMatrix
from tightbound.data.table import Table, column_position

if TYPE_CHECKING:
    from tightbound.data.types import TableSchema


def counted(table: Table, given: Sequence[str | int] = ()) -> Table:
    """A table without a schema, read as one of counts, but for the columns that are `given`.

    Raises:
        DataError: for columns that are not there, and cells that are no whole numbers of at least 0.
    """
    from tightbound.data.types import Kind, TableColumn, TableSchema, infer_table_schema

    others = [column_position(key, table.names, table.source) for key in given]
    _require_counts(table, tuple(others))
    count = TableColumn("", Kind.COUNT, storage=table.values.dtype.name, reason="It is one of a table of counts")
    columns = [replace(count, name=name) for name in table.names]
    for j in others:
        found = infer_table_schema(np.asarray(table.values[:, j], float)[:, None], source=table.source).columns[0]
        columns[j] = replace(found, name=table.names[j], dropped=False, storage=count.storage)
    return coded_counts(table, TableSchema(tuple(columns), container="numpy", named=table.named))


def coded_counts(table: Table, schema: TableSchema | None, *, unseen: str = "error") -> Table:
    """The codes of a table that has a schema of counts; one that stays sparse where all but a few columns are counts.

    Raises:
        DataError: as `coded`.
    """
    from tightbound.data.mixed import coded
    from tightbound.data.types import Kind, TableSchema

    if schema is None:
        return counted(table)
    if table.coded == schema:
        return table
    others = [j for j, column in enumerate(schema.columns) if column.kind is not Kind.COUNT]
    if len(schema.columns) != table.n_columns or any(column.dropped or column.is_open for column in schema.columns):
        return coded(table.dense(), schema, unseen=unseen)
    _require_counts(table, tuple(others))
    codes: dict[int, np.ndarray] = {}
    for j in others:
        one = TableSchema((schema.columns[j],), container="numpy", named=False)
        cells = np.asarray(table.values[:, j])[:, None]
        codes[j] = one.codes(cells, unseen=unseen, source=table.source)[:, 0]  # type: ignore[arg-type]
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
