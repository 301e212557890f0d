"""What kind of thing a column holds: stated rules, a table of cases, properties, real tables."""

import datetime as dt
import json
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightbound.data import DataError, infer_schema
from tightbound.data.cells.text import number_format, read_numbers
from tightbound.data.types import Binary, Bounded, Categorical, Count, Datetime, Ordinal, Positive, Real
from tightbound.data.types.orders import ordered_levels

RNG = np.random.default_rng(4)
N = 200
GAUSS = RNG.normal(size=N)
LOGNORMAL = np.exp(GAUSS)
UNIFORM = RNG.uniform(0.001, 0.999, N)
WORDS = np.array(["red", "green", "blue", "grey"])


def infer(values, name="a", **options):
    return infer_schema(pl.DataFrame({name: pl.Series(values, strict=False)}), **options)[name]


# A column, and what must be found: kind, "dropped", or both with levels or other attributes
KINDS = {
    "gaussian": (GAUSS, Real()),
    "lognormal": (LOGNORMAL, Positive()),
    "share": (UNIFORM, Bounded()),
    "correlation": (np.r_[np.sin(GAUSS * 9), 1, -1], Bounded()),
    "percentage": (np.r_[UNIFORM * 100, 100.0], Bounded()),
    "angle in steps": (np.arange(37.0).repeat(3) * 10, Bounded()),
    "below 100 by chance": (UNIFORM * 82, Positive()),
    "small and positive": (0.02 + UNIFORM / 10, Positive()),
    "poisson": (RNG.poisson(3.0, 2000), Count()),
    "rare counts": (np.repeat([0, 1, 2, 3], [150, 60, 15, 3]), Count()),
    "counts as floats": (RNG.poisson(20.0, N).astype(float), Count()),
    "ages": (RNG.integers(18, 90, N) // 2 + 15, Count()),
    "large whole numbers": (RNG.poisson(4000.0, N), Positive()),
    "whole numbers of both signs": (RNG.poisson(40.0, N) - 40, Real()),
    "multiples of 25": (RNG.poisson(40.0, N) * 25, Positive()),
    "zeros and ones": ([0, 1, 1, None], Binary()),
    "ones and twos": (RNG.integers(1, 3, N), Binary()),
    "true and false": ([True, False, None], Binary()),
    "rating": (RNG.integers(1, 6, N), Ordinal()),
    "eleven points": (RNG.integers(0, 11, N), Ordinal()),
    "half stars": (RNG.integers(1, 9, N) / 2, Ordinal()),
    "tens": (RNG.integers(1, 6, N) * 10, Ordinal()),
    "codes with holes": (RNG.choice([1, 2, 3, 5, 6, 7], N), Categorical()),
    "stations": (RNG.choice([101, 205, 330, 478], N), Categorical()),
    "three codes": (RNG.integers(0, 3, N), Categorical()),
    "years": (RNG.integers(2007, 2010, N), Categorical()),
    "words": (RNG.choice(WORDS, N), Categorical()),
    "words seen once or twice": ([f"word {i % 90}" for i in range(120)], Categorical()),
    "two words": (RNG.choice(WORDS[:2], N), Binary()),
    "zip codes": (RNG.choice(["01234", "10115", "00501", "80331"], N), Categorical()),
    "dates": ([dt.date(2020, 1, 31), None, dt.date(2021, 2, 3)], Datetime()),
    "moments": ([dt.datetime(2020, 1, 31, 4), dt.datetime(2021, 2, 3)], Datetime()),
    "durations": ([dt.timedelta(hours=int(h)) for h in RNG.integers(-99, 99, N)], Real()),
    "three rows": ([1, 2, 3], Real()),
    "three measured rows": ([0.5, 1.5, 80.0], Real()),
    "huge": (10.0 ** RNG.uniform(200, 300, N), Positive()),
    "tiny": (10.0 ** RNG.uniform(-300, -200, N), Positive()),
    "text of numbers": (GAUSS.astype(str), Real()),
    "nothing": ([None] * 5, "dropped"),
    "nothing but words for it": (["", "NA", "?", "-"], "dropped"),
    "one number": ([3, None, 3], "dropped"),
    "one word": (["x", "x", None], "dropped"),
    "one date": ([dt.date(2020, 1, 31)] * 2, "dropped"),
    "names": ([f"name {i}" for i in range(N)], "dropped"),
    "numbered rows": (np.arange(N), "dropped"),
    "numbered rows, shuffled with gaps": (RNG.choice(300, N, replace=False) + 10_000, "dropped"),
    "hashes": (RNG.integers(2**60, 2**62, N), "dropped"),
    "5,000 levels": ([f"level {i % 5000}" for i in range(10_000)], "dropped"),
    "1,000 levels": ([f"level {i % 1000}" for i in range(3_000)], Categorical()),
}


@pytest.mark.parametrize(("values", "kind"), KINDS.values(), ids=KINDS.keys())
def test_kinds(values, kind):
    column = infer(values)
    assert (kind == "dropped") == column.dropped, column.reason
    assert kind == "dropped" or column.type == kind, column.reason
    assert column.reason.endswith(".") and column.reason.count(".\x20") == 0 and len(column.reason) > 15


@pytest.mark.parametrize(("name", "dropped"), [("customer_id", True), ("ID", True), ("paid", False), ("age", False)])
def test_a_name_can_say_identifier(name, dropped):
    assert infer(RNG.choice(10**7, N, replace=False), name).dropped is dropped
    assert not infer(RNG.integers(0, 40, N), name).dropped  # repeats: it is none


def test_whole_numbers_that_may_well_differ_are_no_identifiers():
    assert not infer(RNG.choice(10**6, N, replace=False)).dropped
    assert not infer([18, 25, 31, 40, 44, 52, 60, 61, 70, 83, 85]).dropped


ORDERS = [
    ["low", "medium", "high"],
    ["Very Low", "low", "HIGH"],
    ["S", "M", "L", "XL"],
    ["never", "rarely", "sometimes", "often", "always"],
    ["F", "D", "C", "B", "A"],
    ["C", "B-", "B", "B+", "A-"],
    ["strongly disagree", "disagree", "neutral", "agree", "strongly agree"],
    ["very dissatisfied", "neutral", "satisfied"],
    ["none", "mild", "moderate", "severe"],
    ["Fair", "Good", "Very Good", "Premium", "Ideal"],
    ["poor", "fair", "good", "excellent"],
    ["Preschool", "9th", "HS-grad", "Some-college", "Masters"],
    ["first", "second", "third"],
    ["1st", "2nd", "10th"],
    ["Stage I", "Stage II", "Stage IV"],
    ["<4", "4-7", ">=7"],
    ["<10k", "10-15k", "15-20k", "75k+"],
    ["under 1 year", "1-3 years", "10+ years"],
    ["0", "1", "2", "9+"],
    ["14-17", "18-24", "65+"],
    ["(-1, 5]", "(5, 10]", "(10, 20]"],
    ["$0 to $50", "$50 to $1,000"],
    ["1–4", "5–9"],
]


@pytest.mark.parametrize("levels", ORDERS, ids=" ".join)
def test_orders_are_recognised(levels):
    for order in (levels, sorted(levels), levels[::-1]):
        found = ordered_levels(order)
        assert found is not None and list(found[0]) == levels
    column = infer(levels * 9)
    assert column.type == (Binary() if len(levels) == 2 else Ordinal()) and list(column.levels) == levels


@pytest.mark.parametrize(
    "levels",
    [
        ["red", "green"],
        ["A", "B", "C"],  # groups as often as grades
        ["A", "B", "AB", "O"],
        ["S", "M"],  # sizes, or married and single
        ["low", "high", "other"],
        ["1-4", "3-8"],  # they overlap
        ["2007", "2008", "2009"],  # numbers, which have rules of their own
        ["low", "small"],  # the same rank twice
        ["Low", "low"],
        ["9-4", "1-2"],
        ["A11", "A12", "A13"],
        [f"{i}-{i + 1}" for i in range(60)],
    ],
    ids=str,
)
def test_no_order_is_made_up(levels):
    assert ordered_levels(levels) is None


# Texts, the numbers they spell, and the unit
NUMERALS = [
    (["1", "-2", "+3.5", "1e3", ".5"], [1, -2, 3.5, 1000, 0.5], ""),
    (["1,234", "12", "1,000,000"], [1234, 12, 1e6], ""),
    (["1,234.50", "-3.25"], [1234.5, -3.25], ""),
    (["1,5", "2", "1,234"], [1.5, 2, 1.234], ""),
    (["0,123", "0,456"], [0.123, 0.456], ""),
    (["1.234,50", "3,25"], [1234.5, 3.25], ""),
    (["1.234.567", "3"], [1234567, 3], ""),
    (["1 234", "12"], [1234, 12], ""),
    (["1\u202f234,5", "7"], [1234.5, 7], ""),
    (["1'234.5", "7"], [1234.5, 7], ""),
    (["12%", "3.5 %"], None, ""),  # two ways of writing the unit
    (["12%", "3.5%"], [12, 3.5], "%"),
    (["$1,200.50", "-$3.00", "$-4.00"], [1200.5, -3, -4], "$"),
    (["€5", "€6,50"], [5, 6.5], "€"),
    (["5 EUR", "6 EUR"], [5, 6], "EUR"),
    (["$5", "€6"], None, ""),
    (["007", "012"], None, ""),
    (["1_000", "2"], None, ""),
    (["5 apples", "6"], None, ""),
    (["1.2.3", "4"], None, ""),
    (["0x1F", "3"], None, ""),
]


@pytest.mark.parametrize(("texts", "numbers", "unit"), NUMERALS, ids=[str(case[0]) for case in NUMERALS])
def test_text_that_spells_numbers(texts, numbers, unit):
    style = number_format(pl.Series(texts))
    if numbers is None:
        assert style is None
        return
    assert (style.prefix or style.suffix).strip() == unit
    np.testing.assert_array_equal(read_numbers(pl.Series(texts), style), numbers)


@pytest.mark.parametrize("word", ["?", "NA", "n/a", "-", "", "missing", " NA ", "None"])
def test_words_for_missing_among_numbers(word):
    column = infer([word, *(f"{x:.3f}" for x in GAUSS)])
    assert column.type == Real() and column.n_missing == 1 and "stored as text" in column.reason
    assert word not in ("-", "missing", "None") or repr(word) in column.reason


def test_words_for_missing_among_words():
    column = infer(["None", "red", "?", "NA", "unknown", "-", None] * 5)
    assert column.levels == ("None", "red", "unknown") and column.n_missing == 20
    assert infer(["+", "-", "0", None] * 5).levels == ("+", "-", "0")
    assert infer(["red", "xx", "blue", "green"] * 5, missing=["xx"]).n_missing == 5


def test_units_and_grids():
    percent = infer([f"{x}%" for x in RNG.integers(0, 60, N)])
    assert (percent.type, percent.bounds, percent.unit, percent.grid) == (Bounded(), (0, 100), "%", 1)
    assert infer(np.round(GAUSS, 2)).grid == 0.01 and infer(GAUSS).grid == 0
    assert infer(RNG.poisson(40.0, N) * 25).grid == 25 and infer(np.round(GAUSS * 4) / 4 + np.arange(N)).grid == 0.25
    assert infer(np.round(GAUSS, 2).astype(np.float32)).grid == 0.01
    assert infer([dt.date(2020, 1, 1) + dt.timedelta(days=7 * i) for i in range(9)]).grid == 7


def test_point_masses():
    assert infer(np.r_[LOGNORMAL, np.zeros(30)]).point_masses == (0,)
    assert infer(np.r_[LOGNORMAL, 0.0]).point_masses == (0,)  # a density on (0, inf) has no 0, so one is enough
    assert infer(np.minimum(RNG.exponential(size=N), 1.7)).point_masses == (1.7,)  # a censoring limit
    assert infer(np.r_[GAUSS, np.full(60, 0.25)]).point_masses == (0.25,)
    assert infer(np.r_[GAUSS, np.zeros(40), np.ones(40)]).point_masses == (0, 1)
    assert (
        infer(GAUSS).point_masses
        == infer(np.round(GAUSS, 1)).point_masses
        == infer(RNG.poisson(3.0, N)).point_masses
        == ()
    )
    draws = (np.random.default_rng(seed).poisson(rate, N) for seed in range(20) for rate in (3.0, 6.0))
    assert all(infer(each).point_masses == () for each in draws)


def test_heavy_tails():
    assert (
        infer(RNG.standard_t(1.0, 2000)).heavy_tails
        and infer(np.exp(np.clip(RNG.standard_t(1.0, 2000), -300, 300))).heavy_tails
    )
    big = RNG.normal(size=2000)
    assert not (infer(big).heavy_tails or infer(np.exp(2 * big)).heavy_tails or infer(GAUSS[:50] ** 5).heavy_tails)


# Formats of a column of dates, the day its first row means, and what is said
DATES = [
    (["2020-01-31", "2021-02-03"], "2020-01-31", "%Y-%m-%d"),
    (["2020/01/31", "2021/02/03"], "2020-01-31", "%Y/%m/%d"),
    (["31/01/2020", "03/02/2021"], "2020-01-31", "%d/%m/%Y"),
    (["03/02/2021", "31/01/2020"], "2021-02-03", "%d/%m/%Y"),
    (["02/03/2021", "01/31/2020"], "2021-02-03", "%m/%d/%Y"),
    (["2/3/2021", "1/31/2020"], "2021-02-03", "%m/%d/%Y"),
    (["31.01.20", "03.02.21"], "2020-01-31", "%d.%m.%y"),
    (["01/02/2020", "03/04/2020"], "2020-02-01", "day first"),
    (["3-Feb-2021", "31-Jan-2020"], "2021-02-03", "%d-%b-%Y"),
    (["Feb 3, 2021", "Jan 31, 2020"], "2021-02-03", "%b %d, %Y"),
    (["3 February 2021", "31 May 2020"], "2021-02-03", "%d %B %Y"),
    (["20210203", "20200131"], "2021-02-03", "%Y%m%d"),
    (["2021-02-03 04:05", "2020-01-31 23:59"], "2021-02-03 04:05", "%H:%M"),
    (["2021-02-03T04:05:06", "2020-01-31T23:59:00"], "2021-02-03 04:05:06", "T%H:%M:%S"),
    (["2021-02-03T04:05:06Z", "2020-01-31T23:59:00Z"], "2021-02-03 04:05:06", "%SZ"),
    (["2021-02-03T04:05:06+02:00", "2020-01-31T23:59:00-01:00"], "2021-02-03 02:05:06", "%z"),
    (["2/3/2021 4:05 PM", "1/31/2020 11:59 AM"], "2021-02-03 16:05", "%p"),
]


@pytest.mark.parametrize(("texts", "first", "words"), DATES, ids=[case[0][0] for case in DATES])
def test_dates_as_text(texts, first, words):
    table = pl.DataFrame({"a": [*texts, "NA", None]})
    schema = infer_schema(table)
    assert schema["a"].type == Datetime() and words in schema["a"].reason and schema["a"].n_missing == 2
    days = (np.datetime64(first, "s") - np.datetime64("1970-01-01", "s")) / np.timedelta64(1, "D")
    assert schema.codes(table)[0, 0] == pytest.approx(days, abs=1e-9)


CONTAINERS = {
    "polars": lambda x: pl.DataFrame(x),
    "lazy": lambda x: pl.LazyFrame(x),
    "pandas": lambda x: pd.DataFrame(x),
    "pandas objects": lambda x: pd.DataFrame(x, dtype=object),
    "nullable": lambda x: pd.DataFrame(x).convert_dtypes(),
    "pandas on arrow": lambda x: pd.DataFrame(x).convert_dtypes(dtype_backend="pyarrow"),
    "arrow": lambda x: pa.table(x),
    "array": lambda x: np.array(list(x.values()), dtype=object).T,
    "lists": lambda x: [list(row) for row in zip(*x.values(), strict=True)],
}
MIXED = {
    "real": [*GAUSS.tolist(), None],
    "count": [*RNG.poisson(20.0, N).tolist(), None],
    "binary": [*(GAUSS > 0).tolist(), None],
    "categorical": [*RNG.choice(WORDS, N).tolist(), None],
    "ordinal": [*RNG.choice(["low", "mid", "high"], N).tolist(), None],
    "datetime": [*(dt.datetime(2020, 1, 1) + dt.timedelta(hours=i * i) for i in range(N)), None],
}


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS.keys())
def test_every_container_gives_the_same_kinds(make):
    schema = infer_schema(make(MIXED))
    assert [column.type.word for column in schema.columns] == list(MIXED)
    assert [column.n_missing for column in schema.columns] == [1] * len(MIXED)
    assert not any(column.dropped for column in schema.columns)
    assert schema.columns[4].levels == ("low", "mid", "high")


