"""How far to trust it: log p(x) from both sides, the gap, the health of a fit, simple models, comparisons."""

from tightbound.evidence.annealing import annealed_evidence, information_schedule
from tightbound.evidence.automatic import METHODS, TOLERANCE, Partial, log_evidence, refined
from tightbound.evidence.bracket import Bracket, approximate_bracket, bidirectional
from tightbound.evidence.comparison import Comparison, Difference, compare
from tightbound.evidence.diagnostics import Finding, Health, History, Verdict, encoder_overfitting, examine
from tightbound.evidence.exact import exact_evidence, exact_method
from tightbound.evidence.gap import Gap, advice, decompose_gap
from tightbound.evidence.reference.made import MADE, MadeFit, fit_made, make_made
from tightbound.evidence.reference.models import Baseline, fit_baselines
from tightbound.evidence.result import (
    PER_ROW,
    Evidence,
    Kind,
    Mean,
    Method,
    Reliability,
    joined,
    khat_threshold,
    mean_over_rows,
    nothing_observed,
    pareto_khat,
)
from tightbound.evidence.rows import Latents, encode
from tightbound.evidence.weights import importance_evidence

__all__ = [
    "MADE",
    "METHODS",
    "PER_ROW",
    "TOLERANCE",
    "Baseline",
    "Bracket",
    "Comparison",
    "Difference",
    "Evidence",
    "Finding",
    "Gap",
    "Health",
    "History",
    "Kind",
    "Latents",
    "MadeFit",
    "Mean",
    "Method",
    "Partial",
    "Reliability",
    "Verdict",
    "advice",
    "annealed_evidence",
    "approximate_bracket",
    "bidirectional",
    "compare",
    "decompose_gap",
    "encode",
    "encoder_overfitting",
    "exact_evidence",
    "exact_method",
    "examine",
    "fit_baselines",
    "fit_made",
    "importance_evidence",
    "information_schedule",
    "joined",
    "khat_threshold",
    "log_evidence",
    "make_made",
    "mean_over_rows",
    "nothing_observed",
    "pareto_khat",
    "refined",
]
