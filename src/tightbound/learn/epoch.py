"""A step, and epochs of them as one program: shuffle, minibatches, updates, validation, best, non-finite guard."""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from tightbound.learn.gradients.pathwise import Estimate, Problem
from tightbound.learn.inference.members import Row
from tightbound.learn.regularisers import Minibatch
from tightbound.learn.source import Dataset, Stored, View, batch_bounds, batch_shape, padded, shared_out
from tightbound.learn.state import (
    MOST_EPOCHS_AT_ONCE,
    FitState,
    Keys,
    Outcome,
    Pair,
    Place,
    Records,
    TrainingConfig,
    first_place,
    tied,
)
from tightbound.model.compiling import compiled
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
        return pair.q.search(Row(pair.p, x, observed, kl_weight), own, key=key)

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
        q, term = pair.q.learning(Row(pair.p, x, observed, weight), found, key=own)
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
        q: Any = pair.q(pair.p, x, observed, key=own) if pair.has_latents else None
        problem = Problem(config.objective, pair.p, q, x, observed, 1.0)
        return config.gradient.estimate(problem, estimator, key=key).bound

    keys = jax.random.split(key, x.shape[0])
    return jax.vmap(one)(x, observed, keys)


VALIDATION_CHUNK = 500
_INFORMATION_ROWS = 500


