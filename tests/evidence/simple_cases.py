"""What the tests of the simple models share: masks, rows with holes, tables with a planted structure, grids."""

import itertools

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Mask = NDArray[np.bool_]


def every_mask(d: int) -> Mask:
    """All sets of observed cells, (2^d, d)."""
    return np.array(list(itertools.product((True, False), repeat=d)))


def every_state(d: int) -> Rows:
    """All rows of zeros and ones, (2^d, d)."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=d)))


def holes(rng: np.random.Generator, shape: tuple[int, int], rate: float) -> Mask:
    """Observed cells where each is missing with this chance; every row keeps at least one."""
    seen = rng.random(shape) >= rate
    seen[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] = True
    return seen


def covariance(rng: np.random.Generator, d: int) -> Rows:
    """A covariance matrix whose cells differ in spread and depend on each other."""
    root = rng.normal(size=(d, d)) * rng.uniform(0.5, 2, size=(d, 1))
    return root @ root.T + 0.2 * np.eye(d)


def correlated(rng: np.random.Generator, n: int, d: int) -> Rows:
    """Rows of one Gaussian whose cells depend on each other."""
    return rng.multivariate_normal(rng.normal(size=d) * 3, covariance(rng, d), size=n)


def clusters(rng: np.random.Generator, n: int, d: int, k: int, apart: float = 8.0) -> Rows:
    """Rows of k equally likely Gaussians with unit spread, whose centres lie `apart` from each other."""
    centres = apart * np.eye(k, d)
    return centres[rng.integers(k, size=n)] + rng.normal(size=(n, d))


def prototypes(rng: np.random.Generator, n: int, d: int, k: int, flip: float = 0.1) -> tuple[Rows, Rows]:
    """Copies of k rows of zeros and ones with flipped cells, (n, d), and the probabilities of a one, (k, d)."""
    probs = np.where(rng.random((k, d)) < 0.5, flip, 1 - flip)
    return (rng.random((n, d)) < probs[rng.integers(k, size=n)]).astype(float), probs


def on_a_grid(low: float, high: float, n: int, d: int) -> tuple[Rows, float]:
    """Points of a regular grid in d dimensions, (n^d, d), and the volume of a cell."""
    axis = np.linspace(low, high, n)
    points = np.stack(np.meshgrid(*[axis] * d, indexing="ij"), axis=-1).reshape(-1, d)
    return points, float(axis[1] - axis[0]) ** d


def assert_never_falls(history: tuple[float, ...], slack: float = 1e-10) -> None:
    """A climb: more than one round, and no round below the one before (but for rounding)."""
    assert len(history) > 1
    assert np.diff(history).min() >= -slack
    assert history[-1] > history[0]
