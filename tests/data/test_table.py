"""What the user holds in memory becomes the same table, whatever it is held in."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tightbound.data import Aside, DataError, as_table

MATRIX = np.array([[1.0, -2.5], [3.0, 4.25], [0.0, 7.0]])


class ArrayOnly:
    """Something that NumPy can read and that is nothing else."""

    def __array__(self, dtype=None, copy=None):
        return MATRIX.astype(dtype or MATRIX.dtype)


SAME = {
    "array": MATRIX,
    "fortran": np.asfortranarray(MATRIX),
    "big endian": MATRIX.astype(">f8"),
    "lists": MATRIX.tolist(),
    "objects": MATRIX.astype(object),
    "text": MATRIX.astype(str),
    "array-like": ArrayOnly(),
    "masked": np.ma.MaskedArray(MATRIX),
    "csr": scipy.sparse.csr_matrix(MATRIX),
    "coo array": scipy.sparse.coo_array(MATRIX),
    "pandas": pd.DataFrame(MATRIX, columns=["a", "b"]),
    "pandas unnamed": pd.DataFrame(MATRIX),
    "pandas text": pd.DataFrame(MATRIX.astype(str), columns=["a", "b"]),
    "pandas objects": pd.DataFrame(MATRIX.astype(object), columns=["a", "b"]),
    "polars": pl.DataFrame(MATRIX, schema=["a", "b"]),
    "polars lazy": pl.LazyFrame(MATRIX, schema=["a", "b"]),
    "arrow": pl.DataFrame(MATRIX, schema=["a", "b"]).to_arrow(),
}


@pytest.mark.parametrize("given", SAME.values(), ids=SAME.keys())
def test_every_container_gives_the_same_numbers(given):
    table = as_table(given)
    np.testing.assert_array_equal(table.values, MATRIX)
    assert table.values.dtype == np.float64 and table.values.dtype.isnative
    assert table.shape == (2,) and table.observed.all()
    assert table.names == (("a", "b") if table.named else ("x0", "x1"))


@pytest.mark.parametrize(
    ("given", "container", "named"),
    [
        (MATRIX, "numpy", False),
        (SAME["pandas"], "pandas", True),
        (SAME["pandas unnamed"], "pandas", False),
        (SAME["polars"], "polars", True),
    ],
)
def test_container_and_names_are_known(given, container, named):
    table = as_table(given)
    assert (table.container, table.named) == (container, named)


HOLES = {
    "nan": np.array([[1.0, np.nan], [2.0, 3.0]]),
    "none": [[1, None], [2, 3]],
    "masked": np.ma.MaskedArray([[1, 9], [2, 3]], mask=[[0, 1], [0, 0]]),
    "pandas nan": pd.DataFrame({"a": [1.0, 2.0], "b": [np.nan, 3.0]}),
    "pandas NA": pd.DataFrame({"a": [1, 2], "b": pd.array([None, 3], dtype="Int64")}),
    "pandas objects": pd.DataFrame({"a": [1, 2], "b": np.array([pd.NA, 3], dtype=object)}),
    "pandas text": pd.DataFrame({"a": [1, 2], "b": [None, "3"]}),
    "polars null": pl.DataFrame({"a": [1, 2], "b": [None, 3]}),
    "polars nan": pl.DataFrame({"a": [1.0, 2.0], "b": [np.nan, 3.0]}),
}


@pytest.mark.parametrize("given", HOLES.values(), ids=HOLES.keys())
def test_missing_cells_are_nan(given):
    table = as_table(given)
    np.testing.assert_array_equal(table.observed, [[True, False], [True, True]])
    np.testing.assert_array_equal(table.values, [[1, np.nan], [2, 3]])


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int8", "int64", "uint64", "bool"])
def test_dtypes_stay(dtype):
    given = np.array([[0, 1], [1, 1]]).astype(dtype)
    for same in (given, pd.DataFrame(given), pl.DataFrame(given)):
        table = as_table(same)
        assert table.values.dtype == dtype and table.dtypes == (dtype, dtype)


def test_columns_of_different_dtypes_meet_in_float64_and_are_remembered():
    table = as_table(pl.DataFrame({"a": [1, None], "b": [True, False], "c": pl.Series([0.5, 1], dtype=pl.Float32)}))
    assert table.values.dtype == np.float64
    assert table.dtypes == ("int64", "bool", "float32")
    assert as_table(np.ones((2, 2), dtype=np.float16)).dtypes == ("float16", "float16")


def test_bool_with_gaps_is_zero_one_and_missing():
    for frame in (
        pd.DataFrame({"a": pd.array([True, None, False], dtype="boolean")}),
        pl.DataFrame({"a": [True, None, False]}),
    ):
        np.testing.assert_array_equal(as_table(frame).values[:, 0], [1, np.nan, 0])


@given(arrays(np.uint8, st.tuples(*[st.integers(1, 4)] * 4)))
def test_images_are_flattened_and_keep_their_shape(images):
    table = as_table(images)
    assert table.shape == images.shape[1:]
    np.testing.assert_array_equal(table.values.reshape(images.shape), images)


def test_label_and_drop_leave_the_rest():
    frame = pd.DataFrame({"a": [1, 2], "kind": ["u", None], "b": [3, 4], "day": pd.to_datetime(["2020", "2021"])})
    for same in (frame, pl.from_pandas(frame)):
        table = as_table(same, label="kind", drop=["day"])
        assert table.names == ("a", "b") and table.labels.tolist() == ["u", ""]
    table = as_table(np.array([[1, 2, 3], [4, 5, 6]]), label=-1, drop=["x0"])
    np.testing.assert_array_equal(table.values, [[2], [5]])
    np.testing.assert_array_equal(table.labels, [3, 6])


FITTED = as_table(pl.DataFrame({"a": [1, 2], "k": ["u", "v"], "b": [3, 4], "i": ["w", "x"]}), label="k", drop=["i"])


def test_what_was_set_aside_is_remembered():
    assert FITTED.aside == Aside("k", ("i",)) and FITTED.names == ("a", "b")
    assert as_table(pl.DataFrame({"a": [1], "b": [2]})).aside == Aside()
    assert as_table(MATRIX, label=1).aside == Aside()  # a number says nothing of another array


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(
    ("columns", "labels"),
    [
        ({"b": [2], "a": [1]}, None),
        ({"k": ["q"], "a": [1], "b": [2]}, ["q"]),
        ({"a": [1], "i": ["?"], "b": [2]}, None),
        ({"a": [1], "i": ["?"], "b": [2], "k": [7]}, [7]),
    ],
)
def test_what_is_known_to_be_set_aside_may_be_there_or_not(frame, columns, labels):
    table = as_table(frame(columns), known=FITTED.aside)
    assert sorted(table.names) == ["a", "b"]
    assert (None if table.labels is None else table.labels.tolist()) == labels


def test_a_label_that_is_asked_for_comes_before_the_known_one():
    table = as_table(pl.DataFrame({"a": [1], "b": [2], "i": [3], "k": [4]}), label="i", known=FITTED.aside)
    assert table.labels.tolist() == [3] and table.names == ("a", "b")
    assert as_table(pl.DataFrame({"a": [1], "b": [2]}), drop=["b"], known=FITTED.aside).names == ("a",)
    with pytest.raises(DataError, match="'k' that was asked for"):
        as_table(pl.DataFrame({"a": [1], "b": [2]}), label="k", known=FITTED.aside)


def test_a_table_without_names_has_no_known_column():
    assert as_table(MATRIX, known=Aside("x0", ("x1",))).n_columns == 2


def test_take_keeps_rows_labels_and_index_together():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "k": [7, 8, 9]}, index=["r", "s", "t"])
    table = as_table(frame, label="k")
    for rows in ([2, 0], np.array([2, 0])):
        part = table.take(rows)
        assert part.values[:, 0].tolist() == [3, 1]
        assert part.labels.tolist() == [9, 7] and list(part.index) == ["t", "r"]
    assert table.take(np.array([False, True, False])).values.tolist() == [[2]]
    assert table.take([]).n_rows == 0


BAD = {
    "scalar": (3.0, ["scalar array", "Reshape your data"]),
    "one dimension": (
        np.ones(3),
        [
            "Expected 2D array, got 1D array instead",
            "Reshape your data either using array.reshape(-1, 1) if your data has a single feature or "
            "array.reshape(1, -1) if it contains a single sample.",
        ],
    ),
    "series": (pd.Series([1.0, 2.0]), ["Expected 2D array, got 1D array instead"]),
    "no rows": (
        np.empty((0, 3)),
        ["Found array with 0 sample(s) (shape=(0, 3)) while a minimum of 1 is required", "give at least one row"],
    ),
    "no columns": (np.empty((2, 0)), ["0 feature(s) (shape=(2, 0)) while a minimum of 1 is required", "give at least"]),
    "frame without rows": (pd.DataFrame({"a": []}), ["0 sample(s) (shape=(0, 1))"]),
    "frame without columns": (pl.DataFrame(), ["0 feature(s)"]),
    "complex": (np.ones((2, 2)) * 1j, ["Complex data not supported", "two columns"]),
    "complex objects": (np.array([[1j, 1]], dtype=object), ["Complex data not supported"]),
    "words": ([[1, "a"], [2, "b"]], ["'x1'", "row 0", "'a'", "drop"]),
    "word objects": (np.array([[1, 2.0], [2, "b"]], dtype=object), ["'x1'", "row 1", "'b'", "label"]),
    "dict": (np.array([[1, {"a": 1}]], dtype=object), ["row 0", "dict"]),
    "ragged": ([[1, 2], [3]], ["different lengths", "NaN"]),
    "dates": (np.array([["2020-01-01"]], dtype="M8[D]"), ["datetime64", "encode"]),
    "structured": (np.zeros(3, dtype=[("a", float)]), ["structured", "data frame"]),
    "duplicate names": (pd.DataFrame(MATRIX, columns=["a", "a"]), ["'a' again", "rename"]),
    "stacked names": (pd.DataFrame(MATRIX, columns=[["a", "a"], ["b", "c"]]), ["2 levels", "flatten"]),
    "frame of words": (pl.DataFrame({"a": [1, 2], "b": ["1", "blue"]}), ["'b'", "row 1", "'blue'", "label"]),
    "lists in cells": (pl.DataFrame({"l": [[1.0], [2.0]]}), ["'l'", "List", "convert", "leave it out"]),
}


@pytest.mark.parametrize(("given", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_gets_one_sentence_with_what_to_do(given, words):
    with pytest.raises(DataError) as caught:
        as_table(given, source="My data")
    message = str(caught.value)
    assert "My data" in message and message.endswith(".") and "\n" not in message
    for word in words:
        assert word in message


def test_a_huge_sparse_table_is_made_dense_by_nobody():
    table = as_table(scipy.sparse.csr_matrix((10**6, 10**5)), source="My data")
    with pytest.raises(DataError, match=r"My data must fit in 2 GiB.*745.1 GiB.*fewer rows.*as counts"):
        table.dense()


def test_a_word_that_comes_again_and_again_among_few_numbers_is_a_level():
    """ "9+" for nine and more; a single one, or one among many numbers, is a slip."""
    few = ["1", "2", "3", "9+"] * 5
    table = as_table(pl.DataFrame({"size": few, "x": range(20)}))
    assert table.coded is not None and table.coded["size"].levels == ("1", "2", "3", "9+")
    for slips in (["1", "2", "3", "4"] * 5 + ["9+"], [str(i) for i in range(30)] + ["9+"] * 5):
        with pytest.raises(DataError, match=r"holds '9\+'"):
            as_table(pl.DataFrame({"size": slips}))


def test_words_among_numbers_are_a_mistake_and_all_such_columns_are_named_at_once():
    given = pl.DataFrame({"a": [1, 2, 3], "b": ["1", "u", "2"], "c": ["3", "v", "4"], "d": ["5", "6", "w"]})
    with pytest.raises(DataError, match=r"'b'.*the same goes for 'c', 'd'\.$"):
        as_table(given)


def test_a_frame_of_several_kinds_is_coded():
    given = pl.DataFrame({"n": [1.5, None, 2.5], "w": ["u", "v", None]})
    table = as_table(given)
    assert table.coded is not None and table.names == ("n", "w") and table.native is not None
    np.testing.assert_array_equal(table.values, [[1.5, 0], [np.nan, 1], [2.5, np.nan]])
    np.testing.assert_array_equal(table.take([2, 0]).values, table.values[[2, 0]])
    assert table.take(np.array([True, False, True])).native.equals(given[[0, 2]])
    assert as_table(pd.DataFrame({"d": pd.to_datetime(["2020-01-01", "2021-01-01"])})).values[0, 0] == 18262


def test_a_given_schema_is_obeyed():
    given = pl.DataFrame({"n": [1.5, None, 2.5], "w": ["u", "v", None]})
    known = as_table(given).coded
    assert as_table(given[:1], schema=known).values.tolist() == [[1.5, 0]]
    new = pl.DataFrame({"n": [3.0], "w": ["x"]})
    with pytest.raises(DataError, match=r"'w'.*'x'.*unseen"):
        as_table(new, schema=known)
    assert np.isnan(as_table(new, schema=known, unseen="missing").values[0, 1])


def test_a_cell_of_another_type_is_also_a_type_error():
    # scikit-learn's contract (check_dtype_object)
    with pytest.raises(TypeError, match=r"argument must be .* string.* number"):
        as_table(np.array([[1, {"a": 1}]], dtype=object))


@pytest.mark.parametrize("unknown", [{"label": "colour"}, {"drop": ["colour"]}])
def test_an_unknown_column_is_refused_with_a_suggestion(unknown):
    with pytest.raises(DataError, match=r"'colour'.*'color'.*did you mean 'color'"):
        as_table(pd.DataFrame({"size": [1], "color": [2]}), **unknown)


def test_images_have_no_label_column():
    with pytest.raises(DataError, match=r"\(2, 2\).*leave out"):
        as_table(np.zeros((3, 2, 2)), label=0)
