"""Score, encode and check a table with a fitted model: what makes an `Evaluation`."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.data import Rows, Table
from tightbound.estimator.description import about, settings_of, unit_of
from tightbound.estimator.evaluation import THIS_MODEL, Evaluation
from tightbound.estimator.fitted import FittedModel, precision
from tightbound.estimator.formatting import plural
from tightbound.estimator.reproduction import reproduce
from tightbound.evidence import (
    Evidence,
    Gap,
    History,
    advice,
    approximate_bracket,
    bidirectional,
    compare,
    decompose_gap,
    encoder_overfitting,
    examine,
    fit_baselines,
)
from tightbound.evidence.rows import spread_out
from tightbound.model import AbstractDistribution, ColumnsHead, ConditionedHead
from tightbound.model.streams import Stream

CHECKS = ("gap", "bracket", "health", "baselines")
MOST_HELD_OUT_ROWS = 500
FEWEST_HELD_OUT = 20
"""With fewer held-out rows all rows are examined, and simple models, which have seen most of them, are left out."""
PATIENCE = 20.0
"""Seconds for which difficult rows are taken further, for a person who waits; `tightbound score` takes all the way."""
GAP_ROWS = 100
BRACKET_ROWS = 50
REAL_BRACKET_ROWS = 20
BRACKET_STEPS = 100
FEWEST_ROWS = 2

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is to do."""


@final
@dataclasses.dataclass(frozen=True)
class _Subject:
    """What is looked at."""

    model: FittedModel
    rows: Rows
    train: Rows | None
    evidence: Evidence
    key: PRNGKeyArray
    tell: Progress


def evaluate(
    model: FittedModel,
    table: Table,
    *,
    n_samples: int | None = None,
    most_rows: int | None = None,
    held_out: Table | None = None,
    train: Table | None = None,
    checks: Sequence[str] = CHECKS,
    pictures: bool = False,
    on_progress: Progress | None = None,
    **options: Any,
) -> Evaluation:
    """Score, encode and check a table.

    Args:
        model, table: what is looked at, and on which rows.
        n_samples: importance samples a row (None: as the model was fitted).
        most_rows: take at most so many rows, spread evenly (None, 0: all).
        held_out: rows that the parameters were not fitted to, to be scored beside `table` (500 of them at most), and
            checked in its place.
        train: the rows that they were fitted to: for simple models, copies, and an overfitted encoder.
        checks: which of `CHECKS` to make; none to score alone.
        pictures: also make what a report shows beside the numbers.
        on_progress: called with words, how much is done, and how much there is to do.
        options: further arguments of `evidence.log_evidence`; difficult rows are taken further for `PATIENCE` seconds.

    Raises `ValueError` for unknown checks.
    """
    unknown = [check for check in checks if check not in CHECKS]
    if unknown:
        raise ValueError(f"checks must be some of {', '.join(CHECKS)}; got {unknown[0]!r}; choose among those.")
    options = {"patience": None if options.get("time_limit") else PATIENCE, **options}
    table = model.encoding.check(table)
    n_given, rows = table.n_rows, spread_out(table.n_rows, most_rows or table.n_rows)
    table = table.take(rows)
    unseen = None if held_out is None else held_out.take(spread_out(held_out.n_rows, MOST_HELD_OUT_ROWS))
    evidence = model.evidence(table, n_samples, on_progress=on_progress, **options)
    guard = None if unseen is None else model.evidence(unseen, n_samples, on_progress=on_progress, **options)
    found = Evaluation(
        about=_about(model, table, all_seen=guard is not None),
        training=model.summary,
        settings=settings_of(model),
        source=table.source,
        unit=unit_of(model),
        modelled_names=model.encoding.modelled_names,
        evidence=evidence,
        latents=model.latents(table),
        row_numbers=rows,
        n_given=n_given,
        refined_by=model.refined_by,
        n_pixels=_n_pixels(model, table),
        held_out=guard,
        reproduction=reproduce(model, table, unseen, evidence) if pictures else None,
    )
    subject, of_subject = (table, evidence) if unseen is None or guard is None else (unseen, guard)
    if subject.n_rows < FEWEST_HELD_OUT <= table.n_rows:
        subject, of_subject = table, evidence
        checks = [check for check in checks if check != "baselines"]
    return with_checks(found, model, subject, of_subject, train=train, checks=checks, on_progress=on_progress)


def _about(model: FittedModel, table: Table, *, all_seen: bool) -> str:
    seen = ", training rows included" if all_seen else ""
    shown = f"{plural(table.n_rows, 'row')} of {table.source}{seen}"
    return f"{about(model)} The figures below are for {shown}; log p(x) is in {unit_of(model)}."


