"""Missing not at random: a model of which cells are observed, p(s | x), beside the model of the cells.

The noise of the missing cells becomes part of the latent, z' = (z, eps) with eps ~ N(0, I): a missing cell has the
value x_j(z, eps_j), an observed one its datum, and

    log p(x_obs, s, z') = log p(x_obs | z) + log p(s | x) + log N(eps) + log p(z),    s_j: cell j is observed.

What `log_prob` returns is then the density of the observed cells *and* of the pattern s, so every bound and estimate
is one of log p(x_obs, s). Source: Ipsen, Mattei and Frellsen (2021), not-MIWAE.
"""

from collections.abc import Callable
from typing import ClassVar, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from tightbound.model.decoders import Decoder
from tightbound.model.distributions import AbstractDistribution, Latent, Mask, Scalar, Vector
from tightbound.model.encoders import Encoder
from tightbound.model.families import DiagonalGaussianFamily
from tightbound.model.generative import GenerativeModel
from tightbound.model.likelihoods.heads import AbstractHead
from tightbound.model.likelihoods.mechanisms import AbstractMechanism, Columns
from tightbound.model.networks.dense import Network
from tightbound.model.networks.inputs import AbstractInputs
from tightbound.model.networks.output import with_output_layer


@final
class Selected(AbstractDistribution):
    """p(x_obs, s | z, eps): observed cells by `base`, missing ones at x_j(z, eps_j), the pattern by the mechanism.

    As a distribution of x it is the base: mean, variance and draws are those of a row before any cell is lost. What a
    missing cell is, given z and eps, says `completed`.
    """

    reparameterised: ClassVar[bool] = False
    base: AbstractDistribution
    noise: Float[Array, " r"]
    """eps of the columns that the mechanism reads."""
    mechanism: AbstractMechanism

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.base.dim

    @property
    def mean(self) -> Vector:
        """The base's: E[x | z]."""
        return self.base.mean

    @property
    def variance(self) -> Vector:
        """The base's: Var[x_j | z]."""
        return self.base.variance

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """A row before any cell is lost."""
        return self.base.sample(key=key)

    def given_noise(self) -> AbstractDistribution:
        """p(x_missing | z, eps), over all cells: the base with the columns that are read fixed at x_j(z, eps_j).

        For draws, means and variances of missing cells; its density is a spike.
        """
        reads = np.array(self.mechanism.reads, int)
        read = np.isin(np.arange(self.dim), reads)
        noise = jnp.zeros(self.dim, self.noise.dtype).at[reads].set(self.noise)
        return self.base.moved(noise, read)

    def completed(self, x: Vector, observed: Mask = None) -> Vector:
        """The row with its missing cells at x_j(z, eps_j), and at E[x_j | z] where the mechanism reads no column j."""
        return x if observed is None else jnp.where(observed, x, self.given_noise().mean)

    @property
    def factorised(self) -> bool:
        """Whether the base's cells are independent."""
        return self.base.factorised

    def given(self, x: Vector, observed: Bool[Array, " d"]) -> AbstractDistribution:
        """The base at the noise of its missing cells, which is part of z."""
        return self.given_noise().given(x, observed)

    def log_probs(self, x: Vector) -> Vector:
        """The base's."""
        return self.base.log_probs(x)

    def nominal_levels(self, *, binary: bool = False) -> tuple[int, ...]:
        """The base's."""
        return self.base.nominal_levels(binary=binary)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """log p(x_obs | z) + log p(s | x_obs, x_mis(z, eps)), in nats; `observed` None: every cell is (s = 1)."""
        return self.base.log_prob(x, observed) + self.mechanism.log_prob(self.completed(x, observed), observed)


