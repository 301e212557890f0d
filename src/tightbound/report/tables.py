"""Figures for rows of a table: a pair plot of data against samples, and values against their reconstructions."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tightbound.report.choose import bins, correlation, r_squared, spread_out, telling_columns, view_limits
from tightbound.report.content import Array, ReportContent
from tightbound.report.style import DATA, DATA_LIGHT, MODEL, MUTED, WIDTH, grid, label_text, new_figure, styled

MOST_PAIRED = 5
MOST_RECONSTRUCTED = 6
MOST_POINTS = 1500

Limits = tuple[float, float]


@styled
def table_samples(content: ReportContent) -> Figure:
    """Draw a pair plot: data and samples overlaid, histograms on the diagonal, correlations above it."""
    chosen = telling_columns(content.data, MOST_PAIRED)
    count = len(chosen)
    limits = [view_limits(content.data[:, column], content.samples[:, column]) for column in chosen]
    if count == 1:
        return _one_column(content, int(chosen[0]), limits[0])
    side = min(WIDTH, 2.2 + 1.0 * count)
    figure = new_figure(side * 0.92 + 0.3, width=side)
    panels = figure.subplots(count, count, squeeze=False, sharex="col")
    for line, first in enumerate(chosen):
        for place, second in enumerate(chosen):
            axes = panels[line, place]
            if line == place:
                _marginal(axes, content.data[:, first], content.samples[:, first], limits[line])
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
            elif line > place:
                _overlaid(axes, content, (int(second), int(first)), (limits[place], limits[line]))
            else:
                _correlations(axes, content, (int(second), int(first)))
    _name_edges(panels, [label_text(content.names[column]) for column in chosen])
    figure.align_ylabels(panels[:, 0])
    figure.legend(handles=_handles(), loc="outside upper right", ncols=2)
    return figure


def _one_column(content: ReportContent, column: int, limits: Limits) -> Figure:
    figure = new_figure(2.6, width=5.0)
    axes = figure.add_subplot()
    _marginal(axes, content.data[:, column], content.samples[:, column], limits)
    axes.set_xlabel(label_text(content.names[column], longest=40))
    axes.set_ylabel("density")
    axes.legend(handles=_handles())
    grid(axes)
    return figure


def _handles() -> list[Line2D]:
    return [
        Line2D([], [], marker="o", linestyle="none", markersize=4, color=colour, label=name)
        for colour, name in ((DATA, "data"), (MODEL, "samples from the model"))
    ]


def _marginal(axes: Axes, data: Array, samples: Array, limits: Limits) -> None:
    """Draw both histograms as densities over the same bins."""
    edges = bins(limits, int(np.isfinite(data).sum()), most=30)
    for values, options in (
        (data, {"histtype": "stepfilled", "color": DATA_LIGHT}),
        (samples, {"histtype": "step", "color": MODEL, "linewidth": 1.2}),
    ):
        inside = values[(values >= limits[0]) & (values <= limits[1])]
        if inside.size:
            axes.hist(inside, bins=edges, density=True, **options)
    axes.set_xlim(*limits)


def _overlaid(axes: Axes, content: ReportContent, columns: tuple[int, int], limits: tuple[Limits, Limits]) -> None:
    """Scatter data and samples in mixed order, so that neither hides the other."""
    data = content.data[spread_out(len(content.data), MOST_POINTS)][:, columns]
    samples = content.samples[spread_out(len(content.samples), MOST_POINTS)][:, columns]
    points = np.concatenate([data, samples])
    colours = np.array([DATA] * len(data) + [MODEL] * len(samples))
    mixed = np.random.default_rng(0).permutation(len(points))
    size = 7 if len(points) < 400 else 3
    axes.scatter(points[mixed, 0], points[mixed, 1], c=colours[mixed], s=size, alpha=0.55, linewidths=0)
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])


def _correlations(axes: Axes, content: ReportContent, columns: tuple[int, int]) -> None:
    axes.set_axis_off()
    for values, colour, height in ((content.data, DATA, 0.62), (content.samples, MODEL, 0.40)):
        found = correlation(values[:, columns[0]], values[:, columns[1]])
        text = "–" if np.isnan(found) else f"{found:+.2f}"
        axes.text(0.5, height, text, transform=axes.transAxes, ha="center", va="center", color=colour, fontsize=9)


def _name_edges(panels: Array, names: list[str]) -> None:
    """Write column names and tick labels at the left and the bottom only."""
    last = len(names) - 1
    for line in range(len(names)):
        for place in range(line + 1):
            axes = panels[line, place]
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.tick_params(labelbottom=line == last, labelleft=place == 0 and line > 0, labelsize=6.5)
            if line != place:
                axes.yaxis.set_major_locator(MaxNLocator(3))
    for position, name in enumerate(names):
        panels[last, position].set_xlabel(name)
        panels[position, 0].set_ylabel(name)


@styled
def table_reconstructions(content: ReportContent) -> Figure:
    """Scatter each of up to six columns against its reconstruction, with r^2."""
    chosen = telling_columns(content.data, MOST_RECONSTRUCTED)
    columns = min(3, len(chosen))
    lines = -(-len(chosen) // columns)
    side = WIDTH / 3
    figure = new_figure(lines * side * 1.02, width=max(2.6, columns * side))
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, column in zip(panels, chosen, strict=False):
        _against(axes, content.data[:, column], content.reconstructions[:, column])
        axes.set_title(label_text(content.names[column], longest=24), loc="left")
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(chosen) - columns) : len(chosen)]:
        axes.set_xlabel("value")
    for axes in panels[: len(chosen) : columns]:
        axes.set_ylabel("reconstruction")
    return figure


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
