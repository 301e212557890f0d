"""The slack of the bound in its parts, against the closed forms of linear-Gaussian models; the advice that follows."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from linear_gaussian import LinearGaussian, gap_of_best_diagonal
from walks import KEY, MODEL, apart, nonlinear, some_member, truth

from tightbound.evidence import Evidence, Gap, Method, advice, decompose_gap
from tightbound.evidence.gap import SEARCH
from tightbound.learn import Amortised, Exact, PerDatum, SemiAmortised
from tightbound.model import DiagonalGaussianFamily, FullGaussianFamily, Specification, Start, build

CORRELATED = LinearGaussian(np.array([[1.5, 1.1], [-0.6, 0.9], [1.4, 0.5]]), np.array([0.5, -1.0, 0.2]), 0.7)


def closed_form() -> float:
    return float(gap_of_best_diagonal(jnp.asarray(CORRELATED.W.T), jnp.full(3, CORRELATED.s)))


def check_sum(gap: Gap) -> None:
    np.testing.assert_allclose(gap.approximation + gap.amortisation, gap.total, atol=1e-12)
    means = gap.mean_approximation(), gap.mean_amortisation(), gap.mean_total()
    np.testing.assert_allclose(means[0].value + means[1].value, means[2].value, atol=1e-12)
    np.testing.assert_allclose(gap.total, gap.evidence.log_evidence - gap.elbo, atol=0)


def test_a_shifted_mean_field_q_costs_what_algebra_says() -> None:
    """KL of the best diagonal q, (sum_j log M_jj - log |M|) / 2, and delta' M delta / (2 s^2) for its shift."""
    x = CORRELATED.sample(np.random.default_rng(0), 16)
    q = dataclasses.replace(CORRELATED.q(diagonal=True), shift=jnp.array([0.4, -0.3]))
    gap = decompose_gap(CORRELATED.p(), q, x, key=KEY)
    check_sum(gap)
    near, network = gap.mean_approximation(), gap.mean_amortisation()
    assert closed_form() > 0.1
    np.testing.assert_allclose(closed_form(), CORRELATED.diagonal_gap, rtol=1e-9)
    # The search ends a little short of the best: the noise of its gradients, by 0.02 nats at most.
    assert -5 * near.monte_carlo_error < near.value - closed_form() < 5 * near.monte_carlo_error + 0.02
    delta = np.array([0.4, -0.3])
    expected = 0.5 * delta @ CORRELATED.M @ delta / CORRELATED.s**2
    assert expected > 0.1
    assert -5 * network.monte_carlo_error - 0.02 < network.value - expected < 5 * network.monte_carlo_error
    assert near.monte_carlo_error < 0.04
    assert all(method is Method.CLOSED_FORM for method in gap.evidence.method)


@pytest.mark.slow
def test_a_q_of_each_row_has_no_amortisation_gap() -> None:
    """Nor, where its family holds the posterior, any other; missing cells included."""
    x = CORRELATED.sample(np.random.default_rng(1), 16)
    observed = np.random.default_rng(2).random(x.shape) < 0.8
    q = PerDatum(FullGaussianFamily(2), SEARCH)
    gap = decompose_gap(CORRELATED.p(), q, np.where(observed, x, np.nan), observed, key=KEY)
    check_sum(gap)
    for part in (gap.mean_approximation(), gap.mean_amortisation(), gap.mean_total()):
        assert abs(part.value) < 5 * part.monte_carlo_error + 0.02


def test_the_posterior_itself_has_no_gap() -> None:
    x = CORRELATED.sample(np.random.default_rng(3), 5)
    gap = decompose_gap(CORRELATED.p(), Exact(), x, key=KEY)
    check_sum(gap)
    for part in (gap.approximation, gap.amortisation, gap.total):
        np.testing.assert_allclose(part, 0, atol=1e-9)


def test_an_encoder_that_was_never_fitted() -> None:
    """A network drawn at random: the larger part is its own, and log p(x) is that of quadrature."""
    spec = Specification(3, 2, network="mlp(hidden_sizes=(6,))", dtype="float64")
    parts = build(spec, start=Start(np.zeros(3), np.full(3, 0.1)), key=KEY)
    p, q = nonlinear(), Amortised(parts.encoder)
    x = np.random.default_rng(4).normal(size=(12, 3))
    words: list[tuple[str, int, int]] = []
    gap = decompose_gap(p, q, x, key=KEY, on_progress=lambda *told: words.append(told))
    check_sum(gap)
    known = gap.evidence.standard_error
    assert np.all(np.abs(gap.evidence.log_evidence - truth(p, q, x)) < 5 * known + 1e-3)
    errors = np.hypot(gap.best_elbo_standard_error, gap.elbo_standard_error)
    assert np.all(gap.amortisation > -5 * errors)
    assert np.all(gap.approximation > -5 * np.hypot(gap.best_elbo_standard_error, known) - 1e-3)
    assert apart(gap.amortisation - gap.approximation) > 2
    assert gap.mean_amortisation().value > 1
    assert {told[0] for told in words} >= {"bound of q", "best q of the family"}
    assert all(done <= total <= 12 for _, done, total in words)
    shifted = gap.shifted(np.arange(12.0))
    np.testing.assert_allclose(shifted.approximation, gap.approximation, atol=1e-12)
    np.testing.assert_allclose(shifted.evidence.log_evidence - gap.evidence.log_evidence, np.arange(12.0), atol=1e-12)
    for line, words in zip(repr(gap).splitlines(), ("log p(x) - ELBO", "approximation", "amortisation"), strict=True):
        assert line.startswith(words)
        assert "over 12 rows" in line


