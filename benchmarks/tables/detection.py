"""Detection: how well anomalous rows are told from normal ones, without labels at the fit.

    python benchmarks/tables/detection.py --json detection.json
    python benchmarks/tables/detection.py --sets breastw pima --seeds 0 --modes one_class

Area under the ROC curve over five tables: shuttle (class 4 left out: 49,097 rows), breastw (complete rows), ionosphere,
pima (missing cells filled with 0, as usual), pendigits (digits 1 to 9 are normal, 20 rows of digit 0 drawn at random
are anomalous). Modes:

    unsupervised   fitted to all rows, which are then scored
    one_class      fitted to a random half of the normal rows; the other half and all anomalous rows are scored

Of methods that give p-values and flags, in the mode one_class: the share of held-out normal rows with p at most 0.1,
its binomial error and the Kolmogorov-Smirnov distance from uniform; the share of normal rows among those flagged (false
discoveries), and of anomalous rows that were flagged (power).
"""

import argparse

import numpy as np
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from common import (
    Journal,
    LeftOutError,
    Record,
    attempt,
    mean_over_seeds,
    ordered,
    parser,
    read_arrays,
    read_frame,
    show,
    start,
)
from detectors import DETECTORS, LEVEL, Scores

SETS = ("shuttle", "breastw", "ionosphere", "pima", "pendigits")
MODES = ("unsupervised", "one_class")
RARE_ROWS = 20
QUICK_ROWS = 1000


def load(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows as float64 and which of them are anomalous."""
    if name == "pima":
        frame = read_frame(name)
        return frame.drop(columns="diabetes").fillna(0.0).to_numpy(float), (frame["diabetes"] == "pos").to_numpy()
    arrays = read_arrays(name)
    x = arrays["x"].astype(np.float64)
    if name == "pendigits":
        rare = np.flatnonzero(arrays["digit"] == 0)
        chosen = np.random.default_rng(seed).choice(rare, RARE_ROWS, replace=False)
        kept = np.sort(np.concatenate([np.flatnonzero(arrays["digit"] != 0), chosen]))
        return x[kept], arrays["digit"][kept] == 0
    kept = arrays["complete"] == 1 if name == "breastw" else arrays["anomaly"] >= 0
    return x[kept], arrays["anomaly"][kept] == 1


def fewer(x: np.ndarray, anomalous: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """About n rows, with at least 20 anomalous ones: every so many of either kind."""
    if len(x) <= n:
        return x, anomalous
    kept = []
    for group in (np.flatnonzero(anomalous), np.flatnonzero(~anomalous)):
        want = max(RARE_ROWS, n * len(group) // len(x))
        kept.append(group[np.linspace(0, len(group) - 1, min(want, len(group))).astype(int)])
    chosen = np.sort(np.concatenate(kept))
    return x[chosen], anomalous[chosen]


def calibration(found: Scores, anomalous: np.ndarray) -> Record:
    """Of p-values and flags, where there are any."""
    record: Record = {}
    if found.p_values is not None:
        normal = found.p_values[~anomalous]
        record["p_below"] = float(np.mean(normal <= LEVEL))
        record["p_below_error"] = float(np.sqrt(LEVEL * (1 - LEVEL) / len(normal)))
        record["p_distance"] = float(kstest(normal, "uniform").statistic)
    if found.flagged is not None:
        record["flagged"] = int(found.flagged.sum())
        record["false_discoveries"] = float(np.mean(~anomalous[found.flagged])) if found.flagged.any() else 0.0
        record["power"] = float(np.mean(found.flagged[anomalous]))
    return record


def measure(x: np.ndarray, anomalous: np.ndarray, mode: str, contender: str, seed: int, threads: int) -> Record:
    """One contender in one mode."""
    if mode == "unsupervised":
        train, rows, truth = x, None, anomalous
    else:
        normal = np.random.default_rng([seed, 1]).permutation(np.flatnonzero(~anomalous))
        half = len(normal) // 2
        scored = np.sort(np.concatenate([normal[half:], np.flatnonzero(anomalous)]))
        train, rows, truth = x[np.sort(normal[:half])], x[scored], anomalous[scored]
    found = DETECTORS[contender](train, rows, seed, threads)
    record = {"auroc": float(roc_auc_score(truth, found.anomaly))}
    return {**record, **(calibration(found, truth) if mode == "one_class" else {})}


def tables(journal: Journal) -> None:
    """Print what was found."""
    for mode in MODES:
        records = [record for record in journal.all() if record["mode"] == mode]
        if not records:
            continue
        means = mean_over_seeds(records, "auroc")
        sets = ordered(records, "set")
        overall = {
            contender: float(np.mean([means[name, contender][0] for name in sets]))
            for contender in ordered(records, "contender")
            if all((name, contender) in means for name in sets)
        }
        show(records, "auroc", f"AUROC, {mode}", last={f"mean of {len(sets)}": overall})
        show(records, "seconds", f"Seconds, {mode}")
        for value, words in (
            ("p_below", "Share of held-out normal rows with p at most 0.1"),
            ("p_distance", "Kolmogorov-Smirnov distance of their p-values from uniform"),
            ("false_discoveries", "Share of normal rows among the flagged, asked to be at most 0.1"),
            ("power", "Share of anomalous rows that were flagged"),
        ):
            show(records, value, words)


def options() -> argparse.Namespace:
    """Of the command line."""
    known = parser(__doc__, SETS, list(DETECTORS))
    known.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    return known.parse_args()


def main() -> None:
    """Measure and show."""
    chosen = options()
    start(chosen)
    journal = Journal.of(chosen)
    for name in chosen.sets:
        for seed in chosen.seeds[:1] if chosen.quick else chosen.seeds:
            try:
                x, anomalous = load(name, seed)
            except LeftOutError as error:
                journal.say(str(error))
                break
            x, anomalous = fewer(x, anomalous, QUICK_ROWS) if chosen.quick else (x, anomalous)
            for mode in chosen.modes:
                for contender in chosen.contenders:
                    about = {"set": name, "mode": mode, "seed": seed, "contender": contender}
                    attempt(
                        journal,
                        about,
                        lambda r=x, s=anomalous, m=mode, c=contender, n=seed: measure(r, s, m, c, n, chosen.threads),
                    )
    tables(journal)


if __name__ == "__main__":
    main()
