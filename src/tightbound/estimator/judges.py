"""Ordinary rows that a model was not fitted to, and how many of them score no higher than a new row, cell for cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import final

import numpy as np
from numpy.typing import NDArray

from tightbound.data import Table
from tightbound.estimator.fitted import FittedModel
from tightbound.tasks import count_as_low, log_place

FEWEST_REFERENCES = 10
MOST_REFERENCES = 2000
"""Scores of rows held out of a fit that p-values rest on."""
LOWEST = -1e30
"""The score of a row that has no density in the model's precision."""
SCORING_SAMPLES = 200
FIRST_REFERENCES, SETTLED = 200, 20
"""So many reference rows are scored anew for a pattern at first; a row that beats no more than 19 gets all of them."""
DRAWS_OF_A_PATTERN = (50, 1000)
MOST_DRAWS_SCORED = 20_000
"""Of all patterns together, as far as each keeps its fewest draws."""
MOST_PATTERNS = 400
"""Of the reference, that are compared by draws."""

Progress = Callable[[str, int, int], None]
Mask = NDArray[np.bool_]


def anomaly_scores(
    model: FittedModel, table: Table, *, seed: int = 0, on_progress: Progress | None = None
) -> NDArray[np.float64]:
    """log p of the observed cells of every row, (n,) nats: by importance sampling with few draws, the same for all.

    What a row is compared by must be found in the same way for every row: no row gets more work than another.
    """
    found = model.evidence(table, SCORING_SAMPLES, seed=seed, method="importance", on_progress=on_progress)
    # A row without density in the model's precision is the most anomalous there is, and still has a rank.
    return np.nan_to_num(np.asarray(found.log_evidence, float), nan=LOWEST, neginf=LOWEST)


def observed_cells(model: FittedModel, table: Table) -> Mask:
    """(n, m) which modelled cells of a checked table have a value."""
    return np.asarray(table.observed[:, _places(model, table)])


def says_something(model: FittedModel, observed: Mask) -> Mask:
    """(n,) whether a row has a cell that is modelled, or its gaps themselves are."""
    modelled = np.setdiff1d(np.arange(observed.shape[1]), model.encoding.given)
    return np.asarray(observed[:, modelled].any(axis=1) | masks_are_data(model))


def hidden(model: FittedModel, table: Table, pattern: Mask) -> Table:
    """A checked table with the cells outside a pattern (m,) missing."""
    values = np.array(table.dense().values)
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    values[:, _places(model, table)[~pattern]] = np.nan
    return dataclasses.replace(table, values=values, native=None)


def table_of(model: FittedModel, codes: NDArray[np.float64]) -> Table:
    """Codes of the modelled columns as a checked table."""
    encoding = model.encoding
    values = encoding.filled(codes)
    return Table(
        values=values,
        names=encoding.names,
        named=encoding.named,
        shape=tuple(encoding.schema.shape),
        container=encoding.schema.container,
        dtypes=("float64",) * values.shape[1],
        source="the model's own rows",
        coded=None if encoding.schema.block else encoding.schema,
    )


def _places(model: FittedModel, table: Table) -> NDArray[np.intp]:
    """Where the modelled columns stand in a checked table, (m,)."""
    m = model.encoding.n_features
    return np.arange(m) if table.n_columns == m else model.encoding.kept


def masks_are_data(model: FittedModel) -> bool:
    """Whether which cells are missing is part of what log p is of."""
    return bool(model.specification.missing_columns)


def with_reference(model: FittedModel, held_out: Table | None) -> FittedModel:
    """The model with the scores of rows that it was not fitted to, which p-values of other rows rest on.

    Scores and which cells were missing, not the rows: a model that is passed on holds no row of anybody.
    """
    if held_out is None:
        return model
    rows = model.encoding.check(held_out.take(np.arange(min(held_out.n_rows, MOST_REFERENCES))))
    found = Ordinary.of(model, rows, anomaly_scores(model, rows))
    gaps = () if found.observed.all() else tuple(np.packbits(~row).tobytes().hex() for row in found.observed)
    summary = dataclasses.replace(model.summary, reference=tuple(found.score.tolist()), reference_gaps=gaps)
    return dataclasses.replace(model, summary=summary)


