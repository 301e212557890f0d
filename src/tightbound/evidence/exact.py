"""log p(x) without a draw: in closed form, by summing over all latents, or by adaptive quadrature."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.chunks import Chunk, chunks, joined
from tightbound.evidence.quadrature import quadrature
from tightbound.evidence.result import Evidence, Method
from tightbound.evidence.rows import Posteriors, posteriors_of, rows_of
from tightbound.evidence.weights import draw
from tightbound.learn import AbstractInference, check_linear_gaussian, exact_posterior, plain_prior
from tightbound.model import MOST_STATES, GenerativeModel, all_states, n_states
from tightbound.model.compiling import compiled

FEW_STATES = 2**12
"""Up to so many states a sum over all of them is no dearer than sampling, and is what "auto" does."""
_ELBO_DRAWS = 128
_STATES_AT_ONCE = 256
_ROWS_AT_ONCE = 64


def exact_method(p: GenerativeModel) -> Method | None:
    """How log p(x) of this model can be had without a draw (None: it cannot)."""
    states = n_states(plain_prior(p))
    if states is not None:
        return Method.ENUMERATION if states <= MOST_STATES else None
    try:
        check_linear_gaussian(p)
    except ValueError:
        return Method.QUADRATURE if p.prior.dim <= 2 else None
    return Method.CLOSED_FORM


def exact_evidence(
    p: GenerativeModel,
    q: AbstractInference,
    x: NDArray[Any],
    observed: NDArray[np.bool_] | None = None,
    *,
    key: PRNGKeyArray,
    on_progress: Callable[[int], None] | None = None,
) -> Evidence:
    """log p(x) of every row, exactly, for models that allow it; the ELBO of q beside it, by 128 draws.

    - Linear-Gaussian models: log p(x) = log p(x, z) - log p(z | x) at the posterior's mean, for any z (Chib, 1995).
    - Discrete latents: log sum_z p(x, z) over all of their states.
    - One or two continuous latents: `quadrature`, whose own estimate of its error is the standard error; points where
      log p(x, z) is not a number count as no density, and are counted in `n_discarded`.

    Args: as for `importance_evidence`. Raises `ValueError` for any other model.
    """
    method = exact_method(p)
    if method is None:
        raise ValueError(
            "Method exact must have a linear-Gaussian model, discrete latents that can be enumerated, or at most two "
            f"latent dimensions; this model has {_latents(p)}; use method auto."
        )
    walk = chunks(*rows_of(p, x, observed), rows_at_once=_ROWS_AT_ONCE, on_progress=on_progress)
    log_evidence, error, work, n_odd, elbo, elbo_error = joined(
        [_exactly(p, q, method, chunk, key=key) for chunk in walk]
    )
    n = len(x)
    return Evidence(
        log_evidence=log_evidence,
        standard_error=error,
        elbo=elbo,
        elbo_standard_error=elbo_error,
        ess=np.full(n, np.inf),
        khat=np.full(n, -np.inf),
        n_samples=np.zeros(n, np.int64),
        method=np.full(n, method, dtype=object),
        work=work.astype(np.int64) + _ELBO_DRAWS,
        n_discarded=n_odd,
    )


def _exactly(
    p: GenerativeModel, q: AbstractInference, method: Method, chunk: Chunk, *, key: PRNGKeyArray
) -> list[NDArray[Any]]:
    """log p(x), its error, the work, weights that are none, the ELBO and its error, of a chunk's own rows."""
    x, observed, hashes = chunk.arrays
    posteriors = posteriors_of(p, q, *chunk.arrays, key=key)
    bound = [np.asarray(a, float) for a in chunk.own(_elbo(p, posteriors, x, observed, hashes, key=key))]
    if method is Method.QUADRATURE:
        return [*quadrature(p, *_middle_of_q(p, posteriors), x, observed, chunk.size), *bound]
    function = _summed if method is Method.ENUMERATION else _closed_form
    values = np.asarray(chunk.own(function(p, x, observed)), float)
    work = np.full(chunk.size, n_states(plain_prior(p)) or 1)
    return [values, np.zeros(chunk.size), work, np.zeros(chunk.size, np.int64), *bound]


def _latents(p: GenerativeModel) -> str:
    states = n_states(plain_prior(p))
    return f"{p.prior.dim} continuous ones" if states is None else f"{states:,} states, above {MOST_STATES:,}"


@compiled
def _closed_form(p: GenerativeModel, x: Float[Array, "n d"], observed: Bool[Array, "n d"] | None) -> Array:
    def one(x: Array, mask: Array | None) -> Array:
        posterior: Any = exact_posterior(p, x, mask)
        return p.log_joint(x, posterior.mean, mask) - posterior.log_prob(posterior.mean)

    return jax.vmap(one)(x, observed)


@compiled
def _summed(p: GenerativeModel, x: Float[Array, "n d"], observed: Bool[Array, "n d"] | None) -> Array:
    states = all_states(plain_prior(p))
    at_once = min(_STATES_AT_ONCE, len(states))
    missing = -len(states) % at_once
    counts = jnp.arange(len(states) + missing) < len(states)
    padded = jnp.concatenate([states, jnp.repeat(states[:1], missing, axis=0)])
    blocks = padded.reshape(-1, at_once, padded.shape[1])

    def one(x: Array, mask: Array | None) -> Array:
        def block(total: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
            z, counted = given
            values = jnp.where(counted, jax.vmap(lambda z: p.log_joint(x, z, mask))(z), -jnp.inf)
            return jnp.logaddexp(total, logsumexp(values)), None

        start = jnp.full((), -jnp.inf, x.dtype)
        return jax.lax.scan(block, start, (blocks, counts.reshape(blocks.shape[:2])))[0]

    return jax.vmap(one)(x, observed)


@compiled
def _elbo(
    p: GenerativeModel, posteriors: Posteriors, x: Array, observed: Array | None, hashes: Array, *, key: PRNGKeyArray
) -> tuple[Array, Array]:
    def one(x: Array, mask: Array | None, found: Any, h: Array) -> tuple[Array, Array]:
        def log_weight(key: PRNGKeyArray) -> Array:
            return draw(p, posteriors.of_row(p, found), x, mask, key=key).log_weight

        values = jax.vmap(log_weight)(jax.random.split(jax.random.fold_in(key, h), _ELBO_DRAWS))
        return jnp.mean(values), jnp.std(values, ddof=1) / _ELBO_DRAWS**0.5

    return jax.vmap(one)(x, observed, posteriors.found, hashes)


@compiled
def _middle_of_q(p: GenerativeModel, posteriors: Posteriors) -> tuple[Array, Array]:
    def one(found: Any) -> tuple[Array, Array]:
        q = posteriors.of_row(p, found)
        return q.mean, q.variance**0.5

    return jax.vmap(one)(posteriors.found)
