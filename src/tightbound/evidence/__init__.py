"""How far to trust it: log p(x) estimates with errors, the latent space, and baselines with an exact likelihood."""

from tightbound.evidence.annealing import annealed_evidence, information_schedule
from tightbound.evidence.automatic import METHODS, TOLERANCE, Partial, log_evidence, refined
from tightbound.evidence.bracket import Bracket, approximate_bracket, bidirectional
from tightbound.evidence.exact import exact_evidence, exact_method
from tightbound.evidence.gap import Gap, advice, decompose_gap
from tightbound.evidence.importance import importance_evidence
from tightbound.evidence.latents import Latents, encode
from tightbound.evidence.made import MADE, BernoulliCells, GaussianCells, MadeFit, fit_made, make_made
from tightbound.evidence.pareto import khat_threshold, pareto_khat
from tightbound.evidence.result import Evidence, Kind, Mean, Method, Reliability

__all__ = [
    "MADE",
    "METHODS",
    "TOLERANCE",
    "BernoulliCells",
    "Bracket",
    "Evidence",
    "Gap",
    "GaussianCells",
    "Kind",
    "Latents",
    "MadeFit",
    "Mean",
    "Method",
    "Partial",
    "Reliability",
    "advice",
    "annealed_evidence",
    "approximate_bracket",
    "bidirectional",
    "decompose_gap",
    "encode",
    "exact_evidence",
    "exact_method",
    "fit_made",
    "importance_evidence",
    "information_schedule",
    "khat_threshold",
    "log_evidence",
    "make_made",
    "pareto_khat",
    "refined",
]
