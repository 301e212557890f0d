"""Missing cells filled in: points, draws, intervals."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, final

import jax
import numpy as np
from numpy.typing import NDArray

from tightbound.data import Encoding, Numbers, Table
from tightbound.estimator.fitted import FittedModel, precision
from tightbound.learn import Pair
from tightbound.model import with_strength
from tightbound.tasks import conditional_draws

ROWS_AT_ONCE = 1024
N_DRAWS = 100
"""Draws a row where means, medians and ends of intervals are taken over draws: their noise adds a hundredth of the
variance."""
FEW_SAMPLES = 250
"""Latents of a row at first: enough where q is close to the posterior, and a quarter of the time."""
LATENTS_A_DRAW = 2.5
"""At least, at first: draws are chosen among the latents."""
MOST_KHAT = 0.7
"""From here on weights are not to be trusted (Vehtari et al., 2024): such rows get all their latents."""


@final
@dataclasses.dataclass(frozen=True)
class Imputation:
    """A table with its missing cells filled in."""

    values: Any
    """The table as it came, bit for bit and in its types, with every missing cell at its point imputation."""
    lower: Any | None
    """Lower ends of the intervals for missing cells of ordered columns, NaN elsewhere; in the data's units."""
    upper: Any | None
    draws: tuple[Any, ...]
    """Equally likely completions of the table, where asked for."""
    interval: float | None
    """The probability that an interval holds the cell's value, under the model."""
    n_cells: int
    """How many cells were filled in."""
    khat: NDArray[np.float64]
    """Pareto k-hat of every row with missing cells: above 0.7, q is too far from the posterior for these draws."""

    def __repr__(self) -> str:
        """What was done."""
        poor = int(np.sum(self.khat > 0.7))
        note = f"; {poor} row(s) with unreliable weights (k-hat above 0.7)" if poor else ""
        held = "" if self.interval is None else f", with intervals of {self.interval:.0%}"
        drawn = f", {len(self.draws)} draws" if self.draws else ""
        return f"Imputation({self.n_cells:,} cells in {len(self.khat):,} rows{held}{drawn}{note})"


