"""Scales on which a column is modelled: fixed increasing maps y = T(x) with log T'(x): densities stay those of x.

All is done in float64, before anything gets to the model: a date in days or an account number loses no digits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tightbound.data.saved import damaged, field, plain, restored

Numbers = NDArray[np.float64]
_BELOW = 1e-250
_TINY = float(np.finfo(np.float64).tiny)


class Scale(ABC):
    """An increasing map, fitted to a column before the model is."""

    word: ClassVar[str]
    """What it is called in a saved model."""

    @abstractmethod
    def forward(self, x: Numbers) -> tuple[Numbers, Numbers]:
        """y = T(x) and log T'(x), both like x."""

    @abstractmethod
    def inverse(self, y: Numbers) -> Numbers:
        """x with T(x) = y."""

    @property
    def sound(self) -> bool:
        """Whether it increases."""
        return True

    @property
    def domain(self) -> tuple[float, float]:
        """Between which ends, excluded, it maps."""
        return -np.inf, np.inf

    def to_json(self) -> dict[str, Any]:
        """Plain values, exact."""
        return {"scale": self.word, **plain(self)}


@final
@dataclass(frozen=True)
class Affine(Scale):
    """y = (x - center) / spread."""

    word = "affine"
    center: float
    spread: float

    @classmethod
    def of(cls, values: Numbers) -> Affine:
        """Mean and standard deviation of these values (1 where they are all alike)."""
        return cls(*_standard(values))

    def forward(self, x: Numbers) -> tuple[Numbers, Numbers]:
        """The standardised value, and -log spread."""
        return (x - self.center) / self.spread, np.full_like(x, -np.log(self.spread))

    def inverse(self, y: Numbers) -> Numbers:
        """center + spread y."""
        return self.center + self.spread * y


@final
@dataclass(frozen=True)
class Log(Scale):
    """y = (log(x - low) - center) / spread on x > low (Box and Cox, 1964, with exponent 0)."""

    word = "log"
    low: float
    center: float
    spread: float

    @classmethod
    def of(cls, values: Numbers, low: float = 0.0) -> Log:
        """Mean and standard deviation of log(x - low) over values that all lie above `low`."""
        return cls(low, *_standard(np.log(values - low)))

    @property
    def domain(self) -> tuple[float, float]:
        return self.low, np.inf

    def forward(self, x: Numbers) -> tuple[Numbers, Numbers]:
        """The standardised log, and -log(x - low) - log spread."""
        with np.errstate(divide="ignore", invalid="ignore"):  # at the end of the domain: said where the row is known
            log_x = np.log(np.maximum(x - self.low, _BELOW))  # what lies outside is very unlikely
        return (log_x - self.center) / self.spread, -log_x - np.log(self.spread)

    def inverse(self, y: Numbers) -> Numbers:
        """low + exp(center + spread y), kept finite."""
        return self.low + np.exp(np.minimum(self.center + self.spread * y, 700.0))


