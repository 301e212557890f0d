"""Scales on which a column is modelled: fixed monotone maps y = T(x), with log T'(x), so that densities are those of x.

A map is data, fitted to a column before the model is: its numbers are arrays without gradient. Differences of large
numbers lose digits in float32: a column such as a time in seconds is better centred in float64 before it gets here.
"""

from abc import abstractmethod
from statistics import NormalDist
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike, NDArray

from tightbound.model.cells.base import AbstractCells, Column, Measure, Raw, check_positive, constant, held, joint
from tightbound.model.distributions import Scalar

_NODES = 513
_REACH = 10.0  # standard deviations of the base on either side


class AbstractScale(eqx.Module):
    """A strictly increasing map of the line (or of x > low) to the line."""

    @abstractmethod
    def forward(self, x: Scalar) -> tuple[Scalar, Scalar]:
        """y = T(x) and log T'(x); the latter is -inf (and y any number) where T is not defined."""

    @abstractmethod
    def inverse(self, y: Scalar) -> Scalar:
        """x with T(x) = y."""

    @abstractmethod
    def moments(self, base: AbstractCells, raw: Raw) -> tuple[Scalar, Scalar]:
        """Mean and variance of x when y is a cell of `base`."""


@final
class AffineScale(AbstractScale):
    """y = (x - center) / scale.

    Raises `ValueError` unless scale > 0. Example: `AffineScale.of(column)` standardises.
    """

    center: Float[Array, ""]
    scale: Float[Array, ""]

    def __init__(self, center: float, scale: float):
        """Both in units of x."""
        check_positive("scale", scale, "or the map has no inverse")
        self.center, self.scale = constant(center), constant(scale)

    @classmethod
    def of(cls, column: ArrayLike) -> "AffineScale":
        """Mean and standard deviation of these values (a standard deviation of 1 where they are all alike)."""
        return cls(*_standard(_finite(column)))

    def forward(self, x: Scalar) -> tuple[Scalar, Scalar]:
        """(x - center) / scale, -log scale."""
        scale = held(self.scale, x)
        return (x - held(self.center, x)) / scale, -jnp.log(scale)

    def inverse(self, y: Scalar) -> Scalar:
        """center + scale y."""
        return held(self.center, y) + held(self.scale, y) * y

    def moments(self, base: AbstractCells, raw: Raw) -> tuple[Scalar, Scalar]:
        """Exact."""
        return self.inverse(base.mean(raw)), held(self.scale, raw) ** 2 * base.variance(raw)


@final
class LogScale(AbstractScale):
    """y = (log(x - low) - center) / scale on x > low: for positive columns over several orders of magnitude.

    Raises `ValueError` unless scale > 0. Example: `LogScale.of(column)` standardises the logs.
    Source: Box and Cox (1964), with exponent 0.
    """

    low: Float[Array, ""]
    center: Float[Array, ""]
    scale: Float[Array, ""]

    def __init__(self, low: float = 0.0, center: float = 0.0, scale: float = 1.0):
        """`low` in units of x; the others in logs of them."""
        check_positive("scale", scale, "or the map has no inverse")
        self.low, self.center, self.scale = constant(low), constant(center), constant(scale)

    @classmethod
    def of(cls, column: ArrayLike, *, low: float = 0.0) -> "LogScale":
        """Mean and standard deviation of log(x - low) over these values, all of which must lie above `low`."""
        values = _finite(column)
        if not (values > low).all():
            raise ValueError(
                f"A log scale needs values above low={low!r}; the column has {values.min()!r}; give a smaller low, or "
                "put the values at the end into spikes (SpikeAndSlabCells)."
            )
        return cls(low, *_standard(np.log(values - low)))

    def forward(self, x: Scalar) -> tuple[Scalar, Scalar]:
        """The standardised log, and -log(x - low) - log scale."""
        above = x - held(self.low, x)
        inside = above > 0
        log_x = jnp.log(jnp.where(inside, above, 1))
        scale = held(self.scale, x)
        return (log_x - held(self.center, x)) / scale, jnp.where(inside, -log_x - jnp.log(scale), -jnp.inf)

    def inverse(self, y: Scalar) -> Scalar:
        """low + exp(center + scale y)."""
        return held(self.low, y) + jnp.exp(held(self.center, y) + held(self.scale, y) * y)

    def moments(self, base: AbstractCells, raw: Raw) -> tuple[Scalar, Scalar]:
        """By the trapezoid rule over 10 standard deviations of the base on either side."""
        return _quadrature(self, base, raw)


