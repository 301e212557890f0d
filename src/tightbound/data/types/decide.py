"""The rules, in the order in which they are asked: the first that speaks decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl

from tightbound.data.cells.raw import Level
from tightbound.data.errors import shorten
from tightbound.data.types.column import LEVELLED, Kind, TableColumn
from tightbound.data.types.numbers import NUMBER_RULES, amount, distinct_levels
from tightbound.data.types.orders import ordered_levels
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import DIFFERENT_TEXTS, ENOUGH, ENOUGH_TEXTS, IDENTIFIER, MOST_LEVELS
from tightbound.data.types.shape import grid, heavy_tails, spikes
from tightbound.data.types.verdict import Verdict

Rule = Callable[[Reading], Verdict | None]


def empty(reading: Reading) -> Verdict | None:
    """No value at all: dropped."""
    if reading.n:
        return None
    return Verdict(Kind.REAL, "Every cell is missing, so there is nothing to learn", dropped=True)


def constant(reading: Reading) -> Verdict | None:
    """One value in all cells: dropped, and given back from memory."""
    levels = all_levels(reading)
    if len(levels) != 1:
        return None
    kind = Kind.DATETIME if reading.moment else Kind.REAL if reading.numbers is not None else Kind.CATEGORICAL
    value = levels[0]
    if reading.numbers is not None and not isinstance(value, str):
        value = float(reading.observed[0])
    return Verdict(
        kind, f"Every cell is {_told(reading, value)}: a constant says nothing", dropped=True, constant=value
    )


def _told(reading: Reading, value: Level) -> str:
    return "the same moment" if reading.moment and not isinstance(value, str) else shorten(value)


def declared(reading: Reading) -> Verdict | None:
    """The column's type lists its categories: they are taken, in its order where it has one."""
    levels = reading.raw.declared
    if levels is None:
        return None
    if len(levels) == 2:
        return Verdict(Kind.BINARY, "Its type lists two categories", levels)
    if len(levels) > MOST_LEVELS:
        return _too_many(len(levels), reading.n)
    if reading.raw.ordered:
        return Verdict(Kind.ORDINAL, f"Its type lists {len(levels)} categories in order", levels)
    return Verdict(Kind.CATEGORICAL, f"Its type lists {len(levels)} categories", levels)


def truth(reading: Reading) -> Verdict | None:
    """True and false are binary."""
    if reading.raw.series.dtype != pl.Boolean:
        return None
    return Verdict(Kind.BINARY, "It is true or false", (False, True))


def moments(reading: Reading) -> Verdict | None:
    """Dates, with or without times."""
    if not reading.moment:
        return None
    how = f"Dates written as {reading.format}" if reading.format else "Dates"
    return Verdict(Kind.DATETIME, f"{how}, {_span(reading)}")


def _span(reading: Reading) -> str:
    ends = np.array([reading.observed.min(), reading.observed.max()])
    first, last = (str(np.datetime64(int(np.floor(day)), "D")) for day in ends)
    return f"from {first} to {last}"


def named_identifier(reading: Reading) -> Verdict | None:
    """The name says identifier, and no two cells are the same: dropped."""
    n, levels = reading.n, _count(reading)
    whole = reading.numbers is None or not (reading.observed % 1).any()
    if n < ENOUGH or levels < n or not whole or reading.moment or not IDENTIFIER.match(reading.raw.name):
        return None
    kind = Kind.CATEGORICAL if reading.numbers is None else Kind.REAL
    return Verdict(kind, "Its name says identifier, and no two cells are the same", dropped=True)


def two_words(reading: Reading) -> Verdict | None:
    """Two different words are binary, in order where they have one."""
    if reading.words is None or reading.numbers is not None or len(reading.texts) != 2:
        return None
    found = ordered_levels(reading.texts)
    levels = found[0] if found else tuple(reading.texts)
    return Verdict(Kind.BINARY, f"Two different values, {shorten(levels[0])} and {shorten(levels[1])}", levels)


def ordered_words(reading: Reading) -> Verdict | None:
    """Words of a common scale, grades, ordinal numbers, intervals."""
    found = ordered_levels(reading.texts) if reading.numbers is None else None
    if found is None:
        return None
    return Verdict(Kind.ORDINAL, f"{len(found[0])} levels in the order of {found[1]}", found[0])


