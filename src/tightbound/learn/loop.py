"""The host's side of learning: epochs, retries after non-finite steps, early stopping, the result."""

import dataclasses
import enum
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from tightbound.learn.epoch import (
    Batch,
    batch_loss,
    bounds_of,
    ended,
    no_records,
    noise_of,
    one_step,
    run_epochs,
    search,
    with_frozen_parts,
    without_frozen_parts,
)
from tightbound.learn.source import (
    AbstractSource,
    Dataset,
    Stored,
    View,
    batch_bounds,
    batch_shape,
    everywhere,
    on_devices,
)
from tightbound.learn.state import (
    MOST_EPOCHS_AT_ONCE,
    FitState,
    Keys,
    Outcome,
    Pair,
    Place,
    Records,
    TrainingConfig,
    check_pair,
    divided,
    first_place,
    initial_state,
)
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


MAX_RETRIES = 8
"""How often an epoch goes on from a non-finite step, with half the step each time, before it is undone as a whole."""
MAX_UNDONE = 3
"""How often an epoch is undone and run again with a tenth of the step before the fit ends."""


class Status(enum.Enum):
    """How a fit ended; the values are sentences."""

    COMPLETED = "All epochs were run."
    STOPPED_EARLY = (
        "The validation bound stopped rising, so the fit stopped early; the best epoch's parameters are kept."
    )
    NON_FINITE = (
        "The fit met numbers that are not finite and could not go round them; the last good parameters are kept."
    )


@final
@dataclasses.dataclass(frozen=True)
class EpochRecord:
    """Bounds of one epoch in nats a row, in the model's units (NaN where there is no validation)."""

    epoch: int
    train_bound: float
    """Mean over the epoch's rows of the bound, each at the parameters of its step."""
    validation_bound: float
    best: bool
    """Whether this epoch's parameters are the best so far."""
    train_objective: float
    """Like `train_bound`, of what was maximised: with its weight on the KL, or what stands in for the KL."""


@final
@dataclasses.dataclass(frozen=True)
class FitResult:
    """A learnt pair, how it came about and how it ended."""

    pair: Pair
    history: tuple[EpochRecord, ...]
    best_epoch: int
    status: Status
    detail: str
    """One sentence: the status, with what went bad where something did."""


Listener = Callable[[FitState, tuple[EpochRecord, ...]], None]
"""Called with the state after some epochs and the history so far; its new end can hold several epochs."""

_SECONDS_A_CALL = 0.1
"""Epochs that are shorter than this are run several at a time, so that asking the host costs nothing beside them."""


def fit(
    pair: Pair,
    train: AbstractSource,
    validation: Dataset | None,
    config: TrainingConfig,
    *,
    epochs: int,
    patience: int | None = None,
    key: PRNGKeyArray,
    resume_from: tuple[FitState, tuple[EpochRecord, ...]] | None = None,
    on_progress: Listener | None = None,
) -> FitResult:
    """Maximise the bound by stochastic gradient steps.

    Args:
        pair: the model and the inference to start from.
        train: rows; validation: rows in memory, the mean bound over all of which says what epoch is kept.
        config: objective, gradient, optimiser, batch size.
        epochs: the most epochs to run.
        patience: stop after so many epochs without a new best (None: never).
        key: fixes the order of rows and all noise; the same key gives the same bits on the same machine.
        resume_from: state and history of an earlier call with the same arguments; the rest gives the same bits as a
            fit that was never interrupted.
        on_progress: called after one or several epochs with the state and the history so far.

    Raises `ValueError` for parts that do not go together.
    """
    check_pair(pair, config, train.some)
    _, static = divided(pair, config)
    state, past = resume_from or (initial_state(pair, config, *train.shape), ())
    history = list(past)
    state, train, validation = everywhere((state, train, validation))
    runner = _Runner(config, static, train, validation, Keys(*jax.random.split(key, 3)), epochs, patience or NEVER)
    cause, at_once = None, 1
    while runner.wants_more(state):
        started = time.perf_counter()
        epoch = int(state.epoch)
        state, records, cause = runner.advance(state, min(epoch + at_once, epochs))
        history += _as_records(epoch, records)
        if on_progress is not None and records:
            on_progress(state, tuple(history))
        if cause is not None:
            break
        if time.perf_counter() - started < _SECONDS_A_CALL:
            at_once = min(2 * at_once, MOST_EPOCHS_AT_ONCE)
    if cause is None and history and validation is not None and int(state.best_epoch) == 0:
        cause = NO_FINITE_VALIDATION
        state = eqx.tree_at(lambda s: s.best, state, state.parameters)
    early = int(state.epoch) < epochs
    status = Status.NON_FINITE if cause else Status.STOPPED_EARLY if early else Status.COMPLETED
    return FitResult(
        pair=eqx.combine(state.best, static),
        history=tuple(history),
        best_epoch=int(state.best_epoch),
        status=status,
        detail=f"{status.value} {cause or ''}".strip(),
    )


