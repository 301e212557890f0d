"""A mixed table as what the model sees, and back: codes of levels, counts as they are, numbers on their scales."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from tightbound.data.columns.plan import ColumnPlan, plan_column, plan_exposure, plan_of_vector
from tightbound.data.columns.scales import Affine
from tightbound.data.encoding import Encoding, Numbers, Rows
from tightbound.data.errors import DataError, complain
from tightbound.data.preprocessing import Preprocessing
from tightbound.data.saved import damaged, field, restored
from tightbound.data.schema import Schema
from tightbound.data.summary import blank_rows, nothing_varies
from tightbound.data.table import Table
from tightbound.data.types import Column

VECTORS = ("gaussian", "bernoulli")
"""Likelihoods of a whole row whose columns are alike."""

LARGEST = 1e30
"""Numbers on a scale beyond this are no numbers to float32."""


@final
@dataclass(frozen=True, eq=False)
class ColumnwiseEncoding(Encoding):
    """The map between a mixed table and the model's m columns, one for each column that is modelled.

    log p(x) of a row is in nats with respect to length (in the user's units) for continuous columns, to counting for
    counts and levels, and to both for columns with point masses.

    Attributes:
        schema: what each column holds.
        plans: how each modelled column is modelled, in order; those with a role are given, not modelled.
        messages: what the user should be told; nobody has told it yet.
        likelihood: "columns", each with its own family; or one of the whole row, on the scales of the plans.
    """

    schema: Schema
    plans: tuple[ColumnPlan, ...]
    messages: tuple[str, ...] = ()
    likelihood: str = "columns"
    floor: Numbers = dataclasses.field(init=False)

    binarize = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "floor", np.array([plan.floor for plan in self.plans]))

    @property
    def given(self) -> tuple[int, ...]:
        return tuple(j for j, plan in enumerate(self.plans) if plan.role)

    @property
    def conditions(self) -> tuple[int, ...]:
        return tuple(j for j, plan in enumerate(self.plans) if plan.role == "condition")

    @property
    def exposure(self) -> int | None:
        return next((j for j, plan in enumerate(self.plans) if plan.role == "exposure"), None)

    @property
    def words(self) -> tuple[dict[str, Any], ...]:
        # A row that is one vector of numbers, or of zeros and ones, needs no word of its columns.
        return () if self.likelihood in VECTORS and not self.given else tuple(plan.words for plan in self.plans)

    def noise_scales(self, families: Sequence[str]) -> Numbers:
        """1, but not where noise would leave the values that a family has a density for: point masses, ends."""
        takes = [plan.continuous and plan.family in families and not plan.point_masses for plan in self.plans]
        return np.array(takes, float)

    @property
    def sentence(self) -> str:
        """How the columns are modelled, in one sentence."""
        own = zip(self.schema.modelled, self.plans, strict=True)
        kinds = Counter(column.type.word for column, plan in own if not plan.role)
        words = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        unit = "the log of a probability" if self.discrete else "a density in the data's units for the continuous ones"
        way = "by its kind" if self.likelihood == "columns" else f"as part of one {self.likelihood.replace('_', '-')}"
        given = ", ".join(f"{plan.name} ({plan.role})" for plan in self.plans if plan.role)
        under = f" Given are {given}: log p(x) is that of the others, under them." if given else ""
        return f"Every column is modelled {way} ({words}), so log p(x) is in nats a row, {unit}.{under}"

    @property
    def discrete(self) -> bool:
        return not any(plan.continuous for plan in self.plans)

    def encode(
        self, table: Table, *, dtype: str = "float32", draw: bool = False, seed: int = 0, expected_by: str = "the model"
    ) -> Rows:
        """See `Encoding.encode`; there is nothing to binarise."""
        del draw, seed
        table = self.check(table, expected_by=expected_by)
        self._check_given(table)
        if table.sparse and all(plan.role or _is_plain(plan) for plan in self.plans):
            return self._sparse(table.values, dtype)
        rows = self._encoded(np.asarray(table.values), dtype, table)
        return replace(rows, log_jacobian=rows.log_jacobian + self._log_departures(table))

    def departures(self, table: Table) -> dict[str, np.ndarray]:
        return {} if table.native is None else self.schema.departures(table.native, source=table.source)

    def _check_given(self, table: Table) -> None:
        """Refuses gaps in what is given, where the training data had none."""
        for j in self.given:
            column, plan = self.schema.modelled[j], self.plans[j]
            values = np.asarray(table.values[:, j], float)
            unknown = np.isnan(values) if plan.role == "condition" else ~(values > 0)
            if unknown.any() and (plan.role == "exposure" or not column.n_missing):
                must = "known in every row, as it was when the model was fitted"
                first = values[unknown][0]
                raise complain(
                    f"The {plan.role} {plan.name!r} of {table.source}",
                    f"be {must if plan.role == 'condition' else 'a number above 0 in every row'}",
                    f"row {int(unknown.argmax())} (counting from 0) has {'none' if np.isnan(first) else f'{first:g}'}",
                    "fill it in, or leave the row out",
                )

    def _sparse(self, values: Any, dtype: str) -> Rows:
        """Counts as they are, without a dense copy."""
        changed = {j: self.plans[j].forward(values.column(j))[0] for j in self.given}
        x = values.with_columns(changed).astype(dtype)
        return Rows(x, None, np.zeros(len(values)), False)

    def _encoded(self, codes: np.ndarray, dtype: str, table: Table | None) -> Rows:
        x, jacobian = np.zeros(codes.shape, dtype), np.zeros(len(codes))
        observed = ~np.isnan(codes)
        for j, plan in enumerate(self.plans):
            seen = observed[:, j]
            y, log_slope = plan.forward(codes[seen, j])
            if table is not None and (np.abs(y) > LARGEST).any():
                row = int(np.flatnonzero(seen)[np.abs(y).argmax()])
                raise complain(
                    table.source,
                    "hold numbers that float32 can tell from infinity on the scale of the fitted ones",
                    f"{table.cell(row, j)} holds {codes[row, j]:g}",
                    "correct it, or make it missing",
                )
            x[seen, j] = y
            if not plan.role:
                jacobian[seen] += log_slope
        return Rows(x, None if observed.all() else observed, jacobian, False)

    def on_grid(self, x: np.ndarray) -> np.ndarray:
        """(n, m) in model units, moved to values that the columns can hold: as recorded data would be."""
        return self._encoded(self.decode(x, on_grid=True), x.dtype.name, None).x

    def decode(self, x: np.ndarray, *, on_grid: bool = False) -> np.ndarray:
        """(..., m) in model units as (..., m) float64 codes in the user's.

        Args:
            x: values, or means; of levels the nearest code is meant.
            on_grid: also move numbers to what the column can hold: whole numbers, its grid, its bounds.
        """
        x = np.asarray(x)
        codes = np.empty(x.shape, np.float64)
        for j, plan in enumerate(self.plans):
            codes[..., j] = plan.inverse(x[..., j].astype(np.float64), on_grid=on_grid or plan.levels > 0)
            if plan.levels:
                codes[..., j] = np.clip(codes[..., j], 0, plan.levels - 1)
        return codes

    def modelled(self, table: Table) -> Any:
        """The codes; those of a sparse table stay sparse."""
        return self.check(table).values

    def complete_log_jacobian(self, rows: Rows) -> float:
        """The mean over these rows: of columns on curved scales no other is known."""
        return float(np.mean(rows.log_jacobian))

    def _built(self, codes: Numbers, table: Table | None, container: str, rounded: bool) -> Any:
        """Columns in the types of the fitted data; with a `table`, every cell that has not changed bit for bit."""
        del rounded
        if table is not None and table.native is not None and table.container == container:
            return self.schema.values(codes, like=table.native, fill_constants=True)
        return self.schema.moved_to(container).values(codes)

    def described(self, j: int) -> tuple[str, str, str, tuple[str, ...]]:
        plan, levels = self.plans[j], [str(level) for level in self.levels(j)]
        levels += ["(never seen)"] * (plan.levels - len(levels))  # the model of a single level has two
        family = f"given: {plan.role}" if plan.role else plan.family
        return plan.name, self.schema.modelled[j].type.word, family, tuple(levels)

    def ordered(self, j: int) -> bool:
        return self.plans[j].family not in ("categorical", "bernoulli")

    def straight(self, j: int) -> bool:
        return self.plans[j].straight

    def continuous(self, j: int) -> bool:
        return self.plans[j].continuous

    def point_masses(self, j: int) -> tuple[float, ...]:
        return self.plans[j].point_masses

    def shortened(self, j: int, values: Numbers) -> Numbers:
        plan, storage = self.plans[j], self.schema.modelled[j].storage.lower()
        if plan.levels:
            return values
        if storage.startswith(("int", "uint")):
            return np.rint(values)
        return np.round(values, 2 - int(np.floor(np.log10(plan.grid)))) if plan.grid > 0 else values

    def forward(self, j: int, value: float) -> float:
        return float(self.plans[j].forward(np.array([value], float))[0][0])

    def code(self, j: int, value: Any) -> float:
        plan, number = self.plans[j], super().code(j, value)
        if not plan.levels and not (plan.low <= number <= plan.high or number in plan.point_masses):
            raise DataError(
                f"The value given for column {plan.name!r} must lie where the column does, from {plan.low:g} to "
                f"{plan.high:g}; got {number:g}; give another."
            )
        return number

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "plans": [plan.to_json() for plan in self.plans]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ColumnwiseEncoding:
        """The encoding that `to_json` wrote; a foreign or damaged one is a DataError."""
        what = "The saved encoding"
        plans = tuple(ColumnPlan.from_json(plan) for plan in field(data, "plans", list, what))
        made = restored(cls, data, what, schema=Schema.from_json, plans=lambda _: plans)
        if tuple(plan.name for plan in plans) != made.modelled_names:
            raise damaged(what, "have a plan for each modelled column", "it has others")
        return made


def _is_plain(plan: ColumnPlan) -> bool:
    """Whether the model sees the column's values as they are, and zero as zero."""
    return plan.scale is None and not plan.levels


AS_USUAL = Preprocessing()


def make_columns_encoding(table: Table, schema: Schema, wanted: Preprocessing = AS_USUAL) -> ColumnwiseEncoding:
    """The encoding of the data that a model of columns is to be fitted on.

    Args:
        table: the training data, coded by `schema`.
        schema: with nothing left open.
        wanted: what is given (by name), and which families are usual.

    Raises:
        DataError: when no column is left to model, a role or family does not fit its column, or a likelihood of the
            whole row does not fit one.
    """
    plans, messages = [], []
    for j, column in enumerate(schema.modelled):
        values = np.asarray(table.values[:, j], float)
        plans.append(_plan(column, values, wanted, table))
    dropped = [column for column in schema.columns if column.dropped]
    if all(c.constant is not None or c.n_missing == table.n_rows for c in schema.columns):
        raise nothing_varies(table.source)
    if all(plan.role for plan in plans):
        raise DataError(
            f"{table.source} must have a column that can be modelled, but all are dropped or given: "
            f"{'; '.join(f'{c.name}: {c.reason}' for c in dropped[:3]) or 'all are given'}; keep one."
        )
    for column in dropped:
        if column.name in (*wanted.condition, wanted.exposure):
            raise complain(
                f"The column {column.name!r} of {table.source}",
                "tell rows apart to be given",
                f"it is left out: {_lowered(column.reason)}",
                "leave it out of condition and exposure, or say its type in a schema",
            )
        messages.append(f"Column {column.name!r} is not modelled: {_lowered(column.reason)}")
    if not table.sparse:
        messages += blank_rows(~np.isnan(np.asarray(table.values, float)), table.source)
    return ColumnwiseEncoding(replace(schema, aside=table.aside), tuple(plans), tuple(messages), wanted.of_row)


def _plan(column: Column, values: np.ndarray, wanted: Preprocessing, table: Table) -> ColumnPlan:
    if column.name == wanted.exposure:
        return plan_exposure(column, values, table.source)
    n = len(values)
    values = values[~np.isnan(values)]
    number = not (column.type.levelled or column.type.moments)
    if column.name in wanted.condition:
        if not column.type.levelled:
            # Numbers are told to the networks standardised, no count among those that a total is of.
            column = replace(column, family="gaussian", point_masses=())
        return replace(plan_column(column, values), role="condition")
    if wanted.of_row != "columns":
        _require_fitting(column, values, wanted.of_row, table)
    if (wanted.plain and len(values) < n and number) or wanted.of_row == "gaussian":
        column = replace(column, family="gaussian", point_masses=())
    plan = _checked(plan_column(column, values, wanted.continuous, wanted.family_of_counts), values)
    return plan_of_vector(plan, column, values) if wanted.of_row == "gaussian" else plan


def _require_fitting(column: Column, values: np.ndarray, likelihood: str, table: Table) -> None:
    """Refuses columns that a likelihood of the whole row has no place for."""
    kind = column.type
    fits = {
        "gaussian": (not kind.levelled, "be a number"),
        "bernoulli": ("bernoulli" in kind.families and set(column.levels or ()) <= {0, 1}, "hold 0 and 1 alone"),
    }.get(likelihood, (kind.whole, "hold counts"))
    if not fits[0]:
        raise complain(
            f"Column {column.name!r} of {table.source}",
            f"{fits[1]} for the likelihood {likelihood!r}",
            f"it is {kind.word}",
            "drop it, make it a condition, or use likelihood='columns'",
        )


def _checked(plan: ColumnPlan, values: np.ndarray) -> ColumnPlan:
    # A scale that cannot take the data (a spline through cliffs) gives way to a straight one.
    if plan.scale is not None and len(values):
        y, log_slope = plan.forward(values)
        if not (np.isfinite(y).all() and np.isfinite(log_slope).all()):
            return replace(plan, family="gaussian", scale=Affine.of(values), point_masses=(), places=(), floor=0.01)
    return plan


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:] if sentence else "it is dropped in the schema."
