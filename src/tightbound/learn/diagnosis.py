"""What went bad: a sentence that names the row or the parameter behind a non-finite step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tightbound.learn.epoch import noise_of
from tightbound.learn.source import AbstractSource, batch_bounds, batch_shape
from tightbound.learn.state import FitState, Keys, Pair, TrainingConfig
from tightbound.learn.step import Batch, batch_loss, bounds_of, search


def describe_non_finite(
    config: TrainingConfig,
    static: Pair,
    state: FitState,
    train: AbstractSource,
    cursor: int,
    keys: Keys,
    attempt: int,
) -> str:
    """One sentence on the minibatch at `cursor`: rows with a non-finite bound, else parameters with a bad gradient."""
    key = jax.random.fold_in(keys.shuffle, state.epoch)
    stored = next(train.minibatches(config.batch_size, first=cursor, key=key))
    n_batches, _ = batch_shape(train.n_rows, config.batch_size)
    _, count = batch_bounds(train.n_rows, n_batches, jnp.asarray(cursor))
    stored = jax.tree.map(lambda a: jnp.asarray(a)[: int(count)], stored)
    key_rows, key_q = jax.random.split(jax.random.fold_in(noise_of(keys, state.epoch, jnp.asarray(attempt)), cursor))
    (x, observed), numbers = train.view(stored.x, stored.observed, key=key_rows, dtype=config.dtype), stored.indices

    pair = eqx.combine(state.parameters, static)
    bounds = np.asarray(jax.jit(lambda k: bounds_of(pair, config, state.estimator, x, observed, key=k))(key_q))
    bad_rows = np.asarray(numbers)[~np.isfinite(bounds)]
    if bad_rows.size:
        return (
            f"The bound of training row {int(bad_rows[0])} (and {bad_rows.size - 1} more of {x.shape[0]} in its "
            "minibatch) is not finite; look for extreme values there, or lower learning_rate."
        )
    batch = Batch(x, observed, jnp.ones(x.shape[0], x.dtype), numbers, train.n_rows)
    found = search(pair, state.per_datum, batch, kl_weight=config.kl_weight(state.step, config.dtype), key=key_q)
    gradient = jax.jit(
        jax.grad(lambda a: batch_loss(a, static, config, batch, found, state.estimator, state.step, key_q)[0])
    )(state.parameters)
    names = non_finite_leaves(gradient)
    where = f"the gradient of {names[0]} (and {len(names) - 1} more arrays)" if names else "a step"
    return f"In epoch {int(state.epoch) + 1} {where} is not finite; lower learning_rate or look for extreme values."


def non_finite_leaves(tree: object) -> list[str]:
    """Paths of the arrays in `tree` that hold a NaN or an infinity, such as `p.decoder.network.layers[2].weight`."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_inexact_array))
    return [jax.tree_util.keystr(path).lstrip(".") for path, leaf in leaves if not bool(jnp.all(jnp.isfinite(leaf)))]
