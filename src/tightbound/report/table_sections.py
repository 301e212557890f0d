"""The sections of a mixed table: columns, associations, missing cells, imputation, strange rows, copies."""

from __future__ import annotations

import re

import numpy as np

from tightbound.report import table_figures, table_words
from tightbound.report.content import ReportContent
from tightbound.report.markup import Markup, cell, element, heading, join, paragraph, picture, table, text
from tightbound.report.numbers import nats, plural
from tightbound.report.style import inline_svg, label_text
from tightbound.report.table_content import ColumnContent, ImputationContent, ImputationRow, StrangeRow
from tightbound.report.trust_sections import NOTHING

MOST_COLUMNS = 40
STRANGE = 2.3
"""Nats of surprise from which a cell is named: one in ten."""


def has_gaps(content: ReportContent) -> bool:
    """Whether there are missing cells to show."""
    return content.table is not None and bool(np.isnan(content.data.astype(float)).any())


def columns(content: ReportContent) -> Markup:
    """Show every column: kind, family, missing share, and its marginal in data and samples."""
    if content.table is None:
        return NOTHING
    shown = shown_columns(content.table.columns)
    head = [heading("Column"), heading("Kind"), heading("Missing", number=True)]
    head += [heading("Data and samples"), heading("Distance", number=True)]
    rows = [_column_cells(content, j) for j in shown]
    return table(head, rows, table_words.columns(content, len(shown)), class_="small columns")


def shown_columns(every: tuple[ColumnContent, ...]) -> list[int]:
    """Return the positions of the columns to show: all, or those furthest beyond chance."""
    if len(every) <= MOST_COLUMNS:
        return list(range(len(every)))
    excess = np.nan_to_num([column.distance / max(column.chance, 1e-9) for column in every], nan=-1.0)
    return sorted(np.argsort(-excess, kind="stable")[:MOST_COLUMNS].tolist())


def _column_cells(content: ReportContent, j: int) -> list[Markup]:
    column: ColumnContent = content.table.columns[j]  # type: ignore[union-attr]
    data, samples = (each[:, j].astype(float) for each in (content.data, content.samples))
    said = table_words.marginal(column, data, samples)
    drawn = inline_svg(table_figures.marginal(column, data, samples), f"marginal-{j}", said)
    levels = f", {plural(len(column.levels), 'level')}" if column.levels else ""
    gone = float(np.isnan(data).mean()) if len(data) else 0.0
    return [
        element("th", breakable(label_text(column.name, 40)), scope="row"),
        element("td", Markup(text(f"{column.kind}{levels}") + element("small", text(_words(column.family))))),
        cell(f"{gone:.1%}" if gone else "–", number=True),
        element("td", Markup(drawn), class_="panel"),
        _distance_cell(column),
    ]


def _distance_cell(column: ColumnContent) -> Markup:
    if not np.isfinite(column.distance):
        return cell("–", number=True)
    shown = Markup(text(f"{column.distance:.3f}") + element("small", text(f"chance {column.chance:.3f}")))
    return element("td", shown, class_="number flagged" if column.distance > column.chance else "number")


def breakable(name: str) -> Markup:
    """Return a name that a narrow cell breaks where a person would: after joining marks."""
    return Markup(re.sub(r"([_.\-/])(?=.)", r"\1<wbr>", text(name)))


def _words(family: str) -> str:
    return family.replace("_", " ")


def associations(content: ReportContent) -> Markup:
    """Show how columns go together in the data, in the samples, and where these differ."""
    if content.table is None or content.table.associations is None:
        return NOTHING
    said = table_words.associations(content.table.associations)
    drawn = table_figures.associations(content.table.associations)
    return picture(drawn, "figure-associations", said.alt, said.caption, dense=True)


def missing(content: ReportContent) -> Markup:
    """Show which cells are missing, and which go missing together."""
    said = table_words.missing(content)
    return picture(table_figures.missing(content), "figure-missing", said.alt, said.caption, dense=False)


