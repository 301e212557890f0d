"""Columns put together again as the user's table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import polars as pl

from tightbound.data.cells.raw import RawColumn, RawTable
from tightbound.data.cells.storage import fill_changed, frame_from_columns, stored
from tightbound.data.types.column import Column
from tightbound.data.types.levelled import Categorical


def assemble(
    columns: Sequence[Column],
    matrix: np.ndarray,
    container: str,
    named: bool,
    integers: Collection[str] = (),
    raw: RawTable | None = None,
    given: Sequence[RawColumn | None] = (),
    changed: Mapping[str, np.ndarray] | None = None,
) -> Any:
    """The table that a matrix of codes stands for.

    Args:
        columns: of the schema, the dropped ones included.
        matrix: (n, d) codes of the modelled columns.
        container: "numpy", "pandas", "polars" or "arrow".
        named: whether the names are the user's.
        integers: names that are whole numbers in a pandas frame.
        raw, given, changed: the table that the codes came from, its column for each of the schema's (or None), and
            by name (n,) bool: which cells are not as they were there. The others come from there.
    """
    position = {column.name: j for j, column in enumerate(column for column in columns if not column.dropped)}
    built: dict[str, Any] = {}
    for i, column in enumerate(columns):
        origin = given[i] if given else None
        j = position.get(column.name)
        own, codes = (column, matrix[:, j]) if j is not None else _one_value(column, len(matrix))
        if origin is not None and raw is not None:
            built[column.name] = _with_changes(own, codes, origin, raw, (changed or {}).get(column.name))
        elif codes is not None:
            built[column.name] = _column(own, codes, column.storage, container)
    if container == "numpy":
        return _array(built, columns)
    return _frame(built, container, named, integers, raw)


def _column(column: Column, codes: np.ndarray, storage: str, container: str) -> Any:
    return stored(column.type.cells(column, codes, storage), column.name, column.levels or (), storage, container)


def _one_value(column: Column, n: int) -> tuple[Column, np.ndarray | None]:
    """A dropped column that had one value as what holds it everywhere; no codes for one that had several, or none."""
    constant = column.constant
    if constant is None:
        return column, None
    if isinstance(constant, float) and not column.storage.startswith(("category", "Enum")):
        return column, np.full(n, constant)
    level = int(constant) if isinstance(constant, float) and constant.is_integer() else constant
    return replace(column, type=Categorical(), levels=(level,)), np.zeros(n)


def _with_changes(
    column: Column, codes: np.ndarray | None, origin: RawColumn, raw: RawTable, differs: np.ndarray | None
) -> Any:
    """The original column, with the cells built anew where the codes differ."""
    at = [each.name for each in raw.columns].index(origin.name)
    if raw.container == "numpy":
        original = raw.native[:, at]
        if codes is None or differs is None or not differs.any():
            return original
        new = _column(column, codes, origin.storage, "numpy")
        out = original.astype(np.result_type(original, new)) if original.dtype != object else original.copy()
        out[differs] = new[differs]
        return out
    original = raw.native.iloc[:, at] if raw.container == "pandas" else _as_series(raw, origin)
    if codes is None or differs is None or not differs.any():
        return original
    if origin.series.null_count() == origin.series.len() and origin.storage != column.storage:
        return _in_own_type(column, codes, raw, original)
    if origin.storage.startswith("category"):
        return fill_changed(original, column.type.cells(column, codes, origin.storage).to_list(), differs, origin)
    if origin.storage == "Enum" and column.type.levelled:
        new = column.type.cells(column, codes, "Enum").cast(original.dtype)
    else:
        new = _column(column, codes, origin.storage, raw.container)
    return fill_changed(original, new, differs, origin)


def _in_own_type(column: Column, codes: np.ndarray, raw: RawTable, original: Any) -> Any:
    """A column that came without any value, whose type says nothing, in the type that the schema's has."""
    new = _column(column, codes, column.storage, raw.container)
    if raw.container == "pandas":
        new.index = original.index
    return new


def _array(built: dict[str, Any], columns: Sequence[Column]) -> np.ndarray:
    """One array: of the columns' type when they share it, with objects when text or dates are among them."""
    arrays = list(built.values())
    storages = {column.storage for column in columns if column.name in built}
    dtypes = {array.dtype for array in arrays}
    if storages == {"str"}:
        texts = np.array([["" if cell is None else str(cell) for cell in array] for array in arrays], dtype=str)
        return texts.T
    if all(dtype.kind in "fiub" for dtype in dtypes):
        return np.stack(arrays, axis=1)
    if len(dtypes) == 1 and object not in dtypes:
        return np.stack(arrays, axis=1)
    out = np.empty((len(arrays[0]), len(arrays)), dtype=object)
    for j, array in enumerate(arrays):
        out[:, j] = array
    return out


def _as_series(raw: RawTable, origin: RawColumn) -> pl.Series:
    """The original column, of a polars or an Arrow table."""
    if raw.container == "polars":
        return cast(pl.Series, raw.native[origin.name])
    series = pl.Series(origin.name, raw.native[origin.name])
    return series.cast(pl.Enum(list(map(str, origin.declared or ())))) if origin.storage == "Enum" else series


def _frame(built: dict[str, Any], container: str, named: bool, integers: Collection[str], raw: RawTable | None) -> Any:
    frame = frame_from_columns(built, container, None, named, integers if raw is None else ())
    if container == "arrow" and raw is not None:
        return _in_arrow_types(frame, raw.native)
    if container == "pandas" and raw is not None:
        names = [str(name) for name in raw.native.columns]
        frame = frame[[name for name in names if name in built]] if named else frame
        frame.columns = raw.native.columns
        frame.index = raw.native.index
    return frame


def _in_arrow_types(table: Any, native: Any) -> Any:
    """An Arrow table with the types that its columns had; a column of which no cell has changed is the one that was."""
    for i, name in enumerate(table.column_names):
        before, now = native[name], table[name]
        if now.type != before.type:
            plain = getattr(before.type, "value_type", before.type)
            now = now.cast(plain)
            now = now if plain == before.type else now.dictionary_encode().cast(before.type)
        table = table.set_column(i, native.schema.field(name), before if now.equals(before) else now)
    return table