@final
@dataclasses.dataclass(frozen=True)
class Ordinary:
    """Ordinary rows that a model was not fitted to."""

    score: NDArray[np.float64]
    """(r,) log p of their observed cells."""
    observed: Mask
    """(r, m) which these were."""
    rows: Table | None = None
    """The rows themselves, where they are at hand: other cells of them can then be hidden."""

    @classmethod
    def of(cls, model: FittedModel, rows: Table, score: NDArray[np.float64]) -> Ordinary:
        """Rows of a table and their scores; those that say nothing (no cell, no density) are left out."""
        observed = observed_cells(model, rows)
        useful = np.flatnonzero(says_something(model, observed) & (score > LOWEST))
        return cls(score[useful], observed[useful], rows.take(useful))

    @classmethod
    def kept(cls, model: FittedModel) -> Ordinary:
        """What was kept with the model."""
        score, m = np.asarray(model.summary.reference, float), model.encoding.n_features
        gaps = model.summary.reference_gaps
        missing = [np.unpackbits(np.frombuffer(bytes.fromhex(each), np.uint8), count=m) for each in gaps]
        observed = ~np.array(missing, bool) if gaps else np.broadcast_to(True, (len(score), m))
        return cls(score, observed)

    def comparable(self, pattern: Mask) -> NDArray[np.intp]:
        """Of which rows log p of the cells of a pattern is known, or can be found: positions."""
        same = self.observed == pattern if self.rows is None else self.observed >= pattern
        return np.flatnonzero(same.all(axis=1))


@final
@dataclasses.dataclass(frozen=True)
class Ranks:
    """Of n new rows, how they stand among the ordinary ones."""

    below: NDArray[np.float64]
    """(n,) how many ordinary rows score as low, or lower."""
    n_reference: NDArray[np.float64]
    """(n,) of how many."""
    by_model: Mask
    """(n,) whether rows with other gaps were compared, by what the model says of the cells that each has."""


