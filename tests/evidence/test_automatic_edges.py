"""`log_evidence` where it is hard: odd numbers, bad q, discrete latents, arguments that make no sense."""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_gaussian import GivenPosterior, LinearGaussian
from scipy import stats
from scipy.special import logsumexp
from scoring import KEY, SMALL, D, Setting, bits, make_setting, network_parts, same

from tightbound.evidence import (
    Method,
    Reliability,
    automatic,
    exact_evidence,
    importance_evidence,
    log_evidence,
    refined,
)
from tightbound.learn import AbstractInference, Exact, PerDatum, SemiAmortised, make_inference
from tightbound.learn.inference.refinement import Refinement
from tightbound.model import (
    AbstractDistribution,
    Bernoulli,
    DiagonalGaussianFamily,
    FullGaussianFamily,
    GenerativeModel,
    make_family,
)


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting()


# ---- odd numbers


class Odd(eqx.Module):
    """A network that returns `value` where z is beyond `edge`."""

    inner: eqx.Module
    edge: float = eqx.field(static=True)
    value: float = eqx.field(static=True)

    def __call__(self, z: jax.Array) -> jax.Array:
        return jnp.where(z[0] > self.edge, self.value, self.inner(z))


def odd(p: GenerativeModel, edge: float, value: float) -> GenerativeModel:
    return eqx.tree_at(lambda m: m.decoder.network, p, Odd(p.decoder.network, edge, value))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_decoder_that_overflows_at_a_rare_z(setting: Setting, value: float) -> None:
    """Those draws weigh nothing, and those that are no number are counted; the integral below the edge is left."""
    model, q = setting.model, setting.model.q(stretch=1.2)
    covariance = model.s**2 * np.linalg.inv(model.M)
    mean = np.linalg.solve(model.M, model.W.T @ (setting.x - model.mu).T).T
    edge = float(np.median(mean[:, 0] + np.sqrt(covariance[0, 0])))
    p = odd(setting.p, edge, value)
    below = stats.norm(mean[:, 0], np.sqrt(covariance[0, 0])).logcdf(edge)
    found = log_evidence(p, q, setting.x, method="importance", n_samples=4000, key=KEY)
    assert np.all(np.abs(found.log_evidence - model.log_p(setting.x) - below) < 5 * found.standard_error)
    share = 4000 * stats.norm(mean[:, 0], 1.2 * np.sqrt(covariance[0, 0])).sf(edge)
    # A mean of inf is a density of zero: known, not odd.
    assert np.all(np.abs(found.n_discarded - (share if np.isnan(value) else 0)) < 5 * np.sqrt(share + 1))
    # The bound of a q that goes where there is no density is -inf, and stays so over chunks.
    assert np.all((found.elbo == -np.inf)[share > 30]) and np.any(share > 30)
    np.testing.assert_array_equal(np.isnan(found.elbo_standard_error), found.elbo == -np.inf)


class HalfUnderflows(AbstractDistribution):
    """log q is -inf above its mean, as an underflow would make it."""

    inner: Any
    reparameterised: ClassVar[bool] = True

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def mean(self) -> jax.Array:
        return self.inner.mean

    @property
    def variance(self) -> jax.Array:
        return self.inner.variance

    def sample(self, *, key: jax.Array) -> jax.Array:
        return self.inner.sample(key=key)

    def log_prob(self, x: jax.Array, observed: Any = None) -> jax.Array:
        return jnp.where(x[0] > self.inner.mean[0], -jnp.inf, self.inner.log_prob(x, observed))


class Underflowing(AbstractInference):
    exact: GivenPosterior

    def parameters(self, p: Any, x: jax.Array, observed: jax.Array | None = None, *, key: jax.Array) -> jax.Array:
        return self.exact.parameters(p, x, observed, key=key)

    def distribution(self, p: Any, numbers: jax.Array) -> HalfUnderflows:
        return HalfUnderflows(self.exact.distribution(p, numbers))

    kept = search = learning = lambda self, *_, **__: None


