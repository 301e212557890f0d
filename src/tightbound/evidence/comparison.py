"""Models compared on the same rows: paired differences of log p(x), and how far they can be told apart."""

import dataclasses
import enum
import html
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tightbound.evidence.result import Evidence, Mean, check_same, mean_over_rows

Numbers = NDArray[np.float64]

CLEAR = 2.0
"""A difference counts from so many of its errors on: about 19 times in 20 it then lies on the side that it seems to."""
WIDEST_NAME = 30
ROWS_NAMED = 5


class Significance(enum.Enum):
    """What a difference of two means says; the values are sentences."""

    CLEAR = "The difference is clear: more than 2 of its standard errors and 2 of its Monte Carlo errors."
    ESTIMATES = (
        "The difference is within the estimators' own uncertainty (2 Monte Carlo errors): use more importance samples."
    )
    ROWS = "The difference is within the sampling error of the rows (2 paired standard errors): score more rows."
    NOT_FINITE = "A row has no finite log p(x) under one of the two: look at that row before comparing means."
    SAME = "This is the reference itself."


_SHORT = {
    Significance.CLEAR: "clear",
    Significance.ESTIMATES: "within the estimates' error",
    Significance.ROWS: "within the rows' error",
    Significance.NOT_FINITE: "rows without density",
    Significance.SAME: "reference",
}


@final
@dataclasses.dataclass(frozen=True)
class Difference:
    """Mean over rows of log p_model(x) - log p_reference(x), nats a row."""

    name: str
    reference: str
    value: float
    """Above 0 where the model explains the rows better than the reference; -inf or inf where one has no density."""
    standard_error: float
    """Paired: sd of the rows' differences / sqrt(n); NaN for one row."""
    monte_carlo_error: float
    """Of the mean of the differences, whose errors are those of both models; rows that are equal share theirs."""
    verdict: Significance

    def __str__(self) -> str:
        return (
            f"{self.name} - {self.reference}: {self.value:+.3f} ± {self.standard_error:.3f} nats a row "
            f"(Monte Carlo error {self.monte_carlo_error:.4f}). {self.verdict.value}"
        )


