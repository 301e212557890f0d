"""log p(x) where it is known but for rounding: linear Gaussians, few states, and one or two latents by quadrature."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from numpy.polynomial import Legendre
from numpy.typing import NDArray

from tightbound.evidence.result import Evidence, Method
from tightbound.evidence.rows import Chunk, Posteriors, by_chunks, chunks, joined, posteriors_of, rows_of
from tightbound.evidence.weights import draw
from tightbound.learn import AbstractInference, check_linear_gaussian, exact_posterior
from tightbound.model import MOST_STATES, GenerativeModel, all_states
from tightbound.model.compiling import compiled

FEW_STATES = 2**12
"""Up to so many states a sum over all of them is no dearer than sampling, and is what "auto" does."""
_ELBO_DRAWS = 128
_STATES_AT_ONCE = 256
_ROWS_AT_ONCE = 64


def exact_method(p: GenerativeModel) -> Method | None:
    """How log p(x) of this model can be had without a draw (None: it cannot)."""
    states = p.prior.plain.n_states
    if states is not None:
        return Method.ENUMERATION if states <= MOST_STATES else None
    try:
        check_linear_gaussian(p)
    except ValueError:
        return Method.QUADRATURE if p.prior.dim <= 2 else None
    return Method.CLOSED_FORM


def exact_evidence(
    p: GenerativeModel,
    q: AbstractInference,
    x: NDArray[Any],
    observed: NDArray[np.bool_] | None = None,
    *,
    key: PRNGKeyArray,
    on_progress: Callable[[int], None] | None = None,
) -> Evidence:
    """log p(x) of every row, exactly, for models that allow it; the ELBO of q beside it, by 128 draws.

    - Linear-Gaussian models: log p(x) = log p(x, z) - log p(z | x) at the posterior's mean, for any z (Chib, 1995).
    - Discrete latents: log sum_z p(x, z) over all of their states.
    - One or two continuous latents: `quadrature`, whose own estimate of its error is the standard error; points where
      log p(x, z) is not a number count as no density, and are counted in `n_discarded`.

    Args: as for `importance_evidence`. Raises `ValueError` for any other model.
    """
    method = exact_method(p)
    if method is None:
        raise ValueError(
            "Method exact must have a linear-Gaussian model, discrete latents that can be enumerated, or at most two "
            f"latent dimensions; this model has {_latents(p)}; use method auto."
        )
    walk = chunks(*rows_of(p, x, observed), rows_at_once=_ROWS_AT_ONCE, on_progress=on_progress)
    log_evidence, error, work, n_odd, elbo, elbo_error = joined(
        [_exactly(p, q, method, chunk, key=key) for chunk in walk]
    )
    n = len(x)
    return Evidence(
        log_evidence=log_evidence,
        standard_error=error,
        elbo=elbo,
        elbo_standard_error=elbo_error,
        ess=np.full(n, np.inf),
        khat=np.full(n, -np.inf),
        n_samples=np.zeros(n, np.int64),
        method=np.full(n, method, dtype=object),
        work=work.astype(np.int64) + _ELBO_DRAWS,
        n_discarded=n_odd,
    )


def _exactly(
    p: GenerativeModel, q: AbstractInference, method: Method, chunk: Chunk, *, key: PRNGKeyArray
) -> list[NDArray[Any]]:
    """log p(x), its error, the work, weights that are none, the ELBO and its error, of a chunk's own rows."""
    x, observed, hashes = chunk.arrays
    posteriors = posteriors_of(p, q, *chunk.arrays, key=key)
    bound = [np.asarray(a, float) for a in chunk.own(_elbo(p, posteriors, x, observed, hashes, key=key))]
    if method is Method.QUADRATURE:
        return [*quadrature(p, *_middle_of_q(p, posteriors), x, observed, chunk.size), *bound]
    function = _summed if method is Method.ENUMERATION else _closed_form
    values = np.asarray(chunk.own(function(p, x, observed)), float)
    work = np.full(chunk.size, p.prior.plain.n_states or 1)
    return [values, np.zeros(chunk.size), work, np.zeros(chunk.size, np.int64), *bound]


def _latents(p: GenerativeModel) -> str:
    states = p.prior.plain.n_states
    return f"{p.prior.dim} continuous ones" if states is None else f"{states:,} states, above {MOST_STATES:,}"


