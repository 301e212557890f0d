"""Rows of a table beside what a fitted model makes of them: samples, reconstructions, hidden cells filled in again."""

import dataclasses
from typing import final

import numpy as np
from numpy.typing import NDArray

from tightbound.data import Encoding, Numbers, Table
from tightbound.estimator.detection import AnomalousCell, anomalous_cells, p_values
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.imputation import N_DRAWS, draws_of, quantiles, typical_points
from tightbound.estimator.judges import FEWEST_REFERENCES, Judge, anomaly_scores
from tightbound.evidence import Evidence
from tightbound.evidence.diagnostics.marginals import Associations, ClosestRows, Marginal, associations, closest_rows
from tightbound.evidence.rows import spread_out

N_SAMPLES = 500
N_SAMPLES_OF_COLUMNS = 1000
"""Rare levels need more of them."""
MOST_CHECKED = 500
HIDDEN = 0.1
INTERVAL = 0.9
LATENTS = 1000
FEWEST_ROWS = 10
"""Of held-out rows, to check on them."""
LOWEST_ROWS = 12
MOST_DRAWN = 20_000_000
"""Values of draws held at once: fewer rows of wide tables are checked."""
MOST_EXPLAINED = 200
"""Columns: the row is inferred anew without each."""


@final
@dataclasses.dataclass(frozen=True)
class HiddenColumn:
    """How well hidden cells of one column are filled in."""

    name: str
    numeric: bool
    """Then errors are root mean squares in standard deviations of the column, else shares of wrong levels; of levels
    with an order mean distances in levels."""
    cells: int
    """How many were hidden."""
    error: float
    """Of the model."""
    simple_error: float
    """Of the mean; of the most frequent level, or the median one of levels with an order."""
    coverage: float | None = None
    """Share of cells inside their intervals; None for levels without an order."""
    ordinal: bool = False
    """Whether it has levels with an order."""


@final
@dataclasses.dataclass(frozen=True)
class HiddenCells:
    """Observed cells that were hidden and filled in again."""

    columns: tuple[HiddenColumn, ...]
    n_rows: int
    held_out: bool
    """Whether these rows were kept out of the fit."""
    share: float = HIDDEN
    """Of the observed cells hidden at a time, no cell twice."""
    interval: float = INTERVAL
    """The probability of the intervals."""
    n_rounds: int = 1


@final
@dataclasses.dataclass(frozen=True)
class AnomalousRow:
    """A row of low log p(x), with the cells that fit the rest of it least."""

    position: int
    """Among the rows at hand."""
    cells: tuple[AnomalousCell, ...]
    p_value: float = float("nan")
    """The chance of a score so low; NaN where it is not known."""


@final
@dataclasses.dataclass(frozen=True)
class AnomalousRows:
    """The rows of the lowest log p(x), lowest first."""

    rows: tuple[AnomalousRow, ...]
    n_reference: int = 0
    """Held-out rows that the p-values rest on."""
    explained: bool = True
    """Whether the cells were looked at."""


@final
@dataclasses.dataclass(frozen=True)
class ColumnChecks:
    """What is looked at in a table of columns by type; what cannot be had is None."""

    marginals: tuple[Marginal, ...]
    """(d,) of every column that the model knows."""
    associations: Associations | None = None
    hidden: HiddenCells | None = None
    anomalous: AnomalousRows | None = None
    closest: ClosestRows | None = None


