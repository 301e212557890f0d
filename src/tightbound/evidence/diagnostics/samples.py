"""Checks of samples: whether they look like held-out rows, and whether they are copies of training rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightbound.evidence.diagnostics.findings import FEWEST_ROWS, STANDARD_ERRORS, Finding, Separation, Verdict, unknown

SAMPLES_AUC_ABOVE = 0.6
"""AUC between samples and held-out rows above which they differ: that of a shift by 0.36 standard deviations, where
14 % of the samples lie where there are no data. Below it by two errors is what "fine" takes."""
_NAMED = 5
ENERGY_ABOVE = 0.05
"""Energy distance, as a share of its greatest value, above which samples differ: that of a shift of every column by
half a standard deviation, be they one or fifty."""
ENERGY_P_BELOW = 0.01
"""The p-value that such a distance must have."""
DISTANCE_RATIO_BELOW = 0.5
"""Median distance of samples to the nearest training row over that of held-out rows, below which they are copies: a
fresh row has a ratio of 1, and rows that vary in m directions lie at half the distance only where they are 2^m times as
dense."""
NEAR = 0.1
"""A sample is a near-copy when it is closer to a training row than this share of held-out rows' median distance."""
COPIES_ABOVE = 0.05
"""Share of near-copies among samples beyond that among held-out rows, above which samples count as copies: one sample
in twenty. The share among held-out rows takes out duplicates that are natural, as in binary data."""
_PAIRS_AT_ONCE = 10_000_000


def filled(x: NDArray[Any], observed: NDArray[np.bool_] | None, center: NDArray[Any]) -> NDArray[np.float64]:
    """Rows with `center` (d,) in their missing cells."""
    rows = np.asarray(x, np.float64)
    return rows if observed is None else np.where(observed, rows, center[None, :])


def sample_likeness(
    samples: NDArray[Any],
    held_out: NDArray[Any],
    *,
    names: Sequence[str] | None = None,
    rng: np.random.Generator,
) -> tuple[Finding, float, float]:
    """SAMPLES_DIFFER by a classifier's AUC or by the energy distance, each with an effect size and a significance.

    FINE takes an AUC that is below the threshold with certainty; where neither can be said, the check is UNKNOWN.

    Args:
        samples, held_out: (m, d) and (n, d), in standard deviations around the mean, with NaN in the same cells.
        names: of the columns, to say by which the samples are told.

    Returns the finding, the AUC and the normalised energy distance.
    Source: Lopez-Paz and Oquab (2017); Szekely and Rizzo (2013).
    """
    name = "AUC of a classifier, samples against held-out rows"
    if len(held_out) < FEWEST_ROWS:
        why = f"The samples cannot be judged against {len(held_out)} held-out rows; give at least {FEWEST_ROWS}."
        return unknown("samples", name, SAMPLES_AUC_ABOVE, why), float("nan"), float("nan")
    from tightbound.evidence.diagnostics.twosample import energy_distance, separation  # slow to import

    found = separation(held_out, samples, rng=rng, by_column=names is not None)
    energy = energy_distance(np.nan_to_num(held_out), np.nan_to_num(samples), rng=rng)
    figure = (
        f"a classifier's AUC is {found.auc:.2f} ± {found.standard_error:.2f}, the energy distance {energy.value:.3f} "
        f"(p = {energy.p_value:.3f})"
    )
    if energy.value > ENERGY_ABOVE and energy.p_value < ENERGY_P_BELOW and not found.is_above(SAMPLES_AUC_ABOVE):
        what, limits = ("samples", Verdict.SAMPLES_DIFFER, "energy distance"), (energy.value, ENERGY_ABOVE)
        return Finding(*what, *limits, _differ(figure)), found.auc, energy.value
    verdict, sentence = _judged(found, figure, names)
    return Finding("samples", verdict, name, found.auc, SAMPLES_AUC_ABOVE, sentence), found.auc, energy.value


