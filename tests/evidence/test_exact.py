"""log p(x) without a draw, against scipy's multivariate normal and sums written out in numpy."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_gaussian import GivenPosterior, LinearGaussian
from scipy import stats
from scipy.special import expit, log_softmax, logsumexp

from tightbound.evidence import Kind, Method, Reliability, exact_evidence, exact_method, log_evidence
from tightbound.learn import AbstractInference, Exact, PerDatum, make_inference
from tightbound.learn.inference.refinement import Refinement
from tightbound.model import (
    MLP,
    BernoulliFamily,
    BernoulliHead,
    Categorical,
    CategoricalFamily,
    Decoder,
    DiagonalGaussianHead,
    FixedScaleGaussianHead,
    GenerativeModel,
    LearnedPrior,
    Specification,
    StandardGaussian,
    Start,
    Tabulated,
    build,
)
from tightbound.model.families import inverse_positive

KEY = jax.random.key(5)


def softplus(raw: np.ndarray) -> np.ndarray:
    """The scale of a raw number: 0 maps to 1."""
    return np.log1p((np.e - 1) * np.exp(raw))


def feature_scales(rng: np.random.Generator, d: int, k: int, dtype: str) -> tuple[GenerativeModel, Any]:
    """Factor analysis, and the density of its rows by scipy."""
    network = MLP(k, d, (), dtype=dtype, key=jax.random.key(int(rng.integers(1000))))
    floor, raw = rng.uniform(0, 0.1, size=d), rng.normal(size=d)
    head = FixedScaleGaussianHead(jnp.asarray(raw, dtype), jnp.asarray(floor, dtype))
    network = eqx.tree_at(lambda n: n.layers[0].bias, network, jnp.asarray(rng.normal(size=d), dtype))
    w, mu = (np.asarray(a, float) for a in (network.layers[0].weight, network.layers[0].bias))
    covariance = w.T @ w + np.diag((floor + softplus(raw)) ** 2)

    def log_p(x: np.ndarray, observed: np.ndarray) -> np.ndarray:
        return np.array(
            [
                stats.multivariate_normal(mu[o], covariance[np.ix_(o, o)]).logpdf(row[o]) if o.any() else 0.0
                for row, o in zip(x.astype(float), observed, strict=True)
            ]
        )

    return GenerativeModel(StandardGaussian(k, dtype), Decoder(network, head, k)), log_p


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("k", "d"), [(2, 9), (12, 5)])
def test_factor_analysis_with_missing_cells(k: int, d: int, dtype: str) -> None:
    rng = np.random.default_rng([k, d])
    p, log_p = feature_scales(rng, d, k, dtype)
    x = (2 * rng.normal(size=(7, d))).astype(dtype)
    observed = rng.random(x.shape) < 0.6
    observed[0], observed[1] = False, True
    for mask in (observed, np.ones_like(observed)):
        given = np.where(mask, x, np.nan).astype(dtype)
        found = exact_evidence(p, Exact(), given, mask, key=KEY)
        tight = 1e-4 if dtype == "float32" else 1e-9
        np.testing.assert_allclose(found.log_evidence, log_p(x, mask), rtol=tight, atol=tight)
        # Exact inference has no gap: each of the 128 draws says the same.
        np.testing.assert_allclose(found.elbo, found.log_evidence, rtol=tight, atol=tight)
    assert exact_method(p) is Method.CLOSED_FORM
    assert all(method is Method.CLOSED_FORM for method in found.method)
    assert all(kind is Kind.EXACT for kind in found.kind)
    assert np.all(found.standard_error == 0) and np.all(found.n_discarded == 0) and np.all(found.work == 129)
    assert found.n_unreliable == 0


def test_probabilistic_pca_and_its_bound() -> None:
    """One scale for all cells; the ELBO beside it is that of q, short of log p(x) by the known gap."""
    rng = np.random.default_rng(1)
    model = LinearGaussian.random(rng, 8, 3)
    x = model.sample(rng, 70)  # more than are worked off at once
    done: list[int] = []
    found = exact_evidence(model.p(), model.q(diagonal=True), x, key=KEY, on_progress=done.append)
    np.testing.assert_allclose(found.log_evidence, model.log_p(x), rtol=1e-10)
    gap = found.log_evidence - found.elbo - model.diagonal_gap
    assert np.all(np.abs(gap) < 6 * found.elbo_standard_error)
    assert abs(gap.mean()) < 5 * found.mean_elbo().monte_carlo_error
    assert done == [64, 70]


def test_models_as_they_are_built() -> None:
    """With floors, and the encoder as q."""
    spec = Specification(4, 3, "gaussian(covariance=shared)", network="linear", dtype="float64")
    parts = build(spec, start=Start(np.zeros(4), np.full(4, 0.3)), key=KEY)
    assert exact_method(parts.p) is Method.CLOSED_FORM
    x = np.random.default_rng(0).normal(size=(3, 4))
    w, mu = (np.asarray(a) for a in (parts.p.decoder.network.layers[0].weight, parts.p.decoder.network.layers[0].bias))
    covariances = w.T @ w + 1.3**2 * np.eye(4)
    found = exact_evidence(parts.p, make_inference(spec, parts), x, key=KEY)
    np.testing.assert_allclose(found.log_evidence, stats.multivariate_normal(mu, covariances).logpdf(x), rtol=1e-9)


# ---- discrete latents


def network(k: int, d: int, seed: int) -> MLP:
    return MLP(k, d, (7,), dtype="float64", key=jax.random.key(seed))


def discrete(which: str, head: str, seed: int = 3) -> tuple[GenerativeModel, AbstractInference, np.ndarray, np.ndarray]:
    """A model, an inference, all states (s, k) and their log prior probabilities, by enumeration in numpy."""
    rng = np.random.default_rng(seed)
    family: Any
    if which == "bernoulli":
        family, logits = BernoulliFamily(9), rng.normal(size=9)
        states = np.array(list(itertools.product((0.0, 1.0), repeat=9)))
        log_prior = states @ np.log(expit(logits)) + (1 - states) @ np.log(expit(-logits))
    else:
        family, logits = CategoricalFamily(6, 3), rng.normal(size=(6, 3))
        levels = np.array(list(itertools.product(range(3), repeat=6)))
        states = np.eye(3)[levels].reshape(len(levels), -1)
        log_prior = log_softmax(logits, axis=1)[np.arange(6), levels].sum(axis=1)
    k = states.shape[1]
    if head == "bernoulli":
        decoder = Decoder(network(k, 4, seed), BernoulliHead(4), k)
    else:
        decoder = Decoder(network(k, 8, seed), DiagonalGaussianHead(jnp.full(4, 0.1)), k)
    p = GenerativeModel(LearnedPrior(family, jnp.asarray(logits.ravel())), decoder)
    return p, PerDatum(family, Refinement(3)), states, log_prior


def log_likelihood(p: GenerativeModel, states: np.ndarray, x: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """(n, s), with densities from scipy."""
    h = np.asarray(jax.vmap(p.decoder.network)(jnp.asarray(states)))[None]
    if isinstance(p.decoder.head, BernoulliHead):
        cells = stats.bernoulli(expit(h)).logpmf(x[:, None])
    else:
        cells = stats.norm(h[..., :4], 0.1 + softplus(h[..., 4:])).logpdf(x[:, None])
    return np.where(observed[:, None], cells, 0).sum(axis=2)


@pytest.mark.parametrize(("which", "head"), [("bernoulli", "gaussian"), ("categorical", "bernoulli")])
def test_sums_over_all_latents(which: str, head: str) -> None:
    """512 and 729 states: the second is no whole number of the blocks that are summed at once."""
    p, q, states, log_prior = discrete(which, head)
    rng = np.random.default_rng(0)
    x = (rng.random((5, 4)) < 0.5).astype(float) if head == "bernoulli" else rng.normal(size=(5, 4))
    for observed in (np.ones(x.shape, bool), rng.random(x.shape) < 0.5):
        found = exact_evidence(p, q, x, observed, key=KEY)
        truth = logsumexp(log_prior + log_likelihood(p, states, x, observed), axis=1)
        np.testing.assert_allclose(found.log_evidence, truth, rtol=1e-10)
        assert np.all(found.elbo < truth + 5 * found.elbo_standard_error)
        assert np.all(found.work == len(states) + 128)
    assert all(method is Method.ENUMERATION for method in found.method)
    assert np.all(found.standard_error == 0)


def test_exact_inference_of_discrete_latents_is_tight() -> None:
    p, _, _, _ = discrete("bernoulli", "gaussian")
    x = np.random.default_rng(2).normal(size=(3, 4))
    found = exact_evidence(p, Exact(), x, key=KEY)
    np.testing.assert_allclose(found.elbo, found.log_evidence, rtol=1e-9)


def test_listed_states() -> None:
    """A prior over points: the model is a mixture."""
    states = np.array([[-3.0], [0.5], [2.0]])
    prior = Tabulated(jnp.asarray(states), jnp.log(jnp.array([0.2, 0.5, 0.3])))
    model = LinearGaussian(np.ones((1, 1)), np.zeros(1), 0.5)
    p = GenerativeModel(prior, model.p().decoder)
    x = np.array([[-3.2], [0.0], [5.0]])
    found = exact_evidence(p, Exact(), x, key=KEY)
    each = stats.norm(states.T, 0.5).logpdf(x) + np.log([0.2, 0.5, 0.3])
    np.testing.assert_allclose(found.log_evidence, logsumexp(each, axis=1), rtol=1e-10)


# ---- which models


def continuous(k: int, head: Any, hidden: tuple[int, ...]) -> GenerativeModel:
    network = MLP(k, head.n_inputs, hidden, dtype="float64", key=KEY)
    return GenerativeModel(StandardGaussian(k, "float64"), Decoder(network, head, k))


FIXED = FixedScaleGaussianHead(inverse_positive(jnp.asarray(1.0)), jnp.zeros(3))


@pytest.mark.parametrize(
    ("k", "head", "hidden", "method"),
    [
        (9, FIXED, (), Method.CLOSED_FORM),
        (2, FIXED, (4,), Method.QUADRATURE),
        (1, BernoulliHead(3), (), Method.QUADRATURE),
        (2, DiagonalGaussianHead(jnp.zeros(3)), (), Method.QUADRATURE),
        (3, FIXED, (4,), None),
        (3, BernoulliHead(3), (), None),
    ],
)
def test_which_way_there_is(k: int, head: Any, hidden: tuple[int, ...], method: Method | None) -> None:
    assert exact_method(continuous(k, head, hidden)) is method


def test_other_models_are_refused_in_one_sentence() -> None:
    q = GivenPosterior(jnp.zeros((3, 3)), jnp.zeros(3), jnp.eye(3), jnp.zeros(3))
    with pytest.raises(
        ValueError, match=r"^Method exact must have .*; this model has 3 continuous ones; use method auto"
    ):
        exact_evidence(continuous(3, FIXED, (4,)), q, np.zeros((1, 3)), key=KEY)
    many = GenerativeModel(
        LearnedPrior(BernoulliFamily(17), jnp.zeros(17)), Decoder(network(17, 4, 0), BernoulliHead(4), 17)
    )
    assert exact_method(many) is None
    with pytest.raises(ValueError, match=r"this model has 131,072 states, above 65,536; use method auto"):
        log_evidence(many, PerDatum(BernoulliFamily(17), Refinement(2)), np.zeros((1, 4)), method="exact", key=KEY)


def test_a_categorical_prior_without_parameters_counts_too() -> None:
    decoder = Decoder(network(6, 4, 0), BernoulliHead(4), 6)
    assert exact_method(GenerativeModel(Categorical(jnp.zeros((2, 3))), decoder)) is Method.ENUMERATION


def test_a_row_without_density_is_not_finite() -> None:
    """The decoder gives a density in no state."""

    class Nowhere(eqx.Module):
        def __call__(self, z: jax.Array) -> jax.Array:
            return jnp.full(4, jnp.nan) * z[0]

    decoder = Decoder(Nowhere(), BernoulliHead(4), 9)
    p = GenerativeModel(LearnedPrior(BernoulliFamily(9), jnp.zeros(9)), decoder)
    found = exact_evidence(p, PerDatum(BernoulliFamily(9), Refinement(2)), np.ones((1, 4)), key=KEY)
    assert found.reliability[0] is Reliability.NOT_FINITE
