"""A mixed table as what the model sees, and back: codes of levels, counts as they are, numbers on their scales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from tightbound.data.coding import coded
from tightbound.data.columns.plan import ColumnPlan, plan_column, plan_exposure
from tightbound.data.columns.scales import Affine
from tightbound.data.encoding import Rows
from tightbound.data.errors import DataError, complain
from tightbound.data.names import NOTHING_ASIDE, Aside
from tightbound.data.saved import damaged, field
from tightbound.data.schema import aside_from_json
from tightbound.data.table import Table
from tightbound.data.types import TableColumn, TableSchema

BAGS = ("multinomial", "dirichlet_multinomial")
LARGEST = 1e30
"""Numbers on a scale beyond this are no numbers to float32."""


@final
@dataclass(frozen=True, eq=False)
class ColumnsEncoding:
    """The map between a mixed table and the model's m columns, one for each column that is modelled.

    log p(x) of a row is in nats with respect to length (in the user's units) for continuous columns, to counting for
    counts and levels, and to both for columns with spikes.

    Attributes:
        schema: what each column holds.
        plans: how each modelled column is modelled, in order; those with a role are given, not modelled.
        aside: columns that the data had beside these.
        messages: what the user should be told; nobody has told it yet.
        likelihood: "columns", each with its own family; or one of the whole row, on the scales of the plans.
    """

    schema: TableSchema
    plans: tuple[ColumnPlan, ...]
    aside: Aside = NOTHING_ASIDE
    messages: tuple[str, ...] = ()
    likelihood: str = "columns"

    binarize = False

    @property
    def n_features(self) -> int:
        """Number of modelled columns, m."""
        return len(self.plans)

    @property
    def given(self) -> tuple[int, ...]:
        """Positions of the columns that p(x | z, c) is given: conditions, an exposure."""
        return tuple(j for j, plan in enumerate(self.plans) if plan.role)

    @property
    def given_names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.plans[j].name for j in self.given)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns that new data must have: the modelled ones."""
        return self.modelled_names

    @property
    def modelled_names(self) -> tuple[str, ...]:
        """Names of the modelled columns, (m,)."""
        return tuple(plan.name for plan in self.plans)

    @property
    def named(self) -> bool:
        """Whether the names are the user's."""
        return self.schema.named

    @property
    def table_schema(self) -> TableSchema:
        """The schema that new data are read by."""
        return self.schema

    @property
    def sentence(self) -> str:
        """How the columns are modelled, in one sentence."""
        own = zip(self.schema.modelled, self.plans, strict=True)
        kinds = Counter(column.kind.value for column, plan in own if not plan.role)
        words = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        unit = "the log of a probability" if self.discrete else "a density in the data's units for the continuous ones"
        way = "by its kind" if self.likelihood == "columns" else f"as part of one {self.likelihood.replace('_', '-')}"
        given = ", ".join(f"{plan.name} ({plan.role})" for plan in self.plans if plan.role)
        under = f" Given are {given}: log p(x) is that of the others, under them." if given else ""
        return f"Every column is modelled {way} ({words}), so log p(x) is in nats a row, {unit}.{under}"

    @property
    def discrete(self) -> bool:
        """Whether log p(x) is the log of a probability."""
        return not any(plan.continuous for plan in self.plans)

    def check(self, table: Table, *, expected_by: str = "the model") -> Table:
        """The table with its cells as codes of this schema.

        Raises:
            DataError: for other columns, levels that are not known, cells outside the support of their column.
        """
        if table.coded == self.schema:
            return table
        return coded(table, self.schema)

    def encode(
        self, table: Table, *, dtype: str = "float32", draw: bool = False, seed: int = 0, expected_by: str = "the model"
    ) -> Rows:
        """The data as the model sees them: (n, m) values with a mask, and the log Jacobian of every row.

        Args:
            table: n rows with the fitted columns.
            dtype: "float32" or "float64".
            draw, seed: of binarisation, which there is none of here.
            expected_by: who expects the columns, for messages.

        Raises:
            DataError: as `check`, and for numbers that are too far from the fitted ones for `dtype`.
        """
        del draw, seed
        table = self.check(table, expected_by=expected_by)
        self._check_given(table)
        if table.sparse and all(plan.role or _is_plain(plan) for plan in self.plans):
            return self._sparse(table.values, dtype)
        return self._encoded(np.asarray(table.values), dtype, table)

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

    def give_back(
        self,
        codes: np.ndarray,
        *,
        index: Any | None = None,
        container: str | None = None,
        rounded: bool = False,
        like: Any | None = None,
    ) -> Any:
        """(n, m) codes as columns in the container and types of the fitted data.

        Args:
            codes: as `decode` gives; NaN is missing.
            index: pandas index of the rows, or None.
            container: "numpy", "pandas" or "polars" instead of that of the fitted data.
            rounded: whole numbers and levels are meant (they always are here).
            like: the table that the codes came from; what has not changed comes back as it was there.
        """
        del rounded
        schema = self.schema
        if container is not None and container != schema.container:
            schema, like = schema.moved_to(container), None
        given = schema.values(codes, like=like)
        if index is not None and like is None and hasattr(given, "set_axis"):
            given = given.set_axis(index, axis=0)
        return given

    def to_json(self) -> dict[str, Any]:
        """The encoding as a dictionary that `json` can write; numbers survive exactly."""
        return {
            "likelihood": "columns",
            "of_row": self.likelihood,
            "schema": self.schema.to_json(),
            "plans": [plan.to_json() for plan in self.plans],
            "aside": {"label": self.aside.label, "dropped": list(self.aside.dropped)},
            "messages": list(self.messages),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ColumnsEncoding:
        """The encoding that `to_json` wrote; a foreign or damaged one is a DataError."""
        what = "The saved encoding"
        schema = TableSchema.from_json(field(data, "schema", dict, what))
        plans = tuple(ColumnPlan.from_json(plan) for plan in field(data, "plans", list, what))
        if tuple(plan.name for plan in plans) != tuple(column.name for column in schema.modelled):
            raise damaged(what, "have a plan for each modelled column", "it has others")
        messages = tuple(str(message) for message in field(data, "messages", list, what))
        aside = aside_from_json(field(data, "aside", dict, what))
        return cls(schema, plans, aside, messages, field(data, "of_row", str, what))


def _is_plain(plan: ColumnPlan) -> bool:
    """Whether the model sees the column's values as they are, and zero as zero."""
    return plan.scale is None and not plan.levels


@final
@dataclass(frozen=True)
class Roles:
    """What the user says of columns beside their kinds.

    Attributes:
        conditions: names of columns that p(x | z, c) is given.
        exposure: name of the column that multiplies the means of counts; "total" for their sum; None.
        continuous, counts: families of the columns that name none.
        likelihood: "columns", or one of the whole row: "gaussian", "bernoulli", "multinomial", "dirichlet_multinomial".
        plain: model continuous columns with missing cells as Gaussian, without spikes, whatever the rest is.
    """

    conditions: tuple[str, ...] = ()
    exposure: str | None = None
    continuous: str = "normal_scores"
    counts: str = "auto"
    likelihood: str = "columns"
    plain: bool = False

    @property
    def family_of_counts(self) -> str:
        """Counts under an exposure are counts, whatever their mean is."""
        if self.likelihood in BAGS:
            return "poisson"
        return "negative_binomial" if self.counts == "auto" and self.exposure is not None else self.counts


NO_ROLES = Roles()


def make_columns_encoding(table: Table, schema: TableSchema, roles: Roles = NO_ROLES) -> ColumnsEncoding:
    """The encoding of the data that a model of columns is to be fitted on.

    Args:
        table: the training data, coded by `schema`.
        schema: with nothing left open.
        roles: what is given, and which families are usual.

    Raises:
        DataError: when no column is left to model, a role or family does not fit its column, or a likelihood of the
            whole row does not fit one.
    """
    plans, messages = [], []
    for j, column in enumerate(schema.modelled):
        values = np.asarray(table.values[:, j], float)
        plans.append(_plan(column, values, roles, table))
    dropped = [column for column in schema.columns if column.dropped]
    if all(plan.role for plan in plans):
        raise DataError(
            f"{table.source} must have a column that can be modelled, but all are dropped or given: "
            f"{'; '.join(f'{c.name}: {c.reason}' for c in dropped[:3]) or 'all are given'}; keep one."
        )
    for column in dropped:
        if column.name in (*roles.conditions, roles.exposure):
            raise complain(
                f"The column {column.name!r} of {table.source}",
                "tell rows apart to be given",
                f"it is left out: {_lowered(column.reason)}",
                "leave it out of condition and exposure, or say its kind in a schema",
            )
        messages.append(f"Column {column.name!r} is not modelled: {_lowered(column.reason)}")
    return ColumnsEncoding(schema, tuple(plans), table.aside, tuple(messages), roles.likelihood)


def _plan(column: TableColumn, values: np.ndarray, roles: Roles, table: Table) -> ColumnPlan:
    if column.name == roles.exposure:
        return plan_exposure(column, values, table.source)
    n = len(values)
    values = values[~np.isnan(values)]
    number = column.kind.value in ("real", "positive", "bounded", "count")
    if column.name in roles.conditions:
        if number or column.kind.value == "datetime":
            # Numbers are told to the networks standardised, no count among those that a total is of.
            column = replace(column, family="gaussian", spikes=())
        return replace(plan_column(column, values), role="condition")
    if roles.likelihood != "columns":
        _require_fitting(column, values, roles.likelihood, table)
    if (roles.plain and len(values) < n and number) or roles.likelihood == "gaussian":
        column = replace(column, family="gaussian", spikes=())
    return _checked(plan_column(column, values, roles.continuous, roles.family_of_counts), values)


def _require_fitting(column: TableColumn, values: np.ndarray, likelihood: str, table: Table) -> None:
    """Refuses columns that a likelihood of the whole row has no place for."""
    kind = column.kind.value
    fits = {
        "gaussian": (kind in ("real", "positive", "bounded", "count", "datetime"), "be a number"),
        "bernoulli": (kind == "binary" and set(column.levels or ()) <= {0, 1}, "hold 0 and 1 alone"),
    }.get(likelihood, (kind == "count", "hold counts"))
    if not fits[0]:
        raise complain(
            f"Column {column.name!r} of {table.source}",
            f"{fits[1]} for the likelihood {likelihood!r}",
            f"it is {kind}",
            "drop it, make it a condition, or use likelihood='columns'",
        )


def _checked(plan: ColumnPlan, values: np.ndarray) -> ColumnPlan:
    # A scale that cannot take the data (a spline through cliffs) gives way to a straight one.
    if plan.scale is not None and len(values):
        y, log_slope = plan.forward(values)
        if not (np.isfinite(y).all() and np.isfinite(log_slope).all()):
            return replace(plan, family="gaussian", scale=Affine.of(values), spikes=(), places=(), floor=0.01)
    return plan


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:] if sentence else "it is dropped in the schema."