def test_infinite_weights_are_discarded() -> None:
    model, x = LinearGaussian(np.ones((1, 1)), np.zeros(1), 1.0), np.array([[0.3], [-0.2]])
    found = importance_evidence(model.p(), Underflowing(model.q()), x, n_samples=500, key=KEY)
    np.testing.assert_allclose(found.log_evidence, model.log_p(x) + np.log1p(-found.n_discarded / 500), rtol=1e-6)
    assert np.all(np.abs(found.n_discarded - 250) < 5 * np.sqrt(125))


def test_a_row_without_density_harms_no_other(setting: Setting) -> None:
    """Where the decoder is NaN for the whole row: flagged, no work wasted on it, the others as if alone."""
    x = np.concatenate([setting.x[:4], np.full((1, D), np.nan)])
    found = log_evidence(setting.p, setting.q, x, **SMALL)
    assert found.reliability[4] is Reliability.NOT_FINITE
    assert found.log_evidence[4] == -np.inf and found.n_discarded[4] == 200 and found.work[4] == 200
    same(found.take(np.arange(4)), log_evidence(setting.p, setting.q, setting.x[:4], **SMALL))


# ---- defensive sampling


def test_defensive_sampling_repairs_a_q_that_is_too_narrow() -> None:
    rng = np.random.default_rng(3)
    model = LinearGaussian(0.5 * rng.normal(size=(4, 1)), np.zeros(4), 1.0)
    x, p, q = model.sample(rng, 12), model.p(), model.q(stretch=0.25)
    plain = log_evidence(p, q, x, method="importance", n_samples=2000, key=KEY)
    found = log_evidence(p, q, x, method="defensive", n_samples=2000, key=KEY)
    truth = model.log_p(x)
    assert np.all(np.abs(found.log_evidence - truth) < 5 * found.standard_error)
    assert np.all(found.standard_error < 0.25) and found.n_unreliable < plain.n_unreliable
    assert np.sum(np.abs(plain.log_evidence - truth) > 5 * plain.standard_error) + plain.n_unreliable >= 6
    # The ELBO is that of q alone.
    assert np.all(np.abs(found.elbo - plain.elbo) < 5 * np.hypot(found.elbo_standard_error, plain.elbo_standard_error))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_defensive_weights_are_bounded_and_unbiased(share: float) -> None:
    """Many single draws: the mean of w is p(x); no w exceeds max_z p(x | z) / share."""
    rng = np.random.default_rng(4)
    model = LinearGaussian(0.5 * rng.normal(size=(4, 1)), np.zeros(4), 1.0)
    x, p, q = model.sample(rng, 1), model.p(), model.q(stretch=0.25)
    # Rows that differ by nothing to speak of have noise of their own.
    rows = x + 1e-10 * np.arange(4000)[:, None]
    w = importance_evidence(p, q, rows, n_samples=1, defensive=share, key=KEY).log_evidence
    best = np.linalg.lstsq(model.W, x[0] - model.mu, rcond=None)[0]
    limit = stats.norm(model.W @ best + model.mu, model.s).logpdf(x[0]).sum() - np.log(share)
    assert np.all(w <= limit + 1e-5)
    ratio = np.exp(w - model.log_p(x)[0])
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / np.sqrt(len(ratio))
    whole = importance_evidence(p, q, x, n_samples=4000, defensive=share, key=KEY)
    assert abs(whole.log_evidence[0] - model.log_p(x)[0]) < 5 * whole.standard_error[0]


# ---- discrete latents


def test_discrete_latents_have_their_own_stages() -> None:
    p, q = bits(6, seed=2)
    states = np.array(np.meshgrid(*[[0.0, 1.0]] * 6)).reshape(6, -1).T
    x = (np.random.default_rng(0).random((4, 4)) < 0.5).astype(float)
    joint = jax.vmap(lambda x: jax.vmap(lambda z: p.log_joint(x, z))(jnp.asarray(states)))(jnp.asarray(x))
    truth = logsumexp(np.asarray(joint), axis=1)
    words: list[str] = []
    found = log_evidence(
        p, q, x, method="adaptive", tolerance=1e-5, n_samples=100, key=KEY, on_progress=lambda w, *_: words.append(w)
    )
    assert words[-2:] == ["refining q", "1,000 importance samples of a refined q"] or "refining q" in words
    assert not any("annealing" in w for w in words)
    assert np.all(found.n_samples == 1000)
    assert np.all(np.abs(found.log_evidence - truth) < 5 * found.standard_error + 1e-9)
    assert np.all(found.standard_error > 1e-5) and all(f is not Reliability.GOOD for f in found.reliability)