def impute(
    model: FittedModel,
    table: Table,
    *,
    n_draws: int | None = None,
    interval: float | None = None,
    point: str = "typical",
    n_samples: int = 1000,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Imputation:
    """Fill in the missing cells of a table from p(x_missing | x_observed).

    Points are what suits the column: the mean of a number, the median of an ordinal level, the most probable level of
    another. Draws are of the whole row at once, by sampling-importance-resampling (Rubin, 1988; Mattei and Frellsen,
    2019), so that the columns of a draw go together.

    Args:
        model: fitted.
        table: with missing cells.
        n_draws: completions wanted beside the points.
        interval: probability of the intervals wanted, between 0 and 1.
        point: "typical" (as above), or "mean": that of every column of numbers, also where only some values are
            possible (2.6 children), which has the least squared error.
        n_samples: latents of a row whose weights are uneven; others make do with fewer.
        seed: of the noise.
        on_progress: called with (words, rows done, rows).
    """
    if interval is not None and not 0 < interval < 1:
        raise ValueError(f"interval must be a probability between 0 and 1; got {interval!r}; 0.9 is usual.")
    if point not in ("typical", "mean"):
        raise ValueError(f"point must be typical or mean; got {point!r}; choose one of those.")
    model.require_readable()
    encoding = model.encoding
    table = encoding.check(table)
    rows, codes = model.rows(table), encoding.modelled(table)
    observed = np.ones(rows.x.shape, bool) if rows.observed is None else rows.observed
    gaps = np.flatnonzero(~observed.all(axis=1))
    filled, means = codes.copy(), np.full(codes.shape, np.nan)
    ends = np.full((2, *codes.shape), np.nan)
    drawn = np.repeat(codes[None], n_draws or 0, axis=0)
    khat = np.zeros(len(gaps))
    least = max(n_draws or 0, N_DRAWS)
    for start in range(0, len(gaps), ROWS_AT_ONCE):
        at = gaps[start : start + ROWS_AT_ONCE]
        holes = ~observed[at]
        mean, values, found = draws_of(model, rows.x[at], observed[at], least, n_samples, seed)
        filled[at] = np.where(holes, typical_points(encoding, mean, values), filled[at])
        khat[start : start + len(at)] = found
        means[at] = _level_means(encoding, values)
        if interval is not None:
            ends[:, at] = [np.where(holes, _as_numbers(encoding, end), np.nan) for end in quantiles(values, interval)]
        drawn[:, at] = np.where(holes, np.moveaxis(values[:, : n_draws or 0], 1, 0), drawn[:, at])
        if on_progress is not None:
            on_progress("imputing", start + len(at), len(gaps))
    low, high = (None if interval is None else encoding.as_frame(e, table) for e in ends)
    completions = tuple(encoding.give_back(each, table, rounded=True) for each in drawn)
    n_cells = int((~observed).sum())
    values = encoding.give_back(filled, table)
    if point == "mean":
        values = encoding.with_means(values, ~observed, means)
    return Imputation(values, low, high, completions, interval, n_cells, khat)


def sensitivity(
    model: FittedModel, table: Table, factors: Sequence[float], *, n_samples: int = 1000, seed: int = 0
) -> dict[float, Any]:
    """Point imputations when the mechanism of missingness is `factor` times as strong: factor -> filled table."""
    changed = {
        float(factor): dataclasses.replace(model, pair=Pair(with_strength(model.pair.p, factor), model.pair.q))
        for factor in factors
    }
    return {factor: impute(each, table, n_samples=n_samples, seed=seed).values for factor, each in changed.items()}


def draws_of(
    model: FittedModel, x: NDArray[Any], observed: NDArray[np.bool_], n_draws: int, n_samples: int, seed: int
) -> tuple[NDArray[Any], Numbers, NDArray[np.float64]]:
    """Means in the model's units (n, m), `n_draws` draws in the user's (n, draws, m), and k-hat (n,).

    Few latents first; `n_samples` of them for the rows where fewer than `n_draws` of the few count, or k-hat is high.
    """
    key = jax.random.key(seed)
    few = max(FEW_SAMPLES, math.ceil(LATENTS_A_DRAW * n_draws))
    with precision(model.specification.dtype):
        options: dict[str, Any] = {"n_draws": n_draws, "most_samples": n_samples, "key": key}
        found = conditional_draws(model.pair, x, observed, n_samples=min(few, n_samples), **options)
        again = np.flatnonzero((found.ess < n_draws) | (found.khat > MOST_KHAT))
        if few < n_samples and len(again):
            more = conditional_draws(model.pair, x[again], observed[again], n_samples=n_samples, **options)
            for name in ("mean", "values", "khat"):
                getattr(found, name)[again] = getattr(more, name)
    return found.mean, model.encoding.decode(found.values, on_grid=True), found.khat


def quantiles(draws: Numbers, interval: float) -> NDArray[np.float64]:
    """Ends (2, n, m) of what holds a further draw with the probability `interval`: values that were drawn.

    Another draw falls between the k-th smallest of n and the k-th largest with probability (n + 1 - 2 k) / (n + 1).
    """
    n = draws.shape[1]
    k = max(int((n + 1) * (0.5 - interval / 2) + 1e-9), 1)  # 0.5 - 0.9 / 2 is a little less than 0.05
    ordered = np.sort(draws, axis=1)
    return np.stack([ordered[:, k - 1], ordered[:, n - k]])


def _level_means(encoding: Encoding, draws: Numbers) -> Numbers:
    """Means of the draws of columns whose levels are numbers, (n, m); NaN elsewhere."""
    means = np.full((len(draws), encoding.n_features), np.nan)
    for j in range(encoding.n_features):
        numbers = encoding.numbers(j)
        if numbers is not None:
            means[:, j] = numbers[draws[:, :, j].astype(int)].mean(axis=1)
    return means


def _as_numbers(encoding: Encoding, codes: Numbers) -> Numbers:
    """Codes as the numbers that they stand for; NaN for levels that are words or have no order."""
    out = codes.copy()
    for j in range(encoding.n_features):
        if encoding.levels(j):
            numbers = encoding.numbers(j) if encoding.ordered(j) else None
            out[:, j] = np.nan if numbers is None else numbers[codes[:, j].astype(int)]
    return out


def typical_points(encoding: Encoding, mean: NDArray[Any], draws: Numbers) -> Numbers:
    """The point imputation of every cell, (n, m): a mean, a median, or the most probable level, as fits the column."""
    points = encoding.decode(mean)
    for j in range(encoding.n_features):
        if encoding.levels(j):
            if encoding.ordered(j):
                points[:, j] = np.quantile(draws[:, :, j], 0.5, axis=1, method="inverted_cdf")
        elif not encoding.straight(j):
            points[:, j] = draws[:, :, j].mean(axis=1)
        points[:, j] = encoding.shortened(j, points[:, j])
    return points
