"""p(x | z, c): a decoder that is given conditions c (a batch, a treatment) and an exposure (a library size, an area).

What is given stands in the row among the cells that the model is of. So objectives, inference and estimates of log p
see one row, as ever, and what they call log p(x) is log p(x | c): given cells add nothing to it.
"""

from collections.abc import Sequence
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from numpy.typing import ArrayLike, NDArray

from tightbound.model.distributions import AbstractDistribution, Column, Latent, Mask, Scalar, Vector
from tightbound.model.generative import Decoder
from tightbound.model.likelihoods.heads import AbstractHead
from tightbound.model.networks.dense import Network, dtype_of
from tightbound.model.networks.inputs import AbstractInputs, log_total_of

TOTAL = -1
"""In place of a column: the exposure of a row is the sum of its counts."""
N_REFERENCES = 1000
"""Rows of what is given that a decoder keeps to draw from."""

References = Float[Array, "r g"]


@final
class Conditioned(AbstractDistribution):
    """p(x | z, c) over rows in which c stands: the density is that of the other cells.

    `at(row)` is the distribution for the c of a row. `sample` draws c from the reference rows; `mean` and `variance`
    are those at a typical c.
    """

    reparameterised: ClassVar[bool] = False
    head: "ConditionedHead"
    z: Latent

    @property
    def dim(self) -> int:
        """Number of cells, the given ones among them."""
        return self.head.dim

    @property
    def mean(self) -> Vector:
        """E[x | z, c] and c, at the typical c."""
        return self._typical.mean

    @property
    def variance(self) -> Vector:
        """Var[x_j | z, c] at the typical c; 0 of given cells."""
        return self._typical.variance

    @property
    def _typical(self) -> AbstractDistribution:
        return self.head.referring(self.z, jax.lax.stop_gradient(self.head.typical))

    def at(self, x: Vector, observed: Mask = None) -> AbstractDistribution:
        """p(. | z, c) over whole rows, for the c that stands in the row x; its given cells are fixed."""
        return self.head.at(self.z, x, observed)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """What is given in some reference row, and x given it."""
        key_which, key_x = jax.random.split(key)
        reference = jax.lax.stop_gradient(self.head.reference)
        chosen = reference[jax.random.randint(key_which, (), 0, reference.shape[0])]
        return self.head.referring(self.z, chosen).sample(key=key_x)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """log p(x_observed | z, c) of a row, nats; c adds nothing of its own."""
        return self.at(x, observed).log_prob(x, observed)

    def given(self, x: Vector, observed: Bool[Array, " d"]) -> AbstractDistribution:
        """p(x_missing | z, c, x_observed), for the c that stands in x."""
        return self.at(x, observed).given(x, observed)


