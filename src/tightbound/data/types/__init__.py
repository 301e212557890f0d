"""What each column of a table holds: inferred by stated rules, shown, editable, and as numbers.

One file for each column type; `registry` lists them, `rules` states the thresholds, a `Schema` (above) is the result.
"""

from tightbound.data.types.column import Column, ColumnType
from tightbound.data.types.datetime import Datetime
from tightbound.data.types.levelled import Binary, Categorical, Ordinal
from tightbound.data.types.quantities import Bounded, Count, Positive, Real
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
