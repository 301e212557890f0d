"""Column likelihoods of numbers: Gaussian, Student t, mixtures; gamma above 0, beta in an interval."""

import math
from abc import abstractmethod
from statistics import NormalDist
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betainc, logsumexp
from jax.scipy.stats import logistic, norm, t
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from tightbound.model.distributions import Scalar, Vector
from tightbound.model.families import positive
from tightbound.model.likelihoods.column_likelihood import (
    AbstractColumnLikelihood,
    Column,
    Measure,
    Raw,
    check_positive,
    check_whole,
    constant,
    held,
    log_odds,
    moments,
    raw_scale,
)
from tightbound.model.likelihoods.special import beta_cdf, gamma_cdf, log_binomial_term, log_poisson_term, soft_clip

_FLOOR = 0.01
_WHY = "or a repeated value has no finite density"
_LOG_DF = (-5.0, 5.0)
_DF_AT_START = 5.0
_NO_SPREAD = -1e4  # softplus of it is 0
_BETWEEN = 0.7  # of a mixture's variance at the start that lies between its components


def _scale(floor: Array, raw: Array) -> Array:
    return held(floor, raw) + positive(raw)


@final
class GaussianLikelihood(AbstractColumnLikelihood):
    """N(loc, scale^2), scale = floor + positive(raw).

    raw = (loc, raw scale), in units of x. Density with respect to length. Raises `ValueError` unless floor > 0.
    Example: `GaussianLikelihood(0.01).log_prob(jnp.array(0.3), jnp.array([0.0, 0.0]))`.
    """

    measure: ClassVar[Measure] = "lebesgue"
    is_gaussian: ClassVar[bool] = True
    floor: Float[Array, ""]

    def __init__(self, floor: float = _FLOOR):
        """`floor` is the least standard deviation."""
        check_positive("floor", floor, _WHY)
        self.floor = constant(floor)

    @property
    def n_outputs(self) -> int:
        """2."""
        return 2

    def parameters(self, raw: Raw) -> tuple[Scalar, Scalar]:
        """Location and standard deviation."""
        return raw[0], _scale(self.floor, raw[1])

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """-(x - loc)^2 / (2 scale^2) - log scale - log(2 pi)/2."""
        return norm.logpdf(x, *self.parameters(raw))

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """loc + scale * epsilon."""
        loc, scale = self.parameters(raw)
        return loc + scale * jax.random.normal(key, (), raw.dtype)

    def mean(self, raw: Raw) -> Scalar:
        """loc."""
        return raw[0]

    def variance(self, raw: Raw) -> Scalar:
        """scale^2."""
        return self.parameters(raw)[1] ** 2

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """Phi((x - loc) / scale)."""
        return norm.cdf(x, *self.parameters(raw))

    def moved(self, raw: Raw, noise: Scalar, here: Bool[Array, ""] | bool) -> tuple["GaussianLikelihood", Raw]:
        """The cell at loc + scale * noise, with a scale of zero, if `here`."""
        loc, scale = self.parameters(raw)
        at = jnp.stack([loc + scale * noise, jnp.full_like(loc, _NO_SPREAD)])
        fixed = eqx.tree_at(lambda c: c.floor, self, jnp.where(here, 0, self.floor))
        return fixed, jnp.where(here, at, raw)

    def start(self, column: Column) -> Column:
        """Mean and standard deviation of the column."""
        mean, variance = moments(column)
        return np.array([mean, raw_scale(self.floor, math.sqrt(variance))])