def different_words(reading: Reading) -> Verdict | None:
    """Names or remarks: almost every text is another. Dropped."""
    n, levels = reading.n, len(reading.texts)
    if reading.numbers is not None or n < ENOUGH_TEXTS or levels < DIFFERENT_TEXTS * n:
        return None
    return Verdict(
        Kind.CATEGORICAL,
        f"{levels:,} different texts in {n:,} cells are names or remarks, not categories",
        dropped=True,
    )


def many_words(reading: Reading) -> Verdict | None:
    """More levels than a model can give probabilities to: dropped."""
    if reading.numbers is not None or len(reading.texts) <= MOST_LEVELS:
        return None
    return _too_many(len(reading.texts), reading.n)


def _too_many(levels: int, n: int) -> Verdict:
    return Verdict(
        Kind.CATEGORICAL,
        f"{levels:,} levels in {n:,} cells are more than the {MOST_LEVELS:,} that can be modelled; merge the rare ones",
        dropped=True,
    )


def words(reading: Reading) -> Verdict | None:
    """All other text is categorical, its levels sorted."""
    if reading.numbers is not None:
        return None
    levels = tuple(reading.texts)
    return Verdict(Kind.CATEGORICAL, f"{len(levels)} different words in no order that is known", levels)


RULES: tuple[Rule, ...] = (
    empty,
    constant,
    declared,
    truth,
    moments,
    named_identifier,
    two_words,
    ordered_words,
    different_words,
    many_words,
    words,
    *NUMBER_RULES,
)


def _count(reading: Reading) -> int:
    return len(reading.texts) if reading.numbers is None else len(reading.tally[0])


def all_levels(reading: Reading) -> tuple[Level, ...]:
    """The different values of a column, in order."""
    if reading.numbers is None:
        return tuple(reading.texts)
    if reading.raw.series.dtype == pl.Boolean:
        return tuple(bool(value) for value in reading.tally[0])
    return distinct_levels(reading)


def decide(reading: Reading) -> TableColumn:
    """The column, as the first rule that speaks says."""
    with np.errstate(over="ignore"):  # the range of numbers near 1e308 is infinite, and exceeds what it is held against
        verdict = next(verdict for rule in RULES if (verdict := rule(reading)) is not None)
        return column_of(reading, verdict)


def column_of(reading: Reading, verdict: Verdict) -> TableColumn:
    """The verdict with all that was noticed."""
    reason = "; ".join([verdict.reason, *(reading.notes if verdict.kind not in LEVELLED else ())]) + "."
    column = TableColumn(
        name=reading.raw.name,
        kind=verdict.kind,
        storage=reading.raw.storage,
        levels=verdict.levels if verdict.kind in LEVELLED else None,
        bounds=verdict.bounds,
        unit=reading.unit,
        format=reading.format,
        n_missing=reading.n_missing,
        dropped=verdict.dropped,
        constant=verdict.constant,
        reason=reason,
    )
    return column if verdict.dropped or verdict.kind in LEVELLED else _shaped(column, reading)


def _shaped(column: TableColumn, reading: Reading) -> TableColumn:
    distinct, counts = reading.tally
    single = "32" in column.storage.lower() and column.storage.lower().startswith(("f", "d"))
    step = grid(distinct, 2.0**-23 if single else 2.0**-52)
    if column.kind is Kind.DATETIME or len(distinct) == 0:
        return replace(column, grid=step)
    found = spikes(distinct, counts)
    if column.kind is Kind.POSITIVE and distinct[0] == 0 and 0.0 not in found:
        found = (0.0, *found)
    heavy = heavy_tails(reading.observed, column.kind, found)
    shares = [float(counts[distinct == at].sum() / counts.sum()) for at in found]
    clauses = [f"a spike at {amount(at)} ({_percent(share)})" for at, share in zip(found, shares, strict=True)]
    reason = "; ".join([column.reason.removesuffix("."), *clauses, *(["heavy tails"] if heavy else [])]) + "."
    return replace(column, grid=step, spikes=found, heavy_tails=heavy, reason=reason)


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "below 0.1%"
