"""What the report says of a table with columns of several kinds: plain numbers, no picture yet."""

from __future__ import annotations

from dataclasses import dataclass

from tightbound.report.diagnostics import Array, require_shapes

__all__ = [
    "AssociationContent",
    "ColumnContent",
    "CopiesContent",
    "ImputationContent",
    "ImputationRow",
    "StrangeCellContent",
    "StrangeContent",
    "StrangeRow",
    "TableContent",
]


@dataclass(frozen=True)
class ColumnContent:
    """One column of the report's `data`, and how far the samples' marginal is from it.

    - `kind`: real, positive, bounded, count, ordinal, categorical, binary or datetime (then numbers are days since
      1970-01-01); `family`: the distribution that it is modelled with, or what it is given as.
    - `levels`: their names in the order of codes; () for numbers.
    - `distance`: total variation of levels, Kolmogorov-Smirnov of numbers, between 0 and 1; `chance`: what 95 % of
      samples of the same size from the very same distribution stay below.
    """

    name: str
    kind: str
    family: str
    levels: tuple[str, ...] = ()
    distance: float = float("nan")
    chance: float = float("nan")


@dataclass(frozen=True)
class AssociationContent:
    """Association of k columns with each other, between 0 and 1, NaN where there is none to measure (the diagonal too).

    `data`, `samples` (k, k); `names` of the k columns; `n_columns`: of how many they were chosen.
    """

    names: tuple[str, ...]
    data: Array
    samples: Array
    n_columns: int

    def __post_init__(self) -> None:
        """Refuse matrices of other columns."""
        square = (len(self.names), len(self.names))
        require_shapes("associations", self, data=square, samples=square)


@dataclass(frozen=True)
class ImputationRow:
    """How well hidden cells of one column are filled in.

    - `numeric`: then errors are root mean squares in standard deviations of the column, else shares of wrong levels.
    - `cells`: how many were hidden; `error` of the model; `simple_error` of the mean, or the most frequent level.
    - `coverage`: share of cells inside their intervals; None for levels without an order.
    """

    name: str
    numeric: bool
    cells: int
    error: float
    simple_error: float
    coverage: float | None = None


@dataclass(frozen=True)
class ImputationContent:
    """Observed cells that were hidden and filled in again: a row for each column, on `n_rows` rows.

    `held_out`: were these rows kept out of the fit? `share` of observed cells hidden at a time, no cell twice in
    `n_rounds` rounds; `interval`: its probability.
    """

    rows: tuple[ImputationRow, ...]
    n_rows: int
    held_out: bool
    share: float = 0.1
    interval: float = 0.9
    n_rounds: int = 1


@dataclass(frozen=True)
class StrangeCellContent:
    """A cell that fits the rest of its row badly: `surprise` is -log of its p-value given the rest, nats."""

    column: str
    value: str
    surprise: float


@dataclass(frozen=True)
class StrangeRow:
    """A row of the report's data by `position`; `p_value`: the chance of a score so low, where it is known."""

    position: int
    cells: tuple[StrangeCellContent, ...]
    p_value: float | None = None


@dataclass(frozen=True)
class StrangeContent:
    """The rows of the lowest log p(x), lowest first; p-values rest on `n_reference` rows.

    `explained`: were their cells looked at?
    """

    rows: tuple[StrangeRow, ...]
    n_reference: int = 0
    explained: bool = True


@dataclass(frozen=True)
class CopiesContent:
    """Distances to the closest row of the data: `of_samples` (s,), and `of_data` (n,) to the closest other row."""

    of_samples: Array
    of_data: Array


@dataclass(frozen=True)
class TableContent:
    """A table of columns of several kinds: `columns` are those of the report's data, one for one."""

    columns: tuple[ColumnContent, ...]
    associations: AssociationContent | None = None
    imputation: ImputationContent | None = None
    strange: StrangeContent | None = None
    copies: CopiesContent | None = None
