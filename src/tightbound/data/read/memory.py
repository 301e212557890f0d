"""What the user holds in memory, as a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from tightbound.data.cells.frames import as_frame
from tightbound.data.coding import coded
from tightbound.data.names import NOTHING_ASIDE, Aside, Choice
from tightbound.data.read.arrays import table_from_array, table_from_sparse
from tightbound.data.read.frames import table_from_frame
from tightbound.data.table import Table
from tightbound.data.types import TableSchema


def as_table(
    X: Any,
    *,
    source: str = "X",
    label: str | int | None = None,
    drop: Sequence[str | int] = (),
    known: Aside = NOTHING_ASIDE,
    schema: TableSchema | None = None,
    unseen: str = "error",
) -> Table:
    """What the user holds in memory, as a table.

    Args:
        X: NumPy array (two dimensions: a table; three or more: images, flattened, their shape kept), nested lists,
            masked array (masked is missing), SciPy sparse matrix (which stays so), pandas or polars data frame.
        source: words for messages.
        label: a column (name, or number) to set aside as labels instead of modelling it.
        drop: columns to leave out.
        known: what was set aside from the data that a model was fitted on: set aside here too, where it is there.
        schema: of a mixed table; None: a frame in which all columns are numbers is taken as it is, and the schema of
            one with texts, categories or dates is inferred.
        unseen: "error" or "missing": what becomes of levels that a given schema does not know.

    Raises:
        DataError: for anything that is not a table.
    """
    choice = Choice(label, drop, known)
    schema = None if schema is None or schema.block else schema  # a block of numbers is read as it comes
    frame = None if isinstance(X, np.ndarray | list | tuple) else as_frame(X, source)
    if frame is not None:
        return table_from_frame(frame, choice, source=source, schema=schema, unseen=unseen)
    sparse = sys.modules.get("scipy.sparse")  # a sparse matrix exists only if its module was imported
    if sparse is not None and sparse.issparse(X):
        table = table_from_sparse(X, choice, source=source)
    else:
        table = table_from_array(X, choice, source=source)
    return table if schema is None else coded(table, schema, unseen=unseen)
