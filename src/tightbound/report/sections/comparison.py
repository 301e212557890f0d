"""Several models on the same rows: a table, their differences to the best, and row by row."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tightbound.estimator.formatting import nats, plural, value_text
from tightbound.evidence import Comparison, Difference
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
    text,
)
from tightbound.report.style import (
    DATA,
    DATA_LIGHT,
    INK,
    WIDTH,
    Array,
    arrows,
    bins,
    count_outside,
    draw_forest,
    finite,
    grid,
    label_text,
    new_figure,
    styled,
    told,
    view_limits,
)

MOST_HISTOGRAMS = 9


def ranking(ranked: Comparison) -> list[Difference]:
    """Return the differences to the best model, it first, unknown ones last."""
    best = ranked.names[ranked.best]
    return sorted(ranked.differences(), key=lambda each: (each.name != best, np.isnan(each.value), -each.value))


def row_differences(ranked: Comparison, name: str) -> Array:
    """Return log p(x) of each row minus that under the best model, where it is known."""
    with np.errstate(invalid="ignore"):  # two rows without density: their difference is not known
        return finite(ranked.log_evidence[ranked.names.index(name)] - ranked.log_evidence[ranked.best])


def models(ranked: Comparison) -> Markup:
    """Show what follows from the differences, and every number in a table."""
    best = ranked.names[ranked.best]
    said = [paragraph(str(each)) for each in ranked.differences() if each.name != best]
    names = ("Model", "Mean log\u00a0p(x)", "Monte Carlo error", "Minus the best", "Rows above it")
    head = [heading(name, number=name != "Model") for name in names]
    caption = (
        f"{plural(len(ranked.names), 'model')} on the same {plural(ranked.n_rows, 'row')}, in nats "
        "a row. ± is one standard error over rows; for differences, over pairs of rows. The Monte Carlo error is what "
        "the estimates of log p(x) themselves are uncertain by."
    )
    return join([*said, table(head, [_cells(ranked, each) for each in ranking(ranked)], caption, class_="small")])


def _cells(ranked: Comparison, difference: Difference) -> list[Markup]:
    mean, name = ranked.mean(difference.name), text(difference.name)
    error = mean.monte_carlo_error
    numbers = [
        measured(mean.value, mean.standard_error),
        cell(f"{error:.2g}" if np.isfinite(error) else "–", number=True),
    ]
    if difference.name == ranked.names[ranked.best]:
        best = element("th", element("strong", name), scope="row")
        return [best, *numbers, cell("best", number=True), cell("", number=True)]
    rows = row_differences(ranked, difference.name)
    over = measured(difference.value, difference.standard_error, sign=True)
    share = cell(f"{np.mean(rows > 0):.0%}" if rows.size else "–", number=True)
    return [element("th", name, scope="row"), *numbers, over, share]


@styled
def forest_figure(ranked: Comparison) -> Figure:
    """Draw the difference of each model to the best one, with errors over pairs of rows."""
    drawn = new_figure(0.7 + 0.27 * max(2, len(ranked.names)))
    draw_forest(drawn.add_subplot(), ranking(ranked), ranked.names[ranked.best])
    return drawn


def forest_words(ranked: Comparison) -> Words:
    """Describe the differences of models to the best one."""
    differences, best = ranking(ranked), ranked.names[ranked.best]
    mean = value_text(ranked.mean(best).value, None)
    alt = f"{plural(len(differences), 'model')}, best {best} at {mean} nats a row. Differences to it, in nats a row: "
    alt += "; ".join(told(each) for each in differences[1:]) + "."
    caption = (
        "Mean log p(x) of each model minus that of the best, on the same rows; bars are two standard errors of the "
        "paired difference. A bar that reaches the dashed line is no clear difference." + arrows(differences)
    )
    return Words(alt, caption)


def _shown(ranked: Comparison) -> list[tuple[str, Array]]:
    """Return name and per-row differences of the models to draw: the closest to the best first."""
    names = [each.name for each in ranking(ranked)][1 : MOST_HISTOGRAMS + 1]
    return [(name, row_differences(ranked, name)) for name in names]


@styled
def rows_figure(ranked: Comparison) -> Figure:
    """Draw the distribution of each model's per-row differences to the best one."""
    shown = _shown(ranked)
    columns = min(3, max(1, len(shown)))
    lines = -(-len(shown) // columns)
    drawn = new_figure(0.45 + 1.55 * lines, width=WIDTH if len(shown) > 1 else 0.62 * WIDTH)
    panels = drawn.subplots(lines, columns, squeeze=False).ravel()
    for axes, (name, values) in zip(panels, shown, strict=False):
        _histogram(axes, values)
        axes.set_title(label_text(name, 26 if columns == 3 else 40), loc="left")
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    for axes in panels[len(shown) - columns : len(shown)]:
        axes.set_xlabel("nats of a row")
    for axes in panels[: len(shown) : columns]:
        axes.set_ylabel("rows")
    return drawn


def _histogram(axes: Axes, values: Array) -> None:
    """Draw rows that prefer the model to the right of zero; far rows are counted at the ends."""
    limits = view_limits(values, np.zeros(1))
    if values.size:
        axes.hist(np.clip(values, *limits), bins=bins(limits, values.size, most=30), color=DATA_LIGHT)
        axes.axvline(np.clip(values.mean(), *limits), color=DATA, linewidth=1.2)
    axes.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_xlim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    grid(axes)


def rows_words(ranked: Comparison) -> Words:
    """Describe the per-row differences."""
    shown, best = _shown(ranked), ranked.names[ranked.best]
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
    if len(ranked.names) - 1 > MOST_HISTOGRAMS:
        caption += f" The {MOST_HISTOGRAMS} models closest to the best are shown."
    return Words(alt, caption)


def _whole(ranked: Comparison) -> Comparison:
    return ranked


SECTIONS = (
    Section("models", "Models", _whole, models),
    Section(
        "differences",
        "Differences to the best",
        _whole,
        lambda ranked: picture("differences", forest_figure(ranked), forest_words(ranked)),
    ),
    Section("rows", "Row by row", _whole, lambda ranked: picture("rows", rows_figure(ranked), rows_words(ranked))),
)
