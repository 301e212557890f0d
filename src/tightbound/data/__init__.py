"""Where x comes from: files, tables, what is known of their columns, and how a model sees them."""

from typing import TYPE_CHECKING, Any

from tightbound.data.errors import DataError
from tightbound.data.split import split

if TYPE_CHECKING:
    from tightbound.data.atomic import atomic_folder, atomic_write, check_apart, reserved, set_aside
    from tightbound.data.block import BlockEncoding, make_encoding
    from tightbound.data.choosing import encoding_from_json, how_modelled, preprocess
    from tightbound.data.coding import coded, counted
    from tightbound.data.columns import ColumnPlan, ColumnwiseEncoding, make_columns_encoding
    from tightbound.data.encoding import Encoding, Numbers, Rows
    from tightbound.data.filling import filled_text, write_frame
    from tightbound.data.names import Aside, column_position
    from tightbound.data.preprocessing import Preprocessing
    from tightbound.data.read.files import read_table
    from tightbound.data.read.memory import as_table
    from tightbound.data.schema import Schema, infer_schema
    from tightbound.data.sparse import SparseMatrix
    from tightbound.data.summary import Summary, first_outside, summarised
    from tightbound.data.table import Table
    from tightbound.data.types import Column
    from tightbound.data.write import check_place, write_pieces, write_polars, write_table

__all__ = [
    "Aside",
    "BlockEncoding",
    "Column",
    "ColumnPlan",
    "ColumnwiseEncoding",
    "DataError",
    "Encoding",
    "Numbers",
    "Preprocessing",
    "Rows",
    "Schema",
    "SparseMatrix",
    "Summary",
    "Table",
    "as_table",
    "atomic_folder",
    "atomic_write",
    "check_apart",
    "check_place",
    "coded",
    "column_position",
    "counted",
    "encoding_from_json",
    "filled_text",
    "first_outside",
    "how_modelled",
    "infer_schema",
    "make_columns_encoding",
    "make_encoding",
    "preprocess",
    "read_table",
    "reserved",
    "set_aside",
    "split",
    "summarised",
    "write_frame",
    "write_pieces",
    "write_polars",
    "write_table",
]

_HOMES = {
    "atomic": ("atomic_folder", "atomic_write", "check_apart", "reserved", "set_aside"),
    "block": ("BlockEncoding", "make_encoding"),
    "choosing": ("encoding_from_json", "how_modelled", "preprocess"),
    "coding": ("coded", "counted"),
    "columns": ("ColumnPlan", "ColumnwiseEncoding", "make_columns_encoding"),
    "encoding": ("Encoding", "Numbers", "Rows"),
    "filling": ("filled_text", "write_frame"),
    "names": ("Aside", "column_position"),
    "preprocessing": ("Preprocessing",),
    "read.files": ("read_table",),
    "read.memory": ("as_table",),
    "summary": ("Summary", "first_outside", "summarised"),
    "schema": ("Schema", "infer_schema"),
    "sparse": ("SparseMatrix",),
    "table": ("Table",),
    "types": ("Column",),
    "write": ("check_place", "write_pieces", "write_polars", "write_table"),
}


def __getattr__(name: str) -> Any:
    # Fetched when first used: polars takes longer to import than everything else here.
    import importlib

    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"tightbound.data.{home}"), name)
    raise AttributeError(f"module 'tightbound.data' has no attribute {name!r}")