@final
@dataclass(frozen=True)
class NormalScores(Scale):
    """y = the standard normal quantile of x's rank, as a smooth increasing spline through a few knots.

    A rational-quadratic spline with harmonic-mean slopes between the knots (T' is continuous, T^-1 is exact) and
    straight lines beyond them: whatever the column's marginal, a standard Gaussian is the first guess at y.
    Source: van der Waerden (1952) for the scores; Gregory and Delbourgo (1982) for the spline.
    """

    word = "normal_scores"
    x: tuple[float, ...]
    y: tuple[float, ...]

    @property
    def sound(self) -> bool:
        """Whether it has at least two knots, and they rise."""
        return len(self.x) == len(self.y) >= 2 and bool((np.diff(self.x) > 0).all() and (np.diff(self.y) > 0).all())

    @classmethod
    def of(cls, values: Numbers, *, n_knots: int = 32) -> NormalScores | None:
        """Through at most `n_knots` of the different values, evenly over ranks; None where fewer than two are apart."""
        different, counts = np.unique(values, return_counts=True)
        ranks = (np.cumsum(counts) - 0.5 * counts) / counts.sum()
        wanted = np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], n_knots))
        chosen = np.unique(np.clip(wanted, 0, len(different) - 1))
        # Knots closer than a thousandth of the middle half would make cliffs of the density.
        low, high = np.quantile(values, [0.25, 0.75])
        least = 1e-3 * (high - low)
        kept = [int(chosen[0])]
        for i in chosen[1:]:
            if different[i] - different[kept[-1]] > least:
                kept.append(int(i))
        if len(kept) < 2:
            return None
        scores = [NormalDist().inv_cdf(float(p)) for p in ranks[kept]]
        return cls(tuple(float(v) for v in different[kept]), tuple(scores))

    @cached_property
    def _knots(self) -> tuple[Numbers, Numbers, Numbers]:
        x, y = np.array(self.x), np.array(self.y)
        width, secant = np.diff(x), np.diff(y) / np.diff(x)
        share = width[1:] / (width[:-1] + width[1:])  # products of a width and a slope may be beyond float64
        inner = 1 / ((1 - share) / secant[:-1] + share / secant[1:])
        return x, y, np.concatenate([secant[:1], inner, secant[-1:]])

    def forward(self, x: Numbers) -> tuple[Numbers, Numbers]:
        """The spline and its log slope."""
        knots, scores, slopes = self._knots
        k = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
        width, s = knots[k + 1] - knots[k], (scores[k + 1] - scores[k]) / (knots[k + 1] - knots[k])
        xi = np.clip((x - knots[k]) / width, 0.0, 1.0)
        left, right, rest = slopes[k], slopes[k + 1], xi * (1 - xi)
        below = s * (1 - 2 * rest) + (left + right) * rest
        inner = scores[k] + s * width * (s * xi**2 + left * rest) / below
        log_slope = 2 * np.log(s) + np.log(right * xi**2 + 2 * s * rest + left * (1 - xi) ** 2) - 2 * np.log(below)
        low, high = x < knots[0], x > knots[-1]
        y = np.where(low, scores[0] + slopes[0] * (x - knots[0]), inner)
        y = np.where(high, scores[-1] + slopes[-1] * (x - knots[-1]), y)
        return y, np.where(low, np.log(slopes[0]), np.where(high, np.log(slopes[-1]), log_slope))

    def inverse(self, y: Numbers) -> Numbers:
        """The root of a quadratic in the bin of y, in the form without cancellation (Durkan et al., 2019)."""
        knots, scores, slopes = self._knots
        k = np.clip(np.searchsorted(scores, y, side="right") - 1, 0, len(knots) - 2)
        width, height = knots[k + 1] - knots[k], scores[k + 1] - scores[k]
        rise = np.clip(y - scores[k], 0.0, height)
        near, far = slopes[k] * width / height, slopes[k + 1] * width / height
        bend = rise * (near + far - 2)
        a, b, c = height * (1 - near) + bend, height * near - bend, -rise
        root = np.sqrt(np.maximum(b**2 - 4 * a * c, np.finfo(np.float64).tiny))
        x = knots[k] + width * np.clip(2 * c / (-b - root), 0.0, 1.0)
        x = np.where(y < scores[0], knots[0] + (y - scores[0]) / slopes[0], x)
        return np.where(y > scores[-1], knots[-1] + (y - scores[-1]) / slopes[-1], x)


@final
@dataclass(frozen=True)
class Logarithmic(Scale):
    """y = T(log(x - low)): a scale over decades."""

    word = "logarithmic"
    low: float
    inner: Scale

    @property
    def domain(self) -> tuple[float, float]:
        return self.low, np.inf

    def forward(self, x: Numbers) -> tuple[Numbers, Numbers]:
        """T(log(x - low)), and log T' - log(x - low)."""
        log_x = np.log(np.maximum(x - self.low, _TINY))
        y, log_slope = self.inner.forward(log_x)
        return y, log_slope - log_x

    def inverse(self, y: Numbers) -> Numbers:
        """low + exp(T^-1(y)), kept finite and above low."""
        return self.low + np.exp(np.clip(self.inner.inverse(y), -700.0, 700.0))

    def to_json(self) -> dict[str, Any]:
        """Plain values, exact."""
        return {"scale": self.word, "low": self.low, "inner": self.inner.to_json()}


