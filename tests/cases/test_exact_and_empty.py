"""Whole numbers that float64 does not hold stay what they are; columns without a value are no one's trouble."""

import datetime as dt
import os
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tightbound.data import DataError, infer_schema, read_table, write_table

BIG = 2**53
N = 40
CODES = {
    "beside 2^53": [BIG + 1, BIG + 2, BIG],
    "nineteen digits": [1_234_567_890_123_456_789, 1_234_567_890_123_456_788, -1_234_567_890_123_456_789],
    "beyond 2^63": [2**64 - 1, 2**64 - 2, 2**63 + 5],
}
FRAMES = {
    "polars": lambda codes, x: pl.DataFrame({"code": pl.Series(codes, dtype=_type_of(codes)), "x": x}),
    "pandas": lambda codes, x: pd.DataFrame({"code": np.array(codes), "x": x}),
    "objects": lambda codes, x: pd.DataFrame({"code": pd.Series(codes, dtype=object), "x": x}),
}


def _type_of(codes):
    return pl.UInt64 if max(codes) >= 2**63 else pl.Int64


def of(levels):
    return [levels[i % 3] for i in range(N)], np.sin(np.arange(N))


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("levels", CODES.values(), ids=CODES)
def test_large_codes_are_levels_each_as_it_is(levels, make):
    X = make(*of(levels))
    schema = infer_schema(X)
    codes = schema.codes(X)
    assert schema["code"].type.levelled and sorted(map(int, schema["code"].levels)) == sorted(levels)
    assert [int(value) for value in schema.values(codes)["code"]] == of(levels)[0]
    assert [int(value) for value in schema.values(codes, like=X)["code"]] == of(levels)[0]
    assert [schema["code"].type.code(schema["code"], level) for level in levels] == codes[:3, 0].tolist()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("levels", CODES.values(), ids=CODES)
def test_a_file_and_its_frame_have_the_same_codes(tmp_path, levels, suffix):
    frame = FRAMES["polars"](*of(levels)).with_columns(pl.when(pl.col("x") > 0.9).then(None).otherwise("code"))
    path = tmp_path / f"t{suffix}"
    (frame.write_csv if suffix == ".csv" else frame.write_parquet)(path)
    table = read_table(path)
    assert sorted(map(int, table.coded["code"].levels)) == sorted(levels)
    filled = table.coded.values(np.nan_to_num(table.values), like=table.native)["code"]
    observed = frame["code"].is_not_null()
    assert [int(value) for value in filled.filter(observed)] == frame["code"].drop_nulls().to_list()
    assert {int(value) for value in filled} <= set(levels)


def test_many_large_codes_are_left_out_and_given_back():
    codes = [10**18 + 7 * i * i for i in range(N)]
    X = pl.DataFrame({"code": codes, "x": np.sin(np.arange(N))})
    schema = infer_schema(X)
    assert schema["code"].dropped and "2^53" in schema["code"].reason
    assert schema.values(schema.codes(X), like=X).equals(X)


def test_one_large_code_is_a_constant_to_the_last_digit():
    X = pl.DataFrame({"code": [2**63 - 5] * N, "x": np.sin(np.arange(N))})
    schema = infer_schema(X)
    assert int(schema["code"].constant) == 2**63 - 5
    assert schema.values(schema.codes(X))["code"].to_list() == [2**63 - 5] * N


def test_codes_that_begin_with_zero_stay_codes_beside_numbers(tmp_path):
    (tmp_path / "t.csv").write_text("zip,x\n" + "".join(f"0{i % 3}123,{i}.5\n" for i in range(N)))
    assert read_table(tmp_path / "t.csv").coded["zip"].levels == ("00123", "01123", "02123")


def batch():
    """A column of each type, as pandas and polars have them."""
    return pd.DataFrame(
        {
            "words": ["u", "v"] * (N // 2),
            "dates": pd.date_range("2020-01-01", periods=N),
            "spans": pd.to_timedelta(np.arange(N), "h"),
            "truths": [True, False] * (N // 2),
            "classes": pd.Categorical(["p", "q"] * (N // 2)),
            "x": np.sin(np.arange(N)),
        }
    )


VALUES = {
    "words": "v",
    "dates": dt.datetime(1970, 1, 2),
    "spans": dt.timedelta(1),
    "truths": True,
    "classes": "q",
    "x": 1,
}
EMPTY = {
    "NaN": [np.nan] * N,
    "None": [None] * N,
    "NaT": pd.to_datetime([None] * N),
    "NA": pd.array([None] * N, dtype="Int64"),
    "no categories": pd.Categorical([None] * N),
}


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
def test_a_later_batch_without_a_value_in_a_column_gets_values_of_its_type(empty):
    schema = infer_schema(batch())
    for name, value in VALUES.items():
        new = batch().assign(**{name: empty}).set_index(np.arange(N) + 7)
        codes = schema.codes(new)
        assert np.isnan(codes[:, schema.names.index(name)]).all()
        filled = schema.values(np.where(np.isnan(codes), 1.0, codes), like=new)
        assert (filled[name] == value).all() and filled.index[0] == 7
        pd.testing.assert_frame_equal(filled.drop(columns=name), new.drop(columns=name))


@pytest.mark.parametrize("dtype", [pl.Null, pl.Float64, pl.String, pl.Int64])
def test_the_same_of_polars_frames(dtype):
    frame = pl.from_pandas(batch())
    schema = infer_schema(frame)
    for name, value in VALUES.items():
        new = frame.with_columns(pl.Series(name, [None] * N, dtype=dtype))
        codes = schema.codes(new)
        filled = schema.values(np.where(np.isnan(codes), 1.0, codes), like=new)
        assert filled[name].to_list() == [value] * N and filled.drop(name).equals(new.drop(name))


@pytest.mark.parametrize("empty", [*EMPTY.values(), pd.to_timedelta([None] * N)], ids=[*EMPTY, "timedelta"])
def test_a_column_without_a_value_is_left_out_whatever_its_type(empty):
    X = pd.DataFrame({"empty": empty, "x": np.sin(np.arange(N))})
    schema = infer_schema(X)
    assert schema["empty"].dropped and not schema["x"].dropped
    pd.testing.assert_frame_equal(schema.values(schema.codes(X), like=X), X)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.npy", "t.npz"])
def test_a_full_disk_is_named_with_the_file(tmp_path, name):
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(DataError, match=rf"{name} must be a file.*no space left"):
        write_table(tmp_path / name, np.zeros((3000, 3)))


def test_messages_about_arrays_are_in_our_words(tmp_path):
    np.save(tmp_path / "t.npy", np.zeros((3, 3)))
    whole = (tmp_path / "t.npy").read_bytes()
    (tmp_path / "t.npy").write_bytes(whole[:-8])
    with pytest.raises(DataError, match=r"t\.npy must be a whole NumPy file, but .*\(it is cut short\)"):
        read_table(tmp_path / "t.npy")
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("a.npy", b"hello")
    with pytest.raises(DataError, match=r"Array 'a' of t\.npz must be a whole NumPy file"):
        read_table(tmp_path / "t.npz")
    with pytest.raises(DataError, match=r"words\.npy must be a \.csv, \.tsv or \.parquet file"):
        write_table(tmp_path / "words.npy", np.array([["u", 1]], dtype=object))
