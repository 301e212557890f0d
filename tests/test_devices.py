"""Several devices: rows shared out over them have the scores that they have on one, and a fit ends where it would."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = """
import json, sys
import jax, numpy as np
from tightbound import VAE
from tightbound.evidence import annealed_evidence, encode, importance_evidence, refined
from tightbound.learn import Amortised, Pair
from tightbound.model import Specification, Start, build
from tightbound.tasks import conditional_draws

rng = np.random.default_rng(0)
x = (rng.normal(size=(101, 2)) @ rng.normal(size=(2, 4)) + 0.3 * rng.normal(size=(101, 4))).astype(np.float32)
start = Start(np.zeros(4), np.full(4, 0.1))
parts = build(Specification(4, 2, network="residual(hidden_sizes=16)"), start=start, key=jax.random.key(1))
p, q, key = parts.p, Amortised(parts.encoder), jax.random.key(2)
rows, seen = x[:21], rng.random((21, 4)) < 0.8
vae = VAE(2, network="residual(hidden_sizes=16)", epochs=4, batch_size=25, random_state=0, likelihood="gaussian").fit(x)
found = {
    "devices": len(jax.local_devices()),
    "importance": importance_evidence(p, q, rows, n_samples=500, key=key).log_evidence,
    "defensive": importance_evidence(p, q, rows, seen, n_samples=100, defensive=0.1, key=key).log_evidence,
    "refined": importance_evidence(p, refined(p, q, 10), rows, n_samples=100, key=key).log_evidence,
    "annealed": annealed_evidence(p, q, rows, n_steps=6, n_chains=8, key=key).log_evidence,
    "latents": encode(p, q, rows).mean,
    "draws": conditional_draws(Pair(p, q), rows, seen, n_draws=5, n_samples=50, key=key).values,
    "fit": [record.train_bound for record in vae.fitted_.summary.history],
}
with open(sys.argv[1], "w") as stream:
    json.dump({name: np.asarray(value, float).tolist() for name, value in found.items()}, stream)
"""


def run(n_devices: int, folder: Path) -> dict[str, Any]:
    """What the script finds in a process with so many CPU devices."""
    path = folder / f"{n_devices}.json"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "TIGHTBOUND_CACHE": ""}
    environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={n_devices}"
    command = [sys.executable, "-c", SCRIPT, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(path.read_text())
    assert found["devices"] == n_devices
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("devices")
    return run(1, folder), run(2, folder)


@pytest.mark.parametrize("name", ["importance", "defensive", "refined", "annealed", "latents", "draws"])
def test_rows_have_the_same_numbers_on_two_devices(both: tuple[dict[str, Any], dict[str, Any]], name: str) -> None:
    one, two = both
    np.testing.assert_array_equal(two[name], one[name])


def test_a_fit_on_two_devices_ends_where_it_would_on_one(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    one, two = both
    assert len(one["fit"]) == 4
    np.testing.assert_allclose(two["fit"], one["fit"], rtol=1e-4)
