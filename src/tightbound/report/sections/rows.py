"""How sure log p(x) of each row is, and which method it came from."""

from collections import Counter
from dataclasses import dataclass
from typing import final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import plural, short
from tightbound.estimator.formatting import words as as_words
from tightbound.evidence import Evidence, Reliability
from tightbound.evidence.rows import spread_out
from tightbound.report.page import Markup, Section, Words, cell, element, heading, join, picture, table, text
from tightbound.report.style import (
    CATEGORIES,
    DATA,
    INK,
    MARKERS,
    MUTED,
    RULE,
    Array,
    Limits,
    count_outside,
    finite,
    grid,
    label_text,
    new_figure,
    styled,
    view_limits,
)

MOST_POINTS = 4000
MANY_ROWS = 300
"""From here on the picture is one of pixels."""


@final
@dataclass(frozen=True)
class Heights:
    """Where rows stand in the picture of standard errors: log10 nats, and two shelves for 0 and for unknown."""

    values: Array
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    limits: Limits


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


def method_groups(evidence: Evidence) -> list[tuple[str, Array]]:
    """Return the methods with their rows, most common first."""
    names = np.array([method.value for method in evidence.method], dtype=object)
    common = sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))
    return [(name, np.flatnonzero(names == name)) for name, _ in common]


@styled
def figure(evidence: Evidence) -> Figure:
    """Scatter the standard error of each row's log p(x) against it, coloured by method, flagged rows as crosses."""
    drawn = new_figure(3.1)
    axes = drawn.add_subplot()
    flagged = evidence.reliability != Reliability.GOOD
    at, known = heights(evidence.standard_error), np.isfinite(evidence.log_evidence)
    limits = view_limits(evidence.log_evidence)
    across = np.clip(np.where(known, evidence.log_evidence, 0.0), *limits)
    size = 16 if len(flagged) < 500 else 7
    handles = []
    for number, (name, members) in enumerate(method_groups(evidence)):
        colour, marker = (DATA, *CATEGORIES[1:])[number], MARKERS[number % len(MARKERS)]
        good = members[known[members] & ~flagged[members]]
        bad = members[known[members] & flagged[members]]
        good = good[spread_out(len(good), MOST_POINTS)]
        axes.scatter(across[good], at.values[good], s=size, color=colour, marker=marker, alpha=0.6, linewidths=0)
        axes.scatter(across[bad], at.values[bad], s=26, color=colour, marker="x", linewidths=1.3, zorder=4)
        handles.append(_key(colour, marker, f"{label_text(name, 28)}: {len(members):,}"))
    if flagged.any():
        handles.append(_key(INK, "x", f"flagged: {int(flagged.sum()):,}"))
    axes.set_yticks(at.ticks, at.labels)
    axes.set(xlim=limits, ylim=at.limits, xlabel="log p(x), nats", ylabel="standard error, nats")
    grid(axes)
    axes.spines["left"].set_color(RULE)
    axes.spines["bottom"].set_color(MUTED)
    columns = 4 if max((len(str(handle.get_label())) for handle in handles), default=0) < 22 else 2
    drawn.legend(handles=handles, loc="outside upper left", ncols=columns)
    return drawn


def _key(colour: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5, label=label)


def words(evidence: Evidence) -> Words:
    """Describe how sure log p(x) of each row is."""
    flagged, known = evidence.n_unreliable, finite(evidence.standard_error)
    spread = "no standard error is known"
    if known.size:
        spread = f"standard errors from {short(known.min())} to {short(known.max())} nats, "
        spread += f"median {short(float(np.median(known)))}"
    methods = ", ".join(f"{name} {len(members):,}" for name, members in method_groups(evidence))
    alt = f"Standard error of log p(x) against log p(x) of {plural(evidence.n_rows, 'row')}: {spread}. "
    alt += f"By method: {methods}. {plural(flagged, 'row')} flagged."
    caption = "One point a row, coloured by the method that gave its log p(x)"
    if flagged:
        caption += (
            ", the cheapest that was good enough. Crosses are flagged: their number, and its standard error, are not "
            "to be trusted alone."
        )
    else:
        caption += ". No row is flagged: every estimate passed its checks."
    return Words(alt, caption + _footnotes(evidence) + _flags(evidence))


