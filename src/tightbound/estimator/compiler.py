"""Where compiled programs are kept between processes: nowhere, unless somebody asks for it."""

import atexit
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from tightbound.model import strict_json


def use_cache(path: str | os.PathLike[str]) -> None:
    """Keep the programs that JAX compiles in this process in a folder, so that later processes need not compile them.

    This is a setting of JAX for the whole process; nothing else here makes one. The command line keeps its own in
    $TIGHTBOUND_CACHE, else ~/.cache/tightbound.

    Example:
        >>> tightbound.use_cache("~/.cache/tightbound")  # doctest: +SKIP
    """
    import jax

    place = Path(path).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    for name, value in _settings(place).items():
        jax.config.update(name, value)


def use_cache_of_command_line() -> None:
    """Keep programs, to be called before JAX is imported; an empty TIGHTBOUND_CACHE, or a choice of JAX, stands."""
    place = os.environ.get("TIGHTBOUND_CACHE", "~/.cache/tightbound")
    if not place or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = Path(place).expanduser()
    for changed in _changed(folder):
        changed.unlink(missing_ok=True)
    for name, value in _settings(folder).items():
        os.environ.setdefault(name.upper(), str(value))
    atexit.register(_remember, folder)


# JAX runs whatever program lies under the name of the one that it needs; one that was put there by a copy, a restore or
# a hand gives a traceback, or other numbers. So it is noted what was there; what has changed since is compiled anew.
_INDEX = "tightbound.index"


def _entries(folder: Path) -> dict[str, list[int]]:
    """Size and time of every program that is kept."""
    found = {each.name: each.stat() for each in os.scandir(folder) if each.name.endswith("-cache")}
    return {name: [status.st_size, status.st_mtime_ns] for name, status in found.items()}


def _noted(folder: Path) -> dict[str, list[int]]:
    noted = strict_json.loads((folder / _INDEX).read_bytes())
    return noted if isinstance(noted, dict) else {}


def _changed(folder: Path) -> list[Path]:
    """The programs that are not what they were when they were noted."""
    try:
        noted, now = _noted(folder), _entries(folder)
    except (OSError, ValueError):  # nothing was noted yet
        return []
    return [folder / name for name, status in now.items() if noted.get(name, status) != status]


def _remember(folder: Path) -> None:
    """Notes what is kept, where this process may have kept something."""
    if "jax" not in sys.modules:
        return
    from tightbound.data import atomic_write

    with contextlib.suppress(OSError, ValueError):
        atomic_write(folder / _INDEX, strict_json.dumps(_entries(folder)).encode())


def _settings(place: Path) -> dict[str, Any]:
    return {
        "jax_compilation_cache_dir": str(place),
        "jax_persistent_cache_min_compile_time_secs": 0.3,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
