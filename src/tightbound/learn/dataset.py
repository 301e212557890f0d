"""Rows on the device, and the batches that are drawn from them."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt8

from tightbound.learn.sparse import SparseRows
from tightbound.model.streams import Stream


def binarise(intensity: UInt8[Array, "*s"], *, key: Array, dtype: str) -> Float[Array, "*s"]:
    """One draw of 0/1 per cell with P(1) = intensity / 255, for 8-bit intensities.

    Sixteen random bits a cell: P(1) is off by less than 1e-5, and 0 and 255 are exact.
    Source: Salakhutdinov and Murray (2008).
    """
    # u / 65536 < i / 255, in whole numbers: both sides stay below 2^24.
    u = jax.random.bits(key, intensity.shape, "uint16").astype("int32")
    return (u * 255 < intensity.astype("int32") * 65536).astype(dtype)


@final
class Dataset(eqx.Module):
    """Rows as the model sees them.

    `x` is (n, d): floats, or 8-bit intensities that are binarised anew each time they are drawn. Of `SparseRows` only
    those of a minibatch are made dense.
    `observed` is (n, d), or None when every cell is.
    `hidden` is the share of rows of which further cells are hidden each time they are drawn: such a row keeps each
    observed cell with a probability that is itself drawn, uniformly, so that q learns to condition on any subset.
    (Ivanov, Figurnov and Vetrov, 2019; the bound is that of the cells that are left.)
    `shown` are columns that are never hidden: what p(x | z, c) is given.
    `noise` (d,) are the standard deviations of Gaussian noise that every draw of a row gets anew (None: none). What is
    learnt is then the density of x with that noise: p(x) smoothed by a Gaussian kernel (Rothfuss et al., 2019).
    """

    x: Shaped[Array, "n d"] | SparseRows
    observed: Bool[Array, "n d"] | None = None
    hidden: float = eqx.field(static=True, default=0.0)
    shown: tuple[int, ...] = eqx.field(static=True, default=())
    noise: Float[Array, " d"] | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.x.shape[0]

    def rows(
        self, indices: Int[Array, " b"], *, key: Array, dtype: str
    ) -> tuple[Float[Array, "b d"], Bool[Array, "b d"] | None]:
        """The rows with these numbers as floats, with their masks."""
        x: Array = self.x[indices]
        x = binarise(x, key=key, dtype=dtype) if x.dtype == jnp.uint8 else x.astype(dtype)
        if self.noise is not None:
            x = x + self.noise[None] * jax.random.normal(Stream.NOISE.of(key), x.shape, x.dtype)
        observed = None if self.observed is None else self.observed[indices]
        if not self.hidden:
            return x, observed
        # One draw for all: each further one is code to compile.
        drawn = jax.random.uniform(Stream.HIDDEN.of(key), (x.shape[0], x.shape[1] + 2))
        kept = jnp.where(drawn[:, :1] < self.hidden, drawn[:, 1:2], 1)
        shown = drawn[:, 2:] < kept
        if self.shown:
            shown = shown.at[:, np.array(self.shown)].set(True)
        return x, shown if observed is None else shown & observed


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
