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
from tightbound.report.words import plural, with_error

MOST_REPORTED_ROWS = 2000
"""A report scores at most so many rows, spread evenly over the table."""
_MOST_HELD_OUT_ROWS = 500
_SAMPLES_SHOWN = 500

_PRIORS = {
    "standard": "a standard Gaussian prior",
    "mixture": "a mixture prior",
    "vamp": "a VampPrior",
    "maf": "an autoregressive-flow prior",
    "coupling": "a coupling-flow prior",
    "spline": "a spline-flow prior",
    "bernoulli": "a learned Bernoulli prior",
    "categorical": "a learned categorical prior",
}
_POSTERIORS = {
    "diagonal": "a diagonal Gaussian posterior",
    "full": "a full-covariance Gaussian posterior",
    "mixture": "a Gaussian-mixture posterior",
    "planar": "a planar-flow posterior",
    "iaf": "an inverse autoregressive-flow posterior",
    "coupling": "a coupling-flow posterior",
    "spline": "a spline-flow posterior",
    "bernoulli": "a Bernoulli posterior",
    "categorical": "a categorical posterior",
}
_INFERENCES = {
    "amortised": "{}",
    "per_datum": "{} found for every row by an inner loop",
    "semi_amortised": "{} that a network proposes and an inner loop refines",
    "exact": "the exact posterior",
}

