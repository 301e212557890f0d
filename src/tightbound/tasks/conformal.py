"""From scores to p-values that hold whatever the model is, and to flags with a bounded share of false ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control


def count_as_low(scores: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """How many reference scores are as low as each score, or lower, (n,); NaN for a score of NaN.

    Raises `ValueError` for no reference, or one with a score that is not a number.
    """
    known = np.sort(np.asarray(reference, np.float64).ravel())
    if not len(known) or np.isnan(known).any():
        raise ValueError(
            f"Reference scores must be one number or more; got {len(known)} with {int(np.isnan(known).sum())} that are "
            "not a number; hold back rows that the model was not fitted on, and score them."
        )
    new = np.asarray(scores, np.float64)
    return np.where(np.isnan(new), np.nan, np.searchsorted(known, new, side="right"))


def conformal_p_values(below: Sequence[ArrayLike], n_reference: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """P-values of new rows, under one model or more, against reference rows that each has not been fitted on, (n,).

    p = (1 + sum over models k of #{reference_k <= score_k}) / (1 + number of all references), where a higher score
    (such as log p(x)) means more normal: the rank of a row among all, each comparison made by the one model that has
    seen neither. If a row and the reference rows are exchangeable, P(p <= a) <= a for every a under one model,
    whatever it is; under more P(p <= a) is at most about 2 a, and close to a where they are much alike.

    Args: for each model, how many reference rows score as low as each new row (n,), and of how many (n,).
    Source: Vovk, Gammerman and Shafer (2005), section 2; Bates, Candès, Lei, Romano and Sesia (2023), equation 3. Of
    several models: Vovk (2015); Vovk, Nouretdinov, Manokhin and Gammerman (2018); Barber et al. (2021).
    Example: `conformal_p_values([count_as_low([-9.0], [-1.0, -2.0, -3.0])], [3])` is [0.25].
    """
    total = np.sum(np.asarray(n_reference, np.float64), axis=0)
    return np.asarray((1 + np.sum(np.asarray(below, np.float64), axis=0)) / (1 + total))


def log_place(scores: ArrayLike, drawn: ArrayLike) -> NDArray[np.float64]:
    """log P(score of a draw <= score), (n,), from the scores of some draws: increasing in the score.

    Shares between the scores drawn are interpolated; below the lowest the tail falls off exponentially, as fast as the
    lowest tenth of the draws (at least five) says: the mean excess is the scale of largest likelihood.

    Example: `log_place([2.0], [1.0, 2.0, 3.0, 4.0])` is [log 0.5].
    """
    new, known = np.asarray(scores, np.float64), np.sort(np.asarray(drawn, np.float64))
    value, count = np.unique(known, return_counts=True)
    lowest = known[: max(5, len(known) // 10)]
    scale = float(lowest[-1] - lowest.mean()) or 1.0
    share = np.interp(new, value, np.cumsum(count) / len(known))
    return np.log(share) + np.minimum(new - value[0], 0) / scale


def benjamini_hochberg(p_values: ArrayLike, level: float = 0.1) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Flags and q-values of n p-values, (n,) each: of the flagged, a share of at most `level` is false on average.

    The q-value of the i-th smallest p is min over k >= i of n p_(k) / k; flagged is what has a q-value of at most
    `level`. The bound, level times the share of true nulls, holds for independent p-values and for conformal ones that
    share a reference (they are positively dependent). A p-value of NaN is no hypothesis: not flagged, q = NaN.

    Raises `ValueError` for a level outside (0, 1) and for p-values outside [0, 1].
    Source: Benjamini and Hochberg (1995); Bates, Candès, Lei, Romano and Sesia (2023), theorem 2, for conformal ones.
    Example: `benjamini_hochberg([0.01, 0.5], 0.1)[0]` is [True, False].
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level!r}; 0.1 is usual.")
    p = np.asarray(p_values, np.float64)
    known = np.flatnonzero(~np.isnan(p))
    if np.any((p[known] < 0) | (p[known] > 1)):
        raise ValueError(f"p-values must lie from 0 to 1; got {_first_outside(p)!r}; give p-values.")
    q = np.full(p.shape, np.nan)
    q[known] = false_discovery_control(p[known], method="bh")
    # p k / n against the level times k / n: rounding of the quotient decides no tie.
    return np.nan_to_num(q, nan=2.0) <= level * (1 + 1e-12), q


def _first_outside(p: NDArray[Any]) -> float:
    return float(p[(p < 0) | (p > 1)][0])
