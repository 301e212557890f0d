"""Every distribution against scipy, and against its own draws: one row in CASES inherits every check."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tightbound.model import (
    AbstractDistribution,
    Bernoulli,
    DiagonalGaussian,
    FullGaussian,
    LowRankGaussian,
    StandardGaussian,
    has_closed_form_kl,
    kl_divergence,
    kl_per_dimension,
)

DIM = 4
RNG = np.random.default_rng(0)
LOC = np.array([0.3, -1.0, 2.0, 0.1])
SCALE = np.array([0.5, 1.5, 0.1, 2.0])
FACTOR = RNG.normal(size=(DIM, 2))
TRIL = np.linalg.cholesky(FACTOR @ FACTOR.T + np.diag([0.2, 0.9, 0.4, 1.7]))
LOGITS = np.array([-3.0, 0.2, 1.0, 40.0])


@dataclass(frozen=True)
class Case:
    """A distribution and a second opinion on the log density of some of its cells."""

    name: str
    distribution: AbstractDistribution
    reference: Callable[[np.ndarray, np.ndarray], float]
    binary: bool = False


def gaussian(loc: np.ndarray, covariance: np.ndarray) -> Callable[[np.ndarray, np.ndarray], float]:
    def log_density(x: np.ndarray, observed: np.ndarray) -> float:
        if not observed.any():
            return 0.0
        part = covariance[np.ix_(observed, observed)]
        return float(stats.multivariate_normal(loc[observed], part).logpdf(x[observed]))

    return log_density


def bernoulli(x: np.ndarray, observed: np.ndarray) -> float:
    p = 1 / (1 + np.exp(-LOGITS))
    return float(stats.bernoulli(p).logpmf(x)[observed].sum())


CASES = [
    Case("standard", StandardGaussian(DIM), gaussian(np.zeros(DIM), np.eye(DIM))),
    Case("diagonal", DiagonalGaussian(jnp.array(LOC), jnp.array(SCALE)), gaussian(LOC, np.diag(SCALE**2))),
    Case("full", FullGaussian(jnp.array(LOC), jnp.array(TRIL)), gaussian(LOC, TRIL @ TRIL.T)),
    Case(
        "low rank",
        LowRankGaussian(jnp.array(LOC), jnp.array(FACTOR), jnp.array(SCALE)),
        gaussian(LOC, FACTOR @ FACTOR.T + np.diag(SCALE**2)),
    ),
    Case("bernoulli", Bernoulli(jnp.array(LOGITS)), bernoulli, binary=True),
]
MASKS = [np.array([bool(i >> j & 1) for j in range(DIM)]) for i in range(2**DIM)]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def datum(case: Case) -> np.ndarray:
    return np.array([0.0, 1.0, 1.0, 1.0]) if case.binary else np.array([0.7, -0.4, 1.9, -2.2])


def draws(case: Case, n: int = 40_000) -> np.ndarray:
    keys = jax.random.split(jax.random.key(7), n)
    return np.asarray(jax.vmap(lambda k: case.distribution.sample(key=k))(keys))


@each_case
def test_log_prob_agrees_with_scipy(case: Case) -> None:
    x = datum(case)
    everything = np.ones(DIM, bool)
    assert float(case.distribution.log_prob(jnp.array(x))) == pytest.approx(case.reference(x, everything), rel=1e-12)


@each_case
def test_every_mask_gives_the_marginal(case: Case) -> None:
    x = datum(case)
    for observed in MASKS:
        unseen = np.where(observed, x, np.nan)  # what stands in a missing cell must not matter
        found = float(case.distribution.log_prob(jnp.array(unseen), jnp.array(observed)))
        assert found == pytest.approx(case.reference(x, observed), rel=1e-10, abs=1e-12), observed


@pytest.mark.parametrize("case", CASES[1:], ids=lambda c: c.name)
def test_given_some_cells_the_others_have_the_density_that_is_left(case: Case) -> None:
    """log p(x_missing | x_observed) = log p(x) - log p(x_observed), for every mask."""
    x = datum(case)
    everything = case.reference(x, np.ones(DIM, bool))
    given = jax.jit(lambda x, observed: case.distribution.given(x, observed).log_prob(x, ~observed))
    for observed in MASKS:
        expected = everything - case.reference(x, observed)
        assert float(given(jnp.array(x), jnp.array(observed))) == pytest.approx(expected, rel=1e-8, abs=1e-8), observed


@each_case
def test_gradient_ignores_missing_cells(case: Case) -> None:
    observed = jnp.array([True, False, True, False])
    x = jnp.where(observed, jnp.array(datum(case)), jnp.nan)
    gradient = jax.grad(lambda d: d.log_prob(x, observed))(case.distribution)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))


@each_case
def test_draws_have_the_stated_mean_and_variance(case: Case) -> None:
    x = draws(case)
    error = x.std(axis=0) / np.sqrt(len(x)) + 1e-9
    assert np.all(np.abs(x.mean(axis=0) - case.distribution.mean) < 5 * error)
    squared = (x - np.asarray(case.distribution.mean)) ** 2
    error = squared.std(axis=0) / np.sqrt(len(x)) + 1e-9
    assert np.all(np.abs(squared.mean(axis=0) - case.distribution.variance) < 5 * error)


@each_case
def test_draws_follow_the_density(case: Case) -> None:
    """E[log p] over draws is minus the entropy of the reference, and cell correlations match (five standard errors)."""
    x = draws(case, 4000)
    found = np.asarray(jax.vmap(case.distribution.log_prob)(jnp.array(x)))
    reference = np.array([case.reference(row, np.ones(DIM, bool)) for row in x[:500]])
    np.testing.assert_allclose(found[:500], reference, rtol=1e-9)
    if case.name in ("full", "low rank"):
        covariance = TRIL @ TRIL.T if case.name == "full" else FACTOR @ FACTOR.T + np.diag(SCALE**2)
        product = (x[:, 0] - LOC[0]) * (x[:, 1] - LOC[1])
        assert abs(product.mean() - covariance[0, 1]) < 5 * product.std() / np.sqrt(len(x))


@pytest.mark.parametrize("case", [c for c in CASES if hasattr(c.distribution, "entropy")], ids=lambda c: c.name)
def test_entropy_is_minus_the_mean_log_density(case: Case) -> None:
    log_p = np.asarray(jax.vmap(case.distribution.log_prob)(jnp.array(draws(case))))
    assert abs(float(case.distribution.entropy()) + log_p.mean()) < 5 * log_p.std() / np.sqrt(len(log_p)) + 1e-9


@pytest.mark.parametrize("case", [CASES[1], CASES[2]], ids=lambda c: c.name)
def test_closed_form_kl_agrees_with_its_definition(case: Case) -> None:
    q, p = case.distribution, StandardGaussian(DIM)
    z = jnp.array(draws(case))
    terms = np.asarray(jax.vmap(q.log_prob)(z) - jax.vmap(p.log_prob)(z))
    assert abs(float(kl_divergence(q, p)) - terms.mean()) < 5 * terms.std() / np.sqrt(len(terms))


def test_kl_of_a_distribution_with_itself_is_zero() -> None:
    q = DiagonalGaussian(jnp.zeros(3), jnp.ones(3))
    assert float(kl_divergence(q, StandardGaussian(3))) == 0
    assert float(kl_divergence(FullGaussian(jnp.zeros(3), jnp.eye(3)), StandardGaussian(3))) == 0


def test_kl_per_dimension_sums_to_the_whole_for_a_diagonal_q() -> None:
    q = DiagonalGaussian(jnp.array(LOC), jnp.array(SCALE))
    parts = kl_per_dimension(q, StandardGaussian(DIM))
    assert float(parts.sum()) == pytest.approx(float(kl_divergence(q, StandardGaussian(DIM))), rel=1e-12)


def test_a_pair_without_a_closed_form_is_refused_by_name() -> None:
    q = LowRankGaussian(jnp.array(LOC), jnp.array(FACTOR), jnp.array(SCALE))
    assert not has_closed_form_kl(q, StandardGaussian(DIM))
    with pytest.raises(TypeError, match=r"LowRankGaussian \|\| StandardGaussian.*closed_form_kl=False"):
        kl_divergence(q, StandardGaussian(DIM))


def test_bernoulli_stays_finite_where_probabilities_round() -> None:
    d = Bernoulli(jnp.array([200.0, -200.0]))
    assert float(d.log_prob(jnp.array([1.0, 0.0]))) == pytest.approx(0, abs=1e-80)
    assert float(d.log_prob(jnp.array([0.0, 1.0]))) == pytest.approx(-400)
