"""Synthesis: how good rows are that were drawn from a model of a table.

    python benchmarks/tables/synthesis.py --json synthesis.json
    python benchmarks/tables/synthesis.py --sets credit_data --seeds 0 --contenders real copula independent

Each table (adult; 10,000 rows of diamonds at random; credit_data) is split 80/20; as many rows are drawn as there are
training rows. Measured are

    utility        LightGBM trained on the drawn rows, tested on the real test rows: area under the ROC curve of the
                   target (adult income, credit_data Status), R2 of the price of diamonds
    shapes, pairs  SDMetrics' quality report of drawn against training rows: column shapes, pair trends, and their mean
    rare levels    of the levels with fewer than 5 % of the training rows, but at least 10, the share that is drawn at
                   least half as often as there
    distance       median distance to the closest training row, over that of the test rows: columns in standard
                   deviations, a wrong level counts as 1, Euclidean; below 1 is closer than fresh real rows are
    fit, draw      seconds of all processors together

`real` stands for what real rows give: utility of the training rows themselves, all else of the test rows (a quarter as
many as the others draw, which lowers shapes, pairs and rare levels a little).
"""

import argparse
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from common import (
    Journal,
    LeftOutError,
    Record,
    attempt,
    categorical_columns,
    mean_over_seeds,
    numeric_columns,
    ordered,
    parser,
    read_frame,
    shown,
    some_rows,
    start,
    timed,
)
from synthesizers import GAP, SYNTHESIZERS

TARGETS = {"adult": "income", "diamonds": "price", "credit_data": "Status"}
ROWS_OF_DIAMONDS, QUICK_ROWS, NEIGHBOUR_ROWS = 10_000, 1000, 2000
RARE, FEWEST, SURVIVES = 0.05, 10, 0.5
REAL = "real"
MEASURES = {
    "utility": "LightGBM on real test rows (AUC; diamonds R2)",
    "shapes": "SDMetrics column shapes",
    "pairs": "SDMetrics pair trends",
    "quality": "SDMetrics quality, the mean of both",
    "rare_levels": "Share of rare levels that are drawn at least half as often as in the training rows",
    "distance": "Distance to the closest training row over that of fresh real rows",
    "fit_cpu": "CPU seconds of the fit",
}