@final
class NormalScoresScale(AbstractScale):
    """y = the standard normal quantile of x's rank, as a smooth monotone spline through a few knots.

    A rational-quadratic spline with harmonic-mean slopes between the knots (T' is continuous, T^-1 is exact) and
    straight lines beyond them: whatever the column's marginal, a standard Gaussian is the first guess at y.

    Raises `ValueError` for fewer than two knots, and unless both coordinates increase (x in the model's precision too).
    Source: van der Waerden (1952) for the scores; Gregory and Delbourgo (1982) for the spline.
    Example: `TransformedCells(GaussianCells(), NormalScoresScale.of(column))`.
    """

    x: Float[Array, " k"]
    y: Float[Array, " k"]
    slopes: Float[Array, " k"]

    def __init__(self, x: ArrayLike, y: ArrayLike):
        """The knots."""
        knots, scores = np.asarray(x, float), np.asarray(y, float)
        ok = knots.ndim == 1 and knots.shape == scores.shape and len(knots) >= 2
        if not (ok and (np.diff(knots.astype(np.float32)) > 0).all() and (np.diff(scores) > 0).all()):
            raise ValueError(
                "The knots of a scale must be two or more points, both coordinates increasing (in float32 too); got "
                f"{knots.tolist()!r} and {scores.tolist()!r}; use NormalScoresScale.of, or an AffineScale."
            )
        self.x, self.y, self.slopes = constant(knots), constant(scores), constant(_slopes(knots, scores))

    @classmethod
    def of(cls, column: ArrayLike, *, n_knots: int = 32) -> "NormalScoresScale":
        """Through at most `n_knots` of the different values, evenly over their ranks (ties have their mid-rank)."""
        values, counts = np.unique(_finite(column), return_counts=True)
        ranks = (np.cumsum(counts) - 0.5 * counts) / counts.sum()
        wanted = np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], max(n_knots, 2)))
        chosen = np.unique(np.clip(wanted, 0, len(values) - 1))
        kept = _apart(values, chosen, counts)
        if len(kept) < 2:
            raise ValueError(
                f"Normal scores need a column with two different values; got {len(values)}, of which float32 tells "
                f"{len(kept)} apart; use an AffineScale, or drop a constant column."
            )
        return cls(values[kept], [NormalDist().inv_cdf(float(p)) for p in ranks[kept]])

    def forward(self, x: Scalar) -> tuple[Scalar, Scalar]:
        """The spline and its log slope."""
        knots, scores, slopes = held(self.x, x), held(self.y, x), held(self.slopes, x)
        k = jnp.sum(x >= knots[1:-1])
        width, s = knots[k + 1] - knots[k], (scores[k + 1] - scores[k]) / (knots[k + 1] - knots[k])
        xi = _between((x - knots[k]) / width, 1.0)
        left, right, rest = slopes[k], slopes[k + 1], xi * (1 - xi)
        below = s * (1 - 2 * rest) + (left + right) * rest
        inner = scores[k] + s * width * (s * xi**2 + left * rest) / below
        log_slope = 2 * jnp.log(s) + jnp.log(right * xi**2 + 2 * s * rest + left * (1 - xi) ** 2) - 2 * jnp.log(below)
        low, high = x < knots[0], x > knots[-1]
        y = jnp.where(low, scores[0] + slopes[0] * (x - knots[0]), inner)
        y = jnp.where(high, scores[-1] + slopes[-1] * (x - knots[-1]), y)
        return y, jnp.where(low, jnp.log(slopes[0]), jnp.where(high, jnp.log(slopes[-1]), log_slope))

    def inverse(self, y: Scalar) -> Scalar:
        """The root of a quadratic in the bin of y, in the form without cancellation (Durkan et al., 2019)."""
        knots, scores, slopes = held(self.x, y), held(self.y, y), held(self.slopes, y)
        k = jnp.sum(y >= scores[1:-1])
        width, height = knots[k + 1] - knots[k], scores[k + 1] - scores[k]
        s, rise = height / width, _between(y - scores[k], height)
        bend = rise * (slopes[k] + slopes[k + 1] - 2 * s)
        a, b, c = height * (s - slopes[k]) + bend, height * slopes[k] - bend, -s * rise
        root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, float(np.finfo(y.dtype).tiny)))
        inner = knots[k] + width * _between(2 * c / (-b - root), 1.0)
        x = jnp.where(y < scores[0], knots[0] + (y - scores[0]) / slopes[0], inner)
        return jnp.where(y > scores[-1], knots[-1] + (y - scores[-1]) / slopes[-1], x)

    def moments(self, base: AbstractCells, raw: Raw) -> tuple[Scalar, Scalar]:
        """By the trapezoid rule over 10 standard deviations of the base on either side."""
        return _quadrature(self, base, raw)


