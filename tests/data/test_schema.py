"""A table's schema: shown, edited, saved; tables as numbers, and back bit for bit."""

import datetime as dt
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tightbound.data import Column, DataError, Schema, infer_schema
from tightbound.data.cells.text import NumberFormat
from tightbound.data.types import Bounded, Count, Datetime, Real

RNG = np.random.default_rng(7)
N = 60


def _holes(values):
    return [None if i % 7 == 3 else value for i, value in enumerate(values)]


START = dt.datetime(2020, 1, 1)
COLUMNS = {
    "real": _holes(RNG.normal(size=N).tolist()),
    "share": _holes((RNG.uniform(size=N) * 0.998 + 0.001).tolist()),
    "count": _holes(RNG.poisson(20, N).tolist()),
    "rating": _holes(RNG.integers(1, 6, N).tolist()),
    "flag": _holes((RNG.normal(size=N) > 0).tolist()),
    "word": _holes(RNG.choice(["red", "green ", "blue"], N).tolist()),
    "size": _holes(RNG.choice(["S", "M", "L"], N).tolist()),
    "day": _holes([(START + dt.timedelta(days=int(i))).date() for i in RNG.integers(0, 9999, N)]),
    "moment": _holes([START + dt.timedelta(microseconds=int(i)) for i in RNG.integers(0, 10**15, N)]),
    "span": _holes([dt.timedelta(microseconds=int(i)) for i in RNG.integers(-(10**12), 10**12, N)]),
    "money": _holes([f"${x:,.2f}" for x in np.exp(RNG.normal(7, 2, N))]),
    "written": _holes([f"{START + dt.timedelta(days=int(i)):%d/%m/%Y}" for i in RNG.integers(0, 999, N)]),
    "name": [f"person {i}" for i in range(N)],
    "constant": ["same"] * N,
}
TABLE = pl.DataFrame(COLUMNS)
SCHEMA = infer_schema(TABLE)
MODELLED = [name for name in COLUMNS if name not in ("name", "constant")]


def assert_same(one, other):
    """Equal values, types, categories and names, wherever they are held."""
    if isinstance(other, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert all(a is b or a == b or (a != a and b != b) for a, b in zip(one.flat, other.flat, strict=True))
    elif isinstance(other, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    else:
        assert_frame_equal(one, other)


# Shown


def test_a_schema_is_shown_as_a_table():
    lines = repr(SCHEMA).splitlines()
    assert lines[0].startswith("14 columns: 2 real, 1 positive, 1 bounded, 1 count, 2 ordinal, 1 categorical, 1 binary")
    assert lines[0].endswith("2 dropped") and lines[1].split() == ["column", "type", "details", "missing", "why"]
    size = next(line for line in lines if line.startswith("size"))
    assert "ordinal" in size and "S < M < L" in size and "9 " in size and "sizes" in size
    assert "dropped" in next(line for line in lines if line.startswith("name"))
    assert "[0, 1]" in repr(SCHEMA) and "$" in repr(SCHEMA) and "%d/%m/%Y" in repr(SCHEMA)


# Saved and edited


def test_a_schema_survives_json():
    data = json.loads(json.dumps(SCHEMA.to_json(), allow_nan=False))
    assert Schema.from_json(data) == SCHEMA
    assert list(data["columns"][0])[:3] == ["name", "type", "storage"] and data["columns"][0]["type"] == "real"


def _edited(column_name, /, **changes):
    data = SCHEMA.to_json()
    next(column for column in data["columns"] if column["name"] == column_name).update(changes)
    return data


def _top(**changes):
    return SCHEMA.to_json() | changes


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], ["mapping", "infer it anew"]),
        (_top(columns=[]), ["'columns'", "list"]),
        (_top(columns=[3]), ["Column 0", "mapping"]),
        (_top(kolumns=[]), ["'kolumns'", "did you mean 'columns'"]),
        (_top(container="spark"), ["'container'", "'spark'"]),
        (_top(named=1), ["'named'", "true or false"]),
        (_top(missing="NA"), ["'missing'", "list"]),
        (_edited("real", name=3), ["'name'", "text"]),
        (_edited("real", name="share"), ["'share' again", "rename"]),
        (_edited("real", type="reel"), ["type of column 'real'", "'reel'", "did you mean 'real'"]),
        (_edited("real", type=None), ["type of column 'real'", "'real', 'positive'"]),
        (_edited("real", levls=[]), ["'levls'", "did you mean 'levels'"]),
        (_edited("real", levels=["a", "b"]), ["'levels'", "column 'real' of the schema is real", "null"]),
        (_edited("real", bounds=[0, 1]), ["'bounds'", "column 'real' of the schema is real", "null"]),
        (_edited("share", bounds=[1, 0]), ["'bounds'", "lower and a higher"]),
        (_edited("share", bounds=[0, None]), ["'bounds'", "finite numbers"]),
        (_edited("share", bounds=3), ["two numbers"]),
        (_edited("size", levels="SML"), ["'levels'", "list"]),
        (_edited("size", levels=["S", ["M"]]), ["level of column 'size'", "text, a number", "['M']"]),
        (_edited("size", levels=["S", None]), ["level of column 'size'", "None"]),
        (_edited("size", levels=["S", float("nan")]), ["level of column 'size'", "nan"]),
        (_edited("size", levels=["S", 1]), ["all texts or all numbers", "quotes"]),
        (_edited("size", levels=["S", "M", "S"]), ["'S' comes twice"]),
        (_edited("flag", levels=[True]), ["be two, since it is binary"]),
        (_edited("real", point_masses=0), ["'point_masses'", "list"]),
        (_edited("real", point_masses=["0"]), ["'point_masses'", "finite numbers"]),
        (_edited("real", grid=True), ["'grid'", "numbers"]),
        (_edited("real", dropped="no"), ["'dropped'", "true or false"]),
        (_edited("real", n_missing=0.5), ["'n_missing'", "whole number"]),
        (_edited("real", format="%Y"), ["'format'", "format of numbers"]),
        (_edited("money", format={"decimals": 2}), ["'decimals'", "did you mean 'decimal'"]),
        (_edited("written", format={"decimal": ","}), ["'format'", "format of dates"]),
        (_edited("constant", constant=[1]), ["'constant'"]),
    ],
    ids=range(33),
)
def test_a_wrong_schema_is_one_sentence(data, words):
    with pytest.raises(DataError) as caught:
        Schema.from_json(data)
    message = str(caught.value)
    assert all(word in message for word in words) and "\n" not in message and message.endswith("."), message


