"""What holds for every encoding, whichever it is: a table of cases, each through the same checks."""

import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

from tightbound.data import Encoding, Preprocessing, Table, as_table, encoding_from_json, preprocess

RNG = np.random.default_rng(11)
N = 60
Z = RNG.normal(size=N)
NUMBERS = pd.DataFrame({"a": Z, "same": 3.0, "b": np.round(5 * Z + RNG.normal(size=N)), "c": RNG.integers(0, 9, N)})
NUMBERS.loc[4, "a"] = np.nan
BITS = (RNG.random((N, 5)) < 0.4).astype(np.int64)
IMAGES = RNG.integers(0, 256, (N, 2, 3)).astype(np.uint8)
MIXED = pl.DataFrame(
    {
        "size": RNG.choice(["S", "M", "L"], N),
        "weight": np.exp(Z),
        "visits": RNG.poisson(2.0, N),
        "day": np.datetime64("2024-02-29") + RNG.integers(0, 400, N).astype("timedelta64[D]"),
        "yes": RNG.random(N) < 0.5,
    }
).with_columns(pl.when(pl.int_range(N) == 7).then(None).otherwise(pl.col("weight")).alias("weight"))
COUNTS = scipy.sparse.csr_matrix(RNG.poisson(0.4, (N, 30)))

CASES: dict[str, tuple[Any, Preprocessing]] = {
    "gaussian": (NUMBERS, Preprocessing(likelihood="gaussian")),
    "gaussian block": (NUMBERS.to_numpy(), Preprocessing()),
    "gaussian as it is": (NUMBERS, Preprocessing(scaling="none")),
    "columns of a frame of numbers": (NUMBERS, Preprocessing()),
    "bernoulli": (BITS, Preprocessing()),
    "binarised images": (IMAGES, Preprocessing(binarize=True)),
    "gaussian images": (IMAGES, Preprocessing()),
    "columns": (MIXED, Preprocessing()),
    "columns of numbers": (NUMBERS, Preprocessing(likelihood="columns")),
    "columns under a condition": (MIXED, Preprocessing(condition=("size",))),
    "a gaussian under a condition": (
        MIXED.drop("visits", "day", "yes"),
        Preprocessing("gaussian", condition=("size",)),
    ),
    "sparse counts": (COUNTS, Preprocessing()),
    "a bag of counts": (COUNTS, Preprocessing(likelihood="multinomial")),
}
each_case = pytest.mark.parametrize("name", CASES)


def made(name: str) -> tuple[Table, Encoding]:
    table, encoding, sentence = preprocess(as_table(CASES[name][0]), CASES[name][1])
    assert sentence.endswith(".")
    return table, encoding


@each_case
def test_shapes_agree(name: str) -> None:
    table, encoding = made(name)
    rows, m = encoding.encode(table), encoding.n_features
    assert rows.x.shape == (N, m) == np.asarray(encoding.modelled(table)).shape
    assert len(encoding.modelled_names) == len(encoding.floor) == len(encoding.kept) == m
    assert len(encoding.noise_scales(("gaussian", "normal_scores"))) == m
    assert len(encoding.words) in (0, m)
    assert set(encoding.conditions) <= set(encoding.given) < set(range(m))
    assert [encoding.position(known) for known in encoding.modelled_names] == list(range(m))
    assert encoding.filled(np.zeros((2, m))).shape[-1] in (m, len(encoding.schema.columns))
    assert encoding.discrete == (not any(encoding.continuous(j) for j in range(m) if j not in encoding.given))


@each_case
def test_cells_come_back(name: str) -> None:
    table, encoding = made(name)
    rows, codes = encoding.encode(table, dtype="float64"), np.asarray(encoding.modelled(table), float)
    observed = np.ones(codes.shape, bool) if rows.observed is None else rows.observed
    assert (observed == ~np.isnan(codes)).all()
    if not encoding.binarize:  # there, the draws are what is seen
        decoded = encoding.decode(np.asarray(rows.x), on_grid=True)
        np.testing.assert_allclose(decoded[observed], codes[observed], rtol=1e-9, atol=1e-9)
    for j in range(encoding.n_features):
        i = int(observed[:, j].argmax())
        if not encoding.binarize:
            assert encoding.forward(j, codes[i, j]) == pytest.approx(np.asarray(rows.x)[i, j], abs=1e-9)
        assert encoding.code(j, encoding.value(j, codes[i, j])) == pytest.approx(codes[i, j], abs=1e-9)


@each_case
def test_the_jacobian_is_that_of_the_map(name: str) -> None:
    table, encoding = made(name)
    rows, codes = encoding.encode(table, dtype="float64"), np.asarray(encoding.modelled(table), float)
    expected = np.zeros(N)
    for j in [j for j in range(encoding.n_features) if encoding.continuous(j) and j not in encoding.given]:
        for i in np.flatnonzero(~np.isnan(codes[:, j])):
            if codes[i, j] not in encoding.point_masses(j):
                step = 1e-6 * max(1.0, abs(codes[i, j]) * 1e-3)
                ends = (encoding.forward(j, codes[i, j] + step), encoding.forward(j, codes[i, j] - step))
                expected[i] += np.log((ends[0] - ends[1]) / (2 * step))
    # A spline's slope has kinks at its knots, where observed values lie: there, both sides count.
    np.testing.assert_allclose(rows.log_jacobian, expected, atol=1e-2 if "columns" in name else 1e-4)


@each_case
def test_an_encoding_survives_json_exactly(name: str) -> None:
    table, encoding = made(name)
    saved = json.dumps(encoding.to_json(), allow_nan=False)
    again = encoding_from_json(json.loads(saved))
    assert json.dumps(again.to_json()) == saved and again.schema == encoding.schema
    first, second = encoding.encode(table), again.encode(table)
    np.testing.assert_array_equal(np.asarray(first.x), np.asarray(second.x))
    np.testing.assert_array_equal(first.log_jacobian, second.log_jacobian)


@each_case
def test_a_table_comes_back_as_it_was(name: str) -> None:
    if "counts" in name:
        pytest.skip("a sparse matrix comes back dense")
    table, encoding = made(name)
    back = encoding.give_back(np.asarray(encoding.modelled(table), float), table, rounded=True)
    given = CASES[name][0]
    assert type(back) is type(given)
    if isinstance(given, pl.DataFrame):
        assert back.equals(given)
    else:
        np.testing.assert_array_equal(np.asarray(back), np.asarray(given))
    frame = encoding.as_frame(np.zeros((N, encoding.n_features)), table)
    assert len(frame) == N and type(frame) is (np.ndarray if isinstance(given, np.ndarray) else type(given))
