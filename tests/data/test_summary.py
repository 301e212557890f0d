"""What is known of columns of numbers, and whether new data fit them."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tightbound.data import Aside, DataError, Schema, Table, as_table, coded, make_encoding, summarised


def infer_schema(table):
    """The schema of a block of numbers."""
    return make_encoding(table, "gaussian", False).schema


TABLE = as_table(pd.DataFrame({"a": [1, 2, 4], "b": [0.5, np.nan, 0.5], "c": [np.nan] * 3, "d": [0.3, 0.1, 0.2]}))


def test_columns_are_described():
    facts = summarised(TABLE)
    assert facts.n_missing.tolist() == [0, 1, 3, 0] and facts.low[0] == 1 and facts.high[0] == 4
    assert facts.mean[0] == pytest.approx(7 / 3) and facts.sd[0] == pytest.approx(np.std([1, 2, 4]))
    assert (facts.low[1], facts.sd[1]) == (0.5, 0) and np.isnan(facts.mean[2])
    assert facts.constant.tolist() == [False, True, False, False] and facts.empty.tolist() == [
        False,
        False,
        True,
        False,
    ]
    assert facts.grid == pytest.approx([1, 0, 0, 0.1])
    a, b, c, d = infer_schema(TABLE).columns
    assert (a.storage, a.n_missing, a.grid, a.constant, a.dropped) == ("int64", 0, 1, None, False)
    assert (b.constant, b.n_missing, b.grid, b.dropped) == (0.5, 1, 0, True)
    assert (c.constant, c.n_missing, c.dropped) == (None, 3, True)
    assert d.grid == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("values", "resolution"),
    [
        (np.array([0.1 + 0.2, 0.3, 0.4, 1.0]), 0.1),  # the first two differ by rounding alone
        (np.array([0.1, 0.2, 0.3, 16.7], dtype=np.float32), 0.1),
        (1e9 + np.array([0.0, 0.25, 1.0]), 0.25),
        (np.array([0, 2, 6], dtype=np.uint8), 2),
        (np.array([False, True, True]), 1),
        (np.array([0.0, 1e-11, 1.0]), 1.0),  # below a billionth of the range
        (np.array([-1e308, 1e308, 0.0]), 0.0),
    ],
)
def test_resolution_is_the_grid_a_column_is_recorded_on(values, resolution):
    assert summarised(as_table(values[:, None])).grid == pytest.approx([resolution], rel=1e-5)


@pytest.mark.parametrize("values", [[0.3, 0.1 + 0.2], [1e9, 1e9 * (1 + 2e-16)], [0.0, 5e-324], [7, 7]])
def test_differences_of_rounding_alone_are_constant(values):
    facts = summarised(as_table(np.stack([values, [0, 1]], axis=1)))
    assert facts.constant[0] and facts.grid[0] == 0


@given(arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e3, 1e3)), st.sampled_from([1e-200, 1.0, 1e200]))
def test_mean_and_sd_at_any_size(values, unit):
    values = np.concatenate([values, [1.0, 2.0]])
    facts = summarised(as_table(values[:, None] * unit))
    assert facts.mean[0] / unit == pytest.approx(values.mean(), rel=1e-9, abs=1e-9)
    assert facts.sd[0] / unit == pytest.approx(values.std(), rel=1e-9, abs=1e-9)


def test_a_schema_survives_json():
    for table in (TABLE, as_table(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))):
        schema = infer_schema(table)
        assert Schema.from_json(json.loads(json.dumps(schema.to_json(), allow_nan=False))) == schema


def _damage(path, value):
    data = infer_schema(TABLE).to_json()
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "mapping"),
        ({}, "'columns'"),
        (_damage(["columns"], "all"), "list"),
        (_damage(["columns", 1], 3), "mapping"),
        (_damage(["columns", 1, "constant"], float("inf")), "finite"),
        (_damage(["columns", 1, "n_missing"], True), "whole number"),
        (_damage(["columns", 1, "name"], "a"), "'a' again"),
        (_damage(["shape"], [5]), "shape"),
        (_damage(["shape"], ["4"]), "shape"),
        (_damage(["container"], "spark"), "'spark'"),
        (_damage(["named"], 1), "true or false"),
        (_damage(["aside"], []), "mapping"),
        (_damage(["aside"], {"label": 1, "dropped": []}), "be text"),
        (_damage(["aside"], {"label": None, "dropped": [1]}), "str"),
    ],
)
def test_a_damaged_schema_is_refused(data, words):
    with pytest.raises(DataError, match="schema") as caught:
        Schema.from_json(data)
    assert words in str(caught.value)


def test_what_was_set_aside_is_saved():
    table = as_table(pl.DataFrame({"a": [1, 2], "k": ["u", "v"], "i": [3, 4]}), label="k", drop=["i"])
    schema = Schema.from_json(json.loads(json.dumps(infer_schema(table).to_json())))
    assert schema.aside == Aside("k", ("i",)) and schema == infer_schema(table)


def coded_by(schema, table, expected_by="the model"):
    return coded(table, schema, expected_by=expected_by)


def _named(**columns):
    return as_table(pl.DataFrame(columns), source="new.csv")


def test_columns_are_matched_by_name():
    schema = infer_schema(_named(a=[1, 2], b=[3.5, 4]))
    table = coded_by(schema, _named(b=[5.5], a=[6]))
    assert table.names == ("a", "b") and table.values.tolist() == [[6, 5.5]] and table.dtypes == ("int64", "float64")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": [1], "b": [2]}, ["lacks 'c'", "add"]),
        ({"a": [1], "b": [2], "C": [3]}, ["lacks 'c'", "it has 'C'", "rename"]),
        ({"a": [1], "b": [2], "c": [3], "d": [4], "e": [5]}, ["also has 'd', 'e'", "drop"]),
    ],
)
def test_other_names_are_refused(columns, words):
    schema = infer_schema(_named(a=[1, 2], b=[3, 4], c=[5, 6]))
    with pytest.raises(DataError, match=r"^new\.csv.*VAE") as caught:
        coded_by(schema, _named(**columns), expected_by="VAE")
    assert all(word in str(caught.value) for word in words)


def test_columns_without_names_are_matched_by_position():
    named, unnamed = infer_schema(_named(a=[1, 2], b=[3, 4])), infer_schema(as_table([[1, 2], [3, 4]]))
    assert coded_by(named, as_table([[7, 8]])).names == ("a", "b")
    assert coded_by(unnamed, _named(u=[7], v=[8])).values.tolist() == [[7, 8]]
    for schema in (named, unnamed):
        with pytest.raises(DataError, match="X has 1 features, but VAE is expecting 2 features as input"):
            coded_by(schema, as_table([[1]]), expected_by="VAE")


def test_images_are_matched_by_shape():
    schema = infer_schema(as_table(np.arange(24).reshape(2, 3, 4)))
    assert coded_by(schema, as_table(np.ones((5, 12)))).shape == (3, 4)
    with pytest.raises(DataError, match=r"\(3, 4\).*\(4, 3\).*same size"):
        coded_by(schema, as_table(np.ones((5, 4, 3))))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([[1, 2], [3, np.inf]], ["infinity", "row 1", "'x1'", "missing"]),
        ([[1, 2], [-np.inf, 3]], ["infinity", "row 1", "'x0'"]),
        ([[1.0, 2.0]], ["1 sample", "n_samples = 1", "give more rows"]),
        ([[1, np.nan], [1, np.nan]], ["constant or missing", "vary"]),
        ([[1, 2]] * 3, ["constant or missing"]),
    ],
)
def test_data_that_no_model_can_learn_from(given, words):
    with pytest.raises(DataError, match=r"^My data must") as caught:
        summarised(as_table(given, source="My data"))
    assert all(word in str(caught.value) for word in words)


def test_hand_made_tables_are_looked_at_too():
    with pytest.raises(DataError, match="'a' again"):
        summarised(Table(np.eye(2), ("a", "a"), True, (2,), "numpy", ("float64",) * 2, "X"))
    with pytest.raises(DataError, match=r"0 sample\(s\)"):
        summarised(as_table(np.eye(2)).take([]))
