"""Mixtures of independent cells: SciPy, scikit-learn and sums over all states say what their densities are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize
from scipy.special import logsumexp
from simple_cases import assert_never_falls, clusters, every_mask, every_state, holes, on_a_grid, prototypes
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import BernoulliNB

from tightbound.evidence.reference import independent_columns as products
from tightbound.evidence.reference.independent_columns import (
    PRIOR_ROWS,
    Bernoullis,
    DiagonalGaussians,
    climb,
    column_moments,
    fit_bernoullis,
    fit_diagonal_gaussians,
    log_density,
    seeded,
    shares_to_weights,
    smoothed_means,
)

D = 4
MASKS = every_mask(D)


def gaussians(k: int) -> DiagonalGaussians:
    rng = np.random.default_rng(k)
    means, variances = rng.normal(size=(k, D)) * 3, rng.uniform(0.1, 4, size=(k, D))
    return DiagonalGaussians(rng.dirichlet(np.ones(k)), means, variances)


def bernoullis(k: int, d: int = D) -> Bernoullis:
    rng = np.random.default_rng(k)
    return Bernoullis(rng.dirichlet(np.ones(k)), rng.uniform(0.02, 0.98, size=(k, d)))


def by_scipy(m: DiagonalGaussians, x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """log sum_k w_k prod of the observed cells' densities."""
    each = stats.norm.logpdf(x[:, None, :], m.means, np.sqrt(m.variances))
    return logsumexp(np.log(m.weights) + np.where(seen[:, None, :], each, 0).sum(axis=2), axis=1)


