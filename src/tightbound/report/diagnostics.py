"""What the report says of how far to trust it: brackets, gaps, rows, calibration, health, baselines. No picture yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class RealBracket:
    """The bracket on r rows of data, where its upper end is approximate: no exact draw of z given x is known.

    `lower`, `upper` (r,) nats; `gap`, `gap_standard_error`: mean of upper - lower over rows, nats a row;
    `converged` (r,): did the chain that stands in for the exact draw settle?
    """

    lower: Array
    upper: Array
    gap: float
    gap_standard_error: float | None
    converged: Array

    def __post_init__(self) -> None:
        """Refuse ends of different rows."""
        require_shapes("bracket of real rows", self, upper=self.lower.shape, converged=self.lower.shape)


@dataclass(frozen=True)
class BracketContent:
    """Two-sided bounds on log p(x) of r rows simulated by the model, of which the exact z is known.

    `lower`, `upper` (r,) nats: forward annealing gives a lower, reverse annealing a stochastic upper bound;
    `gap`, `gap_standard_error`: mean of upper - lower over rows, nats a row; `method` in words; `real`: the same for
    rows of data, where it is approximate.
    """

    lower: Array
    upper: Array
    gap: float
    gap_standard_error: float | None
    method: str
    real: RealBracket | None = None

    def __post_init__(self) -> None:
        """Refuse ends of different rows."""
        require_shapes("bracket", self, upper=self.lower.shape)


@dataclass(frozen=True)
class GapGroup:
    """log p(x) - ELBO over one group of rows and its two parts, means in nats a row with standard errors.

    `approximation`: what even the family's best q for each row would lose; `amortisation`: what the encoder loses on
    top, by not finding it.
    """

    name: str
    approximation: float
    approximation_standard_error: float | None
    amortisation: float
    amortisation_standard_error: float | None
    total: float
    total_standard_error: float | None
    rows: int


@dataclass(frozen=True)
class GapContent:
    """Where log p(x) - ELBO comes from, group by group, and `advice`: sentences on what would make it smaller."""

    groups: tuple[GapGroup, ...]
    advice: tuple[str, ...] = ()
    method: str = ""


@dataclass(frozen=True)
class RowEvidenceContent:
    """How sure log p(x) of each of the report's m rows is.

    - `standard_error` (m,) nats (0 = exact, NaN = unknown); `method` (m,): how it was found, in a word.
    - `flags` (m,): "" where the estimate is good, else the name of what is wrong with it.
    - `khat` (m,): Pareto k-hat of the weights, NaN or infinite where there is none.
    - `work` (m,): what it cost, in `work_unit`.
    - `meanings`: (flag, sentence) pairs, for the flags that need one.
    """

    standard_error: Array
    method: Array
    flags: Array
    khat: Array | None = None
    work: Array | None = None
    work_unit: str = "decoder passes a row"
    meanings: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse values of different rows."""
        shape = self.standard_error.shape
        require_shapes("row evidence", self, method=shape, flags=shape, khat=shape, work=shape)


@dataclass(frozen=True)
class RankContent:
    """Simulation-based calibration of the encoder: ranks of the true z among draws of q(z given x).

    `counts` (k, bins): histogram of each latent dimension's ranks, uniform where q is the exact posterior; `pooled`
    (bins,): all dimensions together, their sum unless given.
    """

    counts: Array
    pooled: Array | None = None

    def __post_init__(self) -> None:
        """Refuse histograms of different bins."""
        require_shapes("rank histogram", self, counts=(*self.counts.shape[:1], *self.counts.shape[-1:]))
        require_shapes("rank histogram", self, pooled=self.counts.shape[-1:])


