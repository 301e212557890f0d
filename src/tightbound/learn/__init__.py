"""How it is learnt: objectives, gradients, inference, the compiled training loop, checkpoints."""

from tightbound.learn.checkpoint import digest, from_bytes, named_arrays, packed, to_bytes, unpacked, with_arrays
from tightbound.learn.dataset import Dataset
from tightbound.learn.epoch import mean_bound, mutual_information
from tightbound.learn.gradients.control_variates import LearnedBaseline, LeaveOneOut, MovingAverage, NoBaseline
from tightbound.learn.gradients.pathwise import (
    AbstractGradient,
    DoublyReparameterised,
    Estimate,
    MaximumLikelihood,
    Pathwise,
    Problem,
    Resampled,
    StickingTheLanding,
)
from tightbound.learn.gradients.score_function import (
    DisArm,
    Enumeration,
    GumbelSoftmax,
    ReweightedWakeSleep,
    ScoreFunction,
    Vimco,
)
from tightbound.learn.inference.closed_form import (
    check_linear_gaussian,
    exact_posterior,
    plain_prior,
)
from tightbound.learn.inference.members import (
    CONVERGED,
    AbstractInference,
    Amortised,
    Exact,
    NoInference,
    PerDatum,
    SemiAmortised,
    make_inference,
)
from tightbound.learn.inference.refinement import Refined, Refinement
from tightbound.learn.legality import check_pair
from tightbound.learn.loop import EpochRecord, FitResult, Status, fit
from tightbound.learn.objectives import (
    ELBO,
    AbstractObjective,
    CombinedImportanceWeighted,
    Draws,
    ImportanceWeighted,
    PartiallyImportanceWeighted,
    Renyi,
    draw,
)
from tightbound.learn.optimiser import Optimiser
from tightbound.learn.regularisers import (
    AbstractRegulariser,
    Capacity,
    FreeBits,
    MaximumMeanDiscrepancy,
    TotalCorrelation,
)
from tightbound.learn.schedules import Schedule
from tightbound.learn.source import AbstractSource, Stored, View, batch_shape, binarise
from tightbound.learn.sparse import sparse_rows
from tightbound.learn.state import FitState, Pair, TrainingConfig, initial_state, tied

__all__ = [
    "CONVERGED",
    "ELBO",
    "AbstractGradient",
    "AbstractInference",
    "AbstractObjective",
    "AbstractRegulariser",
    "AbstractSource",
    "Amortised",
    "Capacity",
    "CombinedImportanceWeighted",
    "Dataset",
    "DisArm",
    "DoublyReparameterised",
    "Draws",
    "Enumeration",
    "EpochRecord",
    "Estimate",
    "Exact",
    "FitResult",
    "FitState",
    "FreeBits",
    "GumbelSoftmax",
    "ImportanceWeighted",
    "LearnedBaseline",
    "LeaveOneOut",
    "MaximumLikelihood",
    "MaximumMeanDiscrepancy",
    "MovingAverage",
    "NoBaseline",
    "NoInference",
    "Optimiser",
    "Pair",
    "PartiallyImportanceWeighted",
    "Pathwise",
    "PerDatum",
    "Problem",
    "Refined",
    "Refinement",
    "Renyi",
    "Resampled",
    "ReweightedWakeSleep",
    "Schedule",
    "ScoreFunction",
    "SemiAmortised",
    "Status",
    "StickingTheLanding",
    "Stored",
    "TotalCorrelation",
    "TrainingConfig",
    "View",
    "Vimco",
    "batch_shape",
    "binarise",
    "check_linear_gaussian",
    "check_pair",
    "digest",
    "draw",
    "exact_posterior",
    "fit",
    "from_bytes",
    "initial_state",
    "make_inference",
    "mean_bound",
    "mutual_information",
    "named_arrays",
    "packed",
    "plain_prior",
    "sparse_rows",
    "tied",
    "to_bytes",
    "unpacked",
    "with_arrays",
]
