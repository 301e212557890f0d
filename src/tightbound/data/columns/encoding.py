"""A mixed table as what the model sees, and back: codes of levels, counts as they are, numbers on their scales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from ..encoding import Rows
from ..errors import DataError, complain
from ..kinds import TableSchema
from ..mixed import coded
from ..saved import damaged, field
from ..schema import aside_from_json
from ..table import NOTHING_ASIDE, Aside, Table
from .plan import ColumnPlan, plan_column
from .scales import Affine

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
        plans: how each modelled column is modelled, in order.
        aside: columns that the data had beside these.
        messages: what the user should be told; nobody has told it yet.
    """

    schema: TableSchema
    plans: tuple[ColumnPlan, ...]
    aside: Aside = NOTHING_ASIDE
    messages: tuple[str, ...] = ()

    likelihood = "columns"
    binarize = False

    @property
    def n_features(self) -> int:
        """Number of modelled columns, m."""
        return len(self.plans)

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
        kinds = Counter(column.kind.value for column in self.schema.modelled)
        words = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        unit = "the log of a probability" if self.discrete else "a density in the data's units for the continuous ones"
        return f"Every column is modelled by its kind ({words}), so log p(x) is in nats a row, {unit}."

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
        return self._encoded(table.values, dtype, table)

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
            "likelihood": self.likelihood,
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
        return cls(schema, plans, aside_from_json(field(data, "aside", dict, what)), messages)


def make_columns_encoding(
    table: Table, schema: TableSchema, continuous: str = "normal_scores", *, plain: bool = False
) -> ColumnsEncoding:
    """The encoding of the data that a model of columns is to be fitted on.

    Args:
        table: the training data, coded by `schema`.
        schema: with nothing left open.
        continuous: family of continuous columns that name none.
        plain: model continuous columns with missing cells as Gaussian, without spikes, whatever the rest is.

    Raises:
        DataError: when no column is left to model, or a family does not fit its column.
    """
    plans, messages = [], []
    for j, column in enumerate(schema.modelled):
        values = table.values[:, j]
        values = values[~np.isnan(values)]
        if plain and len(values) < table.n_rows and column.kind.value in ("real", "positive", "bounded", "count"):
            column = replace(column, family="gaussian", spikes=())
        plans.append(_checked(plan_column(column, values, continuous), values))
    dropped = [column for column in schema.columns if column.dropped]
    if not plans:
        raise DataError(
            f"{table.source} must have a column that can be modelled, but all are dropped: "
            f"{'; '.join(f'{c.name}: {c.reason}' for c in dropped[:3])}; keep one in the schema."
        )
    for column in dropped:
        messages.append(f"Column {column.name!r} is not modelled: {_lowered(column.reason)}")
    return ColumnsEncoding(schema, tuple(plans), table.aside, tuple(messages))


def _checked(plan: ColumnPlan, values: np.ndarray) -> ColumnPlan:
    # A scale that cannot take the data (a spline through cliffs) gives way to a straight one.
    if plan.scale is not None and len(values):
        y, log_slope = plan.forward(values)
        if not (np.isfinite(y).all() and np.isfinite(log_slope).all()):
            return replace(plan, family="gaussian", scale=Affine.of(values), spikes=(), places=(), floor=0.01)
    return plan


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:] if sentence else "it is dropped in the schema."
