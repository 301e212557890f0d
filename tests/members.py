"""Members of axes for tables of cases: one set of parameters for all of them, of which each takes its own."""

from typing import Any

from tightbound.model.axes import AXES, Member


def some(axis: str, word: str, **parameters: Any) -> Member:
    """The member with this word and those of the parameters that it has."""
    kind = AXES[axis].kind(word)
    return kind(**{name: value for name, value in parameters.items() if name in kind.parameters()})
