"""The column types. To add one: its file beside this one, and its place in this list."""

from __future__ import annotations

import numpy as np

from tightbound.data.errors import complain, listing, shorten, suggestion
from tightbound.data.types.binary import Binary
from tightbound.data.types.bounded import Bounded
from tightbound.data.types.categorical import Categorical
from tightbound.data.types.column import Column, ColumnType
from tightbound.data.types.count import Count
from tightbound.data.types.datetime import Datetime
from tightbound.data.types.dropped import DROPPED
from tightbound.data.types.ordinal import Ordinal
from tightbound.data.types.positive import Positive
from tightbound.data.types.reading import Reading
from tightbound.data.types.real import Real

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
