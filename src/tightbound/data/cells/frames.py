"""Data frames of pandas, polars and Arrow, through narwhals, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from tightbound.data.errors import complain
from tightbound.data.names import require_unique


def as_frame(X: Any, source: str) -> nw.DataFrame[Any] | None:
    """X as a narwhals frame (a lazy one is collected), or None when it is no data frame."""
    _require_flat_unique_columns(X, source)
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        return frame.collect()
    return frame if isinstance(frame, nw.DataFrame) else None


def _require_flat_unique_columns(X: Any, source: str) -> None:
    # pandas allows two columns of one name and stacked headers; narwhals does not, and raises its own error.
    columns = getattr(X, "columns", None) if type(X).__module__.split(".")[0] == "pandas" else None
    if columns is None:
        return
    if columns.nlevels > 1:
        raise complain(
            source,
            "have one row of column names",
            f"its columns have {columns.nlevels} levels",
            "flatten them to one name for each column",
        )
    require_unique([str(name) for name in columns], source)


def frame_from_columns(columns: Mapping[str, np.ndarray], container: str, index: Any | None, named: bool) -> Any:
    """A pandas or polars frame of named columns; `named=False` numbers the columns of a pandas frame."""
    if container == "polars":
        return pl.DataFrame({name: np.ascontiguousarray(column) for name, column in columns.items()})
    try:
        import pandas as pd
    except ImportError:
        raise complain(
            "The result", "be given as a pandas data frame", "pandas is not installed", 'install it, or ask for "numpy"'
        ) from None
    frame = pd.DataFrame(dict(columns), index=index)
    if not named:
        frame.columns = pd.RangeIndex(len(columns))
    return frame
