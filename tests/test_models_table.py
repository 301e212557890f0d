"""Every line of docs/models.md is a model that can be built, trained, scored and saved."""

import re
from pathlib import Path

import numpy as np
import pytest
import tiny  # noqa: F401  (turns the compilation cache off)

import tightbound
from tightbound import VAE

TABLE = Path(__file__).parents[1] / "docs" / "models.md"
LINES = re.findall(r"^\| ([^|]+) \| `(VAE\(.*?\))` \|", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
SMALL = {
    "latent_dim": 2,
    "hidden_sizes": (8,),
    "epochs": 3,
    "batch_size": 32,
    "n_importance_samples": 20,
    "scoring_method": "importance",
    "random_state": 0,
}
# Fewer draws, layers and components than the documentation names: the same code, in less time.
SMALLER = {"n_samples": 4, "n_groups": 2, "flow_layers": 2, "n_components": 4, "kl_warmup_steps": 4, "inner_steps": 2}


def _rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(96, 2))
    return np.tanh(z @ rng.normal(size=(2, 4))) + 0.2 * rng.normal(size=(96, 4))


def _as_written(line: str) -> dict[str, object]:
    return eval(line.replace("VAE(", "dict(", 1), {"__builtins__": {}, "dict": dict})


def test_the_table_is_found():
    names = {name.strip() for name, _ in LINES}
    assert len(LINES) == len(names) >= 40
    assert {"VAE", "beta-VAE", "VampPrior", "SA-VAE", "NVIL", "IAF-VAE", "reweighted wake-sleep"} <= names


@pytest.mark.parametrize(("name", "line"), LINES, ids=[name.strip().replace(" ", "-") for name, _ in LINES])
def test_a_published_model_is_one_line(name: str, line: str, tmp_path: Path):
    written = _as_written(line)
    VAE(**written)  # as it stands in the documentation
    small = {key: min(value, SMALLER[key]) if key in SMALLER else value for key, value in written.items()}
    vae = VAE(**{**SMALL, **small}).fit(_rows())
    history = vae.history_
    assert np.isfinite(history["train_bound"]).all()
    assert np.isfinite(history["train_objective"]).all()
    scores = vae.score_samples(_rows()[:5])
    assert np.isfinite(scores).all()
    vae.save(tmp_path / "model")
    assert (tightbound.load(tmp_path / "model").score_samples(_rows()[:5]) == scores).all()
