"""Networks: maps from one vector to one vector, whose last step, the output layer, stands apart from the rest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
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


Network = Callable[[Float[Array, " i"]], Float[Array, " o"]]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
}


@final
class MLP(AbstractNetwork):
    """Layers h <- activation(W h + b), then a linear one; with no hidden size it is a linear map.

    `residual=True` adds the layer's input wherever both sides have the same width: h <- h + activation(W h + b)
    (He et al., 2016), which trains deeper and, on the reference tasks, to better bounds in the same time.

    Example: `MLP(784, 100, (300, 300), activation="silu", residual=True, key=key)(x).shape == (100,)`.
    """

    layers: tuple[Any, ...]
    """Linear ones; the last may be any output layer."""
    activation: str = eqx.field(static=True)
    residual: bool = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        hidden_sizes: Sequence[int],
        *,
        activation: str = "silu",
        residual: bool = True,
        dtype: str | None = None,
        key: PRNGKeyArray,
    ):
        """Draw the weights: Gaussian with variance 1/fan-in (LeCun et al., 1998); biases are zero."""
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(sorted(ACTIVATIONS))}; got {activation!r}; choose one of those."
            )
        weights = _weights((in_size, *map(int, hidden_sizes), out_size), dtype, key=key)
        self.layers = tuple(Linear(*each) for each in weights)
        self.activation = activation
        self.residual = residual

    @property
    def output(self) -> AbstractOutput:
        """The last layer."""
        return self.layers[-1]

    def features(self, x: Float[Array, " i"]) -> Float[Array, " h"]:
        """What the hidden layers make of x."""
        activation = ACTIVATIONS[self.activation]
        for layer in self.layers[:-1]:
            h = activation(layer(x))
            x = x + h if self.residual and h.shape == x.shape else h
        return x

    def with_output(self, output: AbstractOutput) -> MLP:
        """The same hidden layers before another one."""
        changed: MLP = eqx.tree_at(lambda a: a.layers[-1], self, output)
        return changed


@partial(jax.jit, static_argnames=("sizes", "dtype"))
def _weights(sizes: tuple[int, ...], dtype: str | None, *, key: PRNGKeyArray) -> list[tuple[Array, Array]]:
    # One program for all layers: each by itself would take a tenth of a second to compile.
    shapes = list(pairwise(sizes))
    keys = jax.random.split(key, len(shapes))
    weights = [
        jax.random.normal(k, shape, dtype) / max(shape[0], 1) ** 0.5 for k, shape in zip(keys, shapes, strict=True)
    ]
    return [(weight, jnp.zeros(weight.shape[1], weight.dtype)) for weight in weights]


def n_outputs(network: Network, n_inputs: int, dtype: str | None = None) -> int:
    """Length of the vector that `network` returns for a vector of `n_inputs` numbers.

    Raises `ValueError` when the network does not map one vector to one vector.
    """
    try:
        shape = eqx.filter_eval_shape(network, jax.ShapeDtypeStruct((n_inputs,), dtype or jnp.zeros(()).dtype)).shape
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(
            f"A network must map one vector of {n_inputs} numbers to one vector; it failed with "
            f"{type(error).__name__}: {error}; check the input size of its first layer."
        ) from error
    if len(shape) != 1:
        raise ValueError(
            f"A network must map one vector to one vector; it returned an array of shape {shape}; "
            "write it for a single row (batches are made by vmap)."
        )
    return int(shape[0])


def check_size(network: Network, sizes: tuple[int, int], dtype: str | None, whose: str, needed_by: str) -> None:
    """Refuse (`ValueError`) a network that does not map `sizes[0]` numbers to `sizes[1]`."""
    given = n_outputs(network, sizes[0], dtype)
    if given != sizes[1]:
        raise ValueError(
            f"The {whose}'s network must return {sizes[1]} numbers for {needed_by}; it returned {given}; change the "
            "size of its last layer."
        )


def dtype_of(tree: Any) -> str | None:
    """The precision of the first floating-point array in it; None where there is none."""
    dtypes = [a.dtype.name for a in jax.tree.leaves(tree) if eqx.is_inexact_array(a)]
    return dtypes[0] if dtypes else None
