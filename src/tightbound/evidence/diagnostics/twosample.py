"""Whether two sets of rows come from one distribution: by a classifier, and by the energy distance."""

import dataclasses
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tightbound.evidence.diagnostics.findings import Separation

N_FOLDS = 3
N_PERMUTATIONS = 199
_ENERGY_ROWS = 500
_COLUMNS_A_SPLIT = 100
"""Of wider rows each split of a tree looks at about so many columns: as good on 784 pixels, in less of the time."""

_PAIRS = 50
"""The most pairs of columns whose products a classifier sees."""
_PAIR_ERRORS = 4.0
"""How many standard errors their correlations must be apart."""

Rows = NDArray[Any]


def separation(a: Rows, b: Rows, *, rng: np.random.Generator, by_column: bool = False) -> Separation:
    """Cross-validated AUC of a classifier between the rows of a (n, d) and b (m, d); NaN is a gap.

    In each of three folds the classifier, gradient-boosted trees or logistic regression with squares, both on all
    columns and on products of some pairs, is the one that does better on a part of the fold's training rows.
    `by_column`: also what each column is worth to it: the AUC that is lost when its cells change places (Breiman,
    2001).
    Source: Lopez-Paz and Oquab (2017).
    """
    rows = np.concatenate([a, b]).astype(np.float64)
    label = np.repeat([0, 1], [len(a), len(b)])
    seed = int(rng.integers(2**31))
    folds = list(StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(rows, label))
    fitted = [_fitted(rows, label, train, seed) for train, _ in folds]
    aucs = [_auc(model, rows[test], label[test]) for model, (_, test) in zip(fitted, folds, strict=True)]
    error = np.sqrt((len(rows) + 1) / (12 * len(a) * len(b)))
    worth = _worth(fitted[0], rows[folds[0][1]], label[folds[0][1]], aucs[0], rng) if by_column else None
    return Separation(float(np.mean(aucs)), float(error), worth)


def _fitted(rows: Rows, label: NDArray[Any], train: NDArray[Any], seed: int) -> Any:
    """The classifier that does better on a part of the training rows, fitted to all of them."""
    inner, choice = train_test_split(train, test_size=0.3, random_state=seed, stratify=label[train])
    tried = [model.fit(rows[inner], label[inner]) for model in _classifiers(rows, seed)]
    best = int(np.argmax([_auc(model, rows[choice], label[choice]) for model in tried]))
    return _classifiers(rows, seed)[best].fit(rows[train], label[train])


def _auc(model: Any, rows: Rows, label: NDArray[Any]) -> float:
    return float(roc_auc_score(label, model.predict_proba(rows)[:, 1]))


def _worth(model: Any, rows: Rows, label: NDArray[Any], auc: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(d,) how much of the AUC goes when the cells of a column change places."""
    lost, order = np.empty(rows.shape[1]), rng.permutation(len(rows))
    for j in range(rows.shape[1]):
        changed = rows.copy()
        changed[:, j] = rows[order, j]
        lost[j] = auc - _auc(model, changed, label)
    return lost


def _classifiers(rows: Rows, seed: int) -> "tuple[_WithProducts, _WithProducts]":
    share = min(1.0, _COLUMNS_A_SPLIT / rows.shape[1])
    boosted = HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.15, max_leaf_nodes=8, max_features=share, early_stopping=False, random_state=seed
    )
    regression = make_pipeline(_Squares(), StandardScaler(), LogisticRegression(C=1.0, max_iter=2000, tol=1e-3))
    return _WithProducts(regression), _WithProducts(boosted)


class _WithProducts:
    """A classifier that sees the columns, standardised, and the products of those pairs whose correlation differs.

    Trees look at one column at a time: of many they find no pair that goes together in one set alone.
    """

    def __init__(self, classifier: Any) -> None:
        self.classifier, self.scaler = classifier, StandardScaler()
        self.pairs: tuple[NDArray[np.intp], NDArray[np.intp]] = (np.zeros(0, np.intp), np.zeros(0, np.intp))

    def fit(self, rows: Rows, label: NDArray[Any]) -> "_WithProducts":
        white = np.nan_to_num(self._white(rows, self.scaler.fit(rows)))
        one, other = (white[label == i] for i in (0, 1))
        first, second = np.triu_indices(rows.shape[1], 1)
        differ = np.abs(one.T @ one / len(one) - other.T @ other / len(other))[first, second]
        chosen = np.argsort(-differ)[:_PAIRS]
        chosen = chosen[differ[chosen] > _PAIR_ERRORS * np.sqrt(1 / len(one) + 1 / len(other))]
        self.pairs = first[chosen], second[chosen]
        self.classifier.fit(self._features(rows), label)
        return self

    def predict_proba(self, rows: Rows) -> NDArray[Any]:
        return np.asarray(self.classifier.predict_proba(self._features(rows)))

    def _white(self, rows: Rows, scaler: StandardScaler) -> NDArray[np.float64]:
        # Clipped: the square of one far row must not outweigh all others.
        return np.asarray(np.clip(scaler.transform(rows), -10, 10))

    def _features(self, rows: Rows) -> NDArray[np.float64]:
        white = self._white(rows, self.scaler)
        return np.concatenate([white, white[:, self.pairs[0]] * white[:, self.pairs[1]]], axis=1)


class _Squares(TransformerMixin, BaseEstimator):
    """Columns and their squares; a gap counts as the mean."""

    def fit(self, X: Rows, y: Any = None) -> "_Squares":
        return self

    def transform(self, X: Rows) -> NDArray[np.float64]:
        full = np.nan_to_num(X)
        return np.concatenate([full, full**2], axis=1)


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
