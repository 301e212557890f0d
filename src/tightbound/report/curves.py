"""Figures of one quantity each: learning curves, KL per latent dimension, log p(x) over rows."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tightbound.report.choose import (
    best_position,
    bins,
    bound_limits,
    finite,
    largest_kl,
    train_bound,
    validation_bound,
    view_limits,
)
from tightbound.report.content import Array, ReportContent
from tightbound.report.style import DATA, DATA_LIGHT, INK, MODEL, MUTED, PRIOR, WIDTH, grid, new_figure, styled

MOST_BARS = 64


@styled
def learning_curves(content: ReportContent) -> Figure:
    """Draw the training and the validation bound over epochs, with the best epoch marked."""
    figure = new_figure(2.7)
    axes = figure.add_subplot()
    epochs = np.asarray(content.history.get("epoch", np.zeros(0)))
    marker = "o" if len(epochs) < 3 else None
    for curve, colour, name in (
        (train_bound(content), DATA, "training rows"),
        (validation_bound(content), MODEL, "validation rows"),
    ):
        if curve is not None:
            axes.plot(epochs, curve, color=colour, label=name, marker=marker, markersize=3)
    axes.set_ylim(*bound_limits(content))
    _mark_best(axes, content, epochs)
    axes.set_xlabel("epoch")
    axes.set_ylabel("bound on log p(x), nats a row")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if len(epochs):
        margin = max(0.5, 0.02 * np.ptp(epochs))
        axes.set_xlim(epochs.min() - margin, epochs.max() + margin)
    grid(axes)
    if axes.lines:
        figure.legend(loc="outside upper right", ncols=3)
    return figure


def _mark_best(axes: Axes, content: ReportContent, epochs: Array) -> None:
    best, curve = best_position(content), validation_bound(content)
    curve = train_bound(content) if curve is None else curve
    if best is None or curve is None or not np.isfinite(curve[best]):
        return
    axes.axvline(epochs[best], color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
    axes.plot(
        epochs[best], curve[best], "o", color=INK, markersize=4.5, label=f"best: epoch {epochs[best]:g}", zorder=5
    )


@styled
def kl_per_dimension(content: ReportContent) -> Figure:
    """Draw the KL of each latent dimension as bars, largest first, active ones in colour."""
    order = largest_kl(content)[:MOST_BARS]
    figure = new_figure(2.4, width=min(WIDTH, 2.8 + 0.25 * len(order)))
    axes = figure.add_subplot()
    position = np.arange(len(order))
    kl, active = content.kl_per_dimension[order], np.asarray(content.active, dtype=bool)[order]
    for chosen, colour, name in ((active, DATA, "active"), (~active, PRIOR, "inactive")):
        if chosen.any():
            axes.bar(position[chosen], kl[chosen], width=0.75, color=colour, label=name)
    size = 7 if len(order) <= 24 else 5.5
    axes.set_xticks(position, [str(dimension) for dimension in order], fontsize=size)
    axes.tick_params(axis="x", length=0, rotation=90 if len(order) > 32 else 0)
    axes.set_xlim(-0.7, max(len(order), 3) - 0.3)
    axes.set_ylim(0, max(0.01, 1.06 * float(np.max(kl))))
    axes.set_xlabel("latent dimension, largest KL first")
    axes.set_ylabel("KL, nats a row")
    grid(axes)
    axes.legend(loc="upper right")
    return figure


@styled
def log_evidence(content: ReportContent) -> Figure:
    """Draw the distribution of log p(x) over rows, with that of the ELBO and both means."""
    figure = new_figure(2.5)
    axes = figure.add_subplot()
    estimate, elbo = finite(content.log_evidence), finite(content.elbo)
    limits = view_limits(estimate, elbo)
    edges = bins(limits, len(estimate))
    for values, colour, name, options in (
        (estimate, DATA, "log p(x)", {"color": DATA_LIGHT}),
        (elbo, MODEL, "ELBO", {"histtype": "step", "color": MODEL, "linewidth": 1.2}),
    ):
        if values.size:
            axes.hist(np.clip(values, *limits), bins=edges, label=name, **options)
            axes.axvline(values.mean(), color=colour, linewidth=1.2, linestyle=(0, (3, 2)), label=f"mean {name}")
    axes.set_xlim(*limits)
    axes.set_xlabel("nats a row")
    axes.set_ylabel("rows")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    grid(axes)
    if axes.patches:
        figure.legend(loc="outside upper right", ncols=4)
    return figure
