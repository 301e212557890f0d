"""The choices of a fit, checked, with every default that depends on the data filled in."""

import dataclasses
from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound import learn
from tightbound.data import DataError, Encoding, Rows, Table, split
from tightbound.model import Specification
from tightbound.settings import check_number, check_settings

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
    check_settings(settings)
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
    train, validation = _split_rows(n, settings["validation_fraction"], seed, given=held_out is not None)
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
            rank=min(int(settings["rank"]), d),
            posterior=settings["posterior"],
            network=settings["network"],
            hidden_sizes=_hidden_sizes(settings["hidden_sizes"], d),
            activation=settings["activation"],
            mask_input=rows.observed is not None,
            dtype=settings["dtype"],
            custom=custom,
        ),
        recipe=learn.Recipe(
            learn.Optimiser(float(settings["learning_rate"]), total, warmup_steps=min(500, total // 10)),
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


def _split_rows(n: int, fraction: float | None, seed: int, *, given: bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Training and validation rows; none are held out when others are given, or when there are very few."""
    if given or fraction == 0 or n < 10:
        return np.arange(n), np.arange(0)
    return split(n, 0.1, seed, MAX_VALIDATION_ROWS) if fraction is None else split(n, fraction, seed)


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


def plan_messages(plan: Plan, table: Table) -> list[str]:
    """What the user should know of the plan: nothing held out, more latents than columns."""
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