@final
class StudentTLikelihood(AbstractColumnLikelihood):
    """loc + scale t_df with df in (2, 150): tails that forgive outliers; mean and variance exist.

    raw = (loc, raw scale, log(df - 2)); scale = floor + positive(raw scale) is no standard deviation, which is
    scale sqrt(df / (df - 2)). Density with respect to length. Raises `ValueError` unless floor > 0.
    Source: Lange, Little and Taylor (1989).
    Example: `StudentTLikelihood().mean(jnp.array([0.3, 0.0, 1.0]))`.
    """

    measure: ClassVar[Measure] = "lebesgue"
    floor: Float[Array, ""]

    def __init__(self, floor: float = _FLOOR):
        """`floor` is the least scale."""
        check_positive("floor", floor, _WHY)
        self.floor = constant(floor)

    @property
    def n_outputs(self) -> int:
        """3."""
        return 3

    def parameters(self, raw: Raw) -> tuple[Scalar, Scalar, Scalar]:
        """Degrees of freedom, location, scale (SciPy's order)."""
        # Above 150 degrees it is a Gaussian, and the density's log-gammas would lose digits.
        return 2 + jnp.exp(soft_clip(raw[2], *_LOG_DF)), raw[0], _scale(self.floor, raw[1])

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """log t_df((x - loc) / scale) - log scale."""
        return t.logpdf(x, *self.parameters(raw))

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """loc + scale * t."""
        df, loc, scale = self.parameters(raw)
        return loc + scale * jax.random.t(key, df, (), raw.dtype)

    def mean(self, raw: Raw) -> Scalar:
        """loc."""
        return raw[0]

    def variance(self, raw: Raw) -> Scalar:
        """scale^2 df / (df - 2)."""
        df, _, scale = self.parameters(raw)
        return scale**2 * df / (df - 2)

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """By the incomplete beta function: half of I_{df / (df + y^2)}(df/2, 1/2) beyond |y|."""
        df, loc, scale = self.parameters(raw)
        y = (x - loc) / scale
        beyond = 0.5 * betainc(df / 2, jnp.full_like(df, 0.5), df / (df + y**2))
        return jnp.where(y > 0, 1 - beyond, beyond)

    def start(self, column: Column) -> Column:
        """Mean and standard deviation of the column, 5 degrees of freedom."""
        mean, variance = moments(column)
        scale = math.sqrt(variance * (_DF_AT_START - 2) / _DF_AT_START)
        return np.array([mean, raw_scale(self.floor, scale), math.log(_DF_AT_START - 2)])


class AbstractMixtureLikelihood(AbstractColumnLikelihood):
    """sum_c pi_c f((x - loc_c) / scale_c) / scale_c for a standard density f around 0."""

    n_components: eqx.AbstractVar[int]
    floor: eqx.AbstractVar[Float[Array, ""]]
    unit_variance: eqx.AbstractClassVar[float]
    """Variance of f."""

    @abstractmethod
    def log_unit(self, y: Vector, scale: Vector) -> Vector:
        """log of f(y / scale) / scale."""

    @abstractmethod
    def cdf_unit(self, y: Vector) -> Vector:
        """Distribution function of f."""

    @abstractmethod
    def noise(self, dtype: jnp.dtype, *, key: PRNGKeyArray) -> Scalar:
        """A draw of f."""

    @property
    def n_outputs(self) -> int:
        """3 n_components + 1."""
        return 3 * self.n_components + 1

    def parameters(self, raw: Raw) -> tuple[Vector, Vector, Vector]:
        """Log weights, locations and scales of the components, (n_components,) each."""
        logits, offsets, spread = jnp.split(raw[1:], 3)
        return jax.nn.log_softmax(logits), raw[0] + offsets, _scale(self.floor, spread)

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """Log-sum-exp of the components' log densities."""
        log_weights, loc, scale = self.parameters(raw)
        return logsumexp(log_weights + self.log_unit(x - loc, scale))

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """A component, then a draw of it."""
        key_component, key_noise = jax.random.split(key)
        log_weights, loc, scale = self.parameters(raw)
        c = jax.random.categorical(key_component, log_weights)
        return loc[c] + scale[c] * self.noise(raw.dtype, key=key_noise)

    def mean(self, raw: Raw) -> Scalar:
        """sum_c pi_c loc_c."""
        log_weights, loc, _ = self.parameters(raw)
        return jnp.sum(jnp.exp(log_weights) * loc)

    def variance(self, raw: Raw) -> Scalar:
        """sum_c pi_c (variance_c + (loc_c - mean)^2)."""
        log_weights, loc, scale = self.parameters(raw)
        return jnp.sum(jnp.exp(log_weights) * (self.unit_variance * scale**2 + (loc - self.mean(raw)) ** 2))

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """The weighted sum of the components' distribution functions."""
        log_weights, loc, scale = self.parameters(raw)
        return jnp.sum(jnp.exp(log_weights) * self.cdf_unit((x - loc) / scale))

    def start(self, column: Column) -> Column:
        """Mean and variance of the column, the components spread evenly: alike, they would stay alike."""
        mean, variance = moments(column)
        k = self.n_components
        offsets = np.array([NormalDist().inv_cdf((c + 0.5) / k) for c in range(k)])
        offsets *= math.sqrt(_BETWEEN * variance / max(np.mean(offsets**2), 1e-6))
        within = raw_scale(self.floor, math.sqrt((variance - np.mean(offsets**2)) / self.unit_variance))
        return np.concatenate([[mean], np.zeros(k), offsets, np.full(k, within)])


