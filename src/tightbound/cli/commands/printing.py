"""What goes to standard output and into files, as bytes and as JSON."""

import json
from typing import Any

import numpy as np


def print_json(value: dict[str, Any]) -> None:
    """One object on standard output."""
    print(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    # JSON knows neither NaN nor infinity: they become null.
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def put(stream: Any, data: bytes) -> None:
    """Write all of it."""
    stream.write(data)
