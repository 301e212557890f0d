"""Imputations when cells are missing not at random, and how they move with the strength of the mechanism."""

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32
from numpy.typing import NDArray

from tightbound.evidence.importance import INNER_LOOP, chunks, row_hashes, take
from tightbound.learn import AbstractInference
from tightbound.model import GenerativeModel, sample_and_log_prob
from tightbound.model.mechanisms import AbstractMechanism
from tightbound.model.missingness import Selected, SelectedHead

ROWS_AT_ONCE = 16


@final
@dataclasses.dataclass(frozen=True)
class Imputed:
    """Rows whose missing cells are filled, in the model's units."""

    mean: NDArray[Any]
    """(n, d): observed cells as they came, missing ones at E[x_j | x_obs, s]."""
    scale: NDArray[Any]
    """(n, d): standard deviation of that posterior (of E[x_j | z] alone in columns that the mechanism does not read);
    zero where observed."""
    ess: NDArray[Any]
    """(n,): effective number of draws; below 10, think twice."""


def impute_not_at_random(
    p: GenerativeModel,
    q: AbstractInference,
    x: NDArray[Any],
    observed: NDArray[np.bool_],
    *,
    n_samples: int = 1000,
    key: PRNGKeyArray,
) -> Imputed:
    """Self-normalised importance sampling: sum_s w_s x(z_s, eps_s), w_s ~ p(x_obs, s, z'_s) / q(z'_s), z'_s ~ q.

    Args:
        p: a model whose decoder has a missingness mechanism; q: its inference.
        x: (n, d) rows in the model's units, anything where `observed` (n, d) is False.
        key: the noise; a row's is fixed by `key` and the row's own content.

    Raises `ValueError` for a model without mechanism.
    """
    _mechanism(p)
    parts: list[Imputed] = []
    for start, size in chunks(len(x), ROWS_AT_ONCE):
        rows, mask = take(x, start, size, ROWS_AT_ONCE), take(observed, start, size, ROWS_AT_ONCE)
        hashes = jnp.asarray(row_hashes(rows, mask))
        found = _imputed(p, q, jnp.asarray(rows), jnp.asarray(mask), hashes, n_samples, key=key)
        parts.append(Imputed(*(np.asarray(a)[:size] for a in found)))
    joined = Imputed(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(Imputed)))
    return dataclasses.replace(joined, mean=np.where(observed, x, joined.mean))


def sensitivity(
    p: GenerativeModel,
    q: AbstractInference,
    x: NDArray[Any],
    observed: NDArray[np.bool_],
    *,
    factors: Sequence[float] = (0.0, 0.5, 1.0, 2.0),
    n_samples: int = 1000,
    key: PRNGKeyArray,
) -> dict[float, Imputed]:
    """The imputations when the mechanism's log-odds are multiplied by each factor, with all else as it was learnt.

    Factor 0 reads the fitted model as if cells were missing at random; what changes between factors rests on the
    mechanism and not on the data. All factors use the same draws.
    """
    return {
        float(factor): impute_not_at_random(with_strength(p, factor), q, x, observed, n_samples=n_samples, key=key)
        for factor in factors
    }


def with_strength(p: GenerativeModel, factor: float) -> GenerativeModel:
    """The model with the log-odds of its mechanism times `factor`."""
    changed: Any = eqx.tree_at(lambda a: a.decoder.head.mechanism, p, _mechanism(p).scaled(factor))
    return changed  # type: ignore[no-any-return]


def _mechanism(p: GenerativeModel) -> AbstractMechanism:
    if not isinstance(p.decoder.head, SelectedHead):
        raise ValueError(
            "The model must have a missingness mechanism; this one takes cells to be missing at random; make its "
            "decoder with selected_decoder."
        )
    return p.decoder.head.mechanism


@eqx.filter_jit
def _imputed(
    p: GenerativeModel,
    q: AbstractInference,
    x: Float[Array, "n d"],
    observed: Bool[Array, "n d"],
    hashes: UInt32[Array, " n"],
    n_samples: int,
    *,
    key: PRNGKeyArray,
) -> tuple[Float[Array, "n d"], Float[Array, "n d"], Float[Array, " n"]]:
    def one(x: Array, mask: Array, row: Array) -> tuple[Array, Array, Array]:
        inner = jax.random.fold_in(jax.random.fold_in(key, INNER_LOOP), row)
        member = q.member(p, q.numbers(p, x, mask, key=inner))

        def draw(k: PRNGKeyArray) -> tuple[Array, Array]:
            z, log_q = sample_and_log_prob(member, key=k)
            cells = p.decoder(z)
            filled = cells.completed(x, mask) if isinstance(cells, Selected) else cells.mean
            log_weight = cells.log_prob(x, mask) + p.prior.log_prob(z) - log_q
            return jnp.where(mask, 0, filled), jnp.where(jnp.isnan(log_weight), -jnp.inf, log_weight)

        values, log_weights = jax.vmap(draw)(jax.random.split(jax.random.fold_in(key, row), n_samples))
        w = jax.nn.softmax(log_weights)
        mean = w @ values
        return mean, jnp.sqrt(w @ (values - mean[None, :]) ** 2), 1 / jnp.sum(w**2)

    return jax.vmap(one)(x, observed, hashes)
