"""Rows in pieces of one shape: the one place where memory, devices and the ragged end are decided.

What is found for a row depends on neither its neighbours nor the size of the pieces; one shape, one program.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from tightbound.learn.devices import n_devices, on_devices

ROWS_AT_ONCE = 256
"""Of what looks at each row once."""
DRAWS_AT_ONCE = 2000
"""Decoder evaluations in flight: wide enough for the matrix units, small enough for the cache."""
MIN_ROWS_AT_ONCE = 16
CHAIN_ROWS_AT_ONCE = 16
"""Of chains, where not every row has some: few, for a piece costs as much as a full one however few rows are left; and
as many everywhere, for one program."""

Progress = Callable[[int], None]
"""Called with the number of rows done."""


class Chunk(NamedTuple):
    """Some rows on the device (or devices), filled up to the shape that all chunks have."""

    start: int
    size: int
    """How many of the rows are its own: the first ones."""
    arrays: tuple[Any, ...]

    def own(self, tree: Any) -> Any:
        """What arrays say of its own rows, on the host."""
        return jax.tree.map(lambda a: np.asarray(a)[: self.size], jax.device_get(tree))


def chunks(
    *arrays: NDArray[Any] | None, rows_at_once: int = ROWS_AT_ONCE, on_progress: Progress | None = None
) -> Iterator[Chunk]:
    """The rows of arrays (None for one that is not there) in chunks of `rows_at_once` for each device; one at least.

    A device has as many rows as it would have alone, and so they get the same bits. `on_progress` hears of a chunk when
    the next one is asked for.
    """
    n, shape = next(len(a) for a in arrays if a is not None), rows_at_once * n_devices()
    for start in range(0, max(n, 1), shape):
        size = min(shape, n - start)
        filled = [None if a is None else _filled(a[start : start + size], shape) for a in arrays]
        yield Chunk(start, size, tuple(on_devices(filled)))
        if on_progress is not None:
            on_progress(start + size)


def by_chunks(
    function: Callable[..., Any],
    *arrays: NDArray[Any] | None,
    rows_at_once: int = ROWS_AT_ONCE,
    on_progress: Progress | None = None,
) -> Any:
    """`function(*arrays)` chunk by chunk: arrays whose first axis are rows (or a tree of them), joined on the host."""
    walk = chunks(*arrays, rows_at_once=rows_at_once, on_progress=on_progress)
    return joined([chunk.own(function(*chunk.arrays)) for chunk in walk])


def joined(parts: Sequence[Any]) -> Any:
    """Trees of arrays, one after the other."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def rows_and_samples(n_samples: int, at_once: int = DRAWS_AT_ONCE, least: int = MIN_ROWS_AT_ONCE) -> tuple[int, int]:
    """Rows and samples of each at once: by the number of samples alone, so that any table runs the same program."""
    rows = min(max(least, at_once // n_samples), at_once)
    return rows, min(n_samples, max(at_once // rows, 1))


def _filled(rows: NDArray[Any], size: int) -> NDArray[Any]:
    """With copies of the first row behind them (zeros, where there is none)."""
    missing = size - len(rows)
    if not missing:
        return rows
    filling = rows[:1] if len(rows) else np.zeros((1, *rows.shape[1:]), rows.dtype)
    return np.concatenate([rows, np.repeat(filling, missing, axis=0)])
