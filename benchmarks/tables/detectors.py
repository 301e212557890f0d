"""Ways to find anomalous rows, one function each: ours, and the peers that have to be beaten.

Each takes the rows it is fitted to, the rows to be scored, a seed and the number of threads, and gives a score a row:
higher is more anomalous. The rows to be scored are either others, or the very same ones (`None`): then a
method that looks at neighbours does not count a row as its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import skew
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from common import ours

NEIGHBOURS, LOF_NEIGHBOURS = 5, 20
LEVEL = 0.1
"""Of false discoveries."""
KEPT_VARIANCE = 0.9


@dataclass(frozen=True)
class Scores:
    """Anomaly score of every row; of ours also p-values and flags."""

    anomaly: np.ndarray
    p_values: np.ndarray | None = None
    flagged: np.ndarray | None = None


Detector = Callable[[np.ndarray, np.ndarray | None, int, int], Scores]


def scaled(train: np.ndarray, rows: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Both standardised by the rows of the fit."""
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), None if rows is None else scaler.transform(rows)


def isolation_forest(train: np.ndarray, rows: np.ndarray | None, seed: int, threads: int) -> Scores:
    """scikit-learn's, as it comes."""
    model = IsolationForest(random_state=seed, n_jobs=threads).fit(train)
    return Scores(-model.score_samples(train if rows is None else rows))


def local_outlier_factor(train: np.ndarray, rows: np.ndarray | None, seed: int, threads: int) -> Scores:
    """scikit-learn's with 20 neighbours, standardised."""
    x, new = scaled(train, rows)
    model = LocalOutlierFactor(n_neighbors=LOF_NEIGHBOURS, novelty=new is not None, n_jobs=threads).fit(x)
    return Scores(-model.negative_outlier_factor_ if new is None else -model.score_samples(new))


def neighbour_distance(train: np.ndarray, rows: np.ndarray | None, seed: int, threads: int) -> Scores:
    """Distance to the fifth nearest row, standardised."""
    x, new = scaled(train, rows)
    distances, _ = NearestNeighbors(n_neighbors=NEIGHBOURS, n_jobs=threads).fit(x).kneighbors(new)
    return Scores(distances[:, -1])


def pca_error(train: np.ndarray, rows: np.ndarray | None, seed: int, threads: int) -> Scores:
    """Squared distance from the plane that keeps 90 % of the variance, standardised."""
    x, new = scaled(train, rows)
    model = PCA(n_components=KEPT_VARIANCE, svd_solver="full").fit(x)
    new = x if new is None else new
    return Scores(np.sum((new - model.inverse_transform(model.transform(new))) ** 2, axis=1))


def ecod(train: np.ndarray, rows: np.ndarray | None, seed: int, threads: int) -> Scores:
    """Empirical tails, added up over the columns as if independent (Li et al., 2022, algorithm 1).

    O_left = -sum_j log F_j(x_j), O_right with the right tails, O_auto with the tail that the column's skewness points
    to; the largest of the three. A row counts itself among n + 1, so that no tail is empty.
    """
    rows = train if rows is None else rows
    n = len(train)
    lower, upper = np.empty(rows.shape), np.empty(rows.shape)
    for j in range(train.shape[1]):
        column = np.sort(train[:, j])
        lower[:, j] = -np.log((np.searchsorted(column, rows[:, j], side="right") + 1) / (n + 1))
        upper[:, j] = -np.log((n - np.searchsorted(column, rows[:, j], side="left") + 1) / (n + 1))
    chosen = np.where(skew(train, axis=0) < 0, lower, upper)
    return Scores(np.max([part.sum(axis=1) for part in (lower, upper, chosen)], axis=0))


def pyod_vae(train: np.ndarray, rows: np.ndarray | None, seed: int, threads: int) -> Scores:
    """PyOD's variational autoencoder as it comes (standardises, 30 epochs, reconstruction error)."""
    import torch
    from pyod.models.vae import VAE

    torch.set_num_threads(threads)
    model = VAE(random_state=seed, verbose=0).fit(train)
    return Scores(np.asarray(model.decision_scores_ if rows is None else model.decision_function(rows)))


def tightbound(train: np.ndarray, rows: np.ndarray | None, seed: int, threads: int) -> Scores:
    """Ours, with its default options and its default score."""
    model: Any = ours("VAEOutlierDetector")(random_state=seed).fit(train)
    rows = train if rows is None else rows
    found = model.detect(rows, level=LEVEL, explain=0)
    return Scores(-found.score, found.p_value, found.flag)


DETECTORS: dict[str, Detector] = {
    "tightbound": tightbound,
    "isolation_forest": isolation_forest,
    "lof": local_outlier_factor,
    "neighbours": neighbour_distance,
    "pca": pca_error,
    "ecod": ecod,
    "pyod_vae": pyod_vae,
}