def split(name: str, seed: int, quick: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows."""
    frame = read_frame(name)
    frame = some_rows(frame, QUICK_ROWS if quick else ROWS_OF_DIAMONDS if name == "diamonds" else len(frame))
    parts = train_test_split(frame, test_size=0.2, random_state=seed)
    return parts[0].reset_index(drop=True), parts[1].reset_index(drop=True)


def utility(rows: pd.DataFrame, test: pd.DataFrame, target: str, seed: int, threads: int) -> float:
    """How well boosted trees that saw only these rows do on real ones; NaN for rows without two classes."""
    import lightgbm

    words = [name for name in categorical_columns(test) if name != target]
    features = [name for name in test.columns if name != target]
    kinds = {name: pd.CategoricalDtype(sorted(set(rows[name].dropna()) | set(test[name].dropna()))) for name in words}
    rows = rows[rows[target].notna()]
    options: dict[str, Any] = {"random_state": seed, "n_jobs": threads, "verbose": -1}
    if target in numeric_columns(test):
        model = lightgbm.LGBMRegressor(**options).fit(rows[features].astype(kinds), rows[target])
        return float(r2_score(test[target], model.predict(test[features].astype(kinds))))
    positive = sorted(test[target].unique())[-1]
    labels = (rows[target] == positive).astype(int)
    if labels.nunique() < 2:
        return float("nan")
    model = lightgbm.LGBMClassifier(**options).fit(rows[features].astype(kinds), labels)
    scores = model.predict_proba(test[features].astype(kinds))[:, 1]
    return float(roc_auc_score(test[target] == positive, scores))


def quality(rows: pd.DataFrame, train: pd.DataFrame) -> Record:
    """SDMetrics' report."""
    from sdmetrics.reports.single_table import QualityReport

    words = categorical_columns(train)
    columns = {n: {"sdtype": "categorical" if n in words else "numerical"} for n in train.columns}
    report = QualityReport()
    report.generate(train, rows, {"columns": columns}, verbose=False)
    found = report.get_properties().set_index("Property")["Score"]
    return {
        "shapes": float(found["Column Shapes"]),
        "pairs": float(found["Column Pair Trends"]),
        "quality": float(report.get_score()),
    }


def rare_levels(rows: pd.DataFrame, train: pd.DataFrame) -> float:
    """The share of them that survives; NaN where there are none."""
    survived = []
    for name in categorical_columns(train):
        counts = train[name].value_counts()
        drawn = rows[name].value_counts(normalize=True)
        for level in counts.index[(counts < RARE * len(train)) & (counts >= FEWEST)]:
            survived.append(drawn.get(level, 0.0) >= SURVIVES * counts[level] / len(train))
    return float(np.mean(survived)) if survived else float("nan")


class Closeness:
    """Distances to the closest training row."""

    def __init__(self, train: pd.DataFrame, threads: int) -> None:
        self._numbers, self._words = numeric_columns(train), categorical_columns(train)
        self._median, self._scale = train[self._numbers].median(), train[self._numbers].std().replace(0.0, 1.0)
        self._levels = {name: sorted({GAP, *train[name].dropna()}) for name in self._words}
        self._search = NearestNeighbors(n_neighbors=1, n_jobs=threads).fit(self._points(train))

    def _points(self, frame: pd.DataFrame) -> np.ndarray:
        """Numbers in deviations, gaps at the median; two different levels are 1 apart."""
        parts = [((frame[self._numbers].astype(float).fillna(self._median)) / self._scale).to_numpy()]
        for name, levels in self._levels.items():
            codes = pd.Categorical(frame[name].astype(object).where(frame[name].notna(), GAP), levels).codes
            parts.append(np.eye(len(levels) + 1)[codes] / np.sqrt(2))  # a level never seen is the last
        return np.hstack(parts).astype(np.float32)

    def median(self, frame: pd.DataFrame) -> float:
        """Of at most 2,000 rows."""
        return float(np.median(self._search.kneighbors(self._points(frame.head(NEIGHBOUR_ROWS)))[0]))


def measure(name: str, contender: str, seed: int, threads: int, quick: bool) -> Record:
    """One contender on one split."""
    train, test = split(name, seed, quick)
    target = TARGETS[name]
    record: Record = {}
    if contender == REAL:
        learnt_from, drawn = train, test
    else:
        with timed() as fit:
            draw = SYNTHESIZERS[contender](train, seed, threads, quick)
        with timed() as drawing:
            drawn = draw(len(train))
        learnt_from = drawn = drawn[list(train.columns)]
        record = {"fit_wall": fit.wall, "fit_cpu": fit.cpu, "draw_wall": drawing.wall, "draw_cpu": drawing.cpu}
    closeness = Closeness(train, threads)
    return {
        "utility": utility(learnt_from, test, target, seed, threads),
        **quality(drawn, train),
        "rare_levels": rare_levels(drawn, train),
        "distance": closeness.median(drawn) / closeness.median(test),
        **record,
    }


def tables(journal: Journal) -> None:
    """Print what was found: a table a set, a column a measure."""
    records = journal.all()
    means = {value: mean_over_seeds(records, value) for value in MEASURES}
    for name in ordered(records, "set"):
        table = Table(title=name, title_justify="left")
        for heading in ("", *MEASURES):
            table.add_column(heading, justify="right" if heading else "left")
        for contender in ordered(records, "contender"):
            cells = [means[value].get((name, contender)) for value in MEASURES]
            if any(cells):
                table.add_row(contender, *["-" if cell is None else shown(cell[0]) for cell in cells])
        Console(width=200).print(table)
    for value, words in MEASURES.items():
        print(f"{value}: {words}")


def options() -> argparse.Namespace:
    """Of the command line."""
    return parser(__doc__, list(TARGETS), [REAL, *SYNTHESIZERS]).parse_args()


def main() -> None:
    """Measure and show."""
    chosen = options()
    start(chosen)
    journal = Journal.of(chosen)
    for name in chosen.sets:
        try:
            split(name, 0, chosen.quick)
        except LeftOutError as error:
            journal.say(str(error))
            continue
        for seed in chosen.seeds[:1] if chosen.quick else chosen.seeds:
            for contender in chosen.contenders:
                about = {"set": name, "seed": seed, "contender": contender}
                attempt(
                    journal,
                    about,
                    lambda s=name, c=contender, n=seed: measure(s, c, n, chosen.threads, chosen.quick),
                )
    tables(journal)


if __name__ == "__main__":
    main()
