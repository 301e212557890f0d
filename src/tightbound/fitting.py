"""From a table and a few choices to a fitted model: what the estimator's `fit` and `tightbound fit` both do."""

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tightbound import learn
from tightbound.data import (
    DataError,
    Encoding,
    Rows,
    Table,
    atomic_write,
    decide_likelihood,
    infer_schema,
    make_encoding,
    split,
)
from tightbound.fitted import FittedModel, TrainingSummary, add_to_bounds, columns_at_floor, precision
from tightbound.model import Encoder, GenerativeModel, Specification, build
from tightbound.settings import DEFAULTS, check_choice, check_number

MAX_VALIDATION_ROWS = 2000
_MOST_LATENT = 64


@final
@dataclasses.dataclass(frozen=True)
class Plan:
    """The choices of a fit with every default filled in."""

    specification: Specification
    recipe: learn.Recipe
    epochs: int
    patience: int | None
    train: NDArray[np.intp]
    validation: NDArray[np.intp]


@final
@dataclasses.dataclass(frozen=True)
class Checkpointing:
    """Where a fit's state is kept, whether to go on from it, and how many seconds may be lost."""

    path: Path
    resume: bool = False
    every_seconds: float = 10.0


EpochListener = Callable[[learn.EpochRecord, int, int], None]
"""Called after every epoch with (record in the user's units, most epochs, training rows)."""


def fit_table(
    table: Table,
    settings: Mapping[str, Any],
    *,
    seed: int,
    validation: Table | None = None,
    encoder_network: Callable[..., Any] | None = None,
    decoder_network: Callable[..., Any] | None = None,
    checkpointing: Checkpointing | None = None,
    on_plan: Callable[[Plan, Encoding, tuple[str, ...]], None] | None = None,
    on_epoch: EpochListener | None = None,
) -> FittedModel:
    """Fit a variational autoencoder to a table.

    Args:
        table: the data; validation: rows to stop early on, instead of a share of `table`.
        settings: values of `tightbound.settings.SETTINGS`; what is left out has its default.
        seed: fixes weights, split, order of rows and all noise.
        encoder_network, decoder_network: factories f(in_size, out_size, key=...) that replace the default networks.
        checkpointing: keep the state on disk and go on from it; the result has the same bits as without interruption.
        on_plan: called once before the first epoch with the plan, the encoding and the messages for the user.
        on_epoch: called after every epoch.

    Raises `ValueError` (one sentence) for data or choices that cannot be used.
    """
    started = time.perf_counter()
    settings = {**DEFAULTS, **settings}
    decision = decide_likelihood(table, infer_schema(table), settings["likelihood"], settings["binarize"])
    encoding = make_encoding(table, decision.likelihood, decision.binarize, settings["scaling"])
    rows = encoding.encode(table, dtype=settings["dtype"], draw=True)
    held_out = None if validation is None else encoding.encode(validation, dtype=settings["dtype"], draw=True)
    plan = make_plan(settings, encoding, rows, held_out, seed, custom=_custom(encoder_network, decoder_network))
    messages = [decision.sentence, *encoding.messages, *_plan_messages(plan, table)]
    if on_plan is not None:
        on_plan(plan, encoding, tuple(messages))
    with precision(settings["dtype"]):
        use_compilation_cache()
        key_weights, key_fit = jax.random.split(jax.random.key(seed))
        p, encoder = build(
            plan.specification,
            center=_center(encoding, rows),
            floor=encoding.floor,
            encoder_network=encoder_network,
            decoder_network=decoder_network,
            key=key_weights,
        )
        train, guard, shifts = _datasets(plan, rows, held_out)
        tables = (table,) if validation is None else (table, validation)
        identity = fingerprint(tables, settings, seed)
        result = _run(plan, p, encoder, train, guard, shifts, checkpointing, on_epoch, key_fit, identity)
        latent = _some_latents(result.pair, encoding, rows, plan)
        stuck = columns_at_floor(result.pair, encoding, latent)
    if stuck:
        messages.append(
            f"The decoder's scale sits at its floor for {len(stuck)} column(s) ({', '.join(stuck[:5])}"
            f"{', ...' if len(stuck) > 5 else ''}): their values repeat or lie on a grid, and log p(x) would grow "
            "without bound; read their share of log p(x) as a floor-limited one."
        )
    if result.status is learn.Status.NON_FINITE:
        messages.append(result.detail)
    summary = TrainingSummary(
        source=table.source,
        n_train=len(plan.train),
        n_validation=0 if guard is None else guard.n_rows,
        history=add_to_bounds(result.history, *shifts),
        best_epoch=result.best_epoch,
        status=result.status.name,
        detail=result.detail,
        seconds=time.perf_counter() - started,
        seed=seed,
        settings=json_settings(settings),
        messages=tuple(messages),
    )
    return FittedModel(result.pair, plan.specification, encoding, summary)


