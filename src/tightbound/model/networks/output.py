"""The output layer: the last step of a network, apart from the rest so that a likelihood can say where it begins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike


class AbstractOutput(eqx.Module):
    """A map from a network's features to the numbers that a distribution is made of."""

    @abstractmethod
    def constant(self) -> Float[Array, " o"]:
        """What it returns whatever the features are: its bias."""

    @abstractmethod
    def __call__(self, h: Float[Array, " i"]) -> Float[Array, " o"]:
        """Map one vector."""

    @abstractmethod
    def begun(self, gain: ArrayLike, bias: ArrayLike) -> AbstractOutput:
        """The layer that begins at gain * (what it is without its bias) + bias, both (o,)."""


@final
class Linear(AbstractOutput):
    """x W + b, with W of shape (in_size, out_size).

    The vector stands on the left: under `vmap` the product is then the batched matrix product as it lies in memory,
    without the transposed copies that W x needs (a tenth of a training step on a CPU).
    """

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"]

    def constant(self) -> Float[Array, " o"]:
        """b."""
        return self.bias

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        """Map one vector."""
        return x @ self.weight + self.bias

    def begun(self, gain: ArrayLike, bias: ArrayLike) -> Linear:
        """W times gain, and the bias."""
        factor, dtype = np.asarray(gain), self.weight.dtype
        weight = jnp.where(factor == 0, 0, self.weight * jnp.asarray(factor, dtype)[None, :])
        return Linear(weight, jnp.asarray(bias, dtype))


@final
class ElementwiseAffine(AbstractOutput):
    """gain h + bias, number by number: behind a network that has a last layer of its own, of any form."""

    gain: Float[Array, " o"]
    bias: Float[Array, " o"]

    def constant(self) -> Float[Array, " o"]:
        """The bias."""
        return self.bias

    def __call__(self, h: Float[Array, " o"]) -> Float[Array, " o"]:
        """Scale and shift."""
        return self.gain * h + self.bias

    def begun(self, gain: ArrayLike, bias: ArrayLike) -> ElementwiseAffine:
        """These."""
        return ElementwiseAffine(jnp.asarray(gain, self.gain.dtype), jnp.asarray(bias, self.bias.dtype))


@final
class PartlyConstant(AbstractOutput):
    """A layer whose outputs `at` do not depend on its input: they are its bias alone."""

    layer: AbstractOutput
    at: tuple[int, ...] = eqx.field(static=True)

    def constant(self) -> Float[Array, " o"]:
        """The layer's."""
        return self.layer.constant()

    def __call__(self, h: Float[Array, " i"]) -> Float[Array, " o"]:
        """Map one vector."""
        fixed = np.array(self.at, int)
        return self.layer(h).at[fixed].set(self.constant()[fixed])

    def begun(self, gain: ArrayLike, bias: ArrayLike) -> PartlyConstant:
        """With the layer that begins there."""
        return PartlyConstant(self.layer.begun(gain, bias), self.at)


class AbstractNetwork(eqx.Module):
    """A network with an output layer: output(features(x)), for one vector x."""

    @property
    @abstractmethod
    def output(self) -> AbstractOutput:
        """The output layer."""

    @abstractmethod
    def features(self, x: Float[Array, " i"]) -> Float[Array, " h"]:
        """What the output layer sees."""

    @abstractmethod
    def with_output(self, output: AbstractOutput) -> AbstractNetwork:
        """The network with another output layer."""

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        """Map one vector."""
        return self.output(self.features(x))


@final
class Trunk(AbstractNetwork):
    """Any map from one vector to another, such as a user's convolutions, with an output layer behind it."""

    network: Callable[[Any], Any]
    last: AbstractOutput

    @property
    def output(self) -> AbstractOutput:
        """The layer behind it."""
        return self.last

    def features(self, x: Float[Array, " i"]) -> Float[Array, " h"]:
        """What the map makes of x."""
        features: Array = self.network(x)
        return features

    def with_output(self, output: AbstractOutput) -> Trunk:
        """The same map before another layer."""
        return Trunk(self.network, output)


def with_output_layer(network: Any, n_outputs: int, dtype: str | None) -> AbstractNetwork:
    """The network itself where it has an output layer, else with an `ElementwiseAffine` one that is the identity."""
    if isinstance(network, AbstractNetwork):
        return network
    return Trunk(network, ElementwiseAffine(jnp.ones(n_outputs, dtype), jnp.zeros(n_outputs, dtype)))
