"""Baselines with an exact likelihood: autoregressive models of the rows, trained by the loop that trains the rest.

What a latent-variable model says of log p(x) is a bound or an estimate; these say it exactly, for one pass of a network
a row, and pay for it elsewhere: draws take a pass for every cell, and no cell can be integrated out.
"""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from numpy.typing import ArrayLike, NDArray

from tightbound import learn
from tightbound.model import (
    AbstractDistribution,
    CentredInputs,
    ColumnsHead,
    ColumnsInputs,
    ColumnSpecification,
    Mixture,
    columns_head,
    moments_of,
)
from tightbound.model.compiling import compiled
from tightbound.model.distributions import Mask, Scalar, Vector
from tightbound.model.flows.masked import checked_order
from tightbound.model.networks.dense import ACTIVATIONS, MLP, Linear

ROWS_AT_ONCE = 500

Rows = NDArray[np.float64]
Seen = NDArray[np.bool_] | None


@final
class MADE(AbstractDistribution):
    """p(x) = prod_k p(x_order(k) | x_order(1), ..., x_order(k-1)), all factors from one pass of a masked network.

    Every factor is a column likelihood. `order` says which cell comes k-th; it is an array and no constant, so that
    models of different orders share one compiled program, and can be stacked into a `Mixture`.

    Of rows with missing cells, `inputs` with a mask let each factor see which cells before it are observed: `log_prob`
    is then that of the observed cells *given which are observed*, the product of their factors. It is a density for
    every pattern of missing cells, but not the marginal of one p(x): patterns need not agree with each other.

    Source: Germain, Gregor, Murray and Larochelle (2015); Uria, Murray and Larochelle (2014) for several orders.
    """

    reparameterised: ClassVar[bool] = False
    layers: tuple[Linear, ...]
    inputs: CentredInputs | ColumnsInputs
    head: ColumnsHead
    order: Int[Array, " d"]
    activation: str = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.head.dim

    @property
    def mean(self) -> Vector:
        """Refused: it has no closed form."""
        raise TypeError(_NO_MOMENTS.format("mean"))

    @property
    def variance(self) -> Vector:
        """Refused: it has no closed form."""
        raise TypeError(_NO_MOMENTS.format("variance"))

    def numbers(self, x: Vector, observed: Mask = None) -> Float[Array, " m"]:
        """What the head makes the factors of; those of a cell depend on the cells before it alone."""
        *hidden, last = zip(self.layers, _masks(self.inputs, self.head, self.order, self.layers), strict=True)
        h = self.inputs(x, observed)
        for layer, mask in hidden:
            h = ACTIVATIONS[self.activation](_masked(layer, mask, h))
        return _masked(*last, h)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """One draw, cell by cell: `dim` passes of the network (not differentiable)."""

        def step(x: Vector, k: Array) -> tuple[Vector, None]:
            j = self.order[k]
            needed = jnp.arange(self.dim) == j
            drawn = self.head(self.numbers(x)).sample_needed(needed, key=jax.random.fold_in(key, k))
            return jnp.where(needed, drawn, x), None

        return jax.lax.scan(step, jnp.zeros(self.dim, self.layers[0].weight.dtype), jnp.arange(self.dim))[0]

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Sum of the observed cells' log densities, nats.

        Raises `ValueError` where cells may be missing (`observed` not None) and the inputs have no mask.
        """
        if observed is not None and not self.inputs.with_mask:
            raise ValueError(
                "A MADE of complete rows must be given complete rows, for it cannot leave a cell out exactly; got a "
                "mask of observed cells; fit it to rows with missing cells, drop or fill in such rows, or use a VAE."
            )
        return self.head(self.numbers(x, observed)).log_prob(x, observed)


_NO_MOMENTS = "A MADE has no {} in closed form; average over draws of its `sample`."


def _masks(
    inputs: CentredInputs | ColumnsInputs, head: ColumnsHead, order: Int[Array, " d"], layers: Sequence[Linear]
) -> list[Array]:
    """1 where degree(out) >= degree(in), in the last layer >: the degree of a cell is its place in the order, those of
    hidden units are spread evenly. Masked weights get no gradient and may hold anything."""
    place = jnp.argsort(order) + 1
    cells_seen = np.concatenate([inputs.owners, np.arange(head.dim)]) if inputs.with_mask else inputs.owners
    lowest = 0 if head.dim == 1 else 1
    sizes = [layer.weight.shape[1] for layer in layers[:-1]]
    hidden = [jnp.asarray(lowest + np.arange(size) * (head.dim - lowest) // size) for size in sizes]
    degrees = [place[cells_seen], *hidden]
    masks = [after[None, :] >= before[:, None] for before, after in pairwise(degrees)]
    return [*masks, place[head.owners][None, :] > degrees[-1][:, None]]


def _masked(layer: Linear, mask: Array, x: Float[Array, " i"]) -> Float[Array, " o"]:
    return x @ jnp.where(mask, layer.weight, 0) + layer.bias


def make_made(
    columns: Sequence[ColumnSpecification],
    rows: ArrayLike,
    observed: ArrayLike | None = None,
    *,
    hidden_sizes: Sequence[int] = (500,),
    order: Sequence[int] | None = None,
    activation: str = "silu",
    dtype: str | None = None,
    key: PRNGKeyArray,
) -> MADE:
    """An untrained MADE whose cells start at the moments of these rows, (n, d), and see a mask if `observed` is given.

    `order[k]` is the cell that comes k-th (None: the natural order); raises `ValueError` unless it is a permutation.
    """
    x, d = np.asarray(rows, np.float64), len(columns)
    seen = None if observed is None else np.asarray(observed, np.bool_)
    dtype = dtype or jnp.zeros(()).dtype.name
    place = jnp.asarray(checked_order(range(d) if order is None else order, d), "int32")
    head = columns_head([column.likelihood() for column in columns], x, seen)
    moments = jnp.asarray(moments_of(x, seen, columns), dtype)
    # One number a cell where that says it all: the codes of zeros and ones would double the first layer.
    plain = {column.family for column in columns} <= {"gaussian", "gaussian_mixture", "bernoulli"}
    with_mask = seen is not None
    inputs: Any = (
        CentredInputs(moments[0], with_mask) if plain else ColumnsInputs(columns, moments, with_mask=with_mask)
    )
    key_weights, key_spread = jax.random.split(key)
    mlp = MLP(inputs.size, head.n_inputs, hidden_sizes, activation=activation, dtype=dtype, key=key_weights)
    masks = _masks(inputs, head, place, mlp.layers)
    layers = [_rescaled(layer, np.asarray(mask)) for layer, mask in zip(mlp.layers, masks, strict=True)]
    last: Any = head.start(layers[-1], np.asarray(moments[0], np.float64), key=key_spread)
    head = jax.tree.map(lambda leaf: leaf.astype(dtype), head)
    return MADE((*layers[:-1], last), inputs, head, place, activation)


def _rescaled(layer: Linear, mask: NDArray[np.bool_]) -> Linear:
    # Variance 1/(number of inputs) was drawn for all of them; a unit that sees fewer gets larger weights.
    factor = np.sqrt(mask.shape[0] / np.maximum(mask.sum(axis=0), 1))
    return layer.begun(factor, layer.bias)


@final
@dataclasses.dataclass(frozen=True)
class MadeFit:
    """A fitted MADE, or an equal mixture of several that differ in their order."""

    model: AbstractDistribution
    """In the model's units: (x - center) / scale."""
    center: Rows
    scale: Rows
    binary: bool
    """Whether cells must be 0 or 1."""
    fits: tuple[learn.FitResult, ...]
    """How each member was learnt; bounds in nats a row, in the model's units."""

    @property
    def first(self) -> MADE:
        """The member of the first order."""
        return self.fits[0].pair.p

    @property
    def takes_missing(self) -> bool:
        """Whether it was fitted to rows with missing cells."""
        return self.first.inputs.with_mask

    def log_prob(self, x: ArrayLike, observed: ArrayLike | None = None) -> NDArray[np.float64]:
        """log p of every row, (n,), exact, in nats, in the units of `x` (n, d).

        Of rows with missing cells (`observed` (n, d); None: there are none): that of the observed cells given which are
        observed. Raises `ValueError` for such rows if it was fitted to complete ones.
        """
        rows, seen = _checked(x, observed, "x", len(self.center))
        if self.binary:
            _check_binary(rows, "x")
        mask = np.ones(rows.shape, bool) if seen is None and self.takes_missing else seen
        dtype = self.first.layers[0].weight.dtype.name
        scaled = np.where(True if mask is None else mask, (rows - self.center) / self.scale, 0).astype(dtype)
        jacobian = -np.log(self.scale) if mask is None else np.where(mask, -np.log(self.scale), 0)
        parts = [np.zeros(0)]
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chunk = slice(start, start + ROWS_AT_ONCE)
            parts.append(_scores(self.model, scaled[chunk], None if mask is None else mask[chunk]))
        return np.concatenate(parts) + np.sum(np.broadcast_to(jacobian, rows.shape), axis=1)

    def sample(self, n: int = 1, *, key: PRNGKeyArray) -> Rows:
        """n draws in the units of the data, (n, d)."""
        if not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"n must be a whole number of at least 1; got {n!r}; say how many draws you want.")
        n_chunks = -(-int(n) // ROWS_AT_ONCE)
        model: Any = self.model
        members = model.components if len(self.fits) > 1 else None
        keys = jax.random.split(key, n_chunks)
        draws = [np.asarray(_sample(model, members, k), np.float64) for k in keys]
        return np.concatenate(draws)[:n] * self.scale + self.center


def fit_made(
    x: ArrayLike,
    observed: ArrayLike | None = None,
    *,
    likelihood: str,
    columns: Sequence[ColumnSpecification] | None = None,
    n_orders: int = 1,
    order: str = "natural",
    n_components: int = 1,
    hidden_sizes: Sequence[int] = (500,),
    epochs: int = 200,
    validation: ArrayLike | None = None,
    validation_observed: ArrayLike | None = None,
    patience: int | None = None,
    batch_size: int = 100,
    learning_rate: float = 0.003,
    floor: float | NDArray[np.float64] = 0.01,
    dtype: str | None = None,
    key: PRNGKeyArray,
) -> MadeFit:
    """Fit autoregressive models by maximum likelihood, in the loop that fits everything else.

    Args:
        x: (n, d) rows; validation: rows whose mean log p chooses the epoch that is kept (None: the last one).
        observed, validation_observed: (n, d) which cells count; None for all. With missing cells the model is one of
            the observed cells given which are observed.
        likelihood: "bernoulli" for zeros and ones, "gaussian" for numbers (each column is standardised, and the
            Jacobian added back), "columns" for the column likelihoods `columns`, in the units of x.
        n_orders: how many models, with an order of the cells each; they make an equal mixture.
        order: of the first model, "natural" or "shuffled"; those of further ones are always shuffled (by `key`).
        n_components: Gaussians a cell, of the likelihood "gaussian".
        hidden_sizes, batch_size, learning_rate: of each model's network, and of Adam (warmed up and annealed).
        epochs, patience: the most epochs, and how many to wait for a better validation bound (None: all).
        floor: the least standard deviation of a Gaussian, in standard deviations of its column: one, or (d,).
        dtype: "float32" or "float64" (None: JAX's default).
        key: weights, orders, and the order of the rows.

    Raises `ValueError` (one sentence) for data or choices that cannot be used.
    Example: `fit_made(x, likelihood="bernoulli", key=jax.random.key(0)).log_prob(x).mean()`, nats a row.
    """
    _check_choices(likelihood, order, n_orders, epochs, columns)
    rows, seen = _checked(x, observed, "x")
    d = rows.shape[1]
    guard = None if validation is None else _checked(validation, validation_observed, "validation", d)
    if seen is None and guard is not None and guard[1] is not None:
        seen = np.ones(rows.shape, bool)
    if likelihood == "bernoulli":
        _check_binary(rows, "x")
        _check_binary(rows if guard is None else guard[0], "validation")
    words = _words(likelihood, columns, n_components, np.broadcast_to(np.asarray(floor, float), (d,)))
    center, scale = standard_units(rows, seen) if likelihood == "gaussian" else (np.zeros(d), np.ones(d))
    dtype = dtype or jnp.zeros(()).dtype.name
    units, with_mask = (center, scale), seen is not None
    train = _dataset((rows, seen), units, with_mask, dtype)
    held_out = None if guard is None else _dataset(guard, units, with_mask, dtype)
    total = epochs * learn.batch_shape(len(rows), batch_size)[0]
    config = _training_config(learning_rate, total, batch_size, dtype)
    fits: list[learn.FitResult] = []
    for i, key_member in enumerate(jax.random.split(key, n_orders)):
        key_weights, key_order, key_fit = jax.random.split(key_member, 3)
        places = jax.random.permutation(key_order, d) if order == "shuffled" or i > 0 else range(d)
        chosen: dict[str, Any] = {"hidden_sizes": hidden_sizes, "order": [int(p) for p in places], "dtype": dtype}
        made = make_made(words, (rows - center) / scale, seen, **chosen, key=key_weights)
        pair = learn.Pair(made, learn.NoInference())
        fits.append(learn.fit(pair, train, held_out, config, epochs=epochs, patience=patience, key=key_fit))
    return MadeFit(_mixed([fit.pair.p for fit in fits]), center, scale, likelihood == "bernoulli", tuple(fits))


def _training_config(learning_rate: float, steps: int, batch_size: int, dtype: str) -> learn.TrainingConfig:
    return learn.TrainingConfig(
        learn.Optimiser(learning_rate, steps, warmup_steps=min(100, steps // 10)),
        gradient=learn.MaximumLikelihood(),
        batch_size=batch_size,
        dtype=dtype,
    )


def _words(
    likelihood: str, columns: Sequence[ColumnSpecification] | None, n_components: int, floors: Rows
) -> tuple[ColumnSpecification, ...]:
    if columns is not None:
        return tuple(columns)
    if likelihood == "bernoulli":
        return (ColumnSpecification("bernoulli"),) * len(floors)
    family = "gaussian" if n_components == 1 else "gaussian_mixture"
    return tuple(ColumnSpecification(family, n_components, float(floor)) for floor in floors)


def _dataset(part: tuple[Rows, Seen], units: tuple[Rows, Rows], with_mask: bool, dtype: str) -> learn.Dataset:
    (rows, seen), (center, scale) = part, units
    mask = np.ones(rows.shape, bool) if seen is None else seen
    x = jnp.asarray(np.where(mask, (rows - center) / scale, 0), dtype)
    return learn.Dataset(x, jnp.asarray(mask) if with_mask else None)


def _mixed(members: list[Any]) -> AbstractDistribution:
    if len(members) == 1:
        return members[0]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    return Mixture(jnp.zeros(len(members), members[0].layers[0].weight.dtype), stacked)


def _scores(model: AbstractDistribution, x: NDArray[Any], observed: Seen) -> Rows:
    """log p of at most `ROWS_AT_ONCE` rows."""
    # The ragged end is filled up with zeros and cut off again: one shape, one program.
    rest = ((0, ROWS_AT_ONCE - len(x)), (0, 0))
    mask = None if observed is None else jnp.asarray(np.pad(observed, rest))
    found = _log_prob(model, jnp.asarray(np.pad(x, rest)), mask)
    return np.asarray(found, np.float64)[: len(x)]


@compiled
def _log_prob(model: AbstractDistribution, x: Float[Array, "n d"], observed: Array | None) -> Float[Array, " n"]:
    return jax.vmap(model.log_prob, in_axes=(0, None if observed is None else 0))(x, observed)


@compiled
def _sample(model: Any, members: AbstractDistribution | None, key: PRNGKeyArray) -> Float[Array, "n d"]:
    key_member, key_draws = jax.random.split(key)
    keys = jax.random.split(key_draws, ROWS_AT_ONCE)
    if members is None:
        return jax.vmap(lambda k: model.sample(key=k))(keys)
    # Draws of every member, one of which counts: `Mixture.sample` would copy a member's weights for each draw.
    draws = eqx.filter_vmap(lambda member: jax.vmap(lambda k: member.sample(key=k))(keys))(members)
    chosen = jax.random.categorical(key_member, model.logits, shape=(ROWS_AT_ONCE,))
    return draws[chosen, jnp.arange(ROWS_AT_ONCE)]


def standard_units(rows: Rows, seen: Seen) -> tuple[Rows, Rows]:
    """Center and scale of the columns: mean and standard deviation of their observed cells."""
    weight = np.ones(rows.shape) if seen is None else seen.astype(np.float64)
    n = np.maximum(weight.sum(axis=0), 1)
    mean = (rows * weight).sum(axis=0) / n
    scale = np.sqrt(((rows - mean) ** 2 * weight).sum(axis=0) / n)
    # The spread of a column that is constant but for rounding is no unit.
    return mean, np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)


def _check_choices(
    likelihood: str, order: str, n_orders: int, epochs: int, columns: Sequence[ColumnSpecification] | None
) -> None:
    if likelihood not in ("bernoulli", "gaussian", "columns"):
        raise ValueError(f"likelihood must be bernoulli, gaussian or columns; got {likelihood!r}; choose one of those.")
    if (likelihood == "columns") != (columns is not None):
        raise ValueError(
            f"columns must be given with likelihood='columns', and with no other; got likelihood={likelihood!r}; give "
            "one column likelihood for each column."
        )
    if order not in ("natural", "shuffled"):
        raise ValueError(f"order must be natural or shuffled; got {order!r}; choose one of those.")
    for name, value, usual in (("n_orders", n_orders, "1 to 8"), ("epochs", epochs, "200")):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}; {usual} is usual.")


def _checked(x: ArrayLike, observed: ArrayLike | None, name: str, d: int | None = None) -> tuple[Rows, Seen]:
    """Rows with 0 in missing cells, and the mask; None if nothing is missing."""
    rows = np.asarray(x, np.float64)
    if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != (d or rows.shape[1]):
        wanted = f"(rows, {'columns' if d is None else d})"
        raise ValueError(f"{name} must be an array {wanted} of at least one row; got the shape {rows.shape}.")
    seen = None if observed is None else np.asarray(observed, np.bool_)
    if seen is not None:
        rows, seen = np.where(seen, rows, 0), None if seen.all() else seen
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"{name} must hold finite numbers in every observed cell; got {rows[row, column]} in row {row}, column "
            f"{column}; mark it as missing with observed, drop or fill in such rows, or use a VAE."
        )
    return rows, seen


def _check_binary(rows: Rows, name: str) -> None:
    wrong = np.argwhere((rows != 0) & (rows != 1))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{name} must hold zeros and ones for the likelihood bernoulli; got {rows[row, column]} in row {row}, "
            f"column {column}; use likelihood='gaussian', or binarise it first."
        )
