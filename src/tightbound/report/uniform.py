"""Figures of calibration: rank and probability-integral-transform histograms, coverage of intervals by column."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tightbound.report.choose import finite
from tightbound.report.diagnostics import Array, PredictiveContent, RankContent
from tightbound.report.style import DATA, DATA_LIGHT, INK, MODEL, MUTED, WIDTH, grid, label_text, new_figure, styled

MOST_DIMENSIONS = 8
MOST_COVERED = 20
LEVELS = (0.5, 0.9)
BAND = "#e4e7eb"


def binomial_band(count: int, share: float, inside: float = 0.95) -> tuple[int, int]:
    """Return the central interval of a binomial count that holds at least `inside` of its distribution."""
    if count <= 0:
        return 0, 0
    successes = np.arange(count + 1)
    factorials = np.array([math.lgamma(number + 1.0) for number in successes])
    choose = factorials[-1] - factorials - factorials[::-1]
    below = np.cumsum(np.exp(choose + successes * math.log(share) + (count - successes) * math.log1p(-share)))
    tail = (1 - inside) / 2
    low, high = np.searchsorted(below, [tail, 1 - tail - 1e-12])
    return int(low), int(min(high, count))


def expected_band(counts: Array) -> tuple[float, float]:
    """Return the band of `counts` that are uniform, as multiples of the count expected in a bin."""
    total = round(float(np.sum(finite(counts))))
    if total == 0 or counts.size < 2:
        return 0.0, 2.0
    low, high = binomial_band(total, 1 / counts.size)
    return low * counts.size / total, high * counts.size / total


def relative(counts: Array) -> Array:
    """Return counts as multiples of what is expected in a bin where they are uniform."""
    values = np.nan_to_num(np.asarray(counts, dtype=float), posinf=0.0)
    return values * values.size / max(values.sum(), 1e-300)


def outside_band(counts: Array) -> int:
    """Return how many bins lie outside the band."""
    low, high = expected_band(counts)
    found = relative(counts)
    return int(np.sum((found < low - 1e-9) | (found > high + 1e-9))) if np.sum(counts) > 0 else 0


def pooled_ranks(content: RankContent) -> Array:
    """Return the histogram of the ranks of all dimensions together."""
    return np.sum(content.counts, axis=0) if content.pooled is None else np.asarray(content.pooled)


def least_uniform(counts: Array, most: int) -> Array:
    """Return the positions of the histograms furthest from uniform (chi-squared), worst first."""
    distance = np.array([np.sum((relative(each) - 1) ** 2) * np.sum(each) for each in counts])
    return np.argsort(-distance, kind="stable")[:most]


def is_uniform(counts: Array) -> bool:
    """Say whether chance explains how far counts are from uniform: chi-squared below its 99 per cent quantile."""
    found, freedom = relative(counts), counts.size - 1
    if freedom < 1:
        return True
    distance = float(np.sum((found - 1) ** 2)) * float(np.sum(counts)) / counts.size
    quantile = freedom * (1 - 2 / (9 * freedom) + 2.326 * math.sqrt(2 / (9 * freedom))) ** 3  # Wilson, Hilferty (1931)
    return distance < quantile


def shape_of(counts: Array) -> str:
    """Say in words which way a histogram leaves uniform, by its outer fifths and its halves."""
    if not np.nansum(counts) > 0:
        return "empty"
    if is_uniform(counts):
        return "within what chance explains"
    found = relative(counts)
    outer = max(1, found.size // 5)
    ends = (found[:outer].mean() + found[-outer:].mean()) / 2
    half = found.size // 2
    lean = (found[-half:].mean() - found[:half].mean()) / 2
    if abs(lean) > abs(ends - 1):
        return "too full on the right" if lean > 0 else "too full on the left"
    return "too full at both ends" if ends > 1 else "too full in the middle"


@styled
def rank_histograms(content: RankContent) -> Figure:
    """Draw the ranks of all latent dimensions together, and of the dimensions furthest from uniform."""
    chosen = least_uniform(content.counts, MOST_DIMENSIONS)
    if len(content.counts) == 1:
        figure = new_figure(2.1, width=0.62 * WIDTH)
        axes = figure.add_subplot()
        _histogram(axes, pooled_ranks(content), DATA_LIGHT, "latent dimension 0")
        axes.set_ylabel("share, 1 = uniform")
        axes.set_xlabel("rank of the true z among draws of q")
        return figure
    columns = min(4, len(chosen))
    lines = -(-len(chosen) // columns)
    figure = new_figure(2.0 + 1.25 * lines)
    grid_of = figure.add_gridspec(1 + lines, columns, height_ratios=[1.5, *[1.0] * lines])
    top = figure.add_subplot(grid_of[0, :])
    _histogram(top, pooled_ranks(content), DATA_LIGHT, f"all {len(content.counts)} latent dimensions")
    top.set_ylabel("share, 1 = uniform")
    small: list[Axes] = []
    for place, dimension in enumerate(chosen):
        cell = grid_of[1 + place // columns, place % columns]
        axes = figure.add_subplot(cell, sharey=small[0] if small else None)
        _histogram(axes, content.counts[dimension], DATA_LIGHT, f"dimension {dimension}", closer=False)
        axes.tick_params(labelleft=place % columns == 0, labelbottom=place >= len(chosen) - columns)
        small.append(axes)
    highest = max(float(np.max(relative(content.counts[dimension]), initial=1.0)) for dimension in chosen)
    small[0].set_ylim(0, 1.1 * max(highest, *(expected_band(content.counts[place])[1] for place in chosen)))
    figure.supxlabel("rank of the true z among draws of q", fontsize=8)
    return figure


def _histogram(axes: Axes, counts: Array, colour: str, title: str, *, closer: bool = True) -> None:
    """Draw shares of counts as steps over the band in which 95 per cent of uniform counts fall.

    `closer`: where all shares are near 1, show their differences to 1, which bars from zero would hide.
    """
    found, (low, high) = relative(counts), expected_band(counts)
    edges = np.linspace(0, 1, len(found) + 1)
    spread = max(float(np.abs(found - 1).max(initial=0.0)), high - 1, 1 - low)
    near = closer and 0 < spread < 0.3
    axes.axhspan(low, high, color=BAND, zorder=0, linewidth=0)
    axes.stairs(found, edges, baseline=1.0 if near else 0.0, fill=True, color=colour, alpha=0.75, zorder=1)
    line = DATA if colour == DATA_LIGHT else MODEL
    axes.stairs(found, edges, baseline=1.0 if near else 0.0, color=line, linewidth=0.9, zorder=2)
    axes.axhline(1, color=INK, linewidth=0.7, linestyle=(0, (3, 2)), zorder=3)
    axes.set_xlim(0, 1)
    top = 1.1 * max(float(found.max(initial=1.0)), high)
    axes.set_ylim(*((1 - 1.2 * spread, 1 + 1.2 * spread) if near else (0, top)))
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.set_title(title, loc="left")
    grid(axes)


def worst_covered(content: PredictiveContent) -> Array:
    """Return the columns to draw, furthest from their nominal coverage first; unknown ones are left out."""
    distance = np.max(np.abs(np.asarray(content.coverage, dtype=float) - LEVELS), axis=1)
    known = np.flatnonzero(np.isfinite(distance))
    return known[np.argsort(-distance[known], kind="stable")][:MOST_COVERED]


@styled
def predictive_calibration(content: PredictiveContent) -> Figure:
    """Draw the histogram of the probability integral transform, and coverage by column beside it."""
    chosen = worst_covered(content)
    figure = new_figure(max(2.4, 1.05 + 0.165 * len(chosen)))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    _histogram(left, np.asarray(content.pit), "#f0cfae", "where values fall")
    left.set_anchor("N")
    left.set_box_aspect(min(1.0, 0.165 * len(chosen) / 2.4 + 0.3) if len(chosen) > 8 else None)
    left.set_xlabel("share of the model's own values below")
    left.set_ylabel("share, 1 = uniform")
    for which, (level, colour, marker) in enumerate(zip(LEVELS, (DATA, MODEL), ("o", "D"), strict=True)):
        if content.rows:
            low, high = binomial_band(content.rows, level)
            right.axvspan(low / content.rows, high / content.rows, color=BAND, zorder=0, linewidth=0)
        right.axvline(level, color=colour, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
        shares = content.coverage[chosen, which]
        right.plot(shares, np.arange(len(chosen)), marker, color=colour, markersize=4, linestyle="none", zorder=3)
    names = [label_text(content.names[column], 20) for column in chosen]
    right.set_yticks(range(len(chosen)), names, fontsize=7 if len(chosen) < 12 else 6)
    right.tick_params(axis="y", length=0)
    right.set_ylim(max(len(chosen), 1) - 0.5, -0.5)
    right.set_xlim(-0.02, 1.02)
    right.set_xticks([0, 0.5, 0.9], ["0", "50 %", "90 %"])
    right.set_xlabel("values inside the interval")
    right.set_title("coverage by column", loc="left")
    right.grid(axis="y")
    handles = [
        Line2D([], [], marker=marker, linestyle="none", color=colour, markersize=4, label=f"{level:.0%} interval")
        for level, colour, marker in zip(LEVELS, (DATA, MODEL), ("o", "D"), strict=True)
    ]
    right.spines["left"].set_color(MUTED)
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    return figure
