"""Variational autoencoders whose likelihoods can be trusted: fit, sample, encode, score; in nats, with errors."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tightbound.estimator import VAE, load
    from tightbound.evidence import Evidence, Reliability, compare
    from tightbound.examination import Examination

__version__ = "0.1.0"

__all__ = ["VAE", "Evidence", "Examination", "Reliability", "__version__", "compare", "load"]

_HOMES = {
    "VAE": "tightbound.estimator",
    "load": "tightbound.estimator",
    "Evidence": "tightbound.evidence",
    "Examination": "tightbound.examination",
    "Reliability": "tightbound.evidence",
    "compare": "tightbound.evidence",
}


def __getattr__(name: str) -> Any:
    # Names are fetched when they are first used, so that importing the package (and --help) takes no time.
    if name not in _HOMES:
        raise AttributeError(f"module 'tightbound' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
