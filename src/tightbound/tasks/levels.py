"""The distribution of one column given any others: probabilities of its levels, and its cdf."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike, NDArray

from tightbound.learn import Pair
from tightbound.model import AbstractDistribution
from tightbound.tasks.cellwise import cdf_at, given, level_log_probs_at
from tightbound.tasks.sampling import (
    Batch,
    Mask,
    Progress,
    Row,
    Term,
    Values,
    batches,
    check_arguments,
    check_count,
    expectation,
    found_rows,
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
    return _read(pair, x, observed, column, _Levels(n_levels), n_samples, defensive, key, on_progress)


def conditional_cdf(
    pair: Pair,
    x: Values,
    observed: Mask,
    column: int,
    at: ArrayLike,
    *,
    n_samples: int = 1000,
    defensive: float = 0.0,
    key: PRNGKeyArray,
    on_progress: Progress | None = None,
) -> NDArray[Any]:
    """P(x_column <= t | x_observed without the column) for every t of `at`, (n, len(at)), in the model's units.

    sum_s w_s F(t | z_s); for the other arguments see `conditional_draws`.
    """
    reader = _Below(jnp.asarray(np.atleast_1d(np.asarray(at, x.dtype))))
    return _read(pair, x, observed, column, reader, n_samples, defensive, key, on_progress)


class _Levels(eqx.Module):
    """Reads the probabilities of the first codes."""

    n_levels: int = eqx.field(static=True)

    def __call__(self, d: AbstractDistribution, column: int) -> Float[Array, " k"]:
        return jnp.exp(level_log_probs_at(d, column, self.n_levels))


class _Below(eqx.Module):
    """Reads the cdf at some values."""

    at: Float[Array, " k"]

    def __call__(self, d: AbstractDistribution, column: int) -> Float[Array, " k"]:
        return jax.vmap(lambda t: cdf_at(d, column, t))(self.at)


def _read(
    pair: Pair,
    x: Values,
    observed: Mask,
    column: int,
    reader: _Levels | _Below,
    n_samples: int,
    defensive: float,
    key: PRNGKeyArray,
    on_progress: Progress | None,
) -> NDArray[Any]:
    check_arguments(pair, x, observed, n_samples, defensive)
    if not 0 <= column < x.shape[1]:
        raise ValueError(f"column must be from 0 to {x.shape[1] - 1}; got {column!r}; name one of those.")
    observed = observed & (np.arange(x.shape[1]) != column)
    rows_at_once, at_once = sizes(n_samples)
    parts = []
    for start, size, batch in batches(pair, x, observed, rows_at_once):
        found = _average(pair, batch, reader, int(column), int(n_samples), at_once, float(defensive), key=key)
        parts.append(np.asarray(found)[:size])
        if on_progress is not None:
            on_progress(start + size)
    return np.concatenate(parts) if parts else np.zeros((0, 0), x.dtype)


@eqx.filter_jit
def _average(
    pair: Pair,
    batch: Batch,
    reader: _Levels | _Below,
    column: int,
    n_samples: int,
    at_once: int,
    defensive: float,
    *,
    key: PRNGKeyArray,
) -> Float[Array, "n k"]:
    def term(row: Row, s: Array) -> Term:
        d, log_w = weighted(pair, row, s, defensive)
        return Term(log_w, reader(given(d, row.x, row.observed), column), jnp.zeros(0, log_w.dtype))

    return expectation(found_rows(pair, batch, key=key), term, n_samples, at_once).mean
