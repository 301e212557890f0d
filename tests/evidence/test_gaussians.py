"""Gaussians with whole covariances: SciPy, scikit-learn and general optimisers say what they should be."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize
from scipy.special import logsumexp
from simple_cases import assert_never_falls, clusters, correlated, covariance, every_mask, holes, on_a_grid
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.mixture import GaussianMixture

from tightbound.evidence.reference import gaussians
from tightbound.evidence.reference.gaussians import (
    Gaussians,
    factor_analysis,
    fit_gaussians,
    floored,
    ledoit_wolf,
    patterns_of,
    probabilistic_pca,
    single,
)
from tightbound.evidence.reference.independent_columns import PRIOR_ROWS, joint_density, log_density, responsibilities

D = 4
TINY = 1e-6


def mixture(k: int, d: int = D) -> Gaussians:
    rng = np.random.default_rng(k)
    means = rng.normal(size=(k, d)) * 3
    return Gaussians(rng.dirichlet(np.ones(k)), means, np.stack([covariance(rng, d) for _ in range(k)]))


def by_scipy(m: Gaussians, x: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """log sum_k w_k N(observed cells), a set of them at a time."""
    mask = np.ones(x.shape, bool) if seen is None else seen
    out = np.zeros(len(x))
    for o in {tuple(row): row for row in mask}.values():
        rows = (mask == o).all(axis=1)
        each = [
            np.atleast_1d(stats.multivariate_normal.logpdf(x[rows][:, o], mean[o], cov[np.ix_(o, o)]))
            for mean, cov in zip(m.means, m.covariances, strict=True)
            if o.any()
        ]
        out[rows] = logsumexp(np.log(m.weights)[:, None] + each, axis=0) if each else 0
    return out


def gaussian_score(mean: np.ndarray, cov: np.ndarray, scatter: np.ndarray) -> float:
    """Mean log N(x; mean, cov) of rows with this mean and scatter."""
    _, log_det = np.linalg.slogdet(cov)
    return -0.5 * float(len(mean) * np.log(2 * np.pi) + log_det + np.trace(np.linalg.solve(cov, scatter)))


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(axis=0), np.cov(x.T, ddof=0)


@pytest.mark.parametrize("k", [1, 3])
def test_densities_match_scipy_whichever_cells_are_missing(k: int) -> None:
    m = mixture(k)
    x = np.random.default_rng(0).normal(size=(len(every_mask(D)), D)) * 3
    seen = every_mask(D)
    np.testing.assert_allclose(log_density(m, x), by_scipy(m, x), rtol=1e-11)
    got = log_density(m, np.where(seen, x, np.nan), seen)
    np.testing.assert_allclose(got, by_scipy(m, x, seen), rtol=1e-11, atol=1e-12)
    assert got[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("at_once", [1, 40, 10**6], ids=["a pattern each", "two patterns", "all"])
@pytest.mark.parametrize("n", [20, 400], ids=["mostly different", "mostly alike"])
def test_how_patterns_are_grouped_changes_nothing(n: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    m, x = mixture(2), correlated(rng, n, D)
    seen = holes(rng, x.shape, 0.4)
    expected = by_scipy(m, x, seen)
    monkeypatch.setattr(gaussians, "NUMBERS_AT_ONCE", at_once)
    np.testing.assert_allclose(log_density(m, x, seen), expected, rtol=1e-11)
    order = rng.permutation(n)
    np.testing.assert_allclose(log_density(m, x[order], seen[order]), expected[order], rtol=1e-11)


def test_patterns_are_each_once_and_in_their_place() -> None:
    seen = holes(np.random.default_rng(2), (50, 3), 0.5)
    found = patterns_of(np.zeros(seen.shape), seen)
    np.testing.assert_array_equal(found.seen[found.kind], seen)
    assert len(found.seen) == len({tuple(row) for row in seen})
    complete = patterns_of(np.zeros((5, 3)), None)
    assert complete.seen.all()
    assert complete.seen.shape == (1, 3)
    np.testing.assert_array_equal(complete.kind, np.zeros(5))


def test_mixture_matches_scikit_learn() -> None:
    m = mixture(3)
    peer = GaussianMixture(3)
    peer.weights_, peer.means_, peer.covariances_ = m.weights, m.means, m.covariances
    peer.precisions_cholesky_ = np.stack([np.linalg.inv(np.linalg.cholesky(c)).T for c in m.covariances])
    x = np.random.default_rng(3).normal(size=(50, D)) * 3
    np.testing.assert_allclose(log_density(m, x), peer.score_samples(x), rtol=1e-10)
    np.testing.assert_allclose(responsibilities(joint_density(m, x))[0], peer.predict_proba(x), atol=1e-11)


def test_densities_and_marginals_integrate_to_one() -> None:
    m = mixture(2, 2)
    points, volume = on_a_grid(-25, 25, 301, 2)
    assert np.exp(log_density(m, points)).sum() * volume == pytest.approx(1, abs=1e-6)
    line, step = on_a_grid(-25, 25, 2001, 1)
    for j in (0, 1):
        x, seen = np.zeros((len(line), 2)), np.zeros((len(line), 2), bool)
        x[:, j], seen[:, j] = line[:, 0], True
        assert np.exp(log_density(m, x, seen)).sum() * step == pytest.approx(1, abs=1e-6)


def test_a_floored_covariance_is_the_likeliest() -> None:
    """Against diag(floor^2) + A A^T of a general optimiser: a matrix that is clipped in another metric loses."""
    floor = np.array([0.5, 1.0, 2.0])
    scatter = covariance(np.random.default_rng(4), 3) * 0.6
    c = floored(scatter, floor)
    assert np.linalg.eigvalsh(scatter - np.diag(floor**2)).min() < -0.1
    assert np.linalg.eigvalsh(c - np.diag(floor**2)).min() > -1e-10
    zero = np.zeros(3)

    def lost(a: np.ndarray) -> float:
        root = a.reshape(3, 3)
        return -gaussian_score(zero, root @ root.T + np.diag(floor**2), scatter)

    found = min(minimize(lost, np.random.default_rng(s).normal(size=9)).fun for s in range(3))
    assert -gaussian_score(zero, c, scatter) == pytest.approx(found, abs=1e-7)
    np.testing.assert_allclose(floored(scatter, floor / 100), scatter, rtol=1e-10)


def fitted(x: np.ndarray, seen: np.ndarray | None, k: int, **options: Any) -> tuple[Gaussians, tuple[float, ...]]:
    return fit_gaussians(x, seen, k, np.full(x.shape[1], TINY), np.random.default_rng(5), **options)


def test_one_complete_gaussian_is_the_closed_form() -> None:
    x = correlated(np.random.default_rng(6), 60, D)
    m, _ = fitted(x, None, 1)
    np.testing.assert_allclose(m.means[0], x.mean(axis=0))
    np.testing.assert_allclose(m.covariances[0], np.cov(x.T, ddof=0))
    # A mask without a hole leads there too, through the other half of the code.
    masked, _ = fitted(x, np.ones(x.shape, bool), 1)
    np.testing.assert_allclose(masked.covariances[0], np.cov(x.T, ddof=0), rtol=1e-10)


def test_one_gaussian_with_a_column_half_missing_is_the_closed_form() -> None:
    """Anderson (1957): the regression of the second column on the first is fitted where both are seen."""
    rng = np.random.default_rng(7)
    x = correlated(rng, 80, 2)
    seen = np.ones(x.shape, bool)
    seen[x[:, 0] > x[:, 0].mean(), 1] = False  # missing at random, not completely: leaving such rows out is biased
    m, history = fitted(x, seen, 1, tolerance=1e-15, most=5000)
    both = x[seen[:, 1]]
    slope = np.cov(both.T, ddof=0)[0, 1] / both[:, 0].var()
    residual = (both[:, 1] - both[:, 1].mean() - slope * (both[:, 0] - both[:, 0].mean())).var()
    mean = both[:, 1].mean() + slope * (x[:, 0].mean() - both[:, 0].mean())
    np.testing.assert_allclose(m.means[0], [x[:, 0].mean(), mean], rtol=1e-6)
    across = slope * x[:, 0].var()
    expected = [[x[:, 0].var(), across], [across, residual + slope * across]]
    np.testing.assert_allclose(m.covariances[0], expected, rtol=1e-5)
    assert abs(mean - both[:, 1].mean()) > 0.3
    assert_never_falls(history)


def penalised(m: Gaussians, x: np.ndarray, seen: np.ndarray | None) -> float:
    """What a fit maximises, by SciPy: for mixtures with a row's worth of the pooled columns for every component."""
    blank = x if seen is None else np.where(seen, x, np.nan)
    pooled = np.nanvar(blank, axis=0)
    value = float(by_scipy(m, x, seen).mean())
    if len(m.weights) == 1:
        return value
    each = [np.linalg.slogdet(c)[1] + np.trace(np.linalg.inv(c) * pooled) for c in m.covariances]
    return value - 0.5 * PRIOR_ROWS * float(np.sum(each)) / len(x)


