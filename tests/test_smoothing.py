"""Noise while learning: where it goes, where it does not, what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from tightbound import VAE
from tightbound.data import as_table
from tightbound.estimator.config import make_config
from tightbound.estimator.initialisation import choose_encoding
from tightbound.estimator.settings import Settings
from tightbound.learn import Dataset

RNG = np.random.default_rng(5)


def test_every_draw_of_a_row_gets_fresh_noise_of_the_size_that_is_asked() -> None:
    x = jnp.asarray(RNG.normal(size=(4000, 3)))
    data = Dataset(x, noise=jnp.array([0.5, 0.0, 2.0]))
    rows = jnp.arange(4000)
    first, again, other = (data.rows(rows, key=jax.random.key(seed), dtype="float64")[0] - x for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first.std(axis=0), [0.5, 0.0, 2.0], rtol=0.04)
    assert (
        abs(np.corrcoef(first[:, 0], other[:, 0])[0, 1]) < 0.06
        and abs(np.corrcoef(first[:, 0], first[:, 2])[0, 1]) < 0.06
    )


def smoothing_of(X: Any, **settings: Any) -> np.ndarray | None:
    table, encoding, _ = choose_encoding(as_table(X), Settings(**settings))
    rows = encoding.encode(table, dtype="float32", draw=True)
    return make_config(Settings(**settings), encoding, rows, None, 0).smoothing


def test_noise_is_in_the_deviations_of_a_column_and_goes_to_continuous_ones_alone() -> None:
    numbers = RNG.normal(size=(200, 2)) * [1.0, 50.0]
    assert smoothing_of(numbers) is None
    np.testing.assert_allclose(smoothing_of(numbers, smoothing=0.5), [0.5, 0.5])
    np.testing.assert_allclose(
        smoothing_of(numbers, smoothing=0.5, scaling="none"), 0.5 * numbers.std(axis=0), rtol=0.01
    )
    spiked = np.where(RNG.random(200) < 0.4, 0.0, RNG.normal(size=200))
    frame = pd.DataFrame(
        {"a": numbers[:, 0], "word": RNG.choice(["x", "y"], 200), "spiked": spiked, "n": RNG.poisson(2, 200)}
    )
    np.testing.assert_allclose(smoothing_of(frame, smoothing=0.3), [0.3, 0.0, 0.0, 0.0])


def test_a_table_without_a_place_for_noise_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"smoothing must be 0 for a table without continuous .*; got 0.5; leave it out"
    ):
        VAE(smoothing=0.5).fit(RNG.integers(0, 2, size=(50, 3)).astype(float))
