"""Parts that do not go together are refused when they are put together, by name, with what to use instead."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from tightbound.learn.regularisers import AbstractRegulariser
from tightbound.learn.source import Dataset
from tightbound.learn.state import Pair, TrainingConfig, tied
from tightbound.model import (
    AbstractDistribution,
    has_closed_form_kl,
)


def check_pair(pair: Pair, config: TrainingConfig, train: Dataset) -> None:
    """Refuse a pair and a config that cannot be learnt together (`ValueError`)."""
    if not (pair.has_latents and pair.q.of_latents):
        _check_exact_likelihood(pair, config)
        return
    pair = tied(pair)
    q = posterior_shape(pair, train, config.dtype)
    prior = pair.p.prior.plain
    if (q.n_states is None) != (prior.n_states is None):
        raise ValueError(
            f"Prior and posterior must both be continuous or both discrete; got {type(prior).__name__} and "
            f"{type(q).__name__}; use prior='auto'."
        )
    if q.tabulated and not config.gradient.sums_states:
        raise ValueError(
            f"Exact inference of discrete latents must have the objective elbo and the gradient enumerate; got "
            f"{type(config.objective).__name__} and {type(config.gradient).__name__}; use objective='elbo' and "
            "gradient='auto'."
        )
    if config.encoder_steps > 1 and not pair.q.is_network:
        raise ValueError(
            f"encoder_steps above 1 must have amortised inference (a network alone); got {type(pair.q).__name__}; use "
            "encoder_steps=1, or inference='aggressive'."
        )
    config.objective.wants_kl(q, pair.p.prior)
    config.gradient.check(config.objective, q)
    pair.q.check(q)
    if config.regulariser is not None and pair.q.held:
        raise ValueError(
            f"{type(config.regulariser).__name__} must have a q whose gradient it can shape (amortised inference, or "
            f"semi-amortised through the steps); got {type(pair.q).__name__}; use inference='amortised'."
        )
    if config.regulariser is not None:
        _check_regulariser(config.regulariser, config, q, pair.p.prior)


def _check_regulariser(
    regulariser: AbstractRegulariser, config: TrainingConfig, q: AbstractDistribution, prior: AbstractDistribution
) -> None:
    """Its own gradient passes through q's draws, or through a KL in closed form."""
    regulariser.check(q, prior)
    known = regulariser.of_kl and has_closed_form_kl(q, prior)
    if not (config.objective.is_mean and config.gradient.carries(in_closed_form=known)):
        raise ValueError(
            f"{type(regulariser).__name__} must have the ELBO and the gradient pathwise (or a score function, where "
            f"the KL has a closed form); got {type(config.objective).__name__} and {type(config.gradient).__name__}; "
            "use gradient='auto', and a diagonal, bernoulli or categorical posterior."
        )


def posterior_shape(pair: Pair, data: Dataset, dtype: str) -> AbstractDistribution:
    """q(z | x) of one row as shapes without numbers: enough to see what kind of distribution it is."""

    def one(x: Array, observed: Array | None) -> AbstractDistribution:
        return pair.q(pair.p, x, observed, key=jax.random.key(0))

    x = jax.ShapeDtypeStruct(data.x.shape[1:], jnp.dtype(dtype))
    observed = None if data.observed is None else jax.ShapeDtypeStruct(data.x.shape[1:], jnp.dtype(bool))
    return eqx.filter_eval_shape(one, x, observed)


def _check_exact_likelihood(pair: Pair, config: TrainingConfig) -> None:
    if pair.has_latents or pair.q.of_latents or not config.gradient.of_likelihood:
        raise ValueError(
            "A model without latents must have NoInference and the gradient MaximumLikelihood, and only such a model; "
            f"got a {type(pair.p).__name__} with {type(pair.q).__name__} and {type(config.gradient).__name__}."
        )