def test_declared_categories_are_honoured():
    levels = ["z", "a", "m", "never seen"]
    ordered = pd.Series(pd.Categorical(["a", "z", None, "m"], categories=levels, ordered=True))
    frame = pd.DataFrame({"o": ordered, "c": ordered.cat.as_unordered(), "i": pd.Categorical([3, 1, None, 7])})
    o, c, i = infer_schema(frame).columns
    assert (o.type, c.type, i.type) == (Ordinal(), Categorical(), Categorical())
    assert o.levels == c.levels == tuple(levels) and i.levels == (1, 3, 7) and o.n_missing == 1
    cut = pd.cut(pd.Series(UNIFORM), 4)
    assert infer_schema(pd.DataFrame({"x": cut}))["x"].levels == tuple(str(x) for x in cut.cat.categories)
    enum = pl.DataFrame({"e": pl.Series(["a", "z", None], dtype=pl.Enum(levels))})
    for table in (enum, enum.to_arrow()):
        assert infer_schema(table)["e"].levels == tuple(levels)
        assert infer_schema(table)["e"].type == Ordinal()
    arrow = pa.table({"d": pa.array(["b", "a", "c", None]).dictionary_encode()})
    assert infer_schema(arrow)["d"].levels == ("a", "b", "c")
    many = pd.Categorical.from_codes(np.arange(2000) % 9, [str(i) for i in range(5000)])
    assert infer_schema(pd.DataFrame({"m": many})).columns[0].dropped


