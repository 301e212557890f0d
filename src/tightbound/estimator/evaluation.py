"""How far to trust a fitted model: the gap in its parts, brackets, health, and simple models, on one table."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.data import Rows, Table
from tightbound.estimator.fitted import FittedModel, precision
from tightbound.evidence import (
    Bracket,
    Comparison,
    Evidence,
    Gap,
    Health,
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
from tightbound.model import AbstractDistribution, ColumnsHead, ConditionedHead
from tightbound.model.streams import Stream

CHECKS = ("gap", "bracket", "health", "baselines")
THIS_MODEL = "this model"
"""Its name among simple ones."""
GAP_ROWS = 100
BRACKET_ROWS = 50
REAL_BRACKET_ROWS = 20
BRACKET_STEPS = 100
PATIENCE = 20.0
"""Seconds for which difficult rows of the gap are taken further."""
FEWEST_ROWS = 2

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is to do."""


@final
@dataclasses.dataclass(frozen=True, repr=False)
class Examination:
    """How far a fitted model can be trusted; what was not asked for, or cannot be had, is None.

    Densities are in nats a row, in the user's units.
    """

    gap: Gap | None = None
    """log p(x) - ELBO of rows of the table, in its two parts."""
    gap_of_training_rows: Gap | None = None
    advice: tuple[str, ...] = ()
    """What follows from the gap, a sentence each."""
    bracket: Bracket | None = None
    """Both bounds on rows that the model made: the accuracy of annealing on this model."""
    real_bracket: Bracket | None = None
    """Both bounds on rows of the table, the upper one approximate."""
    health: Health | None = None
    comparison: Comparison | None = None
    """This model among simple ones with exact likelihoods, on the same rows."""
    details: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """How each simple model was set."""
    left_out: tuple[str, ...] = ()
    """What could not be looked at, and why: a sentence each."""

    @property
    def warning(self) -> str | None:
        """One sentence where a simple model explains the rows clearly better."""
        return None if self.comparison is None else self.comparison.warning(THIS_MODEL)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """What a person should do about it: problems of health, advice on the gap, simple models that win."""
        problems = () if self.health is None else tuple(finding.sentence for finding in self.health.problems)
        return (*problems, *self.advice, *(() if self.warning is None else (self.warning,)))

    def __repr__(self) -> str:
        parts = [self.health, self.gap, self.bracket, self.real_bracket, self.comparison]
        blocks = [repr(part) for part in parts if part is not None]
        if self.verdicts:
            blocks.append("\n".join(self.verdicts))
        return "\n\n".join([*blocks, *(["\n".join(self.left_out)] if self.left_out else [])]) or "Nothing was examined."


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


def examination(
    model: FittedModel,
    table: Table,
    evidence: Evidence,
    *,
    train: Table | None = None,
    checks: Sequence[str] = CHECKS,
    seed: int | None = None,
    on_progress: Progress | None = None,
) -> Examination:
    """Examine a fitted model on rows it has not seen.

    Args:
        model, table: what is looked at, and on which rows.
        evidence: of the same rows, in the user's units.
        train: the rows that it was fitted to: needed for simple models, copies, and an overfitted encoder.
        checks: which of `CHECKS` to make.
        seed: of the noise (None: the fit's own).
        on_progress: called with words, how much is done, and how much there is to do.

    Raises `ValueError` for unknown checks.
    """
    unknown = [check for check in checks if check not in CHECKS]
    if unknown:
        raise ValueError(f"checks must be some of {', '.join(CHECKS)}; got {unknown[0]!r}; choose among those.")
    usable = int(np.sum(np.isfinite(evidence.log_evidence)))
    if usable < FEWEST_ROWS:
        why = f"it takes {FEWEST_ROWS} rows to which the model gives a density; there {_are(usable)}"
        return Examination(left_out=(f"Nothing was examined: {why}.",))
    if model.specification.missing_columns:
        why = "its rows are not drawn from p(x) alone, but with which of their cells are observed"
        return Examination(left_out=(f"Nothing was examined of a model of missingness: {why}.",))
    found = Examination()
    with precision(model.specification.dtype):
        key = jax.random.key(model.summary.seed if seed is None else seed)
        seen = None if train is None else model.rows(train)
        tell = on_progress or (lambda words, done, total: None)
        subject = _Subject(model, model.rows(table), seen, evidence, key, tell)
        makers = {"gap": _with_gap, "bracket": _with_bracket, "health": _with_health, "baselines": _with_baselines}
        for check in CHECKS:
            if check in checks:
                found = makers[check](subject, found)
    return found


