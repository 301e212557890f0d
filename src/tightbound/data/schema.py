"""The schema of a table: what each column holds, shown, edited, saved, and used to turn cells into numbers."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from tightbound.data.cells.raw import RawColumn, RawTable, raw_table
from tightbound.data.cells.storage import POLARS, storage_for
from tightbound.data.errors import complain, cut, listing, shorten, suggestion
from tightbound.data.names import NOTHING_ASIDE, Aside, matched, require_unique
from tightbound.data.types.assembling import assemble
from tightbound.data.types.column import Column
from tightbound.data.types.reading import read_column
from tightbound.data.types.registry import TYPES, column_type, decide
from tightbound.data.types.saving import schema_from_json, schema_to_json

MOST_ROWS = 60
WIDTH = 60
"""Of the reasons, where a schema is shown."""


@final
@dataclass(frozen=True, repr=False)
class Schema:
    """The columns of a table.

    Attributes:
        columns: one `Column` for each, in order, the dropped ones included.
        container: "numpy", "pandas", "polars" or "arrow": what `values` gives back.
        named: True when the names are the user's, so that new tables are matched by name, else by position.
        missing: words for a missing cell, beside the usual ones.
        shape: of one datum of a block of numbers, which are read as they come and all at once: (9,), (28, 28). () for
            columns that are read one by one, as their types say.
        aside: named columns that the table had beside these; new tables may have them or not.
        integers: names that are whole numbers in a pandas frame.

    Example:
        >>> import polars as pl
        >>> from tightbound.data import infer_schema
        >>> table = pl.DataFrame({"answer": ["no", "yes", None], "weight": [0.5, None, 80.25]})
        >>> schema = infer_schema(table)
        >>> schema.codes(table)
        array([[ 0.  ,  0.5 ],
               [ 1.  ,   nan],
               [  nan, 80.25]])
        >>> schema.values(schema.codes(table)).equals(table)
        True
    """

    columns: tuple[Column, ...]
    container: str = "polars"
    named: bool = True
    missing: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    aside: Aside = NOTHING_ASIDE
    integers: tuple[str, ...] = ()

    @property
    def block(self) -> bool:
        """Whether the columns are a block of numbers."""
        return self.shape != ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def modelled(self) -> tuple[Column, ...]:
        """The columns that are not dropped: those of the matrix of `codes`."""
        return tuple(column for column in self.columns if not column.dropped)

    def __getitem__(self, name: str) -> Column:
        """The column of a name."""
        require_known([name], self.names, "The name", "the schema")
        return self.columns[self.names.index(name)]

    def __repr__(self) -> str:
        """A plain-text table: name, type, details, missing, why."""
        return _plain_table(self.columns)

    def with_column(self, column: Column) -> Schema:
        """The schema with the column of that name replaced: `schema.with_column(replace(schema["age"], type=...))`.

        Levels and bounds that are None are read from the table by `settled`.
        """
        require_known([column.name], self.names, "The name", "the schema")
        columns = tuple(column if each.name == column.name else each for each in self.columns)
        return Schema.from_json(replace(self, columns=columns).to_json())

    def to_json(self) -> dict[str, Any]:
        """The schema as a dictionary that `json` can write; numbers survive exactly."""
        return schema_to_json(
            self.columns, self.container, self.named, self.missing, self.shape, self.aside, self.integers
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """The schema that `to_json` wrote and a person may have edited.

        A column needs a name and a type; all else may be left out, to be read from the table by `settled`.

        Raises:
            DataError: for unknown entries or types, levels that are no texts or numbers, two columns of one name,
                entries that contradict the type.
        """
        return cls(*schema_from_json(data))

    def moved_to(self, container: str) -> Schema:
        """The schema with every column in a type of another container ("numpy", "pandas", "polars" or "arrow")."""
        if container == self.container or {container, self.container} == set(POLARS):
            return replace(self, container=container)
        columns = tuple(replace(column, storage=_storage_in(column, container)) for column in self.columns)
        return replace(self, columns=columns, container=container)

    def settled(self, X: Any, *, source: str = "X") -> Schema:
        """The schema with what was left open (levels, bounds, types) read from a table."""
        raw = raw_table(X, source)
        columns = []
        for column, given in self._matched(raw):
            if given is None or not column.is_open:
                columns.append(column)
                continue
            found = column.type.force(read_column(given, self.missing, source, strict=False), source)
            columns.append(_filled(column, found))
        return replace(self, columns=tuple(columns), container=raw.container, named=raw.named, integers=raw.integers)

    def codes(self, X: Any, *, unseen: str = "error", source: str = "X") -> np.ndarray:
        """The table as numbers.

        Args:
            X: a table with the columns of the schema (dropped ones may be absent), in any order when they have names.
            unseen: "error" or "missing": what becomes of a level that the schema does not know.
            source: words for messages.

        Returns:
            (n, d) float64 for the d modelled columns: numbers as they are, codes of levels, days since 1970-01-01
            (UTC); NaN where a cell is missing.

        Raises:
            DataError: for other columns, cells of another type, levels that are not known, numbers outside bounds;
                when something of the schema is still open.
        """
        return self._codes(raw_table(X, source), unseen)

    def values(self, codes: np.ndarray, *, like: Any | None = None, fill_constants: bool = False) -> Any:
        """The columns that a matrix of codes stands for, in the container and types of the fitted table.

        Whole numbers are rounded to their type. Constant columns are filled in; other dropped columns are left out.
        Cells of text come back as the column's format spells them; moments are exact to the microsecond until 2149.

        Args:
            codes: (n, d), as `codes` gives.
            like: the table that the codes came from. Then every cell whose code has not changed, and every dropped
                column, comes back as it was there, bit for bit, whatever its spelling; so do index and types.

            fill_constants: whether gaps of `like` in columns that had one value get that value.

        Raises:
            DataError: for a matrix of another shape, and codes of no level.
        """
        raw = None if like is None else raw_table(like, "like")
        matrix = np.asarray(codes, dtype=np.float64)
        self._require_shape(matrix, raw)
        if raw is None:
            return assemble(self.columns, matrix, self.container, self.named, self.integers)
        before = self._codes(raw, "missing")
        differs = ~((matrix == before) | (np.isnan(matrix) & np.isnan(before)))
        changed = {column.name: differs[:, j] for j, column in enumerate(self.modelled)}
        matched = self._matched(raw)
        for column, came in matched if fill_constants else ():
            if column.constant is not None and came is not None:
                changed[column.name] = column.type.gaps(came, self.missing)
        given = [came for _, came in matched]
        columns = self.moved_to(raw.container).columns
        return assemble(columns, matrix, raw.container, raw.named, raw.integers, raw, given, changed)

    def departures(self, X: Any, *, source: str = "X") -> dict[str, np.ndarray]:
        """For each column that had one value alone, by name: (n,) bool, which cells of a table hold another."""
        if not any(column.constant is not None for column in self.columns):
            return {}
        return {
            column.name: column.type.departs(column, given, self.missing)
            for column, given in self._matched(raw_table(X, source))
            if column.constant is not None and given is not None
        }

    def _codes(self, raw: RawTable, unseen: str) -> np.ndarray:
        if unseen not in ("error", "missing"):
            raise complain("unseen", "be 'error' or 'missing'", f"it is {unseen!r}", "choose one of these")
        matrix = np.full((raw.n_rows, len(self.modelled)), np.nan)
        kept = [(column, given) for column, given in self._matched(raw) if not column.dropped]
        for j, (column, given) in enumerate(kept):
            if column.is_open:
                raise complain(
                    f"Column {column.name!r} of the schema",
                    "have its type, levels, bounds and format",
                    "they are left open",
                    "read them from the table first (schema.settled(table))",
                )
            if given is not None:
                matrix[:, j] = column.type.codes(column, given, missing=self.missing, unseen=unseen, source=raw.source)
        return matrix

    def _matched(self, raw: RawTable) -> list[tuple[Column, RawColumn | None]]:
        """Each column of the schema with the table's column: by name where both have names, else by position."""
        at = matched(
            [column.name for column in raw.columns],
            self.names,
            by_name=self.named and raw.named,
            source=raw.source,
            expected_by="the schema",
            optional={column.name for column in self.columns if column.dropped},
        )
        return [(column, None if j is None else raw.columns[j]) for column, j in zip(self.columns, at, strict=True)]

    def _require_shape(self, matrix: np.ndarray, raw: RawTable | None) -> None:
        d = len(self.modelled)
        rows = None if raw is None else raw.n_rows
        if matrix.ndim != 2 or matrix.shape[1] != d or (rows is not None and matrix.shape[0] != rows):
            raise complain(
                "The matrix",
                f"have {d} columns, one for each modelled column{'' if rows is None else f', and {rows} rows'}",
                f"its shape is {matrix.shape}",
                "give a matrix such as codes(table) returns",
            )


