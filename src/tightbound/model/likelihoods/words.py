"""Cells by name: what a specification says of one column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

from tightbound.model.likelihoods.base import AbstractCells
from tightbound.model.likelihoods.continuous import (
    GaussianCells,
    GaussianMixtureCells,
    LogisticMixtureCells,
    StudentTCells,
)
from tightbound.model.likelihoods.counts import HurdleCells, NegativeBinomialCells, PoissonCells, ZeroInflatedCells
from tightbound.model.likelihoods.levels import BernoulliCells, CategoricalCells, CumulativeLogitCells
from tightbound.model.likelihoods.point_masses import SpikeAndSlabCells
from tightbound.model.likelihoods.positive import BetaCells, GammaCells

_MAKERS: dict[str, Callable[[int, float], AbstractCells]] = {
    "gaussian": lambda size, floor: GaussianCells(floor),
    "student_t": lambda size, floor: StudentTCells(floor),
    "gaussian_mixture": lambda size, floor: GaussianMixtureCells(size, floor),
    "logistic_mixture": lambda size, floor: LogisticMixtureCells(size, floor),
    "gamma": lambda size, floor: GammaCells(),
    "beta": lambda size, floor: BetaCells(),
    "poisson": lambda size, floor: PoissonCells(),
    "negative_binomial": lambda size, floor: NegativeBinomialCells(),
    "zero_inflated_poisson": lambda size, floor: ZeroInflatedCells(PoissonCells()),
    "zero_inflated_negative_binomial": lambda size, floor: ZeroInflatedCells(NegativeBinomialCells()),
    "hurdle_poisson": lambda size, floor: HurdleCells(PoissonCells()),
    "hurdle_negative_binomial": lambda size, floor: HurdleCells(NegativeBinomialCells()),
    "bernoulli": lambda size, floor: BernoulliCells(),
    "categorical": lambda size, floor: CategoricalCells(size),
    "cumulative_logit": lambda size, floor: CumulativeLogitCells(size),
}
FAMILIES = tuple(_MAKERS)
LEVELLED = ("bernoulli", "categorical", "cumulative_logit")
COUNTS = tuple(name for name in FAMILIES if name.endswith(("poisson", "negative_binomial")))


@final
@dataclass(frozen=True)
class CellWords:
    """The cells of one column in plain values, as they are saved.

    Example: `CellWords("categorical", size=3).cells().n_outputs == 3`.
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

    def cells(self) -> AbstractCells:
        """The cells themselves; raises `ValueError` for sizes, floors and spikes that make none."""
        base = _MAKERS[self.family](self.size, self.floor)
        return SpikeAndSlabCells(base, self.spikes) if self.spikes else base

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "spikes": list(self.spikes)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CellWords:
        """The inverse of `to_json`."""
        return cls(**{**values, "spikes": tuple(float(s) for s in values["spikes"])})