@final
@dataclass(frozen=True)
class Within(Scale):
    """T(x) from `first` to `last`, and beyond them a logarithm that reaches the ends of the support at infinity.

    y = T(first) + c log((x - low) / (first - low)) below `first`, with c = T'(first) (first - low), so that the slope
    has no jump; likewise above `last`. Whatever has a density on the line has all of its mass between the ends.
    """

    word = "within"
    inner: Scale
    low: float = -np.inf
    high: float = np.inf
    first: float = -np.inf
    last: float = np.inf

    @classmethod
    def of(cls, inner: Scale, values: Numbers, low: float, high: float) -> Scale:
        """With logarithms from the first and last of the values on; `inner` itself where no end is known."""
        first, last = float(values.min()), float(values.max())
        low = low if low < first and inner.domain[0] < low else -np.inf
        high = high if last < high else np.inf
        return inner if low == -np.inf and high == np.inf else cls(inner, low, high, first, last)

    @property
    def domain(self) -> tuple[float, float]:
        return max(self.low, self.inner.domain[0]), self.high

    @cached_property
    def _ends(self) -> tuple[tuple[float, float, float], ...]:
        """For either end: the distance of the last value from it, y there, and c."""
        found = []
        for gap, at in ((self.first - self.low, self.first), (self.high - self.last, self.last)):
            y, log_slope = self.inner.forward(np.array([at]))
            # A smaller one would put draws closer to the end than float64 can tell.
            found.append((gap, float(y[0]), max(float(np.exp(log_slope[0] + np.log(gap))), 0.1)))
        return tuple(found)

    def forward(self, x: Numbers) -> tuple[Numbers, Numbers]:
        """The scale, and its log slope; what lies at an end or beyond is very unlikely."""
        y, log_slope = self.inner.forward(np.clip(x, self.first, self.last))
        tails = ((x < self.first, x - self.low, 1.0), (x > self.last, self.high - x, -1.0))
        for (beyond, gap, sign), (known, at, c) in zip(tails, self._ends, strict=True):
            if np.isfinite(known):
                log_share = np.log(np.maximum(gap / known, _TINY))
                y = np.where(beyond, at + sign * c * log_share, y)
                slope = np.where(gap > 0, np.log(c) - log_share - np.log(known), np.log(_TINY))
                log_slope = np.where(beyond, slope, log_slope)
            else:
                straight = self.inner.forward(x)
                y, log_slope = np.where(beyond, straight[0], y), np.where(beyond, straight[1], log_slope)
        return y, log_slope

    def inverse(self, y: Numbers) -> Numbers:
        """The inner one's inverse, or that of the logarithms, between the ends."""
        x = self.inner.inverse(y)
        (below, first, c_low), (above, last, c_high) = self._ends
        if np.isfinite(below):
            x = np.where(y < first, self.low + below * np.exp(np.minimum(y - first, 0.0) / c_low), x)
        if np.isfinite(above):
            x = np.where(y > last, self.high - above * np.exp(np.minimum(last - y, 0.0) / c_high), x)
        return np.clip(x, np.nextafter(self.low, np.inf), np.nextafter(self.high, -np.inf))

    def to_json(self) -> dict[str, Any]:
        """Plain values, exact."""
        return {"scale": self.word, **plain(self, but="inner"), "inner": self.inner.to_json()}


_KINDS: tuple[type[Scale], ...] = (Affine, Log, NormalScores, Logarithmic, Within)


def scale_from_json(data: Mapping[str, Any]) -> Scale:
    """The scale that `to_json` wrote; a foreign or damaged one is a DataError."""
    what = "The saved scale of a column"
    word = field(data, "scale", str, what)
    for kind in _KINDS:
        if kind.word == word and (made := restored(kind, data, what, inner=scale_from_json)).sound:
            return made
    raise damaged(what, "be an affine, log or normal_scores one with rising knots", f"it is {word!r}")


def _standard(values: Numbers) -> tuple[float, float]:
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return 0.0, 1.0
    # In units of the largest, so that squares of very large or very small numbers neither overflow nor vanish.
    own = values / largest
    spread = float(own.std()) * largest
    return float(own.mean()) * largest, spread if spread > 0 else 1.0
