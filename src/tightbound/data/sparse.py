"""Tables of mostly zeros: kept by rows, made dense a few rows at a time."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tightbound.data.errors import complain

DENSE_LIMIT = 2 * 1024**3  # bytes; a larger dense copy of a sparse matrix would surprise its owner


@final
class SparseMatrix:
    """A SciPy sparse matrix by rows, which gives out dense rows: `matrix[rows]` and `matrix[:, column]` are arrays.

    Stands where a table has its array of values. `np.asarray` makes all of it dense, up to 2 GiB.
    """

    ndim = 2

    def __init__(self, matrix: Any, source: str = "X"):
        """Any SciPy sparse matrix or array; cells stored twice are added up, as SciPy does."""
        from scipy.sparse import csr_array

        self.csr = csr_array(matrix)
        self.csr.sum_duplicates()
        self.source = source
        self._by_column: Any = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return (int(self.csr.shape[0]), int(self.csr.shape[1]))

    @property
    def size(self) -> int:
        """Cells, zeros included."""
        return self.shape[0] * self.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return np.dtype(self.csr.dtype)

    @property
    def stored(self) -> np.ndarray:
        """The values that are kept: all that are not zero."""
        return np.asarray(self.csr.data)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, tuple):
            rows, columns = key
            if isinstance(rows, slice) and rows == slice(None) and isinstance(columns, int | np.integer):
                return self.column(int(columns))
            return self[rows][..., columns]
        if isinstance(key, int | np.integer):
            return np.asarray(self.csr[[int(key)]].toarray()[0])
        return np.asarray(self.csr[key].toarray())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        dense = densify(self.csr, self.source)
        return dense if dtype is None else dense.astype(dtype, copy=False)

    def column(self, j: int) -> np.ndarray:
        """One column, dense, (n,)."""
        if self._by_column is None:
            self._by_column = self.csr.tocsc()
        return np.asarray(self._by_column[:, [j]].toarray()[:, 0])

    def take(self, rows: np.ndarray | slice) -> SparseMatrix:
        """Some rows, still sparse."""
        return SparseMatrix(self.csr[rows], self.source)

    def astype(self, dtype: Any) -> SparseMatrix:
        """The same in another type."""
        return SparseMatrix(self.csr.astype(dtype), self.source)

    def without(self, columns: list[int]) -> SparseMatrix:
        """All but these columns."""
        kept = np.setdiff1d(np.arange(self.shape[1]), columns)
        return SparseMatrix(self.csr[:, kept], self.source)

    def with_columns(self, columns: dict[int, np.ndarray]) -> SparseMatrix:
        """The same with some columns replaced."""
        if not columns:
            return self
        by_column = self.csr.tolil()
        for j, values in columns.items():
            by_column[:, [j]] = np.asarray(values)[:, None]
        return SparseMatrix(by_column.tocsr(), self.source)

    def are_counts(self, but: tuple[int, ...] = ()) -> bool:
        """Whether every value is a whole number of at least 0, leaving out some columns."""
        return self.first_no_count(but) is None

    def first_no_count(self, but: tuple[int, ...] = ()) -> tuple[int, int] | None:
        """Row and column of the first cell that is no whole number of at least 0."""
        kept = ~np.isin(self.csr.indices, but) if but else np.ones(len(self.stored), bool)
        with np.errstate(invalid="ignore"):
            bad = np.flatnonzero(kept & ~((self.stored >= 0) & (self.stored == np.floor(self.stored))))
        if not len(bad):
            return None
        return int(np.searchsorted(self.csr.indptr, bad[0], side="right") - 1), int(self.csr.indices[bad[0]])


def densify(X: Any, source: str) -> np.ndarray:
    """A SciPy sparse matrix as an array, unless that would take more than 2 GiB."""
    size = int(np.prod(X.shape, dtype=np.float64)) * X.dtype.itemsize
    if size > DENSE_LIMIT:
        raise complain(
            source,
            "fit in 2 GiB when it is made dense",
            f"this sparse matrix of shape {X.shape} would take {size / 1024**3:.1f} GiB",
            "take fewer rows or columns, or fit it as counts (likelihood 'columns' or 'multinomial'), which needs no "
            "dense copy",
        )
    return np.asarray(X.toarray())