def _n_pixels(model: FittedModel, table: Table) -> int | None:
    images = model.encoding.likelihood == "bernoulli" and len(table.shape) > 1
    return model.encoding.n_features if images else None


def with_checks(
    found: Evaluation,
    model: FittedModel,
    table: Table,
    evidence: Evidence,
    *,
    train: Table | None,
    checks: Sequence[str],
    on_progress: Progress | None,
) -> Evaluation:
    """The same with checks of the model on the rows of `table`, of which `evidence` is."""
    usable = int(np.sum(np.isfinite(evidence.log_evidence)))
    if usable < FEWEST_ROWS:
        are = "is 1" if usable == 1 else "are none"
        why = f"it takes {FEWEST_ROWS} rows to which the model gives a density; there {are}"
        return dataclasses.replace(found, left_out=(f"Nothing was examined: {why}.",))
    if model.specification.missing_columns:
        why = "its rows are not drawn from p(x) alone, but with which of their cells are observed"
        return dataclasses.replace(found, left_out=(f"Nothing was examined of a model of missingness: {why}.",))
    with precision(model.specification.dtype):
        key = jax.random.key(model.summary.seed)
        seen = None if train is None else model.rows(train)
        tell = on_progress or (lambda words, done, total: None)
        subject = _Subject(model, model.rows(table), seen, evidence, key, tell)
        makers = {"gap": _with_gap, "bracket": _with_bracket, "health": _with_health, "baselines": _with_baselines}
        for check in CHECKS:
            if check in checks:
                found = makers[check](subject, found)
    return found


def _some(rows: Rows, most: int, evidence: Evidence | None = None) -> NDArray[np.intp]:
    """At most so many rows with something observed (and a density, where `evidence` knows), spread evenly."""
    seen = np.ones(len(rows.x), bool) if rows.observed is None else rows.observed.any(axis=1)
    usable = np.flatnonzero(seen if evidence is None else seen & np.isfinite(evidence.log_evidence))
    return usable[spread_out(len(usable), most)]


def _these(rows: Rows, chosen: NDArray[np.intp]) -> tuple[NDArray[Any], NDArray[np.bool_] | None, NDArray[np.float64]]:
    """Values, mask and log Jacobians."""
    return rows.x[chosen], None if rows.observed is None else rows.observed[chosen], rows.log_jacobian[chosen]


def _with_gap(subject: _Subject, found: Evaluation) -> Evaluation:
    def of(rows: Rows, words: str, evidence: Evidence | None = None) -> Gap:
        chosen = _some(rows, GAP_ROWS, evidence)
        x, observed, jacobian = _these(rows, chosen)
        gap = decompose_gap(
            subject.model.pair.p,
            subject.model.pair.q,
            x,
            observed,
            evidence=None if evidence is None else evidence.take(chosen).shifted(-jacobian),
            patience=PATIENCE,
            key=Stream.GAP.of(subject.key),
            on_progress=lambda what, done, total: subject.tell(f"{words}: {what}", done, total),
        )
        return gap.shifted(jacobian)

    held_out = of(subject.rows, "gap", subject.evidence)
    train = None if subject.train is None else of(subject.train, "gap of training rows")
    said = advice(held_out, train, family=subject.model.specification.posterior.word)
    return dataclasses.replace(found, gap=held_out, gap_of_training_rows=train, advice=said)


def _with_bracket(subject: _Subject, found: Evaluation) -> Evaluation:
    model = subject.model
    if model.specification.discrete:
        why = "No bracket of log p(x): annealing follows gradients, and this model's latents are discrete."
        return dataclasses.replace(found, left_out=(*found.left_out, why))
    # Of a simulated row of columns on curved scales only the mean Jacobian is known: widths are right, levels nearly.
    complete = model.encoding.complete_log_jacobian(subject.rows)
    simulated = bidirectional(
        model.pair.p,
        model.pair.q,
        n_rows=BRACKET_ROWS,
        n_steps=BRACKET_STEPS,
        key=Stream.BRACKET.of(subject.key),
        on_progress=lambda done: subject.tell("bracket of simulated rows", done, BRACKET_ROWS),
    ).shifted(complete)
    x, observed, jacobian = _these(subject.rows, _some(subject.rows, REAL_BRACKET_ROWS, subject.evidence))
    real = approximate_bracket(
        model.pair.p,
        model.pair.q,
        x,
        observed,
        n_steps=BRACKET_STEPS,
        key=Stream.REAL_BRACKET.of(subject.key),
        on_progress=lambda done: subject.tell("bracket of rows", done, len(x)),
    ).shifted(jacobian)
    if not real.converged.any():
        why = (
            f"No bracket of given rows: for none of {len(x)} did the chains that look for the posterior agree (R-hat); "
            "go by that of simulated rows, or refine q row by row."
        )
        found = dataclasses.replace(found, left_out=(*found.left_out, why))
    return dataclasses.replace(found, bracket=simulated, real_bracket=real)


