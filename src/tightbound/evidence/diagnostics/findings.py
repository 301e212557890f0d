"""Findings: what a check says, with its threshold; and what the learning curve of a fit says."""

import dataclasses
import enum
import textwrap
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.learn import EpochRecord

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
    worth: NDArray[Any] | None = None
    """(d,) the AUC that is lost when a column's cells change places (None: not asked for)."""

    def is_above(self, threshold: float) -> bool:
        """Whether the AUC is above its threshold and too far from 1/2 for chance."""
        return self.auc > max(threshold, 0.5 + STANDARD_ERRORS * self.standard_error)

    def is_below(self, threshold: float) -> bool:
        """Whether the AUC, which of sets that are alike is 1/2, is below its threshold with certainty: two errors."""
        return max(self.auc, 0.5) + 2 * self.standard_error < threshold


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


FALL_ABOVE = 0.1
"""Nats a row by which the smoothed validation bound must fall after its best: new rows' density is then 10 % lower."""
FALL_SHARE = 0.01
"""The fall must also be this share of what the validation bound gained before: one nat matters less where a hundred
were learnt, as with images."""
NOISE_ABOVE = 6.0
"""And so many standard errors of the smoothed bound: the best of many noisy epochs lies about three above their level,
and a fall from there is what early stopping always sees."""
FEWEST_EPOCHS = 10
"""With fewer epochs there is no telling a fall from noise."""
_WINDOWS = 20
_NORMAL_MAD = 1.4826


@final
@dataclasses.dataclass(frozen=True)
class History:
    """Bounds by epoch, nats a row."""

    epoch: NDArray[Any]
    """(e,) numbers of the epochs."""
    train_bound: NDArray[Any]
    """(e,)."""
    validation_bound: NDArray[Any]
    """(e,) NaN where there is none."""

    @classmethod
    def of(cls, records: Sequence[EpochRecord]) -> "History":
        """Made of a fit's records."""
        columns = [(r.epoch, r.train_bound, r.validation_bound) for r in records]
        epoch, train, validation = np.array(columns, np.float64).reshape(-1, 3).T
        return cls(epoch.astype(np.int64), train, validation)


def overfitting(history: History | None) -> Finding:
    """OVERFITTING from epoch n when the smoothed validation bound falls materially after n while training gains.

    Source: Prechelt (1998) for early stopping; the thresholds are in the module's constants.
    """
    name = "fall of the validation bound after its best, nats a row"
    if history is None:
        return unknown("overfitting", name, FALL_ABOVE, "Overfitting cannot be seen without the fit's history.")
    valid = np.isfinite(history.validation_bound) & np.isfinite(history.train_bound)
    if valid.sum() < FEWEST_EPOCHS:
        why = (
            f"Overfitting cannot be seen from {int(valid.sum())} epochs with a validation bound; at least "
            f"{FEWEST_EPOCHS} are needed."
        )
        return unknown("overfitting", name, FALL_ABOVE, why)
    epoch, train, bound = (a[valid] for a in (history.epoch, history.train_bound, history.validation_bound))
    width = max(3, len(bound) // _WINDOWS)
    smooth, smooth_train = _smoothed(bound, width), _smoothed(train, width)
    best = int(np.argmax(smooth))
    fall = float(smooth[best] - smooth[-1])
    noise = _noise(bound) / np.sqrt(width)
    gain = float(smooth[best] - smooth[0])
    threshold = max(FALL_ABOVE, FALL_SHARE * gain, NOISE_ABOVE * noise)
    # The epoch whose parameters were kept, as other pages name it: the best of single ones.
    since = int(epoch[np.argmax(bound)])
    if fall > threshold and smooth_train[-1] > smooth_train[best]:
        verdict = Verdict.OVERFITTING
        sentence = (
            f"The fit overfits after its best epoch {since}: its bound on held-out rows fell by {fall:.2f} nats a row "
            "while that on training rows rose; the best epoch's parameters are kept, so stop earlier to save time, or "
            "use a smaller decoder or more rows to gain."
        )
    else:
        verdict = Verdict.FINE
        sentence = (
            f"The fit does not overfit: after its best epoch {since} the bound on held-out rows fell by "
            f"{max(fall, 0):.2f} nats a row, no more than noise or {threshold:.2f} nats."
        )
    return Finding("overfitting", verdict, name, fall, threshold, sentence)


def _smoothed(values: NDArray[Any], width: int) -> NDArray[np.float64]:
    return np.convolve(values.astype(np.float64), np.ones(width) / width, mode="valid")


def _noise(values: NDArray[Any]) -> float:
    """Standard deviation of single epochs about their trend, from second differences of the later half."""
    second = np.diff(values[len(values) // 2 :].astype(np.float64), 2)
    return float(_NORMAL_MAD * np.median(np.abs(second)) / np.sqrt(6))
