"""Ways of inference: how the variational parameters of a row are found."""

from abc import abstractmethod
from typing import final

import equinox as eqx

from tightbound.model import AbstractDistribution, Encoder
from tightbound.model.distributions import Mask, Vector


class AbstractInference(eqx.Module):
    """From a row to its q(z | x)."""

    @property
    @abstractmethod
    def distribution(self) -> type[AbstractDistribution]:
        """The type of q that this returns."""

    @abstractmethod
    def __call__(self, x: Vector, observed: Mask = None) -> AbstractDistribution:
        """The posterior approximation of one row."""


@final
class Amortised(AbstractInference):
    """One network for all rows.

    Source: Kingma and Welling (2014); Gershman and Goodman (2014) for the name.
    """

    encoder: Encoder

    @property
    def distribution(self) -> type[AbstractDistribution]:
        """The family's distribution."""
        return self.encoder.family.distribution

    def __call__(self, x: Vector, observed: Mask = None) -> AbstractDistribution:
        """The encoder's answer."""
        return self.encoder(x, observed)
