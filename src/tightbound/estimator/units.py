"""Between codes of a table and what a model sees of them, for both kinds of encodings."""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.data import ColumnsEncoding, DataError, Table
from tightbound.estimator.fitted import FittedModel

Numbers = NDArray[np.float64]


def _replaced(frame: Any, series: Any) -> Any:
    # pandas aligns a new column by its index, which is the frame's own here.
    import narwhals as nw

    native = frame.to_native()
    return nw.from_native(native.assign(**{series.name: series.to_numpy()}))


@final
class Units:
    """The modelled columns of a fitted model: what kind each is, and the map to the user's numbers."""

    def __init__(self, model: FittedModel):
        self.model = model
        self.encoding = model.encoding
        self.names = self.encoding.modelled_names

    @property
    def n_columns(self) -> int:
        """Modelled columns."""
        return len(self.names)

    @property
    def readable(self) -> bool:
        """Whether single cells given others can be asked for: not of one distribution of the whole row under c."""
        return not self.model.specification.conditioned or self.encoding.likelihood == "columns"

    @property
    def given(self) -> tuple[int, ...]:
        """Columns that the model is given and has no distribution of."""
        return self.encoding.given if isinstance(self.encoding, ColumnsEncoding) else ()

    @property
    def places(self) -> list[int]:
        """Where the modelled columns stand among all that the data had."""
        return [self.encoding.schema.names.index(name) for name in self.names]

    def position(self, name: str | int) -> int:
        """The position of a modelled column; refuses one that is not there."""
        if isinstance(name, int) and 0 <= name < self.n_columns and str(name) not in self.names:
            return name
        if str(name) not in self.names:
            raise DataError(
                f"The column must be one that the model has: {', '.join(self.names[:20])}"
                f"{', ...' if self.n_columns > 20 else ''}; got {str(name)!r}; name one of those."
            )
        return self.names.index(str(name))

    def levels(self, j: int) -> tuple[Any, ...]:
        """The levels of a column that has them; () for numbers."""
        if isinstance(self.encoding, ColumnsEncoding):
            return tuple(self.encoding.schema.modelled[j].levels or ()) if self.encoding.plans[j].levels else ()
        return (0, 1) if self.encoding.likelihood == "bernoulli" and not self.encoding.binarize else ()

    def ordered(self, j: int) -> bool:
        """Whether a column's values have an order: numbers, counts, ordinal levels."""
        if isinstance(self.encoding, ColumnsEncoding):
            return self.encoding.plans[j].family not in ("categorical", "bernoulli")
        return not self.levels(j)

    def straight(self, j: int) -> bool:
        """Whether a mean in the model's units is one in the user's."""
        if isinstance(self.encoding, ColumnsEncoding):
            return self.encoding.plans[j].straight
        return True

    def continuous(self, j: int) -> bool:
        """Whether a single value of the column has no probability of its own."""
        if isinstance(self.encoding, ColumnsEncoding):
            return self.encoding.plans[j].continuous
        return self.encoding.likelihood == "gaussian"

    def is_date(self, j: int) -> bool:
        """Whether the column's numbers are days since 1970-01-01."""
        schema = self.encoding.table_schema
        return schema is not None and schema.modelled[j].kind.value == "datetime"

    def shortened(self, j: int, values: Numbers) -> Numbers:
        """Numbers with two digits more than the column has; whole where its type is one of whole numbers."""
        if not isinstance(self.encoding, ColumnsEncoding) or self.encoding.plans[j].levels:
            return values
        grid = self.encoding.plans[j].grid
        if self.encoding.schema.modelled[j].storage.lower().startswith(("int", "uint")):
            return np.rint(values)
        return np.round(values, 2 - int(np.floor(np.log10(grid)))) if grid > 0 else values

    def numbers(self, j: int) -> Numbers | None:
        """The levels of a column as numbers, where they are numbers; None for words and for columns without levels."""
        levels = self.levels(j)
        if not levels or not all(isinstance(level, int | float) for level in levels):
            return None
        return np.array([float(level) for level in levels])

    def with_means(self, filled: Any, holes: NDArray[np.bool_], means: Numbers) -> Any:
        """The filled table with means in the holes of columns whose levels are numbers: 2.6 between levels 2 and 3."""
        import narwhals as nw

        wanted = [j for j in range(self.n_columns) if self.numbers(j) is not None and holes[:, j].any()]
        if isinstance(filled, np.ndarray):
            values = filled.astype(np.float64) if wanted else filled
            for j in wanted:
                values[holes[:, j], self.places[j]] = means[holes[:, j], j]
            return values
        frame = nw.from_native(filled)
        for j in wanted:
            name = self.names[j]
            if not (frame[name].dtype.is_numeric() or isinstance(frame[name].dtype, nw.Boolean)):
                continue
            column = frame[name].cast(nw.Float64).to_numpy().copy()
            column[holes[:, j]] = means[holes[:, j], j]
            series = nw.new_series(name, column, nw.Float64, backend=frame.implementation)
            frame = frame.with_columns(series) if frame.implementation.is_polars() else _replaced(frame, series)
        return frame.to_native()

    def spikes(self, j: int) -> tuple[float, ...]:
        """Values of a continuous column that have one."""
        return self.encoding.plans[j].spikes if isinstance(self.encoding, ColumnsEncoding) else ()

    def decode(self, x: NDArray[Any], *, on_grid: bool = False) -> Numbers:
        """Model units (..., m) as modelled columns in the user's (..., m)."""
        if isinstance(self.encoding, ColumnsEncoding):
            return self.encoding.decode(x, on_grid=on_grid)
        return self.encoding.decode(x)[..., self.encoding.kept]

    def forward(self, j: int, value: float) -> float:
        """A number of column j as the model sees it."""
        if isinstance(self.encoding, ColumnsEncoding):
            return float(self.encoding.plans[j].forward(np.array([value], float))[0][0])
        return float((value - self.encoding.loc[j]) / self.encoding.scale[j])

    def modelled(self, table: Table) -> Numbers:
        """The modelled columns of a table, (n, m) float64 with NaN where a cell is missing."""
        table = self.encoding.check(table)
        if isinstance(self.encoding, ColumnsEncoding):
            return table.values
        return table.values[:, self.encoding.kept].astype(np.float64)

    def give_back(self, codes: Numbers, table: Table | None = None, *, whole: bool = True) -> Any:
        """(n, m) user's numbers in the container of the data; with `table`, its unchanged cells as they are there.

        `whole` False: numbers stay numbers (quantiles and means are not rounded to whole ones).
        """
        index = None if table is None else table.index
        if isinstance(self.encoding, ColumnsEncoding):
            native = None if table is None or table.native is None else table.native
            return self.encoding.give_back(codes, index=index, like=native)
        full = self.encoding.decode(np.zeros((len(codes), self.n_columns)))
        if table is not None:
            full = np.where(table.observed, table.values, full)
        full[:, self.encoding.kept] = codes
        return self.encoding.give_back(full, index=index, rounded=whole)

    def as_frame(self, values: Numbers, index: Any = None) -> Any:
        """(n, m) plain numbers in the container of the data (NumPy: a matrix as wide as the data, NaN elsewhere)."""
        import narwhals as nw

        container: Any = self.encoding.schema.container
        if container == "numpy":
            full = np.full((len(values), len(self.encoding.schema.columns)), np.nan)
            full[:, self.places] = values
            return full
        columns = {name: np.ascontiguousarray(values[:, j]) for j, name in enumerate(self.names)}
        frame = nw.from_dict(columns, backend=container).to_native()
        return frame.set_axis(index, axis=0) if index is not None else frame