def test_a_schema_written_by_hand_is_settled_by_the_table():
    data = {"columns": [{"name": "rating", "type": "count"}, {"name": "size", "type": "ordinal"}]}
    table = TABLE.select("rating", "size")
    schema = Schema.from_json(data)
    with pytest.raises(DataError, match=r"'rating'.*left open.*settled"):
        schema.codes(table)
    schema = schema.settled(table)
    assert schema["rating"].type == Count() and schema["size"].levels == ("S", "M", "L")
    assert_same(schema.values(schema.codes(table)), table)


def test_an_edit_is_obeyed():
    schema = SCHEMA.with_column(replace(SCHEMA["size"], levels=("L", "M", "S", "XL")))
    at = MODELLED.index("size")
    seen = TABLE["size"].is_not_null().to_numpy()
    np.testing.assert_array_equal(schema.codes(TABLE)[seen, at], 2 - SCHEMA.codes(TABLE)[seen, at])
    text = infer_schema(TABLE, types={"money": "categorical"})
    assert len(text["money"].levels) > 40
    kept = SCHEMA.with_column(replace(SCHEMA["name"], dropped=False)).settled(TABLE)
    assert len(kept.modelled) == len(SCHEMA.modelled) + 1 and len(kept["name"].levels) == N
    without = SCHEMA.with_column(replace(SCHEMA["real"], dropped=True))
    assert without.codes(TABLE.drop("real")).shape == (N, len(MODELLED) - 1)
    shares = SCHEMA.with_column(replace(SCHEMA["real"], type=Bounded())).settled(TABLE)
    assert shares["real"].bounds[0] < TABLE["real"].min() + 1 and shares.codes(TABLE).shape == (N, len(MODELLED))
    for column in (Column("sizes", Real()), replace(SCHEMA["size"], levels=(1, "a"))):
        with pytest.raises(DataError):
            SCHEMA.with_column(column)


# Numbers


