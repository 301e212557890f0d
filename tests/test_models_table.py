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
    "network": "residual(hidden_sizes=(8,))",
    "epochs": 3,
    "batch_size": 32,
    "n_importance_samples": 20,
    "scoring_method": "importance",
    "random_state": 0,
}
# Fewer draws, layers and components than the documentation names: the same code, in less time.
SMALLER = {"n_samples": 4, "n_groups": 2, "flow_layers": 2, "n_components": 4, "kl_warmup_steps": 4, "inner_steps": 2}


def _smaller(vae: VAE) -> VAE:
    """With small members, which are set as a search would set them."""
    given = vae.get_params()
    less = {name: SMALLER[name.rpartition("__")[2]] for name in given if name.rpartition("__")[2] in SMALLER}
    return vae.set_params(**{name: min(most, given[name]) for name, most in less.items() if given[name] is not None})


def _rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(96, 2))
    return np.tanh(z @ rng.normal(size=(2, 4))) + 0.2 * rng.normal(size=(96, 4))


def _as_written(line: str) -> VAE:
    return eval(line, {"__builtins__": {}, "VAE": VAE})


def test_the_table_is_found():
    names = {name.strip() for name, _ in LINES}
    assert len(LINES) == len(names) >= 40
    assert {"VAE", "beta-VAE", "VampPrior", "SA-VAE", "NVIL", "IAF-VAE", "reweighted wake-sleep"} <= names


@pytest.mark.parametrize(("name", "line"), LINES, ids=[name.strip().replace(" ", "-") for name, _ in LINES])
def test_a_published_model_is_one_line(name: str, line: str, tmp_path: Path):
    vae = _smaller(_as_written(line))
    small = {name: value for name, value in SMALL.items() if vae.get_params()[name] == VAE().get_params()[name]}
    vae = vae.set_params(**small).fit(_rows())
    history = vae.history_
    assert np.isfinite(history["train_bound"]).all()
    assert np.isfinite(history["train_objective"]).all()
    scores = vae.score_samples(_rows()[:5])
    assert np.isfinite(scores).all()
    vae.save(tmp_path / "model")
    assert (tightbound.load(tmp_path / "model").score_samples(_rows()[:5]) == scores).all()
