"""Standard errors from both sides: over many rows, z-scores of log p(x) and of the ELBO spread as a Gaussian's do.

|estimate - truth| < 5 errors holds of an error that is twice too large as well: here the spread of z lies in
[0.8, 1.25], of every method, with and without gaps.
"""

from typing import Any

import jax
import numpy as np
import pytest
from linear_gaussian import GivenPosterior, LinearGaussian

from tightbound.evidence import METHODS as ALL_METHODS
from tightbound.evidence import (
    Evidence,
    Reliability,
    annealed_evidence,
    exact_evidence,
    importance_evidence,
    log_evidence,
)

KEY = jax.random.key(11)
MODEL = LinearGaussian.random(np.random.default_rng(4), 8, 3)
Q = MODEL.q(stretch=1.3, shift=0.05)
N_ROWS = 500
SCHEDULE = np.linspace(0, 1, 5)
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "importance": (importance_evidence, {"n_samples": 300}),
    "defensive": (importance_evidence, {"n_samples": 300, "defensive": 0.2}),
    "annealed": (annealed_evidence, {"n_chains": 48, "n_leapfrog": 1, "schedule": SCHEDULE}),
    "resampled": (annealed_evidence, {"n_chains": 192, "n_leapfrog": 1, "schedule": SCHEDULE, "resample": True}),
    "exact": (exact_evidence, {}),
}


def kl_from_posterior(q: GivenPosterior, x: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """KL(q || p(z | x_observed)) of every row, nats, written out."""
    tril, found = np.asarray(q.scale_tril), []
    for row, seen in zip(x, observed, strict=True):
        loadings, residual = MODEL.W[seen], (row - MODEL.mu)[seen]
        precision = loadings.T @ loadings / MODEL.s**2 + np.eye(MODEL.W.shape[1])
        mean = np.linalg.solve(precision, loadings.T @ residual) / MODEL.s**2
        own = np.asarray(q.matrix) @ np.where(seen, row - MODEL.mu, 0) + np.asarray(q.shift)
        spread = np.trace(precision @ tril @ tril.T) + (own - mean) @ precision @ (own - mean)
        log_dets = np.linalg.slogdet(precision)[1] + 2 * np.log(np.diag(tril)).sum()
        found.append(0.5 * (spread - len(mean) - log_dets))
    return np.array(found)


FEWEST_GOOD = 40
"""Rows called GOOD from which on a spread of 1 can be told from one beyond [0.8, 1.25]."""


def half_empty(shape: tuple[int, ...]) -> np.ndarray:
    """Two cells in five missing: q, which knows of none, is far off."""
    return np.random.default_rng(6).random(shape) >= 0.4


def good(found: Evidence) -> np.ndarray:
    """Which rows are called GOOD."""
    return np.array([flag is Reliability.GOOD for flag in found.reliability])


def estimated(method: str, x: np.ndarray, observed: np.ndarray | None) -> Evidence:
    """By one method; with 500 rows the spread of z-scores is known to 3 %."""
    function, options = METHODS[method]
    found: Evidence = function(MODEL.p(), Q, x, observed, key=KEY, **options)
    return found


def assert_spread_of_one(z: np.ndarray) -> None:
    assert 0.8 < np.std(z) < 1.25
    assert abs(np.mean(z)) < 5 / np.sqrt(len(z))


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_errors_are_neither_too_small_nor_too_large(method: str, gaps: bool) -> None:
    rng = np.random.default_rng(5)
    x = MODEL.sample(rng, N_ROWS)
    # One missing cell: with more, a q that knows of none is too far off for few draws.
    observed = np.arange(8)[None, :] != rng.integers(8, size=N_ROWS)[:, None] if gaps else np.ones(x.shape, bool)
    found = estimated(method, x, observed if gaps else None)
    truth = MODEL.log_p(x, observed)
    if method != "exact":
        assert_spread_of_one((found.log_evidence - truth) / found.standard_error)
    bound = truth - kl_from_posterior(Q, x, observed)
    assert_spread_of_one((found.elbo - bound) / found.elbo_standard_error)


def test_groups_are_what_is_independent() -> None:
    """From a q so wide that chains resample again and again: 24 groups of eight, not 192 chains, give the error."""
    x = MODEL.sample(np.random.default_rng(6), N_ROWS)
    found = annealed_evidence(MODEL.p(), MODEL.q(stretch=3.0), x, key=KEY, **METHODS["resampled"][1])
    assert_spread_of_one((found.log_evidence - MODEL.log_p(x)) / found.standard_error)


@pytest.mark.parametrize("method", ["importance", "defensive"])
def test_a_good_flag_is_earned_however_far_off_q_is(method: str) -> None:
    x = MODEL.sample(np.random.default_rng(5), N_ROWS)
    observed, q = half_empty(x.shape), MODEL.q(stretch=1.3, shift=0.1)
    function, options = METHODS[method]
    found = function(MODEL.p(), q, x, observed, key=KEY, **{**options, "n_samples": 1000})
    flags, z = good(found), (found.log_evidence - MODEL.log_p(x, observed)) / found.standard_error
    assert flags.sum() > FEWEST_GOOD
    assert_spread_of_one(z[flags])


def test_two_groups_of_chains_have_no_error_to_be_trusted() -> None:
    x = MODEL.sample(np.random.default_rng(5), 20)
    options: dict[str, Any] = {"n_leapfrog": 1, "schedule": SCHEDULE, "resample": True, "key": KEY}
    found = annealed_evidence(MODEL.p(), Q, x, n_chains=16, **options)
    assert set(found.reliability) == {Reliability.FEW_EFFECTIVE}


@pytest.mark.slow
@pytest.mark.parametrize("missing", [0.0, 0.15, 0.4])
@pytest.mark.parametrize("method", [*ALL_METHODS, "resampled"])
def test_every_method_earns_its_flags(method: str, missing: float) -> None:
    """As `log_evidence` is called, over models and q, as good ones are and as bad ones are."""
    options: dict[str, Any] = {"method": method, "n_steps": 50}
    if method == "resampled":
        options |= {"method": "annealed", "resample": True, "n_chains": 128, "n_steps": 20}
    z, wrong = [], 0
    for seed in (4, 7, 9):
        model = LinearGaussian.random(np.random.default_rng(seed), 8, 3)
        x = model.sample(np.random.default_rng(5), 300)
        observed = np.random.default_rng(6).random(x.shape) >= missing
        truth = model.log_p(x, observed)
        for q in (model.q(stretch=1.3, shift=0.05), model.q(shift=0.1)):
            found = log_evidence(model.p(), q, x, observed, key=KEY, **options)
            sampled = good(found) & (found.standard_error > 1e-6)
            z.append(((found.log_evidence - truth) / np.maximum(found.standard_error, 1e-300))[sampled])
            wrong += int(np.sum(np.abs(found.log_evidence - truth)[good(found) & ~sampled] > 1e-5))
    every = np.concatenate(z)
    assert wrong == 0
    if len(every) >= FEWEST_GOOD:
        assert 0.8 < np.std(every) < 1.25
        assert np.mean(np.abs(every) > 4) < 0.01
