"""Values as JSON and back: every field is looked at before it is believed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints, overload

import numpy as np

from tightbound.data.errors import DataError, complain, shorten

T = TypeVar("T")
U = TypeVar("U")


def damaged(what: str, must: str, came: str) -> DataError:
    """The error for a saved object that is foreign or damaged."""
    return complain(what, must, came, "it is damaged or of another program; save it anew")


@overload
def field(data: object, key: str, kind: type[T], what: str) -> T: ...
@overload
def field(data: object, key: str, kind: tuple[type[T], type[U]], what: str) -> T | U: ...
def field(data: object, key: str, kind: Any, what: str) -> Any:
    """`data[key]`, after making sure that it is there and of the kind."""
    if not isinstance(data, Mapping):
        raise damaged(what, "be a mapping of names to values", f"it is {shorten(data)}")
    if key not in data:
        raise damaged(what, f"have the entry {key!r}", "it has none of that name")
    value = data[key]
    # JSON's true and false are numbers to Python, and a whole number may stand for a real one.
    fits = isinstance(value, kind) and (isinstance(value, bool) is (kind is bool))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not fits:
        raise damaged(f"Entry {key!r} of {what}", f"be of type {_words(kind)}", f"it is {shorten(value)}")
    return value


def plain(value: Any, *, but: str = "") -> Any:
    """A value as `json` can write it, exactly: fields by name, tuples and arrays as lists, infinity as null."""
    if dataclasses.is_dataclass(value):
        own = [each.name for each in dataclasses.fields(value) if each.init and each.name != but]
        return {name: plain(getattr(value, name)) for name in own}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def restored(cls: type[T], data: Any, what: str, **others: Callable[[Any], Any]) -> T:
    """The dataclass whose `plain` form this is; a foreign or damaged one is a DataError.

    Args:
        cls: with fields that are texts, numbers, true or false, tuples of these, and arrays of finite numbers.
        data: as `plain` made it.
        what: words for messages.
        others: how the fields of other types are read.
    """
    hints, values = get_type_hints(cls), {}
    for each in dataclasses.fields(cls):  # type: ignore[arg-type]
        hint, there = hints[each.name], isinstance(data, Mapping) and each.name in data
        if not each.init:
            continue
        if each.name in others:
            values[each.name] = others[each.name](data[each.name] if there else None)
        elif get_origin(hint) is np.ndarray:
            values[each.name] = _array(data, each.name, what)
        elif get_origin(hint) is tuple:
            values[each.name] = _tuple(data, each.name, get_args(hint)[0], what)
        elif hint is not float or not there or data[each.name] is not None:  # else the default, which is infinite
            values[each.name] = field(data, each.name, hint, what)
    return cls(**values)


def _tuple(data: Any, key: str, kind: type, what: str) -> tuple[Any, ...]:
    found = field(data, key, list, what)
    return tuple(field({key: each}, key, kind, what) for each in found)


def _array(data: Any, key: str, what: str) -> np.ndarray:
    numbers = _tuple(data, key, float, what)
    if not all(math.isfinite(number) for number in numbers):
        raise damaged(f"Entry {key!r} of {what}", "hold finite numbers", "one is not")
    return np.array(numbers, dtype=np.float64)


def _words(kind: Any) -> str:
    return " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
