"""Encoders: q(z | x) from one network for all rows (amortised)."""

from __future__ import annotations

from typing import final

import equinox as eqx
from jaxtyping import Array, Float

from tightbound.model.distributions import AbstractDistribution, Mask, Vector
from tightbound.model.families import AbstractFamily
from tightbound.model.networks.dense import Network, check_size, dtype_of
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
        sizes = self.inputs.size, self.family.n_parameters
        needed_by = f"a {type(self.family).__name__} of dimension {self.family.dim}"
        check_size(self.network, sizes, dtype_of(self.inputs), "encoder", needed_by)

    def __call__(self, x: Vector, observed: Mask = None) -> AbstractDistribution:
        """The posterior approximation for one row (`observed` None: every cell is)."""
        return self.family(self.parameters(x, observed))

    def parameters(self, x: Vector, observed: Mask = None) -> Float[Array, " m"]:
        """The numbers that the family makes it from, (n_parameters,)."""
        return self.network(self.inputs(x, observed))
