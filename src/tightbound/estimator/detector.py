"""Outlier detection as a scikit-learn estimator."""

import warnings
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from tightbound.answers import Detection, anomaly_scores, detect
from tightbound.answers.detecting import FEWEST_REFERENCES
from tightbound.data import as_table, coded, split
from tightbound.estimator.arguments import seed_of
from tightbound.estimator.imputer import configured

MOST_REFERENCES = 2000
NUMBERS = {"likelihood": "auto", "covariance": "low_rank"}
"""Of a table of numbers: a strange row may break correlations that are left given z, which a diagonal does not see."""


@final
class VAEOutlierDetector(OutlierMixin, BaseEstimator):
    """Finds rows that are unlikely under a variational autoencoder, with p-values that hold.

    The rows are split: on some the model is fitted, on the others, which it has not seen, ordinary scores are learnt.
    The p-value of a new row is the share of those that score as low (split conformal: Vovk et al., 2005; Bates et al.,
    2023): right, whatever the model is, if ordinary rows are exchangeable with the rows fitted.

    Args:
        model: a `VAE` that is not fitted, for other settings (None: a Gaussian with low-rank covariance for a table of
            numbers, columns by their kind for others).
        contamination: rows with a p-value of at most this are outliers to `predict`.
        calibration_fraction: share of the rows held back for the p-values (at most 2,000 rows).
        random_state: seed.

    Attributes:
        vae_: the fitted `VAE`.
        reference_: (r,) scores of the rows held back.
        offset_: the score at which `decision_function` is 0.

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
        calibration_fraction: float = 0.2,
        random_state: Any = None,
    ):
        self.model, self.contamination = model, contamination
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
        usual = NUMBERS if table.coded is None else {}
        vae = configured(self.model, seed if self.model is None else self.random_state, **usual)
        # Kinds and levels are read from all rows: a level among the rows held back alone is no surprise.
        table = coded(table, table.coded) if vae.likelihood == "columns" or table.coded is not None else table
        fitted, held = split(table.n_rows, self.calibration_fraction, seed, MOST_REFERENCES)
        if len(held) < FEWEST_REFERENCES:
            fitted = held = np.arange(table.n_rows)
            warnings.warn(
                f"{table.source} has too few rows to hold {FEWEST_REFERENCES} back: p-values rest on the rows that the "
                "model was fitted to, and are too small; give more rows, or a larger calibration_fraction.",
                UserWarning,
                stacklevel=2,
            )
        self.vae_ = vae.fit_table(table.take(fitted))
        self.reference_ = anomaly_scores(self.vae_.fitted_, table.take(held))
        self.offset_ = float(np.quantile(self.reference_, self.contamination, method="inverted_cdf"))
        self.n_features_in_ = self.vae_.n_features_in_
        if hasattr(self.vae_, "feature_names_in_"):
            self.feature_names_in_ = self.vae_.feature_names_in_
        return self

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """log p of the observed cells of every row, (n,) nats: lower is stranger."""
        check_is_fitted(self)
        return self.vae_.anomaly_scores(X)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """score_samples - offset_: below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """-1 for rows that score below all but a share `contamination` of ordinary rows, else 1."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> NDArray[np.float64]:
        """Conformal p-value of every row, (n,)."""
        return self.detect(X, explain=0).p_value

    def detect(self, X: Any, *, level: float = 0.1, explain: int = 20) -> Detection:
        """P-values, flags with false discoveries held at `level`, and the cells that make rows strange."""
        check_is_fitted(self)
        model, table = self.vae_._answering(X)
        return detect(model, table, self.reference_, level=level, explain=explain)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.non_deterministic = False
        return tags
