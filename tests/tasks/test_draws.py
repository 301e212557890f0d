"""Draws of missing cells against conditional Gaussians, and against quadrature over the latent of a mixed table."""

import equinox as eqx
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
    REAL,
    SPIKED,
    conditional,
    exact_pair,
    log_probs_on_grid,
    mixed_pair,
    on_grid,
    posterior_on_grid,
    rows,
    wide_inference,
)
from linear_gaussian import LinearGaussian
from scipy import stats

from tightbound.learn import NoInference, Pair
from tightbound.model import (
    MLP,
    Decoder,
    FullGaussian,
    FullGaussianHead,
    GenerativeModel,
    LowRankGaussian,
    LowRankGaussianHead,
    StandardGaussian,
)
from tightbound.tasks import conditional_draws
from tightbound.tasks.sampling import sizes


def gaussian_rows() -> tuple[LinearGaussian, np.ndarray, np.ndarray]:
    """A linear-Gaussian model, and rows with the first and last cells missing, the second alone seen, and none."""
    rng = np.random.default_rng(2)
    model = LinearGaussian.random(rng, 5, 2)
    x = model.sample(rng, 4)
    observed = np.ones(x.shape, bool)
    observed[0, [0, 4]] = observed[1] = observed[2] = False
    observed[1, 1] = True
    return model, np.where(observed, x, np.nan), observed


def test_any_of_the_draws_is_one_of_the_conditional() -> None:
    """The first draws alone, over copies of a row of which nothing is seen: as many as a completion takes."""
    rng = np.random.default_rng(3)
    model, n = LinearGaussian(rng.normal(size=(3, 2)), rng.normal(size=3), 0.05), 1500
    x, seen = np.zeros((n, 3)), np.zeros((n, 3), bool)
    many = conditional_draws(exact_pair(model), x, seen, n_draws=200, n_samples=1000, key=KEY)
    sd = np.sqrt(np.diag(model.covariance))
    for t in (0, 1, 199):
        # Copies share the row's 1,000 latents, whose error is beside that of the copies.
        error = np.sqrt(1 / n + 1 / 1000)
        assert np.all(np.abs(many.values[:, t].mean(0) - model.mu) < 4.5 * sd * error)
        np.testing.assert_allclose(many.values[:, t].std(0), sd, rtol=4.5 * error)


def test_a_program_for_more_latents_gives_the_same_draws() -> None:
    model, x, observed = gaussian_rows()
    few, of_more = (
        conditional_draws(exact_pair(model), x, observed, n_draws=5, n_samples=150, most_samples=most, key=KEY)
        for most in (None, 1000)
    )
    for name in ("values", "mean", "ess", "khat"):
        np.testing.assert_allclose(getattr(of_more, name), getattr(few, name), rtol=1e-9)


@pytest.mark.parametrize(("stretch", "defensive"), [(None, 0.0), (2.0, 0.3)])
def test_means_and_spreads_are_those_of_the_conditional_gaussian(stretch: float | None, defensive: float) -> None:
    """With the exact posterior, and with a q that is off and twice as wide."""
    model, x, observed = gaussian_rows()
    pair = exact_pair(model) if stretch is None else Pair(model.p(), model.q(stretch=stretch, shift=0.3))
    n, n_samples = 2000, 2000
    draws = conditional_draws(pair, x, observed, n_draws=n, n_samples=n_samples, defensive=defensive, key=KEY)
    assert draws.values.shape == (4, n, 5)
    np.testing.assert_array_equal(
        np.broadcast_to(x[:, None], draws.values.shape)[np.repeat(observed[:, None], n, 1)],
        draws.values[np.repeat(observed[:, None], n, 1)],
    )
    for i in range(3):
        m, mean, covariance = conditional(model, x[i], observed[i])
        sd, few = np.sqrt(np.diag(covariance)), 1 / np.sqrt(draws.ess[i]) + 1 / np.sqrt(n)
        assert np.all(np.abs(draws.mean[i, m] - mean) < 5 * sd / np.sqrt(draws.ess[i]))
        assert np.all(np.abs(draws.values[i][:, m].mean(0) - mean) < 5 * sd * few)
        np.testing.assert_allclose(draws.values[i][:, m].std(0), sd, rtol=4 * few)
        correlation = np.corrcoef(draws.values[i][:, m].T)
        assert np.all(np.abs(correlation - covariance / np.outer(sd, sd)) < 5 * few)
    assert not draws.impossible.any()
    if stretch is None:
        np.testing.assert_allclose(draws.ess, n_samples)
    else:
        assert np.all(draws.ess < 0.9 * n_samples)
        assert np.all(draws.khat < 0.7)


def test_an_exact_q_gives_the_exact_mean_of_one_cell_by_averaging_means_not_draws() -> None:
    """Rao-Blackwell: the error is that of W z alone, far below that of draws where the noise is large."""
    model = LinearGaussian(np.full((3, 1), 0.1), np.array([1.0, -2.0, 3.0]), 2.0)
    x, observed = np.array([[0.5, np.nan, 4.0]]), np.array([[True, False, True]])
    draws = conditional_draws(exact_pair(model), x, observed, n_draws=0, n_samples=1000, key=KEY)
    _, mean, _ = conditional(model, x[0], observed[0])
    assert draws.values.shape == (1, 0, 3)
    assert abs(draws.mean[0, 1] - mean[0]) < 5 * 0.1 / np.sqrt(1000)


