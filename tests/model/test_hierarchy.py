"""Levels of latents: densities and draws against a Gaussian in closed form, and two levels trained to a tight bound."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from tightbound import learn
from tightbound.evidence import log_evidence
from tightbound.model import (
    MLP,
    CentredInputs,
    Decoder,
    DiagonalGaussianFamily,
    Encoder,
    GenerativeModel,
    LearnedPrior,
    first_parameters,
    gaussian_head,
)
from tightbound.model.hierarchy import HierarchyFamily, Level, stacked_levels

KEY = jax.random.key(3)
A, B, SCALE = 0.8, -0.5, 0.6


def levels(context: int = 0, hidden: tuple[int, ...] = (), key: jax.Array = KEY) -> HierarchyFamily:
    """Two levels of one latent each."""
    family = DiagonalGaussianFamily(1)
    return stacked_levels((family, family), [MLP(1 + context, 2, hidden, key=key)], context_sizes=[context])


def linear_prior() -> LearnedPrior:
    """z_2 ~ N(0, 1), z_1 ~ N(A z_2 + B, SCALE^2)."""
    family = levels()
    raw = np.log(np.expm1(SCALE)) - np.log(np.expm1(1.0))
    new = (jnp.array([[A, 0.0]]), jnp.array([B, raw]))
    where = lambda f: (f.levels[1].network.layers[0].weight, f.levels[1].network.layers[0].bias)  # noqa: E731
    family = eqx.tree_at(where, family, new)
    return LearnedPrior(family, first_parameters(family, "float64"))


def test_linear_levels_are_one_gaussian() -> None:
    prior = linear_prior()
    joint = stats.multivariate_normal([0, B], [[1, A], [A, A**2 + SCALE**2]])
    z = np.random.default_rng(0).normal(size=(20, 2))
    np.testing.assert_allclose(jax.vmap(prior.log_prob)(jnp.asarray(z)), joint.logpdf(z), rtol=1e-9)
    each = prior.member.log_prob_by_level(jnp.asarray(z[0]))
    np.testing.assert_allclose(each, [stats.norm.logpdf(z[0, 0]), stats.norm(A * z[0, 0] + B, SCALE).logpdf(z[0, 1])])
    draws = np.asarray(jax.vmap(lambda k: prior.sample(key=k))(jax.random.split(KEY, 20_000)))
    error = 5 / np.sqrt(20_000)
    assert np.all(np.abs(draws.mean(axis=0) - joint.mean) < error * np.sqrt(np.diag(joint.cov)))
    assert np.all(np.abs(np.cov(draws.T) - joint.cov) < 2 * error)
    assert {name: part.tolist() for name, part in prior.member.parts(jnp.arange(2.0)).items()} == {
        "z_2": [0.0],
        "z_1": [1.0],
    }
    np.testing.assert_allclose(prior.mean, joint.mean)


def test_one_level_is_the_family_itself() -> None:
    family = DiagonalGaussianFamily(3)
    one, numbers = stacked_levels((family,), []), jnp.linspace(-1, 1, 6)
    assert (one.dim, one.n_parameters) == (family.dim, family.n_parameters)
    assert type(one(numbers)) is type(family(numbers))
    np.testing.assert_array_equal(one(numbers).sample(key=KEY), family(numbers).sample(key=KEY))
    np.testing.assert_array_equal(first_parameters(one), first_parameters(family))


def pair_of(prior: Any, family: Any, k: int, d: int) -> learn.Pair:
    """A decoder that sees all levels, and an amortised q of them."""
    key_decoder, key_encoder = jax.random.split(KEY)
    head = gaussian_head("feature", jnp.full(d, 0.01))
    decoder = Decoder(MLP(k, d, (16,), key=key_decoder), head, k)
    encoder = Encoder(MLP(d, family.n_parameters, (16,), key=key_encoder), family, CentredInputs(jnp.zeros(d)))
    return learn.Pair(GenerativeModel(prior, decoder), learn.Amortised(encoder))


def trained(pair: learn.Pair, x: np.ndarray, epochs: int) -> learn.FitResult:
    recipe = learn.TrainingConfig(learn.Optimiser(0.01, epochs * len(x) // 50), batch_size=50, dtype="float64")
    return learn.fit(pair, learn.Dataset(jnp.asarray(x)), None, recipe, epochs=epochs, key=KEY)


def crescents(n: int) -> np.ndarray:
    """Rows on two arcs."""
    rng = np.random.default_rng(5)
    t, side = np.pi * rng.random(n), rng.integers(0, 2, n) * 2 - 1.0
    return np.stack([side * np.cos(t) + 0.5 * side, side * np.sin(t)], axis=1) + 0.1 * rng.normal(size=(n, 2))


def test_one_level_trains_to_the_same_bits() -> None:
    x, family = crescents(100), DiagonalGaussianFamily(2)
    pairs = [pair_of(LearnedPrior(f, first_parameters(f)), f, 2, 2) for f in (family, stacked_levels((family,), []))]
    bounds = [[e.train_bound for e in trained(pair, x, 3).history] for pair in pairs]
    assert bounds[0] == bounds[1]


def test_two_levels_train_and_their_bound_lies_below_quadrature() -> None:
    """log p(x) by a grid over both latents; importance sampling from the trained q agrees, the ELBO is below."""
    x, fresh = crescents(400), crescents(40)
    prior = LearnedPrior(levels(hidden=(8,), key=jax.random.key(8)), jnp.zeros(2))
    pair = pair_of(prior, levels(context=3, hidden=(8,), key=jax.random.key(9)), 2, 2)
    result = trained(pair, x, 60)
    assert result.history[-1].train_bound > result.history[0].train_bound + 0.5
    fitted = result.pair
    line = jnp.linspace(-9, 9, 361)
    z = jnp.stack(jnp.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    log_joint = eqx.filter_jit(lambda row: jax.vmap(lambda z: fitted.p.log_joint(row, z))(z))
    exact = np.array([logsumexp(log_joint(jnp.asarray(row))) for row in fresh]) + 2 * np.log(float(line[1] - line[0]))
    found = log_evidence(fitted.p, fitted.q, fresh, n_samples=2000, method="importance", key=KEY)
    assert np.all(found.elbo < exact + 5 * found.elbo_standard_error)
    assert np.mean(exact - found.elbo) < 2
    assert np.all(np.abs(found.log_evidence - exact) < 6 * found.standard_error + 0.02)


def test_levels_that_do_not_stand_upon_each_other_are_refused() -> None:
    family = DiagonalGaussianFamily(1)
    with pytest.raises(ValueError, match=r"level 'z_1''s network must return 2 numbers .* returned 3"):
        stacked_levels((family, family), [MLP(1, 3, (), key=KEY)])
    with pytest.raises(ValueError, match="levels must be one or more, the top one without a network"):
        HierarchyFamily((Level(family, MLP(1, 2, (), key=KEY), "z_1", 1),))
    with pytest.raises(ValueError, match="levels must be one or more"):
        HierarchyFamily(())
