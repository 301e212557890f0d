"""Single cells given the rest of their rows: how anomalous each observed one is, and the levels of any column."""

import dataclasses
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.rows import Progress, by_chunks
from tightbound.learn import Pair
from tightbound.model.compiling import compiled
from tightbound.tasks.constraints import before
from tightbound.tasks.sampling import (
    Mask,
    Row,
    RowBatch,
    Term,
    Values,
    check_arguments,
    check_count,
    expectation,
    found_rows,
    rows_of,
    shape_of,
    sizes,
    weighted,
)


@final
@dataclasses.dataclass(frozen=True)
class ConditionalCells:
    """Each observed cell given the other observed cells of its row; NaN where a cell is missing or only given."""

    log_prob: NDArray[Any]
    """(n, m) log p(x_j | x_observed without j): nats, a log density per unit of a continuous column, else of a
    probability. Columns of different units or kinds are not comparable by it."""
    neg_log_p_value: NDArray[Any]
    """(n, m) -log of a conditional p-value, nats, comparable between columns: 0 is ordinary, 4.6 is one in a hundred.

    With an order: 2 min(P(X <= x_j), P(X >= x_j)), at most 1. Yes/no and nominal: P(p(X) <= p(x_j)), the probability of
    all levels that are no more likely. Limited to that of the precision (15.9 in float32, 36.0 in float64)."""


def conditional_cells(
    pair: Pair,
    x: Values,
    observed: Mask,
    *,
    n_samples: int = 200,
    defensive: float = 0.0,
    key: PRNGKeyArray,
    on_progress: Progress | None = None,
) -> ConditionalCells:
    """Log probability and -log p-value of every observed cell given the rest of its row.

    For each column j the row is inferred again without it, z_s ~ q(z | x_observed without j), and
    log p(x_j | rest) = log sum_s w_s p(x_j | z_s) with normalised weights: m times the work of a score.
    For the arguments see `conditional_draws`.
    """
    check_arguments(pair, x, observed, n_samples, defensive)
    rows_at_once, at_once = sizes(n_samples)
    levels, rows = shape_of(pair.p).nominal_levels(binary=True), rows_of(pair, x, observed)

    def cells(below: Array, *arrays: Array) -> tuple[Array, Array]:
        return _cells(pair, RowBatch(*arrays), below, levels, int(n_samples), at_once, float(defensive), key=key)

    arrays = (before(rows[0]), *rows)
    log_p, negative = by_chunks(cells, *arrays, rows_at_once=rows_at_once, on_progress=on_progress)
    own = observed & shape_of(pair.p).modelled
    return ConditionalCells(np.where(own, log_p, np.nan), np.where(own, negative, np.nan))


@compiled
def _cells(
    pair: Pair,
    batch: RowBatch,
    below: Float[Array, "n m"],
    levels: tuple[int, ...],
    n_samples: int,
    at_once: int,
    defensive: float,
    *,
    key: PRNGKeyArray,
) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    most, has_order = max(levels), jnp.asarray(np.array(levels) == 0)

    def of_column(j: Array) -> tuple[Array, Array]:
        others = batch.observed & (jnp.arange(batch.x.shape[1]) != j)[None, :]
        without = RowBatch(batch.x, others, batch.hashes, batch.copies)
        found = found_rows(pair, without, key=jax.random.fold_in(key, j))

        def term(row_and_below: tuple[Row, Array], s: Array) -> Term:
            row, below = row_and_below
            d, log_w = weighted(pair, row, s, defensive)
            rest = d.given(row.x, row.observed)
            tails = jnp.stack([rest.cdf_at(j, row.x[j]), rest.cdf_at(j, below[j])])
            probs = jnp.exp(rest.level_log_probs_at(j, most)) if most else tails[:0]
            return Term(log_w, jnp.concatenate([tails, probs]), rest.log_prob_at(j, row.x[j])[None])

        total = expectation((found, below), term, n_samples, at_once)
        log_p = total.log_mean[:, 0]
        up_to, under, probs = total.mean[:, 0], total.mean[:, 1], total.mean[:, 2:]
        two_sided = 2 * jnp.minimum(up_to, 1 - under)
        own = jnp.exp(log_p)[:, None] * (1 + 1e-5)
        unlikely = jnp.sum(jnp.where(probs <= own, probs, 0), axis=1)
        p = jnp.where(has_order[j], two_sided, unlikely)
        return log_p, -jnp.log(jnp.clip(p, np.finfo(p.dtype).eps, 1))

    log_p, negative = jax.lax.map(of_column, jnp.arange(batch.x.shape[1]))
    return log_p.T, negative.T


def level_probabilities(
    pair: Pair,
    x: Values,
    observed: Mask,
    column: int,
    n_levels: int,
    *,
    n_samples: int = 1000,
    defensive: float = 0.0,
    key: PRNGKeyArray,
    on_progress: Progress | None = None,
) -> NDArray[Any]:
    """P(x_column = k | x_observed without the column) for k = 0, ..., n_levels - 1, (n, n_levels).

    sum_s w_s p(k | z_s) over the latents of the row with normalised weights (Rao-Blackwell: no level is ever drawn).
    For a column of levels a row of the result sums to 1; for counts it is the beginning of their distribution.
    For the other arguments see `conditional_draws`.
    """
    check_count("n_levels", n_levels, 1, "give the number of the column's levels")
    check_arguments(pair, x, observed, n_samples, defensive)
    if not 0 <= column < x.shape[1]:
        raise ValueError(f"column must be from 0 to {x.shape[1] - 1}; got {column!r}; name one of those.")
    observed = observed & (np.arange(x.shape[1]) != column)
    rows_at_once, at_once = sizes(n_samples)
    counts = (int(column), int(n_levels), int(n_samples), at_once)

    def average(*arrays: Array) -> Array:
        return _average(pair, RowBatch(*arrays), *counts, float(defensive), key=key)

    rows = rows_of(pair, x, observed)
    found: NDArray[Any] = by_chunks(average, *rows, rows_at_once=rows_at_once, on_progress=on_progress)
    return found


@compiled
def _average(
    pair: Pair,
    batch: RowBatch,
    column: int,
    n_levels: int,
    n_samples: int,
    at_once: int,
    defensive: float,
    *,
    key: PRNGKeyArray,
) -> Float[Array, "n k"]:
    def term(row: Row, s: Array) -> Term:
        d, log_w = weighted(pair, row, s, defensive)
        rest = d.given(row.x, row.observed)
        return Term(log_w, jnp.exp(rest.level_log_probs_at(column, n_levels)), jnp.zeros(0, log_w.dtype))

    return expectation(found_rows(pair, batch, key=key), term, n_samples, at_once).mean
