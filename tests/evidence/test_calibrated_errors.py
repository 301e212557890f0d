"""Standard errors from both sides: over many rows, z-scores of log p(x) and of the ELBO spread as a Gaussian's do.

|estimate - truth| < 5 errors holds of an error that is twice too large as well: here the spread of z lies in
[0.8, 1.25], of every method, with and without gaps.
"""

from typing import Any

import jax
import numpy as np
import pytest
from linear_gaussian import GivenPosterior, LinearGaussian

from tightbound.evidence import Evidence, annealed_evidence, exact_evidence, importance_evidence

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
