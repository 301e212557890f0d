"""What each column of a table holds: inferred by stated rules, shown, editable, and as numbers.

One file for each column type; `registry` lists them, `rules` states the thresholds, a `Schema` (above) is the result.
"""

from tightbound.data.types.binary import Binary
from tightbound.data.types.bounded import Bounded
from tightbound.data.types.categorical import Categorical
from tightbound.data.types.column import Column, ColumnType
from tightbound.data.types.count import Count
from tightbound.data.types.datetime import Datetime
from tightbound.data.types.ordinal import Ordinal
from tightbound.data.types.positive import Positive
from tightbound.data.types.real import Real
from tightbound.data.types.registry import TYPES

__all__ = [
    "TYPES",
    "Binary",
    "Bounded",
    "Categorical",
    "Column",
    "ColumnType",
    "Count",
    "Datetime",
    "Ordinal",
    "Positive",
    "Real",
]
