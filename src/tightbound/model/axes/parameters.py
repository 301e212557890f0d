"""What a parameter may be: its help, its bounds, and the sentence that refuses anything else."""

import dataclasses
import itertools
import math
import numbers
from collections.abc import Iterable
from typing import Any, final

MOST = 10**6
"""No parameter is sensibly larger, where nothing else is said of it: nothing that is asked for may have no end."""
MOST_DRAWS, MOST_STEPS, MOST_CHAINS, MOST_ROWS = 10**4, 10**4, 10**4, 10**9
"""Of completions of a table, of an inner loop, of a row's chains, of rows to be drawn."""
MOST_LATENTS, MOST_LAYERS, WIDEST = 10**4, 100, 10**5
"""Of latents, of layers of a network or a flow, of numbers between two layers."""


@final
@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a member or of a fit: default, meaning, and what it may be."""

    default: Any
    help: str
    kind: type = int
    choices: tuple[str, ...] = ()
    least: float | None = None
    """The smallest number it may be; None where a number has no bounds, or where it is none."""
    most: float = MOST
    usual: str = ""
    """What to do when it is something else."""
    group: str = ""
    """The heading that it stands under in help."""

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that it may not have (`ValueError`); None stands for a default that depends on the data."""
        if value is None and self.default is None:
            return
        if self.choices:
            check_choice(name, value, self.choices)
        elif self.kind is bool:
            check_flag(name, value)
        elif self.kind is tuple:
            check_sizes(name, value)
        elif self.least is not None:
            check_number(name, value, self.least, self.most, self.usual, whole=self.kind is int)


def parameter(default: Any, help: str, **rest: Any) -> Any:
    """A field of a dataclass that is such a parameter."""
    return dataclasses.field(default=default, metadata={"parameter": Parameter(default, help, **rest)})


def parameters_of(owner: Any) -> dict[str, Parameter]:
    """The parameters of a dataclass, by name."""
    return {each.name: each.metadata["parameter"] for each in dataclasses.fields(owner)}


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not one of these words (`ValueError`)."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}; choose one of those.")


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither true nor false (`ValueError`)."""
    if value not in (True, False):
        raise ValueError(f"{name} must be True or False; got {value!r}; choose one of the two.")


def check_number(name: str, value: Any, least: float, most: float, advice: str, whole: bool = True) -> None:
    """Refuse a value that is not a (whole) number between `least` and `most` (`ValueError`)."""
    number = isinstance(value, numbers.Real) and value is not True and value is not False
    number = number and -math.inf < value < math.inf  # a whole number may be too large to be asked whether it is finite
    if not (number and least <= value <= most and (not whole or value == int(value))):
        kind = "a whole number" if whole else "a number"
        bounded = most not in (MOST, math.inf) or (number and value > most)
        span = f"between {least:.10g} and {most:.10g}" if bounded else f"of at least {least:.10g}"
        raise ValueError(f"{name} must be {kind} {span}; got {_brief(value)}; {advice}.")


def _brief(value: Any) -> str:
    if isinstance(value, int) and abs(value) > 10**40:  # Python itself refuses to write very long ones
        return "one of more than 40 digits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def check_sizes(name: str, sizes: Any) -> None:
    """Refuse widths of layers that are not a few whole numbers of at least 1 (`ValueError`)."""
    several = isinstance(sizes, Iterable) and not isinstance(sizes, str)
    layers = list(itertools.islice(sizes, MOST_LAYERS + 1)) if several else [sizes]
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"{name} must be at most {MOST_LAYERS} layers; got more; (300, 300) is usual.")
    for size in layers:
        check_number(f"A layer of {name}", size, 1, WIDEST, "(300, 300) is usual")
