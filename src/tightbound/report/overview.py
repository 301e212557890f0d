"""What a fitted model says of a table, gathered for the screen and the report."""

import dataclasses
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.data import Table
from tightbound.estimator.evaluation import CHECKS, THIS_MODEL, Examination, examination
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.progress import WorkProgress, duration
from tightbound.evidence import Evidence, Latents, Mean, mean_over_rows
from tightbound.model import axes
from tightbound.model.specification import AXES
from tightbound.report import EvidenceRow, ReportContent, exhibits, table_exhibits
from tightbound.report.words import plural, with_error

MOST_REPORTED_ROWS = 2000
"""A report scores at most so many rows, spread evenly over the table."""
_MOST_HELD_OUT_ROWS = 500
_SAMPLES_SHOWN = 500
_SAMPLES_OF_MIXED = 1000
"""Rare levels need more of them."""
FEWEST_HELD_OUT = 20
"""With fewer held-out rows all rows are examined, and simple models, which have seen most of them, are left out."""
PATIENCE = 20.0
"""Seconds for which difficult rows are taken further, for a person who waits; `tightbound score` takes all the way."""
NATS = "nats a row"


@final
@dataclasses.dataclass(frozen=True)
class Overview:
    """A table's evidence and latents under a model, and how far to trust them."""

    model: FittedModel
    table: Table
    evidence: Evidence
    latents: Latents
    row_numbers: NDArray[np.intp]
    """Where the rows stand in the user's file, counted from 0."""
    n_given: int
    """Of how many rows they are taken."""
    held_out: Evidence | None = None
    """Of rows that the parameters were not fitted to, where `table` has rows that they were."""
    examined: Examination = dataclasses.field(default_factory=Examination)
    """Of the held-out rows where there are any."""
    unseen: Table | None = None
    """The held-out rows."""

    def evidence_rows(self) -> tuple[EvidenceRow, ...]:
        """One table: quantity, value, standard error, unit, bound or estimate, method, rows."""
        return (
            *self._log_evidence_rows(),
            *self._gap_rows(),
            *self._bracket_rows(),
            *self._baseline_rows(),
            *self._state_rows(),
        )

    def _log_evidence_rows(self) -> list[EvidenceRow]:
        evidence, elbo = self.evidence, self.evidence.mean_elbo()
        rows = [_mean_row("log p(x)", evidence.mean(), _kind(evidence), self._how(evidence))]
        if self.held_out is not None:
            held_out = self.held_out
            rows.append(_mean_row("log p(x) of held-out rows", held_out.mean(), _kind(held_out), self._how(held_out)))
        rows.append(_mean_row("ELBO", elbo, "lower bound", f"mean log weight of {self._words_for_q()}"))
        with np.errstate(invalid="ignore"):  # a row without density has no gap either
            gap = mean_over_rows(evidence.log_evidence - evidence.elbo, evidence.standard_error)
        rows.append(_mean_row("log p(x) - ELBO", gap, "estimate", "estimates KL(q || posterior)"))
        if self.model.encoding.likelihood == "bernoulli" and len(self.table.shape) > 1:
            mean, nats = evidence.mean(), np.log(2) * self.model.encoding.n_features
            bits = dataclasses.replace(mean, value=-mean.value / nats, standard_error=mean.standard_error / nats)
            rows.append(_mean_row("-log2 p(x) per pixel", bits, _kind(evidence), "as log p(x)", "bits"))
        return rows

    def _gap_rows(self) -> list[EvidenceRow]:
        rows = []
        for gap, of in ((self.examined.gap, ""), (self.examined.gap_of_training_rows, ", training")):
            if gap is not None:
                how = ("log p(x) - best ELBO of q's family", "best ELBO of q's family - ELBO")
                for name, mean, method in (
                    ("approximation gap", gap.mean_approximation(), how[0]),
                    ("amortisation gap", gap.mean_amortisation(), how[1]),
                ):
                    rows.append(_mean_row(f"{name}{of}", mean, "estimate", method))
        return rows

    def _bracket_rows(self) -> list[EvidenceRow]:
        rows = []
        simulated, real = self.examined.bracket, self.examined.real_bracket
        if simulated is not None:
            rows.append(
                _mean_row("bracket, simulated rows: width", simulated.gap(), "upper - lower", simulated.how_both)
            )
        if real is not None and real.converged.any():
            lower, upper = real.means()
            rows.append(_mean_row("log p(x) of some, from below", lower, "lower bound", real.how_lower))
            rows.append(_mean_row("log p(x) of these, from above", upper, "approximate", real.how_both))
        return rows

    def _baseline_rows(self) -> list[EvidenceRow]:
        ranked = self.examined.comparison
        if ranked is None:
            return []
        best = max((name for name in ranked.names if name != THIS_MODEL), key=lambda name: ranked.mean(name).value)
        over = ranked.difference(THIS_MODEL, best)
        gain = Mean(over.value, over.standard_error, over.monte_carlo_error, ranked.n_rows)
        details = self.examined.details
        return [
            _mean_row(f"simple: {best}", ranked.mean(best), "exact", details.get(best, "")),
            _mean_row("this model - that", gain, "estimate", "paired difference of log p(x)"),
        ]

    def _state_rows(self) -> list[EvidenceRow]:
        evidence, latents, n = self.evidence, self.latents, self.evidence.n_rows
        kl = mean_over_rows(latents.total_kl.astype(float), np.zeros(n))
        kind = ("exact", "closed form") if latents.exact_kl else ("estimate", "100 draws of q a row")
        error = evidence.mean().monte_carlo_error
        flagged, active = evidence.n_unreliable, int(latents.active.sum())
        rules = "k-hat, effective samples, tolerance"
        variance = "variance of posterior mean > 0.01"
        noise = EvidenceRow("Monte Carlo error of log p(x)", error, None, NATS, "estimate", "delta method", n)
        return [
            *([] if _kind(evidence) == "exact" else [noise]),
            EvidenceRow("rows with unreliable log p(x)", flagged, None, f"of {n:,}", "count", rules, n),
            EvidenceRow("active units", active, None, f"of {len(latents.active)}", "count", variance, n),
            _mean_row("mean KL(q || prior)", kl, *kind),
        ]

    def _words_for_q(self) -> str:
        steps = self.model.refined_by
        return "q" if steps is None else f"q refined by {steps} steps"

    def _how(self, evidence: Evidence) -> str:
        refined = "" if self.model.refined_by is None else f", with {self._words_for_q()}"
        return f"{evidence.how}{refined}"

    def __str__(self) -> str:
        """The table of evidence in plain text, as wide as the terminal, and what to do below it."""
        n, held_out = self.evidence.n_rows, self.held_out
        seen = "" if held_out is None else f", training rows included; {plural(held_out.n_rows, 'row')} held out"
        width = min(max(shutil.get_terminal_size((100, 24)).columns, 72), 132)
        shown = as_text(self.evidence_rows(), width)
        note = f"In {self.unit()}, unless it says otherwise; ± is one standard error over rows."
        below = [
            textwrap.fill(line, width, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)
            for start, line in [("", note), *(("- ", each) for each in self.conclusions())]
        ]
        of = f" of {self.n_given:,}, spread evenly" if n < self.n_given else ""
        return "\n".join([f"{self.table.source}: {plural(n, 'row')}{of}{seen}", "", shown, "", *below])

    def conclusions(self) -> tuple[str, ...]:
        """What follows from it all, a sentence each: problems first."""
        health = self.examined.health
        said = [] if health is None or health.problems else ["No problem was found in the health of the fit."]
        return (*self.examined.verdicts, *said, *self.examined.left_out)

    def content(self, title: str) -> ReportContent:
        """Everything that the page shows."""
        model, summary = self.model, self.model.summary
        mixed, complete = bool(model.specification.columns), model.encoding.filled
        samples, prior = model.sample(_SAMPLES_OF_MIXED if mixed else _SAMPLES_SHOWN, seed=summary.seed)
        return ReportContent(
            title=title,
            summary=self.paragraph(),
            settings=self._settings(),
            messages=(*self.examined.verdicts, *summary.messages),
            history={
                name: np.array([getattr(record, name) for record in summary.history], dtype=float)
                for name in ("epoch", "train_bound", "validation_bound")
            },
            best_epoch=summary.best_epoch,
            evidence=self.evidence_rows(),
            log_evidence=self.evidence.log_evidence,
            elbo=self.evidence.elbo,
            data=self.table.values.astype(float),
            samples=complete(samples),
            reconstructions=complete(model.reconstruct(self.table)),
            names=self.table.names,
            image_shape=self.table.shape if len(self.table.shape) > 1 else None,
            latent_means=self.latents.mean,
            latent_scales=self.latents.sd,
            prior_samples=prior,
            labels=self.table.labels,
            kl_per_dimension=self.latents.kl_per_dimension,
            active=self.latents.active,
            row_numbers=self.row_numbers,
            unit=self.unit(),
            health=exhibits.health(self.examined),
            bracket=exhibits.bracket(self.examined),
            gap=exhibits.gap(self.examined),
            row_evidence=exhibits.row_evidence(self.evidence),
            calibration=exhibits.calibration(self.examined, self.model.encoding.modelled_names),
            baselines=exhibits.baselines(self.examined),
            table=table_exhibits.table(model, self.table, self.unseen, samples, self.evidence),
        )

    def paragraph(self) -> str:
        """What was fitted, on what, in one paragraph."""
        spec, summary = self.model.specification, self.model.summary
        n_rows = summary.n_train + summary.n_validation
        held = f" ({summary.n_validation:,} of them held out for early stopping)" if summary.n_validation else ""
        seen = "" if self.held_out is None else ", training rows included"
        members = axes.sentence(spec.likelihood, spec.prior, spec.posterior, spec.inference)
        return (
            f"A variational autoencoder with {plural(spec.latent_dim, 'latent dimension')}, {members}, "
            f"fitted to {n_rows:,} rows of {summary.source}{held} with "
            f"{plural(spec.n_features, 'modelled column')}, in {duration(summary.seconds)} "
            f"({plural(len(summary.history), 'epoch')}; the parameters of epoch {summary.best_epoch} are kept). "
            f"{summary.detail} The figures below are for {plural(self.evidence.n_rows, 'row')} of "
            f"{self.table.source}{seen}; log p(x) is in {self.unit()}."
        )

    def unit(self) -> str:
        """What log p(x) is measured in."""
        return unit_of(self.model)

    def _settings(self) -> dict[str, str]:
        # What was left to the program to choose is shown as it was chosen, where the model says so.
        spec = self.model.specification
        chosen = {**spec.to_json(), **{axis: str(getattr(spec, axis)) for axis in AXES}}
        settings = {**self.model.summary.settings, "random_state": self.model.summary.seed}
        return {
            name: f"{_words(chosen[name])} ({_words(value)})"
            if value in (None, "auto") and name in chosen
            else _words(value)
            for name, value in settings.items()
        }


