"""One step on one minibatch: the inner loops, the loss, the updates."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.learn.gradients.pathwise import Estimate, Problem
from tightbound.learn.regularisers import Minibatch
from tightbound.learn.state import FitState, Pair, TrainingConfig, tied
from tightbound.model import GenerativeModel
from tightbound.model.streams import Stream


class Batch(NamedTuple):
    """Rows of one step."""

    x: Array
    observed: Array | None
    weights: Array
    """1, or 0 for a row that only fills up the shape."""
    indices: Array
    """Their numbers in the data."""
    n_rows: int
    """Rows of the whole data."""


class Sums(NamedTuple):
    """What a minibatch adds to an epoch."""

    bound: Array
    objective: Array


def search(pair: Pair, per_datum: Array | None, batch: Batch, *, kl_weight: Array, key: PRNGKeyArray) -> Any:
    """The inner loops of a minibatch's rows; None where there is nothing to search."""
    pair = tied(pair)

    def one(x: Array, observed: Array | None, own: Array | None, key: PRNGKeyArray) -> Any:
        return pair.q.search(pair.p, x, observed, own, kl_weight=kl_weight, key=key)

    own = None if per_datum is None else per_datum[batch.indices]
    keys = jax.random.split(Stream.INNER_LOOP.of(key), batch.x.shape[0])
    return jax.vmap(one)(batch.x, batch.observed, own, keys)


def batch_loss(
    parameters: Any,
    static: Pair,
    config: TrainingConfig,
    batch: Batch,
    found: Any,
    estimator: Any,
    step: Array,
    key: PRNGKeyArray,
) -> tuple[Array, tuple[Sums, Array]]:
    """Loss (minus the mean of the surrogates), sums of bounds and objectives, and signals of a minibatch; nats."""
    pair = tied(eqx.combine(parameters, static))
    weight = config.kl_weight(step, config.dtype)
    regularised = config.regulariser is not None
    q_weight = jnp.zeros_like(weight) if regularised else weight

    def one(x: Array, observed: Array | None, found: Any, key: PRNGKeyArray) -> tuple[Any, Estimate, Array]:
        # A key of its own: q must not be a function of the noise that it is scored on.
        own = Stream.INNER_LOOP.of(key)
        q, term = pair.q.learning(pair.p, x, observed, found, kl_weight=weight, key=own)
        problem = Problem(config.objective, pair.p, q, x, observed, q_weight)
        return (q if regularised else None), config.gradient.estimate(problem, estimator, key=key), term

    keys = jax.random.split(key, batch.x.shape[0])
    qs, estimates, terms = jax.vmap(one)(batch.x, batch.observed, found, keys)
    total = jnp.sum(batch.weights)
    loss = -jnp.sum((estimates.surrogate + terms) * batch.weights) / total
    objective_sum = jnp.sum(estimates.objective * batch.weights)
    if config.regulariser is not None:
        kl = jax.vmap(lambda draws: draws.any_kl)(estimates.draws)
        rows = Minibatch(qs, estimates.draws.z[:, 0], kl, pair.p.prior, batch.weights, batch.n_rows, step)
        penalty = weight * config.regulariser(rows, key=Stream.REGULARISER.of(key))
        loss = loss + penalty
        objective_sum = objective_sum - jax.lax.stop_gradient(penalty) * total
    return loss, (Sums(jnp.sum(estimates.bound * batch.weights), objective_sum), estimates.signal)


def updated(
    config: TrainingConfig, static: Pair, state: FitState, batch: Batch, *, key: PRNGKeyArray
) -> tuple[FitState, Sums, Array]:
    """One step: the new state, what it adds to the epoch, and whether the loss was finite."""
    found = search(
        eqx.combine(state.parameters, static),
        state.per_datum,
        batch,
        kl_weight=config.kl_weight(state.step, config.dtype),
        key=key,
    )
    loss_and_gradient = jax.value_and_grad(batch_loss, has_aux=True)
    (loss, (sums, signals)), gradient = loss_and_gradient(
        state.parameters, static, config, batch, found, state.estimator, state.step, key
    )
    rule = config.optimiser.transformation()
    rate = config.optimiser.rate(state.step).astype(state.step_factor.dtype) * state.step_factor
    changes_p, optimiser_p = rule.update(gradient.p, state.optimiser[0], state.parameters.p)
    changes_q, optimiser_q = rule.update(gradient.q, state.optimiser[1], state.parameters.q)
    changes = eqx.tree_at(lambda a: (a.p, a.q), gradient, (changes_p, changes_q))
    parameters = optax.apply_updates(state.parameters, jax.tree.map(lambda u: -rate * u, changes))
    estimator = config.gradient.updated(state.estimator, batch.x, signals, batch.weights)
    new = (parameters, (optimiser_p, optimiser_q), state.step + 1, estimator)
    state = eqx.tree_at(
        lambda s: (s.parameters, s.optimiser, s.step, s.estimator), state, new, is_leaf=lambda a: a is None
    )
    if state.per_datum is not None:
        # A row that only fills up the shape may be in another minibatch too: it is not written.
        rows = jnp.where(batch.weights > 0, batch.indices, state.per_datum.shape[0])
        per_datum = state.per_datum.at[rows].set(found.parameters, mode="drop")
        state = eqx.tree_at(lambda s: s.per_datum, state, per_datum)
    return state, sums, jnp.isfinite(loss)


def encoder_updated(
    config: TrainingConfig, static: Pair, state: FitState, batch: Batch, *, key: PRNGKeyArray
) -> FitState:
    """One step on q alone, with p held (He et al., 2019)."""

    def loss(q: Any) -> Array:
        parameters = eqx.tree_at(lambda a: a.q, state.parameters, q)
        return batch_loss(parameters, static, config, batch, None, state.estimator, state.step, key)[0]

    rule = config.optimiser.transformation()
    rate = config.optimiser.rate(state.step).astype(state.step_factor.dtype) * state.step_factor
    changes, optimiser = rule.update(jax.grad(loss)(state.parameters.q), state.optimiser[1], state.parameters.q)
    q = optax.apply_updates(state.parameters.q, jax.tree.map(lambda u: -rate * u, changes))
    parameters = eqx.tree_at(lambda a: a.q, state.parameters, q)
    return eqx.tree_at(lambda s: (s.parameters, s.optimiser), state, (parameters, (state.optimiser[0], optimiser)))


def bounds_of(
    pair: Pair, config: TrainingConfig, estimator: Any, x: Array, observed: Array | None, *, key: PRNGKeyArray
) -> Float[Array, " b"]:
    """The bound of every row as a user would have it: with the q of a row never seen."""
    pair = tied(pair)

    def one(x: Array, observed: Array | None, key: PRNGKeyArray) -> Array:
        own = Stream.INNER_LOOP.of(key)
        q: Any = pair.q(pair.p, x, observed, key=own) if isinstance(pair.p, GenerativeModel) else None
        problem = Problem(config.objective, pair.p, q, x, observed, 1.0)
        return config.gradient.estimate(problem, estimator, key=key).bound

    keys = jax.random.split(key, x.shape[0])
    return jax.vmap(one)(x, observed, keys)
