"""Encoders: q(z | x) from one network for all rows (amortised)."""

from __future__ import annotations

from typing import final

import equinox as eqx
import jax
from jaxtyping import Array, Float

from tightbound.model.distributions import AbstractDistribution, Mask, Vector
from tightbound.model.families import AbstractFamily
from tightbound.model.networks.dense import Network, n_outputs
from tightbound.model.networks.inputs import AbstractInputs


@final
class Encoder(eqx.Module):
    """q(z | x_observed) = family(network(inputs(x, observed))).

    Raises `ValueError` when the network's output does not have the family's number of parameters.
    """

    network: Network
    family: AbstractFamily
    inputs: AbstractInputs

    def __check_init__(self) -> None:
        dtypes = [a.dtype.name for a in jax.tree.leaves(self.inputs) if eqx.is_inexact_array(a)]
        given = n_outputs(self.network, self.inputs.size, dtypes[0] if dtypes else None)
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
        return self.network(self.inputs(x, observed))
