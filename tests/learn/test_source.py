"""Where rows come from and how many steps make a call: neither changes a bit of what is learnt."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_pairs import KEY, network_pair

from tightbound.learn import (
    AbstractSource,
    Amortised,
    Dataset,
    FitResult,
    Optimiser,
    Pair,
    Stored,
    TrainingConfig,
    View,
    batch_shape,
    fit,
    named_arrays,
)
from tightbound.learn.loop import Calls, calls_of
from tightbound.model import Specification, Start, build

ROWS = np.random.default_rng(4).normal(size=(37, 3))
SEEN = np.random.default_rng(5).random((37, 3)) < 0.8
VALIDATION = Dataset(jnp.asarray(ROWS[:9]))
HOW = TrainingConfig(Optimiser(0.01, 40), batch_size=8, dtype="float64")


@pytest.fixture(autouse=True, scope="module")
def compiled_as_for_users() -> Iterator[None]:
    """Other tests save compile time by leaving most optimisations out; rounding is then another in other programs."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


class Blocks(AbstractSource):
    """The rows in blocks of five, of which a minibatch is put together on the host."""

    blocks: list[np.ndarray]
    masks: list[np.ndarray]
    how: View

    @property
    def shape(self) -> tuple[int, int]:
        return sum(map(len, self.blocks)), self.blocks[0].shape[1]

    @property
    def view(self) -> View:
        return self.how

    @property
    def resident(self) -> bool:
        return False

    @property
    def some(self) -> Dataset:
        return Dataset(jnp.asarray(self.blocks[0]), jnp.asarray(self.masks[0]))

    def minibatches(self, batch_size: int, *, first: int = 0, key: jax.Array) -> Iterator[Stored]:
        n = self.shape[0]
        n_batches, size = batch_shape(n, batch_size)
        order = np.asarray(jax.random.permutation(key, n))
        order = np.append(order, order[:1])
        base, extra = divmod(n, n_batches)
        for i in range(first, n_batches):
            start = i * base + min(i, extra)
            rows = order[start : start + size]
            pick = [divmod(row, 5) for row in rows]
            x, seen = (np.stack([of[b][r] for b, r in pick]) for of in (self.blocks, self.masks))
            yield Stored(x, seen, rows)


def learnt(train: AbstractSource, recipe: TrainingConfig = HOW, pair: Pair | None = None, epochs: int = 2) -> FitResult:
    return fit(pair or network_pair(seed=1), train, VALIDATION, recipe, epochs=epochs, key=KEY)


def bits(result: FitResult) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in named_arrays(eqx.filter(result.pair, eqx.is_array)).items()}


def same(a: FitResult, b: FitResult) -> None:
    assert str(a.history) == str(b.history)
    assert bits(a) == bits(b)


def test_rows_in_blocks_teach_the_same_as_rows_in_memory() -> None:
    """Cells hidden and noise included."""
    view: dict[str, Any] = {"hidden": 0.5, "noise": jnp.full(3, 0.1)}
    parts = [slice(i, i + 5) for i in range(0, 37, 5)]
    blocks = Blocks([ROWS[p] for p in parts], [SEEN[p] for p in parts], View(**view))
    whole = Dataset(jnp.asarray(ROWS), jnp.asarray(SEEN), **view)
    same(learnt(blocks), learnt(whole))


def test_how_many_steps_make_a_call_changes_no_bit() -> None:
    data = Dataset(jnp.asarray(ROWS))
    same(learnt(data, dataclasses.replace(HOW, steps_a_call=3)), learnt(data))


def test_a_step_that_is_not_finite_is_gone_round_a_step_at_a_time_too() -> None:
    """A row that overflows: the same retries, the same end."""
    rows = ROWS.copy()
    rows[11] = 1e200
    data = Dataset(jnp.asarray(rows))
    several, one = learnt(data, epochs=1), learnt(data, dataclasses.replace(HOW, steps_a_call=1), epochs=1)
    assert (several.status, several.detail) == (one.status, one.detail)
    assert bits(several) == bits(one)


class Convolved(eqx.Module):
    """Sees a row as a picture of one line."""

    first: eqx.nn.Conv1d
    last: eqx.nn.Linear

    def __init__(self, n_in: int, n_out: int, *, key: jax.Array):
        keys = jax.random.split(key)
        self.first = eqx.nn.Conv1d(1, 2, 3, padding=1, key=keys[0])
        self.last = eqx.nn.Linear(2 * n_in, n_out, key=keys[1])

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last(jax.nn.silu(self.first(x[None])).ravel())


def test_convolutions_on_a_cpu_are_stepped_outside_of_a_loop() -> None:
    spec = Specification(n_features=3, latent_dim=2, dtype="float64")
    start = Start(np.zeros(3), np.full(3, 0.01))
    parts = build(spec, start=start, key=KEY)
    encoder: Any = parts.encoder
    network = Convolved(encoder.inputs.size, encoder.family.n_parameters, key=KEY)
    pair = Pair(parts.p, Amortised(eqx.tree_at(lambda e: e.network, encoder, network)))
    data = Dataset(jnp.asarray(ROWS))
    assert calls_of(HOW, pair, data) == Calls(1, in_a_loop=False)
    assert calls_of(HOW, network_pair(), data) is None
    assert calls_of(dataclasses.replace(HOW, steps_a_call=3), network_pair(), data) == Calls(3)
    found = learnt(data, pair=pair, epochs=8)
    assert found.history[-1].train_bound > found.history[0].train_bound


def test_extra_steps_on_q_need_rows_in_memory() -> None:
    blocks = Blocks([ROWS[:5]], [SEEN[:5]], View())
    with pytest.raises(ValueError, match=r"encoder_steps above 1 must have rows in memory, .* use encoder_steps=1"):
        learnt(blocks, dataclasses.replace(HOW, encoder_steps=2))
