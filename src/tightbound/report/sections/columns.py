"""Every column of a table of columns by type: what it is, and its marginal in data and samples."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateFormatter, AutoDateLocator
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import plural, short, words
from tightbound.estimator.reproduction import Reproduction
from tightbound.evidence.diagnostics.marginals import Marginal, shares
from tightbound.report.page import Markup, Section, breakable, cell, element, heading, table, text
from tightbound.report.style import (
    DATA,
    DATA_LIGHT,
    MODEL,
    Array,
    Limits,
    bins,
    finite,
    inline_svg,
    label_text,
    new_figure,
    share_text,
    styled,
    view_limits,
)

MOST_COLUMNS = 40
MOST_LEVELS = 12
MOST_BINS, MOST_STEPS = 41, 100_000
"""Of a histogram; and of numbers that lie on steps, between the lowest and the highest."""
PANEL = 3.0  # inches: the width of one marginal
_NAMES = 1.12  # inches of it for the names of levels
_DATES = (-719162, 2932896)  # days from 1970 of the years 1 and 9999


def level_shares(column: Marginal, data: Array, samples: Array) -> tuple[list[str], Array, Array]:
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
def figure(column: Marginal, data: Array, samples: Array) -> Figure:
    """Draw one column's marginal, data and samples over each other: bars of levels, or a histogram."""
    return _level_bars(column, data, samples) if column.levels else _histogram(column, data, samples)


def _panel(height: float) -> Figure:
    """Return a figure whose axes stand where they are put, so that those of all columns line up."""
    drawn = new_figure(height, width=PANEL)
    drawn.set_layout_engine("none")
    return drawn


def _level_bars(column: Marginal, data: Array, samples: Array) -> Figure:
    names, of_data, of_samples = level_shares(column, data, samples)
    places = np.arange(len(names))
    height = 0.08 + 0.155 * len(names)
    drawn = _panel(height)
    axes = drawn.add_axes((_NAMES / PANEL, 0.02 / height, (PANEL - _NAMES - 0.72) / PANEL, 1 - 0.04 / height))
    axes.barh(places, of_data, height=0.78, color=DATA_LIGHT)
    axes.barh(places, of_samples, height=0.78, facecolor="none", edgecolor=MODEL, linewidth=0.9)
    axes.set(ylim=(len(names) - 0.45, -0.55), xlim=(0, 1.02 * max(of_data.max(), of_samples.max(), 1e-3)))
    axes.set_yticks(places, [label_text(name, 19) or "(empty)" for name in names], fontsize=6.3)
    axes.tick_params(length=0, pad=2)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    for place, (first, second) in enumerate(zip(of_data, of_samples, strict=True)):
        for at, share, colour in ((0.42, first, DATA), (0.02, second, MODEL)):
            figure_y = axes.transData.transform((0, place))[1] / drawn.bbox.height
            drawn.text(1 - at / PANEL, figure_y, share_text(share), ha="right", va="center", fontsize=6.0, color=colour)
    return drawn


def _histogram(column: Marginal, data: Array, samples: Array) -> Figure:
    drawn = _panel(0.82)
    axes = drawn.add_axes((0.04, 0.25, 0.92, 0.72))
    limits = view_limits(data, samples)
    edges = histogram_edges(data, limits)
    filled: dict[str, Any] = {"histtype": "stepfilled", "color": DATA_LIGHT}
    line: dict[str, Any] = {"histtype": "step", "color": MODEL, "linewidth": 1.0}
    for values, options in ((data, filled), (samples, line)):
        inside = values[(values >= edges[0]) & (values <= edges[-1])]
        if inside.size:
            axes.hist(inside, bins=edges, density=True, **options)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=6.3, pad=1.5)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: axis_number(value)))
    if column.kind == "datetime" and _DATES[0] < limits[0] and limits[1] < _DATES[1]:
        name_dates(axes)
    return drawn


