"""What all readings share: latents of a row with their importance weights, streamed over samples and over rows.

z_s ~ q(z | x_observed), w_s = p(x_observed, z_s) / q(z_s | x_observed); whatever depends on z is averaged with the
weights w_s / sum w. Memory grows with neither rows nor samples.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32
from numpy.typing import NDArray

from tightbound.evidence.rows import DRAWS_AT_ONCE, MIN_ROWS_AT_ONCE, inner_key, row_hashes, rows_and_samples
from tightbound.evidence.weights import draw, odd
from tightbound.learn import Pair
from tightbound.model import AbstractDistribution, GenerativeModel
from tightbound.model.streams import Stream

Values = NDArray[Any]
Mask = NDArray[np.bool_]


class RowBatch(eqx.Module):
    """Some rows, as a program gets them."""

    x: Float[Array, "n d"]
    observed: Bool[Array, "n d"]
    hashes: UInt32[Array, " n"]
    """What the noise of z is drawn from: the row's content."""
    copies: UInt32[Array, " n"]
    """How many rows before this one are the same: what sets apart the draws that equal rows get."""


class Row(eqx.Module):
    """One row and what was found for it (or n rows side by side)."""

    x: Float[Array, "*n d"]
    observed: Bool[Array, "*n d"]
    parameters: Float[Array, "*n m"]
    """What q is made of."""
    key: PRNGKeyArray
    copy_key: PRNGKeyArray
    """Of draws that differ between equal rows."""


class Term(NamedTuple):
    """What one z contributes."""

    log_weight: Float[Array, ""]
    values: Float[Array, " k"]
    """To be averaged."""
    logs: Float[Array, " l"]
    """Logarithms of what is to be averaged."""


class Expectation(NamedTuple):
    """Averages over z with the normalised weights, for n rows."""

    log_weights: Float[Array, "n s"]
    """-inf for a weight that is not a number."""
    mean: Float[Array, "n k"]
    log_mean: Float[Array, "n l"]


def shape_of(p: GenerativeModel) -> AbstractDistribution:
    """p(x | z) of a row, with shapes in place of numbers: which distribution it is."""

    def drawn() -> AbstractDistribution:
        z = p.prior.sample(key=jax.random.key(0))
        d = p.decoder(z)
        return d.at(jnp.zeros(d.dim, z.dtype))

    return jax.eval_shape(drawn)


def _check_readable(p: object) -> None:
    """Refuse (`TypeError`) a model without latents, and one whose cells have no distribution given others."""
    if not isinstance(p, GenerativeModel):
        raise TypeError(
            f"The model must have latents p(x, z) for its cells to be read given others; got {type(p).__name__}; "
            "fit a model with latents."
        )
    d = shape_of(p)
    jax.eval_shape(lambda d, x: d.given(x, x > 0), d, jax.eval_shape(lambda d: d.mean, d))


def check_arguments(pair: Pair, x: Values, observed: Mask, n_samples: int, defensive: float) -> None:
    """Refuse (`ValueError`, `TypeError`) what no reading can work with."""
    _check_readable(pair.p)
    dim = pair.p.decoder.head.dim
    if x.ndim != 2 or x.shape[1] != dim or observed.shape != x.shape:
        raise ValueError(
            f"x and observed must both have one column for each of the model's {dim}; got the shapes {x.shape} and "
            f"{observed.shape}; give the table that the model knows."
        )
    check_count("n_samples", n_samples, 1, "1000 is usual")
    if not 0 <= defensive < 1:
        raise ValueError(f"defensive must be a share from 0 to below 1; got {defensive!r}; 0.1 is usual.")


def check_count(name: str, value: int, least: int, usual: str) -> None:
    """Refuse (`ValueError`) what is no whole number of at least `least`."""
    if not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}; {usual}.")


def sizes(n_samples: int) -> tuple[int, int]:
    """Rows and samples at once, where weights are kept: many samples of one row fill the machine."""
    return rows_and_samples(n_samples, least=1 if n_samples >= DRAWS_AT_ONCE else MIN_ROWS_AT_ONCE)


def rows_of(pair: Pair, x: Values, observed: Mask) -> tuple[Values, Mask, NDArray[np.uint32], NDArray[np.uint32]]:
    """The arrays of a `RowBatch` for all rows; what is not observed is 0.

    Unless a row's exposure is its own total: then cells that are only hidden count into it.
    """
    x = np.nan_to_num(x) if pair.p.decoder.head.by_total else np.where(observed, x, 0).astype(x.dtype)
    return x, observed, row_hashes(x, observed), _copies(x, observed)


