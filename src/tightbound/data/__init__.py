"""Where x comes from: files, tables, what is known of their columns, and how a model sees them."""

from typing import TYPE_CHECKING, Any

from .counting import counted
from .encoding import Encoding, Rows, make_encoding
from .errors import DataError
from .files import read_table
from .filling import filled_text, write_frame
from .likelihood import Decision, decide_likelihood
from .mixed import coded
from .schema import Column, Schema, infer_schema
from .sparse import SparseMatrix
from .splits import split
from .table import Aside, Table, as_table, column_position
from .writing import atomic_write, check_place, write_polars, write_table

if TYPE_CHECKING:
    from .columns import ColumnPlan, ColumnsEncoding, Roles, make_columns_encoding
    from .kinds import Kind, TableColumn, TableSchema, infer_table_schema

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
    from . import columns, kinds

    return getattr(kinds if name in _KINDS else columns, name)
