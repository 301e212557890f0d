"""What ways of inference cost and gain on MNIST.

    python benchmarks/inference.py cost path/to/mnist.npz           # an epoch of each way, against an amortised one
    python benchmarks/inference.py refine path/to/mnist.npz MODEL   # q refined for test rows, by inner steps

`cost` trains the default networks (three layers of 300, 50 latents) on the first rows and takes the median over turns:
in each turn every way runs one epoch. `refine` takes a model that `tightbound fit` has saved, scores test images that
were binarised once with seed 0, and compares the ELBO of the encoder's q with that of q after so many steps; the last
line is long enough to stand for the optimum.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tightbound import learn
from tightbound.data import read_table
from tightbound.estimator.folder import load_model
from tightbound.evidence import importance_evidence
from tightbound.model import Specification, Start, build

WAYS: dict[str, dict[str, Any]] = {
    "amortised": {},
    "semi-amortised, 10 steps": {"inference": "semi_amortised(inner_steps=10)"},
    "semi-amortised, 10 steps, through": {"inference": "semi_amortised(inner_steps=10, through=True)"},
    "per datum, 20 steps": {"inference": "per_datum(inner_steps=20, steps_on_new_rows=20)"},
    "aggressive, 10 encoder steps, while aggressive": {"encoder_steps": 10},
}


class Way:
    """One way of learning, an epoch at a time."""

    def __init__(self, data: learn.Dataset, mean: np.ndarray, options: dict[str, Any]):
        spec = Specification(784, 50, likelihood="bernoulli", inference=options.get("inference", "amortised"))
        parts = build(spec, start=Start(mean, np.zeros(784)), key=jax.random.key(0))
        q = learn.make_inference(spec, parts)
        rate = learn.Optimiser(1e-3, 10_000, warmup_steps=100)
        self.recipe = learn.TrainingConfig(rate, encoder_steps=options.get("encoder_steps", 1))
        self.pair, self.data = learn.Pair(parts.p, q), data
        self.state: Any = None
        self.epoch()  # compiles

    def epoch(self) -> float:
        """Seconds of one more epoch."""
        done = 0 if self.state is None else int(self.state[0].epoch)
        kept: list[Any] = []
        started = time.perf_counter()
        learn.fit(
            self.pair,
            self.data,
            None,
            self.recipe,
            epochs=done + 1,
            key=jax.random.key(1),
            resume_from=self.state,
            on_progress=lambda state, history: kept.append((state, history)),
        )
        seconds = time.perf_counter() - started
        self.state = kept[-1]
        return seconds


def cost(path: str, rows: int, turns: int) -> None:
    """Print the cost of an epoch of each way."""
    x = np.load(path)["x_train"][:rows].reshape(rows, -1)
    ways = {name: Way(learn.Dataset(jnp.asarray(x)), x.mean(axis=0) / 255, options) for name, options in WAYS.items()}
    seconds = np.array([[way.epoch() for way in ways.values()] for _ in range(turns)])
    ratios = seconds / seconds[:, :1]
    print("| way | s an epoch | ratio |\n|---|--:|--:|")
    for j, name in enumerate(ways):
        print(f"| {name} | {np.median(seconds[:, j]):.2f} | {np.median(ratios[:, j]):.2f} |")


def refine(path: str, model: str, rows: int) -> None:
    """Print the ELBO of test rows against steps of the inner loop."""
    fitted, _ = load_model(model)
    x = fitted.rows(read_table(path, array="x_test").take(np.arange(rows))).x
    encoder: Any = fitted.pair.q

    def scored(q: learn.AbstractInference) -> tuple[Any, float]:
        started = time.perf_counter()
        evidence = importance_evidence(fitted.pair.p, q, x, n_samples=500, key=jax.random.key(1))
        return evidence, time.perf_counter() - started

    scored(encoder)
    before, seconds = scored(encoder)
    print("| steps | draws a step | ELBO | gain over the encoder | log p(x) | unreliable rows | s more |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    print(f"| 0 | | {before.elbo.mean():.2f} | | {before.mean().value:.2f} | {before.n_unreliable} | |")
    for steps, draws in ((10, 4), (20, 4), (50, 4), (100, 4), (200, 4), (400, 16)):
        q = learn.SemiAmortised(encoder.encoder, learn.Refinement(steps, n_samples=draws))
        scored(q)
        after, total = scored(q)
        gain = after.elbo - before.elbo
        print(
            f"| {steps} | {draws} | {after.elbo.mean():.2f} | "
            f"{gain.mean():.2f} ± {gain.std(ddof=1) / len(gain) ** 0.5:.2f} | {after.mean().value:.2f} | "
            f"{after.n_unreliable} | {total - seconds:.1f} |",
            flush=True,
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "refine"))
    parser.add_argument("data")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--rows", type=int, default=None, help="10,000 for cost, 1,000 for refine")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.what == "cost":
        cost(arguments.data, arguments.rows or 10_000, arguments.turns)
    else:
        refine(arguments.data, arguments.model, arguments.rows or 1000)


if __name__ == "__main__":
    main()
