"""Epochs as one compiled program: shuffle, minibatches, updates, validation, best-so-far, non-finite guard."""

from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from tightbound.learn.dataset import Dataset, batch_bounds, batch_shape
from tightbound.learn.gradients import AbstractGradient, Pathwise
from tightbound.learn.inference import AbstractInference
from tightbound.learn.objectives import ELBO, AbstractObjective
from tightbound.learn.optimiser import Optimiser
from tightbound.model import GenerativeModel

VALIDATION_CHUNK = 500
MOST_EPOCHS_AT_ONCE = 64
"""The host is asked at least so often; for small data an epoch takes less time than asking."""


class Pair(eqx.Module):
    """The generative model p (theta) and the inference q (phi), side by side."""

    p: GenerativeModel
    q: AbstractInference


@final
class Recipe(eqx.Module):
    """How a pair is learnt; hashable, so that equal recipes share one compiled program."""

    optimiser: Optimiser = eqx.field(static=True)
    objective: AbstractObjective = ELBO()
    gradient: AbstractGradient = Pathwise()
    batch_size: int = eqx.field(static=True, default=100)
    kl_warmup_steps: int = eqx.field(static=True, default=0)
    dtype: str = eqx.field(static=True, default="float32")


class FitState(eqx.Module):
    """Everything that the next epoch depends on, besides the data and the seed."""

    parameters: Any
    """The inexact arrays of a `Pair`; None elsewhere."""
    optimiser: Any
    best: Any
    """The parameters with the best validation bound (the latest ones where there is no validation)."""
    best_bound: Float[Array, ""]
    best_epoch: Int[Array, ""]
    epoch: Int[Array, ""]
    step: Int[Array, ""]
    step_factor: Float[Array, ""]
    """Multiplies every update; below one after a non-finite step."""


class Place(eqx.Module):
    """Where in an epoch the next step stands."""

    cursor: Int[Array, ""]
    """Number of the next minibatch."""
    bound_sum: Float[Array, ""]
    """Sum of the bounds of the rows so far."""
    finite: Bool[Array, ""]
    """False when the last loss, or the parameters at the end of the epoch, were not finite."""


class Records(eqx.Module):
    """What the epochs of one call gave; the first `count` places hold something."""

    count: Int[Array, ""]
    train_bound: Float[Array, " e"]
    validation_bound: Float[Array, " e"]
    best: Bool[Array, " e"]


class Keys(NamedTuple):
    """The named streams of randomness of a fit, split once."""

    shuffle: PRNGKeyArray
    noise: PRNGKeyArray
    validation: PRNGKeyArray


class Outcome(NamedTuple):
    """What a call hands back to the host."""

    state: FitState
    place: Place
    records: Records


def initial_state(pair: Pair, recipe: Recipe) -> FitState:
    """The state before the first epoch."""
    # Python numbers make weakly typed arrays, which the first step would turn into others: two programs for one fit.
    parameters = jax.tree.map(
        lambda a: jax.lax.convert_element_type(a, a.dtype), eqx.filter(pair, eqx.is_inexact_array)
    )
    zero = jnp.zeros((), "int32")
    return FitState(
        parameters=parameters,
        optimiser=recipe.optimiser.transformation().init(parameters),
        best=parameters,
        best_bound=jnp.asarray(-jnp.inf, recipe.dtype),
        best_epoch=zero,
        epoch=zero,
        step=zero,
        step_factor=jnp.ones((), recipe.dtype),
    )


def first_place(recipe: Recipe) -> Place:
    """The beginning of an epoch."""
    return Place(jnp.zeros((), "int32"), jnp.zeros((), recipe.dtype), jnp.asarray(True))


