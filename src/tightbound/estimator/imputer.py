"""Imputation as a scikit-learn transformer."""

from collections.abc import Sequence
from typing import Any, Self, final

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from tightbound.estimator.imputation import Imputation, sensitivity
from tightbound.estimator.vae import VAE
from tightbound.model.axes import likelihoods, networks, objectives

USUAL: dict[str, Any] = {
    "likelihood": likelihoods.Columns(continuous="gaussian"),
    "objective": objectives.IWAE(n_samples=10),
}
"""Means are what imputation wants: columns on their own scale, and the importance-weighted bound."""
NOT_AT_RANDOM: dict[str, Any] = {
    "network": networks.Residual(hidden_sizes=(128, 128), activation="tanh"),
    "learning_rate": 0.02,
    "epochs": 100,
    "batch_size": 64,
    "validation_fraction": 0,
}


@final
class VAEImputer(TransformerMixin, BaseEstimator):
    """Fills in missing cells from p(x_missing | x_observed) of a variational autoencoder fitted to incomplete rows.

    Every column is modelled by its kind; the fit maximises a bound on log p(x_observed) (Mattei and Frellsen, 2019).
    `transform` gives point imputations: means of numbers, medians of ordinal levels, the most probable level of others.

    Args:
        model: a `VAE` that is not fitted, for other settings (None: the usual ones for a table).
        missingness: "random" (given the observed cells a value does not decide on its being missing; or as the model
            has it), "self_masking" (it does: the more, or the less, of a thing, the likelier it is missing; the
            direction is learnt), "self_masking_high" or "self_masking_low" (such values are missing). Not random
            (Ipsen, Mattei and Frellsen, 2021): a linear decoder, and imputations that rest on that belief; see
            `sensitivity`.
        point: "typical", or "mean": also of columns whose levels are numbers, for the least squared error.
        n_samples: latents of a row whose importance weights are uneven; others make do with fewer.
        random_state: seed.

    Attributes:
        vae_: the fitted `VAE`, with all it can answer.

    Example:
        >>> import numpy as np
        >>> from tightbound import VAE, VAEImputer
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> X[::7, 1] = np.nan
        >>> imputer = VAEImputer(VAE(likelihood="columns", epochs=3), random_state=0)
        >>> np.isnan(imputer.fit_transform(X)).any()
        np.False_
    """

    def __init__(
        self,
        model: Any = None,
        *,
        missingness: str = "random",
        point: str = "typical",
        n_samples: int = 1000,
        random_state: Any = None,
    ):
        self.model, self.missingness, self.point = model, missingness, point
        self.n_samples, self.random_state = n_samples, random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit to rows with missing cells; `y` is ignored."""
        del y
        usual = USUAL if self.missingness == "random" else {**USUAL, **NOT_AT_RANDOM}
        model = configured(self.model, self.random_state, **usual)
        if self.missingness != "random":
            model.set_params(missingness=self.missingness)
        self.vae_ = model.fit(X)
        self.n_features_in_ = self.vae_.n_features_in_
        if hasattr(self.vae_, "feature_names_in_"):
            self.feature_names_in_ = self.vae_.feature_names_in_
        return self

    def transform(self, X: Any) -> Any:
        """X with every missing cell at its point imputation; observed cells bit for bit, in their types."""
        return self.impute(X).values

    def impute(self, X: Any, n_draws: int | None = None, *, interval: float | None = None) -> Imputation:
        """The same with draws and intervals; see `VAE.impute`."""
        check_is_fitted(self)
        return self.vae_.impute(X, n_draws, interval=interval, point=self.point, n_samples=self.n_samples)

    def sensitivity(self, X: Any, factors: Sequence[float] = (0.0, 0.5, 1.0, 2.0)) -> dict[float, Any]:
        """Imputations of X when the mechanism of missingness is so many times as strong, all else being the same.

        Factor 0 takes cells as missing at random. What changes with the factor rests on the belief in the mechanism,
        not on the data.

        Raises `ValueError` for a model whose cells are missing at random.
        """
        check_is_fitted(self)
        model, table = self.vae_._answering(X)
        return sensitivity(model, table, factors, n_samples=self.n_samples)

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """The names of the columns, as they came."""
        check_is_fitted(self)
        if input_features is not None:
            return np.asarray(input_features, dtype=object)
        names = getattr(self, "feature_names_in_", None)
        return np.array([f"x{i}" for i in range(self.n_features_in_)], dtype=object) if names is None else names

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.non_deterministic = False
        return tags


def configured(model: Any, random_state: Any, **usual: Any) -> VAE:
    """The `VAE` that the user asked for, or the usual one for a table, with a seed."""
    if model is None:
        return VAE(**{"likelihood": "columns", **usual}, random_state=random_state)
    if not isinstance(model, VAE):
        raise TypeError(
            f"model must be a VAE that is not fitted, or None; got {type(model).__name__}; pass VAE(latent_dim=5), say."
        )
    own: VAE = clone(model)
    return own if random_state is None else own.set_params(random_state=random_state)
