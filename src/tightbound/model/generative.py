"""The generative model p(x, z) = p(z) p(x | z) with its decoder, and the encoder q(z | x)."""

from __future__ import annotations

from typing import NamedTuple, final

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.distributions import AbstractDistribution, Latent, Mask, Scalar, Vector
from tightbound.model.families import AbstractFamily
from tightbound.model.likelihoods.heads import AbstractHead
from tightbound.model.networks.dense import Network, check_size, dtype_of
from tightbound.model.networks.inputs import AbstractInputs


@final
class Decoder(eqx.Module):
    """p(x | z) = head(network(z)).

    Raises `ValueError` when the network does not return the numbers that the head needs.
    """

    network: Network
    head: AbstractHead
    latent_dim: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        self.head.check_network(self.network, self.latent_dim, dtype_of(self))

    def __call__(self, z: Latent) -> AbstractDistribution:
        """p(x | z) for one latent vector."""
        return self.head(self.network(z))


@final
class Encoder(eqx.Module):
    """q(z | x_observed) = family(network(inputs(x, observed))).

    Raises `ValueError` when the network's output does not have the family's number of parameters.
    """

    network: Network
    family: AbstractFamily
    inputs: AbstractInputs

    def __check_init__(self) -> None:
        sizes = self.inputs.size, self.family.n_parameters
        needed_by = f"a {type(self.family).__name__} of dimension {self.family.dim}"
        check_size(self.network, sizes, dtype_of(self.inputs), "encoder", needed_by)

    def __call__(self, x: Vector, observed: Mask = None) -> AbstractDistribution:
        """The posterior approximation for one row (`observed` None: every cell is)."""
        return self.family(self.parameters(x, observed))

    def parameters(self, x: Vector, observed: Mask = None) -> Float[Array, " m"]:
        """The numbers that the family makes it from, (n_parameters,)."""
        return self.network(self.inputs(x, observed))


class LogWeight(NamedTuple):
    """log p(x, z) - log q(z | x) of one z (or of many side by side) in its parts, nats.

    Every bound, every estimate of log p(x) and every expectation given x is a function of such weights.
    """

    log_likelihood: Float[Array, "*k"]
    """log p(x_observed | z)."""
    log_prior: Float[Array, "*k"]
    """log p(z)."""
    log_q: Float[Array, "*k"]
    """Log density of what z was drawn from."""

    @property
    def log_joint(self) -> Float[Array, "*k"]:
        """log p(x, z)."""
        return self.log_likelihood + self.log_prior

    @property
    def total(self) -> Float[Array, "*k"]:
        """log p(x, z) - log q(z | x)."""
        return self.log_joint - self.log_q

    def tempered(self, kl_weight: Float[Array, ""] | float) -> Float[Array, "*k"]:
        """With the terms of the prior and of q weighted by `kl_weight`; with 1 it is `total`."""
        return self.log_likelihood + kl_weight * (self.log_prior - self.log_q)


@final
class GenerativeModel(eqx.Module):
    """p(x, z) = p(z) p(x | z): what is believed, apart from how z is inferred."""

    prior: AbstractDistribution
    decoder: Decoder

    def __check_init__(self) -> None:
        if self.prior.dim != self.decoder.latent_dim:
            raise ValueError(
                f"The prior must have the decoder's latent dimension {self.decoder.latent_dim}; "
                f"it has {self.prior.dim}; build both with the same number."
            )

    def log_joint(self, x: Vector, z: Latent, observed: Mask = None) -> Scalar:
        """log p(x_observed, z) in nats."""
        return self.decoder(z).log_prob(x, observed) + self.prior.log_prob(z)

    def log_weight(
        self,
        x: Vector,
        z: Latent,
        log_q: Scalar,
        observed: Mask = None,
        given_z: AbstractDistribution | None = None,
    ) -> LogWeight:
        """The log weight of a z whose log density under q is `log_q`; `given_z`: p(x | z), where it is at hand."""
        likelihood = self.decoder(z) if given_z is None else given_z
        return LogWeight(likelihood.log_prob(x, observed), self.prior.log_prob(z), log_q)

    def sample(self, *, key: PRNGKeyArray) -> tuple[Vector, Latent]:
        """One ancestral draw (x, z): z ~ p(z), then x ~ p(x | z)."""
        key_z, key_x = jax.random.split(key)
        z = self.prior.sample(key=key_z)
        return self.decoder(z).sample(key=key_x), z
