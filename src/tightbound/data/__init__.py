"""Where x comes from: files, tables, what is known of their columns, and how a model sees them."""

from typing import TYPE_CHECKING, Any

from .encoding import Encoding, Rows, make_encoding
from .errors import DataError
from .files import read_table
from .likelihood import Decision, decide_likelihood
from .schema import Column, Schema, infer_schema
from .splits import split
from .table import Aside, Table, as_table
from .writing import atomic_write, check_place, write_table

if TYPE_CHECKING:
    from .kinds import Kind, TableColumn, TableSchema, infer_table_schema

__all__ = [
    "Aside",
    "Column",
    "DataError",
    "Decision",
    "Encoding",
    "Kind",
    "Rows",
    "Schema",
    "Table",
    "TableColumn",
    "TableSchema",
    "as_table",
    "atomic_write",
    "check_place",
    "decide_likelihood",
    "infer_schema",
    "infer_table_schema",
    "make_encoding",
    "read_table",
    "split",
    "write_table",
]

_MIXED = ("Kind", "TableColumn", "TableSchema", "infer_table_schema")


def __getattr__(name: str) -> Any:
    # Mixed tables need polars, whose import takes longer than everything else here: fetched when first used.
    if name not in _MIXED:
        raise AttributeError(f"module 'tightbound.data' has no attribute {name!r}")
    from . import kinds

    return getattr(kinds, name)
