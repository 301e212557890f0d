"""From a table and a few choices to the encoding that a model sees it by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tightbound.data.block import BlockEncoding
from tightbound.data.columns import ColumnwiseEncoding
from tightbound.data.encoding import Encoding


def encoding_from_json(data: Mapping[str, Any]) -> Encoding:
    """The encoding that `to_json` wrote; a foreign or damaged one is a DataError."""
    if isinstance(data, Mapping) and "plans" in data:
        return ColumnwiseEncoding.from_json(data)
    return BlockEncoding.from_json(data)
