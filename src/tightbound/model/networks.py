"""Networks: maps from one vector to one vector. Any callable of that shape can stand in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
class MLP(eqx.Module):
    """Layers h <- activation(W h + b), then a linear one; with no hidden size it is a linear map.

    `residual=True` adds the layer's input wherever both sides have the same width: h <- h + activation(W h + b)
    (He et al., 2016), which trains deeper and, on the reference tasks, to better bounds in the same time.

    Example: `MLP(784, 100, (300, 300), activation="silu", residual=True, key=key)(x).shape == (100,)`.
    """

    layers: tuple[eqx.nn.Linear, ...]
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
        """Draw the weights (uniform in +-1/sqrt(fan-in); biases of hidden layers zero)."""
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(sorted(ACTIVATIONS))}; got {activation!r}; choose one of those."
            )
        sizes = [in_size, *hidden_sizes, out_size]
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(
            _linear(i, o, dtype, k) for i, o, k in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )
        self.activation = activation
        self.residual = residual

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        """Map one vector."""
        activation = ACTIVATIONS[self.activation]
        for layer in self.layers[:-1]:
            h = activation(layer(x))
            x = x + h if self.residual and h.shape == x.shape else h
        return self.layers[-1](x)


def _linear(in_size: int, out_size: int, dtype: str | None, key: PRNGKeyArray) -> eqx.nn.Linear:
    # LeCun-normal weights: unit variance stays about one through the layers, whatever the width.
    layer = eqx.nn.Linear(in_size, out_size, dtype=dtype, key=key)
    weight = jax.random.normal(key, (out_size, in_size), layer.weight.dtype) / max(in_size, 1) ** 0.5
    return eqx.tree_at(lambda a: (a.weight, a.bias), layer, (weight, jnp.zeros_like(layer.bias)))


def n_outputs(network: Network, n_inputs: int, dtype: str | None = None) -> int:
    """Length of the vector that `network` returns for a vector of `n_inputs` numbers.

    Raises `ValueError` when the network does not map one vector to one vector.
    """
    try:
        shape = eqx.filter_eval_shape(network, jax.ShapeDtypeStruct((n_inputs,), dtype or jnp.zeros(()).dtype)).shape
    except Exception as error:  # whatever a user's network raises on a vector of this length, the cause is the shape
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
