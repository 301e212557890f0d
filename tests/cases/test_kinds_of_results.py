"""What comes back is of the kind that came in: container, labels of columns, index of rows, in every task."""

import functools

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from tests.tiny import vae

from tightbound import VAEImputer, load

N = 30
SMALL = {"network": "linear", "validation_fraction": 0, "epochs": 1}


@functools.cache
def columns(mixed):
    """Three columns of numbers, one with gaps and one whole, and one of words where columns are mixed."""
    rng = np.random.default_rng(3)
    found = {"a": rng.normal(size=N).round(2), "b": rng.normal(size=N).round(2), "c": np.arange(N) % 7 * 1.0}
    found["a"][::4] = np.nan
    return {**found, "k": np.array(["u", "v", "w"], dtype=object)[np.arange(N) % 3]} if mixed else found


def integers(found):
    return pd.DataFrame({10 * i: cells for i, cells in enumerate(found.values(), 1)}, index=[f"r{i}" for i in range(N)])


KINDS = {
    "pandas": lambda found: pd.DataFrame(found, index=np.arange(N) * 2 + 5),
    "pandas, integers": integers,
    "pandas, numbered": lambda found: pd.DataFrame(dict(enumerate(found.values()))),
    "polars": lambda found: pl.DataFrame(found, nan_to_null=True),
    "arrow": lambda found: pa.Table.from_pandas(pd.DataFrame(found), preserve_index=False),
    "numpy": lambda found: np.stack(list(found.values()), axis=1, dtype=object if "k" in found else float),
    "lists": lambda found: [list(row) for row in zip(*found.values(), strict=True)],
}
TASKS = {
    "impute": lambda own, X: own.impute(X, n_samples=20).values,
    "impute, means": lambda own, X: own.impute(X, point="mean", n_samples=20).values,
    "draws": lambda own, X: own.impute(X, 2, n_samples=20).draws[1],
    "lower": lambda own, X: own.impute(X, interval=0.9, n_samples=20).lower,
    "upper": lambda own, X: own.impute(X, interval=0.9, n_samples=20).upper,
    "reconstruct": lambda own, X: own.reconstruct(X),
}
OF_THE_FIT = {
    "sample": lambda own, X: own.sample(4, 0),
    "sample given": lambda own, X: own.sample(4, 0, given={own.fitted_.encoding.modelled_names[1]: 0.5}),
    "inverse_transform": lambda own, X: own.inverse_transform(own.transform(X)),
}


@functools.cache
def fitted(kind, mixed):
    return vae(**SMALL).fit(KINDS[kind](columns(mixed)))


def labels_of(X):
    return list(X.columns) if isinstance(X, pd.DataFrame | pl.DataFrame) else getattr(X, "column_names", None)


def is_alike(found, X, rows):
    """Container and labels; of rows that are those of X, the index too."""
    X = np.asarray(X) if isinstance(X, list) else X
    assert type(found) is type(X) and found.shape == (rows, X.shape[1])
    assert labels_of(found) == labels_of(X)
    if isinstance(X, pd.DataFrame):
        assert [type(label) for label in found.columns] == [type(label) for label in X.columns]
        assert rows != len(X) or found.index.equals(X.index)


OWN = [(kind, mixed) for kind in KINDS for mixed in (False, True) if not (mixed and kind in ("numpy", "lists"))]


@pytest.mark.parametrize(("kind", "mixed"), OWN)
def test_of_the_kind_that_was_fitted(kind, mixed):
    own, X = fitted(kind, mixed), KINDS[kind](columns(mixed))
    for task in TASKS.values():
        is_alike(task(own, X), X, N)
    for task in OF_THE_FIT.values():
        found = task(own, X)
        assert type(found) is (np.ndarray if kind == "lists" else type(X)) and labels_of(found) == labels_of(X)


OTHERS = [
    *[("polars", kind, mixed) for kind in ("pandas", "arrow") for mixed in (False, True)],
    *[("pandas", kind, mixed) for kind in ("polars", "arrow", "numpy") for mixed in (False, True)],
    *[("numpy", kind, False) for kind in ("pandas", "pandas, integers", "polars")],
]


@pytest.mark.parametrize(("fit", "kind", "mixed"), OTHERS)
def test_of_the_kind_of_new_rows_whatever_was_fitted(fit, kind, mixed):
    own, X = fitted(fit, mixed), KINDS[kind](columns(mixed))
    for task in TASKS.values():
        is_alike(task(own, X), X, N)


@pytest.mark.parametrize("mixed", [False, True])
def test_filled_cells_fill_gaps_by_label(mixed, tmp_path):
    X = integers(columns(mixed))
    own = fitted("pandas, integers", mixed)
    own.save(tmp_path / "m")
    for each in (own, load(tmp_path / "m")):
        whole = X.fillna(each.impute(X, n_samples=20).values)
        assert not whole.isna().any(axis=None)
        assert pd.concat([X, each.sample(3, 0)]).shape == (N + 3, X.shape[1])
    assert VAEImputer(vae(**SMALL), n_samples=20).fit_transform(X).columns.equals(X.columns)


def test_columns_of_an_arrow_table_keep_their_types():
    words = pa.array(["u", "v", None] * 10).dictionary_encode()
    X = pa.table({"k": words, "n": pa.array([1, 2, None, 4, 5, 3] * 5, pa.int16()), "x": np.linspace(0, 1, 30)})
    filled = vae(**SMALL).fit(X).impute(X, n_samples=20).values
    assert filled.schema.types == X.schema.types and filled.column("x").equals(X.column("x"))
    assert [column.null_count for column in filled.columns] == [0, 0, 0]
    observed = np.array([value is not None for value in X.column("n").to_pylist()])
    assert np.array(filled.column("n").to_pylist())[observed].tolist() == X.column("n").drop_null().to_pylist()


@pytest.mark.parametrize("shape", [(3, 4), (2, 2, 3)])
def test_images_come_back_as_images(shape):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, *shape))
    gaps = rng.random(X.shape) < 0.2
    X[gaps] = np.nan
    own = vae(**SMALL, likelihood="gaussian").fit(X)
    found = own.impute(X, 2, interval=0.9, n_samples=20)
    for each in (found.values, found.lower, found.upper, *found.draws, own.impute(X, point="mean").values):
        assert each.shape == X.shape
    np.testing.assert_array_equal(found.values[~gaps], X[~gaps])
    assert np.isfinite(found.values).all() and (found.lower <= found.upper)[gaps].all()
    assert np.isnan(found.lower[~gaps]).all()
    assert own.reconstruct(X).shape == X.shape and own.sample(3, 0).shape == (3, *shape)
