"""Tables in which few different rows occur many times: equal rows have the same estimate, noise included."""

import jax
import numpy as np
from linear_gaussian import LinearGaussian

from tightbound.evidence import compare, importance_evidence
from tightbound.evidence.comparison import Significance

MODEL = LinearGaussian.random(np.random.default_rng(4), 6, 2)
DIFFERENT = MODEL.sample(np.random.default_rng(1), 5)
OCCURRENCES = np.repeat(np.arange(5), [400, 300, 150, 100, 50])
N_SEEDS = 60


def test_errors_of_means_and_differences_over_equal_rows() -> None:
    """Over seeds, z-scores of the mean of 1,000 rows, 5 of them different, spread by 1; so do those of differences."""
    truth = MODEL.log_p(DIFFERENT)[OCCURRENCES].mean()
    q = MODEL.q(stretch=1.2)
    found = [
        importance_evidence(MODEL.p(), q, DIFFERENT, n_samples=200, key=jax.random.key(seed)).take(OCCURRENCES)
        for seed in range(N_SEEDS)
    ]
    means = [each.mean() for each in found]
    z = np.array([(mean.value - truth) / mean.monte_carlo_error for mean in means])
    assert 0.75 < np.std(z) < 1.3  # of 60 seeds it is known to 9 %

    pairs = [compare({"a": a, "b": b}).difference("a", "b") for a, b in zip(found[::2], found[1::2], strict=True)]
    assert sum(pair.verdict is Significance.CLEAR for pair in pairs) <= 2
    z = np.array([pair.value / pair.monte_carlo_error for pair in pairs])
    assert 0.65 < np.std(z) < 1.4


def test_rows_that_differ_have_noise_of_their_own() -> None:
    x = MODEL.sample(np.random.default_rng(2), 50)
    found = importance_evidence(MODEL.p(), MODEL.q(stretch=1.2), x, n_samples=200, key=jax.random.key(0))
    expected = np.sqrt(np.sum(found.standard_error**2)) / 50
    np.testing.assert_allclose(found.mean().monte_carlo_error, expected, rtol=1e-12)
