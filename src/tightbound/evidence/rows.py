"""Rows as the compiled programs of this package take them: each with its mask, its noise and its q."""

import zlib
from typing import Any, final

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.learn import AbstractInference
from tightbound.model import (
    AbstractDistribution,
    ColumnsHead,
    ConditionedHead,
    DiagonalGaussian,
    FullGaussian,
    GenerativeModel,
)
from tightbound.model.compiling import compiled
from tightbound.model.streams import Stream


@final
class Posteriors(eqx.Module):
    """q(z | x) of some rows, found once: what an inner loop did for a row is not done again by the next program.

    Programs that take these and not the inference are the same for every inference that ends in a Gaussian.
    """

    q: AbstractInference | None
    found: Any
    """Of every row: its Gaussian (then q is None), or the parameters that q makes its member of. Not always a
    distribution: that of a flow would carry a copy of its networks for every row."""

    def of_row(self, p: GenerativeModel, found: Any) -> AbstractDistribution:
        """q(z | x) of one row, from its entry in `found`."""
        return found if self.q is None else self.q.distribution(p, found)


def posteriors_of(
    p: GenerativeModel, q: AbstractInference, x: Array, observed: Array | None, hashes: Array, *, key: PRNGKeyArray
) -> Posteriors:
    """The q of every row; the draws that an inner loop needs are fixed by `key` and the row's own content."""
    found = _found(p, q, x, observed, hashes, key=key)
    return Posteriors(None if isinstance(found, DiagonalGaussian | FullGaussian) else q, found)


@compiled
def _found(
    p: GenerativeModel, q: AbstractInference, x: Array, observed: Array | None, hashes: Array, *, key: PRNGKeyArray
) -> Any:
    def one(x: Array, mask: Array | None, row_hash: Array) -> Any:
        parameters = q.parameters(p, x, mask, key=inner_key(key, row_hash))
        member = q.distribution(p, parameters)
        return member if isinstance(member, DiagonalGaussian | FullGaussian) else parameters

    return jax.vmap(one)(x, observed, hashes)


def inner_key(key: PRNGKeyArray, row_hash: Array) -> PRNGKeyArray:
    """Of the inner loop that finds a row's q."""
    return jax.random.fold_in(Stream.INNER_LOOP.of(key), row_hash)


def rows_of(
    p: GenerativeModel, x: NDArray[Any], observed: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], NDArray[np.bool_] | None, NDArray[np.uint32]]:
    """Rows, their mask, and what their noise is drawn from: what the programs of this package take, chunk by chunk."""
    mask = mask_of(p, x, observed)
    return x, mask, row_hashes(x, mask)


def mask_of(p: GenerativeModel, x: NDArray[Any], observed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Which cells count, None for all; of columns with a family each a mask at all times.

    There it costs next to nothing, and rows with gaps and rows without run one program, which takes seconds to compile.
    """
    if isinstance(getattr(getattr(p, "decoder", None), "head", None), ColumnsHead | ConditionedHead):
        return np.ones(x.shape, bool) if observed is None else observed
    return None if observed is None or observed.all() else observed


def spread_out(count: int, most: int) -> NDArray[np.intp]:
    """At most `most` of the positions 0 .. count - 1, evenly spread, in order."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.intp))


def row_hashes(x: NDArray[Any], observed: NDArray[np.bool_] | None) -> NDArray[np.uint32]:
    """A number for each row that its content fixes, (n,): what a row's noise is drawn from."""
    rows = np.ascontiguousarray(x if observed is None else np.where(observed, x, 0))
    masks = None if observed is None else np.ascontiguousarray(observed)
    return np.array(
        [
            zlib.crc32(row.tobytes(), 0 if masks is None else zlib.crc32(masks[i].tobytes()))
            for i, row in enumerate(rows)
        ],
        np.uint32,
    )
