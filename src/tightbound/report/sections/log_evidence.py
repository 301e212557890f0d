"""The distribution of log p(x) over rows, and its distance from the ELBO."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import nats, plural
from tightbound.evidence import Evidence
from tightbound.report.page import Markup, Section, Words, picture
from tightbound.report.style import (
    DATA,
    DATA_LIGHT,
    MODEL,
    bins,
    count_outside,
    finite,
    grid,
    new_figure,
    styled,
    view_limits,
)


@styled
def figure(evidence: Evidence) -> Figure:
    """Draw the distribution of log p(x) over rows, with that of the ELBO and both means."""
    drawn = new_figure(2.5)
    axes = drawn.add_subplot()
    estimate, elbo = finite(evidence.log_evidence), finite(evidence.elbo)
    limits = view_limits(estimate, elbo)
    edges = bins(limits, len(estimate))
    line: dict[str, Any] = {"histtype": "step", "color": MODEL, "linewidth": 1.2}
    for values, colour, name, options in (
        (estimate, DATA, "log p(x)", {"color": DATA_LIGHT}),
        (elbo, MODEL, "ELBO", line),
    ):
        if values.size:
            axes.hist(np.clip(values, *limits), bins=edges, label=name, **options)
            axes.axvline(values.mean(), color=colour, linewidth=1.2, linestyle=(0, (3, 2)), label=f"mean {name}")
    axes.set(xlim=limits, xlabel="nats a row", ylabel="rows")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    grid(axes)
    if axes.patches:
        drawn.legend(loc="outside upper right", ncols=4)
    return drawn


def words(evidence: Evidence) -> Words:
    """Describe the distribution of log p(x)."""
    estimate, elbo = finite(evidence.log_evidence), finite(evidence.elbo)
    if not estimate.size or not elbo.size:
        return Words("log p(x) of no row is known.", "No row has a finite log p(x), so there is nothing to count.")
    low, middle, high = np.quantile(estimate, [0.05, 0.5, 0.95])
    with np.errstate(invalid="ignore"):  # a row without density has no gap either
        gap = finite(evidence.log_evidence - evidence.elbo)
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


def body(evidence: Evidence) -> Markup:
    """Show the distribution of log p(x)."""
    return picture("log-evidence", figure(evidence), words(evidence))


SECTION = Section[Evaluation, Evidence]("log-evidence", "log p(x) over rows", lambda found: found.evidence, body)
