"""One column of a table: what it holds, what was decided about it, and how it is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import polars as pl

from tightbound.data.cells.raw import Level, RawColumn
from tightbound.data.cells.text import NumberFormat
from tightbound.data.errors import DataError, complain, listing, shorten, suggestion
from tightbound.data.types.reading import Reading, without_missing


class ColumnType(ABC):
    """What a column holds, and with it which families of distributions can describe it.

    One without state of its own: two of a class are equal. Everything that depends on the type is a method here.
    """

    word: ClassVar[str]
    """Its word in schemas and messages."""
    families: ClassVar[tuple[str, ...]]
    """The families that can describe it, the usual one first where it does not depend on the values."""
    levelled: ClassVar[bool] = False
    """Whether cells are one of a few levels, given as codes 0, 1, ..."""
    ends: ClassVar[bool] = False
    """Whether its values lie within `bounds`."""
    moments: ClassVar[bool] = False
    """Whether cells are dates and moments."""
    whole: ClassVar[bool] = False
    """Whether values are counts."""
    any_number: ClassVar[bool] = False
    """Whether it excludes no number."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(self.word)

    def __repr__(self) -> str:
        return self.word

    @abstractmethod
    def infer(self, reading: Reading) -> Column | None:
        """The column, if the rules for this type find it in the cells; the types are asked one after the other."""

    @abstractmethod
    def force(self, reading: Reading, source: str) -> Column:
        """The column as one of this type, since the user says so; cells that cannot be are a DataError."""

    @abstractmethod
    def codes(
        self, column: Column, raw: RawColumn, *, missing: tuple[str, ...], unseen: str, source: str
    ) -> np.ndarray:
        """(n,) float64: numbers as they are, level codes, days since 1970-01-01; NaN where missing.

        Raises:
            DataError: for cells that the column cannot hold, with row and column.
        """

    @abstractmethod
    def cells(self, column: Column, codes: np.ndarray, storage: str) -> pl.Series:
        """Codes as values: levels, moments, durations, texts or numbers; null where NaN."""

    @abstractmethod
    def departs(self, column: Column, raw: RawColumn, missing: tuple[str, ...]) -> np.ndarray:
        """(n,) bool: observed cells that hold another value than the one that all fitted cells had."""

    def gaps(self, raw: RawColumn, missing: tuple[str, ...]) -> np.ndarray:
        """(n,) bool: missing cells."""
        text = raw.series.dtype == pl.String and raw.declared is None
        cells = without_missing(raw.series, missing, doubtful=True) if text else raw.series
        return np.asarray(cells.is_null().to_numpy())

    def code(self, column: Column, value: Any) -> float:
        """The code of a value as a person writes it; what the column has no place for is a DataError."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = np.nan
        if not np.isfinite(number):
            raise not_given(column, "a number", value, "correct it")
        return number

    def written(self, column: Column, code: float) -> Any:
        """What a code stands for, as a person writes it."""
        return int(code) if code == np.rint(code) and abs(code) < 2**53 else float(code)

    @abstractmethod
    def is_open(self, column: Column) -> bool:
        """Whether something is still to be read from a table before cells can be coded."""

    @abstractmethod
    def kept_as(self, column: Column) -> Any:
        """What a container of another type keeps the values as: bool, int, float, str, "moment" or "duration"."""

    @abstractmethod
    def details(self, column: Column) -> list[str]:
        """What is worth showing beside the type's word."""

    def check(self, column: Column, what: str) -> None:
        """Refuses entries of an edited schema that contradict the type."""
        if column.levels is not None and not self.levelled:
            raise left_over("levels", "an ordinal, categorical or binary column", column, what)
        if column.bounds is not None and not self.ends:
            raise left_over("bounds", "a bounded column", column, what)
        if column.family and column.family not in self.families:
            raise complain(
                f"Entry 'family' of {what}",
                f"be one of {listing(self.families, 20)}, since it is {self.word}",
                f"it is {shorten(column.family)}",
                f"choose one of these, or leave it out{suggestion(column.family, self.families)}",
            )

    @abstractmethod
    def usual_family(self, column: Column, values: np.ndarray, continuous: str, counts: str) -> str:
        """The family of a column that names none, by its observed values.

        Args:
            column: of this type.
            values: its observed values (codes, for levels).
            continuous: family of continuous columns.
            counts: the same of counts; "auto": by their mean and variance.
        """

    def support(self, column: Column) -> tuple[float, float]:
        """Between which ends, excluded, a density of its values has all its mass."""
        return -np.inf, np.inf

    def lowest(self, column: Column, values: np.ndarray) -> float:
        """A number that no draw on the line may fall below; `values` are those off the point masses."""
        return -np.inf

    def highest(self, column: Column) -> float:
        """A number that no draw on the line may exceed."""
        return np.inf

    def step(self, column: Column) -> float:
        """The step of the grid that draws are rounded to; 0 for none."""
        return column.grid

    def found(self, reading: Reading, reason: str, **what: Any) -> Column:
        """A column of this type, with what the reading noticed; the reason is a sentence without its full stop."""
        return Column(
            name=reading.raw.name,
            type=self,
            storage=reading.raw.storage,
            unit=reading.unit,
            format=reading.format,
            n_missing=reading.n_missing,
            reason=f"{reason}.",
            **what,
        )


