"""A check of how a fit went: whether it got worse on held-out rows after its best epoch."""

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.evidence.diagnostics.findings import Finding, Verdict, unknown
from tightbound.learn import EpochRecord

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
    # The middle of the smoothing window that was best.
    since = int(epoch[min(best + width // 2, len(epoch) - 1)])
    if fall > threshold and smooth_train[-1] > smooth_train[best]:
        verdict = Verdict.OVERFITTING
        sentence = (
            f"The fit overfits from epoch {since}: its bound on held-out rows fell by {fall:.2f} nats a row while that "
            "on training rows rose; the best epoch's parameters are kept, so stop earlier to save time, or use a "
            "smaller decoder or more rows to gain."
        )
    else:
        verdict = Verdict.FINE
        sentence = (
            f"The fit does not overfit: after its best (epoch {since}) the bound on held-out rows fell by "
            f"{max(fall, 0):.2f} nats a row, no more than noise or {threshold:.2f} nats."
        )
    return Finding("overfitting", verdict, name, fall, threshold, sentence)


def _smoothed(values: NDArray[Any], width: int) -> NDArray[np.float64]:
    return np.convolve(values.astype(np.float64), np.ones(width) / width, mode="valid")


def _noise(values: NDArray[Any]) -> float:
    """Standard deviation of single epochs about their trend, from second differences of the later half."""
    second = np.diff(values[len(values) // 2 :].astype(np.float64), 2)
    return float(_NORMAL_MAD * np.median(np.abs(second)) / np.sqrt(6))
