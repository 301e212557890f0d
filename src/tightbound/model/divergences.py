"""Kullback-Leibler divergences that have a closed form, by the pair of types."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from tightbound.model.distributions import AbstractDistribution, DiagonalGaussian, FullGaussian, StandardGaussian


def kl_divergence(q: AbstractDistribution, p: AbstractDistribution) -> Float[Array, ""]:
    """KL(q || p) = E_q[log q - log p] in nats, exactly.

    Raises `TypeError` for a pair without a closed form; ask `has_closed_form_kl` first.
    Source: Kullback and Leibler (1951); Gaussians as in Kingma and Welling (2014), appendix B.
    """
    try:
        formula = _FORMULAS[type(q), type(p)]
    except KeyError:
        known = ", ".join(f"{a.__name__} || {b.__name__}" for a, b in _FORMULAS)
        raise TypeError(
            f"KL({type(q).__name__} || {type(p).__name__}) must be a pair with a closed form ({known}); "
            "use ELBO(closed_form_kl=False), which samples it."
        ) from None
    return formula(q, p)


def has_closed_form_kl(q: type[AbstractDistribution], p: type[AbstractDistribution]) -> bool:
    """Whether `kl_divergence` knows this pair of types."""
    return (q, p) in _FORMULAS


def kl_per_dimension(q: AbstractDistribution, p: AbstractDistribution) -> Float[Array, " d"]:
    """KL between the marginals of each latent dimension, (d,) nats; their sum is KL(q || p) for a diagonal q.

    For a full-covariance q the marginals leave out the correlations, so the sum is a lower bound of the whole.
    """
    del p  # the standard Gaussian is the one prior so far; its marginals are standard Gaussians
    return 0.5 * (q.variance + q.mean**2 - 1 - jnp.log(q.variance))


def _diagonal_to_standard(q: DiagonalGaussian, p: StandardGaussian) -> Float[Array, ""]:
    return jnp.sum(0.5 * (q.scale**2 + q.loc**2 - 1) - jnp.log(q.scale))


def _full_to_standard(q: FullGaussian, p: StandardGaussian) -> Float[Array, ""]:
    log_det = jnp.sum(jnp.log(jnp.diagonal(q.scale_tril)))
    return 0.5 * (jnp.sum(q.scale_tril**2) + jnp.sum(q.loc**2) - q.dim) - log_det


_FORMULAS: dict[tuple[type, type], Callable[..., Float[Array, ""]]] = {
    (DiagonalGaussian, StandardGaussian): _diagonal_to_standard,
    (FullGaussian, StandardGaussian): _full_to_standard,
}
