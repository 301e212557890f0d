"""What an encoder's network sees: sizes, one-hot codes, missing cells that are harmless, counts, outliers."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tightbound.model import (
    AbstractInputs,
    CentredInputs,
    ColumnsInputs,
    ColumnSpecification,
    Specification,
    Start,
    build,
    moments_of,
)
from tightbound.model.networks.inputs import LEAST_SD_OF_COUNTS, as_numbers, set_inputs

KEY = jax.random.key(3)

COLUMNS = (
    ColumnSpecification("gaussian"),
    ColumnSpecification("negative_binomial"),
    ColumnSpecification("categorical", size=3),
    ColumnSpecification("bernoulli"),
    ColumnSpecification("cumulative_logit", size=4),
    ColumnSpecification("student_t", spikes=(-2.0, 0.5)),
    ColumnSpecification("cumulative_logit", size=100),
)
MOMENTS = np.array([[1.0, 0.7, 0.3, 0.5, 1.5, 0.0, 40.0], [2.0, 0.5, 1.0, 1.0, 1.2, 1.0, 10.0]])
INPUTS = ColumnsInputs(COLUMNS, jnp.asarray(MOMENTS))
ROW = np.array([2.0, 6.0, 2.0, 0.0, 1.0, -2.0, 55.0])
NUMBERS = [0, 1, 4, 5, 6]
"""Columns that enter as numbers: ordered levels do, nominal ones do not."""
HOT = [(1, 0.0), *((2, c) for c in range(3)), (3, 0.0), (3, 1.0), *((4, c) for c in range(4)), (5, -2.0), (5, 0.5)]
"""One entry for each level and spike, and the zero of a count; a hundred levels are not spelled out."""


@eqx.filter_jit
def read(inputs: AbstractInputs, x: jax.Array, observed: jax.Array | None = None) -> jax.Array:
    return inputs(x, observed)


def by_hand(x: np.ndarray, observed: np.ndarray) -> np.ndarray:
    numbers = []
    for j in NUMBERS:
        value = np.log1p(x[j]) if j == 1 else x[j]
        h = (value - MOMENTS[0, j]) / MOMENTS[1, j]
        h = h if abs(h) <= 4 else np.sign(h) * (4 + np.log(abs(h) - 3))
        numbers.append(h if observed[j] else 0.0)
    hot = [float(observed[j] and x[j] == code) for j, code in HOT]
    return np.array([*numbers, *hot, *observed.astype(float)])


def test_a_mixed_row_enters_as_numbers_codes_and_mask() -> None:
    assert (INPUTS.n_cells, INPUTS.size) == (7, 5 + 12 + 7)
    for x in (ROW, np.array([-3.0, 0.0, 0.0, 1.0, 3.0, 0.5, 0.0]), np.array([1.0, 1e4, 1.0, 1.0, 0.0, 0.2, 99.0])):
        found = read(INPUTS, jnp.asarray(x), jnp.ones(7, bool))
        np.testing.assert_allclose(found, by_hand(x, np.ones(7, bool)), rtol=1e-12)
        np.testing.assert_array_equal(INPUTS(jnp.asarray(x)), found)  # no mask: all are observed


@pytest.mark.parametrize("anything", [np.nan, np.inf, -np.inf, 1e300, -5.0, 0.0])
def test_missing_cells_are_harmless_whatever_they_hold(anything: float) -> None:
    """Neither a value nor a gradient depends on them."""
    slope = eqx.filter_jit(jax.jacobian(lambda x, seen: INPUTS(x, seen)))
    for seed in range(6):
        observed = np.random.default_rng(seed).random(7) < 0.5
        x = jnp.asarray(np.where(observed, ROW, anything))
        np.testing.assert_allclose(read(INPUTS, x, jnp.asarray(observed)), by_hand(ROW, observed), rtol=1e-12)
        gradient = np.asarray(slope(x, jnp.asarray(observed)))
        assert np.isfinite(gradient).all() and (gradient[:, ~observed] == 0).all()


def test_average_and_unknown_differ() -> None:
    mean = jnp.asarray(np.where(np.isin(np.arange(7), NUMBERS), MOMENTS[0], 0.0))
    seen, unseen = (read(INPUTS, mean, jnp.full(7, flag)) for flag in (True, False))
    assert (unseen == 0).all() and not np.allclose(seen, unseen)


def test_outliers_enter_by_their_logarithm() -> None:
    """Increasing, without a jump or a kink at four standard deviations, and never large."""
    h = np.array([-1e30, -1e6, -4.001, -4.0, -3.999, 0.0, 3.999, 4.0, 4.001, 1e6, 1e30])
    x = np.tile(ROW, (len(h), 1))
    x[:, 0] = 1.0 + 2.0 * h
    found = np.asarray(eqx.filter_jit(lambda x: jax.vmap(INPUTS)(x))(jnp.asarray(x)))[:, 0]
    assert (np.diff(found) > 0).all() and np.abs(found).max() < 80
    np.testing.assert_allclose(found[3:8], h[3:8], rtol=1e-12)
    np.testing.assert_allclose(found[[2, 8]], h[[2, 8]], atol=1e-6)  # the slope is 1 there
    np.testing.assert_allclose(found[9], 4 + np.log(1e6 - 3), rtol=1e-12)


def test_counts_enter_as_logarithms() -> None:
    x = np.array([[3.0, 5.0], [np.nan, 0.0], [-1.0, -7.0]])
    columns = (ColumnSpecification("gaussian"), ColumnSpecification("poisson"))
    expected = np.array([[3.0, np.log(6.0)], [np.nan, 0.0], [-1.0, 0.0]])  # below 0 there are none
    np.testing.assert_allclose(as_numbers(x, columns), expected)
    np.testing.assert_allclose(as_numbers(jnp.asarray(x), columns), expected)
    assert as_numbers(x, columns[:1]) is x


def test_moments_are_those_of_the_observed_cells() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(3, 2, 500), rng.poisson(4.0, 500), np.full(500, 7.0), np.zeros(500)], axis=1)
    observed = rng.random(x.shape) < 0.7
    observed[:, 3] = False
    columns = (
        ColumnSpecification("gaussian"),
        ColumnSpecification("poisson"),
        ColumnSpecification("gaussian"),
        ColumnSpecification("gaussian"),
    )
    found = moments_of(np.where(observed, x, 1e9), observed, columns)
    for j, values in enumerate((x[observed[:, 0], 0], np.log1p(x[observed[:, 1], 1]))):
        np.testing.assert_allclose(found[:, j], [values.mean(), values.std()], rtol=1e-12)
    np.testing.assert_array_equal(found[:, 2:], [[7, 0], [1, 1]])  # constant, and nothing at all
    np.testing.assert_allclose(moments_of(x[:, :1], None, columns[:1])[:, 0], [x[:, 0].mean(), x[:, 0].std()])


@pytest.mark.parametrize("with_mask", [False, True])
def test_numbers_alone_are_centred(with_mask: bool) -> None:
    inputs = CentredInputs(jnp.array([1.0, -2.0, 0.5]), with_mask)
    assert (inputs.n_cells, inputs.size) == (3, 6 if with_mask else 3)
    x, observed = jnp.array([2.0, jnp.nan, 0.5]), jnp.array([True, False, True])
    found = read(inputs, x, observed)
    np.testing.assert_array_equal(found, [1, 0, 0, 1, 0, 1] if with_mask else [1, 0, 0])
    full = read(inputs, jnp.zeros(3))
    np.testing.assert_array_equal(full, [-1, 2, -0.5, 1, 1, 1] if with_mask else [-1, 2, -0.5])


@pytest.mark.parametrize("inputs", [INPUTS, CentredInputs(jnp.asarray(MOMENTS[0]), True)], ids=["columns", "centred"])
def test_what_is_known_of_the_data_is_not_learnt(inputs: Any) -> None:
    slope = eqx.filter_jit(eqx.filter_grad(lambda inputs: jnp.sum(inputs(jnp.asarray(ROW)) ** 2)))(inputs)
    leaves = jax.tree.leaves(slope)
    assert leaves and all((np.asarray(leaf) == 0).all() for leaf in leaves)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_of_columns_begins_at_what_is_known(dtype: str) -> None:
    """Its encoder reads `ColumnsInputs`, in the model's precision; without `spread` it takes ones."""
    spec = Specification(7, 2, likelihood="columns", columns=COLUMNS, network="linear", dtype=dtype)
    for spread in (MOMENTS[1], None):
        encoder = build(spec, start=Start(MOMENTS[0], np.ones(7), spread), key=jax.random.key(0)).encoder
        assert encoder is not None and isinstance(encoder.inputs, ColumnsInputs)
        assert encoder.inputs.moments.dtype == encoder.inputs.codes.dtype == dtype
        np.testing.assert_allclose(encoder.inputs.moments, [MOMENTS[0], np.ones(7) if spread is None else spread])
    assert read(encoder.inputs, jnp.asarray(ROW, dtype)).dtype == dtype


