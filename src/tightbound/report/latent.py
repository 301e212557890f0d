"""Figures of the latent space: posterior means over the prior, and the aggregated posterior of each dimension."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.ticker import MaxNLocator

from tightbound.report.choose import aggregated_moments, bins, finite, largest_kl, spread_out, view_limits
from tightbound.report.content import Array, ReportContent
from tightbound.report.style import (
    CATEGORIES,
    DATA,
    DATA_LIGHT,
    MARKERS,
    MUTED,
    PRIOR,
    WIDTH,
    grid,
    label_text,
    new_figure,
    styled,
)

MOST_LABELS = 12
MOST_POINTS = 3000
MOST_DIMENSIONS = 48


@dataclass(frozen=True)
class Group:
    """Rows that share a label: which rows, and the text of the label."""

    rows: Array
    text: str


def is_scale(labels: Array | None) -> bool:
    """Say whether labels are numbers with too many values for a legend, to be shown by a colour bar."""
    return labels is not None and labels.dtype.kind in "iuf" and len(np.unique(finite(labels))) > MOST_LABELS


def label_groups(labels: Array | None) -> tuple[Group, ...]:
    """Return the groups of rows of a legend: at most twelve, the rarest together as "other"; none without labels."""
    if labels is None or is_scale(labels):
        return ()
    texts = np.array([_label_of(value) for value in labels.tolist()], dtype=object)
    distinct = _in_order(labels, texts)
    if len(distinct) > MOST_LABELS:
        counts = {text: int(np.sum(texts == text)) for text in distinct}
        common = sorted(distinct, key=lambda text: -counts[text])[: MOST_LABELS - 1]
        texts = np.array([text if text in common else "other" for text in texts], dtype=object)
        distinct = [text for text in distinct if text in common] + ["other"]
    return tuple(Group(np.flatnonzero(texts == text), text) for text in distinct)


def _label_of(value: object) -> str:
    if str(value) in ("None", "nan", "NaT", "<NA>"):
        return "missing"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _in_order(labels: Array, texts: Array) -> list[str]:
    """Return the distinct texts, numbers in the order of numbers, "missing" last."""
    distinct = sorted(set(texts) - {"missing"}, key=float if labels.dtype.kind in "iuf" else str)
    return distinct + (["missing"] if "missing" in texts else [])


@styled
def latent_space(content: ReportContent) -> Figure:
    """Draw the posterior means in the two dimensions with the largest KL (a histogram where there is only one)."""
    axes_order = largest_kl(content)[:2]
    if len(axes_order) == 1:
        return _one_dimension(content)
    figure = new_figure(4.3)
    axes = figure.add_subplot()
    prior = content.prior_samples[spread_out(len(content.prior_samples), MOST_POINTS)][:, axes_order]
    _draw_prior(axes, prior)
    shown = spread_out(len(content.latent_means), MOST_POINTS)
    points = content.latent_means[shown][:, axes_order]
    _draw_means(figure, axes, points, None if content.labels is None else content.labels[shown])
    axes.set_xlabel(f"latent dimension {axes_order[0]}")
    axes.set_ylabel(f"latent dimension {axes_order[1]}")
    limits = [view_limits(points[:, place], prior[:, place]) for place in (0, 1)]
    axes.set(xlim=limits[0], ylim=limits[1], aspect="equal")
    return figure


def _draw_prior(axes: Axes, prior: Array) -> None:
    """Scatter the prior in grey, with rings at one and two of its standard deviations."""
    axes.scatter(prior[:, 0], prior[:, 1], s=5, color=PRIOR, alpha=0.45, linewidths=0)
    if len(prior) > 1:
        for radius in (1, 2):
            width, height = 2 * radius * prior.std(axis=0)
            ring = Ellipse(tuple(prior.mean(axis=0)), width, height, fill=False, edgecolor=MUTED)
            ring.set(linewidth=0.8, linestyle=(0, (4, 3)), zorder=4)
            axes.add_patch(ring)


def _draw_means(figure: Figure, axes: Axes, points: Array, labels: Array | None) -> None:
    size = 14 if len(points) < 500 else 6
    handles = [_handle(PRIOR, "o", "prior")]
    if labels is not None and is_scale(labels):
        drawn = axes.scatter(points[:, 0], points[:, 1], c=labels.astype(float), s=size, cmap="viridis", linewidths=0)
        figure.colorbar(drawn, ax=axes, label="label", shrink=0.8, pad=0.02)
    elif labels is None:
        axes.scatter(points[:, 0], points[:, 1], s=size, color=DATA, alpha=0.6, linewidths=0)
        handles.append(_handle(DATA, "o", "rows"))
    for number, group in enumerate(label_groups(labels)):
        colour, marker = CATEGORIES[number], MARKERS[number % len(MARKERS)]
        at = points[group.rows]
        axes.scatter(at[:, 0], at[:, 1], s=size, color=colour, marker=marker, alpha=0.75, linewidths=0)
        handles.append(_handle(colour, marker, group.text))
    if is_scale(labels):
        axes.legend(handles=handles, loc="upper left")
    else:
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0))


def _handle(colour: str, marker: str, text: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=4.5, label=_legend_text(text))


def _legend_text(text: str) -> str:
    """Return a label that matplotlib shows: it hides those that start with an underscore."""
    label = label_text(text) or "(empty)"
    return f" {label}" if label.startswith("_") else label


def _one_dimension(content: ReportContent) -> Figure:
    """Draw the histogram of the posterior means, one line a label, over the prior's."""
    figure = new_figure(2.6)
    axes = figure.add_subplot()
    means, prior = content.latent_means[:, 0], content.prior_samples[:, 0]
    limits = view_limits(means, prior)
    edges = bins(limits, len(means))
    if prior.size:
        axes.hist(prior, bins=edges, density=True, color=PRIOR, alpha=0.6, label="prior")
    groups = label_groups(content.labels) or (Group(np.arange(len(means)), "posterior means"),)
    for number, group in enumerate(groups):
        weights = np.full(len(group.rows), 1 / (len(means) * (edges[1] - edges[0])))
        colour = CATEGORIES[number] if len(groups) > 1 else DATA
        axes.hist(
            means[group.rows],
            bins=edges,
            weights=weights,
            histtype="step",
            color=colour,
            label=_legend_text(group.text),
        )
    axes.set_xlabel("latent dimension 0")
    axes.set_ylabel("density")
    grid(axes)
    figure.legend(loc="outside right upper")
    return figure


