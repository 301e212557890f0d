"""Files as tables: the suffix says which kind."""

from __future__ import annotations

import gzip
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from tightbound.data.coding import coded
from tightbound.data.errors import DataError, complain, listing, suggestion, unreadable
from tightbound.data.names import NOTHING_ASIDE, Aside, Choice
from tightbound.data.read.delimited import read_delimited
from tightbound.data.read.frames import table_from_frame
from tightbound.data.read.images import read_image_folder
from tightbound.data.read.memory import table_from_array, table_from_sparse
from tightbound.data.schema import Schema
from tightbound.data.table import Table

SUFFIXES = ".csv, .tsv (both also with .gz), .parquet, .npy, .npz"


def read_table(
    path: str | os.PathLike[str],
    *,
    array: str | None = None,
    label: str | int | None = None,
    drop: Sequence[str | int] = (),
    known: Aside = NOTHING_ASIDE,
    beside: Sequence[str] = (),
    schema: Schema | None = None,
    unseen: str = "error",
) -> Table:
    """The table in a file, in a folder of images, on standard input or among the embedded data sets.

    Args:
        path: a .csv or .tsv file (also gzipped), .parquet, .npy, .npz, a folder of images of one size, "digits" (the
            8 x 8 digits that come with scikit-learn, as 8-bit intensities; write ./digits for a folder of that
            name), or "-" for CSV on standard input.
        array: which array of an .npz file (not needed when it holds one).
        label: a column to set aside as labels, or the name of another array of the .npz file.
        drop: columns to leave out.
        known: what was set aside from the data that a model was fitted on: set aside here too, where it is there.
        beside: names of columns; those that are other arrays of the .npz file, one number a row, are joined to it.
        schema, unseen: of a mixed table; see `as_table`.

    Raises:
        DataError: for a path that cannot be read, and for data that are no table of numbers.
    """
    place, choice = os.fspath(path), Choice(label, drop, known)
    suffix = _suffix(place)
    schema = None if schema is None or schema.block else schema  # a block of numbers is read as it comes
    if array is not None and suffix != ".npz":
        raise complain(
            place, "be an .npz file when an array of it is named", f"its suffix is {suffix!r}", "leave out `array`"
        )
    if place != "digits" and place != "-" and os.path.isdir(place):
        return read_image_folder(place, choice)
    if suffix in (".csv", ".tsv", ".parquet") or place == "-":
        return _read_frame(place, suffix, choice, schema, unseen)
    if place == "digits":
        table = _digits(choice)
    elif suffix == ".npz":
        table = _read_npz(place, array, choice, beside)
    elif suffix == ".npy":
        table = _read_npy(place, choice)
    else:
        _require_readable(place)
        must = f"be a folder of images or a file {SUFFIXES}"
        raise complain(place, must, f"its suffix is {suffix!r}", "convert it to one of those")
    return table if schema is None or place == "digits" else coded(table, schema, unseen=unseen)


def _suffix(place: str) -> str:
    return Path(place.lower().removesuffix(".gz")).suffix


def _require_readable(place: str) -> None:
    try:
        with open(place, "rb"):
            pass
    except OSError as error:
        raise unreadable(place, error) from None


def _damaged(source: str, kind: str, reason: object) -> DataError:
    words = " ".join(str(reason).split())[:120].rstrip(".") or "nothing more is known"
    return complain(source, f"be a whole {kind} file", f"it is damaged or of another kind ({words})", "write it anew")


def _digits(choice: Choice) -> Table:
    from sklearn.datasets import load_digits  # nothing else in `data` needs scikit-learn

    digits: Any = load_digits()
    # Stored there as counts 0 to 16; as 8-bit intensities they are images like any other.
    intensity = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return table_from_array(intensity, choice, source="digits", labels=digits.target)


def _read_frame(place: str, suffix: str, choice: Choice, schema: Schema | None, unseen: str) -> Table:
    source = "Standard input" if place == "-" else os.path.basename(place)
    if suffix == ".parquet":
        frame = nw.from_native(_read_parquet(place, source))
        return table_from_frame(frame, choice, source=source, schema=schema, unseen=unseen)
    text, lines = read_delimited(_bytes(place, source), source, "\t" if suffix == ".tsv" else None)
    return table_from_frame(
        nw.from_native(text),
        choice,
        source=source,
        where=lines.words,
        named=lines.named,
        schema=schema,
        unseen=unseen,
        text=True,
        semicolons=lines.semicolons,
    )


def _bytes(place: str, source: str) -> bytes:
    try:
        data = sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
    except OSError as error:
        raise unreadable(place, error) from None
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(source, "gzip", error) from None


def _read_parquet(place: str, source: str) -> pl.DataFrame:
    _require_readable(place)
    try:
        return pl.read_parquet(Path(place), glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _damaged(source, "parquet", error) from None


# What NumPy and zipfile raise, between them, for a file that is cut short, garbled or of another kind.
_LOAD_ERRORS = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
    MemoryError,
    NotImplementedError,
)


