"""Adaptive quadrature of p(x, z) over one or two latents: cells are halved where their halves say otherwise."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import NDArray

from tightbound.model import GenerativeModel

TOLERANCE = 1e-5
"""Relative error of p(x) at which a row is done: 0.00001 nats."""
MOST_POINTS = 400_000
"""Evaluations of a row after which it is left as it is, with the error that it has."""
_MOST_HALVINGS = 24
_POINTS_AT_ONCE = 4096
_REACH = 9.0
"""Standard deviations of prior and q that the box holds: what a Gaussian has outside is below 1e-18."""
_NODES = {1: 9, 2: 6}
_UNIFORM = {1: 24, 2: 8}
_AROUND_Q = {1: (-8, -5, -3, -2, -1, 0, 1, 2, 3, 5, 8), 2: (-6, -3, -1.2, 0, 1.2, 3, 6)}

Floats = NDArray[np.float64]


def quadrature(
    p: GenerativeModel,
    middle: Array,
    scale: Array,
    x: NDArray[Any],
    observed: NDArray[np.bool_] | None,
    size: int,
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """log p(x) of the first `size` rows, the estimated error of each in nats, and the points spent on each.

    A box that holds prior and q is cut into cells, finer around q; Gauss-Legendre in each; a cell is halved in every
    dimension, and its pieces are kept when they add up to what it said. The error is the sum of those differences, and
    of what rounding in log p(x, z) can do.

    Args:
        p: a model with one or two continuous latents.
        middle, scale: (n, k) mean and standard deviation of q: where the mass is likely to be.
        x, observed: (n, d) rows and mask.

    Source: Davis and Rabinowitz (1984), section 6.2, for the scheme; Genz and Malik (1980) in several dimensions.
    """
    k = p.prior.dim
    nodes, log_weights = _rule(k)
    low, width, row = _first_cells(p, np.asarray(middle, float)[:size], np.asarray(scale, float)[:size])
    rows = jnp.asarray(x), None if observed is None else jnp.asarray(observed)
    value, highest = _integrals(p, rows, low, width, row, nodes, log_weights)
    work = np.bincount(row, minlength=size) * len(nodes)
    kept, error = np.full(size, -np.inf), np.full(size, -np.inf)
    precision = float(np.finfo(x.dtype).eps)
    for _ in range(_MOST_HALVINGS):
        total = np.logaddexp(kept, _per_row(value, row, size))
        share = np.logaddexp(value, highest + np.log(width).sum(axis=1)) - total[row]
        # A cell with a share that no error could make matter, even by its highest point, is done as it is.
        small = (share < np.log(TOLERANCE * 1e-4)) | ~np.isfinite(value)
        done = small | (work[row] > MOST_POINTS)
        left = done & ~small
        kept = np.logaddexp(kept, _per_row(value[done], row[done], size))
        error = np.logaddexp(error, _per_row(value[left], row[left], size))
        low, width, row, parent = low[~done], width[~done], row[~done], value[~done]
        if not len(row):
            break
        low, width = _halved(low, width, k)
        row, parent_of = np.repeat(row, 2**k), np.repeat(np.arange(len(parent)), 2**k)
        value, highest = _integrals(p, rows, low, width, row, nodes, log_weights)
        work += np.bincount(row, minlength=size) * len(nodes)
        difference, agrees = _agreement(parent, value, highest, total[row[:: 2**k]], precision)
        fine = agrees[parent_of]
        kept = np.logaddexp(kept, _per_row(value[fine], row[fine], size))
        error = np.logaddexp(error, _per_row(difference[agrees], row[:: 2**k][agrees], size))
        low, width, row, value, highest = low[~fine], width[~fine], row[~fine], value[~fine], highest[~fine]
    kept = np.logaddexp(kept, _per_row(value, row, size)) if len(row) else kept
    with np.errstate(invalid="ignore", over="ignore"):
        relative = np.exp(error - kept) + precision * np.abs(np.where(np.isfinite(kept), kept, 0))
    return kept, relative, work


def _agreement(
    parent: Floats, value: Floats, highest: Floats, total: Floats, precision: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Log of |pieces - whole| of every halved cell, and whether that is small enough, or only rounding."""
    pieces = value.reshape(len(parent), -1)
    together = np.logaddexp.reduce(pieces, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.maximum(together, parent) + np.log(-np.expm1(-np.abs(parent - together)))
    top = highest.reshape(len(parent), -1).max(axis=1)
    rounding = together + np.log(8 * precision * np.maximum(np.abs(top), 1))
    agrees = (difference < total + np.log(TOLERANCE / 50)) | (difference < rounding)
    return difference, agrees


def _rule(k: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre on the unit cube: nodes (m, k) and the logs of their weights, (m,)."""
    place, weight = np.polynomial.legendre.leggauss(_NODES[k])
    place, weight = (place + 1) / 2, weight / 2
    nodes = np.array(list(itertools.product(place, repeat=k)))
    weights = np.array([np.prod(w) for w in itertools.product(weight, repeat=k)])
    return nodes, np.log(weights)


def _first_cells(p: GenerativeModel, middle: Floats, scale: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Lower corners (c, k), widths (c, k) and rows (c,) of the cells to begin with."""
    k = p.prior.dim
    prior_mean, prior_sd = np.asarray(p.prior.mean, float), np.sqrt(np.asarray(p.prior.variance, float))
    lows, widths, rows = [], [], []
    for i, (center, sd) in enumerate(zip(middle, scale, strict=True)):
        low = np.minimum(prior_mean - _REACH * prior_sd, center - _REACH * sd)
        high = np.maximum(prior_mean + _REACH * prior_sd, center + _REACH * sd)
        edges = [
            np.unique(np.concatenate([np.linspace(low[j], high[j], _UNIFORM[k]), center[j] + sd[j] * _at(k)]))
            for j in range(k)
        ]
        corner = np.array(list(itertools.product(*[e[:-1] for e in edges])))
        lows.append(corner)
        widths.append(np.array(list(itertools.product(*[np.diff(e) for e in edges]))))
        rows.append(np.full(len(corner), i))
    return np.concatenate(lows), np.concatenate(widths), np.concatenate(rows)


def _at(k: int) -> Floats:
    return np.asarray(_AROUND_Q[k], float)


def _halved(low: Floats, width: Floats, k: int) -> tuple[Floats, Floats]:
    corners = np.array(list(itertools.product((0.0, 0.5), repeat=k)))
    return (low[:, None, :] + corners * width[:, None, :]).reshape(-1, k), np.repeat(width / 2, 2**k, axis=0)


def _integrals(
    p: GenerativeModel,
    rows: tuple[Array, Array | None],
    low: Floats,
    width: Floats,
    row: NDArray[np.int64],
    nodes: Floats,
    log_weights: Floats,
) -> tuple[Floats, Floats]:
    """Log of the integral over each cell, and the highest log p(x, z) seen in it; (c,) each."""
    m = len(nodes)
    z = (low[:, None, :] + nodes * width[:, None, :]).reshape(-1, low.shape[1])
    owner = np.repeat(row, m)
    values = np.empty(len(z))
    for start in range(0, len(z), _POINTS_AT_ONCE):
        part, of = z[start : start + _POINTS_AT_ONCE], owner[start : start + _POINTS_AT_ONCE]
        blank = _POINTS_AT_ONCE - len(part)
        padded = (
            np.concatenate([part, np.repeat(part[:1], blank, axis=0)]),
            np.concatenate([of, np.repeat(of[:1], blank)]),
        )
        values[start : start + len(part)] = _log_joint(p, *rows, *map(jnp.asarray, padded))[: len(part)]
    at_nodes = np.where(np.isnan(values), -np.inf, values).reshape(-1, m)
    return np.logaddexp.reduce(at_nodes + log_weights, axis=1) + np.log(width).sum(axis=1), at_nodes.max(axis=1)


@eqx.filter_jit
def _log_joint(
    p: GenerativeModel,
    x: Float[Array, "n d"],
    observed: Bool[Array, "n d"] | None,
    z: Float[Array, "m k"],
    row: Int[Array, " m"],
) -> Float[Array, " m"]:
    mask = None if observed is None else observed[row]
    axes = (0, 0, None if observed is None else 0)
    return jax.vmap(p.log_joint, in_axes=axes)(x[row], z.astype(x.dtype), mask)


def _per_row(value: Floats, row: NDArray[np.int64], size: int) -> Floats:
    """Log of the sum of exp(value) of each row's cells, (size,)."""
    top = np.full(size, -np.inf)
    np.maximum.at(top, row, value)
    safe = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        return np.log(np.bincount(row, np.exp(value - safe[row]), minlength=size)) + safe
