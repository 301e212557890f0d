"""What every test stands on: float64, no silent rank promotion, the CPU, and the shared data where it is there."""

import os
import tempfile

# Read by JAX when it is first imported, hence before any other import; processes that a test starts inherit them.
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ["JAX_PLATFORMS"] = "cpu"
# Small programs that run once: most of the time would go into making them fast. Half the processor time of the suite.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false")

# Compiled programs of this run, since many tests make the same ones: two fifths of the time of some files. Each worker
# has its own place, for JAX does not write them in one piece.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="tightbound-tests-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import atexit
import gc
import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from jaxtyping import install_import_hook

atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

# The registry refuses values of a wrong type by itself, with a sentence: it is imported before the next line.
importlib.import_module("tightbound.model.axes")
# Shapes and dtypes in annotations are checked at every call of the mathematics while the tests run.
install_import_hook(["tightbound.model", "tightbound.learn", "tightbound.evidence"], "beartype.beartype")

# Every compiled program keeps some tens of memory maps; Linux gives a process 65,530 of them, and XLA aborts beyond.
MOST_MAPS = 20_000

# Compiled programs are many objects that live for long: to look through them all, again and again, takes long.
gc.set_threshold(200_000, 20, 100)

ROOT = Path(__file__).resolve().parents[1]

# An example that compiles takes seconds and its neighbour microseconds: a deadline would fail at random.
hypothesis.settings.register_profile("tightbound", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tightbound")


# Of many cases of one check the default suite runs a few; the others, and what takes long by itself, are slow.
SLOW_CASES = ROOT / "tests" / "slow_cases.txt"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that the list names as slow, before pytest selects by marks."""
    slow = set(SLOW_CASES.read_text(encoding="utf-8").splitlines())
    for item in items:
        if item.nodeid in slow:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real tables and images: $TIGHTBOUND_DATA, or shared/data beside the repository."""
    named = os.environ.get("TIGHTBOUND_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs real data: {folder} is no folder; set TIGHTBOUND_DATA to the one that holds tables/")
    return folder


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs() -> Iterator[None]:
    """Forget compiled programs after a file of tests, where the process has gathered very many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        import jax  # after the import hook above

        jax.clear_caches()
        gc.collect()
