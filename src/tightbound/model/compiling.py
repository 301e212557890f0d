"""How programs are compiled: on a CPU ours take longer to compile than to run, unless XLA does less for them."""

import functools
import gc
import importlib.metadata
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax

# LLVM at its first level, and each fused loop through LLVM directly and not through MLIR first: half the time, and the
# loops run as fast (measured: docs/performance.md).
QUICK: dict[str, Any] = {"xla_backend_optimization_level": 1}
QUICKER: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False}
# XLA refuses an option that it does not know: only where it is known to know it.
KNOWN_TO = "0.10."

P = ParamSpec("P")
T = TypeVar("T")


def compiler_options() -> dict[str, Any]:
    """What XLA is asked for with each program of ours, so that nothing is asked of our host's.

    What XLA_FLAGS says already stays; with an accelerator, or where JAX is told to optimise hardly at all, nothing.
    """
    accelerated = os.environ.get("JAX_PLATFORMS") != "cpu" and importlib.util.find_spec("jax_plugins") is not None
    if accelerated or jax.config.values["jax_disable_most_optimizations"]:
        return {}
    wanted = QUICK | (QUICKER if importlib.metadata.version("jaxlib").startswith(KNOWN_TO) else {})
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in wanted.items() if name not in flags}


OPTIONS = compiler_options() or None


class _Process:
    """Whether programs have run here, and whether this process is a copy of one where they had."""

    used = forked = False


def _forked() -> None:
    _Process.forked = _Process.used


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forked)


def require_own_threads() -> None:
    """Refuse (`RuntimeError`) to run programs in a fork of a process that has run some: it would wait without end."""
    if _Process.forked:
        raise RuntimeError(
            "This process must have been started by itself to run a model, but it is a fork of one that had run one, "
            "whose threads it does not have; start it with multiprocessing.get_context('spawn') or joblib's loky."
        )
    _Process.used = True


_CALLS_BETWEEN_LOOKS = 50
_SHARE_OF_MAPS = 0.25
_calls = itertools.count(1)


def _forget_in_time() -> None:
    """Forget all programs before the process runs out of memory maps, of which each keeps some tens: XLA would abort.

    Only Linux counts maps: 65,530 by default, which some forty models of different shapes used up.
    """
    if next(_calls) % _CALLS_BETWEEN_LOOKS or not sys.platform.startswith("linux"):
        return
    if _n_maps() > _SHARE_OF_MAPS * _most_maps():
        jax.clear_caches()
        gc.collect()


def _n_maps() -> int:
    with open("/proc/self/maps", "rb") as lines:
        return sum(1 for _ in lines)


@functools.cache
def _most_maps() -> int:
    with open("/proc/sys/vm/max_map_count", encoding="ascii") as number:
        return int(number.read())


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """The function as one program, its arrays as arguments and all else as constants; not to be called in another."""
    jit: Any = eqx.filter_jit  # its types leave out what it hands on to jax.jit
    program = jit(function, compiler_options=OPTIONS)

    @functools.wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> T:
        require_own_threads()
        _forget_in_time()
        result: T = program(*arguments, **named)
        return result

    return run
