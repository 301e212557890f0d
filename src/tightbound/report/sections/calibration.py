"""Whether q and the decoder are as sure as they should be: rank and probability-integral-transform histograms."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.stats import binom, chi2

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import plural
from tightbound.evidence import Health
from tightbound.report.page import Markup, Section, Words, element, join, paragraph, picture, text
from tightbound.report.style import (
    DATA,
    DATA_LIGHT,
    INK,
    MODEL,
    MUTED,
    WIDTH,
    Array,
    Limits,
    grid,
    label_text,
    new_figure,
    styled,
)

MOST_DIMENSIONS = 8
MOST_COVERED = 20
INTERVALS = ((0.5, DATA, "o"), (0.9, MODEL, "D"))
"""Level, colour and marker of the intervals whose coverage is shown."""
BAND = "#e4e7eb"
INSIDE = 0.95
"""Of what chance gives, in the band."""


def expected_band(counts: Array) -> Limits:
    """Return the band of `counts` that are uniform, as multiples of the count expected in a bin."""
    total = round(float(np.nansum(counts)))
    if total == 0 or counts.size < 2:
        return 0.0, 2.0
    low, high = binom.interval(INSIDE, total, 1 / counts.size)
    return float(low) * counts.size / total, float(high) * counts.size / total


def relative(counts: Array) -> Array:
    """Return counts as multiples of what is expected in a bin where they are uniform."""
    values = np.nan_to_num(np.asarray(counts, dtype=float))
    return values * values.size / max(values.sum(), 1e-300)


def outside_band(counts: Array) -> int:
    """Return how many bins lie outside the band."""
    low, high = expected_band(counts)
    found = relative(counts)
    return int(np.sum((found < low - 1e-9) | (found > high + 1e-9))) if np.sum(counts) > 0 else 0


def least_uniform(counts: Array, most: int) -> Array:
    """Return the positions of the histograms furthest from uniform (chi-squared), worst first."""
    distance = np.array([np.sum((relative(each) - 1) ** 2) * np.sum(each) for each in counts])
    return np.argsort(-distance, kind="stable")[:most]


def is_uniform(counts: Array) -> bool:
    """Say whether chance explains how far counts are from uniform: chi-squared below its 99 per cent quantile."""
    if counts.size < 2:
        return True
    distance = float(np.sum((relative(counts) - 1) ** 2)) * float(np.sum(counts)) / counts.size
    return distance < float(chi2.ppf(0.99, counts.size - 1))


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


def rank_counts(health: Health) -> Array:
    """Return how many simulated rows rank in each part of q's draws, (k, n_bins)."""
    return np.rint(health.encoder_histogram * health.n_simulated).astype(int)


def pooled_ranks(health: Health) -> Array:
    """Return the histogram of all active latents: an idle one's is uniform by definition, and hides the others."""
    counts = rank_counts(health)
    return np.asarray((counts[health.active] if health.active.any() else counts).sum(axis=0))