def test_codes_are_what_they_say():
    table = pl.DataFrame(
        {
            "x": [0.5, None, -2.0],
            "word": ["b", "a", None],
            "flag": [True, None, False],
            "size": ["S", "XL", "M"],
            "day": [dt.date(1970, 1, 2), None, dt.date(1969, 12, 31)],
            "moment": [dt.datetime(1970, 1, 2, 6), dt.datetime(1969, 12, 31, 12), None],
            "price": ["1.234,50 €", "?", "3,25 €"],
        }
    )
    schema = infer_schema(table)
    nan = np.nan
    expected = [[0.5, 1, 1, 0, 1, 1.25, 1234.5], [nan, 0, nan, 2, nan, -0.5, nan], [-2, nan, 0, 1, -1, nan, 3.25]]
    codes = schema.codes(table)
    np.testing.assert_array_equal(codes, expected)
    assert codes.dtype == np.float64 and [column.name for column in schema.modelled] == table.columns
    assert_same(schema.values(codes).drop("price"), table.drop("price"))
    assert schema.values(codes)["price"].to_list() == ["1.234,50 €", None, "3,25 €"]
    assert_same(schema.values(codes, like=table), table)


def test_zones_and_units_of_moments():
    for unit in ("ms", "us", "ns"):
        moments = pl.Series([START, None, dt.datetime(1961, 5, 6, 7, 8, 9)], dtype=pl.Datetime(unit))
        for series in (moments, moments.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")):
            table = pl.DataFrame({"m": series})
            schema = infer_schema(table)
            np.testing.assert_allclose(schema.codes(table)[0, 0], 18262)
            assert_same(schema.values(schema.codes(table)), table)


def test_new_tables_need_the_columns_and_may_hold_them_otherwise():
    codes = SCHEMA.codes(TABLE)
    np.testing.assert_array_equal(SCHEMA.codes(TABLE.select(reversed(TABLE.columns))), codes)
    np.testing.assert_array_equal(SCHEMA.codes(TABLE.drop("name", "constant")), codes)
    np.testing.assert_array_equal(SCHEMA.codes(TABLE.to_pandas()), codes)
    as_text = TABLE.with_columns(pl.col("real", "share", "count", "rating", "flag").cast(pl.String))
    np.testing.assert_array_equal(SCHEMA.codes(as_text), codes)
    as_floats = TABLE.with_columns(pl.col("count", "rating").cast(pl.Float32))
    np.testing.assert_array_equal(SCHEMA.codes(as_floats), codes)
    text = infer_schema(as_text)
    np.testing.assert_array_equal(text.codes(TABLE.with_columns(pl.col("flag").cast(pl.String))), text.codes(as_text))
    row = TABLE[3:4]
    assert np.isnan(SCHEMA.codes(row)).all() and SCHEMA.codes(TABLE[:1]).shape == (1, len(MODELLED))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pl.lit("mauve").alias("word"), ["row 0", "'word'", "holds 'mauve'", "unseen='missing'"]),
        (pl.lit("Blue").alias("word"), ["row 0", "did you mean 'blue'"]),
        (pl.lit(9).alias("rating"), ["row 0", "'rating'", "holds 9"]),
        (pl.lit(2.5).alias("rating"), ["row 0", "'rating'", "holds 2.5"]),
        (pl.lit(-3).alias("count"), ["'count'", "row 0", "holds -3", "counts"]),
        (pl.lit(2.5).alias("count"), ["'count'", "holds 2.5"]),
        (pl.lit("a lot").alias("money"), ["'money'", "row 0", "'a lot'", "numbers"]),
        (pl.lit("x").alias("real"), ["'real'", "row 0", "'x'", "numbers"]),
        (pl.lit(np.inf).alias("real"), ["'real'", "row 0", "infinity"]),
        (pl.lit("2020-01-31").alias("written"), ["'written'", "'2020-01-31'", "day/month/year"]),
        (pl.lit(3.5).alias("day"), ["'day'", "dates", "3.5"]),
        (pl.lit(dt.date(2020, 1, 1)).alias("real"), ["'real'", "numbers", "2020-01-01"]),
        (pl.lit(1).alias("extra"), ["also has 'extra'", "drop"]),
    ],
    ids=range(13),
)
def test_cells_that_do_not_fit_are_named(change, words):
    with pytest.raises(DataError, match=r"new\.csv") as caught:
        SCHEMA.codes(TABLE.with_columns(change), source="new.csv")
    message = str(caught.value)
    assert all(word in message for word in words) and "\n" not in message, message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pl.lit(1.5).alias("share"), "'share'.*from 0 to 1.*row 0.*holds 1.5.*unlikely"),
        (pl.lit(-0.1).alias("share"), "'share'.*holds -0.1"),
        (pl.lit("$0.00").alias("money"), "'money'.*above 0.*holds 0"),
    ],
    ids=range(3),
)
def test_numbers_beyond_a_column_are_unlikely_not_impossible(change, words):
    with pytest.warns(UserWarning, match=words):
        codes = SCHEMA.codes(TABLE.with_columns(change), source="new.csv")
    assert np.isfinite(codes[:, MODELLED.index(change.meta.output_name())]).all()


