"""Whole fits of small tables, each of them done once for all files that use it."""

import functools
import hashlib
import os
from typing import Any

os.environ.setdefault("TIGHTBOUND_CACHE", "")  # compiled programs do not belong into the home of who runs the tests

import equinox as eqx
import numpy as np

from tightbound import learn
from tightbound.data import as_table
from tightbound.estimator.fit import fit_table
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.resume import Checkpointing
from tightbound.estimator.settings import Settings

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(41, 3)) @ RNG.normal(size=(3, 3)) * [1.0, 10.0, 0.01] + [0.0, 10.0, -3.0]
GAPS = np.where(RNG.random(NUMBERS.shape) < 0.2, np.nan, NUMBERS)
INTENSITIES = RNG.integers(0, 256, size=(30, 4)).astype(np.uint8)
SMALL = {
    "latent_dim": 1,
    "network": "residual(hidden_sizes=(4,))",
    "batch_size": 16,
    "epochs": 8,
    "n_importance_samples": 5,
    "scoring_method": "importance",
}
SEED = 3

# What else a fit's state and randomness, and what is saved of it, can depend on: one case each.
CASES: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "gaps, early stopping": (GAPS, {"epochs": 60, "patience": 3, "learning_rate": 0.05}),
    "binarised": (INTENSITIES, {"likelihood": "bernoulli(binarize=True)"}),
    "no validation, float64, full, iwae": (
        NUMBERS,
        {
            "validation_fraction": 0.0,
            "dtype": "float64",
            "latent_dim": 2,
            "likelihood": "gaussian(covariance=full)",
            "posterior": "full",
            "objective": "iwae(n_samples=3, kl_warmup_steps=11)",
        },
    ),
    "numbers kept for every row, a baseline that learns": (
        NUMBERS,
        {
            "inference": "per_datum(inner_steps=2)",
            "latent_dim": 2,
            "posterior": "bernoulli",
            "gradient": "learned_baseline",
        },
    ),
    "vamp, aggressive, then a second stage": (
        NUMBERS,
        {
            "prior": "vamp(n_components=3)",
            "inference": "aggressive(encoder_steps=3)",
            "second_stage": "mixture(n_components=3)",
        },
    ),
}


class InterruptedFitError(Exception):
    """What an impatient user raises."""


def fitted(
    case: str, checkpointing: Checkpointing | None = None, stop_at: int | None = None, seed: int = SEED
) -> FittedModel:
    """Fit the case; `stop_at`: be interrupted after that epoch."""
    x, settings = CASES[case]

    def on_epoch(record: learn.EpochRecord, most: int, rows: int) -> None:
        if record.epoch == stop_at:
            raise InterruptedFitError

    return fit_table(
        as_table(x), Settings(**{**SMALL, **settings}), seed=seed, checkpointing=checkpointing, on_epoch=on_epoch
    )


@functools.cache
def whole(case: str) -> FittedModel:
    """The case, fitted in one go."""
    return fitted(case)


def bits(model: FittedModel) -> str:
    """A digest of all that a fit leaves behind, without the time it took."""
    digest = hashlib.sha256()
    for name, array in learn.named_arrays(eqx.filter(model.pair, eqx.is_array)).items():
        digest.update(name.encode() + array.tobytes())
    summary = model.summary
    digest.update(repr((summary.history, summary.best_epoch, summary.status, summary.messages)).encode())
    return digest.hexdigest()