@final
@dataclasses.dataclass(frozen=True)
class Reproduction:
    """n rows of d columns, and what the model makes of them; k latents. NaN is a missing cell."""

    names: tuple[str, ...]
    """(d,) of the columns."""
    data: Numbers
    """(n, d) the rows in the user's units; codes of levels."""
    reconstructions: Numbers
    """(n, d) E[x | z] at their posterior means."""
    samples: Numbers
    """(m, d) draws of x from the model."""
    prior_samples: Numbers
    """(m, k) draws of z from the prior."""
    image_shape: tuple[int, ...] | None = None
    """(height, width) or (height, width, 3) where rows are images."""
    labels: NDArray[np.generic] | None = None
    """(n,) a label for each row, which the model has not seen."""
    columns: ColumnChecks | None = None
    """Of a table of columns by type."""

    def numbers_only(self) -> "Reproduction":
        """The same without columns of levels, whose codes are no numbers to plot."""
        if self.columns is None:
            return self
        kept = [j for j, column in enumerate(self.columns.marginals) if not column.levels]
        return dataclasses.replace(
            self,
            data=self.data[:, kept],
            samples=self.samples[:, kept],
            reconstructions=self.reconstructions[:, kept],
            names=tuple(self.names[j] for j in kept),
            columns=None,
        )


def reproduce(model: FittedModel, table: Table, held_out: Table | None, evidence: Evidence) -> Reproduction:
    """What a fitted model makes of the rows of a table.

    Args:
        model: fitted.
        table: the rows.
        held_out: rows that the parameters were not fitted to, on which imputation is checked (None: on `table`).
        evidence: of the rows of `table`.
    """
    by_columns, complete = bool(model.specification.columns), model.encoding.filled
    samples, prior = model.sample(N_SAMPLES_OF_COLUMNS if by_columns else N_SAMPLES, seed=model.summary.seed)
    return Reproduction(
        names=table.names,
        data=table.values.astype(float),
        reconstructions=complete(model.reconstruct(table)),
        samples=complete(samples),
        prior_samples=prior,
        image_shape=table.shape if len(table.shape) > 1 else None,
        labels=table.labels,
        columns=column_checks(model, table, held_out, samples, evidence) if by_columns else None,
    )


def column_checks(
    model: FittedModel, table: Table, held_out: Table | None, samples: Numbers, evidence: Evidence
) -> ColumnChecks:
    """Marginals, associations, imputation, anomalous rows and copies of a table of columns by type."""
    table = model.encoding.check(table)
    described = (Marginal(*model.encoding.described(j)) for j in range(model.encoding.n_features))
    columns = tuple(each.measured(table.values[:, j], samples[:, j]) for j, each in enumerate(described))
    return ColumnChecks(
        columns,
        associations(columns, table.values, samples),
        hidden_cells(model, table, held_out),
        most_anomalous(model, table, evidence),
        closest_rows(columns, table.values, samples),
    )