@styled
def aggregated_posterior(content: ReportContent) -> Figure:
    """Draw mean and standard deviation of the aggregated posterior in each dimension, against the prior's."""
    order = largest_kl(content)[:MOST_DIMENSIONS]
    mean, scale = (values[order] for values in aggregated_moments(content))
    figure = new_figure(2.4, width=min(WIDTH, 3.2 + 0.25 * len(order)))
    axes = figure.add_subplot()
    position = np.arange(len(order))
    if len(content.prior_samples) > 1:
        centre, spread = content.prior_samples.mean(axis=0)[order], content.prior_samples.std(axis=0)[order]
        axes.bar(position, 2 * spread, bottom=centre - spread, width=0.8, color="#e4e7eb", label="prior: mean ± sd")
    name = "aggregated posterior" if content.latent_scales is not None else "posterior means"
    axes.errorbar(
        position, mean, yerr=scale, fmt="o", markersize=3, color=DATA, ecolor=DATA, label=f"{name}: mean ± sd"
    )
    axes.axhline(0, color=DATA_LIGHT, linewidth=0.6, zorder=0)
    axes.set_xticks(position, [str(dimension) for dimension in order], fontsize=7 if len(order) <= 24 else 5.5)
    axes.tick_params(axis="x", length=0, rotation=90 if len(order) > 32 else 0)
    axes.set_xlim(-0.7, max(len(order), 3) - 0.3)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("latent dimension, largest KL first")
    axes.set_ylabel("z")
    grid(axes)
    figure.legend(loc="outside upper center", ncols=2)
    return figure