def imputation(content: ReportContent) -> Markup:
    """Show how well hidden cells were filled in."""
    found = None if content.table is None else content.table.imputation
    if found is None:
        return NOTHING
    verdict, caption = table_words.imputation(found)
    names = ("Column", "Measure", "Model", "Simple value", f"{found.interval:.0%} intervals hold", "Cells")
    head = [heading(name, number=name not in ("Column", "Measure")) for name in names]
    shown = sorted(found.rows, key=lambda row: -row.error / max(row.simple_error, 1e-9))
    kept = [row for row in found.rows if row in shown[:MOST_COLUMNS]]
    if len(kept) < len(found.rows):
        caption += f" {len(kept)} of {len(found.rows)} columns: those least better than the simple value."
    rows = [_imputation_cells(found, row) for row in kept]
    return join([paragraph(verdict), table(head, rows, caption, class_="small")])


def _imputation_cells(found: ImputationContent, row: ImputationRow) -> list[Markup]:
    written = "{:.2f}" if row.numeric else "{:.1%}"
    worse = {"class_": "number flagged" if row.error >= row.simple_error else "number"}
    error = table_words.binomial_error(found, row.cells)
    covered = cell("–", number=True)
    if row.coverage is not None:
        shown = Markup(text(f"{row.coverage:.0%}") + element("span", text(f" ± {100 * error:.0f}"), class_="error"))
        low = row.coverage < found.interval - 2 * error
        covered = element("td", shown, class_="number flagged" if low else "number")
    return [
        element("th", breakable(label_text(row.name, 40)), scope="row"),
        cell("error in sd" if row.numeric else "wrong levels"),
        element("td", text(written.format(row.error)), **worse),
        cell(written.format(row.simple_error), number=True),
        covered,
        cell(f"{row.cells:,}", number=True),
    ]


def strange(content: ReportContent) -> Markup:
    """Show the rows of the lowest log p(x), with the cells that make them so."""
    found = None if content.table is None else content.table.strange
    if found is None:
        return NOTHING
    if not found.rows:
        return paragraph("No row has a known log p(x).")
    valued = any(row.p_value is not None for row in found.rows)
    head = [heading("Row", number=True), heading("log\u00a0p(x), nats", number=True)]
    head += [heading("p-value", number=True)] if valued else []
    head += [heading("Strangest cells, and the chance of such a cell given the rest")] if found.explained else []
    rows = [_strange_cells(content, row, valued)[: len(head)] for row in found.rows]
    return table(head, rows, table_words.strange(found), class_="small strange")


def _strange_cells(content: ReportContent, row: StrangeRow, valued: bool) -> list[Markup]:
    parts = [
        Markup(
            element("strong", text(f"{label_text(each.column, 30)} = {label_text(each.value, 40)}"))
            + element("span", text(f" {chance(each.surprise)}"), class_="error")
        )
        for each in row.cells
        if each.surprise > STRANGE
    ]
    known = [cell("–" if row.p_value is None else f"{row.p_value:.2g}", number=True)] if valued else []
    return [
        element("th", text(content.row_numbers[row.position]), scope="row", class_="number"),
        cell(nats(float(content.log_evidence[row.position])), number=True),
        *known,
        element("td", Markup("<br>".join(parts)) if parts else text("none stands out"), class_="cells"),
    ]


def chance(surprise: float) -> str:
    """Return the p-value behind a surprise of so many nats, as odds where it is small."""
    p = float(np.exp(-surprise))
    return f"{p:.0%}" if p >= 0.1 else f"1 in {1 / p:,.0f}" if 1 / p < 1e6 else "less than 1 in a million"


def copies(content: ReportContent) -> Markup:
    """Show whether samples repeat rows of the data."""
    if content.table is None or content.table.copies is None:
        return NOTHING
    said = table_words.copies(content.table.copies)
    drawn = table_figures.closest_rows(content.table.copies)
    return picture(drawn, "figure-copies", said.alt, said.caption, dense=False)
