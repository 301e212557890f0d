"""The page: sections in the order in which a person asks, each a function from content to HTML.

A new section is one function and one line in `SECTIONS`; one that needs optional content says when it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from tightbound.report import figures, table_sections, trust_sections, words
from tightbound.report.choose import finite, lowest_rows, robust_scores
from tightbound.report.content import Array, EvidenceRow, ReportContent
from tightbound.report.markup import (
    Markup,
    cell,
    document,
    element,
    footer,
    heading,
    join,
    notes,
    opening,
    paragraph,
    picture,
    section,
    table,
    text,
)
from tightbound.report.style import label_text
from tightbound.report.table_making import has_numbers
from tightbound.report.words import Words

MOST_ROWS = 12
MOST_COLUMNS = 6
FAR = 3.0  # robust standard deviations from which a cell is marked,
NOTABLE = 2.0  # and from which the furthest of its row is


def render(content: ReportContent) -> str:
    """Return the whole report as one HTML page, which needs no other file, no network and no script."""
    shown = [part for part in SECTIONS if part.present(content)]
    parts = [opening(content.title, content.summary), notes(content.messages), _contents(shown)]
    parts += [section(part.name, part.title, part.body(content)) for part in shown]
    return document(content.title, [*parts, footer(content.unit)])


@dataclass(frozen=True)
class Section:
    """One section: the name to link to, its title, its body, and whether the content has it."""

    name: str
    title: str
    body: Callable[[ReportContent], Markup]
    present: Callable[[ReportContent], bool] = lambda content: True


def _contents(shown: Sequence[Section]) -> Markup:
    links = [element("li", element("a", text(part.title), href=f"#{part.name}")) for part in shown]
    return element("nav", element("ul", join(links)), aria_label="Contents")


def _evidence(content: ReportContent) -> Markup:
    names = ("Quantity", "Value", "Unit", "What it is", "Method", "Rows")
    head = [heading(name, number=name in ("Value", "Rows")) for name in names]
    caption = (
        "± is one standard error. A lower bound cannot exceed the true value except by its error, an upper bound "
        "cannot fall below it except by its error; an estimate, or an approximate value, can lie on either side."
    )
    return table(head, [_evidence_cells(row) for row in content.evidence], caption, class_="evidence")


def _evidence_cells(row: EvidenceRow) -> list[Markup]:
    value, error = words.with_error(row.value, row.standard_error)
    shown = text(value)
    if error:
        shown = Markup(shown + element("span", text(f" ± {error}"), class_="error"))
    return [
        element("th", text(row.quantity), scope="row"),
        element("td", shown, class_="number"),
        element("td", text(row.unit), class_="kind"),
        element("td", text(row.kind), class_="kind"),
        cell(row.method),
        cell(f"{row.rows:,}", number=True),
    ]


def _figure(
    draw: Callable[[ReportContent], Figure], name: str, said: Callable[[ReportContent], Words], dense: bool = False
) -> Callable[[ReportContent], Markup]:
    """Return the section body that is one figure."""

    def body(content: ReportContent) -> Markup:
        telling = said(content)
        return picture(draw(content), f"figure-{name}", telling.alt, telling.caption, dense=dense)

    return body


def _latent(content: ReportContent) -> Markup:
    space = _figure(figures.latent_space, "latent-space", words.latent_space, dense=content.latent_means.shape[1] > 1)
    aggregated = _figure(figures.aggregated_posterior, "aggregated", words.aggregated)
    return join([space(content), aggregated(content)])


def _lowest(content: ReportContent) -> Markup:
    if content.image_shape:
        return _figure(figures.image_lowest_rows, "lowest-rows", words.lowest, dense=True)(content)
    chosen = lowest_rows(content, MOST_ROWS)
    if not len(chosen):
        return paragraph("No row has a known log p(x).")
    scores = robust_scores(content.data)[chosen]
    columns = _columns_furthest_out(scores)
    head = [heading("Row", number=True), heading("log\u00a0p(x), nats", number=True)]
    head += [heading(label_text(content.names[column], 24), number=True) for column in columns]
    rows = [_lowest_cells(content, int(row), scores[place], columns) for place, row in enumerate(chosen)]
    wide = f"--columns:{len(columns) + 2}"
    return table(head, rows, _lowest_caption(content, len(columns)), class_="lowest", style=wide)


def _columns_furthest_out(scores: Array) -> Array:
    """Return the columns to show, in the table's order: those where these rows are furthest from the median."""
    clipped = np.minimum(np.abs(scores), 20)
    return np.sort(np.argsort(-(clipped**2).sum(axis=0), kind="stable")[:MOST_COLUMNS])