NO_FINITE_VALIDATION = (
    "No epoch had a finite validation bound, so the latest parameters are kept; look for extreme values in the "
    "validation rows."
)

NEVER = 2**30
"""A patience that is never used up."""

Bounds = list[tuple[float, float, bool, float]]


@final
@dataclasses.dataclass(frozen=True)
class _Runner:
    """Calls the compiled program, and undoes and retries what is not finite."""

    config: TrainingConfig
    static: Pair
    train: AbstractSource
    validation: Dataset | None
    keys: Keys
    epochs: int
    patience: int

    def wants_more(self, state: FitState) -> bool:
        """Whether another epoch is to be run."""
        waiting = self.validation is None or int(state.epoch) - int(state.best_epoch) < self.patience
        return int(state.epoch) < self.epochs and waiting

    def advance(self, state: FitState, last_epoch: int) -> tuple[FitState, Bounds, str | None]:
        """Run up to `last_epoch`: the new state, the bounds of its epochs, and the cause when it cannot go on."""
        outcome = self._run(state, first_place(self.config), 0, last_epoch)
        if bool(outcome.place.finite):
            return outcome.state, _bounds(outcome.records), None
        # The same bits once more, up to the epoch that went wrong; then that epoch by itself.
        done = int(outcome.records.count)
        records = _bounds(outcome.records)
        if done:
            state = self._run(state, first_place(self.config), 0, int(state.epoch) + done).state
        retried, cause = self._retry(state)
        if retried is None:
            return state, records, cause
        return retried.state, records + _bounds(retried.records), None

    def _retry(self, start: FitState) -> tuple[Outcome | None, str | None]:
        """One epoch in spite of non-finite steps: its outcome, or the cause when the retries are used up."""
        last_epoch = int(start.epoch) + 1
        attempt = 0
        for undone in range(MAX_UNDONE + 1):
            state, place = _shortened(start, 0.1**undone), first_place(self.config)
            for _ in range(MAX_RETRIES + 1):
                outcome = self._run(state, place, attempt, last_epoch)
                if bool(outcome.place.finite):
                    return outcome, None
                # Back to just before the step that went wrong; one step earlier still where it was the step before
                # that left parameters which are not finite.
                bad = int(outcome.place.cursor)
                before = self._run(state, place, attempt, last_epoch, bad)
                if not bool(before.place.finite):
                    before = self._run(state, place, attempt, last_epoch, max(bad - 1, int(place.cursor)))
                # Whether that state is sound is for the next attempt to say, whose noise is fresh.
                place = eqx.tree_at(lambda a: a.finite, before.place, jnp.asarray(True))
                state = _shortened(before.state, 0.5)
                attempt += 1
        return None, describe_non_finite(
            self.config, self.static, state, self.train, int(place.cursor), self.keys, attempt - 1
        )

    def _run(self, state: FitState, place: Place, attempt: int, last_epoch: int, until: int | None = None) -> Outcome:
        n_batches, _ = batch_shape(self.train.n_rows, self.config.batch_size)
        numbers = (attempt, last_epoch, n_batches if until is None else until, self.patience)
        arguments = (jnp.asarray(number, "int32") for number in numbers)
        given: Any = (self.config, self.static, state, self.train, self.validation, place, self.keys, *arguments)
        calls = calls_of(self.config, self.static, self.train)
        return run_epochs(*given) if calls is None else run_stepwise(*given, calls=calls)


def calls_of(config: TrainingConfig, pair: Pair, train: AbstractSource) -> Calls | None:
    """How steps make calls of a compiled program (None: whole epochs are one).

    Epochs, where all rows lie on the device: asking the host costs nothing beside them. On a CPU convolutions inside a
    compiled loop are 27 times slower than outside of one: there it is a step a call.
    """
    if config.encoder_steps > 1:
        if not train.resident:
            raise ValueError(
                "encoder_steps above 1 must have rows in memory, from which extra minibatches are drawn; got rows that "
                "are handed over in blocks; use encoder_steps=1, or inference='amortised'."
            )
        return None
    if jax.default_backend() == "cpu" and any(map(_is_convolution, jax.tree.leaves(pair, is_leaf=_is_convolution))):
        return Calls(1, in_a_loop=False)
    if train.resident and config.steps_a_call is None:
        return None
    return Calls(config.steps_a_call or 1)


def _is_convolution(node: Any) -> bool:
    return isinstance(node, eqx.nn.Conv | eqx.nn.ConvTranspose)


def _shortened(state: FitState, factor: float) -> FitState:
    return eqx.tree_at(lambda s: s.step_factor, state, state.step_factor * factor) if factor != 1 else state


def _bounds(records: Records) -> Bounds:
    found: Any = jax.device_get(records)
    columns = (found.train_bound, found.validation_bound, found.best, found.train_objective)
    return list(zip(*(column[: found.count].tolist() for column in columns), strict=True))


def _as_records(epoch: int, bounds: Bounds) -> list[EpochRecord]:
    return [EpochRecord(epoch + 1 + i, *values) for i, values in enumerate(bounds)]
