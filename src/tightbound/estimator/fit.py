"""From a table and a few choices to a fitted model: what the estimator's `fit` and `tightbound fit` both do."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tightbound import learn
from tightbound.data import Encoding, Rows, SparseMatrix, Table
from tightbound.estimator.config import Config, make_config, messages_of
from tightbound.estimator.fitted import FittedModel, TrainingSummary, add_to_bounds, columns_at_floor, precision
from tightbound.estimator.initialisation import choose_encoding, start_of
from tightbound.estimator.resume import Checkpointing, Keeper, fingerprint, identity_of, kept
from tightbound.estimator.settings import Settings
from tightbound.model import GenerativeModel, Specification, build
from tightbound.model.building import prior_of
from tightbound.model.streams import Stream

EpochListener = Callable[[learn.EpochRecord, int, int], None]
"""Called after every epoch with (record in the user's units, most epochs, training rows)."""


def fit_table(
    table: Table,
    settings: Settings,
    *,
    seed: int,
    validation: Table | None = None,
    checkpointing: Checkpointing | None = None,
    on_config: Callable[[Config, tuple[str, ...]], None] | None = None,
    on_epoch: EpochListener | None = None,
) -> FittedModel:
    """Fit a variational autoencoder to a table.

    Args:
        table: the data; validation: rows to stop early on, instead of a share of `table`.
        settings: the choices.
        seed: fixes weights, split, order of rows and all noise.
        checkpointing: keep the state on disk and go on from it; the result has the same bits as without interruption.
        on_config: called once before the first epoch with the resolved choices and the messages for the user.
        on_epoch: called after every epoch.

    Raises `ValueError` (one sentence) for data or choices that cannot be used.
    """
    started = time.perf_counter()
    table, encoding, sentence = choose_encoding(table, settings)
    rows = encoding.encode(table, dtype=settings.dtype, draw=True)
    held_out = None if validation is None else encoding.encode(validation, dtype=settings.dtype, draw=True)
    config = make_config(settings, encoding, rows, held_out, seed)
    messages = [sentence, *encoding.messages, *messages_of(config, table)]
    if on_config is not None:
        on_config(config, tuple(messages))
    with precision(settings.dtype):
        key_weights, key_fit = jax.random.split(jax.random.key(seed))
        spec = config.specification
        parts = build(spec, start=start_of(config, encoding, rows, seed), key=key_weights)
        q = learn.make_inference(spec, parts)
        train, guard, shifts = _datasets(config, rows, held_out)
        identity = fingerprint((table,) if validation is None else (table, validation), settings, seed)
        pair = learn.Pair(parts.p, q)
        result = _run(config, pair, train, guard, shifts, checkpointing, on_epoch, key_fit, identity)
        if config.second_stage is not None:
            result, spec = _second_stage(config, result, train, guard, shifts, on_epoch, key_fit)
        settled = learn.tied(result.pair)
        messages += _floor_messages(settled, encoding, _some_latents(settled, encoding, rows, config))
    if result.status is learn.Status.NON_FINITE:
        messages.append(result.detail)
    summary = TrainingSummary(
        source=table.source,
        n_train=len(config.train),
        n_validation=0 if guard is None else guard.n_rows,
        history=add_to_bounds(result.history, *shifts),
        best_epoch=result.best_epoch,
        status=result.status.name,
        detail=result.detail,
        seconds=time.perf_counter() - started,
        seed=seed,
        settings=settings,
        messages=tuple(messages),
        chosen=config.chosen,
    )
    return FittedModel(settled, spec, encoding, summary)


def _datasets(
    config: Config, rows: Rows, held_out: Rows | None
) -> tuple[learn.Dataset, learn.Dataset | None, tuple[float, float]]:
    """Training and validation rows on the device, and the mean log Jacobians that bring bounds to the user's units."""
    spec = config.specification
    shown = tuple(j for j in range(spec.n_features) if j not in spec.cells)
    noise = None if config.smoothing is None else jnp.asarray(config.smoothing, spec.dtype)
    train = dataclasses.replace(_dataset(rows, config.train, noise), hidden=config.hidden, shown=shown)
    train_shift = float(rows.log_jacobian[config.train].mean())
    if held_out is not None:
        everything = np.arange(len(held_out.x))
        return train, _dataset(held_out, everything, noise), (train_shift, float(held_out.log_jacobian.mean()))
    if len(config.validation) == 0:
        return train, None, (train_shift, 0.0)
    shift = float(rows.log_jacobian[config.validation].mean())
    return train, _dataset(rows, config.validation, noise), (train_shift, shift)


def _dataset(rows: Rows, indices: NDArray[Any], noise: jax.Array | None) -> learn.Dataset:
    observed = None if rows.observed is None else jnp.asarray(rows.observed[indices])
    x: Any = rows.x
    if isinstance(x, SparseMatrix):
        return learn.Dataset(learn.sparse_rows(x.take(indices).csr, x.dtype.name), observed, noise=noise)
    return learn.Dataset(jnp.asarray(rows.x[indices]), observed, noise=noise)


def _run(
    config: Config,
    pair: learn.Pair,
    train: learn.Dataset,
    held_out: learn.Dataset | None,
    shifts: tuple[float, float],
    checkpointing: Checkpointing | None,
    on_epoch: EpochListener | None,
    key: jax.Array,
    identity: str,
) -> learn.FitResult:
    with contextlib.ExitStack() as stack:
        resume_from, keep = None, None
        if checkpointing is not None:
            pack: Any = functools.partial(learn.to_bytes, identity=identity)
            keep = stack.enter_context(Keeper(checkpointing.path, pack, checkpointing.every_seconds))
            template = learn.initial_state(pair, config.recipe, *train.x.shape)
            resume_from = _kept(checkpointing, template, identity)
        shown = 0 if resume_from is None else len(resume_from[1])
        return learn.fit(
            pair,
            train,
            held_out,
            config.recipe,
            epochs=config.epochs,
            patience=config.patience,
            key=key,
            resume_from=resume_from,
            on_progress=_listener(config, shifts, keep, on_epoch, shown),
        )


def _kept(checkpointing: Checkpointing, template: learn.FitState, identity: str) -> Any:
    """The state to go on from, and its history; None: from the beginning, over nothing but an earlier state."""
    if not checkpointing.resume:
        identity_of(checkpointing.path)
        return None
    must = "be one of this very fit (same data, settings and seed)"
    return kept(checkpointing.path, lambda data: learn.from_bytes(data, template, identity), must)


def _listener(
    config: Config,
    shifts: tuple[float, float],
    keep: Keeper | None,
    on_epoch: EpochListener | None,
    shown: int,
    past: int = 0,
) -> Callable[[learn.FitState, tuple[learn.EpochRecord, ...]], None]:
    """What happens after epochs: the state is kept, and the new ones are shown in the user's units."""
    most = config.epochs + (config.epochs_of_second_stage if config.second_stage else 0)

    def listener(state: learn.FitState, history: tuple[learn.EpochRecord, ...]) -> None:
        nonlocal shown
        if keep is not None:
            keep(state, history)
        if on_epoch is not None:
            for record in add_to_bounds(history[shown:], *shifts):
                on_epoch(dataclasses.replace(record, epoch=past + record.epoch), most, len(config.train))
        shown = len(history)

    return listener


def _second_stage(
    config: Config,
    first: learn.FitResult,
    train: learn.Dataset,
    guard: learn.Dataset | None,
    shifts: tuple[float, float],
    on_epoch: EpochListener | None,
    key: jax.Array,
) -> tuple[learn.FitResult, Specification]:
    """Fit a density to the aggregated posterior, with all else held, and make it the prior (Dai and Wipf, 2019).

    Its likelihood under draws of q is the part of the bound that the prior is in, so the loop is the same.
    """
    past = len(first.history)
    spec = dataclasses.replace(config.specification, prior=config.second_stage)
    settled: Any = learn.tied(first.pair)
    key_prior, key_fit = jax.random.split(Stream.SECOND_STAGE.of(key))
    pair = learn.Pair(GenerativeModel(prior_of(spec, key=key_prior), settled.p.decoder), settled.q)
    steps, _ = learn.batch_shape(train.n_rows, config.recipe.batch_size)
    total = steps * config.epochs_of_second_stage
    recipe = learn.TrainingConfig(
        learn.Optimiser(0.003, total, warmup_steps=min(100, total // 10)),
        objective=config.recipe.objective,
        gradient=config.recipe.gradient,
        batch_size=config.recipe.batch_size,
        trains="prior",
        dtype=config.recipe.dtype,
    )
    second = learn.fit(
        pair,
        train,
        guard,
        recipe,
        epochs=config.epochs_of_second_stage,
        key=key_fit,
        on_progress=_listener(config, shifts, None, on_epoch, 0, past),
    )
    history = (*first.history, *(dataclasses.replace(r, epoch=past + r.epoch) for r in second.history))
    worse = second if first.status is not learn.Status.NON_FINITE else first
    detail = f"First stage: {first.detail} Second stage: {second.detail}"
    return learn.FitResult(second.pair, history, past + second.best_epoch, worse.status, detail), spec


def _floor_messages(pair: learn.Pair, encoding: Encoding, latents: NDArray[Any]) -> list[str]:
    stuck = columns_at_floor(pair, encoding, latents)
    if not stuck:
        return []
    return [
        f"The decoder's scale sits at its floor for {len(stuck)} column(s) ({', '.join(stuck[:5])}"
        f"{', ...' if len(stuck) > 5 else ''}): their values repeat or lie on a grid, and log p(x) would grow "
        "without bound; read their share of log p(x) as a floor-limited one."
    ]


def _some_latents(pair: learn.Pair, encoding: Encoding, rows: Rows, config: Config) -> NDArray[Any]:
    # Posterior means of up to 1,000 training rows: enough to see which scales sit at their floor.
    if encoding.likelihood != "gaussian":
        return np.zeros((1, config.specification.z_size), config.specification.dtype)
    from tightbound.evidence import encode

    some = config.train[:: max(1, len(config.train) // 1000)]
    observed = None if rows.observed is None else rows.observed[some]
    return encode(pair.p, pair.q, rows.x[some], observed).mean
