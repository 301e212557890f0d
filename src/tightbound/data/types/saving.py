"""A table's schema as JSON: written for people to edit, and every entry looked at when it is read back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from tightbound.data.cells.raw import Level
from tightbound.data.cells.text import NumberFormat
from tightbound.data.errors import DataError, complain, listing, shorten, suggestion
from tightbound.data.names import NOTHING_ASIDE, Aside, require_unique
from tightbound.data.saved import plain, restored
from tightbound.data.types.column import LEVELLED, Kind, TableColumn
from tightbound.data.types.families import FAMILIES
from tightbound.data.types.forced import require_kind

_CONTAINERS = ("numpy", "pandas", "polars")
_ENTRIES = tuple(entry.name for entry in fields(TableColumn))
_STYLE = tuple(entry.name for entry in fields(NumberFormat))
_TOP = ("columns", "container", "named", "missing", "shape", "aside")


def schema_to_json(
    columns: Sequence[TableColumn],
    container: str,
    named: bool,
    missing: Sequence[str],
    shape: tuple[int, ...],
    aside: Aside,
) -> dict[str, Any]:
    """A dictionary that `json` can write; the columns of a block of numbers without what they do not have."""
    return {
        "columns": [_column_to_json(column, brief=shape != ()) for column in columns],
        "container": container,
        "named": named,
        "missing": list(missing),
        **({"shape": list(shape)} if shape else {}),
        **({"aside": plain(aside)} if aside != NOTHING_ASIDE else {}),
    }


def _column_to_json(column: TableColumn, brief: bool) -> dict[str, Any]:
    data = {each.name: getattr(column, each.name) for each in fields(TableColumn)}
    if brief:
        data = {each.name: data[each.name] for each in fields(TableColumn) if data[each.name] != each.default}
    return {key: value.value if key == "kind" else plain(value) for key, value in data.items()}


def schema_from_json(
    data: Any,
) -> tuple[tuple[TableColumn, ...], str, bool, tuple[str, ...], tuple[int, ...], Aside]:
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
    if not isinstance(named, bool):
        raise _bad("Entry 'named' of the schema", "be true or false", named, "write one of these")
    if not isinstance(missing, list) or not all(isinstance(word, str) for word in missing):
        raise _bad("Entry 'missing' of the schema", "be a list of words", missing, 'write it as ["word", ...]')
    shape, aside = data.get("shape", []), data.get("aside")
    whole = isinstance(shape, list) and all(type(size) is int and size > 0 for size in shape)
    if not whole or (shape and math.prod(shape) != len(made)):
        raise _bad("Entry 'shape' of the schema", f"be sizes that hold its {len(made)} columns", shape, "correct it")
    return made, str(container), named, tuple(missing), tuple(shape), _aside(aside)


def _aside(data: Any) -> Aside:
    if data is None:
        return NOTHING_ASIDE
    what = "entry 'aside' of the schema"
    _require_mapping(data, what, ("label", "dropped"))
    label = None if data.get("label") is None else _typed(data, "label", str, "", what)
    return restored(Aside, data, what, label=lambda _: label)


def _bad(what: str, must: str, came: object, advice: str) -> DataError:
    return complain(what, must, f"it is {shorten(came)}", advice)


def _require_mapping(data: Any, what: str, known: Sequence[str]) -> None:
    if not isinstance(data, Mapping):
        raise _bad(what, "be a mapping of names to values", data, "write it as {...}, or infer it anew")
    for key in data:
        if key not in known:
            raise complain(
                what,
                f"have only the entries {listing(known, 20)}",
                f"it has {shorten(key)}",
                f"correct it, or take it out{suggestion(str(key), known)}",
            )


def _column_from_json(data: Any, i: int) -> TableColumn:
    what = f"Column {i} (counting from 0) of the schema"
    _require_mapping(data, what, _ENTRIES)
    name = data.get("name")
    if not isinstance(name, str):
        raise _bad(f"Entry 'name' of column {i} of the schema", "be text", name, "name the table's column")
    what = f"column {name!r} of the schema"
    column = TableColumn(
        name=name,
        kind=require_kind(data.get("kind"), f"The kind of {what}"),
        storage=_typed(data, "storage", str, "", what),
        levels=_levels(data.get("levels"), what),
        bounds=_bounds(data.get("bounds"), what),
        spikes=_spikes(data.get("spikes"), what),
        grid=_number(data.get("grid", 0.0), "grid", what),
        unit=_typed(data, "unit", str, "", what),
        heavy_tails=_typed(data, "heavy_tails", bool, False, what),
        format=_format(data.get("format"), what),
        n_missing=_typed(data, "n_missing", int, 0, what),
        dropped=_typed(data, "dropped", bool, False, what),
        constant=_constant(data.get("constant"), what),
        family=_typed(data, "family", str, "", what),
        reason=_typed(data, "reason", str, "", what),
    )
    _require_consistent(column, what)
    return column


def _typed(data: Mapping[str, Any], key: str, kind: type, default: Any, what: str) -> Any:
    value = data.get(key, default)
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        word = {"str": "text", "bool": "true or false", "int": "a whole number"}[kind.__name__]
        raise _bad(f"Entry {key!r} of {what}", f"be {word}", value, "correct it, or leave it out")
    return value


def _number(value: Any, key: str, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(f"Entry {key!r} of {what}", "hold finite numbers", value, "correct it, or leave it out")
    return float(value)


def _levels(value: Any, what: str) -> tuple[Level, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise _bad(
            f"Entry 'levels' of {what}", "be a list", value, "write all levels, or null to read them from the table"
        )
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


def _bounds(value: Any, what: str) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise _bad(f"Entry 'bounds' of {what}", "be two numbers", value, "write it as [lowest, highest]")
    low, high = (_number(each, "bounds", what) for each in value)
    if low >= high:
        raise _bad(
            f"Entry 'bounds' of {what}", "be a lower and a higher number", value, "write it as [lowest, highest]"
        )
    return low, high


def _spikes(value: Any, what: str) -> tuple[float, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _bad(f"Entry 'spikes' of {what}", "be a list of numbers", value, "write it as [0] or []")
    return tuple(_number(each, "spikes", what) for each in value)


def _format(value: Any, what: str) -> NumberFormat | str | None:
    if value is None or isinstance(value, str):
        return value
    _require_mapping(value, f"Entry 'format' of {what}", _STYLE)
    texts = {key: _typed(value, key, str, "." if key == "decimal" else "", what) for key in _STYLE[:-2]}
    places = value.get("places")
    pointed = _typed(value, "pointed", bool, False, what)
    return NumberFormat(
        **texts, places=None if places is None else _typed(value, "places", int, 0, what), pointed=pointed
    )


def _constant(value: Any, what: str) -> Level | None:
    if value is None or isinstance(value, str | bool):
        return value
    number = _number(value, "constant", what)
    return number if isinstance(value, float) else int(number)


def _require_consistent(column: TableColumn, what: str) -> None:
    """Refuses entries that contradict the kind: what is left of another kind after an edit."""
    if column.kind not in LEVELLED and column.levels is not None:
        raise _left_over("levels", f"an ordinal, categorical or binary column, and {what} is {column.kind.value}")
    if column.family and column.family not in FAMILIES[column.kind]:
        raise complain(
            f"Entry 'family' of {what}",
            f"be one of {listing(FAMILIES[column.kind], 20)}, since it is {column.kind.value}",
            f"it is {shorten(column.family)}",
            f"choose one of these, or leave it out{suggestion(column.family, FAMILIES[column.kind])}",
        )
    if column.kind is not Kind.BOUNDED and column.bounds is not None:
        raise _left_over("bounds", f"a bounded column, and {what} is {column.kind.value}")
    if column.kind is Kind.BINARY and column.levels is not None and len(column.levels) != 2:
        raise _bad(f"The levels of {what}", "be two, since it is binary", list(column.levels), "call it categorical")
    if column.kind is Kind.DATETIME and isinstance(column.format, NumberFormat):
        raise _bad(f"Entry 'format' of {what}", "be a format of dates", "one of numbers", "set it to null")
    if column.kind is not Kind.DATETIME and column.kind not in LEVELLED and isinstance(column.format, str):
        raise _bad(f"Entry 'format' of {what}", "be a format of numbers", column.format, "set it to null")


def _left_over(entry: str, whose: str) -> DataError:
    return complain(
        f"Entry {entry!r}", "belong to " + whose.split(", and ")[0], whose.split(", and ")[1], "set it to null"
    )
