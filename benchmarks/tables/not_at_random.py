"""Missing not at random: in the first half of the columns, every value above the column's mean is removed.

    python benchmarks/tables/not_at_random.py --json not_at_random.json

The setting of not-MIWAE (Ipsen, Mattei and Frellsen, 2021), on wine_quality_red and concrete: columns are standardised
first; the value itself decides whether it is missing (self-masking). Reported is the root mean squared error over the
removed cells, in standard deviations of the complete columns. Nothing is random in the removal: seeds are the methods'
own, and of those without randomness each seed tells the same.
"""

import argparse

import numpy as np
import pandas as pd

from common import Journal, LeftOutError, Record, attempt, mean_over_seeds, parser, show, some_rows, start
from imputation import QUICK_ROWS, table
from imputers import (
    chained_forests,
    chained_regressions,
    column_mean,
    nearest_neighbours,
    soft_impute,
    tightbound,
    tightbound_self_masking,
)

SETS = ("wine_quality_red", "concrete")
OURS_AT_RANDOM = "tightbound, at random"
CONTENDERS = {
    "tightbound": tightbound_self_masking,
    OURS_AT_RANDOM: tightbound,
    "mean": column_mean,
    "neighbours": nearest_neighbours,
    "regressions": chained_regressions,
    "softimpute": soft_impute,
    "forests": chained_forests,
}


def self_masked(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """The standardised table, the same with holes, and where they are."""
    scaled = (frame - frame.mean()) / frame.std(ddof=0)
    gone = scaled.to_numpy() > 0
    gone[:, scaled.shape[1] // 2 :] = False
    return scaled, scaled.mask(gone), gone


def measure(frame: pd.DataFrame, contender: str, seed: int, threads: int) -> Record:
    """One contender."""
    truth, holed, gone = self_masked(frame)
    filled = CONTENDERS[contender](holed, seed, threads).values.to_numpy(float)
    error = (filled - truth.to_numpy())[gone]
    return {"rmse": float(np.sqrt(np.mean(error**2))), "bias": float(np.mean(error)), "removed": int(gone.sum())}


def less_than_regressions(journal: Journal) -> dict[str, float]:
    """How much of chained equations' error each contender saves, in per cent, averaged over the sets."""
    means = mean_over_seeds(journal.all(), "rmse")
    saved: dict[str, list[float]] = {}
    for (name, contender), (value, _, _) in means.items():
        if (name, "regressions") in means:
            saved.setdefault(contender, []).append(100 * (1 - value / means[name, "regressions"][0]))
    return {contender: float(np.mean(values)) for contender, values in saved.items()}


def options() -> argparse.Namespace:
    """Of the command line."""
    return parser(__doc__, SETS, list(CONTENDERS)).parse_args()


def main() -> None:
    """Measure and show."""
    chosen = options()
    start(chosen)
    journal = Journal.of(chosen)
    for name in chosen.sets:
        try:
            frame = table(name, quick=False)
        except LeftOutError as error:
            journal.say(str(error))
            continue
        frame = some_rows(frame, QUICK_ROWS) if chosen.quick else frame
        for seed in chosen.seeds[:1] if chosen.quick else chosen.seeds:
            for contender in chosen.contenders:
                about = {"set": name, "seed": seed, "contender": contender}
                attempt(journal, about, lambda f=frame, c=contender, n=seed: measure(f, c, n, chosen.threads))
    saved = {"% below regressions": less_than_regressions(journal)}
    show(journal.all(), "rmse", "RMSE on the removed cells, standardised", last=saved)
    show(journal.all(), "bias", "Mean error on the removed cells: how far too low they are filled")
    show(journal.all(), "seconds", "Seconds")


if __name__ == "__main__":
    main()
