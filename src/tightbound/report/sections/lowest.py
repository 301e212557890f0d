"""The rows that the model finds oddest, of a table of numbers or of images."""

import numpy as np
from matplotlib.figure import Figure

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import nats, plural, short
from tightbound.estimator.reproduction import Reproduction, lowest_rows
from tightbound.report.page import Markup, Section, Words, cell, element, heading, paragraph, picture, table, text
from tightbound.report.style import (
    WIDTH,
    Array,
    as_pictures,
    finite,
    intensity_range,
    label_text,
    new_figure,
    show_picture,
    styled,
)

MOST_ROWS = 12
MOST_IMAGES = 16
MOST_COLUMNS = 6
FAR = 3.0  # robust standard deviations from which a cell is marked,
NOTABLE = 2.0  # and from which the furthest of its row is
NOTHING_KNOWN = "No row has a known log p(x)."


@styled
def image_figure(made: Reproduction, log_evidence: Array, row_numbers: Array) -> Figure:
    """Draw the images with the lowest log p(x), each with its row number and log p(x)."""
    shape, limits = made.image_shape or (), intensity_range(made.data)
    chosen = lowest_rows(log_evidence, MOST_IMAGES)
    columns = min(8, max(1, len(chosen)))
    lines = -(-len(chosen) // columns) or 1
    side = WIDTH / 8
    drawn = new_figure(lines * (min(2.0, side * shape[0] / shape[1]) + 0.35), width=max(1.2, side * columns))
    panels = drawn.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, shown, row in zip(panels, as_pictures(made.data[chosen], shape, limits), chosen, strict=False):
        show_picture(axes, shown)
        said = f"row {row_numbers[row]}\n{log_evidence[row]:.1f}"
        axes.text(0.5, -0.05, said, transform=axes.transAxes, ha="center", va="top", fontsize=7)
    return drawn


def image_words(log_evidence: Array, row_numbers: Array) -> Words:
    """Describe the images with the lowest log p(x)."""
    chosen = lowest_rows(log_evidence, MOST_IMAGES)
    parts = [f"row {row_numbers[row]} at {nats(log_evidence[row])}" for row in chosen]
    alt = f"The {plural(len(chosen), 'image')} with the lowest log p(x), in nats: " + ", ".join(parts) + "."
    if not len(chosen):
        return Words(alt, NOTHING_KNOWN)
    caption = (
        "Lowest first, with the row number (counted from 0) and log p(x) in nats. Mislabelled, damaged or rare rows "
        f"gather here; the median row has {_median(log_evidence)} nats."
    )
    return Words(alt, caption)


def _median(log_evidence: Array) -> str:
    return nats(float(np.median(finite(log_evidence))))


def robust_scores(data: Array) -> Array:
    """Return how far each cell is from its column's median, in robust standard deviations (1.4826 times the MAD).

    Where over half of a column is one value, the MAD is zero and the plain standard deviation takes its place. Missing
    cells and constant columns score zero.
    """
    scores = np.zeros(data.shape)
    for column in range(data.shape[1]):
        values = np.asarray(data[:, column], dtype=float)
        known = values[np.isfinite(values)]
        if known.size == 0 or np.ptp(known) == 0:
            continue
        scale = 1.4826 * np.median(np.abs(known - np.median(known))) or known.std()
        scores[:, column] = np.nan_to_num((values - np.median(known)) / scale, nan=0.0, posinf=0.0, neginf=0.0)
    return scores


def rows_table(made: Reproduction, log_evidence: Array, row_numbers: Array) -> Markup:
    """Return the rows with the lowest log p(x), with the columns where they stand out most."""
    chosen = lowest_rows(log_evidence, MOST_ROWS)
    if not len(chosen):
        return paragraph(NOTHING_KNOWN)
    scores = robust_scores(made.data)[chosen]
    # In the table's order: the columns where these rows are furthest from the median.
    columns = np.sort(np.argsort(-(np.minimum(np.abs(scores), 20) ** 2).sum(axis=0), kind="stable")[:MOST_COLUMNS])
    head = [heading("Row", number=True), heading("log\u00a0p(x), nats", number=True)]
    head += [heading(label_text(made.names[column], 24), number=True) for column in columns]
    rows = [
        [
            element("th", text(row_numbers[row]), scope="row", class_="number"),
            cell(nats(log_evidence[row]), number=True),
            *_cells(made.data[row, columns], scores[place, columns]),
        ]
        for place, row in enumerate(chosen)
    ]
    caption = _caption(made, log_evidence, len(columns))
    return table(head, rows, caption, class_="lowest", style=f"--columns:{len(columns) + 2}")


def _cells(values: Array, scores: Array) -> list[Markup]:
    furthest = np.arange(len(scores)) == int(np.argmax(np.abs(scores)))
    far = (np.abs(scores) >= FAR) | (furthest & (np.abs(scores) >= NOTABLE))
    return [_cell(*each) for each in zip(values, scores, far, strict=True)]


def _cell(value: float, score: float, far: bool) -> Markup:
    if np.isnan(value):
        return element("td", text("–"), class_="number missing", title="missing")
    shown = text(short(value))
    if not far:
        return element("td", shown, class_="number")
    return element("td", Markup(shown + element("small", text(f"{score:+.1f} sd"))), class_="number far")


def _caption(made: Reproduction, log_evidence: Array, shown: int) -> str:
    caption = (
        f"Lowest first; row numbers count from 0. The median row has {_median(log_evidence)} nats. Marked: cells "
        f"{FAR:g} or more robust standard deviations (1.4826 times the median absolute deviation) from their column's "
        f"median, and the furthest of a row from {NOTABLE:g} on. A row without a marked cell is odd by its combination "
        "of values."
    )
    if np.isnan(made.data).any():
        caption += " A dash is a missing cell."
    columns = len(made.names)
    return caption + (f" {shown} of {columns} columns: where these rows stand out most." if shown < columns else "")


def body(made: Reproduction, log_evidence: Array, row_numbers: Array) -> Markup:
    """Show the rows with the lowest log p(x)."""
    if not made.image_shape:
        return rows_table(made, log_evidence, row_numbers)
    drawn = image_figure(made, log_evidence, row_numbers)
    return picture("lowest-rows", drawn, image_words(log_evidence, row_numbers), dense=True)


def _find(found: Evaluation) -> tuple[Reproduction, Array, Array] | None:
    made = found.reproduction
    by_type = made is None or made.columns is not None
    return None if made is None or by_type else (made, found.evidence.log_evidence, found.row_numbers)


SECTION = Section("lowest", "Rows with the lowest log p(x)", _find, lambda parts: body(*parts))
