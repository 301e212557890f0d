"""Figures of how far a number can be off: brackets of rows, the parts of the gap, the error of each row's evidence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tightbound.report.choose import finite, spread_out, view_limits
from tightbound.report.content import Array, ReportContent
from tightbound.report.diagnostics import BracketContent, GapContent, GapGroup, RowEvidenceContent
from tightbound.report.numbers import plus_minus, value_text
from tightbound.report.style import (
    CATEGORIES,
    DATA,
    INK,
    MARKERS,
    MODEL,
    MUTED,
    PRIOR,
    RULE,
    grid,
    label_text,
    new_figure,
    styled,
)

MOST_BRACKETS = 400
MOST_METHODS = 8
MOST_POINTS = 4000
UNSETTLED = PRIOR


@dataclass(frozen=True)
class Widths:
    """The brackets of one panel: upper - lower, narrowest first, and which of them settled; unknown ones are left out.

    Of very many rows every so manieth is kept.
    """

    values: Array
    settled: Array
    unknown: int


def widths(lower: Array, upper: Array, settled: Array | None = None) -> Widths:
    """Return the widths to draw, and how many are not finite."""
    values = np.asarray(upper, dtype=float) - np.asarray(lower, dtype=float)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    order = order[spread_out(len(order), MOST_BRACKETS)]
    fine = np.ones(len(values), dtype=bool) if settled is None else np.asarray(settled, dtype=bool)
    return Widths(values[order], fine[order], len(values) - len(known))


def bracket_limit(content: BracketContent) -> float:
    """Return the width up to which brackets are drawn whole."""
    groups = [widths(content.lower, content.upper).values]
    if content.real is not None:
        groups.append(widths(content.real.lower, content.real.upper).values)
    known = np.abs(finite(np.concatenate(groups)))
    return max(abs(limit) for limit in view_limits(known)) if known.size and known.max() > 0 else 0.02


@styled
def bracket(content: BracketContent) -> Figure:
    """Draw each row's bracket on log p(x) around its middle, narrowest first; simulated and real rows side by side."""
    figure = new_figure(2.5)
    real = content.real
    panels = figure.subplots(1, 1 if real is None else 2, squeeze=False, sharey=True)[0]
    limit = bracket_limit(content)
    _brackets(panels[0], widths(content.lower, content.upper), DATA, limit)
    gaps = [(panels[0], "simulated rows", content.gap, content.gap_standard_error)]
    if real is not None:
        _brackets(panels[1], widths(real.lower, real.upper, real.converged), MODEL, limit)
        gaps.append((panels[1], "real rows, approximate", real.gap, real.gap_standard_error))
    for axes, name, gap, error in gaps:
        axes.set_title(name, loc="left", color=DATA if axes is panels[0] else MODEL, fontweight="bold")
        said = f"mean gap {plus_minus(gap, error)}"
        axes.text(0.02, 0.98, said, transform=axes.transAxes, ha="left", va="top")
        axes.set_xlabel("rows, narrowest bracket first")
        grid(axes)
    panels[0].set_ylim(-0.57 * limit, 0.7 * limit)
    panels[0].set_ylabel("log p(x) minus middle, nats")
    if real is not None and not np.all(real.converged):
        handle = Line2D([], [], color=UNSETTLED, linewidth=2, label="did not converge")
        panels[1].legend(handles=[handle], loc="lower left")
    return figure


