"""How well hidden cells of a table are filled in again, column by column."""

import numpy as np

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import plural
from tightbound.estimator.reproduction import HiddenCells, HiddenColumn
from tightbound.report.page import Markup, Section, breakable, cell, element, heading, join, paragraph, table, text
from tightbound.report.style import label_text

MOST_COLUMNS = 40


def body(found: HiddenCells) -> Markup:
    """Show how well hidden cells were filled in."""
    names = ("Column", "Measure", "Model", "Simple value", f"{found.interval:.0%} intervals hold", "Cells")
    head = [heading(name, number=name not in ("Column", "Measure")) for name in names]
    worst = sorted(found.columns, key=lambda column: -column.error / max(column.simple_error, 1e-9))[:MOST_COLUMNS]
    kept = [column for column in found.columns if column in worst]
    told = caption(found)
    if len(kept) < len(found.columns):
        told += f" {len(kept)} of {len(found.columns)} columns: those least better than the simple value."
    return join(
        [paragraph(verdict(found)), table(head, [_cells(found, column) for column in kept], told, class_="small")]
    )


def binomial_error(found: HiddenCells, cells: int) -> float:
    """Return the standard error of a coverage over so many cells, if the true one is the intervals' probability."""
    return float(np.sqrt(found.interval * (1 - found.interval) / max(cells, 1)))


def _cells(found: HiddenCells, column: HiddenColumn) -> list[Markup]:
    share = not (column.numeric or column.ordinal)
    written = "{:.1%}" if share else "{:.2f}"
    worse = column.error >= column.simple_error
    error = binomial_error(found, column.cells)
    covered = cell("–", number=True)
    if column.coverage is not None:
        shown = Markup(text(f"{column.coverage:.0%}") + element("span", text(f" ± {100 * error:.0f}"), class_="error"))
        low = column.coverage < found.interval - 2 * error
        covered = element("td", shown, class_="number flagged" if low else "number")
    return [
        element("th", breakable(label_text(column.name, 40)), scope="row"),
        cell("error in sd" if column.numeric else "wrong levels" if share else "levels off"),
        element("td", text(written.format(column.error)), class_="number flagged" if worse else "number"),
        cell(written.format(column.simple_error), number=True),
        covered,
        cell(f"{column.cells:,}", number=True),
    ]


def verdict(found: HiddenCells) -> str:
    """Say how it went."""
    better = sum(column.error < column.simple_error for column in found.columns)
    covered = [(column.coverage, column.cells) for column in found.columns if column.coverage is not None]
    said = f"The model beats the simple value in {better} of {plural(len(found.columns), 'column')}."
    if covered:
        n = sum(weight for _, weight in covered)
        mean = sum(share * weight for share, weight in covered) / n
        said += (
            f" Intervals of {found.interval:.0%} hold {mean:.1%} ± {100 * binomial_error(found, n):.1f} of "
            f"{plural(n, 'cell')} with an order."
        )
    return said


def caption(found: HiddenCells) -> str:
    """Say what was done, and how to read the table."""
    rounds = "" if found.n_rounds == 1 else f", others in each of {found.n_rounds} rounds"
    seen = "held out of the fit" if found.held_out else "which the fit may have seen"
    cells = sum(column.cells for column in found.columns)
    return (
        f"{found.share:.0%} of the observed cells of {plural(found.n_rows, 'row')}, {seen}, were hidden and filled "
        f"in again{rounds}: {plural(cells, 'cell')} in all. Numbers: root mean squared error in standard deviations of "
        "the column, beside that of its mean. Levels with an order: how many levels off on average, beside that of the "
        "median one. Other levels: the share that is wrong, beside that of the most frequent one. "
        f"Coverage: the share of cells inside the model's {found.interval:.0%} intervals, ± the binomial standard "
        f"error of a true {found.interval:.0%}; marked where it is more than two of them below. Marked errors are no "
        "better than the simple value: the other columns say nothing that the model has learnt to use."
    )


SECTION = Section[Evaluation, HiddenCells](
    "imputation", "Hidden cells filled in again", lambda found: found.columns and found.columns.hidden, body
)