def found_rows(pair: Pair, batch: RowBatch, *, key: PRNGKeyArray) -> Row:
    """The rows with what inference finds for them, inside a program."""
    keys = jax.vmap(lambda h: jax.random.fold_in(key, h))(batch.hashes)
    copy_keys = jax.vmap(lambda k, c: jax.random.fold_in(Stream.COPIES.of(k), c))(keys, batch.copies)

    # Numbers, not distributions: those of a flow would carry a copy of its networks for every row.
    def parameters(x: Array, mask: Array, h: Array) -> Array:
        return pair.q.parameters(pair.p, x, mask, key=inner_key(key, h))

    return Row(batch.x, batch.observed, jax.vmap(parameters)(batch.x, batch.observed, batch.hashes), keys, copy_keys)


def weighted(pair: Pair, row: Row, s: Array, defensive: float) -> tuple[AbstractDistribution, Float[Array, ""]]:
    """p(x | z_s) of the s-th draw and its log weight; the same s gives the same draw again."""
    q, key = pair.q.distribution(pair.p, row.parameters), jax.random.fold_in(row.key, s)
    drawn = draw(pair.p, q, row.x, row.observed, defensive=defensive, key=key)
    return drawn.given_z, drawn.log_weight


def expectation(
    rows: Any,
    term: Callable[[Any, Array], Term],
    n_samples: int,
    samples_at_once: int,
    taken: Int[Array, ""] | None = None,
) -> Expectation:
    """Self-normalised averages of what `term(row, s)` gives, over s < n_samples, for rows (a tree) side by side.

    `taken` (None: all) of the samples, a number that the program need not know: the weights of the others are 0.
    """
    over_rows = jax.vmap(jax.vmap(term, in_axes=(None, 0)), in_axes=(0, None))
    starts = jnp.arange(0, n_samples, samples_at_once)
    shape = jax.eval_shape(term, jax.tree.map(lambda a: a[0], rows), starts[0])
    n, dtype = jax.tree.leaves(rows)[0].shape[0], shape.log_weight.dtype

    most = jnp.int32(n_samples) if taken is None else taken

    def step(carry: Any, start: Array) -> tuple[Any, Array]:
        nothing = jnp.full((n, samples_at_once), -jnp.inf, dtype)
        return jax.lax.cond(start < most, lambda: weigh(carry, start), lambda: (carry, nothing))

    def weigh(carry: Any, start: Array) -> tuple[Any, Array]:
        maximum, sum_w, total, log_total = carry
        s = start + jnp.arange(samples_at_once)
        log_w, values, logs = over_rows(rows, s)
        log_w = jnp.where((s < most)[None, :] & ~odd(log_w), log_w, -jnp.inf)
        new = jnp.maximum(maximum, jnp.max(log_w, axis=1))
        safe = jnp.where(jnp.isfinite(new), new, 0)
        shrink, w = jnp.exp(maximum - safe), jnp.exp(log_w - safe[:, None])
        some = (w > 0)[:, :, None]
        total = total * shrink[:, None] + jnp.sum(w[:, :, None] * jnp.where(some, values, 0), axis=1)
        here = jnp.where(some, log_w[:, :, None] + jnp.where(some, logs, 0), -jnp.inf)
        log_total = jnp.logaddexp(log_total, jax.nn.logsumexp(here, axis=1))
        return (new, sum_w * shrink + jnp.sum(w, axis=1), total, log_total), log_w

    empty = (
        jnp.full(n, -jnp.inf, dtype),
        jnp.zeros(n, dtype),
        jnp.zeros((n, *shape.values.shape), shape.values.dtype),
        jnp.full((n, *shape.logs.shape), -jnp.inf, shape.logs.dtype),
    )
    (maximum, sum_w, total, log_total), log_w = jax.lax.scan(step, empty, starts)
    log_sum = jnp.where(sum_w > 0, maximum + jnp.log(sum_w), jnp.nan)
    log_weights = jnp.moveaxis(log_w, 0, 1).reshape(n, -1)[:, :n_samples]
    return Expectation(log_weights, total / sum_w[:, None], log_total - log_sum[:, None])


def _copies(x: Values, observed: Mask) -> NDArray[np.uint32]:
    seen: dict[bytes, int] = {}
    numbers = np.zeros(len(x), np.uint32)
    for i, (row, mask) in enumerate(zip(x, observed, strict=True)):
        content = row.tobytes() + mask.tobytes()
        numbers[i] = seen.get(content, 0)
        seen[content] = int(numbers[i]) + 1
    return numbers