COUNT = ColumnSpecification("negative_binomial")


def test_counts_enter_relative_to_an_exposure() -> None:
    """Of a column, or of the row's own total, which counts what is hidden too; without codes for zeros."""
    rng = np.random.default_rng(5)
    x = np.column_stack([rng.poisson(3.0, (50, 2)), rng.normal(size=50), rng.normal(0.0, 1.0, 50)])
    columns = (COUNT, COUNT, ColumnSpecification("gaussian"), ColumnSpecification("gaussian"))
    raw = np.hstack([np.log1p(x[:, :2] * np.exp(-x[:, 3:])), x[:, 2:]])
    moments = moments_of(x, None, columns, x[:, 3])
    np.testing.assert_allclose(
        moments, [raw.mean(axis=0), np.maximum(raw.std(axis=0), [LEAST_SD_OF_COUNTS] * 2 + [0, 0])]
    )
    inputs = ColumnsInputs(columns, jnp.asarray(moments), exposure=3, with_mask=False)
    assert inputs.size == 4 and inputs.owners.tolist() == [0, 1, 2, 3]
    found = jax.vmap(inputs)(jnp.asarray(x))
    expected = (raw - moments[0]) / moments[1]
    np.testing.assert_allclose(found, np.where(np.abs(expected) > 4, found, expected), atol=1e-9)
    typical = float(np.mean(np.log(np.maximum(x[:, :2].sum(axis=1), 1))))
    of_total = ColumnsInputs(columns, jnp.zeros((2, 4)) + jnp.array([[0.0], [1.0]]), exposure=-1, log_typical=typical)
    row = jnp.array([3.0, 9.0, 0.5, 0.25])
    rate = np.exp(typical) / 12
    np.testing.assert_allclose(of_total(row)[:4], [np.log1p(3 * rate), np.log1p(9 * rate), 0.5, 0.25], atol=1e-9)
    hidden = of_total(row, jnp.array([True, False, True, True]))
    np.testing.assert_allclose(hidden[:4], [np.log1p(3 * rate), 0, 0.5, 0.25], atol=1e-9)


def test_a_set_has_no_order_and_no_trace_of_what_is_missing() -> None:
    """The sum over observed cells: permuting columns with their vectors changes nothing, nor does a missing value."""
    inputs = set_inputs(ColumnsInputs(COLUMNS, jnp.asarray(MOMENTS), with_mask=False), dtype="float64", key=KEY)
    x = jnp.asarray(ROW)
    seen = jnp.arange(x.shape[0]) != 1
    base = inputs(x, seen)
    np.testing.assert_array_equal(base, inputs(x.at[1].set(123.0), seen))
    assert inputs.size == base.shape[0] and inputs.n_cells == x.shape[0]
    each = [np.asarray(inputs(x, jnp.arange(x.shape[0]) == j)) for j in range(x.shape[0])]
    np.testing.assert_allclose(np.sum([e for j, e in enumerate(each) if j != 1], axis=0), base, atol=1e-12)
    np.testing.assert_array_equal(inputs(x, jnp.zeros(x.shape, bool)), np.zeros(inputs.size))
    assert not np.allclose(each[0], np.asarray(inputs(x + 1.0, jnp.arange(x.shape[0]) == 0)))
