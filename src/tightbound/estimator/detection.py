"""Anomalous rows: a score, a p-value, a flag that keeps false discoveries in check, and the cells that make them so."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, final

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from tightbound.data import DataError, Table
from tightbound.data.encoding import LEAST
from tightbound.estimator.fitted import FittedModel, precision
from tightbound.estimator.judges import (
    FEWEST_REFERENCES,
    Judge,
    Progress,
    anomaly_scores,
    masks_are_data,
    observed_cells,
    says_something,
)
from tightbound.tasks import (
    benjamini_hochberg,
    conditional_cells,
    conformal_p_values,
    likelihood_regret,
    reconstruction,
    typicality,
)

CELLS_SHOWN = 3
MOST_ROWS_EXPLAINED = 200
OTHER_SCORES = ("regret", "typicality", "reconstruction")


@final
@dataclasses.dataclass(frozen=True)
class AnomalousCell:
    """One cell of an anomalous row."""

    column: str
    value: Any
    neg_log_p_value: float
    """-log of its p-value given the rest of the row, nats: 0 is ordinary, 4.6 is one in a hundred."""
    at_least: bool = False
    """Whether the p-value is so small that only a bound on it is known: float32 ends at 15.9 nats, float64 at 36.0."""

    def __str__(self) -> str:
        """Column, value and -log p-value."""
        return f"{self.column}={self.value} ({'over ' if self.at_least else ''}{self.neg_log_p_value:.1f})"


@final
@dataclasses.dataclass(frozen=True)
class Detection:
    """What is anomalous in a table, row by row."""

    score: NDArray[np.float64]
    """(n,) log p of the observed cells, nats: lower is more anomalous. Of several models, under their equal mixture."""
    p_value: NDArray[np.float64]
    """(n,) conformal: the chance that a row like those of the reference scores so low, or lower."""
    q_value: NDArray[np.float64]
    """(n,) the least level of false discoveries at which the row is flagged."""
    flag: NDArray[np.bool_]
    """(n,) whether it is, at `level`."""
    level: float
    """Expected share of ordinary rows among those that are flagged, at most."""
    others: dict[str, NDArray[np.float64]]
    """Further scores, higher is more anomalous: likelihood regret, typicality, reconstruction."""
    cells: dict[int, tuple[AnomalousCell, ...]]
    """For the most anomalous rows, by number: the cells that fit the rest of the row least, worst first."""
    n_reference: int
    """Ordinary rows that the p-values rest on."""
    by_model: NDArray[np.bool_]
    """(n,) whose p-values compare rows with other gaps, by what the model says of the cells that each has."""
    notes: tuple[str, ...] = ()
    """What a person should know about these p-values."""

    @property
    def order(self) -> NDArray[np.intp]:
        """(n,) rows, the most anomalous first: by p-value, then by score; last those that nothing is known of."""
        return np.lexsort((self.score, self.p_value))

    def __repr__(self) -> str:
        """The most anomalous rows and their cells."""
        flagged = int(self.flag.sum())
        lines = [
            f"{flagged:,} of {len(self.score):,} rows flagged at a false discovery rate of {self.level:.0%} "
            f"(p-values from {self.n_reference:,} reference rows; the smallest possible is "
            f"{1 / (self.n_reference + 1):.2g})"
        ]
        lines.append(
            f"{'row':>8}  {'log p(x)':>10}  {'p-value':>8}  {'q-value':>8}  most anomalous cells (-log p-value, nats)"
        )
        for row in self.order[:10]:
            shown = (dataclasses.replace(c, value=_short(c.value)) for c in self.cells.get(int(row), ()))
            cells = ", ".join(map(str, shown))
            lines.append(
                f"{row:>8}  {self.score[row]:>10.2f}  {self.p_value[row]:>8.4f}  {self.q_value[row]:>8.4f}  {cells}"
            )
        return "\n".join([*lines, *self.notes])


def detect(
    judges: Sequence[Judge],
    table: Table,
    *,
    level: float = 0.1,
    scores: tuple[str, ...] = (),
    explain: int = 20,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Detection:
    """Which rows of a table are anomalous, how surely, and because of which cells.

    The p-value of a row is its rank among reference rows that are ordinary and that the model was not fitted to, in the
    cells that the row has (see `Judge`): valid whatever the model is, as long as ordinary rows and reference rows are
    exchangeable (Vovk et al., 2005; Bates et al., 2023). Several models, each fitted to all but one part of the
    ordinary rows, judge together: a row is compared under each of them with the part that it has not seen
    (cross-conformal: Vovk, 2015). Flags follow Benjamini and Hochberg (1995). A row without any cell has no p-value.

    Args:
        judges: models fitted to ordinary rows, at least mostly, with the scores of their reference rows.
        table: rows to judge.
        level: of false discoveries.
        scores: further ones of `OTHER_SCORES`.
        explain: how many of the most anomalous rows get their most anomalous cells (all flagged ones do, up to 200).
        seed: of the noise.
        on_progress: called with (words, done, of how many).
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be a share of false discoveries between 0 and 1; got {level!r}; 0.1 is usual.")
    unknown = [name for name in scores if name not in OTHER_SCORES]
    if unknown:
        raise ValueError(f"scores must be among {', '.join(OTHER_SCORES)}; got {unknown[0]!r}; choose one of those.")
    n_reference = sum(len(judge.ordinary.score) for judge in judges)
    if n_reference < FEWEST_REFERENCES:
        raise DataError(
            f"The p-values must rest on {FEWEST_REFERENCES} or more ordinary rows that the model was not fitted to; "
            f"there are {n_reference}; give such rows as the reference, or fit with more rows, or a larger "
            "validation_fraction, of which fit keeps the scores."
        )
    model = judges[0].model
    table = model.encoding.check(table)
    own = [anomaly_scores(judge.model, table, seed=seed, on_progress=on_progress) for judge in judges]
    score, (p_value, by_model) = mixture_score(own), p_values(judges, table, own, seed, on_progress)
    flag, q_value = benjamini_hochberg(p_value, level)
    further = [_others(judge, table, each, scores, seed) for judge, each in zip(judges, own, strict=True)]
    others = {name: np.mean([each[name] for each in further], axis=0) for name in scores}
    notes = _notes(judges, table, p_value, by_model)
    found = Detection(score, p_value, q_value, flag, level, others, {}, n_reference, by_model, notes)
    explained = np.sort(found.order[: max(explain, min(int(flag.sum()), MOST_ROWS_EXPLAINED)) if explain else 0])
    cells = anomalous_cells([judge.model for judge in judges], table.take(explained), explained, seed)
    return dataclasses.replace(found, cells=cells)


