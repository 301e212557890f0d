"""The user's columns as they came: polars series beside the words that bring their types back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Integral
from typing import Any, cast, final

import narwhals as nw
import numpy as np
import polars as pl

from tightbound.data.cells.objects import series_from_objects
from tightbound.data.errors import DataError, complain
from tightbound.data.names import default_names, require_cells, require_unique

Level = str | int | float | bool
DECIMALS = "object[Decimal]"
"""The type of a pandas column of Python's decimal numbers, which pandas calls object."""


@final
@dataclass(frozen=True, eq=False)
class RawColumn:
    """One column as it came.

    Attributes:
        name: its name.
        series: its cells; null where nothing is. Categories are their values (text or numbers).
        storage: the type in the words of the container.
        declared: categories in the order that the type gives them, or None.
        ordered: True when the type says that their order means something.
    """

    name: str
    series: pl.Series
    storage: str
    declared: tuple[Level, ...] | None = None
    ordered: bool = False

    @property
    def categories(self) -> bool:
        """True for the types of categories, be they listed or not."""
        return self.storage.startswith(("category", "Categorical", "Enum"))


@final
@dataclass(frozen=True, eq=False)
class RawTable:
    """All columns as they came.

    Attributes:
        columns: in order.
        container: "numpy", "pandas", "arrow" or "polars" (what is none of the others).
        named: False when the names were made up.
        native: the frame or array itself.
        source: words for messages.
        integers: names that are whole numbers in the frame.
    """

    columns: tuple[RawColumn, ...]
    container: str
    named: bool
    native: Any
    source: str
    integers: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0].series)


def cell(row: int, name: str) -> str:
    """Words for a cell."""
    return f"row {row} (counting from 0), column {name!r},"


def raw_table(X: Any, source: str = "X") -> RawTable:
    """X as raw columns.

    Args:
        X: polars or pandas data frame, Arrow table, two-dimensional NumPy array, nested lists.
        source: words for messages.

    Raises:
        DataError: for no table, no rows, no columns, two columns of one name, or cells that are no numbers, texts or
            dates.
    """
    frame = None if isinstance(X, np.ndarray | list | tuple) else as_frame(X, source)
    if frame is None:
        return _from_array(X, source)
    require_cells(frame.shape, source)
    native = frame.to_native()
    if frame.implementation.is_pandas():
        names = [str(name) for name in native.columns]
        numbered: list[Any] = list(range(len(names)))
        columns = tuple(_from_pandas(native.iloc[:, j], name, source) for j, name in enumerate(names))
        named = list(native.columns) != numbered
        integers = tuple(str(label) for label in native.columns if named and isinstance(label, Integral))
        return RawTable(columns, "pandas", named, native, source, integers)
    if frame.implementation.is_polars():
        return RawTable(tuple(_from_polars(s, source) for s in native.iter_columns()), "polars", True, native, source)
    if frame.implementation.is_pyarrow():
        return _from_arrow(native, source)
    return raw_table(frame.to_polars(), source)


def as_frame(X: Any, source: str) -> nw.DataFrame[Any] | None:
    """X as a narwhals frame (a lazy one is collected), or None when it is no data frame."""
    _require_flat_unique_columns(X, source)
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        return frame.collect()
    return frame if isinstance(frame, nw.DataFrame) else None


def _require_flat_unique_columns(X: Any, source: str) -> None:
    # pandas allows two columns of one name and stacked headers; narwhals does not, and raises its own error.
    columns = getattr(X, "columns", None) if type(X).__module__.split(".")[0] == "pandas" else None
    if columns is None:
        return
    if columns.nlevels > 1:
        raise complain(
            source,
            "have one row of column names",
            f"its columns have {columns.nlevels} levels",
            "flatten them to one name for each column",
        )
    require_unique([str(name) for name in columns], source)


def _from_array(X: Any, source: str) -> RawTable:
    array = X if isinstance(X, np.ndarray) else _objects_from_lists(X, source)
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(object), None) if np.ma.is_masked(array) else array.data
    if array.ndim != 2 or array.dtype.names is not None:
        kind = "structured" if array.dtype.names is not None else f"{array.ndim}-dimensional"
        raise complain(source, "be a table of rows and columns", f"it is {kind}", "give a two-dimensional array")
    require_cells(array.shape, source)
    names = default_names(array.shape[1])
    columns = tuple(_from_vector(array[:, j], name, source) for j, name in enumerate(names))
    return RawTable(columns, "numpy", False, array, source)


