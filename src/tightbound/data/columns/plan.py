"""Which family, scale and point masses a column is modelled with: by its type, its values, and what the user asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from tightbound.data.columns.scales import (
    Affine,
    Log,
    Logarithmic,
    NormalScores,
    Numbers,
    Scale,
    Within,
    scale_from_json,
)
from tightbound.data.errors import complain, listing, suggestion
from tightbound.data.saved import damaged, plain, restored
from tightbound.data.types.column import Column
from tightbound.data.types.line import COUNTS, LINE
from tightbound.data.types.registry import TYPES

ROLES = ("", "condition", "exposure")
N_COMPONENTS = 5
DECADES = 1e4
"""Nine tenths of a column that go over so large a factor from its end are seen by their logarithm."""


@final
@dataclass(frozen=True)
class ColumnPlan:
    """How one column is modelled.

    Attributes:
        name: the column's name.
        family: one of `FAMILIES`.
        levels: number of levels of a column that has them, else 0.
        scale: where a continuous column is modelled; None for counts and levels.
        floor: least standard deviation of a continuous column on its scale: rounding to the grid is no knowledge.
        point_masses: values with positive probability, and `places`, where they stand on the scale.
        grid: the step of the values, 0 for none; `origin` is one of them.
        low, high: between which values a draw must lie.
        role: "" for a column that is modelled; of one that p(x | z, c) is given, "condition" or "exposure" (on the
            scale of its logarithm, relative to a typical one).
    """

    name: str
    family: str
    levels: int = 0
    scale: Scale | None = None
    floor: float = 0.0
    point_masses: tuple[float, ...] = ()
    places: tuple[float, ...] = ()
    grid: float = 0.0
    origin: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    role: str = ""

    @property
    def continuous(self) -> bool:
        """Whether log p of a cell is a density."""
        return self.scale is not None and not self.role

    @property
    def straight(self) -> bool:
        """Whether a mean in the model's units is one in the user's."""
        return (isinstance(self.scale, Affine) and not self.point_masses) or (self.scale is None and not self.levels)

    @property
    def words(self) -> dict[str, Any]:
        """What the model needs to know: family, size, floor and point masses, in its units."""
        mixture = self.family in ("gaussian_mixture", "logistic_mixture")
        return {
            "family": "gaussian" if self.family in ("normal_scores", "log_normal") else self.family,
            "size": N_COMPONENTS if mixture else self.levels,
            "floor": self.floor,
            "spikes": self.places,
        }

    def forward(self, x: Numbers) -> tuple[Numbers, Numbers]:
        """The column's values as the model sees them, and the log Jacobian of each (0 at a point mass); NaN stays."""
        if self.scale is None:
            return x, np.zeros_like(x)
        at = [x == mass for mass in self.point_masses]
        slab = ~np.any(at, axis=0) if at else np.ones(x.shape, bool)
        # Point masses may stand outside the scale's domain: anything inside stands in for them.
        inside = np.where(slab, x, self.scale.inverse(np.zeros(1))[0])
        y, log_slope = self.scale.forward(inside)
        for hit, place in zip(at, self.places, strict=True):
            y = np.where(hit, place, y)
        return y, np.where(slab, log_slope, 0.0)

    def inverse(self, y: Numbers, *, on_grid: bool = False) -> Numbers:
        """Values as the user has them; `on_grid` moves them to what the column can hold."""
        if self.scale is None:
            return np.rint(y) if on_grid else y
        x = self.scale.inverse(y)
        if on_grid:
            x = np.clip(self.snapped(x), self.low, self.high)
        for mass, place in zip(self.point_masses, self.places, strict=True):
            x = np.where(y == np.asarray(place, y.dtype), mass, x)
        return x

    def snapped(self, x: Numbers) -> Numbers:
        """The nearest values of the grid."""
        if not self.grid:
            return x
        steps = np.rint((x - self.origin) / self.grid)
        # 0.1 has no exact double: eight digits of the grid are kept, which no step of up to ten million blurs.
        return np.round(self.origin + steps * self.grid, 8 - int(np.floor(np.log10(max(self.grid, 1e-12)))))

    def to_json(self) -> dict[str, Any]:
        """Plain values, exact."""
        return {**plain(self, but="scale"), "scale": None if self.scale is None else self.scale.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ColumnPlan:
        """The inverse of `to_json`; a foreign or damaged one is a DataError."""
        what = "The saved plan of a column"
        made = restored(cls, data, what, scale=lambda scale: None if scale is None else scale_from_json(scale))
        if not any(made.family in kind.families for kind in TYPES):
            raise damaged(what, "name a family", f"it names {made.family!r}")
        if made.role not in ROLES:
            raise damaged(what, f"have one of the roles {listing(ROLES)}", f"it has {made.role!r}")
        return made


def plan_exposure(column: Column, values: Numbers, source: str) -> ColumnPlan:
    """How an exposure is given: as its logarithm, relative to the mean one.

    Raises:
        DataError: for a column that is no number above 0 in every row.
    """
    if column.levels is not None or len(values) == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise complain(
            f"The exposure {column.name!r} of {source}",
            "be a number above 0 in every row",
            "it has levels" if column.levels is not None else "it has cells that are missing, 0 or below",
            "name another column, or 'total' for the sum of a row's counts",
        )
    scale = Log(0.0, float(np.log(values).mean()), 1.0)
    return ColumnPlan(column.name, "gaussian", scale=scale, low=float(np.finfo(float).tiny), role="exposure")


def plan_of_vector(plan: ColumnPlan, column: Column, values: Numbers) -> ColumnPlan:
    """The plan of a column that is part of one Gaussian vector: on the whole line, its floor that of a block."""
    scale = Affine.of(values)
    floor = max(column.type.step(column) / np.sqrt(12) / scale.spread, 1e-3)
    return replace(plan, scale=scale, floor=floor, low=-np.inf, high=np.inf)


def plan_column(column: Column, values: Numbers, continuous: str = "normal_scores", counts: str = "auto") -> ColumnPlan:
    """How to model a column.

    Args:
        column: what the schema says; its `family`, where it names one, is obeyed.
        values: its observed values (codes, for levels).
        continuous: family of continuous columns that name none.
        counts: the same of counts; "auto": by their mean and variance.

    Raises:
        DataError: for a family that cannot describe the type.
    """
    kind = column.type
    family = column.family or kind.usual_family(column, values, continuous, counts)
    if family not in kind.families:
        raise complain(
            f"The family of column {column.name!r}",
            f"be one of {listing(kind.families, 20)}, since it is {kind.word}",
            f"it is {family!r}",
            f"choose one of these{suggestion(family, kind.families)}",
        )
    if kind.levelled:
        return ColumnPlan(column.name, family, levels=max(len(column.levels or ()), 2))
    if family in COUNTS:
        return ColumnPlan(column.name, family, low=0.0)
    return _continuous(column, family, values)


def _continuous(column: Column, family: str, values: Numbers) -> ColumnPlan:
    low, high = column.bounds if column.bounds is not None else (-np.inf, np.inf)
    point_masses = _point_masses(column, family, values, (low, high))
    slab = values[~np.isin(values, point_masses)]
    slab = slab if len(np.unique(slab)) >= 2 else values
    low, high = max(low, column.type.lowest(column, slab)), min(high, column.type.highest(column))
    scale = _scale(family, slab, *(column.type.support(column) if family in LINE else (low, high)))
    grid = column.type.step(column)
    floor = _floor(scale, slab, grid)
    places = _places(scale, point_masses, slab)
    origin = float(slab.min()) if grid and len(slab) else 0.0
    return ColumnPlan(column.name, family, 0, scale, floor, point_masses, places, grid, origin, float(low), float(high))


def _point_masses(column: Column, family: str, values: Numbers, bounds: tuple[float, float]) -> tuple[float, ...]:
    """Values of positive probability: those of the schema, and those where the family's density has no place."""
    ends = {"log_normal": (0.0,), "gamma": (0.0,)}.get(family, bounds)
    return (*column.point_masses, *(end for end in ends if end not in column.point_masses and (values == end).any()))


def _scale(family: str, slab: Numbers, low: float, high: float) -> Scale:
    """The scale; of families on the line one that ends where the column's values do, if they keep off the ends."""
    if family in LINE and len(slab):
        return Within.of(_scores(slab, low) if family == "normal_scores" else Affine.of(slab), slab, low, high)
    if family == "log_normal":
        return Log.of(slab[slab > 0]) if (slab > 0).any() else Affine.of(slab)
    if family == "gamma":
        return Affine(0.0, Affine.of(slab).spread)
    if family == "beta":
        return Affine(low, high - low)
    return Affine.of(slab)


def _scores(slab: Numbers, low: float) -> Scale:
    """Normal scores, on the scale of the logarithm where the numbers go over decades."""
    few, many = np.quantile(slab, [0.05, 0.95]) - low
    if np.isfinite(low) and slab.min() > low and many > DECADES * few:
        return Logarithmic(low, NormalScores.of(np.log(slab - low)) or Affine.of(np.log(slab - low)))
    return NormalScores.of(slab) or Affine.of(slab)


def _floor(scale: Scale, slab: Numbers, grid: float) -> float:
    """1/sqrt(12) of the grid's step, the standard deviation of rounding, where the scale is densest; at least 0.01."""
    if not grid or not len(slab):
        return 0.01
    middle = np.quantile(slab, [0.1, 0.25, 0.5, 0.75, 0.9])
    steps = np.exp(scale.forward(middle)[1]) * grid / np.sqrt(12)
    # On a scale that is not straight, the step differs from place to place: the median one.
    return float(np.clip(np.median(steps), 0.01, 1.0))


def _places(scale: Scale, point_masses: tuple[float, ...], slab: Numbers) -> tuple[float, ...]:
    """Where the point masses stand: as the scale has it inside its domain, else below or above all else; float32."""
    if not point_masses:
        return ()
    y = scale.forward(np.sort(slab))[0]
    low, high = scale.domain
    below, above = (sorted(mass for mass in point_masses if beyond(mass)) for beyond in (low.__ge__, high.__le__))
    places = []
    for mass in point_masses:
        if mass in below:
            places.append(float(y.min()) - len(below) + below.index(mass))
        elif mass in above:
            places.append(float(y.max()) + 1 + above.index(mass))
        else:
            places.append(float(scale.forward(np.array([mass]))[0][0]))
    return tuple(float(np.float32(place)) for place in places)
