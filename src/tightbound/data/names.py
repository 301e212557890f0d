"""The names of a table's columns, and which columns are set aside."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

from tightbound.data.errors import DataError, complain, listing, suggestion


@final
@dataclass(frozen=True)
class Aside:
    """Named columns of a table that are not modelled.

    Attributes:
        label: the column that was taken as labels, or None.
        dropped: the columns that were left out.
    """

    label: str | None = None
    dropped: tuple[str, ...] = ()


NOTHING_ASIDE = Aside()


@final
@dataclass(frozen=True)
class Choice:
    """Which columns to set aside.

    Attributes:
        label: the column of labels (name, or number); it must be there.
        drop: columns to leave out; they must be there.
        known: columns to set aside where they are there. They have names, so a table without names has none of them.
    """

    label: str | int | None = None
    drop: Sequence[str | int] = ()
    known: Aside = NOTHING_ASIDE

    def positions(self, names: Sequence[str], named: bool, source: str) -> tuple[int | None, set[int]]:
        """The position of the label column, if any, and those of all columns that are not modelled."""
        known = [name for name in (self.known.label, *self.known.dropped) if name is not None]
        present = [name for name in known if named and name in names]
        aside = {column_position(key, names, source) for key in (*self.drop, *present)}
        label = self.label
        if label is None and self.known.label in present:
            label = self.known.label
        if label is None:
            return None, aside
        at = column_position(label, names, source)
        return at, aside | {at}


def default_names(d: int) -> tuple[str, ...]:
    """The names of d columns that have none: "x0", "x1", ..."""
    return tuple(f"x{i}" for i in range(d))


def require_unique(names: Sequence[str], source: str) -> None:
    """Refuses columns of which two have the same name."""
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            raise complain(
                source,
                "have columns with different names",
                f"column {i} (counting from 0) has the name {name!r} again",
                "rename one of the two, or drop it",
            )
        seen.add(name)


def column_position(key: str | int, names: Sequence[str], source: str) -> int:
    """The position of a column given by name or, when no column has that name, by number."""
    if str(key) in names:
        return list(names).index(str(key))
    if str(key).removeprefix("-").isdigit() and -len(names) <= int(key) < len(names):
        return int(key) % len(names)
    raise complain(
        source,
        f"have the column {str(key)!r} that was asked for",
        f"its columns are {listing(names)}",
        f"name one of those{suggestion(str(key), names)}",
    )


def require_cells(shape: tuple[int, ...], source: str) -> None:
    """Refuses a table of no rows or no columns (`shape` as the user sees it)."""
    if 0 in shape[1:]:
        raise DataError(
            f"{source} must have columns, but came with 0 feature(s) (shape={shape}) while a minimum of 1 is required: "
            "give at least one column of numbers."
        )
    if shape[0] == 0:
        raise DataError(
            f"{source} must have rows: Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required; "
            "give at least one row of data."
        )


def matched(
    names: Sequence[str],
    wanted: Sequence[str],
    *,
    by_name: bool,
    source: str,
    expected_by: str,
    optional: Collection[str] = (),
) -> list[int | None]:
    """The position of each wanted column among `names`: by name, or the same order.

    Args:
        names: of the columns that are there.
        wanted: of those that must be there, and no others.
        by_name: False where one side has no names of the user's.
        source, expected_by: words for the table and for who expects the columns.
        optional: those of `wanted` that may be absent; then their position is None.
    """
    if not by_name:
        if len(names) == len(wanted):
            return list(range(len(wanted)))
        raise DataError(
            f"{source} must have the {len(wanted)} columns of the fitted data, but X has {len(names)} features, "
            f"but {expected_by} is expecting {len(wanted)} features as input: give the same columns in the same order."
        )
    position, known = {name: j for j, name in enumerate(names)}, set(wanted)
    lacking = [name for name in wanted if name not in position and name not in optional]
    extra = [name for name in names if name not in known]
    if lacking:
        added = f" (it has {listing(extra)}, which {expected_by} does not know)" if extra else ""
        raise complain(
            source,
            f"have the columns that {expected_by} knows",
            f"it lacks {listing(lacking)}{suggestion(lacking[0], extra)}{added}",
            "add them (empty cells are allowed), or rename the columns that stand for them",
        )
    if extra:
        raise complain(
            source, f"have only columns that {expected_by} knows", f"it also has {listing(extra)}", "drop these"
        )
    return [position.get(name) for name in wanted]