@final
@dataclasses.dataclass(frozen=True, repr=False)
class Comparison:
    """log p(x) of the same n rows under m models, in nats; made by `compare`, which checks them."""

    names: tuple[str, ...]
    """(m,) of the models."""
    log_evidence: Numbers
    """(m, n) exact values or estimates; NaN or infinite where a model gives a row no density."""
    standard_error: Numbers
    """(m, n) their Monte Carlo errors; 0 where exact."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.log_evidence.shape[1]

    @property
    def n_not_finite(self) -> NDArray[np.int64]:
        """(m,) how many rows have no finite log p(x) under each model."""
        return np.sum(~np.isfinite(self.log_evidence), axis=1)

    @property
    def means(self) -> tuple[Mean, ...]:
        """(m,) mean of each model with both of its errors, nats a row; -inf, errors NaN, where a row is not finite."""
        return tuple(self.mean(name) for name in self.names)

    @property
    def best(self) -> int:
        """Place of the model with the greatest mean; the first of several."""
        return int(np.argmax([mean.value for mean in self.means]))

    def mean(self, name: str) -> Mean:
        """Mean of one model over all rows with both of its errors, nats a row; -inf where a row is not finite."""
        values, errors = self._row(name)
        if not np.isfinite(values).all():
            return Mean(-np.inf, np.nan, np.nan, self.n_rows)
        return mean_over_rows(values, errors)

    def rows_not_finite(self, name: str) -> NDArray[np.intp]:
        """Which rows have no finite log p(x) under this model."""
        return np.flatnonzero(~np.isfinite(self._row(name)[0]))

    def difference(self, name: str, reference: str | None = None) -> Difference:
        """Paired difference of the means of `name` and `reference` (None: the best model), with its verdict.

        The paired error is far below those of the two means where both find the same rows hard.
        """
        against = self.names[self.best] if reference is None else reference
        (values, errors), (others, other_errors) = self._row(name), self._row(against)
        if name == against:
            return Difference(name, against, 0.0, 0.0, 0.0, Significance.SAME)
        if not (np.isfinite(values).all() and np.isfinite(others).all()):
            value = _of_not_finite(np.isfinite(values).all(), np.isfinite(others).all())
            return Difference(name, against, value, np.nan, np.nan, Significance.NOT_FINITE)
        gap = mean_over_rows(values - others, np.hypot(errors, other_errors), values)
        numbers = (gap.value, gap.standard_error, gap.monte_carlo_error)
        return Difference(name, against, *numbers, _verdict(*numbers))

    def differences(self, reference: str | None = None) -> tuple[Difference, ...]:
        """(m,) `difference` of each model to the reference (None: the best)."""
        return tuple(self.difference(name, reference) for name in self.names)

    def warning(self, model: str, baselines: Sequence[str] | None = None) -> str | None:
        """One sentence if a simple baseline explains the rows clearly better than `model`; None otherwise.

        `baselines` are the names to hold it against (None: all others).
        """
        self._row(model)
        others = [name for name in (self.names if baselines is None else baselines) if name != model]
        found = [self.difference(name, model) for name in others]
        better = [
            gap for gap in found if gap.value > 0 and gap.verdict in (Significance.CLEAR, Significance.NOT_FINITE)
        ]
        if not better:
            return None
        top = max(better, key=lambda gap: self.mean(gap.name).value)
        if top.verdict is Significance.NOT_FINITE:
            return (
                f"The baseline {top.name} gives every row a density, and {model} gives none to "
                f"{_listed(self.rows_not_finite(model))}: look for values far outside the training data."
            )
        ours = "; the model's own number is a lower bound in expectation" if np.any(self._row(model)[1] > 1e-3) else ""
        return (
            f"The baseline {top.name} explains these rows better than {model} by {top.value:.{_digits(top)}f} ± "
            f"{top.standard_error:.{_digits(top)}f} nats a row: fit {model} for longer or enlarge it, or use the "
            f"simple model{ours}."
        )

    def __repr__(self) -> str:
        lines = [f"log p(x) of {self.n_rows} rows, nats a row; differences are paired, to the best model"]
        width = min(WIDEST_NAME, max(len(name) for name in (*self.names, "model")))
        lines.append(f"{'model':<{width}}  {'mean':>10} {'± rows':>8} {'± MC':>7} {'difference':>11} {'±':>7}")
        for name, (mean, gap) in self._ordered():
            short = name if len(name) <= width else name[: width - 1] + "…"
            numbers = f"{mean.value:>10.3f} {mean.standard_error:>8.3f} {mean.monte_carlo_error:>7.3f}"
            lines.append(f"{short:<{width}}  {numbers} {_of(gap)}".rstrip())
        lines += self._notes()
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = ("model", "mean", "± rows", "± Monte Carlo", "difference to the best", "± paired", "verdict")
        body = ""
        for name, (mean, gap) in self._ordered():
            numbers = (mean.value, mean.standard_error, mean.monte_carlo_error, gap.value, gap.standard_error)
            cells = "".join(f"<td>{number:.3f}</td>" for number in numbers)
            body += f"<tr><td>{html.escape(name)}</td>{cells}<td>{html.escape(gap.verdict.value)}</td></tr>"
        header = "".join(f"<th>{title}</th>" for title in head)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        return (
            f"<table><caption>log p(x) of {self.n_rows} rows, nats a row</caption><thead><tr>{header}</tr></thead>"
            f"<tbody>{body}</tbody></table>{notes}"
        )

    def _ordered(self) -> list[tuple[str, tuple[Mean, Difference]]]:
        """Each model with its mean and its difference to the best, the best first."""
        pairs = list(zip(self.names, zip(self.means, self.differences(), strict=True), strict=True))
        return sorted(pairs, key=lambda pair: -pair[1][0].value)

    def _notes(self) -> list[str]:
        return [
            f"{name} gives no finite log p(x) to {_listed(self.rows_not_finite(name))}; its mean is -inf."
            for name, count in zip(self.names, self.n_not_finite, strict=True)
            if count
        ]

    def _row(self, name: str) -> tuple[Numbers, Numbers]:
        if name not in self.names:
            raise ValueError(f"The name must be one of {', '.join(self.names)}; got {name!r}; choose one of those.")
        i = self.names.index(name)
        return self.log_evidence[i], self.standard_error[i]


def compare(log_evidence: Mapping[str, Evidence | tuple[ArrayLike, ArrayLike | float]]) -> Comparison:
    """Put models side by side that scored the same rows.

    Args:
        log_evidence: name of each model to the evidence of the rows, in the same units; or to log p(x), (n,) nats, and
            its Monte Carlo errors, (n,) or one number for all; 0 where they are exact.

    Raises:
        ValueError: for fewer than two models, no rows, different numbers of rows, errors that are negative, or evidence
            of different things: of other columns, given others, a density here and probabilities there.

    Example: `compare({"VAE": vae.evidence(x), "PCA": (pca.score_samples(x), 0.0)}).difference("VAE")`.
    """
    if len(log_evidence) < 2:
        raise ValueError(
            f"log_evidence must hold at least two models to compare; got {len(log_evidence)}; add a baseline."
        )
    found = {name: given.measure for name, given in log_evidence.items() if isinstance(given, Evidence)}
    check_same({name: measure for name, measure in found.items() if measure is not None})
    values, errors = [], []
    for name, given in log_evidence.items():
        of_rows, noise = (given.log_evidence, given.standard_error) if isinstance(given, Evidence) else given
        row = np.asarray(of_rows, np.float64)
        if row.ndim != 1 or len(row) == 0:
            raise ValueError(
                f"log_evidence of {name} must be one number for each of at least one row; got the shape {row.shape}; "
                f"score the rows first."
            )
        values.append(row)
        errors.append(_checked_errors(np.asarray(noise, np.float64), row, name))
    counts = {name: len(row) for name, row in zip(log_evidence, values, strict=True)}
    if len(set(counts.values())) > 1:
        numbers = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise ValueError(f"log_evidence must be of the same rows for every model; got {numbers}; score the same rows.")
    return Comparison(tuple(log_evidence), np.stack(values), np.stack(errors))


def _checked_errors(errors: Numbers, row: Numbers, name: str) -> Numbers:
    if errors.shape not in ((), row.shape):
        raise ValueError(
            f"The errors of {name} must be one number or {len(row)}, one for each row; got the shape {errors.shape}; "
            f"pass 0.0 for exact values."
        )
    full = np.broadcast_to(errors, row.shape).copy()
    # The error of a row without a finite value means nothing: such a row is named, and its error not asked for.
    wrong = np.flatnonzero(np.isfinite(row) & ~(np.isfinite(full) & (full >= 0)))
    if len(wrong):
        raise ValueError(
            f"The errors of {name} must be finite numbers of at least 0; got {full[wrong[0]]} in row {wrong[0]}; "
            f"pass 0.0 for exact values."
        )
    return full


def _of_not_finite(model: bool | np.bool_, reference: bool | np.bool_) -> float:
    if model:
        return float("inf")
    return float("-inf") if reference else float("nan")


def _verdict(value: float, standard_error: float, monte_carlo_error: float) -> Significance:
    if abs(value) > CLEAR * standard_error and abs(value) > CLEAR * monte_carlo_error:
        return Significance.CLEAR
    # The estimators first: their error is the one that can be bought down without other rows.
    if monte_carlo_error > 0 and abs(value) <= CLEAR * monte_carlo_error:
        return Significance.ESTIMATES
    return Significance.ROWS


def _of(gap: Difference) -> str:
    if gap.verdict is Significance.SAME:
        return f"{'best':>11}"
    return f"{gap.value:>+11.3f} {gap.standard_error:>7.3f} {_SHORT[gap.verdict]}"


def _digits(gap: Difference) -> int:
    """Decimals that show the first digit of the error and one more, at most 6."""
    error = gap.standard_error
    return 1 if not error > 0 else int(np.clip(1 - np.floor(np.log10(error)), 1, 6))


def _listed(rows: NDArray[np.intp]) -> str:
    named = ", ".join(str(row) for row in rows[:ROWS_NAMED])
    more = ", ..." if len(rows) > ROWS_NAMED else ""
    return f"{len(rows)} {'row' if len(rows) == 1 else 'rows'} ({named}{more})"
