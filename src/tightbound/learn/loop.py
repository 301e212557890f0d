"""The host's side of learning: epochs, retries after non-finite steps, early stopping, the result."""

import dataclasses
import enum
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from tightbound.learn.dataset import Dataset
from tightbound.learn.diagnosis import describe_non_finite
from tightbound.learn.epoch import FitState, Outcome, Pair, Recipe, initial_progress, initial_state, run_epoch
from tightbound.learn.objectives import check_objective

MAX_RETRIES = 8
"""How often an epoch goes on from a non-finite step, with half the step each time, before it is undone as a whole."""
MAX_UNDONE = 3
"""How often an epoch is undone and run again with a tenth of the step before the fit ends."""


class Status(enum.Enum):
    """How a fit ended; the values are sentences."""

    COMPLETED = "All epochs were run."
    STOPPED_EARLY = "The validation bound stopped rising, so the fit stopped early; the best epoch's parameters are kept."
    NON_FINITE = (
        "The fit ended early because steps kept giving numbers that are not finite; the last good parameters are kept."
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


@final
@dataclasses.dataclass(frozen=True)
class Keys:
    """The named streams of randomness of a fit, split once."""

    shuffle: PRNGKeyArray
    noise: PRNGKeyArray
    validation: PRNGKeyArray

    @classmethod
    def split(cls, key: PRNGKeyArray) -> "Keys":
        """Three independent keys from one."""
        return cls(*jax.random.split(key, 3))


def fit(
    pair: Pair,
    train: Dataset,
    validation: Dataset | None,
    recipe: Recipe,
    *,
    epochs: int,
    patience: int | None = None,
    key: PRNGKeyArray,
    resume_from: tuple[FitState, tuple[EpochRecord, ...]] | None = None,
    on_epoch: Listener | None = None,
) -> FitResult:
    """Maximise the bound by stochastic gradient steps.

    Args:
        pair: the model and the inference to start from.
        train, validation: rows; with validation, the epoch with the best mean bound over all of its rows is kept.
        recipe: objective, gradient, optimiser, batch size.
        epochs: the most epochs to run.
        patience: stop after so many epochs without a new best (None: never).
        key: fixes the order of rows and all noise; the same key gives the same bits on the same machine.
        resume_from: state and history of an earlier call with the same arguments; the rest gives the same bits as a
            fit that was never interrupted.
        on_epoch: called after every epoch with the state and the history so far.

    Raises `ValueError` for parts that do not go together.
    """
    check_objective(recipe.objective, pair.q.distribution, type(pair.p.prior))
    recipe.gradient.check(recipe.objective, pair.q.distribution)
    keys = Keys.split(key)
    _, static = eqx.partition(pair, eqx.is_inexact_array)
    state, history = resume_from or (initial_state(pair, recipe), ())
    status, cause = Status.COMPLETED, ""
    while int(state.epoch) < epochs and status is Status.COMPLETED:
        if patience is not None and validation is not None and int(state.epoch) - int(state.best_epoch) >= patience > 0:
            status = Status.STOPPED_EARLY
            break
        outcome, cause = _epoch_with_retries(recipe, static, state, train, validation, keys)
        if outcome is None:
            status = Status.NON_FINITE
            break
        state = outcome.state
        history = (*history, _record(outcome, train.n_rows))
        if on_epoch is not None:
            on_epoch(state, history)
    return FitResult(
        pair=eqx.combine(state.best, static),
        history=history,
        best_epoch=int(state.best_epoch),
        status=status,
        detail=f"{status.value} {cause}".strip(),
    )


def _epoch_with_retries(
    recipe: Recipe, static: Pair, start: FitState, train: Dataset, validation: Dataset | None, keys: Keys
) -> tuple[Outcome | None, str]:
    """Run one epoch; undo and retry what is not finite. Returns the outcome, or None and the cause."""
    shuffle = jax.random.fold_in(keys.shuffle, start.epoch)
    noise = jax.random.fold_in(keys.noise, start.epoch)
    attempt = 0
    for undone in range(MAX_UNDONE + 1):
        state = eqx.tree_at(lambda s: s.step_factor, start, start.step_factor * 0.1**undone)
        progress = initial_progress(recipe)
        for _ in range(MAX_RETRIES + 1):
            noise_key = jax.random.fold_in(noise, attempt)
            attempt += 1
            outcome = run_epoch(
                recipe,
                static,
                state,
                train,
                validation,
                progress,
                key=shuffle,
                noise_key=noise_key,
                validation_key=keys.validation,
            )
            if bool(outcome.progress.finite):
                return _recovered(outcome), ""
            state = eqx.tree_at(lambda s: s.step_factor, outcome.state, outcome.state.step_factor * 0.5)
            progress = eqx.tree_at(lambda s: s.finite, outcome.progress, ~outcome.progress.finite)
    cause = describe_non_finite(recipe, static, state, train, int(progress.cursor), shuffle, noise_key)
    return None, cause


def _recovered(outcome: Outcome) -> Outcome:
    # After a whole finite epoch the step grows back towards its schedule.
    factor = jnp.minimum(1, 2 * outcome.state.step_factor)
    state = eqx.tree_at(lambda s: s.step_factor, outcome.state, factor)
    return outcome._replace(state=state)


def _record(outcome: Outcome, n_rows: int) -> EpochRecord:
    values: Any = jax.device_get((outcome.state.epoch, outcome.state.best_epoch, outcome.progress.bound_sum))
    epoch, best_epoch, bound_sum = values
    return EpochRecord(
        epoch=int(epoch),
        train_bound=float(bound_sum) / n_rows,
        validation_bound=float(outcome.validation_bound),
        best=int(epoch) == int(best_epoch),
    )
