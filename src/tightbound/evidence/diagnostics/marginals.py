"""Marginals of samples beside those of the data, column by column; levels as codes, NaN for a missing cell."""

import dataclasses
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp, kstwobign

Array = NDArray[Any]

CHANCE = 0.95
_SIMULATIONS = 200


@final
@dataclasses.dataclass(frozen=True)
class Marginal:
    """One column of a table, and how far the marginal of samples is from that of the data."""

    name: str
    kind: str
    """Its type in a word: real, positive, bounded, count, ordinal, categorical, binary or datetime (then numbers are
    days since 1970-01-01)."""
    family: str
    """The distribution that it is modelled with, or what it is given as."""
    levels: tuple[str, ...] = ()
    """Their names in the order of codes; () for numbers."""
    distance: float = float("nan")
    """Total variation of levels, Kolmogorov-Smirnov of numbers, between 0 and 1; NaN where nothing is known."""
    chance: float = float("nan")
    """What 95 % of samples of the same size from the very same distribution stay below."""

    def measured(self, data: Array, samples: Array) -> "Marginal":
        """The same with the distance of two columns of codes, (n,) and (m,)."""
        distance, chance = marginal_distance(data, samples, len(self.levels))
        return dataclasses.replace(self, distance=distance, chance=chance)


def shares(codes: Array, levels: int) -> Array:
    """Return the share of each level among the known codes, (levels,); zeros where none is known."""
    counts = np.bincount(codes[np.isfinite(codes)].astype(int), minlength=levels).astype(float)
    return np.asarray(counts / max(counts.sum(), 1))


def marginal_distance(data: Array, samples: Array, levels: int) -> tuple[float, float]:
    """Return the distance of two columns and its 95 % quantile under chance: total variation, or Kolmogorov-Smirnov.

    Chance: by 200 simulations from the pooled shares for levels, by Kolmogorov's limit (conservative where values are
    tied) for numbers. NaN where a column has no known cell.
    """
    data, samples = data[np.isfinite(data)], samples[np.isfinite(samples)]
    if not data.size or not samples.size:
        return float("nan"), float("nan")
    if not levels:
        distance = ks_2samp(data, samples, method="asymp").statistic
        return float(distance), float(kstwobign.ppf(CHANCE) * np.sqrt(1 / data.size + 1 / samples.size))
    distance = 0.5 * np.abs(shares(data, levels) - shares(samples, levels)).sum()
    pooled, rng = shares(np.concatenate([data, samples]), levels), np.random.default_rng(0)
    drawn = [rng.multinomial(part.size, pooled, size=_SIMULATIONS) / part.size for part in (data, samples)]
    return float(distance), float(np.quantile(0.5 * np.abs(drawn[0] - drawn[1]).sum(axis=1), CHANCE))