def _with_health(subject: _Subject, found: Evaluation) -> Evaluation:
    model, train = subject.model, subject.train
    subject.tell("health of the fit", 0, 1)
    health = examine(
        model.pair.p,
        model.pair.q,
        subject.rows.x,
        subject.rows.observed,
        likelihood=model.encoding.likelihood,
        train=None if train is None else train.x,
        train_observed=None if train is None else train.observed,
        history=History.of(model.summary.history),
        recorded=None if model.encoding.likelihood == "bernoulli" else model.encoding.on_grid,
        names=None if model.encoding.shape else model.encoding.names,
        key=Stream.DIAGNOSTICS.of(subject.key),
    )
    if found.gap is not None and found.gap_of_training_rows is not None:
        overfitted = encoder_overfitting(found.gap_of_training_rows.amortisation, found.gap.amortisation)
        health = health.including(overfitted)
    return dataclasses.replace(found, health=health)


def _with_baselines(subject: _Subject, found: Evaluation) -> Evaluation:
    model, rows, evidence = subject.model, subject.rows, subject.evidence
    if subject.train is None:
        why = "No simple models beside this one: they are fitted to its training rows; give them as train."
        return dataclasses.replace(found, left_out=(*found.left_out, why))
    simple = _simple_models(model, rows, subject.train, subject.tell)
    left_out = (*found.left_out, *simple.left_out)
    if not simple.scores:
        return dataclasses.replace(found, left_out=left_out)
    own = (evidence.log_evidence, np.nan_to_num(evidence.standard_error))
    ranked = compare({THIS_MODEL: own, **simple.scores})
    return dataclasses.replace(found, comparison=ranked, details=simple.details, left_out=left_out)


Scores = dict[str, tuple[NDArray[np.float64], float]]
"""Name of a model: log p(x) of every row, (n,) nats, and its Monte Carlo error."""


@final
@dataclasses.dataclass(frozen=True)
class _SimpleModels:
    """What simple models with exact likelihoods say of some rows."""

    scores: Scores
    details: dict[str, str]
    """How each was set."""
    left_out: tuple[str, ...]
    """Which could not be had, and why: a sentence each."""


def simple_scores(model: FittedModel, table: Table, train: Table, *, on_progress: Progress) -> Scores:
    """log p(x) of every row of `table` under simple models fitted to the rows of `train`, in the units of `model`."""
    if model.specification.missing_columns:
        return {}
    with precision(model.specification.dtype):
        return _simple_models(model, model.rows(table), model.rows(train), on_progress).scores


def _simple_models(model: FittedModel, rows: Rows, train: Rows, tell: Progress) -> _SimpleModels:
    spec, encoding, independent = model.specification, model.encoding, _independent(model)
    if spec.conditioned and independent is None:
        why = "No simple models beside this one: none of them knows conditions, or a bag's length."
        return _SimpleModels({}, {}, (why,))
    simple, left_out = fit_baselines(
        train.x,
        train.observed,
        likelihood="columns" if spec.conditioned else encoding.likelihood,
        floor=encoding.floor,
        independent=independent,
        columns=() if spec.conditioned else spec.columns,
        seed=model.summary.seed,
        on_progress=lambda done, total, name: tell(f"simple models: {name}", done, total),
    )
    usable = [each for each in simple if rows.observed is None or each.takes_missing]
    names = [each.name for each in simple if rows.observed is not None and not each.takes_missing]
    missing = [f"{name} left out: it cannot integrate out missing cells." for name in names]
    scores = {each.name: (each.log_prob(rows.x, rows.observed) + rows.log_jacobian, 0.0) for each in usable}
    return _SimpleModels(scores, {each.name: each.detail for each in usable}, (*left_out, *missing))


def _independent(model: FittedModel) -> AbstractDistribution | None:
    """Independent columns with the families of the model, as its decoder began: by moments of the training rows."""
    head = model.pair.p.decoder.head
    if isinstance(head, ConditionedHead) and isinstance(head.head, ColumnsHead):
        constant = eqx.tree_at(lambda h: h.network, head, _Always(head.head.first))
        return constant(jnp.zeros(head.latent_dim, head.head.first.dtype))
    return head(head.first) if isinstance(head, ColumnsHead) else None


@final
class _Always(eqx.Module):
    """A network that returns the same whatever it gets."""

    value: Array

    def __call__(self, h: Array) -> Array:
        return self.value
