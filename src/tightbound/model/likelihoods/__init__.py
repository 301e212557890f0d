"""Cells: the distribution of one column's value given the numbers that a network returns for it.

| a column of | cells | numbers |
|---|---|---|
| any real numbers | `GaussianCells`, `StudentTCells` (outliers) | 2, 3 |
| real numbers with several modes | `GaussianMixtureCells(c)`, `LogisticMixtureCells(c)` | 3 c + 1 |
| positive numbers | `GammaCells` | 2 |
| numbers between bounds | `BetaCells(low, high)` | 2 |
| one of these, with s repeated values | `SpikeAndSlabCells(base, spikes)` | base + s |
| counts | `PoissonCells`, `NegativeBinomialCells` | 1, 2 |
| counts with more or fewer zeros | `ZeroInflatedCells(base)`, `HurdleCells(base)` | base + 1 |
| yes or no | `BernoulliCells` | 1 |
| k levels without, with an order | `CategoricalCells(k)`, `CumulativeLogitCells(k)` | k, k - 1 |
"""

from tightbound.model.likelihoods.base import AbstractCells
from tightbound.model.likelihoods.continuous import (
    AbstractMixtureCells,
    GaussianCells,
    GaussianMixtureCells,
    LogisticMixtureCells,
    StudentTCells,
)
from tightbound.model.likelihoods.counts import (
    AbstractBaseCountCells,
    AbstractCountCells,
    HurdleCells,
    NegativeBinomialCells,
    PoissonCells,
    ZeroInflatedCells,
)
from tightbound.model.likelihoods.levels import (
    AbstractLevelCells,
    BernoulliCells,
    CategoricalCells,
    CumulativeLogitCells,
)
from tightbound.model.likelihoods.point_masses import SpikeAndSlabCells
from tightbound.model.likelihoods.positive import BetaCells, GammaCells
from tightbound.model.likelihoods.words import CellWords

__all__ = [
    "AbstractBaseCountCells",
    "AbstractCells",
    "AbstractCountCells",
    "AbstractLevelCells",
    "AbstractMixtureCells",
    "BernoulliCells",
    "BetaCells",
    "CategoricalCells",
    "CellWords",
    "CumulativeLogitCells",
    "GammaCells",
    "GaussianCells",
    "GaussianMixtureCells",
    "HurdleCells",
    "LogisticMixtureCells",
    "NegativeBinomialCells",
    "PoissonCells",
    "SpikeAndSlabCells",
    "StudentTCells",
    "ZeroInflatedCells",
]