_Row = tuple[str, float, float | None, str, str, str, int]


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
    held_out: Evidence | None = None
    """Of rows that the parameters were not fitted to, where `table` has rows that they were."""

    def evidence_rows(self) -> tuple[EvidenceRow, ...]:
        """One table: quantity, value, standard error, unit, bound or estimate, method, rows."""
        evidence, latents, n = self.evidence, self.latents, self.evidence.n_rows
        mean, elbo = evidence.mean(), evidence.mean_elbo()
        gap = evidence.log_evidence - evidence.elbo
        gap_error = float(np.std(gap, ddof=1) / np.sqrt(n)) if n > 1 else None
        samples = f"{evidence.n_samples:,} samples a row"
        method = f"importance sampling with {self._words_for_q()}, {samples}"
        kl = float(latents.total_kl.mean())
        rows = [
            ("log p(x)", mean.value, _known(mean.standard_error), "nats a row", "estimate", method, n),
            *self._held_out_rows(method),
            (
                "ELBO",
                elbo.value,
                _known(elbo.standard_error),
                "nats a row",
                "lower bound",
                f"mean log weight, {samples}",
                n,
            ),
            (
                "log p(x) - ELBO",
                float(gap.mean()),
                gap_error,
                "nats a row",
                "estimate",
                "difference of the two; estimates KL(q || posterior)",
                n,
            ),
            *self._bits_rows(method),
            (
                "Monte Carlo error of log p(x)",
                mean.monte_carlo_error,
                None,
                "nats a row",
                "estimate",
                "delta method",
                n,
            ),
            ("rows with unreliable log p(x)", evidence.n_unreliable, None, f"of {n:,}", "count", "k-hat, ess", n),
            (
                "active units",
                int(latents.active.sum()),
                None,
                f"of {len(latents.active)}",
                "count",
                "variance of posterior mean > 0.01",
                n,
            ),
            ("mean KL(q || prior)", kl, None, "nats a row", *self._kind_of_kl(), n),
        ]
        return tuple(EvidenceRow(*row) for row in rows)

    def _words_for_q(self) -> str:
        steps = self.model.refined_by
        return "q" if steps is None else f"q refined by {steps} steps"

    def _kind_of_kl(self) -> tuple[str, str]:
        return ("exact", "closed form") if self.latents.exact_kl else ("estimate", "100 draws of q a row")

    def _held_out_rows(self, method: str) -> list[_Row]:
        if self.held_out is None:
            return []
        mean = self.held_out.mean()
        error = _known(mean.standard_error)
        return [("log p(x) of held-out rows", mean.value, error, "nats a row", "estimate", method, mean.n_rows)]

    def _bits_rows(self, method: str) -> list[_Row]:
        if self.model.encoding.likelihood != "bernoulli" or len(self.table.shape) == 1:
            return []
        mean, nats = self.evidence.mean(), np.log(2) * self.model.encoding.n_features
        error = _known(mean.standard_error / nats)
        return [("-log2 p(x) per pixel", -mean.value / nats, error, "bits", "estimate", method, mean.n_rows)]

    def __str__(self) -> str:
        """The table of evidence in plain text, at most 80 characters wide."""
        lines = [("quantity", "value", "", "unit", "what it is")]
        for row in self.evidence_rows():
            value, error = with_error(row.value, row.standard_error)
            if row.kind != "count" and not error:
                value = f"{row.value:.3g}"
            lines.append((row.quantity, value, f"± {error}" if error else "", row.unit, row.kind))
        widths = [max(len(line[column]) for line in lines) for column in range(4)]
        n, held_out = self.evidence.n_rows, self.held_out
        seen = "" if held_out is None else f", training rows included; {plural(held_out.n_rows, 'row')} held out"
        return "\n".join(
            [
                f"{self.table.source}: {plural(n, 'row')}{seen}",
                "",
                *(
                    f"{name:<{widths[0]}}  {value:>{widths[1]}} {error:<{widths[2]}}  {unit:<{widths[3]}}  {kind}"
                    for name, value, error, unit, kind in lines
                ),
                "",
                f"log p(x) by importance sampling with {self._words_for_q()}, {self.evidence.n_samples:,} samples a",
                "row; ± is one standard error over rows.",
            ]
        )

    def content(self, title: str) -> ReportContent:
        """Everything that the page shows."""
        model, summary = self.model, self.model.summary
        samples, prior = model.sample(_SAMPLES_SHOWN, seed=summary.seed)
        return ReportContent(
            title=title,
            summary=self.paragraph(),
            settings=self._settings(),
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
        n_rows = summary.n_train + summary.n_validation
        held = f" ({summary.n_validation:,} of them held out for early stopping)" if summary.n_validation else ""
        seen = "" if self.held_out is None else ", training rows included"
        prior, posterior = _PRIORS[spec.prior], _INFERENCES[spec.inference].format(_POSTERIORS[spec.posterior])
        return (
            f"A variational autoencoder with {plural(spec.latent_dim, 'latent dimension')}, {prior}, {decoder} and "
            f"{posterior}, fitted to {n_rows:,} rows of {summary.source}{held} with "
            f"{plural(spec.n_features, 'modelled column')}, in {duration(summary.seconds)} "
            f"({plural(len(summary.history), 'epoch')}; the parameters of epoch {summary.best_epoch} are kept). "
            f"{summary.detail} The figures below are for {plural(self.evidence.n_rows, 'row')} of "
            f"{self.table.source}{seen}; log p(x) is in {self.unit()}."
        )

    def unit(self) -> str:
        """What log p(x) is measured in."""
        if self.model.encoding.likelihood == "bernoulli":
            return "nats a row, the log of a probability"
        return "nats a row, the log of a density in the data's units"

    def _settings(self) -> dict[str, str]:
        # What was left to the program to choose is shown as it was chosen, where the model says so.
        chosen = self.model.specification.to_json()
        settings = {**self.model.summary.settings, "random_state": self.model.summary.seed}
        return {
            name: f"{_words(chosen[name])} ({_words(value)})"
            if value in (None, "auto") and name in chosen
            else _words(value)
            for name, value in settings.items()
        }


def overview(
    model: FittedModel,
    table: Table,
    *,
    n_samples: int,
    most_rows: int | None = None,
    held_out: Table | None = None,
    progress: bool = False,
) -> Overview:
    """Score and encode a table.

    Args:
        model, table: what is looked at, and on which rows.
        n_samples: importance samples a row.
        most_rows: take at most so many rows, spread evenly.
        held_out: rows that the parameters were not fitted to, to be scored beside `table` (500 of them at most).
        progress: show a bar in a terminal.
    """
    table = model.encoding.schema.check(table)
    rows = _spread(table.n_rows, most_rows)
    table = table.take(rows)
    unseen = None if held_out is None else held_out.take(_spread(held_out.n_rows, _MOST_HELD_OUT_ROWS))
    with RowProgress(progress, table.n_rows, "scoring") as shown:
        evidence = model.evidence(table, n_samples, on_progress=shown)
    guard = None if unseen is None else model.evidence(unseen, n_samples)
    return Overview(model, table, evidence, model.latents(table), rows, guard)


def _spread(n: int, most: int | None) -> NDArray[np.intp]:
    if most is None or n <= most:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, most).round().astype(np.intp))


def _known(error: float) -> float | None:
    return None if error != error else error


def _words(value: Any) -> str:
    if value is None:
        return "default"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
