"""A check of the decoder: whether held-out cells lie in its distributions as they should."""

import dataclasses
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from tightbound.evidence.diagnostics.draws import N_POSTERIOR, WIDTHS, Drawn
from tightbound.evidence.diagnostics.encoder import N_BINS
from tightbound.evidence.diagnostics.findings import FEWEST_ROWS, STANDARD_ERRORS, Finding, Verdict, unknown

RATIO_ABOVE = 1.25
"""True over assumed standard deviation of the noise, over all cells, above which the decoder is too narrow (too wide:
below 1 / 1.25). A Gaussian 1.25 times too narrow covers 81 % with its 90 % interval and costs 0.06 nats a cell."""
COLUMN_RATIO_ABOVE = 1.6
"""The same for the worst single column: its 90 % interval then covers 70 %, which costs 0.3 nats."""
FEWEST_EFFECTIVE = 5.0
"""Median effective sample size of the 100 posterior draws below which they stand for q and not for the posterior."""
_MOST_UNCERTAIN = 0.9
_TINY = 1e-3


@final
@dataclasses.dataclass(frozen=True)
class CellFit:
    """How held-out cells lie in the decoder's distributions."""

    histogram: NDArray[Any]
    """(N_BINS,) shares of the cells' probability integral transforms; flat when the model is right."""
    coverage: NDArray[Any]
    """(d, 2) share of cells in the 50 % and the 90 % interval."""
    ratio: NDArray[Any]
    """(d,) true over assumed standard deviation of the noise; NaN for a column without observed cells."""
    pooled: float
    """The same over all cells."""
    error: float
    """Standard error of the logarithm of `pooled`, over rows."""
    column_error: NDArray[Any]
    """(d,) standard errors of the logarithm of `ratio`."""
    ess: float
    """Median effective sample size."""


def cell_fit(drawn: Drawn, observed: NDArray[np.bool_] | None) -> CellFit:
    """Coverage of the cells and the ratio of true to assumed noise, by column and pooled.

    A coverage c of the central interval of half-width h is that of scores with standard deviation
    v = h / Phi^-1((1 + c) / 2). With f the posterior's own share of their variance, which the model's own scales set,
    the ratio of the noise is sqrt((v^2 - f) / (1 - f)); v alone would be pulled to 1. Of the ratios by the 50 % and the
    90 % interval the one nearer to 1 counts, and 1 where they lie on both sides: then it is the noise's shape that is
    off, or a few rows.
    Source: Johnson (2007) for pivotal quantities at posterior draws; Dawid (1984) for the transform.
    """
    seen = np.ones(drawn.uncertain.shape, bool) if observed is None else observed
    count = seen.sum(axis=0)
    weight = seen / np.maximum(count, 1)[None, :]
    coverage = np.where(count[:, None] > 0, np.einsum("nd,ndc->dc", weight, drawn.inside), np.nan)
    uncertain = np.sum(weight * drawn.uncertain, axis=0)
    half = drawn.inside[:, :, 0]
    spread = np.sqrt(np.sum(weight * (half - coverage[None, :, 0]) ** 2, axis=0) / np.maximum(count, 1))
    total = max(int(seen.sum()), 1)
    pooled = np.einsum("nd,ndc->c", seen / total, drawn.inside)
    # Rows, not cells, are independent of each other.
    by_row = np.sum(seen * (half - pooled[0]), axis=1)
    share = float(np.sum(seen * drawn.uncertain) / total)
    return CellFit(
        np.histogram(drawn.pit[seen], N_BINS, (0, 1))[0] / total,
        coverage,
        _ratio(coverage, uncertain, count),
        float(_ratio(pooled[None, :], np.array([share]), np.array([total]))[0]),
        float(_log_error(np.array([np.sqrt(np.sum(by_row**2)) / total]), pooled[:1], np.array([share]))[0]),
        _log_error(spread, coverage[:, 0], uncertain),
        float(np.median(drawn.ess)),
    )


def _ratio(coverage: NDArray[Any], uncertain: NDArray[Any], count: NDArray[Any]) -> NDArray[Any]:
    """(d,) from the coverage (d, 2) of the 50 % and the 90 % interval in `count` cells."""
    least = 0.5 / np.maximum(count, 1)[:, None]
    score = np.array(WIDTHS)[None, :] / ndtri((1 + np.clip(coverage, least, 1 - least)) / 2)
    f = np.minimum(uncertain, _MOST_UNCERTAIN)[:, None]
    logs = 0.5 * np.log(np.maximum(score**2 - f, _TINY) / (1 - f))
    nearer = np.where(np.abs(logs[:, 0]) < np.abs(logs[:, 1]), logs[:, 0], logs[:, 1])
    return np.asarray(np.exp(np.where(np.sign(logs[:, 0]) == np.sign(logs[:, 1]), nearer, 0 * nearer)))


