"""The column types, and what is dropped before they are asked. To add a type: its file, and its place in the list."""

from __future__ import annotations

import numpy as np
import polars as pl

from tightbound.data.cells.text import beyond_exact
from tightbound.data.errors import complain, listing, shorten, suggestion
from tightbound.data.types.column import Column, ColumnType
from tightbound.data.types.datetime import Datetime
from tightbound.data.types.levelled import Binary, Categorical, Ordinal, all_levels
from tightbound.data.types.numbers import is_whole, span
from tightbound.data.types.quantities import Bounded, Count, Positive, Real
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import ALMOST_ALL, COLLISIONS, ENOUGH, IDENTIFIER, REPEATS

TYPES: list[ColumnType] = [
    Real(),
    Positive(),
    Bounded(),
    Count(),
    Ordinal(),
    Categorical(),
    Binary(),
    Datetime(),
]
"""From the most general to the most special. They are asked from the last to the first: the first that speaks decides,
and real, which takes any number, comes last."""


def decide(reading: Reading) -> Column:
    """The column, as the first rule that speaks says."""
    rules = (*DROPPED, *(each.infer for each in reversed(TYPES)))
    with np.errstate(over="ignore"):  # the range of numbers near 1e308 is infinite, and exceeds what it is held against
        return next(column for rule in rules if (column := rule(reading)) is not None)


def column_type(word: object, what: str) -> ColumnType:
    """The type of that word; an unknown one is a DataError."""
    found = {each.word: each for each in TYPES}
    if isinstance(word, str) and word in found:
        return found[word]
    close = suggestion(word, found) if isinstance(word, str) else ""
    raise complain(what, f"be one of {listing(found)}", f"it is {shorten(word)}", f"choose one of these{close}")


def empty(reading: Reading) -> Column | None:
    """No value at all."""
    if reading.n:
        return None
    return Real().found(reading, "Every cell is missing, so there is nothing to learn", dropped=True)


def constant(reading: Reading) -> Column | None:
    """One value in all cells, given back from memory."""
    levels = all_levels(reading)
    if len(levels) != 1:
        return None
    numbers = reading.numbers is not None and not isinstance(levels[0], bool)
    kind = Datetime() if reading.moment else Real() if numbers else Categorical()
    value = float(reading.observed[0]) if numbers and not isinstance(levels[0], str) else levels[0]
    told = "the same moment" if reading.moment and not isinstance(value, str) else shorten(value)
    return kind.found(reading, f"Every cell is {told}: a constant says nothing", dropped=True, constant=value)


def named_identifier(reading: Reading) -> Column | None:
    """The name says identifier, and no two cells are the same."""
    if reading.n < ENOUGH or reading.moment or reading.raw.declared or not IDENTIFIER.match(reading.raw.name):
        return None
    words = reading.numbers is None
    levels = len(reading.texts) if words else len(reading.tally[0])
    if levels < reading.n or (reading.observed % 1).any():
        return None
    kind = Categorical() if words else Real()
    return kind.found(reading, "Its name says identifier, and no two cells are the same", dropped=True)


def codes_beyond_exact(reading: Reading) -> Column | None:
    """Whole numbers beyond 2^53 are codes: levels where each is seen often, else identifiers."""
    if reading.numbers is not None or reading.raw.declared is not None or not beyond_exact(pl.Series(reading.texts)):
        return None
    if reading.n >= REPEATS * len(reading.texts):
        return None
    return Real().found(reading, "Whole numbers beyond 2^53 are codes, not magnitudes", dropped=True)


def counting_up(reading: Reading) -> Column | None:
    """Whole numbers that avoid repeating where chance would repeat: identifiers."""
    distinct, n = reading.tally[0], reading.n
    if not reading.is_numbers or not is_whole(distinct) or len(distinct) < ALMOST_ALL * n:
        return None
    if n * (n - 1) / 2 < COLLISIONS * (1 + 10 * (n - len(distinct))) * (distinct[-1] - distinct[0] + 1):
        return None
    why = f"{len(distinct):,} different whole numbers {span(distinct)} that count up"
    return Real().found(reading, why, dropped=True)


DROPPED = (empty, constant, named_identifier, codes_beyond_exact, counting_up)
