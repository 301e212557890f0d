"""The sentences of the report: alternative texts that say what a picture shows, captions that say how to read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tightbound.report.choose import (
    aggregated_moments,
    best_position,
    bound_limits,
    correlation,
    count_outside,
    finite,
    largest_kl,
    lowest_rows,
    r_squared,
    telling_columns,
    train_bound,
    validation_bound,
    view_limits,
)
from tightbound.report.content import Array, ReportContent
from tightbound.report.curves import MOST_BARS
from tightbound.report.images import MOST_LOWEST, MOST_RECONSTRUCTIONS, MOST_SAMPLES, intensity_range
from tightbound.report.latent import MOST_LABELS, is_scale, label_groups
from tightbound.report.numbers import nats, plural, short, with_error
from tightbound.report.table_making import numbers_only
from tightbound.report.tables import MOST_PAIRED, MOST_RECONSTRUCTED

__all__ = [
    "Words",
    "aggregated",
    "kl_per_dimension",
    "latent_space",
    "learning_curves",
    "log_evidence",
    "lowest",
    "nats",
    "plural",
    "reconstructions",
    "samples",
    "short",
    "with_error",
]


@dataclass(frozen=True)
class Words:
    """What goes with one picture."""

    alt: str
    caption: str


def learning_curves(content: ReportContent) -> Words:
    """Describe how the bound went over epochs."""
    curves = (("Training", train_bound(content)), ("Validation", validation_bound(content)))
    said = [_course(name, curve) for name, curve in curves if curve is not None]
    if not said:
        return Words("No bound was recorded.", "No epoch was recorded, so there is no curve.")
    best = best_position(content)
    told = f", best at epoch {content.best_epoch}" if best is not None else ""
    alt = "; ".join(said) + f"{told}."
    caption = "Higher is better. " + _how_to_read_curves(content)
    if content.table is not None:
        caption += (
            " Unless hide_cells is 0, training rows lose cells at random each time: their bound is of fewer cells than "
            "that of validation rows, and only the course of the two can be compared."
        )
    hidden = _epochs_below_view(content)
    if hidden:
        caption += f" {plural(hidden, 'epoch')} with a bound below {nats(bound_limits(content)[0])} nats are cut off."
    return Words(alt, caption)


def _course(name: str, curve: Array) -> str:
    first, last = finite(curve)[[0, -1]]
    verb = "rises" if last > first else "falls" if last < first else "stays"
    return f"{name} bound {verb} from {nats(first)} to {nats(last)} nats a row in {plural(finite(curve).size, 'epoch')}"


def _how_to_read_curves(content: ReportContent) -> str:
    if validation_bound(content) is None:
        return "There are no validation rows, so this curve alone cannot show overfitting."
    return (
        "Training rows drive the fit, validation rows judge it: a validation curve that turns down while training "
        "still rises is overfitting; curves that still rise at the right end would gain from more epochs."
    )


def _epochs_below_view(content: ReportContent) -> int:
    limits = bound_limits(content)
    curves = [curve for curve in (train_bound(content), validation_bound(content)) if curve is not None]
    return int(np.sum(np.any([curve < limits[0] for curve in curves], axis=0)))


def samples(content: ReportContent) -> Words:
    """Describe samples beside data."""
    return _image_samples(content) if content.image_shape else _table_samples(numbers_only(content))


def _image_samples(content: ReportContent) -> Words:
    low, high = intensity_range(content.data)
    rows, drawn = min(len(content.data), MOST_SAMPLES), min(len(content.samples), MOST_SAMPLES)
    alt = (
        f"{plural(rows, 'image')} of the data beside {plural(drawn, 'sample')} from the model. Mean and standard "
        f"deviation of the values: {_mean_and_spread(content.data)} in the data, {_mean_and_spread(content.samples)} "
        "in the samples."
    )
    caption = (
        "Left: rows of the data; right: draws from the model, not chosen. They should look like one collection: blur, "
        "noise or shapes that the data do not have show what the model has not learnt. "
        f"One scale for both: black is {short(low)}, white is {short(high)}, values beyond are clipped."
    )
    return Words(alt, caption + _missing_pixels(content))


def _missing_pixels(content: ReportContent) -> str:
    return " Missing pixels are sand-coloured." if np.isnan(content.data).any() else ""


def _table_samples(content: ReportContent) -> Words:
    chosen = telling_columns(content.data, MOST_PAIRED)
    parts = [
        f"{content.names[column]}: data {_mean_and_spread(content.data[:, column])}, "
        f"samples {_mean_and_spread(content.samples[:, column])}"
        for column in chosen
    ]
    kind = "Histograms" if len(chosen) == 1 else "Pair plot"
    alt = f"{kind} of data and samples (mean and standard deviation): " + "; ".join(parts) + "."
    if len(chosen) > 1:
        alt += f" Largest difference between correlations of data and samples: {_worst_correlation(content, chosen)}."
    caption = (
        _which_columns(content, len(chosen)) + "Blue is data, orange is samples from the model: the clouds should "
    )
    caption += "cover each other and the histograms agree."
    if len(chosen) > 1:
        caption += " Above the diagonal: the correlation of the two columns, in the data and in the samples."
    outside = sum(_outside(content, int(column)) for column in chosen)
    return Words(alt, caption + (f" {plural(outside, 'value')} far out not shown." if outside else ""))


def _worst_correlation(content: ReportContent, chosen: Array) -> str:
    differences = [
        abs(correlation(*(content.data[:, [i, j]].T)) - correlation(*(content.samples[:, [i, j]].T)))
        for place, i in enumerate(chosen)
        for j in chosen[:place]
    ]
    known = finite(np.array(differences))
    return f"{known.max():.2f}" if known.size else "not defined"


def _outside(content: ReportContent, column: int) -> int:
    limits = view_limits(content.data[:, column], content.samples[:, column])
    return count_outside(content.data[:, column], limits) + count_outside(content.samples[:, column], limits)


def _which_columns(content: ReportContent, shown: int) -> str:
    columns = len(content.names)
    if shown == columns:
        return ""
    return f"{shown} of {columns} columns: those that the others follow most closely, without near copies. "


def reconstructions(content: ReportContent) -> Words:
    """Describe data and their reconstructions."""
    if content.image_shape:
        error = float(np.sqrt(_mean((content.data - content.reconstructions) ** 2)))
        alt = (
            f"{plural(min(len(content.data), MOST_RECONSTRUCTIONS), 'image')} of the data, each above its "
            f"reconstruction. Root mean squared error {short(error)} over all {plural(len(content.data), 'row')}; "
            f"the data's standard deviation is {short(_spread(content.data))}."
        )
        caption = (
            "Each image of the data above what the model makes of its code: what the code keeps, and what it loses."
        )
        return Words(alt, caption + _missing_pixels(content))
    return _table_reconstructions(numbers_only(content))


def _table_reconstructions(content: ReportContent) -> Words:
    every = finite(np.array([r_squared(*pair) for pair in zip(content.data.T, content.reconstructions.T, strict=True)]))
    chosen = telling_columns(content.data, MOST_RECONSTRUCTED)
    parts = [
        f"{content.names[column]}: {_kept(r_squared(content.data[:, column], content.reconstructions[:, column]))}"
        for column in chosen
    ]
    alt = "Value against reconstruction, with r squared: " + "; ".join(parts) + "."
    caption = (
        _which_columns(content, len(chosen)) + "On the grey line a value is reconstructed exactly. r² is the share of "
    )
    caption += "a column's variance that passes through the code; a column near 0 is treated as noise"
    middle = (
        f" (median r² over all {plural(len(content.names), 'column')}: {np.median(every):.3f})" if every.size else ""
    )
    return Words(alt, caption + middle + ". Missing cells have no value to compare with and are left out.")


def _kept(share: float) -> str:
    return "constant" if np.isnan(share) else f"{share:.3f}"


def latent_space(content: ReportContent) -> Words:
    """Describe where the posterior means lie."""
    chosen = largest_kl(content)[:2]
    kind = "Histogram of the posterior means in" if len(chosen) == 1 else "Posterior means in"
    dimensions = " and ".join(str(dimension) for dimension in chosen)
    parts = [
        f"dimension {dimension}: means {_mean_and_spread(content.latent_means[:, dimension])}, prior "
        f"{_mean_and_spread(content.prior_samples[:, dimension])}, KL {nats(content.kl_per_dimension[dimension])} nats"
        for dimension in chosen
    ]
    noun = "dimension" if len(chosen) == 1 else "dimensions"
    alt = f"{kind} latent {noun} {dimensions} (mean and standard deviation): "
    alt += "; ".join(parts) + "." + _label_words(content)
    caption = (
        f"{plural(len(content.latent_means), 'row')} at the mean of q(z given x), over samples of the prior in grey"
    )
    caption += "" if len(chosen) == 1 else " (rings: one and two of its standard deviations)"
    caption += (
        ". Where rows and grey cover different places the prior does not match: samples drawn where no row is are "
        "of no known kind."
    )
    return Words(alt, caption)


def _label_words(content: ReportContent) -> str:
    if is_scale(content.labels):
        known = finite(np.asarray(content.labels))
        return f" Coloured by label, from {short(known.min())} to {short(known.max())}."
    groups = label_groups(content.labels)
    if not groups:
        return ""
    rare = (
        f" (the {MOST_LABELS - 1} most common and the rest)" if any(group.text == "other" for group in groups) else ""
    )
    return f" Coloured by {len(groups)} labels{rare}: " + ", ".join(group.text for group in groups) + "."


def aggregated(content: ReportContent) -> Words:
    """Describe the aggregated posterior against the prior."""
    mean, scale = aggregated_moments(content)
    whole = content.latent_scales is not None
    alt = (
        f"Mean and standard deviation of the {'aggregated posterior' if whole else 'posterior means'} in "
        f"{plural(len(mean), 'latent dimension')}: standard deviations from {short(scale.min())} to "
        f"{short(scale.max())}, means from {short(mean.min())} to {short(mean.max())}, where the prior has "
        f"{_prior_words(content)}."
    )
    mismatch = "or a point off the middle, is a mismatch that samples from the prior suffer from."
    if whole:
        caption = "q(z given x) averaged over rows should be the prior, the grey bars: a longer or shorter line, "
    else:
        caption = (
            "The spread of the posterior means alone; each row's own posterior width comes on top, so a line shorter "
            "than the prior's grey bar is no fault, but a longer one, "
        )
    return Words(alt, caption + mismatch)


def _prior_words(content: ReportContent) -> str:
    if len(content.prior_samples) < 2:
        return "no samples"
    spread, middle = content.prior_samples.std(axis=0), content.prior_samples.mean(axis=0)
    return f"standard deviation {spread.mean():.2f} and mean {middle.mean():.2f} on average (by its samples)"


def kl_per_dimension(content: ReportContent) -> Words:
    """Describe how much each latent dimension carries."""
    kl, active = content.kl_per_dimension, np.asarray(content.active, dtype=bool)
    order = largest_kl(content)
    alt = (
        f"KL of {plural(len(kl), 'latent dimension')}, from {nats(kl[order[0]])} nats (dimension {order[0]}) down to "
        f"{nats(kl[order[-1]])} nats (dimension {order[-1]}), {nats(float(np.sum(kl)))} nats in all; "
        f"{active.sum()} active."
    )
    caption = (
        f"{active.sum()} of {plural(len(kl), 'latent dimension')} active (variance of the posterior mean above 0.01). "
        "The KL is what a dimension carries about a row; an inactive one carries nothing, and the model ignores it."
    )
    if len(kl) > MOST_BARS:
        caption += f" The {MOST_BARS} largest are shown."
    return Words(alt, caption)


def log_evidence(content: ReportContent) -> Words:
    """Describe the distribution of log p(x), and its distance from the ELBO."""
    estimate, elbo = finite(content.log_evidence), finite(content.elbo)
    if not estimate.size or not elbo.size:
        return Words("log p(x) of no row is known.", "No row has a finite log p(x), so there is nothing to count.")
    low, middle, high = np.quantile(estimate, [0.05, 0.5, 0.95])
    gap = finite(content.log_evidence - content.elbo)
    alt = (
        f"Histogram of log p(x) over {plural(estimate.size, 'row')}: mean {nats(estimate.mean())}, "
        f"median {nats(middle)}, 9 rows in 10 between {nats(low)} and {nats(high)} nats; mean ELBO {nats(elbo.mean())}."
    )
    error = f" ± {nats(gap.std(ddof=1) / np.sqrt(gap.size))}" if gap.size > 1 else ""
    caption = (
        f"log p(x) is on average {nats(gap.mean())}{error} nats above the ELBO: the slack of the bound, lost because "
        "q(z given x) is not the exact posterior. A second hump or a long tail to the left are rows of another kind."
    )
    far = count_outside(estimate, view_limits(estimate, elbo))
    return Words(alt, caption + (f" {plural(far, 'row')} beyond the axis counted at its ends." if far else ""))


def lowest(content: ReportContent) -> Words:
    """Describe the rows with the lowest log p(x)."""
    chosen = lowest_rows(content, MOST_LOWEST)
    parts = [f"row {content.row_numbers[row]} at {nats(content.log_evidence[row])}" for row in chosen]
    alt = f"The {plural(len(chosen), 'image')} with the lowest log p(x), in nats: " + ", ".join(parts) + "."
    caption = (
        "Lowest first, with the row number (counted from 0) and log p(x) in nats. Mislabelled, damaged or rare rows "
        f"gather here; the median row has {nats(float(np.median(finite(content.log_evidence))))} nats."
        if len(chosen)
        else "No row has a known log p(x)."
    )
    return Words(alt, caption)


def _mean(values: Array) -> float:
    known = finite(values)
    return float(known.mean()) if known.size else float("nan")


def _spread(values: Array) -> float:
    known = finite(values)
    return float(known.std()) if known.size else float("nan")


def _mean_and_spread(values: Array) -> str:
    return f"{short(_mean(values))} and {short(_spread(values))}" if finite(values).size else "no values"
