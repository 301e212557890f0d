"""Files and folders that appear whole or not at all, and names that are held while somebody writes to them.

What takes a name is first written beside it, under a lock that dies with its process. So what a killed run left behind
is known by its lock being free, and is swept away by the next run that writes to the name.
"""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from tightbound.data.errors import DataError, complain

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

DAY = 86_400
"""Where there are no locks, a temporary file of this many seconds is what a killed run left behind."""


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
        with _aside(target) as temporary, temporary.open("xb") as stream:
            _lock(stream.fileno())
            _put(stream, contents)
            _force(stream)
            os.replace(temporary, target)
    except OSError as error:
        raise unwritable(path, "be a file that can be written", error) from error


def atomic_folder(path: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    """Writes a folder of files, in place of an earlier one; it appears whole or not at all.

    Raises:
        DataError: when the system refuses.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _aside(target) as staging:
            staging.mkdir()
            with _held_folder(staging):
                for name, data in files.items():
                    with (staging / name).open("xb") as stream:
                        stream.write(data)
                        _force(stream)
                _swap(staging, target)
    except OSError as error:
        raise unwritable(path, "be a folder that can be written", error) from error


def unwritable(path: str | os.PathLike[str], must: str, error: OSError) -> DataError:
    """The error for a place that the system refuses to write to."""
    reason = (error.strerror or str(error)).lower()
    advice = "choose another place, or make that folder or room on the disk first"
    return complain(os.fspath(path), must, f"the system says: {reason}", advice)


def sweep(path: str | os.PathLike[str]) -> None:
    """Removes what killed runs left of this name, and puts back the folder that one of them had set aside."""
    target = Path(os.path.realpath(path))
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        if _abandoned(left):
            _remove(left)
    for earlier in set_aside(target):
        if _abandoned(earlier) and not target.exists():
            os.rename(earlier, target)
        elif _abandoned(earlier):
            _remove(earlier)


@contextmanager
def reserved(path: str | os.PathLike[str]) -> Iterator[None]:
    """Holds a name from before the work until it is done, so that no second run loses its own when it ends.

    Raises:
        DataError: where another process holds it, or the system refuses.
    """
    target = Path(os.path.realpath(path))
    lock = target.with_name(f".{target.name}.lock")
    made = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(lock)
        sweep(target)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        came, advice = f"the system says: {reason}", "check the path and its rights, or choose another place"
        raise complain(os.fspath(path), "lie where something can be written", came, advice) from error
    if handle is None:
        raise complain(
            os.fspath(path),
            "be written by one run at a time",
            "another run is working for it",
            "wait for that one, or choose another name",
        )
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()  # refused where something is in it


def check_apart(path: str | os.PathLike[str], inputs: Mapping[str, str | os.PathLike[str] | None]) -> None:
    """Refuses a file to write that is one of those to be read, through links or another spelling too.

    Args:
        path: where something shall be written; a folder counts with all that it holds.
        inputs: what is read, by the words of the face that was used; "-" is standard input.

    Raises:
        DataError: naming the input that would be lost.
    """
    for words, source in inputs.items():
        if source is not None and _is_or_holds(os.fspath(path), os.fspath(source)):
            raise complain(
                os.fspath(path),
                "be another place than what is read",
                f"{words} is there, and would be lost" if source != "-" else "standard input comes from there",
                "choose another name to write to",
            )


def _is_or_holds(path: str, source: str) -> bool:
    if path == "-" or not os.path.exists(path):
        return False
    if source == "-":
        with suppress(OSError, ValueError, AttributeError):  # not every standard input is a file
            return os.path.samestat(os.fstat(sys.stdin.fileno()), os.stat(path))
        return False
    real = Path(os.path.realpath(source))
    return any(each.exists() and os.path.samefile(each, path) for each in (real, *real.parents))


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
    sweep(target)
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
    with suppress(OSError):
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)


def _swap(staging: Path, target: Path) -> None:
    if not target.exists():
        os.rename(staging, target)
    elif not _exchange(staging, target):
        # Here a folder cannot replace another in one step: the old one steps aside, in sight, and back on failure.
        earlier = target.with_name(f"{target.name}.before-{secrets.token_hex(4)}")
        with _held_folder(target):
            os.rename(target, earlier)
            try:
                os.rename(staging, target)
            except BaseException:
                os.rename(earlier, target)
                raise
            _remove(earlier)


def set_aside(target: Path) -> list[Path]:
    """Earlier versions of a folder that a run was killed while replacing."""
    pattern = re.compile(re.escape(target.name) + r"\.before-[0-9a-f]{8}")
    return [each for each in target.parent.glob(f"{glob.escape(target.name)}.before-*") if pattern.fullmatch(each.name)]


_SWAP = 2
_HERE = -100
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps what two names stand for in a single step; False where system or file system cannot."""
    names = os.fsencode(one), os.fsencode(other)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = libc.renamex_np(*names, _SWAP)
        else:
            failed = libc.renameat2(_HERE, names[0], _HERE, names[1], _SWAP)
    except (AttributeError, OSError, TypeError):  # no such function, no such library
        return False
    code = ctypes.get_errno()
    if failed and code not in _CANNOT:
        raise OSError(code, os.strerror(code))
    return not failed


# Locks. They belong to the open file, and so end with the process, however it ends.


@contextmanager
def _held_folder(folder: Path) -> Iterator[None]:
    """Marks a folder as being written by a living process."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        yield
        return
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Whether the lock is ours now; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def _locked(lock: Path) -> int | None:
    """The lock file, open and ours; None where it is another's."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        if _lock(handle) is False:
            os.close(handle)
            return None
        with suppress(FileNotFoundError):  # its owner may have ended, and removed it, since it was opened
            if os.path.samestat(os.fstat(handle), os.stat(lock)):
                return handle
        os.close(handle)


def _abandoned(place: Path) -> bool:
    """Whether no living process writes it."""
    try:
        handle = os.open(place, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        ours = _lock(handle)
        return time.time() - os.fstat(handle).st_mtime > DAY if ours is None else ours
    finally:
        os.close(handle)
