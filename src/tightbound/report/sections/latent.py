"""Where the rows lie in the latent space: posterior means over the prior, and the aggregated posterior."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.ticker import MaxNLocator

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import nats, plural, short
from tightbound.estimator.reproduction import Reproduction
from tightbound.evidence import Latents
from tightbound.evidence.rows import spread_out
from tightbound.report.page import Markup, Section, Words, join, picture
from tightbound.report.style import (
    CATEGORIES,
    DATA,
    DATA_LIGHT,
    MARKERS,
    MUTED,
    PRIOR,
    WIDTH,
    Array,
    bins,
    dimension_ticks,
    finite,
    grid,
    label_text,
    largest_first,
    mean_and_spread,
    new_figure,
    styled,
    view_limits,
)

MOST_LABELS = 12
MOST_POINTS = 3000
MOST_DIMENSIONS = 48


@final
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
def figure(latents: Latents, prior_samples: Array, labels: Array | None = None) -> Figure:
    """Draw the posterior means in the two dimensions with the largest KL (a histogram where there is only one)."""
    order = largest_first(latents.kl_per_dimension)[:2]
    if len(order) == 1:
        return _one_dimension(latents.mean[:, 0], prior_samples[:, 0], labels)
    drawn = new_figure(4.3)
    axes = drawn.add_subplot()
    prior = prior_samples[spread_out(len(prior_samples), MOST_POINTS)][:, order]
    _draw_prior(axes, prior)
    shown = spread_out(len(latents.mean), MOST_POINTS)
    points = latents.mean[shown][:, order]
    _draw_means(drawn, axes, points, None if labels is None else labels[shown])
    limits = [view_limits(points[:, place], prior[:, place]) for place in (0, 1)]
    axes.set(xlim=limits[0], ylim=limits[1], aspect="equal")
    axes.set(xlabel=f"latent dimension {order[0]}", ylabel=f"latent dimension {order[1]}")
    return drawn


def _draw_prior(axes: Axes, prior: Array) -> None:
    """Scatter the prior in grey, with rings at one and two of its standard deviations."""
    axes.scatter(prior[:, 0], prior[:, 1], s=5, color=PRIOR, alpha=0.45, linewidths=0)
    if len(prior) > 1:
        for radius in (1, 2):
            width, height = 2 * radius * prior.std(axis=0)
            ring = Ellipse(tuple(prior.mean(axis=0)), width, height, fill=False, edgecolor=MUTED)
            ring.set(linewidth=0.8, linestyle=(0, (4, 3)), zorder=4)
            axes.add_patch(ring)


def _draw_means(drawn: Figure, axes: Axes, points: Array, labels: Array | None) -> None:
    size = 14 if len(points) < 500 else 6
    handles = [_handle(PRIOR, "o", "prior")]
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], s=size, color=DATA, alpha=0.6, linewidths=0)
        handles.append(_handle(DATA, "o", "rows"))
    elif is_scale(labels):
        values = labels.astype(float)
        coloured = axes.scatter(points[:, 0], points[:, 1], c=values, s=size, cmap="viridis", linewidths=0)
        drawn.colorbar(coloured, ax=axes, label="label", shrink=0.8, pad=0.02)
        place = {"loc": "upper left"}
    for number, group in enumerate(label_groups(labels)):
        colour, marker = CATEGORIES[number], MARKERS[number % len(MARKERS)]
        at = points[group.rows]
        axes.scatter(at[:, 0], at[:, 1], s=size, color=colour, marker=marker, alpha=0.75, linewidths=0)
        handles.append(_handle(colour, marker, group.text))
    axes.legend(handles=handles, **place)


def _handle(colour: str, marker: str, text: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=4.5, label=_legend_text(text))


def _legend_text(text: str) -> str:
    """Return a label that matplotlib shows: it hides those that start with an underscore."""
    label = label_text(text) or "(empty)"
    return f" {label}" if label.startswith("_") else label


def _one_dimension(means: Array, prior: Array, labels: Array | None) -> Figure:
    """Draw the histogram of the posterior means, one line a label, over the prior's."""
    drawn = new_figure(2.6)
    axes = drawn.add_subplot()
    edges = bins(view_limits(means, prior), len(means))
    if prior.size:
        axes.hist(prior, bins=edges, density=True, color=PRIOR, alpha=0.6, label="prior")
    groups = label_groups(labels) or (Group(np.arange(len(means)), "posterior means"),)
    for number, group in enumerate(groups):
        weights = np.full(len(group.rows), 1 / (len(means) * (edges[1] - edges[0])))
        colour = CATEGORIES[number] if len(groups) > 1 else DATA
        label = _legend_text(group.text)
        axes.hist(means[group.rows], bins=edges, weights=weights, histtype="step", color=colour, label=label)
    axes.set(xlabel="latent dimension 0", ylabel="density")
    grid(axes)
    drawn.legend(loc="outside right upper")
    return drawn


