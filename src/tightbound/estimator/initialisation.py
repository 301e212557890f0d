"""Before the fit: how a model sees a table, and what the training rows say of where it should begin."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightbound.data import (
    ColumnwiseEncoding,
    DataError,
    Encoding,
    Roles,
    Rows,
    Table,
    coded,
    column_position,
    counted,
    decide_likelihood,
    infer_schema,
    make_columns_encoding,
    make_encoding,
)
from tightbound.estimator.checking import names_of
from tightbound.estimator.config import Plan
from tightbound.model import BAGS, COUNTS, TOTAL, Start, columns_head, log_totals, moments_of

TOTAL_EXPOSURE = "total"
MOST_CELLS_TO_BEGIN = 2**24


def choose_encoding(table: Table, settings: Mapping[str, Any]) -> tuple[Table, Encoding, str]:
    """The table (coded, if it is mixed), how a model sees it, and a sentence on what was decided."""
    likelihood, exposure = settings["likelihood"], settings["exposure"]
    given = [*names_of(settings["condition"]), *([] if exposure in (None, TOTAL_EXPOSURE) else [exposure])]
    of_counts = exposure is not None or likelihood in BAGS or settings["counts"] != "auto"
    by_itself = likelihood == "auto" and not settings["binarize"] and _is_sparse_of_counts(table)
    if table.coded is None and not (given or of_counts or likelihood == "columns" or by_itself):
        table = table.dense()
        decision = decide_likelihood(table, infer_schema(table), likelihood, settings["binarize"])
        return (
            table,
            make_encoding(table, decision.likelihood, decision.binarize, settings["scaling"]),
            decision.sentence,
        )
    if likelihood in BAGS and exposure not in (None, TOTAL_EXPOSURE):
        raise ValueError(
            f"exposure must be {TOTAL_EXPOSURE!r} (or nothing) for the likelihood {likelihood!r}, which is "
            f"that of counts given their sum; got {exposure!r}; leave it out."
        )
    if settings["binarize"] or (likelihood in ("gaussian", "bernoulli") and not given):
        asked = "binarize" if settings["binarize"] else f"likelihood {likelihood!r}"
        raise DataError(
            f"{table.source} must hold numbers alone, without exposure and conditions, for the {asked}; leave one of "
            "the two out, or drop the columns that are no numbers."
        )
    if table.coded is None and table.container == "numpy" and likelihood != "gaussian":
        others = tuple(column_position(key, table.names, table.source) for key in given)
        if of_counts or (table.sparse and table.values.are_counts(others)):
            table = counted(table, given)
    table = table.dense() if table.coded is None else table
    positions = [] if table.coded else [column_position(key, table.names, table.source) for key in given]
    table = coded(table, table.coded)
    schema: Any = table.coded
    named = [schema.names[j] for j in positions] or [_named(key, table) for key in given]
    roles = Roles(
        conditions=tuple(named[: len(named) - (exposure not in (None, TOTAL_EXPOSURE))]),
        exposure=exposure if exposure in (None, TOTAL_EXPOSURE) else named[-1],
        continuous=settings["continuous"],
        counts=settings["counts"],
        likelihood="columns" if likelihood == "auto" else likelihood,
        # A mechanism of missingness needs plain Gaussian cells: ranks of what is left say nothing of what is gone.
        plain=settings["missingness"] != "random",
    )
    encoding = make_columns_encoding(table, schema, roles)
    _check_exposure(encoding, exposure, table)
    by_total = exposure == TOTAL_EXPOSURE or likelihood in BAGS
    under = " Counts are under the total of their row, which is given too." if by_total else ""
    return table, encoding, encoding.sentence + under


def _named(key: str | int, table: Table) -> str:
    """The name of a column of a coded table; one that was dropped keeps it."""
    schema: Any = table.coded
    if str(key) in schema.names:
        return str(key)
    return table.names[column_position(key, table.names, table.source)]


def _is_sparse_of_counts(table: Table) -> bool:
    """Whether a sparse table holds counts, some of them above 1."""
    return table.sparse and bool((table.values.stored > 1).any()) and table.values.are_counts()


def _check_exposure(encoding: ColumnwiseEncoding, exposure: str | int | None, table: Table) -> None:
    """Refuses an exposure that nothing is under, and a total of what is not all there."""
    if exposure is None:
        return
    counts = [j for j, plan in enumerate(encoding.plans) if plan.words["family"] in COUNTS and not plan.role]
    if not counts:
        raise DataError(
            f"{table.source} must have a column of counts for the exposure {exposure!r} to work on; it has none; leave "
            "the exposure out, or call the columns counts in a schema."
        )
    if exposure == TOTAL_EXPOSURE and not table.sparse:
        gaps = [j for j in counts if np.isnan(np.asarray(table.values[:, j], float)).any()]
        if gaps:
            raise DataError(
                f"{table.source} must have no gaps in its counts for the exposure 'total'; column "
                f"{encoding.names[gaps[0]]!r} has some; fill them in, or name a column that holds the total."
            )


def start_of(plan: Plan, encoding: Encoding, rows: Rows, seed: int) -> Start:
    """What the training rows say of where a model should begin."""
    pseudo, spec = _pseudo_inputs(plan, rows, seed), plan.specification
    if not spec.columns:
        return Start(encoding.center(rows), encoding.floor, pseudo_inputs=pseudo)
    columns, some = spec.columns, _some_of(plan.train, encoding.n_features, sparse=not isinstance(rows.x, np.ndarray))
    x = rows.x[some]
    seen = np.ones(x.shape, bool) if rows.observed is None else rows.observed[some]
    exposure = None
    if spec.exposure is not None:
        exposure = np.asarray(log_totals(x, columns) if spec.exposure == TOTAL else x[:, spec.exposure], float)
        relative = exposure - exposure.mean() if spec.exposure == TOTAL else exposure
    center, spread = moments_of(x, seen, columns, None if exposure is None else relative)
    own = list(spec.cells)
    modelled = x[:, own]
    if spec.likelihood.word == "columns":
        scaled = modelled.astype(float)
        if exposure is not None:
            # Counts start at the moments that they would have under a typical exposure.
            counts = [i for i, j in enumerate(own) if columns[j].is_count]
            scaled[:, counts] /= np.exp(relative.astype(float))[:, None]
        first: Any = columns_head([columns[j].cells() for j in own], scaled, seen[:, own]).first
    elif spec.likelihood.of_sums:
        first = np.log((modelled.sum(axis=0) + 0.5) / (modelled.sum() + 0.5 * len(own)))
    else:
        first = None
    given = None
    if spec.conditioned:
        given = np.column_stack([x[:, list(spec.conditions)], *([] if exposure is None else [exposure])])
        known = seen[:, list(spec.conditions)].all(axis=1)
        given = given[known] if known.any() else np.nan_to_num(given)
    first = None if first is None else np.asarray(first)
    return Start(center, encoding.floor, spread, first, x, seen, pseudo, given)


def _some_of(train: NDArray[np.intp], n_columns: int, *, sparse: bool) -> NDArray[np.intp]:
    """The training rows to begin from: all of them, or as many as may be dense at once."""
    most = max(1000, MOST_CELLS_TO_BEGIN // n_columns) if sparse else len(train)
    return train[np.linspace(0, len(train) - 1, min(most, len(train))).astype(np.intp)]


def _pseudo_inputs(plan: Plan, rows: Rows, seed: int) -> NDArray[np.float64] | None:
    """Where a VampPrior starts: at training rows drawn at random."""
    if not plan.specification.prior.needs_encoder:
        return None
    rng = np.random.default_rng(seed)
    n = plan.specification.prior.n_components
    chosen = rng.choice(plan.train, n, replace=len(plan.train) < n)
    x = rows.x[chosen].astype(np.float64) / (255 if rows.binary_intensity else 1)
    return x if rows.observed is None else np.where(rows.observed[chosen], x, 0)
