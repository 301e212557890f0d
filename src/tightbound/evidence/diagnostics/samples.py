"""Checks of samples: whether they look like held-out rows, and whether they are copies of training rows."""

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

from tightbound.evidence.diagnostics.findings import FEWEST_ROWS, STANDARD_ERRORS, Finding, Separation, Verdict, unknown

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


SAMPLES_AUC_ABOVE = 0.7
"""AUC between samples and held-out rows above which they differ: it is that of a shift by 0.74 standard deviations,
where 29 % of the samples lie where there are no data. Less is common among useful models of real data, whose small
marginal traits (rounding, skewness) a classifier finds as well."""
ENERGY_ABOVE = 0.05
"""Energy distance, as a share of its greatest value, above which samples differ: that of a shift of every column by
half a standard deviation, be they one or fifty."""
ENERGY_P_BELOW = 0.01
"""The p-value that such a distance must have."""
DISTANCE_RATIO_BELOW = 0.5
"""Median distance of samples to the nearest training row over that of held-out rows, below which they are copies: a
fresh row has a ratio of 1, and rows that vary in m directions lie at half the distance only where they are 2^m times as
dense."""
NEAR = 0.1
"""A sample is a near-copy when it is closer to a training row than this share of held-out rows' median distance."""
COPIES_ABOVE = 0.05
"""Share of near-copies among samples beyond that among held-out rows, above which samples count as copies: one sample
in twenty. The share among held-out rows takes out duplicates that are natural, as in binary data."""
_PAIRS_AT_ONCE = 10_000_000


def filled(x: NDArray[Any], observed: NDArray[np.bool_] | None, center: NDArray[Any]) -> NDArray[np.float64]:
    """Rows with `center` (d,) in their missing cells."""
    rows = np.asarray(x, np.float64)
    return rows if observed is None else np.where(observed, rows, center[None, :])


def sample_likeness(
    samples: NDArray[Any], held_out: NDArray[Any], *, rng: np.random.Generator
) -> tuple[Finding, float, float]:
    """SAMPLES_DIFFER by a classifier's AUC or by the energy distance, each with an effect size and a significance.

    Args:
        samples, held_out: (m, d) and (n, d), complete, in standard deviations.

    Returns the finding, the AUC and the normalised energy distance.
    Source: Lopez-Paz and Oquab (2017); Szekely and Rizzo (2013).
    """
    name = "AUC of a classifier, samples against held-out rows"
    if len(held_out) < FEWEST_ROWS:
        why = f"The samples cannot be judged against {len(held_out)} held-out rows; give at least {FEWEST_ROWS}."
        return unknown("samples", name, SAMPLES_AUC_ABOVE, why), float("nan"), float("nan")
    from tightbound.evidence.diagnostics.samples import energy_distance, separation  # slow to import

    found = separation(held_out, samples, rng=rng)
    energy = energy_distance(held_out, samples, rng=rng)
    figure = f"a classifier's AUC is {found.auc:.2f}, the energy distance {energy.value:.3f} (p = {energy.p_value:.3f})"
    far = energy.value > ENERGY_ABOVE and energy.p_value < ENERGY_P_BELOW
    if found.is_above(SAMPLES_AUC_ABOVE):
        verdict, sentence = Verdict.SAMPLES_DIFFER, _differ(figure)
    elif far:
        finding = Finding(
            "samples", Verdict.SAMPLES_DIFFER, "energy distance", energy.value, ENERGY_ABOVE, _differ(figure)
        )
        return finding, found.auc, energy.value
    else:
        verdict, sentence = Verdict.FINE, f"The samples look like held-out rows: {figure}."
    return Finding("samples", verdict, name, found.auc, SAMPLES_AUC_ABOVE, sentence), found.auc, energy.value


def _differ(figure: str) -> str:
    return (
        f"The samples differ from held-out rows: {figure}; mend the prior or the decoder, whichever the other checks "
        "name, before using samples."
    )


def nearest(rows: NDArray[Any], train: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) Euclidean distance of each of `rows` (n, d) to the nearest of `train` (m, d)."""
    rows, train = np.asarray(rows, np.float32), np.asarray(train, np.float32)
    squares = np.sum(train**2, axis=1)
    size = max(1, _PAIRS_AT_ONCE // len(train))
    best = [np.argmin(squares - 2 * chunk @ train.T, axis=1) for chunk in _chunks(rows, size)]
    # The distance itself by subtraction: the expanded square would lose a duplicate's zero to rounding.
    return np.asarray(np.linalg.norm((rows - train[np.concatenate(best)]).astype(np.float64), axis=1))


def _chunks(rows: NDArray[Any], size: int) -> list[NDArray[Any]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def copies(samples: NDArray[Any] | None, held_out: NDArray[Any] | None) -> Finding:
    """COPIES when samples lie much nearer to training rows than held-out rows do, or repeat them more often.

    Args:
        samples, held_out: (m,) and (n,) distances to the nearest training row; None where there are no training rows.

    Source: Meehan, Chaudhuri and Dasgupta (2020).
    """
    name = "distance of samples to training rows over that of held-out rows"
    if samples is None or held_out is None:
        why = "Copies cannot be looked for without the training rows; give them as train."
        return unknown("copies", name, DISTANCE_RATIO_BELOW, why)
    if len(held_out) < FEWEST_ROWS:
        why = f"Copies cannot be told from {len(held_out)} held-out rows; give at least {FEWEST_ROWS}."
        return unknown("copies", name, DISTANCE_RATIO_BELOW, why)
    usual = float(np.median(held_out))
    near = [float(np.mean(distances <= NEAR * usual)) for distances in (samples, held_out)]
    share = sum(near) / 2
    error = np.sqrt(max(share * (1 - share), 1e-12) * (1 / len(samples) + 1 / len(held_out)))
    ratio = float(np.median(samples)) / usual if usual > 0 else float("nan")
    figure = f"{near[0]:.1%} of samples and {near[1]:.1%} of held-out rows all but repeat a training row"
    if usual > 0:
        figure += f", and samples lie {ratio:.2f} times as far from the nearest one"
    excess = near[0] - near[1]
    by_share = excess > max(COPIES_ABOVE, STANDARD_ERRORS * error)
    if not by_share and not ratio < DISTANCE_RATIO_BELOW:
        sentence = f"The samples are no copies: {figure}."
        return Finding("copies", Verdict.FINE, name, ratio, DISTANCE_RATIO_BELOW, sentence)
    sentence = f"The samples repeat training rows: {figure}; use a smaller decoder, and do not pass them off as new."
    if by_share:
        return Finding("copies", Verdict.COPIES, "excess share of near-copies", excess, COPIES_ABOVE, sentence)
    return Finding("copies", Verdict.COPIES, name, ratio, DISTANCE_RATIO_BELOW, sentence)
