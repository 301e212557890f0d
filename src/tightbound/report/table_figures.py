"""Figures for a table of several kinds of columns: marginals, associations, missing cells, closest rows."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tightbound.report.choose import bins, finite, view_limits
from tightbound.report.content import ReportContent
from tightbound.report.diagnostics import Array
from tightbound.report.style import (
    DATA,
    DATA_LIGHT,
    INK,
    MODEL,
    MUTED,
    RULE,
    WIDTH,
    grid,
    label_text,
    new_figure,
    styled,
)
from tightbound.report.table_content import AssociationContent, ColumnContent, CopiesContent
from tightbound.report.table_numbers import Patterns, missing_patterns, shares

MOST_LEVELS = 12
MOST_MISSING = 20
MOST_PATTERNS = 10
MOST_WITH_NUMBERS = 8
PANEL = 3.0  # inches: the width of one marginal
_NAMES = 1.12  # inches of it for the names of levels
_DATES = (-719162, 2932896)  # days from 1970 of the years 1 and 9999
LEAST_DIFFERENCE = 0.25
_PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g}%")


def level_shares(column: ColumnContent, data: Array, samples: Array) -> tuple[list[str], Array, Array]:
    """Return names and shares, of data and of samples, of the most frequent levels and of all others together.

    Ordinal levels stand in their order, others by their share of the data.
    """
    count = len(column.levels)
    of_data, of_samples = shares(data, count), shares(samples, count)
    order = np.argsort(-of_data, kind="stable")[:MOST_LEVELS]
    if column.kind == "ordinal":
        order = np.sort(order)
    names = [column.levels[k] for k in order]
    if count <= MOST_LEVELS:
        return names, of_data[order], of_samples[order]
    rest = np.setdiff1d(np.arange(count), order)
    tails = [np.append(each[order], each[rest].sum()) for each in (of_data, of_samples)]
    return [*names, f"({count - MOST_LEVELS} others)"], tails[0], tails[1]


@styled
def marginal(column: ColumnContent, data: Array, samples: Array) -> Figure:
    """Draw one column's marginal, data and samples over each other: bars of levels, or a histogram."""
    return _level_bars(column, data, samples) if column.levels else _histogram(column, data, samples)


def _panel(height: float) -> Figure:
    """Return a figure whose axes stand where they are put, so that those of all columns line up."""
    figure = new_figure(height, width=PANEL)
    figure.set_layout_engine("none")
    return figure


def _level_bars(column: ColumnContent, data: Array, samples: Array) -> Figure:
    names, of_data, of_samples = level_shares(column, data, samples)
    places = np.arange(len(names))
    height = 0.08 + 0.155 * len(names)
    figure = _panel(height)
    axes = figure.add_axes((_NAMES / PANEL, 0.02 / height, (PANEL - _NAMES - 0.72) / PANEL, 1 - 0.04 / height))
    axes.barh(places, of_data, height=0.78, color=DATA_LIGHT)
    axes.barh(places, of_samples, height=0.78, facecolor="none", edgecolor=MODEL, linewidth=0.9)
    axes.set(ylim=(len(names) - 0.45, -0.55), xlim=(0, 1.02 * max(of_data.max(), of_samples.max(), 1e-3)))
    axes.set_yticks(places, [label_text(name, 19) or "(empty)" for name in names], fontsize=6.3)
    axes.tick_params(length=0, pad=2)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    for place, (first, second) in enumerate(zip(of_data, of_samples, strict=True)):
        for at, share, colour in ((0.42, first, DATA), (0.02, second, MODEL)):
            edge = 1 - at / PANEL
            figure_y = axes.transData.transform((0, place))[1] / figure.bbox.height
            figure.text(edge, figure_y, _share(share), ha="right", va="center", fontsize=6.0, color=colour)
    return figure


def _share(share: float) -> str:
    if 0 < share < 0.001:
        return "< 0.1%"
    return f"{100 * share:.1f}%" if share < 0.0995 else f"{100 * share:.0f}%"


