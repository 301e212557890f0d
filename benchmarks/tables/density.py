"""log p(x) of held-out rows, in nats a row: ours beside the simple models of `tightbound.evidence`.

    python benchmarks/tables/density.py --json density.json

magic_telescope (ten numbers, class dropped; every column in standard deviations, so that the figures are of a size that
one can read: add the sum of their logarithms for the table's own units), dna_splice (180 zeros and ones) and adult
(mixed, as it is). Fitted to 80 % of the rows; scored are 2,000 of the others, the same ones for everybody, less those
with a level that no training row has. Each figure has the error from the rows (sd / sqrt(n)) and, where log p(x) is
estimated, the Monte Carlo error; differences to the best simple model are paired, row by row.

With ours, the simple models come from `VAE.evaluate`, in the very same units and for every table that it can take;
`baselines` fits the same ones to the rows directly, which it can for numbers and for zeros and ones.
"""

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from common import (
    OURS,
    Journal,
    LeftOutError,
    Record,
    attempt,
    categorical_columns,
    ours,
    parser,
    read_arrays,
    read_frame,
    show,
    some_rows,
    start,
)

SETS = ("magic_telescope", "dna_splice", "adult")
CONTENDERS = (OURS, "baselines")
THIS_MODEL = "this model"
SCORED, QUICK_ROWS, QUICK_EPOCHS = 2000, 600, 5


@dataclass(frozen=True)
class Scores:
    """log p(x) of the scored rows, and how far each estimate may be off (0 where exact); nats."""

    log_prob: np.ndarray
    error: np.ndarray


def load(name: str) -> pd.DataFrame:
    """The whole table."""
    if name == "dna_splice":
        x = read_arrays(name)["x"]
        return pd.DataFrame(x.astype(np.float64), columns=[f"base_{i}" for i in range(x.shape[1])])
    if name == "magic_telescope":
        frame = read_frame(name, ["class"])
        return (frame - frame.mean()) / frame.std(ddof=0)
    return read_frame(name)


def split(frame: pd.DataFrame, seed: int, quick: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows, and those that are scored: none with a level that no training row has."""
    frame = some_rows(frame, QUICK_ROWS) if quick else frame
    train, test = train_test_split(frame, test_size=0.2, random_state=seed)
    known = np.ones(len(test), bool)
    for name in categorical_columns(train):
        known &= (test[name].isna() | test[name].isin(set(train[name].dropna()))).to_numpy()
    return train.reset_index(drop=True), some_rows(test[known], SCORED, seed)


def of_tightbound(train: pd.DataFrame, test: pd.DataFrame, seed: int, quick: bool) -> dict[str, Scores]:
    """Ours, and the simple models that `evaluate` sets beside it."""
    model = ours("VAE")(random_state=seed, **({"epochs": QUICK_EPOCHS} if quick else {})).fit(train)
    found = None if quick else model.evaluate(test, train, checks=("baselines",))
    if found is None or found.comparison is None:
        evidence = model.evidence(test)
        return {OURS: Scores(evidence.log_evidence, np.nan_to_num(evidence.standard_error))}
    compared = found.comparison
    rows = zip(compared.names, compared.log_evidence, compared.standard_error, strict=True)
    return {OURS if name == THIS_MODEL else name: Scores(values, errors) for name, values, errors in rows}


def of_baselines(train: pd.DataFrame, test: pd.DataFrame, seed: int, quick: bool) -> dict[str, Scores]:
    """The simple models alone."""
    from tightbound.evidence import fit_baselines

    if categorical_columns(train):
        raise LeftOutError("the direct fit of simple models takes numbers only")
    x, new = train.to_numpy(), test.to_numpy()
    binary = bool(np.isin(x, (0.0, 1.0)).all())
    loc, scale = (0.0, 1.0) if binary else (x.mean(axis=0), x.std(axis=0))
    jacobian = 0.0 if binary else -float(np.sum(np.log(scale)))
    likelihood = "bernoulli" if binary else "gaussian"
    found, _ = fit_baselines((x - loc) / scale, likelihood=likelihood, seed=seed, made=not quick)
    zeros = np.zeros(len(new))
    return {each.name: Scores(each.log_prob((new - loc) / scale) + jacobian, zeros) for each in found}


def records(found: dict[str, Scores]) -> dict[str, Record]:
    """Mean, errors, and the paired difference to the best simple model."""
    simple = {name: scores.log_prob.mean() for name, scores in found.items() if name != OURS}
    best = max(simple, key=lambda name: simple[name]) if simple else None
    written = {}
    for name, scores in found.items():
        n = len(scores.log_prob)
        record: Record = {
            "nats": float(scores.log_prob.mean()),
            "rows_error": float(scores.log_prob.std(ddof=1) / np.sqrt(n)),
            "monte_carlo_error": float(np.sqrt(np.sum(scores.error**2)) / n),
        }
        if best is not None:
            gap = scores.log_prob - found[best].log_prob
            record |= {"gain": float(gap.mean()), "gain_error": float(gap.std(ddof=1) / np.sqrt(n)), "over": best}
        written[name] = record
    return written


def measure(journal: Journal, name: str, frame: pd.DataFrame, contender: str, seed: int, quick: bool) -> Record:
    """One contender, which may be several models: all but one of their records are kept at once, the last is given."""
    train, test = split(frame, seed, quick)
    made = {OURS: of_tightbound, "baselines": of_baselines}[contender](train, test, seed, quick)
    written = list(records(made).items())
    for model, record in written[:-1]:
        journal.add({"set": name, "seed": seed, "contender": model, **record})
    return {"contender": written[-1][0], **written[-1][1]}


def options() -> argparse.Namespace:
    """Of the command line."""
    return parser(__doc__, SETS, CONTENDERS).parse_args()


def main() -> None:
    """Measure and show."""
    chosen = options()
    start(chosen)
    journal = Journal.of(chosen)
    for name in chosen.sets:
        try:
            frame = load(name)
        except LeftOutError as error:
            journal.say(str(error))
            continue
        for seed in chosen.seeds[:1] if chosen.quick else chosen.seeds:
            for contender in chosen.contenders:
                before = {r["contender"] for r in journal.records if (r["set"], r["seed"]) == (name, seed)}
                if contender == "baselines" and before - {OURS}:
                    continue  # ours has brought them along
                attempt(
                    journal,
                    {"set": name, "seed": seed, "contender": contender},
                    lambda s=name, f=frame, c=contender, n=seed: measure(journal, s, f, c, n, chosen.quick),
                )
    show(journal.all(), "nats", "log p(x) of held-out rows, nats a row")
    show(journal.all(), "rows_error", "Error of that mean from the rows")
    show(journal.all(), "monte_carlo_error", "Error of that mean from the estimates of log p(x)")
    show(journal.all(), "gain", "Paired difference to the best simple model, nats a row")
    show(journal.all(), "gain_error", "Error of that difference")


if __name__ == "__main__":
    main()
