"""The sentences beside the pictures of trust: what each shows, and how to read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tightbound.report.choose import count_outside, finite, view_limits
from tightbound.report.content import ReportContent
from tightbound.report.diagnostics import (
    Array,
    BaselineContent,
    BracketContent,
    ComparisonContent,
    GapContent,
    PredictiveContent,
    RankContent,
)
from tightbound.report.forest import MOST_HISTOGRAMS, baseline_lines, comparison_lines, forest_limits, shown_differences
from tightbound.report.forest import Line as ForestLine
from tightbound.report.numbers import nats, plural, plus_minus, short, signed, value_text
from tightbound.report.trust import MOST_BRACKETS, bracket_limit, is_flagged, method_groups, widths
from tightbound.report.uniform import (
    MOST_COVERED,
    MOST_DIMENSIONS,
    least_uniform,
    outside_band,
    pooled_ranks,
    shape_of,
    worst_covered,
)
from tightbound.report.words import Words


def bracket(content: BracketContent) -> Words:
    """Describe the brackets of rows."""
    limit, real = bracket_limit(content), content.real
    alt = f"Brackets of {_spread('simulated row', content.lower, content.upper)}: mean gap "
    alt += f"{plus_minus(content.gap, content.gap_standard_error)}."
    caption = (
        "Each bar runs from the lower to the upper bound on log p(x) of one row that the model simulated, so log p(x) "
        "lies within it up to noise: a narrow bracket means that log p(x) is known."
    )
    groups = [(content.lower, content.upper)]
    if real is not None:
        groups.append((real.lower, real.upper))
        failed = int(np.sum(~np.asarray(real.converged, dtype=bool)))
        alt += f" Approximate ones of {_spread('real row', real.lower, real.upper)}: mean gap "
        alt += f"{plus_minus(real.gap, real.gap_standard_error)}; {plural(failed, 'row')} did not converge."
        caption += (
            " For real rows the upper end is approximate: it starts from a chain that must first have settled"
            + (f", and {plural(failed, 'row')} in grey did not." if failed else ".")
        )
    return Words(alt, caption + _bracket_footnotes(groups, limit) + _method(content.method))


def _spread(noun: str, lower: Array, upper: Array) -> str:
    found = finite(upper - lower)
    if not found.size:
        return f"{plural(len(lower), noun)}, none of a known width"
    return f"{plural(len(lower), noun)}, {nats(found.min())} to {nats(found.max())} nats wide"


def _bracket_footnotes(groups: Sequence[tuple[Array, Array]], limit: float) -> str:
    every = [np.asarray(upper - lower, dtype=float) for lower, upper in groups]
    known = finite(np.concatenate(every))
    crossed, far = int(np.sum(known < 0)), int(np.sum(np.abs(known) > limit * (1 + 1e-9)))
    unknown = sum(widths(lower, upper).unknown for lower, upper in groups)
    said = ""
    if crossed:
        said += f" Hollow ends: {plural(crossed, 'row')} whose upper end came out below the lower one, by noise."
    if far:
        said += f" {plural(far, 'bar')} wider than {nats(limit)} nats cut off, at the small arrows."
    if unknown:
        said += f" {plural(unknown, 'row')} without a finite bracket not drawn."
    if any(len(each) > MOST_BRACKETS for each in every):
        said += f" At most {MOST_BRACKETS} rows are drawn, evenly spread over the widths."
    return said


def _method(text: str) -> str:
    return _sentence(f"Method: {text.strip()}") if text.strip() else ""


def _sentence(text: str) -> str:
    return f" {text}" + ("" if text.endswith((".", "!", "?")) else ".")


def gap(content: GapContent) -> Words:
    """Describe the parts of log p(x) - ELBO."""
    if not content.groups:
        return Words("No group of rows: 0 bars.", "No group of rows was looked at, so there is nothing to take apart.")
    parts = [
        f"{group.name}: {plus_minus(group.total, group.total_standard_error)} in all, of which approximation "
        f"{plus_minus(group.approximation, group.approximation_standard_error)} and amortisation "
        f"{plus_minus(group.amortisation, group.amortisation_standard_error)}"
        for group in content.groups
    ]
    alt = f"Parts of log p(x) - ELBO in {plural(len(parts), 'group')} of rows. "
    caption = (
        "What the ELBO loses, in two parts. The approximation gap is lost even with the best q of this family for each "
        "row: a richer family narrows it. The amortisation gap is what the encoder adds by not "
        "finding that q: a larger encoder, more data, or refining q for each row narrows it. To the right of a bar: "
        "the total. Whiskers: one standard error."
    )
    if any(min(group.approximation, group.amortisation) < 0 for group in content.groups):
        caption += " A part below zero is noise: neither can be negative in truth, but both are estimated."
    return Words(alt + "; ".join(parts) + ".", caption + _method(content.method))


def row_evidence(content: ReportContent) -> Words:
    """Describe how sure log p(x) of each row is."""
    rows = content.row_evidence
    if rows is None:
        return Words("No row.", "No row's error is known.")
    flagged, error = int(is_flagged(rows).sum()), np.asarray(rows.standard_error, dtype=float)
    known = finite(error)
    spread = (
        f"standard errors from {short(known.min())} to {short(known.max())} nats, median "
        f"{short(float(np.median(known)))}"
        if known.size
        else "no standard error is known"
    )
    methods = ", ".join(f"{name} {len(members):,}" for name, members in method_groups(rows))
    alt = (
        f"Standard error of log p(x) against log p(x) of {plural(len(error), 'row')}: {spread}. By method: {methods}. "
    )
    alt += f"{plural(flagged, 'row')} flagged."
    caption = (
        "One point a row, coloured by the method that gave its log p(x), the cheapest that was good enough. "
        "Crosses are flagged: their number, and its standard error, are not to be trusted alone."
        if flagged
        else "One point a row, coloured by the method that gave its log p(x). No row is flagged: every estimate passed "
        "its checks."
    )
    return Words(alt, caption + _row_footnotes(content, error) + _flag_meanings(content))


def _row_footnotes(content: ReportContent, error: Array) -> str:
    said = ""
    if (error == 0).any():
        said += f" {plural(int((error == 0).sum()), 'row')} without error at 0."
    unknown = int(np.sum(~np.isfinite(error)))
    if unknown:
        said += f" {plural(unknown, 'row')} of unknown error at the top."
    hidden = int(np.sum(~np.isfinite(content.log_evidence)))
    if hidden:
        said += f" {plural(hidden, 'row')} without a finite log p(x) not drawn."
    far = count_outside(content.log_evidence, view_limits(content.log_evidence))
    if far:
        said += f" {plural(far, 'row')} beyond the axis drawn at its ends."
    return said


def _flag_meanings(content: ReportContent) -> str:
    rows = content.row_evidence
    if rows is None:
        return ""
    counts = Counter(str(flag) for flag in np.asarray(rows.flags).tolist() if str(flag))
    meanings = dict(rows.meanings)
    said = [f"{flag} ({plural(count, 'row')})" for flag, count in counts.most_common()]
    told = "".join(
        _sentence(f"{flag}: {meanings[flag].strip()}") for flag, _ in counts.most_common() if flag in meanings
    )
    return (f" Flags: {', '.join(said)}." if said else "") + told


def ranks(content: RankContent) -> Words:
    """Describe the rank histograms."""
    pooled, dimensions = pooled_ranks(content), len(content.counts)
    outside = sum(outside_band(each) for each in content.counts)
    total = content.counts.size
    alt = (
        f"Rank histograms of {plural(dimensions, 'latent dimension')}: all together {shape_of(pooled)}, "
        f"{outside_band(pooled)} of {plural(pooled.size, 'bin')} outside the band; dimension by dimension {outside} of "
        f"{plural(total, 'bin')}, where chance gives about {0.05 * total:.0f}."
    )
    worst = least_uniform(content.counts, 1)
    if worst.size and dimensions > 1:
        alt += f" Furthest from uniform: dimension {worst[0]}, {shape_of(content.counts[worst[0]])}."
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


def predictive(content: PredictiveContent) -> Words:
    """Describe the calibration of the decoder."""
    chosen, pit = worst_covered(content), np.asarray(content.pit)
    alt = (
        f"Values among the model's own: {shape_of(pit)}, {outside_band(pit)} of {plural(pit.size, 'bin')} outside the "
        "band."
    )
    if chosen.size:
        middle = np.nanmedian(content.coverage[np.isfinite(content.coverage).all(axis=1)], axis=0)
        worst = content.coverage[chosen[0]]
        alt += (
            f" Coverage of the 50 and 90 % intervals: {middle[0]:.0%} and {middle[1]:.0%} in the median column, "
            f"{worst[0]:.0%} and {worst[1]:.0%} in the worst, {content.names[chosen[0]]}."
        )
    caption = (
        "Left: the share of the model's own values that lie below each value of the data, uniform where the decoder is "
        "calibrated; 95 % of bars should end in the grey band. Right: the share of values inside the model's 50 and "
        "90 % intervals, which should lie on the lines: below, the model is too sure of itself; above, not sure enough."
    )
    if content.rows:
        caption += f" The band is that of {plural(content.rows, 'independent value')}."
    columns = len(content.names)
    if columns > len(chosen):
        caption += f" {len(chosen)} of {plural(columns, 'column')}: "
        caption += "those furthest off." if len(chosen) == MOST_COVERED else "those with values."
    return Words(alt, caption)


def baselines(content: BaselineContent) -> Words:
    """Describe the fitted model among simple ones."""
    lines = baseline_lines(content)
    above = sum(line.difference > 0 for line in lines if not line.reference)
    others = [line for line in lines if not line.reference]
    alt = f"Differences of {plural(len(others), 'simple model')} to the fitted one, in nats a row: "
    alt += ("; ".join(_told(line) for line in others) or "none") + f". {above} above the fitted model."
    caption = (
        "The dashed line is the fitted model. A dot to its right is a simple model that gives the data more density"
    )
    caption += f" than the fitted one; bars are two standard errors of the paired difference.{_arrows(lines)}"
    if content.rows:
        caption += f" All on the same {plural(content.rows, 'row')}."
    return Words(alt, caption)


def comparison_forest(content: ComparisonContent) -> Words:
    """Describe the differences of models to the best one."""
    lines = comparison_lines(content)
    best = content.names[content.best]
    mean = value_text(float(content.mean[content.best]), None)
    alt = f"{plural(len(lines), 'model')}, best {best} at {mean} nats a row. "
    if len(lines) > 1:
        alt += "Differences to it, in nats a row: " + "; ".join(_told(line) for line in lines[1:]) + "."
    caption = (
        "Mean log p(x) of each model minus that of the best, on the same rows; bars are two standard errors of the "
        "paired difference. A bar that reaches the dashed line is no clear difference." + _arrows(lines)
    )
    return Words(alt.strip(), caption)


def comparison_rows(content: ComparisonContent) -> Words:
    """Describe the per-row differences."""
    shown = shown_differences(content)
    best, others = content.names[content.best], len(content.names) - 1
    parts = [
        f"{name}: {np.mean(values > 0):.0%} of {plural(values.size, 'row')} above zero, "
        f"median {nats(float(np.median(values)))}"
        if values.size
        else f"{name}: no row known"
        for name, values in shown
    ]
    alt = f"Histograms of log p(x) minus that under {best}, row by row. " + "; ".join(parts) + "."
    caption = (
        f"Row by row: log p(x) under the model minus log p(x) under {best}. Rows above zero, the dashed line, prefer "
        "the model; the blue line is the mean. A mean that a few far rows carry is no better model for the others."
    )
    far = sum(count_outside(values, view_limits(values, np.zeros(1))) for _, values in shown)
    if far:
        caption += f" {plural(far, 'row')} beyond the axes counted at their ends."
    if others > MOST_HISTOGRAMS:
        caption += f" The {MOST_HISTOGRAMS} models closest to the best are shown."
    return Words(alt, caption)


def _told(line: ForestLine) -> str:
    return f"{line.name} {signed(line.difference, line.error)}"


def _arrows(lines: Sequence[ForestLine]) -> str:
    limits = forest_limits(lines)
    far = sum(not limits[0] <= line.difference <= limits[1] for line in lines if not np.isnan(line.difference))
    return f" Arrows: {plural(far, 'model')} beyond the axis." if far else ""
