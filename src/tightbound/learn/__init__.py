"""How it is learnt: objectives, gradients, inference, the compiled training loop, checkpoints."""

from tightbound.learn.checkpoint import digest, from_bytes, named_arrays, to_bytes, with_arrays
from tightbound.learn.dataset import Dataset, batch_shape, binarise
from tightbound.learn.epoch import FitState, Pair, Recipe, initial_state, mean_bound
from tightbound.learn.gradients import Estimate, Pathwise
from tightbound.learn.inference import AbstractInference, Amortised
from tightbound.learn.loop import EpochRecord, FitResult, Status, fit
from tightbound.learn.objectives import ELBO, Draws, ImportanceWeighted, draw
from tightbound.learn.optimiser import Optimiser

__all__ = [
    "ELBO",
    "AbstractInference",
    "Amortised",
    "Dataset",
    "Draws",
    "EpochRecord",
    "Estimate",
    "FitResult",
    "FitState",
    "ImportanceWeighted",
    "Optimiser",
    "Pair",
    "Pathwise",
    "Recipe",
    "Status",
    "batch_shape",
    "binarise",
    "digest",
    "draw",
    "fit",
    "from_bytes",
    "initial_state",
    "mean_bound",
    "named_arrays",
    "to_bytes",
    "with_arrays",
]
