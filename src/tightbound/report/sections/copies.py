"""Whether samples repeat rows of the data."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import plural
from tightbound.evidence.diagnostics.marginals import ClosestRows
from tightbound.report.page import Markup, Section, Words, picture
from tightbound.report.style import DATA, DATA_LIGHT, MODEL, MUTED, PERCENT, grid, new_figure, styled


@styled
def figure(found: ClosestRows) -> Figure:
    """Draw the distances of samples, and of data rows, to the closest (other) row of the data."""
    drawn = new_figure(2.3, width=5.2)
    axes = drawn.add_subplot()
    high = float(np.quantile(np.concatenate([found.of_data, found.of_samples]), 0.99)) or 0.01
    edges = np.linspace(0, 1.02 * high, 41).tolist()
    filled: dict[str, Any] = {"histtype": "stepfilled", "color": DATA_LIGHT}
    line: dict[str, Any] = {"histtype": "step", "color": MODEL, "linewidth": 1.2}
    for values, colour, options in ((found.of_data, DATA, filled), (found.of_samples, MODEL, line)):
        axes.hist(values, bins=edges, weights=np.full(len(values), 1 / len(values)), **options)
        axes.axvline(float(np.median(values)), color=colour, linewidth=1.0, linestyle=(0, (4, 2)))
    axes.set(xlim=(0, edges[-1]), xlabel="distance to the closest row of the data", ylabel="share of rows")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.legend(
        handles=[
            Patch(color=DATA_LIGHT, label="rows of the data (to others)"),
            Line2D([], [], color=MODEL, label="samples"),
            Line2D([], [], color=MUTED, linewidth=1.0, linestyle=(0, (4, 2)), label="medians"),
        ]
    )
    grid(axes)
    return drawn


def words(found: ClosestRows) -> Words:
    """Describe how close samples come to rows of the data."""
    of_data, of_samples = found.of_data, found.of_samples
    middle, exact = [float(np.median(each)) for each in (of_data, of_samples)], int((of_samples == 0).sum())
    expected = float((of_data == 0).mean()) * len(of_samples)
    near = float(np.mean(of_samples < np.quantile(of_data, 0.05)))
    ratio = f"{middle[1] / middle[0]:.2f} times" if middle[0] > 0 else "against"
    told = f"The median distance of samples to the closest row is {middle[1]:.3f}, {ratio} the {middle[0]:.3f} of rows"
    copied = (
        f"{exact:,} of {plural(len(of_samples), 'sample')} equal a row in every cell; of as many rows of the data, "
        f"{expected:,.1f} equal another"
    )
    alt = f"{told} of the data to their closest other. {copied}."
    caption = (
        f"{told} of the data to their closest other. Well below 1, samples repeat rows; well above 1, they lie "
        f"where no rows are. {near:.1%} of samples lie closer to a row than the closest 5 % of rows do. {copied}. "
        f"Distance: the mean over columns of 1 where levels differ and of the difference of numbers, in units of the "
        f"width between the 1st and 99th percentile, at most 1 (Gower); against {plural(len(of_data), 'row')} of the "
        "data, with the same gaps."
    )
    return Words(alt, caption)


def body(found: ClosestRows) -> Markup:
    """Show how close samples come to rows."""
    return picture("copies", figure(found), words(found))


SECTION = Section[Evaluation, ClosestRows](
    "copies", "Copies of rows among samples", lambda found: found.columns and found.columns.closest, body
)
