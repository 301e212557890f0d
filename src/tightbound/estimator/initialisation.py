"""Before the fit: how a model sees a table, and what the training rows say of where it should begin."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightbound.data import Encoding, Preprocessing, Rows, Table, preprocess
from tightbound.estimator.config import Config
from tightbound.estimator.settings import Settings, names_of
from tightbound.model import TOTAL, Specification, Start, columns_head, log_totals, moments_of

MOST_CELLS_TO_BEGIN = 2**24


def choose_encoding(table: Table, settings: Settings) -> tuple[Table, Encoding, str]:
    """The table (coded, if it is mixed), how a model sees it, and a sentence on what was decided."""
    likelihood, columns = settings.likelihood, settings.likelihood.columns
    wanted = Preprocessing(
        likelihood=likelihood.word,
        binarize=likelihood.binarised,
        scaling=settings.scaling,
        condition=names_of(settings.condition),
        exposure=settings.exposure,
        continuous=columns.continuous,
        counts=columns.counts,
        # A mechanism of missingness needs plain Gaussian cells: ranks of what is left say nothing of what is gone.
        plain=settings.missingness != "random",
    )
    return preprocess(table, wanted)


def start_of(config: Config, encoding: Encoding, rows: Rows, seed: int) -> Start:
    """What the training rows say of where a model should begin."""
    pseudo, spec = _pseudo_inputs(config, rows, seed), config.specification
    if not spec.columns:
        return Start(encoding.center(rows), encoding.floor, pseudo_inputs=pseudo)
    some = _some_of(config.train, encoding.n_features, sparse=not isinstance(rows.x, np.ndarray))
    x = rows.x[some]
    seen = np.ones(x.shape, bool) if rows.observed is None else rows.observed[some]
    exposure = _log_exposure(spec, x)
    # Relative to a typical one: a column of exposures is so already.
    relative = exposure - exposure.mean() if exposure is not None and spec.exposure == TOTAL else exposure
    center, spread = moments_of(x, seen, spec.columns, relative)
    first = _first(spec, x, seen, relative)
    return Start(center, encoding.floor, spread, first, x, seen, pseudo, _given(spec, x, seen, exposure))


def _log_exposure(spec: Specification, x: NDArray[Any]) -> NDArray[np.float64] | None:
    """The logarithm of every row's exposure, or of its total."""
    if spec.exposure is None:
        return None
    return np.asarray(log_totals(x, spec.columns) if spec.exposure == TOTAL else x[:, spec.exposure], float)


def _first(
    spec: Specification, x: NDArray[Any], seen: NDArray[np.bool_], relative: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """Numbers of the decoder's head that fit the columns' marginals."""
    own = list(spec.cells)
    modelled = x[:, own]
    if spec.likelihood.of_sums:
        return np.asarray(np.log((modelled.sum(axis=0) + 0.5) / (modelled.sum() + 0.5 * len(own))), np.float64)
    if spec.likelihood.word != "columns":
        return None
    scaled = modelled.astype(float)
    if relative is not None:
        # Counts start at the moments that they would have under a typical exposure.
        counts = [i for i, j in enumerate(own) if spec.columns[j].is_count]
        scaled[:, counts] /= np.exp(relative)[:, None]
    first = columns_head([spec.columns[j].likelihood() for j in own], scaled, seen[:, own]).first
    return np.asarray(first, np.float64)


def _given(
    spec: Specification, x: NDArray[Any], seen: NDArray[np.bool_], exposure: NDArray[np.float64] | None
) -> NDArray[Any] | None:
    """Conditions and log exposure of the rows where they are known."""
    if not spec.conditioned:
        return None
    conditions = list(spec.conditions)
    given = np.column_stack([x[:, conditions], *([] if exposure is None else [exposure])])
    known = seen[:, conditions].all(axis=1)
    return given[known] if known.any() else np.nan_to_num(given)


def _some_of(train: NDArray[np.intp], n_columns: int, *, sparse: bool) -> NDArray[np.intp]:
    """The training rows to begin from: all of them, or as many as may be dense at once."""
    most = max(1000, MOST_CELLS_TO_BEGIN // n_columns) if sparse else len(train)
    return train[np.linspace(0, len(train) - 1, min(most, len(train))).astype(np.intp)]


def _pseudo_inputs(config: Config, rows: Rows, seed: int) -> NDArray[np.float64] | None:
    """Where a VampPrior starts: at training rows drawn at random."""
    if not config.specification.prior.needs_encoder:
        return None
    rng = np.random.default_rng(seed)
    n = config.specification.prior.n_components
    chosen = rng.choice(config.train, n, replace=len(config.train) < n)
    x = rows.x[chosen].astype(np.float64) / (255 if rows.binary_intensity else 1)
    return x if rows.observed is None else np.where(rows.observed[chosen], x, 0)
