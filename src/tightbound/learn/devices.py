"""Where rows lie: on the one device, or shared out over all that this process has."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@functools.cache
def _mesh() -> Mesh | None:
    """All local devices (None: there is one)."""
    devices = jax.local_devices()
    return Mesh(np.array(devices), ("rows",)) if len(devices) > 1 else None


def n_devices() -> int:
    """How many of them rows are shared out over."""
    return len(jax.local_devices())


def on_devices(tree: Any) -> Any:
    """Arrays of rows on the device, or an even share of them on each where that comes out even."""
    mesh = _mesh()
    if mesh is None:
        return jax.tree.map(jnp.asarray, tree)
    even = all(len(leaf) % mesh.size == 0 for leaf in jax.tree.leaves(tree))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("rows") if even else PartitionSpec()))


def everywhere(tree: Any) -> Any:
    """The arrays of a tree on every device."""
    mesh = _mesh()
    if mesh is None:
        return tree
    arrays, rest = eqx.partition(tree, lambda leaf: isinstance(leaf, jax.Array))
    return eqx.combine(jax.device_put(arrays, NamedSharding(mesh, PartitionSpec())), rest)


def shared_out(tree: Any) -> Any:
    """Inside a program: the same rows, each device's share on it."""
    mesh = _mesh()
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec("rows")))
