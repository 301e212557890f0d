"""Posteriors in closed form: linear-Gaussian models, and finite discrete latents."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from tightbound.model import (
    MLP,
    AbstractDistribution,
    FixedScaleGaussianHead,
    FullGaussian,
    GenerativeModel,
    LearnedPrior,
    StandardGaussian,
    Tabulated,
    all_states,
    n_states,
)
from tightbound.model.distributions import Mask, Vector


def exact_posterior(p: GenerativeModel, x: Vector, observed: Mask = None) -> FullGaussian | Tabulated:
    """p(z | x_observed) itself.

    Linear-Gaussian, x = W z + mu + noise of scales s: N(M^-1 W' S^-1 (x - mu), M^-1) with M = I + W' S^-1 W and
    S = diag(s^2) over the observed cells (Tipping and Bishop, 1999; Rubin and Thayer, 1982). Discrete z: the normalised
    table of p(x, z).
    Raises `ValueError` for a model that has neither form.
    """
    if n_states(plain_prior(p)) is not None:
        z = all_states(plain_prior(p))
        return Tabulated(z, jax.vmap(lambda z: p.log_joint(x, z, observed))(z))
    check_linear_gaussian(p)
    network: Any = p.decoder.network
    head: Any = p.decoder.head
    loadings, mean = network.layers[0].weight, network.layers[0].bias
    precision = 1 / head.scale**2
    residual = x - mean
    if observed is not None:
        precision = jnp.where(observed, precision, 0)
        residual = jnp.where(observed, residual, 0)
    inner = jnp.eye(loadings.shape[0], dtype=loadings.dtype) + (loadings * precision[None, :]) @ loadings.T
    tril = jnp.linalg.cholesky(inner)
    loc = cho_solve((tril, True), loadings @ (precision * residual))
    covariance = cho_solve((tril, True), jnp.eye(loadings.shape[0], dtype=loadings.dtype))
    return FullGaussian(loc, jnp.linalg.cholesky(covariance))


def check_linear_gaussian(p: GenerativeModel) -> None:
    """Refuse a model whose posterior is not Gaussian in closed form (`ValueError`)."""
    network, head = p.decoder.network, p.decoder.head
    linear = isinstance(network, MLP) and len(network.layers) == 1
    if not (linear and isinstance(head, FixedScaleGaussianHead) and isinstance(p.prior, StandardGaussian)):
        raise ValueError(
            "Exact inference must have a linear-Gaussian model (a linear decoder with fixed scales and a standard "
            f"Gaussian prior) or discrete latents; got a {type(head).__name__} on a {type(network).__name__} of "
            f"{len(network.layers) if isinstance(network, MLP) else 'unknown'} layers and a {type(p.prior).__name__}; "
            "use amortised or per-datum inference."
        )


def plain_prior(p: GenerativeModel) -> AbstractDistribution:
    """The prior as a plain distribution."""
    return p.prior.member if isinstance(p.prior, LearnedPrior) else p.prior