def test_kinds_can_be_said():
    table = pl.DataFrame({"a": [1, 2, 3] * 9, "b": ["x", "1", "2"] * 9, "c": np.arange(27), "d": [0.2, 0.4, 7.0] * 9})
    kinds = {"a": "count", "b": "categorical", "c": "real", "d": "bounded"}
    schema = infer_schema(table, types=kinds)
    assert [column.type.word for column in schema.columns] == list(kinds.values())
    assert not any(column.dropped for column in schema.columns) and schema["d"].bounds == (0, 100)
    assert infer(["b", "c", "a"], types={"a": "ordinal"}).levels == ("a", "b", "c")
    for kinds, words in [
        ({"aa": "count"}, "did you mean 'a'"),
        ({"a": "counts"}, "did you mean 'count'"),
        ({"a": 3}, "choose one"),
        ({"b": "real"}, "row 0 (counting from 0) holds 'x'"),
        ({"a": "binary"}, "it has 3"),
        ({"a": "datetime"}, "are numbers"),
    ]:
        with pytest.raises(DataError) as caught:
            infer_schema(table, types=kinds)
        assert words in str(caught.value)


# Properties

COLUMNS = st.one_of(
    st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=60),
    st.lists(st.none() | st.integers(-3, 9), min_size=1, max_size=90),
    st.lists(st.none() | st.sampled_from(["low", "high", "x", "NA", "-", "1", "2,5", "3%"]), min_size=1, max_size=60),
    st.lists(st.none() | st.booleans(), min_size=1, max_size=9),
    st.lists(st.none() | st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)), min_size=1, max_size=9),
)


