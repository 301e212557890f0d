"""Which values a block of numbers may hold: zeros and ones, intensities."""

from __future__ import annotations

import numpy as np

from tightbound.data.errors import complain
from tightbound.data.table import Table


def first_outside(table: Table, allowed: str) -> tuple[int, int] | None:
    """Row and column of the first observed value that is not allowed.

    Args:
        table: the data.
        allowed: "binary" (0 or 1), "intensity255" (whole numbers from 0 to 255) or "intensity1" (from 0 to 1).
    """
    values = table.values
    if values.dtype == bool:
        return None
    if values.dtype.kind in "iu":
        bad = (values < 0) | (values > (255 if allowed == "intensity255" else 1))
    elif allowed == "binary":
        bad = (values != 0) & (values != 1) & ~np.isnan(values)
    elif allowed == "intensity1":
        bad = (values < 0) | (values > 1)
    else:
        bad = (values < 0) | (values > 255) | ((values != np.floor(values)) & ~np.isnan(values))
    if not bad.any():
        return None
    row, column = np.unravel_index(int(bad.argmax()), bad.shape)
    return int(row), int(column)


def not_binary(table: Table) -> Exception:
    """The error for a Bernoulli likelihood on values other than 0 and 1."""
    row, column = first_outside(table, "binary") or (0, 0)
    eight_bit = first_outside(table, "intensity255") is None or first_outside(table, "intensity1") is None
    advice = "use the likelihood 'gaussian'"
    if eight_bit:
        advice += ", or 'bernoulli(binarize=True)' to draw each pixel as 0/1 with its brightness as probability"
    return complain(
        table.source,
        "hold only 0 and 1 (or missing cells) for a Bernoulli likelihood",
        f"{table.cell(row, column)} holds {table.values[row, column]:g}",
        advice,
    )


def not_intensity(table: Table, scale: int) -> Exception | None:
    """The error for values that cannot be binarised, or None when all can."""
    at = first_outside(table, f"intensity{scale}")
    if at is None:
        return None
    kind = "whole numbers from 0 to 255" if scale == 255 else "values from 0 to 1, as the fitted ones"
    return complain(
        table.source,
        f"hold {kind} to be binarised (or only values from 0 to 1)",
        f"{table.cell(*at)} holds {table.values[at]:g}",
        "rescale the values, or leave out binarize",
    )