def _footnotes(evidence: Evidence) -> str:
    error, said = evidence.standard_error, ""
    if (error == 0).any():
        said += f" {plural(int((error == 0).sum()), 'row')} without error at 0."
    unknown = int(np.sum(~np.isfinite(error)))
    if unknown:
        said += f" {plural(unknown, 'row')} of unknown error at the top."
    hidden = int(np.sum(~np.isfinite(evidence.log_evidence)))
    if hidden:
        said += f" {plural(hidden, 'row')} without a finite log p(x) not drawn."
    far = count_outside(evidence.log_evidence, view_limits(evidence.log_evidence))
    if far:
        said += f" {plural(far, 'row')} beyond the axis drawn at its ends."
    return said


def _flags(evidence: Evidence) -> str:
    """Return how many rows carry each flag, and what it means."""
    common = [
        (flag, count) for flag, count in Counter(evidence.reliability).most_common() if flag is not Reliability.GOOD
    ]
    if not common:
        return ""
    counted = ", ".join(f"{as_words(flag.name)} ({plural(count, 'row')})" for flag, count in common)
    return f" Flags: {counted}." + "".join(f" {as_words(flag.name)}: {flag.value}" for flag, _ in common)


def methods_table(evidence: Evidence) -> Markup:
    """Return a line for each method and flag, unflagged first: how many rows, mean error, largest k-hat, mean work."""
    methods, flags = evidence.method, evidence.reliability
    sizes, common = Counter(methods), Counter(zip(methods, flags, strict=True))
    order = sorted(
        common,
        key=lambda pair: (
            *(-sizes[pair[0]], pair[0].value),
            *(pair[1] is not Reliability.GOOD, -common[pair], pair[1].name),
        ),
    )
    names = (
        "Method",
        "Flag",
        "Rows",
        "Mean standard error, nats",
        "Largest k\u2011hat",
        "Mean work, decoder passes a row",
    )
    head = [heading(name, number=place > 1) for place, name in enumerate(names)]
    return table(head, [_cells(evidence, *pair) for pair in order], "", class_="small")


def _cells(evidence: Evidence, method: object, flag: Reliability) -> list[Markup]:
    chosen = (evidence.method == method) & (evidence.reliability == flag)
    rows = evidence.take(np.flatnonzero(chosen))
    good = flag is Reliability.GOOD
    khat = rows.khat[~np.isnan(rows.khat)]
    return [
        element("th", text(rows.method[0].value), scope="row"),
        element("td", text("none" if good else f"▲ {as_words(flag.name)}"), **({} if good else {"class_": "flagged"})),
        cell(f"{rows.n_rows:,}", number=True),
        cell(_mean(rows.standard_error), number=True),
        cell(f"{khat.max():.2f}" if khat.size and np.isfinite(khat.max()) else "–", number=True),
        cell(f"{rows.work.mean():,.0f}", number=True),
    ]


def _mean(values: Array) -> str:
    known = finite(values)
    if not known.size:
        return "–"
    return f"{known.mean():#.2g}".rstrip(".") + (" (of known)" if known.size < values.size else "")


def body(evidence: Evidence) -> Markup:
    """Show how sure log p(x) of each row is."""
    drawn = picture("row-evidence", figure(evidence), words(evidence), dense=evidence.n_rows > MANY_ROWS)
    return join([drawn, methods_table(evidence)])


SECTION = Section[Evaluation, Evidence](
    "row-evidence", "How sure log p(x) of each row is", lambda found: found.evidence, body
)
