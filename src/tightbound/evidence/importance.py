"""log p(x) by importance sampling with q, streamed so that memory grows with neither rows nor samples."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32
from numpy.typing import NDArray

from tightbound.evidence.pareto import pareto_khat, tail_length
from tightbound.evidence.result import Evidence, Method
from tightbound.evidence.rows import Members, chunks, mask_of, members_of, together
from tightbound.learn import AbstractInference
from tightbound.model import AbstractDistribution, GenerativeModel, sample_and_log_prob
from tightbound.model.streams import Stream

DRAWS_AT_ONCE = 2000
"""Decoder evaluations in flight: wide enough for the matrix units, small enough for the cache."""
MIN_ROWS_AT_ONCE = 16
SHARED_TAIL = 10_000
"""Samples up to which all numbers of samples share a tail of one length, and so one program."""


class Moments(eqx.Module):
    """Streaming statistics of the log weights of one row, or of n rows side by side."""

    maximum: Float[Array, "*n"]
    sum_w: Float[Array, "*n"]
    """sum of exp(log w - maximum)."""
    sum_w2: Float[Array, "*n"]
    mean_log: Float[Array, "*n"]
    m2_log: Float[Array, "*n"]
    """Sum of squared deviations of log w from its mean."""
    count: Float[Array, "*n"]
    tail: Float[Array, "*n t"]
    """The largest log weights so far."""
    discarded: Float[Array, "*n"]
    """How many weights were not a number, or infinite."""


class Weights(eqx.Module):
    """Log weights of one draw, or of many side by side."""

    log_weight: Float[Array, "*n"]
    from_q: Bool[Array, "*n"]
    """Whether the draw was of q, and so counts towards its ELBO."""
    bound: Float[Array, "*n"]
    """log p(x, z) - log q(z | x)."""


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
    rows_at_once = _rows_at_once(n_samples, draws_at_once)
    samples_at_once = min(n_samples, draws_at_once // rows_at_once)
    tail_size = tail_length(max(n_samples, SHARED_TAIL)) + 1
    observed = mask_of(p, x, observed)
    parts: list[dict[str, NDArray[Any]]] = []
    for start, size in chunks(len(x), rows_at_once):
        rows, seen, hashes = together(x, observed, start, size, rows_at_once)
        members = members_of(p, q, rows, seen, hashes, key=key)
        counts = (samples_at_once, tail_size, float(defensive))
        moments = _moments(p, members, rows, seen, hashes, jnp.int32(n_samples), *counts, key=key)
        parts.append(_summary(jax.device_get(moments), size, n_samples))
        if on_progress is not None:
            on_progress(start + size)
    n = len(x)
    joined: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Evidence(
        **joined,
        n_samples=np.full(n, n_samples),
        method=np.full(n, Method.DEFENSIVE if defensive else Method.IMPORTANCE, dtype=object),
        work=np.full(n, n_samples),
    )


@eqx.filter_jit
def _moments(
    p: GenerativeModel,
    members: Members,
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

    def log_weights(x: Array, mask: Array | None, found: Any, key: Array, s: Array) -> Weights:
        member, key = members.member(p, found), jax.random.fold_in(key, s)
        z, log_q = sample_and_log_prob(member, key=key)
        if not defensive:
            bound = p.log_joint(x, z, mask) - log_q
            return Weights(bound, jnp.array(True), bound)
        return _defensive(p, member, x, mask, z, log_q, defensive, key=key)

    over_samples = jax.vmap(log_weights, in_axes=(None, None, None, None, 0))
    over_rows = jax.vmap(over_samples, in_axes=(0, None if observed is None else 0, 0, 0, None))

    def step(i: Array, moments: Moments) -> Moments:
        s = i * samples_at_once + jnp.arange(samples_at_once)
        chunk = over_rows(x, observed, members.found, keys, s)
        return jax.vmap(_updated, in_axes=(0, 0, None))(moments, chunk, s < n_samples)

    empty = _empty(x.shape[0], tail_size, x.dtype)
    return jax.lax.fori_loop(0, -(-n_samples // samples_at_once), step, empty)


def _defensive(
    p: GenerativeModel,
    q: AbstractDistribution,
    x: Array,
    mask: Array | None,
    z: Array,
    log_q: Array,
    share: float,
    *,
    key: PRNGKeyArray,
) -> Weights:
    key_which, key_prior = jax.random.split(Stream.PRIOR_DRAWS.of(key))
    from_q = jax.random.uniform(key_which) >= share
    z = jnp.where(from_q, z, p.prior.sample(key=key_prior))
    log_q = jnp.where(from_q, log_q, q.log_prob(z))
    log_prior, log_joint = p.prior.log_prob(z), p.log_joint(x, z, mask)
    log_mixture = jnp.logaddexp(jnp.log1p(-share) + log_q, jnp.log(share) + log_prior).astype(log_joint.dtype)
    return Weights(log_joint - log_mixture, from_q, log_joint - log_q)


def _empty(n_rows: int, tail_size: int, dtype: Any) -> Moments:
    zero = jnp.zeros(n_rows, dtype)
    tail = jnp.full((n_rows, tail_size), -jnp.inf, dtype)
    return Moments(jnp.full(n_rows, -jnp.inf, dtype), zero, zero, zero, zero, zero, tail, zero)


def _updated(moments: Moments, weights: Weights, valid: Bool[Array, " c"]) -> Moments:
    # A weight that is NaN or infinite (overflow in the decoder at a rare z) counts as zero: it lowers the estimate.
    discarded = valid & _odd(weights.log_weight)
    log_w = jnp.where(valid & ~discarded, weights.log_weight, -jnp.inf)
    maximum = jnp.maximum(moments.maximum, jnp.max(log_w))
    safe = jnp.where(jnp.isfinite(maximum), maximum, 0)
    shrink = jnp.exp(moments.maximum - safe)
    w = jnp.exp(log_w - safe)
    # Chan, Golub and LeVeque (1979): merging means and squared deviations of two groups.
    counted = valid & weights.from_q
    n = jnp.sum(counted).astype(log_w.dtype)
    finite = jnp.where(counted, jnp.where(_odd(weights.bound), -jnp.inf, weights.bound), 0)
    mean = jnp.sum(finite) / jnp.maximum(n, 1)
    m2 = jnp.sum(jnp.where(counted, (finite - mean) ** 2, 0))
    count = moments.count + n
    share = n / jnp.maximum(count, 1)
    # Once the mean is -inf it stays there; its spread is not a number then.
    delta = jnp.where(moments.mean_log == -jnp.inf, 0, mean - moments.mean_log)
    tail_size = moments.tail.shape[0]
    return Moments(
        maximum=maximum,
        sum_w=moments.sum_w * shrink + jnp.sum(w),
        sum_w2=moments.sum_w2 * shrink**2 + jnp.sum(w**2),
        mean_log=moments.mean_log + jnp.where(n > 0, delta * share, 0),
        m2_log=moments.m2_log + m2 + delta**2 * moments.count * share,
        count=count,
        tail=jax.lax.top_k(jnp.concatenate([moments.tail, log_w]), tail_size)[0],
        discarded=moments.discarded + jnp.sum(discarded),
    )


def _odd(log_weight: Array) -> Array:
    return jnp.isnan(log_weight) | (log_weight == jnp.inf)


def _summary(moments: Moments, size: int, n_samples: int) -> dict[str, NDArray[Any]]:
    m: Any = jax.tree.map(lambda a: np.asarray(a[:size], np.float64), moments)
    # One more than the tail: the threshold that the tail exceeds.
    tail = m.tail[:, : min(tail_length(n_samples) + 1, n_samples)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ess = m.sum_w**2 / m.sum_w2
        # Var(w) / mean(w)^2 = S / ess - 1, with Bessel's correction.
        relative = np.maximum(n_samples / ess - 1, 0) / max(n_samples - 1, 1)
        log_evidence = m.maximum + np.log(m.sum_w / n_samples)
        elbo_error = np.sqrt(m.m2_log / np.maximum(m.count - 1, 1) / m.count)
    one = n_samples == 1
    return {
        "log_evidence": log_evidence,
        "standard_error": np.full(size, np.nan) if one else np.sqrt(relative),
        "elbo": m.mean_log,
        "elbo_standard_error": np.full(size, np.nan) if one else elbo_error,
        "ess": ess,
        "n_discarded": m.discarded.astype(np.int64),
        "khat": pareto_khat(tail) if np.isfinite(m.maximum).all() else _khat_where_finite(tail, m.maximum),
    }


def _khat_where_finite(tail: NDArray[Any], maximum: NDArray[Any]) -> NDArray[Any]:
    khat = np.full(len(tail), np.nan)
    finite = np.isfinite(maximum)
    khat[finite] = pareto_khat(np.maximum(tail[finite], maximum[finite, None] - 700))
    return khat


def _rows_at_once(n_samples: int, draws_at_once: int) -> int:
    # Independent of the number of rows: a table of any length, and a single row, run the same program to the same bits.
    return min(max(MIN_ROWS_AT_ONCE, draws_at_once // n_samples), draws_at_once)
