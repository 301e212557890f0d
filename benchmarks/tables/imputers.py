"""Ways to fill the holes of a table, one function each: ours, and the peers that have to be beaten.

Each takes a frame (numbers as float64, categories as strings, holes as NaN), a seed and the number of threads, and
gives the frame with its holes filled. None of them sees the removed cells or how the result is judged; each
standardises by the cells that it sees.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import BayesianRidge

from common import LeftOutError, categorical_columns, numeric_columns, ours

HELD_OUT = 0.1
"""Share of the seen cells on which a peer's penalty or neighbours are chosen."""
NEIGHBOURS = (3, 5, 10, 20, 40)
PENALTIES, SMALLEST_PENALTY = 25, 1e-3
TREES, ROUNDS = 100, 5


@dataclass(frozen=True)
class Filled:
    """A frame without holes and, where the method has them, 90 % intervals of its numbers (NaN where seen)."""

    values: pd.DataFrame
    lower: pd.DataFrame | None = None
    upper: pd.DataFrame | None = None


Imputer = Callable[[pd.DataFrame, int, int], Filled]


def numbers_only(frame: pd.DataFrame, method: str) -> np.ndarray:
    """The array of a table that has no categories."""
    if categorical_columns(frame):
        raise LeftOutError(f"{method} takes numbers only")
    return frame.to_numpy(np.float64)


def like(frame: pd.DataFrame, values: np.ndarray) -> Filled:
    """The frame with these values in its holes."""
    return Filled(frame.where(frame.notna(), pd.DataFrame(values, frame.index, frame.columns)))


def column_mean(frame: pd.DataFrame, seed: int, threads: int) -> Filled:
    """The mean of a column of numbers, the most frequent category."""
    filled = frame.copy()
    for name in frame.columns:
        numeric = name in numeric_columns(frame)
        filled[name] = frame[name].fillna(frame[name].mean() if numeric else frame[name].mode().iloc[0])
    return Filled(filled)


