"""What is known of each column, and whether new data fit it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, final

import numpy as np

from tightbound.data.errors import DataError, complain, listing
from tightbound.data.names import NOTHING_ASIDE, Aside, require_cells, require_unique
from tightbound.data.saved import damaged, field, optional_number
from tightbound.data.table import Table

CONTAINERS = ("numpy", "pandas", "polars")


@final
@dataclass(frozen=True)
class Column:
    """One column, in the user's units; statistics are over its observed cells.

    Attributes:
        name: the column's name.
        dtype: NumPy dtype name, as the column came.
        n_missing: number of missing cells.
        minimum, maximum, mean, sd: None when every cell is missing; sd is the standard deviation (divisor n).
        n_distinct: number of different values.
        resolution: the grid that the column is recorded on: the smallest gap between two different values; 0 when
            there are no two.
        constant: the one value that all cells have, else None.
        all_missing: True when no cell has a value.
    """

    name: str
    dtype: str
    n_missing: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    sd: float | None
    n_distinct: int
    resolution: float
    constant: float | None
    all_missing: bool


@final
@dataclass(frozen=True)
class Schema:
    """The columns a model was fitted on.

    Attributes:
        columns: one `Column` for each, in order.
        shape: shape of one datum.
        container: "numpy", "pandas" or "polars".
        named: True when the names are the user's, so that new data are matched by name.
        aside: named columns that the data had beside these; new data may have them or not.
    """

    columns: tuple[Column, ...]
    shape: tuple[int, ...]
    container: str
    named: bool
    aside: Aside = NOTHING_ASIDE

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)

    def to_json(self) -> dict[str, Any]:
        """The schema as a dictionary that `json` can write."""
        return {
            "columns": [asdict(column) for column in self.columns],
            "shape": list(self.shape),
            "container": self.container,
            "named": self.named,
            "aside": {"label": self.aside.label, "dropped": list(self.aside.dropped)},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """The schema that `to_json` wrote; a foreign or damaged one is a DataError."""
        what = "The saved schema"
        columns = tuple(_column_from_json(column, i) for i, column in enumerate(field(data, "columns", list, what)))
        shape = tuple(field(data, "shape", list, what))
        whole = all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in shape)
        if not (shape and whole and math.prod(shape) == len(columns)):
            raise damaged(what, f"have a shape that holds its {len(columns)} columns", f"the shape is {shape}")
        container = field(data, "container", str, what)
        if container not in CONTAINERS:
            raise damaged(what, f"have one of the containers {listing(CONTAINERS)}", f"it has {container!r}")
        require_unique([column.name for column in columns], what)
        aside = aside_from_json(field(data, "aside", dict, what))
        return cls(columns, shape, container, field(data, "named", bool, what), aside)

    def check(self, table: Table, *, expected_by: str = "the model") -> Table:
        """New data in the order and shape of the fitted columns.

        Columns are matched by name when both sides have the user's names, else by position.

        Args:
            table: the new data.
            expected_by: who expects the columns, for messages.

        Raises:
            DataError: when columns are missing, are too many, or are shaped differently.
        """
        if self.named and table.named:
            return self._match_names(table, expected_by)
        d = len(self.columns)
        if table.n_columns != d:
            raise DataError(
                f"{table.source} must have the {d} columns of the fitted data, but X has {table.n_columns} features, "
                f"but {expected_by} is expecting {d} features as input: give the same columns in the same order."
            )
        if table.shape != self.shape and len(table.shape) > 1 and len(self.shape) > 1:
            raise complain(
                table.source,
                f"hold data of shape {self.shape}, as those {expected_by} was fitted on",
                f"each datum has the shape {table.shape}",
                "give images of the same size",
            )
        return replace(table, names=self.names, shape=self.shape, named=self.named)

    def _match_names(self, table: Table, expected_by: str) -> Table:
        if table.names == self.names:
            return table
        missing = [name for name in self.names if name not in set(table.names)]
        extra = [name for name in table.names if name not in set(self.names)]
        if missing:
            added = f" (it has {listing(extra)}, which the fitted data had not)" if extra else ""
            raise complain(
                table.source,
                f"have the columns {expected_by} was fitted on",
                f"it lacks {listing(missing)}{added}",
                "add them (empty cells are allowed), or rename the columns that stand for them",
            )
        if extra:
            raise complain(
                table.source,
                f"have only the columns {expected_by} was fitted on",
                f"it also has {listing(extra)}",
                "drop these",
            )
        position = {name: j for j, name in enumerate(table.names)}
        order = [position[name] for name in self.names]
        dtypes = tuple(table.dtypes[j] for j in order)
        return replace(table, values=table.values[:, order], names=self.names, dtypes=dtypes, shape=self.shape)


def aside_from_json(data: Any) -> Aside:
    """Columns that were set aside, as saved; a damaged entry is a DataError."""
    what = "Entry 'aside' of the saved schema"
    label, dropped = field(data, "label", (str, type(None)), what), field(data, "dropped", list, what)
    if not all(isinstance(name, str) for name in dropped):
        raise damaged(what, "hold column names", "one is not")
    return Aside(label, tuple(dropped))


def _column_from_json(data: Any, i: int) -> Column:
    what = f"Column {i} of the saved schema"
    numbers = {key: optional_number(data, key, what) for key in ("minimum", "maximum", "mean", "sd", "constant")}
    column = Column(
        name=field(data, "name", str, what),
        dtype=field(data, "dtype", str, what),
        n_missing=field(data, "n_missing", int, what),
        n_distinct=field(data, "n_distinct", int, what),
        resolution=field(data, "resolution", float, what),
        all_missing=field(data, "all_missing", bool, what),
        **numbers,
    )
    if not all(math.isfinite(number) for number in (column.resolution, *numbers.values()) if number is not None):
        raise damaged(what, "hold finite numbers", "one is not")
    try:
        np.dtype(column.dtype)
    except TypeError:
        raise damaged(what, "name a NumPy dtype", f"it names {column.dtype!r}") from None
    return column


def infer_schema(table: Table) -> Schema:
    """Looks at every column of the data that a model is to be fitted on.

    Raises:
        DataError: when there are no rows, one row or no columns; when a value is infinite; when two names are the
            same; when every column is constant or missing.
    """
    require_cells(table.values.shape, table.source)
    require_unique(table.names, table.source)
    require_finite(table)
    if table.n_rows == 1:
        raise complain(
            table.source,
            "have at least two rows to fit a model",
            "it has 1 sample (n_samples = 1)",
            "give more rows (one row can be scored, not fitted)",
        )
    columns = tuple(
        _describe(table.values[:, j], name, dtype)
        for j, (name, dtype) in enumerate(zip(table.names, table.dtypes, strict=True))
    )
    if all(column.all_missing or column.constant is not None for column in columns):
        raise complain(
            table.source,
            "have a column whose values differ",
            "every column is constant or missing",
            "give columns that vary over the rows",
        )
    return Schema(columns, table.shape, table.container, table.named, table.aside)


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


def rounding(dtype: str, largest: float) -> float:
    """Differences up to this size between numbers up to `largest` are rounding, not information."""
    kind = np.dtype(dtype)
    epsilon = float(np.finfo(kind).eps) if kind.kind == "f" else float(np.finfo(np.float64).eps)
    return 4.0 * epsilon * largest


def _describe(values: np.ndarray, name: str, dtype: str) -> Column:
    observed = values if values.dtype.kind != "f" else values[~np.isnan(values)]
    n_missing = len(values) - len(observed)
    if len(observed) == 0:
        return Column(name, dtype, n_missing, None, None, None, None, 0, 0.0, None, True)
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
    is_constant = spread <= max(noise, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        gaps = np.diff(distinct)
    gaps = gaps[gaps > max(1e-9 * spread, noise)]
    resolution = 0.0 if is_constant or len(gaps) == 0 else float(gaps.min())
    constant = low if is_constant else None
    return Column(name, dtype, n_missing, low, high, mean, sd, len(distinct), resolution, constant, False)