def _histogram(column: ColumnContent, data: Array, samples: Array) -> Figure:
    figure = _panel(0.82)
    axes = figure.add_axes((0.04, 0.25, 0.92, 0.72))
    limits = view_limits(data, samples)
    edges = _edges(data, limits)
    for values, options in (
        (data, {"histtype": "stepfilled", "color": DATA_LIGHT}),
        (samples, {"histtype": "step", "color": MODEL, "linewidth": 1.0}),
    ):
        inside = values[(values >= edges[0]) & (values <= edges[-1])]
        if inside.size:
            axes.hist(inside, bins=edges, density=True, **options)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=6.3, pad=1.5)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    if column.kind == "datetime" and _DATES[0] < limits[0] and limits[1] < _DATES[1]:
        axes.set_xticks(*date_ticks(edges[0], edges[-1]))
    return figure


def date_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Return up to five days since 1970-01-01, and how to write them: firsts of years or of months, or plain days."""
    if high - low < 62:
        days = [float(day) for day in MaxNLocator(4, integer=True).tick_values(low, high) if low <= day <= high]
        return days, [str(np.datetime64(int(day), "D")) for day in days]
    ends = np.array([np.floor(low), np.ceil(high)]).astype(int).astype("datetime64[D]")
    for unit, step in (("M", 1), ("M", 3), ("M", 6), *(("Y", step) for step in (1, 2, 5, 10, 20, 50, 100, 200, 500))):
        first, last = ends.astype(f"datetime64[{unit}]").astype(int)
        counted = np.arange(first, last + 1)
        firsts = counted[(counted + 1970 * (unit == "Y")) % step == 0].astype(f"datetime64[{unit}]")
        at = firsts.astype("datetime64[D]").astype(float)
        inside = (at >= low) & (at <= high)
        if inside.sum() <= 5:
            return at[inside].tolist(), [str(first) for first in firsts[inside]]
    return [], []


def _edges(data: Array, limits: tuple[float, float]) -> list[float]:
    """Return the edges of bins: one bin for each whole number where there are few."""
    known = finite(data)
    if known.size and limits[1] - limits[0] < 41 and (known == np.rint(known)).all():
        low, high = np.ceil(limits[0]), np.floor(limits[1])
        return [float(edge) for edge in np.arange(low - 0.5, high + 1)]
    return bins(limits, known.size, most=40)


def _short_name(name: str, longest: int) -> str:
    """Return a column's name shortened in its middle: long names differ at their ends as often as not."""
    line = label_text(name, 10_000)
    return line if len(line) <= longest else f"{line[: longest - 7]}…{line[-6:]}"


def _ramp(*colours: str) -> Colormap:
    return LinearSegmentedColormap.from_list("ramp", colours).with_extremes(bad="#eef0f3")


@styled
def associations(content: AssociationContent) -> Figure:
    """Draw the associations of data, of samples, and their difference, as three matrices side by side."""
    count, difference = len(content.names), content.samples - content.data
    reach = max(LEAST_DIFFERENCE, float(np.nanmax(np.abs(difference), initial=0)))
    names = [_short_name(name, 16) for name in content.names]
    size = 6.6 if count <= 12 else 5.4
    longest = max(map(len, names)) * size / 110  # inches: a character is about 0.65 of its size wide
    figure = new_figure(min(1.75, (WIDTH - longest) / 3 - 0.1) + longest + 0.62, width=WIDTH)
    panels = figure.subplots(1, 3, sharey=True)
    strength, change = _ramp("white", DATA_LIGHT, DATA, "#0f2f4d"), _ramp(DATA, "white", MODEL)
    for axes, matrix, title, ramp, ends in (
        (panels[0], content.data, "data", strength, (0.0, 1.0)),
        (panels[1], content.samples, "samples", strength, (0.0, 1.0)),
        (panels[2], difference, "samples − data", change, (-reach, reach)),
    ):
        drawn = axes.imshow(np.ma.masked_invalid(matrix), cmap=ramp, vmin=ends[0], vmax=ends[1], aspect="equal")
        axes.set_title(title)
        axes.set_xticks(range(count), names, rotation=90, fontsize=size)
        axes.set_yticks(range(count), names, fontsize=size)
        axes.tick_params(length=0, pad=2)
        for spine in axes.spines.values():
            spine.set_visible(False)
        if count <= MOST_WITH_NUMBERS:
            _write_numbers(axes, matrix, ends)
        bar = figure.colorbar(drawn, ax=axes, orientation="horizontal", fraction=0.05, pad=0.02, aspect=24)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.xaxis.set_major_locator(MaxNLocator(4))
        bar.ax.tick_params(labelsize=6)
    return figure