@pytest.mark.parametrize("k", [1, 3])
def test_gaussian_cells_match_scipy_whichever_are_missing(k: int) -> None:
    m = gaussians(k)
    x = np.random.default_rng(0).normal(size=(len(MASKS), D)) * 3
    expected = by_scipy(m, x, MASKS)
    np.testing.assert_allclose(log_density(m, np.where(MASKS, x, np.nan), MASKS), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(log_density(m, x), by_scipy(m, x, np.ones_like(MASKS)), rtol=1e-12)


def test_a_narrow_component_far_from_the_others_loses_no_digits() -> None:
    m = DiagonalGaussians(np.array([0.5, 0.5]), np.array([[-40.0], [60.0]]), np.array([[1.0], [1e-6]]))
    x = 60 + 1e-3 * np.linspace(-4, 4, 9)[:, None]
    np.testing.assert_allclose(log_density(m, x), by_scipy(m, x, np.ones((9, 1), bool)), atol=1e-5)


def test_gaussian_cells_match_scikit_learn() -> None:
    m = gaussians(3)
    peer = GaussianMixture(3, covariance_type="diag")
    peer.weights_, peer.means_, peer.covariances_ = m.weights, m.means, m.variances
    peer.precisions_cholesky_ = 1 / np.sqrt(m.variances)
    x = np.random.default_rng(1).normal(size=(50, D)) * 3
    np.testing.assert_allclose(log_density(m, x), peer.score_samples(x), rtol=1e-11)
    shares, mean = products.responsibilities(products.joint_density(m, x))
    np.testing.assert_allclose(shares, peer.predict_proba(x), atol=1e-12)
    assert mean == pytest.approx(peer.score(x), rel=1e-11)


def test_gaussian_cells_integrate_to_one() -> None:
    m = DiagonalGaussians(np.array([0.3, 0.7]), np.array([[1.0, -2], [-3, 2]]), np.array([[0.5, 2], [1, 0.3]]))
    points, volume = on_a_grid(-15, 15, 301, 2)
    assert np.exp(log_density(m, points)).sum() * volume == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("k", [1, 3])
def test_missing_zeros_and_ones_are_summed_out(k: int) -> None:
    m, states = bernoullis(k), every_state(D)
    p = np.exp(log_density(m, states))
    by_hand = np.prod(np.where(states[:, None] == 1, m.probs, 1 - m.probs), axis=2) @ m.weights
    np.testing.assert_allclose(p, by_hand, rtol=1e-12)
    assert p.sum() == pytest.approx(1, abs=1e-12)
    x = states[11]
    for seen in MASKS:
        agree = (states[:, seen] == x[seen]).all(axis=1)
        got = log_density(m, np.where(seen, x, 0.5)[None], seen[None])[0]
        assert got == pytest.approx(np.log(p[agree].sum()), abs=1e-12)


def test_smoothed_means_match_scikit_learn() -> None:
    x, _ = prototypes(np.random.default_rng(2), 30, 5, 1)
    peer = BernoulliNB(alpha=0.5).fit(x, np.zeros(30))
    means = smoothed_means(x, None)
    np.testing.assert_allclose(means, np.exp(peer.feature_log_prob_[0]), rtol=1e-12)
    states = every_state(5)
    single = Bernoullis(np.ones(1), means[None])
    np.testing.assert_allclose(log_density(single, states), peer.predict_joint_log_proba(states)[:, 0], rtol=1e-12)
    seen = holes(np.random.default_rng(3), x.shape, 0.4)
    for j in range(5):
        np.testing.assert_allclose(smoothed_means(x, seen)[j], smoothed_means(x[seen[:, j], j : j + 1], None)[0])


@pytest.mark.parametrize("m", [gaussians(3), bernoullis(3)], ids=["gaussian", "bernoulli"])
@given(data=st.data())
def test_neither_order_nor_chunks_change_a_score(m: Any, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = (rng.random((n, D)) < 0.5).astype(float)
    seen = holes(rng, x.shape, 0.3) if n and data.draw(st.booleans()) else None
    expected = log_density(m, x, seen)
    assert expected.shape == (n,)
    order = rng.permutation(n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "ROWS_AT_ONCE", data.draw(st.integers(1, 45)))
        got = log_density(m, x[order], None if seen is None else seen[order])
    np.testing.assert_allclose(got, expected[order], rtol=1e-12, atol=1e-12)


def test_moments_of_columns_match_numpy() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(40, 4)) * [1, 5, 0.001, 1]
    seen = holes(rng, x.shape, 0.3)
    seen[:, 3] = False
    mean, variance = column_moments(np.where(seen, x, np.nan), seen, np.full(4, 0.1))
    blank = np.where(seen, x, np.nan)[:, :3]
    np.testing.assert_allclose(mean[:3], np.nanmean(blank, axis=0))
    np.testing.assert_allclose(variance[:2], np.nanvar(blank, axis=0)[:2])
    np.testing.assert_allclose([variance[2], mean[3], variance[3]], [0.1**2, 0, 1])
    complete = column_moments(x, None, np.full(4, 1e-9))
    np.testing.assert_allclose(complete, (x.mean(axis=0), x.var(axis=0)))


def test_a_climb_stops_below_its_tolerance_or_at_its_most() -> None:
    halved = lambda gap: (gap / 2, -gap)  # noqa: E731
    state, history = climb(1.0, halved, tolerance=0.1, most=50)
    assert history == (-1, -0.5, -0.25, -0.125, -0.0625)
    assert state == 0.03125
    assert climb(1.0, halved, tolerance=0.0, most=3) == (0.125, (-1, -0.5, -0.25))


def penalised(m: DiagonalGaussians | Bernoullis, x: np.ndarray, seen: np.ndarray | None) -> float:
    """What a fit maximises, by SciPy: log-likelihood, and one row's worth of the pooled columns for every component."""
    mask = np.ones(x.shape, bool) if seen is None else seen
    blank = np.where(mask, x, np.nan)
    if isinstance(m, DiagonalGaussians):
        pooled = np.nanvar(blank, axis=0)
        prior = -0.5 * np.sum(np.log(m.variances) + pooled / m.variances) if len(m.weights) > 1 else 0.0
        return float(np.mean(by_scipy(m, x, mask)) + PRIOR_ROWS * prior / len(x))
    base = (np.nansum(blank, axis=0) + 0.5) / (mask.sum(axis=0) + 1)
    prior = np.sum(base * np.log(m.probs) + (1 - base) * np.log(1 - m.probs))
    each = np.where(mask[:, None], stats.bernoulli.logpmf(x[:, None, :], m.probs), 0).sum(axis=2)
    return float(np.mean(logsumexp(np.log(m.weights) + each, axis=1)) + PRIOR_ROWS * prior / len(x))


def fit(kind: str, x: np.ndarray, seen: np.ndarray | None, k: int, **options: Any) -> Any:
    rng = np.random.default_rng(7)
    if kind == "gaussian":
        return fit_diagonal_gaussians(x, seen, k, np.full(x.shape[1], 1e-3), rng, **options)
    return fit_bernoullis(x, seen, k, rng, **options)


def table(kind: str, missing: bool, n: int = 200) -> tuple[np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(11)
    x = clusters(rng, n, 3, 3, apart=3) if kind == "gaussian" else prototypes(rng, n, 6, 3, flip=0.25)[0]
    return x, holes(rng, x.shape, 0.3) if missing else None


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("kind", ["gaussian", "bernoulli"])
class TestExpectationMaximisation:
    @pytest.mark.parametrize("k", [2, 3, 8])
    def test_never_loses(self, kind: str, missing: bool, k: int) -> None:
        x, seen = table(kind, missing)
        _, history = fit(kind, x, seen, k, tolerance=1e-9, most=300)
        assert_never_falls(history)

    def test_reports_what_it_maximises(self, kind: str, missing: bool) -> None:
        x, seen = table(kind, missing)
        state, _ = fit(kind, x, seen, 3, most=4)
        _, history = fit(kind, x, seen, 3, most=5)
        assert history[-1] == pytest.approx(penalised(state, x, seen), rel=1e-11)

    def test_ends_where_nothing_near_is_better(self, kind: str, missing: bool) -> None:
        """At its end a general optimiser finds no slope: wrong weights of missing cells or of the prior leave one."""
        x, seen = table(kind, missing, 60)
        state, _ = fit(kind, x, seen, 2, tolerance=1e-14, most=20_000)
        rest = (state.means, state.variances) if kind == "gaussian" else (state.probs,)

        def at(u: np.ndarray) -> float:
            w = np.exp(u[:2]) / np.exp(u[:2]).sum()
            parts = [p.reshape(2, -1) for p in np.split(u[2:], len(rest))]
            if kind == "gaussian":
                return -penalised(DiagonalGaussians(w, parts[0], np.exp(parts[1])), x, seen)
            return -penalised(Bernoullis(w, 1 / (1 + np.exp(-parts[0]))), x, seen)

        free = [state.means, np.log(state.variances)] if kind == "gaussian" else [np.log(rest[0] / (1 - rest[0]))]
        start = np.concatenate([np.log(state.weights), *(f.ravel() for f in free)])
        found = minimize(at, start, method="BFGS", options={"gtol": 1e-5})
        assert np.abs(found.jac).max() < 1e-4
        assert at(start) - found.fun < 1e-7
        # The objective is no plateau: it can fail.
        assert at(start + 0.1 * np.random.default_rng(0).normal(size=len(start))) - found.fun > 1e-4

    def test_one_component_is_the_closed_form(self, kind: str, missing: bool) -> None:
        x, seen = table(kind, missing)
        state, _ = fit(kind, x, seen, 1)
        mask = np.ones(x.shape, bool) if seen is None else seen
        columns = [x[mask[:, j], j] for j in range(x.shape[1])]
        np.testing.assert_allclose(state.weights, [1])
        if kind == "gaussian":
            np.testing.assert_allclose(state.means[0], [c.mean() for c in columns])
            np.testing.assert_allclose(state.variances[0], [c.var() for c in columns])
        else:
            base = smoothed_means(x, seen)
            ones = [(c.sum() + b) / (len(c) + 1) for c, b in zip(columns, base, strict=True)]
            np.testing.assert_allclose(state.probs[0], ones)

    def test_survives_a_column_that_nobody_filled_in(self, kind: str, missing: bool) -> None:
        """As a part of the rows may have one; nothing is known of it, so it gets the spread of a standardised one."""
        x, seen = table(kind, missing)
        seen = np.ones(x.shape, bool) if seen is None else seen.copy()
        seen[:, 1] = False
        for k in (1, 3):
            state, history = fit(kind, x, seen, k)
            assert np.isfinite(history).all()
            blank = state.variances[:, 1] if kind == "gaussian" else state.probs[:, 1] * 2
            np.testing.assert_allclose(blank, 1)


def test_planted_prototypes_are_found() -> None:
    rng = np.random.default_rng(5)
    x, probs = prototypes(rng, 3000, 16, 3)
    fitted, _ = fit_bernoullis(x[:2000], None, 3, rng)
    truth = Bernoullis(np.full(3, 1 / 3), probs)
    test = x[2000:]
    lost = log_density(truth, test) - log_density(fitted, test)
    # Half a nat a parameter and row of training, in expectation: 50 parameters, 2000 rows.
    assert abs(lost.mean()) < 5 * lost.std() / np.sqrt(len(test)) + 50 / 2000
    order = [int(np.argmin(np.abs(fitted.probs - p).sum(axis=1))) for p in probs]
    assert sorted(order) == [0, 1, 2]
    error = np.sqrt(probs * (1 - probs) / (2000 / 3))
    assert (np.abs(fitted.probs[order] - probs) < 6 * error).all()


def test_no_component_closes_in_on_repeated_values() -> None:
    rng = np.random.default_rng(8)
    x = np.stack([np.where(rng.random(300) < 0.5, 0.0, rng.normal(size=300)), rng.normal(size=300)], axis=1)
    floor = np.array([0.2, 0.01])
    for k in (1, 2, 6):
        m, history = fit_diagonal_gaussians(x, None, k, floor, np.random.default_rng(k), tolerance=1e-8)
        assert (m.variances >= floor**2 * (1 - 1e-12)).all()
        assert log_density(m, x).max() <= -np.sum(np.log(floor * np.sqrt(2 * np.pi)))
        if k == 6:
            assert m.variances[:, 0].min() == pytest.approx(0.04)
            assert_never_falls(history)


def test_seeds_find_clusters_and_bear_duplicates() -> None:
    rng = np.random.default_rng(9)
    labels = rng.integers(4, size=400)
    x = 50 * np.eye(4)[labels] + rng.normal(size=(400, 4))
    shares = seeded(x, 4, rng)
    np.testing.assert_array_equal(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(np.sort(shares.T @ np.eye(4)[labels], axis=1)[:, :3], 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "ROWS_TO_SEED", 100)
        of_some = seeded(x, 4, rng)
    np.testing.assert_array_equal(np.sort(of_some.T @ np.eye(4)[labels], axis=1)[:, :3], 0)
    np.testing.assert_array_equal(of_some.sum(axis=1), 1)
    same = seeded(np.ones((10, 2)), 3, rng)
    np.testing.assert_array_equal(same.sum(axis=1), 1)


def test_a_component_without_rows_keeps_a_finite_logarithm() -> None:
    weights = shares_to_weights(np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert weights.sum() == pytest.approx(1)
    assert -30 < np.log(weights[1]) < -20


@pytest.mark.parametrize("kind", ["gaussian", "bernoulli"])
def test_more_components_than_different_rows_is_no_failure(kind: str) -> None:
    x = np.repeat(every_state(2)[1:3], 10, axis=0)
    m, history = fit(kind, x, None, 5)
    assert np.isfinite(log_density(m, x)).all()
    assert np.isfinite(history).all()
