"""The figures of the report, one function each: `ReportContent` in, matplotlib `Figure` out.

figure = learning_curves(content)
figure.savefig("learning_curves.png", dpi=180)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from matplotlib.figure import Figure

from tightbound.report import forest, table_figures, trust, uniform
from tightbound.report.content import ReportContent
from tightbound.report.curves import kl_per_dimension, learning_curves, log_evidence
from tightbound.report.images import image_lowest_rows, image_reconstructions, image_samples
from tightbound.report.latent import aggregated_posterior, latent_space
from tightbound.report.table_making import has_numbers, numbers_only
from tightbound.report.table_sections import has_gaps
from tightbound.report.tables import table_reconstructions, table_samples

__all__ = [
    "FIGURES",
    "aggregated_posterior",
    "figures_of",
    "image_lowest_rows",
    "kl_per_dimension",
    "latent_space",
    "learning_curves",
    "log_evidence",
    "reconstructions",
    "samples",
]


def samples(content: ReportContent) -> Figure:
    """Draw samples beside data: image grids where rows are images, else a pair plot."""
    return image_samples(content) if content.image_shape else table_samples(numbers_only(content))


def reconstructions(content: ReportContent) -> Figure:
    """Draw data and their reconstructions: images above each other, else value against reconstruction."""
    return image_reconstructions(content) if content.image_shape else table_reconstructions(numbers_only(content))


FIGURES: Mapping[str, Callable[[ReportContent], Figure]] = MappingProxyType(
    {
        "learning_curves": learning_curves,
        "samples": samples,
        "reconstructions": reconstructions,
        "latent_space": latent_space,
        "aggregated_posterior": aggregated_posterior,
        "kl_per_dimension": kl_per_dimension,
        "log_evidence": log_evidence,
    }
)


def figures_of(content: ReportContent) -> dict[str, Callable[[], Figure]]:
    """Return every figure that `content` has the numbers for, by name, as functions that draw it."""
    found: dict[str, Callable[[], Figure]] = {name: partial(draw, content) for name, draw in FIGURES.items()}
    if not has_numbers(content):
        del found["samples"], found["reconstructions"]
    if content.bracket is not None:
        found["bracket"] = partial(trust.bracket, content.bracket)
    if content.gap is not None:
        found["gap"] = partial(trust.gap_parts, content.gap)
    if content.row_evidence is not None:
        found["row_evidence"] = partial(trust.row_evidence, content)
    calibration = content.calibration
    if calibration is not None and calibration.ranks is not None:
        found["rank_histograms"] = partial(uniform.rank_histograms, calibration.ranks)
    if calibration is not None and calibration.predictive is not None:
        found["predictive_calibration"] = partial(uniform.predictive_calibration, calibration.predictive)
    if content.baselines is not None:
        found["baselines"] = partial(forest.baselines, content.baselines)
    table = content.table
    if table is not None and table.associations is not None:
        found["associations"] = partial(table_figures.associations, table.associations)
    if table is not None and has_gaps(content):
        found["missing"] = partial(table_figures.missing, content)
    if table is not None and table.copies is not None:
        found["copies"] = partial(table_figures.closest_rows, table.copies)
    return found
