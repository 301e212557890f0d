"""A table's schema as plain text."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from tightbound.data.cells.text import NumberFormat
from tightbound.data.types.column import Kind, TableColumn
from tightbound.data.types.numbers import amount

MOST_ROWS = 60
WIDTH = 60


def plain_table(columns: Sequence[TableColumn]) -> str:
    """Name, kind, details, missing cells and reason of every column, one a line (longer reasons continue below)."""
    shown = columns[:MOST_ROWS]
    rows = [("column", "kind", "details", "missing", "why"), *(_row(column) for column in shown)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [line for row in rows for line in _lines(row, widths)]
    if len(columns) > MOST_ROWS:
        lines.append(f"... and {len(columns) - MOST_ROWS:,} more columns")
    return "\n".join([_summary(columns), *lines])


def _summary(columns: Sequence[TableColumn]) -> str:
    kinds = Counter(column.kind.value for column in columns if not column.dropped)
    words = [f"{kinds[kind.value]:,} {kind.value}" for kind in Kind if kinds[kind.value]]
    dropped = sum(column.dropped for column in columns)
    words += [f"{dropped:,} dropped"] if dropped else []
    return f"{len(columns):,} columns: {', '.join(words)}"


def _row(column: TableColumn) -> tuple[str, str, str, str, str]:
    kind = "dropped" if column.dropped else column.kind.value
    name = textwrap.shorten(column.name, 30, placeholder="...") or repr(column.name)
    return name, kind, _details(column), f"{column.n_missing:,}", column.reason


def _details(column: TableColumn) -> str:
    parts = []
    if column.levels is not None:
        mark = " < " if column.kind is Kind.ORDINAL else ", "
        parts.append(_some([str(level) for level in column.levels], mark))
    if column.bounds is not None:
        parts.append(f"[{amount(column.bounds[0])}, {amount(column.bounds[1])}]")
    if isinstance(column.format, str) and not column.dropped:
        parts.append(column.format)
    if column.grid and not column.dropped:
        parts.append(f"step {amount(column.grid)}")
    if column.unit and (not isinstance(column.format, str)):
        parts.append(column.unit)
    if isinstance(column.format, NumberFormat) and column.levels is None and not column.dropped:
        parts.append("text")
    return "; ".join(parts)


def _some(levels: Sequence[str], mark: str) -> str:
    text = mark.join(levels)
    if len(text) <= 40:
        return text
    return f"{mark.join(levels[:2])[:30]}{mark}...{mark}{levels[-1][:15]} ({len(levels)} levels)"


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    left = "  ".join(f"{text:<{width}}" for text, width in zip(row[:4], widths, strict=True))
    why = textwrap.wrap(row[4], WIDTH) or [""]
    return [f"{left}  {why[0]}".rstrip(), *(f"{' ' * len(left)}  {line}" for line in why[1:])]
