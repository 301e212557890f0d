"""One table of every number: what it is, its error, its unit, how it was found."""

from collections.abc import Sequence

from tightbound.estimator.evaluation import Evaluation, EvidenceRow
from tightbound.estimator.formatting import with_error
from tightbound.report.page import Markup, Section, cell, element, heading, table, text

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
        cell(row.method),
        cell(f"{row.rows:,}", number=True),
    ]


SECTION = Section[Evaluation, Sequence[EvidenceRow]]("evidence", "Evidence", Evaluation.evidence_rows, body)
