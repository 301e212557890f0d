"""What is known of log p(x): per row, with error, reliability and method, and over all rows."""

import dataclasses
import enum
from collections import Counter
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.evidence.measure import Measure
from tightbound.evidence.pareto import khat_threshold

FEW_EFFECTIVE = 10.0
"""Below this effective sample size the delta-method standard error itself rests on a handful of weights."""
CAREFUL_KHAT, CAREFUL_SLOPE = 0.7, 6.0
"""Where an error was asked for, k-hat must be below 0.7 - 6 standard_error. The error is estimated from the very
weights whose tail it does not see: on linear-Gaussian models with the best mean-field q, 1.5% of the estimates with
errors up to 0.1 and k-hat up to 0.7 were more than three errors off, 0.3% of those that this rule leaves."""
MANY_CHAINS = 100
"""From as many chains on k-hat counts: of fewer it is noise (a third of good rows would be flagged with 32)."""


class Kind(enum.Enum):
    """What a number is with respect to the true log p(x)."""

    EXACT = "exact"
    LOWER = "lower bound"
    """In expectation: E[log p-hat] <= log p(x), by Jensen's inequality."""
    UPPER = "upper bound"
    """In expectation."""


class Method(enum.Enum):
    """How log p(x) of a row was found; the values are words for a table."""

    IMPORTANCE = "importance sampling"
    DEFENSIVE = "defensive importance sampling"
    REFINED = "importance sampling with a refined q"
    ANNEALED = "annealed importance sampling"
    CLOSED_FORM = "closed form"
    ENUMERATION = "sum over all latents"
    QUADRATURE = "adaptive quadrature"

    @property
    def exact(self) -> bool:
        """Whether no draw is involved."""
        return self in (Method.CLOSED_FORM, Method.ENUMERATION, Method.QUADRATURE)

    @property
    def kind(self) -> Kind:
        """What its estimates are."""
        return Kind.EXACT if self.exact else Kind.LOWER


class Reliability(enum.Enum):
    """How far a row's estimate can be trusted; the values are sentences one can act on."""

    GOOD = "The weights are well behaved: the estimate and its standard error can be used."
    FEW_EFFECTIVE = (
        "Fewer than 10 effective samples: the standard error is not to be trusted; use more importance samples."
    )
    HEAVY_TAILED = (
        "The weights are heavy-tailed (k-hat above its threshold): the estimate is probably too low; "
        "use more importance samples or a better q."
    )
    NOT_FINITE = (
        "The estimate is not finite: the model gives this row no density; look for values far outside the data."
    )
    ABOVE_TOLERANCE = "The standard error is above the tolerance asked for; allow more time, or a larger tolerance."


