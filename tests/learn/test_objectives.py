"""Objectives: identities between them, closed forms of linear-Gaussian models, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from linear_gaussian import LinearGaussian
from scipy import stats

from tightbound.learn import ELBO, ImportanceWeighted, Pathwise, Problem, draw
from tightbound.model import Bernoulli, DiagonalGaussian, FullGaussian, LowRankGaussian, StandardGaussian, kl_divergence

MODEL = LinearGaussian.random(np.random.default_rng(11), 4, 2)
X = MODEL.sample(np.random.default_rng(12), 1)[0]
LOG_P = float(MODEL.log_p(X)[0])

POSTERIORS = {
    name: q(MODEL.p(), jnp.array(X), key=jax.random.key(0))
    for name, q in {
        "exact": MODEL.q(),
        "off": MODEL.q(stretch=1.4, shift=0.3),
        "diagonal": MODEL.q(diagonal=True),
    }.items()
}
OBJECTIVES = {
    "elbo": ELBO(3),
    "sampled elbo": ELBO(3, closed_form_kl=False),
    "importance weighted": ImportanceWeighted(3),
}


N_KEYS = 8_000


@eqx.filter_jit
def _estimates(objective, p, q, weight, keys):
    problem = Problem(objective, p, q, jnp.array(X), None, weight)
    return jax.vmap(lambda k: Pathwise().estimate(problem, None, key=k)._replace(draws=None))(keys)


def estimates(objective, posterior: str = "off", weight: float = 1.0, seed: int = 0):
    """(surrogates, bounds, objectives) of `N_KEYS` keys."""
    keys = jax.random.split(jax.random.key(seed), N_KEYS)
    estimate = _estimates(objective, MODEL.p(), POSTERIORS[posterior], jnp.asarray(weight, "float64"), keys)
    return np.asarray(estimate.surrogate), np.asarray(estimate.bound), np.asarray(estimate.objective)


jit_draw = eqx.filter_jit(draw)


def exact_elbo(posterior: str) -> float:
    """log p(x) - KL(q || posterior), by SciPy's log-determinants."""
    q = POSTERIORS[posterior]
    loc, tril = np.asarray(q.loc), np.diag(q.scale) if posterior == "diagonal" else np.asarray(q.scale_tril)
    truth = np.linalg.inv(MODEL.M) * MODEL.s**2
    delta = loc - np.linalg.solve(MODEL.M, MODEL.W.T @ (X - MODEL.mu))
    kl = 0.5 * (
        np.trace(np.linalg.solve(truth, tril @ tril.T))
        + delta @ np.linalg.solve(truth, delta)
        - len(delta)
        + np.linalg.slogdet(truth)[1]
        - np.linalg.slogdet(tril @ tril.T)[1]
    )
    return LOG_P - float(kl)


def distance(values: np.ndarray, exact: float) -> float:
    """In standard errors of the mean."""
    return abs(values.mean() - exact) / (values.std(ddof=1) / len(values) ** 0.5 + 1e-12)


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("name", ["elbo", "sampled elbo"])
def test_elbo_has_its_closed_form_as_expectation(name: str, posterior: str) -> None:
    _, bounds, _ = estimates(OBJECTIVES[name], posterior)
    exact = exact_elbo(posterior)
    assert distance(bounds, exact) < 5
    if posterior == "off":
        assert LOG_P - exact > 0.1  # the test could not tell the ELBO from log p(x) otherwise


def test_elbo_with_closed_kl_equals_the_mean_log_weight() -> None:
    _, closed, _ = estimates(OBJECTIVES["elbo"], seed=1)
    _, sampled, _ = estimates(OBJECTIVES["sampled elbo"], seed=2)
    error = np.hypot(closed.std(), sampled.std()) / len(closed) ** 0.5
    assert abs(closed.mean() - sampled.mean()) < 5 * error
    assert 0 < error < 0.05


def test_elbo_is_reconstruction_minus_kl() -> None:
    p, q = MODEL.p(), POSTERIORS["off"]
    draws = jit_draw(p, q, jnp.array(X), None, n_samples=6, with_kl=True, key=jax.random.key(0))
    reconstruction = float(jnp.mean(draws.weight.log_likelihood))
    kl = float(kl_divergence(q, p.prior))
    assert float(ELBO(6).value(draws)) == pytest.approx(reconstruction - kl, abs=1e-12)
    assert float(ELBO(6).value(draws, 0.25)) == pytest.approx(reconstruction - 0.25 * kl, abs=1e-12)
    assert kl > 0.1


def test_draws_are_the_densities_of_their_own_samples() -> None:
    """Drawn again with the same keys: each part belongs to the same z, and there are as many as asked for."""
    p, q, key = MODEL.p(), POSTERIORS["off"], jax.random.key(3)
    draws = jit_draw(p, q, jnp.array(X), None, n_samples=5, key=key)
    assert draws.kl is None
    z = np.stack([q.sample(key=k) for k in jax.random.split(key, 5)])
    loglik = [stats.multivariate_normal(MODEL.W @ row + MODEL.mu, MODEL.s**2 * np.eye(4)).logpdf(X) for row in z]
    covariance = np.asarray(q.scale_tril @ q.scale_tril.T)
    np.testing.assert_allclose(draws.weight.log_likelihood, loglik, rtol=1e-10)
    np.testing.assert_allclose(draws.weight.log_prior, stats.norm.logpdf(z).sum(axis=1), rtol=1e-10)
    np.testing.assert_allclose(draws.weight.log_q, stats.multivariate_normal(q.loc, covariance).logpdf(z), rtol=1e-10)
    np.testing.assert_allclose(
        draws.weight.total, draws.weight.log_likelihood + draws.weight.log_prior - draws.weight.log_q, rtol=1e-12
    )


