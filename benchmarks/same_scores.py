"""Held-out log p(x) of six real tables, fitted with one seed: does a rebuilt house compute what the old one did?

    python benchmarks/same_scores.py ../shared/data before.json
    python benchmarks/same_scores.py ../shared/data after.json --against before.json

Two tables of numbers, two mixed ones, one of counts, one of images; few epochs. Prints for each the mean of log p(x)
over held-out rows with its standard error (nats a row), processor seconds of the fit, and the paired difference.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from tightbound import VAE

ROWS = 1500
HELD_OUT = 200


def tables(folder: Path) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Each table with the parameters of its fit."""
    read = lambda name, **options: pd.read_csv(folder / "tables" / f"{name}.csv.gz", **options)  # noqa: E731
    counts = scipy.sparse.csr_matrix(np.load(folder / "counts" / "pbmc68k_700.npz")["counts"][:, :200])
    digits = np.load(folder / "images" / "digits8x8.npz")["x_train"].astype(float) / 16
    return {
        "wine": (read("wine").drop(columns="cultivar"), {"epochs": 200}),
        "magic_telescope": (
            read("magic_telescope").drop(columns="class"),
            {"epochs": 40, "likelihood": "gaussian(covariance=low_rank)"},
        ),
        "penguins": (read("penguins"), {"epochs": 100}),
        "credit_data": (read("credit_data"), {"epochs": 30}),
        "pbmc68k": (counts, {"epochs": 60, "latent_dim": 5}),
        "digits": (digits, {"epochs": 60, "likelihood": "bernoulli(binarize=True)", "latent_dim": 8}),
    }


def measure(X: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Scores of held-out rows after a fit to the others."""
    n = X.shape[0]
    order = np.random.default_rng(0).permutation(n)[:ROWS]
    cut = min(HELD_OUT, len(order) // 4)
    take = (lambda rows: X.iloc[rows].reset_index(drop=True)) if isinstance(X, pd.DataFrame) else (lambda rows: X[rows])
    started = time.process_time()
    vae = VAE(random_state=0, validation_fraction=0, **options).fit(take(order[cut:]))
    seconds = time.process_time() - started
    evidence = vae.evidence(take(order[:cut]), 1000, method="importance")
    return {"seconds": seconds, "log_prob": evidence.log_evidence.tolist(), "elbo": evidence.elbo.tolist()}


def main() -> None:
    """Measure all tables, write them down, and set them beside an earlier run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--against", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    before = json.loads(arguments.against.read_text()) if arguments.against else {}
    found = {}
    for name, (X, options) in tables(arguments.data).items():
        found[name] = measure(X, options)
        scores = np.array(found[name]["log_prob"])
        line = f"{name:16} {scores.mean():10.4f} +- {scores.std(ddof=1) / len(scores) ** 0.5:.4f}"
        line += f"  fit {found[name]['seconds']:6.1f} CPU s"
        if name in before:
            gap = scores - np.array(before[name]["log_prob"])
            error = gap.std(ddof=1) / len(gap) ** 0.5
            line += f"  difference {gap.mean():+.5f} +- {error:.5f}, largest {abs(gap).max():.5f}"
        print(line, flush=True)
        arguments.output.write_text(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
