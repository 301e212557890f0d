"""How far to trust it: log p(x) estimates with errors, and the state of the latent space."""

from tightbound.evidence.importance import importance_evidence
from tightbound.evidence.latents import Latents, encode
from tightbound.evidence.pareto import khat_threshold, pareto_khat
from tightbound.evidence.result import Evidence, Mean, Reliability

__all__ = [
    "Evidence",
    "Latents",
    "Mean",
    "Reliability",
    "encode",
    "importance_evidence",
    "khat_threshold",
    "pareto_khat",
]
