"""From numbers back to the user's columns, in their types."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from tightbound.data.cells.dates import spell_dates
from tightbound.data.cells.frames import frame_from_columns
from tightbound.data.cells.raw import RawColumn, floats
from tightbound.data.cells.text import NumberFormat
from tightbound.data.errors import complain
from tightbound.data.types.column import LEVELLED, TEXTS, Kind, TableColumn
from tightbound.data.types.reading import PER_DAY

INTEGER = ("int", "Int", "uint", "UInt")


def cells(column: TableColumn, codes: np.ndarray, storage: str, source: str = "The matrix") -> pl.Series:
    """Codes as values: levels, moments, durations, texts or numbers; null where NaN."""
    if column.kind in LEVELLED:
        return _levels(column, codes, source)
    series = pl.Series(codes, dtype=pl.Float64).fill_nan(None)
    if column.kind is Kind.DATETIME:
        moments = _ticks(codes, unit_in(storage), "moment")
        if is_text(column, storage):
            return spell_dates(moments, column.format if isinstance(column.format, str) else "%Y-%m-%d")
        return moments
    if is_duration(storage) or storage == "Time":
        return _ticks(codes, "ns" if storage == "Time" else unit_in(storage), "duration")
    if is_text(column, storage):
        style = column.format if isinstance(column.format, NumberFormat) else NumberFormat()
        return pl.Series([None if x is None else style.spell(x) for x in series.to_list()], dtype=pl.String)
    return series


def _levels(column: TableColumn, codes: np.ndarray, source: str) -> pl.Series:
    levels = column.levels or ()
    gone = np.isnan(codes)
    plain = np.where(gone, 0, codes)
    wrong = (plain != np.rint(plain)) | (plain < 0) | (plain >= max(1, len(levels)))
    if wrong.any():
        row = int(wrong.argmax())
        raise complain(
            f"Column {column.name!r} of {source}",
            f"hold level codes, whole numbers from 0 to {len(levels) - 1}",
            f"row {row} (counting from 0) holds {codes[row]:g}",
            "round to the level that is meant",
        )
    if not levels:
        return pl.Series([None] * len(codes), dtype=pl.String)
    values = pl.Series(list(levels), strict=False)
    return values.gather(pl.Series(plain.astype(np.uint32))).set(pl.Series(gone), None)


def is_text(column: TableColumn, storage: str) -> bool:
    """True where the cells are text: by their type, or objects that were read with a format."""
    return storage in TEXTS or (storage.lower() == "object" and column.format is not None)


def is_duration(storage: str) -> bool:
    """True for the types of time spans."""
    return storage.lower().startswith(("duration", "timedelta"))


def unit_in(storage: str) -> str:
    """The unit that a type of moments or durations keeps: "ns", "us" or "ms"."""
    inside = storage.partition("[")[2].split("]")[0].split(",")[0].strip()
    return inside if inside in PER_DAY else "us"


def _ticks(days: np.ndarray, unit: str, what: str) -> pl.Series:
    gone = np.isnan(days)
    whole = np.floor(np.where(gone, 0.0, days))
    part = np.where(gone, 0.0, days) - whole
    rest = np.rint(part * PER_DAY[unit])
    if unit == "ns":  # where a day's number cannot tell two nanoseconds apart, it is rounded to microseconds
        coarse = np.spacing(np.abs(whole)) * PER_DAY[unit] > 0.25
        rest = np.where(coarse, np.rint(part * PER_DAY["us"]) * 1000, rest)
    ticks = whole.astype(np.int64) * PER_DAY[unit] + rest.astype(np.int64)
    typed = pl.Series(ticks).cast(pl.Datetime(unit) if what == "moment" else pl.Duration(unit))  # type: ignore[arg-type]
    return typed.set(pl.Series(gone), None)


def whole_numbers(series: pl.Series, low: int, high: int) -> pl.Series:
    """Numbers rounded and kept within the range of a type, as Int64 or UInt64."""
    if series.dtype.is_integer():
        return series
    plain = np.rint(series.cast(pl.Float64).fill_null(0.0).to_numpy())
    if high > 2**63:
        exact = np.clip(plain, 0.0, 2.0**64 - 2048).astype(np.uint64)
        return pl.Series(np.minimum(exact, high)).set(series.is_null(), None)
    exact = np.clip(np.clip(plain, -(2.0**63), 2.0**63 - 1024).astype(np.int64), low, high)
    return pl.Series(exact).set(series.is_null(), None)


_TYPES = {
    bool: ("Boolean", "bool"),
    int: ("Int64", "int64"),
    float: ("Float64", "float64"),
    str: ("String", "object"),
    "moment": ("Datetime[us]", "datetime64[us]"),
    "duration": ("Duration[us]", "timedelta64[us]"),
}


def storage_in(column: TableColumn, container: str) -> str:
    """The type in which a container keeps the values of a column that came in another one."""
    levels = (column.levels or ()) if column.constant is None else (column.constant,)
    types = {type(level) for level in levels}
    whole = column.storage.startswith(INTEGER)
    what: Any = int if whole else float
    if column.kind in LEVELLED or (types and float not in types):
        what = types.pop() if len(types) == 1 else str
    elif is_text(column, column.storage):
        what = str
    elif column.kind is Kind.DATETIME:
        what = "moment"
    elif is_duration(column.storage) or column.storage == "Time":
        what = "duration"
    return _TYPES[what][0 if container == "polars" else 1]


def as_polars(series: pl.Series, column: TableColumn, storage: str) -> pl.Series:
    """Values in a polars type."""
    series = series.alias(column.name)
    inside = storage.partition("[")[2].rstrip("]").split(", ")
    if storage == "Enum":
        return series.cast(pl.Enum([str(level) for level in column.levels or ()]))
    if storage == "Time":
        return series.to_physical().cast(pl.Time)
    if storage.startswith("Datetime"):
        zone = inside[1] if len(inside) > 1 else None
        return series if zone is None else series.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    if storage.startswith("Duration"):
        return series
    if storage.startswith("Decimal"):
        return series.cast(pl.Decimal(int(inside[0]), int(inside[1])))
    if storage == "Object":
        return pl.Series(column.name, series.to_list(), dtype=pl.Object)
    dtype = getattr(pl, storage)
    if dtype.is_integer():
        limits = np.iinfo("int64" if "128" in storage else storage.lower())
        return whole_numbers(series, int(limits.min), int(limits.max)).cast(dtype).alias(column.name)
    return series.cast(dtype)


def as_array(series: pl.Series, storage: str) -> np.ndarray:
    """Values in a NumPy type; whole numbers become floats, and true and false objects, where a cell is missing."""
    gaps = series.null_count() > 0
    if storage == "object":
        return _objects(series)
    if series.dtype.is_temporal():
        return np.asarray(series.to_numpy()).astype(
            storage if storage[:5] in ("datet", "timed") else series.dtype.to_python()
        )
    if storage.startswith(INTEGER) and not gaps:
        dtype = np.dtype(storage.lower())
        limits = np.iinfo(dtype)
        return np.asarray(whole_numbers(series, int(limits.min), int(limits.max)).to_numpy()).astype(dtype)
    if storage == "bool" and not gaps:
        return np.asarray(series.cast(pl.Boolean).to_numpy())
    if storage in TEXTS or storage in ("object", "bool"):
        return _objects(series)
    dtype = np.dtype(storage) if storage.startswith("float") else np.dtype(np.float64)
    return floats(series).astype(dtype)


def _objects(series: pl.Series) -> np.ndarray:
    array = np.empty(series.len(), dtype=object)
    array[:] = series.to_list()
    return array


def as_pandas(series: pl.Series, column: TableColumn, storage: str) -> Any:
    """Values as a pandas series of a type."""
    if storage.startswith("category"):
        return _pandas_categories(series, column, storage)
    if storage.startswith(("datetime64", "timestamp")):
        return _pandas_moments(series, storage)
    if series.dtype.is_temporal():
        return _pandas(np.asarray(series.to_numpy())).astype(storage)
    nullable = storage[:1].isupper() or storage.endswith("[pyarrow]") or storage == "boolean"
    if storage.lower().startswith("bool"):
        return _pandas(_objects(series.cast(pl.Boolean)) if nullable else as_array(series, "bool")).astype(
            storage if nullable or series.null_count() == 0 else "object"
        )
    if storage in TEXTS:
        return _pandas(_objects(series)).astype(storage)
    if nullable and (storage.startswith(("Int", "UInt", "int", "uint"))):
        name = storage.split("[")[0].lower()
        limits = np.iinfo(name)
        whole = whole_numbers(series, int(limits.min), int(limits.max))
        return _pandas(_objects(whole)).astype(storage)
    if storage in ("object", "str") or storage.startswith("decimal"):
        return _pandas(_objects(series)).astype(storage)
    array = as_array(series, storage if not nullable else "float64")
    return _pandas(array).astype(storage) if nullable or storage.startswith("Sparse") else _pandas(array)


def _pandas(array: np.ndarray) -> Any:
    return frame_from_columns({"x": array}, "pandas", None, True)["x"]


def _pandas_moments(series: pl.Series, storage: str) -> Any:
    moments = _pandas(np.asarray(series.to_numpy()))
    zone = storage.partition(",")[2].split("]")[0].strip()
    if zone and "pyarrow" not in storage:
        moments = moments.dt.tz_localize("UTC").dt.tz_convert(zone)
    return moments.astype(storage)


def _pandas_categories(series: pl.Series, column: TableColumn, storage: str) -> Any:
    inside = storage.partition("[")[2].rstrip("]").split(", ")
    values = _pandas(_objects(series)).astype("category").cat.set_categories(list(column.levels or ()))
    if inside[0] not in ("object", "") and all(not isinstance(x, str) for x in column.levels or ()):
        values = values.cat.rename_categories(values.cat.categories.astype(inside[0]))
    return values.cat.as_ordered() if "ordered" in inside else values


def fill_changed(original: Any, built: Any, changed: np.ndarray, raw: RawColumn) -> Any:
    """A pandas or polars column with the changed cells replaced by those built anew (categories: a list of levels)."""
    if isinstance(original, pl.Series):
        return built.zip_with(pl.Series(changed), original)
    if str(original.dtype) != "category":
        built.index = original.index
        return original.where(~changed, built)
    place = {str(level): i for i, level in enumerate(raw.declared or ())}
    now = [-1 if value is None else place.get(str(value), -1) for value in built]
    codes = np.where(changed, now, original.cat.codes.to_numpy().astype(np.int64))
    return type(original)(type(original.array).from_codes(codes, dtype=original.dtype), index=original.index)