def _objects_from_lists(X: Any, source: str) -> np.ndarray:
    try:
        array = np.asarray(X, dtype=object)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.ndim < 2 and isinstance(X, list | tuple) and any(isinstance(row, list | tuple) for row in X):
        raise complain(source, "have as many cells in each row as in the first", "it has not", "fill gaps with None")
    return array


def _from_vector(vector: np.ndarray, name: str, source: str) -> RawColumn:
    kind, dtype = vector.dtype.kind, vector.dtype
    if kind in "biuf":
        odd = kind == "f" and dtype.itemsize not in (4, 8)
        wide = (np.float32 if dtype.itemsize == 2 else np.float64) if odd else dtype.newbyteorder("=")
        series = pl.Series(name, np.ascontiguousarray(vector, dtype=wide))
        return RawColumn(name, _nan_as_null(series) if kind == "f" else series, dtype.name)
    if kind in "mM":
        return RawColumn(name, _ticks(vector, name), dtype.name)
    if kind in "UO" or dtype.kind == "T":
        series = series_from_objects(vector.tolist(), name, source)
        return RawColumn(name, series, "object" if kind == "O" else "str")
    raise unsupported(name, source, dtype)


def _ticks(vector: np.ndarray, name: str) -> pl.Series:
    unit = np.datetime_data(vector.dtype)[0]
    kept = unit if unit in ("ns", "us", "ms") else "us"
    family = "datetime64" if vector.dtype.kind == "M" else "timedelta64"
    return pl.Series(name, np.ascontiguousarray(vector.astype(f"{family}[{kept}]")))


def unsupported(name: str, source: str, dtype: object) -> DataError:
    """The error for a type that no kind describes."""
    return complain(
        f"Column {name!r} of {source}",
        "hold numbers, texts, dates or categories",
        f"its values are of type {dtype}",
        "convert it, or leave it out",
    )


def _from_polars(series: pl.Series, source: str) -> RawColumn:
    name, dtype = series.name, cast(Any, series.dtype)
    storage = polars_words(dtype)
    if dtype == pl.Enum:
        return RawColumn(name, series.cast(pl.String), storage, tuple(dtype.categories.to_list()), True)
    if dtype == pl.Categorical:
        return RawColumn(name, series.cast(pl.String), storage)
    if dtype == pl.Decimal:
        return RawColumn(name, series.cast(pl.Float64), storage)
    if dtype == pl.Object:
        return RawColumn(name, series_from_objects(series.to_list(), name, source), "Object")
    if dtype.is_float():
        return RawColumn(name, _nan_as_null(series), storage)
    if dtype.is_integer() or dtype.is_temporal() or dtype in (pl.String, pl.Boolean, pl.Null):
        return RawColumn(name, series, storage)
    raise unsupported(name, source, dtype)


def floats(series: pl.Series) -> np.ndarray:
    """Numbers, or true and false, as float64 with NaN for null."""
    wide = series if series.dtype == pl.Float64 else series.cast(pl.Float64)
    return np.asarray(wide.to_numpy())


def _nan_as_null(series: pl.Series) -> pl.Series:
    return series.fill_nan(None) if bool(np.isnan(series.to_numpy()).any()) else series


def polars_words(dtype: pl.DataType) -> str:
    """A polars type in words: "Int64", "Datetime[us, UTC]", "Decimal[10, 2]", "Enum"."""
    parts = [getattr(dtype, part) for part in _INSIDE.get(dtype.base_type(), ())]
    inside = [str(part) for part in parts if part is not None]
    return f"{dtype.base_type()}[{', '.join(inside)}]" if inside else str(dtype.base_type())


_INSIDE: dict[Any, tuple[str, ...]] = {
    pl.Datetime: ("time_unit", "time_zone"),
    pl.Duration: ("time_unit",),
    pl.Decimal: ("precision", "scale"),
}