def infer_schema(
    X: Any,
    *,
    types: Mapping[str, str] | None = None,
    missing: Sequence[str] = (),
    source: str = "X",
) -> Schema:
    """What each column holds, by the rules of the column types, with the thresholds of `rules`.

    Everything is decided from a column's observed cells, whatever their order: rows can be shuffled, and rows without
    any value added, and the types stay.

    Args:
        X: pandas or polars data frame, Arrow table, two-dimensional NumPy array or nested lists. Categories, enums and
            dictionaries are honoured; columns of text are read as numbers or dates where every cell is one.
        types: the type of some columns, by name, instead of the inferred one (then they are not dropped either).
        missing: words that stand for a missing cell, beside the usual ones.
        source: words for messages.

    Raises:
        DataError: for no rows or columns, two columns of one name, values of several types or dates of several formats
            in one column, infinite numbers, unknown columns or types in `types`.

    Example:
        >>> import polars as pl
        >>> table = pl.DataFrame({"size": ["S", "L", "M"] * 9, "weight": [0.5, 1.25, 80.0] * 9})
        >>> [column.type.word for column in infer_schema(table).columns]
        ['ordinal', 'ordinal']
    """
    raw = raw_table(X, source)
    require_unique([column.name for column in raw.columns], source)
    types = dict(types or {})
    require_known(types, [column.name for column in raw.columns], "types", source)
    wanted = {name: column_type(kind, f"The type of column {name!r}") for name, kind in types.items()}
    columns = []
    for each in raw.columns:
        kind = wanted.get(each.name)
        reading = read_column(each, missing, source, strict=kind is None or not kind.levelled)
        columns.append(decide(reading) if kind is None else kind.force(reading, source))
    return Schema(tuple(columns), raw.container, raw.named, tuple(missing), integers=raw.integers)


