"""The draws that the checks rest on: from the model with the ranks of what was drawn, and from q on held-out rows."""

import dataclasses
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.rows import by_chunks
from tightbound.evidence.rows import simulate as rows_of_model
from tightbound.learn import AbstractInference
from tightbound.model import (
    AbstractDistribution,
    DiagonalGaussian,
    FullGaussian,
    GenerativeModel,
    LowRankGaussian,
)
from tightbound.model.compiling import compiled

Mask = NDArray[np.bool_] | None

N_RANKS = 99
"""Draws of q that a simulated latent is ranked among: 100 possible ranks."""
N_POSTERIOR = 100
"""Importance draws of z for every held-out row."""
MIXTURE_ROWS = 512
"""Rows whose mixture stands for the aggregated posterior; information is capped at their logarithm, 6.2 nats."""
_ROWS_AT_ONCE = 64
WIDTHS = (0.6744897501960817, 1.6448536269514722)
"""The half-widths of the central 50 % and 90 % intervals of a standard Gaussian."""
_GAUSSIANS = (DiagonalGaussian, FullGaussian, LowRankGaussian)


@final
@dataclasses.dataclass(frozen=True)
class Simulated:
    """Draws (x*, z*) of the model, and where each z_j* lies among draws of q(z | x*)."""

    x: NDArray[Any]
    """(m, d)."""
    z: NDArray[Any]
    """(m, k)."""
    pit: NDArray[Any]
    """(m, k) (rank + a uniform number) / (N_RANKS + 1), ties broken at random: uniform on (0, 1) when q is right."""


@final
@dataclasses.dataclass(frozen=True)
class Drawn:
    """Draws of q for every held-out row, and what they say of its cells."""

    parameters: NDArray[Any]
    """(n, m) what q found for the row."""
    z: NDArray[Any]
    """(n, k) one draw of q."""
    log_q: NDArray[Any]
    """(n,) its log density, nats."""
    ess: NDArray[Any]
    """(n,) effective sample size of N_POSTERIOR importance draws."""
    uncertain: NDArray[Any]
    """(n, d) what the posterior's own width adds to the variance of scores: the variance of mean_j(z) / variance_j."""
    inside: NDArray[Any]
    """(n, d, 2) posterior probability that the cell lies in the central 50 % and 90 % intervals."""
    pit: NDArray[Any]
    """(n, d) F(x_j | z) with one posterior draw z."""


def has_gaussian_cells(p: GenerativeModel) -> bool:
    """Whether p(x | z) is Gaussian, so that every cell's distribution function follows from its mean and variance."""

    def decoded(key: PRNGKeyArray) -> AbstractDistribution:
        return p.decoder(p.prior.sample(key=key))

    return isinstance(eqx.filter_eval_shape(decoded, jax.random.key(0)), _GAUSSIANS)


def simulate(p: GenerativeModel, q: AbstractInference, n: int, observed: Mask, *, key: PRNGKeyArray) -> Simulated:
    """n draws (x*, z*) of the model with the ranks of z*; draw i has the missing cells of row i (modulo the rows)."""
    key_joint, key_ranks = jax.random.split(key)
    x, z = rows_of_model(p, n, key=key_joint)

    masks = None if observed is None else observed[np.arange(n) % len(observed)]
    pit = by_chunks(lambda *rows: _ranks(p, q, *rows, key=key_ranks), x, z, masks, np.arange(n))
    return Simulated(x, z, pit)


def draw(
    p: GenerativeModel, q: AbstractInference, x: NDArray[Any], observed: Mask, *, judged: bool, key: PRNGKeyArray
) -> Drawn:
    """What q says of every held-out row and, where cells are to be judged, how they lie in the decoder's distributions
    (else zeros: moments of all kinds of cells take longer to compile than all the rest)."""

    def of_rows(x: Array, observed: Array | None, which: Array) -> tuple[Array, ...]:
        return _draw(p, q, x, observed, which, judged, key=key)

    return Drawn(*by_chunks(of_rows, x, observed, np.arange(len(x)), rows_at_once=_ROWS_AT_ONCE))