@final
class WithCovariates(AbstractDistribution):
    """Rows in which some cells are fixed and the others follow `base`."""

    reparameterised: ClassVar[bool] = False
    base: AbstractDistribution
    fixed: Float[Array, " g"]
    cells: tuple[int, ...] = eqx.field(static=True)
    """Positions of the base's cells, then `given_cells`, those of the fixed ones."""
    given_cells: tuple[int, ...] = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Number of cells, the fixed ones among them."""
        return len(self.cells) + len(self.given_cells)

    @property
    def mean(self) -> Vector:
        """The base's, and what is fixed."""
        return self._row(self.base.mean, self.fixed)

    @property
    def variance(self) -> Vector:
        """The base's, and 0."""
        return self._row(self.base.variance, jnp.zeros_like(self.fixed))

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """A draw of the base, and what is fixed."""
        return self._row(self.base.sample(key=key), self.fixed)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """The base's."""
        own = np.array(self.cells, int)
        return self.base.log_prob(x[own], None if observed is None else observed[own])

    @property
    def factorised(self) -> bool:
        """Whether the base's cells are independent."""
        return self.base.factorised

    @property
    def modelled(self) -> Bool[np.ndarray, " d"]:
        """The base's cells."""
        found = np.zeros(self.dim, bool)
        found[list(self.cells)] = self.base.modelled
        return found

    def given(self, x: Vector, observed: Bool[Array, " d"]) -> "WithCovariates":
        """The base given its observed cells."""
        own = np.array(self.cells, int)
        return WithCovariates(self.base.given(x[own], observed[own]), self.fixed, self.cells, self.given_cells)

    def log_prob_at(self, column: Column, x: Scalar) -> Scalar:
        """The base's; 0 of a fixed cell."""
        here = self._place(self.cells, column)
        return jnp.where(here >= 0, self.base.log_prob_at(jnp.maximum(here, 0), x), 0)

    def cdf_at(self, column: Column, x: Scalar) -> Scalar:
        """The base's; a step at what is fixed."""
        here = self._place(self.cells, column)
        inside = self.base.cdf_at(jnp.maximum(here, 0), x)
        step = x >= self.fixed[jnp.maximum(self._place(self.given_cells, column), 0)]
        return jnp.where(here >= 0, inside, step.astype(inside.dtype))

    def level_log_probs_at(self, column: Column, n_levels: int) -> Float[Array, " l"]:
        """The base's; 0 of a fixed cell."""
        here = self._place(self.cells, column)
        return jnp.where(here >= 0, self.base.level_log_probs_at(jnp.maximum(here, 0), n_levels), 0)

    def log_probs(self, x: Vector) -> Vector:
        """The base's, and 0."""
        return self._row(self.base.log_probs(x[np.array(self.cells, int)]), jnp.zeros_like(self.fixed))

    def nominal_levels(self, *, binary: bool = False) -> tuple[int, ...]:
        """The base's, and 0."""
        found = dict(zip(self.cells, self.base.nominal_levels(binary=binary), strict=True))
        return tuple(found.get(j, 0) for j in range(self.dim))

    def nominal_log_probs(self) -> Float[Array, " l"]:
        """The base's."""
        return self.base.nominal_log_probs()

    def sample_needed(self, needed: Bool[Array, " d"], *, key: PRNGKeyArray) -> Vector:
        """A draw of the base's needed cells, and what is fixed."""
        return self._row(self.base.sample_needed(needed[np.array(self.cells, int)], key=key), self.fixed)

    def within(
        self, low: Vector, high: Vector, observed: Bool[Array, " d"], *, key: PRNGKeyArray
    ) -> tuple[Scalar, Vector]:
        """The base's draw, and what is fixed."""
        own = np.array(self.cells, int)
        log_weight, draw = self.base.within(low[own], high[own], observed[own], key=key)
        return log_weight, self._row(draw, self.fixed)

    def _place(self, of: tuple[int, ...], column: Column) -> Int[Array, ""]:
        """Where a column stands among these; -1: not there."""
        where = np.full(self.dim, -1)
        where[list(of)] = np.arange(len(of))
        return jnp.asarray(where)[column]

    def _row(self, own: Float[Array, " m"], given: Float[Array, " g"]) -> Vector:
        order = np.argsort(np.array([*self.cells, *self.given_cells], int))
        return jnp.concatenate([own, given.astype(own.dtype)])[order]


@final
class ConditionedHead(AbstractHead):
    """From z to a `Conditioned`: it holds the decoder's network, since c becomes known with the row alone.

    `conditioned_decoder` makes one, checked, within a `Decoder`.
    """

    network: Network
    head: AbstractHead
    """Of the cells that are modelled, in their order."""
    inputs: AbstractInputs | None
    """From the conditions of a row to what the network sees of them behind z; None without conditions."""
    reference: References
    """What is given in some training rows, in the order of `given`, a log total last where that is the exposure."""
    typical: Float[Array, " g"]
    """The most frequent of them, with the mean log exposure."""
    latent_dim: int = eqx.field(static=True)
    conditions: tuple[int, ...] = eqx.field(static=True)
    """Their positions in a row."""
    exposure: int | None = eqx.field(static=True)
    """Position of a log exposure, or `TOTAL`; None for none. The network does not see it."""

    @property
    def by_total(self) -> bool:
        """Whether the exposure of a row is its own total."""
        return self.exposure == TOTAL

    @property
    def given(self) -> tuple[int, ...]:
        """Positions of what is not modelled: the conditions, and the exposure's column."""
        if self.exposure is None or self.exposure == TOTAL:
            return self.conditions
        return (*self.conditions, self.exposure)

    @property
    def cells(self) -> tuple[int, ...]:
        """Positions of what is modelled."""
        given = set(self.given)
        return tuple(j for j in range(self.dim) if j not in given)

    @property
    def dim(self) -> int:
        """Length of a row."""
        return self.head.dim + len(self.given)

    @property
    def n_inputs(self) -> int:
        """Length of z."""
        return self.latent_dim

    def __call__(self, h: Float[Array, " m"]) -> Conditioned:
        """The rows of a latent vector."""
        return Conditioned(self, h)

    def at(self, z: Latent, x: Vector, observed: Mask = None, log_total: Scalar | None = None) -> AbstractDistribution:
        """p(. | z, c) over whole rows for the c of the row x.

        `log_total` takes the place of the sum of the row's counts, which are not known before they are drawn. A
        condition that is not observed is one to the network that nobody knows.
        """
        h, dtype = z, z.dtype
        if self.inputs is not None:
            where = np.array(self.conditions, int)
            seen = None if observed is None else observed[where]
            h = jnp.concatenate([z, self.inputs(x[where].astype(dtype), seen)])
        raw = self.network(h)
        if self.exposure is not None and len(self.head.counts):
            raw = self.head.exposed(raw, self._log_exposure(x, log_total).astype(dtype))
        base = self.head(raw)
        base = base if log_total is None else base.with_total(log_total)
        return WithCovariates(base, x[np.array(self.given, int)], self.cells, self.given) if self.given else base

    def referring(self, z: Latent, chosen: Float[Array, " g"]) -> AbstractDistribution:
        """p(. | z, c) over whole rows for a c as `reference` holds it."""
        chosen = chosen.astype(z.dtype)
        row = jnp.zeros(self.dim, z.dtype).at[np.array(self.given, int)].set(chosen[: len(self.given)])
        return self.at(z, row, None, chosen[-1] if self.exposure == TOTAL else None)

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """Nothing: z is all that comes in."""
        return jnp.zeros(0)

    def _log_exposure(self, x: Vector, log_total: Scalar | None) -> Scalar:
        """Of the row: what stands in its column, or its total relative to a typical one."""
        if self.exposure != TOTAL:
            return x[self.exposure]
        total = log_total_of(x[np.array(self.cells, int)], self.head.counts) if log_total is None else log_total
        return total - jax.lax.stop_gradient(self.typical)[-1].astype(total.dtype)


