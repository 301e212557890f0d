"""Mixtures of independent cells, Gaussian or Bernoulli, fitted by expectation-maximisation; any cell may be missing.

With cells that are independent within a component, a sum over the observed ones is the exact marginal.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar, final, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Numbers = NDArray[np.float64]
Seen = NDArray[np.bool_] | None
"""(n, d) which cells are observed; None for all."""

PRIOR_ROWS = 1.0
"""How many made-up rows, spread like the whole data, each component of a mixture gets: none may close in on one row."""
ROWS_AT_ONCE = 5_000
ROWS_TO_SEED = 5_000
"""Rows that a mixture's starting centres come from, at most."""


@runtime_checkable
class MixtureModel(Protocol):
    """Anything with a log joint density of the component and the observed cells."""

    def joint(self, x: Numbers, seen: Seen) -> Numbers:
        """log w_k + log p_k(x), (n, K), nats."""
        ...


def log_density(mixture: MixtureModel, x: Numbers, seen: Seen = None) -> Numbers:
    """log sum_k w_k p_k(observed cells of x) of every row, (n,), nats; 0 for a row without observed cells."""
    parts = [np.zeros(0)]
    for rows, mask in _in_parts(x, seen):
        parts.append(logsumexp(mixture.joint(rows, mask), axis=1))
    return np.concatenate(parts)


def _in_parts(x: Numbers, seen: Seen) -> Iterator[tuple[Numbers, Seen]]:
    """`ROWS_AT_ONCE` rows after the others: what a density makes of them in between is of their size."""
    for start in range(0, len(x), ROWS_AT_ONCE):
        chunk = slice(start, start + ROWS_AT_ONCE)
        yield x[chunk], None if seen is None else seen[chunk]


@final
@dataclasses.dataclass(frozen=True)
class DiagonalGaussians:
    """sum_k w_k prod_j N(x_j; mean_kj, variance_kj)."""

    weights: Numbers
    """(K,) positive, with sum 1."""
    means: Numbers
    """(K, d)."""
    variances: Numbers
    """(K, d)."""

    def joint(self, x: Numbers, seen: Seen) -> Numbers:
        """log w_k + sum over observed j of log N(x_j; mean_kj, variance_kj), (n, K)."""
        # The square is written out, so that the work is three matrix products; near 0 it loses no digits.
        shift = self.weights @ self.means
        u = x - shift if seen is None else np.where(seen, x - shift, 0.0)
        means, precisions = self.means - shift, 1 / self.variances
        each = np.log(2 * np.pi * self.variances) + means**2 * precisions
        constant = each.sum(axis=1) if seen is None else seen.astype(np.float64) @ each.T
        return np.log(self.weights) - 0.5 * (constant + u**2 @ precisions.T) + u @ (means * precisions).T


@final
@dataclasses.dataclass(frozen=True)
class Bernoullis:
    """sum_k w_k prod_j probs_kj^x_j (1 - probs_kj)^(1 - x_j)."""

    weights: Numbers
    """(K,) positive, with sum 1."""
    probs: Numbers
    """(K, d) strictly between 0 and 1."""

    def joint(self, x: Numbers, seen: Seen) -> Numbers:
        """log w_k + sum over observed j of log Bernoulli(x_j; probs_kj), (n, K)."""
        zeros = np.log1p(-self.probs)
        ones = x if seen is None else x * seen
        constant = zeros.sum(axis=1) if seen is None else seen.astype(np.float64) @ zeros.T
        return np.log(self.weights) + constant + ones @ (np.log(self.probs) - zeros).T


State = TypeVar("State")


def climb(
    state: State, step: Callable[[State], tuple[State, float]], *, tolerance: float, most: int
) -> tuple[State, tuple[float, ...]]:
    """Repeat `step`, which returns the next state and this one's objective, until the gain is below `tolerance`.

    Returns the last state and the objectives of those before it.
    """
    history: list[float] = []
    for _ in range(most):
        state, objective = step(state)
        history.append(objective)
        if len(history) > 1 and objective - history[-2] < tolerance:
            break
    return state, tuple(history)


def responsibilities(joint: Numbers) -> tuple[Numbers, float]:
    """p(k | x), (n, K), and the mean log density, nats a row, from log w_k + log p_k(x)."""
    total = logsumexp(joint, axis=1)
    return np.exp(joint - total[:, None]), float(np.mean(total))


def joint_density(mixture: MixtureModel, x: Numbers, seen: Seen = None) -> Numbers:
    """log w_k + log p_k(observed cells of x) of every row, (n, K), nats."""
    return np.concatenate([mixture.joint(rows, mask) for rows, mask in _in_parts(x, seen)])


def seeded(x: Numbers, k: int, rng: np.random.Generator, rounds: int = 10) -> Numbers:
    """Rows x (n, d) shared out to k centres, (n, k): k-means from spread-out seeds (Arthur, Vassilvitskii, 2007)."""
    some = x if len(x) <= ROWS_TO_SEED else x[rng.choice(len(x), ROWS_TO_SEED, replace=False)]
    centres = some[rng.integers(len(some))][None]
    nearest = np.sum((some - centres[0]) ** 2, axis=1)
    for _ in range(k - 1):
        chances = nearest / nearest.sum() if nearest.sum() > 0 else np.full(len(some), 1 / len(some))
        centre = some[rng.choice(len(some), p=chances)]
        centres = np.vstack([centres, centre])
        nearest = np.minimum(nearest, np.sum((some - centre) ** 2, axis=1))
    for _ in range(rounds):
        shares = _nearest(some, centres)
        sizes = shares.sum(axis=0)[:, None]
        centres = np.where(sizes > 0, shares.T @ some / np.maximum(sizes, 1), centres)
    return _nearest(x, centres)


