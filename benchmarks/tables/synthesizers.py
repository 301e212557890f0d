"""Ways to learn a table and draw new rows from it: ours, and the peers that have to be beaten.

Each takes the training rows, a seed, the number of threads and whether to hurry, and gives a function that draws n
rows. The neural peers refuse missing cells: for them a gap among categories becomes a level of its own, and a gap among
numbers is filled with the median and marked in a further column; both are turned back in what they draw.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from common import categorical_columns, numeric_columns, ours

GAP, MARK = "(missing)", " is missing"
QUICK_EPOCHS = 5

Sampler = Callable[[int], pd.DataFrame]
Synthesizer = Callable[[pd.DataFrame, int, int, bool], Sampler]


@dataclass(frozen=True)
class Complete:
    """A table without gaps that tells where they were, and the way back."""

    table: pd.DataFrame
    columns: list[str]
    dtypes: pd.Series

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "Complete":
        """Gaps become levels and marks."""
        table = frame.copy()
        for name in categorical_columns(frame):
            table[name] = frame[name].astype(object).where(frame[name].notna(), GAP)
        for name in numeric_columns(frame):
            gaps = frame[name].isna()
            if gaps.any():
                table[name] = frame[name].fillna(frame[name].median())
                table[name + MARK] = np.where(gaps, "yes", "no")
        return cls(table, list(frame.columns), frame.dtypes)

    def discrete(self) -> list[str]:
        """Columns of words, marks included."""
        return categorical_columns(self.table)

    def back(self, drawn: pd.DataFrame) -> pd.DataFrame:
        """Marks become gaps again."""
        found = drawn[self.columns].copy()
        for name in self.columns:
            if name + MARK in drawn:
                found[name] = found[name].where(drawn[name + MARK] != "yes", np.nan)
            elif name in categorical_columns(found):
                found[name] = found[name].astype(object).where(found[name] != GAP, np.nan)
        return found.reset_index(drop=True)


def tightbound(train: pd.DataFrame, seed: int, threads: int, quick: bool) -> Sampler:
    """Ours, with its default options."""
    options = {"epochs": QUICK_EPOCHS} if quick else {}
    model = ours("VAE")(random_state=seed, **options).fit(train)
    return lambda n: model.sample(n, random_state=seed + 1)


def neural(kind: str, train: pd.DataFrame, seed: int, threads: int, quick: bool) -> Sampler:
    """TVAE or CTGAN of the package `ctgan` as they come: 300 epochs, on the CPU."""
    import ctgan
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    complete = Complete.of(train)
    options: dict[str, Any] = {"epochs": QUICK_EPOCHS} if quick else {}
    model = getattr(ctgan, kind)(enable_gpu=False, **options)
    model.set_random_state(seed)
    model.fit(complete.table, complete.discrete())
    return lambda n: complete.back(model.sample(n))


def tvae(train: pd.DataFrame, seed: int, threads: int, quick: bool) -> Sampler:
    """Xu et al. (2019): a variational autoencoder on mode-normalised columns."""
    return neural("TVAE", train, seed, threads, quick)


def conditional_gan(train: pd.DataFrame, seed: int, threads: int, quick: bool) -> Sampler:
    """Xu et al. (2019): a conditional generative adversarial network on the same columns."""
    return neural("CTGAN", train, seed, threads, quick)


@dataclass(frozen=True)
class Marginal:
    """A column as a standard normal number and back: ranks for numbers, slices of the unit interval for levels."""

    levels: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, column: pd.Series) -> "Marginal":
        """Levels go from the most frequent to the rarest."""
        if pd.api.types.is_numeric_dtype(column):
            levels, counts = np.unique(column.to_numpy(), return_counts=True)
            return cls(levels, np.cumsum(counts) / len(column))
        counts = column.value_counts()
        return cls(counts.index.to_numpy(), np.cumsum(counts.to_numpy()) / len(column))

    def scores(self, column: pd.Series, rng: np.random.Generator) -> np.ndarray:
        """Equal values are spread at random over their slice."""
        codes = pd.Index(self.levels).get_indexer(column)
        starts = np.concatenate([[0.0], self.ends[:-1]])
        uniform = starts[codes] + rng.random(len(column)) * (self.ends - starts)[codes]
        return norm.ppf(np.clip(uniform, 1e-6, 1 - 1e-6))

    def back(self, scores: np.ndarray) -> np.ndarray:
        """The value whose slice the number falls into."""
        chosen = np.searchsorted(self.ends, norm.cdf(scores), side="left")
        return self.levels[np.minimum(chosen, len(self.levels) - 1)]


def gaussian_copula(train: pd.DataFrame, seed: int, threads: int, quick: bool) -> Sampler:
    """Empirical columns joined by the correlations of their normal scores; draws only values that were seen."""
    rng = np.random.default_rng(seed)
    complete = Complete.of(train)
    marginals = {name: Marginal.of(complete.table[name]) for name in complete.table.columns}
    scores = np.column_stack([m.scores(complete.table[name], rng) for name, m in marginals.items()])
    correlation = np.corrcoef(scores, rowvar=False)

    def draw(n: int) -> pd.DataFrame:
        drawn = rng.multivariate_normal(np.zeros(len(correlation)), correlation, size=n, method="eigh")
        columns = {name: m.back(drawn[:, i]) for i, (name, m) in enumerate(marginals.items())}
        return complete.back(pd.DataFrame(columns))

    return draw


def independent_columns(train: pd.DataFrame, seed: int, threads: int, quick: bool) -> Sampler:
    """Every column drawn from its own values, without regard to the others."""
    rng = np.random.default_rng(seed)
    return lambda n: pd.DataFrame({name: rng.choice(train[name].to_numpy(), n) for name in train.columns})


SYNTHESIZERS: dict[str, Synthesizer] = {
    "tightbound": tightbound,
    "tvae": tvae,
    "ctgan": conditional_gan,
    "copula": gaussian_copula,
    "independent": independent_columns,
}
