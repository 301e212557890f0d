"""What the user gave, as numbers: the table that everything else starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import Any, final

import narwhals as nw
import numpy as np

from tightbound.data.cells.storage import relabelled
from tightbound.data.names import NOTHING_ASIDE, Aside
from tightbound.data.schema import Schema
from tightbound.data.sparse import SparseMatrix


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
        container: "numpy", "pandas", "polars" or "arrow": what to give back.
        dtypes: NumPy dtype name of each column as it came, to give back.
        source: words for messages, such as "iris.csv" or "X".
        labels: (n,) the label column when one was asked for; never modelled, only for colouring.
        index: the pandas index to give back, else None.
        aside: columns that the source has beside these, when they have names.
        native: the data frame of these columns as it came, where there is one.
        found: the schema of the columns of `native`, where reading them took finding it; None where it is still to be
            inferred.
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
    found: Schema | None = None
    coded: Schema | None = None

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

    @property
    def integers(self) -> tuple[str, ...]:
        """The names that are whole numbers in a pandas frame."""
        columns = self.native.columns if self.container == "pandas" and self.native is not None else ()
        return tuple(str(label) for label in columns if self.named and isinstance(label, Integral))

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

    def dressed(self, frame: Any, names: Sequence[str]) -> Any:
        """A frame in this table's container with its index and its labels: those of these names, or at their places.

        Args:
            frame: with as many rows, and columns of names that are among `names`.
            names: of all columns that a table for the same model has.
        """
        if isinstance(frame, np.ndarray) or self.native is None or isinstance(self.native, np.ndarray):
            return frame
        own = list(nw.from_native(self.native).columns)
        labels = {str(label): label for label in own}
        columns = [str(label) for label in nw.from_native(frame).columns]
        if not set(columns) <= set(labels):
            labels = dict(zip(columns if len(columns) == len(own) else names, own, strict=False))
        frame = relabelled(frame, [labels.get(name, name) for name in columns])
        if self.index is not None:
            frame.index = self.index
        return frame

    def came(self, row: int, name: str, place: int) -> Any:
        """A cell of the data as they came, in the column of a name, or at its place where they have no such name."""
        native = self.values if self.native is None else self.native
        if not isinstance(native, np.ndarray):
            frame = nw.from_native(native)
            names = [str(each) for each in frame.columns]
            return frame.item(row, names.index(name) if name in names else place)
        value = native[row, place]
        return value.item() if isinstance(value, np.generic) else value

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
    where = np.flatnonzero(at) if at.dtype == bool else at
    return nw.from_native(native)[where.tolist()].to_native()
