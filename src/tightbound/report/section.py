"""What a section of a page is: a title, what of the results it shows, and how it draws that."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, final

from tightbound.report.markup import Markup

Results = TypeVar("Results")
Part = TypeVar("Part")


@final
@dataclass(frozen=True)
class Section(Generic[Results, Part]):
    """One section of a page; a new one is a file in `sections` and a line in its list."""

    name: str
    """What links to it say."""
    title: str
    find: Callable[[Results], Part | None]
    """What of the results it shows; None where they have nothing of the kind."""
    draw: Callable[[Part], Markup]
    """Its paragraphs, tables and pictures."""

    def body(self, results: Results) -> Markup | None:
        """What it shows of these results, or None."""
        part = self.find(results)
        return None if part is None else self.draw(part)