@dataclass(frozen=True)
class PredictiveContent:
    """Calibration of the decoder on d columns: where values fall among the model's own.

    `pit` (bins,): histogram of the probability integral transform, uniform where it is calibrated; `coverage` (d, 2):
    share of values inside the central 50 and 90 per cent intervals of each column; `names` of the columns; `rows`:
    how many values each share is taken over, where known.
    """

    pit: Array
    coverage: Array
    names: tuple[str, ...]
    rows: int | None = None

    def __post_init__(self) -> None:
        """Refuse shares without names."""
        require_shapes("predictive calibration", self, pit=self.pit.shape[:1], coverage=(len(self.names), 2))


@dataclass(frozen=True)
class CalibrationContent:
    """Calibration of the encoder, of the decoder, or of both; `sentences` say what was found."""

    ranks: RankContent | None = None
    predictive: PredictiveContent | None = None
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class HealthFinding:
    """One check of the fit: its verdict, the number behind it and its threshold, and what it means.

    `statistic` names the number; `is_unknown`: the check could not be made.
    """

    check: str
    verdict: str
    statistic: str
    value: float | None
    threshold: float | None
    sentence: str
    is_problem: bool = False
    is_unknown: bool = False


@dataclass(frozen=True)
class HealthContent:
    """What was checked of the fit."""

    findings: tuple[HealthFinding, ...]


@dataclass(frozen=True)
class BaselineRow:
    """One model of the ranking: mean log p(x) over the same rows, and its difference to the fitted model.

    `difference` is this model minus the fitted one, nats a row, with the standard error over pairs; `detail` says
    what the model is; `is_model` marks the fitted model itself.
    """

    name: str
    mean: float
    standard_error: float | None
    difference: float
    difference_standard_error: float | None
    detail: str = ""
    is_model: bool = False


@dataclass(frozen=True)
class BaselineContent:
    """The fitted model among simple ones on the same `rows`; `sentence` says what follows."""

    ranking: tuple[BaselineRow, ...]
    sentence: str = ""
    rows: int | None = None


@dataclass(frozen=True)
class ComparisonContent:
    """m models on the same n rows, for a page of its own.

    - `names`, `mean`, `standard_error` (over rows), `monte_carlo_error` (of the estimates): (m,), nats a row; NaN
      where there is none.
    - `best`: the position of the model that the others are compared with.
    - `difference`, `difference_standard_error` (m,): each model minus the best, with the error over pairs; 0 and NaN
      at `best`.
    - `row_differences` (m - 1, n): the same row by row, in the order of `names` without `best`.
    - `verdicts`: sentences.
    """

    names: tuple[str, ...]
    mean: Array
    standard_error: Array
    monte_carlo_error: Array
    best: int
    difference: Array
    difference_standard_error: Array
    row_differences: Array
    verdicts: tuple[str, ...] = ()
    title: str = "Comparison of models"
    summary: str = ""
    unit: str = "nats a row, the log of a density in the data's own units"
    messages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse numbers of different models."""
        one_each = ("mean", "standard_error", "monte_carlo_error", "difference", "difference_standard_error")
        require_shapes("comparison", self, **dict.fromkeys(one_each, (len(self.names),)))
        require_shapes("comparison", self, row_differences=(len(self.names) - 1, *self.row_differences.shape[1:2]))
        if not 0 <= self.best < len(self.names):
            raise ValueError(
                f"the comparison's best must be a position among the {len(self.names)} names, but is {self.best}: "
                "pass where the best model stands, counted from 0"
            )

    def others(self) -> tuple[int, ...]:
        """The positions of all models but the best, in order."""
        return tuple(place for place in range(len(self.names)) if place != self.best)


def require_shapes(what: str, owner: object, **shapes: tuple[int, ...]) -> None:
    """Refuse an array whose shape does not fit the others of `owner`, by name; None always fits."""
    for field, shape in shapes.items():
        value = getattr(owner, field)
        if value is not None and np.shape(value) != shape:
            raise ValueError(
                f"the {what}'s {field} must have shape {shape}, to match its other arrays, but has {np.shape(value)}: "
                "pass the values that belong together"
            )
