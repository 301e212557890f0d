"""Figures of models against each other: differences of mean log p(x) with their errors, and row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tightbound.report.choose import bins, finite, view_limits
from tightbound.report.diagnostics import Array, BaselineContent, ComparisonContent
from tightbound.report.numbers import signed
from tightbound.report.style import DATA, DATA_LIGHT, INK, MODEL, MUTED, WIDTH, grid, label_text, new_figure, styled

MOST_HISTOGRAMS = 9


@dataclass(frozen=True)
class Line:
    """One line of a forest plot; the model that the others are compared with is the reference."""

    name: str
    difference: float
    error: float | None
    reference: bool


def forest_limits(lines: Sequence[Line]) -> tuple[float, float]:
    """Return limits that show zero and nearly all differences, whole whiskers included."""
    values = [0.0]
    for line in lines:
        error = line.error if line.error is not None and np.isfinite(line.error) else 0.0
        values += [line.difference - 2 * error, line.difference + 2 * error]
    known = np.sort(np.abs(finite(np.array(values))))
    usual = known[: max(1, int(0.8 * known.size))].max(initial=0.0)
    reach = 8 * max(usual, float(np.median(known)))
    kept = np.array([value for value in finite(np.array(values)) if reach == 0 or abs(value) <= reach])
    low, high = float(min(kept.min(), 0.0)), float(max(kept.max(), 0.0))
    margin = 0.06 * (high - low) or 0.05
    return low - margin, high + margin


def draw_forest(axes: Axes, lines: Sequence[Line], reference: str) -> None:
    """Draw a dot and two standard errors either side for each line, its figures to the right; far ones as arrows."""
    limits = forest_limits(lines)
    for place, line in enumerate(lines):
        colour = INK if line.reference else DATA if line.difference <= 0 else MODEL
        said = "reference" if line.reference else signed(line.difference, line.error).replace("-", "−")
        axes.text(1.02, place, said, transform=axes.get_yaxis_transform(), va="center", ha="left", fontsize=7)
        if np.isnan(line.difference):
            continue
        if not limits[0] <= line.difference <= limits[1]:
            left = line.difference < limits[0]
            edge = limits[0 if left else 1] + (0.02 if left else -0.02) * (limits[1] - limits[0])
            axes.plot(edge, place, "<" if left else ">", color=colour, markersize=6)
            continue
        error = line.error if line.error is not None and np.isfinite(line.error) else 0.0
        marker = "D" if line.reference else "o"
        axes.errorbar(
            line.difference,
            place,
            xerr=2 * error if error else None,
            fmt=marker,
            color=colour,
            markersize=4.5,
            capsize=2,
        )
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
    axes.set_yticks(range(len(lines)), [label_text(line.name, 26) for line in lines])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(len(lines), 1) - 0.5, -0.5)
    axes.set_xlim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(f"mean log p(x) minus that of {label_text(reference, 30)}, nats a row")
    axes.spines["left"].set_visible(False)
    grid(axes, "x")


def baseline_lines(content: BaselineContent) -> list[Line]:
    """Return the ranking as lines, in its order."""
    return [
        Line(row.name, row.difference, None if row.is_model else row.difference_standard_error, row.is_model)
        for row in content.ranking
    ]


@styled
def baselines(content: BaselineContent) -> Figure:
    """Draw how far simple models are above or below the fitted one."""
    lines = baseline_lines(content)
    figure = new_figure(0.65 + 0.26 * max(2, len(lines)))
    reference = next((line.name for line in lines if line.reference), "the fitted model")
    draw_forest(figure.add_subplot(), lines, reference)
    return figure


def comparison_order(content: ComparisonContent) -> list[int]:
    """Return the positions of the models, best first, unknown ones last."""
    difference = np.asarray(content.difference, dtype=float)
    order = np.argsort(np.where(np.isnan(difference), np.inf, -difference), kind="stable")
    return [content.best, *(int(place) for place in order if place != content.best)]


def comparison_lines(content: ComparisonContent) -> list[Line]:
    """Return the models as lines, best first."""
    return [
        Line(
            content.names[place],
            float(content.difference[place]),
            None if place == content.best else float(content.difference_standard_error[place]),
            place == content.best,
        )
        for place in comparison_order(content)
    ]


def shown_differences(content: ComparisonContent) -> list[tuple[str, Array]]:
    """Return name and finite per-row differences of the models to draw: the closest to the best first."""
    others = content.others()
    order = comparison_order(content)[1 : MOST_HISTOGRAMS + 1]
    return [(content.names[place], finite(content.row_differences[others.index(place)])) for place in order]


def _panels(shown: int) -> tuple[int, int]:
    """Return lines and columns of the histograms."""
    columns = min(3, max(1, shown))
    return -(-shown // columns), columns


def _heights(content: ComparisonContent) -> tuple[float, float]:
    lines, _ = _panels(len(shown_differences(content)))
    return 0.7 + 0.27 * max(2, len(content.names)), 0.45 + 1.55 * lines


@styled
def comparison_forest(content: ComparisonContent) -> Figure:
    """Draw the difference of each model to the best one, with errors over pairs of rows."""
    figure = new_figure(_heights(content)[0])
    draw_forest(figure.add_subplot(), comparison_lines(content), content.names[content.best])
    return figure


@styled
def comparison_rows(content: ComparisonContent) -> Figure:
    """Draw the distribution of each model's per-row differences to the best one."""
    count = len(shown_differences(content))
    figure = new_figure(_heights(content)[1], width=WIDTH if count > 1 else 0.62 * WIDTH)
    lines, columns = _panels(count)
    if count:
        _draw_rows(figure.subplots(lines, columns, squeeze=False).ravel(), content)
    return figure


@styled
def comparison_figure(content: ComparisonContent) -> Figure:
    """Draw the whole comparison as one picture: differences of means above, differences of rows below."""
    above, below = _heights(content)
    count = len(shown_differences(content))
    if count == 0:
        return comparison_forest(content)
    lines, columns = _panels(count)
    figure = new_figure(above + below)
    parts = np.ravel(np.asarray(figure.subfigures(2, 1, height_ratios=[above, below])))
    draw_forest(parts[0].add_subplot(), comparison_lines(content), content.names[content.best])
    _draw_rows(parts[1].subplots(lines, columns, squeeze=False).ravel(), content)
    return figure


def _draw_rows(panels: Array, content: ComparisonContent) -> None:
    """Draw one histogram a model, rows that prefer it to the right of zero; far rows are counted at the ends."""
    shown = shown_differences(content)
    _, columns = _panels(len(shown))
    for axes, (name, values) in zip(panels, shown, strict=False):
        limits = view_limits(values, np.zeros(1))
        edges = bins(limits, max(1, values.size), most=30)
        if values.size:
            axes.hist(np.clip(values, *limits), bins=edges, color=DATA_LIGHT)
            axes.axvline(np.clip(values.mean(), *limits), color=DATA, linewidth=1.2)
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_xlim(*limits)
        axes.set_title(label_text(name, 26 if columns == 3 else 40), loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        grid(axes)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(shown) - columns) : len(shown)]:
        axes.set_xlabel("nats of a row")
    for axes in panels[: len(shown) : columns]:
        axes.set_ylabel("rows")
