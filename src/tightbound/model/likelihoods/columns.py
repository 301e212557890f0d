"""A table's row as a product of columns: p(x | z) = prod_j p_j(x_j | z), every column with its family, in its units.

log p of a mixed row is in nats with respect to the product of its columns' measures: length for continuous columns,
counting for counts and levels, length plus points for columns with spikes. It is a density per unit of every
continuous column: another unit of such a column adds a constant.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from numpy.typing import ArrayLike, NDArray

from tightbound.model.distributions import (
    AbstractDistribution,
    Column,
    Mask,
    Scalar,
    Vector,
    between_ends,
    finite,
)
from tightbound.model.likelihoods import AbstractColumnLikelihood
from tightbound.model.likelihoods.heads import AbstractHead, Modelled

Places = tuple[tuple[int, ...], ...]

_FREE = 32
"""Numbers beyond twice those of its columns that a group may hold: a program saved is worth that much arithmetic."""


@final
class ProductOfColumns(AbstractDistribution):
    """prod_j p_j(x_j): independent columns of different kinds.

    Columns whose cells differ in numbers alone, or can be made to (`resized`), form a group: `groups[g]` are their
    cells, stacked along a first axis, `raws[g]` (columns, n_outputs) their numbers, of which column i has the first
    `sizes[g][i]` itself, and `places[g]` their positions in x. `head(h)` makes one.
    Missing cells are left out exactly, whatever stands in them.
    """

    reparameterised: ClassVar[bool] = False
    groups: tuple[AbstractColumnLikelihood, ...]
    raws: tuple[Float[Array, "_ _"], ...]
    places: Places = eqx.field(static=True)
    sizes: Places = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Number of columns."""
        return sum(len(place) for place in self.places)

    @property
    def mean(self) -> Vector:
        """The mean of every column as its cells define it (the most probable code, for a nominal one)."""
        return self._each(lambda cells, raw: cells.mean(raw))

    @property
    def variance(self) -> Vector:
        """The variance of every column as its cells define it."""
        return self._each(lambda cells, raw: cells.variance(raw))

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """One row; a column's draw does not depend on how the columns are grouped."""
        return self._each(_draw, jax.random.split(key, self.dim))

    def sample_needed(self, needed: Bool[Array, " d"], *, key: PRNGKeyArray) -> Vector:
        """The same draw, in which a group without a needed column is left at 0.

        Where `needed` is the same for all rows of a batch, that costs nothing; a draw of a count takes a hundred times
        as long as one of a Gaussian.
        """
        keys = jax.random.split(key, self.dim)

        def drawn(cells: AbstractColumnLikelihood, raw: Array, place: NDArray[Any]) -> Array:
            def draw() -> Array:
                return jnp.asarray(eqx.filter_vmap(_draw)(cells, raw, keys[place]))

            like = jax.eval_shape(draw)
            return jax.lax.cond(jnp.any(needed[place]), draw, lambda: jnp.zeros(like.shape, like.dtype))

        return self._joined(drawn)

    def log_probs(self, x: Vector) -> Vector:
        """Log density of every column at `x`, (dim,), nats; NaN where `x` is."""
        return self._each(_log_prob, x)

    def cdf(self, x: Vector) -> Vector:
        """P(X_j <= x_j) of every column, (dim,)."""
        return self._each(lambda cells, raw, x: cells.cdf(x, raw), x)

    @property
    def factorised(self) -> bool:
        """True."""
        return True

    def given(self, x: Vector, observed: Bool[Array, " d"]) -> AbstractDistribution:
        """The same."""
        return self

    def log_prob_at(self, column: Column, x: Scalar) -> Scalar:
        """Log density of the column at `x`."""
        return self._at(column, lambda cells, raw: cells.log_prob(x, raw))

    def cdf_at(self, column: Column, x: Scalar) -> Scalar:
        """P(X_column <= x)."""
        known = finite(x)
        # Just below 2, 1 + x rounds to 3: a cdf of whole numbers is asked for whole numbers.
        whole = jnp.floor(known)
        inside = self._at(column, lambda cells, raw: cells.cdf(whole if cells.measure == "counting" else known, raw))
        return between_ends(inside, x)

    def level_log_probs_at(self, column: Column, n_levels: int) -> Float[Array, " l"]:
        """Those of the column's levels, -inf beyond the last."""
        return self._at(column, lambda cells, raw: cells.level_log_probs(raw, n_levels))

    def nominal_levels(self, *, binary: bool = False) -> tuple[int, ...]:
        """Levels of the columns without an order."""
        found = [0] * self.dim
        for cells, place, sizes in zip(self.groups, self.places, self.sizes, strict=True):
            for j, size in zip(place, sizes, strict=True):
                levels = cells.levels and cells.levels - (cells.n_outputs - size)
                found[j] = levels if cells.is_nominal or (binary and levels == 2) else 0
        return tuple(found)

    def nominal_log_probs(self) -> Float[Array, " l"]:
        """Those of all levels of the nominal columns."""
        found: dict[int, Array] = {}
        for (cells, raw, place), sizes in zip(self._members(), self.sizes, strict=True):
            if cells.is_nominal:
                each = eqx.filter_vmap(lambda cells, raw: cells.level_log_probs(raw, cells.levels))(cells, raw)
                found.update({int(j): each[i, :size] for i, (j, size) in enumerate(zip(place, sizes, strict=True))})
        return jnp.concatenate([jnp.zeros(0, self.raws[0].dtype), *(found[j] for j in sorted(found))])

    def moved(self, noise: Vector, where: Bool[np.ndarray, " d"]) -> "ProductOfColumns":
        """The Gaussian columns `where` at loc + scale * noise."""
        groups, raws = [], []
        for cells, raw, place in self._members():
            fixed, at = eqx.filter_vmap(lambda c, r, e, here: c.moved(r, e, here))(
                cells, raw, noise[place], jnp.asarray(where[place])
            )
            groups.append(fixed)
            raws.append(at)
        return ProductOfColumns(tuple(groups), tuple(raws), self.places, self.sizes)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Sum over the observed columns of their log densities."""
        # A missing cell may hold NaN, which times zero would poison the gradient. Zero is legal in every family, or has
        # a log density of -inf without gradient.
        x = x if observed is None else jnp.where(observed, x, 0)
        # In the order of the groups: to put the terms in that of the table first would cost their gradient a loop.
        terms = [eqx.filter_vmap(_log_prob)(cells, raw, x[place]) for cells, raw, place in self._members()]
        found = jnp.concatenate(terms)
        return jnp.sum(found if observed is None else jnp.where(observed[np.concatenate(self.places)], found, 0))

    def _at(self, column: Column, f: Callable[[AbstractColumnLikelihood, Array], Array]) -> Array:
        """f(cells, raw) of the one column: of a member of each group, of which the column's own is taken."""
        found: list[Array] = []
        for cells, raw, place in self._members():
            if isinstance(column, int) and column not in place:
                continue
            where = np.full(self.dim, -1)
            where[place] = np.arange(len(place))
            here = jnp.asarray(where)[column]
            member = jnp.maximum(here, 0)
            own = jax.tree.map(lambda leaf, member=member: leaf[member], cells)
            value = f(own, raw[member])
            found = [jnp.where(here >= 0, value, found[0]) if found else value]
        return found[0]

    def _each(self, f: Callable[..., Scalar], *columns: Array) -> Vector:
        """f(cells, raw, ...) of every column, each with its own entry of `columns`, in the order of the table."""
        return self._joined(lambda cells, raw, place: eqx.filter_vmap(f)(cells, raw, *[c[place] for c in columns]))

    def _joined(self, of_group: Callable[[AbstractColumnLikelihood, Array, NDArray[Any]], Array]) -> Vector:
        """What a function finds for the columns of each group, in the order of the table."""
        parts = [of_group(*each) for each in self._members()]
        return jnp.concatenate(parts)[np.argsort(np.concatenate(self.places))]

    def _members(self) -> list[tuple[AbstractColumnLikelihood, Array, NDArray[Any]]]:
        """The cells, numbers and places of each group."""
        return list(zip(self.groups, self.raws, map(np.array, self.places), strict=True))