def test_columns_that_are_lacking_are_named():
    with pytest.raises(DataError, match=r"lacks 'word' \(did you mean 'words'\?\)"):
        SCHEMA.codes(TABLE.rename({"word": "words"}))
    array = infer_schema(RNG.normal(size=(20, 3)))
    with pytest.raises(DataError, match=r"3 columns of the fitted data, but X has 2"):
        array.codes(np.ones((4, 2)))
    with pytest.raises(DataError, match="'error' or 'missing'"):
        SCHEMA.codes(TABLE, unseen="ignore")


def test_unseen_levels_can_be_missing():
    changed = TABLE.with_columns(
        word=pl.when(pl.int_range(N) < 5).then(pl.lit("mauve")).otherwise("word"), rating=pl.lit(8)
    )
    codes = SCHEMA.codes(changed, unseen="missing")
    assert np.isnan(codes[:5, MODELLED.index("word")]).all() and np.isnan(codes[:, MODELLED.index("rating")]).all()
    assert_same(SCHEMA.values(codes, like=changed), changed)


# And back

ENUM = pl.Enum(["never", "sometimes", "always", "unused"])
ROUND = {
    "polars": TABLE,
    "pandas": TABLE.to_pandas(),
    "nullable": TABLE.to_pandas().convert_dtypes(),
    "on arrow": TABLE.to_pandas(use_pyarrow_extension_array=True),
    "floats": RNG.normal(size=(9, 3)),
    "singles": RNG.normal(size=(9, 3)).astype(np.float32),
    "halves": RNG.normal(size=(9, 3)).astype(np.float16),
    "whole numbers": RNG.integers(0, 9, (90, 3)).astype(np.int16),
    "texts": RNG.choice(["a", "b", "c"], (20, 2)),
    "days": np.array([["2020-01-31", "1950-02-03"], ["2021-01-01", "NaT"], ["2020-01-31", "2030-01-01"]], "M8[D]"),
    "small types": pl.DataFrame(
        {
            "i8": pl.Series(RNG.integers(-90, 90, N), dtype=pl.Int8),
            "u64": pl.Series(RNG.poisson(5, N), dtype=pl.UInt64),
            "f32": pl.Series(RNG.normal(size=N), dtype=pl.Float32),
            "decimal": pl.Series([f"{x:.2f}" for x in RNG.normal(size=N)]).cast(pl.Decimal(10, 2)),
            "enum": pl.Series(RNG.choice(["always", "never"], N), dtype=ENUM),
            "categories": pl.Series(RNG.choice(["x", "y", "z"], N), dtype=pl.Categorical),
            "time": pl.Series([dt.time(int(h), int(m)) for h, m in RNG.integers(0, 24, (N, 2))]),
            "null": pl.Series([None] * N),
            "one": pl.Series([7] * N, dtype=pl.Int8),
        }
    ),
    "pandas types": pd.DataFrame(
        {
            "ordered": pd.Categorical(RNG.choice(["b", "a"], N), categories=["c", "b", "a"], ordered=True),
            "numbered": pd.Categorical(RNG.choice([3, 1, 2], N)),
            "i8": RNG.integers(-90, 90, N).astype(np.int8),
            "bool": RNG.normal(size=N) > 0,
            "boolean": pd.array(_holes((RNG.normal(size=N) > 0).tolist()), dtype="boolean"),
            "Int16": pd.array(_holes(RNG.poisson(9, N).tolist()), dtype="Int16"),
            "ns": pd.date_range("2020-01-01", periods=N, freq="7min", unit="ns"),
            "zone": pd.date_range("2020-01-01", periods=N, freq="7h", tz="Europe/Berlin", unit="us"),
            "span": pd.to_timedelta(RNG.integers(-999, 999, N), unit="s"),
            "object": np.array(_holes(RNG.choice(["x", "y", "z"], N).tolist()), dtype=object),
            "one": np.int8([5] * N),
        },
        index=pd.RangeIndex(N),
    ),
}


