"""Rows to learn from: how they are seen, where they lie (dense or sparse, on which devices), and their minibatches."""

import functools
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped, UInt8

from tightbound.model.compiling import compiled
from tightbound.model.streams import Stream


class Stored(NamedTuple):
    """Rows as they are stored: of a minibatch, whose last one may only fill up the shape."""

    x: Shaped[Any, "b d"]
    observed: Bool[Any, "b d"] | None
    indices: Int[Any, " b"]
    """Their numbers in the data."""


@final
class View(eqx.Module):
    """How stored rows are seen, anew each time that they are drawn.

    `hidden` is the share of rows of which further cells are hidden: such a row keeps each observed cell with a
    probability that is itself drawn, uniformly, so that q learns to condition on any subset (Ivanov, Figurnov and
    Vetrov, 2019; the bound is that of the cells that are left).
    `shown` are columns that are never hidden: what p(x | z, c) is given.
    `noise` (d,) are the standard deviations of Gaussian noise that every draw of a row gets (None: none). What is
    learnt is then the density of x with that noise: p(x) smoothed by a Gaussian kernel (Rothfuss et al., 2019).
    """

    hidden: float = eqx.field(static=True, default=0.0)
    shown: tuple[int, ...] = eqx.field(static=True, default=())
    noise: Float[Array, " d"] | None = None

    def __call__(
        self, x: Shaped[Array, "b d"], observed: Bool[Array, "b d"] | None, *, key: PRNGKeyArray, dtype: str
    ) -> tuple[Float[Array, "b d"], Bool[Array, "b d"] | None]:
        """The rows as floats, with their masks."""
        x = binarise(x, key=key, dtype=dtype) if x.dtype == jnp.uint8 else x.astype(dtype)
        if self.noise is not None:
            x = x + self.noise[None] * jax.random.normal(Stream.NOISE.of(key), x.shape, x.dtype)
        if not self.hidden:
            return x, observed
        # One draw for all: each further one is code to compile.
        drawn = jax.random.uniform(Stream.HIDDEN.of(key), (x.shape[0], x.shape[1] + 2))
        kept = jnp.where(drawn[:, :1] < self.hidden, drawn[:, 1:2], 1)
        shown = drawn[:, 2:] < kept
        if self.shown:
            shown = shown.at[:, np.array(self.shown)].set(True)
        return x, shown if observed is None else shown & observed


class AbstractSource(eqx.Module):
    """Rows to learn from: an epoch follows from them and the order that they come in, not from where they lie."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""

    @property
    @abstractmethod
    def view(self) -> View:
        """How they are seen."""

    @property
    @abstractmethod
    def resident(self) -> bool:
        """Whether all of them lie on the device, so that whole epochs are one program."""

    @property
    @abstractmethod
    def some(self) -> Any:
        """A `Dataset` of some rows, for a look at the state that an epoch has left."""

    @abstractmethod
    def minibatches(self, batch_size: int, *, first: int = 0, key: PRNGKeyArray) -> Iterator[Stored]:
        """Those of the epoch that has this key, from number `first` on, in the shape that `batch_shape` says."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.shape[0]


def binarise(intensity: UInt8[Array, "*s"], *, key: Array, dtype: str) -> Float[Array, "*s"]:
    """One draw of 0/1 per cell with P(1) = intensity / 255, for 8-bit intensities.

    Sixteen random bits a cell: P(1) is off by less than 1e-5, and 0 and 255 are exact.
    Source: Salakhutdinov and Murray (2008).
    """
    # u / 65536 < i / 255, in whole numbers: both sides stay below 2^24.
    u = jax.random.bits(key, intensity.shape, "uint16").astype("int32")
    return (u * 255 < intensity.astype("int32") * 65536).astype(dtype)


