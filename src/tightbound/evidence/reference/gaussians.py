"""Gaussians with whole covariance matrices, alone or mixed, with missing cells integrated out exactly.

Every fit here keeps covariance - diag(floor^2) positive semidefinite, as a decoder with that floor does: a density that
closes in on a repeated value would win every comparison and mean nothing.
"""

import dataclasses
from collections.abc import Iterator
from typing import final

import numpy as np
from numpy.typing import NDArray

from tightbound.evidence.reference.independent_columns import (
    PRIOR_ROWS,
    Numbers,
    Seen,
    climb,
    column_moments,
    filled,
    joint_density,
    responsibilities,
    seeded,
    shares_to_weights,
)

NUMBERS_AT_ONCE = 4_000_000
"""Cells of covariance matrices in memory together, 32 MB."""


@final
@dataclasses.dataclass(frozen=True)
class Patterns:
    """The different sets of observed cells, and the rows that have each."""

    seen: NDArray[np.bool_]
    """(P, d), each once."""
    kind: NDArray[np.intp]
    """(n,) which of them each row has."""

    def precisions(self, covariance: Numbers) -> Iterator[tuple[slice, Numbers, Numbers]]:
        """For runs of patterns: inverse covariances of the observed cells, 0 elsewhere, and their log determinants."""
        d = len(covariance)
        at_once = max(1, NUMBERS_AT_ONCE // d**2)
        for start in range(0, len(self.seen), at_once):
            seen = self.seen[start : start + at_once]
            both = seen[:, :, None] & seen[:, None, :]
            # Missing cells become independent with variance 1: one shape for all patterns, and nothing else changes.
            padded = np.where(both, covariance, np.eye(d))
            log_dets = np.linalg.slogdet(padded)[1]
            yield slice(start, start + len(seen)), np.where(both, np.linalg.inv(padded), 0.0), log_dets


def patterns_of(x: Numbers, seen: Seen) -> Patterns:
    """Group the rows of x (n, d) by their observed cells."""
    if seen is None:
        return Patterns(np.ones((1, x.shape[1]), bool), np.zeros(len(x), np.intp))
    kinds, kind = np.unique(seen, axis=0, return_inverse=True)
    return Patterns(kinds, kind.ravel())


@final
@dataclasses.dataclass(frozen=True)
class Gaussians:
    """sum_k w_k N(x; mean_k, covariance_k)."""

    weights: Numbers
    """(K,) positive, with sum 1."""
    means: Numbers
    """(K, d)."""
    covariances: Numbers
    """(K, d, d)."""

    def joint(self, x: Numbers, seen: Seen) -> Numbers:
        """log w_k + log N(observed cells of x; those of mean_k, covariance_k), (n, K)."""
        if seen is None:
            return np.log(self.weights) + self._complete(x)
        patterns = patterns_of(x, seen)
        each = [_regress(m, c, x, seen, patterns)[0] for m, c in zip(self.means, self.covariances, strict=True)]
        return np.log(self.weights) + np.stack(each, axis=1)

    def _complete(self, x: Numbers) -> Numbers:
        """log N(x; mean_k, covariance_k), (n, K), by one matrix product for all components."""
        d = x.shape[1]
        factors = np.linalg.cholesky(self.covariances)
        whiten = np.linalg.inv(factors)
        shift = self.weights @ self.means
        offsets = np.einsum("kij,kj->ki", whiten, self.means - shift)
        white = (x - shift) @ whiten.reshape(-1, d).T - offsets.ravel()
        squares = np.square(white, out=white).reshape(len(x), -1, d).sum(axis=2)
        log_dets = 2 * np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        return -0.5 * (squares + log_dets + d * np.log(2 * np.pi))


def single(mean: Numbers, covariance: Numbers) -> Gaussians:
    """One Gaussian."""
    return Gaussians(np.ones(1), mean[None], covariance[None])


def _regress(mean: Numbers, covariance: Numbers, x: Numbers, seen: Seen, patterns: Patterns) -> tuple[Numbers, Numbers]:
    """log N of the observed cells, (n,), and covariance_oo^-1 (x_o - mean_o), (n, d), 0 in missing cells.

    The mean of the missing cells given the others is mean + covariance times the latter.
    """
    delta = x - mean if seen is None else np.where(seen, x - mean, 0.0)
    solved = np.empty_like(delta)
    log_prob = -0.5 * patterns.seen.sum(axis=1)[patterns.kind] * np.log(2 * np.pi)
    for run, precisions, log_dets in patterns.precisions(covariance):
        order = np.flatnonzero((patterns.kind >= run.start) & (patterns.kind < run.stop))
        kind = patterns.kind[order] - run.start
        log_prob[order] -= 0.5 * log_dets[kind]
        if len(order) < 4 * len(precisions):
            # Most rows have a pattern of their own: copying matrices is cheaper than a loop over them.
            solved[order] = np.matmul(precisions[kind], delta[order, :, None])[:, :, 0]
            continue
        order = order[np.argsort(kind, kind="stable")]
        ends = np.cumsum(np.bincount(kind, minlength=len(precisions)))
        for precision, rows in zip(precisions, np.split(order, ends[:-1]), strict=True):
            solved[rows] = delta[rows] @ precision
    return log_prob - 0.5 * np.sum(delta * solved, axis=1), solved


def floored(covariance: Numbers, floor: Numbers) -> Numbers:
    """The likeliest covariance C with C - diag(floor^2) positive semidefinite, given the scatter `covariance` (d, d).

    In units of the floors, eigenvalues below 1 are raised to 1.
    """
    unit = np.outer(floor, floor)
    values, vectors = np.linalg.eigh(covariance / unit)
    raised = (vectors * np.maximum(values, 1.0)) @ vectors.T * unit
    return 0.5 * (raised + raised.T)


def fit_gaussians(
    x: Numbers,
    seen: Seen,
    k: int,
    floor: Numbers,
    rng: np.random.Generator,
    *,
    tolerance: float = 1e-4,
    most: int = 200,
) -> tuple[Gaussians, tuple[float, ...]]:
    """Maximise the likelihood of k Gaussians by expectation-maximisation, missing cells included.

    For k > 1 each component gets `PRIOR_ROWS` made-up rows with the variances of the whole data. Returns the
    mixture and the penalised log-likelihood of each round, nats a row, which never falls.
    Source: Ghahramani and Jordan (1994).
    """
    centre, pooled = column_moments(x, seen, floor)
    extra = PRIOR_ROWS if k > 1 else 0.0
    patterns = patterns_of(x, seen)

    def maximise(shares: Numbers, completed: list[Numbers], spread: list[Numbers]) -> Gaussians:
        means, covariances = [], []
        for share, rows, missing in zip(shares.T, completed, spread, strict=True):
            total = max(float(share.sum()), 1e-12)
            mean = share @ rows / total
            delta = rows - mean
            scatter = delta.T @ (delta * share[:, None]) + missing + extra * np.diag(pooled)
            means.append(mean)
            covariances.append(floored(scatter / (total + extra), floor))
        return Gaussians(shares_to_weights(shares), np.stack(means), np.stack(covariances))

    def step(state: Gaussians) -> tuple[Gaussians, float]:
        penalty = sum(_prior(c, pooled) for c in state.covariances) if extra else 0.0
        if seen is None:
            shares, value = responsibilities(joint_density(state, x))
            completed, spread = [x] * k, [np.zeros((x.shape[1],) * 2)] * k
        else:
            each = list(zip(state.means, state.covariances, strict=True))
            found = [_regress(m, c, x, seen, patterns) for m, c in each]
            shares, value = responsibilities(np.log(state.weights) + np.stack([f[0] for f in found], axis=1))
            completed = [np.where(seen, x, m + f[1] @ c) for (m, c), f in zip(each, found, strict=True)]
            spread = [_left_over(c, s, patterns) for (_, c), s in zip(each, shares.T, strict=True)]
        return maximise(shares, completed, spread), value + extra * penalty / len(x)

    full = filled(x, seen, centre)
    # Cells filled with a mean have no spread of their own: without it the first covariances would start too small.
    lost = np.zeros(x.shape[1]) if seen is None else (~seen).mean(axis=0) * pooled
    shares = seeded((full - centre) / np.sqrt(pooled), k, rng)
    first = maximise(shares, [full] * k, [float(s.sum()) * np.diag(lost) for s in shares.T])
    return climb(first, step, tolerance=tolerance, most=most)


def _prior(covariance: Numbers, pooled: Numbers) -> float:
    """-(log |C| + tr(C^-1 diag(pooled))) / 2: the log density of one made-up row, up to a constant."""
    return -0.5 * float(np.linalg.slogdet(covariance)[1] + np.sum(np.diag(np.linalg.inv(covariance)) * pooled))


def _left_over(covariance: Numbers, share: Numbers, patterns: Patterns) -> Numbers:
    """Sum over rows of share times the conditional covariance of the missing cells, (d, d)."""
    explained = np.zeros_like(covariance)
    shares = np.bincount(patterns.kind, weights=share, minlength=len(patterns.seen))
    for run, precisions, _ in patterns.precisions(covariance):
        explained += np.tensordot(shares[run], precisions, axes=1)
    return share.sum() * covariance - covariance @ explained @ covariance


def probabilistic_pca(mean: Numbers, scatter: Numbers, n_factors: int, floor: Numbers) -> Gaussians:
    """N(mean, W W^T + sigma^2 I) of greatest likelihood for this scatter (d, d), in closed form.

    W = U (L - sigma^2 I)^(1/2) from the `n_factors` largest eigenvalues L; sigma^2 is the mean of the others. Where
    sigma is below a column's floor, that column's noise is raised to it, and W shrinks by as much along each of U.
    Source: Tipping and Bishop (1999), equations 7 and 8.
    """
    values, vectors = np.linalg.eigh(scatter)
    noise = np.maximum(np.mean(values[:-n_factors]), floor**2)
    vectors = vectors[:, -n_factors:]
    top = vectors * np.sqrt(np.maximum(values[-n_factors:] - noise @ vectors**2, 0.0))
    return single(mean, top @ top.T + np.diag(noise))


def factor_analysis(
    mean: Numbers, scatter: Numbers, n_factors: int, floor: Numbers, *, tolerance: float = 1e-6, most: int = 1000
) -> tuple[Gaussians, tuple[float, ...]]:
    """N(mean, W W^T + diag(psi)) of greatest likelihood for this scatter (d, d), psi at least floor^2.

    By expectation-maximisation on the scatter alone: its cost does not depend on the number of rows. Returns the
    Gaussian and the log-likelihood of each round, nats a row, which never falls. Source: Rubin and Thayer (1982).
    """
    variances = np.maximum(np.diag(scatter), floor**2)
    d = len(variances)
    values, vectors = np.linalg.eigh(scatter / np.sqrt(np.outer(variances, variances)))
    rest = max(float(np.mean(values[:-n_factors])), 0.05)
    top = vectors[:, -n_factors:] * np.sqrt(np.maximum(values[-n_factors:] - rest, 0.01))
    start = top * np.sqrt(variances)[:, None], np.maximum(rest * variances, floor**2)

    def step(state: tuple[Numbers, Numbers]) -> tuple[tuple[Numbers, Numbers], float]:
        w, psi = state
        scaled = w / psi[:, None]
        inner = np.eye(n_factors) + w.T @ scaled
        b = np.linalg.solve(inner, scaled.T)  # E[z | x] = b (x - mean)
        cross = scatter @ b.T
        second = np.linalg.inv(inner) + b @ cross  # mean of E[z z^T | x]
        log_det = float(np.linalg.slogdet(inner)[1] + np.sum(np.log(psi)))
        quadratic = float(np.sum(np.diag(scatter) / psi) - np.sum(cross * scaled))
        new_w = np.linalg.solve(second, cross.T).T
        new_psi = np.maximum(np.diag(scatter) - np.sum(new_w * cross, axis=1), floor**2)
        return (new_w, new_psi), -0.5 * (d * np.log(2 * np.pi) + log_det + quadratic)

    (w, psi), history = climb(start, step, tolerance=tolerance, most=most)
    return single(mean, w @ w.T + np.diag(psi)), history


def ledoit_wolf(x: Numbers) -> tuple[Numbers, float]:
    """Covariance (d, d) of complete rows shrunk towards a multiple of the identity, and by which share.

    Source: Ledoit and Wolf (2004).
    """
    # Here and not at the top: scikit-learn is slow to import, and few callers come this far.
    from sklearn import covariance

    shrunk, share = covariance.ledoit_wolf(x - x.mean(axis=0), assume_centered=True)
    return np.asarray(shrunk, np.float64), float(share)