def test_missing_cells_do_not_enter_the_draws() -> None:
    p, q = MODEL.p(), POSTERIORS["off"]
    observed = jnp.array([True, False, True, False])
    x = jnp.where(observed, jnp.array(X), jnp.nan)
    draws = draw(p, q, x, observed, n_samples=4, key=jax.random.key(0))
    z = np.stack([q.sample(key=k) for k in jax.random.split(jax.random.key(0), 4)])
    seen = [0, 2]
    expected = stats.norm.logpdf(X[seen], (z @ MODEL.W.T + MODEL.mu)[:, seen], MODEL.s).sum(axis=1)
    np.testing.assert_allclose(draws.weight.log_likelihood, expected, rtol=1e-10)


def test_importance_weighted_bound_of_one_sample_is_the_sampled_elbo() -> None:
    _, weighted, _ = estimates(ImportanceWeighted(1))
    _, elbo, _ = estimates(ELBO(1, closed_form_kl=False))
    np.testing.assert_allclose(weighted, elbo, rtol=1e-13)


def test_importance_weighted_bound_is_the_log_of_the_mean_weight() -> None:
    p, q = MODEL.p(), POSTERIORS["off"]
    draws = jit_draw(p, q, jnp.array(X), None, n_samples=7, key=jax.random.key(5))
    weights = np.exp(np.asarray(draws.weight.total))
    assert float(ImportanceWeighted(7).value(draws)) == pytest.approx(np.log(weights.mean()), abs=1e-12)


def test_importance_weighted_bound_rises_with_samples_to_the_evidence() -> None:
    bounds = [estimates(ImportanceWeighted(k), seed=k)[1] for k in (1, 3, 100)]
    means = np.array([b.mean() for b in bounds])
    errors = np.array([b.std() / len(b) ** 0.5 for b in bounds])
    steps = np.diff(means) / np.hypot(errors[1:], errors[:-1])
    assert np.all(steps > 5)
    assert np.all(means < LOG_P + 5 * errors)
    assert LOG_P - means[-1] < 0.1 * (LOG_P - means[0]) + 5 * errors[-1]


@pytest.mark.parametrize("name", ["sampled elbo", "importance weighted"])
def test_every_bound_is_exact_at_the_exact_posterior(name: str) -> None:
    """Every weight equals p(x), so that no key matters: nothing is dropped from any density."""
    surrogates, bounds, _ = estimates(OBJECTIVES[name], "exact")
    np.testing.assert_allclose(bounds, LOG_P, rtol=0, atol=1e-9)
    np.testing.assert_allclose(surrogates, LOG_P, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_surrogate_and_objective_feel_the_kl_weight_and_the_bound_does_not(name: str) -> None:
    full_surrogate, full_bound, full_objective = estimates(OBJECTIVES[name])
    half_surrogate, half_bound, half_objective = estimates(OBJECTIVES[name], weight=0.5)
    np.testing.assert_array_equal(full_surrogate, full_bound)
    np.testing.assert_array_equal(half_bound, full_bound)
    assert np.all(half_surrogate != full_surrogate)
    np.testing.assert_array_equal(full_objective, full_bound)
    np.testing.assert_array_equal(half_objective, half_surrogate)


def test_more_samples_mean_less_variance() -> None:
    """The variance of a mean of twelve draws is a quarter of that of three: all that are asked for are drawn."""
    three, twelve = (estimates(ELBO(k), seed=k)[1].var() for k in (3, 12))
    assert 3.5 < three / twelve < 4.6


@pytest.mark.parametrize("kind", [ELBO, ImportanceWeighted])
@pytest.mark.parametrize("n", [0, -3])
def test_a_sample_count_without_sense_is_refused(kind, n: object) -> None:
    """Another type is caught earlier, by the checked annotations of the tests."""
    with pytest.raises((ValueError, TypeCheckError), match="n_samples"):
        kind(n)


@pytest.mark.parametrize(("kind", "usual"), [(ELBO, 1), (ImportanceWeighted, 50)])
def test_a_sample_count_below_one_is_refused_in_words(kind, usual: int) -> None:
    with pytest.raises(ValueError, match=f"n_samples must be a whole number of at least 1; got 0; {usual} is usual"):
        kind(0)


def test_a_closed_kl_that_does_not_exist_is_refused_by_name() -> None:
    prior = StandardGaussian(2)
    for q in (LowRankGaussian(jnp.zeros(2), jnp.ones((2, 1)), jnp.ones(2)), Bernoulli(jnp.zeros(2))):
        name = type(q).__name__
        with pytest.raises(ValueError, match=rf"KL\({name} \|\| StandardGaussian\).*closed_form_kl=False"):
            ELBO(closed_form_kl=True).wants_kl(q, prior)
        assert not ELBO().wants_kl(q, prior)
        assert not ELBO(closed_form_kl=False).wants_kl(q, prior)
        assert not ImportanceWeighted().wants_kl(q, prior)


def test_the_kl_is_exact_where_it_can_be_unless_it_is_switched_off() -> None:
    prior = StandardGaussian(2)
    for q in (DiagonalGaussian(jnp.zeros(2), jnp.ones(2)), FullGaussian(jnp.zeros(2), jnp.eye(2))):
        assert ELBO().wants_kl(q, prior)
        assert ELBO(closed_form_kl=True).wants_kl(q, prior)
        assert not ELBO(closed_form_kl=False).wants_kl(q, prior)
        assert not ImportanceWeighted().wants_kl(q, prior)
