"""Whether the errors of log p(x) are its errors: a hundred linear-Gaussian models, whose log p(x) is known.

    python benchmarks/calibration.py                 # the study of the documentation
    python benchmarks/calibration.py --models 20     # a quick look

Each model has 2 to 50 latents, 10 to 784 columns, random loadings and noise, and one row of its own, which is scored by
method "adaptive" with a q like that of a good fit (mean-field, or a little off), and with the best mean-field q two
standard deviations off in every latent, a quarter as wide, and four times as wide. The study itself is
`tests/evidence/calibration.py`; float64, so that the errors are those of sampling alone.
"""

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("JAX_ENABLE_X64", "1")
TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "evidence")]

from calibration import BAD, SHAPES, Score, study, summary  # noqa: E402
from tightbound.evidence import Reliability  # noqa: E402


def table(scores: list[Score]) -> str:
    """One row for each q."""
    lines = [
        "| q | models | within 3 errors | mean absolute error (nats) | mean of z | variance of z | flagged "
        "| neither right nor flagged |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in ("good", *BAD):
        own = [score for score in scores if score.q == name]
        found = summary(own)
        lines.append(
            f"| {name} | {found.n} | {found.n_within} | {found.mean_absolute:.3f} | {found.mean:.2f} | "
            f"{found.variance:.2f} | {found.n_flagged} | {sum(not score.caught for score in own)} |"
        )
    return "\n".join(lines)


def methods(scores: list[Score]) -> str:
    """Where rows ended, for each q."""
    lines = ["| q | where rows ended |", "|---|---|"]
    for name in ("good", *BAD):
        counts = Counter(score.method for score in scores if score.q == name)
        lines.append(f"| {name} | {'; '.join(f'{method}: {n}' for method, n in counts.most_common())} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=0.1, help="nats a row")
    arguments = parser.parse_args()
    started = time.perf_counter()
    scores = []
    for score in study(arguments.models, SHAPES, arguments.seed, tolerance=arguments.tolerance):
        scores.append(score)
        good = score.flag is Reliability.GOOD
        if not score.caught or not good or abs(score.difference) > 3 * score.standard_error:
            seconds = time.perf_counter() - started
            print(f"{seconds:.0f} s: {score}", file=sys.stderr, flush=True)
    print(table(scores), "\n")
    print(methods(scores))


if __name__ == "__main__":
    main()
