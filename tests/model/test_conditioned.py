"""Decoders that are given conditions and an exposure."""

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
    GaussianLikelihood,
    GenerativeModel,
    MultinomialHead,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    StandardGaussian,
)
from tightbound.model.families import inverse_positive
from tightbound.model.likelihoods.covariates import N_REFERENCES, TOTAL, conditioned_decoder

RNG = np.random.default_rng(4)
KEY = jax.random.key(11)
K, D, G = 2, 4, 3
LEVELS = np.eye(G)
SCALE = 0.7
PLACES, AS_THEY_ARE = tuple(range(D, D + G)), CentredInputs(jnp.zeros(G))
TYPICAL = LEVELS[2]  # of equally frequent ones the least


def linear(in_size: int, out_size: int) -> MLP:
    """A linear map with a bias."""
    network = MLP(in_size, out_size, (), key=jax.random.fold_in(KEY, out_size))
    bias = jnp.array(RNG.normal(size=out_size))
    return eqx.tree_at(lambda a: a.layers[-1].bias, network, bias)


def gaussian(network: MLP) -> Decoder:
    """x = W z + V c + b + noise."""
    head = FixedScaleGaussianHead(inverse_positive(jnp.asarray(SCALE)), jnp.zeros(D))
    return conditioned_decoder(network, head, K, LEVELS, inputs=AS_THEY_ARE, conditions=PLACES)


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
    assert float(rows.at(row).log_prob(jnp.concatenate([x, jnp.zeros(G)]))) == pytest.approx(expected.sum(), abs=1e-10)
    np.testing.assert_allclose(rows.at(row).mean, np.concatenate([np.asarray(z) @ W + V[1] + B, c]))
    assert rows.dim == MODEL.decoder.head.dim == D + G
    np.testing.assert_allclose(rows.mean, np.concatenate([np.asarray(z) @ W + TYPICAL @ V + B, TYPICAL]))
    np.testing.assert_allclose(rows.variance, [SCALE**2] * D + [0] * G)
    seen = np.array([True, False, True, False] + [True] * G)
    anything = jnp.where(seen, row, jnp.nan)
    value, slope = jax.value_and_grad(lambda a: MODEL.decoder(z).log_prob(a, jnp.array(seen)))(anything)
    assert float(value) == pytest.approx(expected[[0, 2]].sum(), abs=1e-10)
    assert np.isfinite(slope).all()


def test_a_condition_that_is_not_observed_is_unknown_to_the_network() -> None:
    z, x = jnp.array([0.3, -1.0]), jnp.array(RNG.normal(size=D))
    seen = jnp.array([True] * D + [False] * G)
    found = MODEL.decoder(z).log_prob(jnp.concatenate([x, jnp.full(G, jnp.nan)]), seen)
    expected = MODEL.decoder(z).log_prob(jnp.concatenate([x, jnp.zeros(G)]))
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


COUNTS = ColumnsHead([PoissonLikelihood(), NegativeBinomialLikelihood(), GaussianLikelihood(0.1)])
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
    decoder = conditioned_decoder(COUNT_NETWORK, COUNTS, 1, np.zeros((1, 1)), exposure=3)
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
    inputs = CentredInputs(jnp.zeros(2))
    decoder = conditioned_decoder(MLP(3, 3, (), key=KEY), head, 1, rows[:, 3:], inputs=inputs, conditions=(3, 4))
    encoder = Encoder(MLP(5, 2, (), key=KEY), DiagonalGaussianFamily(1), CentredInputs(jnp.array(rows.mean(axis=0))))
    pair = learn.Pair(GenerativeModel(StandardGaussian(1), decoder), learn.Amortised(encoder))
    recipe = learn.TrainingConfig(learn.Optimiser(0.03, 1800), batch_size=50, dtype="float64")
    data = learn.Dataset(jnp.array(rows[:300]))
    fitted = learn.fit(pair, data, learn.Dataset(jnp.array(rows[300:])), recipe, epochs=300, key=KEY).pair
    covariance = np.outer([1, -0.5, 0.3], [1, -0.5, 0.3]) + 0.09 * np.eye(3)
    truth = stats.multivariate_normal(np.zeros(3), covariance).logpdf(x[300:] - 2.0 * batch[300:, None]).mean()
    found = importance_evidence(fitted.p, fitted.q, rows[300:], n_samples=500, key=KEY)
    assert truth - 0.15 < found.mean().value < truth + 0.05
    means = np.asarray(encode(fitted.p, fitted.q, rows).mean)[:, 0]
    assert abs(np.corrcoef(means, batch)[0, 1]) < 0.2
    assert set(map(tuple, np.asarray(fitted.p.decoder.head.reference))) == {(0, 1), (1, 0)}  # no step moves them


