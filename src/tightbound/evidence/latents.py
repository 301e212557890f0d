"""The latent space of a fitted model: posterior means, KL of each dimension, active units."""

import dataclasses
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.rows import by_chunks, mask_of
from tightbound.learn import AbstractInference
from tightbound.model import (
    AbstractDistribution,
    GenerativeModel,
    has_closed_form_kl,
    kl_divergence,
    kl_per_dimension,
)
from tightbound.model.compiling import compiled

ACTIVE_ABOVE = 0.01
"""A unit is active when the variance over rows of its posterior mean is above this (Burda et al., 2016)."""
_KL_DRAWS = 100


@final
@dataclasses.dataclass(frozen=True)
class Latents:
    """q(z | x) of every row, summarised."""

    mean: NDArray[Any]
    """(n, k) E_q[z]."""
    sd: NDArray[Any]
    """(n, k) standard deviation of each z_j under q."""
    kl: NDArray[Any]
    """(n, k) KL of each marginal q(z_j | x) from the prior's, nats (between Gaussians of the same moments where the
    marginals have no form of their own)."""
    total_kl: NDArray[Any]
    """(n,) KL(q(z | x) || p(z)), nats: by its formula, else by draws."""
    exact_kl: bool = True
    """Whether `total_kl` comes from its formula."""

    @property
    def kl_per_dimension(self) -> NDArray[Any]:
        """(k,) mean over rows of `kl`, nats."""
        return np.asarray(self.kl.mean(axis=0))

    @property
    def active(self) -> NDArray[np.bool_]:
        """(k,) whether Var_x(E_q[z_j]) > 0.01. Source: Burda, Grosse and Salakhutdinov (2016), section 5."""
        return np.asarray(self.mean.var(axis=0) > ACTIVE_ABOVE)


def encode(
    p: GenerativeModel, q: AbstractInference, x: NDArray[Any], observed: NDArray[np.bool_] | None = None
) -> Latents:
    """Posterior mean, standard deviation and KL of each latent dimension, for every row of `x` (n, d)."""
    observed = mask_of(p, x, observed)
    mean, sd, kl, total = by_chunks(lambda *rows: _encode(p, q, *rows), x, observed)
    return Latents(mean, sd, kl, total, exact_kl=_has_formula(p, q, x, observed))


def _has_formula(p: GenerativeModel, q: AbstractInference, x: NDArray[Any], observed: NDArray[np.bool_] | None) -> bool:
    def one(x: Array, observed: Array | None) -> AbstractDistribution:
        return q(p, x, observed, key=jax.random.key(0))

    mask = None if observed is None else jnp.asarray(observed[0])
    return has_closed_form_kl(eqx.filter_eval_shape(one, jnp.asarray(x[0]), mask), p.prior)


@compiled
def _encode(p: GenerativeModel, q: AbstractInference, x: Array, observed: Array | None) -> tuple[Array, ...]:
    def one(x: Array, observed: Array | None) -> tuple[Array, ...]:
        # One key for all rows: what an inner loop finds for a row does not depend on the others.
        posterior = q(p, x, observed, key=jax.random.key(0))
        total = _total_kl(posterior, p.prior)
        return posterior.mean, posterior.variance**0.5, kl_per_dimension(posterior, p.prior), total

    return jax.vmap(one)(x, observed)


def _total_kl(posterior: AbstractDistribution, prior: AbstractDistribution) -> Array:
    if has_closed_form_kl(posterior, prior):
        return kl_divergence(posterior, prior)

    def difference(key: PRNGKeyArray) -> Array:
        z, log_q = posterior.sample_and_log_prob(key=key)
        return log_q - prior.log_prob(z)

    return jnp.mean(jax.vmap(difference)(jax.random.split(jax.random.key(1), _KL_DRAWS)))
