"""JSON, written and read in this one place: always legal, and exact for every number.

JSON has neither NaN nor infinity. What is saved to be read again holds {"number": "NaN"} in their place and comes back
as it was; what other programs read holds null.
"""

import hashlib
import json
import math
from typing import Any

_WORDS = ("NaN", "Infinity", "-Infinity")
_KEY = "number"


def dumps(value: Any, *, indent: int | None = None) -> str:
    """`value` as text from which `loads` makes it again, numbers that are not finite included."""
    return json.dumps(_mapped(value, _tagged), indent=indent, allow_nan=False)


def dumps_plain(value: Any, *, indent: int | None = 1) -> str:
    """`value` as text for other programs: null where a number is not finite."""
    return json.dumps(_mapped(value, lambda number: None), indent=indent, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """The value that `dumps` wrote; raises `ValueError` for what is not legal JSON or is nested too deeply."""
    try:
        return json.loads(text, object_hook=_untagged, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def digest(value: Any) -> str:
    """SHA-256 of a value, whatever the order of its entries and the blanks between them."""
    text = json.dumps(_mapped(value, _tagged), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _mapped(value: Any, special: Any) -> Any:
    """The value with its numbers that are not finite replaced."""
    if isinstance(value, dict):
        return {name: _mapped(item, special) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, special) for item in value]
    return special(value) if isinstance(value, float) and not math.isfinite(value) else value


def _tagged(number: float) -> dict[str, str]:
    return {_KEY: "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"}


def _untagged(entries: dict[str, Any]) -> Any:
    word = entries.get(_KEY) if len(entries) == 1 else None
    return float(word) if isinstance(word, str) and word in _WORDS else entries


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")
