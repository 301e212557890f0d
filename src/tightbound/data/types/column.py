"""One column of a mixed table, and what was decided about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

from tightbound.data.cells.raw import Level
from tightbound.data.cells.text import NumberFormat


@final
class Kind(StrEnum):
    """What a column holds, and with it which families of distributions can describe it."""

    REAL = "real"
    POSITIVE = "positive"
    BOUNDED = "bounded"
    COUNT = "count"
    ORDINAL = "ordinal"
    CATEGORICAL = "categorical"
    BINARY = "binary"
    DATETIME = "datetime"


LEVELLED = (Kind.ORDINAL, Kind.CATEGORICAL, Kind.BINARY)
CONTINUOUS = (Kind.REAL, Kind.POSITIVE, Kind.BOUNDED)


@final
@dataclass(frozen=True)
class TableColumn:
    """What is known of one column, and how it is read.

    Attributes:
        name: the column's name.
        kind: what it holds.
        storage: the type it came in, in the words of its container ("Int64", "category[str]", "float32", ...); ""
            in a schema written by hand: as the table has it.
        levels: of an ordinal (in order), categorical or binary column: code k stands for levels[k]. None for other
            kinds, and for levels that are still to be read from a table (`TableSchema.settled`).
        bounds: of a bounded column: smallest and largest value that is possible.
        spikes: values that are taken with positive probability although others around them are not.
        grid: the step that all values are multiples of, up to an offset; 0 when there is none.
        unit: "%", "$", "days", ... where the data say so, else "".
        heavy_tails: True when the tails are heavier than a Gaussian's by far.
        format: how text is read: a `NumberFormat`, or for dates a format of strptime; None for anything but text.
        n_missing: number of missing cells.
        dropped: True when the column is not modelled.
        constant: the value of a dropped column that has only one, so that it can be given back.
        family: the family of distributions to model it with (`families.FAMILIES`); "" for the usual one.
        reason: one sentence: why.
    """

    name: str
    kind: Kind
    storage: str = ""
    levels: tuple[Level, ...] | None = None
    bounds: tuple[float, float] | None = None
    spikes: tuple[float, ...] = ()
    grid: float = 0.0
    unit: str = ""
    heavy_tails: bool = False
    format: NumberFormat | str | None = None
    n_missing: int = 0
    dropped: bool = False
    constant: Level | None = None
    family: str = ""
    reason: str = ""

    @property
    def is_open(self) -> bool:
        """True when something is still to be read from a table: levels, bounds, the type."""
        if self.dropped:
            return False
        unread = self.storage in TEXTS and self.kind not in LEVELLED and self.format is None
        no_levels = self.kind in LEVELLED and self.levels is None
        return no_levels or unread or not self.storage or (self.kind is Kind.BOUNDED and self.bounds is None)


TEXTS = ("String", "str", "string", "large_string[pyarrow]", "string[pyarrow]")