@compiled
def _closed_form(p: GenerativeModel, x: Float[Array, "n d"], observed: Bool[Array, "n d"] | None) -> Array:
    def one(x: Array, mask: Array | None) -> Array:
        posterior: Any = exact_posterior(p, x, mask)
        return p.log_joint(x, posterior.mean, mask) - posterior.log_prob(posterior.mean)

    return jax.vmap(one)(x, observed)


@compiled
def _summed(p: GenerativeModel, x: Float[Array, "n d"], observed: Bool[Array, "n d"] | None) -> Array:
    states = all_states(p.prior.plain)
    at_once = min(_STATES_AT_ONCE, len(states))
    missing = -len(states) % at_once
    counts = jnp.arange(len(states) + missing) < len(states)
    padded = jnp.concatenate([states, jnp.repeat(states[:1], missing, axis=0)])
    blocks = padded.reshape(-1, at_once, padded.shape[1])

    def one(x: Array, mask: Array | None) -> Array:
        def block(total: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
            z, counted = given
            values = jnp.where(counted, jax.vmap(lambda z: p.log_joint(x, z, mask))(z), -jnp.inf)
            return jnp.logaddexp(total, logsumexp(values)), None

        start = jnp.full((), -jnp.inf, x.dtype)
        return jax.lax.scan(block, start, (blocks, counts.reshape(blocks.shape[:2])))[0]

    return jax.vmap(one)(x, observed)


@compiled
def _elbo(
    p: GenerativeModel, posteriors: Posteriors, x: Array, observed: Array | None, hashes: Array, *, key: PRNGKeyArray
) -> tuple[Array, Array]:
    def one(x: Array, mask: Array | None, found: Any, h: Array) -> tuple[Array, Array]:
        def log_weight(key: PRNGKeyArray) -> Array:
            return draw(p, posteriors.of_row(p, found), x, mask, key=key).log_weight

        values = jax.vmap(log_weight)(jax.random.split(jax.random.fold_in(key, h), _ELBO_DRAWS))
        return jnp.mean(values), jnp.std(values, ddof=1) / _ELBO_DRAWS**0.5

    return jax.vmap(one)(x, observed, posteriors.found, hashes)


@compiled
def _middle_of_q(p: GenerativeModel, posteriors: Posteriors) -> tuple[Array, Array]:
    def one(found: Any) -> tuple[Array, Array]:
        q = posteriors.of_row(p, found)
        return q.mean, q.variance**0.5

    return jax.vmap(one)(posteriors.found)


TOLERANCE = 1e-5
"""Relative error of p(x) at which a row is done: 0.00001 nats."""
MOST_POINTS = 400_000
"""Evaluations of a row after which it is left as it is, with the error that it has."""
_MOST_HALVINGS = 30
_POINTS_AT_ONCE = 4096
_REACH = 9.0
"""Standard deviations of prior and q that the inner box holds: what a Gaussian has outside is below 1e-18."""
_OUTER = {1: (2, 4, 8, 16, 32), 2: (3, 9, 27)}
"""A few cells go so many times further out: the posterior of an outlier need not be near the prior, nor near q."""
_HOPE = 0.25
"""What a cell may hold beyond its highest node, as a part of how far log p(x, z) falls within it. Of a quadratic that
peaks between nodes it is 0.05: a cell is not given up because all of its nodes are beside a narrow peak."""
_RESOLVED = 30.0
"""A cell in which log p(x, z) falls by more is halved, whatever its halves say, unless nothing can be there."""
_NODES = {1: 9, 2: 6}
_UNIFORM = {1: 24, 2: 8}
_AROUND_Q = {1: (-8, -5, -3, -2, -1, 0, 1, 2, 3, 5, 8), 2: (-6, -3, -1.2, 0, 1.2, 3, 6)}

Floats = NDArray[np.float64]


class Cells(NamedTuple):
    """Boxes of all rows side by side, and what was found in each."""

    low: Floats
    """(c, k) lower corners."""
    width: Floats
    """(c, k)."""
    row: NDArray[np.int64]
    """(c,) whose it is."""
    value: Floats
    """(c,) log of the integral."""
    highest: Floats
    """(c,) log p(x, z) at the best node."""
    drop: Floats
    """(c,) how far below it the worst node is that has a density."""
    whole: NDArray[np.bool_]
    """(c,) whether there is a density at every node."""
    odd: NDArray[np.int64]
    """(c,) nodes at which log p(x, z) is not a number."""

    @property
    def possible(self) -> Floats:
        """(c,) log of what it may hold where its nodes stand beside a peak."""
        best = self.highest + _HOPE * self.drop + np.log(self.width).sum(axis=1)
        return np.asarray(np.logaddexp(self.value, best))

    def where(self, which: NDArray[np.bool_]) -> "Cells":
        """Some of them."""
        found = self.value[which], self.highest[which], self.drop[which], self.whole[which], self.odd[which]
        return Cells(self.low[which], self.width[which], self.row[which], *found)

    def add_to(self, work: NDArray[np.int64], odd: NDArray[np.int64], n_nodes: int) -> None:
        """Add their nodes, and the odd ones among them, to those of each row."""
        np.add.at(work, self.row, n_nodes)
        np.add.at(odd, self.row, self.odd)


def quadrature(
    p: GenerativeModel,
    middle: Array,
    scale: Array,
    x: Array,
    observed: Array | None,
    size: int,
) -> tuple[Floats, Floats, NDArray[np.int64], NDArray[np.int64]]:
    """log p(x) of the first `size` rows, the estimated error of each in nats, the points spent, and those discarded.

    A box that holds prior and q, and some way beyond, is cut into cells, finer around q; Gauss-Lobatto in each; a cell
    is halved in every dimension, and its pieces are kept when they add up to what it said and no peak can be between
    their nodes. The error is the sum of those differences, and of what rounding in log p(x, z) can do. Points where
    log p(x, z) is not a number count as no density.

    Args:
        p: a model with one or two continuous latents.
        middle, scale: (n, k) mean and standard deviation of q: where the mass is likely to be.
        x, observed: (n, d) rows and mask.

    Source: Davis and Rabinowitz (1984), section 6.2, for the scheme; Genz and Malik (1980) in several dimensions.
    """
    k = p.prior.dim
    rule = _rule(k)
    precision = float(np.finfo(x.dtype).eps)
    corners = _first_cells(p, np.asarray(middle, float)[:size], np.asarray(scale, float)[:size])
    work, odd = np.zeros(size, np.int64), np.zeros(size, np.int64)
    cells = _integrated(p, (x, observed), *corners, *rule)
    cells.add_to(work, odd, len(rule[0]))
    kept, error = np.full(size, -np.inf), np.full(size, -np.inf)
    for _ in range(_MOST_HALVINGS):
        kept, error, total, parents = _settled(kept, error, cells, work)
        if not len(parents.row):
            cells = parents
            break
        cells = _integrated(p, (x, observed), *_halved(parents, k), *rule)
        cells.add_to(work, odd, len(rule[0]))
        difference, agrees = _agreement(parents, cells, total[parents.row], precision)
        fine = np.repeat(agrees, 2**k)
        kept = np.logaddexp(kept, _per_row(cells.value[fine], cells.row[fine], size))
        error = np.logaddexp(error, _per_row(difference[agrees], parents.row[agrees], size))
        cells = cells.where(~fine)
    kept = np.logaddexp(kept, _per_row(cells.value, cells.row, size))
    error = np.logaddexp(error, _per_row(cells.possible, cells.row, size))
    with np.errstate(invalid="ignore", over="ignore"):
        # Every cell of x adds a term that is rounded.
        rounding = 4 * precision * (np.abs(np.where(np.isfinite(kept), kept, 0)) + x.shape[1])
        relative = np.exp(error - kept) + rounding
    return kept, relative, work, odd


def _settled(
    kept: Floats, error: Floats, cells: Cells, work: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats, Cells]:
    """What is kept of cells that need no halving, and its error; the total of each row so far; and the other cells."""
    size = len(kept)
    total = np.logaddexp(kept, _per_row(cells.value, cells.row, size))
    small = _negligible(cells, total[cells.row])
    done = small | (work[cells.row] > MOST_POINTS)
    left = done & ~small
    kept = np.logaddexp(kept, _per_row(cells.value[done], cells.row[done], size))
    error = np.logaddexp(error, _per_row(cells.possible[left], cells.row[left], size))
    return kept, error, total, cells.where(~done)


def _negligible(cells: Cells, total: Floats) -> NDArray[np.bool_]:
    """Whether nothing that a cell may hold matters."""
    return (cells.possible - np.where(np.isfinite(total), total, 0) < np.log(TOLERANCE * 1e-4)) | ~np.isfinite(
        cells.value
    )


def _agreement(parents: Cells, pieces: Cells, total: Floats, precision: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Log of |pieces - whole| of every halved cell, and whether that is small enough, or only rounding."""
    n = len(parents.row)
    together = np.logaddexp.reduce(pieces.value.reshape(n, -1), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.maximum(together, parents.value) + np.log(-np.expm1(-np.abs(parents.value - together)))
    top = pieces.highest.reshape(n, -1).max(axis=1)
    rounding = together + np.log(8 * precision * np.maximum(np.abs(top), 1))
    agrees = (difference < total + np.log(TOLERANCE / 50)) | (difference < rounding)
    each = np.repeat(total, len(pieces.row) // n)
    resolved = (pieces.whole & (pieces.drop < _RESOLVED)) | _negligible(pieces, each)
    return difference, agrees & resolved.reshape(n, -1).all(axis=1)


def _rule(k: int) -> tuple[Floats, Floats]:
    """Gauss-Lobatto on the unit cube: nodes (m, k) and the logs of their weights, (m,).

    Its nodes are on the borders too: where the density ends inside a cell, one of its nodes is beyond.
    """
    n = _NODES[k]
    inner = Legendre.basis(n - 1).deriv().roots()
    place = np.concatenate([[-1.0], np.sort(inner), [1.0]])
    weight = 2 / (n * (n - 1) * Legendre.basis(n - 1)(place) ** 2)
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
        edges = [_edges(low[j], high[j], center[j], sd[j], k) for j in range(k)]
        corner = np.array(list(itertools.product(*[e[:-1] for e in edges])))
        lows.append(corner)
        widths.append(np.array(list(itertools.product(*[np.diff(e) for e in edges]))))
        rows.append(np.full(len(corner), i))
    return np.concatenate(lows), np.concatenate(widths), np.concatenate(rows)


def _edges(low: float, high: float, center: float, sd: float, k: int) -> Floats:
    """Edges of the cells along one latent: even, finer around q, and a few further and further out."""
    middle, half = (low + high) / 2, (high - low) / 2
    outer = half * np.asarray(_OUTER[k], float)
    near = center + sd * np.asarray(_AROUND_Q[k], float)
    return np.unique(np.concatenate([middle - outer, np.linspace(low, high, _UNIFORM[k]), near, middle + outer]))


def _halved(cells: Cells, k: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Lower corners, widths and rows of the 2^k pieces of each cell, one cell's after another's."""
    corners = np.array(list(itertools.product((0.0, 0.5), repeat=k)))
    low = (cells.low[:, None, :] + corners * cells.width[:, None, :]).reshape(-1, k)
    return low, np.repeat(cells.width / 2, 2**k, axis=0), np.repeat(cells.row, 2**k)


def _integrated(
    p: GenerativeModel,
    rows: tuple[Array, Array | None],
    low: Floats,
    width: Floats,
    row: NDArray[np.int64],
    nodes: Floats,
    log_weights: Floats,
) -> Cells:
    m = len(nodes)
    z = (low[:, None, :] + nodes * width[:, None, :]).reshape(-1, low.shape[1])
    owner = np.repeat(row, m)
    values = by_chunks(lambda z, row: _log_joint(p, *rows, z, row), z, owner, rows_at_once=_POINTS_AT_ONCE).astype(
        float
    )
    odd = np.isnan(values) | (values == np.inf)
    at_nodes = np.where(odd, -np.inf, values).reshape(-1, m)
    highest = at_nodes.max(axis=1)
    finite = np.isfinite(at_nodes)
    lowest = np.where(finite, at_nodes, np.inf).min(axis=1)
    with np.errstate(invalid="ignore"):
        drop = np.where(np.isfinite(highest), highest - lowest, 0)
    value = np.logaddexp.reduce(at_nodes + log_weights, axis=1) + np.log(width).sum(axis=1)
    return Cells(low, width, row, value, highest, drop, np.asarray(finite.all(axis=1)), odd.reshape(-1, m).sum(axis=1))


@compiled
def _log_joint(
    p: GenerativeModel,
    x: Float[Array, "n d"],
    observed: Bool[Array, "n d"] | None,
    z: Float[Array, "m k"],
    row: Int[Array, " m"],
) -> Float[Array, " m"]:
    mask = None if observed is None else observed[row]
    return jax.vmap(p.log_joint)(x[row], z.astype(x.dtype), mask)


def _per_row(value: Floats, row: NDArray[np.int64], size: int) -> Floats:
    """Log of the sum of exp(value) of each row's cells, (size,)."""
    top = np.full(size, -np.inf)
    np.maximum.at(top, row, value)
    safe = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        return np.log(np.bincount(row, np.exp(value - safe[row]), minlength=size)) + safe