@styled
def rank_figure(health: Health) -> Figure:
    """Draw the ranks of all latent dimensions together, and of the dimensions furthest from uniform."""
    counts, pooled = rank_counts(health), pooled_ranks(health)
    chosen = least_uniform(counts, MOST_DIMENSIONS)
    if len(counts) == 1:
        drawn = new_figure(2.1, width=0.62 * WIDTH)
        axes = drawn.add_subplot()
        _histogram(axes, pooled, "latent dimension 0")
        axes.set(xlabel="rank of the true z among draws of q", ylabel="share, 1 = uniform")
        return drawn
    columns = min(4, len(chosen))
    lines = -(-len(chosen) // columns)
    drawn = new_figure(2.0 + 1.25 * lines)
    cells = drawn.add_gridspec(1 + lines, columns, height_ratios=[1.5, *[1.0] * lines])
    top = drawn.add_subplot(cells[0, :])
    _histogram(top, pooled, f"all {len(counts)} latent dimensions")
    top.set_ylabel("share, 1 = uniform")
    small: list[Axes] = []
    for place, dimension in enumerate(chosen):
        cell = cells[1 + place // columns, place % columns]
        axes = drawn.add_subplot(cell, sharey=small[0] if small else None)
        _histogram(axes, counts[dimension], f"dimension {dimension}", closer=False)
        axes.tick_params(labelleft=place % columns == 0, labelbottom=place >= len(chosen) - columns)
        small.append(axes)
    highest = max(float(np.max(relative(counts[dimension]), initial=1.0)) for dimension in chosen)
    small[0].set_ylim(0, 1.1 * max(highest, *(expected_band(counts[place])[1] for place in chosen)))
    drawn.supxlabel("rank of the true z among draws of q", fontsize=8)
    return drawn


def _histogram(
    axes: Axes, counts: Array, title: str, *, colours: tuple[str, str] = (DATA_LIGHT, DATA), closer: bool = True
) -> None:
    """Draw shares of counts as steps over the band in which 95 per cent of uniform counts fall.

    `closer`: where all shares are near 1, show their differences to 1, which bars from zero would hide.
    """
    found, (low, high) = relative(counts), expected_band(counts)
    edges = np.linspace(0, 1, len(found) + 1)
    spread = max(float(np.abs(found - 1).max(initial=0.0)), high - 1, 1 - low)
    near = closer and 0 < spread < 0.3
    baseline = 1.0 if near else 0.0
    axes.axhspan(low, high, color=BAND, zorder=0, linewidth=0)
    axes.stairs(found, edges, baseline=baseline, fill=True, color=colours[0], alpha=0.75, zorder=1)
    axes.stairs(found, edges, baseline=baseline, color=colours[1], linewidth=0.9, zorder=2)
    axes.axhline(1, color=INK, linewidth=0.7, linestyle=(0, (3, 2)), zorder=3)
    top = 1.1 * max(float(found.max(initial=1.0)), high)
    axes.set(xlim=(0, 1), ylim=(1 - 1.2 * spread, 1 + 1.2 * spread) if near else (0, top))
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.set_title(title, loc="left")
    grid(axes)


def rank_words(health: Health) -> Words:
    """Describe the rank histograms."""
    counts, pooled = rank_counts(health), pooled_ranks(health)
    dimensions, outside = len(counts), sum(outside_band(each) for each in counts)
    alt = (
        f"Rank histograms of {plural(dimensions, 'latent dimension')}: all together {shape_of(pooled)}, "
        f"{outside_band(pooled)} of {plural(pooled.size, 'bin')} outside the band; dimension by dimension {outside} of "
        f"{plural(counts.size, 'bin')}, where chance gives about {0.05 * counts.size:.0f}."
    )
    worst = least_uniform(counts, 1)
    if worst.size and dimensions > 1:
        alt += f" Furthest from uniform: dimension {worst[0]}, {shape_of(counts[worst[0]])}."
    caption = (
        "Rows are simulated with a known z, which is then ranked among draws of q(z given x). Where q is the exact "
        "posterior every rank is equally frequent: 95 % of bars end in the grey band. Too full at both ends: q is too "
        "narrow; too full in the middle: too wide; leaning to one side: biased."
    )
    if dimensions > MOST_DIMENSIONS:
        caption += f" The {MOST_DIMENSIONS} of {dimensions} dimensions furthest from uniform are shown."
    if dimensions > 1:
        caption += (
            " The band of the first picture takes dimensions as independent; it is too narrow where they are not."
        )
    return Words(alt, caption)


def worst_covered(coverage: Array) -> Array:
    """Return the columns to draw, furthest from their nominal coverage first; unknown ones are left out."""
    distance = np.max(np.abs(coverage - [level for level, _, _ in INTERVALS]), axis=1)
    known = np.flatnonzero(np.isfinite(distance))
    return known[np.argsort(-distance[known], kind="stable")][:MOST_COVERED]


@styled
def decoder_figure(counts: Array, coverage: Array, names: Sequence[str], rows: int) -> Figure:
    """Draw the histogram of the probability integral transform, and coverage by column beside it.

    Cells of one row go together: the band of chance is that of as many values as there are rows.
    """
    chosen = worst_covered(coverage)
    drawn = new_figure(max(2.4, 1.05 + 0.165 * len(chosen)))
    left, right = drawn.subplots(1, 2, width_ratios=[1, 1.25])
    _histogram(left, counts, "where values fall", colours=("#f0cfae", MODEL))
    left.set_anchor("N")
    left.set_box_aspect(min(1.0, 0.165 * len(chosen) / 2.4 + 0.3) if len(chosen) > 8 else None)
    left.set(xlabel="share of the model's own values below", ylabel="share, 1 = uniform")
    for which, (level, colour, marker) in enumerate(INTERVALS):
        if rows:
            low, high = binom.interval(INSIDE, rows, level)
            right.axvspan(low / rows, high / rows, color=BAND, zorder=0, linewidth=0)
        right.axvline(level, color=colour, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
        shares = coverage[chosen, which]
        right.plot(shares, np.arange(len(chosen)), marker, color=colour, markersize=4, linestyle="none", zorder=3)
    shown = [label_text(names[column], 20) for column in chosen]
    right.set_yticks(range(len(chosen)), shown, fontsize=7 if len(chosen) < 12 else 6)
    right.tick_params(axis="y", length=0)
    right.set(xlim=(-0.02, 1.02), ylim=(max(len(chosen), 1) - 0.5, -0.5), xlabel="values inside the interval")
    right.set_xticks([0, 0.5, 0.9], ["0", "50 %", "90 %"])
    right.set_title("coverage by column", loc="left")
    right.grid(axis="y")
    right.spines["left"].set_color(MUTED)
    handles = [
        Line2D([], [], marker=marker, linestyle="none", color=colour, markersize=4, label=f"{level:.0%} interval")
        for level, colour, marker in INTERVALS
    ]
    drawn.legend(handles=handles, loc="outside upper right", ncols=2)
    return drawn


def decoder_words(counts: Array, coverage: Array, names: Sequence[str], rows: int) -> Words:
    """Describe the calibration of the decoder."""
    chosen, columns = worst_covered(coverage), len(names)
    alt = (
        f"Values among the model's own: {shape_of(counts)}, {outside_band(counts)} of {plural(counts.size, 'bin')} "
        "outside the band."
    )
    if chosen.size:
        middle, worst = np.nanmedian(coverage[np.isfinite(coverage).all(axis=1)], axis=0), coverage[chosen[0]]
        alt += (
            f" Coverage of the 50 and 90 % intervals: {middle[0]:.0%} and {middle[1]:.0%} in the median column, "
            f"{worst[0]:.0%} and {worst[1]:.0%} in the worst, {names[chosen[0]]}."
        )
    caption = (
        "Left: the share of the model's own values that lie below each value of the data, uniform where the decoder is "
        "calibrated; 95 % of bars should end in the grey band. Right: the share of values inside the model's 50 and "
        "90 % intervals, which should lie on the lines: below, the model is too sure of itself; above, not sure enough."
    )
    if rows:
        caption += f" The band is that of {plural(rows, 'independent value')}."
    if columns > len(chosen):
        caption += f" {len(chosen)} of {plural(columns, 'column')}: "
        caption += "those furthest off." if len(chosen) == MOST_COVERED else "those with values."
    return Words(alt, caption)


def body(health: Health, names: Sequence[str]) -> Markup:
    """Show whether q and the decoder are as sure as they should be; `names` are those of the modelled columns."""
    parts = [paragraph(each.sentence) for each in health.findings if each.check in ("encoder", "decoder")]
    if health.encoder_histogram.size:
        parts += [element("h3", text("Encoder")), picture("ranks", rank_figure(health), rank_words(health))]
    if health.decoder_histogram is not None and health.coverage is not None:
        fit = (health.decoder_histogram * health.n_rows, health.coverage, names, health.n_rows)
        parts += [element("h3", text("Decoder")), picture("predictive", decoder_figure(*fit), decoder_words(*fit))]
    return join(parts) if parts else paragraph("Calibration was not measured.")


def _find(found: Evaluation) -> tuple[Health, Sequence[str]] | None:
    return None if found.health is None else (found.health, found.modelled_names)


SECTION = Section("calibration", "Calibration", _find, lambda parts: body(*parts))
