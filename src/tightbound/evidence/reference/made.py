"""Baselines with an exact likelihood: autoregressive models of the rows, trained by the loop that trains the rest.

What a latent-variable model says of log p(x) is a bound or an estimate; these say it exactly, for one pass of a network
a row, and pay for it elsewhere: draws take a pass for every cell, and no cell can be left out of a row.
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp, ndtri
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Int, PRNGKeyArray
from numpy.typing import ArrayLike, NDArray

from tightbound import learn
from tightbound.model import AbstractDistribution, Mixture
from tightbound.model.distributions import Mask, Scalar, Vector
from tightbound.model.families import positive
from tightbound.model.flows.masked import MaskedMLP, checked_order

ROWS_AT_ONCE = 500

Raw = Float[Array, "d n"]


class AbstractCells(eqx.Module):
    """The distribution of one cell given those before it, from the `n_outputs` numbers that a network returns."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Numbers a cell."""

    @abstractmethod
    def log_prob(self, x: Vector, raw: Raw) -> Vector:
        """Log density of every cell, (d,), nats."""

    @abstractmethod
    def sample(self, raw: Float[Array, " n"], *, key: PRNGKeyArray) -> Scalar:
        """A draw of one cell."""

    @abstractmethod
    def start(self, mean: Vector) -> Raw:
        """Numbers of cells with about this mean: where a network's output should begin."""


@final
class BernoulliCells(AbstractCells):
    """Zeros and ones, from log-odds."""

    @property
    def n_outputs(self) -> int:
        """1."""
        return 1

    def log_prob(self, x: Vector, raw: Raw) -> Vector:
        """x l - log(1 + e^l)."""
        return x * raw[:, 0] - jax.nn.softplus(raw[:, 0])

    def sample(self, raw: Float[Array, " n"], *, key: PRNGKeyArray) -> Scalar:
        """0 or 1."""
        return jax.random.bernoulli(key, jax.nn.sigmoid(raw[0])).astype(raw.dtype)

    def start(self, mean: Vector) -> Raw:
        """Log-odds of the mean, at most 0.99 sure."""
        p = jnp.clip(mean, 0.01, 0.99)
        return (jnp.log(p) - jnp.log1p(-p))[:, None]


@final
class GaussianCells(AbstractCells):
    """sum_c pi_c N(loc_c, scale_c^2), from logits, locations and raw scales; scale = floor + positive(raw).

    Raises `ValueError` for fewer than one component or a floor that is not positive.
    """

    n_components: int = eqx.field(static=True, default=1)
    floor: float = eqx.field(static=True, default=0.01)

    def __check_init__(self) -> None:
        if not isinstance(self.n_components, int) or self.n_components < 1:
            raise ValueError(
                f"n_components must be a whole number of at least 1; got {self.n_components!r}; 1 to 10 is usual."
            )
        if not self.floor > 0:
            raise ValueError(
                f"floor must be above 0, or a repeated value has no finite density; got {self.floor!r}; 0.01 is usual."
            )

    @property
    def n_outputs(self) -> int:
        """3 n_components."""
        return 3 * self.n_components

    def log_prob(self, x: Vector, raw: Raw) -> Vector:
        """log sum_c pi_c N(x; loc_c, scale_c^2)."""
        logits, loc, spread = jnp.split(raw, 3, axis=1)
        each = norm.logpdf(x[:, None], loc, self.floor + positive(spread))
        return logsumexp(jax.nn.log_softmax(logits, axis=1) + each, axis=1)

    def sample(self, raw: Float[Array, " n"], *, key: PRNGKeyArray) -> Scalar:
        """A component, then a draw of it."""
        key_component, key_noise = jax.random.split(key)
        logits, loc, spread = jnp.split(raw, 3)
        c = jax.random.categorical(key_component, logits)
        return loc[c] + (self.floor + positive(spread[c])) * jax.random.normal(key_noise, (), raw.dtype)

    def start(self, mean: Vector) -> Raw:
        """Components spread over the quantiles of N(mean, 1): alike, they would stay alike."""
        k = self.n_components
        loc = mean[:, None] + ndtri((jnp.arange(k, dtype=mean.dtype) + 0.5) / k)[None, :]
        return jnp.concatenate([jnp.zeros_like(loc), loc, jnp.zeros_like(loc)], axis=1)