def _are(count: int) -> str:
    return "is 1" if count == 1 else "are none"


def _some(rows: Rows, most: int, evidence: Evidence | None = None) -> NDArray[np.intp]:
    """At most so many rows with something observed (and a density, where `evidence` knows), spread evenly."""
    seen = np.ones(len(rows.x), bool) if rows.observed is None else rows.observed.any(axis=1)
    usable = np.flatnonzero(seen if evidence is None else seen & np.isfinite(evidence.log_evidence))
    return usable[np.unique(np.linspace(0, len(usable) - 1, min(most, len(usable))).round().astype(np.intp))]


def _these(rows: Rows, chosen: NDArray[np.intp]) -> tuple[NDArray[Any], NDArray[np.bool_] | None, NDArray[np.float64]]:
    """Values, mask and log Jacobians."""
    return rows.x[chosen], None if rows.observed is None else rows.observed[chosen], rows.log_jacobian[chosen]


def _with_gap(subject: _Subject, found: Examination) -> Examination:
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


def _with_bracket(subject: _Subject, found: Examination) -> Examination:
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


def _with_health(subject: _Subject, found: Examination) -> Examination:
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
        key=Stream.DIAGNOSTICS.of(subject.key),
    )
    if found.gap is not None and found.gap_of_training_rows is not None:
        overfitted = encoder_overfitting(found.gap_of_training_rows.amortisation, found.gap.amortisation)
        health = health.including(overfitted)
    return dataclasses.replace(found, health=health)


def _with_baselines(subject: _Subject, found: Examination) -> Examination:
    train, likelihood = subject.train, subject.model.encoding.likelihood
    if train is None:
        why = "No simple models beside this one: they are fitted to its training rows; give them as train."
        return dataclasses.replace(found, left_out=(*found.left_out, why))
    spec = subject.model.specification
    if spec.conditioned and _independent(subject.model) is None:
        why = "No simple models beside this one: none of them knows conditions, or a bag's length."
        return dataclasses.replace(found, left_out=(*found.left_out, why))
    likelihood = "columns" if spec.conditioned else likelihood
    simple, left_out = fit_baselines(
        train.x,
        train.observed,
        likelihood=likelihood,
        floor=subject.model.encoding.floor,
        independent=_independent(subject.model),
        columns=() if spec.conditioned else spec.columns,
        seed=subject.model.summary.seed,
        on_progress=lambda done, total, name: subject.tell(f"simple models: {name}", done, total),
    )
    rows, evidence = subject.rows, subject.evidence
    scores: dict[str, Any] = {THIS_MODEL: (evidence.log_evidence, np.nan_to_num(evidence.standard_error))}
    details = {}
    for baseline in simple:
        if rows.observed is not None and not baseline.takes_missing:
            left_out = (*left_out, f"{baseline.name} left out: it cannot integrate out missing cells.")
            continue
        scores[baseline.name] = (baseline.log_prob(rows.x, rows.observed) + rows.log_jacobian, 0.0)
        details[baseline.name] = baseline.detail
    return dataclasses.replace(
        found, comparison=compare(scores), details=details, left_out=(*found.left_out, *left_out)
    )


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


def simple_scores(found: Examination) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """log p(x) of every row under the simple models of an examination, with their errors (0)."""
    ranked = found.comparison
    if ranked is None:
        return {}
    rows = zip(ranked.names, ranked.log_evidence, ranked.standard_error, strict=True)
    return {name: (values, errors) for name, values, errors in rows if name != THIS_MODEL}


def check_comparable(names: Sequence[str], models: Sequence[FittedModel]) -> None:
    """Refuse models whose log p(x) are of different things: other columns, or densities beside probabilities."""
    first = models[0].encoding
    for name, model in zip(names[1:], models[1:], strict=True):
        encoding = model.encoding
        if (encoding.likelihood, encoding.binarize) != (first.likelihood, first.binarize):
            raise ValueError(
                f"Models must give log p(x) of the same kind to be compared; {names[0]} has the likelihood "
                f"{first.likelihood} and {name} {encoding.likelihood}, or one of them binarises; compare models of one "
                "kind."
            )
        differ = sorted(set(first.modelled_names) ^ set(encoding.modelled_names))
        if differ:
            raise ValueError(
                f"Models must be of the same columns to be compared; {names[0]} and {name} differ in "
                f"{', '.join(differ[:5])}{', ...' if len(differ) > 5 else ''}; fit both with the same columns."
            )