@eqx.filter_jit
def run_epochs(
    recipe: Recipe,
    static: Pair,
    state: FitState,
    train: Dataset,
    validation: Dataset | None,
    place: Place,
    keys: Keys,
    attempt: Int[Array, ""],
    last_epoch: Int[Array, ""],
    until: Int[Array, ""],
    patience: Int[Array, ""],
) -> Outcome:
    """Run epochs from `place` on, up to `last_epoch` or to the first loss that is not finite.

    After such a loss `place.cursor` is the number of its minibatch and the state is spoilt: the same call with `until`
    set to that number gives the state before it. A gradient that is not finite spoils the parameters, and so the next
    loss shows it; at the end of the epoch, where there is none, one minibatch is looked at once more. (Keeping the old
    state beside the new one, or looking at every gradient, would cost each step a sixth for the sake of a rare one.)

    Args:
        recipe, static: how to learn, and the pair without its arrays.
        state, place: where to start.
        train, validation: rows; after each epoch the bound of *all* validation rows decides on the best parameters.
        keys: an epoch's order of rows and noise follow from these, its number and `attempt` (for the noise) alone.
        attempt: which attempt at an epoch this is, so that a retry meets the same rows with fresh noise.
        last_epoch: stop when so many epochs have been run, or when `MOST_EPOCHS_AT_ONCE` more have.
        until: stop before this minibatch of an epoch; the number of minibatches means not to.
        patience: stop after so many epochs without a new best.
    """
    n_batches, _ = batch_shape(train.n_rows, recipe.batch_size)
    first_epoch = state.epoch

    def unfinished(carry: tuple[FitState, Place, Records]) -> Array:
        state, place, records = carry
        whole = place.finite & (place.cursor == 0) | (state.epoch == first_epoch) & (records.count == 0) & place.finite
        waiting = (state.epoch < last_epoch) & (state.epoch - state.best_epoch < patience)
        return whole & waiting & (records.count < MOST_EPOCHS_AT_ONCE) & (place.cursor < until)

    def epoch(carry: tuple[FitState, Place, Records]) -> tuple[FitState, Place, Records]:
        state, place, records = carry
        state, place = _steps(recipe, static, state, train, place, keys, attempt, until)
        sound = place.finite & _sound(recipe, static, state, train, keys, attempt)
        place = eqx.tree_at(lambda a: a.finite, place, sound)
        done = place.finite & (place.cursor == n_batches)
        bound = jnp.asarray(jnp.nan, recipe.dtype)
        if validation is not None:
            pair = eqx.combine(state.parameters, static)
            bound = jax.lax.cond(
                done,
                lambda: mean_bound(pair, recipe, validation, key=keys.validation),
                lambda: jnp.full_like(bound, jnp.nan),
            )
        state = _closed(state, done, bound, latest_is_best=validation is None)
        records = _noted(records, done, place.bound_sum / train.n_rows, bound, state.best_epoch == state.epoch)
        return state, _select(done, first_place(recipe), place), records

    nothing = jnp.full(MOST_EPOCHS_AT_ONCE, jnp.nan, recipe.dtype)
    records = Records(jnp.zeros((), "int32"), nothing, nothing, jnp.zeros(MOST_EPOCHS_AT_ONCE, bool))
    return Outcome(*jax.lax.while_loop(unfinished, epoch, (state, place, records)))


def _steps(
    recipe: Recipe,
    static: Pair,
    state: FitState,
    train: Dataset,
    place: Place,
    keys: Keys,
    attempt: Array,
    until: Array,
) -> tuple[FitState, Place]:
    """The steps of one epoch from `place` on, before minibatch `until`."""
    key = jax.random.fold_in(keys.shuffle, state.epoch)
    noise = jax.random.fold_in(jax.random.fold_in(keys.noise, state.epoch), attempt)
    order = _padded(jax.random.permutation(key, train.n_rows))

    def unfinished(carry: tuple[FitState, Place]) -> Array:
        return (carry[1].cursor < until) & carry[1].finite

    def step(carry: tuple[FitState, Place]) -> tuple[FitState, Place]:
        state, place = carry
        key_rows, key_q = jax.random.split(jax.random.fold_in(noise, place.cursor))
        x, observed, weights = _chunk(train, order, place.cursor, recipe.batch_size, recipe.dtype, key=key_rows)
        state, bound_sum, finite = _updated(recipe, static, state, x, observed, weights, key=key_q)
        return state, Place(place.cursor + finite.astype("int32"), place.bound_sum + bound_sum, finite)

    # Best-so-far does not change inside the loop; carrying it would copy it at every step.
    frozen = _frozen_parts(state)
    light = eqx.tree_at(_frozen_parts, state, (None, None, None, None), is_leaf=lambda a: a is None)
    light, place = jax.lax.while_loop(unfinished, step, (light, place))
    return eqx.tree_at(_frozen_parts, light, frozen, is_leaf=lambda a: a is None), place


def _updated(
    recipe: Recipe,
    static: Pair,
    state: FitState,
    x: Array,
    observed: Array | None,
    weights: Array,
    *,
    key: PRNGKeyArray,
) -> tuple[FitState, Array, Array]:
    """One step on one minibatch: the new state, the sum of the bounds, and whether loss and gradient were finite."""
    loss_and_gradient = jax.value_and_grad(batch_loss, has_aux=True)
    weight = kl_weight(recipe, state.step)
    (loss, bound_sum), gradient = loss_and_gradient(state.parameters, static, recipe, x, observed, weights, weight, key)
    updates, optimiser = recipe.optimiser.transformation().update(gradient, state.optimiser, state.parameters)
    updates = jax.tree.map(lambda u: u * state.step_factor, updates)
    parameters = optax.apply_updates(state.parameters, updates)
    new = (parameters, optimiser, state.step + 1)
    return eqx.tree_at(lambda s: (s.parameters, s.optimiser, s.step), state, new), bound_sum, jnp.isfinite(loss)


def _sound(recipe: Recipe, static: Pair, state: FitState, train: Dataset, keys: Keys, attempt: Array) -> Array:
    """Whether the parameters, and a loss with them, are finite: what the last step of an epoch left behind."""
    order = _padded(jnp.arange(train.n_rows))
    n_batches, _ = batch_shape(train.n_rows, recipe.batch_size)
    noise = jax.random.fold_in(jax.random.fold_in(keys.noise, state.epoch), attempt)
    key_rows, key_q = jax.random.split(jax.random.fold_in(noise, n_batches))
    x, observed, weights = _chunk(train, order, jnp.zeros((), "int32"), recipe.batch_size, recipe.dtype, key=key_rows)
    loss, _ = batch_loss(state.parameters, static, recipe, x, observed, weights, kl_weight(recipe, state.step), key_q)
    return all_finite(state.parameters) & jnp.isfinite(loss)


