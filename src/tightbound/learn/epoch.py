"""One epoch as one compiled program: shuffle, minibatches, updates, validation, best-so-far, non-finite guard."""

from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from tightbound.learn.dataset import Dataset, batch_shape
from tightbound.learn.gradients import AbstractGradient, Pathwise
from tightbound.learn.inference import AbstractInference
from tightbound.learn.objectives import ELBO, AbstractObjective
from tightbound.learn.optimiser import Optimiser
from tightbound.model import GenerativeModel

VALIDATION_CHUNK = 500


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


class Progress(eqx.Module):
    """Where an epoch stands: it ends when `cursor` reaches the number of batches, or stops at a non-finite step."""

    cursor: Int[Array, ""]
    bound_sum: Float[Array, ""]
    finite: Bool[Array, ""]


class Outcome(NamedTuple):
    """What an epoch hands back to the host."""

    state: FitState
    progress: Progress
    validation_bound: Float[Array, ""]


def initial_state(pair: Pair, recipe: Recipe) -> FitState:
    """The state before the first epoch."""
    parameters = eqx.filter(pair, eqx.is_inexact_array)
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


def initial_progress(recipe: Recipe) -> Progress:
    """The progress of an epoch that has not begun."""
    return Progress(jnp.zeros((), "int32"), jnp.zeros((), recipe.dtype), jnp.asarray(True))


@eqx.filter_jit
def run_epoch(
    recipe: Recipe,
    static: Pair,
    state: FitState,
    train: Dataset,
    validation: Dataset | None,
    progress: Progress,
    *,
    key: PRNGKeyArray,
    noise_key: PRNGKeyArray,
    validation_key: PRNGKeyArray,
) -> Outcome:
    """Run the epoch from `progress` to its end, or up to the first step whose bound or gradient is not finite.

    A non-finite step leaves parameters and optimiser as they were before it. `key` fixes the order of the rows;
    `noise_key` all other randomness, so that a retry meets the same rows with fresh noise.
    """
    n_batches, size = batch_shape(train.n_rows, recipe.batch_size)
    order = _padded(jax.random.permutation(key, train.n_rows), n_batches * size)
    transformation = recipe.optimiser.transformation()
    loss_and_gradient = jax.value_and_grad(batch_loss, has_aux=True)

    def unfinished(carry: tuple[FitState, Progress]) -> Array:
        return (carry[1].cursor < n_batches) & carry[1].finite

    def step(carry: tuple[FitState, Progress]) -> tuple[FitState, Progress]:
        state, progress = carry
        key_rows, key_q = jax.random.split(jax.random.fold_in(noise_key, progress.cursor))
        x, observed, weights = _chunk(train, order, progress.cursor, size, recipe.dtype, key=key_rows)
        weight = kl_weight(recipe, state.step)
        (loss, bound_sum), gradient = loss_and_gradient(
            state.parameters, static, recipe, x, observed, weights, weight, key_q
        )
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.global_norm(gradient))
        updates, optimiser = transformation.update(gradient, state.optimiser, state.parameters)
        updates = jax.tree.map(lambda u: u * state.step_factor, updates)
        moved = optax.apply_updates(state.parameters, updates)
        state = eqx.tree_at(
            lambda s: (s.parameters, s.optimiser, s.step),
            state,
            (
                _select(finite, moved, state.parameters),
                _select(finite, optimiser, state.optimiser),
                state.step + finite.astype("int32"),
            ),
        )
        return state, Progress(
            progress.cursor + finite.astype("int32"),
            progress.bound_sum + jnp.where(finite, bound_sum, 0),
            finite,
        )

    # Best-so-far does not change inside the loop; carrying it would copy it at every step.
    frozen = (state.best, state.best_bound, state.best_epoch, state.epoch)
    light = eqx.tree_at(_frozen_parts, state, (None, None, None, None), is_leaf=lambda a: a is None)
    light, progress = jax.lax.while_loop(unfinished, step, (light, progress))
    state = eqx.tree_at(_frozen_parts, light, frozen, is_leaf=lambda a: a is None)
    if validation is None:
        validation_bound = jnp.asarray(jnp.nan, recipe.dtype)
    else:
        pair = eqx.combine(state.parameters, static)
        validation_bound = jax.lax.cond(
            progress.finite,
            lambda: mean_bound(pair, recipe, validation, key=validation_key),
            lambda: jnp.asarray(jnp.nan, recipe.dtype),
        )
    return Outcome(_closed(state, progress, validation_bound, validation is None), progress, validation_bound)


def _frozen_parts(state: FitState) -> tuple[Any, Any, Any, Any]:
    return state.best, state.best_bound, state.best_epoch, state.epoch


def _closed(state: FitState, progress: Progress, validation_bound: Array, latest_is_best: bool) -> FitState:
    # NaN compares false: a validation bound that is not finite never becomes the best.
    done = progress.finite
    epoch = state.epoch + done.astype("int32")
    better = done & (latest_is_best | (validation_bound > state.best_bound))
    return eqx.tree_at(
        _frozen_parts,
        state,
        (
            _select(better, state.parameters, state.best),
            jnp.where(better & (not latest_is_best), validation_bound, state.best_bound),
            jnp.where(better, epoch, state.best_epoch),
            epoch,
        ),
    )


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
    weight: Array,
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
    n_chunks, size = batch_shape(data.n_rows, VALIDATION_CHUNK)
    order = _padded(jnp.arange(data.n_rows), n_chunks * size)

    def chunk(total: Array, i: Array) -> tuple[Array, None]:
        key_rows, key_q = jax.random.split(jax.random.fold_in(key, i))
        x, observed, weights = _chunk(data, order, i, size, recipe.dtype, key=key_rows)
        one = jnp.ones((), recipe.dtype)
        _, bound_sum = batch_loss(pair, static, recipe, x, observed, weights, one, key_q)
        return total + bound_sum, None

    pair, static = eqx.partition(pair, eqx.is_inexact_array)
    total, _ = jax.lax.scan(chunk, jnp.zeros((), recipe.dtype), jnp.arange(n_chunks))
    return total / data.n_rows


def _chunk(
    data: Dataset, order: Array, i: Array, size: int, dtype: str, *, key: PRNGKeyArray
) -> tuple[Array, Array | None, Array]:
    # The last chunk may be short: it is filled up with rows of weight zero, so that every chunk has one shape.
    indices = jax.lax.dynamic_slice(order, (i * size,), (size,))
    weights = (i * size + jnp.arange(size) < data.n_rows).astype(dtype)
    return *data.rows(indices, key=key, dtype=dtype), weights


def _padded(order: Array, length: int) -> Array:
    return jnp.resize(order, (length,)) if length != order.shape[0] else order


def _select(condition: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
