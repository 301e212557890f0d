"""What a rule says of a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from tightbound.data.cells.raw import Level
from tightbound.data.types.column import Kind


@final
@dataclass(frozen=True)
class Verdict:
    """A decision and why: the fields are those of `TableColumn`; the reason is a sentence without its full stop."""

    kind: Kind
    reason: str
    levels: tuple[Level, ...] | None = None
    bounds: tuple[float, float] | None = None
    dropped: bool = False
    constant: Level | None = None
