"""Epochs a few steps a call: for rows that are handed over block by block, and where a compiled loop would be slow."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from tightbound.learn.dataset import Dataset
from tightbound.learn.devices import on_devices
from tightbound.learn.epoch import ended, no_records, noise_of, one_step, with_frozen_parts, without_frozen_parts
from tightbound.learn.source import AbstractSource, Stored, View, batch_shape
from tightbound.learn.state import MOST_EPOCHS_AT_ONCE, FitState, Keys, Outcome, Pair, Place, TrainingConfig
from tightbound.model.compiling import compiled


class Calls(NamedTuple):
    """How steps make calls of a compiled program; it changes no bit, but for the rounding of steps without a loop."""

    n_steps: int
    in_a_loop: bool = True


def run_stepwise(
    config: TrainingConfig,
    static: Pair,
    state: FitState,
    train: AbstractSource,
    validation: Dataset | None,
    place: Place,
    keys: Keys,
    attempt: Int[Array, ""],
    last_epoch: Int[Array, ""],
    until: Int[Array, ""],
    patience: Int[Array, ""],
    *,
    calls: Calls,
) -> Outcome:
    """What `run_epochs` does, with a compiled program for every few steps."""
    n_batches, _ = batch_shape(train.n_rows, config.batch_size)
    records, epochs = no_records(config), 0
    while (
        bool(place.finite)
        and int(place.cursor) < min(int(until), n_batches)
        and int(state.epoch) < int(last_epoch)
        and int(state.epoch) - int(state.best_epoch) < int(patience)
        and int(records.count) == epochs < MOST_EPOCHS_AT_ONCE
    ):
        first = int(place.cursor)
        stored = train.minibatches(config.batch_size, first=first, key=jax.random.fold_in(keys.shuffle, state.epoch))
        noise, (light, rest) = noise_of(keys, state.epoch, attempt), without_frozen_parts(state)
        for some in _several(itertools.islice(stored, int(until) - first), calls.n_steps):
            given = (light, place, on_devices(some), train.view, train.n_rows, calls.in_a_loop)
            light, place = _steps(config, static, *given, key=noise)
        state = with_frozen_parts(light, rest)
        state, place, records = _ended(
            config, static, state, train.some, validation, place, records, keys, attempt, train.n_rows
        )
        epochs += 1
    return Outcome(state, place, records)


def _several(batches: Iterable[Stored], n: int) -> Iterator[tuple[Stored, ...]]:
    waiting = iter(batches)
    while some := tuple(itertools.islice(waiting, n)):
        yield some


_ended = eqx.filter_jit(ended)


@compiled
def _steps(
    config: TrainingConfig,
    static: Pair,
    state: FitState,
    place: Place,
    batches: tuple[Stored, ...],
    view: View,
    n_rows: int,
    in_a_loop: bool,
    *,
    key: Array,
) -> tuple[FitState, Place]:
    if not in_a_loop:
        for stored in batches:
            state, place = one_step(config, static, state, place, stored, view, n_rows, key=key)
        return state, place
    # The loop that whole epochs run in, and so its bits: steps in a row would be fused with each other.
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
    last = place.cursor + len(batches)

    def step(carry: tuple[FitState, Place]) -> tuple[FitState, Place]:
        stored = jax.tree.map(lambda leaf: leaf[carry[1].cursor - last + len(batches)], together)
        return one_step(config, static, *carry, stored, view, n_rows, key=key)

    return jax.lax.while_loop(lambda carry: (carry[1].cursor < last) & carry[1].finite, step, (state, place))