@settings(max_examples=60)
@given(COLUMNS, st.randoms(use_true_random=False), st.integers(1, 50))
def test_row_order_and_rows_without_values_change_nothing(cells, random, empty):
    column = infer(cells)
    shuffled = random.sample(cells, len(cells))
    assert infer(shuffled) == column
    more = infer([*([None] * empty), *cells])
    assert more.n_missing == column.n_missing + empty
    assert {**vars(more), "n_missing": 0} == {**vars(column), "n_missing": 0}


# Kinds that a third fewer cells can change, since they stand at a threshold or have few cells to lose.
FRAGILE = {
    "5,000 levels",
    "1,000 levels",
    "rare counts",
    "percentage",
    "correlation",
    "eleven points",
    "angle in steps",
}
STURDY = sorted(name for name, (values, _) in KINDS.items() if len(values) >= N and name not in FRAGILE)


@settings(max_examples=40)
@given(st.sampled_from(STURDY), st.integers(0, 10**6))
def test_missing_cells_change_no_kind_until_little_is_left(name, seed):
    values, kind = KINDS[name]
    gone = np.random.default_rng(seed).random(len(values)) < 0.3
    column = infer([None if lost else value for value, lost in zip(list(values), gone, strict=True)])
    assert column.dropped == (kind == "dropped") and (column.dropped or column.type == kind), column.reason