def test_intervals_cover_as_they_say() -> None:
    rng = np.random.default_rng(3)
    model = LinearGaussian.random(rng, 4, 2)
    truth = model.sample(rng, 600)
    observed = rng.random(truth.shape) < 0.5
    rows = np.where(observed, truth, np.nan)
    draws = conditional_draws(exact_pair(model), rows, observed, n_samples=200, n_draws=200, key=KEY)
    low, high = np.quantile(draws.values, (0.05, 0.95), axis=1, method="inverted_cdf")
    inside = ((truth >= low) & (truth <= high))[~observed]
    assert abs(inside.mean() - 0.9) < 4 * np.sqrt(0.09 / inside.size) + 0.01  # 0.01: quantiles of 200 draws
    np.testing.assert_array_equal(low[observed], truth[observed])


def test_quantiles_are_those_of_the_conditional_gaussian() -> None:
    model, x, observed = gaussian_rows()
    levels = np.array([0.1, 0.5, 0.9])
    draws = conditional_draws(exact_pair(model), x, observed, n_draws=2000, n_samples=2000, key=KEY)
    found = np.quantile(draws.values, levels, axis=1).swapaxes(0, 1)
    m, mean, covariance = conditional(model, x[0], observed[0])
    marginal = stats.norm(mean, np.sqrt(np.diag(covariance)))
    exact = marginal.ppf(levels[:, None])
    error = np.sqrt(levels * (1 - levels) / 2000)[:, None] / marginal.pdf(exact)
    assert np.all(np.abs(found[0][:, m] - exact) < 6 * error)


def test_a_row_depends_on_itself_alone_and_equal_rows_get_different_draws() -> None:
    rng = np.random.default_rng(6)
    model = LinearGaussian.random(rng, 4, 2)
    pair, x = Pair(model.p(), model.q(stretch=1.5)), model.sample(rng, 40)
    observed = rng.random(x.shape) < 0.5
    observed[:2, 0] = False
    x[30], observed[30] = x[0], observed[0]
    every = conditional_draws(pair, x, observed, n_draws=3, n_samples=100, key=KEY)
    for chosen in ([7, 3], [0], list(range(40))[::-1]):
        some = conditional_draws(pair, x[chosen], observed[chosen], n_draws=3, n_samples=100, key=KEY)
        np.testing.assert_allclose(some.mean, every.mean[chosen], rtol=1e-12)
        kept = [i for i in range(len(chosen)) if chosen[i] not in (0, 30)]
        np.testing.assert_allclose(some.values[kept], every.values[np.array(chosen)[kept]], rtol=1e-9)
    np.testing.assert_array_equal(every.mean[30], every.mean[0])
    assert np.all(every.values[30][:, 0] != every.values[0][:, 0])
    other = np.where(observed, x, 99.0)
    again = conditional_draws(pair, other, observed, n_draws=3, n_samples=100, key=KEY)
    np.testing.assert_array_equal(again.values, every.values)


def test_a_mixed_table_agrees_with_quadrature() -> None:
    pair = mixed_pair()
    x = rows(pair.p, 2)
    observed = np.ones(x.shape, bool)
    observed[0, [REAL, COUNT, NOMINAL, BINARY]] = observed[1] = False
    n = 2000
    draws = conditional_draws(pair, x, observed, n_draws=n, n_samples=n, key=KEY)
    mean_on_grid = np.asarray(eqx.filter_jit(jax.vmap(lambda d: d.mean))(on_grid(pair.p)))
    for i in range(2):
        w, free = posterior_on_grid(pair.p, x[i], observed[i]), ~observed[i]
        mean = w @ mean_on_grid
        # Of the variable that is averaged, E[x_j | z].
        spread = np.sqrt(w @ (mean_on_grid - mean) ** 2)
        off = np.abs(draws.mean[i] - mean) * np.sqrt(draws.ess[i]) / spread
        assert np.all(off[free & (np.arange(7) != NOMINAL)] < 6)
        for k in range(3):
            share = w @ np.exp(log_probs_on_grid(pair.p, np.full(7, float(k))))
            error = np.sqrt(share * (1 - share)) * (1 / np.sqrt(n) + 1 / np.sqrt(draws.ess[i]))
            found = np.mean(draws.values[i] == k, axis=0)
            for j in {COUNT, NOMINAL, BINARY, ORDINAL} & set(np.flatnonzero(free)):
                assert abs(found[j] - share[j]) <= 5 * error[j]
            if i == 1 and k == 0:
                assert abs(found[SPIKED] - share[SPIKED]) <= 5 * error[SPIKED]
        probs = [w @ np.exp(log_probs_on_grid(pair.p, np.full(7, k + 0.0)))[:, NOMINAL] for k in range(3)]
        assert draws.mean[i, NOMINAL] == np.argmax(probs)


