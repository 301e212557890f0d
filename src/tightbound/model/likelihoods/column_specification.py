"""Column likelihoods by name: what a specification says of one column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

from tightbound.model.likelihoods.column_likelihood import AbstractColumnLikelihood
from tightbound.model.likelihoods.continuous import (
    BetaLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    GaussianMixtureLikelihood,
    LogisticMixtureLikelihood,
    StudentTLikelihood,
)
from tightbound.model.likelihoods.counts import (
    HurdleLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    ZeroInflatedLikelihood,
)
from tightbound.model.likelihoods.levels import BernoulliLikelihood, CategoricalLikelihood, CumulativeLogitLikelihood
from tightbound.model.likelihoods.point_masses import SpikeAndSlabLikelihood

_MAKERS: dict[str, Callable[[int, float], AbstractColumnLikelihood]] = {
    "gaussian": lambda size, floor: GaussianLikelihood(floor),
    "student_t": lambda size, floor: StudentTLikelihood(floor),
    "gaussian_mixture": lambda size, floor: GaussianMixtureLikelihood(size, floor),
    "logistic_mixture": lambda size, floor: LogisticMixtureLikelihood(size, floor),
    "gamma": lambda size, floor: GammaLikelihood(),
    "beta": lambda size, floor: BetaLikelihood(),
    "poisson": lambda size, floor: PoissonLikelihood(),
    "negative_binomial": lambda size, floor: NegativeBinomialLikelihood(),
    "zero_inflated_poisson": lambda size, floor: ZeroInflatedLikelihood(PoissonLikelihood()),
    "zero_inflated_negative_binomial": lambda size, floor: ZeroInflatedLikelihood(NegativeBinomialLikelihood()),
    "hurdle_poisson": lambda size, floor: HurdleLikelihood(PoissonLikelihood()),
    "hurdle_negative_binomial": lambda size, floor: HurdleLikelihood(NegativeBinomialLikelihood()),
    "bernoulli": lambda size, floor: BernoulliLikelihood(),
    "categorical": lambda size, floor: CategoricalLikelihood(size),
    "cumulative_logit": lambda size, floor: CumulativeLogitLikelihood(size),
}
FAMILIES = tuple(_MAKERS)
LEVELLED = ("bernoulli", "categorical", "cumulative_logit")
COUNTS = tuple(name for name in FAMILIES if name.endswith(("poisson", "negative_binomial")))


@final
@dataclass(frozen=True)
class ColumnSpecification:
    """The likelihood of one column in plain values, as it is saved.

    Example: `ColumnSpecification("categorical", size=3).likelihood().n_outputs == 3`.
    """

    family: str
    size: int = 0
    """Levels, or components of a mixture."""
    floor: float = 0.01
    """Least scale of a continuous column."""
    spikes: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(
                f"The family of a column must be one of {', '.join(FAMILIES)}; got {self.family!r}; choose one of "
                "those."
            )

    @property
    def has_levels(self) -> bool:
        """Whether x is the code of a level."""
        return self.family in LEVELLED

    @property
    def n_levels(self) -> int:
        """Number of levels, 0 for numbers."""
        return 2 if self.family == "bernoulli" else self.size if self.has_levels else 0

    @property
    def is_count(self) -> bool:
        """Whether x is 0, 1, 2, ..."""
        return self.family in COUNTS

    def likelihood(self) -> AbstractColumnLikelihood:
        """The likelihood itself; raises `ValueError` for sizes, floors and spikes that make none."""
        base = _MAKERS[self.family](self.size, self.floor)
        return SpikeAndSlabLikelihood(base, self.spikes) if self.spikes else base

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "spikes": list(self.spikes)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ColumnSpecification:
        """The inverse of `to_json`."""
        return cls(**{**values, "spikes": tuple(float(s) for s in values["spikes"])})
