"""Tables into files; a file or a folder appears whole or not at all."""

from __future__ import annotations

import glob
import gzip
import io
import os
import secrets
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from tightbound.data.errors import complain
from tightbound.data.names import default_names

ARRAYS = (".npy", ".npz")
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", *ARRAYS)


DAY = 86_400
"""A temporary file of this many seconds is what a killed run left behind."""


def atomic_write(path: str | os.PathLike[str], contents: bytes | Callable[[BinaryIO], object]) -> None:
    """Writes a file so that it appears whole or not at all.

    The bytes go to a temporary file in the same folder, are forced to the disk, and take the name in one step; an
    earlier file of that name stays as it was until then. A device or a pipe is written directly.

    Args:
        path: where the file shall be.
        contents: the bytes, or what writes them to the open file it is given.

    Raises:
        DataError: when the system refuses (no such folder, no right, no space).
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("wb") as stream:
                _put(stream, contents)
            return
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        with _aside(target) as temporary:
            with temporary.open("xb") as stream:
                _put(stream, contents)
                _force(stream)
            os.replace(temporary, target)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise complain(
            os.fspath(path),
            "be a file that can be written",
            f"the system says: {reason}",
            "choose another place, or make that folder or room on the disk first",
        ) from error


def atomic_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files, in place of an earlier one; it appears whole or not at all. The system may refuse."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _aside(target) as staging:
        staging.mkdir()
        for name, data in files.items():
            with (staging / name).open("xb") as stream:
                stream.write(data)
                _force(stream)
        _swap(staging, target)


def _put(stream: BinaryIO, contents: bytes | Callable[[BinaryIO], object]) -> None:
    if isinstance(contents, bytes):
        stream.write(contents)
    else:
        contents(stream)


def _force(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A name beside the target for what is to take its place; whatever bears it at the end is removed."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > DAY:
                _remove(left)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
    finally:
        _remove(temporary)
    # So that the new name itself survives a power cut; not every file system lets a folder be opened.
    with suppress(OSError):
        handle = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def _swap(staging: Path, target: Path) -> None:
    # A folder cannot replace a non-empty one in a single step: the old one steps aside first, and back on failure.
    if not target.exists():
        os.rename(staging, target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    try:
        os.rename(target, aside / "model")
        try:
            os.rename(staging, target)
        except BaseException:
            os.rename(aside / "model", target)
            raise
        shutil.rmtree(aside / "model", ignore_errors=True)
    finally:
        with suppress(OSError):
            aside.rmdir()  # refused while it holds something: what could not be put back is never deleted


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
    if suffix == ".parquet":
        frame.write_parquet(stream)
        return
    # Alone in its row, an empty cell is a blank line, which readers skip: there, missing is spelled out.
    missing = "NaN" if frame.width == 1 else ""
    buffer = io.BytesIO()
    frame.write_csv(buffer, separator="\t" if suffix.startswith(".tsv") else ",", null_value=missing)
    data = buffer.getvalue()
    stream.write(gzip.compress(data, mtime=0) if suffix.endswith(".gz") else data)
