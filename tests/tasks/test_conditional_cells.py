"""Cells given the rest of their row, levels and cdfs of a column: against closed forms and quadrature."""

import numpy as np
import pytest
from known_tables import (
    BINARY,
    COUNT,
    KEY,
    NOMINAL,
    REAL,
    SPIKED,
    cdfs_on_grid,
    conditional,
    exact_pair,
    log_probs_on_grid,
    mixed_pair,
    posterior_on_grid,
)
from linear_gaussian import LinearGaussian
from scipy import stats

from tightbound.tasks import (
    conditional_cells,
    level_probabilities,
)

X = np.array([[0.3, 2.0, 1.0, 1.0, 2.0, 0.0, -0.8], [2.5, 0.0, 2.0, 0.0, 0.0, 1.3, np.nan]])
SEEN = ~np.isnan(X)


def test_cells_of_a_mixed_table_agree_with_quadrature() -> None:
    pair, n = mixed_pair(), 500
    found = conditional_cells(pair, X, SEEN, n_samples=n, key=KEY)
    assert np.all(np.isnan(found.log_prob[~SEEN])) and np.all(np.isnan(found.neg_log_p_value[~SEEN]))
    for i, x in enumerate(X):
        row = np.where(SEEN[i], x, 0.0)
        here, up_to, under = (
            np.exp(log_probs_on_grid(pair.p, row)),
            cdfs_on_grid(pair.p, row),
            # Just below: the whole number before, or nothing below the spike at 0.
            cdfs_on_grid(pair.p, row - np.array([0, 1, 1, 1, 1, 1 if row[SPIKED] == 0 else 0, 0])),
        )
        for j in np.flatnonzero(SEEN[i]):
            w = posterior_on_grid(pair.p, x, SEEN[i] & (np.arange(7) != j))
            p = w @ here[:, j]
            # q is far wider than the posterior: a fifth of the draws count.
            spread = np.sqrt(w @ (here[:, j] - p) ** 2) / p
            assert abs(found.log_prob[i, j] - np.log(p)) < 6 * spread / np.sqrt(n / 5)
            if j in (NOMINAL, BINARY):
                levels = [w @ np.exp(log_probs_on_grid(pair.p, np.full(7, float(k))))[:, j] for k in range(3)]
                tail = sum(level for level in levels if level <= p * (1 + 1e-9))
                error = 6 * spread * p / np.sqrt(n / 5)
            else:
                tail = min(2 * min(w @ up_to[:, j], 1 - w @ under[:, j]), 1)
                error = 12 * np.sqrt(max(w @ up_to[:, j] ** 2 - (w @ up_to[:, j]) ** 2, 1e-12) / (n / 5))
            assert abs(np.exp(-found.neg_log_p_value[i, j]) - tail) < error


def test_cells_of_a_gaussian_are_those_of_its_conditionals_and_a_planted_one_stands_out() -> None:
    rng = np.random.default_rng(8)
    model, n = LinearGaussian.random(rng, 5, 2), 1000
    x = model.sample(rng, 6)
    observed = rng.random(x.shape) < 0.8
    observed[:, 3] = True
    x[0, 3] += 12.0
    options = {"n_samples": n, "key": KEY}
    found = conditional_cells(exact_pair(model), x, observed, **options)
    log_p, negative = found.log_prob, found.neg_log_p_value
    assert np.nanargmax(negative[0]) == 3
    for i in range(1, 6):
        for j in np.flatnonzero(observed[i]):
            rest = observed[i] & (np.arange(5) != j)
            missing, means, covariance = conditional(model, x[i], rest)
            k = list(missing).index(j)
            mean, variance = means[k], covariance[k, k]
            # E p and E p^2 of p = N(x; w'z, s^2) with w'z ~ N(mean, variance - s^2).
            p = stats.norm(mean, np.sqrt(variance)).pdf(x[i, j])
            second = stats.norm(mean, np.sqrt(variance - model.s**2 / 2)).pdf(x[i, j]) / (2 * model.s * np.sqrt(np.pi))
            error = np.sqrt(second / p**2 - 1) / np.sqrt(n)
            assert abs(log_p[i, j] - np.log(p)) < 6 * error
            tail = 2 * stats.norm.sf(abs(x[i, j] - mean) / np.sqrt(variance))
            assert abs(np.exp(-negative[i, j]) - tail) < 12 * 0.5 / np.sqrt(n)


def test_levels_agree_with_quadrature_and_do_not_see_their_own_column() -> None:
    pair, n = mixed_pair(), 1500
    for column, n_levels in ((NOMINAL, 3), (COUNT, 3)):
        found = level_probabilities(pair, X, SEEN, column, n_levels, n_samples=n, key=KEY)
        assert found.shape == (2, n_levels)
        if column != COUNT:
            np.testing.assert_allclose(found.sum(1), 1, rtol=1e-9)
        for i in range(2):
            w = posterior_on_grid(pair.p, X[i], SEEN[i] & (np.arange(7) != column))
            for k in range(n_levels):
                p = np.exp(log_probs_on_grid(pair.p, np.full(7, float(k))))[:, column]
                spread = np.sqrt(w @ (p - w @ p) ** 2)
                assert abs(found[i, k] - w @ p) < 6 * spread / np.sqrt(n / 5)
    changed = np.where(np.arange(7) == NOMINAL, 55.0, X)
    found, again = (level_probabilities(pair, rows, SEEN, NOMINAL, 3, n_samples=n, key=KEY) for rows in (X, changed))
    np.testing.assert_array_equal(again, found)


def test_a_column_outside_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="column must be from 0 to 6; got 7"):
        level_probabilities(mixed_pair(), X, SEEN, 7, 2, key=KEY)
    with pytest.raises(ValueError, match="n_levels must be a whole number of at least 1; got 0"):
        level_probabilities(mixed_pair(), X, SEEN, REAL, 0, key=KEY)
