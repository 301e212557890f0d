"""Column likelihoods of counts 0, 1, 2, ...: Poisson and negative binomial, zero-inflated or with a hurdle.

All are probabilities.

The first number is a log mean, kept below e^30. An exposure (a library size, an area, a time at risk) multiplies the
mean, so it is an addition to that number: `cells.exposed(raw, log_exposure)` in place of `raw`, everywhere.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.distributions import Scalar
from tightbound.model.likelihoods.column_likelihood import (
    AbstractColumnLikelihood,
    Column,
    Measure,
    Raw,
    joint,
    log_odds,
    moments,
)
from tightbound.model.likelihoods.special import (
    beta_cdf,
    gamma_cdf,
    log1mexp,
    log_binomial_term,
    log_poisson_term,
    log_softplus,
    soft_clip,
)

_MOST_LOG_MEAN = 30.0
_LOG_DISPERSION = (-15.0, 15.0)
_GAUSSIAN_ABOVE = 1e6  # where the two are alike to a thousandth of a standard deviation
_GRID = 200


class AbstractCountLikelihood(AbstractColumnLikelihood):
    """A distribution of counts whose `raw[0]` is the log mean (of its base, where zeros are apart)."""

    is_count: ClassVar[bool] = True

    def exposed(self, raw: Raw, log_exposure: Scalar) -> Raw:
        """The numbers of the cell whose (base) mean is `exposure` times that of `raw`."""
        return raw.at[0].add(log_exposure)


class AbstractBaseCountLikelihood(AbstractCountLikelihood):
    """Counts that others can be made from: what happens at zero, and beyond it, is known apart."""

    @abstractmethod
    def log_zero(self, raw: Raw) -> Scalar:
        """log P(X = 0)."""

    @abstractmethod
    def log_positive(self, raw: Raw) -> Scalar:
        """log P(X > 0), with all digits where it is tiny."""

    @abstractmethod
    def sample_positive(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """A draw given X > 0."""

    @abstractmethod
    def from_moments(self, mean: Column, variance: Column) -> Column:
        """Numbers (..., n_outputs) with these means, and these variances where there are such members; on the host."""


def _counts(x: Scalar) -> tuple[Array, Scalar]:
    """Whether x is a count, and a count above zero to stand where it is not or is zero."""
    legal = (x >= 0) & (x == jnp.floor(x))
    return legal, jnp.where(legal & (x > 0), x, 1)


def _draw_poisson(mean: Scalar, *, key: PRNGKeyArray) -> Scalar:
    large = mean > _GAUSSIAN_ABOVE
    exact = jax.random.poisson(key, jnp.where(large, 1, mean)).astype(mean.dtype)
    gaussian = jnp.round(mean + jnp.sqrt(mean) * jax.random.normal(key, (), mean.dtype))
    return jnp.where(large, gaussian, exact)


@eqx.filter_jit
def _each(f: Callable[[Raw], Scalar], raws: Float[Array, "g n"]) -> Float[Array, " g"]:
    return jax.vmap(f)(raws)


@final
class PoissonLikelihood(AbstractBaseCountLikelihood):
    """mean^x e^-mean / x!.

    raw = (log mean). Density with respect to counting.
    Source: McCullagh and Nelder (1989), chapter 6; the form without cancellation, Loader (2000).
    Example: `cells.log_prob(x, cells.exposed(raw, jnp.log(library_size)))` for `cells = PoissonLikelihood()`.
    """

    measure: ClassVar[Measure] = "counting"

    @property
    def n_outputs(self) -> int:
        """1."""
        return 1

    def parameters(self, raw: Raw) -> tuple[Scalar]:
        """Log mean."""
        return (jnp.minimum(raw[0] - jax.nn.softplus(raw[0] - _MOST_LOG_MEAN), _MOST_LOG_MEAN),)

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """x log mean - mean - log x!, in saddle-point form."""
        legal, k = _counts(x)
        (log_mean,) = self.parameters(raw)
        positive = log_poisson_term(k, jnp.exp(log_mean) / k - 1, log_mean - jnp.log(k))
        return jnp.where(legal, jnp.where(x > 0, positive, self.log_zero(raw)), -jnp.inf)

    def log_zero(self, raw: Raw) -> Scalar:
        """-mean."""
        return -self.mean(raw)

    def log_positive(self, raw: Raw) -> Scalar:
        """log(1 - e^-mean)."""
        return log1mexp(self.parameters(raw)[0])

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """One count (a rounded Gaussian for means above a million)."""
        return _draw_poisson(self.mean(raw), key=key)

    def sample_positive(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """1 + Poisson of the time that is left after the first event of a process on [0, 1]."""
        key_first, key_rest = jax.random.split(key)
        mean = self.mean(raw)
        u = jax.random.uniform(key_first, (), raw.dtype)
        left = mean + jnp.log1p(u * jnp.expm1(-mean))
        return 1 + _draw_poisson(jnp.maximum(left, 0), key=key_rest)

    def mean(self, raw: Raw) -> Scalar:
        """exp(log mean)."""
        return jnp.exp(self.parameters(raw)[0])

    def variance(self, raw: Raw) -> Scalar:
        """The mean."""
        return self.mean(raw)

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """The regularised upper incomplete gamma function of (floor(x) + 1, mean)."""
        return jnp.where(x < 0, 0, 1 - gamma_cdf(jnp.floor(jnp.maximum(x, 0)) + 1, self.mean(raw)))

    def from_moments(self, mean: Column, variance: Column) -> Column:
        """The mean."""
        return np.log(np.maximum(mean, 1e-6))[..., None]

    def start(self, column: Column) -> Column:
        """Mean of the column."""
        return self.from_moments(*(np.array(m) for m in moments(column)))


@final
class NegativeBinomialLikelihood(AbstractBaseCountLikelihood):
    """Gamma(x + r) / (Gamma(r) x!) p^r (1 - p)^x with r = 1 / dispersion, p = r / (r + mean).

    Variance = mean + dispersion mean^2. raw = (log mean, log dispersion); the dispersion stays within e^-15 (a Poisson,
    in effect) and e^15. Density with respect to counting.
    Source: Hilbe (2011), type 2; the form without cancellation, Loader (2000).
    Example: `NegativeBinomialLikelihood().variance(jnp.array([0.0, 0.0]))` is 2.
    """

    measure: ClassVar[Measure] = "counting"

    @property
    def n_outputs(self) -> int:
        """2."""
        return 2

    def parameters(self, raw: Raw) -> tuple[Scalar, Scalar]:
        """Log mean and log dispersion."""
        log_mean = jnp.minimum(raw[0] - jax.nn.softplus(raw[0] - _MOST_LOG_MEAN), _MOST_LOG_MEAN)
        return log_mean, soft_clip(raw[1], *_LOG_DISPERSION)

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """log of r / (r + x) times the binomial term C(r + x, x) p^r (1 - p)^x."""
        legal, k = _counts(x)
        log_mean, log_dispersion = self.parameters(raw)
        r = jnp.exp(-log_dispersion)
        log_total = jnp.logaddexp(-log_dispersion, log_mean)
        log_p, log_q = -log_dispersion - log_total, log_mean - log_total
        # (k - mean) p, with p small where the mean is large.
        d = k * jnp.exp(log_p) - jnp.exp(log_mean + log_p)
        positive = log_binomial_term(r, k, d, log_p, log_q) - jnp.log1p(k * jnp.exp(log_dispersion))
        return jnp.where(legal, jnp.where(x > 0, positive, self.log_zero(raw)), -jnp.inf)

    def log_zero(self, raw: Raw) -> Scalar:
        """-r log(1 + mean / r)."""
        log_mean, log_dispersion = self.parameters(raw)
        return -jax.nn.softplus(log_mean + log_dispersion) * jnp.exp(-log_dispersion)

    def log_positive(self, raw: Raw) -> Scalar:
        """log(1 - P(0))."""
        log_mean, log_dispersion = self.parameters(raw)
        return log1mexp(log_softplus(log_mean + log_dispersion) - log_dispersion)

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """Poisson with a gamma mean of shape r."""
        key_mean, key_count = jax.random.split(key)
        log_mean, log_dispersion = self.parameters(raw)
        log_gamma = jax.random.loggamma(key_mean, jnp.exp(-log_dispersion), (), raw.dtype)
        return _draw_poisson(jnp.exp(log_gamma + log_mean + log_dispersion), key=key_count)

    def sample_positive(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """1 + what follows the first event of a Polya process on [0, 1], given that there is one.

        The first event lies before s with probability 1 - (1 + s mean / r)^-r; given it at s, the rate is gamma with
        shape r + 1 and rate r / mean + s.
        """
        key_first, key_rate, key_rest = jax.random.split(key, 3)
        log_mean, log_dispersion = self.parameters(raw)
        r, ratio = jnp.exp(-log_dispersion), jnp.exp(log_mean + log_dispersion)
        u = jax.random.uniform(key_first, (), raw.dtype)
        some = -jnp.expm1(self.log_zero(raw))
        # s mean / r, at most mean / r
        elapsed = jnp.minimum(jnp.expm1(-jnp.log1p(-u * some) / r), ratio)
        rate = jax.random.gamma(key_rate, r + 1, (), raw.dtype) / (1 + elapsed)
        return 1 + _draw_poisson(rate * (ratio - elapsed), key=key_rest)

    def mean(self, raw: Raw) -> Scalar:
        """exp(log mean)."""
        return jnp.exp(self.parameters(raw)[0])

    def variance(self, raw: Raw) -> Scalar:
        """mean + dispersion mean^2."""
        log_mean, log_dispersion = self.parameters(raw)
        return jnp.exp(log_mean) + jnp.exp(2 * log_mean + log_dispersion)

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """The regularised incomplete beta function I_p(r, floor(x) + 1)."""
        log_mean, log_dispersion = self.parameters(raw)
        r, mean = jnp.exp(-log_dispersion), jnp.exp(log_mean)
        some = jnp.floor(jnp.maximum(x, 0)) + 1
        log_p, log_q = jax.nn.log_sigmoid(jnp.stack([-1, 1]) * (log_mean + log_dispersion))
        found = beta_cdf(r, some, jnp.exp(log_p), (some - mean) / (r + mean), log_p, log_q)
        return jnp.where(x < 0, 0, found)

    def from_moments(self, mean: Column, variance: Column) -> Column:
        """Mean and variance; a dispersion of 0.001 where the variance is below that of a Poisson."""
        mean = np.maximum(mean, 1e-6)
        return np.stack([np.log(mean), np.log(np.clip((variance - mean) / mean**2, 1e-3, 1e3))], axis=-1)

    def start(self, column: Column) -> Column:
        """Mean and variance of the column."""
        return self.from_moments(*(np.array(m) for m in moments(column)))


@final
class ZeroInflatedLikelihood(AbstractCountLikelihood):
    """pi [x = 0] + (1 - pi) base(x): zeros of two kinds.

    raw = (those of the base, log-odds of pi). Density with respect to counting.
    Source: Lambert (1992).
    Example: `ZeroInflatedLikelihood(NegativeBinomialLikelihood()).n_outputs == 3`.
    """

    measure: ClassVar[Measure] = "counting"
    base: AbstractBaseCountLikelihood

    @property
    def n_outputs(self) -> int:
        """Those of the base, and 1."""
        return self.base.n_outputs + 1

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """log(pi + (1 - pi) base(0)) at zero, log(1 - pi) + log base(x) above."""
        gate, kept = jax.nn.log_sigmoid(raw[-1]), jax.nn.log_sigmoid(-raw[-1])
        zero = jnp.logaddexp(gate, kept + self.base.log_zero(raw[:-1]))
        return jnp.where(x == 0, zero, joint(kept, self.base.log_prob(x, raw[:-1])))

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """Zero, or a draw of the base."""
        key_gate, key_base = jax.random.split(key)
        zero = jax.random.bernoulli(key_gate, jax.nn.sigmoid(raw[-1]))
        return jnp.where(zero, 0, self.base.sample(raw[:-1], key=key_base))

    def mean(self, raw: Raw) -> Scalar:
        """(1 - pi) base mean."""
        return jax.nn.sigmoid(-raw[-1]) * self.base.mean(raw[:-1])

    def variance(self, raw: Raw) -> Scalar:
        """(1 - pi) (base variance + pi base mean^2)."""
        pi, mean = jax.nn.sigmoid(raw[-1]), self.base.mean(raw[:-1])
        return jax.nn.sigmoid(-raw[-1]) * (self.base.variance(raw[:-1]) + pi * mean**2)

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """pi + (1 - pi) F(x) from zero on."""
        found = jax.nn.sigmoid(raw[-1]) + jax.nn.sigmoid(-raw[-1]) * self.base.cdf(x, raw[:-1])
        return jnp.where(x < 0, 0, found)

    def start(self, column: Column) -> Column:
        """Mean and variance of the column, and about its share of zeros, as far as the base has such members."""
        mean, variance = moments(column)
        zeros = (np.sum(column == 0) + 0.5) / (len(column) + 1)
        pi = np.clip(np.linspace(0, 1, _GRID) * zeros, 0.01, 0.9999)
        inner = mean / (1 - pi)
        raws = self.base.from_moments(inner, (variance + mean**2) / (1 - pi) - inner**2)
        shares = pi + (1 - pi) * np.exp(np.asarray(_each(self.base.log_zero, jnp.asarray(raws, float))))
        best = np.argmin(np.abs(shares - zeros))
        return np.append(raws[best], log_odds(pi[best]))


@final
class HurdleLikelihood(AbstractCountLikelihood):
    """pi at zero, (1 - pi) base(x) / (1 - base(0)) above: whether there is any, and how many.

    raw = (those of the base, log-odds of pi). Density with respect to counting. An exposure multiplies the mean of the
    base before its zero is cut off, and leaves pi alone.
    Source: Mullahy (1986).
    Example: `HurdleLikelihood(PoissonLikelihood()).n_outputs == 2`.
    """

    measure: ClassVar[Measure] = "counting"
    base: AbstractBaseCountLikelihood

    @property
    def n_outputs(self) -> int:
        """Those of the base, and 1."""
        return self.base.n_outputs + 1

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """log pi at zero, log(1 - pi) + log base(x) - log(1 - base(0)) above."""
        truncated = joint(-self.base.log_positive(raw[:-1]), self.base.log_prob(jnp.where(x == 0, 1, x), raw[:-1]))
        return jnp.where(x == 0, jax.nn.log_sigmoid(raw[-1]), joint(jax.nn.log_sigmoid(-raw[-1]), truncated))

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """Zero, or a positive draw of the base."""
        key_gate, key_base = jax.random.split(key)
        zero = jax.random.bernoulli(key_gate, jax.nn.sigmoid(raw[-1]))
        return jnp.where(zero, 0, self.base.sample_positive(raw[:-1], key=key_base))

    def mean(self, raw: Raw) -> Scalar:
        """(1 - pi) base mean / (1 - base(0))."""
        return jax.nn.sigmoid(-raw[-1]) * self._moments(raw)[0]

    def variance(self, raw: Raw) -> Scalar:
        """(1 - pi) (truncated variance + pi truncated mean^2)."""
        mean, square = self._moments(raw)
        kept = jax.nn.sigmoid(-raw[-1])
        return kept * (jnp.maximum(square - mean**2, 0) + jax.nn.sigmoid(raw[-1]) * mean**2)

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """pi + (1 - pi) (F(x) - F(0)) / (1 - F(0)) from zero on."""
        above = self.base.cdf(x, raw[:-1]) - jnp.exp(self.base.log_zero(raw[:-1]))
        share = jnp.clip(above * jnp.exp(-self.base.log_positive(raw[:-1])), 0, 1)
        return jnp.where(x < 0, 0, jax.nn.sigmoid(raw[-1]) + jax.nn.sigmoid(-raw[-1]) * jnp.where(x < 1, 0, share))

    def start(self, column: Column) -> Column:
        """The share of zeros, and about the mean and variance of the positive values."""
        above = column[column > 0]
        mean, square = (max(float(np.mean(v)), 1.0) if len(v) else 1.0 for v in (above, above**2))
        # Base moments are the truncated ones times q = P(X > 0): the q that reproduces itself.
        q = (np.arange(_GRID) + 1) / _GRID
        raws = self.base.from_moments(mean * q, square * q - (mean * q) ** 2)
        off = np.abs(np.asarray(_each(self.base.log_positive, jnp.asarray(raws, float))) - np.log(q))
        pi = (len(column) - len(above) + 0.5) / (len(column) + 1)
        return np.append(raws[np.argmin(off)], log_odds(pi))

    def _moments(self, raw: Raw) -> tuple[Scalar, Scalar]:
        """Mean and mean square given X > 0."""
        mean, variance = self.base.mean(raw[:-1]), self.base.variance(raw[:-1])
        log_some = self.base.log_positive(raw[:-1])
        tiny = float(np.finfo(raw.dtype).tiny)
        share = jnp.maximum(jnp.exp(log_some), tiny)
        # Where the base is all zeros, what is left of it is a single one.
        return tuple(jnp.where(share > tiny, jnp.maximum(m / share, 1), 1) for m in (mean, variance + mean**2))  # type: ignore[return-value]
