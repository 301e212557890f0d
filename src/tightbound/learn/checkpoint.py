"""Unfinished work as bytes: safetensors, with words in the header. Writing them to disk is the caller's business."""

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

_FORMAT = "tightbound checkpoint 3"


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


def packed(arrays: dict[str, np.ndarray], identity: str, **words: str) -> bytes:
    """Arrays and words as bytes; `identity` says which work they belong to."""
    header = {"format": _FORMAT, "identity": identity, "digest": digest(arrays), **words}
    return save(arrays, metadata=header)


def unpacked(data: bytes, identity: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and words of `packed`.

    Raises `ValueError` for bytes that are no checkpoint, are damaged, or belong to other work.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        header: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
        arrays = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"it is no checkpoint or is damaged ({error})") from error
    if header.get("format") != _FORMAT:
        raise ValueError(f"its format must be {_FORMAT!r}; it is {header.get('format')!r}")
    if header.get("digest") != digest(arrays):
        raise ValueError("it is damaged (its numbers do not have the digest that was written with them)")
    if header.get("identity") != identity:
        raise ValueError("it belongs to other data or other settings")
    return arrays, header


def to_bytes(state: FitState, history: tuple[EpochRecord, ...], identity: str) -> bytes:
    """The state and the history of a fit; `identity` identifies the data and the settings they belong to."""
    records = json.dumps([dataclasses.astuple(record) for record in history])
    return packed(named_arrays(state), identity, history=records)


def from_bytes(data: bytes, template: FitState, identity: str) -> tuple[FitState, tuple[EpochRecord, ...]]:
    """The inverse of `to_bytes`, with its errors and those of `with_arrays`."""
    arrays, words = unpacked(data, identity)
    try:
        history = tuple(EpochRecord(*record) for record in json.loads(words["history"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"it is no checkpoint or is damaged ({error})") from error
    return with_arrays(template, arrays), history


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of all arrays and their names, so that a damaged file is not mistaken for a whole one."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(name.encode())
        total.update(np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()
