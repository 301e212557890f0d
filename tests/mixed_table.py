"""One small mixed table and one model of it, for all tests of what a fitted model answers."""

import functools
import os
import warnings
from typing import Any

os.environ.setdefault("TIGHTBOUND_CACHE", "")  # compiled programs do not belong into the home of who runs the tests

import numpy as np
import pandas as pd
import polars as pl

from tightbound import VAE

N = 200
SETTINGS: dict[str, Any] = {
    "latent_dim": 2,
    "network": "residual(hidden_sizes=(16,))",
    "epochs": 40,
    "learning_rate": 0.01,
    "batch_size": 50,
    "validation_fraction": 0.2,
    "n_importance_samples": 50,
    "scoring_method": "importance",
    "random_state": 0,
}
SIZES = ["S", "M", "L", "XL"]


@functools.cache
def complete() -> pd.DataFrame:
    """Every kind of column, all of which go with one hidden number; not to be changed."""
    rng = np.random.default_rng(12)
    z = rng.normal(size=N)
    return pd.DataFrame(
        {
            "height": np.round(170 + 8 * z + 3 * rng.normal(size=N), 1),
            "age": rng.poisson(np.exp(3.6 + 0.15 * z)).astype("int64"),
            "income": np.where(rng.random(N) < 0.3, 0.0, np.exp(7 + 0.6 * z + 0.3 * rng.normal(size=N))),
            "size": pd.Categorical.from_codes(np.clip(np.rint(z + 1.5), 0, 3).astype(int), SIZES, ordered=True),
            "colour": np.array(["red", "green", "blue"])[
                np.clip(np.rint(z + rng.normal(size=N) + 1), 0, 2).astype(int)
            ],
            "member": z + rng.normal(size=N) > 0,
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.rint(400 + 90 * z).astype(int), unit="D"),
        },
        index=pd.RangeIndex(1000, 1000 + N),
    )


@functools.cache
def holes() -> np.ndarray:
    """Which cells are missing in `pandas_frame()`."""
    gone = np.random.default_rng(5).random((N, 7)) < 0.12
    gone[:, 1] = gone[:, 5] = False  # whole numbers and booleans of pandas know no missing cells
    gone[7] = [True, False, True, True, True, False, True]
    return gone


def pandas_frame() -> pd.DataFrame:
    """The table with gaps."""
    frame = complete().copy()
    for j, name in enumerate(frame.columns):
        if holes()[:, j].any():
            frame.loc[holes()[:, j], name] = None
    return frame


def polars_frame() -> pl.DataFrame:
    """The same for polars."""
    return pl.from_pandas(pandas_frame().reset_index(drop=True))


@functools.cache
def fitted() -> VAE:
    """The model; not to be changed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # notes on the data
        return VAE(**SETTINGS).fit(pandas_frame())
