"""The sections of the pages, one file each, in the order in which a person asks."""

from typing import Any

from tightbound.estimator.evaluation import Evaluation
from tightbound.evidence import Comparison
from tightbound.report.page import Section
from tightbound.report.sections import (
    anomalies,
    associations,
    bracket,
    calibration,
    columns,
    comparison,
    copies,
    evidence,
    gap,
    health,
    hidden_cells,
    kl,
    latent,
    learning,
    log_evidence,
    lowest,
    missing,
    reconstructions,
    rows,
    samples,
    settings,
    simple_models,
)

OF_EVALUATION: tuple[Section[Evaluation, Any], ...] = (
    evidence.SECTION,
    health.SECTION,
    bracket.SECTION,
    gap.SECTION,
    rows.SECTION,
    learning.SECTION,
    columns.SECTION,
    associations.SECTION,
    missing.SECTION,
    samples.SECTION,
    copies.SECTION,
    reconstructions.SECTION,
    hidden_cells.SECTION,
    latent.SECTION,
    kl.SECTION,
    log_evidence.SECTION,
    calibration.SECTION,
    simple_models.SECTION,
    lowest.SECTION,
    anomalies.SECTION,
    settings.SECTION,
)
OF_COMPARISON: tuple[Section[Comparison, Any], ...] = comparison.SECTIONS
