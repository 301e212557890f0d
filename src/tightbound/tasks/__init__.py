"""What one fitted p(x) answers: draws of missing cells, distributions of columns, anomalous cells, p-values of rows."""

from tightbound.tasks.conditional_cells import ConditionalCells, conditional_cells, level_probabilities
from tightbound.tasks.conformal import benjamini_hochberg, conformal_p_values, count_as_low, log_place
from tightbound.tasks.constraints import Constraints, Interval, OneOf
from tightbound.tasks.draws import ConditionalDraws, conditional_draws
from tightbound.tasks.row_scores import likelihood_regret, reconstruction, typicality

__all__ = [
    "ConditionalCells",
    "ConditionalDraws",
    "Constraints",
    "Interval",
    "OneOf",
    "benjamini_hochberg",
    "conditional_cells",
    "conditional_draws",
    "conformal_p_values",
    "count_as_low",
    "level_probabilities",
    "likelihood_regret",
    "log_place",
    "reconstruction",
    "typicality",
]
