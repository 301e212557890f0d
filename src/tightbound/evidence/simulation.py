"""Rows that the model makes: one compiled program for all who need some."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.rows import chunks
from tightbound.model import GenerativeModel

_AT_ONCE = 256


def simulate(p: GenerativeModel, n: int, *, key: PRNGKeyArray) -> tuple[NDArray[Any], NDArray[Any]]:
    """n draws (x, z) from the model, (n, d) and (n, k): each z is an exact posterior draw given its x.

    The i-th is fixed by `key` and i: more of them begin with the same.
    """
    parts = []
    for start, size in chunks(max(n, 1), _AT_ONCE):
        parts.append([np.asarray(a)[:size] for a in jax.device_get(_simulate(p, jnp.int32(start), key=key))])
    x, z = (np.concatenate([part[j] for part in parts])[:n] for j in range(2))
    return x, z


@eqx.filter_jit
def _simulate(p: GenerativeModel, first: Array, *, key: PRNGKeyArray) -> tuple[Array, Array]:
    return jax.vmap(lambda i: p.sample(key=jax.random.fold_in(key, first + i)))(jnp.arange(_AT_ONCE))
