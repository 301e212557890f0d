"""The sentences of a mixed table's sections: alternative texts and captions."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from tightbound.report.content import ReportContent
from tightbound.report.diagnostics import Array
from tightbound.report.numbers import plural, short
from tightbound.report.style import label_text
from tightbound.report.table_content import (
    AssociationContent,
    ColumnContent,
    CopiesContent,
    ImputationContent,
    StrangeContent,
)
from tightbound.report.table_figures import MOST_LEVELS, MOST_MISSING, MOST_PATTERNS, level_shares
from tightbound.report.table_numbers import missing_patterns, missing_together
from tightbound.report.words import Words

MOST_NAMED = 3
CLEAR = 0.1
"""Differences of associations below this are not named."""


def marginal(column: ColumnContent, data: Array, samples: Array) -> str:
    """Describe one marginal in one sentence."""
    if column.levels:
        names, of_data, of_samples = level_shares(column, data, samples)
        said = [
            f"{label_text(name, 30)} {p:.0%} of data and {q:.0%} of samples"
            for name, p, q in zip(names, of_data, of_samples, strict=True)
        ]
        return "Shares of levels: " + "; ".join(said) + "."
    parts = [f"{of} {_median(values, column.kind)}" for of, values in (("data", data), ("samples", samples))]
    return "Histogram, median: " + ", ".join(parts) + "."


def _median(values: Array, kind: str) -> str:
    known = values[np.isfinite(values)]
    return value_of(float(np.median(known)), kind) if known.size else "unknown"


def value_of(value: float, kind: str) -> str:
    """Return a number of a column as a person writes it: a moment for days since 1970-01-01."""
    if kind == "datetime" and np.isfinite(value) and abs(value) < 2.9e6:
        moment = np.datetime64(0, "s") + np.timedelta64(round(value * 86400), "s")
        return str(moment.astype("datetime64[D]")) if value == round(value) else str(moment).replace("T", " ")
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else short(value)


def columns(content: ReportContent, shown: int) -> str:
    """Say how to read the table of columns, and how many marginals differ by more than chance."""
    table = content.table.columns if content.table else ()
    known = [column for column in table if np.isfinite(column.distance)]
    off = [column for column in known if column.distance > column.chance]
    caption = (
        "Blue is data, orange is samples from the model. The distance is that of the two marginals, between 0 and 1: "
        "total variation (the share of rows that would have to change their level) or, for numbers, "
        "Kolmogorov-Smirnov (the largest difference of the shares of rows below a value); beside it what 95 % of "
        "samples of the same distribution stay below. "
        f"{plural(len(off), 'column')} of {len(known)} beyond it"
    )
    caption += ", where about one in twenty is by chance alone." if known else "."
    if any(len(column.levels) > MOST_LEVELS for column in table):
        caption += f" Of more than {MOST_LEVELS} levels the most frequent are shown, and the others together."
    if any(not column.levels for column in table):
        caption += " Values far out are not shown."
    if shown < len(table):
        caption += f" {shown} of {len(table)} columns: those with the largest distance in units of chance."
    return caption


def associations(content: AssociationContent) -> Words:
    """Describe the associations of data beside those of samples."""
    named = largest_differences(content)
    known = np.abs(content.samples - content.data)[np.tril_indices(len(content.names), -1)]
    known = known[np.isfinite(known)]
    mean = f" Mean absolute difference {known.mean():.2f}." if known.size else ""
    said = "; ".join(
        f"{label_text(a, 30)} and {label_text(b, 30)} {p:.2f} in the data, {q:.2f} in the samples"
        for a, b, p, q in named
    )
    alt = f"Associations of {plural(len(content.names), 'column')}, data beside samples.{mean}"
    alt += f" Largest differences: {said}." if said else f" No difference above {CLEAR}."
    caption = (
        "How strongly two columns go together, between 0 and 1: the absolute correlation of two numbers, Cramér's V of "
        "two levels, the correlation ratio of a number and a level (the last two corrected for the number of levels: "
        "columns that have nothing to do with each other give about 0). Right: blue is association that samples have "
        "lost, orange what the data do not have; grey is not measured."
    )
    caption += f" Largest differences: {said}." if said else f" No two columns differ by more than {CLEAR}."
    if len(content.names) < content.n_columns:
        caption += f" {len(content.names)} of {content.n_columns} columns: those with the most association."
    return Words(alt, caption)


def largest_differences(content: AssociationContent) -> list[tuple[str, str, float, float]]:
    """Return up to three pairs whose association differs most, if clearly: names, of the data, of the samples."""
    pairs = [
        (content.names[i], content.names[j], float(content.data[i, j]), float(content.samples[i, j]))
        for i, j in combinations(range(len(content.names)), 2)
    ]
    clear = [pair for pair in pairs if abs(pair[2] - pair[3]) >= CLEAR]
    return sorted(clear, key=lambda pair: -abs(pair[2] - pair[3]))[:MOST_NAMED]


def missing(content: ReportContent) -> Words:
    """Describe how many cells are missing, where, and whether together."""
    data = content.data
    found = missing_patterns(data, MOST_MISSING, MOST_PATTERNS)
    gone, columns = ~np.isfinite(data), int((~np.isfinite(data)).any(axis=0).sum())
    order = np.argsort(-found.share, kind="stable")[:MOST_NAMED]
    worst = ", ".join(f"{label_text(content.names[found.columns[k]], 30)} {found.share[k]:.1%}" for k in order)
    complete = int((~gone.any(axis=1)).sum())
    alt = (
        f"{gone.mean():.1%} of cells missing, in {columns} of {plural(gone.shape[1], 'column')}: {worst}"
        f"{' and less in others' if columns > len(order) else ''}. {complete:,} of {plural(len(gone), 'row')} complete"
        f"; {plural(found.n_patterns, 'pattern')}."
    )
    caption = (
        "Above: the share of each column's cells that is missing. Below: which cells of a row are missing together, in "
        f"orange, the most frequent patterns first. {_together(content)}"
    )
    if columns > len(found.columns):
        caption += f" The {len(found.columns)} columns that miss most are shown."
    if found.n_patterns > len(found.counts):
        caption += f" {len(found.counts)} of {plural(found.n_patterns, 'pattern')} shown."
    return Words(alt, caption)


def _together(content: ReportContent) -> str:
    gone = ~np.isfinite(content.data)
    at = np.flatnonzero(gone.any(axis=0))
    if len(at) < 2:
        return "Only one column has missing cells."
    rows, expected = missing_together(content.data)
    pair = _closest_pair(content, gone, at)
    if pair or rows > expected + 3 * np.sqrt(expected) + 1:
        verdict = "columns go missing together"
    elif rows < expected - 3 * np.sqrt(expected) - 1:
        verdict = "columns avoid going missing together"
    else:
        verdict = "so columns go missing about independently"
    said = f"{plural(rows, 'row')} miss two cells or more, {expected:,.1f} would by chance: {verdict}."
    return said.replace("row miss", "row misses") + pair


def _closest_pair(content: ReportContent, gone: Array, at: Array) -> str:
    varying = at[~gone[:, at].all(axis=0)][:200]
    if len(varying) < 2:
        return ""
    phi = np.corrcoef(gone[:, varying].T.astype(float))
    np.fill_diagonal(phi, 0)
    i, j = np.unravel_index(int(np.argmax(phi)), phi.shape)
    if phi[i, j] < 0.3:
        return ""
    names = [label_text(content.names[varying[k]], 30) for k in sorted((i, j))]
    return f" Most together: {names[0]} and {names[1]} (correlation {phi[i, j]:.2f})."


def imputation(content: ImputationContent) -> tuple[str, str]:
    """Say what was checked and how it went, and how to read the table."""
    rows = content.rows
    better = sum(row.error < row.simple_error for row in rows)
    covered = [(row.coverage, row.cells) for row in rows if row.coverage is not None]
    cells = sum(row.cells for row in rows)
    verdict = f"The model beats the simple value in {better} of {plural(len(rows), 'column')}."
    if covered:
        n = sum(weight for _, weight in covered)
        mean = sum(share * weight for share, weight in covered) / n
        verdict += (
            f" Intervals of {content.interval:.0%} hold {mean:.1%} ± {100 * binomial_error(content, n):.1f} of "
            f"{plural(n, 'cell')} with an order."
        )
    rounds = "" if content.n_rounds == 1 else f", others in each of {content.n_rounds} rounds"
    seen = "held out of the fit" if content.held_out else "which the fit may have seen"
    caption = (
        f"{content.share:.0%} of the observed cells of {plural(content.n_rows, 'row')}, {seen}, were hidden and filled "
        f"in again{rounds}: {plural(cells, 'cell')} in all. Numbers: root mean squared error in standard deviations of "
        "the column, beside that of its mean. Levels: the share that is wrong, beside that of the most frequent level. "
        f"Coverage: the share of cells inside the model's {content.interval:.0%} intervals, ± the binomial standard "
        f"error of a true {content.interval:.0%}; marked where it is more than two of them below. Marked errors are no "
        "better than the simple value: the other columns say nothing that the model has learnt to use."
    )
    return verdict, caption


def binomial_error(content: ImputationContent, cells: int) -> float:
    """Return the standard error of a coverage over so many cells, if the true one is the intervals' probability."""
    return float(np.sqrt(content.interval * (1 - content.interval) / max(cells, 1)))


def strange(content: StrangeContent) -> str:
    """Say how to read the table of strange rows."""
    caption = "Lowest log p(x) first; row numbers count from 0."
    caption += (
        " Beside each row the cells that fit the rest of it least, with the chance under the model of a cell that is "
        "as far out or further, given the rest, where it is below one in ten: a cell is strange by what stands beside "
        "it, not by its value alone. In a row without such cells "
        "all of them are a little odd."
        if content.explained
        else " Their cells were not looked at, one by one, in a table of so many columns."
    )
    if content.n_reference:
        caption += (
            f" p-value: the share of {plural(content.n_reference, 'row')} held out of the fit that score as low or "
            "lower (conformal; small by chance for some rows of a long table, and a guide only for rows that the fit "
            "has seen)."
        )
    return caption


def copies(content: CopiesContent) -> Words:
    """Describe how close samples come to rows of the data."""
    of_data, of_samples = content.of_data, content.of_samples
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
