"""The checks of a fit: problems first, each with what was measured and what it means."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import plural, short, words
from tightbound.evidence import Finding, Health, Verdict
from tightbound.report.page import Markup, Section, cell, element, heading, join, paragraph, table, text

MARKS = (("▲ Problem", "problem"), ("? Unknown", "unknown"), ("✓ Fine", "fine"))


def body(health: Health) -> Markup:
    """Show every check of the fit."""
    opening = paragraph(summary(health.findings))
    if not health.findings:
        return opening
    head = [heading("Check"), heading("Verdict"), heading("Measured", number=True), heading("What it means")]
    rows = [_cells(each) for each in sorted(health.findings, key=_urgency)]
    return join([opening, table(head, rows, "", class_="health")])


def summary(findings: Sequence[Finding]) -> str:
    """Return how many problems were found, and how many checks could not be made."""
    counts = Counter(_urgency(finding) for finding in findings)
    made = counts[0] + counts[2]
    said = f"{plural(counts[0], 'problem')} found in {plural(made, 'check')}."
    if not counts[0]:
        said = "No problem found" + (f" in {plural(made, 'check')}." if made else ": no check was made.")
    return said + (f" {plural(counts[1], 'check')} could not be made." if counts[1] else "")


def _urgency(finding: Finding) -> int:
    """The position of its mark."""
    return 0 if finding.is_problem else 1 if finding.verdict is Verdict.UNKNOWN else 2


def _cells(finding: Finding) -> list[Markup]:
    mark, kind = MARKS[_urgency(finding)]
    verdict = element("span", text(mark), class_=f"mark {kind}")
    if finding.is_problem:
        verdict = Markup(verdict + element("small", text(words(finding.verdict.name))))
    measured = Markup(text("–" if np.isnan(finding.value) else short(finding.value)))
    measured = Markup(measured + element("small", text(finding.statistic)))
    if not np.isnan(finding.threshold):
        measured = Markup(measured + element("small", text(f"threshold {short(finding.threshold)}")))
    return [
        element("th", text(finding.check), scope="row"),
        element("td", verdict, class_="verdict"),
        element("td", measured, class_="measured number"),
        cell(finding.sentence),
    ]


SECTION = Section[Evaluation, Health]("health", "Health of the fit", lambda found: found.health, body)