def triangle(free: np.ndarray, d: int) -> np.ndarray:
    """A covariance matrix from d (d + 1) / 2 free numbers."""
    root = np.zeros((d, d))
    root[np.tril_indices(d)] = free
    return root @ root.T


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
def test_expectation_maximisation_ends_at_the_maximum(k: int, missing: bool) -> None:
    """A general optimiser of the likelihood of the observed cells ends no higher, and at the same numbers."""
    rng = np.random.default_rng(8)
    d = 2
    x = clusters(rng, 30, d, k, apart=3) @ [[1.0, 0.5], [0.0, 1.0]]
    seen = holes(rng, x.shape, 0.3) if missing else None
    m, history = fitted(x, seen, k, tolerance=1e-13, most=5000)
    assert history[-1] == pytest.approx(penalised(m, x, seen), rel=1e-9)
    size = d * (d + 1) // 2

    def built(u: np.ndarray) -> Gaussians:
        w = np.exp(u[:k]) / np.exp(u[:k]).sum()
        roots = u[k + k * d :].reshape(k, size)
        return Gaussians(w, u[k : k + k * d].reshape(k, d), np.stack([triangle(r, d) for r in roots]))

    roots = [np.linalg.cholesky(c)[np.tril_indices(d)] for c in m.covariances]
    end = np.concatenate([np.log(m.weights), m.means.ravel(), *roots])
    start = end + 0.1 * rng.normal(size=len(end))
    found = minimize(lambda u: -penalised(built(u), x, seen), start, method="BFGS", options={"gtol": 1e-6})
    assert penalised(built(start), x, seen) < -found.fun - 1e-3
    assert -found.fun == pytest.approx(history[-1], abs=1e-8)
    np.testing.assert_allclose(built(found.x).means, m.means, atol=1e-3)
    np.testing.assert_allclose(built(found.x).covariances, m.covariances, atol=5e-3)


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("k", [2, 5])
def test_expectation_maximisation_never_loses(k: int, missing: bool) -> None:
    rng = np.random.default_rng(9)
    x = clusters(rng, 150, 3, 3, apart=4)
    x[:60, 0] = 1.0  # a repeated value, which a floor has to hold off
    seen = holes(rng, x.shape, 0.3) if missing else None
    floor = np.full(3, 0.05)
    m, history = fit_gaussians(x, seen, k, floor, rng, tolerance=1e-9, most=150)
    assert_never_falls(history)
    for c in m.covariances:
        assert np.linalg.eigvalsh(c - np.diag(floor**2)).min() > -1e-10
    again = fit_gaussians(x, seen, k, floor, np.random.default_rng(0), most=3)[1]
    assert again == fit_gaussians(x, seen, k, floor, np.random.default_rng(0), most=3)[1]


