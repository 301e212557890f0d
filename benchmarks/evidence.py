"""Estimates of log p(x) against the time they take, and the bracket of bidirectional Monte Carlo, on a fitted model.

    tightbound fit mnist.npz --array x_train --label y_train --likelihood "bernoulli(binarize=True)" --latent-dim 50 \
        --network "mlp(hidden_sizes=(200, 200), activation=tanh)" --epochs 120 --patience 0 --no-checks -o mnist200
    python benchmarks/evidence.py methods mnist200 mnist.npz --rows 100
    python benchmarks/evidence.py bracket mnist200 --rows 100

Methods take turns, `--rounds` times in one run; seconds are medians without the first call, which compiles. Differences
are paired, row by row, to the first method.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tightbound.data import read_table
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.folder import load_model
from tightbound.evidence import Evidence, annealed_evidence, bidirectional, importance_evidence, log_evidence, refined
from tightbound.learn import AbstractInference
from tightbound.model import AbstractDistribution, DiagonalGaussian, GenerativeModel

KEY = jax.random.key(0)


class FromPrior(AbstractInference):
    """q(z | x) = N(0, I): where annealing has started until now."""

    dim: int = eqx.field(static=True)

    def parameters(self, p: GenerativeModel, x: Any, observed: Any = None, *, key: Any) -> Any:
        """Nothing is asked of the row."""
        return jnp.zeros(self.dim, x.dtype)

    def distribution(self, p: GenerativeModel, numbers: Any) -> AbstractDistribution:
        """The prior."""
        return DiagonalGaussian(numbers, jnp.ones_like(numbers))

    def per_datum(self, n_rows: int, dtype: str) -> None:
        """Nothing."""

    def search(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    def learning(self, *_: Any, **__: Any) -> None:
        """Nothing."""


def methods(model: FittedModel, x: Any, observed: Any, chains: int) -> dict[str, Callable[[], Evidence]]:
    """What is compared, by name."""
    p, q = model.pair.p, model.pair.q
    better, prior = refined(p, q), FromPrior(p.prior.dim)

    def annealed(start: AbstractInference, steps: int, **options: Any) -> Callable[[], Evidence]:
        return lambda: annealed_evidence(p, start, x, observed, n_steps=steps, n_chains=chains, key=KEY, **options)

    def importance(start: AbstractInference, n: int, **options: Any) -> Callable[[], Evidence]:
        return lambda: importance_evidence(p, start, x, observed, n_samples=n, key=KEY, **options)

    return {
        "5,000 importance samples": importance(q, 5000),
        "50,000 importance samples": importance(q, 50000),
        "5,000, a tenth from the prior": importance(q, 5000, defensive=0.1),
        "5,000 with a refined q": importance(better, 5000),
        "annealed from q, 25": annealed(q, 25),
        "annealed from q, 50": annealed(q, 50),
        "annealed from refined q, 50": annealed(better, 50),
        "annealed from q, 50, resampled": annealed(q, 50, resample=True),
        "annealed from q, 200": annealed(q, 200),
        "annealed from the prior, 200": annealed(prior, 200),
        "annealed from the prior, 1,000": annealed(prior, 1000),
        "automatic, 0.1 nat": lambda: log_evidence(p, q, x, observed, method="adaptive", tolerance=0.1, key=KEY),
    }


def compare(model: FittedModel, data: str, array: str, rows: int, chains: int, rounds: int, names: list[str]) -> None:
    """Print a line a method: mean, paired difference, error, flagged rows, seconds."""
    table = read_table(data, array=array).take(np.arange(rows))
    seen = model.rows(table)
    chosen = {k: f for k, f in methods(model, seen.x, seen.observed, chains).items() if not names or k in names}
    found = {name: run() for name, run in chosen.items()}
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(rounds):
        for name, run in chosen.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    first = next(iter(found.values())).log_evidence + seen.log_jacobian
    print("| method | log p(x) | against the first | error of the mean | flagged | decoder passes a row | seconds |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, evidence in found.items():
        values = evidence.log_evidence + seen.log_jacobian
        gap = values - first
        spread = gap.std(ddof=1) / len(gap) ** 0.5
        judged = evidence if evidence.tolerance is not None else dataclasses.replace(evidence, tolerance=0.1)
        print(
            f"| {name} | {values.mean():.3f} | {gap.mean():+.3f} ± {spread:.3f} | "
            f"{evidence.mean().monte_carlo_error:.3f} | {judged.n_unreliable} | {evidence.work.mean():,.0f} | "
            f"{np.median(seconds[name]):.1f} |"
        )


def bracket(model: FittedModel, rows: int, chains: int, steps: list[int]) -> None:
    """Print the bidirectional gap of simulated rows against the number of temperatures."""
    print("| temperatures | lower | upper | gap | seconds, compilation included |\n|--:|--:|--:|--:|--:|")
    for n in steps:
        start = time.perf_counter()
        found = bidirectional(model.pair.p, model.pair.q, n_rows=rows, n_steps=n, n_chains=chains, key=KEY)
        taken, gap = time.perf_counter() - start, found.gap()
        print(
            f"| {n} | {found.lower.mean():.3f} | {found.upper.mean():.3f} | {gap.value:.3f} ± "
            f"{gap.standard_error:.3f} | {taken:.1f} |"
        )


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("methods", "bracket"))
    parser.add_argument("model", help="a folder that `tightbound fit` made")
    parser.add_argument("data", nargs="?", default="", help="rows to score")
    parser.add_argument("names", nargs="*", help="methods (none: all)")
    parser.add_argument("--array", default="x_test")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, nargs="*", default=[50, 100, 200, 400])
    arguments = parser.parse_args()
    model = load_model(Path(arguments.model))[0]
    if arguments.what == "methods":
        compare(
            model,
            arguments.data,
            arguments.array,
            arguments.rows,
            arguments.chains,
            arguments.rounds,
            arguments.names,
        )
    else:
        bracket(model, arguments.rows, arguments.chains, arguments.steps)


if __name__ == "__main__":
    main()