def _log_error(error: NDArray[Any], half: NDArray[Any], uncertain: NDArray[Any]) -> NDArray[Any]:
    """Standard error of log ratio from that of the coverage `half` of the 50 % interval (delta method)."""
    quantile = ndtri((1 + np.clip(half, 1e-3, 1 - 1e-3)) / 2)
    slope = 1 / (2 * quantile * np.exp(-(quantile**2) / 2) / np.sqrt(2 * np.pi))
    square = (WIDTHS[0] / quantile) ** 2
    return np.asarray(error * slope * square / np.maximum(square - np.minimum(uncertain, _MOST_UNCERTAIN), 0.05))


def decoder_calibration(found: CellFit | None, n_rows: int, encoder: Verdict) -> Finding:
    """DECODER_TOO_NARROW or DECODER_TOO_WIDE by the noise ratio, pooled or of the worst column; for Gaussian cells.

    `encoder` is the verdict on the encoder: draws of a q that is too narrow miss a part of the posterior.
    """
    name = "true over assumed standard deviation of the noise (1 is right)"
    if found is None:
        why = "The decoder's intervals cannot be judged: the check is only for continuous data with a Gaussian decoder."
        return unknown("decoder", name, RATIO_ABOVE, why)
    if n_rows < FEWEST_ROWS:
        why = f"The decoder cannot be judged from {n_rows} rows; give at least {FEWEST_ROWS}."
        return unknown("decoder", name, RATIO_ABOVE, why)
    if encoder is Verdict.ENCODER_TOO_NARROW:
        why = "The decoder cannot be judged: the encoder is too narrow for draws of the posterior; mend that first."
        return unknown("decoder", name, RATIO_ABOVE, why)
    if found.ess < FEWEST_EFFECTIVE:
        why = (
            f"The decoder cannot be judged: of {N_POSTERIOR} posterior draws a row only {found.ess:.1f} count, since q "
            "is far from the posterior; refine q row by row and check again."
        )
        return unknown("decoder", name, RATIO_ABOVE, why)
    ratio, threshold, error, where = _decisive(found)
    significant = abs(np.log(ratio)) > STANDARD_ERRORS * error
    verdict = Verdict.FINE
    if significant and ratio > threshold:
        verdict = Verdict.DECODER_TOO_NARROW
    elif significant and ratio < 1 / threshold:
        verdict = Verdict.DECODER_TOO_WIDE
    sentence = _sentence(found, verdict, ratio, where)
    return Finding("decoder", verdict, name, ratio, threshold if ratio >= 1 else 1 / threshold, sentence)


def _decisive(found: CellFit) -> tuple[float, float, float, str]:
    """Ratio, threshold, standard error and name of all cells, unless those pass and a single column does not."""
    size = np.abs(np.log(found.ratio))
    # A column whose own error could carry it over the threshold is no evidence.
    sure = np.where(size > (STANDARD_ERRORS + 1) * found.column_error, size, 0)
    worst = int(np.argmax(np.nan_to_num(sure)))
    if abs(np.log(found.pooled)) <= np.log(RATIO_ABOVE) and sure[worst] > np.log(COLUMN_RATIO_ABOVE):
        return float(found.ratio[worst]), COLUMN_RATIO_ABOVE, float(found.column_error[worst]), f"column {worst + 1}"
    return found.pooled, RATIO_ABOVE, found.error, "all columns"


def _sentence(found: CellFit, verdict: Verdict, ratio: float, where: str) -> str:
    coverage = float(np.nanmean(found.coverage[:, 1]))
    worst = int(np.nanargmax(np.abs(np.log(found.ratio))))
    named = (
        f"its 90 % intervals hold {coverage:.0%} of held-out cells (worst: column {worst + 1}, "
        f"{found.coverage[worst, 1]:.0%})"
    )
    figure = f"the noise of {where} is {ratio:.2f} times what it says, and {named}"
    if verdict is Verdict.DECODER_TOO_NARROW:
        return f"The decoder is too sure of the cells: {figure}; free its scales, or stop earlier."
    if verdict is Verdict.DECODER_TOO_WIDE:
        return f"The decoder is too unsure of the cells: {figure}; free its scales, or train longer."
    return f"The decoder is as sure as it should be: {figure}."
