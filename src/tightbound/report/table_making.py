"""From the codes of data and samples to the content of a table's sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tightbound.report.choose import spread_out
from tightbound.report.content import ReportContent
from tightbound.report.diagnostics import Array
from tightbound.report.table_content import AssociationContent, ColumnContent, CopiesContent
from tightbound.report.table_numbers import associations, closest, marginal_distance, most_associated, scales

MOST_ASSOCIATED = 20
MOST_CANDIDATES = 60
MOST_SAMPLES = 1000
MOST_CELLS = 120_000
"""Of the data, among which closest rows are looked for: fewer rows of wide tables, but at least 200."""


def measured(columns: Sequence[ColumnContent], data: Array, samples: Array) -> tuple[ColumnContent, ...]:
    """Return the columns with the distances of their marginals."""
    found = []
    for j, column in enumerate(columns):
        distance, chance = marginal_distance(data[:, j], samples[:, j], len(column.levels))
        found.append(replace(column, distance=distance, chance=chance))
    return tuple(found)


def associated(columns: Sequence[ColumnContent], data: Array, samples: Array) -> AssociationContent | None:
    """Return the associations of the up to 20 columns with the largest (among at most 60, spread over the table)."""
    candidates = spread_out(len(columns), MOST_CANDIDATES)
    of_data = associations(data[:, candidates], [len(columns[j].levels) for j in candidates])
    chosen = most_associated(of_data, MOST_ASSOCIATED)
    kept = candidates[chosen]
    if len(kept) < 2 or np.isnan(of_data).all():
        return None
    of_samples = associations(samples[:, kept], [len(columns[j].levels) for j in kept])
    names = tuple(columns[j].name for j in kept)
    return AssociationContent(names, of_data[np.ix_(chosen, chosen)], of_samples, len(columns))


def copied(columns: Sequence[ColumnContent], data: Array, samples: Array) -> CopiesContent | None:
    """Return distances of samples, and of data rows, to the closest (other) row of the data.

    Samples get the gaps of data rows: a distance over fewer columns is a smaller one as often as not.
    """
    if len(data) < 2 or not len(samples):
        return None
    levels = [len(column.levels) for column in columns]
    gaps = ~np.isfinite(data[np.arange(len(samples)) % len(data)])
    most = min(2 * MOST_SAMPLES, max(200, MOST_CELLS // len(columns)))
    holed = np.where(gaps, np.nan, samples)[: min(MOST_SAMPLES, most)]
    scale = scales(data, levels)
    shown = data[spread_out(len(data), most)]
    found = (closest(holed, shown, levels, scale), closest(shown, shown, levels, scale, same=True))
    known = [distances[np.isfinite(distances)] for distances in found]
    return CopiesContent(*known) if all(distances.size for distances in known) else None


def has_numbers(content: ReportContent) -> bool:
    """Whether there are columns whose values can be plotted against each other: a table of levels has none."""
    return content.table is None or any(not column.levels for column in content.table.columns)


def numbers_only(content: ReportContent) -> ReportContent:
    """Return the content without columns of levels, whose codes are no numbers to plot."""
    if content.table is None:
        return content
    kept = [j for j, column in enumerate(content.table.columns) if not column.levels]
    return replace(
        content,
        data=content.data[:, kept],
        samples=content.samples[:, kept],
        reconstructions=content.reconstructions[:, kept],
        names=tuple(content.names[j] for j in kept),
        table=None,
    )
