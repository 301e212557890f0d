"""Outlier detection as a scikit-learn estimator."""

import warnings
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted

from tightbound.data import Table, as_table, coded, first_outside, split
from tightbound.data.choosing import by_its_types, is_sparse_of_counts, on_a_line
from tightbound.estimator.arguments import seed_of
from tightbound.estimator.detection import Detection, detect, mixture_score
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.imputer import configured
from tightbound.estimator.judges import (
    FEWEST_REFERENCES,
    MOST_REFERENCES,
    Judge,
    Ordinary,
    anomaly_scores,
    observed_cells,
)
from tightbound.estimator.settings import LARGEST_SEED
from tightbound.model.axes import as_member, likelihoods
from tightbound.model.axes.parameters import check_number

USUAL_FOLDS, MANY_ROWS = 5, 5000
SMOOTHING, FEW_ROWS = 0.7, 1000
"""Of few rows a flexible density remembers too much: it is smoothed, less from 1,000 rows on, and not above 5,000."""


@final
class VAEOutlierDetector(OutlierMixin, BaseEstimator):
    """Finds rows that are unlikely under a variational autoencoder, with p-values that hold.

    The rows are split: on some a model is fitted, on the others, which it has not seen, ordinary scores are learnt.
    The p-value of a new row is the share of those that score as low (split conformal: Vovk et al., 2005; Bates et al.,
    2023): right, whatever the model is, if ordinary rows are exchangeable with the rows fitted. With folds every row is
    held back once (cross-conformal: Vovk, 2015): no row is lost to the fit or to the reference, and the score is log p
    under the equal mixture of the models, which is surer than one of them where rows are few.

    Args:
        model: a `VAE` that is not fitted, for other settings (None: a Gaussian with low-rank covariance for a table of
            numbers, with noise of 0.7 standard deviations while learning from up to 1,000 rows, and of 700 / n from n
            up to 5,000; columns by their kind for others).
        contamination: rows with a p-value of at most this are outliers to `predict`.
        folds: models, each fitted to all rows but its own part (None: 5 for up to 5,000 rows of numbers, else 1, since
            each model of mixed columns is compiled by itself); 1: one model, and rows held back once.
        calibration_fraction: with one fold, the share of the rows held back for the p-values (at most 2,000 rows).
        random_state: seed.

    Attributes:
        vaes_: the fitted `VAE`s, one a fold.
        references_: for each, the (r,) scores of the rows held back.
        offset_: the score at which `decision_function` is 0: that below which a share `contamination` of the rows held
            back lie. (With folds somewhat fewer new rows may: the mixture fits better than each model does.)

    Example:
        >>> import numpy as np
        >>> from tightbound import VAE, VAEOutlierDetector
        >>> X = np.random.default_rng(0).normal(size=(300, 3))
        >>> detector = VAEOutlierDetector(VAE(likelihood="columns", epochs=5), random_state=0).fit(X)
        >>> int(detector.predict([[9.0, -9.0, 9.0]])[0])
        -1
    """

    def __init__(
        self,
        model: Any = None,
        *,
        contamination: float = 0.1,
        folds: int | None = None,
        calibration_fraction: float = 0.2,
        random_state: Any = None,
    ):
        self.model, self.contamination, self.folds = model, contamination, folds
        self.calibration_fraction, self.random_state = calibration_fraction, random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit to rows that are ordinary, at least mostly; `y` is ignored."""
        del y
        for name in ("contamination", "calibration_fraction"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, float | int | np.floating) or not 0 < value < 1:
                raise ValueError(f"{name} must be a share between 0 and 1; got {value!r}; 0.1 is usual.")
        seed = seed_of(self.random_state)
        table = as_table(X)
        usual = _of_numbers(table) if on_a_line(table) else {}
        vae = configured(self.model, seed if self.model is None else self.random_state, **usual)
        word = as_member("likelihood", vae.likelihood).word
        numbers = table.coded is None and word != "columns"
        # Types and levels are read from all rows: a level among the rows held back alone is nothing anomalous.
        table = by_its_types(table, word) if numbers else coded(table, table.coded)
        self.vaes_, self.references_, self._ordinary = [], [], []
        for k, (fitted, held) in enumerate(self._parts(table, numbers, seed)):
            own = vae if k == 0 else clone(vae).set_params(random_state=(seed_of(vae.random_state) + k) % LARGEST_SEED)
            self.vaes_.append(own.fit_table(table.take(fitted)))
            rows = own.fitted_.encoding.check(table.take(held))
            self.references_.append(anomaly_scores(own.fitted_, rows))
            self._ordinary.append(Ordinary.of(own.fitted_, rows, self.references_[-1]))
        every = np.concatenate(self.references_)
        self.offset_ = float(np.quantile(every, self.contamination, method="inverted_cdf"))
        self.n_features_in_ = self.vaes_[0].n_features_in_
        if hasattr(self.vaes_[0], "feature_names_in_"):
            self.feature_names_in_ = self.vaes_[0].feature_names_in_
        return self

    def _parts(self, table: Table, numbers: bool, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Rows to fit to and rows held back, for each model."""
        n, folds = table.n_rows, self.folds
        if folds is None:
            few = numbers and USUAL_FOLDS * FEWEST_REFERENCES <= n <= MANY_ROWS
            folds = USUAL_FOLDS if few else 1
        check_number("folds", folds, 1, max(n // 2, 1), "5 is usual, with at least 2 rows in each")
        if folds == 1:
            fitted, held = split(n, self.calibration_fraction, seed, MOST_REFERENCES)
            if len(held) < FEWEST_REFERENCES:
                fitted = held = np.arange(n)
                warnings.warn(
                    f"{table.source} has too few rows to hold {FEWEST_REFERENCES} back: p-values rest on the rows that "
                    "the model was fitted to, and are too small; give more rows, or a larger calibration_fraction.",
                    UserWarning,
                    stacklevel=3,
                )
            return [(fitted, held)]
        order = np.random.default_rng(seed).permutation(n)
        # As many rows for each model: one shape, one compiled program.
        size = n - -(-n // folds)
        return [(np.sort(np.delete(order, np.s_[k::folds])[:size]), np.sort(order[k::folds])) for k in range(folds)]

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """log p of the observed cells of every row, (n,) nats: lower is more anomalous."""
        check_is_fitted(self)
        return mixture_score([vae.anomaly_scores(X) for vae in self.vaes_])

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """score_samples - offset_: below 0 for outliers.

        Scores of rows with different gaps are not comparable. So where rows held back, or the row, have gaps, in place
        of its score stands the one that has its p-value among those of the rows held back.
        """
        answering, score = self._answering(X), self.score_samples(X)
        complete = np.all([observed_cells(*each).all(axis=1) for each in answering], axis=0)
        if not all(each.observed.all() for each in self._ordinary):
            complete[:] = False
        if complete.all():
            return score - self.offset_
        p = self.detect(X, explain=0).p_value[~complete]
        above = np.quantile(np.concatenate(self.references_), np.nan_to_num(p, nan=1.0)) - self.offset_
        decision = score - self.offset_
        decision[~complete] = np.where(
            p <= self.contamination, np.minimum(above, -np.finfo(float).eps), np.maximum(above, 0)
        )
        return decision

    def predict(self, X: Any) -> NDArray[np.int64]:
        """-1 for rows that score below all but a share `contamination` of ordinary rows, else 1."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> NDArray[np.float64]:
        """Conformal p-value of every row, (n,)."""
        return self.detect(X, explain=0).p_value

    def detect(self, X: Any, *, level: float = 0.1, explain: int = 20) -> Detection:
        """P-values, flags with false discoveries held at `level`, and the cells that make rows anomalous."""
        answering = self._answering(X)
        judges = [Judge(model, ordinary) for (model, _), ordinary in zip(answering, self._ordinary, strict=True)]
        return detect(judges, answering[0][1], level=level, explain=explain)

    def _answering(self, X: Any) -> list[tuple[FittedModel, Table]]:
        check_is_fitted(self)
        return [vae._answering(X) for vae in self.vaes_]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.non_deterministic = False
        return tags


def _of_numbers(table: Table) -> dict[str, Any]:
    """Usual settings for a table of numbers."""
    if is_sparse_of_counts(table) or first_outside(table.dense(), "binary") is None:
        return {"likelihood": "auto"}
    # An anomalous row may break correlations that are left given z, which a diagonal does not see.
    usual = {"likelihood": likelihoods.Gaussian(covariance="low_rank")}
    if table.n_rows > MANY_ROWS or table.sparse:
        return usual
    return {**usual, "smoothing": SMOOTHING * min(1.0, FEW_ROWS / table.n_rows)}
