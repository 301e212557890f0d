"""p(x | z, c): a decoder that is given conditions c (a batch, a treatment) and an exposure (a library size, an area).

What is given stands in the row, behind the cells that the model is of: a row is [x, c] or [x, c, log exposure]. So
objectives, inference and estimates of log p see one row, as ever, and what they call log p(x) is log p(x | c).
"""

from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from tightbound.model.columns import ColumnsHead, is_count
from tightbound.model.decoders import AbstractHead, Decoder
from tightbound.model.distributions import AbstractDistribution, Latent, Mask, Scalar, Vector
from tightbound.model.networks import Network, n_outputs

MOST_REFERENCES = 1000
"""Rows of conditions that a decoder keeps to draw from."""

Given = Float[Array, " g"]


@final
class Conditioned(AbstractDistribution):
    """p(x | z, c) over rows [x, c]: the density is that of x, and c is only ever given.

    `given(c)` is the plain distribution of x. Without conditions of a row, `sample` draws some from the reference rows,
    and `mean` and `variance` are those at the references' mean. `log_prob` takes c from its row; a condition that is
    not observed stands at that mean too.
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
        """E[x | z, c] and c, c the mean of the references."""
        typical = self.head.typical
        return jnp.concatenate([self.given(typical).mean, typical])

    @property
    def variance(self) -> Vector:
        """Var[x_j | z, c] at the mean c of the references; then the references' own variance."""
        spread = jnp.var(jax.lax.stop_gradient(self.head.reference), axis=0)
        return jnp.concatenate([self.given(self.head.typical).variance, spread])

    def given(self, c: Given) -> AbstractDistribution:
        """p(x | z, c) for the given cells (n_given,), a log exposure last where the decoder has one."""
        return self.head.plain(self.z, c)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """A row of references, and x given it: one draw of [x, c]."""
        key_which, key_x = jax.random.split(key)
        reference = self.head.reference
        c = reference[jax.random.randint(key_which, (), 0, reference.shape[0])]
        return jnp.concatenate([self.given(c).sample(key=key_x), c])

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """log p(x_observed | z, c) of a row [x, c], nats; c adds nothing of its own."""
        cells, c = jnp.split(x, [self.head.n_cells])
        if observed is None:
            return self.given(c).log_prob(cells)
        seen, known = jnp.split(observed, [self.head.n_cells])
        return self.given(jnp.where(known, c, self.head.typical)).log_prob(cells, seen)


@final
class ConditionedHead(AbstractHead):
    """From z to a `Conditioned`: it holds the decoder's network, since c becomes known with the row alone.

    `conditioned_decoder` makes one, checked, within a `Decoder`.
    """

    network: Network
    head: AbstractHead
    reference: Float[Array, "r g"]
    """Conditions of some training rows, a log exposure last where there is one; without gradient."""
    latent_dim: int = eqx.field(static=True)
    with_exposure: bool = eqx.field(static=True)

    @property
    def n_given(self) -> int:
        """Length of c, the log exposure counted."""
        return self.reference.shape[1]

    @property
    def n_cells(self) -> int:
        """Length of x."""
        return self.head.dim

    @property
    def dim(self) -> int:
        """Length of a row [x, c]."""
        return self.n_cells + self.n_given

    @property
    def n_inputs(self) -> int:
        """Length of z."""
        return self.latent_dim

    @property
    def typical(self) -> Given:
        """Mean of the references, (n_given,)."""
        return jnp.mean(jax.lax.stop_gradient(self.reference), axis=0)

    def __call__(self, h: Float[Array, " m"]) -> Conditioned:
        """The rows of a latent vector."""
        return Conditioned(self, h)

    def plain(self, z: Latent, c: Given) -> AbstractDistribution:
        """p(x | z, c)."""
        if isinstance(self.head, ColumnsHead) and self.with_exposure:
            return self.head(self.head.exposed(self.network(jnp.concatenate([z, c[:-1]])), c[-1]))
        return self.head(self.network(jnp.concatenate([z, c])))

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """Nothing: z is all that comes in."""
        return jnp.zeros(0)


@final
class _AsItIs(eqx.Module):
    """z, for the head that has the network."""

    def __call__(self, z: Latent) -> Latent:
        return z


def conditioned_decoder(
    network: Network,
    head: AbstractHead,
    latent_dim: int,
    reference: ArrayLike,
    *,
    with_exposure: bool = False,
) -> Decoder:
    """p(x | z, c) = head(network([z, c])), as a decoder of rows [x, c].

    Args:
        network: from [z, c] (without the log exposure) to the numbers that the head needs.
        head: the distribution of x.
        latent_dim: length of z.
        reference: (r, n_given) conditions of training rows: what samples are drawn under when nobody says
            otherwise. Of more than 1,000 rows, that many are kept, evenly spaced.
        with_exposure: the last of the given cells is a log exposure, which multiplies the means of all count columns
            by its exponential; the network does not see it.

    Raises `ValueError` for references that are no finite table, an exposure where nothing is a count, and a network of
    another size.
    Example: `conditioned_decoder(MLP(2 + 3, head.n_inputs, (), key=key), head, 2, one_hot_batches)`.
    Source: Sohn, Lee and Yan (2015); with a library size as the exposure, Lopez et al. (2018).
    """
    rows = np.asarray(reference)
    if rows.ndim != 2 or len(rows) == 0 or not np.isfinite(rows.astype(float)).all():
        raise ValueError(
            "reference must be a table of finite numbers, a row of conditions for one or more training rows; got "
            f"the shape {rows.shape}{'' if rows.ndim != 2 or len(rows) == 0 else ' with NaN or infinite cells'}; "
            "encode levels as 0/1 and fill gaps."
        )
    if with_exposure and (
        rows.shape[1] == 0 or not (isinstance(head, ColumnsHead) and any(map(is_count, head.groups)))
    ):
        raise ValueError(
            "An exposure must have a last column of `reference` and a ColumnsHead with a count column; got "
            f"{rows.shape[1]} columns and a {type(head).__name__}; use with_exposure=False, or count cells."
        )
    size = latent_dim + rows.shape[1] - with_exposure
    dtypes = [a.dtype.name for a in jax.tree.leaves(network) if eqx.is_inexact_array(a)]
    dtype = dtypes[0] if dtypes else None
    given = n_outputs(network, size, dtype)
    if given != head.n_inputs:
        raise ValueError(
            f"The decoder's network must map {size} numbers (z and the conditions) to the {head.n_inputs} that a "
            f"{type(head).__name__} needs; it returned {given}; change the size of its last layer."
        )
    kept = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_REFERENCES)).astype(int)]
    inner = ConditionedHead(network, head, jnp.asarray(kept, dtype or float), latent_dim, bool(with_exposure))
    return Decoder(_AsItIs(), inner, latent_dim)
