"""Column likelihoods: the distribution of one column's value given the numbers that a network returns for it.

| a column of | likelihood | numbers |
|---|---|---|
| any real numbers | `GaussianLikelihood`, `StudentTLikelihood` (outliers) | 2, 3 |
| real numbers with several modes | `GaussianMixtureLikelihood(c)`, `LogisticMixtureLikelihood(c)` | 3 c + 1 |
| positive numbers | `GammaLikelihood` | 2 |
| numbers between bounds | `BetaLikelihood(low, high)` | 2 |
| one of these, with s repeated values | `SpikeAndSlabLikelihood(base, spikes)` | base + s |
| counts | `PoissonLikelihood`, `NegativeBinomialLikelihood` | 1, 2 |
| counts with more or fewer zeros | `ZeroInflatedLikelihood(base)`, `HurdleLikelihood(base)` | base + 1 |
| yes or no | `BernoulliLikelihood` | 1 |
| k levels without, with an order | `CategoricalLikelihood(k)`, `CumulativeLogitLikelihood(k)` | k, k - 1 |
"""

from tightbound.model.likelihoods.column_likelihood import AbstractColumnLikelihood
from tightbound.model.likelihoods.column_specification import ColumnSpecification
from tightbound.model.likelihoods.continuous import (
    AbstractMixtureLikelihood,
    BetaLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    GaussianMixtureLikelihood,
    LogisticMixtureLikelihood,
    StudentTLikelihood,
)
from tightbound.model.likelihoods.counts import (
    AbstractBaseCountLikelihood,
    AbstractCountLikelihood,
    HurdleLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    ZeroInflatedLikelihood,
)
from tightbound.model.likelihoods.levels import (
    AbstractLevelLikelihood,
    BernoulliLikelihood,
    CategoricalLikelihood,
    CumulativeLogitLikelihood,
)
from tightbound.model.likelihoods.point_masses import SpikeAndSlabLikelihood

__all__ = [
    "AbstractBaseCountLikelihood",
    "AbstractColumnLikelihood",
    "AbstractCountLikelihood",
    "AbstractLevelLikelihood",
    "AbstractMixtureLikelihood",
    "BernoulliLikelihood",
    "BetaLikelihood",
    "CategoricalLikelihood",
    "ColumnSpecification",
    "CumulativeLogitLikelihood",
    "GammaLikelihood",
    "GaussianLikelihood",
    "GaussianMixtureLikelihood",
    "HurdleLikelihood",
    "LogisticMixtureLikelihood",
    "NegativeBinomialLikelihood",
    "PoissonLikelihood",
    "SpikeAndSlabLikelihood",
    "StudentTLikelihood",
    "ZeroInflatedLikelihood",
]
