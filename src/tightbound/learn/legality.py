"""Parts that do not go together are refused when they are put together, by name, with what to use instead."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from tightbound.learn.dataset import Dataset
from tightbound.learn.exact import check_linear_gaussian, plain_prior
from tightbound.learn.gradients import MaximumLikelihood, Pathwise
from tightbound.learn.inference import Exact, NoInference
from tightbound.learn.objectives import ELBO
from tightbound.learn.scores import Enumeration
from tightbound.learn.state import Pair, Recipe, tied
from tightbound.model import AbstractDistribution, GenerativeModel, Tabulated, check_enumerable, n_states


def check_pair(pair: Pair, recipe: Recipe, train: Dataset) -> None:
    """Refuse a pair and a recipe that cannot be learnt together (`ValueError`)."""
    if not isinstance(pair.p, GenerativeModel) or isinstance(pair.q, NoInference):
        _check_exact_likelihood(pair, recipe)
        return
    pair = tied(pair)
    if isinstance(pair.q, Exact):
        prior = plain_prior(pair.p)
        if n_states(prior) is None:
            check_linear_gaussian(pair.p)
        else:
            check_enumerable(prior)
    q = posterior_shape(pair, train, recipe.dtype)
    prior = plain_prior(pair.p)
    if (n_states(q) is None) != (n_states(prior) is None):
        raise ValueError(
            f"Prior and posterior must both be continuous or both discrete; got {type(prior).__name__} and "
            f"{type(q).__name__}; use prior='auto'."
        )
    if isinstance(q, Tabulated) and not isinstance(recipe.gradient, Enumeration):
        raise ValueError(
            f"Exact inference of discrete latents must have the gradient enumerate; got "
            f"{type(recipe.gradient).__name__}; use gradient='auto'."
        )
    recipe.objective.wants_kl(q, pair.p.prior)
    recipe.gradient.check(recipe.objective, q)
    if recipe.regulariser is not None:
        if not isinstance(recipe.objective, ELBO) or not isinstance(recipe.gradient, Pathwise | Enumeration):
            raise ValueError(
                f"A regulariser ({type(recipe.regulariser).__name__}) must have the ELBO and the gradient pathwise; "
                f"got {type(recipe.objective).__name__} and {type(recipe.gradient).__name__}; use those."
            )
        recipe.regulariser.check(q, pair.p.prior)


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