@contextmanager
def _opened(place: str) -> Iterator[Any]:
    """The array in an .npy file, or the opened .npz file; pickled objects are never loaded."""
    source = os.path.basename(place)
    _require_readable(place)
    with open(place, "rb") as stream:
        start = stream.read(6)
        stream.seek(0)
        if not start.startswith((b"\x93NUMPY", b"PK")):  # NumPy takes any other file for a pickle
            raise _damaged(source, "NumPy", "it does not start as one does" if start else "it is empty")
        try:
            loaded = np.load(stream, allow_pickle=False)
        except _LOAD_ERRORS as error:
            raise _load_error(source, "NumPy", error) from None
        yield loaded


def _load_error(source: str, kind: str, error: BaseException) -> DataError:
    if "Object arrays" in str(error):
        return complain(
            source,
            "hold numbers",
            "it holds pickled Python objects, which can run code when they are loaded",
            "save the array with a numeric dtype",
        )
    if "Failed to read all data" in str(error):
        return _damaged(source, kind, "it is cut short")
    return _damaged(source, kind, error)


def _read_npy(place: str, choice: Choice) -> Table:
    source = os.path.basename(place)
    with _opened(place) as array:
        if not isinstance(array, np.ndarray):
            raise _damaged(source, "NumPy", "it is an archive, as .npz files are")
        return table_from_array(array, choice, source=source)


def _read_npz(place: str, array: str | None, choice: Choice, beside: Sequence[str]) -> Table:
    source = os.path.basename(place)
    with _opened(place) as archive:
        if isinstance(archive, np.ndarray):
            raise _damaged(source, "NumPy archive", "it is a single array, as .npy files are")
        keys = list(archive.files)
        if array is None and set(_SPARSE) <= set(keys):
            return table_from_sparse(_sparse_matrix(archive, source), choice, source=source)
        key = _choose(keys, array, source)
        data = _member(archive, key, source)
        joined: dict[str, np.ndarray] = {}
        words = source if len(keys) == 1 else f"{source} ({key})"
        label = choice.label
        for name in beside:
            if str(name) in keys and str(name) != key:
                joined[str(name)] = _member(archive, str(name), source)
        if label is None or str(label) not in keys:
            return _joined(table_from_array(data, choice, source=words), joined)
        labels = _member(archive, str(label), source)
    if labels.ndim != 1 or labels.shape[:1] != data.shape[:1]:
        raise complain(
            f"The label array {str(label)!r} of {source}",
            f"hold one label for each row of {key!r}, whose shape is {data.shape}",
            f"its shape is {labels.shape}",
            "name the array that belongs to it",
        )
    return _joined(table_from_array(data, replace(choice, label=None), source=words, labels=labels), joined)


def _joined(table: Table, columns: dict[str, np.ndarray]) -> Table:
    """A table with one more column for each of these arrays."""
    if not columns:
        return table
    for name, values in columns.items():
        if values.shape != (table.n_rows,) or values.dtype.kind not in "fiub" or len(table.shape) > 1:
            raise complain(
                f"The array {name!r} beside {table.source}",
                f"hold one number for each of its {table.n_rows} rows to be a column of that table",
                f"it holds {values.dtype} of shape {values.shape}, beside data of shape {table.shape}",
                "name another, or join the columns yourself",
            )
    values = np.column_stack([table.values, *columns.values()])
    names = (*table.names, *columns)
    dtypes = (*table.dtypes, *(values.dtype.name for values in columns.values()))
    return replace(table, values=values, names=names, dtypes=dtypes, shape=(len(names),))


_SPARSE = ("data", "indices", "indptr", "format", "shape")
"""What SciPy writes for a sparse matrix by rows or by columns."""


def _sparse_matrix(archive: Any, source: str) -> Any:
    import scipy.sparse

    parts = {name: _member(archive, name, source) for name in _SPARSE}
    kind = parts["format"].item()
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    makers = {"csr": scipy.sparse.csr_array, "csc": scipy.sparse.csc_array}
    try:
        matrix = makers[kind]((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"]))
        matrix.check_format()
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise _damaged(source, "sparse matrix (csr or csc)", error) from None
    return matrix


def _choose(keys: list[str], array: str | None, source: str) -> str:
    if array is None and len(keys) == 1:
        return keys[0]
    if array in keys:
        return str(array)
    came = "it holds none" if not keys else f"it holds {listing(keys)}"
    if array is None:
        raise complain(source, "hold one array, or the one to use must be named", came, "name it as `array`")
    advice = f"name one of those{suggestion(array, keys)}"
    raise complain(source, f"hold the array {array!r}", came, advice if keys else "write it anew")


def _member(archive: Any, key: str, source: str) -> np.ndarray:
    what = f"Array {key!r} of {source}"
    try:
        found = archive[key]
    except _LOAD_ERRORS as error:
        raise _load_error(what, "NumPy", error) from None
    if not isinstance(found, np.ndarray):  # NumPy gives the bytes of what is no array
        raise _damaged(what, "NumPy", "it does not start as one does" if found else "it is empty")
    return found