# Bad input


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ["'a' again", "rename"]),
        (pl.DataFrame({"a": []}), ["0 sample(s)"]),
        (np.ones((2, 0)), ["0 feature(s)"]),
        (np.ones(3), ["two-dimensional"]),
        ([[1, 2], [3]], ["as many cells"]),
        (pl.DataFrame({"a": [1.0, np.inf]}), ["row 1", "'a'", "infinity"]),
        (pl.DataFrame({"a": ["1", "inf"]}), ["row 1", "'a'", "infinity"]),
        (pl.DataFrame({"a": [[1], [2]]}), ["'a'", "List", "leave it out"]),
        (pd.DataFrame({"a": [1, "x"]}), ["'a'", "row 1", "'x', text", "row 0 holds 1, a number"]),
        (pd.DataFrame({"a": [True, dt.date(2020, 1, 1)]}), ["row 1", "a date", "true or false"]),
        (pd.DataFrame({"a": [{}, 1]}), ["row 0", "dict"]),
        (pl.DataFrame({"a": [*GAUSS.astype(str), "about 3"]}), [f"row {N}", "'about 3'", f"{N} of {N + 1} cells"]),
        (
            pl.DataFrame({"w": ["2020-01-31", None, "31/01/2020", "Jan 3, 2020"]}),
            ["'w'", "one format", "row 0", "year-month-day", "row 2", "day/month/year", "row 3", "2020-01-31'"],
        ),
        (pl.DataFrame({"w": ["2020-01-31", "2020-02-30", "2020-03-03"]}), ["row 1", "'2020-02-30'", "correct"]),
        (pl.DataFrame({"w": ["2020-01-31", "2020-01-30", "soon"]}), ["row 2", "'soon'"]),
    ],
    ids=range(15),
)
def test_tables_that_cannot_be_understood(table, words):
    with pytest.raises(DataError) as caught:
        infer_schema(table)
    message = str(caught.value)
    assert all(word in message for word in words) and message.count(". ") <= 1, message


