"""Anomalous rows: a score, a p-value, a flag that keeps false discoveries in check, and the cells that make them so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, final

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from tightbound.data import DataError, Table
from tightbound.estimator.fitted import FittedModel, precision
from tightbound.tasks import (
    benjamini_hochberg,
    conditional_cells,
    cross_conformal_p_values,
    likelihood_regret,
    reconstruction,
    typicality,
)

FEWEST_REFERENCES = 10
LOWEST = -1e30
"""The score of a row that has no density in the model's precision."""
SCORING_SAMPLES = 200
CELLS_SHOWN = 3
MOST_ROWS_EXPLAINED = 200
MOST_REFERENCES = 2000
"""Scores of rows held out of a fit that p-values rest on."""

OTHER_SCORES = ("regret", "typicality", "reconstruction")


@final
@dataclasses.dataclass(frozen=True)
class AnomalousCell:
    """One cell of an anomalous row."""

    column: str
    value: Any
    neg_log_p_value: float
    """-log of its p-value given the rest of the row, nats: 0 is ordinary, 4.6 is one in a hundred."""


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
        for row in np.argsort(self.score, kind="stable")[:10]:
            cells = ", ".join(
                f"{c.column}={_short(c.value)} ({c.neg_log_p_value:.1f})" for c in self.cells.get(int(row), ())
            )
            lines.append(
                f"{row:>8}  {self.score[row]:>10.2f}  {self.p_value[row]:>8.4f}  {self.q_value[row]:>8.4f}  {cells}"
            )
        return "\n".join(lines)


def anomaly_scores(
    model: FittedModel, table: Table, *, seed: int = 0, on_progress: Callable[[str, int, int], None] | None = None
) -> NDArray[np.float64]:
    """log p of the observed cells of every row, (n,) nats: by importance sampling with few draws, the same for all.

    What a row is compared by must be found in the same way for every row: no row gets more work than another.
    """
    found = model.evidence(table, SCORING_SAMPLES, seed=seed, method="importance", on_progress=on_progress)
    # A row without density in the model's precision is the most anomalous there is, and still has a rank.
    return np.nan_to_num(np.asarray(found.log_evidence, float), nan=LOWEST, neginf=LOWEST)


@final
@dataclasses.dataclass(frozen=True)
class Judge:
    """A model, and the scores that it gave to ordinary rows which it was not fitted to."""

    model: FittedModel
    reference: NDArray[np.float64]

    @classmethod
    def of(cls, model: FittedModel) -> Judge:
        """With the scores that were kept with the model."""
        return cls(model, np.asarray(model.summary.reference, float))


def detect(
    judges: Sequence[Judge],
    table: Table,
    *,
    level: float = 0.1,
    scores: tuple[str, ...] = (),
    explain: int = 20,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Detection:
    """Which rows of a table are anomalous, how surely, and because of which cells.

    The p-value of a row is its rank among reference rows that are ordinary and that the model was not fitted to: valid
    whatever the model is, as long as ordinary rows and reference rows are exchangeable (Vovk et al., 2005; Bates et
    al., 2023). Several models, each fitted to all but one part of the ordinary rows, judge together: a row is compared
    under each of them with the part that it has not seen (cross-conformal: Vovk, 2015). Flags follow Benjamini and
    Hochberg (1995).

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
    n_reference = sum(len(judge.reference) for judge in judges)
    if n_reference < FEWEST_REFERENCES:
        raise DataError(
            f"The p-values must rest on {FEWEST_REFERENCES} or more ordinary rows that the model was not fitted to; "
            f"there are {n_reference}; give such rows as the reference, or fit with more rows by the "
            "command line, which keeps those it held out."
        )
    table = judges[0].model.encoding.check(table)
    own = [anomaly_scores(judge.model, table, seed=seed, on_progress=on_progress) for judge in judges]
    score = mixture_score(own)
    p_value = cross_conformal_p_values(own, [judge.reference for judge in judges])
    flag, q_value = benjamini_hochberg(p_value, level)
    order = np.argsort(score, kind="stable")
    explained = order[: max(explain, min(int(flag.sum()), MOST_ROWS_EXPLAINED))] if explain else order[:0]
    further = [_others(judge, table, each, scores, seed) for judge, each in zip(judges, own, strict=True)]
    others = {name: np.mean([each[name] for each in further], axis=0) for name in scores}
    cells = _cells([judge.model for judge in judges], table.take(np.sort(explained)), np.sort(explained), seed)
    return Detection(score, p_value, q_value, flag, level, others, cells, n_reference)


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
            found["typicality"] = typicality(score, judge.reference)
        if "reconstruction" in names:
            lost = reconstruction(model.pair, rows.x, observed, key=jax.random.key(seed))
            found["reconstruction"] = np.asarray(lost, float)
    return found


def _cells(
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
    codes, named = encoding.modelled(table), {}
    for i, row in enumerate(numbers):
        worst = np.argsort(-negative[i], kind="stable")[:CELLS_SHOWN]
        named[int(row)] = tuple(
            AnomalousCell(names[j], encoding.value(int(j), codes[i, j]), float(negative[i, j]))
            for j in worst
            if negative[i, j] > 0
        )
    return named


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
