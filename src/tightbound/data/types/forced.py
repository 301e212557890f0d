"""The kind that the user says a column has."""

from __future__ import annotations

import numpy as np

from tightbound.data.cells.raw import Level
from tightbound.data.errors import DataError, complain, listing, shorten, suggestion
from tightbound.data.types.column import LEVELLED, Kind, TableColumn
from tightbound.data.types.decide import all_levels, column_of
from tightbound.data.types.orders import ordered_levels
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import INTERVALS
from tightbound.data.types.verdict import Verdict

KINDS = tuple(kind.value for kind in Kind)


def require_kind(kind: object, what: str) -> Kind:
    """The kind of that name; an unknown one is a DataError."""
    if isinstance(kind, str) and kind in KINDS:
        return Kind(kind)
    close = suggestion(kind, KINDS) if isinstance(kind, str) else ""
    raise complain(what, f"be one of {listing(KINDS)}", f"it is {shorten(kind)}", f"choose one of these{close}")


def decide_as(reading: Reading, kind: Kind, source: str) -> TableColumn:
    """The column as one of a given kind: its levels, bounds and shape are read from its cells.

    Raises:
        DataError: when the cells are not of that kind: words where numbers must be, more than two levels of a binary.
    """
    reason = f"You said that it is {kind.value}"
    if kind in LEVELLED:
        return column_of(reading, Verdict(kind, reason, _levels(reading, kind, source)))
    if reading.numbers is None and reading.n:
        raise _no_numbers(reading, kind, source)
    if (kind is Kind.DATETIME) is not reading.moment and reading.n:
        came = "its cells are dates" if reading.moment else "its cells are numbers"
        must = "hold dates" if kind is Kind.DATETIME else f"hold numbers to be {kind.value}"
        raise complain(f"Column {reading.raw.name!r} of {source}", must, came, "give it another kind")
    bounds = _bounds(reading.observed) if kind is Kind.BOUNDED else None
    return column_of(reading, Verdict(kind, reason, bounds=bounds))


def _levels(reading: Reading, kind: Kind, source: str) -> tuple[Level, ...]:
    levels = reading.raw.declared or all_levels(reading)
    if kind is not Kind.CATEGORICAL and reading.numbers is None and reading.raw.declared is None:
        found = ordered_levels([str(level) for level in levels])
        levels = found[0] if found else levels
    if kind is Kind.BINARY and len(levels) != 2:
        raise complain(
            f"Column {reading.raw.name!r} of {source}",
            "have two levels to be binary",
            f"it has {len(levels)}",
            "call it categorical",
        )
    return levels


def _no_numbers(reading: Reading, kind: Kind, source: str) -> DataError:
    words = reading.words if reading.words is not None else reading.raw.series
    row = int(words.is_not_null().arg_max() or 0)
    return complain(
        f"Column {reading.raw.name!r} of {source}",
        f"hold {'dates of one format' if kind is Kind.DATETIME else 'numbers'} to be {kind.value}",
        f"row {row} (counting from 0) holds {shorten(words[row])}",
        "call it categorical, or name the words that stand for missing cells",
    )


def _bounds(observed: np.ndarray) -> tuple[float, float]:
    """The first natural interval around the values, or their range."""
    if not len(observed):
        return 0.0, 1.0
    low, high = float(observed.min()), float(observed.max())
    around = (low, high if high > low else low + 1.0)
    return next(((a, b) for a, b in INTERVALS if a <= low and high <= b), around)