def test_a_wide_table_is_quick():
    wide = pl.DataFrame(RNG.normal(size=(30, 10_000)), schema=[f"g{i}" for i in range(10_000)])
    start = time.process_time()
    schema = infer_schema(wide)
    np.testing.assert_array_equal(schema.codes(wide), wide.to_numpy())
    assert time.process_time() - start < 20 and len(schema.modelled) == 10_000
    assert "and 9,940 more columns" in repr(schema)


# Real tables: where the types of tables/schema.json differ from what is inferred, and why.

MEASURED = "its authors call every measurement real; none is negative"
ZEROS = "called real because of its zeros, which are a point mass of a positive column here"
TWO = "two levels: binary, which schema.json does not have"
LARGE = "whole numbers too large to be told from a rounded measurement"
SCALE = "few whole numbers, evenly spaced, that do not fade out: the levels of a scale"
NAMES = "words or codes in which only an expert sees the order"
THREE = "three whole numbers from 0: nothing in them says that they have an order"
FILLED = "the values fill a natural interval"
SMALL = "small whole numbers, which the values alone do not tell from counts"

DIFFERENT = {
    ("real", "positive", MEASURED): """glass: RI Na Al Si Ca; magic_telescope: fLength fSize fConc1 fDist;
        concrete: cement water coarse_aggregate fine_aggregate compressive_strength; nyc_weather: temp wind_gust;
        wine_quality_red: fixed_acidity volatile_acidity residual_sugar chlorides free_sulfur_dioxide
        total_sulfur_dioxide density pH sulphates alcohol; breast_cancer_wdbc: radius_mean texture_mean perimeter_mean
        area_mean smoothness_mean compactness_mean symmetry_mean fractal_dimension_mean radius_se texture_se
        perimeter_se area_se smoothness_se compactness_se symmetry_se fractal_dimension_se radius_worst texture_worst
        perimeter_worst area_worst smoothness_worst compactness_worst symmetry_worst fractal_dimension_worst;
        airquality: Temp""",
    ("real", "positive", ZEROS): """glass: Mg K Ba Fe; concrete: blast_furnace_slag fly_ash superplasticizer;
        breast_cancer_wdbc: concavity_mean concave_points_mean concavity_se concave_points_se concavity_worst
        concave_points_worst; yeast: vac; magic_telescope: fWidth; diamonds: x y z; nyc_weather: wind_speed precip
        visib""",
    ("real", "bounded", FILLED): """yeast: mcg gvh alm mit nuc; wine_quality_red: citric_acid; magic_telescope: fConc
        fAlpha; nyc_weather: wind_dir""",
    ("positive", "bounded", FILLED): "nyc_weather: humid",
    ("real", "binary", TWO): "yeast: erl",
    ("real", "ordinal", "three numbers, each seen often"): "yeast: pox; pbc: edema",
    ("real", "count", SMALL): "concrete: age",
    ("positive", "count", SMALL): "pima: triceps; airquality: Ozone",
    ("count", "positive", LARGE): """adult: capital_gain capital_loss; german_credit: credit_amount; credit_data:
        Expenses Income Assets Debt Amount Price; pbc: time; nycflights_20k: dep_time sched_dep_time arr_time
        sched_arr_time air_time distance""",
    ("count", "ordinal", SCALE): """german_credit: investment_as_income_percentage residence_since; airquality: Month;
        credit_data: Time; nycflights_20k: month; nyc_weather: month""",
    ("categorical", "ordinal", SCALE): "soybean: date crop_hist area_dam stem_cankers canker_lesion fruit_pods",
    ("categorical", "count", SMALL): "soybean: ext_decay int_discolor roots",
    ("ordinal", "categorical", THREE): "soybean: precip temp germ leaf_size",
    ("ordinal", "categorical", NAMES): "diamonds: color clarity; boys: gen phb; income_marketing: education",
    ("count", "binary", TWO): "german_credit: people_liable_for",
    ("ordinal", "binary", TWO): "soybean: plant_stand",
}


