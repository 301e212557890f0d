"""Tables of mostly zeros: dense a few rows at a time, read as counts, as codes, and from files."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tightbound.data import (
    DataError,
    Preprocessing,
    SparseMatrix,
    as_table,
    coded,
    counted,
    make_columns_encoding,
    read_table,
)
from tightbound.data.types import Binary, Count

RNG = np.random.default_rng(3)
DENSE = RNG.poisson(0.4, (30, 6)).astype(float)
MATRIX = SparseMatrix(sp.coo_array(DENSE), "counts")


@pytest.mark.parametrize(
    "key",
    [3, -1, slice(4, 9), np.array([5, 0, 5]), DENSE[:, 0] > 0, (slice(None), 2), (slice(2, 4), [1, 3]), (7, 1)],
    ids=range(8),
)
def test_parts_are_those_of_the_dense_array(key: object) -> None:
    np.testing.assert_array_equal(MATRIX[key], DENSE[key])


def test_what_an_array_knows_a_sparse_one_knows() -> None:
    assert (MATRIX.shape, MATRIX.size, len(MATRIX), MATRIX.ndim) == ((30, 6), 180, 30, 2)
    np.testing.assert_array_equal(np.asarray(MATRIX), DENSE)
    assert np.asarray(MATRIX, np.float32).dtype == np.float32
    assert np.sort(MATRIX.stored).tolist() == np.sort(DENSE[DENSE != 0]).tolist()
    np.testing.assert_array_equal(np.asarray(MATRIX.take(np.array([2, 1]))), DENSE[[2, 1]])
    np.testing.assert_array_equal(np.asarray(MATRIX.without([0, 4])), DENSE[:, [1, 2, 3, 5]])
    new = RNG.normal(size=30)
    changed = DENSE.copy()
    changed[:, 3] = new
    np.testing.assert_array_equal(np.asarray(MATRIX.with_columns({3: new})), changed)
    twice = sp.coo_array((np.ones(2), ([0, 0], [1, 1])), shape=(1, 2))
    assert np.asarray(SparseMatrix(twice)).tolist() == [[0.0, 2.0]]


def test_what_is_no_count_is_found() -> None:
    assert MATRIX.are_counts() and MATRIX.first_no_count() is None
    for bad in (-1.0, 0.5, np.nan):
        wrong = DENSE.copy()
        wrong[4, 2] = bad
        assert SparseMatrix(sp.csr_array(wrong)).first_no_count() == (4, 2)
        assert SparseMatrix(sp.csr_array(wrong)).are_counts((2,))


def test_a_table_stays_sparse_where_its_rows_are_taken() -> None:
    table = as_table(sp.csr_array(DENSE))
    assert table.sparse and (table.n_rows, table.n_columns) == DENSE.shape
    assert table.take([3, 1]).sparse
    np.testing.assert_array_equal(table.take([3, 1]).dense().values, DENSE[[3, 1]])
    assert table.observed.all() and table.observed.shape == DENSE.shape
    labelled = as_table(sp.csr_array(DENSE), label=2, drop=[5])
    np.testing.assert_array_equal(labelled.labels, DENSE[:, 2])
    np.testing.assert_array_equal(labelled.dense().values, DENSE[:, [0, 1, 3, 4]])


def test_counts_are_what_the_model_sees_and_given_columns_are_codes() -> None:
    """A batch of 10 and 20 in one of the columns: code 0 is a cell that is not stored."""
    batch = np.where(RNG.random(30) < 0.5, 10.0, 20.0)
    table = counted(as_table(sp.csr_array(np.column_stack([DENSE, batch]))), [6])
    assert table.coded is not None and table.sparse
    assert [column.type for column in table.coded.columns] == [Count()] * 6 + [Binary()]
    assert table.coded.columns[6].levels == (10, 20)
    encoding = make_columns_encoding(table, table.coded, Preprocessing(condition=("x6",), exposure="total"))
    rows = encoding.encode(table)
    assert isinstance(rows.x, SparseMatrix) and rows.observed is None and not rows.log_jacobian.any()
    np.testing.assert_array_equal(np.asarray(rows.x), np.column_stack([DENSE, batch == 20]).astype(np.float32))
    again = encoding.encode(as_table(np.column_stack([DENSE, batch])))
    np.testing.assert_array_equal(again.x, np.asarray(rows.x))
    assert encoding.given_names == ("x6",) and encoding.discrete
    np.testing.assert_array_equal(coded(table, table.coded).values.csr.toarray(), table.values.csr.toarray())


def test_bad_counts_are_named() -> None:
    wrong = DENSE.copy()
    wrong[4, 2] = 0.5
    with pytest.raises(DataError, match=r"hold counts.*row 4 \(counting from 0\), column 'x2' holds 0.5"):
        counted(as_table(sp.csr_array(wrong)))
    wrong[4, 2] = np.nan
    with pytest.raises(DataError, match="have no gaps where they are read as one table of counts"):
        counted(as_table(wrong))


@pytest.mark.parametrize("maker", [sp.csr_array, sp.csc_array])
def test_what_scipy_saves_is_read(maker: type, tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "counts.npz", maker(DENSE))
    table = read_table(tmp_path / "counts.npz")
    assert table.sparse
    np.testing.assert_array_equal(np.asarray(table.values), DENSE)


def test_a_damaged_sparse_file_is_explained(tmp_path: Path) -> None:
    m = sp.csr_array(DENSE)
    parts = {"data": m.data, "indices": m.indices + 3, "indptr": m.indptr, "shape": m.shape, "format": b"csr"}
    np.savez(tmp_path / "bad.npz", **parts)
    with pytest.raises(DataError, match="be a whole sparse matrix"):
        read_table(tmp_path / "bad.npz")
    np.savez(tmp_path / "odd.npz", **{**parts, "format": b"bsr"})
    with pytest.raises(DataError, match="be a whole sparse matrix"):
        read_table(tmp_path / "odd.npz")


def test_arrays_beside_are_joined(tmp_path: Path) -> None:
    total = np.arange(30) + 5
    place = tmp_path / "cells.npz"
    np.savez(place, counts=DENSE, total=total, words=np.array(["a"] * 30), short=total[:4])
    table = read_table(place, array="counts", beside=("total", "nowhere"))
    assert table.names[-1] == "total" and not table.named
    np.testing.assert_array_equal(table.values, np.column_stack([DENSE, total]))
    for name in ("words", "short"):
        with pytest.raises(DataError, match="hold one number for each of its 30 rows"):
            read_table(place, array="counts", beside=(name,))