class Given(AbstractInference):
    """A discrete q that no loop can refine: it has no family."""

    logits: jax.Array

    def parameters(self, *_: Any, **__: Any) -> jax.Array:
        return self.logits

    def distribution(self, p: Any, parameters: jax.Array) -> Bernoulli:
        return Bernoulli(parameters)

    search = learning = lambda self, *_, **__: None


def test_a_q_that_cannot_be_refined_keeps_its_best_estimate() -> None:
    """The last stage is the one with the most samples, not fewer samples of the same q."""
    p, _ = bits(6, seed=2)
    found = log_evidence(
        p, Given(jnp.full(6, 0.3)), np.ones((2, 4)), method="adaptive", tolerance=1e-5, n_samples=100, key=KEY
    )
    assert np.all(found.n_samples == 1000)
    assert all(method is Method.IMPORTANCE for method in found.method)


def test_refining_keeps_the_family() -> None:
    parts, spec = network_parts(3)
    amortised = make_inference(spec, parts)
    own = refined(parts.p, amortised)
    assert isinstance(own, SemiAmortised) and own.encoder is amortised.encoder
    assert own.refinement.steps == automatic.REFINING_STEPS
    longer = SemiAmortised(amortised.encoder, Refinement(80))
    assert refined(parts.p, longer).refinement.steps == 80
    family = DiagonalGaussianFamily(3)
    by_row = refined(parts.p, PerDatum(family, Refinement(5)))
    assert isinstance(by_row, PerDatum) and by_row.family is family and by_row.start is not None
    exact = Exact()
    assert refined(parts.p, exact) is exact
    # Among the stages, where there is room, with a full covariance.
    for q in (amortised, PerDatum(family, Refinement(5)), Exact()):
        closer = automatic.closer_q(parts.p, q)
        assert isinstance(closer, PerDatum) and closer.family == FullGaussianFamily(3) and closer.start is q
    flow = PerDatum(make_family("iaf", 3, key=KEY), Refinement(5))
    assert automatic.closer_q(parts.p, flow).family is flow.family
    p, _ = bits(6)
    given = Given(jnp.zeros(6))
    assert refined(p, given) is given


def test_a_full_covariance_is_found_from_a_bad_start() -> None:
    """With 20 latents mean-field q leave nats, and so does a covariance that is fitted with few draws a step."""
    rng = np.random.default_rng(7)
    model = LinearGaussian(0.4 * rng.normal(size=(40, 20)), np.zeros(40), 1.0)
    x, p = model.sample(rng, 6), model.p()
    truth = model.log_p(x)
    assert model.diagonal_gap > 0.5
    sd = model.s * np.sqrt(np.diag(np.linalg.inv(model.M)))
    q = eqx.tree_at(lambda q: q.shift, model.q(diagonal=True), 2 * jnp.asarray(sd))
    found = importance_evidence(p, automatic.closer_q(p, q), x, n_samples=200, key=KEY)
    assert np.all(truth - found.elbo < 0.1)
    assert np.all(np.abs(found.log_evidence - truth) < 5 * found.standard_error + 1e-3)


