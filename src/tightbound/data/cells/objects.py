"""Cells that are Python objects, as one typed series."""

from __future__ import annotations

import datetime as dt
import numbers
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from tightbound.data.cells.text import is_number
from tightbound.data.errors import CellTypeError, complain, shorten

_TYPES: dict[str, tuple[type, ...]] = {  # a truth is a number too, so it comes first
    "text": (str,),
    "yes/no": (bool, np.bool_),
    "number": (numbers.Real, Decimal),
    "date": (dt.date,),
    "time": (dt.timedelta,),
}
_WORDS = {"text": "text", "number": "a number", "yes/no": "true or false", "date": "a date", "time": "a duration"}


def series_from_objects(cells: Sequence[Any], name: str, source: str) -> pl.Series:
    """The cells as a series of one type; None, NaN, NA and NaT are null.

    Raises:
        DataError: for cells of two types in one column, and for cells that are neither numbers, texts nor dates.
    """
    plain = [None if is_missing(cell) else cell for cell in cells]
    first: dict[str, int] = {}
    for row, value in enumerate(plain):
        if value is not None:
            first.setdefault(_family(value, row, name, source), row)
    if set(first) == {"number", "text"} and all(not isinstance(cell, str) or is_number(cell) for cell in plain):
        return pl.Series(name, [None if cell is None else float(cell) for cell in plain], dtype=pl.Float64)
    if len(first) > 1:
        (one, i), (other, j) = list(first.items())[:2]
        raise complain(
            f"Column {name!r} of {source}",
            "hold values of one type",
            f"row {j} (counting from 0) holds {shorten(plain[j])}, {_WORDS[other]}, where row {i} holds "
            f"{shorten(plain[i])}, {_WORDS[one]}",
            "correct that cell, or make it missing (None), or write the whole column as text",
        )
    family = next(iter(first), "text")
    return _BUILDERS[family](plain, name)


def is_missing(value: Any) -> bool:
    """Whether a Python object stands for a missing cell: None, NaN, NA, NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def _family(value: Any, row: int, name: str, source: str) -> str:
    for family, types in _TYPES.items():
        if isinstance(value, types):
            return family
    raise CellTypeError(
        f"Column {name!r} of {source} must hold numbers, texts or dates, but row {row} (counting from 0) holds the "
        f"{type(value).__name__} {shorten(value)}: convert it, or leave the column out."
    )


def _numbers(cells: Sequence[Any], name: str) -> pl.Series:
    whole = all(value is None or isinstance(value, numbers.Integral) for value in cells)
    if whole and all(value is None or abs(int(value)) < 2**63 for value in cells):
        return pl.Series(name, [None if value is None else int(value) for value in cells], dtype=pl.Int64)
    if whole and all(value is None or 0 <= int(value) < 2**64 for value in cells):
        return pl.Series(name, [None if value is None else int(value) for value in cells], dtype=pl.UInt64)
    if whole and any(value is not None and int(float(value)) != int(value) for value in cells):
        return pl.Series(name, [None if value is None else str(int(value)) for value in cells], dtype=pl.String)
    return pl.Series(name, [None if value is None else float(value) for value in cells], dtype=pl.Float64)


def _dates(cells: Sequence[Any], name: str) -> pl.Series:
    if not any(isinstance(value, dt.datetime) for value in cells):
        return pl.Series(name, cells, dtype=pl.Date)
    whole = [
        dt.datetime(v.year, v.month, v.day) if v is not None and not isinstance(v, dt.datetime) else v for v in cells
    ]
    plain = [None if v is None else _utc(v) for v in whole]
    return pl.Series(name, plain, dtype=pl.Datetime("us"))


def _utc(moment: dt.datetime) -> dt.datetime:
    whole = moment if moment.tzinfo is None else moment.astimezone(dt.UTC)
    return dt.datetime(whole.year, whole.month, whole.day, whole.hour, whole.minute, whole.second, whole.microsecond)


_BUILDERS: dict[str, Callable[[Sequence[Any], str], pl.Series]] = {
    "text": lambda cells, name: pl.Series(name, [None if v is None else str(v) for v in cells], dtype=pl.String),
    "yes/no": lambda cells, name: pl.Series(name, [None if v is None else bool(v) for v in cells], dtype=pl.Boolean),
    "number": _numbers,
    "date": _dates,
    "time": lambda cells, name: pl.Series(name, cells, dtype=pl.Duration("us")),
}