def _different():
    found = {}
    for (theirs, ours, why), where in DIFFERENT.items():
        for table, columns in (entry.split(":") for entry in where.split(";")):
            found |= {(table.strip(), column): (theirs, ours, why) for column in columns.split()}
    return found


TABLES = [
    "iris",
    "wine",
    "breast_cancer_wdbc",
    "glass",
    "yeast",
    "wine_quality_red",
    "concrete",
    "magic_telescope",
    "pima",
    "adult",
    "german_credit",
    "diamonds",
    "penguins",
    "airquality",
    "bfi",
    "boys",
    "credit_data",
    "income_marketing",
    "soybean",
    "house_votes_84",
    "pbc",
    "nycflights_20k",
    "nyc_weather",
]


@pytest.mark.parametrize("name", TABLES)
def test_real_tables(shared_data, name):
    known = json.loads((shared_data / "tables" / "schema.json").read_text())[name]
    path = shared_data / known["file"]
    table = pl.read_csv(path, infer_schema_length=None)
    schema, expected = infer_schema(table, source=name), _different()
    for column in known["columns"]:
        found, theirs = schema[column["name"]], column["type"]
        two = len(column.get("levels", ())) == 2 and theirs == "categorical"
        _, ours, _ = expected.get((name, found.name), (theirs, "binary" if two else theirs, TWO))
        assert expected.get((name, found.name), (theirs,))[0] == theirs
        assert (found.type.word, found.dropped) == (ours, False), f"{found.name}: {found.reason}"
        assert found.n_missing == column["missing"]
        if found.type == Ordinal() and theirs == "ordinal":
            assert [str(level) for level in found.levels] == column["levels"]
    text = infer_schema(pl.read_csv(path, infer_schema=False), source=name)
    assert [c.type for c in text.columns] == [c.type for c in schema.columns]


def test_every_real_table_is_listed(shared_data):
    known = json.loads((shared_data / "tables" / "schema.json").read_text())
    assert sorted(TABLES) == sorted(known)
    assert {name for name, _ in _different()} <= set(TABLES)
    for name in ("shuttle", "breastw", "ionosphere", "pendigits", "dna_splice"):
        x = np.load(shared_data / "tables" / f"{name}.npz")["x"][:3000]
        schema = infer_schema(x, source=name)
        dropped = [column.name for column in schema.columns if column.dropped]
        assert all((x[:, int(column[1:])] == x[0, int(column[1:])]).all() for column in dropped)
        kinds = {column.type for column in schema.modelled}
        assert name != "dna_splice" or kinds == {Binary()}
        assert name != "breastw" or kinds <= {Ordinal(), Count()}
