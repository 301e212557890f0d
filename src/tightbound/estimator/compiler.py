"""Where compiled programs are kept between processes: nowhere, unless somebody asks for it."""

import os
from pathlib import Path
from typing import Any


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
    for name, value in _settings(Path(place).expanduser()).items():
        os.environ.setdefault(name.upper(), str(value))


def _settings(place: Path) -> dict[str, Any]:
    return {
        "jax_compilation_cache_dir": str(place),
        "jax_persistent_cache_min_compile_time_secs": 0.3,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