def unit_of(model: FittedModel) -> str:
    """What log p(x) of a model is measured in."""
    if model.encoding.discrete:
        return f"{NATS}, the log of a probability"
    return f"{NATS}, the log of a density in the data's units"


def overview(
    model: FittedModel,
    table: Table,
    *,
    n_samples: int | None = None,
    most_rows: int | None = None,
    held_out: Table | None = None,
    train: Table | None = None,
    checks: Sequence[str] = CHECKS,
    progress: bool = False,
    **options: Any,
) -> Overview:
    """Score, encode and examine a table.

    Args:
        model, table: what is looked at, and on which rows.
        n_samples: importance samples a row (None: as the model was fitted).
        most_rows: take at most so many rows, spread evenly (None, 0: all).
        held_out: rows that the parameters were not fitted to, to be scored beside `table` (500 of them at most), and
            examined in its place.
        train: the rows that they were fitted to.
        checks: what to examine (`examination.CHECKS`); none to score alone.
        progress: show what is being done and the time left.
        options: further arguments of `evidence.log_evidence`; difficult rows are taken further for `PATIENCE` seconds.
    """
    options = {"patience": None if options.get("time_limit") else PATIENCE, **options}
    table = model.encoding.check(table)
    n_given, rows = table.n_rows, _spread(table.n_rows, most_rows)
    table = table.take(rows)
    unseen = None if held_out is None else held_out.take(_spread(held_out.n_rows, _MOST_HELD_OUT_ROWS))
    with WorkProgress(progress) as shown:
        evidence = model.evidence(table, n_samples, on_progress=shown, **options)
        guard = None if unseen is None else model.evidence(unseen, n_samples, on_progress=shown, **options)
        subject, of_subject = (table, evidence) if unseen is None or guard is None else (unseen, guard)
        if subject.n_rows < FEWEST_HELD_OUT <= table.n_rows:
            subject, of_subject = table, evidence
            checks = [check for check in checks if check != "baselines"]
        found = examination(model, subject, of_subject, train=train, checks=checks, on_progress=shown)
    return Overview(model, table, evidence, model.latents(table), rows, n_given, guard, found, unseen)