@final
class GaussianMixtureLikelihood(AbstractMixtureLikelihood):
    """sum_c pi_c N(loc_c, scale_c^2), for columns with several modes.

    raw = (shift, logits of pi, loc_c - shift, raw scales), in units of x. Density with respect to length.
    Raises `ValueError` for fewer than one component or a floor that is not positive.
    Source: Bishop (1994), mixture density networks.
    Example: `GaussianMixtureLikelihood(3).start(column)`.
    """

    measure: ClassVar[Measure] = "lebesgue"
    unit_variance: ClassVar[float] = 1.0
    n_components: int = eqx.field(static=True)
    floor: Float[Array, ""]

    def __init__(self, n_components: int, floor: float = _FLOOR):
        """`floor` is the least standard deviation of a component."""
        check_whole("n_components", n_components, 1, "2 to 10 is usual")
        check_positive("floor", floor, _WHY)
        self.n_components, self.floor = n_components, constant(floor)

    def log_unit(self, y: Vector, scale: Vector) -> Vector:
        """log N(y; 0, scale^2)."""
        return norm.logpdf(y, 0, scale)

    def cdf_unit(self, y: Vector) -> Vector:
        """Phi(y)."""
        return norm.cdf(y)

    def noise(self, dtype: jnp.dtype, *, key: PRNGKeyArray) -> Scalar:
        """N(0, 1)."""
        return jax.random.normal(key, (), dtype)


@final
class LogisticMixtureLikelihood(AbstractMixtureLikelihood):
    """sum_c pi_c Logistic(loc_c, scale_c): like a mixture of Gaussians, with tails that fall as e^-|y|.

    raw = (shift, logits of pi, loc_c - shift, raw scales), in units of x; the scale is no standard deviation, which is
    scale pi / sqrt(3). Density with respect to length.
    Raises `ValueError` for fewer than one component or a floor that is not positive.
    Source: Salimans, Karpathy, Chen and Kingma (2017), without their discretisation.
    Example: `LogisticMixtureLikelihood(3).start(column)`.
    """

    measure: ClassVar[Measure] = "lebesgue"
    unit_variance: ClassVar[float] = math.pi**2 / 3
    n_components: int = eqx.field(static=True)
    floor: Float[Array, ""]

    def __init__(self, n_components: int, floor: float = _FLOOR):
        """`floor` is the least scale of a component."""
        check_whole("n_components", n_components, 1, "2 to 10 is usual")
        check_positive("floor", floor, _WHY)
        self.n_components, self.floor = n_components, constant(floor)

    def log_unit(self, y: Vector, scale: Vector) -> Vector:
        """-2 log(e^{y/2} + e^{-y/2}) of y / scale, - log scale."""
        return logistic.logpdf(y, 0, scale)

    def cdf_unit(self, y: Vector) -> Vector:
        """1 / (1 + e^-y)."""
        return jax.nn.sigmoid(y)

    def noise(self, dtype: jnp.dtype, *, key: PRNGKeyArray) -> Scalar:
        """Logistic(0, 1)."""
        return jax.random.logistic(key, (), dtype)


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
        ratio = jnp.maximum(x, 0) * jnp.exp(-log_mean)
        return gamma_cdf(jnp.exp(log_shape), ratio * jnp.exp(log_shape), ratio - 1)

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
        inside = (x > low) & (x < high)
        within = jnp.where(inside, x, (low + high) / 2)
        up, down = (within - low) / (high - low), (high - within) / (high - low)
        m = jax.nn.sigmoid(self.parameters(raw)[0])
        found = beta_cdf(*self._shapes(raw), up, (up - m) / m, jnp.log(up), jnp.log(down))
        return jnp.where(inside, found, (x >= high).astype(found.dtype))

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
