"""From raw columns to numbers: one float64 for each cell of a column that is modelled."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import polars as pl

from tightbound.data.cells.dates import FORMATS, date_format, read_dates
from tightbound.data.cells.raw import RawColumn, cell, floats
from tightbound.data.cells.text import NumberFormat, read_numbers
from tightbound.data.errors import DataError, complain, listing, shorten, suggestion
from tightbound.data.types.column import LEVELLED, Kind, TableColumn
from tightbound.data.types.reading import days_from_ticks, require_finite_cells, without_missing

Unseen = Literal["error", "missing"]


def column_codes(
    column: TableColumn, raw: RawColumn, *, missing: tuple[str, ...], unseen: Unseen, source: str
) -> np.ndarray:
    """(n,) float64: numbers as they are, level codes, days since 1970-01-01; NaN where missing.

    Raises:
        DataError: for cells that the column cannot hold, with row and column.
    """
    if column.kind in LEVELLED:
        return _level_codes(column, raw, missing, unseen, source)
    numbers = _numbers(column, raw, missing, source)
    require_finite_cells(numbers, column.name, source)
    _require_support(column, numbers, source)
    return numbers


def _numbers(column: TableColumn, raw: RawColumn, missing: tuple[str, ...], source: str) -> np.ndarray:
    series = raw.series
    if series.dtype == pl.Null:
        return np.full(series.len(), np.nan)
    if series.dtype == pl.String:
        return _numbers_from_text(column, series, missing, source)
    dates = series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime)
    if dates is not (column.kind is Kind.DATETIME) and series.null_count() < series.len():
        row = int(series.is_not_null().arg_max() or 0)
        must = "hold dates" if column.kind is Kind.DATETIME else "hold numbers"
        raise _bad_cell(source, column, row, f"{must}, since it is {column.kind.value}", str(series[row]))
    if series.dtype.is_temporal():
        return days_from_ticks(series)
    return floats(series)


def _numbers_from_text(column: TableColumn, series: pl.Series, missing: tuple[str, ...], source: str) -> np.ndarray:
    text = without_missing(series, missing, doubtful=True).str.strip_chars()
    if column.kind is Kind.DATETIME:
        style = column.format if isinstance(column.format, str) else _found_format(text)
        numbers = days_from_ticks(read_dates(text, style))
        must = f"hold dates written as {FORMATS.get(style, style)}"
    else:
        numbers = read_numbers(text, column.format if isinstance(column.format, NumberFormat) else NumberFormat())
        must = f"hold numbers, since it is {column.kind.value}"
    wrong = np.isnan(numbers) & text.is_not_null().to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise _bad_cell(source, column, row, must, shorten(series[row]))
    return numbers


def _found_format(text: pl.Series) -> str:
    texts = text.drop_nulls().unique().sort()
    found = date_format(texts) if texts.len() else None
    return found[0] if found else "%Y-%m-%d"


def _bad_cell(source: str, column: TableColumn, row: int, must: str, came: str) -> DataError:
    return complain(
        f"Column {column.name!r} of {source}",
        must,
        f"row {row} (counting from 0) holds {came}",
        "correct that cell, make it missing, or change the column's kind in the schema",
    )


def _require_support(column: TableColumn, numbers: np.ndarray, source: str) -> None:
    """Refuses counts that are none; warns of numbers beyond a column's ends."""
    with np.errstate(invalid="ignore"):
        outside, must = _outside(column, numbers)
    if outside is not None and outside.any():
        row = int(outside.argmax())
        if column.kind is Kind.COUNT:
            raise _bad_cell(source, column, row, must, f"{numbers[row]:.15g}")
        # Where a column ends was read off other rows: to go beyond is unlikely, not impossible.
        warnings.warn(
            f"Column {column.name!r} of {source} should {must}, as the fitted rows do, but {int(outside.sum())} of its "
            f"cells do not: row {row} (counting from 0) holds {numbers[row]:.15g}. Such rows count as unlikely.",
            UserWarning,
            stacklevel=2,
        )


def _outside(column: TableColumn, numbers: np.ndarray) -> tuple[np.ndarray | None, str]:
    if column.kind is Kind.COUNT:
        return (numbers < 0) | (numbers != np.rint(numbers)) & ~np.isnan(numbers), "hold counts (0, 1, 2, ...)"
    if column.kind is Kind.POSITIVE:
        spiked = np.isin(numbers, column.spikes)
        words = "hold numbers above 0" + (" or 0 itself" if 0.0 in column.spikes else "")
        return (numbers <= 0) & ~spiked, words
    if column.kind is Kind.BOUNDED and column.bounds is not None:
        low, high = column.bounds
        return (numbers < low) | (numbers > high), f"hold numbers from {low:g} to {high:g}"
    return None, ""


def _level_codes(
    column: TableColumn, raw: RawColumn, missing: tuple[str, ...], unseen: Unseen, source: str
) -> np.ndarray:
    levels, series = column.levels or (), raw.series
    codes = _matched(column, series)
    gone = series.is_null()
    if series.dtype == pl.String and raw.declared is None:
        gone = without_missing(series, missing, doubtful=True).is_null()
    unknown = np.isnan(codes) & ~gone.to_numpy()
    if unseen == "error" and unknown.any():
        row = int(unknown.argmax())
        value = series[row]
        close = suggestion(str(value), [str(level) for level in levels])
        raise complain(
            source,
            f"hold levels that column {column.name!r} had when it was fitted, {listing(levels)}",
            f"{cell(row, column.name)} holds {shorten(value)}{close}",
            "correct it, make it missing, or ask for unseen levels to be missing (unseen='missing')",
        )
    return codes


def _matched(column: TableColumn, series: pl.Series) -> np.ndarray:
    """Codes of the cells that are levels: words with words, numbers with numbers."""
    levels = column.levels or ()
    words = all(isinstance(level, str) for level in levels)
    if series.dtype == pl.Null or not levels:
        return np.full(series.len(), np.nan)
    if words and series.dtype == pl.String:
        exact = _looked_up(series, [str(level) for level in levels])
        if not np.isnan(exact).any():
            return exact
        return np.where(np.isnan(exact), _looked_up(series.str.strip_chars(), [str(x) for x in levels]), exact)
    if all(isinstance(level, bool) for level in levels) and series.dtype == pl.String:
        return _looked_up(series.str.strip_chars().str.to_lowercase(), [str(level).lower() for level in levels])
    if series.dtype.is_temporal():
        return _looked_up(series.cast(pl.String), [str(level) for level in levels])
    return _matched_numbers(column, series)


def _looked_up(series: pl.Series, levels: list[str]) -> np.ndarray:
    codes = pl.Series(range(len(levels)), dtype=pl.Float64)
    found = series.replace_strict(pl.Series(levels, dtype=pl.String), codes, default=None, return_dtype=pl.Float64)
    return floats(found)


def _matched_numbers(column: TableColumn, series: pl.Series) -> np.ndarray:
    style = column.format if isinstance(column.format, NumberFormat) else NumberFormat()
    levels = column.levels or ()
    spelled = all(isinstance(level, str) for level in levels)
    if spelled:
        known = read_numbers(pl.Series([str(level) for level in levels], dtype=pl.String), style)
    else:
        known = np.array([float(level) for level in levels])
    given = read_numbers(series, style) if series.dtype == pl.String else floats(series)
    order = np.argsort(known)  # NaN last
    at = np.clip(np.searchsorted(known[order], given), 0, len(known) - 1)
    return np.where(known[order][at] == given, order[at].astype(np.float64), np.nan)
