"""Rows on the device: masks, dtypes, cells hidden at random, 8-bit intensities binarised anew; shapes of batches."""

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


# Cells that are hidden at random

X = jnp.asarray(np.random.default_rng(0).normal(size=(4000, 12)))
SEEN = jnp.asarray(np.random.default_rng(1).random((4000, 12)) < 0.8)
ALL = jnp.arange(4000)


@pytest.mark.parametrize("hidden", [0.3, 0.5, 1.0])
def test_a_share_of_the_rows_hides_a_share_of_its_cells(hidden: float) -> None:
    """Of a row that hides cells, k of 12 are shown with probability 1/13 each, k = 0, ..., 12 (a uniform share)."""
    x, mask = Dataset(X, hidden=hidden).rows(ALL, key=KEY, dtype="float64")
    np.testing.assert_array_equal(x, X)  # cells are hidden by the mask alone
    assert mask is not None
    shown = np.bincount(np.asarray(mask).sum(axis=1), minlength=13)
    expected = hidden / 13 + (1 - hidden) * (np.arange(13) == 12)
    error = np.sqrt(4000 * expected * (1 - expected))
    assert (np.abs(shown - 4000 * expected) < 5 * error + 1e-9).all()
    columns = np.asarray(mask).mean(axis=0)
    assert np.abs(columns - (1 - hidden / 2)).max() < 5 * np.sqrt(0.25 / 4000)


def test_hiding_never_shows_an_unobserved_cell() -> None:
    _, mask = Dataset(X, SEEN, hidden=0.5).rows(ALL, key=KEY, dtype="float64")
    assert mask is not None
    assert not (mask & ~SEEN).any()
    _, full = Dataset(X, hidden=0.5).rows(ALL, key=KEY, dtype="float64")
    np.testing.assert_array_equal(mask, full & SEEN)
    untouched = np.asarray((mask == SEEN).all(axis=1)).mean()
    assert 0.5 < untouched < 0.65


def test_cells_are_hidden_anew_each_time() -> None:
    data, twice = Dataset(X, SEEN, hidden=1.0), jnp.array([7, 7])
    _, first = data.rows(twice, key=jax.random.key(0), dtype="float64")
    _, again = data.rows(twice, key=jax.random.key(0), dtype="float64")
    _, other = data.rows(jnp.full(200, 7), key=jax.random.key(1), dtype="float64")
    np.testing.assert_array_equal(first, again)
    assert other is not None and len(np.unique(np.asarray(other), axis=0)) > 50


def test_nothing_hidden_is_what_it_was() -> None:
    """The same bits, and the same draws of 8-bit intensities, as without the choice."""
    some = jnp.array([5, 3, 5])
    x, mask = Dataset(X, SEEN, hidden=0.0).rows(some, key=KEY, dtype="float32")
    np.testing.assert_array_equal(x, np.asarray(X, "float32")[[5, 3, 5]])
    np.testing.assert_array_equal(mask, np.asarray(SEEN)[[5, 3, 5]])
    assert Dataset(X, hidden=0.0).rows(some, key=KEY, dtype="float32")[1] is None
    pixels = jnp.full((9, 30), 128, "uint8")
    plain, _ = Dataset(pixels).rows(some, key=KEY, dtype="float32")
    np.testing.assert_array_equal(plain, binarise(pixels[some], key=KEY, dtype="float32"))
    hiding, _ = Dataset(pixels, hidden=0.5).rows(some, key=KEY, dtype="float32")
    np.testing.assert_array_equal(plain, hiding)
