"""Networks: maps from one vector to one vector. Any callable of that shape can stand in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

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
class Linear(eqx.Module):
    """x W + b, with W of shape (in_size, out_size).

    The vector stands on the left: under `vmap` the product is then the batched matrix product as it lies in memory,
    without the transposed copies that W x needs (a tenth of a training step on a CPU).
    """

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"]

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        """Map one vector."""
        return x @ self.weight + self.bias


@final
class MLP(eqx.Module):
    """Layers h <- activation(W h + b), then a linear one; with no hidden size it is a linear map.

    `residual=True` adds the layer's input wherever both sides have the same width: h <- h + activation(W h + b)
    (He et al., 2016), which trains deeper and, on the reference tasks, to better bounds in the same time.

    Example: `MLP(784, 100, (300, 300), activation="silu", residual=True, key=key)(x).shape == (100,)`.
    """

    layers: tuple[Linear, ...]
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

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        """Map one vector."""
        activation = ACTIVATIONS[self.activation]
        for layer in self.layers[:-1]:
            h = activation(layer(x))
            x = x + h if self.residual and h.shape == x.shape else h
        return self.layers[-1](x)


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
