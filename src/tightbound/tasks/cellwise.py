"""The cells of a decoder's distribution p(x | z), one column at a time, and that distribution given some of its cells.

A column is a number that a program may compute (one program serves all columns of a table).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, Int

from tightbound.model import (
    AbstractDistribution,
    Bernoulli,
    DiagonalGaussian,
    FullGaussian,
    GenerativeModel,
    LowRankGaussian,
    ProductOfCells,
    at_row,
)
from tightbound.model.distributions import Scalar, Vector
from tightbound.model.likelihoods import AbstractCells, CategoricalCells, GivenCells, levels_of
from tightbound.model.likelihoods.levels import AbstractLevelCells
from tightbound.model.likelihoods.missingness import Selected

Column = Int[Array, ""] | int
_READABLE = (ProductOfCells, Bernoulli, DiagonalGaussian, LowRankGaussian, FullGaussian)
"""And any of them behind a missingness mechanism."""


def check_readable(p: object) -> None:
    """Refuse (`TypeError`) a model without latents, and one whose rows are no table of cells."""
    if not isinstance(p, GenerativeModel):
        raise TypeError(
            f"The model must have latents p(x, z) for its cells to be read given others; got {type(p).__name__}; "
            "fit a model with latents."
        )
    d = shape_of(p)
    if not isinstance(d, _READABLE):
        raise TypeError(
            f"The decoder must give one of {', '.join(each.__name__ for each in _READABLE)}; got {type(d).__name__}; "
            "fit the table with one likelihood for each column."
        )


def shape_of(p: GenerativeModel) -> AbstractDistribution:
    """p(x | z) with shapes in place of numbers: which distribution it is."""

    def drawn() -> AbstractDistribution:
        z = p.prior.sample(key=jax.random.key(0))
        d = p.decoder(z)
        return at_row(d, jnp.zeros(d.dim, z.dtype))

    d = jax.eval_shape(drawn)
    return d.base if isinstance(d, Selected) else d


def factorised(d: AbstractDistribution) -> bool:
    """Whether the cells are independent given z."""
    return not isinstance(d, LowRankGaussian | FullGaussian)


def given(d: AbstractDistribution, x: Vector, observed: Bool[Array, " d"]) -> AbstractDistribution:
    """p(x_missing | z, x_observed), as a distribution over all cells in which those of the observed are arbitrary.

    Independent cells stay what they are. N(loc, F F' + S^2): the factor's N(0, I) is updated by the observed cells.
    What p(x | z, c) is given stands in x.
    N(loc, Sigma): mean loc_m + Sigma_mo Sigma_oo^-1 (x_o - loc_o), covariance Sigma_mm - Sigma_mo Sigma_oo^-1 Sigma_om.
    """
    d = at_row(d, x, observed)
    if isinstance(d, Selected):  # the noise of the missing cells is part of z
        d = d.given_noise()
    if isinstance(d, LowRankGaussian):
        return _given_low_rank(d, x, observed)
    return _given_full(d, x, observed) if isinstance(d, FullGaussian) else d


def log_prob_at(d: AbstractDistribution, column: Column, x: Scalar) -> Scalar:
    """Log density of the one cell at `x`, nats (the marginal one, where cells are correlated)."""
    if isinstance(d, ProductOfCells):
        return _of_column(d, column, lambda cells, raw: cells.log_prob(x, raw))
    if isinstance(d, Bernoulli):
        at = d.logits[column]
        return jnp.where((x == 0) | (x == 1), x * at - jax.nn.softplus(at), -jnp.inf)
    return norm.logpdf(x, d.mean[column], jnp.sqrt(d.variance[column]))


def cdf_at(d: AbstractDistribution, column: Column, x: Scalar) -> Scalar:
    """P(X_column <= x), 0 and 1 at the infinities."""
    finite = jnp.where(jnp.isfinite(x), x, 0)
    if isinstance(d, ProductOfCells):
        # Just below 2, 1 + x rounds to 3: a cdf of whole numbers is asked for whole numbers.
        inside = _of_column(
            d, column, lambda cells, raw: cells.cdf(jnp.floor(finite) if cells.measure == "counting" else finite, raw)
        )
    elif isinstance(d, Bernoulli):
        none = jax.nn.sigmoid(-d.logits[column])
        inside = jnp.where(finite < 0, 0, jnp.where(finite < 1, none, 1))
    else:
        inside = norm.cdf(finite, d.mean[column], jnp.sqrt(d.variance[column]))
    return jnp.where(jnp.isfinite(x), jnp.clip(inside, 0, 1), (x > 0).astype(inside.dtype))


def level_log_probs_at(d: AbstractDistribution, column: Column, n_levels: int) -> Float[Array, " k"]:
    """Log probability of the codes 0, ..., n_levels - 1 in the column, (n_levels,)."""
    codes = jnp.arange(n_levels)

    def of_cell(cells: AbstractCells, raw: Array) -> Array:
        if not isinstance(cells, AbstractLevelCells):
            return jax.vmap(lambda code: cells.log_prob(code.astype(raw.dtype), raw))(codes)
        own = cells.log_probs(raw)[:n_levels]
        return jnp.concatenate([own, jnp.full(n_levels - own.shape[0], -jnp.inf, own.dtype)])

    if isinstance(d, ProductOfCells):
        return _of_column(d, column, of_cell)
    return jax.vmap(lambda code: log_prob_at(d, column, code.astype(d.mean.dtype)))(codes)


def log_probs(d: AbstractDistribution, x: Vector) -> Vector:
    """Log density of every cell, (d,), nats."""
    if isinstance(d, ProductOfCells):
        return d.log_probs(x)
    return jax.vmap(lambda j, x: log_prob_at(d, j, x))(jnp.arange(d.dim), x)


def nominal_log_probs(d: AbstractDistribution) -> Vector:
    """Log probabilities of all levels of all nominal columns, one column after another (see `nominal_levels`)."""
    found: dict[int, Array] = {}
    if isinstance(d, ProductOfCells):
        for cells, raw, place, sizes in zip(d.groups, d.raws, d.places, d.sizes, strict=True):
            if isinstance(cells, CategoricalCells):
                each = jax.vmap(cells.log_probs)(raw)
                found.update({j: each[i, :size] for i, (j, size) in enumerate(zip(place, sizes, strict=True))})
    return jnp.concatenate([found[j] for j in sorted(found)]) if found else jnp.zeros(0, d.mean.dtype)


def nominal_levels(p: GenerativeModel, *, binary: bool = False) -> tuple[int, ...]:
    """Levels of each column whose codes have no order, 0 for the others; yes/no columns count if `binary`."""
    d = shape_of(p)
    found = [2 if binary and isinstance(d, Bernoulli) else 0] * p.decoder.head.dim
    for cells, place, sizes in zip(d.groups, d.places, d.sizes, strict=True) if isinstance(d, ProductOfCells) else ():
        if not isinstance(cells, AbstractLevelCells):
            continue
        for j, size in zip(place, sizes, strict=True):
            levels = levels_of(cells, size)
            if isinstance(cells, CategoricalCells) or (binary and levels == 2):
                found[j] = levels
    return tuple(found)


def modelled_cells(p: GenerativeModel) -> Bool[np.ndarray, " d"]:
    """Which cells the model has a distribution of: all but those that it is given."""
    d, found = shape_of(p), np.ones(p.decoder.head.dim, bool)
    for cells, place in zip(d.groups, d.places, strict=True) if isinstance(d, ProductOfCells) else ():
        found[list(place)] = not isinstance(cells, GivenCells)
    return found


def _of_column(d: ProductOfCells, column: Column, f: Callable[[AbstractCells, Array], Array]) -> Array:
    """f(cells, raw) of the one column: of a member of each group, of which the column's own is taken."""
    found: Array | None = None
    for cells, raw, place in zip(d.groups, d.raws, d.places, strict=True):
        if isinstance(column, int) and column not in place:
            continue
        where = np.full(d.dim, -1)
        where[list(place)] = np.arange(len(place))
        here = jnp.asarray(where)[column]
        member = jnp.maximum(here, 0)
        own = jax.tree.map(lambda leaf, member=member: leaf[member], cells)
        value = f(own, raw[member])
        found = value if found is None else jnp.where(here >= 0, value, found)
    if found is None:
        raise ValueError("A table must have a column or more; got none; give the cells of every column.")
    return found


def _given_low_rank(d: LowRankGaussian, x: Vector, observed: Bool[Array, " d"]) -> LowRankGaussian:
    residual = jnp.where(observed, x - d.loc, 0)
    weighted = d.factor * jnp.where(observed, 1 / d.scale**2, 0)[:, None]
    precision = jnp.eye(d.factor.shape[1], dtype=d.loc.dtype) + d.factor.T @ weighted
    tril = jnp.linalg.cholesky(precision)
    eta = cho_solve((tril, True), weighted.T @ residual)
    # Precision L L', so covariance L^-T L^-1, and F L^-T is the factor that is left: its transpose is L^-1 F'.
    left = solve_triangular(tril, d.factor.T, lower=True).T
    return LowRankGaussian(d.loc + d.factor @ eta, left, d.scale)


def _given_full(d: FullGaussian, x: Vector, observed: Bool[Array, " d"]) -> FullGaussian:
    covariance = d.scale_tril @ d.scale_tril.T
    eye = jnp.eye(d.dim, dtype=d.loc.dtype)
    both, across = observed[:, None] & observed[None, :], ~observed[:, None] & observed[None, :]
    tril = jnp.linalg.cholesky(jnp.where(both, covariance, eye))
    cross = jnp.where(across, covariance, 0)
    residual = jnp.where(observed, x - d.loc, 0)
    loc = d.loc + cross @ cho_solve((tril, True), residual)
    explained = solve_triangular(tril, cross.T, lower=True)
    neither = ~observed[:, None] & ~observed[None, :]
    return FullGaussian(loc, jnp.linalg.cholesky(jnp.where(neither, covariance - explained.T @ explained, eye)))
