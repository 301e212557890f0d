"""Rows in chunks: how many fit in memory at once, what q is for them and says of them, and rows that a model makes."""

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.learn import AbstractInference
from tightbound.learn.source import n_devices, on_devices
from tightbound.model import (
    AbstractDistribution,
    ColumnsHead,
    ConditionedHead,
    DiagonalGaussian,
    FullGaussian,
    GenerativeModel,
    has_closed_form_kl,
    kl_divergence,
    kl_per_dimension,
)
from tightbound.model.compiling import compiled
from tightbound.model.streams import Stream

ROWS_AT_ONCE = 256
"""Of what looks at each row once."""
DRAWS_AT_ONCE = 2000
"""Decoder evaluations in flight: wide enough for the matrix units, small enough for the cache."""
MIN_ROWS_AT_ONCE = 16
CHAIN_ROWS_AT_ONCE = 16
"""Of chains, where not every row has some: few, for a piece costs as much as a full one however few rows are left; and
as many everywhere, for one program."""

Progress = Callable[[int], None]
"""Called with the number of rows done."""


class Chunk(NamedTuple):
    """Some rows on the device (or devices), filled up to the shape that all chunks have."""

    start: int
    size: int
    """How many of the rows are its own: the first ones."""
    arrays: tuple[Any, ...]

    def own(self, tree: Any) -> Any:
        """What arrays say of its own rows, on the host."""
        return jax.tree.map(lambda a: np.asarray(a)[: self.size], jax.device_get(tree))


def chunks(
    *arrays: NDArray[Any] | None, rows_at_once: int = ROWS_AT_ONCE, on_progress: Progress | None = None
) -> Iterator[Chunk]:
    """The rows of arrays (None for one that is not there) in chunks of `rows_at_once` for each device; one at least.

    A device has as many rows as it would have alone, and so they get the same bits. `on_progress` hears of a chunk when
    the next one is asked for.
    """
    n, shape = next(len(a) for a in arrays if a is not None), rows_at_once * n_devices()
    for start in range(0, max(n, 1), shape):
        size = min(shape, n - start)
        filled = [None if a is None else _filled(a[start : start + size], shape) for a in arrays]
        yield Chunk(start, size, tuple(on_devices(filled)))
        if on_progress is not None:
            on_progress(start + size)


def by_chunks(
    function: Callable[..., Any],
    *arrays: NDArray[Any] | None,
    rows_at_once: int = ROWS_AT_ONCE,
    on_progress: Progress | None = None,
) -> Any:
    """`function(*arrays)` chunk by chunk: arrays whose first axis are rows (or a tree of them), joined on the host."""
    walk = chunks(*arrays, rows_at_once=rows_at_once, on_progress=on_progress)
    return joined([chunk.own(function(*chunk.arrays)) for chunk in walk])


def joined(parts: Sequence[Any]) -> Any:
    """Trees of arrays, one after the other."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def rows_and_samples(n_samples: int, at_once: int = DRAWS_AT_ONCE, least: int = MIN_ROWS_AT_ONCE) -> tuple[int, int]:
    """Rows and samples of each at once: by the number of samples alone, so that any table runs the same program."""
    rows = min(max(least, at_once // n_samples), at_once)
    return rows, min(n_samples, max(at_once // rows, 1))


def _filled(rows: NDArray[Any], size: int) -> NDArray[Any]:
    """With copies of the first row behind them (zeros, where there is none)."""
    missing = size - len(rows)
    if not missing:
        return rows
    filling = rows[:1] if len(rows) else np.zeros((1, *rows.shape[1:]), rows.dtype)
    return np.concatenate([rows, np.repeat(filling, missing, axis=0)])


@final
class Posteriors(eqx.Module):
    """q(z | x) of some rows, found once: what an inner loop did for a row is not done again by the next program.

    Programs that take these and not the inference are the same for every inference that ends in a Gaussian.
    """

    q: AbstractInference | None
    found: Any
    """Of every row: its Gaussian (then q is None), or the parameters that q makes its member of. Not always a
    distribution: that of a flow would carry a copy of its networks for every row."""

    def of_row(self, p: GenerativeModel, found: Any) -> AbstractDistribution:
        """q(z | x) of one row, from its entry in `found`."""
        return found if self.q is None else self.q.distribution(p, found)


def posteriors_of(
    p: GenerativeModel, q: AbstractInference, x: Array, observed: Array | None, hashes: Array, *, key: PRNGKeyArray
) -> Posteriors:
    """The q of every row; the draws that an inner loop needs are fixed by `key` and the row's own content."""
    found = _found(p, q, x, observed, hashes, key=key)
    return Posteriors(None if isinstance(found, DiagonalGaussian | FullGaussian) else q, found)


@compiled
def _found(
    p: GenerativeModel, q: AbstractInference, x: Array, observed: Array | None, hashes: Array, *, key: PRNGKeyArray
) -> Any:
    def one(x: Array, mask: Array | None, row_hash: Array) -> Any:
        parameters = q.parameters(p, x, mask, key=inner_key(key, row_hash))
        member = q.distribution(p, parameters)
        return member if isinstance(member, DiagonalGaussian | FullGaussian) else parameters

    return jax.vmap(one)(x, observed, hashes)


def inner_key(key: PRNGKeyArray, row_hash: Array) -> PRNGKeyArray:
    """Of the inner loop that finds a row's q."""
    return jax.random.fold_in(Stream.INNER_LOOP.of(key), row_hash)


def rows_of(
    p: GenerativeModel, x: NDArray[Any], observed: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], NDArray[np.bool_] | None, NDArray[np.uint32]]:
    """Rows, their mask, and what their noise is drawn from: what the programs of this package take, chunk by chunk."""
    mask = mask_of(p, x, observed)
    return x, mask, row_hashes(x, mask)


