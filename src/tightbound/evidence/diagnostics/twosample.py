"""Whether two sets of rows come from one distribution: by a classifier, and by the energy distance."""

import dataclasses
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tightbound.evidence.diagnostics.findings import Separation

N_FOLDS = 3
MOST_COLUMNS = 64
"""Wider rows are compared on this many leading principal components: boosting on 784 pixels takes minutes."""
N_PERMUTATIONS = 199
_ENERGY_ROWS = 500


def separation(a: NDArray[Any], b: NDArray[Any], *, rng: np.random.Generator) -> Separation:
    """Cross-validated AUC of a classifier between the rows of a (n, d) and b (m, d).

    In each of three folds the classifier, logistic regression on the columns and their squares or gradient boosting, is
    the one that does better on a part of the fold's training rows.
    Source: Lopez-Paz and Oquab (2017).
    """
    rows = np.concatenate([a, b]).astype(np.float64)
    label = np.repeat([0, 1], [len(a), len(b)])
    if rows.shape[1] > MOST_COLUMNS:
        rows = PCA(MOST_COLUMNS, random_state=int(rng.integers(2**31))).fit_transform(rows)
    seed = int(rng.integers(2**31))
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(rows, label)
    aucs = [_fold(rows, label, train, test, seed) for train, test in folds]
    error = np.sqrt((len(rows) + 1) / (12 * len(a) * len(b)))
    return Separation(float(np.mean(aucs)), float(error))


def _fold(rows: NDArray[Any], label: NDArray[Any], train: NDArray[Any], test: NDArray[Any], seed: int) -> float:
    inner, choice = train_test_split(train, test_size=0.3, random_state=seed, stratify=label[train])
    scores = [_auc(model, rows, label, inner, choice) for model in _classifiers(seed)]
    return _auc(_classifiers(seed)[int(np.argmax(scores))], rows, label, train, test)


def _auc(model: Any, rows: NDArray[Any], label: NDArray[Any], train: NDArray[Any], test: NDArray[Any]) -> float:
    model.fit(rows[train], label[train])
    return float(roc_auc_score(label[test], model.predict_proba(rows[test])[:, 1]))


def _classifiers(seed: int) -> tuple[Any, Any]:
    # Exact trees on one thread: on rows this few, histograms on all cores spend their time waiting for each other.
    boosted = GradientBoostingClassifier(
        n_estimators=60, learning_rate=0.15, max_depth=3, max_features="sqrt", random_state=seed
    )
    return _Quadratic(), boosted


class _Quadratic:
    """Logistic regression on the columns and their squares, all standardised."""

    def __init__(self) -> None:
        self.scaler = StandardScaler()
        self.regression = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000, tol=1e-3))

    def fit(self, rows: NDArray[Any], label: NDArray[Any]) -> None:
        self.scaler.fit(rows)
        self.regression.fit(self._features(rows), label)

    def predict_proba(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self.regression.predict_proba(self._features(rows)))

    def _features(self, rows: NDArray[Any]) -> NDArray[Any]:
        # Clipped: the square of one far row must not outweigh all others.
        white = np.clip(self.scaler.transform(rows), -10, 10)
        return np.concatenate([white, white**2], axis=1)


@final
@dataclasses.dataclass(frozen=True)
class Energy:
    """The energy distance of two sets."""

    value: float
    """(2 E|A - B| - E|A - A'| - E|B - B'|) / (2 E|A - B|), 0 to 1; 0 for equal distributions."""
    p_value: float
    """Share of relabellings with at least as large a distance, (1 + count) / (1 + N_PERMUTATIONS)."""


def energy_distance(a: NDArray[Any], b: NDArray[Any], *, rng: np.random.Generator) -> Energy:
    """Energy distance of the rows of a (n, d) and b (m, d), at most 500 of each, as a share of its greatest value.

    Source: Szekely and Rizzo (2013); p-value by permutation of the labels.
    """
    a, b = a[:_ENERGY_ROWS], b[:_ENERGY_ROWS]
    n, m = len(a), len(b)
    rows = np.concatenate([a, b]).astype(np.float64)
    distances = cdist(rows, rows)
    labels = np.zeros((n + m, N_PERMUTATIONS + 1))
    for i in range(N_PERMUTATIONS + 1):
        labels[np.arange(n) if i == 0 else rng.permutation(n + m)[:n], i] = 1
    product = distances @ labels
    within_a = np.sum(labels * product, axis=0)
    across = np.sum(product, axis=0) - within_a
    within_b = distances.sum() - within_a - 2 * across
    # Unbiased means over pairs of different rows, so that sets of any size can be compared.
    a_b, a_a, b_b = across / (n * m), within_a / (n * (n - 1)), within_b / (m * (m - 1))
    statistic = 2 * a_b - a_a - b_b
    p_value = (1 + np.sum(statistic[1:] >= statistic[0])) / (1 + N_PERMUTATIONS)
    return Energy(float(statistic[0] / (2 * a_b[0])) if a_b[0] > 0 else 0.0, float(p_value))
