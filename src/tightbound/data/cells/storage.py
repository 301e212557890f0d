"""Values in the types of the user's container: what brings a column back as it came."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import narwhals as nw
import numpy as np
import polars as pl

from tightbound.data.cells.raw import DECIMALS, Level, RawColumn, floats
from tightbound.data.errors import complain

PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
TEXTS = ("String", "str", "string", "large_string[pyarrow]", "string[pyarrow]")
INTEGER = ("int", "Int", "uint", "UInt")
Unit = Literal["ns", "us", "ms"]


def is_text(storage: str, style: object = None) -> bool:
    """True where the cells are text: by their type, or objects that were read with a format (`style`)."""
    return storage in TEXTS or (storage.lower() == "object" and style is not None)


def is_duration(storage: str) -> bool:
    """True for the types of time spans and of times of day."""
    return storage.lower().startswith(("duration", "timedelta")) or storage == "Time"


def unit_in(storage: str) -> Unit:
    """The unit that a type of moments or durations keeps: "ns", "us" or "ms"."""
    if storage == "Time":
        return "ns"
    inside: Any = storage.partition("[")[2].split("]")[0].split(",")[0].strip()
    return inside if inside in PER_DAY else "us"


def ticks(days: np.ndarray, unit: Unit) -> pl.Series:
    """Days as whole units, null where NaN."""
    gone = np.isnan(days)
    whole = np.floor(np.where(gone, 0.0, days))
    part = np.where(gone, 0.0, days) - whole
    rest = np.rint(part * PER_DAY[unit])
    if unit == "ns":  # where a day's number cannot tell two nanoseconds apart, it is rounded to microseconds
        coarse = np.spacing(np.abs(whole)) * PER_DAY[unit] > 0.25
        rest = np.where(coarse, np.rint(part * PER_DAY["us"]) * 1000, rest)
    return pl.Series(whole.astype(np.int64) * PER_DAY[unit] + rest.astype(np.int64)).set(pl.Series(gone), None)


_TYPES: dict[Any, tuple[str, str]] = {
    bool: ("Boolean", "bool"),
    int: ("Int64", "int64"),
    float: ("Float64", "float64"),
    str: ("String", "object"),
    "moment": ("Datetime[us]", "datetime64[us]"),
    "duration": ("Duration[us]", "timedelta64[us]"),
}


POLARS = ("polars", "arrow")
"""Containers whose columns are held as those of polars."""


def storage_for(what: Any, container: str) -> str:
    """The type in which a container keeps bool, int, float, str, "moment" or "duration"."""
    return _TYPES[what][0 if container in POLARS else 1]


def stored(series: pl.Series, name: str, levels: Sequence[Level], storage: str, container: str) -> Any:
    """Values in a type of a container ("numpy", "pandas", "polars" or "arrow").

    Args:
        series: the values.
        name: of the column.
        levels: for types that list them.
        storage: the type, in the container's words.
        container: whose.
    """
    if container in POLARS:
        return _as_polars(series.alias(name), levels, storage)
    return _as_pandas(series, levels, storage) if container == "pandas" else _as_array(series, storage)


def _whole_numbers(series: pl.Series, dtype: str) -> pl.Series:
    """Numbers rounded and kept within the range of an integer type, as Int64 or UInt64."""
    if series.dtype.is_integer():
        return series
    if series.dtype == pl.String:  # levels that float64 does not hold
        return series.cast(pl.UInt64 if dtype == "uint64" else pl.Int64)
    limits = np.iinfo(dtype)
    plain = np.rint(series.cast(pl.Float64).fill_null(0.0).to_numpy())
    if limits.max > 2**63:
        exact = np.clip(plain, 0.0, 2.0**64 - 2048).astype(np.uint64)
        return pl.Series(np.minimum(exact, limits.max)).set(series.is_null(), None)
    exact = np.clip(np.clip(plain, -(2.0**63), 2.0**63 - 1024).astype(np.int64), limits.min, limits.max)
    return pl.Series(exact).set(series.is_null(), None)


def _as_polars(series: pl.Series, levels: Sequence[Level], storage: str) -> pl.Series:
    inside = storage.partition("[")[2].rstrip("]").split(", ")
    if storage == "Enum":
        return series.cast(pl.Enum([str(level) for level in levels]))
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
        return pl.Series(series.name, series.to_list(), dtype=pl.Object)
    dtype = getattr(pl, storage)
    if dtype.is_integer() and series.dtype != pl.String:
        return _whole_numbers(series, "int64" if "128" in storage else storage.lower()).cast(dtype).alias(series.name)
    return series.cast(dtype)


def _as_array(series: pl.Series, storage: str) -> np.ndarray:
    # Whole numbers become floats, and true and false objects, where a cell is missing.
    gaps = series.null_count() > 0
    if storage == "object":
        return _objects(series)
    if series.dtype.is_temporal():
        return np.asarray(series.to_numpy()).astype(
            storage if storage[:5] in ("datet", "timed") else series.dtype.to_python()
        )
    if storage.startswith(INTEGER) and not gaps:
        return np.asarray(_whole_numbers(series, storage.lower()).to_numpy()).astype(storage.lower())
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


def _as_pandas(series: pl.Series, levels: Sequence[Level], storage: str) -> Any:
    if storage.startswith("category"):
        return _pandas_categories(series, levels, storage)
    if storage == DECIMALS:
        return _pandas(_objects(pl.Series([None if x is None else Decimal(repr(x)) for x in series], dtype=pl.Object)))
    if storage.startswith(("datetime64", "timestamp")):
        return _pandas_moments(series, storage)
    if series.dtype.is_temporal():
        return _pandas(np.asarray(series.to_numpy())).astype(storage)
    if storage.lower().startswith(("int", "uint")):
        series = _whole_numbers(series, storage.split("[")[0].lower())
    if storage.lower().startswith("bool"):
        series = series.cast(pl.Boolean)
    if storage.startswith("Sparse"):
        return _pandas(_as_array(series, "float64")).astype(storage)
    nullable = storage[:1].isupper() or storage.endswith("[pyarrow]") or storage == "boolean"
    if nullable or storage in TEXTS or storage.startswith(("object", "decimal")):
        return _pandas(_objects(series)).astype(storage)
    return _pandas(_as_array(series, storage))


def _pandas(array: np.ndarray) -> Any:
    return frame_from_columns({"x": array}, "pandas", None, True)["x"]


def _pandas_moments(series: pl.Series, storage: str) -> Any:
    moments = _pandas(np.asarray(series.to_numpy()))
    zone = storage.partition(",")[2].split("]")[0].strip()
    if zone and "pyarrow" not in storage:
        moments = moments.dt.tz_localize("UTC").dt.tz_convert(zone)
    return moments.astype(storage)


def _pandas_categories(series: pl.Series, levels: Sequence[Level], storage: str) -> Any:
    inside = storage.partition("[")[2].rstrip("]").split(", ")
    values = _pandas(_objects(series)).astype("category").cat.set_categories(list(levels))
    if inside[0] not in ("object", "") and all(not isinstance(x, str) for x in levels):
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


def frame_from_columns(
    columns: Mapping[str, Any],
    container: str,
    index: Any | None = None,
    named: bool = True,
    integers: Collection[str] = (),
) -> Any:
    """A pandas, polars or Arrow table of named columns.

    Args:
        columns: by name.
        container: "pandas", "polars" or "arrow".
        index: of a pandas frame.
        named: False numbers the columns of a pandas frame.
        integers: the names that are whole numbers in a pandas frame.
    """
    if container in POLARS:
        frame = pl.DataFrame([pl.Series(name, column) for name, column in columns.items()])
        return frame if container == "polars" else frame.to_arrow()
    try:
        import pandas as pd
    except ImportError:
        raise complain(
            "The result", "be given as a pandas data frame", "pandas is not installed", 'install it, or ask for "numpy"'
        ) from None
    frame = pd.DataFrame(dict(columns), index=index)
    if not named:
        frame.columns = pd.RangeIndex(len(columns))
    elif integers:
        frame.columns = pd.Index([int(name) if name in integers else name for name in columns])
    return frame


def relabelled(frame: Any, labels: Sequence[Any]) -> Any:
    """A frame with these labels for its columns."""
    if isinstance(frame, pl.DataFrame):
        return frame.rename(dict(zip(frame.columns, labels, strict=True)))
    if hasattr(frame, "rename_columns"):  # an Arrow table
        return frame.rename_columns([str(label) for label in labels])
    frame.columns = labels
    return frame


def with_numbers(frame: Any, cells: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Any:
    """A frame with other numbers in some cells of its columns of numbers, which become float64.

    Args:
        frame: pandas, polars or Arrow.
        cells: by the column's name (n,) which cells, and (n,) what stands there.
    """
    found = nw.from_native(frame)
    columns = {str(label): label for label in found.columns}
    for name, (at, numbers) in cells.items():
        column = found[columns[name]]
        if not (column.dtype.is_numeric() or isinstance(column.dtype, nw.Boolean)):
            continue
        values = np.where(at, numbers, column.cast(nw.Float64).to_numpy())
        if found.implementation.is_pandas():  # whose columns may have labels that are no text
            found = nw.from_native(found.to_native().copy())
            found.to_native()[columns[name]] = values
        else:
            found = found.with_columns(nw.new_series(name, values, nw.Float64, backend=found.implementation))
    return found.to_native()