@final
class TransformedCells(AbstractCells):
    """y = T(x) is a cell of `base`: log p(x) = log base(T(x)) + log T'(x), a density in the units of x.

    raw = that of the base. Raises `ValueError` for a base that is not continuous: a probability has no Jacobian, so
    spikes stand outside, `SpikeAndSlabCells(TransformedCells(base, scale), spikes)`.
    Example: `TransformedCells(GaussianCells(), AffineScale.of(column))`.
    """

    measure: ClassVar[Measure] = "lebesgue"
    base: AbstractCells
    scale: AbstractScale

    def __check_init__(self) -> None:
        if self.base.measure != "lebesgue":
            raise ValueError(
                f"The base of a transformed column must be continuous; got {type(self.base).__name__}; put spikes "
                "around the transform, SpikeAndSlabCells(TransformedCells(...), spikes), and leave counts as they are."
            )

    @property
    def n_outputs(self) -> int:
        """Those of the base."""
        return self.base.n_outputs

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """log base(T(x)) + log T'(x)."""
        y, log_slope = self.scale.forward(x)
        return joint(self.base.log_prob(y, raw), log_slope)

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """T^-1 of a draw of the base."""
        return self.scale.inverse(self.base.sample(raw, key=key))

    def mean(self, raw: Raw) -> Scalar:
        """E[T^-1(y)]: exact for an affine scale, else by quadrature, good to 1e-3 of a standard deviation for a base
        that is smooth at a fiftieth of its own and a T^-1 that grows slower than its tails fall."""
        return self.scale.moments(self.base, raw)[0]

    def variance(self, raw: Raw) -> Scalar:
        """Var[T^-1(y)], as the mean."""
        return self.scale.moments(self.base, raw)[1]

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """The base's at T(x); 0 below the domain."""
        y, log_slope = self.scale.forward(x)
        return jnp.where(log_slope == -jnp.inf, 0, self.base.cdf(y, raw))

    def start(self, column: Column) -> Column:
        """The base's for T of the values in the domain."""
        # Filled up to a power of two: few lengths, few programs.
        full = np.resize(column, 1 << max(len(column) - 1, 1).bit_length()) if len(column) else np.zeros(2)
        y, log_slope = (np.asarray(a, float)[: len(column)] for a in _forward(self.scale, jnp.asarray(full, float)))
        return self.base.start(y[np.isfinite(log_slope)])


@eqx.filter_jit
def _forward(scale: AbstractScale, x: Float[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    return jax.vmap(scale.forward)(x)


def _between(value: Scalar, high: Scalar | float) -> Scalar:
    # Knots are values of the column. `clip` would halve the gradient there.
    return jnp.where(value < 0, 0, jnp.where(value > high, high, value))


def _quadrature(scale: AbstractScale, base: AbstractCells, raw: Raw) -> tuple[Scalar, Scalar]:
    unit = jnp.linspace(-_REACH, _REACH, _NODES, dtype=raw.dtype)
    y = base.mean(raw) + jnp.sqrt(base.variance(raw)) * unit
    log_p = jax.vmap(base.log_prob, in_axes=(0, None))(y, raw)
    x, weights = jax.vmap(scale.inverse)(y), jax.nn.softmax(log_p)
    mean = jnp.sum(jnp.where(weights > 0, weights * x, 0))
    return mean, jnp.sum(jnp.where(weights > 0, weights * (x - mean) ** 2, 0))


def _finite(column: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(column, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"A scale is fitted to a vector of finite numbers; got the shape {values.shape} with "
            f"{int(np.sum(~np.isfinite(values)))} that are not; leave missing cells out."
        )
    return values


def _standard(values: NDArray[np.float64]) -> tuple[float, float]:
    spread = float(values.std())
    return float(values.mean()), spread if spread > 0 else 1.0


def _slopes(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    width, secant = np.diff(x), np.diff(y) / np.diff(x)
    inner = (width[:-1] + width[1:]) / (width[:-1] / secant[:-1] + width[1:] / secant[1:])
    return np.concatenate([secant[:1], inner, secant[-1:]])


def _apart(values: NDArray[np.float64], chosen: NDArray[np.int64], counts: NDArray[np.int64]) -> list[int]:
    # Knots closer than a ten-thousandth of the middle half (or than float32 can tell) would make cliffs of the density.
    quarter, three = np.quantile(np.repeat(values, np.minimum(counts, 1000)), [0.25, 0.75])
    least = 1e-4 * (three - quarter)
    kept = [int(chosen[0])]
    for i in chosen[1:]:
        far = values[i] - values[kept[-1]] > least
        if far and np.float32(values[i]) > np.float32(values[kept[-1]]):
            kept.append(int(i))
    return kept
