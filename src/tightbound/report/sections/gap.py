"""log p(x) - ELBO in its two parts: what the family of q loses, and what its encoder loses on top."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import plural, plus_minus, value_text
from tightbound.evidence import Gap, Mean
from tightbound.report.page import (
    Markup,
    Section,
    Words,
    cell,
    element,
    heading,
    join,
    measured,
    paragraph,
    picture,
    table,
)
from tightbound.report.page import text as escaped
from tightbound.report.style import DATA, INK, MODEL, Limits, grid, label_text, new_figure, styled


@final
@dataclass(frozen=True)
class Group:
    """The means of one group of rows, nats a row."""

    name: str
    approximation: Mean
    amortisation: Mean
    total: Mean

    @classmethod
    def of(cls, name: str, gap: Gap) -> "Group":
        """The means of a gap."""
        return cls(name, gap.mean_approximation(), gap.mean_amortisation(), gap.mean_total())

    @property
    def parts(self) -> list[tuple[float, float, float]]:
        """Start, width and standard error of both bars; a negative part leaves zero to the left."""
        parts, right, left = [], 0.0, 0.0
        for mean in (self.approximation, self.amortisation):
            known, error = (x if np.isfinite(x) else 0.0 for x in (mean.value, mean.standard_error))
            parts.append((right if known >= 0 else left, known, error))
            right, left = (right + known, left) if known >= 0 else (right, left + known)
        return parts


def groups_of(found: Evaluation) -> list[Group]:
    """Return the groups of rows whose gap was taken apart."""
    if found.gap is None:
        return []
    if found.gap_of_training_rows is None:
        return [Group.of("rows", found.gap)]
    return [Group.of("held-out rows", found.gap), Group.of("training rows", found.gap_of_training_rows)]


@styled
def figure(groups: Sequence[Group]) -> Figure:
    """Draw approximation and amortisation gap of each group as one bar, with standard errors below its ends."""
    drawn = new_figure(0.85 + 0.55 * max(1, len(groups)))
    axes = drawn.add_subplot()
    reach = _reach(groups)
    for line, group in enumerate(groups):
        _bar(axes, line, group, reach)
    axes.axvline(0, color=INK, linewidth=0.7)
    axes.set_yticks(range(len(groups)), [label_text(group.name, 22) for group in groups])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(len(groups), 1) - 0.5, -0.5)
    axes.set_xlim(reach[0], reach[1] + 0.3 * (reach[1] - reach[0]))
    axes.set_xlabel("log p(x) − ELBO, nats a row")
    grid(axes, "x")
    handles = [
        Line2D([], [], marker="s", linestyle="none", color=colour, markersize=6, label=name)
        for colour, name in ((DATA, "approximation gap"), (MODEL, "amortisation gap"))
    ]
    drawn.legend(handles=handles, loc="outside upper right", ncols=2)
    return drawn


def _reach(groups: Sequence[Group]) -> Limits:
    ends = [0.0] + [
        start + width + side * error for group in groups for start, width, error in group.parts for side in (-1, 1)
    ]
    low, high = min(ends), max(ends)
    margin = 0.02 * (high - low) or 0.01
    return (low - margin if low < 0 else 0.0), high + margin


def _bar(axes: Axes, line: int, group: Group, reach: Limits) -> None:
    """Draw one bar: figures inside where they fit, whiskers along its lower edge, the total to its right."""
    right = 0.0
    for (start, width, error), mean, colour in zip(
        group.parts, (group.approximation, group.amortisation), (DATA, MODEL), strict=True
    ):
        axes.barh(line, width, left=start, height=0.62, color=colour)
        if error > 0:
            axes.errorbar(start + width, line + 0.2, xerr=error, color=INK, elinewidth=0.9, capsize=2, zorder=4)
        if abs(width) > 0.2 * (reach[1] - reach[0]):
            said = value_text(mean.value, error).replace("-", "−")
            axes.text(start + width / 2, line - 0.06, said, color="white", ha="center", va="center", fontweight="bold")
        right = max(right, start + width + error)
    said = _said(group.total).replace("-", "−")
    axes.text(right + 0.015 * (reach[1] - reach[0]), line, said, ha="left", va="center")


def _said(mean: Mean) -> str:
    return plus_minus(mean.value, mean.standard_error)


def words(groups: Sequence[Group], method: str) -> Words:
    """Describe the parts of log p(x) - ELBO."""
    parts = [
        f"{group.name}: {_said(group.total)} in all, of which approximation {_said(group.approximation)} and "
        f"amortisation {_said(group.amortisation)}"
        for group in groups
    ]
    alt = f"Parts of log p(x) - ELBO in {plural(len(parts), 'group')} of rows. " + "; ".join(parts) + "."
    caption = (
        "What the ELBO loses, in two parts. The approximation gap is lost even with the best q of this family for each "
        "row: a richer family narrows it. The amortisation gap is what the encoder adds by not "
        "finding that q: a larger encoder, more data, or refining q for each row narrows it. To the right of a bar: "
        "the total. Whiskers: one standard error."
    )
    if any(min(group.approximation.value, group.amortisation.value) < 0 for group in groups):
        caption += " A part below zero is noise: neither can be negative in truth, but both are estimated."
    return Words(alt, f"{caption} Method: {method}.")


def _cells(group: Group) -> list[Markup]:
    means = (group.approximation, group.amortisation, group.total)
    return [
        element("th", escaped(group.name), scope="row"),
        *(measured(mean.value, mean.standard_error) for mean in means),
        cell(f"{group.total.n_rows:,}", number=True),
    ]


def body(found: Evaluation) -> Markup:
    """Show the parts of log p(x) - ELBO, their figures, and what would narrow them."""
    groups, method = groups_of(found), "" if found.gap is None else found.gap.how
    names = ("Rows", "Approximation", "Amortisation", "log\u00a0p(x) − ELBO", "Number")
    head = [heading(name, number=name != "Rows") for name in names]
    rows = table(head, [_cells(group) for group in groups], "", class_="small")
    return join([picture("gap", figure(groups), words(groups, method)), rows, *map(paragraph, found.advice)])


SECTION = Section[Evaluation, Evaluation](
    "gap", "What the ELBO loses", lambda found: None if found.gap is None else found, body
)
