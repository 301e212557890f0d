"""Missing cells from p(x_missing | x_observed): draws and means, by sampling-importance-resampling."""

import dataclasses
from collections.abc import Iterator
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.rows import Progress, chunks
from tightbound.evidence.weights import ess_and_khat
from tightbound.learn import Pair
from tightbound.model import AbstractDistribution
from tightbound.model.compiling import compiled
from tightbound.model.streams import Stream
from tightbound.tasks.constraints import Constraints, Region, region_of
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
class ConditionalDraws:
    """p(x_missing | x_observed) of n rows, in the model's units."""

    values: NDArray[Any]
    """(n, n_draws, m) rows, equally likely, in which the observed cells stand as they came."""
    mean: NDArray[Any]
    """(n, m) E[x_j | x_observed], with the observed cells as they came; the most probable code of a nominal column."""
    ess: NDArray[np.float64]
    """(n,) effective number of latents among `n_samples` (Kong, 1992)."""
    khat: NDArray[np.float64]
    """(n,) Pareto k-hat of the importance weights: above 0.7, q is too far from the posterior for these draws."""
    impossible: NDArray[np.bool_]
    """(n,) whether no latent has a positive weight: the constraints exclude the row (its missing cells are NaN), or,
    without constraints, its own cells do (draws are then of q as it is)."""


def conditional_draws(
    pair: Pair,
    x: Values,
    observed: Mask,
    *,
    n_draws: int,
    n_samples: int = 1000,
    most_samples: int | None = None,
    constraints: Constraints | None = None,
    defensive: float = 0.0,
    key: PRNGKeyArray,
    on_progress: Progress | None = None,
) -> ConditionalDraws:
    """Draws of the missing cells of every row, given its observed cells (none, if need be) and sets for others.

    z_1, ..., z_S ~ q(z | x_observed) get weights w = p(x_observed, z) P(x_j in A_j for constrained j | z) / q(z);
    n_draws of them are chosen by weight, and x_missing ~ p(x_missing | z, x_observed, sets) is exact.

    Args:
        pair: p and q.
        x, observed: (n, m) rows and which cells count; the others may hold anything.
        n_draws: how many for each row; 0 for the means alone.
        n_samples: S. The draws are of p(x_missing | x_observed) as S grows; for many draws, take S several times more.
        most_samples: the largest S of a series of calls, which then share one compiled program.
        constraints: the set of each constrained column, by its position; a set on an observed cell rules rows out.
        defensive: share of the latents that comes from the prior; 0.1 guards against a q that misses part of p(z | x).
        key: the noise. A row's results depend on it and on the row alone, except that rows that are the same in every
            observed cell get different draws.
        on_progress: called with the number of rows done.

    Means are averages of E[x_j | z, x_observed] (Rao-Blackwell), of a column in a set those of its draws.
    Raises `ValueError` when the constraints leave no row possible.
    Source: Rubin (1988), sampling-importance-resampling; Kitagawa (1996), systematic resampling; Mattei and Frellsen
    (2019), section 3, for imputation by it.
    """
    check_count("n_draws", n_draws, 0, "20 is usual")
    samples = (n_samples, max(n_samples, most_samples or 0))
    parts = list(_parts(pair, x, observed, n_draws, samples, constraints, defensive, key, on_progress))
    fields = [field.name for field in dataclasses.fields(ConditionalDraws)]
    joined = ConditionalDraws(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in fields})
    if constraints and len(x) and joined.impossible.all():
        raise ValueError(
            f"The constraints must leave some row that the model can make; none of {len(x)} row(s) has a latent, of "
            f"{n_samples} tried, under which they have a probability; widen the sets on the columns "
            f"{sorted(constraints)}, or use more samples."
        )
    return joined


def _parts(
    pair: Pair,
    x: Values,
    observed: Mask,
    n_draws: int,
    samples: tuple[int, int],
    constraints: Constraints | None,
    defensive: float,
    key: PRNGKeyArray,
    on_progress: Progress | None,
) -> Iterator[ConditionalDraws]:
    """The results chunk by chunk; `samples`: latents a row, and how many the program is made for."""
    n_samples, most = samples
    check_arguments(pair, x, observed, n_samples, defensive)
    region = region_of(constraints, x.shape[1], x.dtype)
    rows_at_once, at_once = sizes(max(most, n_draws))
    nominal = shape_of(pair.p).nominal_levels()
    for chunk in chunks(*rows_of(pair, x, observed), rows_at_once=rows_at_once, on_progress=on_progress):
        counts = (jnp.int32(n_samples), int(most), int(n_draws), at_once)
        found = _draws(pair, RowBatch(*chunk.arrays), region, *counts, float(defensive), key=key)
        log_w, mean, values = chunk.own(found)
        log_w = log_w[:, :n_samples]
        rows = slice(chunk.start, chunk.start + chunk.size)
        own, seen = x[rows], observed[rows]
        impossible = ~np.isfinite(log_w.max(axis=1))
        mean = np.where(seen, own, _modes(mean, nominal)).astype(x.dtype)
        values = np.where(seen[:, None], own[:, None], values).astype(x.dtype)
        if region is not None:
            mean[impossible[:, None] & ~seen] = np.nan
            values[np.broadcast_to((impossible[:, None] & ~seen)[:, None], values.shape)] = np.nan
        yield ConditionalDraws(values, mean, *ess_and_khat(log_w), impossible)


