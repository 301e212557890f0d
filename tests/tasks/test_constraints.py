"""Constraints against brute force: truncated distributions, sums over codes, and boxes of a correlated Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known_tables import (
    BINARY,
    COUNT,
    KEY,
    NOMINAL,
    ORDINAL,
    OTHER,
    REAL,
    SPIKED,
    cdfs_on_grid,
    exact_pair,
    log_probs_on_grid,
    mixed_pair,
    posterior_on_grid,
    rows,
)
from linear_gaussian import LinearGaussian
from scipy import stats

from tightbound.model import FullGaussian, LowRankGaussian
from tightbound.tasks import Interval, OneOf, conditional_draws
from tightbound.tasks.constraints import before, least, region_of

SETS = {
    REAL: Interval(0.5, 2.0),
    COUNT: Interval(2, np.inf),
    NOMINAL: OneOf((2, 0)),
    ORDINAL: Interval(1, 2),
    SPIKED: Interval(-np.inf, 0.7),
}


def test_a_mixed_table_within_sets_agrees_with_quadrature() -> None:
    pair = mixed_pair()
    x = rows(pair.p, 3)
    observed = np.zeros(x.shape, bool)
    observed[0, BINARY] = True
    n = 2000
    draws = conditional_draws(pair, x[:1], observed[:1], n_draws=n, n_samples=n, constraints=SETS, key=KEY)
    values = draws.values[0]
    assert np.all((values[:, REAL] >= 0.5) & (values[:, REAL] <= 2.0))
    assert np.all((values[:, COUNT] >= 2) & (values[:, COUNT] % 1 == 0))
    assert set(values[:, NOMINAL]) == {0.0, 2.0}
    assert set(values[:, ORDINAL]) == {1.0, 2.0}
    assert np.all((values[:, SPIKED] >= 0) & (values[:, SPIKED] <= 0.7))
    assert 0 < np.mean(values[:, SPIKED] == 0) < 1

    def cdf(value: float) -> np.ndarray:
        return cdfs_on_grid(pair.p, np.full(7, value))

    def p_of(code: float) -> np.ndarray:
        return np.exp(log_probs_on_grid(pair.p, np.full(7, code)))

    inside = np.stack(
        [
            cdf(2.0)[:, REAL] - cdf(0.5)[:, REAL],
            1 - p_of(0.0)[:, COUNT] - p_of(1.0)[:, COUNT],
            p_of(0.0)[:, NOMINAL] + p_of(2.0)[:, NOMINAL],
            p_of(1.0)[:, ORDINAL] + p_of(2.0)[:, ORDINAL],
            cdf(0.7)[:, SPIKED],
        ]
    )
    inside = np.maximum(inside, 1e-300)  # far out on the grid, where the latent has no weight
    w = posterior_on_grid(pair.p, x[0], observed[0], np.log(inside).sum(0))
    shares = {
        (REAL, "<= 1"): (w @ ((cdf(1.0) - cdf(0.5))[:, REAL] / inside[0]), values[:, REAL] <= 1),
        (COUNT, "2"): (w @ (p_of(2.0)[:, COUNT] / inside[1]), values[:, COUNT] == 2),
        (NOMINAL, "2"): (w @ (p_of(2.0)[:, NOMINAL] / inside[2]), values[:, NOMINAL] == 2),
        (ORDINAL, "1"): (w @ (p_of(1.0)[:, ORDINAL] / inside[3]), values[:, ORDINAL] == 1),
        (SPIKED, "0"): (w @ (p_of(0.0)[:, SPIKED] / inside[4]), values[:, SPIKED] == 0),
        (OTHER, "<= 0"): (w @ cdf(0.0)[:, OTHER], values[:, OTHER] <= 0),
    }
    for name, (share, hits) in shares.items():
        assert 0.02 < share < 0.98, name
        error = np.sqrt(share * (1 - share)) * (1 / np.sqrt(n) + 1 / np.sqrt(draws.ess[0]))
        assert abs(np.mean(hits) - share) < 5 * error, name
    assert draws.mean[0, REAL] == pytest.approx(values[:, REAL].mean())
    assert draws.mean[0, NOMINAL] in (0, 2)


def test_sets_of_a_gaussian_shift_the_others_as_in_closed_form() -> None:
    """E[x_2 | x_1 > a] of a bivariate normal: the mean of a truncated one, carried over by the correlation."""
    model = LinearGaussian(np.array([[1.0], [2.0]]), np.array([0.5, -1.0]), 0.7)
    nothing = np.zeros((1, 2))
    n = 2000
    draws = conditional_draws(
        exact_pair(model), nothing, nothing > 0, n_draws=n, n_samples=n, constraints={0: Interval(low=1.5)}, key=KEY
    )
    C = model.covariance
    sd = np.sqrt(C[0, 0])
    excess = stats.truncnorm((1.5 - 0.5) / sd, np.inf).mean() * sd
    expected = np.array([0.5 + excess, -1.0 + C[1, 0] / C[0, 0] * excess])
    error = np.sqrt(np.diag(C)) * (1 / np.sqrt(n) + 1 / np.sqrt(draws.ess[0]))
    assert np.all(np.abs(draws.values[0].mean(0) - expected) < 5 * error)
    assert np.all(np.abs(draws.mean[0] - expected) < 5 * error)
    assert draws.values[0][:, 0].min() >= 1.5


@pytest.mark.parametrize("kind", ["full", "low_rank"])
def test_boxes_of_correlated_cells_have_the_probability_of_brute_force(kind: str) -> None:
    rng = np.random.default_rng(1)
    loc, factor, scale = rng.normal(size=4), rng.normal(size=(4, 2)), rng.uniform(0.5, 1.5, 4)
    covariance = factor @ factor.T + np.diag(scale**2)
    low_rank = LowRankGaussian(*map(jnp.array, (loc, factor, scale)))
    d = low_rank if kind == "low_rank" else FullGaussian(jnp.array(loc), jnp.linalg.cholesky(covariance))
    region = region_of({1: Interval(loc[1], np.inf), 3: Interval(loc[3] - 1, loc[3] + 0.5)}, 4, np.float64)
    nothing = jnp.zeros(4, bool)
    draw = jax.jit(jax.vmap(lambda key: region.weighed(d, jnp.zeros(4), nothing, key=key)))
    log_w, x = map(np.asarray, draw(jax.random.split(KEY, 20_000)))
    w = np.exp(log_w)
    brute = rng.multivariate_normal(loc, covariance, 200_000)
    brute = brute[(brute[:, 1] > loc[1]) & (brute[:, 3] > loc[3] - 1) & (brute[:, 3] < loc[3] + 0.5)]
    share = len(brute) / 200_000
    assert abs(w.mean() - share) < 5 * (w.std() / np.sqrt(20_000) + np.sqrt(share / 200_000))
    ess = w.sum() ** 2 / (w**2).sum()
    mean = w @ x / w.sum()
    assert np.all(np.abs(mean - brute.mean(0)) < 5 * brute.std(0) * (1 / np.sqrt(ess) + 1 / np.sqrt(len(brute))))
    assert np.all((x[:, 1] >= loc[1]) & (x[:, 3] <= loc[3] + 0.5))


def test_what_nothing_satisfies_is_told() -> None:
    model = LinearGaussian(np.array([[1.0], [2.0]]), np.array([0.5, -1.0]), 0.7)
    pair, x = exact_pair(model), np.array([[0.5, np.nan], [9.0, np.nan]])
    options = {"n_draws": 2, "n_samples": 50, "key": KEY}
    seen = ~np.isnan(x)
    draws = conditional_draws(pair, x, seen, constraints={0: Interval(0, 1)}, **options)
    np.testing.assert_array_equal(draws.impossible, [False, True])
    assert np.all(np.isnan(draws.values[1, :, 1])) and np.isnan(draws.mean[1, 1])
    assert np.all(draws.values[1, :, 0] == 9)
    assert np.all(np.isfinite(draws.values[0]))
    assert draws.ess[1] == 0
    with pytest.raises(ValueError, match=r"none of 2 row\(s\) has a latent, of 50 tried"):
        conditional_draws(pair, x, seen, constraints={1: Interval(1e9, 2e9)}, **options)
    with pytest.raises(ValueError, match=r"none of 2 row\(s\)"):
        conditional_draws(pair, x, seen, constraints={0: OneOf([3.0])}, **options)
    with pytest.raises(ValueError, match="on a column from 0 to 1; got column 7"):
        conditional_draws(pair, x, seen, constraints={7: Interval()}, **options)
    with pytest.raises(ValueError, match="low end that is at most its high end"):
        Interval(2, 1)
    with pytest.raises(ValueError, match="one finite value or more"):
        OneOf([])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_halving_the_list_of_floats_finds_the_least_to_its_last_bit(dtype: str) -> None:
    find = jax.jit(lambda t: least(lambda x: x >= t, t.dtype))
    for value in (-3e20, -1.7, -1e-30, 0.0, 2.5e-7, 1.0, 77.25, 1e30):
        target = np.asarray(value, dtype)
        found = find(jnp.asarray(target))
        assert found.dtype == target.dtype
        assert np.asarray(found) == target
        assert before(target[None])[0] < target


def test_the_number_before_keeps_an_atom_in_the_interval_and_passes_over_subnormals() -> None:
    x = np.array([0.0, 1.0, -np.inf, 3.0], np.float32)
    below = before(x)
    assert below.dtype == np.float32
    assert below[0] == -np.finfo(np.float32).tiny
    assert below[1] == np.nextafter(np.float32(1), np.float32(0))
    assert below[2] == -np.inf
