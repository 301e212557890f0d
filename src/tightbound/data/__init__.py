"""Where x comes from: files, tables, what is known of their columns, and how a model sees them."""

from .encoding import Encoding, Rows, make_encoding
from .errors import DataError
from .files import read_table
from .likelihood import Decision, decide_likelihood
from .schema import Column, Schema, infer_schema
from .splits import split
from .table import Aside, Table, as_table
from .writing import atomic_write, check_place, write_table

__all__ = [
    "Aside",
    "Column",
    "DataError",
    "Decision",
    "Encoding",
    "Rows",
    "Schema",
    "Table",
    "as_table",
    "atomic_write",
    "check_place",
    "decide_likelihood",
    "infer_schema",
    "make_encoding",
    "read_table",
    "split",
    "write_table",
]