def test_the_search_stays_in_the_family_and_starts_at_q() -> None:
    spec = Specification(3, 2, network="mlp(hidden_sizes=(6,))", posterior="full", dtype="float64")
    parts = build(spec, start=Start(np.zeros(3), np.full(3, 0.1)), key=KEY)
    amortised = Amortised(parts.encoder)
    for q in (amortised, SemiAmortised(parts.encoder, dataclasses.replace(SEARCH, steps=3))):
        best = q.refined(MODEL.p(), SEARCH)
        assert isinstance(best, SemiAmortised)
        assert best.refinement == SEARCH
        assert isinstance(best.own_family, FullGaussianFamily)
    per_row = PerDatum(FullGaussianFamily(2), dataclasses.replace(SEARCH, steps=3))
    best = per_row.refined(MODEL.p(), SEARCH)
    assert isinstance(best, PerDatum)
    assert best.start is per_row
    assert isinstance(best.own_family, FullGaussianFamily)
    exact = Exact()
    assert exact.refined(MODEL.p(), SEARCH) is exact
    other = some_member("full").refined(MODEL.p(), SEARCH)
    assert isinstance(other, PerDatum)
    assert isinstance(other.own_family, DiagonalGaussianFamily)


# Advice


def planted(approximation: float, amortisation: float, *, n: int = 50, spread: float = 0.1, error: float = 0.01) -> Gap:
    """A gap with these parts on average."""
    rng = np.random.default_rng(5)

    def around(mean: float) -> np.ndarray:
        noise = rng.normal(size=n)
        return mean + spread * (noise - noise.mean())

    log_p, near, network = around(-100.0), around(approximation), around(amortisation)
    one, whole = np.full(n, error), np.full(n, 100)
    method = np.full(n, Method.IMPORTANCE, dtype=object)
    evidence = Evidence(log_p, one, log_p - near - network, one, one * 1e4, one, whole, method, whole, 0 * whole)
    return Gap(evidence, log_p - near, one, log_p - near - network, one)


def test_a_change_of_units_moves_log_p_and_both_bounds_and_no_part() -> None:
    gap, by = planted(2.0, 1.0), np.linspace(-3, 5, 50)
    shifted = gap.shifted(by)
    check_sum(shifted)
    np.testing.assert_allclose(shifted.elbo - gap.elbo, by, atol=1e-12)
    np.testing.assert_allclose(shifted.evidence.log_evidence - gap.evidence.log_evidence, by, atol=1e-12)
    np.testing.assert_allclose(shifted.approximation, gap.approximation, atol=1e-12)
    np.testing.assert_allclose(shifted.amortisation, gap.amortisation, atol=1e-12)


NETWORK, FAMILY, OVERFITTED, FINE = (
    "Amortisation costs",
    "The family (diagonal) costs",
    "overfitted",
    "has little to give",
)


@pytest.mark.parametrize(
    ("held_out", "train", "said"),
    [
        (planted(0.1, 0.1), None, {FINE}),
        (planted(0.1, 0.1), planted(0.1, 0.1), {FINE}),
        (planted(2.0, 0.1), None, {FAMILY}),
        (planted(0.1, 2.0), None, {NETWORK}),
        (planted(3.0, 2.0), None, {NETWORK, FAMILY}),
        (planted(3.0, 2.0), planted(3.0, 2.0), {NETWORK, FAMILY}),
        (planted(0.1, 2.0), planted(0.1, 0.4), {NETWORK, OVERFITTED}),
        (planted(0.1, 0.4), planted(0.1, 2.0), {FINE}),
        # What matters only by chance is not said: far apart over rows, or known within a nat alone.
        (planted(0.8, 0.8, spread=4.0), None, {FINE}),
        (planted(0.1, 0.8, spread=4.0), planted(0.1, 0.1, spread=4.0), {FINE}),
        (planted(1.0, 0.1, n=1, error=0.5), None, {FINE}),
        (planted(1.0, 0.1, n=1, error=0.1), None, {FAMILY}),
    ],
)
def test_advice_says_what_is_planted_and_nothing_else(held_out: Gap, train: Gap | None, said: set[str]) -> None:
    sentences = advice(held_out, train, family="diagonal")
    assert len(sentences) == len(said)
    for words in (NETWORK, FAMILY, OVERFITTED, FINE):
        assert sum(words in sentence for sentence in sentences) == (words in said)
    for sentence in sentences:
        assert sentence.endswith(".")
        assert "nats" in sentence


def test_advice_gives_numbers_with_their_errors() -> None:
    (sentence,) = advice(planted(2.0, 0.1))
    assert sentence.startswith("The family (q's family) costs 2.00 ± 0.01 nats a row")
    _, overfitted = advice(planted(0.1, 2.0), planted(0.1, 0.4))
    assert "1.60 ± 0.02 nats more than training rows" in overfitted