@final
class MADE(AbstractDistribution):
    """p(x) = prod_k p(x_order(k) | x_order(1), ..., x_order(k-1)), all factors from one pass of a masked network.

    `order` says which cell comes k-th; the network sees the cells in that order. It is an array and no constant, so
    that models of different orders share one compiled program, and can be stacked into a `Mixture`.

    Raises `ValueError` when network, cells and order do not fit each other.
    Source: Germain, Gregor, Murray and Larochelle (2015); Uria, Murray and Larochelle (2014) for several orders.
    """

    reparameterised: ClassVar[bool] = False
    network: MaskedMLP
    cells: AbstractCells
    order: Int[Array, " d"]

    def __check_init__(self) -> None:
        natural = tuple(range(self.network.dim))
        given = (self.network.n_outputs, self.network.context_size, self.network.order)
        if given != (self.cells.n_outputs, 0, natural):
            raise ValueError(
                f"The network of a MADE must have {self.cells.n_outputs} outputs a cell for its "
                f"{type(self.cells).__name__}, no context and the natural order; got {given[0]} outputs, {given[1]} "
                f"numbers of context and the order {given[2]}; build it with make_made."
            )

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.network.dim

    @property
    def mean(self) -> Vector:
        """Refused: it has no closed form."""
        raise TypeError(_NO_MOMENTS.format("mean"))

    @property
    def variance(self) -> Vector:
        """Refused: it has no closed form."""
        raise TypeError(_NO_MOMENTS.format("variance"))

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """One draw, cell by cell: `dim` passes of the network (not differentiable)."""
        blank = jnp.zeros(self.dim, self.network.layers[0].weight.dtype)

        def step(u: Vector, k: Array) -> tuple[Vector, None]:
            return u.at[k].set(self.cells.sample(self._raw(u)[k], key=jax.random.fold_in(key, k))), None

        u, _ = jax.lax.scan(step, blank, jnp.arange(self.dim))
        return jnp.zeros_like(u).at[self.order].set(u)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Sum of the cells' log densities; raises `ValueError` where cells may be missing (`observed` not None)."""
        if observed is not None:
            raise ValueError(
                "A MADE must be given complete rows, for it cannot leave a cell out exactly; got a mask of observed "
                "cells; drop or fill in rows with missing cells, or use a VAE."
            )
        u = x[self.order]
        return jnp.sum(self.cells.log_prob(u, self._raw(u)))

    def _raw(self, u: Vector) -> Raw:
        return self.network(u, jnp.zeros(0, u.dtype))


_NO_MOMENTS = "A MADE has no {} in closed form; average over draws of its `sample`."


def make_made(
    cells: AbstractCells,
    mean: ArrayLike,
    *,
    hidden_sizes: Sequence[int] = (500,),
    order: Sequence[int] | None = None,
    activation: str = "silu",
    dtype: str | None = None,
    key: PRNGKeyArray,
) -> MADE:
    """An untrained MADE whose cells start near these means, (d,).

    `order[k]` is the cell that comes k-th (None: the natural order); raises `ValueError` unless it is a permutation.
    """
    center = jnp.asarray(mean, dtype)
    d = center.shape[0]
    place = jnp.asarray(checked_order(range(d) if order is None else order, d), "int32")
    network = MaskedMLP(d, 0, hidden_sizes, cells.n_outputs, activation=activation, dtype=center.dtype.name, key=key)
    bias = network.layers[-1].bias + cells.start(center[place]).ravel()
    return MADE(eqx.tree_at(lambda n: n.layers[-1].bias, network, bias), cells, place)


