"""The families of distributions that can describe each kind of column."""

from tightbound.data.types.column import Kind

LINE = ("normal_scores", "gaussian", "student_t", "gaussian_mixture", "logistic_mixture")
ABOVE = (*LINE, "log_normal", "gamma")
COUNTS = (
    "poisson",
    "negative_binomial",
    "zero_inflated_poisson",
    "zero_inflated_negative_binomial",
    "hurdle_poisson",
    "hurdle_negative_binomial",
)
FAMILIES: dict[Kind, tuple[str, ...]] = {
    Kind.REAL: LINE,
    Kind.DATETIME: LINE,
    Kind.POSITIVE: ABOVE,
    Kind.BOUNDED: (*LINE, "beta"),
    Kind.COUNT: (*COUNTS, *ABOVE),
    Kind.ORDINAL: ("cumulative_logit", "categorical"),
    Kind.CATEGORICAL: ("categorical",),
    Kind.BINARY: ("bernoulli", "categorical"),
}
"""The families that can describe a kind, the usual one first where it does not depend on the values."""
