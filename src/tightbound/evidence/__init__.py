"""How far to trust it: log p(x) estimates with errors, the latent space, and baselines with an exact likelihood."""

from tightbound.evidence.baselines import MADE, BernoulliCells, GaussianCells, MadeFit, fit_made, make_made
from tightbound.evidence.importance import importance_evidence
from tightbound.evidence.latents import Latents, encode
from tightbound.evidence.pareto import khat_threshold, pareto_khat
from tightbound.evidence.result import Evidence, Mean, Reliability

__all__ = [
    "MADE",
    "BernoulliCells",
    "Evidence",
    "GaussianCells",
    "Latents",
    "MadeFit",
    "Mean",
    "Reliability",
    "encode",
    "fit_made",
    "importance_evidence",
    "khat_threshold",
    "make_made",
    "pareto_khat",
]
