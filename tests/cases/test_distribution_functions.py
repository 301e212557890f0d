"""Distribution functions in float32, the precision of a fit, where its series have lost their digits."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tightbound.model import (
    AbstractColumnLikelihood,
    BetaLikelihood,
    GammaLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
)

MEANS = (3.0, 300.0, 1e4, 1e5, 1e6)
SHAPES = (0.5, 30.0, 60.0, 3000.0, 1e6)


def log(*values: float) -> np.ndarray:
    return np.log(np.array(values))


@functools.cache
def program(likelihood: type[AbstractColumnLikelihood]) -> Callable[..., Any]:
    """The cdf of many values, compiled once a precision."""
    return jax.jit(jax.vmap(likelihood().cdf, in_axes=(0, None)))


def furthest(
    likelihood: type[AbstractColumnLikelihood], raw: np.ndarray, truth: Any, of: Callable[[Any], Any]
) -> float:
    """The largest error of the cdf over quantiles of about that distribution: against float64, which is scipy's."""
    x = of(truth.ppf(np.linspace(1e-3, 1 - 1e-3, 101))).astype("float32")
    x = np.where((x == 0) | (x > 1e-30), x, np.float32(1e-30))  # smaller ones are none in float32

    def cdf(dtype: str) -> np.ndarray:
        numbers = jnp.asarray(raw.astype("float32"), dtype)
        return np.asarray(program(likelihood)(jnp.asarray(x, dtype), numbers))

    found, exact = cdf("float32"), cdf("float64")
    assert found.dtype == np.float32 and exact.dtype == np.float64
    assert found.min() >= 0 and found.max() <= 1 and np.diff(found).min() > -1e-4
    return float(np.abs(found - exact).max())


@pytest.mark.parametrize("mean", MEANS)
def test_counts_of_any_size(mean: float) -> None:
    """Poisson, and negative binomials from one that is nearly so to one of half a gamma count."""
    assert furthest(PoissonLikelihood, log(mean), stats.poisson(mean), np.round) < 2e-3
    for r in SHAPES:
        truth = stats.nbinom(r, r / (r + mean))
        assert furthest(NegativeBinomialLikelihood, log(mean, 1 / r), truth, np.round) < 2e-3, r


@pytest.mark.parametrize("shape", SHAPES)
def test_gamma_and_beta_of_any_shape(shape: float) -> None:
    assert furthest(GammaLikelihood, log(2.0, shape), stats.gamma(shape, scale=2 / shape), np.asarray) < 2e-3
    for share in (0.5, 0.02):
        truth = stats.beta(share * shape, (1 - share) * shape)
        raw = np.array([np.log(share) - np.log1p(-share), np.log(shape)])
        assert furthest(BetaLikelihood, raw, truth, np.asarray) < 2e-3, share


def test_float64_is_that_of_scipy() -> None:
    """As far as JAX's own series go."""
    cases = (
        (PoissonLikelihood(), log(1e5), stats.poisson(1e5)),
        (NegativeBinomialLikelihood(), log(1e5, 1 / 50), stats.nbinom(50, 50 / (50 + 1e5))),
    )
    for count, raw, truth in cases:
        x = np.round(truth.ppf([0.01, 0.3, 0.5, 0.9]))
        found = [float(count.cdf(jnp.asarray(each), jnp.asarray(raw))) for each in x]
        np.testing.assert_allclose(found, truth.cdf(x), rtol=1e-4)
