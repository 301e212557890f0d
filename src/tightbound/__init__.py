"""Variational autoencoders whose likelihoods can be trusted: fit, sample, encode, score; in nats, with errors."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tightbound.answers import Conditional, Detection, Imputation
    from tightbound.estimator import VAE, VAEImputer, VAEOutlierDetector, load
    from tightbound.evidence import Evidence, Reliability, compare
    from tightbound.examination import Examination

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "Conditional",
    "Detection",
    "Evidence",
    "Examination",
    "Imputation",
    "Reliability",
    "VAEImputer",
    "VAEOutlierDetector",
    "__version__",
    "compare",
    "load",
]

_HOMES = {
    "VAE": "tightbound.estimator",
    "VAEImputer": "tightbound.estimator",
    "VAEOutlierDetector": "tightbound.estimator",
    "Conditional": "tightbound.answers",
    "Detection": "tightbound.answers",
    "Imputation": "tightbound.answers",
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