def _brackets(axes: Axes, shown: Widths, colour: str, limit: float) -> None:
    """Draw vertical bars with ends where there are few; one that ends below its start is hollow."""
    count = len(shown.values)
    axes.axhline(0, color=INK, linewidth=0.7, zorder=3)
    half = np.clip(shown.values, -limit, limit) / 2
    position = np.arange(1, count + 1)
    few = count <= 60
    for settled, tint in ((True, colour), (False, UNSETTLED)):
        chosen = shown.settled == settled
        if not chosen.any():
            continue
        axes.vlines(position[chosen], -half[chosen], half[chosen], color=tint, linewidth=max(0.6, min(3, 130 / count)))
        if few:
            whole = chosen & (np.abs(shown.values) <= limit)
            for side in (-1, 1):
                axes.plot(position[whole], side * half[whole], "o", color=tint, markersize=min(3.5, 1 + 60 / count))
    cut = np.abs(shown.values) > limit
    for side, marker in ((-1, "v"), (1, "^")):
        axes.plot(position[cut], side * np.abs(half[cut]), marker, color=MUTED, markersize=4, zorder=4)
    crossed = (shown.values < 0) & ~cut
    if crossed.any():
        place = np.tile(position[crossed], 2)
        ends = np.concatenate([half[crossed], -half[crossed]])
        axes.plot(place, ends, "o", color="white", markeredgecolor=colour, markersize=3.5 if few else 2, zorder=4)
    axes.set_xlim(0.3, max(count, 1) + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    if count < 5:
        axes.set_xticks(position)


@styled
def gap_parts(content: GapContent) -> Figure:
    """Draw approximation and amortisation gap of each group as one bar, with standard errors below its ends."""
    count = len(content.groups)
    figure = new_figure(0.85 + 0.55 * max(1, count))
    axes = figure.add_subplot()
    reach = _reach(content.groups)
    for line, group in enumerate(content.groups):
        _stack(axes, line, group, reach)
    axes.axvline(0, color=INK, linewidth=0.7)
    axes.set_yticks(range(count), [label_text(group.name, 22) for group in content.groups])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(count, 1) - 0.5, -0.5)
    axes.set_xlim(reach[0], reach[1] + 0.3 * (reach[1] - reach[0]))
    axes.set_xlabel("log p(x) − ELBO, nats a row")
    grid(axes, "x")
    handles = [
        Line2D([], [], marker="s", linestyle="none", color=colour, markersize=6, label=name)
        for colour, name in ((DATA, "approximation gap"), (MODEL, "amortisation gap"))
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    return figure


def _ends(group: GapGroup) -> list[tuple[float, float, float]]:
    """Return start, width and standard error of both parts; a negative part leaves zero to the left."""
    parts, right, left = [], 0.0, 0.0
    for value, error in (
        (group.approximation, group.approximation_standard_error),
        (group.amortisation, group.amortisation_standard_error),
    ):
        known = value if np.isfinite(value) else 0.0
        start = right if known >= 0 else left
        parts.append((start, known, error if error is not None and np.isfinite(error) else 0.0))
        right, left = (start + known, left) if known >= 0 else (right, start + known)
    return parts


def _reach(groups: tuple[GapGroup, ...]) -> tuple[float, float]:
    ends = [end for group in groups for start, width, error in _ends(group) for end in (start + width - error,)]
    ends += [start + width + error for group in groups for start, width, error in _ends(group)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    margin = 0.02 * (high - low) or 0.01
    return (low - margin if low < 0 else 0.0), high + margin


def _stack(axes: Axes, line: int, group: GapGroup, reach: tuple[float, float]) -> None:
    """Draw one bar: figures inside where they fit, whiskers along its lower edge, the total to its right."""
    values = (group.approximation, group.amortisation)
    right = 0.0
    for (start, width, error), value, colour in zip(_ends(group), values, (DATA, MODEL), strict=True):
        axes.barh(line, width, left=start, height=0.62, color=colour)
        if error > 0:
            axes.errorbar(start + width, line + 0.2, xerr=error, color=INK, elinewidth=0.9, capsize=2, zorder=4)
        if abs(width) > 0.2 * (reach[1] - reach[0]):
            said = value_text(value, error).replace("-", "−")
            axes.text(start + width / 2, line - 0.06, said, color="white", ha="center", va="center", fontweight="bold")
        right = max(right, start + width + error)
    said = plus_minus(group.total, group.total_standard_error).replace("-", "−")
    axes.text(right + 0.015 * (reach[1] - reach[0]), line, said, ha="left", va="center")


@dataclass(frozen=True)
class Heights:
    """Where rows stand in the picture of standard errors: log10 nats, and two shelves for 0 and for unknown."""

    values: Array
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    limits: tuple[float, float]


def heights(standard_error: Array) -> Heights:
    """Return the heights of standard errors, with plain numbers as ticks."""
    error = np.asarray(standard_error, dtype=float)
    positive = np.isfinite(error) & (error > 0)
    logs = np.log10(error[positive])
    low, high = (float(logs.min()), float(logs.max())) if logs.size else (-2.0, -2.0)
    low, high = (low, high) if high - low > 0.3 else (low - 0.15, high + 0.15)
    step = max(0.16, 0.09 * (high - low))
    values = np.full(error.shape, high + 1.4 * step)
    values[positive] = logs
    values[error == 0] = low - 1.4 * step
    ticks = _log_ticks(low, high) if logs.size else []
    if (error == 0).any():
        ticks = [(low - 1.4 * step, "0"), *ticks]
    if not np.isfinite(error).all():
        ticks = [*ticks, (high + 1.4 * step, "unknown")]
    limits = float(values.min() - step / 2), float(values.max() + step / 2)
    return Heights(values, tuple(at for at, _ in ticks), tuple(label for _, label in ticks), limits)


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return ticks at powers of ten, or between them where there are few, written plainly, at most seven."""
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    fine, coarse, single = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 2, 5), (1,)
    digits = fine if high - low < 0.7 else coarse if high - low < 2 else single
    at = [(power + np.log10(digit), digit * 10.0**power) for power in powers for digit in digits]
    inside = [(float(place), value) for place, value in at if low - 0.05 <= place <= high + 0.05]
    kept = inside[:: -(-len(inside) // 7) or 1]
    return [(place, f"{value:.0e}" if value < 1e-4 or value >= 1e5 else f"{value:g}") for place, value in kept]


def method_groups(content: RowEvidenceContent) -> tuple[tuple[str, Array], ...]:
    """Return the methods with their rows, most common first, rare ones together as "other"."""
    texts = np.array([str(name) for name in np.asarray(content.method).tolist()], dtype=object)
    common = [name for name, _ in sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0]))]
    if len(common) > MOST_METHODS:
        texts = np.array([name if name in common[: MOST_METHODS - 1] else "other" for name in texts], dtype=object)
        common = list(dict.fromkeys([*common[: MOST_METHODS - 1], "other"]))
    return tuple((name, np.flatnonzero(texts == name)) for name in common)


def is_flagged(content: RowEvidenceContent) -> Array:
    """Return which rows carry a flag, (m,) booleans."""
    return np.array([str(flag) != "" for flag in np.asarray(content.flags).tolist()], dtype=bool)


@styled
def row_evidence(content: ReportContent) -> Figure:
    """Scatter the standard error of each row's log p(x) against it, coloured by method, flagged rows as crosses."""
    rows = content.row_evidence
    figure = new_figure(3.1)
    axes = figure.add_subplot()
    if rows is None:
        return figure
    found, flagged = heights(rows.standard_error), is_flagged(rows)
    known = np.isfinite(content.log_evidence)
    limits = view_limits(content.log_evidence)
    across = np.clip(np.where(known, content.log_evidence, 0.0), *limits)
    size = 16 if len(flagged) < 500 else 7
    handles = []
    for number, (name, members) in enumerate(method_groups(rows)):
        colour, marker = (DATA, *CATEGORIES[1:])[number], MARKERS[number % len(MARKERS)]
        good = members[known[members] & ~flagged[members]]
        bad = members[known[members] & flagged[members]]
        good = good[spread_out(len(good), MOST_POINTS)]
        axes.scatter(across[good], found.values[good], s=size, color=colour, marker=marker, alpha=0.6, linewidths=0)
        axes.scatter(across[bad], found.values[bad], s=26, color=colour, marker="x", linewidths=1.3, zorder=4)
        handles.append(_key(colour, marker, f"{label_text(name, 28)}: {len(members):,}"))
    if flagged.any():
        handles.append(_key(INK, "x", f"flagged: {int(flagged.sum()):,}"))
    axes.set_yticks(found.ticks, found.labels)
    axes.set(xlim=limits, ylim=found.limits)
    axes.set_xlabel("log p(x), nats")
    axes.set_ylabel("standard error, nats")
    grid(axes)
    axes.spines["left"].set_color(RULE)
    axes.spines["bottom"].set_color(MUTED)
    columns = 4 if max((len(str(handle.get_label())) for handle in handles), default=0) < 22 else 2
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)
    return figure


def _key(colour: str, marker: str, text: str) -> Line2D:
    shown = f" {text}" if text.startswith("_") else text
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5, label=shown)