def _nearest(x: Numbers, centres: Numbers) -> Numbers:
    """1 for the centre next to each row, (n, K), and 0 for the others."""
    return np.eye(len(centres))[np.argmin(np.sum(centres**2, axis=1) - 2 * x @ centres.T, axis=1)]


def shares_to_weights(shares: Numbers) -> Numbers:
    """Mean responsibilities, (K,), kept above 0 so that their logarithm is a number."""
    weights = np.maximum(shares.mean(axis=0), 1e-12)
    return weights / weights.sum()


def column_moments(x: Numbers, seen: Seen, floor: Numbers) -> tuple[Numbers, Numbers]:
    """Mean and variance of the observed cells of each column, (d,) each; no variance below floor^2.

    A column without any gets 0 and 1.
    """
    counts = np.full(x.shape[1], float(len(x))) if seen is None else seen.sum(axis=0, dtype=np.float64)
    u = x if seen is None else np.where(seen, x, 0.0)
    mean = u.sum(axis=0) / np.maximum(counts, 1)
    squares = (u - mean) ** 2 if seen is None else np.where(seen, (u - mean) ** 2, 0.0)
    variance = np.where(counts > 0, squares.sum(axis=0) / np.maximum(counts, 1), 1.0)
    return mean, np.maximum(variance, floor**2)


def filled(x: Numbers, seen: Seen, mean: Numbers) -> Numbers:
    """x with its column's mean in every missing cell."""
    return x if seen is None else np.where(seen, x, mean)


def fit_diagonal_gaussians(
    x: Numbers,
    seen: Seen,
    k: int,
    floor: Numbers,
    rng: np.random.Generator,
    *,
    tolerance: float = 1e-4,
    most: int = 200,
) -> tuple[DiagonalGaussians, tuple[float, ...]]:
    """Maximise the likelihood of k components with independent cells, no standard deviation below `floor` (d,).

    For k > 1 each component gets `PRIOR_ROWS` made-up rows with the variances of the whole data. Returns the
    mixture and the penalised log-likelihood of each round, nats a row, which never falls.
    Source: Dempster, Laird and Rubin (1977).
    """
    centre, pooled = column_moments(x, seen, floor)
    extra = PRIOR_ROWS if k > 1 else 0.0
    u = filled(x, seen, centre) - centre
    squares = u**2
    mask = None if seen is None else seen.astype(np.float64)

    def maximise(shares: Numbers) -> DiagonalGaussians:
        # Missing cells hold u = 0: they add nothing to the sums, and `counts` leaves them out too.
        counts = shares.sum(axis=0)[:, None] if mask is None else shares.T @ mask
        sums = shares.T @ u
        means = sums / np.maximum(counts, 1e-12)
        spread = np.maximum(shares.T @ squares - means * sums, 0)
        known = counts + extra > 0
        variances = np.where(known, (spread + extra * pooled) / np.where(known, counts + extra, 1), pooled)
        return DiagonalGaussians(shares_to_weights(shares), means + centre, np.maximum(variances, floor**2))

    def step(state: DiagonalGaussians) -> tuple[DiagonalGaussians, float]:
        shares, value = responsibilities(joint_density(state, x, seen))
        penalty = -0.5 * extra * float(np.sum(np.log(state.variances) + pooled / state.variances))
        return maximise(shares), value + penalty / len(x)

    return climb(maximise(seeded(u / np.sqrt(pooled), k, rng)), step, tolerance=tolerance, most=most)


def smoothed_means(x: Numbers, seen: Seen) -> Numbers:
    """(ones + 1/2) / (observed cells + 1) of each column, (d,): the mean under Jeffreys' prior."""
    counts = np.full(x.shape[1], float(len(x))) if seen is None else seen.sum(axis=0, dtype=np.float64)
    return ((x if seen is None else x * seen).sum(axis=0) + 0.5) / (counts + 1)


def fit_bernoullis(
    x: Numbers, seen: Seen, k: int, rng: np.random.Generator, *, tolerance: float = 1e-4, most: int = 200
) -> tuple[Bernoullis, tuple[float, ...]]:
    """Maximise the likelihood of k components of independent zeros and ones.

    Each component gets `PRIOR_ROWS` made-up rows with the column means: no probability is 0 or 1. Returns the mixture
    and the penalised log-likelihood of each round, nats a row, which never falls.
    """
    base = smoothed_means(x, seen)
    ones = x if seen is None else x * seen
    mask = None if seen is None else seen.astype(np.float64)

    def maximise(shares: Numbers) -> Bernoullis:
        counts = shares.sum(axis=0)[:, None] if mask is None else shares.T @ mask
        probs = (shares.T @ ones + PRIOR_ROWS * base) / (counts + PRIOR_ROWS)
        return Bernoullis(shares_to_weights(shares), probs)

    def step(state: Bernoullis) -> tuple[Bernoullis, float]:
        shares, value = responsibilities(joint_density(state, x, seen))
        prior = base * np.log(state.probs) + (1 - base) * np.log1p(-state.probs)
        return maximise(shares), value + PRIOR_ROWS * float(np.sum(prior)) / len(x)

    return climb(maximise(seeded(filled(x, seen, base), k, rng)), step, tolerance=tolerance, most=most)
