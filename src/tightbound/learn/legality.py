"""Parts that do not go together are refused when they are put together, by name, with what to use instead."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from tightbound.learn.dataset import Dataset
from tightbound.learn.gradients.pathwise import MaximumLikelihood, Pathwise
from tightbound.learn.gradients.score_function import DisArm, Enumeration, GumbelSoftmax, ScoreFunction
from tightbound.learn.inference.exact import plain_prior
from tightbound.learn.inference.members import Amortised, NoInference
from tightbound.learn.regularisers import AbstractRegulariser, Capacity, FreeBits
from tightbound.learn.state import Pair, Recipe, tied
from tightbound.model import (
    AbstractDistribution,
    GenerativeModel,
    Tabulated,
    has_closed_form_kl,
    n_states,
)


def check_pair(pair: Pair, recipe: Recipe, train: Dataset) -> None:
    """Refuse a pair and a recipe that cannot be learnt together (`ValueError`)."""
    if not isinstance(pair.p, GenerativeModel) or isinstance(pair.q, NoInference):
        _check_exact_likelihood(pair, recipe)
        return
    pair = tied(pair)
    q = posterior_shape(pair, train, recipe.dtype)
    prior = plain_prior(pair.p)
    if (n_states(q) is None) != (n_states(prior) is None):
        raise ValueError(
            f"Prior and posterior must both be continuous or both discrete; got {type(prior).__name__} and "
            f"{type(q).__name__}; use prior='auto'."
        )
    if isinstance(q, Tabulated) and not isinstance(recipe.gradient, Enumeration):
        raise ValueError(
            f"Exact inference of discrete latents must have the objective elbo and the gradient enumerate; got "
            f"{type(recipe.objective).__name__} and {type(recipe.gradient).__name__}; use objective='elbo' and "
            "gradient='auto'."
        )
    if recipe.encoder_steps > 1 and not isinstance(pair.q, Amortised):
        raise ValueError(
            f"encoder_steps above 1 must have amortised inference (a network alone); got {type(pair.q).__name__}; use "
            "encoder_steps=1, or inference='aggressive'."
        )
    recipe.objective.wants_kl(q, pair.p.prior)
    recipe.gradient.check(recipe.objective, q)
    pair.q.check(q)
    if recipe.regulariser is not None and pair.q.held:
        raise ValueError(
            f"{type(recipe.regulariser).__name__} must have a q whose gradient it can shape (amortised inference, or "
            f"semi-amortised through the steps); got {type(pair.q).__name__}; use inference='amortised'."
        )
    if recipe.regulariser is not None:
        _check_regulariser(recipe.regulariser, recipe, q, pair.p.prior)


def _check_regulariser(
    regulariser: AbstractRegulariser, recipe: Recipe, q: AbstractDistribution, prior: AbstractDistribution
) -> None:
    """Its own gradient passes through q's draws, or through a KL in closed form."""
    regulariser.check(q, prior)
    scores = (Enumeration, ScoreFunction, DisArm, GumbelSoftmax)
    known = has_closed_form_kl(q, prior) and isinstance(regulariser, Capacity | FreeBits)
    fits = isinstance(recipe.gradient, Pathwise) or (isinstance(recipe.gradient, scores) and known)
    if not recipe.objective.is_mean or not fits:
        raise ValueError(
            f"{type(regulariser).__name__} must have the ELBO and the gradient pathwise (or a score function, where "
            f"the KL has a closed form); got {type(recipe.objective).__name__} and {type(recipe.gradient).__name__}; "
            "use gradient='auto', and a diagonal, bernoulli or categorical posterior."
        )


def posterior_shape(pair: Pair, data: Dataset, dtype: str) -> AbstractDistribution:
    """q(z | x) of one row as shapes without numbers: enough to see what kind of distribution it is."""

    def one(x: Array, observed: Array | None) -> AbstractDistribution:
        return pair.q(pair.p, x, observed, key=jax.random.key(0))

    x = jax.ShapeDtypeStruct(data.x.shape[1:], jnp.dtype(dtype))
    observed = None if data.observed is None else jax.ShapeDtypeStruct(data.x.shape[1:], jnp.dtype(bool))
    return eqx.filter_eval_shape(one, x, observed)


def _check_exact_likelihood(pair: Pair, recipe: Recipe) -> None:
    both = isinstance(pair.p, GenerativeModel), isinstance(pair.q, NoInference)
    if both != (False, True) or not isinstance(recipe.gradient, MaximumLikelihood):
        raise ValueError(
            "A model without latents must have NoInference and the gradient MaximumLikelihood, and only such a model; "
            f"got a {type(pair.p).__name__} with {type(pair.q).__name__} and {type(recipe.gradient).__name__}."
        )