def _log_prob(cells: AbstractColumnLikelihood, raw: Array, x: Scalar) -> Scalar:
    return cells.log_prob(x, raw)


def _draw(cells: AbstractColumnLikelihood, raw: Array, key: PRNGKeyArray) -> Scalar:
    return cells.sample(raw, key=key)


@final
class ColumnsHead(AbstractHead):
    """From a network's output to a `ProductOfColumns`.

    The first `dim` inputs are the first number (the location) of every column; then follow the other numbers of the
    first column, of the second, and so on. `first` (n_inputs,) is where a network's last bias should begin.

    Raises `ValueError` for no column, or a `first` of another length.
    Example: `ColumnsHead([GaussianLikelihood(), PoissonLikelihood()]).n_inputs == 3`.
    """

    groups: tuple[AbstractColumnLikelihood, ...]
    first: Float[Array, " m"]
    places: Places = eqx.field(static=True)
    sizes: Places = eqx.field(static=True)
    """Numbers of each column of a group; its cells may have more, which are the same for all rows."""

    def __init__(self, cells: Sequence[AbstractColumnLikelihood], first: Float[Array, " m"] | None = None):
        """One `cells` a column, in the order of the table; `first` None: zeros."""
        if not cells:
            raise ValueError("A table must have a column or more; got none; give the cells of every column.")
        self.places = _grouped(cells)
        self.sizes = tuple(tuple(cells[j].n_outputs for j in place) for place in self.places)
        self.groups = tuple(
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *[cells[j].resized(max(sizes)) for j in place])
            for place, sizes in zip(self.places, self.sizes, strict=True)
        )
        n = sum(each.n_outputs for each in cells)
        self.first = jnp.zeros(n) if first is None else first
        if self.first.shape != (n,):
            raise ValueError(
                f"first must have one number for each of the {n} that these columns need; got the shape "
                f"{self.first.shape}; make it with columns_head."
            )

    @property
    def dim(self) -> int:
        """Number of columns."""
        return sum(len(place) for place in self.places)

    @property
    def n_inputs(self) -> int:
        """The sum of the columns' n_outputs."""
        return self.first.shape[0]

    def __call__(self, h: Float[Array, " m"]) -> ProductOfColumns:
        """The product of the columns with these numbers."""
        indices = self._indices()
        numbers = _placed(h, np.concatenate([index.ravel() for index in indices]))
        raws, begin = [], 0
        for cells, index in zip(self.groups, indices, strict=True):
            own = numbers[begin : begin + index.size].reshape(index.shape)
            raws.append(own if (index >= 0).all() else jnp.where(index >= 0, own, cells.filler))
            begin += index.size
        return ProductOfColumns(self.groups, tuple(raws), self.places, self.sizes)

    def location_at_start(self, mean: NDArray[np.float64], first: NDArray[np.float64] | None) -> ArrayLike:
        """The locations in `first`."""
        return self.first[: self.dim]

    @property
    def owners(self) -> NDArray[np.int64]:
        """The column that each input is a number of."""
        return np.concatenate([np.arange(self.dim), np.repeat(np.arange(self.dim), self._own_sizes() - 1)])

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """What follows the locations in `first`."""
        return self.first[self.dim :]

    def spreads(self, *, gaussian_alone: bool = False) -> tuple[int, ...]:
        """All numbers but the location of a continuous or count column without spikes (`gaussian_alone`: the scales of
        Gaussian ones)."""
        after, found = self.dim, list[int]()
        for cells in self.likelihoods():
            if cells.is_gaussian or (not gaussian_alone and (cells.is_count or cells.measure == "lebesgue")):
                found += range(after, after + cells.n_outputs - 1)
            after += cells.n_outputs - 1
        return tuple(found)

    def exposed(self, h: Float[Array, " m"], log_exposure: Scalar) -> Float[Array, " m"]:
        """The network output in which the (base) means of all count columns are `exposure` times as large."""
        return h.at[self._count_places].add(log_exposure) if len(self._count_places) else h

    @property
    def counts(self) -> NDArray[np.intp]:
        """Positions of the count columns."""
        return np.sort(self._count_places)

    @property
    def _count_places(self) -> NDArray[np.intp]:
        places = [place for cells, place in zip(self.groups, self.places, strict=True) if cells.is_count]
        return np.concatenate([np.zeros(0, np.intp), *(np.array(place, np.intp) for place in places)])

    def is_gaussian(self, j: int) -> bool:
        """Whether that column is."""
        return self.likelihoods()[j].is_gaussian

    def likelihoods(self) -> tuple[AbstractColumnLikelihood, ...]:
        """The likelihood of every column, in the order of the table."""
        found: dict[int, AbstractColumnLikelihood] = {}
        for cells, place, sizes in zip(self.groups, self.places, self.sizes, strict=True):
            for i, (j, size) in enumerate(zip(place, sizes, strict=True)):
                found[j] = jax.tree.map(lambda leaf, i=i: leaf[i], cells).resized(size)
        return tuple(found[j] for j in range(self.dim))

    def _own_sizes(self) -> NDArray[np.int64]:
        """Numbers of each column."""
        own = np.zeros(self.dim, int)
        for place, sizes in zip(self.places, self.sizes, strict=True):
            own[list(place)] = sizes
        return own

    def _indices(self) -> list[NDArray[np.int64]]:
        """Where in the network's output the numbers of every group lie, (columns, n_outputs) each; -1: nowhere."""
        own = self._own_sizes()
        begin = self.dim + np.concatenate([[0], np.cumsum(own - 1)[:-1]])
        found = []
        for place, sizes in zip(self.places, self.sizes, strict=True):
            index = np.full((len(place), max(sizes)), -1)
            for line, j in zip(index, place, strict=True):
                line[: own[j]] = [j, *range(begin[j], begin[j] + own[j] - 1)]
            found.append(index)
        return found


