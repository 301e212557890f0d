"""A guest in its host: what XLA is asked for with our programs, and that nothing else of the process changes."""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import jax
import pytest

from tightbound.model import compiling
from tightbound.model.compiling import QUICK, QUICKER, compiler_options


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"jaxlib": "0.10.2"}[name])
    before = jax.config.values["jax_disable_most_optimizations"]  # the suite has JAX optimise hardly at all
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.parametrize(
    ("flags", "asked"),
    [
        ("", QUICK | QUICKER),
        ("--xla_dump_to=here", QUICK | QUICKER),
        ("--xla_backend_optimization_level=3", QUICKER),
        ("--xla_cpu_use_fusion_emitters=true", QUICK),
    ],
    ids=range(4),
)
def test_the_users_flags_stay(monkeypatch: pytest.MonkeyPatch, flags: str, asked: dict) -> None:
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert compiler_options() == asked


@pytest.mark.parametrize(("jaxlib", "asked"), [("0.10.9", QUICK | QUICKER), ("0.11.0", QUICK), ("1.10.0", QUICK)])
def test_a_library_that_may_not_know_the_option_is_not_given_it(
    monkeypatch: pytest.MonkeyPatch, jaxlib: str, asked: dict
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: jaxlib)
    assert compiler_options() == asked


@pytest.mark.parametrize(("platforms", "asked"), [(None, {}), ("cuda,cpu", {}), ("cpu", QUICK | QUICKER)])
def test_with_an_accelerator_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, platforms: str | None, asked: dict
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "jax_plugins" else None)
    if platforms is None:
        monkeypatch.delenv("JAX_PLATFORMS")
    else:
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
    assert compiler_options() == asked


GUEST = """
import json, os, sys
import jax
import numpy as np
import polars, sklearn  # these set variables of their own when they are imported

def host():
    return {**os.environ}, {name: repr(value) for name, value in jax.config.values.items()}

before = host()
import tightbound
from tightbound.model import compiling
x = np.arange(40.0).reshape(20, 2)
model = tightbound.VAE(1, epochs=2, network="residual(hidden_sizes=4)", random_state=0).fit(x)
scores = model.score_samples(x)
print(json.dumps({
    "kept": host() == before,
    "asked": compiling.OPTIONS,
    "finite": bool(np.isfinite(scores).all()),
    "home": os.listdir(os.environ["HOME"]),
}))
"""
USE = """
import os, sys
import numpy as np
import tightbound
tightbound.use_cache(sys.argv[1])
tightbound.VAE(1, epochs=2, network="residual(hidden_sizes=4)", random_state=0).fit(np.arange(40.0).reshape(20, 2))
print(len(os.listdir(sys.argv[1])))
"""


def host(tmp_path) -> dict[str, str]:
    ours = ("JAX_", "XLA_", "TIGHTBOUND_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "HOME": str(tmp_path / "home"), "JAX_PLATFORMS": "cpu"}


def python(tmp_path, *arguments: str) -> str:
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=250, check=False, env=host(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_and_fit_leave_the_host_as_it_was(tmp_path) -> None:
    """The environment and every option of JAX, before and after; and nothing is written to the home."""
    assert json.loads(python(tmp_path, "-c", GUEST)) == {
        "kept": True,
        "asked": QUICK | QUICKER,
        "finite": True,
        "home": [],
    }


def test_programs_are_kept_where_one_says(tmp_path) -> None:
    assert int(python(tmp_path, "-c", USE, str(tmp_path / "new" / "cache"))) > 0


def test_the_command_line_keeps_programs_in_its_own_process(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i}.5,{i * i}.25\n" for i in range(20)))
    options = [
        "--epochs=2",
        "--network=residual(hidden_sizes=4)",
        "--latent-dim=1",
        "--no-checks",
        "--no-report",
        "--quiet",
    ]
    python(tmp_path, "-m", "tightbound", "fit", str(tmp_path / "t.csv"), "-o", str(tmp_path / "m"), *options)
    assert any((tmp_path / "home" / ".cache" / "tightbound").iterdir())


@pytest.mark.parametrize(("share", "traced"), [(1.0, 1), (0.0, 3)])
def test_programs_are_forgotten_before_memory_maps_run_out(
    monkeypatch: pytest.MonkeyPatch, share: float, traced: int
) -> None:
    """With maps to spare a program is traced once; where they end, again and again, to the same value."""
    monkeypatch.setattr(compiling, "_CALLS_BETWEEN_LOOKS", 1)
    monkeypatch.setattr(compiling, "_SHARE_OF_MAPS", share)
    times = []

    @compiling.compiled
    def doubled(x: jax.Array) -> jax.Array:
        times.append(x)
        return 2 * x

    assert [float(doubled(jax.numpy.ones(()))) for _ in range(3)] == [2.0] * 3
    assert len(times) == (traced if sys.platform.startswith("linux") else 1)


MANY_MODELS = """
import numpy as np
from tightbound import VAE
from tightbound.model import compiling

x = np.random.default_rng(0).normal(size=(60, 6))
for i in range(60):
    network = f"residual(hidden_sizes=({4 + i % 20},))"
    VAE(latent_dim=1 + i // 20, network=network, epochs=1, random_state=0).fit(x).score_samples(x[:5])
    pages = int(open("/proc/self/statm").read().split()[1])
    print(compiling._n_maps(), pages * 4096 // 2**20, flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Only Linux counts memory maps.")
def test_sixty_models_of_different_shapes_fit_into_one_process() -> None:
    """Memory maps stay below half of what there are, and memory below twice that of the first thirty."""
    done = subprocess.run([sys.executable, "-c", MANY_MODELS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(seen) == 60
    assert max(maps for maps, _ in seen) < 0.5 * compiling._most_maps()
    assert max(size for _, size in seen[30:]) < 2 * max(size for _, size in seen[:30])
