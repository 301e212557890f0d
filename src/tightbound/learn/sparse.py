"""Sparse rows on the device: only the rows of a minibatch are ever made dense, inside the compiled step."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped


@final
class SparseRows(eqx.Module):
    """A table of mostly zeros by rows (compressed sparse rows): `rows[indices]` are dense, (b, d).

    Stands as the `x` of a `Dataset`. Memory: 8 bytes a cell that is not zero, and 4 a row. `sparse_rows` makes one.
    """

    values: Shaped[Array, " k"]
    columns: Int[Array, " k"]
    starts: Int[Array, " n"]
    lengths: Int[Array, " n"]
    n_columns: int = eqx.field(static=True)
    longest: int = eqx.field(static=True)
    """Most cells that a row has which are not zero."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.starts.shape[0], self.n_columns

    @property
    def dtype(self) -> Any:
        """Of the values."""
        return self.values.dtype

    def __getitem__(self, indices: Int[Array, " b"]) -> Shaped[Array, "b d"]:
        """These rows, dense."""
        offsets = jnp.arange(self.longest, dtype=self.starts.dtype)[None, :]
        inside = offsets < self.lengths[indices][:, None]
        places = jnp.where(inside, self.starts[indices][:, None] + offsets, 0)
        columns = jnp.where(inside, self.columns[places], self.n_columns)  # beyond the last one: dropped
        rows = jnp.arange(indices.shape[0])[:, None]
        dense = jnp.zeros((indices.shape[0], self.n_columns), self.dtype)
        return dense.at[rows, columns].set(self.values[places], mode="drop")


def sparse_rows(x: Any, dtype: str = "float32") -> SparseRows:
    """The rows of a SciPy sparse matrix or array, of any format; cells stored twice are added up, as SciPy does.

    Raises `ValueError` for what is no sparse table, or has more than 2^31 - 1 cells that are not zero.
    Example: `Dataset(sparse_rows(scipy.sparse.csr_array(counts)))`.
    """
    if len(getattr(x, "shape", ())) != 2 or not callable(getattr(x, "tocsr", None)):
        raise ValueError(
            f"x must be a SciPy sparse table; got {type(x).__name__}; make one with scipy.sparse.csr_array(x), or use "
            "the dense rows as they are."
        )
    table = x.tocsr(copy=True)
    table.sum_duplicates()
    if table.nnz > np.iinfo(np.int32).max:
        raise ValueError(
            f"x must have at most 2^31 - 1 cells that are not zero; got {table.nnz}; fit a sample of its rows."
        )
    lengths = np.diff(table.indptr)
    # One that is never looked at, so that a table of zeros has something to gather from.
    values, columns = (np.append(a, 0) if table.nnz == 0 else a for a in (table.data, table.indices))
    return SparseRows(
        jnp.asarray(values.astype(dtype)),
        jnp.asarray(columns.astype(np.int32)),
        jnp.asarray(table.indptr[:-1].astype(np.int32)),
        jnp.asarray(lengths.astype(np.int32)),
        n_columns=int(table.shape[1]),
        longest=int(lengths.max(initial=0)),
    )