def _placed(h: Float[Array, " m"], index: NDArray[np.int64]) -> Float[Array, " k"]:
    """h[index], where every entry of h is read once; anything where the index is below 0.

    JAX makes the gradient of such a reading a loop over single entries, which of many columns is a third of a step on
    a CPU; here it is a reading itself. (The price: no forward derivatives.)
    """
    back = np.argsort(index)[np.sum(index < 0) :]

    @jax.custom_vjp
    def place(h: Array) -> Array:
        return h[np.maximum(index, 0)]

    def forward(h: Array) -> tuple[Array, None]:
        return place(h), None

    def backward(_: None, slope: Array) -> tuple[Array]:
        return (slope[back],)

    place.defvjp(forward, backward)
    return jnp.asarray(place(h))


def _grouped(cells: Sequence[AbstractColumnLikelihood]) -> Places:
    """Which columns can be stacked: those alike but for their numbers, or once they have as many of them."""
    alike: dict[Any, dict[int, list[int]]] = {}
    for j, each in enumerate(cells):
        leaves, structure = jax.tree.flatten(each.narrowest())
        key = (structure, tuple(leaf.shape for leaf in leaves))
        alike.setdefault(key, {}).setdefault(each.n_outputs, []).append(j)
    groups: list[tuple[int, ...]] = []
    for by_size in alike.values():
        open_group, own = list[int](), 0
        for size, places in sorted(by_size.items()):
            own += size * len(places)
            if open_group and size * (len(open_group) + len(places)) > 2 * own + _FREE:
                groups.append(tuple(sorted(open_group)))
                open_group, own = [], size * len(places)
            open_group += places
        groups.append(tuple(sorted(open_group)))
    return tuple(sorted(groups))