def all_finite(tree: Any) -> Array:
    """Whether no array of the tree holds a NaN or an infinity."""
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _noted(records: Records, done: Array, train_bound: Array, validation_bound: Array, best: Array) -> Records:
    # An epoch that was not finished writes nothing: its place is overwritten by the next one, or never read.
    i = records.count
    return Records(
        i + done.astype("int32"),
        records.train_bound.at[i].set(train_bound),
        records.validation_bound.at[i].set(validation_bound),
        records.best.at[i].set(best),
    )


def _frozen_parts(state: FitState) -> tuple[Any, Any, Any, Any]:
    return state.best, state.best_bound, state.best_epoch, state.epoch


def _closed(state: FitState, done: Array, validation_bound: Array, *, latest_is_best: bool) -> FitState:
    # NaN compares false: a validation bound that is not finite never becomes the best.
    epoch = state.epoch + done.astype("int32")
    better = done & (latest_is_best | (validation_bound > state.best_bound))
    new = (
        _select(better, state.parameters, state.best),
        jnp.where(better & (not latest_is_best), validation_bound, state.best_bound),
        jnp.where(better, epoch, state.best_epoch),
        epoch,
    )
    state = eqx.tree_at(_frozen_parts, state, new)
    # After a whole finite epoch a step that was shortened grows back towards its schedule.
    grown = jnp.where(done, jnp.minimum(1, 2 * state.step_factor), state.step_factor)
    return eqx.tree_at(lambda s: s.step_factor, state, grown)


def kl_weight(recipe: Recipe, step: Int[Array, ""]) -> Array:
    """Weight of the KL at this step: linear from 0 to 1 over `kl_warmup_steps`, then 1 (Bowman et al., 2016)."""
    if recipe.kl_warmup_steps == 0:
        return jnp.ones((), recipe.dtype)
    return jnp.minimum(1, step / recipe.kl_warmup_steps).astype(recipe.dtype)


def batch_loss(
    parameters: Any,
    static: Pair,
    recipe: Recipe,
    x: Array,
    observed: Array | None,
    weights: Array,
    weight: Array | float,
    key: PRNGKeyArray,
) -> tuple[Array, Array]:
    """Loss (minus the weighted mean of the surrogates) and weighted sum of the bounds of a minibatch, in nats."""
    pair = eqx.combine(parameters, static)

    def one(x: Array, observed: Array | None, key: PRNGKeyArray) -> tuple[Array, Array]:
        return recipe.gradient.estimate(recipe.objective, pair.p, pair.q(x, observed), x, observed, weight, key=key)

    keys = jax.random.split(key, x.shape[0])
    surrogate, bound = jax.vmap(one, in_axes=(0, None if observed is None else 0, 0))(x, observed, keys)
    return -jnp.sum(surrogate * weights) / jnp.sum(weights), jnp.sum(bound * weights)


def mean_bound(pair: Pair, recipe: Recipe, data: Dataset, *, key: PRNGKeyArray) -> Array:
    """Mean over *all* rows of the bound, in nats; the noise depends on `key` alone, so that epochs can be compared."""
    n_chunks, _ = batch_shape(data.n_rows, VALIDATION_CHUNK)
    order = _padded(jnp.arange(data.n_rows))

    def chunk(total: Array, i: Array) -> tuple[Array, None]:
        key_rows, key_q = jax.random.split(jax.random.fold_in(key, i))
        x, observed, weights = _chunk(data, order, i, VALIDATION_CHUNK, recipe.dtype, key=key_rows)
        one = jnp.ones((), recipe.dtype)
        _, bound_sum = batch_loss(pair, static, recipe, x, observed, weights, one, key_q)
        return total + bound_sum, None

    pair, static = eqx.partition(pair, eqx.is_inexact_array)
    total, _ = jax.lax.scan(chunk, jnp.zeros((), recipe.dtype), jnp.arange(n_chunks))
    return total / data.n_rows


def _chunk(
    data: Dataset, order: Array, i: Array, most: int, dtype: str, *, key: PRNGKeyArray
) -> tuple[Array, Array | None, Array]:
    """Rows, masks and weights of chunk i of an order that `_padded` has made.

    Some chunks have a row less than others: they are filled up with one of weight zero, so that all have one shape.
    """
    n_chunks, size = batch_shape(data.n_rows, most)
    start, count = batch_bounds(data.n_rows, n_chunks, i)
    indices = jax.lax.dynamic_slice(order, (start,), (size,))
    return *data.rows(indices, key=key, dtype=dtype), (jnp.arange(size) < count).astype(dtype)


def _padded(order: Array) -> Array:
    # One more, so that the window of the last chunk stays inside.
    return jnp.concatenate([order, order[:1]])


def _select(condition: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
