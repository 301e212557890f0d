"""The generative model p(x, z) = p(z) p(x | z)."""

from __future__ import annotations

from typing import final

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from tightbound.model.decoders import Decoder
from tightbound.model.distributions import AbstractDistribution, Latent, Mask, Scalar, Vector


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

    def sample(self, *, key: PRNGKeyArray) -> tuple[Vector, Latent]:
        """One ancestral draw (x, z): z ~ p(z), then x ~ p(x | z)."""
        key_z, key_x = jax.random.split(key)
        z = self.prior.sample(key=key_z)
        return self.decoder(z).sample(key=key_x), z
