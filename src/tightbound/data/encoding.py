"""How a model sees the user's columns, and back: what is asked of an encoding, whichever it is.

Standardisation is part of the model: log p(x) = log p(u) + log |du/dx|, so that log p is a density in the user's units.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.data.cells.storage import frame_from_columns, with_numbers
from tightbound.data.coding import coded
from tightbound.data.errors import DataError, complain, listing, shorten
from tightbound.data.names import Aside
from tightbound.data.saved import plain
from tightbound.data.schema import Schema
from tightbound.data.table import Table

Numbers = NDArray[np.float64]
CONTAINERS = ("numpy", "pandas", "polars", "arrow")
LEAST = float(np.log(np.finfo(np.float64).tiny))
"""log p of what was never seen of a column that had one value: the least probability that a float64 holds, so that all
is still as good as 1 for that value."""


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """What the model sees.

    Attributes:
        x: (n, m) float32 or float64, 0 where a cell is missing (uint8 when `binary_intensity`), or a `SparseMatrix`.
        observed: (n, m) bool, or None when every cell is observed.
        log_jacobian: (n,) float64, nats: log p(user's x) = log p(model's x) + log_jacobian.
        binary_intensity: True when x is 8-bit intensity, to be binarised anew each time it is drawn.
    """

    x: Any
    observed: np.ndarray | None
    log_jacobian: np.ndarray
    binary_intensity: bool


class Encoding(ABC):
    """The map between the user's d columns and the model's m.

    A *code* is a cell as a number: the number itself, the place of a level among the levels, days since 1970-01-01;
    NaN where it is missing. Codes are of the m modelled columns, in the user's units.

    Attributes:
        schema: the columns as fitted.
        likelihood: "columns", each by its own family, or one of the whole row: "gaussian", "bernoulli", "multinomial",
            "dirichlet_multinomial".
        binarize: whether intensities are turned into 0/1.
        floor: (m,) the smallest standard deviation that a decoder may have, in model units; 0 for what has none.
        messages: what the user should be told about the columns and rows; nobody has told it yet.
    """

    schema: Schema
    likelihood: str
    binarize: bool
    floor: Numbers
    messages: tuple[str, ...]

    # Of all columns

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns that new data must have, in order."""
        return self.schema.names if self.schema.block else self.modelled_names

    @property
    def modelled_names(self) -> tuple[str, ...]:
        """Names of the modelled columns, (m,)."""
        return tuple(column.name for column in self.schema.modelled)

    @property
    def named(self) -> bool:
        """Whether the names are the user's."""
        return self.schema.named

    @property
    def aside(self) -> Aside:
        """Columns that the data had beside these."""
        return self.schema.aside

    @cached_property
    def kept(self) -> NDArray[np.intp]:
        """(m,) where the modelled columns stand among all that the data had."""
        return np.flatnonzero([not column.dropped for column in self.schema.columns])

    @property
    @abstractmethod
    def discrete(self) -> bool:
        """Whether log p(x) is the log of a probability."""

    @property
    def n_features(self) -> int:
        """Number of modelled columns, m."""
        return len(self.schema.modelled)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a datum that is an image, (height, width) or (height, width, channels); () of a row of columns."""
        shape = tuple(self.schema.shape)
        return shape if len(shape) > 1 else ()

    @property
    def given(self) -> tuple[int, ...]:
        """Positions of the columns that p(x | z, c) is given: conditions, an exposure."""
        return ()

    @property
    def given_names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.modelled_names[j] for j in self.given)

    @property
    def conditions(self) -> tuple[int, ...]:
        """Positions of the conditions among them."""
        return ()

    @property
    def exposure(self) -> int | None:
        """Position of a column that holds the exposure."""
        return None

    @property
    def words(self) -> tuple[dict[str, Any], ...]:
        """What the model needs to know of each column, with a family of its own: family, size, floor, point masses."""
        return ()

    @abstractmethod
    def noise_scales(self, families: Sequence[str]) -> Numbers:
        """(m,) in model units: the standard deviation of columns with values all over the line, 0 for others.

        Args:
            families: those that have a density on the whole line.
        """

    # Tables to rows and back

    def check(self, table: Table, *, expected_by: str = "the model") -> Table:
        """New data in the order and shape of the fitted columns, by name where both sides have names.

        Raises:
            DataError: for other columns, and for cells that no column has a place for.
        """
        return coded(table, self.schema, expected_by=expected_by)

    @abstractmethod
    def encode(
        self, table: Table, *, dtype: str = "float32", draw: bool = False, seed: int = 0, expected_by: str = "the model"
    ) -> Rows:
        """The data as the model sees them.

        Args:
            table: n rows with the fitted columns.
            dtype: "float32" or "float64".
            draw: True for fitting: intensities stay intensities, to be binarised anew each time. False for scoring:
                they are binarised once, as `rng.random((n, d)) * 255 < x` with `rng = numpy.random.default_rng(seed)`
                over all rows in order; data that are 0/1 already stay as they are.
            seed: of that binarisation.
            expected_by: who expects the columns, for messages.

        Raises:
            DataError: as `check`, and for values that the likelihood excludes or `dtype` cannot hold.
        """

    @abstractmethod
    def departures(self, table: Table) -> dict[str, NDArray[np.bool_]]:
        """For each column that had one value when the model was fitted, by name: (n,) which cells hold another.

        Such a column is a point mass, of which the model knows nothing but the value: each cell that departs from it
        adds `LEAST` to log p(x), the others nothing.
        """

    def _log_departures(self, table: Table) -> Numbers:
        """(n,) what the columns that had one value add to log p(x); says where that is not nothing."""
        added = np.zeros(table.n_rows)
        for name, other in self.departures(table).items():
            if not other.any():
                continue
            added += LEAST * other
            row = int(other.argmax())
            warnings.warn(
                f"Column {name!r} of {table.source} was always {shorten(self._constant(name))} in the fitted data, but "
                f"{int(other.sum())} of its cells hold another value, row {row} (counting from 0) the first: to the "
                f"model nothing is less likely ({LEAST:.0f} nats each).",
                UserWarning,
                stacklevel=4,
            )
        return added

    def _constant(self, name: str) -> Any:
        """The one value of a column, as a person writes it."""
        column = self.schema[name]
        value = column.constant
        return column.type.written(column, value) if isinstance(value, float) else value

    @abstractmethod
    def modelled(self, table: Table) -> Any:
        """Codes of a table's cells, (n, m) with NaN where one is missing."""

    @abstractmethod
    def complete_log_jacobian(self, rows: Rows) -> float:
        """The log Jacobian of a complete row; where it differs from row to row, the mean over these."""

    def center(self, rows: Rows) -> Numbers:
        """Mean of every column over these rows in model units, (m,)."""
        x = rows.x.astype(np.float64) / (255 if rows.binary_intensity else 1)
        if rows.observed is None:
            return np.asarray(x.mean(axis=0))
        return np.asarray((x * rows.observed).sum(axis=0) / np.maximum(rows.observed.sum(axis=0), 1))

    @abstractmethod
    def decode(self, x: NDArray[Any], *, on_grid: bool = False) -> Numbers:
        """(..., m) in model units as codes (..., m); of levels the nearest one.

        Args:
            x: values, or means.
            on_grid: move numbers to what their column can hold (whole numbers, its grid, its bounds), where the
                likelihood is one of columns.
        """

    @abstractmethod
    def on_grid(self, x: NDArray[Any]) -> NDArray[Any]:
        """(n, m) in model units, moved to values that the columns can hold: as recorded data would be."""

    def filled(self, codes: Numbers) -> Numbers:
        """Codes (..., m) of the modelled columns as those of all that the report shows, constant ones filled in."""
        return codes

    def give_back(
        self,
        codes: Numbers,
        table: Table | None = None,
        *,
        like: Table | None = None,
        container: str | None = None,
        rounded: bool = False,
    ) -> Any:
        """Codes (n, m) in the container and types of the fitted data, or in the container of a table of such rows.

        Args:
            codes: NaN is missing.
            table: the table that the codes came from; what has not changed comes back as it was there.
            like: a table whose container, labels and index shall be given back, but not its cells.
            container: "numpy", "pandas", "polars" or "arrow" instead.
            rounded: whole numbers are meant, not means of them (of columns by their kinds they always are).
        """
        other = like if table is None else table
        if container is None:
            container = self.schema.container if other is None else other.container
        elif container not in CONTAINERS:
            raise complain(
                "container", f"be one of {listing(CONTAINERS)}", f"it is {container!r}", "choose one of these"
            )
        built = self._built(codes, table, container, rounded)
        return built if other is None or other.container != container else other.dressed(built, self.schema.names)

    @abstractmethod
    def _built(self, codes: Numbers, table: Table | None, container: str, rounded: bool) -> Any:
        """Codes in a container; see `give_back`."""

    def as_frame(self, values: Numbers, table: Table) -> Any:
        """(n, m) plain numbers in the container of a table (NumPy: as wide as the data, NaN elsewhere)."""
        if table.container == "numpy":
            full = np.full((len(values), len(self.schema.columns)), np.nan)
            full[:, self.kept] = values
            return full.reshape(-1, *self.schema.shape) if self.schema.block else full
        columns = {name: np.ascontiguousarray(values[:, j]) for j, name in enumerate(self.modelled_names)}
        return table.dressed(frame_from_columns(columns, table.container), self.schema.names)

    def with_means(self, filled: Any, holes: NDArray[np.bool_], means: Numbers) -> Any:
        """The filled table with means in the holes of columns whose levels are numbers: 2.6 between levels 2 and 3."""
        wanted = [j for j in range(self.n_features) if self.numbers(j) is not None and holes[:, j].any()]
        if isinstance(filled, np.ndarray):
            values = filled.astype(np.float64) if wanted else filled
            flat = values.reshape(len(values), -1)
            for j in wanted:
                flat[holes[:, j], self.kept[j]] = means[holes[:, j], j]
            return values
        means_of = {self.modelled_names[j]: (holes[:, j], means[:, j]) for j in wanted}
        return with_numbers(filled, means_of)

    # Of column j of the model

    def position(self, name: str | int) -> int:
        """The position of a modelled column; refuses one that is not there."""
        names = self.modelled_names
        if isinstance(name, int) and 0 <= name < len(names) and str(name) not in names:
            return name
        if str(name) not in names:
            raise DataError(
                f"The column must be one that the model has: {', '.join(names[:20])}"
                f"{', ...' if len(names) > 20 else ''}; got {str(name)!r}; name one of those."
            )
        return names.index(str(name))

    def described(self, j: int) -> tuple[str, str, str, tuple[str, ...]]:
        """Name, kind, family (or what it is given as) and levels, as words."""
        column = self.schema.modelled[j]
        return column.name, column.type.word, self.likelihood, tuple(map(str, self.levels(j)))

    def levels(self, j: int) -> tuple[Any, ...]:
        """The levels of a column that has them; () for numbers."""
        return self.schema.modelled[j].levels or ()

    def numbers(self, j: int) -> Numbers | None:
        """The levels of a column as numbers, where they are numbers; None for words and for columns without levels."""
        levels = self.levels(j)
        if not levels or not all(isinstance(level, int | float) for level in levels):
            return None
        return np.array([float(level) for level in levels])

    def ordered(self, j: int) -> bool:
        """Whether a column's values have an order: numbers, counts, ordinal levels."""
        return not self.levels(j)

    def straight(self, j: int) -> bool:
        """Whether a mean in the model's units is one in the user's."""
        return True

    @abstractmethod
    def continuous(self, j: int) -> bool:
        """Whether a single value of the column has no probability of its own."""

    def point_masses(self, j: int) -> tuple[float, ...]:
        """Values of a continuous column that have one."""
        return ()

    def shortened(self, j: int, values: Numbers) -> Numbers:
        """Numbers with two digits more than the column has; whole where its type is one of whole numbers."""
        return values

    @abstractmethod
    def forward(self, j: int, value: float) -> float:
        """A code of column j as the model sees it."""

    def code(self, j: int, value: Any) -> float:
        """A value as a person writes it, as a code of column j; what the column has no place for is a DataError."""
        column = self.schema.modelled[j]
        return column.type.code(column, value)

    def value(self, j: int, code: float) -> Any:
        """What a code of column j stands for: a level, a number, a date as text."""
        column = self.schema.modelled[j]
        return column.type.written(column, code)

    def to_json(self) -> dict[str, Any]:
        """The encoding as a dictionary that `json` can write; numbers survive exactly."""
        return {"schema": self.schema.to_json(), **plain(self, but="schema")}