@final
@dataclasses.dataclass(frozen=True)
class MadeFit:
    """A fitted MADE, or an equal mixture of several that differ in their order."""

    model: AbstractDistribution
    """In the model's units: (x - center) / scale."""
    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    fits: tuple[learn.FitResult, ...]
    """How each member was learnt; bounds in nats a row, in the model's units."""

    @property
    def log_jacobian(self) -> float:
        """What to add to a log density in the model's units, nats a row."""
        return -float(np.sum(np.log(self.scale)))

    def log_prob(self, x: ArrayLike) -> NDArray[np.float64]:
        """log p(x) of every row, (n,): exact, in nats, in the units of `x` (n, d)."""
        rows = _checked(x, "x", len(self.center))
        if isinstance(_cells_of(self.model), BernoulliCells):
            _check_binary(rows, "x")
        dtype = self.fits[0].pair.p.network.layers[0].weight.dtype.name
        scaled = np.asarray(_scaled(rows, self.center, self.scale, dtype))
        parts = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chunk = scaled[start : start + ROWS_AT_ONCE]
            # The ragged end is filled up with zeros and cut off again: one shape, one program.
            full = np.concatenate([chunk, np.zeros((ROWS_AT_ONCE - len(chunk), rows.shape[1]), dtype)])
            parts.append(np.asarray(_log_prob(self.model, jnp.asarray(full)), np.float64)[: len(chunk)])
        return np.concatenate(parts) + self.log_jacobian

    def sample(self, n: int = 1, *, key: PRNGKeyArray) -> NDArray[np.float64]:
        """n draws in the units of the data, (n, d)."""
        if not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"n must be a whole number of at least 1; got {n!r}; say how many draws you want.")
        n_chunks = -(-int(n) // ROWS_AT_ONCE)
        draws = [np.asarray(_sample(self.model, k), np.float64) for k in jax.random.split(key, n_chunks)]
        return np.concatenate(draws)[:n] * self.scale + self.center


def fit_made(
    x: ArrayLike,
    *,
    likelihood: str,
    n_orders: int = 1,
    order: str = "natural",
    n_components: int = 1,
    hidden_sizes: Sequence[int] = (500,),
    epochs: int = 200,
    validation: ArrayLike | None = None,
    patience: int | None = None,
    batch_size: int = 100,
    learning_rate: float = 0.003,
    floor: float = 0.01,
    dtype: str | None = None,
    key: PRNGKeyArray,
) -> MadeFit:
    """Fit autoregressive models to complete rows by maximum likelihood, in the loop that fits everything else.

    Args:
        x: (n, d) rows; validation: rows whose mean log p chooses the epoch that is kept (None: the last one).
        likelihood: "bernoulli" for zeros and ones, "gaussian" for numbers (each column is standardised, and the
            Jacobian added back).
        n_orders: how many models, with an order of the cells each; they make an equal mixture.
        order: of the first model, "natural" or "shuffled"; those of further ones are always shuffled (by `key`).
        n_components: Gaussians a cell.
        hidden_sizes, batch_size, learning_rate: of each model's network, and of Adam (warmed up and annealed).
        epochs, patience: the most epochs, and how many to wait for a better validation bound (None: all).
        floor: the least standard deviation of a Gaussian, in standard deviations of its column.
        dtype: "float32" or "float64" (None: JAX's default).
        key: weights, orders, and the order of the rows.

    Raises `ValueError` (one sentence) for data or choices that cannot be used.
    Example: `fit_made(x, likelihood="bernoulli", key=jax.random.key(0)).log_prob(x).mean()`, nats a row.
    """
    _check_choices(likelihood, order, n_orders, epochs)
    rows = _checked(x, "x")
    held_out = None if validation is None else _checked(validation, "validation", rows.shape[1])
    cells = GaussianCells(n_components, floor) if likelihood == "gaussian" else BernoulliCells()
    center, scale = _units(cells, rows, held_out)
    dtype = dtype or jnp.zeros(()).dtype.name
    train = learn.Dataset(_scaled(rows, center, scale, dtype))
    guard = None if held_out is None else learn.Dataset(_scaled(held_out, center, scale, dtype))
    total = epochs * learn.batch_shape(len(rows), batch_size)[0]
    recipe = learn.Recipe(
        learn.Optimiser(learning_rate, total, warmup_steps=min(100, total // 10)),
        gradient=learn.MaximumLikelihood(),
        batch_size=batch_size,
        dtype=dtype,
    )
    mean = (rows.mean(axis=0) - center) / scale
    fits: list[learn.FitResult] = []
    for i, key_member in enumerate(jax.random.split(key, n_orders)):
        key_weights, key_order, key_fit = jax.random.split(key_member, 3)
        places = jax.random.permutation(key_order, len(mean)) if order == "shuffled" or i > 0 else range(len(mean))
        made = make_made(
            cells, mean, hidden_sizes=hidden_sizes, order=[int(p) for p in places], dtype=dtype, key=key_weights
        )
        pair = learn.Pair(made, learn.NoInference())
        fits.append(learn.fit(pair, train, guard, recipe, epochs=epochs, patience=patience, key=key_fit))
    return MadeFit(_mixed([fit.pair.p for fit in fits]), center, scale, tuple(fits))


def _mixed(members: list[Any]) -> AbstractDistribution:
    if len(members) == 1:
        return members[0]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    return Mixture(jnp.zeros(len(members), members[0].network.layers[0].weight.dtype), stacked)


def _cells_of(model: AbstractDistribution) -> AbstractCells:
    made: Any = model.components if isinstance(model, Mixture) else model
    return made.cells


@eqx.filter_jit
def _log_prob(model: AbstractDistribution, x: Float[Array, "n d"]) -> Float[Array, " n"]:
    return jax.vmap(model.log_prob)(x)


@eqx.filter_jit
def _sample(model: AbstractDistribution, key: PRNGKeyArray) -> Float[Array, "n d"]:
    key_member, key_draws = jax.random.split(key)
    keys = jax.random.split(key_draws, ROWS_AT_ONCE)
    if not isinstance(model, Mixture):
        return jax.vmap(lambda k: model.sample(key=k))(keys)
    # Draws of every member, one of which counts: `Mixture.sample` would copy a member's weights for each draw.
    draws = eqx.filter_vmap(lambda member: jax.vmap(lambda k: member.sample(key=k))(keys))(model.components)
    chosen = jax.random.categorical(key_member, model.logits, shape=(ROWS_AT_ONCE,))
    return draws[chosen, jnp.arange(ROWS_AT_ONCE)]


def _units(
    cells: AbstractCells, rows: NDArray[np.float64], held_out: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Center and scale of the columns: mean and standard deviation, or 0 and 1 for zeros and ones."""
    if isinstance(cells, BernoulliCells):
        _check_binary(rows, "x")
        _check_binary(rows if held_out is None else held_out, "validation")
        return np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    # The spread of a column that is constant but for rounding is no unit.
    return mean, np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)


def _scaled(x: NDArray[np.float64], center: NDArray[Any], scale: NDArray[Any], dtype: str) -> Array:
    return jnp.asarray((x - center) / scale, dtype)


def _check_choices(likelihood: str, order: str, n_orders: int, epochs: int) -> None:
    if likelihood not in ("bernoulli", "gaussian"):
        raise ValueError(f"likelihood must be bernoulli or gaussian; got {likelihood!r}; choose one of those.")
    if order not in ("natural", "shuffled"):
        raise ValueError(f"order must be natural or shuffled; got {order!r}; choose one of those.")
    if not isinstance(n_orders, int) or n_orders < 1:
        raise ValueError(f"n_orders must be a whole number of at least 1; got {n_orders!r}; 1 to 8 is usual.")
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs must be a whole number of at least 1; got {epochs!r}; 200 is usual.")


def _checked(x: ArrayLike, name: str, d: int | None = None) -> NDArray[np.float64]:
    rows = np.asarray(x, np.float64)
    if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != (d or rows.shape[1]):
        wanted = f"(rows, {'columns' if d is None else d})"
        raise ValueError(f"{name} must be an array {wanted} of at least one row; got the shape {rows.shape}.")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"{name} must hold finite numbers in every cell, for a MADE cannot leave one out; got {rows[row, column]} "
            f"in row {row}, column {column}; drop or fill in such rows, or use a VAE."
        )
    return rows


def _check_binary(rows: NDArray[np.float64], name: str) -> None:
    wrong = np.argwhere((rows != 0) & (rows != 1))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{name} must hold zeros and ones for the likelihood bernoulli; got {rows[row, column]} in row {row}, "
            f"column {column}; use likelihood='gaussian', or binarise it first."
        )
