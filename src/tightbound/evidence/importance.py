"""log p(x) by importance sampling with q, streamed so that memory grows with neither rows nor samples."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32
from numpy.typing import NDArray

from tightbound.evidence.chunks import DRAWS_AT_ONCE, by_chunks, rows_and_samples
from tightbound.evidence.pareto import tail_length
from tightbound.evidence.result import Evidence, Method
from tightbound.evidence.rows import Posteriors, posteriors_of, rows_of
from tightbound.evidence.weights import Moments, draw, no_moments, summary
from tightbound.learn import AbstractInference
from tightbound.model import GenerativeModel
from tightbound.model.compiling import compiled

SHARED_TAIL = 10_000
"""Samples up to which all numbers of samples share a tail of one length, and so one program."""


def importance_evidence(
    p: GenerativeModel,
    q: AbstractInference,
    x: NDArray[Any],
    observed: NDArray[np.bool_] | None = None,
    *,
    n_samples: int = 1000,
    defensive: float = 0.0,
    key: PRNGKeyArray,
    draws_at_once: int = DRAWS_AT_ONCE,
    on_progress: Callable[[int], None] | None = None,
) -> Evidence:
    """Estimate log p(x) of every row: log (1/S) sum_s p(x, z_s) / q(z_s | x), z_s ~ q(z | x).

    Args:
        p, q: generative model and inference; any q whose support covers p's is right, a closer one is more precise.
        x: (n, d) rows in the model's units; observed: (n, d) which cells count, None for all.
        n_samples: S; exactly so many are drawn for every row.
        defensive: share a of the draws that comes from the prior: the weights are p(x, z) / ((1 - a) q + a p(z)),
            never above p(x | z) / a, so that a q that misses part of the posterior is found out (Hesterberg, 1995).
        key: the noise. A row's noise is fixed by `key` and the row's own content, so its estimate does not depend on
            the other rows, their order or the chunks they are worked off in.
        draws_at_once: decoder evaluations held in memory together.
        on_progress: called with the number of rows done.

    Returns an `Evidence` in the model's units (nats). Raises `ValueError` for n_samples below 1.
    Source: Burda, Grosse and Salakhutdinov (2016), section 5; Owen (2013), chapter 9, for the standard error.
    """
    if not isinstance(n_samples, int | np.integer) or n_samples < 1:
        raise ValueError(f"n_samples must be a whole number of at least 1; got {n_samples!r}; 1000 is usual.")
    if not 0 <= defensive < 1:
        raise ValueError(f"defensive must be a share from 0 to below 1; got {defensive!r}; 0.1 is usual.")
    n_samples = int(n_samples)
    rows_at_once, samples_at_once = rows_and_samples(n_samples, draws_at_once)
    constants = (samples_at_once, tail_length(max(n_samples, SHARED_TAIL)) + 1, float(defensive))

    def estimated(x: Array, observed: Array | None, hashes: Array) -> dict[str, NDArray[Any]]:
        posteriors = posteriors_of(p, q, x, observed, hashes, key=key)
        moments = _moments(p, posteriors, x, observed, hashes, jnp.int32(n_samples), *constants, key=key)
        return summary(moments, n_samples)

    found = by_chunks(estimated, *rows_of(p, x, observed), rows_at_once=rows_at_once, on_progress=on_progress)
    n = len(x)
    return Evidence(
        **found,
        n_samples=np.full(n, n_samples),
        method=np.full(n, Method.DEFENSIVE if defensive else Method.IMPORTANCE, dtype=object),
        work=np.full(n, n_samples),
    )


@compiled
def _moments(
    p: GenerativeModel,
    posteriors: Posteriors,
    x: Float[Array, "n d"],
    observed: Bool[Array, "n d"] | None,
    hashes: UInt32[Array, " n"],
    n_samples: Int[Array, ""],
    samples_at_once: int,
    tail_size: int,
    defensive: float,
    *,
    key: PRNGKeyArray,
) -> Moments:
    # The number of samples is none of the program's constants: another one is no reason to compile again.
    keys = jax.vmap(lambda h: jax.random.fold_in(key, h))(hashes)

    def weighed(x: Array, mask: Array | None, found: Any, key: Array, s: Array) -> tuple[Array, Array, Array]:
        q, key = posteriors.of_row(p, found), jax.random.fold_in(key, s)
        drawn = draw(p, q, x, mask, defensive=defensive, key=key)
        return drawn.log_weight, drawn.weight.total, drawn.from_q

    over_rows = jax.vmap(jax.vmap(weighed, in_axes=(None, None, None, None, 0)), in_axes=(0, 0, 0, 0, None))

    def step(i: Array, moments: Moments) -> Moments:
        s = i * samples_at_once + jnp.arange(samples_at_once)
        drawn = over_rows(x, observed, posteriors.found, keys, s)
        return jax.vmap(lambda m, *row: m.after(*row, s < n_samples))(moments, *drawn)

    empty = no_moments(x.shape[0], tail_size, x.dtype)
    return jax.lax.fori_loop(0, -(-n_samples // samples_at_once), step, empty)