@final
class SelectedHead(AbstractHead):
    """From a network's output, and the noise of the missing cells behind it, to a `Selected`.

    Raises `ValueError` for a mechanism that reads columns which are not there, or not Gaussian given z.
    """

    base: AbstractHead
    mechanism: AbstractMechanism

    def __check_init__(self) -> None:
        named = (*self.mechanism.columns, *self.mechanism.reads)
        if not named or min(named) < 0 or max(named) >= self.base.dim:
            raise ValueError(
                f"A mechanism must name columns between 0 and {self.base.dim - 1}, one or more; got {named}; number "
                "them as the decoder's cells are."
            )
        bad = [j for j in self.mechanism.reads if not self.base.is_gaussian(j)]
        if bad:
            raise ValueError(
                "A mechanism must read columns that are Gaussian given z; the column(s) "
                f"{', '.join(map(str, bad))} of {type(self.base).__name__} are not; leave them out of the mechanism."
            )

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.base.dim

    @property
    def n_inputs(self) -> int:
        """Those of the base, and one for each column that the mechanism reads."""
        return self.base.n_inputs + len(self.mechanism.reads)

    def __call__(self, h: Float[Array, " m"]) -> Selected:
        """What the base makes of the first numbers, with the last as noise."""
        return Selected(self.base(h[: self.base.n_inputs]), h[self.base.n_inputs :], self.mechanism)

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """The base's, and no noise."""
        return jnp.concatenate([self.base.spread_at_start(key=key), jnp.zeros(len(self.mechanism.reads))])


@final
class BesideNoise(eqx.Module):
    """(z, eps) -> (network(z), eps): a decoder's network that hands the noise on."""

    network: Network
    n_noise: int = eqx.field(static=True)

    def __call__(self, z: Latent) -> Float[Array, " m"]:
        """Map one vector."""
        n = z.shape[0] - self.n_noise
        return jnp.concatenate([self.network(z[:n]), z[n:]])


@final
class NoiseOfMissing(eqx.Module):
    """An encoder's network for q(z, eps | x_obs, s), a diagonal Gaussian, with q(eps_j) = N(0, 1) where j is observed.

    Nothing depends on the noise of an observed cell, so its posterior is its prior, exactly. The input must end in the
    row's mask, as that of `CentredInputs(center, with_mask=True)` and `ColumnsInputs` does; `network` returns all
    locations, then all raw scales.
    """

    network: Network
    reads: Columns = eqx.field(static=True)
    n_cells: int = eqx.field(static=True)

    def __call__(self, h: Float[Array, " i"]) -> Float[Array, " o"]:
        """Map one vector."""
        seen = h[h.shape[0] - self.n_cells + np.array(self.reads, int)]
        loc, raw = jnp.split(self.network(h), 2)
        keep = jnp.concatenate([jnp.ones(loc.shape[0] - len(self.reads), h.dtype), 1 - seen])
        return jnp.concatenate([keep * loc, keep * raw])


def selected_decoder(decoder: Decoder, mechanism: AbstractMechanism) -> Decoder:
    """The decoder with a mechanism: its latent is (z, eps), its `log_prob` that of (x_obs, s).

    The prior that goes with it is that of z beside a standard Gaussian of `len(mechanism.reads)` more dimensions.
    """
    n = len(mechanism.reads)
    return Decoder(
        BesideNoise(decoder.network, n), SelectedHead(decoder.head, mechanism), latent_dim=decoder.latent_dim + n
    )


def selected_encoder(
    make: Callable[..., Network],
    inputs: AbstractInputs,
    latent_dim: int,
    mechanism: AbstractMechanism,
    *,
    dtype: str | None = None,
    key: PRNGKeyArray,
) -> Encoder:
    """An encoder of (z, eps) for `selected_decoder`: a diagonal Gaussian whose q(eps) starts at N(0, I).

    `make(in_size, out_size, key=...)` draws the network inside; the vector of `inputs` must end in the mask.
    """
    size = latent_dim + len(mechanism.reads)
    network = with_output_layer(make(inputs.size, 2 * size, key=key), 2 * size, dtype)
    of_z = np.tile(np.arange(size) < latent_dim, 2)
    network = network.with_output(network.output.begun(of_z, jnp.where(of_z, network.output.constant(), 0)))
    gated = NoiseOfMissing(network, mechanism.reads, inputs.n_cells)
    return Encoder(gated, DiagonalGaussianFamily(size), inputs)


def with_strength(p: GenerativeModel, factor: float) -> GenerativeModel:
    """The model with the log-odds of its mechanism times `factor`, all else being the same.

    Factor 0 reads a fitted model as if cells were missing at random; what changes between factors rests on the
    mechanism and not on the data. Raises `ValueError` for a model without mechanism.
    """
    if not isinstance(p.decoder.head, SelectedHead):
        raise ValueError(
            "The model must have a missingness mechanism; this one takes cells to be missing at random; make its "
            "decoder with selected_decoder, or fit with missingness='self_masking'."
        )
    changed: GenerativeModel = eqx.tree_at(
        lambda a: a.decoder.head.mechanism, p, p.decoder.head.mechanism.scaled(factor)
    )
    return changed
