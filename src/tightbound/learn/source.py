"""Where the rows that are learnt from come from: how many, how they are seen, and the minibatches of an epoch."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped, UInt8

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