@final
@dataclasses.dataclass(frozen=True)
class Judge:
    """A model, and ordinary rows which it was not fitted to.

    log p of some cells and log p of others are not comparable, neither in size nor in unit. So a new row is compared
    with ordinary rows in the very cells that it has: with those that have them all, their other cells hidden. Its rank
    is then right whatever the model is. Where fewer than half of the ordinary rows have these cells, each row is first
    placed among rows of the model's own with the same gaps, P(log p(x'_observed) <= log p(x_observed)) for x' ~ p, and
    these places are compared: right as far as the model is, and on average also if new rows have gaps as the ordinary
    ones do. Rows are taken together by their gaps.
    """

    model: FittedModel
    ordinary: Ordinary

    @classmethod
    def of(cls, model: FittedModel, rows: Table | None = None, *, seed: int = 0) -> Judge:
        """With rows that are ordinary, or with what was kept with the model."""
        if rows is None:
            return cls(model, Ordinary.kept(model))
        rows = model.encoding.check(rows)
        return cls(model, Ordinary.of(model, rows, anomaly_scores(model, rows, seed=seed)))

    def ranks(
        self, table: Table, score: NDArray[np.float64], *, seed: int = 0, on_progress: Progress | None = None
    ) -> Ranks:
        """How new rows stand, from a checked table and their scores by `anomaly_scores`."""
        known, n = self.ordinary, len(score)
        ranks = Ranks(np.zeros(n), np.full(n, float(len(known.score))), np.zeros(n, bool))
        if masks_are_data(self.model):
            ranks.below[:] = count_as_low(score, known.score)
            return ranks
        observed = observed_cells(self.model, table)
        patterns, which = _patterns(observed)
        found = [known.comparable(pattern) for pattern in patterns]
        enough = np.array([2 * len(at) >= len(known.score) and len(at) >= FEWEST_REFERENCES for at in found], bool)
        for done, i in enumerate(np.flatnonzero(enough)):
            ours = np.flatnonzero(which == i)
            ranks.below[ours] = self._below(patterns[i], found[i], score[ours], seed)
            ranks.n_reference[ours] = len(found[i])
            _tell(on_progress, done + 1, int(enough.sum()))
        others = np.flatnonzero(~enough[which] & says_something(self.model, observed))
        if len(others) and len(known.score):
            below, of = self._below_by_model(observed[others], score[others], seed, on_progress)
            ranks.below[others], ranks.n_reference[others], ranks.by_model[others] = below, of, True
        return ranks

    def _below(self, pattern: Mask, at: NDArray[np.intp], score: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        """How many of the rows `at` score no higher than new rows of one pattern, in the cells of that pattern.

        A new row that is not among the lowest of the first 200 needs no more of them: with its p-value from these alone
        P(p <= a) is still at most a, for every a.
        """
        known = self.ordinary
        if known.rows is None or (known.observed[at] == pattern).all():
            return count_as_low(score, known.score[at])
        at = np.random.default_rng(len(at)).permutation(at)
        rows = hidden(self.model, known.rows.take(at), pattern)
        first = anomaly_scores(self.model, rows.take(np.arange(min(len(at), FIRST_REFERENCES))), seed=seed)
        below = count_as_low(score, first)
        if len(at) <= len(first):
            return below
        settled = (below + 1) / (len(first) + 1) * (len(at) + 1) - 1
        if (below >= SETTLED).all():
            return settled
        rest = anomaly_scores(self.model, rows.take(np.arange(len(first), len(at))), seed=seed)
        return np.where(below < SETTLED, below + count_as_low(score, rest), settled)

    def _below_by_model(
        self, observed: Mask, score: NDArray[np.float64], seed: int, on_progress: Progress | None
    ) -> tuple[NDArray[np.float64], int]:
        """How many ordinary rows have a place among the model's own no higher than new rows have, and of how many."""
        known = self.ordinary
        at = _of_few_patterns(known.observed)
        n, patterns, which = len(score), *_patterns(np.concatenate([observed, known.observed[at]]))
        scores, places = np.concatenate([score, known.score[at]]), np.empty(len(which))
        fewest, most = DRAWS_OF_A_PATTERN
        codes, _ = self.model.sample(int(np.clip(MOST_DRAWS_SCORED // len(patterns), fewest, most)), seed)
        drawn = table_of(self.model, codes)
        for i, pattern in enumerate(patterns):
            own = anomaly_scores(self.model, hidden(self.model, drawn, pattern), seed=seed)
            places[which == i] = log_place(scores[which == i], own)
            _tell(on_progress, i + 1, len(patterns))
        return count_as_low(places[:n], places[n:]), len(at)


def _patterns(observed: Mask) -> tuple[Mask, NDArray[np.intp]]:
    """The different rows of a mask, (k, m), and which of them each row is, (n,)."""
    packed = np.packbits(observed, axis=1)
    _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    return observed[first], which.ravel()


def _of_few_patterns(observed: Mask) -> NDArray[np.intp]:
    """Rows, chosen at random, that have no more patterns than are worth the work; as a rule all."""
    _, which = _patterns(observed)
    order = np.random.default_rng(0).permutation(len(which))
    _, first = np.unique(which[order], return_index=True)
    if len(first) <= MOST_PATTERNS:
        return np.arange(len(which))
    return np.sort(order[: np.sort(first)[MOST_PATTERNS]])


def _tell(on_progress: Progress | None, done: int, of: int) -> None:
    if on_progress is not None and of > 1:
        on_progress("comparing rows with the same gaps", done, of)
