"""Where rows lie: on the one device, or shared out over all that this process has."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@functools.cache
def _shared_out() -> NamedSharding | None:
    """The first axis over all local devices (None: there is one)."""
    devices = jax.local_devices()
    return NamedSharding(Mesh(np.array(devices), ("rows",)), PartitionSpec("rows")) if len(devices) > 1 else None


def n_devices() -> int:
    """How many of them rows are shared out over."""
    return len(jax.local_devices())


def on_devices(tree: Any) -> Any:
    """Arrays of rows on the device, or an even share of them on each; a program given them shares out its work."""
    rows = _shared_out()
    return jax.tree.map(jnp.asarray if rows is None else lambda a: jax.device_put(a, rows), tree)


def shared_out(tree: Any) -> Any:
    """Inside a program: the same rows, each device's share on it."""
    rows = _shared_out()
    return tree if rows is None else jax.tree.map(lambda a: jax.lax.with_sharding_constraint(a, rows), tree)
