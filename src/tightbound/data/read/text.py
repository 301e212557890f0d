"""Text that spells numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from tightbound.data.errors import complain, shorten

if TYPE_CHECKING:
    import polars as pl

# What people and programs write into a cell that has no value (pandas reads the same words so).
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None", "<NA>", "#N/A")


def is_number(text: str) -> bool:
    """True when the text spells a number."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000 as a number; tables do not


def numbers_from_text(
    texts: pl.Series | Iterable[str | None], *, source: str, name: str, where: Callable[[int], str]
) -> tuple[np.ndarray, str]:
    """A column of text as numbers, and the dtype name that fits it.

    Whole numbers give int64, `true`/`false` give bool, all else float64; with missing cells the numbers are float64
    with NaN, and the name stays that of what was written.

    Args:
        texts: one text a row, None for missing.
        source, name: words for the table and the column.
        where: words for a row number.

    Raises:
        DataError: naming the first cell that is not a number.
    """
    import polars as pl

    # pandas fills the gaps in a column of text with NaN
    given = texts if isinstance(texts, pl.Series) else [text if isinstance(text, str) else None for text in texts]
    column = pl.Series(given, dtype=pl.String).str.strip_chars()
    column = column.set(column.is_in(MISSING), None)
    for dtype, kind in ((pl.Int64, "int64"), (pl.Float64, "float64")):
        numbers = column.cast(dtype, strict=False)
        if numbers.null_count() == column.null_count() and (kind == "float64" or column.null_count() < len(column)):
            return _with_missing(numbers, kind)
    lower = column.str.to_lowercase()
    if lower.is_in(["true", "false"]).all():
        return _with_missing(lower == "true", "bool")
    row = int((numbers.is_null() & column.is_not_null()).arg_max() or 0)
    raise not_a_number(source, name, where(row), column[row])


def _with_missing(numbers: pl.Series, kind: str) -> tuple[np.ndarray, str]:
    if numbers.null_count() == 0:
        return numbers.to_numpy(), kind
    return numbers.cast(float).fill_null(np.nan).to_numpy(), kind


def not_a_number(source: str, name: str, where: str, value: object) -> Exception:
    """The error for a cell that holds text where a number belongs."""
    return complain(
        f"Column {name!r} of {source}",
        "hold numbers",
        f"{where} holds {shorten(value)}",
        "correct it (an empty cell is a missing value), or drop the column, use it as the label, or say in a schema "
        "what it holds",
    )