def columns_head(
    cells: Sequence[AbstractColumnLikelihood], x: ArrayLike, observed: ArrayLike | None = None
) -> ColumnsHead:
    """A `ColumnsHead` whose columns start at the moments of the observed cells of a table.

    Args:
        cells: one for each column.
        x: (n, d) rows; what is not observed may hold anything.
        observed: (n, d) mask (None: all cells that are not NaN).

    Raises `ValueError` when the table has another number of columns.
    Example: `columns_head([GaussianLikelihood(), BernoulliLikelihood()], rows)(h).log_prob(row)`.
    """
    rows = np.asarray(x)
    if rows.ndim != 2 or rows.shape[1] != len(cells):
        raise ValueError(
            f"x must be a table with {len(cells)} columns, one for each of the cells; got the shape {rows.shape}; give "
            "rows of those columns."
        )
    seen = ~np.isnan(rows) if observed is None else np.asarray(observed, bool)
    starts = [each.start(np.asarray(rows[seen[:, j], j], float)) for j, each in enumerate(cells)]
    return ColumnsHead(cells, jnp.asarray(np.concatenate([[s[0] for s in starts], *[s[1:] for s in starts]]), float))


def make(member: Any, modelled: Modelled) -> ColumnsHead:
    """The head of the member "columns"."""
    del member
    first = None if modelled.first is None else jnp.asarray(modelled.first, modelled.dtype)
    head = ColumnsHead([column.likelihood() for column in modelled.columns], first)
    in_precision: ColumnsHead = jax.tree.map(
        lambda leaf: leaf.astype(modelled.dtype) if eqx.is_inexact_array(leaf) else leaf, head
    )
    return in_precision