def _judged(found: Separation, figure: str, names: Sequence[str] | None) -> tuple[Verdict, str]:
    """What the AUC alone says."""
    if found.is_above(SAMPLES_AUC_ABOVE):
        return Verdict.SAMPLES_DIFFER, _differ(figure + _by_columns(found, names))
    if found.is_below(SAMPLES_AUC_ABOVE):
        return Verdict.FINE, f"The samples look like held-out rows: {figure}."
    why = f"Whether the samples look like held-out rows is open: {figure}; give more held-out rows."
    return Verdict.UNKNOWN, why


def _by_columns(found: Separation, names: Sequence[str] | None) -> str:
    """The columns by which samples are told, those that are worth most first."""
    if names is None or found.worth is None:
        return ""
    order = [j for j in np.argsort(-found.worth)[:_NAMED] if found.worth[j] > 0.01]
    return f"; they are told most by {', '.join(names[j] for j in order)}" if order else ""


def _differ(figure: str) -> str:
    return (
        f"The samples differ from held-out rows: {figure}; mend the prior or the decoder, whichever the other checks "
        "name, before using samples."
    )


def nearest(rows: NDArray[Any], train: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) Euclidean distance of each of `rows` (n, d) to the nearest of `train` (m, d)."""
    rows, train = np.asarray(rows, np.float32), np.asarray(train, np.float32)
    squares = np.sum(train**2, axis=1)
    size = max(1, _PAIRS_AT_ONCE // len(train))
    best = [np.argmin(squares - 2 * chunk @ train.T, axis=1) for chunk in _chunks(rows, size)]
    # The distance itself by subtraction: the expanded square would lose a duplicate's zero to rounding.
    return np.asarray(np.linalg.norm((rows - train[np.concatenate(best)]).astype(np.float64), axis=1))


def _chunks(rows: NDArray[Any], size: int) -> list[NDArray[Any]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def copies(samples: NDArray[Any] | None, held_out: NDArray[Any] | None) -> Finding:
    """COPIES when samples lie much nearer to training rows than held-out rows do, or repeat them more often.

    Args:
        samples, held_out: (m,) and (n,) distances to the nearest training row; None where there are no training rows.

    Source: Meehan, Chaudhuri and Dasgupta (2020).
    """
    name = "distance of samples to training rows over that of held-out rows"
    if samples is None or held_out is None:
        why = "Copies cannot be looked for without the training rows; give them as train."
        return unknown("copies", name, DISTANCE_RATIO_BELOW, why)
    if len(held_out) < FEWEST_ROWS:
        why = f"Copies cannot be told from {len(held_out)} held-out rows; give at least {FEWEST_ROWS}."
        return unknown("copies", name, DISTANCE_RATIO_BELOW, why)
    usual = float(np.median(held_out))
    near = [float(np.mean(distances <= NEAR * usual)) for distances in (samples, held_out)]
    share = sum(near) / 2
    error = np.sqrt(max(share * (1 - share), 1e-12) * (1 / len(samples) + 1 / len(held_out)))
    ratio = float(np.median(samples)) / usual if usual > 0 else float("nan")
    figure = f"{near[0]:.1%} of samples and {near[1]:.1%} of held-out rows all but repeat a training row"
    if usual > 0:
        figure += f", and samples lie {ratio:.2f} times as far from the nearest one"
    excess = near[0] - near[1]
    by_share = excess > max(COPIES_ABOVE, STANDARD_ERRORS * error)
    if not by_share and not ratio < DISTANCE_RATIO_BELOW:
        sentence = f"The samples are no copies: {figure}."
        return Finding("copies", Verdict.FINE, name, ratio, DISTANCE_RATIO_BELOW, sentence)
    sentence = f"The samples repeat training rows: {figure}; use a smaller decoder, and do not pass them off as new."
    if by_share:
        return Finding("copies", Verdict.COPIES, "excess share of near-copies", excess, COPIES_ABOVE, sentence)
    return Finding("copies", Verdict.COPIES, name, ratio, DISTANCE_RATIO_BELOW, sentence)