def p_values(
    judges: Sequence[Judge],
    table: Table,
    scores: Sequence[NDArray[np.float64]],
    seed: int,
    on_progress: Progress | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """P-values (n,), NaN for rows that say nothing, and which of them rest on the model."""
    pairs = zip(judges, scores, strict=True)
    ranks = [judge.ranks(table, own, seed=seed, on_progress=on_progress) for judge, own in pairs]
    p_value = conformal_p_values([each.below for each in ranks], [each.n_reference for each in ranks])
    model = judges[0].model
    blank = ~says_something(model, observed_cells(model, table))
    for departs in model.encoding.departures(table).values():
        blank &= ~departs
    by_model = np.any([each.by_model for each in ranks], axis=0)
    return np.where(blank, np.nan, p_value), by_model


def _notes(
    judges: Sequence[Judge], table: Table, p_value: NDArray[np.float64], by_model: NDArray[np.bool_]
) -> tuple[str, ...]:
    """What should be known about p-values; where they are not sure to hold, said as a warning, too."""
    blank, unsure, model = int(np.isnan(p_value).sum()), [], judges[0].model
    if by_model.any():
        unsure.append(
            f"The p-values of {by_model.sum():,} of {len(by_model):,} rows rest on the model as well, since fewer than "
            "half of the reference is known by the cells that these rows have: rows with other gaps were compared, "
            "each by its place among the model's own rows with its gaps. Give reference rows that have these cells for "
            "p-values that hold whatever the model is."
        )
    if masks_are_data(model) and not observed_cells(model, table).all():
        unsure.append(
            "Rows with different gaps were compared by log p of their cells and gaps as it stands, since under this "
            "model the gaps belong to the data: such p-values hold on average, if new rows have gaps as those of the "
            "reference, and depend on the columns' units."
        )
    for note in unsure:
        warnings.warn(note, UserWarning, stacklevel=4)
    said = f"{blank:,} row(s) have no cell to be judged by: no p-value, no flag." if blank else ""
    return (*unsure, *([said] if said else []))


def mixture_score(scores: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """log p under the equal mixture of some models, (n,) nats, from log p under each."""
    return np.asarray(logsumexp(np.stack(scores), axis=0) - np.log(len(scores)))


def _others(
    judge: Judge, table: Table, score: NDArray[np.float64], names: tuple[str, ...], seed: int
) -> dict[str, NDArray[np.float64]]:
    model = judge.model
    rows, found = model.rows(table), {}
    observed = np.ones(rows.x.shape, bool) if rows.observed is None else rows.observed
    with precision(model.specification.dtype):
        if "regret" in names:
            found["regret"] = np.asarray(
                likelihood_regret(model.pair, rows.x, observed, key=jax.random.key(seed)), float
            )
        if "typicality" in names:
            found["typicality"] = typicality(score, judge.ordinary.score)
        if "reconstruction" in names:
            lost = reconstruction(model.pair, rows.x, observed, key=jax.random.key(seed))
            found["reconstruction"] = np.asarray(lost, float)
    return found


def anomalous_cells(
    models: Sequence[FittedModel], table: Table, numbers: NDArray[np.intp], seed: int
) -> dict[int, tuple[AnomalousCell, ...]]:
    """The least fitting cells of some rows, by the rows' numbers; their -log p-value is the mean over the models."""
    encoding = models[0].encoding
    if not len(numbers) or len(table.shape) > 1 or not models[0].readable:
        return {}
    # A column that was constant in the rows of one model has no place there.
    found = [dict(zip(model.encoding.modelled_names, _of_cells(model, table, seed).T, strict=True)) for model in models]
    names = encoding.modelled_names
    negative = np.stack([np.mean([each[name] for each in found if name in each], axis=0) for name in names], 1)
    codes, never, named = encoding.modelled(table), _never_seen(models[0], table), {}
    most = -np.log(np.finfo(models[0].specification.dtype).eps) - 1e-4
    for i, row in enumerate(numbers):
        worst = [j for j in np.argsort(-negative[i], kind="stable")[:CELLS_SHOWN] if negative[i, j] > 0]
        cells = [
            AnomalousCell(
                names[j], encoding.value(int(j), codes[i, j]), float(negative[i, j]), bool(negative[i, j] >= most)
            )
            for j in worst
        ]
        named[int(row)] = tuple([*never.get(i, ()), *cells][:CELLS_SHOWN])
    return named


def _never_seen(model: FittedModel, table: Table) -> dict[int, list[AnomalousCell]]:
    """By row: the cells of columns that had one value in the fitted data, where they hold another."""
    found: dict[int, list[AnomalousCell]] = {}
    for name, departs in model.encoding.departures(table).items():
        place = model.encoding.schema.names.index(name)
        for i in np.flatnonzero(departs).tolist():
            found.setdefault(i, []).append(AnomalousCell(name, table.came(i, name, place), -LEAST, True))
    return found


def _of_cells(model: FittedModel, table: Table, seed: int) -> NDArray[np.float64]:
    """-log p-value of every cell given the rest of its row, (n, d); -1 for a missing one."""
    rows = model.rows(table)
    observed = np.ones(rows.x.shape, bool) if rows.observed is None else rows.observed
    with precision(model.specification.dtype):
        found = conditional_cells(model.pair, rows.x, observed, key=jax.random.key(seed))
    return np.nan_to_num(np.asarray(found.neg_log_p_value, float), nan=-1.0)


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:21]}..."