def _from_arrow(native: Any, source: str) -> RawTable:
    require_unique([str(name) for name in native.column_names], source)
    native = native.unify_dictionaries()
    declared = {}
    for name, column in zip(native.column_names, native.columns, strict=True):
        if getattr(column.type, "ordered", False) and column.num_chunks:
            declared[name] = [str(value) for value in column.chunk(0).dictionary.to_pylist()]
    frame = pl.DataFrame(pl.from_arrow(native))
    frame = frame.with_columns(pl.col(name).cast(pl.String).cast(pl.Enum(levels)) for name, levels in declared.items())
    return replace(raw_table(frame, source), container="arrow", native=native)


def _from_pandas(column: Any, name: str, source: str) -> RawColumn:
    words, kind = str(column.dtype), getattr(column.dtype, "kind", "O")
    if words.startswith("dictionary<"):
        column, words = column.astype("category"), "category"
    if words == "category":
        return _from_categories(column, name)
    gaps = column.isna().to_numpy()
    if words.startswith("Sparse"):
        column, kind = column.sparse.to_dense(), column.dtype.subtype.kind
    if kind in "biuf":
        return RawColumn(name, _pandas_numbers(column, kind, gaps, name), words)
    if kind in "mM" and "period" not in words:
        return RawColumn(name, _pandas_times(column, name), words)
    if words.split("[")[0] in ("object", "str", "string", "large_string", "date32", "decimal128", "time64"):
        cells = [None if gap else value for value, gap in zip(column.tolist(), gaps, strict=True)]
        exact = words == "object" and any(isinstance(value, Decimal) for value in cells)
        return RawColumn(name, series_from_objects(cells, name, source), DECIMALS if exact else words)
    if words == "decimal" or words.startswith("decimal"):
        return RawColumn(name, _pandas_numbers(column.astype("float64"), "f", gaps, name), words)
    raise unsupported(name, source, words)


def _pandas_numbers(column: Any, kind: str, gaps: np.ndarray, name: str) -> pl.Series:
    fill: Mapping[str, Any] = {"b": False, "f": np.nan}
    plain = str(column.dtype).lower().split("[")[0]
    dtype = {"b": "bool", "double": "float64", "float": "float32"}.get(kind if kind == "b" else plain, plain)
    filled: Mapping[str, Any] = {"na_value": fill.get(kind, 0)} if gaps.any() else {}
    values = column.to_numpy(dtype=dtype, **filled)
    values = values.astype("float32") if values.dtype == np.float16 else values
    series = pl.Series(name, np.ascontiguousarray(values))
    return series.set(pl.Series(gaps), None) if gaps.any() else series


def _pandas_times(column: Any, name: str) -> pl.Series:
    zone = getattr(column.dtype, "tz", None)
    if "pyarrow" in str(column.dtype):
        days = column.astype("datetime64[us]" if column.dtype.kind == "M" else "timedelta64[us]")
        return _ticks(days.to_numpy(), name)
    if zone is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    return _ticks(column.to_numpy(), name)


def _from_categories(column: Any, name: str) -> RawColumn:
    levels, dtype = plain_levels(column.cat.categories.tolist()), str(column.cat.categories.dtype)
    codes = column.cat.codes.to_numpy()
    values = pl.Series(name, list(levels), dtype=pl.String if not levels else None)
    cells = values.gather(pl.Series(np.where(codes < 0, 0, codes), dtype=pl.UInt32)) if levels else values
    if not levels:
        cells = pl.Series(name, [None] * len(codes), dtype=pl.String)
    ordered = bool(column.cat.ordered)
    storage = f"category[{dtype}{', ordered' if ordered else ''}]"
    return RawColumn(name, cells.set(pl.Series(codes < 0), None), storage, levels, ordered)


def plain_levels(levels: Sequence[Any]) -> tuple[Level, ...]:
    """Categories as texts or numbers: as they are when all are of one such type, else (intervals, ...) as text."""
    for kind in (bool, int, float, str):
        if all(type(level) is kind for level in levels):
            return tuple(levels)
    if all(type(level) in (int, float) for level in levels):
        return tuple(float(level) for level in levels)
    return tuple(str(level) for level in levels)
