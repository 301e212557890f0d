"""The rows of the lowest log p(x) of a table of columns by type, with the cells that make them so."""

from typing import Any

import numpy as np

from tightbound.estimator.detection import AnomalousCell
from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import nats, plural
from tightbound.estimator.reproduction import AnomalousRow, AnomalousRows, ColumnChecks
from tightbound.report.page import Markup, Section, cell, element, heading, paragraph, table, text
from tightbound.report.sections.columns import value_of
from tightbound.report.style import label_text

ANOMALOUS = 2.3
"""-log of the p-value, nats, from which a cell is named: one in ten."""


def body(found: Evaluation, columns: ColumnChecks, anomalous: AnomalousRows) -> Markup:
    """Show the rows of the lowest log p(x)."""
    if not anomalous.rows:
        return paragraph("No row has a known log p(x).")
    valued = not all(np.isnan(row.p_value) for row in anomalous.rows)
    head = [heading("Row", number=True), heading("log\u00a0p(x), nats", number=True)]
    head += [heading("p-value", number=True)] if valued else []
    head += (
        [heading("Most anomalous cells, and the chance of such a cell given the rest")] if anomalous.explained else []
    )
    kinds = {column.name: "" if column.levels else column.kind for column in columns.marginals}
    rows = [_cells(found, row, kinds, valued)[: len(head)] for row in anomalous.rows]
    return table(head, rows, caption(anomalous), class_="small anomalous")


def _cells(found: Evaluation, row: AnomalousRow, kinds: dict[str, str], valued: bool) -> list[Markup]:
    parts = [
        _anomalous_cell(each, kinds.get(each.column, "")) for each in row.cells if each.neg_log_p_value > ANOMALOUS
    ]
    p_value = [cell("–" if np.isnan(row.p_value) else f"{row.p_value:.2g}", number=True)] if valued else []
    return [
        element("th", text(found.row_numbers[row.position]), scope="row", class_="number"),
        cell(nats(float(found.evidence.log_evidence[row.position])), number=True),
        *p_value,
        element("td", Markup("<br>".join(parts)) if parts else text("none stands out"), class_="cells"),
    ]


def _anomalous_cell(anomalous: AnomalousCell, kind: str) -> Markup:
    named = f"{label_text(anomalous.column, 30)} = {label_text(_written(anomalous.value, kind), 40)}"
    return Markup(
        element("strong", text(named)) + element("span", text(f" {chance(anomalous.neg_log_p_value)}"), class_="error")
    )


def _written(value: Any, kind: str) -> str:
    """Return a value as a person writes it; levels, which have no kind here, and dates as they are."""
    return value_of(float(value), kind) if kind and not isinstance(value, str) else str(value)


def chance(negative: float) -> str:
    """Return the p-value whose -log is so many nats, as odds where it is small."""
    p = float(np.exp(-negative))
    return f"{p:.0%}" if p >= 0.1 else f"1 in {1 / p:,.0f}" if 1 / p < 1e6 else "less than 1 in a million"


def caption(anomalous: AnomalousRows) -> str:
    """Say how to read the table of anomalous rows."""
    said = "Lowest log p(x) first; row numbers count from 0."
    said += (
        " Beside each row the cells that fit the rest of it least, with the chance under the model of a cell that is "
        "as far out or further, given the rest, where it is below one in ten: a cell is anomalous by what stands "
        "beside it, not by its value alone. In a row without such cells all of them are a little odd."
        if anomalous.explained
        else " Their cells were not looked at, one by one, in a table of so many columns."
    )
    if anomalous.n_reference:
        said += (
            f" p-value: the share of {plural(anomalous.n_reference, 'row')} held out of the fit that score as low or "
            "lower (conformal; small by chance for some rows of a long table, and a guide only for rows that the fit "
            "has seen)."
        )
    return said


def _find(found: Evaluation) -> tuple[Evaluation, ColumnChecks, AnomalousRows] | None:
    columns = found.columns
    return None if columns is None or columns.anomalous is None else (found, columns, columns.anomalous)


SECTION = Section("anomalies", "Most anomalous rows and cells", _find, lambda parts: body(*parts))
