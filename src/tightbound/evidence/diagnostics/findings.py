"""What a check of a fit ends in: a verdict, the figure behind it and one sentence; and all of them together."""

import dataclasses
import enum
import textwrap
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

STANDARD_ERRORS = 3.0
"""A verdict needs an effect above its threshold and this many standard errors from no effect (p about 0.001)."""
FEWEST_ROWS = 50
"""With fewer rows the standard error of an AUC is above 0.06 and no verdict could stand on it."""
_WIDTH = 100


class Verdict(enum.Enum):
    """What is wrong with a fit, if anything; the values are sentences one can act on."""

    FINE = "Nothing wrong was found."
    COLLAPSED = "The latents carry no information: lower the weight on the KL, or use free bits."
    ENCODER_TOO_NARROW = "The encoder is too sure of the latents: use a richer posterior, or refine it row by row."
    ENCODER_TOO_WIDE = (
        "The encoder is less sure of the latents than it could be: train longer, or refine it row by row."
    )
    ENCODER_BIASED = "The encoder puts the latents in the wrong place: train longer, or refine it row by row."
    PRIOR_MISMATCH = "The prior does not match: use a two-stage or mixture prior."
    ENCODER_OVERFITTED = "The encoder serves new rows worse than training rows: refine it row by row on new ones."
    OVERFITTING = "The fit got worse on held-out rows: stop earlier, or use a smaller decoder."
    DECODER_TOO_NARROW = "The decoder is too sure of the cells: free its scales, or train longer."
    DECODER_TOO_WIDE = "The decoder is less sure of the cells than it could be: free its scales, or train longer."
    SAMPLES_DIFFER = "The samples differ from the data: mend the prior or the decoder before using them."
    COPIES = "The samples repeat training rows: do not give them away as new, and use a smaller decoder."
    UNKNOWN = "This check is not possible here; its sentence says why."


@final
@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    """Which check: "collapse", "prior", "encoder", "decoder", "samples", "copies", "overfitting", ..."""
    verdict: Verdict
    statistic: str
    """What `value` is, with its unit."""
    value: float
    """NaN where the check was not possible."""
    threshold: float
    """Where the verdict turns (the one nearest to being crossed, where a check has several)."""
    sentence: str
    """The verdict in words, with the figure and what to do."""

    @property
    def is_problem(self) -> bool:
        """Whether the verdict is neither FINE nor UNKNOWN."""
        return self.verdict not in (Verdict.FINE, Verdict.UNKNOWN)


def unknown(check: str, statistic: str, threshold: float, why: str) -> Finding:
    """The finding of a check that is not possible here; `why` is its sentence."""
    return Finding(check, Verdict.UNKNOWN, statistic, float("nan"), threshold, why)


@final
@dataclasses.dataclass(frozen=True)
class Separation:
    """How well a classifier tells two sets apart."""

    auc: float
    """Area under the ROC curve on rows it has not seen: 0.5 not at all, 1 always."""
    standard_error: float
    """Of `auc` if the sets were alike (Mann and Whitney, 1947)."""

    def is_above(self, threshold: float) -> bool:
        """Whether the AUC is above its threshold and too far from 1/2 for chance."""
        return self.auc > max(threshold, 0.5 + STANDARD_ERRORS * self.standard_error)


@final
@dataclasses.dataclass(frozen=True, repr=False)
class Health:
    """The checks of one fit, and the arrays that pictures of them need.

    k is the number of latents, d that of columns; nats are nats a row.
    """

    findings: tuple[Finding, ...]
    kl_per_dimension: NDArray[Any]
    """(k,) mean over rows of the KL of q(z_j | x) from the prior's marginal, nats."""
    information_per_dimension: NDArray[Any]
    """(k,) I(x; z_j), nats."""
    information: float
    """I(x; z), nats; at most the logarithm of the number of rows it was estimated from."""
    aggregated_kl: float
    """KL of the aggregated posterior from the prior: mean KL(q(z | x), prior) - I(x; z), nats."""
    active: NDArray[np.bool_]
    """(k,) which units are active."""
    marginals: NDArray[Any]
    """(k, 3) of each latent: mean and standard deviation of the aggregated posterior in units of the prior's, and the
    Kolmogorov-Smirnov distance of the two (0 to 1)."""
    encoder_histogram: NDArray[Any]
    """(k, n_bins) share of simulated rows whose z_j* ranks in this part of q's draws; flat when q is right."""
    encoder_spread: NDArray[Any]
    """(k,) spread of the normal scores of these ranks; 1 is right, above 1 q is too narrow."""
    encoder_bias: NDArray[Any]
    """(k,) median of these scores, in standard deviations of q."""
    decoder_histogram: NDArray[Any] | None
    """(n_bins,) share of cells whose probability integral transform falls into this part; None for discrete data."""
    coverage: NDArray[Any] | None
    """(d, 2) share of held-out cells in the decoder's 50 % and 90 % intervals, by column; None for discrete data."""
    noise_ratio: NDArray[Any] | None
    """(d,) true standard deviation of a column's noise over the decoder's; None for discrete data."""
    prior_auc: float
    """How well a classifier tells the encoder's latents from the prior's: 0.5 not at all, 1 always."""
    samples_auc: float
    """How well a classifier tells samples from held-out rows."""
    energy: float
    """Energy distance of samples and held-out rows over its greatest possible value, 0 to 1."""
    sample_distances: NDArray[Any] | None
    """(m,) distance of each sample to its nearest training row, in standard deviations; None without training rows."""
    held_out_distances: NDArray[Any] | None
    """(m,) the same of each held-out row."""
    n_rows: int = 0
    """How many held-out rows were looked at."""
    n_simulated: int = 0
    """How many rows were drawn from the model: what `encoder_histogram` has shares of."""

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that are neither FINE nor UNKNOWN."""
        return tuple(finding for finding in self.findings if finding.is_problem)

    def including(self, *findings: Finding) -> "Health":
        """The same with more findings, such as that of `encoder_overfitting`."""
        return dataclasses.replace(self, findings=(*self.findings, *findings))

    def __repr__(self) -> str:
        count = len(self.problems)
        title = "no problem found" if count == 0 else f"{count} problem{'s' if count > 1 else ''}"
        lines = [f"Health of the fit: {title}, {len(self.findings)} checks"]
        for finding in self.findings:
            lines.append(f"  {finding.check}: {finding.verdict.name.lower().replace('_', ' ')}")
            lines += textwrap.wrap(
                finding.sentence, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
            )
        return "\n".join(lines)
