"""Column likelihoods on a half line or an interval: gamma, beta. Densities are per unit of x, zero at the ends.

A column with values on an end (a 0 among positive amounts, a share of exactly 1) needs point masses there:
SpikeAndSlabLikelihood.
"""

import math
from typing import ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betainc, gammainc
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.distributions import Scalar
from tightbound.model.likelihoods.column_likelihood import (
    AbstractColumnLikelihood,
    Column,
    Measure,
    Raw,
    constant,
    held,
    log_odds,
    moments,
)
from tightbound.model.likelihoods.special import log_binomial_term, log_poisson_term, soft_clip

_LOG_MEAN = (-50.0, 50.0)
_LOG_SHAPE = (-12.0, 15.0)
_LOGIT = (-15.0, 15.0)
_LOG_CONCENTRATION = (-10.0, 20.0)


def _positive_moments(column: Column) -> tuple[float, float]:
    # Of the values inside the support alone, and never without spread.
    mean, variance = moments(column[column > 0])
    mean = mean if mean > 0 else 1.0
    return mean, max(variance, (1e-3 * mean) ** 2)


@final
class GammaLikelihood(AbstractColumnLikelihood):
    """x^{a-1} e^{-a x / mean} (a / mean)^a / Gamma(a) on x > 0: shape a, variance mean^2 / a.

    raw = (log mean, log a); the mean stays within e^-50 and e^50, the shape within e^-12 and e^15.
    Density with respect to length.
    Source: McCullagh and Nelder (1989), chapter 8; the form without cancellation, Loader (2000).
    Example: `GammaLikelihood().mean(jnp.array([0.5, 0.0]))` is e^0.5.
    """

    measure: ClassVar[Measure] = "lebesgue"

    @property
    def n_outputs(self) -> int:
        """2."""
        return 2

    def parameters(self, raw: Raw) -> tuple[Scalar, Scalar]:
        """Log mean and log shape."""
        return soft_clip(raw[0], *_LOG_MEAN), soft_clip(raw[1], *_LOG_SHAPE)

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """log of a / x times the Poisson term (a x / mean)^a e^{-a x / mean} / Gamma(a + 1)."""
        inside = x > 0
        x = jnp.where(inside, x, 1)
        log_mean, log_shape = self.parameters(raw)
        log_x = jnp.log(x)
        term = log_poisson_term(jnp.exp(log_shape), x * jnp.exp(-log_mean) - 1, log_x - log_mean)
        return jnp.where(inside, term + log_shape - log_x, -jnp.inf)

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """A gamma draw of shape a, times mean / a; at least the smallest positive number."""
        log_mean, log_shape = self.parameters(raw)
        log_x = jax.random.loggamma(key, jnp.exp(log_shape), (), raw.dtype) + log_mean - log_shape
        return jnp.maximum(jnp.exp(log_x), float(np.finfo(raw.dtype).tiny))

    def mean(self, raw: Raw) -> Scalar:
        """exp(log mean)."""
        return jnp.exp(self.parameters(raw)[0])

    def variance(self, raw: Raw) -> Scalar:
        """mean^2 / a."""
        log_mean, log_shape = self.parameters(raw)
        return jnp.exp(2 * log_mean - log_shape)

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """The regularised incomplete gamma function of a x / mean."""
        log_mean, log_shape = self.parameters(raw)
        return gammainc(jnp.exp(log_shape), jnp.maximum(x, 0) * jnp.exp(log_shape - log_mean))

    def start(self, column: Column) -> Column:
        """Mean and variance of the positive values."""
        mean, variance = _positive_moments(column)
        return np.array([math.log(mean), 2 * math.log(mean) - math.log(variance)])


