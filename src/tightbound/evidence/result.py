"""What is known of log p(x): estimates with errors, how far to trust them, and what they are a density of."""

import dataclasses
import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]


def tail_length(n_samples: int) -> int:
    """How many of the largest weights make the tail: min(S / 5, 3 sqrt(S)).

    Source: Vehtari, Simpson, Gelman, Yao and Gabry (2024), section 2.
    """
    return int(np.ceil(min(0.2 * n_samples, 3 * np.sqrt(n_samples))))


def khat_threshold(n_samples: ArrayLike | int) -> Floats:
    """The k-hat above which an estimate from S samples is not to be trusted: min(1 - 1 / log10 S, 0.7).

    Source: Vehtari et al. (2024), section 3.2.4.
    """
    few = np.asarray(n_samples) <= 10
    return np.where(few, 0.0, np.minimum(1 - 1 / np.log10(np.where(few, 11, n_samples)), 0.7))


def pareto_khat(tail_log_weights: Floats) -> Floats:
    """Shape k of a generalised Pareto distribution fitted to the largest log weights of each row.

    Args:
        tail_log_weights: (n, M + 1) log weights; the M + 1 largest of each row in any order. The smallest of them is
            the threshold that the M others exceed.

    Returns k-hat, (n,): NaN where fewer than 5 exceedances can be had, -inf where all of the tail is one value
    (weights without any spread: q is exact). The fit is the profile-likelihood average of Zhang and Stephens (2009),
    shrunk towards 0.5 with the weight of ten observations as in Vehtari et al. (2024), appendix G.
    """
    ordered = np.sort(np.asarray(tail_log_weights, np.float64), axis=1)
    m = ordered.shape[1] - 1
    if m < 5:
        return np.full(len(ordered), np.nan)
    # Only ratios matter: the largest weight becomes 1.
    weights = np.exp(ordered - ordered[:, -1:])
    exceedances = weights[:, 1:] - weights[:, :1]
    # A spread at the level of rounding is none: the tail of an exact q.
    flat = ~(exceedances[:, -1] > 1e-6)
    exceedances[flat] = np.arange(1, m + 1) / m
    k = _fit_generalised_pareto(np.maximum(exceedances, 1e-300))
    return np.where(flat, -np.inf, (k * m + 10 * 0.5) / (m + 10))


def _fit_generalised_pareto(x: Floats) -> Floats:
    # Symbols of Zhang and Stephens (2009): theta_j on a grid, k = mean log(1 - theta x), profile log-likelihood.
    n = x.shape[1]
    j = np.arange(1, 30 + int(np.sqrt(n)) + 1)
    quartile = x[:, int(n / 4 + 0.5) - 1]
    theta = 1 / x[:, -1:] + (1 - np.sqrt(len(j) / (j - 0.5))) / (3 * quartile[:, None])
    k = np.stack([np.log1p(-theta[:, i, None] * x).mean(axis=1) for i in range(len(j))], axis=1)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        profile = n * (np.log(-theta / k) - k - 1)
        weights = 1 / np.exp(profile[:, None, :] - profile[:, :, None]).sum(axis=2)
    theta_hat = np.nansum(weights * theta, axis=1) / np.nansum(weights, axis=1)
    return np.asarray(np.log1p(-theta_hat[:, None] * x).mean(axis=1))


_NAMED = 5


@final
@dataclasses.dataclass(frozen=True)
class Measure:
    """What a model gives a density or a probability, and given what."""

    columns: Mapping[str, str]
    """Of each modelled column, what its values have: "a density", "probabilities", ..."""
    given: tuple[str, ...] = ()
    """The columns that log p(x given c) takes as given."""
    missingness: tuple[str, ...] = ()
    """The columns whose being observed or not is part of what has a probability."""

    def difference(self, own: str, other: "Measure", others: str) -> str | None:
        """What the numbers of model `own` and those of model `others`, with another measure, are of (None: the same).

        The second half of a sentence: what came, and what to do.
        """
        if set(self.given) != set(other.given):
            return (
                f"{own} gives log p(x{_given(self.given)}) and {others} log p(x{_given(other.given)}); fit both with "
                "the same conditions and exposure"
            )
        alone = [name for name in {**self.columns, **other.columns} if name not in self.columns.keys() & other.columns]
        if alone:
            has, lacks = (own, others) if alone[0] in self.columns else (others, own)
            return f"{_listed(alone)} stands in {has} and not in {lacks}; fit both to the same columns"
        for name, kind in self.columns.items():
            if kind != other.columns[name]:
                return (
                    f"values of {name} have {kind} in {own} and {other.columns[name]} in {others}; fit both with the "
                    "same type and family of that column"
                )
        hidden = sorted(set(self.missingness) ^ set(other.missingness))
        if hidden:
            has = own if hidden[0] in self.missingness else others
            return f"whether {hidden[0]} is observed counts in {has} alone; fit both with the same missingness"
        return None


def check_same(measures: Mapping[str, Measure]) -> None:
    """Refuse (`ValueError`) to compare models, by name, whose log p(x) are of different things."""
    first = next(iter(measures), "")
    for name in list(measures)[1:]:
        found = measures[first].difference(first, measures[name], name)
        if found is not None:
            raise ValueError(f"Models must give log p of the same thing to be compared, but {found}.")


