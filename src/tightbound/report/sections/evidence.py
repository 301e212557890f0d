"""One table of every number: what it is, its error, its unit, how it was found."""

from collections.abc import Sequence

from tightbound.estimator.evaluation import Evaluation, EvidenceRow
from tightbound.estimator.formatting import plural, with_error
from tightbound.report.page import Markup, Section, cell, element, heading, join, table, text
from tightbound.report.style import CATEGORIES

CAPTION = (
    "± is one standard error. A lower bound cannot exceed the true value except by its error, an upper bound "
    "cannot fall below it except by its error; an estimate, or an approximate value, can lie on either side."
)


def body(rows: Sequence[EvidenceRow]) -> Markup:
    """Show the table of evidence."""
    names = ("Quantity", "Value", "Unit", "What it is", "Method", "Rows")
    head = [heading(name, number=name in ("Value", "Rows")) for name in names]
    return table(head, [_cells(row) for row in rows], CAPTION, class_="evidence")


def _cells(row: EvidenceRow) -> list[Markup]:
    value, error = with_error(row.value, row.standard_error)
    shown = text(value)
    if error:
        shown = Markup(shown + element("span", text(f" ± {error}"), class_="error"))
    return [
        element("th", text(row.quantity), scope="row"),
        element("td", shown, class_="number"),
        element("td", text(row.unit), class_="kind"),
        element("td", text(row.kind), class_="kind"),
        element("td", _ways(row) if row.ways else text(row.method)),
        cell(f"{row.rows:,}", number=True),
    ]


def _ways(row: EvidenceRow) -> Markup:
    """Return several methods as a bar of their shares of the rows, which unfolds into their names."""
    colours = [CATEGORIES[k % len(CATEGORIES)] for k in range(len(row.ways))]
    shares = list(zip(row.ways, colours, strict=True))
    pieces = [
        element("span", Markup(""), style=f"background:{colour};width:{100 * n / row.rows:.2f}%", title=way)
        for (way, n), colour in shares
    ]
    named = [element("li", Markup(_patch(colour) + text(f"{way}: {plural(n, 'row')}"))) for (way, n), colour in shares]
    bar = element("span", join(pieces), class_="bar", role="img", **{"aria-label": row.method})
    head = element("summary", Markup(text(f"{len(row.ways)} methods") + bar))
    return element("details", Markup(head + element("ul", join(named))), class_="ways")


def _patch(colour: str) -> Markup:
    return element("span", Markup(""), style=f"background:{colour}")


SECTION = Section[Evaluation, Sequence[EvidenceRow]]("evidence", "Evidence", Evaluation.evidence_rows, body)