def make_plan(
    settings: Mapping[str, Any],
    encoding: Encoding,
    rows: Rows,
    held_out: Rows | None,
    seed: int,
    *,
    custom: tuple[str, ...] = (),
) -> Plan:
    """Fill in the defaults that depend on the data, and refuse choices that make no sense (`ValueError`)."""
    _check(settings)
    n, d = len(rows.x), encoding.n_features
    latent_dim = settings["latent_dim"]
    if latent_dim is None:
        latent_dim = min(50, max(2, d // 2))
    check_number("latent_dim", latent_dim, 1, max(_MOST_LATENT, 2 * d), "2 to 50 is usual")
    if n < 2:
        raise DataError(
            f"{n} row(s) in the training data must be at least 2: one sample cannot be learnt from; add rows "
            "(a fitted model scores and encodes single rows)."
        )
    fraction = settings["validation_fraction"]
    everything = np.arange(n)
    if held_out is not None or fraction == 0 or n < 10:
        train, validation = everything, everything[:0]
    elif fraction is None:
        train, validation = split(n, 0.1, seed, MAX_VALIDATION_ROWS)
    else:
        train, validation = split(n, fraction, seed)
    steps_per_epoch, _ = learn.batch_shape(len(train), settings["batch_size"])
    epochs = settings["epochs"]
    if epochs is None:
        epochs = int(np.clip(round(10_000 / steps_per_epoch), 50, 1000))
    patience = settings["patience"]
    if patience is None:
        patience = max(20, epochs // 4)
    total = epochs * steps_per_epoch
    return Plan(
        specification=Specification(
            n_features=d,
            latent_dim=int(latent_dim),
            likelihood=encoding.likelihood,
            covariance=settings["covariance"],
            rank=int(settings["rank"]),
            posterior=settings["posterior"],
            network=settings["network"],
            hidden_sizes=_hidden_sizes(settings["hidden_sizes"], d),
            activation=settings["activation"],
            mask_input=rows.observed is not None,
            dtype=settings["dtype"],
            custom=custom,
        ),
        recipe=learn.Recipe(
            learn.Optimiser(settings["learning_rate"], total, warmup_steps=min(500, total // 10)),
            objective=_objective(settings),
            batch_size=int(settings["batch_size"]),
            kl_warmup_steps=int(settings["kl_warmup_steps"]),
            dtype=settings["dtype"],
        ),
        epochs=int(epochs),
        patience=None if patience == 0 else int(patience),
        train=train,
        validation=validation,
    )


def _check(settings: Mapping[str, Any]) -> None:
    for name in ("likelihood", "covariance", "scaling", "posterior", "network", "activation", "objective", "dtype"):
        check_choice(name, settings[name])
    infinity = float("inf")
    check_number("batch_size", settings["batch_size"], 1, infinity, "100 is usual")
    check_number("n_importance_samples", settings["n_importance_samples"], 1, infinity, "1000 is usual")
    check_number("kl_warmup_steps", settings["kl_warmup_steps"], 0, infinity, "0 means none")
    check_number("rank", settings["rank"], 1, infinity, "5 is usual")
    check_number("learning_rate", settings["learning_rate"], 1e-12, 1e3, "0.0015 is usual", whole=False)
    if settings["epochs"] is not None:
        check_number("epochs", settings["epochs"], 1, infinity, "50 to 1000 is usual")
    if settings["patience"] is not None:
        check_number("patience", settings["patience"], 0, infinity, "0 means never stop early")
    if settings["n_samples"] is not None:
        check_number("n_samples", settings["n_samples"], 1, infinity, "1 is usual for elbo, 50 for iwae")
    if settings["validation_fraction"] is not None:
        check_number("validation_fraction", settings["validation_fraction"], 0, 0.9, "0.1 is usual", whole=False)


def _hidden_sizes(value: Any, n_features: int) -> tuple[int, ...]:
    if value is None:
        return (300, 300, 300) if n_features >= 100 else (128, 128)
    sizes = (value,) if isinstance(value, int) else tuple(value)
    return tuple(int(size) if size == int(size) else size for size in sizes)


def _objective(settings: Mapping[str, Any]) -> learn.ELBO | learn.ImportanceWeighted:
    n_samples = settings["n_samples"]
    if settings["objective"] == "elbo":
        return learn.ELBO(1 if n_samples is None else int(n_samples))
    return learn.ImportanceWeighted(50 if n_samples is None else int(n_samples))


def _plan_messages(plan: Plan, table: Table) -> list[str]:
    messages = []
    if len(table.values) < 10 and len(plan.validation) == 0:
        messages.append(
            f"{table.source} has only {len(table.values)} rows: none are held out to guard against overfitting."
        )
    if plan.specification.latent_dim > plan.specification.n_features:
        messages.append(
            f"latent_dim {plan.specification.latent_dim} is larger than the number of modelled columns "
            f"{plan.specification.n_features}; a smaller one says as much."
        )
    return messages


def _center(encoding: Encoding, rows: Rows) -> NDArray[np.float64]:
    if encoding.likelihood == "gaussian" and encoding.scaling == "standard":
        return np.zeros(encoding.n_features)
    x = rows.x.astype(np.float64) / (255 if rows.binary_intensity else 1)
    if rows.observed is None:
        return np.asarray(x.mean(axis=0))
    return np.asarray((x * rows.observed).sum(axis=0) / np.maximum(rows.observed.sum(axis=0), 1))


def _datasets(
    plan: Plan, rows: Rows, held_out: Rows | None
) -> tuple[learn.Dataset, learn.Dataset | None, tuple[float, float]]:
    """Training and validation rows on the device, and the mean log Jacobians that bring bounds to the user's units."""
    train = _dataset(rows, plan.train)
    train_shift = float(rows.log_jacobian[plan.train].mean())
    if held_out is not None:
        everything = np.arange(len(held_out.x))
        return train, _dataset(held_out, everything), (train_shift, float(held_out.log_jacobian.mean()))
    if len(plan.validation) == 0:
        return train, None, (train_shift, 0.0)
    return train, _dataset(rows, plan.validation), (train_shift, float(rows.log_jacobian[plan.validation].mean()))


def _dataset(rows: Rows, indices: NDArray[Any]) -> learn.Dataset:
    observed = None if rows.observed is None else jnp.asarray(rows.observed[indices])
    return learn.Dataset(jnp.asarray(rows.x[indices]), observed)


def _run(
    plan: Plan,
    p: GenerativeModel,
    encoder: Encoder,
    train: learn.Dataset,
    held_out: learn.Dataset | None,
    shifts: tuple[float, float],
    checkpointing: Checkpointing | None,
    on_epoch: EpochListener | None,
    key: jax.Array,
    identity: str,
) -> learn.FitResult:
    pair = learn.Pair(p, learn.Amortised(encoder))
    resume_from, keep = None, None
    if checkpointing is not None:
        if checkpointing.resume:
            resume_from = read_checkpoint(checkpointing.path, learn.initial_state(pair, plan.recipe), identity)
        keep = _Keeper(checkpointing, identity)

    shown = 0 if resume_from is None else len(resume_from[1])

    def listener(state: learn.FitState, history: tuple[learn.EpochRecord, ...]) -> None:
        nonlocal shown
        if keep is not None:
            keep(state, history)
        if on_epoch is not None:
            for record in add_to_bounds(history[shown:], *shifts):
                on_epoch(record, plan.epochs, len(plan.train))
        shown = len(history)

    return learn.fit(
        pair,
        train,
        held_out,
        plan.recipe,
        epochs=plan.epochs,
        patience=plan.patience,
        key=key,
        resume_from=resume_from,
        on_progress=listener,
    )


class _Keeper:
    """Writes the state of a fit to disk, at most once every so many seconds."""

    def __init__(self, checkpointing: Checkpointing, identity: str):
        self._checkpointing = checkpointing
        self._identity = identity
        self._last = -float("inf")

    def __call__(self, state: learn.FitState, history: tuple[learn.EpochRecord, ...]) -> None:
        now = time.monotonic()
        if now - self._last >= self._checkpointing.every_seconds:
            data = learn.to_bytes(state, history, self._identity)
            atomic_write(self._checkpointing.path, lambda stream: _write(stream, data))
            self._last = now


def _write(stream: Any, data: bytes) -> None:
    stream.write(data)


def read_checkpoint(
    path: Path, template: learn.FitState, identity: str
) -> tuple[learn.FitState, tuple[learn.EpochRecord, ...]] | None:
    """The state kept at `path`; None where there is none yet. Raises `ValueError` when it cannot be gone on from."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return learn.from_bytes(data, template, identity)
    except ValueError as error:
        raise ValueError(
            f"The checkpoint {path} must be one of this very fit (same data, settings and seed), but {error}; "
            "repeat the original command, or remove the checkpoint to start again."
        ) from error


def fingerprint(tables: Sequence[Table], settings: Mapping[str, Any], seed: int) -> str:
    """Identifies data (validation rows included), settings and seed, so that a fit is never resumed with others."""
    digest = hashlib.sha256()
    for table in tables:
        digest.update(json.dumps([list(table.names), str(table.values.dtype), table.n_rows]).encode())
        digest.update(np.ascontiguousarray(table.values).tobytes())
    relevant = {k: v for k, v in json_settings(settings).items() if k not in ("verbose", "n_importance_samples")}
    digest.update(json.dumps([relevant, seed], sort_keys=True).encode())
    return digest.hexdigest()


def json_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as plain JSON values."""
    return {name: _plain(settings[name]) for name in DEFAULTS}


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, (str, int, float, bool)) else None


def _some_latents(pair: learn.Pair, encoding: Encoding, rows: Rows, plan: Plan) -> NDArray[Any]:
    # Posterior means of up to 1,000 training rows: enough to see which scales sit at their floor.
    if encoding.likelihood != "gaussian":
        return np.zeros((1, plan.specification.latent_dim), plan.specification.dtype)
    from tightbound.evidence import encode

    some = plan.train[:: max(1, len(plan.train) // 1000)]
    observed = None if rows.observed is None else rows.observed[some]
    return encode(pair.p.prior, pair.q, rows.x[some], observed).mean


def use_compilation_cache() -> None:
    """Keep compiled programs between processes, unless the user has chosen a place (or none) for them.

    The folder is $TIGHTBOUND_CACHE, else ~/.cache/tightbound; an empty TIGHTBOUND_CACHE turns it off.
    """
    place = os.environ.get("TIGHTBOUND_CACHE", str(Path.home() / ".cache" / "tightbound"))
    if not place or jax.config.values.get("jax_compilation_cache_dir"):
        return
    with contextlib.suppress(OSError):  # a read-only home is no reason not to fit
        Path(place).mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", place)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _custom(encoder_network: Callable[..., Any] | None, decoder_network: Callable[..., Any] | None) -> tuple[str, ...]:
    given = {"encoder": encoder_network, "decoder": decoder_network}
    return tuple(name for name, factory in given.items() if factory is not None)


def check_factories(*factories: Callable[..., Any] | None) -> None:
    """Refuse a custom network that is not a factory (`TypeError`)."""
    for factory in factories:
        if factory is not None and (not callable(factory) or isinstance(factory, eqx.Module)):
            raise TypeError(
                "encoder_network and decoder_network must be functions f(in_size, out_size, *, key) that return a "
                f"network; got {type(factory).__name__}; wrap yours: lambda i, o, *, key: MyNetwork(i, o, key)."
            )
