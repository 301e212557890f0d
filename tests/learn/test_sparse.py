"""Sparse rows: the same bits as dense ones, batch by batch and fit by fit."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from tightbound import learn
from tightbound.learn.source import SparseRows, sparse_rows
from tightbound.model import (
    MLP,
    CentredInputs,
    Decoder,
    DiagonalGaussianFamily,
    Encoder,
    GenerativeModel,
    MultinomialHead,
    StandardGaussian,
)

KEY = jax.random.key(3)
RNG = np.random.default_rng(8)
COUNTS = RNG.poisson(0.3, (60, 9)) * RNG.integers(0, 40, (60, 9))
COUNTS[7] = 0
COUNTS[[20, 30], 3] = 70_001


@pytest.mark.parametrize("form", ["csr_array", "csr_matrix", "csc_array", "coo_array", "lil_matrix"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_have_the_bits_of_dense_ones(form: str, dtype: str) -> None:
    data = learn.Dataset(sparse_rows(getattr(scipy.sparse, form)(COUNTS), dtype))
    dense = learn.Dataset(jnp.array(COUNTS, dtype))
    assert (data.n_rows, data.x.shape, data.x.dtype) == (60, (60, 9), dtype)
    for indices in ([5, 5, 7, 59, 0], [7], list(range(60))):
        which = jnp.array(indices)
        (x, seen), (expected, _) = (each.rows(which, key=KEY, dtype=dtype) for each in (data, dense))
        assert seen is None and x.dtype == dtype
        np.testing.assert_array_equal(x, expected)


@settings(max_examples=12)
@given(st.integers(0, 5), st.integers(1, 6), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_any_table(n: int, d: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((n + 1, d)) < share, rng.normal(size=(n + 1, d)), 0)
    found = sparse_rows(scipy.sparse.csr_array(x), "float64")[jnp.arange(n + 1)]
    np.testing.assert_array_equal(found, x)


def test_cells_that_are_stored_twice_or_unsorted_are_added_up_and_the_matrix_is_left_alone() -> None:
    x = scipy.sparse.csr_array(
        (np.array([1.0, 2.0, 4.0, 8.0]), np.array([2, 0, 2, 1]), np.array([0, 3, 3, 4])), shape=(3, 3)
    )
    rows = sparse_rows(x)[jnp.arange(3)]
    np.testing.assert_array_equal(rows, [[2, 0, 5], [0, 0, 0], [0, 8, 0]])
    assert x.nnz == 4


def test_the_whole_is_never_dense() -> None:
    """A table whose dense form has 8 * 10^11 bytes."""
    n, d = 1_000_000, 200_000
    x = scipy.sparse.csr_array(
        (np.arange(1.0, 4.0), np.array([7, 199_999, 3]), np.r_[np.zeros(n - 1, int), 1, 3]), (n, d)
    )
    rows = jax.jit(lambda data, i: data.rows(i, key=KEY, dtype="float32")[0])(
        learn.Dataset(sparse_rows(x)), jnp.array([0, n - 1, n - 2])
    )
    assert rows.shape == (3, d)
    np.testing.assert_array_equal(np.argwhere(rows), [[1, 3], [1, 199_999], [2, 7]])


@pytest.mark.parametrize("x", [np.ones((2, 2)), [1, 2], "text"])
def test_what_is_no_sparse_table_is_refused(x: object) -> None:
    with pytest.raises(ValueError, match="x must be a SciPy sparse table"):
        sparse_rows(x)


def bag_of_words() -> learn.Pair:
    """A small topic model."""
    family = DiagonalGaussianFamily(2)
    keys = jax.random.split(KEY)
    decoder = Decoder(MLP(2, 9, (), key=keys[0]), MultinomialHead(9), 2)
    encoder = Encoder(MLP(9, family.n_parameters, (4,), key=keys[1]), family, CentredInputs(jnp.zeros(9)))
    return learn.Pair(GenerativeModel(StandardGaussian(2), decoder), learn.Amortised(encoder))


def test_a_fit_from_sparse_rows_is_the_fit_from_dense_ones_to_the_bits() -> None:
    x = np.minimum(COUNTS, 50)
    recipe = learn.TrainingConfig(learn.Optimiser(0.02, 60), batch_size=17, dtype="float64")

    def fit(data: list[learn.Dataset]) -> learn.FitResult:
        return learn.fit(bag_of_words(), data[0], data[1], recipe, epochs=6, key=KEY)

    dense = fit([learn.Dataset(jnp.array(part, "float64")) for part in (x[:45], x[45:])])
    csr = scipy.sparse.csr_array(x)
    sparse = fit([learn.Dataset(sparse_rows(part, "float64")) for part in (csr[:45], csr[45:])])
    assert len(dense.history) == 6
    assert repr(sparse.history) == repr(dense.history)
    for one, other in zip(*(jax.tree.leaves(eqx.filter(a.pair, eqx.is_array)) for a in (sparse, dense)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert isinstance(sparse_rows(csr), SparseRows)