def log_aggregated(p: GenerativeModel, q: AbstractInference, drawn: Drawn) -> NDArray[Any]:
    """log of (1/n) sum_i q(z | x_i) at the draw of each of the first n <= MIXTURE_ROWS rows, (n,) nats.

    Source: Hoffman and Johnson (2016).
    """
    n = min(len(drawn.z), MIXTURE_ROWS)
    rows = np.minimum(np.arange(MIXTURE_ROWS), n - 1)
    parameters, valid = jnp.asarray(drawn.parameters[rows]), jnp.arange(MIXTURE_ROWS) < n

    values: NDArray[Any] = by_chunks(
        lambda z: _log_mixture(p, q, parameters, valid, z), drawn.z[:n], rows_at_once=_ROWS_AT_ONCE
    )
    return values


@compiled
def _ranks(
    p: GenerativeModel,
    q: AbstractInference,
    x: Array,
    z: Array,
    observed: Array | None,
    which: Array,
    *,
    key: PRNGKeyArray,
) -> Array:
    def one(x: Array, z: Array, observed: Array | None, i: Array) -> Array:
        key_search, key_q, key_ties = jax.random.split(jax.random.fold_in(key, i), 3)
        posterior = q(p, x, observed, key=key_search)
        draws = jax.vmap(lambda k: posterior.sample(key=k))(jax.random.split(key_q, N_RANKS))
        below, ties = jnp.sum(draws < z[None, :], axis=0), jnp.sum(draws == z[None, :], axis=0)
        return (below + jax.random.uniform(key_ties, z.shape) * (ties + 1)) / (N_RANKS + 1)

    return jax.vmap(one)(x, z, observed, which)


@compiled
def _draw(
    p: GenerativeModel,
    q: AbstractInference,
    x: Array,
    observed: Array | None,
    which: Array,
    judged: bool,
    *,
    key: PRNGKeyArray,
) -> tuple[Array, ...]:
    def one(x: Array, observed: Array | None, i: Array) -> tuple[Array, ...]:
        key_search, key_q, key_choice = jax.random.split(jax.random.fold_in(key, i), 3)
        parameters = q.parameters(p, x, observed, key=key_search)

        def weighed(key: PRNGKeyArray) -> tuple[Array, ...]:
            z, log_q = q.distribution(p, parameters).sample_and_log_prob(key=key)
            cells = p.decoder(z).at(x, observed)
            log_w = p.log_weight(x, z, log_q, observed, cells).total
            return z, log_q, log_w, *((cells.mean, cells.variance) if judged else ())

        z, log_q, log_w, *moments = jax.vmap(weighed)(jax.random.split(key_q, N_POSTERIOR))
        log_w = jnp.where(jnp.isnan(log_w), -jnp.inf, log_w)
        w = jnp.where(jnp.all(jnp.isneginf(log_w)), 1 / N_POSTERIOR, jax.nn.softmax(log_w))
        found = parameters, z[0], log_q[0], 1 / jnp.sum(w**2)
        if not judged:
            nothing = jnp.zeros_like(x)
            return *found, nothing, jnp.zeros((*x.shape, len(WIDTHS)), x.dtype), nothing
        mean, variance = moments
        score = jnp.where(True if observed is None else observed[None, :], (x[None, :] - mean) / variance**0.5, 0)
        uncertain = w @ (mean - (w @ mean)[None, :]) ** 2 / (w @ variance)
        inside = jnp.stack([w @ (jnp.abs(score) < width) for width in WIDTHS], axis=1)
        chosen = jax.random.choice(key_choice, N_POSTERIOR, p=w)
        return *found, uncertain, inside, jax.scipy.stats.norm.cdf(score[chosen])

    return jax.vmap(one)(x, observed, which)


@compiled
def _log_mixture(p: GenerativeModel, q: AbstractInference, parameters: Array, valid: Array, z: Array) -> Array:
    def one(z: Array) -> Array:
        each = jax.vmap(lambda a: q.distribution(p, a).log_prob(z))(parameters)
        return logsumexp(jnp.where(valid, each, -jnp.inf)) - jnp.log(jnp.sum(valid).astype(each.dtype))

    return jax.vmap(one)(z)
