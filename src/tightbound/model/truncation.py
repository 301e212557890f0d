"""Gaussian vectors within a box: draws of the cells one after another, with the weight that makes them right."""

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Bool, Float, PRNGKeyArray


def truncated_gaussian(
    loc: Float[Array, " d"],
    tril: Float[Array, "d d"],
    low: Float[Array, " d"],
    high: Float[Array, " d"],
    observed: Bool[Array, " d"],
    *,
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], Float[Array, " d"]]:
    """A draw of N(loc, L L') within low <= x <= high, and its log weight, the product of one-dimensional probabilities.

    Cell after cell, x_j = loc_j + sum_i L_ji e_i with e_j drawn within what the interval leaves it; the mean of the
    weights over draws is the probability of the box. Of the observed cells, which the Gaussian is already given, e = 0.
    Source: Geweke (1991), Hajivassiliou, and Keane (1994): the GHK simulator.
    """

    def step(carry: tuple[Array, Array], j: Array) -> tuple[tuple[Array, Array], Array]:
        e, log_weight = carry
        center, scale = loc[j] + tril[j] @ e, tril[j, j]
        a, b = (low[j] - center) / scale, (high[j] - center) / scale
        free = observed[j] | (jnp.isinf(a) & jnp.isinf(b))
        draw = jax.random.truncated_normal(jax.random.fold_in(key, j), jnp.where(free, -jnp.inf, a), b)
        own = jnp.where(free, jax.random.normal(jax.random.fold_in(key, j), dtype=loc.dtype), draw)
        own = jnp.where(observed[j], 0, own.astype(loc.dtype))
        log_share = jnp.where(free, 0, _log_normal_interval(a, b))
        return (e.at[j].set(own), log_weight + log_share), center + scale * own

    start = (jnp.zeros(len(loc), loc.dtype), jnp.zeros((), loc.dtype))
    (_, log_weight), draws = jax.lax.scan(step, start, jnp.arange(len(loc)))
    return log_weight, jnp.clip(draws, low, high)


def _log_normal_interval(a: Float[Array, ""], b: Float[Array, ""]) -> Float[Array, ""]:
    """log(Phi(b) - Phi(a)), on the side of the tail where no digits are lost."""
    a, b = jnp.where(a > 0, -b, a), jnp.where(a > 0, -a, b)
    upper, lower = log_ndtr(b), log_ndtr(a)
    return upper + jnp.log1p(-jnp.exp(jnp.minimum(lower - upper, 0)))
