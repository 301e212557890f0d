"""What a report says: the numbers and arrays behind one page, with no picture drawn yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tightbound.report.diagnostics import (
    Array,
    BaselineContent,
    BracketContent,
    CalibrationContent,
    GapContent,
    HealthContent,
    RowEvidenceContent,
)
from tightbound.report.table_content import TableContent

__all__ = ["Array", "EvidenceRow", "ReportContent"]


@dataclass(frozen=True)
class EvidenceRow:
    """One line of the table of evidence: a number, its error, and what it is.

    `kind` is one of "lower bound", "upper bound", "approximate", "estimate", "exact", "count", or other words; `rows`
    is the number of rows it is taken over.
    """

    quantity: str
    value: float
    standard_error: float | None
    unit: str
    kind: str
    method: str
    rows: int


@dataclass(frozen=True)
class ReportContent:
    """Everything the report shows. m rows, d columns, a latent space of k dimensions; densities in nats a row.

    - `history`: "epoch", "train_bound", "validation_bound" (NaN where there is none), nats a row in the user's units.
    - `data` (m, d), `reconstructions` (m, d), `samples` (any number, d): the user's units, NaN = missing.
    - `log_evidence`, `elbo` (m,): log p(x) and the ELBO of each row of `data`.
    - `latent_means` (m, k) and, when known, `latent_scales` (m, k): mean and standard deviation of q(z given x);
      `prior_samples` (any number, k).
    - `kl_per_dimension` (k,) nats; `active` (k,): is the variance of the posterior mean above 0.01?
    - `row_numbers` (m,): where the rows of `data` stand in the user's file, counted from 0.
    - `image_shape`: (height, width) or (height, width, 3) when rows are images; `labels` (m,): a colour for each row.
    - `unit`: what log p(x) is measured in.
    - `health`, `bracket`, `gap`, `row_evidence` (of the m rows), `calibration`, `baselines`: a section each, where
      there is one.
    - `table`: of columns of several kinds; `data`, `samples` and `reconstructions` then hold codes of levels.
    """

    title: str
    summary: str
    settings: Mapping[str, str]
    messages: tuple[str, ...]
    history: Mapping[str, Array]
    best_epoch: int | None
    evidence: tuple[EvidenceRow, ...]
    log_evidence: Array
    elbo: Array
    data: Array
    samples: Array
    reconstructions: Array
    names: tuple[str, ...]
    image_shape: tuple[int, ...] | None
    latent_means: Array
    prior_samples: Array
    labels: Array | None
    kl_per_dimension: Array
    active: Array
    row_numbers: Array
    latent_scales: Array | None = None
    unit: str = "nats a row, the log of a density in the data's own units"
    health: HealthContent | None = None
    bracket: BracketContent | None = None
    gap: GapContent | None = None
    row_evidence: RowEvidenceContent | None = None
    calibration: CalibrationContent | None = None
    baselines: BaselineContent | None = None
    table: TableContent | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together, by name, before a picture mixes up rows."""
        rows, columns = self.data.shape
        latent = self.latent_means.shape[-1]
        for field, shape in _expected_shapes(self, rows, columns, latent).items():
            value = getattr(self, field)
            if value is not None and tuple(value.shape) != shape:
                raise ValueError(
                    f"the report's {field} must have shape {shape}, to match data {self.data.shape} and latent_means "
                    f"{self.latent_means.shape}, but has {tuple(value.shape)}: pass the values of the same rows"
                )
        if self.row_evidence is not None and self.row_evidence.standard_error.shape != (rows,):
            raise ValueError(
                f"the report's row_evidence must be of the {rows} rows of data, but has "
                f"{self.row_evidence.standard_error.shape}: pass the values of the same rows"
            )
        if self.table is not None and len(self.table.columns) != columns:
            raise ValueError(
                f"the report's table must describe each of the {columns} columns of data, but describes "
                f"{len(self.table.columns)}: pass a ColumnContent for every column"
            )
        if len(self.names) != columns:
            raise ValueError(
                f"the report's names must have one name for each of the {columns} columns of data, but there are "
                f"{len(self.names)}: pass a name for every column"
            )


def _expected_shapes(content: ReportContent, rows: int, columns: int, latent: int) -> dict[str, tuple[int, ...]]:
    """Return the shape that each array must have."""
    return {
        "log_evidence": (rows,),
        "elbo": (rows,),
        "row_numbers": (rows,),
        "labels": (rows,),
        "reconstructions": (rows, columns),
        "samples": (content.samples.shape[0], columns),
        "latent_means": (rows, latent),
        "latent_scales": (rows, latent),
        "prior_samples": (content.prior_samples.shape[0], latent),
        "kl_per_dimension": (latent,),
        "active": (latent,),
    }
