"""Importance weights of draws of z, and log p(x) from them."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32
from numpy.typing import NDArray

from tightbound.evidence.result import Evidence, Method, pareto_khat, tail_length
from tightbound.evidence.rows import DRAWS_AT_ONCE, Posteriors, by_chunks, posteriors_of, rows_and_samples, rows_of
from tightbound.learn import AbstractInference
from tightbound.model import AbstractDistribution, GenerativeModel
from tightbound.model.compiling import compiled
from tightbound.model.distributions import Latent, Mask, Vector
from tightbound.model.generative import LogWeight
from tightbound.model.streams import Stream

_LEAST_LOG_RATIO = -700.0
"""What is further below the largest weight counts as this much."""


class Draw(NamedTuple):
    """One z of one row."""

    z: Latent
    given_z: AbstractDistribution
    """p(x | z)."""
    weight: LogWeight
    """By q."""
    log_weight: Float[Array, ""]
    """By what it was drawn from."""
    from_q: Bool[Array, ""]
    """Whether it was drawn from q, and so counts towards its ELBO."""


def draw(
    p: GenerativeModel,
    q: AbstractDistribution,
    x: Vector,
    observed: Mask,
    *,
    defensive: float = 0.0,
    key: PRNGKeyArray,
) -> Draw:
    """z ~ q(z | x), weighed.

    `defensive`: share a of the draws that comes from the prior, with weights p(x, z) / ((1 - a) q + a p(z)), which
    never exceed p(x | z) / a (Hesterberg, 1995).
    """
    z, log_q = q.sample_and_log_prob(key=key)
    from_q = jnp.array(True)
    if defensive:
        key_which, key_prior = jax.random.split(Stream.PRIOR_DRAWS.of(key))
        from_q = jax.random.uniform(key_which) >= defensive
        z = jnp.where(from_q, z, p.prior.sample(key=key_prior))
        log_q = jnp.where(from_q, log_q, q.log_prob(z))
    given_z = p.decoder(z)
    weight = p.log_weight(x, z, log_q, observed, given_z)
    if not defensive:
        return Draw(z, given_z, weight, weight.total, from_q)
    # Python's own numbers: NumPy's would raise a float32 model to the precision of the process.
    mixture = jnp.logaddexp(math.log1p(-defensive) + log_q, math.log(defensive) + weight.log_prior)
    return Draw(z, given_z, weight, weight.log_joint - mixture, from_q)


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

    def after(
        self,
        log_weight: Float[Array, " c"],
        bound: Float[Array, " c"],
        from_q: Bool[Array, " c"],
        valid: Bool[Array, " c"],
    ) -> "Moments":
        """Of one row, with some more draws: their log weights, and log p(x, z) - log q(z | x) of those from q."""
        # A weight that is NaN or infinite (overflow in the decoder at a rare z) counts as zero: it lowers the estimate.
        discarded = valid & odd(log_weight)
        log_w = jnp.where(valid & ~discarded, log_weight, -jnp.inf)
        maximum = jnp.maximum(self.maximum, jnp.max(log_w))
        safe = jnp.where(jnp.isfinite(maximum), maximum, 0)
        shrink = jnp.exp(self.maximum - safe)
        w = jnp.exp(log_w - safe)
        # Chan, Golub and LeVeque (1979): merging means and squared deviations of two groups.
        counted = valid & from_q
        n = jnp.sum(counted).astype(log_w.dtype)
        finite = jnp.where(counted, jnp.where(odd(bound), -jnp.inf, bound), 0)
        mean = jnp.sum(finite) / jnp.maximum(n, 1)
        m2 = jnp.sum(jnp.where(counted, (finite - mean) ** 2, 0))
        count = self.count + n
        share = n / jnp.maximum(count, 1)
        # Once the mean is -inf it stays there; its spread is not a number then.
        delta = jnp.where(self.mean_log == -jnp.inf, 0, mean - self.mean_log)
        return Moments(
            maximum=maximum,
            sum_w=self.sum_w * shrink + jnp.sum(w),
            sum_w2=self.sum_w2 * shrink**2 + jnp.sum(w**2),
            mean_log=self.mean_log + jnp.where(n > 0, delta * share, 0),
            m2_log=self.m2_log + m2 + delta**2 * self.count * share,
            count=count,
            tail=jax.lax.top_k(jnp.concatenate([self.tail, log_w]), self.tail.shape[0])[0],
            discarded=self.discarded + jnp.sum(discarded),
        )


def no_moments(n_rows: int, tail_size: int, dtype: Any) -> Moments:
    """Before the first draw."""
    zero = jnp.zeros(n_rows, dtype)
    tail = jnp.full((n_rows, tail_size), -jnp.inf, dtype)
    return Moments(jnp.full(n_rows, -jnp.inf, dtype), zero, zero, zero, zero, zero, tail, zero)


def odd(log_weight: Array) -> Array:
    """Whether a log weight is none: not a number, or infinite."""
    return jnp.isnan(log_weight) | (log_weight == jnp.inf)


def summary(moments: Moments, n_samples: int) -> dict[str, NDArray[Any]]:
    """What `Evidence` says of the rows."""
    m: Any = jax.tree.map(lambda a: np.asarray(a, np.float64), jax.device_get(moments))
    # One more than the tail: the threshold that the tail exceeds.
    tail = m.tail[:, : min(tail_length(n_samples) + 1, n_samples)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ess = m.sum_w**2 / m.sum_w2
        # Var(w) / mean(w)^2 = S / ess - 1, with Bessel's correction.
        relative = np.maximum(n_samples / ess - 1, 0) / max(n_samples - 1, 1)
        log_evidence = m.maximum + np.log(m.sum_w / n_samples)
        elbo_error = np.sqrt(m.m2_log / np.maximum(m.count - 1, 1) / m.count)
    unknown = np.full(len(ess), np.nan)
    return {
        "log_evidence": log_evidence,
        "standard_error": unknown if n_samples == 1 else np.sqrt(relative),
        "elbo": m.mean_log,
        "elbo_standard_error": unknown if n_samples == 1 else elbo_error,
        "ess": ess,
        "n_discarded": m.discarded.astype(np.int64),
        "khat": _khat(tail, m.maximum),
    }


def ess_and_khat(log_weights: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Effective sample size (sum w)^2 / sum w^2 and Pareto k-hat of each row's weights; 0 and NaN where all are 0."""
    log_w = np.asarray(log_weights, np.float64)
    maximum = log_w.max(axis=1)
    w = np.exp(log_w - np.where(np.isfinite(maximum), maximum, 0)[:, None])
    with np.errstate(invalid="ignore"):
        ess = np.where(np.isfinite(maximum), w.sum(axis=1) ** 2 / (w**2).sum(axis=1), 0)
    length = min(tail_length(log_w.shape[1]) + 1, log_w.shape[1])
    return ess, _khat(np.partition(log_w, -length, axis=1)[:, -length:], maximum)


def _khat(tail: NDArray[np.float64], maximum: NDArray[np.float64]) -> NDArray[np.float64]:
    khat, finite = np.full(len(tail), np.nan), np.isfinite(maximum)
    if finite.any():
        khat[finite] = pareto_khat(np.maximum(tail[finite], maximum[finite, None] + _LEAST_LOG_RATIO))
    return khat


def logmeanexp(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """log of the mean of exp(values) along an axis; -inf where all are."""
    top = values.max(axis=axis, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(np.log(np.mean(np.exp(values - safe), axis=axis)) + np.squeeze(safe, axis=axis))


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
