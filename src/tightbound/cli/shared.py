"""What several commands do: load a model, print JSON, write a page or rows like the data."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tightbound.estimator.visible import visible
from tightbound.model.strict_json import dumps_plain

if TYPE_CHECKING:
    import numpy as np

    from tightbound.estimator.fitted import FittedModel

REPORT_FILE = "report.html"
PAGES = (".html", ".htm")
ARRAYS = (".npy", ".npz")


def load(path: str, refine: int = 0) -> "FittedModel":
    """A saved model, with a q refined by so many steps (0: its own)."""
    from tightbound.estimator.folder import load_model

    fitted = load_model(path)[0]
    return fitted.refined(refine) if refine else fitted


def write_bytes(path: str, data: bytes) -> None:
    """A file, whole or not at all."""
    from tightbound.data import atomic_write

    atomic_write(path, data)


def say(text: object, *, error: bool = False) -> None:
    """Words for the user, on standard output or standard error; names in them cannot command a terminal."""
    print(visible(text), file=sys.stderr if error else sys.stdout)


def print_json(value: dict[str, Any]) -> None:
    """One object on standard output."""
    print(dumps_plain(value))


def write_like_data(output: str, model: "FittedModel", values: "np.ndarray", *, rounded: bool) -> None:
    """Rows of the model in the columns of the data."""
    from tightbound.data import write_table

    if not model.encoding.schema.block:
        write_frame(output, model, model.encoding.give_back(values, container="polars"))
        return
    schema: Any = model.encoding.schema
    if Path(output).suffix.lower() in ARRAYS:
        write_table(output, model.encoding.give_back(values, container="numpy", rounded=rounded))
        return
    flat = model.encoding.give_back(values, container="polars", rounded=rounded)
    write_table(output, {name: flat[name].to_numpy() for name in schema.names})


def write_frame(output: str, model: "FittedModel", frame: Any) -> None:
    """Rows in the columns of the data, whatever they came in."""
    import narwhals as nw
    import numpy as np
    import polars as pl

    from tightbound.data import write_polars, write_table

    if isinstance(frame, np.ndarray):
        write_table(output, frame, names=model.encoding.names)
        return
    native = nw.from_native(frame)
    numbers = all(native[name].dtype.is_numeric() for name in native.columns)
    if numbers and Path(output).suffix.lower() in ARRAYS:
        write_table(output, native.to_numpy(), names=model.encoding.names)
        return
    own = native.to_native()
    write_polars(output, own if native.implementation.is_polars() else pl.from_pandas(own))
