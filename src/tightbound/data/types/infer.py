"""The schema of a mixed table, from the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tightbound.data.cells.raw import raw_table
from tightbound.data.names import require_unique
from tightbound.data.types.column import LEVELLED
from tightbound.data.types.decide import decide
from tightbound.data.types.forced import decide_as, require_kind
from tightbound.data.types.reading import read_column
from tightbound.data.types.table_schema import TableSchema, require_known


def infer_table_schema(
    X: Any,
    *,
    kinds: Mapping[str, str] | None = None,
    missing: Sequence[str] = (),
    source: str = "X",
) -> TableSchema:
    """What kind of thing each column holds, by the rules of `decide` with the thresholds of `rules`.

    Everything is decided from a column's observed cells, whatever their order: rows can be shuffled, and rows without
    any value added, and the kinds stay.

    Args:
        X: pandas or polars data frame, Arrow table, two-dimensional NumPy array or nested lists. Categories, enums and
            dictionaries are honoured; columns of text are read as numbers or dates where every cell is one.
        kinds: the kind of some columns, by name, instead of the inferred one (then they are not dropped either).
        missing: words that stand for a missing cell, beside the usual ones.
        source: words for messages.

    Raises:
        DataError: for no rows or columns, two columns of one name, values of several types or dates of several formats
            in one column, infinite numbers, unknown columns or kinds in `kinds`.

    Example:
        >>> import polars as pl
        >>> table = pl.DataFrame({"size": ["S", "L", "M"] * 9, "weight": [0.5, 1.25, 80.0] * 9})
        >>> [column.kind.value for column in infer_table_schema(table).columns]
        ['ordinal', 'ordinal']
    """
    raw = raw_table(X, source)
    require_unique([column.name for column in raw.columns], source)
    kinds = dict(kinds or {})
    require_known(kinds, [column.name for column in raw.columns], "kinds", source)
    wanted = {name: require_kind(kind, f"The kind of column {name!r}") for name, kind in kinds.items()}
    columns = []
    for each in raw.columns:
        kind = wanted.get(each.name)
        reading = read_column(each, missing, source, strict=kind not in LEVELLED)
        columns.append(decide(reading) if kind is None else decide_as(reading, kind, source))
    return TableSchema(tuple(columns), raw.container, raw.named, tuple(missing))
