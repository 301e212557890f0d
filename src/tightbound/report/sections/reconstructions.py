"""Rows beside what the model makes of their codes: images above each other, or value against reconstruction."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tightbound.estimator.formatting import plural, short
from tightbound.estimator.reproduction import Reproduction
from tightbound.evidence.rows import spread_out
from tightbound.report.page import Markup, Section, Words, picture
from tightbound.report.sections.samples import numbers_of
from tightbound.report.style import (
    DATA,
    MODEL,
    MUTED,
    WIDTH,
    Array,
    as_pictures,
    finite,
    intensity_range,
    label_text,
    missing_pixels,
    mosaic,
    new_figure,
    show_picture,
    styled,
    telling_columns,
    view_limits,
    which_columns,
)

MOST_IMAGES = 24
MOST_COLUMNS = 6
MOST_POINTS = 1500


def r_squared(values: Array, reconstruction: Array) -> float:
    """Return the share of a column's variance that the reconstruction keeps, 1 - SSE / SST; NaN when it is constant."""
    both = np.isfinite(values) & np.isfinite(reconstruction)
    if both.sum() < 2:
        return float("nan")
    total = float(np.sum((values[both] - values[both].mean()) ** 2))
    return 1 - float(np.sum((values[both] - reconstruction[both]) ** 2)) / total if total > 0 else float("nan")


@styled
def image_figure(made: Reproduction) -> Figure:
    """Draw rows of data, each over its reconstruction, in one scale of intensity."""
    shape, limits = made.image_shape or (), intensity_range(made.data)
    chosen = spread_out(len(made.data), MOST_IMAGES)
    columns = min(12, len(chosen))
    blocks = [chosen[start : start + columns] for start in range(0, len(chosen), columns)]
    width = min(WIDTH, 1.6 + 0.8 * columns)
    height = len(blocks) * (2.1 * (width - 1.2) / columns * shape[0] / shape[1] + 0.15)
    drawn = new_figure(min(9.0, height), width=width)
    for axes, block in zip(drawn.subplots(len(blocks), 1, squeeze=False)[:, 0], blocks, strict=True):
        pairs = np.ones((2, columns, shape[0], shape[1], 3))
        pairs[0, : len(block)] = as_pictures(made.data[block], shape, limits)
        pairs[1, : len(block)] = as_pictures(made.reconstructions[block], shape, limits)
        show_picture(axes, mosaic(pairs.reshape(-1, *pairs.shape[2:]), columns))
        axes.set_anchor("E")
        for name, colour, middle in (("data", DATA, 0.75), ("reconstruction", MODEL, 0.25)):
            axes.text(-0.01, middle, name, transform=axes.transAxes, ha="right", va="center", color=colour)
    return drawn


def image_words(made: Reproduction) -> Words:
    """Describe images above their reconstructions."""
    error = float(np.sqrt(np.mean(finite((made.data - made.reconstructions) ** 2))))
    alt = (
        f"{plural(min(len(made.data), MOST_IMAGES), 'image')} of the data, each above its "
        f"reconstruction. Root mean squared error {short(error)} over all {plural(len(made.data), 'row')}; "
        f"the data's standard deviation is {short(float(finite(made.data).std()))}."
    )
    caption = "Each image of the data above what the model makes of its code: what the code keeps, and what it loses."
    return Words(alt, caption + missing_pixels(made.data))


@styled
def column_figure(made: Reproduction) -> Figure:
    """Scatter each of up to six columns against its reconstruction, with r^2."""
    chosen = telling_columns(made.data, MOST_COLUMNS)
    columns = min(3, len(chosen))
    lines = -(-len(chosen) // columns)
    side = WIDTH / 3
    drawn = new_figure(lines * side * 1.02, width=max(2.6, columns * side))
    panels = drawn.subplots(lines, columns, squeeze=False).ravel()
    for axes, column in zip(panels, chosen, strict=False):
        _against(axes, made.data[:, column], made.reconstructions[:, column])
        axes.set_title(label_text(made.names[column], longest=24), loc="left")
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(chosen) - columns) : len(chosen)]:
        axes.set_xlabel("value")
    for axes in panels[: len(chosen) : columns]:
        axes.set_ylabel("reconstruction")
    return drawn


def _against(axes: Axes, values: Array, reconstruction: Array) -> None:
    known = np.isfinite(values)
    limits = view_limits(values, reconstruction[known])
    axes.plot(limits, limits, color=MUTED, linewidth=0.8, zorder=0)
    chosen = np.flatnonzero(known)
    chosen = chosen[spread_out(len(chosen), MOST_POINTS)]
    size = 8 if len(chosen) < 400 else 3
    axes.scatter(values[chosen], reconstruction[chosen], s=size, color=DATA, alpha=0.5, linewidths=0)
    kept = r_squared(values, reconstruction)
    text = "constant" if np.isnan(kept) else f"r² = {kept:.3f}"
    axes.text(0.04, 0.96, text, transform=axes.transAxes, ha="left", va="top")
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def column_words(made: Reproduction) -> Words:
    """Describe values against their reconstructions."""
    kept = np.array([r_squared(*pair) for pair in zip(made.data.T, made.reconstructions.T, strict=True)])
    chosen = telling_columns(made.data, MOST_COLUMNS)
    parts = [f"{made.names[j]}: {'constant' if np.isnan(kept[j]) else f'{kept[j]:.3f}'}" for j in chosen]
    alt = "Value against reconstruction, with r squared: " + "; ".join(parts) + "."
    caption = which_columns(len(kept), len(chosen)) + (
        "On the grey line a value is reconstructed exactly. r² is the share of a column's variance that passes through "
        "the code; a column near 0 is treated as noise"
    )
    known = finite(kept)
    if known.size:
        caption += f" (median r² over all {plural(len(kept), 'column')}: {np.median(known):.3f})"
    return Words(alt, caption + ". Missing cells have no value to compare with and are left out.")


def body(made: Reproduction) -> Markup:
    """Show rows beside their reconstructions."""
    draw, tell = (image_figure, image_words) if made.image_shape else (column_figure, column_words)
    return picture("reconstructions", draw(made), tell(made), dense=True)


SECTION = Section("reconstructions", "Reconstructions", numbers_of, body)
