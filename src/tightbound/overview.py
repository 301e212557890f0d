"""What a fitted model says of a table, gathered for the screen and the report."""

import dataclasses
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.data import Table
from tightbound.evidence import Evidence, Latents
from tightbound.fitted import FittedModel
from tightbound.progress import RowProgress, duration
from tightbound.report import EvidenceRow, ReportContent

MOST_REPORTED_ROWS = 2000
"""A report scores at most so many rows, spread evenly over the table."""
_SAMPLES_SHOWN = 500


@final
@dataclasses.dataclass(frozen=True)
class Overview:
    """A table's evidence and latents under a model."""

    model: FittedModel
    table: Table
    evidence: Evidence
    latents: Latents
    row_numbers: NDArray[np.intp]
    """Where the rows stand in the user's file, counted from 0."""

    def evidence_rows(self) -> tuple[EvidenceRow, ...]:
        """One table: quantity, value, standard error, unit, bound or estimate, method, rows."""
        evidence, n = self.evidence, self.evidence.n_rows
        mean, elbo = evidence.mean(), evidence.mean_elbo()
        method = f"importance sampling with q, {evidence.n_samples} samples a row"
        draws = f"mean of log weights, {evidence.n_samples} samples a row"
        gap = evidence.log_evidence - evidence.elbo
        gap_error = float(np.std(gap, ddof=1) / np.sqrt(n)) if n > 1 else None
        rows = [
            EvidenceRow("log p(x)", mean.value, _known(mean.standard_error), "nats a row", "estimate", method, n),
            EvidenceRow("ELBO", elbo.value, _known(elbo.standard_error), "nats a row", "lower bound", draws, n),
            EvidenceRow(
                "log p(x) - ELBO, estimates KL(q || p(z given x))",
                float(gap.mean()),
                gap_error,
                "nats a row",
                "estimate",
                "difference of the two",
                n,
            ),
        ]
        if self.model.encoding.likelihood == "bernoulli" and len(self.table.shape) > 1:
            bits = mean.value / (-np.log(2) * self.model.encoding.n_features)
            error = mean.standard_error / (np.log(2) * self.model.encoding.n_features)
            rows.append(EvidenceRow("-log2 p(x) per pixel", bits, _known(error), "bits", "estimate", method, n))
        rows += [
            EvidenceRow(
                "Monte Carlo error of the mean log p(x)",
                mean.monte_carlo_error,
                None,
                "nats a row",
                "estimate",
                "delta method",
                n,
            ),
            EvidenceRow(
                "rows whose estimate is unreliable", evidence.n_unreliable, None, "rows", "count", "k-hat, ess", n
            ),
            EvidenceRow(
                "active units",
                int(self.latents.active.sum()),
                None,
                f"of {len(self.latents.active)}",
                "count",
                "variance of posterior mean > 0.01",
                n,
            ),
            EvidenceRow(
                "mean KL(q || prior)",
                float(self.latents.kl_per_dimension.sum()),
                None,
                "nats a row",
                "exact" if self.model.specification.posterior == "diagonal" else "lower bound",
                "closed form, summed over dimensions",
                n,
            ),
        ]
        return tuple(rows)

    def content(self, title: str) -> ReportContent:
        """Everything that the page shows."""
        model, summary = self.model, self.model.summary
        samples, prior = model.sample(_SAMPLES_SHOWN, seed=summary.seed)
        return ReportContent(
            title=title,
            summary=self.paragraph(),
            settings={name: _words(value) for name, value in summary.settings.items()},
            messages=summary.messages,
            history={
                name: np.array([getattr(record, name) for record in summary.history], dtype=float)
                for name in ("epoch", "train_bound", "validation_bound")
            },
            best_epoch=summary.best_epoch,
            evidence=self.evidence_rows(),
            log_evidence=self.evidence.log_evidence,
            elbo=self.evidence.elbo,
            data=self.table.values.astype(float),
            samples=samples,
            reconstructions=model.reconstruct(self.table),
            names=self.table.names,
            image_shape=self.table.shape if len(self.table.shape) > 1 else None,
            latent_means=self.latents.mean,
            latent_scales=self.latents.sd,
            prior_samples=prior,
            labels=self.table.labels,
            kl_per_dimension=self.latents.kl_per_dimension,
            active=self.latents.active,
            row_numbers=self.row_numbers,
        )

    def paragraph(self) -> str:
        """What was fitted, on what, in one paragraph."""
        spec, summary = self.model.specification, self.model.summary
        likelihood = spec.likelihood
        if likelihood == "gaussian":
            words = {
                "shared": "one learned scale",
                "feature": "one learned scale a feature",
                "diagonal": "scales that depend on z",
                "low_rank": f"a rank-{spec.rank} plus diagonal covariance that depends on z",
                "full": "a full covariance that depends on z",
            }
            decoder = f"a Gaussian decoder with {words[spec.covariance]}"
        else:
            decoder = "a Bernoulli decoder"
        held = f" ({summary.n_validation} held out for early stopping)" if summary.n_validation else ""
        n_rows = summary.n_train + summary.n_validation
        return (
            f"A variational autoencoder with {spec.latent_dim} latent dimensions, {decoder} and a {spec.posterior} "
            f"Gaussian posterior, fitted to {n_rows:,} rows of {summary.source}{held} with "
            f"{spec.n_features} modelled columns, in {duration(summary.seconds)} ({len(summary.history)} epochs; the "
            f"parameters of epoch {summary.best_epoch} are kept). {summary.detail} The figures below are for "
            f"{self.evidence.n_rows:,} rows of {self.table.source}; every log density is in nats a row, as a density "
            "in the units of the data."
        )


def overview(
    model: FittedModel, table: Table, *, n_samples: int, most_rows: int | None = None, progress: bool = False
) -> Overview:
    """Score and encode a table (at most `most_rows` of it, spread evenly)."""
    table = model.encoding.schema.check(table)
    rows = np.arange(table.n_rows)
    if most_rows is not None and table.n_rows > most_rows:
        rows = np.unique(np.linspace(0, table.n_rows - 1, most_rows).round().astype(np.intp))
        table = table.take(rows)
    with RowProgress(progress, table.n_rows, "scoring") as shown:
        evidence = model.evidence(table, n_samples, on_progress=shown)
    return Overview(model, table, evidence, model.latents(table), rows)


def _known(error: float) -> float | None:
    return None if error != error else error


def _words(value: Any) -> str:
    if value is None:
        return "default"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
