"""Rows that the model makes: one compiled program for all who need some."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.chunks import by_chunks
from tightbound.model import GenerativeModel
from tightbound.model.compiling import compiled


def simulate(p: GenerativeModel, n: int, *, key: PRNGKeyArray) -> tuple[NDArray[Any], NDArray[Any]]:
    """n draws (x, z) from the model, (n, d) and (n, k): each z is an exact posterior draw given its x.

    The i-th is fixed by `key` and i: more of them begin with the same.
    """
    x, z = by_chunks(lambda i: _simulate(p, i, key=key), np.arange(n, dtype=np.int32))
    return x, z


@compiled
def _simulate(p: GenerativeModel, numbers: Array, *, key: PRNGKeyArray) -> tuple[Array, Array]:
    return jax.vmap(lambda i: p.sample(key=jax.random.fold_in(key, i)))(numbers)
