"""The sections on how far to trust the fit: health, brackets, gaps, rows, calibration, baselines; each optional."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tightbound.report import forest, trust, trust_words, uniform
from tightbound.report.choose import finite
from tightbound.report.content import ReportContent
from tightbound.report.diagnostics import BaselineRow, GapGroup, HealthFinding, RowEvidenceContent
from tightbound.report.markup import Markup, cell, element, heading, join, paragraph, picture, table, text
from tightbound.report.numbers import plural, short, value_text, with_error

NOTHING = Markup("")


def health(content: ReportContent) -> Markup:
    """Show every check of the fit, problems first."""
    if content.health is None:
        return NOTHING
    findings = sorted(content.health.findings, key=_urgency)
    opening = paragraph(health_sentence(content.health.findings))
    if not findings:
        return opening
    head = [heading("Check"), heading("Verdict"), heading("Measured", number=True), heading("What it means")]
    return join([opening, table(head, [_finding_cells(each) for each in findings], "", class_="health")])


def health_sentence(findings: tuple[HealthFinding, ...]) -> str:
    """Return how many problems were found, and how many checks could not be made."""
    counts = Counter(_urgency(finding) for finding in findings)
    made = counts[0] + counts[2]
    said = f"{plural(counts[0], 'problem')} found in {plural(made, 'check')}."
    if not counts[0]:
        said = "No problem found" + (f" in {plural(made, 'check')}." if made else ": no check was made.")
    return said + (f" {plural(counts[1], 'check')} could not be made." if counts[1] else "")


def _urgency(finding: HealthFinding) -> int:
    return 0 if finding.is_problem else 1 if finding.is_unknown else 2


def _finding_cells(finding: HealthFinding) -> list[Markup]:
    mark, kind = (("▲ Problem", "problem"), ("? Unknown", "unknown"), ("✓ Fine", "fine"))[_urgency(finding)]
    verdict = element("span", text(mark), class_=f"mark {kind}")
    if finding.verdict.strip().lower() not in ("", mark[2:].lower()):
        verdict = Markup(verdict + element("small", text(finding.verdict)))
    value = "–" if finding.value is None or np.isnan(finding.value) else short(finding.value)
    measured = Markup(text(value) + element("small", text(finding.statistic)))
    if finding.threshold is not None and not np.isnan(finding.threshold):
        measured = Markup(measured + element("small", text(f"threshold {short(finding.threshold)}")))
    return [
        element("th", text(finding.check), scope="row"),
        element("td", verdict, class_="verdict"),
        element("td", measured, class_="measured number"),
        cell(finding.sentence),
    ]


def bracket(content: ReportContent) -> Markup:
    """Show how narrowly log p(x) of rows is enclosed."""
    if content.bracket is None:
        return NOTHING
    said = trust_words.bracket(content.bracket)
    return picture(trust.bracket(content.bracket), "figure-bracket", said.alt, said.caption, dense=False)


def gap(content: ReportContent) -> Markup:
    """Show the parts of log p(x) - ELBO, their figures, and what would narrow them."""
    if content.gap is None:
        return NOTHING
    said = trust_words.gap(content.gap)
    drawn = picture(trust.gap_parts(content.gap), "figure-gap", said.alt, said.caption, dense=False)
    names = ("Rows", "Approximation", "Amortisation", "log\u00a0p(x) − ELBO", "Number")
    head = [heading(name, number=name != "Rows") for name in names]
    rows = table(head, [_gap_cells(group) for group in content.gap.groups], "", class_="small")
    return join([drawn, rows if content.gap.groups else NOTHING, *map(paragraph, content.gap.advice)])


def _gap_cells(group: GapGroup) -> list[Markup]:
    return [
        element("th", text(group.name), scope="row"),
        measured(group.approximation, group.approximation_standard_error),
        measured(group.amortisation, group.amortisation_standard_error),
        measured(group.total, group.total_standard_error),
        cell(f"{group.rows:,}", number=True),
    ]


def measured(value: float, error: float | None, *, sign: bool = False) -> Markup:
    """Return a cell with a number and its error, or a dash where there is none; `sign`: with a plus above zero."""
    if not np.isfinite(value):
        return cell("–" if np.isnan(value) else value_text(value, error), number=True)
    _, width = with_error(value, error)
    shown = text(("+" if sign and value > 0 else "") + value_text(value, error))
    if width:
        shown = Markup(shown + element("span", text(f" ± {width}"), class_="error"))
    return element("td", shown, class_="number")


def row_evidence(content: ReportContent) -> Markup:
    """Show how sure log p(x) of each row is, and which method it came from."""
    if content.row_evidence is None:
        return NOTHING
    said = trust_words.row_evidence(content)
    dense = len(content.log_evidence) > 300
    drawn = picture(trust.row_evidence(content), "figure-row-evidence", said.alt, said.caption, dense=dense)
    return join([drawn, _methods_table(content.row_evidence)])


def _methods_table(rows: RowEvidenceContent) -> Markup:
    """Return a line for each method and flag, unflagged first: how many rows, mean error, largest k-hat, mean work."""
    methods = [str(name) for name in np.asarray(rows.method).tolist()]
    pairs = list(zip(methods, (str(flag) for flag in np.asarray(rows.flags).tolist()), strict=True))
    sizes, common = Counter(methods), Counter(pairs)
    order = sorted(common, key=lambda pair: (-sizes[pair[0]], pair[0], pair[1] != "", -common[pair], pair[1]))
    names = ["Method", "Flag", "Rows", "Mean standard error, nats"]
    names += ["Largest k\u2011hat"] if rows.khat is not None else []
    names += [f"Mean work, {rows.work_unit}"] if rows.work is not None else []
    head = [heading(name, number=place > 1) for place, name in enumerate(names)]
    lines = []
    for method, flag in order:
        chosen = np.array([pair == (method, flag) for pair in pairs], dtype=bool)
        flagged = {"class_": "flagged"} if flag else {}
        lines.append(
            [
                element("th", text(method), scope="row"),
                element("td", text(f"▲ {flag}" if flag else "none"), **flagged),
                cell(f"{common[method, flag]:,}", number=True),
                cell(_mean(rows.standard_error[chosen]), number=True),
            ]
        )
        if rows.khat is not None:
            khat = np.asarray(rows.khat, dtype=float)[chosen]
            khat = khat[~np.isnan(khat)]
            lines[-1].append(cell(f"{khat.max():.2f}" if khat.size and np.isfinite(khat.max()) else "–", number=True))
        if rows.work is not None:
            lines[-1].append(cell(_mean_work(rows.work[chosen]), number=True))
    return table(head, lines, "", class_="small")


def _mean(values: np.ndarray) -> str:
    known = finite(values)
    if not known.size:
        return "–"
    return f"{known.mean():#.2g}".rstrip(".") + (" (of known)" if known.size < values.size else "")


def _mean_work(values: np.ndarray) -> str:
    known = finite(values)
    return f"{known.mean():,.0f}" if known.size else "–"


def calibration(content: ReportContent) -> Markup:
    """Show whether q and the decoder are as sure as they should be."""
    found = content.calibration
    if found is None:
        return NOTHING
    parts = [paragraph(sentence) for sentence in found.sentences]
    if found.ranks is not None and found.ranks.counts.size:
        said = trust_words.ranks(found.ranks)
        parts.append(element("h3", text("Encoder")))
        drawn = uniform.rank_histograms(found.ranks)
        parts.append(picture(drawn, "figure-ranks", said.alt, said.caption, dense=False))
    if found.predictive is not None:
        said = trust_words.predictive(found.predictive)
        parts.append(element("h3", text("Decoder")))
        drawn = uniform.predictive_calibration(found.predictive)
        parts.append(picture(drawn, "figure-predictive", said.alt, said.caption, dense=False))
    return join(parts) if parts else paragraph("Calibration was not measured.")


def baselines(content: ReportContent) -> Markup:
    """Show the fitted model among simple ones."""
    found = content.baselines
    if found is None:
        return NOTHING
    said = trust_words.baselines(found)
    opening = [paragraph(found.sentence)] if found.sentence else []
    names = ("Model", "Mean log\u00a0p(x)", "Minus the fitted model", "What it is")
    head = [heading(name, number="inus" in name or "log" in name) for name in names]
    rows = table(head, [_baseline_cells(row) for row in found.ranking], "", class_="small")
    if not any(not row.is_model for row in found.ranking):
        return join([*opening, rows])
    drawn = picture(forest.baselines(found), "figure-baselines", said.alt, said.caption, dense=False)
    return join([*opening, rows, drawn])


def _baseline_cells(row: BaselineRow) -> list[Markup]:
    name = text(row.name)
    if row.is_model:
        name = Markup(element("strong", name) + element("small", text("the fitted model")))
    difference = measured(row.difference, row.difference_standard_error, sign=True)
    return [
        element("th", name, scope="row"),
        measured(row.mean, row.standard_error),
        cell("reference", number=True) if row.is_model else difference,
        cell(row.detail),
    ]