def test_references_are_spread_evenly_and_typical_ones_are_frequent() -> None:
    dose = np.repeat([1.0, 2.0, 3.0], [100, 3000, 1900])
    head = conditioned_decoder(
        linear(2, 4), BernoulliHead(4), 1, dose[:, None], inputs=CentredInputs(jnp.zeros(1)), conditions=(4,)
    ).head
    assert head.reference.shape == (N_REFERENCES, 1)
    np.testing.assert_allclose(
        np.unique(head.reference, return_counts=True)[1] / N_REFERENCES, [0.02, 0.6, 0.38], atol=2e-3
    )
    assert head.typical.tolist() == [2.0]


TOTALS = np.array([[10.0], [40.0], [20.0]])


def test_the_sum_of_a_row_is_its_exposure() -> None:
    """Relative to a typical row; hidden cells count into it, given cells do not; draws have totals of the reference."""
    head = ColumnsHead([PoissonLikelihood(), GaussianLikelihood(0.1), PoissonLikelihood()])
    network = linear(2, head.n_inputs)
    given = np.hstack([RNG.normal(size=(3, 1)), np.log(TOTALS)])
    inputs = CentredInputs(jnp.zeros(1))
    decoder = conditioned_decoder(network, head, 1, given, inputs=inputs, conditions=(1,), exposure=TOTAL)
    z, row = jnp.array([0.4]), jnp.array([3.0, 0.7, -0.2, 9.0])
    h = np.asarray(network(jnp.array([0.4, 0.7])))
    rate = 12 / np.exp(np.log(TOTALS).mean())
    scale = 0.1 + np.log1p(np.exp(h[3] + np.log(np.expm1(1))))
    each = [
        stats.poisson(rate * np.exp(h[0])).logpmf(3),
        stats.norm(h[1], scale).logpdf(-0.2),
        stats.poisson(rate * np.exp(h[2])).logpmf(9),
    ]
    d = decoder(z)
    assert float(d.log_prob(row)) == pytest.approx(sum(each), abs=1e-8)
    seen = jnp.array([True, True, True, False])
    assert float(d.log_prob(row, seen)) == pytest.approx(sum(each[:2]), abs=1e-8)
    drawn = np.asarray(jax.vmap(lambda k: d.sample(key=k))(jax.random.split(KEY, 20_000)))
    means = []
    for c, log_total in given:
        h = np.asarray(network(jnp.array([0.4, c])))
        means.append(np.exp(h[[0, 2]] + log_total) / np.exp(np.log(TOTALS).mean()))
        own = np.isclose(drawn[:, 1], c)
        np.testing.assert_allclose(drawn[own][:, [0, 3]].mean(axis=0), means[-1], rtol=0.1)
    assert decoder.head.cells == (0, 2, 3)


def test_a_bag_is_drawn_with_the_length_that_is_given() -> None:
    decoder = conditioned_decoder(linear(1, 5), MultinomialHead(5), 1, np.log(TOTALS), exposure=TOTAL)
    drawn = np.asarray(jax.vmap(lambda k: decoder(jnp.array([0.4])).sample(key=k))(jax.random.split(KEY, 300)))
    assert set(drawn.sum(axis=1)) == {10.0, 40.0, 20.0}
    logits = np.asarray(linear_logits(decoder))
    p = np.exp(logits) / np.exp(logits).sum()
    row = np.array([1.0, 0, 2, 0, 4])
    assert float(decoder(jnp.array([0.4])).log_prob(jnp.array(row))) == pytest.approx(
        stats.multinomial(7, p).logpmf(row), abs=1e-8
    )


def linear_logits(decoder: Decoder) -> jax.Array:
    """What the decoder's network makes of 0.4."""
    return decoder.head.network(jnp.array([0.4]))


GIVEN = {"inputs": CentredInputs(jnp.zeros(1)), "conditions": (4,)}


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        ((linear(3, 4), BernoulliHead(4), 2, np.zeros(5)), GIVEN, "given must be a table of finite numbers"),
        ((linear(3, 4), BernoulliHead(4), 2, np.zeros((5, 2))), GIVEN, "numbers with 1 column"),
        ((linear(3, 4), BernoulliHead(4), 2, np.array([[np.nan]])), GIVEN, "with NaN or infinite cells"),
        ((linear(2, 4), BernoulliHead(4), 2, np.zeros((1, 1))), {"exposure": 4}, "have a count to work on"),
        (
            (linear(2, 2), ColumnsHead([GaussianLikelihood()]), 2, np.zeros((1, 1))),
            {"exposure": 1},
            "have a count to work on",
        ),
        ((linear(2, 4), MultinomialHead(4), 2, np.zeros((1, 1))), {"exposure": 4}, "have a count to work on"),
        (
            (linear(3, 5), BernoulliHead(4), 2, np.zeros((1, 1))),
            GIVEN,
            "must return 4 numbers for a BernoulliHead of 4 cells; it returned 5",
        ),
        ((linear(2, 4), BernoulliHead(4), 2, np.zeros((1, 1))), GIVEN, "must map one vector of 3 numbers"),
    ],
    ids=range(8),
)
def test_what_does_not_fit_is_refused(arguments: tuple[Any, ...], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        conditioned_decoder(*arguments, **options)
