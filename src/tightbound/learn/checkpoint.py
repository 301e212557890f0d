"""A fit's state as bytes: safetensors with the history in its header. Writing them to disk is the caller's business."""

import dataclasses
import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tightbound.learn.loop import EpochRecord
from tightbound.learn.state import FitState

_FORMAT = "tightbound checkpoint 2"


def named_arrays(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree by path, such as `p.decoder.network.layers[0].weight`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path).lstrip("."): np.asarray(leaf) for path, leaf in leaves}


def with_arrays(template: Any, arrays: dict[str, np.ndarray]) -> Any:
    """`template` with its arrays replaced by those with the same path.

    Raises `ValueError` that names the first array that is missing, superfluous, or of another shape or type.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(template)
    names = [jax.tree_util.keystr(path).lstrip(".") for path, _ in leaves]
    for name in sorted(set(names) ^ set(arrays)):
        raise ValueError(f"array {name} {'is missing' if name in names else 'does not belong to this model'}")
    for name, (_, leaf) in zip(names, leaves, strict=True):
        found = arrays[name]
        if found.shape != leaf.shape or found.dtype != leaf.dtype:
            raise ValueError(
                f"array {name} must be {leaf.dtype} of shape {leaf.shape}; found {found.dtype} of shape {found.shape}"
            )
    return jax.tree_util.tree_unflatten(treedef, [jnp.asarray(arrays[name]) for name in names])


def to_bytes(state: FitState, history: tuple[EpochRecord, ...], fingerprint: str) -> bytes:
    """The state and the history; `fingerprint` identifies the data and the settings they belong to."""
    arrays = named_arrays(state)
    header = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "history": json.dumps([dataclasses.astuple(record) for record in history]),
        "digest": digest(arrays),
    }
    return save(arrays, metadata=header)


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of all arrays and their names, so that a damaged file is not mistaken for a whole one."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(name.encode())
        total.update(np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()


def from_bytes(data: bytes, template: FitState, fingerprint: str) -> tuple[FitState, tuple[EpochRecord, ...]]:
    """The inverse of `to_bytes`.

    Raises `ValueError` for bytes that are no checkpoint, are damaged, or belong to other data or settings.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])["__metadata__"]
        arrays = load(data)
        history = tuple(EpochRecord(*record) for record in json.loads(header["history"]))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"it is no checkpoint or is damaged ({error})") from error
    if header.get("format") != _FORMAT:
        raise ValueError(f"its format must be {_FORMAT!r}; it is {header.get('format')!r}")
    if header.get("digest") != digest(arrays):
        raise ValueError("it is damaged (its numbers do not have the digest that was written with them)")
    if header.get("fingerprint") != fingerprint:
        raise ValueError("it belongs to other data or other settings")
    return with_arrays(template, arrays), history