@dataclass(frozen=True)
class Scaled:
    """Standardised numbers with holes, and the way back."""

    x: np.ndarray
    loc: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> "Scaled":
        """By mean and standard deviation of the seen cells."""
        loc, scale = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        return cls((x - loc) / scale, loc, scale)

    def back(self, x: np.ndarray) -> np.ndarray:
        """In the table's units."""
        return x * self.scale + self.loc

    def hold_out(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The numbers with further holes, and where those are; no column is emptied."""
        seen = ~np.isnan(self.x)
        more = seen & (np.random.default_rng([seed, 7]).random(self.x.shape) < HELD_OUT)
        more[:, (seen & ~more).sum(axis=0) < 2] = False
        return np.where(more, np.nan, self.x), more


def nearest_neighbours(frame: pd.DataFrame, seed: int, threads: int) -> Filled:
    """Mean of the k nearest rows that have the cell; k chosen on held-out cells."""
    data = Scaled.of(numbers_only(frame, "nearest neighbours"))
    fewer, held = data.hold_out(seed)

    def error(k: int) -> float:
        found = KNNImputer(n_neighbors=k, keep_empty_features=True).fit_transform(fewer)
        return float(np.mean((found[held] - data.x[held]) ** 2)) if held.any() else 0.0

    k = min((k for k in NEIGHBOURS if k < len(frame)), key=error)
    return like(frame, data.back(KNNImputer(n_neighbors=k).fit_transform(data.x)))


def chained_regressions(frame: pd.DataFrame, seed: int, threads: int) -> Filled:
    """scikit-learn's IterativeImputer as it comes: Bayesian ridge regressions in turn, ten rounds."""
    data = Scaled.of(numbers_only(frame, "chained equations"))
    return like(frame, data.back(IterativeImputer(BayesianRidge(), random_state=seed).fit_transform(data.x)))


def shrunken(x: np.ndarray, penalty: float) -> np.ndarray:
    """The matrix with its singular values less the penalty, none below 0."""
    left, values, right = np.linalg.svd(x, full_matrices=False)
    return (left * np.maximum(values - penalty, 0.0)) @ right


def soft_path(x: np.ndarray, penalties: np.ndarray, rounds: int = 500, tolerance: float = 1e-6) -> list[np.ndarray]:
    """Low-rank completions for decreasing penalties, each started from the one before (Mazumder et al., 2010)."""
    seen = ~np.isnan(x)
    low_rank, found = np.zeros_like(x), []
    for penalty in penalties:
        for _ in range(rounds):
            new = shrunken(np.where(seen, x, low_rank), penalty)
            change = np.sum((new - low_rank) ** 2) / max(np.sum(low_rank**2), 1e-12)
            low_rank = new
            if change < tolerance:
                break
        found.append(low_rank)
    return found


def soft_impute(frame: pd.DataFrame, seed: int, threads: int) -> Filled:
    """SoftImpute on standardised columns; the penalty is chosen on held-out cells."""
    data = Scaled.of(numbers_only(frame, "SoftImpute"))
    largest = float(np.linalg.norm(np.nan_to_num(data.x), 2))
    penalties = np.geomspace(largest, SMALLEST_PENALTY * largest, PENALTIES)
    fewer, held = data.hold_out(seed)
    errors = [np.mean((found[held] - data.x[held]) ** 2) for found in soft_path(fewer, penalties)]
    best = int(np.argmin(errors))
    return like(frame, data.back(soft_path(data.x, penalties[: best + 1])[-1]))


def forest(numeric: bool, seed: int, threads: int) -> RandomForestRegressor | RandomForestClassifier:
    """As missForest's: a square root of the columns at a split, leaves of 5 rows for numbers and of 1 for levels."""
    options = {"n_estimators": TREES, "max_features": "sqrt", "random_state": seed, "n_jobs": threads}
    if numeric:
        return RandomForestRegressor(min_samples_leaf=5, **options)
    return RandomForestClassifier(**options)


def distance(new: pd.DataFrame, old: pd.DataFrame, holes: pd.DataFrame, numeric: list[str]) -> np.ndarray:
    """How much the filled cells changed: numbers, levels (Stekhoven and Bühlmann, 2012, section 2)."""
    found = []
    if numeric and holes[numeric].to_numpy().any():
        mask, a, b = holes[numeric].to_numpy(), new[numeric].to_numpy(float), old[numeric].to_numpy(float)
        found.append(np.sum((a - b)[mask] ** 2) / max(np.sum(a[mask] ** 2), 1e-12))
    levels = [name for name in new.columns if name not in numeric and holes[name].any()]
    if levels:
        mask = holes[levels].to_numpy()
        found.append(np.mean((new[levels].to_numpy() != old[levels].to_numpy())[mask]))
    return np.asarray(found)


def chained_forests(frame: pd.DataFrame, seed: int, threads: int) -> Filled:
    """missForest: each column with holes from all others by a random forest, in turn, until the changes grow.

    Fewest holes first; categories enter as the numbers of their levels, numbers standardised.
    """
    numeric, holes = numeric_columns(frame), frame.isna()
    table = frame.copy()
    levels = {name: sorted(frame[name].dropna().unique()) for name in frame.columns if name not in numeric}
    for name, names in levels.items():
        table[name] = frame[name].map({level: i for i, level in enumerate(names)}).astype(float)
    scaled = Scaled.of(table[numeric].to_numpy(float)) if numeric else None
    if scaled is not None:
        table[numeric] = scaled.x
    for name in table.columns:
        seen = table[name].dropna()
        table[name] = table[name].fillna(seen.mean() if name in numeric else seen.mode().iloc[0])
    order = [name for name in holes.sum().sort_values(kind="stable").index if holes[name].any()]
    last = np.full(2, math.inf)
    for turn in range(ROUNDS):
        new = table.copy()
        for name in order:
            missing = holes[name].to_numpy()
            others = new.drop(columns=name).to_numpy()
            model = forest(name in numeric, seed + turn, threads).fit(others[~missing], new[name].to_numpy()[~missing])
            new.loc[missing, name] = model.predict(others[missing])
        change = distance(new, table, holes, numeric)
        if turn and np.all(change > last):
            break
        table, last = new, change
    if scaled is not None:
        table[numeric] = scaled.back(table[numeric].to_numpy())
    for name, names in levels.items():
        table[name] = np.asarray(names, object)[table[name].to_numpy(int)]
    return Filled(frame.where(frame.notna(), table))


def tightbound(frame: pd.DataFrame, seed: int, threads: int) -> Filled:
    """Ours; the mean of all columns of numbers, since squared errors are asked for."""
    imputer = ours("VAEImputer")(point="mean", random_state=seed)
    found = imputer.fit(frame).impute(frame, interval=0.9)
    return Filled(found.values, found.lower, found.upper)


def tightbound_self_masking(frame: pd.DataFrame, seed: int, threads: int) -> Filled:
    """Ours, told that a cell's own value decides whether it is missing."""
    return Filled(ours("VAEImputer")(missingness="self_masking", random_state=seed).fit_transform(frame))


IMPUTERS: dict[str, Imputer] = {
    "tightbound": tightbound,
    "mean": column_mean,
    "neighbours": nearest_neighbours,
    "regressions": chained_regressions,
    "forests": chained_forests,
    "softimpute": soft_impute,
}
