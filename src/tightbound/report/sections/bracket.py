"""log p(x) of single rows enclosed from both sides."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import nats, plural, plus_minus
from tightbound.evidence import Bracket, Mean
from tightbound.evidence.rows import spread_out
from tightbound.report.page import Markup, Section, Words, picture
from tightbound.report.style import DATA, INK, MODEL, MUTED, PRIOR, Array, finite, grid, new_figure, styled, view_limits

MOST_BRACKETS = 400
FEW_BRACKETS = 60
UNSETTLED = PRIOR


@final
@dataclass(frozen=True)
class Widths:
    """The brackets of one panel: upper - lower, narrowest first, and which of them settled; unknown ones are left out.

    Of very many rows every so manieth is kept.
    """

    values: Array
    settled: Array
    unknown: int


def widths(bracket: Bracket) -> Widths:
    """Return the widths to draw, and how many are not finite."""
    values = bracket.upper - bracket.lower
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    order = order[spread_out(len(order), MOST_BRACKETS)]
    return Widths(values[order], bracket.converged[order], len(values) - len(known))


def widest(made: Bracket, real: Bracket | None) -> float:
    """Return the width up to which brackets are drawn whole."""
    brackets = [made] if real is None else [made, real]
    known = np.abs(finite(np.concatenate([widths(each).values for each in brackets])))
    return max(abs(limit) for limit in view_limits(known)) if known.size and known.max() > 0 else 0.02


@styled
def figure(made: Bracket, real: Bracket | None = None) -> Figure:
    """Draw each row's bracket on log p(x) around its middle, narrowest first; simulated and real rows side by side."""
    drawn = new_figure(2.5)
    panels = drawn.subplots(1, 1 if real is None else 2, squeeze=False, sharey=True)[0]
    limit = widest(made, real)
    _panel(panels[0], made, "simulated rows", DATA, limit)
    if real is not None:
        _panel(panels[1], real, "real rows, approximate", MODEL, limit)
        if not real.converged.all():
            handle = Line2D([], [], color=UNSETTLED, linewidth=2, label="did not converge")
            panels[1].legend(handles=[handle], loc="lower left")
    panels[0].set_ylim(-0.57 * limit, 0.7 * limit)
    panels[0].set_ylabel("log p(x) minus middle, nats")
    return drawn


def _panel(axes: Axes, bracket: Bracket, name: str, colour: str, limit: float) -> None:
    _bars(axes, widths(bracket), colour, limit)
    axes.set_title(name, loc="left", color=colour, fontweight="bold")
    axes.text(0.02, 0.98, f"mean gap {_said(bracket.gap())}", transform=axes.transAxes, ha="left", va="top")
    axes.set_xlabel("rows, narrowest bracket first")
    grid(axes)


def _said(mean: Mean) -> str:
    return plus_minus(mean.value, mean.standard_error)


def _bars(axes: Axes, shown: Widths, colour: str, limit: float) -> None:
    """Draw vertical bars with ends where there are few; one that ends below its start is hollow."""
    count = len(shown.values)
    axes.axhline(0, color=INK, linewidth=0.7, zorder=3)
    half = np.clip(shown.values, -limit, limit) / 2
    position = np.arange(1, count + 1)
    cut = np.abs(shown.values) > limit
    for settled, tint in ((True, colour), (False, UNSETTLED)):
        chosen = shown.settled == settled
        if not chosen.any():
            continue
        axes.vlines(position[chosen], -half[chosen], half[chosen], color=tint, linewidth=max(0.6, min(3, 130 / count)))
        if count <= FEW_BRACKETS:
            whole = chosen & ~cut
            for side in (-1, 1):
                axes.plot(position[whole], side * half[whole], "o", color=tint, markersize=min(3.5, 1 + 60 / count))
    for side, marker in ((-1, "v"), (1, "^")):
        axes.plot(position[cut], side * np.abs(half[cut]), marker, color=MUTED, markersize=4, zorder=4)
    crossed = (shown.values < 0) & ~cut
    if crossed.any():
        ends = np.concatenate([half[crossed], -half[crossed]])
        size = 3.5 if count <= FEW_BRACKETS else 2
        hollow: dict[str, Any] = {"color": "white", "markeredgecolor": colour, "markersize": size, "zorder": 4}
        axes.plot(np.tile(position[crossed], 2), ends, "o", **hollow)
    axes.set_xlim(0.3, max(count, 1) + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    if count < 5:
        axes.set_xticks(position)


def words(made: Bracket, real: Bracket | None = None) -> Words:
    """Describe the brackets of rows."""
    alt = f"Brackets of {_spread('simulated row', made)}: mean gap {_said(made.gap())}."
    caption = (
        "Each bar runs from the lower to the upper bound on log p(x) of one row that the model simulated, so log p(x) "
        "lies within it up to noise: a narrow bracket means that log p(x) is known."
    )
    if real is not None:
        failed = int(np.sum(~real.converged))
        alt += f" Approximate ones of {_spread('real row', real)}: mean gap {_said(real.gap())}; "
        alt += f"{plural(failed, 'row')} did not converge."
        caption += (
            " For real rows the upper end is approximate: it starts from a chain that must first have settled"
            + (f", and {plural(failed, 'row')} in grey did not." if failed else ".")
        )
    return Words(alt, f"{caption}{_footnotes(made, real)} Method: {made.how}.")


def _spread(noun: str, bracket: Bracket) -> str:
    found = finite(bracket.upper - bracket.lower)
    if not found.size:
        return f"{plural(len(bracket.lower), noun)}, none of a known width"
    return f"{plural(len(bracket.lower), noun)}, {nats(found.min())} to {nats(found.max())} nats wide"


def _footnotes(made: Bracket, real: Bracket | None) -> str:
    limit, brackets = widest(made, real), [made] if real is None else [made, real]
    known = finite(np.concatenate([each.upper - each.lower for each in brackets]))
    crossed, far = int(np.sum(known < 0)), int(np.sum(np.abs(known) > limit * (1 + 1e-9)))
    unknown = sum(widths(each).unknown for each in brackets)
    said = ""
    if crossed:
        said += f" Hollow ends: {plural(crossed, 'row')} whose upper end came out below the lower one, by noise."
    if far:
        said += f" {plural(far, 'bar')} wider than {nats(limit)} nats cut off, at the small arrows."
    if unknown:
        said += f" {plural(unknown, 'row')} without a finite bracket not drawn."
    if any(len(each.lower) > MOST_BRACKETS for each in brackets):
        said += f" At most {MOST_BRACKETS} rows are drawn, evenly spread over the widths."
    return said


def body(brackets: tuple[Bracket, Bracket | None]) -> Markup:
    """Show how narrowly log p(x) of rows is enclosed: of simulated ones, and of real ones where there are any."""
    return picture("bracket", figure(*brackets), words(*brackets))


def _find(found: Evaluation) -> tuple[Bracket, Bracket | None] | None:
    return None if found.bracket is None else (found.bracket, found.real_bracket)


SECTION = Section("bracket", "log p(x) from both sides", _find, body)
