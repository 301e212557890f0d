"""Decoders that are given conditions and an exposure, and what an encoder makes of counts."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from tightbound import learn
from tightbound.evidence import encode, importance_evidence, log_evidence
from tightbound.model import (
    MLP,
    BernoulliHead,
    CentredInputs,
    ColumnsHead,
    Decoder,
    DiagonalGaussianFamily,
    Encoder,
    FixedScaleGaussianHead,
    GaussianCells,
    GenerativeModel,
    NegativeBinomialCells,
    PoissonCells,
    StandardGaussian,
)
from tightbound.model.conditioned import MOST_REFERENCES, conditioned_decoder
from tightbound.model.families import inverse_positive
from tightbound.model.features import count_inputs

RNG = np.random.default_rng(4)
KEY = jax.random.key(11)
K, D, G = 2, 4, 3
LEVELS = np.eye(G)
SCALE = 0.7


def linear(in_size: int, out_size: int) -> MLP:
    """A linear map with a bias."""
    network = MLP(in_size, out_size, (), key=jax.random.fold_in(KEY, out_size))
    bias = jnp.array(RNG.normal(size=out_size))
    return eqx.tree_at(lambda a: a.layers[-1].bias, network, bias)


def gaussian(network: MLP) -> Decoder:
    """x = W z + V c + b + noise."""
    head = FixedScaleGaussianHead(inverse_positive(jnp.asarray(SCALE)), jnp.zeros(D))
    return conditioned_decoder(network, head, K, LEVELS)


NETWORK = linear(K + G, D)
MODEL = GenerativeModel(StandardGaussian(K), gaussian(NETWORK))
W, V = np.split(np.asarray(NETWORK.layers[0].weight), [K])
B = np.asarray(NETWORK.layers[0].bias)


def amortised(n_cells: int, k: int) -> learn.Amortised:
    """A q near the prior that a few thousand draws can make do with."""
    family = DiagonalGaussianFamily(k)
    blank = MLP(n_cells, family.n_parameters, (), key=KEY)
    blank = eqx.tree_at(lambda a: a.layers[-1].weight, blank, jnp.zeros((n_cells, family.n_parameters)))
    return learn.Amortised(Encoder(blank, family, CentredInputs(jnp.zeros(n_cells))))


def test_a_condition_shifts_the_mean_of_a_linear_gaussian_model() -> None:
    """log p(x | c) = log N(x; V c + b, W W' + s^2 I), by importance sampling, within its error and with its c."""
    c = LEVELS[RNG.integers(0, G, 12)]
    x = B + c @ V + RNG.normal(size=(12, K)) @ W + SCALE * RNG.normal(size=(12, D))
    covariance = W.T @ W + SCALE**2 * np.eye(D)
    exact = stats.multivariate_normal(np.zeros(D), covariance).logpdf(x - B - c @ V)
    found = importance_evidence(
        MODEL, amortised(D + G, K), np.hstack([x, c]), n_samples=40_000, key=KEY, draws_at_once=20_000
    )
    assert np.all(np.abs(found.log_evidence - exact) <= 5 * found.standard_error)
    assert found.standard_error.max() < 0.1
    wrong = importance_evidence(MODEL, amortised(D + G, K), np.hstack([x, c[:, [1, 2, 0]]]), n_samples=2000, key=KEY)
    assert np.abs(wrong.log_evidence - exact).max() > 0.5


def test_the_plain_distribution_is_the_decoder_at_its_condition() -> None:
    z, c, x = jnp.array([0.3, -1.0]), jnp.array(LEVELS[1]), jnp.array(RNG.normal(size=D))
    rows = MODEL.decoder(z)
    row = jnp.concatenate([x, c])
    expected = stats.norm(np.asarray(z) @ W + V[1] + B, SCALE).logpdf(x)
    assert float(rows.log_prob(row)) == pytest.approx(expected.sum(), abs=1e-10)
    assert float(rows.given(c).log_prob(x)) == pytest.approx(expected.sum(), abs=1e-10)
    assert rows.dim == MODEL.decoder.head.dim == D + G
    np.testing.assert_allclose(rows.mean, np.concatenate([np.asarray(z) @ W + V.mean(axis=0) + B, LEVELS.mean(axis=0)]))
    np.testing.assert_allclose(rows.variance, [SCALE**2] * D + [2 / 9] * G)
    seen = np.array([True, False, True, False] + [True] * G)
    anything = jnp.where(seen, row, jnp.nan)
    value, slope = jax.value_and_grad(lambda a: MODEL.decoder(z).log_prob(a, jnp.array(seen)))(anything)
    assert float(value) == pytest.approx(expected[[0, 2]].sum(), abs=1e-10)
    assert np.isfinite(slope).all()


def test_a_condition_that_is_not_observed_is_the_typical_one() -> None:
    z, x = jnp.array([0.3, -1.0]), jnp.array(RNG.normal(size=D))
    seen = jnp.array([True] * D + [False] * G)
    found = MODEL.decoder(z).log_prob(jnp.concatenate([x, jnp.full(G, jnp.nan)]), seen)
    expected = MODEL.decoder(z).log_prob(jnp.concatenate([x, jnp.full(G, 1 / 3)]))
    assert float(found) == pytest.approx(float(expected), abs=1e-12)


def test_samples_come_with_conditions_of_the_reference_and_their_own_mean() -> None:
    z, n = jnp.array([0.3, -1.0]), 30_000
    rows = np.asarray(jax.vmap(lambda k: MODEL.decoder(z).sample(key=k))(jax.random.split(KEY, n)))
    x, c = np.split(rows, [D], axis=1)
    for level in range(G):
        own = c[:, level] == 1
        assert abs(own.mean() - 1 / G) <= 5 * np.sqrt(2 / 9 / n)
        error = x[own].mean(axis=0) - (np.asarray(z) @ W + V[level] + B)
        assert np.all(np.abs(error) <= 5 * SCALE / np.sqrt(own.sum()))
    assert set(np.unique(c)) == {0.0, 1.0}


COUNTS = ColumnsHead([PoissonCells(), NegativeBinomialCells(), GaussianCells(0.1)])
COUNT_NETWORK = linear(1, COUNTS.n_inputs)


def counts_log_joint(z: float, x: np.ndarray, exposure: float) -> float:
    """log p(x, z) written out: the exposure multiplies the means of the counts, and those alone."""
    h = z * np.asarray(COUNT_NETWORK.layers[0].weight)[0] + np.asarray(COUNT_NETWORK.layers[0].bias)
    mean, r = exposure * np.exp(h[:2]), np.exp(-h[3])
    scale = 0.1 + np.log1p(np.exp(h[4] + np.log(np.expm1(1))))
    terms = (
        stats.poisson(mean[0]).logpmf(x[0]),
        stats.nbinom(r, r / (r + mean[1])).logpmf(x[1]),
        stats.norm(h[2], scale).logpdf(x[2]),
        stats.norm.logpdf(z),
    )
    return float(sum(terms))


@pytest.mark.parametrize("exposure", [0.2, 1.0, 30.0])
def test_an_exposure_multiplies_the_means_of_counts(exposure: float) -> None:
    """The evidence of counts given their exposure, by importance sampling and by quadrature, against SciPy's."""
    decoder = conditioned_decoder(COUNT_NETWORK, COUNTS, 1, np.zeros((1, 1)), with_exposure=True)
    p, q = GenerativeModel(StandardGaussian(1), decoder), amortised(4, 1)
    x = np.array([[0.0, 1.0, 0.4], [3.0, 0.0, -0.8]])
    rows = np.hstack([x, np.full((2, 1), np.log(exposure))])
    exact = [
        np.log(integrate.quad(lambda z, a=a: np.exp(counts_log_joint(z, a, exposure)), -9, 9, epsabs=1e-13)[0])
        for a in x
    ]
    sampled = importance_evidence(p, q, rows, n_samples=20_000, key=KEY)
    assert np.all(np.abs(sampled.log_evidence - exact) <= 5 * sampled.standard_error)
    by_quadrature = log_evidence(p, q, rows, method="exact", key=KEY)
    np.testing.assert_allclose(by_quadrature.log_evidence, exact, atol=1e-4)


def test_a_conditioned_model_learns_what_the_condition_does() -> None:
    """Two batches 2 apart: with the batch given, the latents need not know of it."""
    batch = RNG.integers(0, 2, 400)
    x = (
        RNG.normal(size=(400, 1)) @ np.array([[1.0, -0.5, 0.3]])
        + 0.3 * RNG.normal(size=(400, 3))
        + 2.0 * batch[:, None]
    )
    rows = np.hstack([x, np.eye(2)[batch]])
    head = FixedScaleGaussianHead(inverse_positive(jnp.full(3, 1.0)), jnp.full(3, 0.01))
    decoder = conditioned_decoder(MLP(3, 3, (), key=KEY), head, 1, rows[:, 3:])
    encoder = Encoder(MLP(5, 2, (), key=KEY), DiagonalGaussianFamily(1), CentredInputs(jnp.array(rows.mean(axis=0))))
    pair = learn.Pair(GenerativeModel(StandardGaussian(1), decoder), learn.Amortised(encoder))
    recipe = learn.Recipe(learn.Optimiser(0.03, 1800), batch_size=50, dtype="float64")
    data = learn.Dataset(jnp.array(rows[:300]))
    fitted = learn.fit(pair, data, learn.Dataset(jnp.array(rows[300:])), recipe, epochs=300, key=KEY).pair
    covariance = np.outer([1, -0.5, 0.3], [1, -0.5, 0.3]) + 0.09 * np.eye(3)
    truth = stats.multivariate_normal(np.zeros(3), covariance).logpdf(x[300:] - 2.0 * batch[300:, None]).mean()
    found = importance_evidence(fitted.p, fitted.q, rows[300:], n_samples=500, key=KEY)
    assert truth - 0.15 < found.mean().value < truth + 0.05
    means = np.asarray(encode(fitted.p, fitted.q, rows).mean)[:, 0]
    assert abs(np.corrcoef(means, batch)[0, 1]) < 0.2
    np.testing.assert_array_equal(fitted.p.decoder.head.reference, rows[:, 3:])  # no step moves them


def test_references_are_thinned() -> None:
    rows = np.arange(5000.0)[:, None]
    kept = conditioned_decoder(linear(2, 4), BernoulliHead(4), 1, rows).head.reference
    assert kept.shape == (MOST_REFERENCES, 1)
    assert (kept[0, 0], kept[-1, 0]) == (0, 4999)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((linear(3, 4), BernoulliHead(4), 2, np.zeros(5)), "reference must be a table of finite numbers"),
        ((linear(3, 4), BernoulliHead(4), 2, np.array([[np.nan]])), "with NaN or infinite cells"),
        ((linear(2, 4), BernoulliHead(4), 2, np.zeros((1, 1)), True), "a ColumnsHead with a count column"),
        ((linear(2, 2), ColumnsHead([GaussianCells()]), 2, np.zeros((1, 1)), True), "a ColumnsHead with a count"),
        ((linear(3, 5), BernoulliHead(4), 2, np.zeros((1, 1))), "to the 4 that a BernoulliHead needs; it returned 5"),
        ((linear(2, 4), BernoulliHead(4), 2, np.zeros((1, 1))), "must map one vector of 3 numbers"),
    ],
    ids=range(6),
)
def test_what_does_not_fit_is_refused(arguments: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        conditioned_decoder(*arguments[:4], with_exposure=len(arguments) > 4)


def test_counts_enter_relative_to_the_exposure() -> None:
    x = np.hstack([RNG.poisson(3.0, (50, 2)), RNG.normal(size=(50, 1)), RNG.normal(5.0, 1.0, (50, 1))])
    inputs = count_inputs(x, [True, True, False, True], exposure="given", dtype="float64")
    typical = x[:, 3].mean()
    raw = np.hstack([np.log1p(x[:, :2] * np.exp(typical - x[:, 3:])), x[:, 2:]])
    found = jax.vmap(inputs)(jnp.array(x))
    np.testing.assert_allclose(found, (raw - raw.mean(axis=0)) / raw.std(axis=0), atol=1e-10)


def test_counts_enter_relative_to_their_total() -> None:
    x = RNG.poisson(1.0, (40, 6)).astype(float)
    x[0] = 0
    inputs = count_inputs(x, exposure="total", floor=1000.0, dtype="float64")
    total = np.maximum(x.sum(axis=1, keepdims=True), 1)
    raw = np.log1p(x / total * np.exp(np.log(total).mean()))
    found = jax.vmap(inputs)(jnp.array(x)) * 1000
    np.testing.assert_allclose(found, raw - raw.mean(axis=0), atol=1e-10)
    doubled = jax.vmap(inputs)(jnp.array(2 * x[1:]))
    np.testing.assert_allclose(doubled * 1000, found[1:], atol=1e-10)


@pytest.mark.parametrize("exposure", [None, "total"])
def test_missing_counts_are_average_ones(exposure: str | None) -> None:
    """Whatever stands in their place; with the mask behind them."""
    x = RNG.poisson(3.0, (50, 3)).astype(float)
    inputs = count_inputs(x, exposure=exposure, with_mask=True, dtype="float64")
    seen = jnp.array([True, False, True])
    found, other = (inputs(jnp.array([2.0, anything, 5.0]), seen) for anything in (np.nan, 1e5))
    assert inputs.size == 6 and inputs.n_cells == 3
    np.testing.assert_array_equal(found, other)
    np.testing.assert_array_equal(found[jnp.array([1, 3, 4, 5])], [0, 1, 0, 1])
    rate = 1.0 if exposure is None else np.exp(np.log(x.sum(axis=1)).mean()) / 7
    log = np.log1p(x * (1.0 if exposure is None else np.exp(np.log(x.sum(axis=1)).mean()) / x.sum(axis=1)[:, None]))
    np.testing.assert_allclose(found[2], (np.log1p(5 * rate) - log[:, 2].mean()) / log[:, 2].std())


def test_inputs_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="exposure must be None, 'given' or 'total'; got 'none'"):
        count_inputs(np.ones((3, 2)), exposure="none")
    with pytest.raises(ValueError, match="x must be a table"):
        count_inputs(np.ones(3))
