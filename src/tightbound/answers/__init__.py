"""Four readings of one fitted p(x), in the user's units: impute, detect, sample given some columns, condition."""

from tightbound.answers.conditional import Conditional, condition
from tightbound.answers.detecting import Detection, Judge, anomaly_scores, detect, mixture_score
from tightbound.answers.given import Given, parse_given, sample_given
from tightbound.answers.imputing import Imputation, impute, sensitivity

__all__ = [
    "Conditional",
    "Detection",
    "Given",
    "Imputation",
    "Judge",
    "anomaly_scores",
    "condition",
    "detect",
    "impute",
    "mixture_score",
    "parse_given",
    "sample_given",
    "sensitivity",
]
