"""Variational autoencoders whose likelihoods can be trusted: fit, sample, encode, score; in nats, with errors."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tightbound.estimator.compiler import use_cache
    from tightbound.estimator.detection import Detection
    from tightbound.estimator.detector import VAEOutlierDetector
    from tightbound.estimator.evaluation import Evaluation
    from tightbound.estimator.given import Conditional
    from tightbound.estimator.imputation import Imputation
    from tightbound.estimator.imputer import VAEImputer
    from tightbound.estimator.loading import load
    from tightbound.estimator.vae import VAE
    from tightbound.evidence import Evidence, Reliability, compare
    from tightbound.model.axes import gradients, inference, likelihoods, networks, objectives, posteriors, priors

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "Conditional",
    "Detection",
    "Evaluation",
    "Evidence",
    "Imputation",
    "Reliability",
    "VAEImputer",
    "VAEOutlierDetector",
    "__version__",
    "compare",
    "gradients",
    "inference",
    "likelihoods",
    "load",
    "networks",
    "objectives",
    "posteriors",
    "priors",
    "use_cache",
]

_HOMES = {
    "VAE": "tightbound.estimator.vae",
    "VAEImputer": "tightbound.estimator.imputer",
    "VAEOutlierDetector": "tightbound.estimator.detector",
    "Conditional": "tightbound.estimator.given",
    "Detection": "tightbound.estimator.detection",
    "Imputation": "tightbound.estimator.imputation",
    "load": "tightbound.estimator.loading",
    "Evidence": "tightbound.evidence",
    "Evaluation": "tightbound.estimator.evaluation",
    "Reliability": "tightbound.evidence",
    "compare": "tightbound.evidence",
    "use_cache": "tightbound.estimator.compiler",
    **dict.fromkeys(
        ("gradients", "inference", "likelihoods", "networks", "objectives", "posteriors", "priors"),
        "tightbound.model.axes",
    ),
}


def __getattr__(name: str) -> Any:
    # Names are fetched when they are first used, so that importing the package (and --help) takes no time.
    if name not in _HOMES:
        raise AttributeError(f"module 'tightbound' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
