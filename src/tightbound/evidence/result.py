"""What is known of log p(x): per row, with error and reliability, and over all rows."""

import dataclasses
import enum
from typing import final

import numpy as np
from numpy.typing import NDArray

from tightbound.evidence.pareto import khat_threshold

FEW_EFFECTIVE = 10.0
"""Below this effective sample size the delta-method standard error itself rests on a handful of weights."""


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


@final
@dataclasses.dataclass(frozen=True, repr=False)
class Evidence:
    """Importance-sampling estimates of log p(x), row by row; all in nats, densities in the user's units.

    `elbo` and `log_evidence` are lower bounds in expectation: E[log p-hat] <= log p(x).
    """

    log_evidence: NDArray[np.float64]
    """(n,) log (1/S) sum_s w_s."""
    standard_error: NDArray[np.float64]
    """(n,) delta method: sd(w) / (mean(w) sqrt(S)); the Monte Carlo error of `log_evidence`."""
    elbo: NDArray[np.float64]
    """(n,) (1/S) sum_s log w_s."""
    elbo_standard_error: NDArray[np.float64]
    """(n,) sd(log w) / sqrt(S)."""
    ess: NDArray[np.float64]
    """(n,) effective sample size, (sum w)^2 / sum w^2."""
    khat: NDArray[np.float64]
    """(n,) Pareto k-hat of the weights (NaN with fewer than 25 samples, -inf when all weights agree)."""
    n_samples: int
    """S, the importance samples spent on each row."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.log_evidence)

    @property
    def reliability(self) -> NDArray[np.object_]:
        """(n,) `Reliability` of each row's estimate."""
        # The first condition that holds decides, the gravest first.
        conditions = {
            Reliability.NOT_FINITE: ~np.isfinite(self.log_evidence),
            Reliability.FEW_EFFECTIVE: self.ess < min(FEW_EFFECTIVE, 0.5 * self.n_samples),
            Reliability.HEAVY_TAILED: self.khat > khat_threshold(self.n_samples),
        }
        flags = np.full(self.n_rows, Reliability.GOOD, dtype=object)
        for flag, holds in reversed(conditions.items()):
            flags[holds] = flag
        return flags

    @property
    def n_unreliable(self) -> int:
        """Number of rows whose reliability is not GOOD."""
        return int(sum(flag is not Reliability.GOOD for flag in self.reliability))

    def mean(self) -> "Mean":
        """Mean of `log_evidence` over rows with both of its errors."""
        return _mean(self.log_evidence, self.standard_error)

    def mean_elbo(self) -> "Mean":
        """Mean of `elbo` over rows with both of its errors."""
        return _mean(self.elbo, self.elbo_standard_error)

    def __repr__(self) -> str:
        lines = [f"Evidence of {self.n_rows} rows by {self.n_samples} importance samples each, nats a row"]
        lines += [f"  log p(x)  {self.mean()}", f"  ELBO      {self.mean_elbo()}"]
        lines.append(f"  unreliable rows: {self.n_unreliable} of {self.n_rows}")
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
            f"<p>{self.n_rows} rows, {self.n_samples} importance samples each; "
            f"{self.n_unreliable} rows are unreliable.</p>"
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


def _mean(values: NDArray[np.float64], errors: NDArray[np.float64]) -> Mean:
    n = len(values)
    spread = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return Mean(float(np.mean(values)), spread, float(np.sqrt(np.sum(errors**2)) / n), n)