@final
@dataclasses.dataclass(frozen=True, repr=False)
class Evidence:
    """log p(x), row by row; all in nats, densities in the user's units.

    `elbo` and, where it is not exact, `log_evidence` are lower bounds in expectation: E[log p-hat] <= log p(x).
    """

    log_evidence: NDArray[np.float64]
    """(n,) log p(x), or log of the mean of its weights."""
    standard_error: NDArray[np.float64]
    """(n,) Monte Carlo error of `log_evidence` by the delta method, sd(w) / (mean(w) sqrt(S)), over weights that are
    independent: draws, or whole chains. Of quadrature its own estimate of error; 0 in closed form."""
    elbo: NDArray[np.float64]
    """(n,) mean of log w under the model's q."""
    elbo_standard_error: NDArray[np.float64]
    """(n,) sd(log w) / sqrt(S)."""
    ess: NDArray[np.float64]
    """(n,) effective sample size, (sum w)^2 / sum w^2."""
    khat: NDArray[np.float64]
    """(n,) Pareto k-hat of the weights (NaN with fewer than 25 of them, -inf when all agree)."""
    n_samples: NDArray[np.int64]
    """(n,) how many weights the estimate rests on: draws of z, or chains (0 where it is exact)."""
    method: NDArray[np.object_]
    """(n,) `Method` behind each row."""
    work: NDArray[np.int64]
    """(n,) passes through the decoder spent on each row, all methods tried included; a gradient counts as three."""
    n_discarded: NDArray[np.int64]
    """(n,) weights that were not a number (the decoder overflowed at a rare z), counted as zero."""
    tolerance: float | None = None
    """Standard error asked for, nats a row."""
    measure: Measure | None = None
    """What log p(x) is of (None: not known)."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.log_evidence)

    @property
    def kind(self) -> NDArray[np.object_]:
        """(n,) `Kind` of each row's number."""
        return np.array([method.kind for method in self.method], dtype=object)

    @property
    def reliability(self) -> NDArray[np.object_]:
        """(n,) `Reliability` of each row's estimate."""
        exact = np.array([method.exact for method in self.method], dtype=bool)
        limit = np.inf if self.tolerance is None else self.tolerance
        # The first condition that holds decides, the gravest first.
        conditions = {
            Reliability.NOT_FINITE: ~np.isfinite(self.log_evidence),
            Reliability.FEW_EFFECTIVE: ~exact & (self.ess < np.minimum(FEW_EFFECTIVE, 0.5 * self.n_samples)),
            Reliability.HEAVY_TAILED: ~exact & (self.khat > self._khat_limit),
            # A hair of rounding is no reason to flag a row; an error that is not known is one.
            Reliability.ABOVE_TOLERANCE: ~(self.standard_error <= limit * (1 + 1e-6)) & (self.tolerance is not None),
        }
        flags = np.full(self.n_rows, Reliability.GOOD, dtype=object)
        for flag, holds in reversed(conditions.items()):
            flags[holds] = flag
        return flags

    @property
    def _khat_limit(self) -> NDArray[np.float64]:
        """(n,) the k-hat above which a row is heavy-tailed."""
        chains = np.array([method is Method.ANNEALED for method in self.method], dtype=bool)
        general = np.asarray(khat_threshold(self.n_samples), float)
        careful = np.inf if self.tolerance is None else CAREFUL_KHAT - CAREFUL_SLOPE * self.standard_error
        few = np.where(self.n_samples < MANY_CHAINS, np.inf, general)
        return np.where(chains, few, np.fmin(general, careful))

    @property
    def n_unreliable(self) -> int:
        """Number of rows whose reliability is not GOOD."""
        return int(sum(flag is not Reliability.GOOD for flag in self.reliability))

    def take(self, rows: NDArray[np.intp]) -> "Evidence":
        """The evidence of these rows."""
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in PER_ROW})

    def with_rows(self, rows: NDArray[np.intp], found: "Evidence", *, elbo: bool = False) -> "Evidence":
        """The same with these rows replaced; their ELBO, which belongs to the model's own q, only if `elbo`."""
        changed = {}
        for name in PER_ROW:
            if elbo or name not in ("elbo", "elbo_standard_error"):
                changed[name] = getattr(self, name).copy()
                changed[name][rows] = getattr(found, name)
        return dataclasses.replace(self, **changed)

    def shifted(self, by: NDArray[np.float64]) -> "Evidence":
        """The same with `by` (n,) nats added to log p(x) and ELBO: the log Jacobian of a change of units."""
        return dataclasses.replace(self, log_evidence=self.log_evidence + by, elbo=self.elbo + by)

    @property
    def how(self) -> str:
        """The methods behind the rows in words, most rows first."""
        counts = Counter(zip(self.method, self.n_samples.tolist(), strict=True)).most_common()
        if len(counts) == 1:
            return _words(*counts[0][0])
        return "; ".join(f"{_words(*way)}: {rows:,} {'row' if rows == 1 else 'rows'}" for way, rows in counts)

    def mean(self) -> "Mean":
        """Mean of `log_evidence` over rows with both of its errors."""
        return mean_over_rows(self.log_evidence, self.standard_error)

    def mean_elbo(self) -> "Mean":
        """Mean of `elbo` over rows with both of its errors."""
        return mean_over_rows(self.elbo, self.elbo_standard_error)

    def __repr__(self) -> str:
        lines = [f"Evidence of {self.n_rows} rows, nats a row"]
        lines += [f"  log p(x)  {self.mean()}", f"  ELBO      {self.mean_elbo()}"]
        lines += [f"  method    {self.how}", f"  unreliable rows: {self.n_unreliable} of {self.n_rows}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cells = [("log p(x)", self.mean()), ("ELBO", self.mean_elbo())]
        body = "".join(
            f"<tr><td>{name}</td><td>{m.value:.3f}</td><td>{m.standard_error:.3f}</td>"
            f"<td>{m.monte_carlo_error:.4f}</td></tr>"
            for name, m in cells
        )
        return (
            "<table><thead><tr><th>quantity</th><th>mean (nats a row)</th><th>standard error</th>"
            f"<th>Monte Carlo error</th></tr></thead><tbody>{body}</tbody></table>"
            f"<p>{self.n_rows} rows; {self.how}; {self.n_unreliable} rows are unreliable.</p>"
        )


@final
@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean over rows, in nats a row."""

    value: float
    standard_error: float
    """How far the mean would move with other rows of the same kind: sd over rows / sqrt(n); NaN for one row."""
    monte_carlo_error: float
    """How far it would move with other importance samples for the same rows."""
    n_rows: int

    def __str__(self) -> str:
        return (
            f"{self.value:.3f} +- {self.standard_error:.3f} (over {self.n_rows} rows; "
            f"Monte Carlo error {self.monte_carlo_error:.4f})"
        )


def _words(method: Any, n: int) -> str:
    if method.exact:
        return str(method.value)
    return f"{method.value}, {n:,} {'chains' if method is Method.ANNEALED else 'samples'} a row"


def mean_over_rows(values: NDArray[np.float64], errors: NDArray[np.float64]) -> Mean:
    """Mean of (n,) values with the spread over rows and the Monte Carlo errors (n,) of each."""
    n = len(values)
    with np.errstate(invalid="ignore"):  # a row without density makes the mean -inf, and its spread unknown
        spread = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return Mean(float(np.mean(values)) if n else float("nan"), spread, float(np.sqrt(np.sum(errors**2)) / max(n, 1)), n)


def joined(parts: Sequence[Evidence]) -> Evidence:
    """The evidence of all rows of several, one after the other."""
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in PER_ROW}
    return dataclasses.replace(parts[0], **columns)


def nothing_observed(n: int) -> Evidence:
    """The evidence of n rows without any observed cell: log p(nothing) = 0 is known without a draw."""
    zero, count = np.zeros(n), np.zeros(n, np.int64)
    exact = np.full(n, Method.CLOSED_FORM, dtype=object)
    return Evidence(zero, zero, zero, zero, np.full(n, np.inf), np.full(n, -np.inf), count, exact, count, count)


PER_ROW = tuple(field.name for field in dataclasses.fields(Evidence) if field.name not in ("tolerance", "measure"))
"""The fields that have one entry a row."""
