"""How columns go together in the data, in the samples, and where these differ."""

from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import plural
from tightbound.evidence.diagnostics.marginals import Associations
from tightbound.report.page import Markup, Section, Words, picture
from tightbound.report.style import (
    DATA,
    DATA_LIGHT,
    INK,
    MODEL,
    WIDTH,
    Array,
    Limits,
    finite,
    label_text,
    middle_text,
    new_figure,
    styled,
)

MOST_WITH_NUMBERS = 8
MOST_NAMED = 3
CLEAR = 0.1
"""Differences below this are not named."""
LEAST_DIFFERENCE = 0.25


@styled
def figure(found: Associations) -> Figure:
    """Draw the associations of data, of samples, and their difference, as three matrices side by side."""
    count, difference = len(found.names), found.samples - found.data
    reach = max(LEAST_DIFFERENCE, float(np.nanmax(np.abs(difference), initial=0)))
    names = [middle_text(name, 16) for name in found.names]
    size = 6.6 if count <= 12 else 5.4
    longest = max(map(len, names)) * size / 110  # inches: a character is about 0.65 of its size wide
    drawn = new_figure(min(1.75, (WIDTH - longest) / 3 - 0.1) + longest + 0.62, width=WIDTH)
    panels = drawn.subplots(1, 3, sharey=True)
    strength, change = _ramp("white", DATA_LIGHT, DATA, "#0f2f4d"), _ramp(DATA, "white", MODEL)
    for axes, matrix, title, ramp, ends in (
        (panels[0], found.data, "data", strength, (0.0, 1.0)),
        (panels[1], found.samples, "samples", strength, (0.0, 1.0)),
        (panels[2], difference, "samples − data", change, (-reach, reach)),
    ):
        image = axes.imshow(np.ma.masked_invalid(matrix), cmap=ramp, vmin=ends[0], vmax=ends[1], aspect="equal")
        axes.set_title(title)
        axes.set_xticks(range(count), names, rotation=90, fontsize=size)
        axes.set_yticks(range(count), names, fontsize=size)
        axes.tick_params(length=0, pad=2)
        axes.spines[:].set_visible(False)
        if count <= MOST_WITH_NUMBERS:
            _write_numbers(axes, matrix, ends)
        bar = drawn.colorbar(image, ax=axes, orientation="horizontal", fraction=0.05, pad=0.02, aspect=24)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.xaxis.set_major_locator(MaxNLocator(4))
        bar.ax.tick_params(labelsize=6)
    return drawn


def _ramp(*colours: str) -> Colormap:
    return LinearSegmentedColormap.from_list("ramp", colours).with_extremes(bad="#eef0f3")


def _write_numbers(axes: Axes, matrix: Array, ends: Limits) -> None:
    for (line, place), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            dark = ends[0] >= 0 and value > 0.55 * ends[1]
            shown = f"{value:.2f}" if ends[0] >= 0 else f"{value:+.2f}"
            axes.text(place, line, shown, ha="center", va="center", fontsize=5.6, color="white" if dark else INK)


def largest_differences(found: Associations) -> list[tuple[str, str, float, float]]:
    """Return up to three pairs whose association differs most, if clearly: names, of the data, of the samples."""
    pairs = [
        (found.names[i], found.names[j], float(found.data[i, j]), float(found.samples[i, j]))
        for i, j in combinations(range(len(found.names)), 2)
    ]
    clear = [pair for pair in pairs if abs(pair[2] - pair[3]) >= CLEAR]
    return sorted(clear, key=lambda pair: -abs(pair[2] - pair[3]))[:MOST_NAMED]


def words(found: Associations) -> Words:
    """Describe the associations of data beside those of samples."""
    known = finite(np.abs(found.samples - found.data)[np.tril_indices(len(found.names), -1)])
    mean = f" Mean absolute difference {known.mean():.2f}." if known.size else ""
    said = "; ".join(
        f"{label_text(a, 30)} and {label_text(b, 30)} {p:.2f} in the data, {q:.2f} in the samples"
        for a, b, p, q in largest_differences(found)
    )
    alt = f"Associations of {plural(len(found.names), 'column')}, data beside samples.{mean}"
    alt += f" Largest differences: {said}." if said else f" No difference above {CLEAR}."
    caption = (
        "How strongly two columns go together, between 0 and 1: the absolute correlation of two numbers, Cramér's V of "
        "two levels, the correlation ratio of a number and a level (the last two corrected for the number of levels: "
        "columns that have nothing to do with each other give about 0). Right: blue is association that samples have "
        "lost, orange what the data do not have; grey is not measured."
    )
    caption += f" Largest differences: {said}." if said else f" No two columns differ by more than {CLEAR}."
    if len(found.names) < found.n_columns:
        caption += f" {len(found.names)} of {found.n_columns} columns: those with the most association."
    return Words(alt, caption)


def body(found: Associations) -> Markup:
    """Show the associations."""
    return picture("associations", figure(found), words(found), dense=True)


SECTION = Section[Evaluation, Associations](
    "associations", "Associations between columns", lambda found: found.columns and found.columns.associations, body
)