def _given(names: tuple[str, ...]) -> str:
    return f" given {_listed(list(names))}" if names else ""


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}"


FEW_EFFECTIVE = 10.0
"""Below this effective sample size the delta-method standard error itself rests on a handful of weights."""
FEWEST_DRAWS, FEWEST_CHAINS = 25, 10
"""Of fewer independent weights no standard error is to be trusted: k-hat cannot be had of fewer draws, and the error
from fewer chains (or groups of chains) is itself too uncertain, sd(z)^2 = (c - 1) / (c - 3)."""
CAREFUL_KHAT, CAREFUL_SLOPE = 0.5, 8.0
"""k-hat must be below 0.5 - 8 standard_error (from 0.5 on weights have no variance), whether or not an error was asked
for. The error is estimated from the very weights whose tail it does not see: on linear-Gaussian models with two cells
in five missing, which q does not know of, z-scores of the rows that 0.7 - 6 standard_error leaves spread by 1.43, of
those that this rule leaves by 1.09."""
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
        "Fewer than 10 effective samples (or 25 draws, or 10 independent chains): the standard error is not to be "
        "trusted; use more importance samples or chains."
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
            Reliability.FEW_EFFECTIVE: ~exact & self._few,
            Reliability.HEAVY_TAILED: ~exact & (self.khat > self._khat_limit),
            # A hair of rounding is no reason to flag a row; an error that is not known is one.
            Reliability.ABOVE_TOLERANCE: ~(self.standard_error <= limit * (1 + 1e-6)) & (self.tolerance is not None),
        }
        flags = np.full(self.n_rows, Reliability.GOOD, dtype=object)
        for flag, holds in reversed(conditions.items()):
            flags[holds] = flag
        return flags

    @property
    def _of_chains(self) -> NDArray[np.bool_]:
        return np.array([method is Method.ANNEALED for method in self.method], dtype=bool)

    @property
    def _few(self) -> NDArray[np.bool_]:
        """(n,) whether a row's standard error rests on too few independent weights."""
        chains = self._of_chains
        least = np.where(chains, np.minimum(FEW_EFFECTIVE, 0.5 * self.n_samples), FEW_EFFECTIVE)
        return (self.n_samples < np.where(chains, FEWEST_CHAINS, FEWEST_DRAWS)) | ~(self.ess >= least)

    @property
    def _khat_limit(self) -> NDArray[np.float64]:
        """(n,) the k-hat above which a row is heavy-tailed."""
        general = np.asarray(khat_threshold(self.n_samples), float)
        few = np.where(self.n_samples < MANY_CHAINS, np.inf, general)
        return np.where(self._of_chains, few, np.fmin(general, CAREFUL_KHAT - CAREFUL_SLOPE * self.standard_error))

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
    def ways(self) -> tuple[tuple[str, int], ...]:
        """Each method in words and how many rows it was used for, most rows first."""
        counts = Counter(self.method).most_common()
        taken = {method: self.n_samples[np.array([each is method for each in self.method])] for method, _ in counts}
        return tuple((_words(method, taken[method]), rows) for method, rows in counts)

    @property
    def how(self) -> str:
        """The methods behind the rows in words, most rows first."""
        if len(self.ways) == 1:
            return self.ways[0][0]
        return "; ".join(f"{way}: {rows:,} {'row' if rows == 1 else 'rows'}" for way, rows in self.ways)

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


def _words(method: Any, n: NDArray[Any]) -> str:
    """A method with the least and the most samples that it took for a row."""
    if method.exact:
        return str(method.value)
    taken = " to ".join(f"{each:,}" for each in sorted({int(n.min()), int(n.max())}))
    return f"{method.value}, {taken} {'chains' if method is Method.ANNEALED else 'samples'} a row"


def mean_over_rows(
    values: NDArray[np.float64], errors: NDArray[np.float64], rows: NDArray[np.float64] | None = None
) -> Mean:
    """Mean of (n,) values with the spread over rows and the Monte Carlo errors (n,) of each.

    `rows` (n,): what tells rows apart, beside their errors (None: the values); differences need it, which can be equal
    where rows are not.
    """
    n = len(values)
    with np.errstate(invalid="ignore"):  # a row without density makes the mean -inf, and its spread unknown
        spread = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    noise = _error_of_sum(values if rows is None else rows, errors) / max(n, 1)
    return Mean(float(np.mean(values)) if n else float("nan"), spread, noise, n)


def _error_of_sum(values: NDArray[np.float64], errors: NDArray[np.float64]) -> float:
    """sqrt(sum over different rows g of (n_g error_g)^2): a row's noise follows from its content, so that the n_g rows
    that are equal share all of theirs; equal rows, and in practice no others, have equal values and errors to the bit.
    """
    both = np.empty(len(values), complex)
    both.real, both.imag = values, errors
    different, counts = np.unique(both, return_counts=True)
    return float(np.sqrt(np.sum((counts * different.imag) ** 2)))


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
