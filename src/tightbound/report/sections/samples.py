"""Samples beside data: grids of images, or a pair plot of columns of numbers."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import plural, short
from tightbound.estimator.reproduction import Reproduction
from tightbound.evidence.diagnostics.marginals import correlation
from tightbound.evidence.rows import spread_out
from tightbound.report.page import Markup, Section, Words, picture
from tightbound.report.style import (
    DATA,
    DATA_LIGHT,
    MODEL,
    WIDTH,
    Array,
    Limits,
    as_pictures,
    bins,
    count_outside,
    finite,
    grid,
    intensity_range,
    label_text,
    mean_and_spread,
    missing_pixels,
    mosaic,
    new_figure,
    show_picture,
    styled,
    telling_columns,
    view_limits,
    which_columns,
)

MOST_IMAGES = 64
MOST_PAIRED = 5
MOST_POINTS = 1500


@styled
def image_figure(made: Reproduction) -> Figure:
    """Draw a grid of data beside a grid of samples from the model, in one scale of intensity."""
    shape, limits = made.image_shape or (), intensity_range(made.data)
    data = made.data[spread_out(len(made.data), MOST_IMAGES)]
    samples = made.samples[:MOST_IMAGES]
    columns = max(1, int(np.ceil(np.sqrt(max(len(data), len(samples))))))
    sheets = [mosaic(as_pictures(rows, shape, limits), columns) for rows in (data, samples) if len(rows)]
    side = WIDTH / 2 - 0.1 if columns > 3 else 1.0 * columns
    tallest = max(sheet.shape[0] / sheet.shape[1] for sheet in sheets)
    drawn = new_figure(min(8.0, side * tallest + 0.3), width=2 * side + 0.2)
    panels = drawn.subplots(1, 2, squeeze=False)[0]
    for axes, sheet, name, colour in zip(panels, sheets, ("data", "samples"), (DATA, MODEL), strict=False):
        axes.set_title(name, color=colour, loc="left", fontweight="bold")
        show_picture(axes, sheet)
        axes.set_anchor("NW")
    for axes in panels[len(sheets) :]:
        axes.set_axis_off()
    return drawn


def image_words(made: Reproduction) -> Words:
    """Describe images of the data beside samples."""
    low, high = intensity_range(made.data)
    rows, drawn = min(len(made.data), MOST_IMAGES), min(len(made.samples), MOST_IMAGES)
    alt = (
        f"{plural(rows, 'image')} of the data beside {plural(drawn, 'sample')} from the model. Mean and standard "
        f"deviation of the values: {mean_and_spread(made.data)} in the data, {mean_and_spread(made.samples)} "
        "in the samples."
    )
    caption = (
        "Left: rows of the data; right: draws from the model, not chosen. They should look like one collection: blur, "
        "noise or shapes that the data do not have show what the model has not learnt. "
        f"One scale for both: black is {short(low)}, white is {short(high)}, values beyond are clipped."
    )
    return Words(alt, caption + missing_pixels(made.data))


@styled
def pair_figure(made: Reproduction) -> Figure:
    """Draw a pair plot: data and samples overlaid, histograms on the diagonal, correlations above it."""
    chosen = telling_columns(made.data, MOST_PAIRED)
    data, samples, names = made.data[:, chosen], made.samples[:, chosen], [made.names[column] for column in chosen]
    count = len(chosen)
    limits = [view_limits(data[:, column], samples[:, column]) for column in range(count)]
    if count == 1:
        return _one_column(data[:, 0], samples[:, 0], names[0], limits[0])
    side = min(WIDTH, 2.2 + 1.0 * count)
    drawn = new_figure(side * 0.92 + 0.3, width=side)
    panels = drawn.subplots(count, count, squeeze=False, sharex="col")
    for line in range(count):
        for place in range(count):
            axes, pair = panels[line, place], [place, line]
            if line == place:
                _marginal(axes, data[:, line], samples[:, line], limits[line])
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
            elif line > place:
                _overlaid(axes, data[:, pair], samples[:, pair], (limits[place], limits[line]))
            else:
                _correlations(axes, data[:, pair], samples[:, pair])
    _name_edges(panels, [label_text(name) for name in names])
    drawn.align_ylabels(panels[:, 0])
    drawn.legend(handles=_handles(), loc="outside upper right", ncols=2)
    return drawn


def _one_column(data: Array, samples: Array, name: str, limits: Limits) -> Figure:
    drawn = new_figure(2.6, width=5.0)
    axes = drawn.add_subplot()
    _marginal(axes, data, samples, limits)
    axes.set(xlabel=label_text(name, longest=40), ylabel="density")
    axes.legend(handles=_handles())
    grid(axes)
    return drawn


def _handles() -> list[Line2D]:
    return [
        Line2D([], [], marker="o", linestyle="none", markersize=4, color=colour, label=name)
        for colour, name in ((DATA, "data"), (MODEL, "samples from the model"))
    ]


def _marginal(axes: Axes, data: Array, samples: Array, limits: Limits) -> None:
    """Draw both histograms as densities over the same bins."""
    edges = bins(limits, int(np.isfinite(data).sum()), most=30)
    filled: dict[str, Any] = {"histtype": "stepfilled", "color": DATA_LIGHT}
    line: dict[str, Any] = {"histtype": "step", "color": MODEL, "linewidth": 1.2}
    for values, options in ((data, filled), (samples, line)):
        inside = values[(values >= limits[0]) & (values <= limits[1])]
        if inside.size:
            axes.hist(inside, bins=edges, density=True, **options)
    axes.set_xlim(*limits)


def _overlaid(axes: Axes, data: Array, samples: Array, limits: tuple[Limits, Limits]) -> None:
    """Scatter data and samples, (n, 2), in mixed order, so that neither hides the other."""
    data, samples = (rows[spread_out(len(rows), MOST_POINTS)] for rows in (data, samples))
    points = np.concatenate([data, samples])
    colours = np.array([DATA] * len(data) + [MODEL] * len(samples))
    mixed = np.random.default_rng(0).permutation(len(points))
    size = 7 if len(points) < 400 else 3
    axes.scatter(points[mixed, 0], points[mixed, 1], c=colours[mixed], s=size, alpha=0.55, linewidths=0)
    axes.set(xlim=limits[0], ylim=limits[1])


def _correlations(axes: Axes, data: Array, samples: Array) -> None:
    axes.set_axis_off()
    for values, colour, height in ((data, DATA, 0.62), (samples, MODEL, 0.40)):
        found = correlation(values[:, 0], values[:, 1])
        text = "–" if np.isnan(found) else f"{found:+.2f}"
        axes.text(0.5, height, text, transform=axes.transAxes, ha="center", va="center", color=colour, fontsize=9)


def _name_edges(panels: Array, names: list[str]) -> None:
    """Write column names and tick labels at the left and the bottom only."""
    for (line, place), axes in np.ndenumerate(panels):
        axes.set(xlabel=names[place], ylabel=names[line])
        axes.xaxis.set_major_locator(MaxNLocator(3))
        if line != place:
            axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.tick_params(labelsize=6.5)
        axes.label_outer()


def pair_words(made: Reproduction) -> Words:
    """Describe the pair plot."""
    chosen = telling_columns(made.data, MOST_PAIRED)
    data, samples = made.data[:, chosen], made.samples[:, chosen]
    parts = [
        f"{made.names[column]}: data {mean_and_spread(data[:, place])}, samples {mean_and_spread(samples[:, place])}"
        for place, column in enumerate(chosen)
    ]
    kind = "Histograms" if len(chosen) == 1 else "Pair plot"
    alt = f"{kind} of data and samples (mean and standard deviation): " + "; ".join(parts) + "."
    caption = which_columns(len(made.names), len(chosen)) + (
        "Blue is data, orange is samples from the model: the clouds should cover each other and the histograms agree."
    )
    if len(chosen) > 1:
        alt += f" Largest difference between correlations of data and samples: {_worst_correlation(data, samples)}."
        caption += " Above the diagonal: the correlation of the two columns, in the data and in the samples."
    outside = 0
    for first, second in zip(data.T, samples.T, strict=True):
        limits = view_limits(first, second)
        outside += count_outside(first, limits) + count_outside(second, limits)
    return Words(alt, caption + (f" {plural(outside, 'value')} far out not shown." if outside else ""))


def _worst_correlation(data: Array, samples: Array) -> str:
    pairs = [(i, j) for i in range(data.shape[1]) for j in range(i)]
    apart = [abs(correlation(data[:, i], data[:, j]) - correlation(samples[:, i], samples[:, j])) for i, j in pairs]
    known = finite(np.array(apart))
    return f"{known.max():.2f}" if known.size else "not defined"


def body(made: Reproduction) -> Markup:
    """Show samples beside data."""
    if made.image_shape:
        return picture("samples", image_figure(made), image_words(made), dense=True)
    return picture("samples", pair_figure(made), pair_words(made), dense=len(made.names) > 1)


def numbers_of(found: Evaluation) -> Reproduction | None:
    """Return the columns whose values can be plotted against each other, where there are any."""
    made = None if found.reproduction is None else found.reproduction.numbers_only()
    return made if made is not None and made.names else None


SECTION = Section("samples", "Samples beside data", numbers_of, body)
