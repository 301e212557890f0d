"""Rows that lie on the device, and the minibatches that are taken from them there."""

from collections.abc import Iterator
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from tightbound.learn.source import AbstractSource, Stored, View, batch_bounds, batch_shape
from tightbound.learn.sparse import SparseRows
from tightbound.model.compiling import compiled


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