def _write_numbers(axes: Axes, matrix: Array, ends: tuple[float, float]) -> None:
    for (line, place), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            dark = ends[0] >= 0 and value > 0.55 * ends[1]
            shown = f"{value:.2f}" if ends[0] >= 0 else f"{value:+.2f}"
            axes.text(place, line, shown, ha="center", va="center", fontsize=5.6, color="white" if dark else INK)


@styled
def missing(content: ReportContent) -> Figure:
    """Draw the share of missing cells by column, above the most frequent patterns."""
    found = missing_patterns(content.data, MOST_MISSING, MOST_PATTERNS)
    count, lines = len(found.columns), len(found.counts)
    names = [_short_name(content.names[j], 20) for j in found.columns]
    longest = max(map(len, names))
    width = min(WIDTH, 1.6 + 0.45 * count)
    figure = new_figure(1.35 + 0.2 * lines + 0.055 * longest, width=width)
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1.0, 0.2 * lines + 0.05]})
    top.bar(range(count), found.share, color=MODEL, width=0.62)
    for place, share in enumerate(found.share):
        top.text(place, share, f"{_share(share)}", ha="center", va="bottom", fontsize=6)
    top.set_ylim(0, min(1.0, float(found.share.max()) * 1.18))
    top.yaxis.set_major_locator(MaxNLocator(3))
    top.yaxis.set_major_formatter(_PERCENT)
    top.set_ylabel("missing")
    top.tick_params(axis="x", length=0)
    grid(top)
    _pattern_dots(bottom, found, len(content.data))
    bottom.set_xticks(range(count), names, rotation=90 if count > 4 or longest > 9 else 0, fontsize=6.6)
    bottom.set_xlim(-0.7, count - 0.3)
    return figure


def _pattern_dots(axes: Axes, found: Patterns, rows: int) -> None:
    """Draw a line of dots for each pattern: filled where the cell is missing."""
    for line, pattern in enumerate(found.patterns):
        places = np.arange(len(pattern))
        axes.scatter(places[~pattern], np.full(int((~pattern).sum()), line), s=26, color=RULE, linewidths=0)
        axes.scatter(places[pattern], np.full(int(pattern.sum()), line), s=26, color=MODEL, linewidths=0)
    words = [f"{n:,} rows, {_share(n / rows)}" if n != 1 else f"1 row, {_share(1 / rows)}" for n in found.counts]
    axes.set_yticks(range(len(words)), words, fontsize=6.6)
    axes.set_ylim(len(words) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)


@styled
def closest_rows(content: CopiesContent) -> Figure:
    """Draw the distances of samples, and of data rows, to the closest (other) row of the data."""
    figure = new_figure(2.3, width=5.2)
    axes = figure.add_subplot()
    high = float(np.quantile(np.concatenate([content.of_data, content.of_samples]), 0.99)) or 0.01
    edges = np.linspace(0, 1.02 * high, 41)
    for values, options in (
        (content.of_data, {"histtype": "stepfilled", "color": DATA_LIGHT}),
        (content.of_samples, {"histtype": "step", "color": MODEL, "linewidth": 1.2}),
    ):
        weights = np.full(len(values), 1 / len(values))
        axes.hist(values, bins=edges.tolist(), weights=weights, **options)  # type: ignore[arg-type]
    for values, colour in ((content.of_data, DATA), (content.of_samples, MODEL)):
        axes.axvline(float(np.median(values)), color=colour, linewidth=1.0, linestyle=(0, (4, 2)))
    axes.set(xlim=(0, edges[-1]), xlabel="distance to the closest row of the data", ylabel="share of rows")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(_PERCENT)
    axes.legend(
        handles=[
            Patch(color=DATA_LIGHT, label="rows of the data (to others)"),
            Line2D([], [], color=MODEL, label="samples"),
            Line2D([], [], color=MUTED, linewidth=1.0, linestyle=(0, (4, 2)), label="medians"),
        ]
    )
    grid(axes)
    return figure
