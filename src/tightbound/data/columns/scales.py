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
        inner = (width[:-1] + width[1:]) / (width[:-1] / secant[:-1] + width[1:] / secant[1:])
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
        s, rise = height / width, np.clip(y - scores[k], 0.0, height)
        bend = rise * (slopes[k] + slopes[k + 1] - 2 * s)
        a, b, c = height * (s - slopes[k]) + bend, height * slopes[k] - bend, -s * rise
        root = np.sqrt(np.maximum(b**2 - 4 * a * c, np.finfo(np.float64).tiny))
        x = knots[k] + width * np.clip(2 * c / (-b - root), 0.0, 1.0)
        x = np.where(y < scores[0], knots[0] + (y - scores[0]) / slopes[0], x)
        return np.where(y > scores[-1], knots[-1] + (y - scores[-1]) / slopes[-1], x)


_KINDS: tuple[type[Scale], ...] = (Affine, Log, NormalScores)


def scale_from_json(data: Mapping[str, Any]) -> Scale:
    """The scale that `to_json` wrote; a foreign or damaged one is a DataError."""
    what = "The saved scale of a column"
    word = field(data, "scale", str, what)
    for kind in _KINDS:
        if kind.word == word and (made := restored(kind, data, what)).sound:
            return made
    raise damaged(what, "be an affine, log or normal_scores one with rising knots", f"it is {word!r}")


def _standard(values: Numbers) -> tuple[float, float]:
    spread = float(values.std()) if len(values) else 0.0
    return (float(values.mean()) if len(values) else 0.0), spread if spread > 0 else 1.0