def mask_of(p: GenerativeModel, x: NDArray[Any], observed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Which cells count, None for all; of columns with a family each a mask at all times.

    There it costs next to nothing, and rows with gaps and rows without run one program, which takes seconds to compile.
    """
    if isinstance(getattr(getattr(p, "decoder", None), "head", None), ColumnsHead | ConditionedHead):
        return np.ones(x.shape, bool) if observed is None else observed
    return None if observed is None or observed.all() else observed


def spread_out(count: int, most: int) -> NDArray[np.intp]:
    """At most `most` of the positions 0 .. count - 1, evenly spread, in order."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.intp))


def row_hashes(x: NDArray[Any], observed: NDArray[np.bool_] | None) -> NDArray[np.uint32]:
    """A number for each row that its content fixes, (n,): what a row's noise is drawn from.

    Of a row without gaps it is the same whether rows beside it have some or not.
    """
    rows = np.ascontiguousarray(x if observed is None else np.where(observed, x, 0))
    seeds = np.zeros(len(rows), np.int64)
    if observed is not None:
        gaps = np.flatnonzero(~observed.all(axis=tuple(range(1, observed.ndim))))
        seeds[gaps] = [zlib.crc32(np.ascontiguousarray(observed[i]).tobytes()) for i in gaps]
    return np.array([zlib.crc32(row.tobytes(), int(seed)) for row, seed in zip(rows, seeds, strict=True)], np.uint32)


def simulate(p: GenerativeModel, n: int, *, first: int = 0, key: PRNGKeyArray) -> tuple[NDArray[Any], NDArray[Any]]:
    """n draws (x, z) from the model, (n, d) and (n, k): each z is an exact posterior draw given its x.

    The i-th is fixed by `key` and i, which begins at `first`: more of them begin with the same.
    """
    x, z = by_chunks(lambda i: _simulate(p, i, key=key), np.arange(first, first + n, dtype=np.int32))
    return x, z


@compiled
def _simulate(p: GenerativeModel, numbers: Array, *, key: PRNGKeyArray) -> tuple[Array, Array]:
    return jax.vmap(lambda i: p.sample(key=jax.random.fold_in(key, i)))(numbers)


ACTIVE_ABOVE = 0.01
"""A unit is active when the variance over rows of its posterior mean is above this (Burda et al., 2016)."""
_KL_DRAWS = 100


@final
@dataclasses.dataclass(frozen=True)
class Latents:
    """q(z | x) of every row, summarised."""

    mean: NDArray[Any]
    """(n, k) E_q[z]."""
    sd: NDArray[Any]
    """(n, k) standard deviation of each z_j under q."""
    kl: NDArray[Any]
    """(n, k) KL of each marginal q(z_j | x) from the prior's, nats (between Gaussians of the same moments where the
    marginals have no form of their own)."""
    total_kl: NDArray[Any]
    """(n,) KL(q(z | x) || p(z)), nats: by its formula, else by draws."""
    exact_kl: bool = True
    """Whether `total_kl` comes from its formula."""

    @property
    def kl_per_dimension(self) -> NDArray[Any]:
        """(k,) mean over rows of `kl`, nats."""
        return np.asarray(self.kl.mean(axis=0))

    @property
    def active(self) -> NDArray[np.bool_]:
        """(k,) whether Var_x(E_q[z_j]) > 0.01. Source: Burda, Grosse and Salakhutdinov (2016), section 5."""
        return np.asarray(self.mean.var(axis=0) > ACTIVE_ABOVE)


def encode(
    p: GenerativeModel, q: AbstractInference, x: NDArray[Any], observed: NDArray[np.bool_] | None = None
) -> Latents:
    """Posterior mean, standard deviation and KL of each latent dimension, for every row of `x` (n, d)."""
    observed = mask_of(p, x, observed)
    mean, sd, kl, total = by_chunks(lambda *rows: _encode(p, q, *rows), x, observed)
    return Latents(mean, sd, kl, total, exact_kl=_has_formula(p, q, x, observed))


def _has_formula(p: GenerativeModel, q: AbstractInference, x: NDArray[Any], observed: NDArray[np.bool_] | None) -> bool:
    def one(x: Array, observed: Array | None) -> AbstractDistribution:
        return q(p, x, observed, key=jax.random.key(0))

    mask = None if observed is None else jnp.asarray(observed[0])
    return has_closed_form_kl(eqx.filter_eval_shape(one, jnp.asarray(x[0]), mask), p.prior)


@compiled
def _encode(p: GenerativeModel, q: AbstractInference, x: Array, observed: Array | None) -> tuple[Array, ...]:
    def one(x: Array, observed: Array | None) -> tuple[Array, ...]:
        # One key for all rows: what an inner loop finds for a row does not depend on the others.
        posterior = q(p, x, observed, key=jax.random.key(0))
        total = _total_kl(posterior, p.prior)
        return posterior.mean, posterior.variance**0.5, kl_per_dimension(posterior, p.prior), total

    return jax.vmap(one)(x, observed)


def _total_kl(posterior: AbstractDistribution, prior: AbstractDistribution) -> Array:
    if has_closed_form_kl(posterior, prior):
        return kl_divergence(posterior, prior)

    def difference(key: PRNGKeyArray) -> Array:
        z, log_q = posterior.sample_and_log_prob(key=key)
        return log_q - prior.log_prob(z)

    return jnp.mean(jax.vmap(difference)(jax.random.split(jax.random.key(1), _KL_DRAWS)))
