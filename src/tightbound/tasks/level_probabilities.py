"""The distribution of one column of levels given any others."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.rows import Progress, by_chunks
from tightbound.learn import Pair
from tightbound.model.compiling import compiled
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
    sizes,
    weighted,
)


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
