"""Special functions that keep their digits in float32, where a difference of log-gammas would lose them.

The log density of a Poisson count of a million is near -8, and a difference of terms near ten million: in float32 it is
off by a nat. The saddle-point form writes it as small terms (Loader, 2000, "Fast and accurate computation of binomial
probabilities"), and serves the gamma, beta and negative binomial densities too.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import betainc, erfc, gammainc
from jaxtyping import Array, Bool, Float

Numbers = Float[Array, "..."]

_HALF_LOG_2PI = 0.9189385332046727
_NEAR = 0.25
_SERIES_TERMS = 10  # (1/7)^20 is below the precision of float64
_LARGE = 16.0
_SHIFT = 16
_TINY_LOG = -20.0
_SERIES_UP_TO = 200.0
_SMALL = 40.0
_MIDDLE = 0.003  # of eta: nearer, a difference of reciprocals would have no digits


def soft_clip(raw: Numbers, low: float, high: float) -> Numbers:
    """raw within (low, high), as good as unchanged more than a few units inside; increasing throughout."""
    below = jnp.minimum(raw - jax.nn.softplus(raw - high), high)
    return jnp.maximum(below + jax.nn.softplus(low - below), low)


def log_softplus(raw: Numbers) -> Numbers:
    """log log(1 + e^raw), which is raw itself far below zero."""
    far = raw < _TINY_LOG
    value = jnp.log(jax.nn.softplus(jnp.where(far, 0, raw)))
    return jnp.where(far, raw - 0.5 * jnp.exp(jnp.minimum(raw, _TINY_LOG)), value)


def log1mexp(log_a: Numbers) -> Numbers:
    """log(1 - e^-a) from log a, which is log a itself for a tiny a."""
    far = log_a < _TINY_LOG
    value = jnp.log(-jnp.expm1(-jnp.exp(jnp.where(far, 0, log_a))))
    return jnp.where(far, log_a - 0.5 * jnp.exp(jnp.minimum(log_a, _TINY_LOG)), value)


def log1pmx(u: Numbers) -> Numbers:
    """log(1 + u) - u for |u| < 1/4, by the series of the inverse hyperbolic tangent."""
    r = u / (2 + u)
    y = r * r
    tail = jnp.zeros_like(u)
    for k in reversed(range(_SERIES_TERMS)):
        tail = tail * y + 1 / (3 + 2 * k)
    return r * (2 * y * tail - u)


def stirling_error(n: Numbers) -> Numbers:
    """log Gamma(n + 1) - [(n + 1/2) log n - n + log(2 pi)/2] for n > 0."""
    large = n >= _LARGE
    s = jnp.where(large, 1, n)
    # n! = (n + m)! / ((n + 1) ... (n + m)): the series at n + m, without the logarithm of a gamma function, which costs
    # three times as much. No term exceeds m.
    top = s + _SHIFT
    share = (s + 1) / top
    for i in range(2, _SHIFT):
        share = share * ((s + i) / top)
    small = (s + 0.5) * jnp.log1p(_SHIFT / s) - _SHIFT - jnp.log(share)
    v = 1 / jnp.where(large, n, top)
    w = v * v
    series = v * (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188))))
    return series + jnp.where(large, 0, small)


def deviance(a: Numbers, u: Numbers, log_ratio: Numbers) -> Numbers:
    """a log(a/m) + m - a = a (u - log(1 + u)) for m = a (1 + u), where `log_ratio` is log(1 + u) = log(m/a)."""
    near = jnp.abs(u) < _NEAR
    return a * jnp.where(near, -log1pmx(jnp.where(near, u, 0)), u - log_ratio)


def log_poisson_term(a: Numbers, u: Numbers, log_ratio: Numbers) -> Numbers:
    """log of m^a e^-m / Gamma(a + 1) for a > 0 and a mean m = a (1 + u), with log_ratio = log(m/a)."""
    return -stirling_error(a) - deviance(a, u, log_ratio) - 0.5 * jnp.log(a) - _HALF_LOG_2PI


def log_binomial_term(a: Numbers, b: Numbers, d: Numbers, log_p: Numbers, log_q: Numbers) -> Numbers:
    """log of Gamma(a + b + 1) / (Gamma(a + 1) Gamma(b + 1)) p^a q^b for a, b > 0 and q = 1 - p; d = (a + b) p - a."""
    # Stacked: one log-gamma to compile and to differentiate in place of three.
    three = jnp.stack([a + b, a, b])
    log_n, log_a, log_b = logs = jnp.log(three)
    whole, left, right = stirling_error(three) + 0.5 * logs
    ratios = jnp.stack([log_p - log_a, log_q - log_b]) + log_n
    off = jnp.sum(deviance(three[1:], jnp.stack([d, -d]) / three[1:], ratios), axis=0)
    # Of sqrt(2 pi n), sqrt(2 pi a) and sqrt(2 pi b), one sqrt(2 pi) is left below.
    return whole - left - right - off - _HALF_LOG_2PI


def log_choices(a: Numbers, x: Numbers) -> Numbers:
    """log of Gamma(x + a) / (Gamma(a) x!) for a > 0 and x >= 0: ways to put x into a boxes; 0 for x = 0."""
    some = x > 0
    k = jnp.where(some, x, 1)
    entropy = a * jnp.log1p(k / a) + k * jnp.log1p(a / k)
    whole, left, right = stirling_error(jnp.stack([a + k, a, k]))
    rest = whole - left - right - 0.5 * (jnp.log(k) + jnp.log1p(k / a)) - _HALF_LOG_2PI
    return jnp.where(some, entropy + rest, 0)


def stirling_excess(x: Numbers) -> Numbers:
    """log x! - (x log x - x) for x >= 0; 0 for x = 0."""
    k = jnp.where(x > 0, x, 1)
    return jnp.where(x > 0, stirling_error(k) + 0.5 * jnp.log(k) + _HALF_LOG_2PI, 0)


def gamma_cdf(a: Numbers, x: Numbers, u: Numbers | None = None) -> Numbers:
    """P(a, x), the regularised lower incomplete gamma function, for x >= 0; `u`: x / a - 1 where it is better known.

    Beyond a = 200 by the first terms of its uniform expansion, whose error is below 1e-5: float32 loses all digits of
    the series there. Source: Temme (1979); DLMF, 8.12.
    """
    large = _in_float32(a) & (a > _SERIES_UP_TO)
    series = gammainc(jnp.where(large, 1, a), jnp.where(large, 1, x))
    u = x / jnp.where(large, a, 1) - 1 if u is None else u
    return jnp.where(large, _expanded(a, -a * log1pmx(u), u, 1.0, 1 / 3), series)


def beta_cdf(a: Numbers, b: Numbers, x: Numbers, u: Numbers, log_x: Numbers, log_rest: Numbers) -> Numbers:
    """I_x(a, b), the regularised incomplete beta function, within (0, 1).

    Beyond a few hundred by the first terms of its uniform expansion (Temme, 1982; DLMF, 8.18), and where one of a and
    b is small, by a gamma distribution whose argument is right to second order (Wise, 1950): within 5e-4 in float32.

    Args:
        u: x / x0 - 1 with x0 = a / (a + b), which a difference of rounded numbers would not know.
        log_x, log_rest: logarithms of x and 1 - x.
    """
    few = ~_in_float32(a) | (a + b < 2 * _SERIES_UP_TO)
    series = betainc(jnp.where(few, a, 1), jnp.where(few, b, 1), jnp.where(few, x, 0.5))
    small_a = gamma_cdf(a, -(b + (a - 1) / 2) * log_rest)
    small_b = 1 - gamma_cdf(b, -(a + (b - 1) / 2) * log_x)
    x0 = a / (a + b)
    root = jnp.sqrt(x0 * (b / (a + b)))
    exponent = -(a * log1pmx(u) + b * log1pmx(-u * a / b))
    expanded = _expanded(a + b, exponent, u, root / x0, (1 - 2 * x0) / (3 * root))
    large = jnp.where(a < _SMALL, small_a, jnp.where(b < _SMALL, small_b, expanded))
    return jnp.clip(jnp.where(few, series, large), 0, 1)


def _in_float32(a: Numbers) -> Bool[Array, ""]:
    return jnp.asarray(a.dtype.itemsize <= 4)


def _expanded(n: Numbers, exponent: Numbers, u: Numbers, slope: Numbers | float, middle: Numbers | float) -> Numbers:
    """1/2 erfc(-sign(u) sqrt(h)) + e^-h (1 / eta - slope / u) / sqrt(2 pi n), h = n eta^2 / 2; `middle` for u = 0."""
    h = jnp.maximum(exponent, 0)
    eta = jnp.sign(u) * jnp.sqrt(2 * h / n)
    near = jnp.abs(eta) < _MIDDLE
    term = jnp.where(near, middle, 1 / jnp.where(near, 1, eta) - slope / jnp.where(near, 1, u))
    return 0.5 * erfc(-jnp.sign(u) * jnp.sqrt(h)) + jnp.exp(-h) * term / jnp.sqrt(2 * jnp.pi * n)