def _lowest_cells(content: ReportContent, row: int, scores: Array, columns: Array) -> list[Markup]:
    furthest = columns[int(np.argmax(np.abs(scores[columns])))]
    cells = [
        element("th", text(content.row_numbers[row]), scope="row", class_="number"),
        cell(words.nats(content.log_evidence[row]), number=True),
    ]
    for column in columns:
        far = abs(scores[column]) >= FAR or (column == furthest and abs(scores[column]) >= NOTABLE)
        cells.append(_value_cell(content.data[row, column], scores[column], far))
    return cells


def _value_cell(value: float, score: float, far: bool) -> Markup:
    if np.isnan(value):
        return element("td", text("–"), class_="number missing", title="missing")
    shown = text(words.short(value))
    if not far:
        return element("td", shown, class_="number")
    return element("td", Markup(shown + element("small", text(f"{score:+.1f} sd"))), class_="number far")


def _lowest_caption(content: ReportContent, shown: int) -> str:
    caption = (
        f"Lowest first; row numbers count from 0. The median row has "
        f"{words.nats(float(np.median(finite(content.log_evidence))))} nats. Marked: cells {FAR:g} or more robust "
        "standard deviations (1.4826 times the median absolute deviation) from their column's median, and the furthest "
        f"of a row from {NOTABLE:g} on. A row without a marked cell is odd by its combination of values."
    )
    if np.isnan(content.data).any():
        caption += " A dash is a missing cell."
    columns = len(content.names)
    return caption + (f" {shown} of {columns} columns: where these rows stand out most." if shown < columns else "")


def _settings(content: ReportContent) -> Markup:
    rows = [[element("th", text(name), scope="row"), cell(value)] for name, value in content.settings.items()]
    return table([heading("Setting"), heading("Value")], rows, "", class_="settings")


def _samples(content: ReportContent) -> Markup:
    dense = bool(content.image_shape) or content.data.shape[1] > 1
    return _figure(figures.samples, "samples", words.samples, dense=dense)(content)


SECTIONS: tuple[Section, ...] = (
    Section("evidence", "Evidence", _evidence),
    Section("health", "Health of the fit", trust_sections.health, lambda content: content.health is not None),
    Section("bracket", "log p(x) from both sides", trust_sections.bracket, lambda content: content.bracket is not None),
    Section("gap", "What the ELBO loses", trust_sections.gap, lambda content: content.gap is not None),
    Section(
        "row-evidence",
        "How sure log p(x) of each row is",
        trust_sections.row_evidence,
        lambda content: content.row_evidence is not None,
    ),
    Section("learning", "Learning curves", _figure(figures.learning_curves, "learning-curves", words.learning_curves)),
    Section("columns", "Columns", table_sections.columns, lambda content: content.table is not None),
    Section(
        "associations",
        "Associations between columns",
        table_sections.associations,
        lambda content: content.table is not None and content.table.associations is not None,
    ),
    Section("missing", "Missing cells", table_sections.missing, table_sections.has_gaps),
    Section("samples", "Samples beside data", _samples, has_numbers),
    Section(
        "copies",
        "Copies of rows among samples",
        table_sections.copies,
        lambda content: content.table is not None and content.table.copies is not None,
    ),
    Section(
        "reconstructions",
        "Reconstructions",
        _figure(figures.reconstructions, "reconstructions", words.reconstructions, True),
        has_numbers,
    ),
    Section(
        "imputation",
        "Hidden cells filled in again",
        table_sections.imputation,
        lambda content: content.table is not None and content.table.imputation is not None,
    ),
    Section("latent", "Latent space", _latent),
    Section("kl", "KL of each latent dimension", _figure(figures.kl_per_dimension, "kl", words.kl_per_dimension)),
    Section("log-evidence", "log p(x) over rows", _figure(figures.log_evidence, "log-evidence", words.log_evidence)),
    Section("calibration", "Calibration", trust_sections.calibration, lambda content: content.calibration is not None),
    Section("baselines", "Simple models", trust_sections.baselines, lambda content: content.baselines is not None),
    Section("lowest", "Rows with the lowest log p(x)", _lowest, lambda content: content.table is None),
    Section(
        "strangest",
        "Strangest rows and cells",
        table_sections.strange,
        lambda content: content.table is not None and content.table.strange is not None,
    ),
    Section("settings", "Settings", _settings),
)