@pytest.mark.parametrize("table", ROUND.values(), ids=ROUND.keys())
def test_tables_come_back_bit_for_bit(table):
    schema = infer_schema(table)
    schema = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    codes = schema.codes(table)
    assert_same(schema.values(codes, like=table), table)
    back = schema.values(codes)
    gone = [column.name for column in schema.columns if column.dropped and column.constant is None]
    kept = table if isinstance(table, np.ndarray) else table[[name for name in table.columns if name not in gone]]
    assert_same(back, kept)
    np.testing.assert_array_equal(schema.codes(table, unseen="error"), codes)


def test_arrow_tables_come_back_as_they_are():
    arrow = pa.table({"d": pa.array(["b", "a", "c", None] * 5).dictionary_encode(), "x": RNG.normal(size=20)})
    schema = infer_schema(arrow)
    assert_same(pl.DataFrame(schema.values(schema.codes(arrow))), pl.DataFrame(arrow))
    assert schema.values(schema.codes(arrow), like=arrow).equals(arrow)


def test_cells_that_have_no_category_of_texts_keep_their_own():
    cut = pd.DataFrame({"x": pd.cut(pd.Series(RNG.normal(size=N), index=np.arange(N) + 100), 4)})
    cut.iloc[3, 0] = np.nan
    schema = infer_schema(cut)
    codes = schema.codes(cut)
    assert_same(schema.values(codes, like=cut), cut)
    codes[3, 0] = 2
    filled = schema.values(codes, like=cut)
    assert filled.iloc[3, 0] == cut["x"].cat.categories[2] and filled["x"].dtype == cut["x"].dtype
    assert_same(filled.drop(index=103), cut.drop(index=103))


SPELLINGS = [
    ["1,234", "12", "1000000"],
    ["1.50", "2.5", " 3 "],
    ["$5", "6"],
    ["1e3", "20", "?"],
    ["3/4/2020", "05/13/2021", "NA"],
    ["2020-01-01T10:00:00+02:00", "2020-01-01T10:00:00-03:00", ""],
    ["2020-01-01 10:00:00.1234567", "2020-01-01 10:00:00.9", None],
]


@pytest.mark.parametrize("texts", SPELLINGS, ids=[texts[0] for texts in SPELLINGS])
def test_cells_keep_the_spelling_that_they_came_in(texts):
    for table in (pl.DataFrame({"a": texts}), pd.DataFrame({"a": texts}), np.array([texts], dtype=object).T):
        schema = infer_schema(table)
        codes = schema.codes(table)
        assert not schema.columns[0].dropped and schema.columns[0].type in (Real(), Datetime())
        assert_same(schema.values(codes, like=table), table)
        codes[0, 0] += 1
        changed = schema.values(codes, like=table)
        np.testing.assert_allclose(schema.codes(changed), codes, rtol=1e-12)


FORMATS = [
    (NumberFormat(), -1234.5, "-1234.5"),
    (NumberFormat(), 3.0, "3"),
    (NumberFormat(pointed=True), 3.0, "3.0"),
    (NumberFormat(thousands=",", places=2, prefix="$"), -1234.5, "-$1,234.50"),
    (NumberFormat(",", ".", suffix=" €", places=1), 1234567.89, "1.234.567,9 €"),
    (NumberFormat(thousands=" "), 1234.25, "1 234.25"),
    (NumberFormat(thousands=","), -0.25, "-0.25"),
    (NumberFormat(suffix="%"), 12.5, "12.5%"),
]


@pytest.mark.parametrize(("style", "number", "text"), FORMATS, ids=[case[2] for case in FORMATS])
def test_numbers_are_spelled_in_the_columns_way(style, number, text):
    assert style.spell(number) == text


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x.to_pandas(), lambda x: x.to_pandas().convert_dtypes()])
def test_filled_cells_fit_among_the_others(make):
    table = make(TABLE)
    schema = infer_schema(table)
    codes = schema.codes(table)
    filled = np.where(np.isnan(codes), np.nanmax(codes, axis=0), codes)
    back = schema.values(filled, like=table)
    np.testing.assert_allclose(schema.codes(back), filled, rtol=1e-12)
    known = pl.DataFrame(back).select(MODELLED) if isinstance(back, pl.DataFrame) else back[MODELLED]
    assert not np.isnan(schema.codes(back)).any() and len(known) == N
    if isinstance(table, pd.DataFrame):
        assert [str(x) for x in back.dtypes if str(x) != "object"] == [
            str(x) for x in table.dtypes if str(x) != "object"
        ]
    else:
        assert back.schema == table.schema
    emptied = schema.values(np.full_like(codes, np.nan))
    assert np.isnan(schema.codes(emptied)).all()


