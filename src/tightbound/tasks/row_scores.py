"""Scores of a row beside log p(x). Of all of them a higher value is more anomalous."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike, NDArray

from tightbound.evidence.rows import Progress, by_chunks
from tightbound.learn import Pair, Refinement
from tightbound.model.compiling import compiled
from tightbound.model.streams import Stream
from tightbound.tasks.sampling import Mask, Row, RowBatch, Values, check_arguments, found_rows, rows_of, sizes


def likelihood_regret(
    pair: Pair,
    x: Values,
    observed: Mask,
    *,
    steps: int = 100,
    rate: float = 0.3,
    n_samples: int = 100,
    key: PRNGKeyArray,
    on_progress: Progress | None = None,
) -> NDArray[Any]:
    """The ELBO of each row after up to `steps` steps on its own q, minus that of its q as it is, (n,), nats.

    Rows unlike those that the encoder was trained on have much to gain. Both bounds are means over the same
    `n_samples` draws of noise. Below zero only by that noise.

    Raises `TypeError` for an inference without variational parameters, whose regret is zero by definition.
    Source: Xiao, Yan and Amit (2020), who refine the encoder's network in place of the row's parameters.
    """
    check_arguments(pair, x, observed, n_samples, 0.0)
    if pair.q.own_family is None:
        raise TypeError(
            f"The inference must have parameters to refine; got {type(pair.q).__name__}, whose likelihood regret is "
            "zero or unknown; use log p(x), or amortised inference."
        )
    loop = Refinement(steps, rate)
    return _by_rows(
        pair, x, observed, n_samples, lambda b: _regret(pair, b, loop, int(n_samples), key=key), on_progress
    )


def reconstruction(
    pair: Pair, x: Values, observed: Mask, *, key: PRNGKeyArray, on_progress: Progress | None = None
) -> NDArray[Any]:
    """Mean over the observed cells of -log p(x_j | z) at the posterior mean z = E_q[z | x], (n,), nats a cell.

    The reconstruction error of autoencoders with every column in its own likelihood; NaN for a row without a cell.
    """
    check_arguments(pair, x, observed, 1, 0.0)
    return _by_rows(pair, x, observed, 1, lambda b: _reconstruction(pair, b, key=key), on_progress)


def typicality(log_prob: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """|log p(x) - mean log p of reference rows|, (n,), nats: anomalous is what is too likely, too.

    Compare rows with the same observed cells. Raises `ValueError` for no reference.
    Source: Nalisnick, Matsukawa, Teh and Lakshminarayanan (2019), equation 4 for one row.
    """
    known = np.asarray(reference, np.float64)
    if not known.size:
        raise ValueError("Typicality must have reference rows; got none; score some rows that are known to be normal.")
    return np.abs(np.asarray(log_prob, np.float64) - known.mean())


def _by_rows(
    pair: Pair,
    x: Values,
    observed: Mask,
    n_samples: int,
    score: Callable[[RowBatch], Array],
    on_progress: Progress | None,
) -> NDArray[Any]:
    rows, at_once = rows_of(pair, x, observed), sizes(n_samples)[0]
    found: NDArray[Any] = by_chunks(
        lambda *a: score(RowBatch(*a)), *rows, rows_at_once=at_once, on_progress=on_progress
    )
    return found


@compiled
def _regret(pair: Pair, batch: RowBatch, loop: Refinement, n_samples: int, *, key: PRNGKeyArray) -> Float[Array, " n"]:
    p: Any = pair.p
    family: Any = pair.q.own_family  # checked to be one

    def one(row: Row) -> Array:
        def bound(parameters: Array, s: Array) -> Array:
            z, log_q = family(parameters).sample_and_log_prob(key=jax.random.fold_in(row.key, s))
            return p.log_weight(row.x, z, log_q, row.observed).total

        loop_key = Stream.REFINING.of(row.key)
        refined = loop(p, family, row.parameters, row.x, row.observed, key=loop_key).parameters
        draws = jnp.arange(n_samples)
        return jnp.mean(jax.vmap(lambda s: bound(refined, s) - bound(row.parameters, s))(draws))

    return jax.vmap(one)(found_rows(pair, batch, key=key))


@compiled
def _reconstruction(pair: Pair, batch: RowBatch, *, key: PRNGKeyArray) -> Float[Array, " n"]:
    def one(row: Row) -> Array:
        z = pair.q.distribution(pair.p, row.parameters).mean
        terms = jnp.where(row.observed, pair.p.decoder(z).at(row.x, row.observed).log_probs(row.x), 0)
        return -jnp.sum(terms) / jnp.sum(row.observed)

    return jax.vmap(one)(found_rows(pair, batch, key=key))
