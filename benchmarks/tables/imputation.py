"""Imputation: cells are removed at random, and what fills them is compared with what was there.

    python benchmarks/tables/imputation.py --json imputation.json
    python benchmarks/tables/imputation.py --sets iris wine --seeds 0 --contenders mean softimpute

Tables of numbers, half of all cells removed: mean squared error over the removed cells, each column in its standard
deviations (mean and deviation of the whole column, before anything was removed). Target columns are dropped, as in the
literature; concrete keeps its nine. Rows that lose all their cells stay and count.

Mixed tables, 30 % of the cells that are there removed: root mean squared error of the numbers over the column's
standard deviation, averaged over the columns, and the share of wrong categories among all removed ones.

Intervals: the share of removed numbers within 90 % intervals, for those who give any, and their mean width in the
column's standard deviations.
"""

import argparse

import numpy as np
import pandas as pd

from common import (
    Journal,
    LeftOutError,
    Record,
    attempt,
    categorical_columns,
    mean_ranks,
    numeric_columns,
    parser,
    read_frame,
    show,
    some_rows,
    start,
)
from imputers import IMPUTERS, Filled

DROPPED = {
    "iris": ["species"],
    "wine": ["cultivar"],
    "glass": ["type"],
    "breast_cancer_wdbc": ["diagnosis"],
    "concrete": [],
    "yeast": ["is_nuc"],
    "wine_quality_red": ["quality_is_4"],
}
MIXED = ("adult", "credit_data", "german_credit")
REMOVED, REMOVED_MIXED = 0.5, 0.3
ROWS_OF_ADULT, QUICK_ROWS = 5000, 200


def table(name: str, quick: bool) -> pd.DataFrame:
    """The table as it is filled, before cells are removed."""
    frame = read_frame(name, DROPPED.get(name, []))
    return some_rows(frame, QUICK_ROWS if quick else ROWS_OF_ADULT if name == "adult" else len(frame))


def remove(frame: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The frame with more holes, and where the new ones are; a column keeps at least two cells."""
    seen = frame.notna().to_numpy()
    gone = seen & (np.random.default_rng(seed).random(frame.shape) < share)
    gone[:, (seen & ~gone).sum(axis=0) < 2] = False
    return frame.mask(gone), gone


def judged(frame: pd.DataFrame, gone: np.ndarray, filled: Filled) -> Record:
    """Errors over the removed cells, and coverage."""
    places = {name: gone[:, i] for i, name in enumerate(frame.columns)}
    numeric, squares, counts = numeric_columns(frame), {}, {}
    inside, widths = [], []
    for name in numeric:
        at, truth = places[name], frame[name].to_numpy(float)
        scale = np.nanstd(truth) or 1.0
        squares[name] = np.sum(((filled.values[name].to_numpy(float) - truth)[at] / scale) ** 2)
        counts[name] = at.sum()
        if filled.lower is not None and filled.upper is not None:
            lower, upper = filled.lower[name].to_numpy(float)[at], filled.upper[name].to_numpy(float)[at]
            given = ~np.isnan(lower)  # levels without an order have no interval
            inside.append(((lower <= truth[at]) & (truth[at] <= upper))[given])
            widths.append(((upper - lower) / scale)[given])
    found: Record = {}
    if sum(counts.values()):
        found["mse"] = sum(squares.values()) / sum(counts.values())
        found["rmse"] = float(np.mean([np.sqrt(squares[name] / counts[name]) for name in numeric if counts[name]]))
    if inside:
        found["coverage"] = float(np.mean(np.concatenate(inside)))
        found["width"] = float(np.mean(np.concatenate(widths)))
    wrong = [
        filled.values[name].astype(object).to_numpy()[places[name]]
        != frame[name].astype(object).to_numpy()[places[name]]
        for name in categorical_columns(frame)
    ]
    if wrong:
        found["wrong"] = float(np.mean(np.concatenate(wrong)))
    return found


def measure(frame: pd.DataFrame, share: float, contender: str, seed: int, threads: int) -> Record:
    """One contender, one set of removed cells."""
    holed, gone = remove(frame, share, seed)
    filled = IMPUTERS[contender](holed, seed, threads)
    if filled.values.isna().to_numpy().any():
        raise ValueError("cells were left empty")
    return judged(frame, gone, filled)


def tables(journal: Journal) -> None:
    """Print what was found."""
    numeric = [record for record in journal.all() if record["set"] in DROPPED]
    mixed = [record for record in journal.all() if record["set"] in MIXED]
    ranks = {"mean rank": mean_ranks(numeric, "mse")}
    show(numeric, "mse", "Half of the cells removed: mean squared error, standardised", last=ranks)
    show(mixed, "rmse", "30 % of the cells removed: RMSE of numbers over the column's deviation, mean over columns")
    show(mixed, "wrong", "30 % of the cells removed: share of wrong categories")
    show(journal.all(), "coverage", "Share of removed numbers within 90 % intervals")
    show(journal.all(), "width", "Mean width of those intervals in the column's deviations")
    show(journal.all(), "seconds", "Seconds")


def options() -> argparse.Namespace:
    """Of the command line."""
    return parser(__doc__, [*DROPPED, *MIXED], list(IMPUTERS)).parse_args()


def main() -> None:
    """Measure and show."""
    chosen = options()
    start(chosen)
    journal = Journal.of(chosen)
    for name in chosen.sets:
        try:
            frame = table(name, chosen.quick)
        except LeftOutError as error:
            journal.say(str(error))
            continue
        share = REMOVED_MIXED if name in MIXED else REMOVED
        for seed in chosen.seeds[:1] if chosen.quick else chosen.seeds:
            for contender in chosen.contenders:
                about = {"set": name, "seed": seed, "contender": contender}
                attempt(
                    journal,
                    about,
                    lambda f=frame, s=share, c=contender, n=seed: measure(f, s, c, n, chosen.threads),
                )
    tables(journal)


if __name__ == "__main__":
    main()
