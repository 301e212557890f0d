"""The page that compares models on the same rows: a table, their differences to the best, and row by row."""

from __future__ import annotations

import numpy as np

from tightbound.report import forest, trust_words
from tightbound.report.diagnostics import ComparisonContent
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
from tightbound.report.numbers import plural
from tightbound.report.trust_sections import measured


def render_comparison(content: ComparisonContent) -> str:
    """Return the comparison as one HTML page, which needs no other file, no network and no script."""
    parts = [opening(content.title, content.summary), notes(content.messages)]
    parts.append(section("models", "Models", join([*map(paragraph, content.verdicts), _table(content)])))
    if len(content.names) > 1:
        said = trust_words.comparison_forest(content)
        drawn = forest.comparison_forest(content)
        shown = picture(drawn, "figure-differences", said.alt, said.caption, dense=False)
        parts.append(section("differences", "Differences to the best", shown))
        said = trust_words.comparison_rows(content)
        drawn = forest.comparison_rows(content)
        parts.append(section("rows", "Row by row", picture(drawn, "figure-rows", said.alt, said.caption, dense=False)))
    return document(content.title, [*parts, footer(content.unit)])


def _table(content: ComparisonContent) -> Markup:
    names = ("Model", "Mean log\u00a0p(x)", "Monte Carlo error", "Minus the best", "Rows above it")
    head = [heading(name, number=name != "Model") for name in names]
    others = content.others()
    order = forest.comparison_order(content)
    rows = [_cells(content, place, others.index(place) if place in others else None) for place in order]
    caption = (
        f"{plural(len(content.names), 'model')} on the same {plural(content.row_differences.shape[1], 'row')}, in nats "
        "a row. ± is one standard error over rows; for differences, over pairs of rows. The Monte Carlo error is what "
        "the estimates of log p(x) themselves are uncertain by."
    )
    return table(head, rows, caption, class_="small")


def _cells(content: ComparisonContent, place: int, row: int | None) -> list[Markup]:
    name, error = text(content.names[place]), float(content.monte_carlo_error[place])
    cells = [
        element("th", element("strong", name) if row is None else name, scope="row"),
        measured(float(content.mean[place]), float(content.standard_error[place])),
        cell(f"{error:.2g}" if np.isfinite(error) else "–", number=True),
    ]
    if row is None:
        return [*cells, cell("best", number=True), cell("", number=True)]
    known = content.row_differences[row][np.isfinite(content.row_differences[row])]
    share = f"{np.mean(known > 0):.0%}" if known.size else "–"
    difference = measured(float(content.difference[place]), float(content.difference_standard_error[place]), sign=True)
    return [*cells, difference, cell(share, number=True)]
