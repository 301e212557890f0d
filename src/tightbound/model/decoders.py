"""Decoders: p(x | z), a network followed by a head that turns its output into a distribution."""

from typing import final

import equinox as eqx

from tightbound.model.distributions import AbstractDistribution, Latent
from tightbound.model.likelihoods.heads import AbstractHead
from tightbound.model.networks.dense import Network, dtype_of


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
