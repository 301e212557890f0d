"""Where x comes from: files, tables, what is known of their columns, and how a model sees them."""

from typing import TYPE_CHECKING, Any

from tightbound.data.counting import counted
from tightbound.data.encoding import Encoding, Rows, make_encoding
from tightbound.data.errors import DataError
from tightbound.data.filling import filled_text, write_frame
from tightbound.data.likelihood import Decision, decide_likelihood
from tightbound.data.mixed import coded
from tightbound.data.read.files import read_table
from tightbound.data.read.sparse import SparseMatrix
from tightbound.data.schema import Column, Schema, infer_schema
from tightbound.data.split import split
from tightbound.data.table import Aside, Table, as_table, column_position
from tightbound.data.write import atomic_write, check_place, write_polars, write_table

if TYPE_CHECKING:
    from tightbound.data.columns import ColumnPlan, ColumnsEncoding, Roles, make_columns_encoding
    from tightbound.data.types import Kind, TableColumn, TableSchema, infer_table_schema

__all__ = [
    "Aside",
    "Column",
    "ColumnPlan",
    "ColumnsEncoding",
    "DataError",
    "Decision",
    "Encoding",
    "Kind",
    "Roles",
    "Rows",
    "Schema",
    "SparseMatrix",
    "Table",
    "TableColumn",
    "TableSchema",
    "as_table",
    "atomic_write",
    "check_place",
    "coded",
    "column_position",
    "counted",
    "decide_likelihood",
    "filled_text",
    "infer_schema",
    "infer_table_schema",
    "make_columns_encoding",
    "make_encoding",
    "read_table",
    "split",
    "write_frame",
    "write_polars",
    "write_table",
]

_KINDS = ("Kind", "TableColumn", "TableSchema", "infer_table_schema")
_COLUMNS = ("ColumnPlan", "ColumnsEncoding", "Roles", "make_columns_encoding")


def __getattr__(name: str) -> Any:
    # Mixed tables need polars, whose import takes longer than everything else here: fetched when first used.
    if name not in (*_KINDS, *_COLUMNS):
        raise AttributeError(f"module 'tightbound.data' has no attribute {name!r}")
    from tightbound.data import columns
    from tightbound.data import types as kinds

    return getattr(kinds if name in _KINDS else columns, name)
