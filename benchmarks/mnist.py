"""MNIST at equal wall time: every way of learning is given the same seconds, then scored on the same test images.

    python benchmarks/mnist.py path/to/mnist.npz --seconds 390 --json mnist.json [NAME ...]

Each is what one `tightbound fit` command does; the number of epochs is what a short trial run says fits into the time.
Test images are binarised once with seed 0; log p(x) by importance sampling. Differences are paired, row by row.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from tightbound.data import read_table
from tightbound.estimator.fit import fit_table
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.settings import Settings

WAYS: dict[str, dict[str, Any]] = {
    "elbo": {},
    "iwae50": {"objective": "iwae(n_samples=50)"},
    "iwae5": {"objective": "iwae(n_samples=5)"},
    "elbo-20": {"batch_size": 20},
    "resampled5": {"objective": "iwae(n_samples=5)", "gradient": "resampled"},
    "resampled10": {"objective": "iwae(n_samples=10)", "gradient": "resampled"},
    "dreg5-20": {"objective": "iwae(n_samples=5)", "gradient": "dreg", "batch_size": 20},
    "dreg8-10": {"objective": "iwae(n_samples=8)", "gradient": "dreg", "batch_size": 12},
    "dreg5": {"objective": "iwae(n_samples=5)", "gradient": "dreg"},
    "mixture": {"prior": "mixture(n_components=20)"},
    "mixture100": {"prior": "mixture(n_components=100)"},
    "vamp": {"prior": "vamp(n_components=100)"},
    "maf": {"prior": "maf"},
    "iaf": {"posterior": "iaf"},
    "spline": {"posterior": "spline"},
    "full": {"posterior": "full"},
    "semi": {"inference": "semi_amortised(inner_steps=5)"},
    "aggressive": {"inference": "aggressive"},
}


def trained(table: Any, settings: dict[str, Any], seconds: float) -> tuple[FittedModel, float]:
    """The model fitted in about so many seconds, and the seconds it took without compilation."""
    stamps: list[float] = []
    settings = {"likelihood": "bernoulli(binarize=True)", "patience": 0, **settings}
    fit_table(
        table, Settings(**{**settings, "epochs": 3}), seed=0, on_epoch=lambda *_: stamps.append(time.perf_counter())
    )
    epochs = max(2, int(seconds / (stamps[-1] - stamps[0]) * (len(stamps) - 1)))
    stamps.clear()
    model = fit_table(
        table, {**settings, "epochs": epochs}, seed=0, on_epoch=lambda *_: stamps.append(time.perf_counter())
    )
    return model, (stamps[-1] - stamps[0]) * epochs / max(len(stamps) - 1, 1)


def main() -> None:
    """Fit, score, print, and add to the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="mnist.npz with x_train and x_test")
    parser.add_argument("names", nargs="*", default=list(WAYS))
    parser.add_argument("--seconds", type=float, default=390.0)
    parser.add_argument("--rows", type=int, default=2000, help="test images that are scored, from the first on")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for every way")
    parser.add_argument("--json", default="mnist.json")
    arguments = parser.parse_args()
    common = {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in arguments.set)}
    table = read_table(arguments.data, array="x_train")
    test = read_table(arguments.data, array="x_test").take(np.arange(arguments.rows))
    target = Path(arguments.json)
    results = json.loads(target.read_text()) if target.exists() else {}
    for name in arguments.names:
        model, seconds = trained(table, {**common, **WAYS[name]}, arguments.seconds)
        evidence = model.evidence(test, arguments.samples)
        latents = model.latents(test)
        results[name] = {
            "settings": {**common, **WAYS[name]},
            "seconds": seconds,
            "epochs": len(model.summary.history),
            "log_evidence": evidence.mean().value,
            "monte_carlo_error": evidence.mean().monte_carlo_error,
            "elbo": evidence.mean_elbo().value,
            "unreliable": evidence.n_unreliable,
            "active": int(latents.active.sum()),
            "kl": float(latents.total_kl.mean()),
            "rows": evidence.log_evidence.tolist(),
        }
        target.write_text(json.dumps(results))
        print(line(name, results), flush=True)


def line(name: str, results: dict[str, Any]) -> str:
    """One row of the table; the difference to the plain ELBO is paired."""
    r = results[name]
    against = ""
    if "elbo" in results and name != "elbo":
        difference = np.array(r["rows"]) - np.array(results["elbo"]["rows"])
        against = f"{difference.mean():+.2f} ± {difference.std(ddof=1) / len(difference) ** 0.5:.2f}"
    return (
        f"| {name} | {r['log_evidence']:.2f} | {against} | {r['elbo']:.2f} | {r['active']} | {r['unreliable']} | "
        f"{r['epochs']} | {r['seconds']:.0f} s |"
    )


if __name__ == "__main__":
    main()
