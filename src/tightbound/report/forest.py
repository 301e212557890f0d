"""Models against each other: differences of mean log p(x) with their errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tightbound.estimator.formatting import plural, signed
from tightbound.evidence import Difference
from tightbound.report.choose import Array, Limits, finite
from tightbound.report.style import DATA, INK, MODEL, MUTED, grid, label_text


def _errors(differences: Sequence[Difference]) -> Array:
    return np.nan_to_num([each.standard_error for each in differences])


def limits_of(differences: Sequence[Difference]) -> Limits:
    """Return limits that show zero and nearly all differences, whole whiskers included."""
    value, error = np.array([each.value for each in differences], float), _errors(differences)
    ends = finite(np.concatenate([[0.0], value - 2 * error, value + 2 * error]))
    sizes = np.sort(np.abs(ends))
    usual = sizes[: max(1, int(0.8 * sizes.size))].max(initial=0.0)
    reach = 8 * max(usual, float(np.median(sizes)))
    kept = ends[(np.abs(ends) <= reach) | (reach == 0)]
    low, high = float(min(kept.min(), 0.0)), float(max(kept.max(), 0.0))
    margin = 0.06 * (high - low) or 0.05
    return low - margin, high + margin


def draw_forest(axes: Axes, differences: Sequence[Difference], reference: str) -> None:
    """Draw a dot and two standard errors either side for each model, its figures to the right; far ones as arrows."""
    limits, count = limits_of(differences), len(differences)
    value, error, place = np.array([each.value for each in differences], float), _errors(differences), np.arange(count)
    own = np.array([each.name == reference for each in differences], bool)
    inside = (limits[0] <= value) & (value <= limits[1])
    for chosen, colour, marker in (
        (own, INK, "D"),
        (~own & (value <= 0), DATA, "o"),
        (~own & (value > 0), MODEL, "o"),
    ):
        whole, left, right = chosen & inside, chosen & (value < limits[0]), chosen & (value > limits[1])
        style: dict[str, Any] = {
            "color": colour,
            "markersize": 4.5,
            "capsize": 2,
            "linestyle": "none",
            "marker": marker,
        }
        if whole.any():
            axes.errorbar(value[whole], place[whole], xerr=2 * error[whole], **style)
        for far, at, arrow in ((left, 0.02, "<"), (right, 0.98, ">")):
            edge = np.full(int(far.sum()), limits[0] + at * (limits[1] - limits[0]))
            axes.plot(edge, place[far], arrow, color=colour, markersize=6)
    for line, each in enumerate(differences):
        said = "reference" if own[line] else signed(each.value, each.standard_error).replace("-", "−")
        axes.text(1.02, line, said, transform=axes.get_yaxis_transform(), va="center", ha="left", fontsize=7)
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
    axes.set_yticks(range(count), [label_text(each.name, 26) for each in differences])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=limits, ylim=(max(count, 1) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(f"mean log p(x) minus that of {label_text(reference, 30)}, nats a row")
    axes.spines["left"].set_visible(False)
    grid(axes, "x")


def told(difference: Difference) -> str:
    """Return one difference in words."""
    return f"{difference.name} {signed(difference.value, difference.standard_error)}"


def arrows(differences: Sequence[Difference]) -> str:
    """Say how many models lie beyond the axis; nothing where none does."""
    low, high = limits_of(differences)
    far = sum(each.value < low or each.value > high for each in differences)
    return f" Arrows: {plural(far, 'model')} beyond the axis." if far else ""