def hidden_cells(model: FittedModel, table: Table, held_out: Table | None) -> HiddenCells | None:
    """A tenth of the observed cells of up to 500 rows hidden and filled in, column by column; None without any.

    The simple value is the mean, the median of levels with an order, else the most frequent level, of `table`.
    """
    encoding = model.encoding
    if not model.readable:
        return None
    unseen = held_out is not None and held_out.n_rows >= FEWEST_ROWS
    chosen = encoding.check(held_out) if unseen and held_out is not None else table
    most = min(MOST_CHECKED, max(FEWEST_ROWS, MOST_DRAWN // (N_DRAWS * encoding.n_features)))
    chosen = chosen.take(spread_out(chosen.n_rows, most))
    n_rows, parts = chosen.n_rows, round(1 / HIDDEN)
    # Few rows are taken several times, each time with other cells hidden.
    n_rounds = min(parts, max(1, most // n_rows))
    part = np.random.default_rng(model.summary.seed).integers(parts, size=(n_rows, encoding.n_features))
    chosen = chosen.take(np.tile(np.arange(n_rows), n_rounds))
    truth = encoding.modelled(chosen)
    hidden = np.concatenate([part == i for i in range(n_rounds)]) & np.isfinite(truth)
    hidden[:, list(encoding.given)] = False
    if not hidden.any():
        return None
    x = model.rows(chosen).x
    mean, draws, _ = draws_of(model, x, np.isfinite(truth) & ~hidden, N_DRAWS, LATENTS, model.summary.seed)
    points, ends = typical_points(encoding, mean, draws), quantiles(draws, INTERVAL)
    known = encoding.modelled(table)
    found = [
        _hidden_column(encoding, j, truth[at, j], points[at, j], ends[:, at, j], known[np.isfinite(known[:, j]), j])
        for j, at in enumerate(hidden.T)
        if at.any() and np.isfinite(known[:, j]).any()
    ]
    columns = tuple(column for column in found if np.isfinite(column.simple_error))
    return HiddenCells(columns, n_rows, unseen, n_rounds=n_rounds) if columns else None


def _hidden_column(
    encoding: Encoding, j: int, cells: Numbers, filled: Numbers, ends: Numbers, values: Numbers
) -> HiddenColumn:
    """Cells of one column beside what they were filled with; `values` are all that are known of the column."""
    inside = float(np.mean((ends[0] <= cells) & (cells <= ends[1]))) if encoding.ordered(j) else None
    numeric, ordered = not encoding.levels(j), encoding.ordered(j)
    errors = _of_numbers if numeric else _of_ordered_levels if ordered else _of_levels
    error, simple = errors(cells, filled, values)
    name = encoding.modelled_names[j]
    return HiddenColumn(name, numeric, len(cells), error, simple, inside, ordinal=ordered and not numeric)


def _of_levels(cells: Numbers, filled: Numbers, values: Numbers) -> tuple[float, float]:
    """Shares of wrong levels, of the model and of the most frequent one."""
    common = np.bincount(values.astype(int)).argmax()
    return float(np.mean(filled != cells)), float(np.mean(common != cells))


def _of_ordered_levels(cells: Numbers, filled: Numbers, values: Numbers) -> tuple[float, float]:
    """Mean distances in levels, of the model's medians and of the median of all, by what medians are best at."""
    median = np.quantile(values, 0.5, method="inverted_cdf")
    return float(np.mean(np.abs(filled - cells))), float(np.mean(np.abs(median - cells)))


def _of_numbers(cells: Numbers, filled: Numbers, values: Numbers) -> tuple[float, float]:
    """Root mean squares in standard deviations, of the model and of the mean; NaN for a number that does not vary."""
    spread, mean = float(values.std()), float(values.mean())
    if not 0 < spread < np.inf:
        return float("nan"), float("nan")
    model, simple = (float(np.sqrt(np.mean((guess - cells) ** 2)) / spread) for guess in (filled, mean))
    return model, simple


def lowest_rows(log_evidence: Numbers, most: int) -> NDArray[np.intp]:
    """The positions of the rows of the lowest log p(x), lowest first."""
    known = np.flatnonzero(~np.isnan(log_evidence))
    return known[np.argsort(log_evidence[known], kind="stable")[:most]]


def most_anomalous(model: FittedModel, table: Table, evidence: Evidence) -> AnomalousRows:
    """The rows of the lowest log p(x) with the cells that fit the rest of them least."""
    chosen = lowest_rows(evidence.log_evidence, LOWEST_ROWS)
    if not len(chosen):
        return AnomalousRows(())
    n_reference = len(model.summary.reference)
    rows, seed = model.encoding.check(table.take(chosen)), model.summary.seed
    p_value = np.full(len(chosen), np.nan)
    if n_reference >= FEWEST_REFERENCES:
        p_value, _ = p_values([Judge.of(model)], rows, [anomaly_scores(model, rows)], seed)
    explained = table.n_columns <= MOST_EXPLAINED
    cells = anomalous_cells([model], rows, np.arange(len(chosen)), seed) if explained else {}
    found = (
        AnomalousRow(int(at), cells.get(i, ()), float(p)) for i, (at, p) in enumerate(zip(chosen, p_value, strict=True))
    )
    return AnomalousRows(tuple(found), n_reference if n_reference >= FEWEST_REFERENCES else 0, explained)
