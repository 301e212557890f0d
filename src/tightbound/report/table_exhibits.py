"""What the report shows of a mixed table: the numbers of a fitted model as the content of its sections."""

import numpy as np

from tightbound.data import Encoding, Numbers, Table
from tightbound.estimator.detection import FEWEST_REFERENCES, Judge, StrangeCell, detect
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.imputation import N_DRAWS, draws_of, quantiles, typical_points
from tightbound.evidence import Evidence
from tightbound.report import (
    ColumnContent,
    ImputationContent,
    ImputationRow,
    StrangeCellContent,
    StrangeContent,
    StrangeRow,
    TableContent,
    associated,
    copied,
    measured,
    value_of,
)

MOST_CHECKED = 500
HIDDEN = 0.1
INTERVAL = 0.9
LATENTS = 1000
FEWEST_ROWS = 10
"""Of held-out rows, to check on them."""
STRANGE_ROWS = 12
MOST_DRAWN = 20_000_000
"""Values of draws held at once: fewer rows of wide tables are checked."""
MOST_EXPLAINED = 200
"""Columns: the row is inferred anew without each."""


def table(
    model: FittedModel, table: Table, held_out: Table | None, samples: Numbers, evidence: Evidence
) -> TableContent | None:
    """Marginals, associations, imputation, strange rows and copies of a mixed table; None for a table of numbers.

    Args:
        model: fitted.
        table: the report's rows.
        held_out: rows that the parameters were not fitted to, on which imputation is checked (None: on `table`).
        samples: draws of the model, in codes.
        evidence: of the report's rows.
    """
    encoding = model.encoding
    if not model.specification.columns:
        return None
    table = encoding.check(table)
    columns = column_contents(encoding)
    return TableContent(
        measured(columns, table.values, samples),
        associated(columns, table.values, samples),
        imputation_check(model, table, held_out),
        strangest(model, table, evidence, {column.name: column.kind for column in columns}),
        copied(columns, table.values, samples),
    )


def column_contents(encoding: Encoding) -> tuple[ColumnContent, ...]:
    """Kind, family and levels of every column that the model knows."""
    return tuple(ColumnContent(*encoding.described(j)) for j in range(encoding.n_features))


def imputation_check(model: FittedModel, table: Table, held_out: Table | None) -> ImputationContent | None:
    """A tenth of the observed cells of up to 500 rows hidden and filled in, column by column; None without any.

    The simple value is the mean, or the most frequent level, of the report's rows.
    """
    encoding = model.encoding
    if not model.readable:
        return None
    unseen = held_out is not None and held_out.n_rows >= FEWEST_ROWS
    chosen = encoding.check(held_out) if unseen and held_out is not None else table
    most = min(MOST_CHECKED, max(FEWEST_ROWS, MOST_DRAWN // (N_DRAWS * encoding.n_features)))
    chosen = chosen.take(np.unique(np.linspace(0, chosen.n_rows - 1, most).round().astype(np.intp)))
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
    points, (low, high) = typical_points(encoding, mean, draws), quantiles(draws, INTERVAL)
    known = encoding.modelled(table)
    rows = []
    for j in range(encoding.n_features):
        at = hidden[:, j]
        values = known[np.isfinite(known[:, j]), j]
        if not at.any() or not len(values):
            continue
        cells, filled = truth[at, j], points[at, j]
        inside = float(np.mean((low[at, j] <= cells) & (cells <= high[at, j]))) if encoding.ordered(j) else None
        error, simple = _errors(cells, filled, values, levels=bool(encoding.levels(j)))
        if np.isfinite(simple):
            rows.append(
                ImputationRow(encoding.modelled_names[j], not encoding.levels(j), int(at.sum()), error, simple, inside)
            )
    return ImputationContent(tuple(rows), n_rows, unseen, HIDDEN, INTERVAL, n_rounds) if rows else None


def _errors(cells: Numbers, filled: Numbers, values: Numbers, *, levels: bool) -> tuple[float, float]:
    """Error of the model and of the simple value: shares of wrong levels, or root mean squares in standard deviations.

    NaN for a number that does not vary.
    """
    if levels:
        common = np.bincount(values.astype(int)).argmax()
        return float(np.mean(filled != cells)), float(np.mean(common != cells))
    spread, mean = float(values.std()), float(values.mean())
    if not 0 < spread < np.inf:
        return float("nan"), float("nan")
    model, simple = (float(np.sqrt(np.mean((guess - cells) ** 2)) / spread) for guess in (filled, mean))
    return model, simple


def strangest(model: FittedModel, table: Table, evidence: Evidence, kinds: dict[str, str]) -> StrangeContent:
    """The rows of the lowest log p(x) with the cells that fit the rest of them least."""
    known = np.flatnonzero(~np.isnan(evidence.log_evidence))
    chosen = known[np.argsort(evidence.log_evidence[known], kind="stable")[:STRANGE_ROWS]]
    if not len(chosen):
        return StrangeContent(())
    kept = np.asarray(model.summary.reference, float)
    enough = len(kept) >= FEWEST_REFERENCES
    # Without enough rows that were held out there are no p-values: the reference only fills their place.
    reference = kept if enough else np.zeros(FEWEST_REFERENCES)
    explained = table.n_columns <= MOST_EXPLAINED
    few = table.take(chosen)
    judge = Judge(model, reference)
    found = detect([judge], few, explain=len(chosen) if explained else 0, seed=model.summary.seed)
    rows = tuple(
        StrangeRow(
            int(position),
            tuple(_cell(each, kinds) for each in found.cells.get(i, ())),
            float(found.p_value[i]) if enough else None,
        )
        for i, position in enumerate(chosen)
    )
    return StrangeContent(rows, len(kept) if enough else 0, explained)


def _cell(found: StrangeCell, kinds: dict[str, str]) -> StrangeCellContent:
    number = isinstance(found.value, int | float) and not isinstance(found.value, bool)
    levelled = kinds[found.column] in ("ordinal", "categorical", "binary")
    value = value_of(float(found.value), kinds[found.column]) if number and not levelled else str(found.value)
    return StrangeCellContent(found.column, value, found.surprise)
