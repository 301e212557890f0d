"""Refusing choices that make no sense whatever the data are: one sentence each, before any work."""

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from tightbound.estimator.settings import SETTINGS


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse values that make no sense whatever the data are (`ValueError`); None stands for the default."""
    for setting in SETTINGS:
        value = settings.get(setting.name, setting.default)
        if setting.choices:
            check_choice(setting.name, value)
        elif setting.kind is bool and value not in (True, False):
            raise ValueError(f"{setting.name} must be True or False; got {value!r}; choose one of the two.")
        elif setting.least is not None and (value is not None or setting.default is not None):
            check_number(setting.name, value, setting.least, setting.most, setting.usual, whole=setting.kind is int)
    _check_sizes(settings.get("hidden_sizes"))
    for key in (*names_of(settings.get("condition")), *names_of(settings.get("exposure"))):
        if not isinstance(key, str | int) or key is True or key is False:
            raise ValueError(
                f"condition and exposure must name columns, by name or by number; got {key!r}; name one that is there."
            )


def names_of(columns: Any) -> tuple[Any, ...]:
    """Columns named one by one, or as several, or not at all (None)."""
    if columns is None:
        return ()
    several = isinstance(columns, Iterable) and not isinstance(columns, str)
    return tuple(columns) if several else (columns,)


def check_choice(name: str, value: Any) -> None:
    """Refuse a value that is not one of the setting's choices (`ValueError`)."""
    choices = next(setting.choices for setting in SETTINGS if setting.name == name)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}; choose one of those.")


def check_number(name: str, value: Any, least: float, most: float, advice: str, whole: bool = True) -> None:
    """Refuse a value that is not a (whole) number between `least` and `most` (`ValueError`)."""
    number = isinstance(value, numbers.Real) and value is not True and value is not False and math.isfinite(value)
    if not (number and least <= value <= most and (not whole or value == int(value))):
        kind = "a whole number" if whole else "a number"
        span = f"between {least:.10g} and {most:.10g}" if most != math.inf else f"of at least {least:.10g}"
        raise ValueError(f"{name} must be {kind} {span}; got {value!r}; {advice}.")


def _check_sizes(sizes: Any) -> None:
    several = isinstance(sizes, Iterable) and not isinstance(sizes, str)
    for size in sizes if several else () if sizes is None else (sizes,):
        check_number("A layer of hidden_sizes", size, 1, math.inf, "(300, 300) is usual")