@final
class _AsItIs(eqx.Module):
    """z, for the head that has the network."""

    def __call__(self, z: Latent) -> Latent:
        return z


def _references(rows: NDArray[np.float64], n_conditions: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """1,000 rows of what is given, evenly spread (repeated where there are fewer), and what is typical of them."""
    kept = rows[np.arange(N_REFERENCES) * len(rows) // N_REFERENCES]
    different, counts = np.unique(rows[:, :n_conditions], axis=0, return_counts=True)
    return kept, np.concatenate([different[counts.argmax()], rows[:, n_conditions:].mean(axis=0)])


def conditioned_decoder(
    network: Network,
    head: AbstractHead,
    latent_dim: int,
    given: ArrayLike,
    *,
    inputs: AbstractInputs | None = None,
    conditions: Sequence[int] = (),
    exposure: int | None = None,
) -> Decoder:
    """p(x | z, c) = head(network([z, inputs(c)])), as a decoder of rows in which c stands.

    Args:
        network: from z and the features of the conditions to the numbers that the head needs.
        head: the distribution of the modelled cells, in their order.
        latent_dim: length of z.
        given: (n, g) what is given in training rows: the conditions in the order of `conditions`, then the log
            exposure (or log total), where there is one. Samples are drawn under some of them when nobody says
            otherwise.
        inputs: what the network sees of the conditions; None without conditions.
        conditions: their positions in a row.
        exposure: position of a log exposure, which multiplies the means of all count columns by its exponential; or
            `TOTAL`: the sum of a row's counts, relative to a typical one. For bags of words it is `TOTAL`, and says how
            many are drawn.

    Raises `ValueError` for references that are no finite table of that width, an exposure where nothing is a count, and
    a network of another size.
    Source: Sohn, Lee and Yan (2015); with a library size as the exposure, Lopez et al. (2018).
    """
    rows, width = np.asarray(given, float), len(conditions) + (exposure is not None)
    if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != width or not np.isfinite(rows).all():
        raise ValueError(
            f"given must be a table of finite numbers with {width} column(s), a row of conditions (and a log exposure) "
            f"for one or more training rows; got the shape {rows.shape}"
            f"{'' if np.isfinite(rows).all() else ' with NaN or infinite cells'}; give that."
        )
    if exposure is not None and not (len(head.counts) or (head.has_total and exposure == TOTAL)):
        raise ValueError(
            f"An exposure must have a count to work on; got a {type(head).__name__} without one; use exposure=None, or "
            "count cells."
        )
    size = latent_dim + (0 if inputs is None else inputs.size)
    dtype = dtype_of(network)
    head.check_network(network, size, dtype)
    kept, typical = (jnp.asarray(a, dtype or float) for a in _references(rows, len(conditions)))
    inner = ConditionedHead(network, head, inputs, kept, typical, latent_dim, tuple(conditions), exposure)
    return Decoder(_AsItIs(), inner, latent_dim)