def test_correlated_cells_are_conditioned_in_closed_form() -> None:
    rng = np.random.default_rng(4)
    loc, factor, scale = rng.normal(size=5), rng.normal(size=(5, 2)), rng.uniform(0.5, 1.5, 5)
    covariance = factor @ factor.T + np.diag(scale**2)
    x, observed = rng.normal(size=5), np.array([True, False, True, False, False])
    o, m = np.flatnonzero(observed), np.flatnonzero(~observed)
    gain = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    mean, left = loc[m] + gain @ (x - loc)[o], covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)]
    low_rank = LowRankGaussian(*map(jnp.array, (loc, factor, scale))).given(jnp.array(x), jnp.array(observed))
    full = FullGaussian(jnp.array(loc), jnp.linalg.cholesky(covariance)).given(jnp.array(x), jnp.array(observed))
    for d, sigma in (
        (low_rank, low_rank.factor @ low_rank.factor.T + jnp.diag(low_rank.scale**2)),
        (full, full.scale_tril @ full.scale_tril.T),
    ):
        np.testing.assert_allclose(d.mean[m], mean, rtol=1e-9)
        np.testing.assert_allclose(np.asarray(sigma)[np.ix_(m, m)], left, rtol=1e-9)


@pytest.mark.parametrize("covariance", ["low_rank", "full"])
def test_draws_of_correlated_cells_keep_their_covariance_given_the_observed(covariance: str) -> None:
    """A decoder that ignores z: x is one Gaussian, whose conditional is known."""
    floor = jnp.full(3, 0.3)
    head = LowRankGaussianHead(floor, 2) if covariance == "low_rank" else FullGaussianHead(floor)
    network = MLP(1, head.n_inputs, (), dtype="float64", key=KEY)
    bias = jnp.array(np.random.default_rng(5).normal(size=head.n_inputs))
    layer = network.layers[0]
    network = eqx.tree_at(lambda m: (m.layers[0].weight, m.layers[0].bias), network, (0 * layer.weight, bias))
    p = GenerativeModel(StandardGaussian(1, "float64"), Decoder(network, head, 1))
    d = p.decoder(jnp.zeros(1))
    sigma = np.asarray(
        d.factor @ d.factor.T + jnp.diag(d.scale**2) if covariance == "low_rank" else d.scale_tril @ d.scale_tril.T
    )
    mu = np.asarray(d.loc)
    x, observed = np.array([[np.nan, mu[1] + 1.0, np.nan]]), np.array([[False, True, False]])
    n = 4000
    draws = conditional_draws(Pair(p, wide_inference(3)), x, observed, n_draws=n, n_samples=1000, key=KEY)
    gain = sigma[[0, 2], 1] / sigma[1, 1]
    left = sigma[np.ix_([0, 2], [0, 2])] - np.outer(gain, sigma[[0, 2], 1])
    sd = np.sqrt(np.diag(left))
    found = draws.values[0][:, [0, 2]]
    np.testing.assert_allclose(draws.mean[0, [0, 2]], mu[[0, 2]] + gain, rtol=1e-9)
    assert np.all(np.abs(found.mean(0) - mu[[0, 2]] - gain) < 5 * sd / np.sqrt(n))
    np.testing.assert_allclose(found.std(0), sd, rtol=5 / np.sqrt(2 * n))
    r = left[0, 1] / sd.prod()
    assert abs(np.corrcoef(found.T)[0, 1] - r) < 5 * (1 - r**2) / np.sqrt(n)


def test_bad_input_is_refused_in_a_sentence() -> None:
    pair = mixed_pair()
    x = rows(pair.p, 2)
    seen = np.ones(x.shape, bool)
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1; got 0"):
        conditional_draws(pair, x, seen, n_draws=1, n_samples=0, key=KEY)
    with pytest.raises(ValueError, match="n_draws must be a whole number of at least 0; got -1"):
        conditional_draws(pair, x, seen, n_draws=-1, key=KEY)
    with pytest.raises(ValueError, match="one column for each of the model's 7"):
        conditional_draws(pair, x[:, :3], seen[:, :3], n_draws=1, key=KEY)
    with pytest.raises(ValueError, match="defensive must be a share"):
        conditional_draws(pair, x, seen, n_draws=1, defensive=1.0, key=KEY)
    with pytest.raises(TypeError, match="must have latents"):
        conditional_draws(Pair(StandardGaussian(7), NoInference()), x, seen, n_draws=1, key=KEY)


def test_no_rows_give_no_draws_and_memory_is_bounded() -> None:
    x = np.zeros((0, 7))
    draws = conditional_draws(mixed_pair(), x, x > 0, n_draws=2, key=KEY)
    assert draws.values.shape == (0, 2, 7)
    for n_samples in (1, 10, 1000, 1999, 2000, 10**6):
        rows_at_once, at_once = sizes(n_samples)
        assert rows_at_once * at_once <= 2000
        assert 1 <= at_once <= n_samples