def test_planted_clusters_are_found_with_cells_missing() -> None:
    rng = np.random.default_rng(10)
    n = 1200
    x = clusters(rng, n, 3, 3)
    m, _ = fitted(x, holes(rng, x.shape, 0.2), 3)
    order = np.argmax(m.means, axis=1)
    assert sorted(order) == [0, 1, 2]
    error = 1 / np.sqrt(0.8 * n / 3)
    assert (np.abs(m.means - 8 * np.eye(3)[order]) < 6 * error).all()
    assert (np.abs(m.covariances - np.eye(3)) < 6 * np.sqrt(2) * error + PRIOR_ROWS * 15 / (n / 3)).all()
    assert (np.abs(m.weights - 1 / 3) < 5 * np.sqrt(2 / 9 / n)).all()


@pytest.mark.parametrize("q", [1, 2, 4])
def test_probabilistic_pca_matches_scikit_learn(q: int) -> None:
    x = correlated(np.random.default_rng(11), 80, 5)
    peer = PCA(q, svd_solver="full").fit(x)
    m = probabilistic_pca(x.mean(axis=0), np.cov(x.T), q, np.full(5, TINY))  # it divides by n - 1
    np.testing.assert_allclose(m.covariances[0], peer.get_covariance(), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(log_density(m, x), peer.score_samples(x), rtol=1e-9)


@pytest.mark.parametrize("floor", [0.01, 1.5], ids=["idle", "binding"])
def test_probabilistic_pca_has_the_greatest_likelihood(floor: float) -> None:
    mean, scatter = moments(correlated(np.random.default_rng(12), 80, 4))
    m = probabilistic_pca(mean, scatter, 2, np.full(4, floor))
    binding = np.linalg.eigvalsh(scatter)[:2].mean() < floor**2
    assert binding == (floor == 1.5)

    def lost(u: np.ndarray) -> float:
        w = u[1:].reshape(4, 2)
        return -gaussian_score(mean, w @ w.T + (floor**2 + u[0] ** 2) * np.eye(4), scatter)

    found = min(minimize(lost, np.random.default_rng(s).normal(size=9)).fun for s in range(4))
    assert -gaussian_score(mean, m.covariances[0], scatter) == pytest.approx(found, abs=1e-6)


def test_floors_that_differ_cost_probabilistic_pca_no_factor() -> None:
    """The floor of a column in coarse units says nothing of the others: their factors stay as they are."""
    x = correlated(np.random.default_rng(18), 200, 4) * [1000, 1, 1, 1]
    mean, scatter = moments(x)
    idle = probabilistic_pca(mean, scatter, 3, np.full(4, TINY))
    m = probabilistic_pca(mean, scatter, 3, np.array([10, 0.01, 0.01, 0.01]))
    np.testing.assert_allclose(m.covariances[0], idle.covariances[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("q", [1, 3])
def test_factor_analysis_matches_scikit_learn(q: int) -> None:
    rng = np.random.default_rng(13)
    x = rng.normal(size=(300, q)) @ rng.normal(size=(q, 10)) + rng.normal(size=(300, 10)) * rng.uniform(0.5, 1.5, 10)
    peer = FactorAnalysis(q, tol=1e-8, max_iter=20_000, svd_method="lapack").fit(x)
    m, history = factor_analysis(*moments(x), q, np.full(10, TINY), tolerance=1e-12, most=20_000)
    assert float(log_density(m, x).mean()) == pytest.approx(peer.score(x), abs=1e-7)
    np.testing.assert_allclose(m.covariances[0], peer.get_covariance(), atol=1e-4)
    assert_never_falls(history)
    assert history[-1] == pytest.approx(float(log_density(m, x).mean()), abs=1e-9)
    # In its default precision, and with a column in other units: that changes the likelihood by their Jacobian alone.
    units = np.where(np.arange(10) == 9, 100.0, 1.0)
    quick, _ = factor_analysis(*moments(x * units), q, TINY * units)
    assert float(log_density(quick, x * units).mean()) + np.log(100) == pytest.approx(peer.score(x), abs=1e-3)


def test_factor_analysis_keeps_to_the_floor_where_a_column_has_no_noise() -> None:
    """Heywood's case: two equal columns, whose specific variance would go to 0."""
    rng = np.random.default_rng(14)
    x = correlated(rng, 100, 5)
    x[:, 1] = x[:, 0]
    floor = np.full(5, 0.1)
    m, history = factor_analysis(*moments(x), 2, floor, tolerance=1e-10)
    assert np.linalg.eigvalsh(m.covariances[0] - np.diag(floor**2)).min() > -1e-9
    assert_never_falls(history)
    difference = np.array([1.0, -1, 0, 0, 0])
    assert difference @ m.covariances[0] @ difference == pytest.approx(2 * 0.1**2, rel=0.05)


def test_fewer_rows_than_columns_are_no_failure() -> None:
    x = correlated(np.random.default_rng(15), 6, 12)
    mean, scatter = moments(x)
    floor = np.full(12, 0.1)
    for q in (1, 5):
        for m in (probabilistic_pca(mean, scatter, q, floor), factor_analysis(mean, scatter, q, floor)[0]):
            assert np.linalg.eigvalsh(m.covariances[0] - np.diag(floor**2)).min() > -1e-9
            assert np.isfinite(log_density(m, x)).all()
    whole = single(mean, floored(scatter, floor))
    assert np.linalg.eigvalsh(whole.covariances[0]).min() == pytest.approx(0.01)


def test_shrinkage_matches_scikit_learn() -> None:
    x = correlated(np.random.default_rng(16), 25, 8) + 100
    peer = LedoitWolf().fit(x)
    shrunk, share = ledoit_wolf(x)
    np.testing.assert_allclose(shrunk, peer.covariance_, rtol=1e-8)
    assert share == pytest.approx(peer.shrinkage_, rel=1e-8)
    assert 0 < share < 1
