"""How good a fitted model is on some rows, and how far to trust that: every number with its error, and what follows."""

import dataclasses
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.estimator.fitted import TrainingSummary
from tightbound.estimator.formatting import plural, with_error
from tightbound.estimator.reproduction import ColumnChecks, Reproduction
from tightbound.evidence import Bracket, Comparison, Evidence, Gap, Health, Latents, Mean, mean_over_rows

THIS_MODEL = "this model"
"""Its name among simple ones."""
NATS = "nats a row"
_GAP_PARTS = {
    "approximation gap": "log p(x) - best ELBO of q's family",
    "amortisation gap": "best ELBO of q's family - ELBO",
}


@final
@dataclasses.dataclass(frozen=True)
class EvidenceRow:
    """One line of the table of evidence: a number, its error, and what it is."""

    quantity: str
    value: float
    standard_error: float
    """NaN where there is none, or it is not known."""
    unit: str
    kind: str
    """One of "lower bound", "upper bound", "approximate", "estimate", "exact", "count", or other words."""
    method: str
    rows: int
    """How many it is taken over."""
    ways: tuple[tuple[str, int], ...] = ()
    """Of several methods: each in words, and for how many of the rows."""


@final
@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation:
    """A model on some rows; what was not asked for, or cannot be had, is None.

    Densities are in nats a row, in the user's units. The parts that say how far to trust the model (`gap` to
    `comparison`) are of the rows that it was not fitted to, where there are any.
    """

    about: str
    """What was fitted, in a sentence or two."""
    training: TrainingSummary
    """How it came about."""
    settings: Mapping[str, str]
    """With which settings, in words."""
    source: str
    """Words for the rows."""
    unit: str
    """What log p(x) is measured in."""
    modelled_names: tuple[str, ...]
    """Of the columns that the model has a distribution of."""
    evidence: Evidence
    """log p(x) of every row."""
    latents: Latents
    """q(z | x) of every row."""
    row_numbers: NDArray[np.intp]
    """(n,) where the rows stand in the user's file, counted from 0."""
    n_given: int
    """Of how many rows they are taken."""
    refined_by: int | None = None
    """Steps of the inner loop that improves q for every row, where it is not the q that was fitted."""
    n_pixels: int | None = None
    """Of rows that are images of 0 and 1, whose log p(x) is also told in bits a pixel."""
    held_out: Evidence | None = None
    """Of rows that the parameters were not fitted to, where `evidence` is of rows that they were."""
    gap: Gap | None = None
    """log p(x) - ELBO in its two parts."""
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
    reproduction: Reproduction | None = None
    """The rows beside what the model makes of them, for a report."""

    @property
    def columns(self) -> ColumnChecks | None:
        """What was looked at in a table of columns by type, for a report."""
        return None if self.reproduction is None else self.reproduction.columns

    @property
    def warning(self) -> str | None:
        """One sentence where a simple model explains the rows clearly better."""
        return None if self.comparison is None else self.comparison.warning(THIS_MODEL)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """What a person should do about it: problems of health, advice on the gap, simple models that win."""
        problems = () if self.health is None else tuple(finding.sentence for finding in self.health.problems)
        return (*problems, *self.advice, *(() if self.warning is None else (self.warning,)))

    @property
    def conclusions(self) -> tuple[str, ...]:
        """What follows from it all, a sentence each: problems first."""
        said = [] if self.health is None or self.health.problems else ["No problem was found in the health of the fit."]
        return (*self.verdicts, *said, *self.left_out)

    def evidence_rows(self) -> tuple[EvidenceRow, ...]:
        """One table: quantity, value, standard error, unit, bound or estimate, method, rows."""
        return (
            *self._log_evidence_rows(),
            *self._gap_rows(),
            *self._bracket_rows(),
            *self._simple_rows(),
            *self._state_rows(),
        )

    def _log_evidence_rows(self) -> list[EvidenceRow]:
        evidence, elbo, held_out = self.evidence, self.evidence.mean_elbo(), self.held_out
        # What counts first: of rows that the fit has not seen, where they are told apart.
        rows = [] if held_out is None else [self._log_evidence_row("log p(x) of held-out rows", held_out)]
        rows.append(self._log_evidence_row("log p(x)", evidence))
        rows.append(_mean_row("ELBO", elbo, "lower bound", f"mean log weight of {self._words_for_q}"))
        with np.errstate(invalid="ignore"):  # a row without density has no gap either
            gap = mean_over_rows(evidence.log_evidence - evidence.elbo, evidence.standard_error)
        rows.append(_mean_row("log p(x) - ELBO", gap, "estimate", "estimates KL(q || posterior)"))
        if self.n_pixels is not None:
            mean, nats = evidence.mean(), np.log(2) * self.n_pixels
            bits = dataclasses.replace(mean, value=-mean.value / nats, standard_error=mean.standard_error / nats)
            rows.append(_mean_row("-log2 p(x) per pixel", bits, _kind(evidence), "as log p(x)", "bits"))
        return rows

    def _log_evidence_row(self, name: str, of: Evidence) -> EvidenceRow:
        row = _mean_row(name, of.mean(), _kind(of), self._how(of))
        return dataclasses.replace(row, ways=of.ways if len(of.ways) > 1 else ())

    def _gap_rows(self) -> list[EvidenceRow]:
        rows = []
        for gap, of in ((self.gap, ""), (self.gap_of_training_rows, ", training")):
            if gap is not None:
                means = (gap.mean_approximation(), gap.mean_amortisation())
                for (name, method), mean in zip(_GAP_PARTS.items(), means, strict=True):
                    rows.append(_mean_row(f"{name}{of}", mean, "estimate", method))
        return rows

    def _bracket_rows(self) -> list[EvidenceRow]:
        rows = []
        made, real = self.bracket, self.real_bracket
        if made is not None:
            rows.append(_mean_row("bracket, simulated rows: width", made.gap(), "upper - lower", made.how_both))
        if real is not None and real.converged.any():
            lower, upper = real.means()
            rows.append(_mean_row("log p(x) of some, from below", lower, "lower bound", real.how_lower))
            rows.append(_mean_row("log p(x) of these, from above", upper, "approximate", real.how_both))
        return rows

    def _simple_rows(self) -> list[EvidenceRow]:
        ranked = self.comparison
        if ranked is None:
            return []
        best = max((name for name in ranked.names if name != THIS_MODEL), key=lambda name: ranked.mean(name).value)
        over = ranked.difference(THIS_MODEL, best)
        gain = Mean(over.value, over.standard_error, over.monte_carlo_error, ranked.n_rows)
        return [
            _mean_row(f"simple: {best}", ranked.mean(best), "exact", self.details.get(best, "")),
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
        noise = EvidenceRow("Monte Carlo error of log p(x)", error, np.nan, NATS, "estimate", "delta method", n)
        return [
            *([] if _kind(evidence) == "exact" else [noise]),
            EvidenceRow("rows with unreliable log p(x)", flagged, np.nan, f"of {n:,}", "count", rules, n),
            EvidenceRow("active units", active, np.nan, f"of {len(latents.active)}", "count", variance, n),
            _mean_row("mean KL(q || prior)", kl, *kind),
        ]

    @property
    def _words_for_q(self) -> str:
        return "q" if self.refined_by is None else f"q refined by {self.refined_by} steps"

    def _how(self, evidence: Evidence) -> str:
        return evidence.how if self.refined_by is None else f"{evidence.how}, with {self._words_for_q}"

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN where something is not known."""
        findings = () if self.health is None else self.health.findings
        return {
            "data": self.source,
            "rows": self.evidence.n_rows,
            "unit": self.unit,
            "log_evidence": dataclasses.asdict(self.evidence.mean()),
            "held_out_log_evidence": None if self.held_out is None else dataclasses.asdict(self.held_out.mean()),
            "elbo": dataclasses.asdict(self.evidence.mean_elbo()),
            "method": self.evidence.how,
            "unreliable_rows": self.evidence.n_unreliable,
            "active_units": int(self.latents.active.sum()),
            "kl_per_dimension": self.latents.kl_per_dimension.tolist(),
            "table": [dataclasses.asdict(row) for row in self.evidence_rows()],
            "health": [{**dataclasses.asdict(each), "verdict": each.verdict.name.lower()} for each in findings],
            "conclusions": list(self.conclusions),
        }

    def __str__(self) -> str:
        """The table of evidence in plain text, as wide as the terminal, and what to do below it."""
        n, held_out = self.evidence.n_rows, self.held_out
        seen = "" if held_out is None else f", training rows included; {plural(held_out.n_rows, 'row')} held out"
        of = f" of {self.n_given:,}, spread evenly" if n < self.n_given else ""
        width = min(max(shutil.get_terminal_size((100, 24)).columns, 72), 132)
        note = f"In {self.unit}, unless it says otherwise; ± is one standard error over rows."
        below = [
            textwrap.fill(line, width, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)
            for start, line in [("", note), *(("- ", each) for each in self.conclusions)]
        ]
        shown = as_text(self.evidence_rows(), width)
        return "\n".join([f"{self.source}: {plural(n, 'row')}{of}{seen}", "", shown, "", *below])

    def __repr__(self) -> str:
        parts = (self.health, self.gap, self.bracket, self.real_bracket, self.comparison)
        return "\n\n".join([str(self), *(repr(part) for part in parts if part is not None)])


def _mean_row(name: str, mean: Mean, kind: str, method: str, unit: str = NATS) -> EvidenceRow:
    return EvidenceRow(name, mean.value, mean.standard_error, unit, kind, method, mean.n_rows)


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
