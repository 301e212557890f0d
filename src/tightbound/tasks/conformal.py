"""From scores to p-values that hold whatever the model is, and to flags with a bounded share of false ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control


def conformal_p_values(scores: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """P-values of new rows against reference rows that the model has not been fitted on, (n,).

    p = (1 + #{reference <= score}) / (n_reference + 1), where a higher score (such as log p(x)) means more normal. If a
    row and the reference rows are exchangeable, P(p <= a) <= a for every a, whatever model made the scores; no p-value
    is below 1 / (n_reference + 1). A score of NaN gets p = NaN.

    Raises `ValueError` for no reference, or one with a score that is not a number.
    Source: Vovk, Gammerman and Shafer (2005), section 2; Bates, Candès, Lei, Romano and Sesia (2023), equation 3.
    Example: `conformal_p_values([-9.0], [-1.0, -2.0, -3.0])` is [0.25].
    """
    known = np.sort(np.asarray(reference, np.float64).ravel())
    if not len(known) or np.isnan(known).any():
        raise ValueError(
            f"Reference scores must be one number or more; got {len(known)} with {int(np.isnan(known).sum())} that are "
            "not a number; hold back rows that the model was not fitted on, and score them."
        )
    new = np.asarray(scores, np.float64)
    p = (1 + np.searchsorted(known, new, side="right")) / (len(known) + 1)
    return np.where(np.isnan(new), np.nan, p)


def cross_conformal_p_values(scores: Sequence[ArrayLike], references: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """P-values of new rows under several models, each against reference rows that it has not been fitted on, (n,).

    p = (1 + sum over models k of #{reference_k <= score_k}) / (1 + number of all references): the rank of a row among
    all, each comparison made by the one model that has seen neither. With one model this is `conformal_p_values`. For
    more P(p <= a) is at most about 2 a whatever the models are, and close to a where they are much alike.

    Args: scores (n,) of the new rows under each model, and the reference scores of each.
    Raises `ValueError` as `conformal_p_values` does.
    Source: Vovk (2015); the bound: Vovk, Nouretdinov, Manokhin and Gammerman (2018); Barber et al. (2021).
    Example: `cross_conformal_p_values([[-9.0], [-1.5]], [[-1.0, -2.0], [-3.0, -1.0]])` is [0.4].
    """
    pairs = list(zip(scores, references, strict=True))
    # (n_k + 1) p_k - 1 counts the references of model k at or below.
    below = sum(conformal_p_values(new, known) * (np.size(known) + 1) - 1 for new, known in pairs)
    return np.asarray((1 + below) / (1 + sum(np.size(known) for _, known in pairs)))


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
        raise ValueError(f"p-values must lie from 0 to 1; got {_first_outside(p)!r}; use conformal_p_values.")
    q = np.full(p.shape, np.nan)
    q[known] = false_discovery_control(p[known], method="bh")
    # p k / n against the level times k / n: rounding of the quotient decides no tie.
    return np.nan_to_num(q, nan=2.0) <= level * (1 + 1e-12), q


def _first_outside(p: NDArray[Any]) -> float:
    return float(p[(p < 0) | (p > 1)][0])
