"""What the user holds in memory as a table: arrays, nested lists, sparse matrices, frames."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tightbound.data.cells.objects import is_missing
from tightbound.data.cells.raw import as_frame, raw_table
from tightbound.data.cells.text import not_a_number, numbers_from_text
from tightbound.data.coding import coded
from tightbound.data.errors import CellTypeError, DataError, complain, row_words, shorten
from tightbound.data.names import NOTHING_ASIDE, Aside, Choice, default_names, require_cells
from tightbound.data.read.frames import table_from_frame
from tightbound.data.schema import Schema
from tightbound.data.sparse import SparseMatrix, densify
from tightbound.data.table import Table


def as_table(
    X: Any,
    *,
    source: str = "X",
    label: str | int | None = None,
    drop: Sequence[str | int] = (),
    known: Aside = NOTHING_ASIDE,
    schema: Schema | None = None,
    unseen: str = "error",
) -> Table:
    """What the user holds in memory, as a table.

    Args:
        X: NumPy array (two dimensions: a table; three or more: images, flattened, their shape kept), nested lists,
            masked array (masked is missing), SciPy sparse matrix (which stays so), pandas or polars data frame.
        source: words for messages.
        label: a column (name, or number) to set aside as labels instead of modelling it.
        drop: columns to leave out.
        known: what was set aside from the data that a model was fitted on: set aside here too, where it is there.
        schema: of a mixed table; None: a frame in which all columns are numbers is taken as it is, and the schema of
            one with texts, categories or dates is inferred.
        unseen: "error" or "missing": what becomes of levels that a given schema does not know.

    Raises:
        DataError: for anything that is not a table.
    """
    choice = Choice(label, drop, known)
    schema = None if schema is None or schema.block else schema  # a block of numbers is read as it comes
    frame = None if isinstance(X, np.ndarray | list | tuple) else as_frame(X, source)
    if frame is not None:
        return table_from_frame(frame, choice, source=source, schema=schema, unseen=unseen)
    if schema is not None and label is None and not drop and _holds_words(X):
        raw = raw_table(X, source)
        names = tuple(column.name for column in raw.columns)
        table = Table(np.empty((raw.n_rows, 0)), names, False, (len(names),), "numpy", (), source, native=raw.native)
        return coded(table, schema, unseen=unseen)
    sparse = sys.modules.get("scipy.sparse")  # a sparse matrix exists only if its module was imported
    if sparse is not None and sparse.issparse(X):
        table = table_from_sparse(X, choice, source=source)
    else:
        table = table_from_array(X, choice, source=source)
    return table if schema is None else coded(table, schema, unseen=unseen)


def _holds_words(X: Any) -> bool:
    """Whether an array, or lists, hold texts beside numbers."""
    if not isinstance(X, np.ndarray | list | tuple):
        return False
    array = _as_array(X, "X")
    return array.ndim == 2 and array.dtype.kind in "OU"


def table_from_sparse(X: Any, choice: Choice, *, source: str, labels: np.ndarray | None = None) -> Table:
    """A SciPy sparse matrix as a table that stays sparse."""
    if X.dtype.kind not in "fiub":
        return table_from_array(densify(X, source), choice, source=source, labels=labels)
    matrix = SparseMatrix(X, source)
    require_cells(matrix.shape, source)
    at, aside = choice.positions(default_names(matrix.shape[1]), False, source)
    if at is not None:
        labels = matrix.column(at)
    if aside:
        matrix = matrix.without(sorted(aside))
        require_cells(matrix.shape, source)
    d = matrix.shape[1]
    return Table(matrix, default_names(d), False, (d,), "numpy", (matrix.dtype.name,) * d, source, labels)


def table_from_array(X: Any, choice: Choice, *, source: str, labels: np.ndarray | None = None) -> Table:
    """An array or nested list as a table; `labels` are labels that came beside it."""
    array = _as_array(X, source)
    _require_dimensions(array, source)
    require_cells(array.shape, source)
    if array.ndim > 2 and (choice.label is not None or len(choice.drop) > 0):
        raise complain(
            source,
            "be a table when a label or columns to drop are named",
            f"it holds data of shape {array.shape[1:]}",
            "leave out `label` and `drop`",
        )
    names = default_names(array.shape[1])
    at, aside = choice.positions(names, False, source)
    if at is not None:
        labels = array[:, at]
    if aside:
        array = np.delete(array, sorted(aside), axis=1)
        require_cells(array.shape, source)
    values, dtype = _as_numbers(array, source)
    values = np.ascontiguousarray(values.reshape(len(values), -1))
    d = values.shape[1]
    return Table(values, default_names(d), False, array.shape[1:], "numpy", (dtype,) * d, source, labels)


def _as_array(X: Any, source: str) -> np.ndarray:
    """The array behind X; masked cells become NaN."""
    if isinstance(X, np.ma.MaskedArray):
        plain = not np.ma.is_masked(X)
        return np.asarray(X.data) if plain else np.ma.filled(X.astype(np.float64), np.nan)
    try:
        return np.asarray(X)
    except ValueError:
        raise complain(
            source,
            "be a table with as many values in each row as in the first",
            "its rows have different lengths",
            "give every row the same columns, with NaN where a value is missing",
        ) from None


def _require_dimensions(array: np.ndarray, source: str) -> None:
    if array.dtype.names is not None:
        raise complain(
            source, "be a plain array", "it is a structured array with named fields", "give a data frame instead"
        )
    if array.ndim >= 2:
        return
    kind = "1D" if array.ndim == 1 else "scalar"
    raise DataError(
        f"{source} must be a table of rows and columns: Expected 2D array, got {kind} array instead. "
        "Reshape your data either using array.reshape(-1, 1) if your data has a single feature or "
        "array.reshape(1, -1) if it contains a single sample."
    )


def _as_numbers(array: np.ndarray, source: str) -> tuple[np.ndarray, str]:
    """The same values as numbers, and the dtype name to give back."""
    if array.dtype.kind in "US":
        return _numbers_from_strings(array.astype(str), source), "float64"
    if array.dtype.kind == "O":
        return _numbers_from_objects(array, source), "float64"
    if array.dtype.kind == "c":
        raise complain(
            source, "hold real numbers", "Complex data not supported", "give real and imaginary parts as two columns"
        )
    if array.dtype.kind not in "fiub":
        raise complain(
            source,
            "hold numbers",
            f"its values are of type {array.dtype}",
            "encode them as numbers first (dates, for instance, as days since a start)",
        )
    name = array.dtype.name
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        widened = np.float32 if array.dtype.itemsize == 2 else np.float64
        return array.astype(widened), name if array.dtype.itemsize == 2 else "float64"
    return array.astype(array.dtype.newbyteorder("="), copy=False), name


def _numbers_from_strings(array: np.ndarray, source: str) -> np.ndarray:
    flat = array.reshape(len(array), -1)
    columns = [pl.Series(flat[:, j].tolist(), dtype=pl.String) for j in range(flat.shape[1])]
    read = [
        numbers_from_text(column, source=source, name=f"x{j}", where=row_words)[0] for j, column in enumerate(columns)
    ]
    return np.stack(read, axis=1, dtype=np.float64).reshape(array.shape)


def _numbers_from_objects(array: np.ndarray, source: str) -> np.ndarray:
    flat = array.reshape(len(array), -1)
    numbers = np.empty(flat.shape, dtype=np.float64)
    for row, column in np.ndindex(flat.shape):
        numbers[row, column] = _number(flat[row, column], row, column, source)
    return numbers.reshape(array.shape)


def _number(value: Any, row: int, column: int, source: str) -> float:
    if is_missing(value):
        return np.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise not_a_number(source, f"x{column}", row_words(row), value) from None
    except TypeError:
        raise _not_a_cell(source, f"x{column}", row, value) from None


def _not_a_cell(source: str, name: str, row: int, cell: object) -> Exception:
    if isinstance(cell, complex):
        return complain(source, "hold real numbers", "Complex data not supported", "give its parts as two columns")
    return CellTypeError(
        f"Column {name!r} of {source} must hold numbers, but {row_words(row)} holds the {type(cell).__name__} "
        f"{shorten(cell)}: a cell given as an argument must be a number, or a string that spells a number."
    )
