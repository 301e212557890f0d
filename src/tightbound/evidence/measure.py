"""What log p of a model is the logarithm of: numbers are compared only when they are of the same thing."""

import dataclasses
from collections.abc import Mapping
from typing import final

_NAMED = 5


@final
@dataclasses.dataclass(frozen=True)
class Measure:
    """What a model gives a density or a probability, and given what."""

    columns: Mapping[str, str]
    """Of each modelled column, what its values have: "a density", "probabilities", ..."""
    given: tuple[str, ...] = ()
    """The columns that log p(x given c) takes as given."""
    missingness: tuple[str, ...] = ()
    """The columns whose being observed or not is part of what has a probability."""

    def difference(self, own: str, other: "Measure", others: str) -> str | None:
        """What the numbers of model `own` and those of model `others`, with another measure, are of (None: the same).

        The second half of a sentence: what came, and what to do.
        """
        if set(self.given) != set(other.given):
            return (
                f"{own} gives log p(x{_given(self.given)}) and {others} log p(x{_given(other.given)}); fit both with "
                "the same conditions and exposure"
            )
        alone = [name for name in {**self.columns, **other.columns} if name not in self.columns.keys() & other.columns]
        if alone:
            has, lacks = (own, others) if alone[0] in self.columns else (others, own)
            return f"{_listed(alone)} stands in {has} and not in {lacks}; fit both to the same columns"
        for name, kind in self.columns.items():
            if kind != other.columns[name]:
                return (
                    f"values of {name} have {kind} in {own} and {other.columns[name]} in {others}; fit both with the "
                    "same type and family of that column"
                )
        hidden = sorted(set(self.missingness) ^ set(other.missingness))
        if hidden:
            has = own if hidden[0] in self.missingness else others
            return f"whether {hidden[0]} is observed counts in {has} alone; fit both with the same missingness"
        return None


def check_same(measures: Mapping[str, Measure]) -> None:
    """Refuse (`ValueError`) to compare models, by name, whose log p(x) are of different things."""
    first = next(iter(measures), "")
    for name in list(measures)[1:]:
        found = measures[first].difference(first, measures[name], name)
        if found is not None:
            raise ValueError(f"Models must give log p of the same thing to be compared, but {found}.")


def _given(names: tuple[str, ...]) -> str:
    return f" given {_listed(list(names))}" if names else ""


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}"
