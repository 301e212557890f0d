"""Encoders: q(z | x) from one network for all rows (amortised)."""

from __future__ import annotations

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tightbound.model.distributions import AbstractDistribution, Mask, Vector
from tightbound.model.families import AbstractFamily
from tightbound.model.networks import Network, n_outputs


@final
class Encoder(eqx.Module):
    """q(z | x_observed) = family(network([x - center, observed])).

    Missing cells enter as zero after centring, that is, as the column's mean. With `mask_input` the network also sees
    which cells are observed, so that "average" and "unknown" differ.

    Raises `ValueError` when the network's output does not have the family's number of parameters.
    """

    network: Network
    family: AbstractFamily
    center: Float[Array, " d"]
    mask_input: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        n_inputs = self.center.shape[0] * (2 if self.mask_input else 1)
        given = n_outputs(self.network, n_inputs, self.center.dtype.name)
        if given != self.family.n_parameters:
            raise ValueError(
                f"The encoder's network must return {self.family.n_parameters} numbers for a "
                f"{type(self.family).__name__} of dimension {self.family.dim}; it returned {given}; "
                "change the size of its last layer."
            )

    def __call__(self, x: Vector, observed: Mask = None) -> AbstractDistribution:
        """The posterior approximation for one row (`observed` None: every cell is)."""
        return self.family(self.parameters(x, observed))

    def parameters(self, x: Vector, observed: Mask = None) -> Float[Array, " m"]:
        """The numbers that the family makes it from, (n_parameters,)."""
        h = x - jax.lax.stop_gradient(self.center)
        seen = jnp.ones(x.shape, bool) if observed is None else observed
        h = jnp.where(seen, h, 0) if observed is not None else h
        if self.mask_input:
            h = jnp.concatenate([h, seen.astype(h.dtype)])
        return self.network(h)
