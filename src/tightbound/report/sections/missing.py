"""Which cells of a table are missing, and which go missing together."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import plural
from tightbound.estimator.reproduction import Reproduction
from tightbound.evidence.diagnostics.missing_cells import (
    Pair,
    Patterns,
    missing_patterns,
    missing_together,
    most_together,
)
from tightbound.report.page import Markup, Section, Words, picture
from tightbound.report.style import (
    MODEL,
    PERCENT,
    RULE,
    WIDTH,
    Array,
    grid,
    label_text,
    middle_text,
    new_figure,
    share_text,
    styled,
)

MOST_COLUMNS = 20
MOST_PATTERNS = 10
MOST_NAMED = 3


@styled
def figure(data: Array, names: Sequence[str]) -> Figure:
    """Draw the share of missing cells by column, above the most frequent patterns."""
    found = missing_patterns(data, MOST_COLUMNS, MOST_PATTERNS)
    count, lines = len(found.columns), len(found.counts)
    shown = [middle_text(names[j], 20) for j in found.columns]
    longest = max(map(len, shown))
    drawn = new_figure(1.35 + 0.2 * lines + 0.055 * longest, width=min(WIDTH, 1.6 + 0.45 * count))
    top, bottom = drawn.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1.0, 0.2 * lines + 0.05]})
    top.bar(range(count), found.share, color=MODEL, width=0.62)
    for place, share in enumerate(found.share):
        top.text(place, share, share_text(share), ha="center", va="bottom", fontsize=6)
    top.set_ylim(0, min(1.0, float(found.share.max()) * 1.18))
    top.yaxis.set_major_locator(MaxNLocator(3))
    top.yaxis.set_major_formatter(PERCENT)
    top.set_ylabel("missing")
    top.tick_params(axis="x", length=0)
    grid(top)
    _pattern_dots(bottom, found, len(data))
    bottom.set_xticks(range(count), shown, rotation=90 if count > 4 or longest > 9 else 0, fontsize=6.6)
    bottom.set_xlim(-0.7, count - 0.3)
    return drawn


def _pattern_dots(axes: Axes, found: Patterns, rows: int) -> None:
    """Draw a line of dots for each pattern: filled where the cell is missing."""
    for line, pattern in enumerate(found.patterns):
        places = np.arange(len(pattern))
        axes.scatter(places, np.full(len(places), line), s=26, c=np.where(pattern, MODEL, RULE).tolist(), linewidths=0)
    words = [f"{plural(int(n), 'row')}, {share_text(n / rows)}" for n in found.counts]
    axes.set_yticks(range(len(words)), words, fontsize=6.6)
    axes.set_ylim(len(words) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)


def words(data: Array, names: Sequence[str]) -> Words:
    """Describe how many cells are missing, where, and whether together."""
    found = missing_patterns(data, MOST_COLUMNS, MOST_PATTERNS)
    gone = ~np.isfinite(data)
    columns, complete = int(gone.any(axis=0).sum()), int((~gone.any(axis=1)).sum())
    order = np.argsort(-found.share, kind="stable")[:MOST_NAMED]
    worst = ", ".join(f"{label_text(names[found.columns[k]], 30)} {found.share[k]:.1%}" for k in order)
    alt = (
        f"{gone.mean():.1%} of cells missing, in {columns} of {plural(gone.shape[1], 'column')}: {worst}"
        f"{' and less in others' if columns > len(order) else ''}. {complete:,} of {plural(len(gone), 'row')} complete"
        f"; {plural(found.n_patterns, 'pattern')}."
    )
    caption = (
        "Above: the share of each column's cells that is missing. Below: which cells of a row are missing together, in "
        f"orange, the most frequent patterns first. {_together(data, names)}"
    )
    if columns > len(found.columns):
        caption += f" The {len(found.columns)} columns that miss most are shown."
    if found.n_patterns > len(found.counts):
        caption += f" {len(found.counts)} of {plural(found.n_patterns, 'pattern')} shown."
    return Words(alt, caption)


def _together(data: Array, names: Sequence[str]) -> str:
    gone = ~np.isfinite(data)
    if gone.any(axis=0).sum() < 2:
        return "Only one column has missing cells."
    rows, expected = missing_together(data)
    far = 3 * np.sqrt(expected * (1 - expected / len(data))) + 1
    verdict = "so on the whole columns go missing about independently"
    if abs(rows - expected) > far:
        verdict = "columns go missing together" if rows > expected else "columns avoid going missing together"
    verb = "misses" if rows == 1 else "miss"
    pair = most_together(gone)
    said = "" if pair is None else _pair(pair, names)
    return f"{plural(rows, 'row')} {verb} two cells or more, {expected:,.1f} would by chance: {verdict}.{said}"


def _pair(pair: Pair, names: Sequence[str]) -> str:
    first, second = (label_text(names[j], 30) for j in pair.columns)
    return (
        f" Most together: {first} and {second}, in {plural(pair.rows, 'row')}, {pair.expected:,.1f} by chance "
        f"(correlation {pair.correlation:.2f})."
    )


def body(made: Reproduction) -> Markup:
    """Show which cells are missing."""
    return picture("missing", figure(made.data, made.names), words(made.data, made.names))


def _find(found: Evaluation) -> Reproduction | None:
    made = found.reproduction
    return made if made is not None and made.columns is not None and np.isnan(made.data).any() else None


SECTION = Section("missing", "Missing cells", _find, body)
