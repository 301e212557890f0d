"""Pareto k-hat: how heavy the tail of the importance weights is."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]


def tail_length(n_samples: int) -> int:
    """How many of the largest weights make the tail: min(S / 5, 3 sqrt(S)).

    Source: Vehtari, Simpson, Gelman, Yao and Gabry (2024), section 2.
    """
    return int(np.ceil(min(0.2 * n_samples, 3 * np.sqrt(n_samples))))


def khat_threshold(n_samples: ArrayLike | int) -> Floats:
    """The k-hat above which an estimate from S samples is not to be trusted: min(1 - 1 / log10 S, 0.7).

    Source: Vehtari et al. (2024), section 3.2.4.
    """
    few = np.asarray(n_samples) <= 10
    return np.where(few, 0.0, np.minimum(1 - 1 / np.log10(np.where(few, 11, n_samples)), 0.7))


def pareto_khat(tail_log_weights: Floats) -> Floats:
    """Shape k of a generalised Pareto distribution fitted to the largest log weights of each row.

    Args:
        tail_log_weights: (n, M + 1) log weights; the M + 1 largest of each row in any order. The smallest of them is
            the threshold that the M others exceed.

    Returns k-hat, (n,): NaN where fewer than 5 exceedances can be had, -inf where all of the tail is one value
    (weights without any spread: q is exact). The fit is the profile-likelihood average of Zhang and Stephens (2009),
    shrunk towards 0.5 with the weight of ten observations as in Vehtari et al. (2024), appendix G.
    """
    ordered = np.sort(np.asarray(tail_log_weights, np.float64), axis=1)
    m = ordered.shape[1] - 1
    if m < 5:
        return np.full(len(ordered), np.nan)
    # Only ratios matter: the largest weight becomes 1.
    weights = np.exp(ordered - ordered[:, -1:])
    exceedances = weights[:, 1:] - weights[:, :1]
    # A spread at the level of rounding is none: the tail of an exact q.
    flat = ~(exceedances[:, -1] > 1e-6)
    exceedances[flat] = np.arange(1, m + 1) / m
    k = _fit_generalised_pareto(np.maximum(exceedances, 1e-300))
    return np.where(flat, -np.inf, (k * m + 10 * 0.5) / (m + 10))


def _fit_generalised_pareto(x: Floats) -> Floats:
    # Symbols of Zhang and Stephens (2009): theta_j on a grid, k = mean log(1 - theta x), profile log-likelihood.
    n = x.shape[1]
    j = np.arange(1, 30 + int(np.sqrt(n)) + 1)
    quartile = x[:, int(n / 4 + 0.5) - 1]
    theta = 1 / x[:, -1:] + (1 - np.sqrt(len(j) / (j - 0.5))) / (3 * quartile[:, None])
    k = np.stack([np.log1p(-theta[:, i, None] * x).mean(axis=1) for i in range(len(j))], axis=1)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        profile = n * (np.log(-theta / k) - k - 1)
        weights = 1 / np.exp(profile[:, None, :] - profile[:, :, None]).sum(axis=2)
    theta_hat = np.nansum(weights * theta, axis=1) / np.nansum(weights, axis=1)
    return np.asarray(np.log1p(-theta_hat[:, None] * x).mean(axis=1))