@compiled
def run_epochs(
    config: TrainingConfig,
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
    loss shows it; at the end of the epoch, where there is none, some training rows are looked at once more. (Keeping
    the old state beside the new one, or looking at every gradient, would cost each step a sixth for the sake of a rare
    one.)

    Args:
        config, static: how to learn, and the pair without its arrays.
        state, place: where to start.
        train, validation: rows; after each epoch the bound of *all* validation rows decides on the best parameters.
        keys: an epoch's order of rows and noise follow from these, its number and `attempt` (for the noise) alone.
        attempt: which attempt at an epoch this is, so that a retry meets the same rows with fresh noise.
        last_epoch: stop when so many epochs have been run, or when `MOST_EPOCHS_AT_ONCE` more have.
        until: stop before this minibatch of an epoch; the number of minibatches means not to.
        patience: stop after so many epochs without a new best.
    """
    first_epoch = state.epoch

    def unfinished(carry: tuple[FitState, Place, Records]) -> Array:
        state, place, records = carry
        whole = place.finite & (place.cursor == 0) | (state.epoch == first_epoch) & (records.count == 0) & place.finite
        waiting = (state.epoch < last_epoch) & (state.epoch - state.best_epoch < patience)
        return whole & waiting & (records.count < MOST_EPOCHS_AT_ONCE) & (place.cursor < until)

    def epoch(carry: tuple[FitState, Place, Records]) -> tuple[FitState, Place, Records]:
        state, place, records = carry
        state, place = _steps(config, static, state, train, place, keys, attempt, until)
        return ended(config, static, state, train, validation, place, records, keys, attempt, train.n_rows)

    return Outcome(*jax.lax.while_loop(unfinished, epoch, (state, place, no_records(config))))


def no_records(config: TrainingConfig) -> Records:
    """Before the first epoch of a call."""
    nothing = jnp.full(MOST_EPOCHS_AT_ONCE, jnp.nan, config.dtype)
    return Records(jnp.zeros((), "int32"), nothing, nothing, jnp.zeros(MOST_EPOCHS_AT_ONCE, bool), nothing)


def ended(
    config: TrainingConfig,
    static: Pair,
    state: FitState,
    train: Dataset,
    validation: Dataset | None,
    place: Place,
    records: Records,
    keys: Keys,
    attempt: Array,
    n_rows: int,
) -> tuple[FitState, Place, Records]:
    """What follows the last step of an epoch, if that is where it stands: a look at the state, and its record.

    `train` are (some of) the rows that are learnt from, `n_rows` how many these are.
    """
    done = place.finite & (place.cursor == batch_shape(n_rows, config.batch_size)[0])
    bound, sound = _looked_at(config, static, state, train, validation, keys, attempt, done)
    place = eqx.tree_at(lambda a: a.finite, place, place.finite & sound)
    done = done & sound
    state = _closed(state, done, bound, latest_is_best=validation is None)
    state = _less_aggressive(config, static, state, done, train if validation is None else validation, keys)
    records = _noted(records, done, place, n_rows, bound, state.best_epoch == state.epoch)
    return state, _select(done, first_place(config), place), records


def _steps(
    config: TrainingConfig,
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
    noise = noise_of(keys, state.epoch, attempt)
    order = padded(jax.random.permutation(key, train.n_rows))

    def unfinished(carry: tuple[FitState, Place]) -> Array:
        return (carry[1].cursor < until) & carry[1].finite

    def step(carry: tuple[FitState, Place]) -> tuple[FitState, Place]:
        state, place = carry
        if config.encoder_steps > 1:
            key_rows, _ = jax.random.split(jax.random.fold_in(noise, place.cursor))
            state = _encoder_steps(config, static, state, train, order, key=Stream.ENCODER_STEPS.of(key_rows))
        stored = train.chunk(order, place.cursor, config.batch_size)
        return one_step(config, static, state, place, stored, train.view, train.n_rows, key=noise)

    # Best-so-far does not change inside the loop; carrying it would copy it at every step.
    light, rest = without_frozen_parts(state)
    light, place = jax.lax.while_loop(unfinished, step, (light, place))
    return with_frozen_parts(light, rest), place


def noise_of(keys: Keys, epoch: Array, attempt: Array) -> PRNGKeyArray:
    """The noise of an epoch at some attempt."""
    return jax.random.fold_in(jax.random.fold_in(keys.noise, epoch), attempt)


def one_step(
    config: TrainingConfig,
    static: Pair,
    state: FitState,
    place: Place,
    stored: Stored,
    view: View,
    n_rows: int,
    *,
    key: PRNGKeyArray,
) -> tuple[FitState, Place]:
    """The step at `place`, on rows of which there are `n_rows` in all; `key` is the noise of the epoch."""
    key_rows, key_q = jax.random.split(jax.random.fold_in(key, place.cursor))
    batch = _batch(stored, view, n_rows, place.cursor, config.batch_size, config.dtype, key=key_rows)
    state, sums, finite = updated(config, static, state, batch, key=key_q)
    finite = finite & place.finite
    so_far = (place.bound_sum + sums.bound, place.objective_sum + sums.objective)
    return state, Place(place.cursor + finite.astype("int32"), *so_far, finite)


def _encoder_steps(
    config: TrainingConfig, static: Pair, state: FitState, train: Dataset, order: Array, *, key: PRNGKeyArray
) -> FitState:
    """Steps on q alone, on minibatches drawn at random, while the fit is aggressive."""
    n_batches, _ = batch_shape(train.n_rows, config.batch_size)

    def step(i: Array, state: FitState) -> FitState:
        key_which, key_rows, key_q = jax.random.split(jax.random.fold_in(key, i), 3)
        which = jax.random.randint(key_which, (), 0, n_batches)
        batch = _chunk(train, order, which, config.batch_size, config.dtype, key=key_rows)
        return encoder_updated(config, static, state, batch, key=key_q)

    aggressive: Any = state.aggressive
    extra = jnp.where(aggressive, config.encoder_steps - 1, 0)
    return jax.lax.fori_loop(0, extra, step, state)


def _less_aggressive(
    config: TrainingConfig, static: Pair, state: FitState, done: Array, held_out: Dataset, keys: Keys
) -> FitState:
    """After an epoch: no more extra steps on q once the mutual information of held-out rows has stopped rising."""
    if state.aggressive is None:
        return state
    information: Any = state.information
    pair = eqx.combine(state.parameters, static)
    new = jax.lax.cond(
        done & state.aggressive,
        lambda: mutual_information(pair, config, held_out, key=keys.validation),
        lambda: jnp.full_like(information, jnp.nan),
    )
    stopped = done & state.aggressive & ~(new > information)
    information = jnp.where(jnp.isnan(new), information, new)
    return eqx.tree_at(lambda s: (s.aggressive, s.information), state, (state.aggressive & ~stopped, information))


def _looked_at(
    config: TrainingConfig,
    static: Pair,
    state: FitState,
    train: Dataset,
    validation: Dataset | None,
    keys: Keys,
    attempt: Array,
    done: Array,
) -> tuple[Array, Array]:
    """At the end of an epoch: the mean bound of the validation rows, and whether the last step left a sound state."""
    unknown = jnp.full((), jnp.nan, config.dtype)
    if validation is None:
        return unknown, _sound(config, static, state, train, keys, attempt)
    pair = eqx.combine(state.parameters, static)
    # Training rows go through the same compiled code as validation rows: a second copy of the model, for the loss
    # alone, would be a quarter of the compilation.
    bound, finite = jax.lax.cond(
        done,
        lambda: _mean_bound(pair, config, validation, (train, attempt), estimator=state.estimator, key=keys.validation),
        lambda: (unknown, jnp.asarray(True)),
    )
    kept = True if state.per_datum is None else _sound(config, static, state, train, keys, attempt)
    return bound, all_finite(state.parameters) & finite & kept


def _sound(config: TrainingConfig, static: Pair, state: FitState, train: Dataset, keys: Keys, attempt: Array) -> Array:
    """Whether the parameters, and a loss with them, are finite: what the last step of an epoch left behind."""
    order = padded(jnp.arange(train.n_rows))
    n_batches, _ = batch_shape(train.n_rows, config.batch_size)
    key_rows, key_q = jax.random.split(jax.random.fold_in(noise_of(keys, state.epoch, attempt), n_batches))
    batch = _chunk(train, order, jnp.zeros((), "int32"), config.batch_size, config.dtype, key=key_rows)
    weight = config.kl_weight(state.step, config.dtype)
    found = search(eqx.combine(state.parameters, static), state.per_datum, batch, kl_weight=weight, key=key_q)
    loss, _ = batch_loss(state.parameters, static, config, batch, found, state.estimator, state.step, key_q)
    return all_finite(state.parameters) & jnp.isfinite(loss)


def all_finite(tree: Any) -> Array:
    """Whether no array of the tree holds a NaN or an infinity."""
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _noted(records: Records, done: Array, place: Place, n_rows: int, validation_bound: Array, best: Array) -> Records:
    # An epoch that was not finished writes nothing: its place is overwritten by the next one, or never read.
    i = records.count
    return Records(
        i + done.astype("int32"),
        records.train_bound.at[i].set(place.bound_sum / n_rows),
        records.validation_bound.at[i].set(validation_bound),
        records.best.at[i].set(best),
        records.train_objective.at[i].set(place.objective_sum / n_rows),
    )


def _frozen_parts(state: FitState) -> tuple[Any, Any, Any, Any]:
    return state.best, state.best_bound, state.best_epoch, state.epoch


def without_frozen_parts(state: FitState) -> tuple[FitState, tuple[Any, Any, Any, Any]]:
    """The state without what no step changes, and that."""
    light = eqx.tree_at(_frozen_parts, state, (None, None, None, None), is_leaf=lambda a: a is None)
    return light, _frozen_parts(state)


def with_frozen_parts(light: FitState, rest: tuple[Any, Any, Any, Any]) -> FitState:
    """The inverse of `without_frozen_parts`."""
    return eqx.tree_at(_frozen_parts, light, rest, is_leaf=lambda a: a is None)


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


def mean_bound(pair: Pair, config: TrainingConfig, data: Dataset, *, estimator: Any = None, key: PRNGKeyArray) -> Array:
    """Mean over *all* rows of the bound, in nats; the noise depends on `key` alone, so that epochs can be compared."""
    return _mean_bound(pair, config, data, None, estimator=estimator, key=key)[0]


def _mean_bound(
    pair: Pair,
    config: TrainingConfig,
    data: Dataset,
    others: tuple[Dataset, Array] | None,
    *,
    estimator: Any,
    key: PRNGKeyArray,
) -> tuple[Array, Array]:
    """The mean bound, and whether the bounds of as many other rows as a chunk holds are finite, at some attempt."""
    n_chunks, size = batch_shape(data.n_rows, VALIDATION_CHUNK)
    order = padded(jnp.arange(data.n_rows))

    def chunk(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        total, finite = carry
        # What was not finite by bad luck meets fresh noise in the next attempt, past all numbers of chunks.
        last = i == n_chunks
        number = i if others is None else jnp.where(last, n_chunks + others[1], i)
        key_rows, key_q = jax.random.split(jax.random.fold_in(key, number))
        batch = _chunk(data, order, jnp.minimum(i, n_chunks - 1), VALIDATION_CHUNK, config.dtype, key=key_rows)
        x, observed = batch.x, batch.observed
        if others is not None:
            x, observed = _either(last, _first(others[0], size, config.dtype, key=key_rows), (x, observed))
        bounds = bounds_of(pair, config, estimator, x, observed, key=key_q)
        total = total + jnp.where(last, 0, jnp.sum(bounds * batch.weights))
        return (total, finite & (~last | jnp.all(jnp.isfinite(bounds)))), None

    start = (jnp.zeros((), config.dtype), jnp.asarray(True))
    (total, finite), _ = jax.lax.scan(chunk, start, jnp.arange(n_chunks + (others is not None)))
    return total / data.n_rows, finite


def _first(data: Dataset, size: int, dtype: str, *, key: PRNGKeyArray) -> tuple[Array, Array | None]:
    """So many rows from the first on, again from the first where there are fewer; nothing more is hidden of them."""
    return dataclasses.replace(data, hidden=0.0).rows(jnp.arange(size) % data.n_rows, key=key, dtype=dtype)


def _either(condition: Array, one: tuple[Array, Array | None], other: tuple[Array, Array | None]) -> tuple[Any, Any]:
    """Rows and their masks from here or there; without any mask where neither has one."""
    if one[1] is None and other[1] is None:
        return jnp.where(condition, one[0], other[0]), None
    full = [jnp.ones(x.shape, bool) if observed is None else observed for x, observed in (one, other)]
    return jnp.where(condition, one[0], other[0]), jnp.where(condition, *full)


def mutual_information(pair: Pair, config: TrainingConfig, data: Dataset, *, key: PRNGKeyArray) -> Array:
    """I(x; z) under q, E log q(z | x) - E log (1/n) sum_j q(z | x_j), of up to 500 rows; at most log of their number.

    Source: Hoffman and Johnson (2016); the estimator as in He, Spokoyny, Neubig and Berg-Kirkpatrick (2019).
    """
    pair = tied(pair)
    n = min(data.n_rows, _INFORMATION_ROWS)
    key_rows, key_q, key_z = jax.random.split(key, 3)
    x, observed = data.rows(jnp.arange(n), key=key_rows, dtype=config.dtype)
    found = jax.vmap(lambda x, o, k: pair.q.parameters(pair.p, x, o, key=k))(x, observed, jax.random.split(key_q, n))
    z = jax.vmap(lambda a, k: pair.q.distribution(pair.p, a).sample(key=k))(found, jax.random.split(key_z, n))

    def of_row(z: Array) -> Array:
        return jax.vmap(lambda a: pair.q.distribution(pair.p, a).log_prob(z))(found)

    pairs = jax.lax.map(of_row, z)
    return jnp.mean(jnp.diagonal(pairs) - jax.nn.logsumexp(pairs, axis=1)) + jnp.log(n)


def _chunk(data: Dataset, order: Array, i: Array, most: int, dtype: str, *, key: PRNGKeyArray) -> Batch:
    """Chunk i of an order that `padded` has made."""
    return _batch(data.chunk(order, i, most), data.view, data.n_rows, i, most, dtype, key=key)


def _batch(stored: Stored, view: View, n_rows: int, i: Array, most: int, dtype: str, *, key: PRNGKeyArray) -> Batch:
    """Minibatch i as a step takes it, shared out over devices; a row that only fills up the shape weighs nothing."""
    n_batches, size = batch_shape(n_rows, most)
    _, count = batch_bounds(n_rows, n_batches, i)
    x, observed = view(stored.x, stored.observed, key=key, dtype=dtype)
    weights = (jnp.arange(size) < count).astype(dtype)
    x, observed, weights, indices = shared_out((x, observed, weights, stored.indices))
    return Batch(x, observed, weights, indices, n_rows)


def _select(condition: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