@final
class BetaLikelihood(AbstractColumnLikelihood):
    """Beta(m c, (1 - m) c) stretched onto low < x < high: mean m of the interval, concentration c.

    raw = (log-odds of m, log c); the log-odds stay within 15 of zero, c within e^-10 and e^20.
    Density with respect to length, in units of x. Raises `ValueError` unless low < high, both finite.
    Source: Ferrari and Cribari-Neto (2004).
    Example: `BetaLikelihood(0.0, 100.0).mean(jnp.array([0.0, 1.0]))` is 50.
    """

    measure: ClassVar[Measure] = "lebesgue"
    low: Float[Array, ""]
    high: Float[Array, ""]

    def __init__(self, low: float = 0.0, high: float = 1.0):
        """The ends of the interval, in units of x; neither belongs to it."""
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ValueError(
                f"The bounds of a beta column must be finite, low below high; got low={low!r} and high={high!r}; "
                "give the least and the largest value that the column can have."
            )
        self.low, self.high = constant(low), constant(high)

    @property
    def n_outputs(self) -> int:
        """2."""
        return 2

    def parameters(self, raw: Raw) -> tuple[Scalar, Scalar]:
        """Log-odds of the mean, log concentration."""
        return soft_clip(raw[0], *_LOGIT), soft_clip(raw[1], *_LOG_CONCENTRATION)

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """log of a b / (c t (1 - t) width) times the binomial term C(c, a) t^a (1 - t)^b, t = (x - low) / width."""
        low, high = held(self.low, raw), held(self.high, raw)
        inside = (x > low) & (x < high)
        x = jnp.where(inside, x, (low + high) / 2)
        up, down = (x - low) / (high - low), (high - x) / (high - low)
        logit, log_c = self.parameters(raw)
        c, m, rest = jnp.exp(log_c), jax.nn.sigmoid(logit), jax.nn.sigmoid(-logit)
        log_up, log_down = jnp.log(up), jnp.log(down)
        term = log_binomial_term(c * m, c * rest, c * jnp.where(logit > 0, rest - down, up - m), log_up, log_down)
        around = log_c + jax.nn.log_sigmoid(logit) + jax.nn.log_sigmoid(-logit) - log_up - log_down
        return jnp.where(inside, term + around - jnp.log(high - low), -jnp.inf)

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """One draw, kept off the ends to which it may round."""
        low, high = held(self.low, raw), held(self.high, raw)
        u = jax.random.beta(key, *self._shapes(raw), (), raw.dtype)
        return jnp.clip(low + (high - low) * u, jnp.nextafter(low, high), jnp.nextafter(high, low))

    def mean(self, raw: Raw) -> Scalar:
        """low + m (high - low)."""
        low, high = held(self.low, raw), held(self.high, raw)
        return low + (high - low) * jax.nn.sigmoid(self.parameters(raw)[0])

    def variance(self, raw: Raw) -> Scalar:
        """m (1 - m) (high - low)^2 / (c + 1)."""
        logit, log_c = self.parameters(raw)
        width = held(self.high - self.low, raw)
        return width**2 * jax.nn.sigmoid(logit) * jax.nn.sigmoid(-logit) / (jnp.exp(log_c) + 1)

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """The regularised incomplete beta function of t."""
        low, high = held(self.low, raw), held(self.high, raw)
        return betainc(*self._shapes(raw), jnp.clip((x - low) / (high - low), 0, 1))

    def start(self, column: Column) -> Column:
        """Mean and variance of the values inside the interval."""
        low, high = float(self.low), float(self.high)
        inside = (column > low) & (column < high)
        mean, variance = moments((column[inside] - low) / (high - low)) if inside.any() else (0.5, 1 / 12)
        most = mean * (1 - mean)
        return np.array([log_odds(mean), math.log(most / min(max(variance, 1e-4 * most), 0.99 * most) - 1)])

    def _shapes(self, raw: Raw) -> tuple[Scalar, Scalar]:
        logit, log_c = self.parameters(raw)
        return jnp.exp(log_c) * jax.nn.sigmoid(logit), jnp.exp(log_c) * jax.nn.sigmoid(-logit)
