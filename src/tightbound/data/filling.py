"""A table with its gaps filled in, as a file: what was observed stands there as its author spelled it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from tightbound.data.cells.text import MISSING, NumberFormat, distinct, number_format
from tightbound.data.read.delimited import text_of
from tightbound.data.table import Table
from tightbound.data.write import check_place, write_polars


def filled_text(frame: Any, table: Table, path: str) -> pl.DataFrame:
    """A frame whose gaps were filled in, with the other columns of the file at `path`, and its text where it is text.

    Args:
        frame: the filled table, in any container.
        table: as it was read, with gaps.
        path: the file.
    """
    filled = _as_polars(frame, table.names)
    if path.lower().endswith(".parquet"):
        whole = pl.read_parquet(path)  # with the columns that were set aside
        return whole.with_columns(filled.get_column(name) for name in whole.columns if name in filled.columns)
    if path == "-" or not path.lower().removesuffix(".gz").endswith((".csv", ".tsv")):
        return filled
    text = text_of(Path(path).read_bytes(), os.path.basename(path), path.lower().removesuffix(".gz")[-4:] == ".tsv")
    if text.height != filled.height:
        return filled
    gaps, columns = table.observed, []
    for name in text.columns:
        column = text[name]
        if name in filled.columns:
            # A column that had one value is none of the model's.
            own = name in table.names
            missing = pl.Series(~gaps[:, table.names.index(name)]) if own else column.str.strip_chars().is_in(MISSING)
            column = column.zip_with(~missing, _spelled(filled[name], column.filter(~missing)))
        columns.append(column.alias(name))
    return pl.DataFrame(columns)


def _as_polars(frame: Any, names: Sequence[str]) -> Any:
    if isinstance(frame, np.ndarray):
        return pl.DataFrame({name: frame[:, j] for j, name in enumerate(names)})
    native = nw.from_native(frame)
    return native.to_native() if native.implementation.is_polars() else pl.from_pandas(native.to_native())


def _spelled(column: pl.Series, observed: pl.Series) -> pl.Series:
    """Values as texts: numbers as the observed cells of their column are written."""
    if not column.dtype.is_float():
        return column.cast(pl.String)
    style = number_format(distinct(observed)) or NumberFormat()
    style = replace(style, places=None, pointed=False)
    return pl.Series(
        [None if x is None or x != x else style.spell(_short(x)) for x in column.to_list()], dtype=pl.String
    )


def _short(number: float) -> float:
    """Ten digits, or all those before the point."""
    return float(f"{number:.10g}") if abs(number) < 1e10 else float(round(number))


def write_frame(
    path: str, frames: Sequence[pl.DataFrame], *, numbered: str | None = None, beside: Mapping[str, Any] | None = None
) -> None:
    """Frames one below the other, as a .csv, .tsv or .parquet file, or CSV on standard output.

    Args:
        path: where.
        frames: with the same columns.
        numbered: name of a first column that numbers the frames from 1, or None.
        beside: frames or matrices whose columns stand beside, as name_key.
    """
    check_place(path)
    made = []
    for i, frame in enumerate(frames):
        columns = [pl.Series(numbered, np.full(frame.height, i + 1))] if numbered else []
        columns += frame.get_columns()
        for key, ends in (beside or {}).items():
            matrix = _as_polars(ends, frame.columns)
            columns += [
                matrix[name].fill_nan(None).alias(f"{name}_{key}")
                for name in matrix.columns
                if matrix[name].is_not_nan().any()
            ]
        made.append(pl.DataFrame(columns))
    write_polars(path, pl.concat(made))
