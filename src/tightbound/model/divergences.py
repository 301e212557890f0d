"""Kullback-Leibler divergences that have a closed form, by the pair of types."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tightbound.model.distributions import (
    AbstractDistribution,
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    FullGaussian,
    StandardGaussian,
)


def kl_divergence(q: AbstractDistribution, p: AbstractDistribution) -> Float[Array, ""]:
    """KL(q || p) = E_q[log q - log p] in nats, exactly.

    Raises `TypeError` for a pair without a closed form; ask `has_closed_form_kl` first.
    Source: Kullback and Leibler (1951); Gaussians as in Kingma and Welling (2014), appendix B.
    """
    p = p.plain
    if not has_closed_form_kl(q, p):
        known = ", ".join(f"{a.__name__} || {b.__name__}" for a, b in (*_WHOLE, *_BY_DIMENSION))
        raise TypeError(
            f"KL({type(q).__name__} || {type(p).__name__}) must be a pair with a closed form ({known}); "
            "use ELBO(closed_form_kl=False), which samples it."
        )
    whole = _WHOLE.get((type(q), type(p)))
    return jnp.sum(_BY_DIMENSION[type(q), type(p)](q, p)) if whole is None else whole(q, p)


def has_closed_form_kl(q: AbstractDistribution, p: AbstractDistribution) -> bool:
    """Whether `kl_divergence` knows this pair."""
    pair = type(q), type(p.plain)
    return pair in _WHOLE or pair in _BY_DIMENSION


def has_kl_terms(q: AbstractDistribution, p: AbstractDistribution) -> bool:
    """Whether both are products over the latent dimensions, so that KL(q || p) is a sum of known terms."""
    return (type(q), type(p.plain)) in _BY_DIMENSION


def kl_terms(q: AbstractDistribution, p: AbstractDistribution) -> Float[Array, " d"]:
    """The terms of KL(q || p) for each latent dimension, (d,) nats; only where `has_kl_terms`."""
    p = p.plain
    return _BY_DIMENSION[type(q), type(p)](q, p)


def kl_per_dimension(q: AbstractDistribution, p: AbstractDistribution) -> Float[Array, " d"]:
    """KL between the marginals of each latent dimension, (d,) nats; their sum is KL(q || p) where both are products.

    For other pairs each marginal is taken as a Gaussian with its mean and variance: a description, not a bound.
    """
    if has_kl_terms(q, p):
        return kl_terms(q, p)
    p = p.plain
    mean, variance = (q.mean - p.mean) ** 2 / p.variance, q.variance / p.variance
    return 0.5 * (variance + mean - 1 - jnp.log(variance))


def _diagonal_to_standard(q: DiagonalGaussian, p: StandardGaussian) -> Float[Array, " d"]:
    return 0.5 * (q.scale**2 + q.loc**2 - 1) - jnp.log(q.scale)


def _diagonal_to_diagonal(q: DiagonalGaussian, p: DiagonalGaussian) -> Float[Array, " d"]:
    return 0.5 * ((q.scale / p.scale) ** 2 + ((q.loc - p.loc) / p.scale) ** 2 - 1) - jnp.log(q.scale / p.scale)


def _bernoulli(q: Bernoulli, p: Bernoulli) -> Float[Array, " d"]:
    return q.mean * (q.logits - p.logits) - jax.nn.softplus(q.logits) + jax.nn.softplus(p.logits)


def _categorical(q: Categorical, p: Categorical) -> Float[Array, " d"]:
    # One term a level, q log(q/p) - q + p: none is negative, and those of a variable sum to its KL.
    log_q, log_p = jax.nn.log_softmax(q.logits), jax.nn.log_softmax(p.logits)
    return (jnp.exp(log_q) * (log_q - log_p - 1) + jnp.exp(log_p)).ravel()


def _full_to_standard(q: FullGaussian, p: StandardGaussian) -> Float[Array, ""]:
    log_det = jnp.sum(jnp.log(jnp.diagonal(q.scale_tril)))
    return 0.5 * (jnp.sum(q.scale_tril**2) + jnp.sum(q.loc**2) - q.dim) - log_det


_WHOLE: dict[tuple[type, type], Callable[..., Float[Array, ""]]] = {(FullGaussian, StandardGaussian): _full_to_standard}
_BY_DIMENSION: dict[tuple[type, type], Callable[..., Float[Array, " d"]]] = {
    (DiagonalGaussian, StandardGaussian): _diagonal_to_standard,
    (DiagonalGaussian, DiagonalGaussian): _diagonal_to_diagonal,
    (Bernoulli, Bernoulli): _bernoulli,
    (Categorical, Categorical): _categorical,
}
