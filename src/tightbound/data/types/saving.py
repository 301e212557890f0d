"""A table's schema as JSON: written for people to edit, and every entry looked at when it is read back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from tightbound.data.cells.raw import Level
from tightbound.data.cells.text import NumberFormat
from tightbound.data.errors import DataError, complain, listing, shorten, suggestion
from tightbound.data.names import NOTHING_ASIDE, Aside, require_unique
from tightbound.data.saved import plain, restored
from tightbound.data.types.column import Column
from tightbound.data.types.registry import column_type

_CONTAINERS = ("numpy", "pandas", "polars", "arrow")
_ENTRIES = tuple(entry.name for entry in fields(Column))
_TOP = ("columns", "container", "named", "missing", "shape", "aside", "integers")


def schema_to_json(
    columns: Sequence[Column],
    container: str,
    named: bool,
    missing: Sequence[str],
    shape: tuple[int, ...],
    aside: Aside,
    integers: Sequence[str] = (),
) -> dict[str, Any]:
    """A dictionary that `json` can write; the columns of a block of numbers without what they do not have."""
    return {
        "columns": [_column_to_json(column, brief=shape != ()) for column in columns],
        "container": container,
        "named": named,
        "missing": list(missing),
        **({"shape": list(shape)} if shape else {}),
        **({"aside": plain(aside)} if aside != NOTHING_ASIDE else {}),
        **({"integers": list(integers)} if integers else {}),
    }


def _column_to_json(column: Column, brief: bool) -> dict[str, Any]:
    data = {each.name: getattr(column, each.name) for each in fields(Column)}
    if brief:
        data = {each.name: data[each.name] for each in fields(Column) if data[each.name] != each.default}
    return {key: value.word if key == "type" else plain(value) for key, value in data.items()}


def schema_from_json(
    data: Any,
) -> tuple[tuple[Column, ...], str, bool, tuple[str, ...], tuple[int, ...], Aside, tuple[str, ...]]:
    """The fields of a schema."""
    what = "The schema"
    _require_mapping(data, what, _TOP)
    columns = data.get("columns")
    if not isinstance(columns, list) or not columns:
        raise _bad(f"Entry 'columns' of {what.lower()}", "be a list of columns", columns, "write one entry a column")
    made = tuple(_column_from_json(column, i) for i, column in enumerate(columns))
    require_unique([column.name for column in made], what)
    container, named, missing = data.get("container", "polars"), data.get("named", True), data.get("missing", [])
    if container not in _CONTAINERS:
        raise _bad("Entry 'container' of the schema", f"be one of {listing(_CONTAINERS)}", container, "choose one")
    _require(named, bool, "Entry 'named' of the schema", "be true or false", "write one of these")
    if not isinstance(missing, list) or not all(isinstance(word, str) for word in missing):
        raise _bad("Entry 'missing' of the schema", "be a list of words", missing, 'write it as ["word", ...]')
    shape, aside = data.get("shape", []), data.get("aside")
    whole = isinstance(shape, list) and all(type(size) is int and size > 0 for size in shape)
    if not whole or (shape and math.prod(shape) != len(made)):
        raise _bad("Entry 'shape' of the schema", f"be sizes that hold its {len(made)} columns", shape, "correct it")
    integers = data.get("integers", [])
    if not isinstance(integers, list) or not all(_spells_whole(name) for name in integers):
        must = "be a list of names that are whole numbers"
        raise _bad("Entry 'integers' of the schema", must, integers, "correct it, or leave it out")
    return made, str(container), named, tuple(missing), tuple(shape), _aside(aside), tuple(integers)


def _spells_whole(name: object) -> bool:
    return isinstance(name, str) and name.isascii() and name.removeprefix("-").isdigit()


def _aside(data: Any) -> Aside:
    if data is None:
        return NOTHING_ASIDE
    what = "entry 'aside' of the schema"
    _require_mapping(data, what, ("label", "dropped"))
    label = None if data.get("label") is None else _plain(str)(data["label"], "label", what)
    return restored(Aside, data, what, label=lambda _: label)


def _bad(what: str, must: str, came: object, advice: str) -> DataError:
    return complain(what, must, f"it is {shorten(came)}", advice)


def _require(value: Any, kind: type, what: str, must: str, advice: str) -> None:
    if not isinstance(value, kind):
        raise _bad(what, must, value, advice)


def _require_mapping(data: Any, what: str, known: Sequence[str]) -> None:
    _require(data, Mapping, what, "be a mapping of names to values", "write it as {...}, or infer it anew")
    for key in data:
        if key not in known:
            raise complain(
                what,
                f"have only the entries {listing(known, 20)}",
                f"it has {shorten(key)}",
                f"correct it, or take it out{suggestion(str(key), known)}",
            )


def _column_from_json(data: Any, i: int) -> Column:
    _require_mapping(data, f"Column {i} (counting from 0) of the schema", _ENTRIES)
    name = data.get("name")
    _require(name, str, f"Entry 'name' of column {i} of the schema", "be text", "name the table's column")
    what = f"column {name!r} of the schema"
    kind = column_type(data.get("type"), f"The type of {what}")
    entries = {key: read(data[key], key, what) for key, read in _READ.items() if data.get(key) is not None}
    column = Column(name, kind, **entries)
    kind.check(column, what)
    return column


_WORDS = {str: "text", bool: "true or false", int: "a whole number"}


def _plain(kind: type) -> Callable[[Any, str, str], Any]:
    def read(value: Any, key: str, what: str) -> Any:
        if type(value) is not kind:
            raise _bad(f"Entry {key!r} of {what}", f"be {_WORDS[kind]}", value, "correct it, or leave it out")
        return value

    return read


def _number(value: Any, key: str, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(f"Entry {key!r} of {what}", "hold finite numbers", value, "correct it, or leave it out")
    return float(value)


def _levels(value: Any, key: str, what: str) -> tuple[Level, ...]:
    advice = "write all levels, or null to read them from the table"
    _require(value, list, f"Entry 'levels' of {what}", "be a list", advice)
    for level in value:
        if not isinstance(level, str | int | float) or (isinstance(level, float) and not math.isfinite(level)):
            raise complain(
                f"Each level of {what}",
                "be text, a number, or true or false",
                f"one is {shorten(level)}",
                "write it as it stands in the table",
            )
    if len({type(level) in (int, float) or type(level) for level in value}) > 1:
        raise _bad(f"The levels of {what}", "be all texts or all numbers", value, "put quotes around all or none")
    if len(set(value)) < len(value):
        again = next(level for j, level in enumerate(value) if level in value[:j])
        raise complain(f"The levels of {what}", "differ", f"{shorten(again)} comes twice", "take one of the two out")
    return tuple(value)


def _bounds(value: Any, key: str, what: str) -> tuple[float, float]:
    entry, advice = f"Entry {key!r} of {what}", "write it as [lowest, highest]"
    if not isinstance(value, list) or len(value) != 2:
        raise _bad(entry, "be two numbers", value, advice)
    low, high = (_number(each, key, what) for each in value)
    if low >= high:
        raise _bad(entry, "be a lower and a higher number", value, advice)
    return low, high


def _point_masses(value: Any, key: str, what: str) -> tuple[float, ...]:
    _require(value, list, f"Entry {key!r} of {what}", "be a list of numbers", "write it as [0] or []")
    return tuple(_number(each, key, what) for each in value)


def _format(value: Any, key: str, what: str) -> NumberFormat | str:
    if isinstance(value, str):
        return value
    _require_mapping(value, f"Entry {key!r} of {what}", tuple(_STYLE))
    return NumberFormat(**{key: _STYLE[key](each, key, what) for key, each in value.items() if each is not None})


def _constant(value: Any, key: str, what: str) -> Level:
    if type(value) not in (str, bool):
        _number(value, key, what)
    return value


_STYLE = {
    **dict.fromkeys(("decimal", "thousands", "prefix", "suffix"), _plain(str)),
    "places": _plain(int),
    "pointed": _plain(bool),
}
_READ: dict[str, Callable[[Any, str, str], Any]] = {
    **dict.fromkeys(("storage", "unit", "family", "reason"), _plain(str)),
    **dict.fromkeys(("heavy_tails", "dropped"), _plain(bool)),
    "n_missing": _plain(int),
    "grid": _number,
    "levels": _levels,
    "bounds": _bounds,
    "point_masses": _point_masses,
    "format": _format,
    "constant": _constant,
}
