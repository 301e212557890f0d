"""Files that anybody may have made: looked at before they are read, and read only as far as they can be what they say.

Nothing in them is executed; what they cost is bounded before it is spent.
"""

import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from tightbound import learn
from tightbound.model import strict_json

MOST_BYTES, MOST_ENTRIES = 2**28, 10**7
"""Of a JSON file: a model of 5,000 columns has a hundredth of it."""
_SLACK, _WORDS_AN_ARRAY = 2**20, 2**10
"""Bytes of a file of arrays that are none of its numbers."""
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BOOL": "bool"}
for _bits in (8, 16, 32, 64):
    DTYPES |= {f"I{_bits}": f"int{_bits}", f"U{_bits}": f"uint{_bits}"}
REFUSED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError)
"""What is raised where something is made of values that make no sense."""


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most so many: never a pipe, which may not end, nor a device.

    Raises `ValueError` for another one, `OSError` where the system refuses.
    """
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        if found.st_size > most:
            raise ValueError(f"it has {found.st_size:,} bytes, where {most:,} would be plenty")
        return stream.read(most)


def read_json(path: Path) -> Any:
    """The value in a JSON file; raises `ValueError` or `OSError`."""
    data = read_regular(path, MOST_BYTES)
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_ENTRIES:
        raise ValueError(f"it has more than {MOST_ENTRIES:,} entries")
    return strict_json.loads(data.decode("utf-8"))


def read_arrays(path: Path, expected: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays in a file, which is read only where it can be that of the expected shapes and types.

    Raises `ValueError` or `OSError`.
    """
    numbers = sum(math.prod(each.shape) * each.dtype.itemsize for each in expected.values())
    data = read_regular(path, numbers + _SLACK + _WORDS_AN_ARRAY * len(expected))
    try:
        entries = {name: entry for name, entry in learn.header_of(data).items() if name != "__metadata__"}
        for name, entry in entries.items():
            if entry["dtype"] not in DTYPES:
                known = ", ".join(DTYPES.values())
                raise ValueError(f"array {name} must be of one of the types {known}; found {entry['dtype']!r}")
        return load(data)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    except REFUSED as error:
        raise ValueError(str(error) or type(error).__name__) from error


def with_nan(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """The names of the arrays that hold NaN."""
    return [name for name, array in arrays.items() if array.dtype.kind == "f" and np.isnan(array).any()]
