"""What the user gave, as numbers: the table that everything else starts from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tightbound.data.errors import DataError, complain, listing, suggestion
from tightbound.data.read.sparse import SparseMatrix

if TYPE_CHECKING:
    from tightbound.data.types import TableSchema


@final
@dataclass(frozen=True)
class Aside:
    """Named columns of a table that are not modelled.

    Attributes:
        label: the column that was taken as labels, or None.
        dropped: the columns that were left out.
    """

    label: str | None = None
    dropped: tuple[str, ...] = ()


NOTHING_ASIDE = Aside()


@final
@dataclass(frozen=True)
class Choice:
    """Which columns to set aside.

    Attributes:
        label: the column of labels (name, or number); it must be there.
        drop: columns to leave out; they must be there.
        known: columns to set aside where they are there. They have names, so a table without names has none of them.
    """

    label: str | int | None = None
    drop: Sequence[str | int] = ()
    known: Aside = NOTHING_ASIDE

    def positions(self, names: Sequence[str], named: bool, source: str) -> tuple[int | None, set[int]]:
        """The position of the label column, if any, and those of all columns that are not modelled."""
        known = [name for name in (self.known.label, *self.known.dropped) if name is not None]
        present = [name for name in known if named and name in names]
        aside = {column_position(key, names, source) for key in (*self.drop, *present)}
        label = self.label
        if label is None and self.known.label in present:
            label = self.known.label
        if label is None:
            return None, aside
        at = column_position(label, names, source)
        return at, aside | {at}


@final
@dataclass(frozen=True, eq=False)
class Table:
    """Data as a matrix of numbers, with what is needed to give results back in the same form.

    Attributes:
        values: (n, d) float64, float32, integer or bool, as they came; NaN is missing. A `SparseMatrix` stands for an
            array whose rows are made dense when they are asked for.
        names: d column names ("x0", "x1", ... when the source has none).
        named: True when the names came from the user.
        shape: shape of one datum: (d,), (28, 28), (32, 32, 3).
        container: "numpy", "pandas" or "polars": what to give back.
        dtypes: NumPy dtype name of each column as it came, to give back.
        source: words for messages, such as "iris.csv" or "X".
        labels: (n,) the label column when one was asked for; never modelled, only for colouring.
        index: the pandas index to give back, else None.
        aside: columns that the source has beside these, when they have names.
        native: the data frame of these columns as it came, where there is one.
        coded: the schema whose codes `values` holds (levels as numbers from 0), for a mixed table; None for numbers.
    """

    values: Any
    names: tuple[str, ...]
    named: bool
    shape: tuple[int, ...]
    container: str
    dtypes: tuple[str, ...]
    source: str
    labels: np.ndarray | None = None
    index: Any | None = None
    aside: Aside = NOTHING_ASIDE
    native: Any | None = None
    coded: TableSchema | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return int(self.values.shape[0])

    @property
    def n_columns(self) -> int:
        """Number of columns, d (pixels and channels of an image count one by one)."""
        return int(self.values.shape[1])

    @cached_property
    def observed(self) -> np.ndarray:
        """(n, d) bool: True where a cell has a value."""
        if self.values.dtype.kind != "f" or (self.sparse and not np.isnan(self.values.stored).any()):
            return np.broadcast_to(True, self.values.shape)
        return np.asarray(~np.isnan(np.asarray(self.values)))

    @property
    def sparse(self) -> bool:
        """Whether the values are a `SparseMatrix`."""
        return isinstance(self.values, SparseMatrix)

    def dense(self) -> Table:
        """The same with an array of values; one of more than 2 GiB is a DataError."""
        return replace(self, values=np.asarray(self.values)) if self.sparse else self

    def take(self, indices: Sequence[int] | np.ndarray) -> Table:
        """The rows at `indices` (integers or a boolean mask), in that order, as a table."""
        at = np.asarray(indices)
        at = at.astype(np.intp) if at.size == 0 and at.dtype != bool else at
        labels = None if self.labels is None else self.labels[at]
        index = None if self.index is None else self.index[at]
        native = None if self.native is None else _rows_of(self.native, at)
        values = self.values.take(at) if self.sparse else self.values[at]
        return replace(self, values=values, labels=labels, index=index, native=native)

    def cell(self, row: int, column: int) -> str:
        """Words for one cell, for messages."""
        place = f"column {self.names[column]!r}"
        if len(self.shape) > 1:
            place = f"pixel {tuple(int(i) for i in np.unravel_index(column, self.shape))}"
        return f"row {row} (counting from 0), {place}"


def _rows_of(native: Any, at: np.ndarray) -> Any:
    """Some rows of a data frame or an array."""
    if isinstance(native, np.ndarray):
        return native[at]
    import narwhals as nw

    where = np.flatnonzero(at) if at.dtype == bool else at
    return nw.from_native(native)[where.tolist()].to_native()


def default_names(d: int) -> tuple[str, ...]:
    """The names of d columns that have none: "x0", "x1", ..."""
    return tuple(f"x{i}" for i in range(d))


def require_unique(names: Sequence[str], source: str) -> None:
    """Refuses columns of which two have the same name."""
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            raise complain(
                source,
                "have columns with different names",
                f"column {i} (counting from 0) has the name {name!r} again",
                "rename one of the two, or drop it",
            )
        seen.add(name)


def column_position(key: str | int, names: Sequence[str], source: str) -> int:
    """The position of a column given by name or, when no column has that name, by number."""
    if str(key) in names:
        return list(names).index(str(key))
    if str(key).removeprefix("-").isdigit() and -len(names) <= int(key) < len(names):
        return int(key) % len(names)
    raise complain(
        source,
        f"have the column {str(key)!r} that was asked for",
        f"its columns are {listing(names)}",
        f"name one of those{suggestion(str(key), names)}",
    )


def require_cells(shape: tuple[int, ...], source: str) -> None:
    """Refuses a table of no rows or no columns (`shape` as the user sees it)."""
    if 0 in shape[1:]:
        raise DataError(
            f"{source} must have columns, but came with 0 feature(s) (shape={shape}) while a minimum of 1 is required: "
            "give at least one column of numbers."
        )
    if shape[0] == 0:
        raise DataError(
            f"{source} must have rows: Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required; "
            "give at least one row of data."
        )


def as_table(
    X: Any,
    *,
    source: str = "X",
    label: str | int | None = None,
    drop: Sequence[str | int] = (),
    known: Aside = NOTHING_ASIDE,
    schema: TableSchema | None = None,
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
    from tightbound.data.mixed import coded
    from tightbound.data.read.arrays import table_from_array, table_from_sparse
    from tightbound.data.read.frames import as_frame, table_from_frame

    choice = Choice(label, drop, known)
    frame = None if isinstance(X, np.ndarray | list | tuple) else as_frame(X, source)
    if frame is not None:
        return table_from_frame(frame, choice, source=source, schema=schema, unseen=unseen)
    sparse = sys.modules.get("scipy.sparse")  # a sparse matrix exists only if its module was imported
    if sparse is not None and sparse.issparse(X):
        table = table_from_sparse(X, choice, source=source)
    else:
        table = table_from_array(X, choice, source=source)
    return table if schema is None else coded(table, schema, unseen=unseen)