def require_known(names: Iterable[str], known: Sequence[str], what: str, source: str) -> None:
    """Refuses names of columns that are not there."""
    have = set(known)
    for name in names:
        if name not in have:
            raise complain(
                what,
                f"name columns of {source}",
                f"it names {shorten(name)}",
                f"name one of {listing(known)}{suggestion(str(name), known)}",
            )


def _storage_in(column: Column, container: str) -> str:
    """The type in which a container keeps the values of a column that came in another one."""
    other = column.constant is not None and not isinstance(column.constant, float)
    return storage_for(type(column.constant) if other else column.type.kept_as(column), container)


def _filled(column: Column, found: Column) -> Column:
    """The user's column, with what it leaves open taken from what was found."""
    return replace(
        found,
        levels=column.levels if column.levels is not None else found.levels,
        bounds=column.bounds if column.bounds is not None else found.bounds,
        format=column.format if column.format is not None else found.format,
        point_masses=column.point_masses or found.point_masses,
        heavy_tails=column.heavy_tails or found.heavy_tails,
        unit=column.unit or found.unit,
        family=column.family,
        reason=column.reason or found.reason,
    )


def _plain_table(columns: Sequence[Column]) -> str:
    """Name, type, details, missing cells and reason of every column, one a line (longer reasons continue below)."""
    shown = columns[:MOST_ROWS]
    rows = [("column", "type", "details", "missing", "why"), *(_row(column) for column in shown)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [line for row in rows for line in _lines(row, widths)]
    if len(columns) > MOST_ROWS:
        lines.append(f"... and {len(columns) - MOST_ROWS:,} more columns")
    return "\n".join([_summary(columns), *lines])


def _summary(columns: Sequence[Column]) -> str:
    kinds = Counter(column.type for column in columns if not column.dropped)
    words = [f"{kinds[kind]:,} {kind.word}" for kind in TYPES if kinds[kind]]
    dropped = sum(column.dropped for column in columns)
    words += [f"{dropped:,} dropped"] if dropped else []
    return f"{len(columns):,} columns: {', '.join(words)}"


def _row(column: Column) -> tuple[str, str, str, str, str]:
    kind = "dropped" if column.dropped else column.type.word
    name = cut(column.name, 30) or repr(column.name)
    return name, kind, "; ".join(column.type.details(column)), f"{column.n_missing:,}", column.reason


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    left = "  ".join(f"{text:<{width}}" for text, width in zip(row[:4], widths, strict=True))
    why = textwrap.wrap(row[4], WIDTH) or [""]
    return [f"{left}  {why[0]}".rstrip(), *(f"{' ' * len(left)}  {line}" for line in why[1:])]