def name_dates(axes: Axes) -> None:
    """Write days since 1970-01-01 along the lower edge as dates, a few of them."""
    locator = AutoDateLocator(minticks=2, maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(AutoDateFormatter(locator))


def histogram_edges(data: Array, limits: Limits) -> list[float]:
    """Return the edges of bins, each as wide as a whole number of the steps that the data lie on, if they lie on any.

    Of bins that hold three values here and two there a smooth distribution looks like a comb.
    """
    known = finite(data)
    known = known[(known >= limits[0]) & (known <= limits[1])]
    usual = bins(limits, known.size, most=MOST_BINS)
    values = np.unique(known)
    if len(values) < 2:
        return usual
    step, first = float(np.diff(values).min()), float(values[0])
    places = (values - first) / step
    if places[-1] > MOST_STEPS or np.abs(places - np.rint(places)).max() > 1e-3:
        return usual
    most = MOST_BINS if places[-1] < MOST_BINS else len(usual) - 1
    width = step * int(np.ceil((places[-1] + 1) / most))
    low = first - step / 2
    return [float(low + k * width) for k in range(int(np.ceil((limits[1] - low) / width - 1e-9)) + 1)]


def axis_number(value: float) -> str:
    """Return a number along an axis, written out: nothing stands apart from it to be cut off."""
    return short(value).replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")


def alt_text(column: Marginal, data: Array, samples: Array) -> str:
    """Describe one marginal in one sentence."""
    if column.levels:
        names, of_data, of_samples = level_shares(column, data, samples)
        said = [
            f"{label_text(name, 30)} {p:.0%} of data and {q:.0%} of samples"
            for name, p, q in zip(names, of_data, of_samples, strict=True)
        ]
        return "Shares of levels: " + "; ".join(said) + "."
    parts = [f"{of} {_median(values, column.kind)}" for of, values in (("data", data), ("samples", samples))]
    return "Histogram, median: " + ", ".join(parts) + "."


def _median(values: Array, kind: str) -> str:
    known = values[np.isfinite(values)]
    return value_of(float(np.median(known)), kind) if known.size else "unknown"


def value_of(value: float, kind: str) -> str:
    """Return a number of a column as a person writes it: a moment for days since 1970-01-01."""
    if kind == "datetime" and np.isfinite(value) and abs(value) < _DATES[1]:
        moment = np.datetime64(0, "s") + np.timedelta64(round(value * 86400), "s")
        return str(moment.astype("datetime64[D]")) if value == round(value) else str(moment).replace("T", " ")
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else short(value)


def caption(columns: tuple[Marginal, ...], shown: int) -> str:
    """Say how to read the table of columns, and how many marginals differ by more than chance."""
    known = [column for column in columns if np.isfinite(column.distance)]
    off = [column for column in known if column.distance > column.chance]
    said = (
        "Blue is data, orange is samples from the model. The distance is that of the two marginals, between 0 and 1: "
        "total variation (the share of rows that would have to change their level) or, for numbers, "
        "Kolmogorov-Smirnov (the largest difference of the shares of rows below a value); beside it what 95 % of "
        "samples of the same distribution stay below. "
        f"{plural(len(off), 'column')} of {len(known)} beyond it"
    )
    said += ", where about one in twenty is by chance alone." if known else "."
    if any(len(column.levels) > MOST_LEVELS for column in columns):
        said += f" Of more than {MOST_LEVELS} levels the most frequent are shown, and the others together."
    if any(not column.levels for column in columns):
        said += " Values far out are not shown."
    if shown < len(columns):
        said += f" {shown} of {len(columns)} columns: those with the largest distance in units of chance."
    return said


def shown_columns(columns: tuple[Marginal, ...]) -> list[int]:
    """Return the positions of the columns to show: all, or those furthest beyond chance."""
    if len(columns) <= MOST_COLUMNS:
        return list(range(len(columns)))
    excess = np.nan_to_num([column.distance / max(column.chance, 1e-9) for column in columns], nan=-1.0)
    return sorted(np.argsort(-excess, kind="stable")[:MOST_COLUMNS].tolist())


def body(made: Reproduction, columns: tuple[Marginal, ...]) -> Markup:
    """Show every column: type, family, missing share, and its marginal in data and samples."""
    shown = shown_columns(columns)
    head = [heading("Column"), heading("Kind"), heading("Missing", number=True)]
    head += [heading("Data and samples"), heading("Distance", number=True)]
    rows = [_cells(columns[j], made.data[:, j], made.samples[:, j], f"marginal-{j}") for j in shown]
    return table(head, rows, caption(columns, len(shown)), class_="small columns")


def _cells(column: Marginal, data: Array, samples: Array, name: str) -> list[Markup]:
    drawn = inline_svg(figure(column, data, samples), name, alt_text(column, data, samples))
    levels = f", {plural(len(column.levels), 'level')}" if column.levels else ""
    gone = float(np.isnan(data).mean()) if len(data) else 0.0
    distance = cell("–", number=True)
    if np.isfinite(column.distance):
        shown = Markup(text(f"{column.distance:.3f}") + element("small", text(f"chance {column.chance:.3f}")))
        distance = element("td", shown, class_="number flagged" if column.distance > column.chance else "number")
    return [
        element("th", breakable(label_text(column.name, 40)), scope="row"),
        element("td", Markup(text(f"{column.kind}{levels}") + element("small", text(words(column.family))))),
        cell(f"{gone:.1%}" if gone else "–", number=True),
        element("td", Markup(drawn), class_="panel"),
        distance,
    ]


def _find(found: Evaluation) -> tuple[Reproduction, tuple[Marginal, ...]] | None:
    made = found.reproduction
    return None if made is None or made.columns is None else (made, made.columns.marginals)


SECTION = Section("columns", "Columns", _find, lambda parts: body(*parts))
