"""The user's columns as the model sees them, and back: nothing is lost on the way, and densities keep their units."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tightbound.data import BlockEncoding, DataError, as_table, block, make_encoding

RNG = np.random.default_rng(5)
# Columns of very different sizes, each with two rows that differ, so that none is constant.
UNITS = np.array([1e-6, 1.0, 1e5])
HOLED = arrays(
    np.float64,
    st.tuples(st.integers(1, 8), st.just(3)),
    elements=st.one_of(st.just(np.nan), st.floats(-9, 9, width=32)),
).map(lambda values: np.concatenate([values, [[0, 1, 2], [3, 5, -4]]]) * UNITS + [7, 0, -3e4])
SCALINGS = st.sampled_from(["standard", "none"])


def _encoding(values, likelihood="gaussian", binarize=False, scaling="standard"):
    return make_encoding(as_table(values), likelihood, binarize, scaling)


@given(HOLED, SCALINGS)
def test_decoding_undoes_encoding(values, scaling):
    encoding = _encoding(values, scaling=scaling)
    rows = encoding.encode(as_table(values), dtype="float64")
    decoded = encoding.decode(rows.x)
    observed = ~np.isnan(values)
    np.testing.assert_allclose(
        decoded[observed], values[observed], rtol=1e-12, atol=1e-12 * np.abs(values[observed]).max()
    )
    assert (rows.x[~observed] == 0).all()
    if observed.all():
        assert rows.observed is None
    else:
        np.testing.assert_array_equal(rows.observed, observed)


@given(HOLED, SCALINGS)
def test_standardised_columns_have_mean_0_and_sd_1(values, scaling):
    rows = _encoding(values, scaling=scaling).encode(as_table(values), dtype="float64")
    masked = np.where(np.isnan(values), np.nan, rows.x)
    if scaling == "standard":
        # In units of a millionth, 7 is rounded to a billionth of a deviation.
        np.testing.assert_allclose(np.nanmean(masked, axis=0), 0, atol=1e-8)
        np.testing.assert_allclose(np.nanstd(masked, axis=0), 1, rtol=1e-8)
    else:
        np.testing.assert_array_equal(masked, values)


@given(HOLED, SCALINGS)
def test_the_jacobian_makes_a_density_in_the_users_units(values, scaling):
    # A standard normal over the encoded columns is this normal over the user's: scipy computes it directly.
    encoding = _encoding(values, scaling=scaling)
    rows = encoding.encode(as_table(values), dtype="float64")
    observed = ~np.isnan(values)
    model = np.where(observed, scipy.stats.norm.logpdf(rows.x), 0).sum(axis=1)
    user = np.where(observed, scipy.stats.norm.logpdf(values, encoding.loc, encoding.scale), 0).sum(axis=1)
    np.testing.assert_allclose(model + rows.log_jacobian, user, rtol=1e-9, atol=1e-9)


@given(HOLED, st.randoms(use_true_random=False), st.integers(1, 40))
@settings(max_examples=40)
def test_a_row_does_not_depend_on_its_neighbours_or_on_chunks(values, random, cells):
    encoding = _encoding(values)
    order = list(range(len(values)))
    random.shuffle(order)
    whole = encoding.encode(as_table(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "CELLS_AT_ONCE", cells)
        moved = encoding.encode(as_table(values).take(order))
    np.testing.assert_array_equal(moved.x, whole.x[order])
    np.testing.assert_array_equal(moved.log_jacobian, whole.log_jacobian[order])
    for i in range(len(values)):
        single = encoding.encode(as_table(values[i : i + 1]))
        assert single.log_jacobian[0] == whole.log_jacobian[i]
        np.testing.assert_array_equal(single.x[0], whole.x[i])


@given(HOLED)
def test_an_encoding_survives_json_exactly(values):
    encoding = _encoding(values)
    again = BlockEncoding.from_json(json.loads(json.dumps(encoding.to_json(), allow_nan=False)))
    first, second = (e.encode(as_table(values)) for e in (encoding, again))
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.log_jacobian, second.log_jacobian)
    np.testing.assert_array_equal(encoding.floor, again.floor)
    assert (again.schema, again.messages) == (encoding.schema, encoding.messages)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("loc", [1.0], "3 numbers"),
        ("loc", [1.0, 2.0, float("nan")], "finite"),
        ("scale", [1.0, 0.0, 1.0], "above 0"),
        ("scale", "big", "list"),
        ("sd", [1.0, "2", 3.0], "float"),
        ("likelihood", "cauchy", "'cauchy'"),
        ("standard", "yes", "bool"),
        ("binarize", "no", "bool"),
        ("schema", None, "schema"),
    ],
)
def test_a_damaged_encoding_is_refused(key, value, words):
    data = _encoding(RNG.normal(size=(5, 3))).to_json() | {key: value}
    with pytest.raises(DataError, match=r"saved encoding|schema") as caught:
        BlockEncoding.from_json(data)
    assert words in str(caught.value)


@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_the_floor_is_the_sd_of_rounding_in_model_units(scaling):
    coarse, fine = np.array([0, 10, 20, 20.0]), np.array([0.0, 1.0, 1.0 + 1e-7, 0.3])
    encoding = _encoding(np.stack([coarse, fine], axis=1), scaling=scaling)
    sd = np.array([coarse.std(), fine.std()])
    expected = np.array([10 / np.sqrt(12), 1e-3 * sd[1]]) / (sd if scaling == "standard" else 1)
    np.testing.assert_allclose(encoding.floor, expected, rtol=1e-6)
    # 1/sqrt(12) of the step is the standard deviation of rounding to it
    assert scipy.stats.uniform(scale=10).std() == pytest.approx(10 / np.sqrt(12))


HOLEY = pd.DataFrame({"a": [1.0, 2.0, np.nan], "k": [4.0, 4.0, 4.0], "n": [np.nan] * 3, "b": [0.5, 2.5, np.nan]})


def test_constant_and_empty_columns_are_left_out_and_said_so():
    encoding = make_encoding(as_table(HOLEY, source="t.csv"), "gaussian", False)
    assert encoding.kept.tolist() == [0, 3] and encoding.n_features == 2
    constant, empty, blank = encoding.messages
    assert "'k'" in constant and "'n'" in empty and "row 2" in blank and "t.csv" in constant
    rows = encoding.encode(as_table(HOLEY))
    assert rows.x.shape == (3, 2) and rows.log_jacobian[2] == 0 and not rows.observed[2].any()
    decoded = encoding.decode(rows.x)
    np.testing.assert_allclose(decoded[0], [1, 0.5])
    np.testing.assert_allclose(encoding.filled(decoded)[0], [1, 4, np.nan, 0.5])
    assert encoding.filled(encoding.decode(np.zeros((2, 5, 2)))).shape == (2, 5, 4)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [("k", 4.5, r"'k' of new was always 4 .*row 1 .*-708 nats"), ("n", 1.0, "'n' of new had no value.*row 1")],
)
def test_a_row_that_breaks_a_constant_is_warned_about(column, value, words):
    encoding = make_encoding(as_table(HOLEY), "gaussian", False)
    changed = HOLEY.copy()
    changed.loc[1, column] = value
    with pytest.warns(UserWarning, match=words):
        encoding.encode(as_table(changed, source="new"))


def test_a_constant_that_differs_by_rounding_or_is_missing_is_no_news(recwarn):
    encoding = make_encoding(as_table(HOLEY), "gaussian", False)
    changed = HOLEY.copy()
    changed.loc[1, "k"] = np.nextafter(4, 5)
    changed.loc[2, "k"] = np.nan
    encoding.encode(as_table(changed))
    assert len(recwarn) == 0


IMAGES = RNG.integers(0, 256, size=(40, 5, 3)).astype(np.uint8)
IMAGES[:, 0, 0] = 0


@pytest.mark.parametrize("cells", [7, 10**6])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_scoring_binarises_once_by_the_written_protocol(dtype, cells, monkeypatch):
    monkeypatch.setattr(block, "CELLS_AT_ONCE", cells)
    encoding = _encoding(IMAGES, "bernoulli", True)
    rows = encoding.encode(as_table(IMAGES.astype(dtype)), seed=3)
    expected = np.random.default_rng(3).random(IMAGES.shape) * 255 < IMAGES
    np.testing.assert_array_equal(rows.x.reshape(IMAGES.shape), expected)
    assert rows.x.dtype == np.float32 and not rows.binary_intensity
    assert (rows.log_jacobian == 0).all() and (encoding.floor == 0).all()


def test_a_constant_pixel_is_modelled_by_a_bernoulli():
    # log p(x) of a binary image is over all its pixels: one that was always 0 has an honest probability
    assert _encoding(IMAGES, "bernoulli", True).n_features == 15
    assert _encoding(IMAGES).n_features == 14


def test_drawing_keeps_intensities():
    encoding = _encoding(IMAGES, "bernoulli", True)
    rows = encoding.encode(as_table(IMAGES), draw=True)
    np.testing.assert_array_equal(rows.x.reshape(IMAGES.shape), IMAGES)
    assert rows.x.dtype == np.uint8 and rows.binary_intensity


def test_intensities_between_0_and_1_are_the_same_as_8_bit_ones():
    whole, share = _encoding(IMAGES, "bernoulli", True), _encoding(IMAGES / 255, "bernoulli", True)
    for draw in (True, False):
        np.testing.assert_array_equal(
            whole.encode(as_table(IMAGES), draw=draw).x, share.encode(as_table(IMAGES / 255), draw=draw).x
        )


@pytest.mark.parametrize("draw", [True, False])
def test_binary_data_stay_as_they_are(draw):
    binary = (IMAGES > 99).astype(np.uint8)
    rows = _encoding(IMAGES, "bernoulli", True).encode(as_table(binary), draw=draw)
    np.testing.assert_array_equal(rows.x.reshape(IMAGES.shape), binary)
    assert not rows.binary_intensity and rows.x.dtype == np.float32


def test_missing_pixels_are_masked():
    holed = IMAGES.astype(float)
    holed[0, 1, 1] = np.nan
    encoding = _encoding(holed, "bernoulli", True)
    for draw in (True, False):
        rows = encoding.encode(as_table(holed), draw=draw)
        assert rows.x[0, 4] == 0 and not rows.observed[0, 4] and rows.observed.sum() == holed.size - 1


@pytest.mark.parametrize(
    ("encoding", "new", "words"),
    [
        (_encoding([[0, 1], [1, 0]], "bernoulli"), [[0, 1], [0, 0.5]], ["row 1", "'x1'", "0.5", "gaussian"]),
        (_encoding(IMAGES, "bernoulli", True), IMAGES - 0.5, ["row 0", "pixel (0, 0)", "-0.5", "0 to 255", "rescale"]),
        (_encoding(IMAGES, "bernoulli", True), IMAGES + 1.0, ["256"]),
        (_encoding(IMAGES / 255, "bernoulli", True), IMAGES, ["from 0 to 1"]),
        (_encoding(RNG.normal(size=(5, 2))), [[0, 1], [np.inf, 0]], ["infinity", "row 1", "'x0'"]),
        (_encoding(RNG.normal(size=(5, 2))), [[0, 1], [0, 1e60]], ["float32", "row 1", "'x1'", "1e+60"]),
        (_encoding(RNG.normal(size=(5, 2))), [[0, 1, 2]], ["X has 3 features, but the model is expecting 2 features"]),
    ],
)
def test_new_data_that_do_not_fit(encoding, new, words):
    with pytest.raises(DataError) as caught:
        encoding.encode(as_table(new))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("argument", [{"likelihood": "auto"}, {"scaling": "minmax"}])
def test_unknown_choices_are_refused(argument):
    with pytest.raises(DataError, match=f"^{next(iter(argument))} must be"):
        make_encoding(as_table(np.eye(2)), **({"likelihood": "gaussian", "binarize": False} | argument))


# Giving back

FRAME = pd.DataFrame(
    {"f": np.array([1, 2, 4], dtype=np.float32), "i": [3, 250, 7], "b": [True, False, True]}, index=["r", "s", "t"]
)


def test_results_come_back_in_the_users_frame():
    table = as_table(FRAME)
    encoding = make_encoding(table, "gaussian", False)
    back = encoding.give_back(encoding.decode(encoding.encode(table, dtype="float64").x), like=table)
    assert list(back.columns) == ["f", "i", "b"] and list(back.index) == ["r", "s", "t"]
    assert back.dtypes.astype(str).tolist() == ["float32", "float64", "float64"]
    np.testing.assert_allclose(back.to_numpy(dtype=float), FRAME.to_numpy(dtype=float))
    rounded = encoding.give_back(table.values + 0.2, like=table, rounded=True)
    pd.testing.assert_frame_equal(rounded[["i", "b"]], FRAME[["i", "b"]])


def test_containers_can_be_chosen():
    encoding = make_encoding(as_table(FRAME), "gaussian", False)
    values = np.array([[1.0, 2, 1]])
    assert encoding.give_back(values, container="polars").equals(
        pl.DataFrame({"f": [1.0], "i": [2.0], "b": [1.0]}, schema_overrides={"f": pl.Float32})
    )
    array = encoding.give_back(values, container="numpy")
    assert array.dtype == np.float64 and array.tolist() == values.tolist()
    with pytest.raises(DataError, match="'spark'"):
        encoding.give_back(values, container="spark")


def test_numbered_pandas_columns_stay_numbered():
    frame = pd.DataFrame(RNG.normal(size=(4, 3)))
    pd.testing.assert_frame_equal(make_encoding(as_table(frame), "gaussian", False).give_back(frame.to_numpy()), frame)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_arrays_come_back_in_shape_and_dtype(dtype):
    images = RNG.normal(size=(4, 2, 3)).astype(dtype)
    back = make_encoding(as_table(images), "gaussian", False).give_back(images.reshape(4, 6).astype(float))
    assert back.dtype == dtype and back.shape == images.shape
    np.testing.assert_array_equal(back, images)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "uint64", "bool"])
def test_rounded_values_stay_within_their_dtype(dtype):
    table = as_table(np.array([[0], [1]]).astype(dtype))
    encoding = make_encoding(table, "gaussian", False)
    back = encoding.give_back(np.array([[-1e30], [0.4], [0.6], [1e30]]), rounded=True)
    low, high = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    assert back.dtype == dtype and back[0, 0] == low and back[1:3, 0].tolist() == [0, 1]
    assert abs(int(back[3, 0]) - int(high)) <= high * 2**-52
    assert encoding.give_back(np.array([[0.4]])).tolist() == [[0.4]]


def test_real_table(shared_data):
    from tightbound.data import read_table

    table = read_table(shared_data / "tables" / "airquality.csv.gz")
    encoding = make_encoding(table, "gaussian", False)
    rows = encoding.encode(table)
    assert encoding.n_features == 6 and int((~rows.observed).sum()) == 44
    np.testing.assert_allclose(encoding.decode(rows.x)[table.observed], table.values[table.observed], rtol=1e-5)


def test_binarised_intensities_come_back_as_intensities():
    values = np.array([[0, 255, 51], [255, 0, 102]], np.uint8)
    encoding = _encoding(values, "bernoulli", binarize=True)
    drawn = encoding.encode(as_table(values)).x
    np.testing.assert_array_equal(
        encoding.give_back(encoding.decode(drawn), rounded=True), drawn.astype(np.uint8) * 255
    )
    np.testing.assert_array_equal(encoding.decode(np.full((1, 3), 0.2)), 51)
    shares = _encoding(values / 255, "bernoulli", binarize=True)
    np.testing.assert_array_equal(shares.decode(np.full((1, 3), 0.2)), 0.2)
