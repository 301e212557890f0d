"""What is believed: distributions, networks, priors, decoders, encoders, the generative model."""

import importlib
from typing import TYPE_CHECKING, Any

from tightbound.model import axes as axes

if TYPE_CHECKING:
    from tightbound.model.names import *  # noqa: F403


def __getattr__(name: str) -> Any:
    # Fetched when the first of them is used: the registry, which help reads, must not bring JAX along.
    names = importlib.import_module("tightbound.model.names")
    if name not in names.__all__:
        raise AttributeError(f"module 'tightbound.model' has no attribute {name!r}")
    return getattr(names, name)
