"""Before the fit: how a model sees a table, and what the training rows say of where it should begin."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightbound.data import Encoding, Preprocessing, Rows, Table, preprocess
from tightbound.estimator.checking import names_of
from tightbound.estimator.config import Plan
from tightbound.model import TOTAL, Start, columns_head, log_totals, moments_of

MOST_CELLS_TO_BEGIN = 2**24


def choose_encoding(table: Table, settings: Mapping[str, Any]) -> tuple[Table, Encoding, str]:
    """The table (coded, if it is mixed), how a model sees it, and a sentence on what was decided."""
    same = {name: settings[name] for name in ("likelihood", "binarize", "scaling", "exposure", "continuous", "counts")}
    # A mechanism of missingness needs plain Gaussian cells: ranks of what is left say nothing of what is gone.
    plain = settings["missingness"] != "random"
    return preprocess(table, Preprocessing(**same, condition=names_of(settings["condition"]), plain=plain))


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
