"""Unfinished work as bytes: safetensors, with words in the header. Writing them to disk is the caller's business."""

import dataclasses
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tightbound.learn.loop import EpochRecord
from tightbound.learn.state import FitState
from tightbound.model import strict_json

_FORMAT = "tightbound checkpoint 4"


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by path, such as `p.decoder.network.layers[0].weight`."""
    return {jax.tree_util.keystr(path).lstrip("."): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def named_arrays(tree: Any) -> dict[str, np.ndarray]:
    """The same, as NumPy's arrays."""
    return {name: np.asarray(leaf) for name, leaf in named_leaves(tree).items()}


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
    """Arrays and words as bytes; `identity` says which work they belong to, a digest of all that they are whole."""
    from tightbound import __version__

    words = {"format": _FORMAT, "version": __version__, "identity": identity, **words}
    return save(arrays, metadata={**words, "digest": _digest_of_all(arrays, words)})


def unpacked(data: bytes, identity: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and words of `packed`.

    Raises `ValueError` for bytes that are no checkpoint, are damaged, or belong to other work or another version.
    """
    from tightbound import __version__

    try:
        words = header_of(data)["__metadata__"]
        arrays = load(data)
        known = words.pop("digest")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no checkpoint or is damaged ({error})") from error
    if words.get("format") != _FORMAT:
        raise ValueError(f"its format must be {_FORMAT!r}; it is {words.get('format')!r}")
    if known != _digest_of_all(arrays, words):
        raise ValueError("it is damaged (its contents do not have the digest that was written with them)")
    if words["version"] != __version__:
        raise ValueError(f"tightbound {words['version']} wrote it, and this is {__version__}")
    if words["identity"] != identity:
        raise ValueError("it belongs to other data or other settings")
    return arrays, words


def header_of(data: bytes) -> dict[str, Any]:
    """What a file of arrays says of itself: their types and shapes by name, and words under `__metadata__`."""
    length = int.from_bytes(data[:8], "little")
    header = strict_json.loads(data[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("its header is no mapping")
    return header


def _digest_of_all(arrays: dict[str, np.ndarray], words: dict[str, str]) -> str:
    return strict_json.digest([words, digest(arrays)])


def to_bytes(state: FitState, history: tuple[EpochRecord, ...], identity: str) -> bytes:
    """The state and the history of a fit; `identity` identifies the data and the settings they belong to."""
    records = strict_json.dumps([dataclasses.astuple(record) for record in history])
    return packed(named_arrays(state), identity, history=records)


def from_bytes(data: bytes, template: FitState, identity: str) -> tuple[FitState, tuple[EpochRecord, ...]]:
    """The inverse of `to_bytes`, with its errors and those of `with_arrays`."""
    arrays, words = unpacked(data, identity)
    try:
        history = tuple(EpochRecord(*record) for record in strict_json.loads(words["history"]))
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