@compiled
def _draws(
    pair: Pair,
    batch: RowBatch,
    region: Region | None,
    n_samples: Int[Array, ""],
    most_samples: int,
    n_draws: int,
    at_once: int,
    defensive: float,
    *,
    key: PRNGKeyArray,
) -> tuple[Float[Array, "n s"], Float[Array, "n k"], Float[Array, "n t m"]]:
    """Log weights, means (followed by the probabilities of nominal levels) and completed rows."""
    rows = found_rows(pair, batch, key=key)
    size = min(at_once, most_samples)
    total = expectation(
        rows, lambda row, s: _term(pair, row, region, s, defensive), most_samples, size, taken=n_samples
    )
    log_w, mean = total.log_weights, total.mean
    none = jnp.max(log_w, axis=1, keepdims=True) == -jnp.inf
    weights = jax.nn.softmax(jnp.where(none, 0, log_w), axis=1)
    if not n_draws:
        return log_w, mean, jnp.zeros((*batch.x.shape[:1], 0, batch.x.shape[1]), batch.x.dtype)
    # Of the whole batch: a condition that differed from row to row would be no condition, but a choice of two results.
    gaps = jnp.any(~batch.observed, axis=0)
    chosen = jax.vmap(lambda row, w: _systematic(row, w, n_draws))(rows, weights)

    def completed(row: Row, s: Array, t: Array) -> Array:
        return _completed(pair, row, region, s, t, defensive, gaps)

    over_rows = jax.vmap(jax.vmap(completed, in_axes=(None, 0, 0)), in_axes=(0, 0, None))
    size = min(at_once, n_draws)
    t = jnp.arange(-(-n_draws // size) * size)
    padded = jnp.take(chosen, jnp.minimum(t, n_draws - 1), axis=1)
    pieces = (jnp.moveaxis(padded.reshape(len(padded), -1, size), 1, 0), t.reshape(-1, size))
    values = jax.lax.map(lambda piece: over_rows(rows, piece[0], piece[1]), pieces)
    values = jnp.moveaxis(values, 0, 1).reshape(len(padded), len(t), -1)[:, :n_draws]
    if region is not None:
        # A mean within the sets: of the draws that were chosen.
        columns = jnp.asarray([each.column for each in region.sets if shape_of(pair.p).factorised], int)
        mean = mean.at[:, columns].set(jnp.mean(values[:, :, columns], axis=1))
    return log_w, mean, values


def _term(pair: Pair, row: Row, region: Region | None, s: Array, defensive: float) -> Term:
    d, log_w = weighted(pair, row, s, defensive)
    rest = d.given(row.x, row.observed)
    mean = rest.mean
    if region is not None:
        log_p, mean = _restricted(rest, region, row, s)
        log_w = log_w + log_p
    values = jnp.concatenate([mean, jnp.exp(rest.nominal_log_probs())])
    return Term(log_w, values, jnp.zeros(0, log_w.dtype))


def _restricted(rest: AbstractDistribution, region: Region, row: Row, s: Array) -> tuple[Array, Array]:
    """log P(sets | z, x_observed), and what to average: means, or a draw where the cells are correlated."""
    key = Stream.CELLS.of(jax.random.fold_in(row.key, s))
    return region.weighed(rest, row.x, row.observed, key=key)


def _completed(
    pair: Pair, row: Row, region: Region | None, s: Array, t: Array, defensive: float, gaps: Bool[Array, " m"]
) -> Array:
    """The t-th draw of a row, from its s-th latent; `gaps` says of which columns some row of the batch needs one."""
    rest = weighted(pair, row, s, defensive)[0].given(row.x, row.observed)
    if region is not None and not rest.factorised:
        # The draw that the weight belongs to.
        return jnp.where(row.observed, row.x, _restricted(rest, region, row, s)[1])
    key_free, key_set = jax.random.split(jax.random.fold_in(Stream.CELLS.of(row.copy_key), t))
    x = rest.sample_needed(gaps, key=key_free)
    if region is not None:
        x = region.sample(rest, x, key=key_set)
    return jnp.where(row.observed, row.x, x)


def _systematic(row: Row, weights: Array, n_draws: int) -> Array:
    """n_draws positions, each chosen with its weight: one uniform number, then even steps; in random order.

    In their own order the first draws would be of the first latents alone, whatever their weights are.
    """
    u = jax.random.uniform(Stream.RESAMPLING.of(row.copy_key), dtype=weights.dtype)
    cumulative = jnp.cumsum(weights)
    points = (u + jnp.arange(n_draws)) / n_draws * cumulative[-1]
    # From the right: a weight of zero is never chosen.
    found = jnp.searchsorted(cumulative, points.astype(weights.dtype), side="right")
    last = jnp.max(jnp.where(weights > 0, jnp.arange(len(weights)), 0))
    return jax.random.permutation(Stream.ORDER.of(row.copy_key), jnp.minimum(found, last))


def _modes(mean: Values, nominal: tuple[int, ...]) -> Values:
    """The means, with the most probable code of each nominal column, whose probabilities stand at their end."""
    found, at = mean[:, : len(nominal)].copy(), len(nominal)
    for j, levels in enumerate(nominal):
        if levels:
            found[:, j] = np.argmax(mean[:, at : at + levels], axis=1)
            at += levels
    return found
