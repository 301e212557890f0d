"""What is known of columns of numbers before anything is decided: range, moments, grid, gaps, what they may hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from tightbound.data.errors import DataError, complain
from tightbound.data.names import require_cells, require_unique
from tightbound.data.table import Table

Numbers = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class Summary:
    """Of each column, in the user's units, over its observed cells; (d,) each.

    Attributes:
        n_missing: number of missing cells.
        low, high, mean, sd: NaN where every cell is missing; sd is the standard deviation (divisor n).
        grid: what the column is recorded on: the smallest gap between two different values, 0 where there are no two.
        constant: whether all cells have the one value `low`.
    """

    n_missing: NDArray[np.int64]
    low: Numbers
    high: Numbers
    mean: Numbers
    sd: Numbers
    grid: Numbers
    constant: NDArray[np.bool_]

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Whether every cell is missing."""
        return np.isnan(self.mean)

    @property
    def largest(self) -> float:
        """The largest value of all columns."""
        return float(np.nanmax(self.high))


def summarised(table: Table) -> Summary:
    """Looks at every column of the data that a model is to be fitted on.

    Raises:
        DataError: when there are no rows, one row or no columns; when a value is infinite; when two names are the
            same; when every column is constant or missing.
    """
    require_cells(table.values.shape, table.source)
    require_unique(table.names, table.source)
    require_finite(table)
    require_rows(table)
    columns = [_facts(table.values[:, j], dtype) for j, dtype in enumerate(table.dtypes)]
    n_missing, low, high, mean, sd, grid, constant = (np.array(fact) for fact in zip(*columns, strict=True))
    summary = Summary(n_missing, low, high, mean, sd, grid, constant)
    if (summary.empty | constant).all():
        raise nothing_varies(table.source)
    return summary


def nothing_varies(source: str) -> DataError:
    """The error for a table without a column to learn from."""
    return complain(
        source,
        "have a column whose values differ",
        "every column is constant or missing",
        "give columns that vary over the rows",
    )


def require_rows(table: Table) -> None:
    """Refuses a single row."""
    if table.n_rows == 1:
        raise complain(
            table.source,
            "have at least two rows to fit a model",
            "it has 1 sample (n_samples = 1)",
            "give more rows (one row can be scored, not fitted)",
        )


def require_finite(table: Table) -> None:
    """Refuses infinite values, naming the first."""
    if table.values.dtype.kind != "f":
        return
    infinite = np.isinf(table.values)
    if infinite.any():
        row, column = np.unravel_index(int(infinite.argmax()), infinite.shape)
        raise complain(
            table.source,
            "hold finite numbers or missing cells",
            f"{table.cell(int(row), int(column))} holds infinity",
            "correct it, or make it missing (NaN, an empty cell)",
        )


def blank_rows(observed: NDArray[np.bool_], source: str) -> list[str]:
    """What to say of rows without a value in any modelled column: nothing, or one sentence."""
    blank = np.flatnonzero(~observed.any(axis=1))
    if not len(blank):
        return []
    return [
        f"{len(blank)} row(s) of {source} have no value in any modelled column, the first of them row {blank[0]} "
        "(counting from 0); they are kept, with log p(nothing) = 0 nats."
    ]


def rounding(dtype: str, largest: float) -> float:
    """Differences up to this size between numbers up to `largest` are rounding, not information."""
    kind = np.dtype(dtype)
    epsilon = float(np.finfo(kind).eps) if kind.kind == "f" else float(np.finfo(np.float64).eps)
    return 4.0 * epsilon * largest


def _facts(values: np.ndarray, dtype: str) -> tuple[int, float, float, float, float, float, bool]:
    """The fields of a `Summary` for one column."""
    observed = values if values.dtype.kind != "f" else values[~np.isnan(values)]
    n_missing = len(values) - len(observed)
    if len(observed) == 0:
        return n_missing, np.nan, np.nan, np.nan, np.nan, 0.0, False
    distinct = np.unique(observed).astype(np.float64)
    low, high = float(distinct[0]), float(distinct[-1])
    largest = max(abs(low), abs(high))
    # In units of the largest value and from the lowest on, so that squares of very large or very small numbers neither
    # overflow nor vanish, and a small spread on a large offset is not lost.
    unit = largest if largest > 0 else 1.0
    from_low = observed.astype(np.float64) / unit - low / unit
    mean, sd = (low / unit + float(from_low.mean())) * unit, float(from_low.std()) * unit
    noise = rounding(dtype, largest)
    spread = high - low  # may be infinite
    if spread <= max(noise, np.finfo(np.float64).tiny):
        return n_missing, low, high, mean, sd, 0.0, True
    with np.errstate(over="ignore"):
        gaps = np.diff(distinct)
    gaps = gaps[gaps > max(1e-9 * spread, noise)]
    return n_missing, low, high, mean, sd, float(gaps.min(initial=np.inf)) if len(gaps) else 0.0, False


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