def batch_shape(n_rows: int, batch_size: int) -> tuple[int, int]:
    """(number of batches, rows in the largest of them) of an epoch: at most `batch_size` rows a batch, spread evenly.

    Even batches keep a last short one from being a handful of rows: 101 rows at batch size 100 are 51 and 50.
    """
    n_batches = -(-n_rows // batch_size)
    return n_batches, -(-n_rows // n_batches)


def batch_bounds(n_rows: int, n_batches: int, i: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """(first row, number of rows) of batch i; the first n_rows % n_batches batches have one row more than the rest."""
    base, extra = divmod(n_rows, n_batches)
    return i * base + jnp.minimum(i, extra), base + (i < extra)


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


@final
class Dataset(AbstractSource):
    """Rows in memory.

    `x` is (n, d): floats, or 8-bit intensities that are binarised anew each time they are drawn. Of `SparseRows` only
    those of a minibatch are made dense. `observed` is (n, d), or None when every cell is. For the others see `View`.
    """

    x: Shaped[Array, "n d"] | SparseRows
    observed: Bool[Array, "n d"] | None = None
    hidden: float = eqx.field(static=True, default=0.0)
    shown: tuple[int, ...] = eqx.field(static=True, default=())
    noise: Float[Array, " d"] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.x.shape[0], self.x.shape[1]

    @property
    def view(self) -> View:
        """Its last three fields."""
        return View(self.hidden, self.shown, self.noise)

    @property
    def resident(self) -> bool:
        """They are."""
        return True

    @property
    def some(self) -> "Dataset":
        """All of them."""
        return self

    def minibatches(self, batch_size: int, *, first: int = 0, key: PRNGKeyArray) -> Iterator[Stored]:
        """Of a random order, fetched on the device."""
        order = _order(self.n_rows, key)
        for i in range(first, batch_shape(self.n_rows, batch_size)[0]):
            yield _fetched(self, order, jnp.int32(i), batch_size)

    def stored(self, indices: Int[Array, " b"]) -> Stored:
        """The rows with these numbers, as they are."""
        return Stored(self.x[indices], None if self.observed is None else self.observed[indices], indices)

    def chunk(self, order: Int[Array, " m"], i: Int[Array, ""], most: int) -> Stored:
        """Minibatch i of an order that `padded` has made: of at most so many rows.

        Some have a row less than others: they are filled up, so that all have one shape.
        """
        n_chunks, size = batch_shape(self.n_rows, most)
        start, _ = batch_bounds(self.n_rows, n_chunks, i)
        return self.stored(jax.lax.dynamic_slice(order, (start,), (size,)))

    def rows(
        self, indices: Int[Array, " b"], *, key: PRNGKeyArray, dtype: str
    ) -> tuple[Float[Array, "b d"], Bool[Array, "b d"] | None]:
        """The rows with these numbers as floats, with their masks."""
        stored = self.stored(indices)
        return self.view(stored.x, stored.observed, key=key, dtype=dtype)


def padded(order: Array) -> Array:
    """One number more, so that the window of the last minibatch stays inside."""
    return jnp.concatenate([order, order[:1]])


@compiled
def _order(n_rows: int, key: PRNGKeyArray) -> Array:
    return padded(jax.random.permutation(key, n_rows))


@compiled
def _fetched(data: Dataset, order: Array, i: Array, batch_size: int) -> Stored:
    return data.chunk(order, i, batch_size)


@functools.cache
def _mesh() -> Mesh | None:
    """All local devices (None: there is one)."""
    devices = jax.local_devices()
    return Mesh(np.array(devices), ("rows",)) if len(devices) > 1 else None


def n_devices() -> int:
    """How many of them rows are shared out over."""
    return len(jax.local_devices())


def on_devices(tree: Any) -> Any:
    """Arrays of rows on the device, or an even share of them on each where that comes out even."""
    mesh = _mesh()
    if mesh is None:
        return jax.tree.map(jnp.asarray, tree)
    even = all(len(leaf) % mesh.size == 0 for leaf in jax.tree.leaves(tree))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("rows") if even else PartitionSpec()))


def everywhere(tree: Any) -> Any:
    """The arrays of a tree on every device."""
    mesh = _mesh()
    if mesh is None:
        return tree
    arrays, rest = eqx.partition(tree, lambda leaf: isinstance(leaf, jax.Array))
    return eqx.combine(jax.device_put(arrays, NamedSharding(mesh, PartitionSpec())), rest)


def shared_out(tree: Any) -> Any:
    """Inside a program: the same rows, each device's share on it."""
    mesh = _mesh()
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec("rows")))