@final
@dataclass(frozen=True)
class Column:
    """What is known of one column, and how it is read.

    Attributes:
        name: the column's name.
        type: what it holds.
        storage: the type it came in, in the words of its container ("Int64", "category[str]", "float32", ...); ""
            in a schema written by hand: as the table has it.
        levels: of an ordinal (in order), categorical or binary column: code k stands for levels[k]. None for other
            types, and for levels that are still to be read from a table (`Schema.settled`).
        bounds: of a bounded column: smallest and largest value that is possible.
        point_masses: values that are taken with positive probability although others around them are not.
        grid: the step that all values are multiples of, up to an offset; 0 when there is none.
        unit: "%", "$", "days", ... where the data say so, else "".
        heavy_tails: True when the tails are heavier than a Gaussian's by far.
        format: how text is read: a `NumberFormat`, or for dates a format of strptime; None for anything but text.
        n_missing: number of missing cells.
        dropped: True when the column is not modelled.
        constant: the value of a dropped column that has only one, so that it can be given back.
        family: the family of distributions to model it with (one of its type's); "" for the usual one.
        reason: one sentence: why.
    """

    name: str
    type: ColumnType
    storage: str = ""
    levels: tuple[Level, ...] | None = None
    bounds: tuple[float, float] | None = None
    point_masses: tuple[float, ...] = ()
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
        return not self.dropped and (not self.storage or self.type.is_open(self))

    @property
    def number_format(self) -> NumberFormat:
        """How its text spells numbers."""
        return self.format if isinstance(self.format, NumberFormat) else NumberFormat()

    @property
    def date_format(self) -> str:
        """How its text spells dates, a format of strptime; "" for anything but text of dates."""
        return self.format if isinstance(self.format, str) else ""


def not_given(column: Column, must: str, value: Any, advice: str) -> DataError:
    """The error for a value that was given for a column which has no place for it."""
    return DataError(f"The value given for column {column.name!r} must be {must}; got {value!r}; {advice}.")


def bad_cell(source: str, column: Column, row: int, must: str, came: str) -> DataError:
    """The error for a cell that the column cannot hold."""
    return complain(
        f"Column {column.name!r} of {source}",
        must,
        f"row {row} (counting from 0) holds {came}",
        "correct that cell, make it missing, or change the column's type in the schema",
    )


def left_over(entry: str, whose: str, column: Column, what: str) -> DataError:
    """The error for an entry of a schema that was left when the column was given another type."""
    return complain(f"Entry {entry!r}", f"belong to {whose}", f"{what} is {column.type.word}", "set it to null")
