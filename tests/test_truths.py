"""Whole fits against what theory says they must reach."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.decomposition import PCA, FactorAnalysis

from tightbound import VAE, likelihoods

# 10,000 steps of a linear model take a few seconds; a rate this high would be too much for a deep one.
LINEAR = {
    "network": "linear",
    "scaling": "none",
    "validation_fraction": 0,
    "learning_rate": 0.01,
    "dtype": "float64",
    "random_state": 0,
}


def standardised(path: Path, *not_modelled: str) -> np.ndarray:
    X = pl.read_csv(path).drop(not_modelled).to_numpy().astype(float)
    return (X - X.mean(axis=0)) / X.std(axis=0)


@pytest.mark.parametrize(
    ("table", "label", "latent_dim"), [("wine", ["cultivar"], 3), ("glass", ["type"], 3), ("concrete", [], 2)]
)
def test_linear_vae_reaches_probabilistic_pca(shared_data: Path, table: str, label: list[str], latent_dim: int) -> None:
    """A linear VAE with a shared scale has the maximum of probabilistic PCA as its optimum (Lucas et al., 2019)."""
    X = standardised(shared_data / "tables" / f"{table}.csv.gz", *label)
    steps_per_epoch = -(-len(X) // 100)
    vae = VAE(
        latent_dim,
        likelihood="gaussian(covariance=shared)",
        epochs=12_000 // steps_per_epoch,
        n_importance_samples=300,
        **LINEAR,
    )
    found = vae.fit(X).evidence(X).mean()
    assert found.value == pytest.approx(PCA(latent_dim).fit(X).score(X), abs=0.01)
    assert found.monte_carlo_error < 0.001


# Noise that is correlated given z: x = w z + e, e ~ N(0, F F' + diag(d)).
RNG = np.random.default_rng(0)
LOADING = RNG.normal(size=(6, 1))
FACTOR = RNG.normal(size=(6, 2))
NOISE = np.array([0.2, 0.3, 0.15, 0.4, 0.25, 0.2])
COVARIANCE = LOADING @ LOADING.T + FACTOR @ FACTOR.T + np.diag(NOISE)


def best_diagonal_noise() -> np.ndarray:
    """Covariance of the best model with one latent and diagonal noise: factor analysis of the true covariance."""
    # A sample whose covariance is exactly the true one turns the population's optimum into an ordinary fit.
    white = np.linalg.qr(RNG.normal(size=(4000, 6)) - 0)[0]
    white -= white.mean(axis=0)
    white = white @ np.linalg.inv(np.linalg.cholesky(white.T @ white / 4000)).T
    exact = white @ np.linalg.cholesky(COVARIANCE).T
    return FactorAnalysis(1, tol=1e-10, max_iter=20_000, svd_method="lapack").fit(exact).get_covariance()


@pytest.mark.parametrize("covariance", ["full", "low_rank"])
def test_correlated_noise_is_worth_what_theory_says(covariance: str) -> None:
    draws = np.random.default_rng(1).multivariate_normal(np.zeros(6), COVARIANCE, size=6000)
    train, test = draws[:3000], draws[3000:]
    options = {"epochs": 300, "n_importance_samples": 200, **LINEAR}
    scores = {
        name: VAE(1, likelihood=likelihoods.Gaussian(covariance=name, rank=2), posterior="full", **options)
        .fit(train)
        .score_samples(test)
        for name in ("diagonal", covariance)
    }
    gain = scores[covariance] - scores["diagonal"]
    truth = stats.multivariate_normal(np.zeros(6), COVARIANCE).logpdf(test)
    theory = truth - stats.multivariate_normal(np.zeros(6), best_diagonal_noise()).logpdf(test)
    assert theory.mean() > 0.3
    # Paired on the same rows; a fit on n rows loses about (number of parameters) / 2n = 0.01 nats of either model.
    difference = gain - theory
    assert abs(difference.mean()) < 3 * difference.std() / np.sqrt(len(test)) + 0.02


@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_a_smoothed_fit_is_the_density_of_rows_with_noise(scaling: str) -> None:
    """Rows from N(0, S), noise of h standard deviations: N(0, S + h^2 diag(S)), whatever units the columns have."""
    covariance = np.array([[4.0, 1.5], [1.5, 1.0]])
    train = np.random.default_rng(2).multivariate_normal(np.zeros(2), covariance, size=2000)
    options = {**LINEAR, "scaling": scaling, "epochs": 200, "n_importance_samples": 300}
    scores = VAE(1, smoothing=0.7, **options).fit(train).score_samples(train[:300])
    empirical = np.cov(train.T, bias=True)
    smoothed = empirical + 0.49 * np.diag(np.diag(empirical))
    truth = stats.multivariate_normal(train.mean(axis=0), smoothed).logpdf(train[:300])
    sharp = stats.multivariate_normal(train.mean(axis=0), empirical).logpdf(train[:300])
    assert abs(np.mean(scores - truth)) < 0.02 and np.sqrt(np.mean((scores - truth) ** 2)) < 0.05
    assert abs(np.mean(scores - sharp)) > 0.2
