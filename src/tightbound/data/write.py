"""Tables into files."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from tightbound.data.atomic import atomic_write
from tightbound.data.errors import complain
from tightbound.data.names import default_names

ARRAYS = (".npy", ".npz")
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", *ARRAYS)


def check_place(path: str | os.PathLike[str], suffixes: Sequence[str] = SUFFIXES) -> None:
    """Refuses a file that cannot be written: to be asked before the work, not after.

    Args:
        path: where a file shall be; "-", standard output, can always be written to.
        suffixes: what its name may end in.

    Raises:
        DataError: for another suffix, and for a folder that is not there.
    """
    place = os.fspath(path)
    if place == "-":
        return
    if not place.lower().endswith(tuple(suffixes)):
        raise complain(
            place, f"end in one of {', '.join(suffixes)}", f"its suffix is {Path(place).suffix!r}", "choose such a name"
        )
    folder = os.path.dirname(place) or "."
    if not os.path.isdir(folder):
        raise complain(place, "lie in a folder that exists", f"{folder} is none", "make that folder first")


def _suffix(place: str) -> str:
    name = Path(place.lower())
    both = "".join(name.suffixes[-2:])
    return both if both in SUFFIXES else name.suffix


def write_table(
    path: str | os.PathLike[str],
    columns: Mapping[str, np.ndarray] | np.ndarray,
    *,
    names: Sequence[str] | None = None,
) -> None:
    """Writes arrays to a file of the kind that its suffix says.

    Args:
        path: .csv, .tsv (also .gz), .parquet, .npy, .npz, or "-" for CSV on standard output.
        columns: named arrays with the same number of rows, or one array. A .npz file keeps every array as it is (a
            single array under the name "x"), a .npy file holds one array. In the others every column of a matrix and
            every pixel of an image becomes a column: name_0, name_1, ...
        names: names of the columns of a single array; by default x0, x1, ...

    Raises:
        DataError: for an unknown suffix, arrays of different lengths, or a place that cannot be written.
    """
    place = os.fspath(path)
    check_place(place)
    if _suffix(place) not in ARRAYS:
        write_polars(place, _frame(columns, names, "Standard output" if place == "-" else os.path.basename(place)))
        return
    arrays = _arrays(columns)
    for name, array in arrays.items():
        if array.dtype == object:
            raise complain(
                place,
                "be a .csv, .tsv or .parquet file where cells are of several types",
                f"an array of one type cannot hold {name!r}",
                "choose such a name",
            )
    atomic_write(place, lambda stream: _write_arrays(stream, arrays, _suffix(place)))


def write_polars(path: str | os.PathLike[str], frame: pl.DataFrame) -> None:
    """Writes a polars frame to .csv, .tsv (also .gz), .parquet, or "-" for CSV on standard output."""
    place = os.fspath(path)
    check_place(place, tuple(each for each in SUFFIXES if each not in ARRAYS))
    if place == "-":
        _write_frame(sys.stdout.buffer, frame, ".csv")
        sys.stdout.buffer.flush()
        return
    atomic_write(place, lambda stream: _write_frame(stream, frame, _suffix(place)))


def write_pieces(path: str | os.PathLike[str], frames: Iterable[pl.DataFrame]) -> None:
    """Writes frames of the same columns one below the other, as they come, to .csv, .tsv (also .gz), or "-"."""
    place = os.fspath(path)
    check_place(place, tuple(each for each in SUFFIXES if each not in (*ARRAYS, ".parquet")))
    suffix = ".csv" if place == "-" else _suffix(place)

    def write(stream: BinaryIO) -> None:
        packed = gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) if suffix.endswith(".gz") else stream
        for number, frame in enumerate(frames):
            packed.write(_text(frame, suffix, header=number == 0))
        if packed is not stream:
            packed.close()

    if place == "-":
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    atomic_write(place, write)


def _arrays(columns: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
    if isinstance(columns, Mapping):
        return {name: np.asarray(column) for name, column in columns.items()}
    return {"x": np.asarray(columns)}


def _write_arrays(stream: BinaryIO, arrays: dict[str, np.ndarray], suffix: str) -> None:
    if suffix == ".npz":
        # The names of the arrays are the user's: as keyword arguments, "file" would clash with NumPy's own.
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        return
    single = next(iter(arrays.values())) if len(arrays) == 1 else np.column_stack(list(arrays.values()))
    np.save(stream, single, allow_pickle=False)


def _frame(columns: Mapping[str, np.ndarray] | np.ndarray, names: Sequence[str] | None, source: str) -> pl.DataFrame:
    """Named columns of one dimension; NaN is an empty cell."""
    flat = _flat(columns, names, source)
    lengths = {name: len(column) for name, column in flat.items()}
    if len(set(lengths.values())) > 1:
        raise complain(
            source, "get columns of one length", f"their lengths are {lengths}", "write them to different files"
        )
    return pl.DataFrame({name: np.ascontiguousarray(column) for name, column in flat.items()}, nan_to_null=True)


def _flat(
    columns: Mapping[str, np.ndarray] | np.ndarray, names: Sequence[str] | None, source: str
) -> dict[str, np.ndarray]:
    if isinstance(columns, Mapping):
        flat: dict[str, np.ndarray] = {}
        for name, column in _arrays(columns).items():
            matrix = _matrix(column)
            parts = [name] if column.ndim == 1 else [f"{name}_{j}" for j in range(matrix.shape[1])]
            flat.update(zip(parts, matrix.T, strict=True))
        return flat
    matrix = _matrix(np.asarray(columns))
    names = names if names is not None else default_names(matrix.shape[1])
    if len(set(names)) != matrix.shape[1] or len(names) != matrix.shape[1]:
        raise complain(
            source,
            f"get {matrix.shape[1]} different column names",
            f"{len(names)} came, {len(set(names))} of them different",
            "give one name for each column",
        )
    return dict(zip(names, matrix.T, strict=True))


def _matrix(array: np.ndarray) -> np.ndarray:
    return array.reshape(array.shape[0], int(np.prod(array.shape[1:])))  # -1 would not do for no rows


def _write_frame(stream: BinaryIO, frame: pl.DataFrame, suffix: str) -> None:
    if suffix == ".parquet":  # by way of memory: polars has errors of its own for a disk that is full
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        stream.write(buffer.getbuffer())
        return
    data = _text(frame, suffix)
    stream.write(gzip.compress(data, mtime=0) if suffix.endswith(".gz") else data)


def _text(frame: pl.DataFrame, suffix: str, header: bool = True) -> bytes:
    # Alone in its row, an empty cell is a blank line, which readers skip: there, missing is spelled out.
    missing = "NaN" if frame.width == 1 else ""
    buffer = io.BytesIO()
    separator = "\t" if suffix.startswith(".tsv") else ","
    frame.write_csv(buffer, separator=separator, null_value=missing, include_header=header)
    return buffer.getvalue()