def test_made_up_rows_keep_to_their_types():
    table = pl.DataFrame({"i": pl.Series([*range(-20, 100), 5, 5], dtype=pl.Int8), "u": pl.Series([3, 40] * 61)})
    schema = infer_schema(table, types={"i": "real", "u": "count"})
    rows = schema.values(np.array([[300.4, 2.6], [-1e30, np.nan], [1.5, 1e30]]))
    assert rows["i"].to_list() == [127, -128, 2] and rows["u"].to_list()[:2] == [3, None]
    with pytest.raises(DataError, match="2 columns, one for each modelled"):
        schema.values(np.ones((3, 3)))
    with pytest.raises(DataError, match="and 122 rows"):
        schema.values(np.ones((3, 2)), like=table)
    for code in (0.5, 3.0, -1.0):
        with pytest.raises(DataError, match=r"'a'.*codes.*from 0 to 2.*row 1"):
            infer_schema(pl.DataFrame({"a": ["x", "y", "z"] * 9})).values(np.array([[1.0], [code]]))


# Properties

CELLS = {
    pl.Float64: st.floats(allow_nan=False, allow_infinity=False),
    pl.Int64: st.integers(-(2**53), 2**53),
    pl.Int16: st.integers(-5, 5),
    pl.String: st.text("abcM 1-", max_size=3),
    pl.Boolean: st.booleans(),
    pl.Date: st.dates(),
    pl.Datetime("us"): st.datetimes(dt.datetime(1800, 1, 1), dt.datetime(2140, 1, 1)),
}


@settings(max_examples=80)
@given(st.data(), st.integers(1, 25), st.sampled_from(["polars", "pandas"]))
def test_any_table_comes_back(data, n, container):
    table = pl.DataFrame(
        {
            f"c{j}": pl.Series(data.draw(st.lists(st.none() | cells, min_size=n, max_size=n)), dtype=dtype)
            for j, (dtype, cells) in enumerate(CELLS.items())
        }
    )
    given_table = table if container == "polars" else table.to_pandas()
    schema = infer_schema(given_table, types={"c3": "categorical"})
    codes = schema.codes(given_table)
    assert_same(schema.values(codes, like=given_table), given_table)
    for name in (column.name for column in schema.modelled if column.name != "c3"):
        back = schema.values(codes)
        assert_same(back[[name]], given_table[[name]])
    order = data.draw(st.permutations(range(n)))
    shuffled = table[list(order)]
    np.testing.assert_array_equal(schema.codes(shuffled), codes[list(order)])


@settings(max_examples=100)
@given(st.floats(-1e15, 1e15), st.sampled_from(["", ",", " "]), st.sampled_from([".", ","]), st.booleans())
def test_spelled_numbers_are_read_back(number, thousands, decimal, pointed):
    if thousands == decimal:
        thousands = "."
    style = NumberFormat(decimal, thousands, "$", "", None, pointed)
    from tightbound.data.cells.text import read_numbers

    if "e" in repr(number):
        number = float(round(number))
    assert read_numbers(pl.Series([style.spell(number)]), style)[0] == number


def test_real_tables_come_back(shared_data):
    for name in ("boys", "pbc", "adult", "soybean", "income_marketing"):
        table = pl.read_csv(shared_data / "tables" / f"{name}.csv.gz", infer_schema_length=None)[:4000]
        text = pl.read_csv(shared_data / "tables" / f"{name}.csv.gz", infer_schema=False)[:4000]
        for each in (table, text, table.to_pandas()):
            schema = infer_schema(each, source=name)
            codes = schema.codes(each)
            assert_same(schema.values(codes, like=each), each)
            if each is not text:
                assert_same(schema.values(codes), each)
        assert not any(column.dropped for column in schema.columns)
