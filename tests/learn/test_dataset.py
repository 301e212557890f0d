"""Rows on the device: masks, dtypes, 8-bit intensities that are binarised anew; the shapes of batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightbound.learn import Dataset, batch_shape, binarise

KEY = jax.random.key(1)


@given(n=st.integers(1, 5000), batch_size=st.integers(1, 700))
def test_batches_hold_every_row_and_none_is_empty_or_too_large(n: int, batch_size: int) -> None:
    n_batches, size = batch_shape(n, batch_size)
    assert size <= batch_size
    assert n_batches == int(np.ceil(n / batch_size))  # no more steps than needed
    assert (n_batches - 1) * size < n <= n_batches * size
    if n_batches > 1:
        assert size >= n / n_batches > size - 1


@pytest.mark.parametrize(
    ("n", "batch_size", "expected"),
    [(101, 100, (2, 51)), (100, 100, (1, 100)), (7, 100, (1, 7)), (1, 1, (1, 1)), (10, 4, (3, 4))],
)
def test_batches_are_spread_evenly(n: int, batch_size: int, expected: tuple[int, int]) -> None:
    assert batch_shape(n, batch_size) == expected


def test_rows_come_with_their_masks_in_the_dtype_asked_for() -> None:
    x = jnp.arange(12.0).reshape(4, 3)
    observed = x % 5 != 0
    rows, mask = Dataset(x, observed).rows(jnp.array([2, 0, 2]), key=KEY, dtype="float32")
    assert rows.dtype == "float32"
    np.testing.assert_array_equal(rows, np.asarray(x)[[2, 0, 2]])
    np.testing.assert_array_equal(mask, np.asarray(observed)[[2, 0, 2]])
    assert Dataset(x).rows(jnp.array([1]), key=KEY, dtype="float64")[1] is None
    assert Dataset(x).n_rows == 4


def test_intensities_are_binarised_with_their_probability() -> None:
    intensity = jnp.broadcast_to(jnp.array([0, 1, 60, 128, 254, 255], "uint8"), (200_000, 6))
    drawn = binarise(intensity, key=KEY, dtype="float32")
    assert drawn.dtype == "float32"
    mean, p = np.asarray(drawn, np.float64).mean(axis=0), np.array([0, 1, 60, 128, 254, 255]) / 255
    assert np.all(np.abs(mean - p) <= 5 * np.sqrt(p * (1 - p) / 200_000))
    assert set(np.unique(drawn)) == {0.0, 1.0}


def test_intensities_are_drawn_anew_each_time() -> None:
    data = Dataset(jnp.full((5, 40), 128, "uint8"))
    rows = jnp.array([3, 3, 1])
    first, _ = data.rows(rows, key=jax.random.key(0), dtype="float32")
    again, _ = data.rows(rows, key=jax.random.key(0), dtype="float32")
    other, _ = data.rows(rows, key=jax.random.key(1), dtype="float32")
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    assert np.any(first[0] != first[1])  # the same row twice: two draws