def words(latents: Latents, prior_samples: Array, labels: Array | None = None) -> Words:
    """Describe where the posterior means lie."""
    kl = latents.kl_per_dimension
    chosen = largest_first(kl)[:2]
    kind = "Histogram of the posterior means in" if len(chosen) == 1 else "Posterior means in"
    parts = [
        f"dimension {dimension}: means {mean_and_spread(latents.mean[:, dimension])}, prior "
        f"{mean_and_spread(prior_samples[:, dimension])}, KL {nats(kl[dimension])} nats"
        for dimension in chosen
    ]
    noun = "dimension" if len(chosen) == 1 else "dimensions"
    alt = f"{kind} latent {noun} {' and '.join(map(str, chosen))} (mean and standard deviation): "
    alt += "; ".join(parts) + "." + _label_words(labels)
    rings = "" if len(chosen) == 1 else " (rings: one and two of its standard deviations)"
    caption = (
        f"{plural(len(latents.mean), 'row')} at the mean of q(z given x), over samples of the prior in grey{rings}. "
        "Where rows and grey cover different places the prior does not match: samples drawn where no row is are of no "
        "known kind."
    )
    return Words(alt, caption)


def _label_words(labels: Array | None) -> str:
    if is_scale(labels):
        known = finite(np.asarray(labels))
        return f" Coloured by label, from {short(known.min())} to {short(known.max())}."
    texts = [group.text for group in label_groups(labels)]
    if not texts:
        return ""
    rare = f" (the {MOST_LABELS - 1} most common and the rest)" if "other" in texts else ""
    return f" Coloured by {len(texts)} labels{rare}: " + ", ".join(texts) + "."


def aggregated_moments(latents: Latents) -> tuple[Array, Array]:
    """Return mean and standard deviation, per latent dimension, of q(z given x) averaged over rows.

    By the law of total variance: the variance of the posterior means plus the mean posterior variance.
    """
    variance = np.var(latents.mean, axis=0) + np.mean(latents.sd**2, axis=0)
    return np.mean(latents.mean, axis=0), np.sqrt(variance)


@styled
def aggregated_figure(latents: Latents, prior_samples: Array) -> Figure:
    """Draw mean and standard deviation of the aggregated posterior in each dimension, against the prior's."""
    order = largest_first(latents.kl_per_dimension)[:MOST_DIMENSIONS]
    mean, scale = (values[order] for values in aggregated_moments(latents))
    drawn = new_figure(2.4, width=min(WIDTH, 3.2 + 0.25 * len(order)))
    axes = drawn.add_subplot()
    position = np.arange(len(order))
    if len(prior_samples) > 1:
        centre, spread = prior_samples.mean(axis=0)[order], prior_samples.std(axis=0)[order]
        axes.bar(position, 2 * spread, bottom=centre - spread, width=0.8, color="#e4e7eb", label="prior: mean ± sd")
    label = "aggregated posterior: mean ± sd"
    axes.errorbar(position, mean, yerr=scale, fmt="o", markersize=3, color=DATA, ecolor=DATA, label=label)
    axes.axhline(0, color=DATA_LIGHT, linewidth=0.6, zorder=0)
    dimension_ticks(axes, order)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylabel("z")
    grid(axes)
    drawn.legend(loc="outside upper center", ncols=2)
    return drawn


def aggregated_words(latents: Latents, prior_samples: Array) -> Words:
    """Describe the aggregated posterior against the prior."""
    mean, scale = aggregated_moments(latents)
    prior = "no samples"
    if len(prior_samples) > 1:
        spread, middle = prior_samples.std(axis=0).mean(), prior_samples.mean(axis=0).mean()
        prior = f"standard deviation {spread:.2f} and mean {middle:.2f} on average (by its samples)"
    alt = (
        f"Mean and standard deviation of the aggregated posterior in {plural(len(mean), 'latent dimension')}: standard "
        f"deviations from {short(scale.min())} to {short(scale.max())}, means from {short(mean.min())} to "
        f"{short(mean.max())}, where the prior has {prior}."
    )
    caption = (
        "q(z given x) averaged over rows should be the prior, the grey bars: a longer or shorter line, or a point off "
        "the middle, is a mismatch that samples from the prior suffer from."
    )
    return Words(alt, caption)


def body(latents: Latents, made: Reproduction) -> Markup:
    """Show posterior means over the prior, and the aggregated posterior of each dimension."""
    prior, labels = made.prior_samples, made.labels
    space = figure(latents, prior, labels)
    dense = latents.mean.shape[1] > 1
    return join(
        [
            picture("latent-space", space, words(latents, prior, labels), dense=dense),
            picture("aggregated", aggregated_figure(latents, prior), aggregated_words(latents, prior)),
        ]
    )


def _find(found: Evaluation) -> tuple[Latents, Reproduction] | None:
    return None if found.reproduction is None else (found.latents, found.reproduction)


SECTION = Section("latent", "Latent space", _find, lambda parts: body(*parts))
