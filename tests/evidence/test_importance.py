"""Importance sampling against closed forms and quadrature; its errors against their own spread."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_gaussian import LinearGaussian
from scipy import integrate
from scipy.special import logsumexp

from tightbound.evidence import Reliability, importance_evidence
from tightbound.evidence.result import tail_length
from tightbound.evidence.rows import posteriors_of
from tightbound.evidence.weights import _moments
from tightbound.learn import make_inference
from tightbound.model import Specification, Start, build

KEY = jax.random.key(3)


def test_standard_errors_are_calibrated_on_200_random_models() -> None:
    """At least 196 of 200 estimates lie within three of their errors, and z-scores have variance 0.7 to 1.4."""
    rng = np.random.default_rng(0)
    z = []
    for i in range(200):
        model = LinearGaussian.random(rng, 8, 3)
        x = model.sample(rng, 1)
        q = model.q(stretch=float(rng.uniform(1.0, 1.4)), shift=float(rng.uniform(-0.2, 0.2)))
        evidence = importance_evidence(model.p(), q, x, n_samples=500, key=jax.random.key(i))
        z.append((evidence.log_evidence - model.log_p(x))[0] / evidence.standard_error[0])
    assert np.sum(np.abs(z) < 3) >= 196
    assert 0.7 < np.var(z) < 1.4
    assert abs(np.mean(z)) < 5 / np.sqrt(200)


def test_exact_posterior_makes_the_bound_tight_to_rounding() -> None:
    rng = np.random.default_rng(1)
    model = LinearGaussian.random(rng, 10, 4)
    x = model.sample(rng, 5)
    evidence = importance_evidence(model.p(), model.q(), x, n_samples=40, key=KEY)
    np.testing.assert_allclose(evidence.elbo, model.log_p(x), atol=1e-9)
    np.testing.assert_allclose(evidence.log_evidence, model.log_p(x), atol=1e-9)
    assert np.all(evidence.standard_error < 1e-6)
    np.testing.assert_allclose(evidence.ess, 40, rtol=1e-9)
    assert all(flag is Reliability.GOOD for flag in evidence.reliability)


def test_best_diagonal_q_leaves_the_known_gap() -> None:
    rng = np.random.default_rng(2)
    model = LinearGaussian.random(rng, 6, 3)
    x = model.sample(rng, 4)
    evidence = importance_evidence(model.p(), model.q(diagonal=True), x, n_samples=20_000, key=KEY)
    gap = model.log_p(x) - evidence.elbo
    assert model.diagonal_gap > 0.05
    assert np.all(np.abs(gap - model.diagonal_gap) < 5 * evidence.elbo_standard_error)


def test_missing_cells_are_integrated_out() -> None:
    rng = np.random.default_rng(3)
    model = LinearGaussian.random(rng, 5, 2)
    x = model.sample(rng, 12)
    observed = rng.random(x.shape) < 0.6
    observed[0], observed[1] = False, True
    exact = np.array([0.0, *model.log_p(x[1:], observed[1:])])
    x = np.where(observed, x, np.nan)
    # The exact posterior of complete rows is no longer exact here; three times as wide, its tails still cover.
    evidence = importance_evidence(model.p(), model.q(stretch=3.0), x, observed, n_samples=40_000, key=KEY)
    assert np.all(np.abs(evidence.log_evidence - exact) < 5 * evidence.standard_error + 1e-9)


def test_nonlinear_decoder_agrees_with_quadrature() -> None:
    spec = Specification(
        3, 1, "gaussian(covariance=diagonal)", network="residual(hidden_sizes=(8, 8))", dtype="float64"
    )
    parts = build(spec, start=Start(np.zeros(3), np.full(3, 0.05)), key=KEY)
    p = parts.p
    x = np.random.default_rng(4).normal(size=(3, 3))
    evidence = importance_evidence(p, make_inference(spec, parts), x, n_samples=20_000, key=KEY)
    joint = jax.jit(lambda x, z: p.log_joint(x, z))
    for i, row in enumerate(x):
        exact, _ = integrate.quad(
            lambda z, row=row: float(jnp.exp(joint(jnp.array(row), jnp.array([z])))), -9, 9, limit=200
        )
        assert abs(evidence.log_evidence[i] - np.log(exact)) < 5 * evidence.standard_error[i]


def reference(model: LinearGaussian, x: np.ndarray, n: int, seed: int):
    return importance_evidence(model.p(), model.q(stretch=1.3), x, n_samples=n, key=jax.random.key(seed))


@pytest.mark.parametrize(("n", "chunk", "rows"), [(1, 1, 3), (7, 50, 40), (64, 5, 1), (65, 16, 17)])
def test_chunks_change_nothing(n: int, chunk: int, rows: int) -> None:
    rng = np.random.default_rng(5)
    model = LinearGaussian.random(rng, 3, 2)
    x = model.sample(rng, 40)[:rows]
    whole = importance_evidence(model.p(), model.q(stretch=1.3), x, n_samples=n, key=KEY)
    pieces = importance_evidence(model.p(), model.q(stretch=1.3), x, n_samples=n, key=KEY, draws_at_once=chunk)
    for name in ("log_evidence", "standard_error", "elbo", "elbo_standard_error", "ess", "khat"):
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), rtol=1e-7, atol=1e-7, err_msg=name)


@settings(max_examples=10)
@given(st.permutations(range(7)))
def test_row_order_changes_no_score(order: list[int]) -> None:
    rng = np.random.default_rng(6)
    model = LinearGaussian.random(rng, 3, 2)
    x = model.sample(rng, 7)
    np.testing.assert_array_equal(
        reference(model, x[order], 50, 0).log_evidence, reference(model, x, 50, 0).log_evidence[order]
    )


def test_the_samples_asked_for_are_the_samples_used() -> None:
    """The estimate is that of exactly n draws, for n below, at and above the chunk."""
    rng = np.random.default_rng(7)
    model = LinearGaussian.random(rng, 3, 2)
    x = model.sample(rng, 2)
    p, q = model.p(), model.q(stretch=1.5)
    for n in (1, 65):
        evidence = importance_evidence(p, q, x, n_samples=n, key=KEY, draws_at_once=64)
        given = (jnp.array(x), None, jnp.array(_crc(x)))
        moments = _moments(p, posteriors_of(p, q, *given, key=KEY), *given, jnp.int32(n), 1, 2, 0.0, key=KEY)
        np.testing.assert_array_equal(moments.count, n)
        log_w = np.array(
            [[_log_weight(p, q, row, KEY, h, s) for s in range(n)] for row, h in zip(x, _crc(x), strict=True)]
        )
        np.testing.assert_allclose(evidence.log_evidence, logsumexp(log_w, axis=1) - np.log(n), rtol=1e-10)
        np.testing.assert_allclose(evidence.elbo, log_w.mean(axis=1), rtol=1e-10)
        if n > 1:
            w = np.exp(log_w)
            np.testing.assert_allclose(
                evidence.standard_error, w.std(axis=1, ddof=1) / w.mean(axis=1) / np.sqrt(n), rtol=1e-8
            )
            np.testing.assert_allclose(evidence.ess, w.sum(axis=1) ** 2 / (w**2).sum(axis=1), rtol=1e-9)
            np.testing.assert_allclose(evidence.elbo_standard_error, log_w.std(axis=1, ddof=1) / np.sqrt(n), rtol=1e-8)


def _crc(x: np.ndarray) -> np.ndarray:
    import zlib

    return np.array([zlib.crc32(row.tobytes(), 0) for row in x], np.uint32)


def _log_weight(p, q, row, key, h, s) -> float:
    posterior = q(p, jnp.array(row), key=key)
    z = posterior.sample(key=jax.random.fold_in(jax.random.fold_in(key, h), s))
    return float(p.log_joint(jnp.array(row), z) - posterior.log_prob(z))


def test_a_q_that_is_far_too_narrow_is_flagged() -> None:
    rng = np.random.default_rng(8)
    model = LinearGaussian.random(rng, 20, 8)
    x = model.sample(rng, 10)
    evidence = importance_evidence(model.p(), model.q(stretch=0.25, shift=0.3), x, n_samples=500, key=KEY)
    assert evidence.n_unreliable == 10
    assert np.all(evidence.log_evidence < model.log_p(x))


def test_weights_that_are_not_a_number_count_as_zero() -> None:
    rng = np.random.default_rng(9)
    model = LinearGaussian.random(rng, 3, 2)

    class Overflowing(eqx.Module):
        inner: eqx.Module

        def __call__(self, z: jax.Array) -> jax.Array:
            return jnp.where(z[0] > 0.8, jnp.nan, self.inner(z))

    p = model.p()
    p = eqx.tree_at(lambda m: m.decoder.network, p, Overflowing(p.decoder.network))
    x = model.sample(rng, 6)
    evidence = importance_evidence(p, model.q(stretch=1.2), x, n_samples=400, key=KEY)
    assert np.all(np.isfinite(evidence.log_evidence))
    assert np.all(evidence.log_evidence <= model.log_p(x) + 3 * evidence.standard_error)


def test_memory_does_not_grow_with_samples() -> None:
    """What the compiled program holds for temporaries does not know of their number; the tail grows with its root."""
    rng = np.random.default_rng(10)
    model = LinearGaussian.random(rng, 50, 3)
    p, q, x = model.p(), model.q(), jnp.array(model.sample(rng, 16))

    def temporaries(n: int) -> int:
        given = (x, None, jnp.zeros(16, "uint32"))
        posteriors = posteriors_of(p, q, *given, key=KEY)
        lowered = eqx.filter_jit(_moments.__wrapped__).lower(
            p, posteriors, *given, jnp.int32(n), 125, tail_length(n), 0.0, key=KEY
        )
        return lowered.compile().compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(100_000) < 1.5 * temporaries(10_000)


@pytest.mark.parametrize("n", [0, -1])
def test_a_sample_count_without_sense_is_refused(n: object) -> None:
    model = LinearGaussian.random(np.random.default_rng(0), 3, 2)
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1; got"):
        importance_evidence(model.p(), model.q(), np.zeros((1, 3)), n_samples=n, key=KEY)
