"""Reading back what was saved as JSON: every field is looked at before it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, overload

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


def optional_number(data: object, key: str, what: str) -> float | None:
    """A real number or nothing (JSON null)."""
    if isinstance(data, Mapping) and key in data and data[key] is None:
        return None
    return field(data, key, float, what)


def _words(kind: Any) -> str:
    return " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
