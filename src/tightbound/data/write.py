"""Tables into files; a file appears whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from tightbound.data.errors import complain
from tightbound.data.names import default_names

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".npy", ".npz")


def atomic_write(path: str | os.PathLike[str], write: Callable[[BinaryIO], None]) -> None:
    """Writes a file so that it appears whole or not at all.

    The bytes go to a temporary file in the same folder, are forced to the disk, and take the name in one step; an
    earlier file of that name stays as it was until then. A device or a pipe is written directly.

    Args:
        path: where the file shall be.
        write: writes the contents to the open file it is given.

    Raises:
        DataError: when the system refuses (no such folder, no right, no space).
    """
    target = os.path.realpath(path)
    try:
        if os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target):
            with open(target, "wb") as stream:
                write(stream)
            return
        with _temporary(target) as stream:
            write(stream)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise complain(
            os.fspath(path),
            "be a file that can be written",
            f"the system says: {reason}",
            "choose another place, or make that folder or room on the disk first",
        ) from error


@contextmanager
def _temporary(target: str) -> Iterator[BinaryIO]:
    """An open file that takes the name `target` at the end, or vanishes when something goes wrong."""
    folder, name = os.path.split(target)
    if os.path.isdir(target):
        raise IsADirectoryError(21, "it is a folder")
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    # So that the new name itself survives a power cut; not every file system lets a folder be opened.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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
    suffix = "".join(Path(place.lower()).suffixes[-2:])
    suffix = suffix if suffix in SUFFIXES else Path(place.lower()).suffix
    if place == "-":
        _write_frame(sys.stdout.buffer, _frame(columns, names, "Standard output"), ".csv")
        sys.stdout.buffer.flush()
        return
    if suffix in (".npy", ".npz"):
        arrays = _arrays(columns)
        atomic_write(place, lambda stream: _write_arrays(stream, arrays, suffix))
    else:
        frame = _frame(columns, names, os.path.basename(place))
        atomic_write(place, lambda stream: _write_frame(stream, frame, suffix))


def write_polars(path: str | os.PathLike[str], frame: pl.DataFrame) -> None:
    """Writes a polars frame to .csv, .tsv (also .gz), .parquet, or "-" for CSV on standard output."""
    place = os.fspath(path)
    check_place(place, tuple(each for each in SUFFIXES if each not in (".npy", ".npz")))
    suffix = "".join(Path(place.lower()).suffixes[-2:])
    suffix = suffix if suffix in SUFFIXES else Path(place.lower()).suffix
    if place == "-":
        _write_frame(sys.stdout.buffer, frame, ".csv")
        sys.stdout.buffer.flush()
        return
    atomic_write(place, lambda stream: _write_frame(stream, frame, suffix))


def _arrays(columns: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
    if isinstance(columns, Mapping):
        return {name: np.asarray(column) for name, column in columns.items()}
    return {"x": np.asarray(columns)}


def _write_arrays(stream: BinaryIO, arrays: dict[str, np.ndarray], suffix: str) -> None:
    if suffix == ".npz":
        # The names of the arrays are the user's: as keyword arguments, "file" would clash with NumPy's own.
        import zipfile

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
    return pl.DataFrame([_series(name, column) for name, column in flat.items()])


def _series(name: str, column: np.ndarray) -> pl.Series:
    if column.dtype.kind in "US":
        return pl.Series(name, [str(cell) for cell in column], dtype=pl.String)
    series = pl.Series(name, np.ascontiguousarray(column))
    return series.fill_nan(None) if column.dtype.kind == "f" else series


def _matrix(array: np.ndarray) -> np.ndarray:
    return array.reshape(array.shape[0], int(np.prod(array.shape[1:])))  # -1 would not do for no rows


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


def _write_frame(stream: BinaryIO, frame: pl.DataFrame, suffix: str) -> None:
    if suffix == ".parquet":
        frame.write_parquet(stream)
        return
    # Alone in its row, an empty cell is a blank line, which readers skip: there, missing is spelled out.
    missing = "NaN" if frame.width == 1 else ""
    buffer = io.BytesIO()
    frame.write_csv(buffer, separator="\t" if suffix.startswith(".tsv") else ",", null_value=missing)
    data = buffer.getvalue()
    stream.write(gzip.compress(data, mtime=0) if suffix.endswith(".gz") else data)