def _mean_row(name: str, mean: Mean, kind: str, method: str, unit: str = NATS) -> EvidenceRow:
    return EvidenceRow(name, mean.value, exhibits.known(mean.standard_error), unit, kind, method, mean.n_rows)


def _kind(evidence: Evidence) -> str:
    """What log p(x) is over all rows: its expectation is a lower bound, but its error is known."""
    return "exact" if all(method.exact for method in evidence.method) else "estimate"


def as_text(rows: Sequence[EvidenceRow], width: int) -> str:
    """The table of evidence in plain text, at most `width` characters wide; methods are wrapped."""
    head = ("quantity", "value", "", "what it is", "rows", "method")
    lines = [head, *(_text_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    before = sum(widths) + 9
    text = []
    for name, value, error, kind, n, method in lines:
        start = f"{name:<{widths[0]}}  {value:>{widths[1]}} {error:<{widths[2]}}  {kind:<{widths[3]}}  {n:>{widths[4]}}"
        parts = textwrap.wrap(method, max(width - before, 16)) or [""]
        text.append(f"{start}  {parts[0]}".rstrip())
        text += [f"{'':<{before}}{part}" for part in parts[1:]]
    return "\n".join(text)


def _text_cells(row: EvidenceRow) -> tuple[str, ...]:
    value, error = with_error(row.value, row.standard_error)
    if row.kind != "count" and not error:
        value = f"{row.value:.3g}"
    after = f"± {error}" if error else row.unit if row.kind == "count" else ""
    return row.quantity, value, after, row.kind, f"{row.rows:,}", row.method


def _spread(n: int, most: int | None) -> NDArray[np.intp]:
    if not most or n <= most:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, most).round().astype(np.intp))


def _words(value: Any) -> str:
    if value is None:
        return "default"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