# ---- bad arguments

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "method": ({"method": "best"}, r"method must be one of auto, .*; got 'best'; auto is usual\.$"),
    "no tolerance": ({"tolerance": 0.0}, r"tolerance must be above 0 nats; got 0.0; 0.1 is usual\.$"),
    "tolerance is NaN": ({"tolerance": float("nan")}, r"tolerance must be above 0 nats; got nan"),
    "no time": ({"time_limit": 0.0}, r"time_limit must be above 0 seconds; got 0.0; leave it out for no limit\.$"),
    "no samples": ({"n_samples": 0}, r"n_samples must be a whole number of at least 1; got 0; 1000 is usual\.$"),
    "no chains": ({"n_chains": -4}, r"n_chains must be a whole number of at least 1; got -4; 16 is usual\.$"),
    "no steps": ({"method": "annealed", "n_steps": 0}, r"n_steps must be a whole number of at least 1; got 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused_in_one_sentence(setting: Setting, case: str) -> None:
    options, sentence = BAD[case]
    with pytest.raises(ValueError, match="^" + sentence) as caught:
        log_evidence(setting.p, setting.q, setting.x, **{"method": "adaptive", "key": KEY, **options})
    assert "\n" not in str(caught.value)


def test_words_for_numbers_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"^tolerance must be above 0 nats; got 'small'"):
        automatic._check("auto", "small", None, None)
    with pytest.raises(ValueError, match=r"^time_limit must be above 0 seconds; got '1h'"):
        automatic._check("auto", 0.1, "1h", None)
    with pytest.raises(ValueError, match=r"^n_samples must be a whole number of at least 1; got 'many'"):
        automatic._check_counts("many", 16, None, 3)
    with pytest.raises(ValueError, match=r"^n_chains must be a whole number of at least 1; got 2.5"):
        automatic._check_counts(100, 2.5, None, 3)


def test_methods_that_a_model_does_not_have_are_refused() -> None:
    p, q = bits(5)
    with pytest.raises(ValueError, match="Annealing must have continuous latents"):
        log_evidence(p, q, np.ones((1, 4)), method="annealed", key=KEY)


def test_an_unknown_error_is_no_good_row() -> None:
    """One draw has no standard error; and of a handful it is not to be trusted."""
    model = LinearGaussian.random(np.random.default_rng(5), 4, 1)
    x = model.sample(np.random.default_rng(6), 1)
    one = importance_evidence(model.p(), model.q(stretch=1.2), x, n_samples=1, key=KEY)
    assert np.isnan(one.standard_error[0])
    for n in (1, 2, 9, 24):
        few = importance_evidence(model.p(), model.q(stretch=1.2), x, n_samples=n, key=KEY)
        assert few.reliability[0] is Reliability.FEW_EFFECTIVE
    many = importance_evidence(model.p(), model.q(stretch=1.2), x, n_samples=400, key=KEY)
    assert many.reliability[0] is Reliability.GOOD
    unknown = dataclasses.replace(many, standard_error=np.array([np.nan]), tolerance=0.1)
    assert unknown.reliability[0] is Reliability.ABOVE_TOLERANCE


@pytest.mark.parametrize(
    ("method", "n", "khat", "error", "tolerance", "flag"),
    [
        (Method.IMPORTANCE, 1000, 0.5, 0.09, None, Reliability.HEAVY_TAILED),
        (Method.IMPORTANCE, 1000, 0.4, 0.01, None, Reliability.GOOD),
        (Method.IMPORTANCE, 1000, 0.5, 0.09, 0.1, Reliability.HEAVY_TAILED),
        (Method.IMPORTANCE, 1000, 0.4, 0.01, 0.1, Reliability.GOOD),
        (Method.IMPORTANCE, 1000, 0.72, 0.001, None, Reliability.HEAVY_TAILED),
        (Method.DEFENSIVE, 1000, 0.5, 0.09, 0.1, Reliability.HEAVY_TAILED),
        (Method.ANNEALED, 2, 0.5, 0.09, 0.1, Reliability.FEW_EFFECTIVE),
        (Method.ANNEALED, 32, 0.5, 0.09, 0.1, Reliability.GOOD),
        (Method.ANNEALED, 200, 0.6, 0.09, 0.1, Reliability.HEAVY_TAILED),
    ],
)
def test_how_heavy_a_tail_may_be(
    method: Method, n: int, khat: float, error: float, tolerance: float | None, flag: Reliability
) -> None:
    """A large error must come with a light tail, whatever was asked for; k-hat of a few chains is noise."""
    model = LinearGaussian.random(np.random.default_rng(5), 4, 1)
    found = exact_evidence(model.p(), model.q(), np.zeros((1, 4)), key=KEY)
    changed = {"method": np.array([method], dtype=object), "n_samples": np.array([n]), "ess": np.array([0.9 * n])}
    numbers = {"khat": np.array([khat]), "standard_error": np.array([error]), "tolerance": tolerance}
    assert dataclasses.replace(found, **changed, **numbers).reliability[0] is flag
