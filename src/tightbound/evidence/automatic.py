"""log p(x) of every row as well as the time allows: cheap estimates for all, dear ones for the rows that need them."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.annealing import (
    CHAINS_AT_ONCE,
    N_CHAINS,
    annealed_evidence,
    check_continuous,
    equal_steps,
    information_length,
    information_schedule,
)
from tightbound.evidence.exact import FEW_STATES, exact_evidence, exact_method
from tightbound.evidence.hmc import FULL_UP_TO, N_ADAPTATION_CHAINS
from tightbound.evidence.result import CAREFUL_KHAT, CAREFUL_SLOPE, PER_ROW, Evidence, Method, Reliability
from tightbound.evidence.rows import CHAIN_ROWS_AT_ONCE, ROWS_AT_ONCE, rows_and_samples
from tightbound.evidence.weights import importance_evidence
from tightbound.learn import CONVERGED, AbstractInference, PerDatum, Refinement
from tightbound.model import DiagonalGaussianFamily, FullGaussianFamily, GenerativeModel
from tightbound.model.streams import Stream

METHODS = ("auto", "adaptive", "importance", "defensive", "refined", "annealed", "exact")
TOLERANCE = 0.1
"""Standard error that is asked for when nothing is said, nats a row."""
DEFENSIVE_SHARE = 0.1
REFINING_STEPS = 50
TEMPERATURES = (50, 200, 800)
"""Temperatures of the annealing that hard rows go through, one after the other."""
_METHODS = tuple(Method)
_LEAST_DRAWS = 8
_MORE = 10
_HOPEFUL = 1.5
"""A stage is tried when the error that it promises is at most so many tolerances; the last one always is."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, rows done, and rows to do."""


@final
@dataclasses.dataclass(frozen=True)
class Partial:
    """A scoring on its way, which can be kept and gone on from."""

    evidence: Evidence
    """Of all rows; those never reached have a NaN estimate."""
    stage: NDArray[np.int64]
    """(n,) the last stage that each row has been through; -1: none."""

    @property
    def n_done(self) -> int:
        """How many rows have an estimate."""
        return int(np.sum(self.stage >= 0))

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays of numbers."""
        columns = {name: np.ascontiguousarray(getattr(self.evidence, name)) for name in PER_ROW if name != "method"}
        codes = np.array([_METHODS.index(method) for method in self.evidence.method], np.int64)
        tolerance = np.array([self.evidence.tolerance], np.float64)  # NaN: none was asked for
        return {**columns, "method": codes, "stage": np.ascontiguousarray(self.stage), "tolerance": tolerance}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> "Partial":
        """The inverse of `arrays`; raises `ValueError` for others."""
        if set(arrays) != {*PER_ROW, "stage", "tolerance"}:
            raise ValueError("it holds something else")
        columns: dict[str, Any] = {name: arrays[name] for name in PER_ROW}
        columns["method"] = np.array([_METHODS[i] for i in arrays["method"]], dtype=object)
        tolerance = float(arrays["tolerance"][0])
        return cls(Evidence(**columns, tolerance=None if np.isnan(tolerance) else tolerance), arrays["stage"])


@final
@dataclasses.dataclass(frozen=True)
class Stage:
    """One method at one effort."""

    words: str
    estimate: Callable[[NDArray[Any], NDArray[np.bool_] | None], Evidence]
    rows_at_once: int
    promised: Callable[[Evidence], NDArray[np.float64]]
    """The standard error to expect of rows that got so far."""


def log_evidence(
    p: GenerativeModel,
    q: AbstractInference,
    x: NDArray[Any],
    observed: NDArray[np.bool_] | None = None,
    *,
    method: str = "auto",
    tolerance: float = TOLERANCE,
    time_limit: float | None = None,
    patience: float | None = None,
    n_samples: int = 1000,
    n_steps: int = 200,
    n_chains: int = N_CHAINS,
    resample: bool = False,
    key: PRNGKeyArray,
    on_progress: Progress | None = None,
    partial: Partial | None = None,
    on_partial: Callable[[Partial], None] | None = None,
) -> Evidence:
    """log p(x) of every row, with its error, by the method asked for or by as much work as each row needs.

    - "auto": "exact" where the model allows it at the cost of sampling, else "adaptive"; with two latents, rows that
      need it go on to quadrature.
    - "adaptive": `n_samples` importance samples for all rows; rows whose standard error is above `tolerance` or whose
      weights are unreliable go on to ten times as many, to a q refined for the row (a Gaussian one with a full
      covariance, up to 64 latents), and to annealing from it with 50, 200 and 800 temperatures, each with draws of its
      own, until they are good or `time_limit` is over. What did not get there is flagged by `reliability`.
    - "importance", "defensive", "refined" (the same q as in "adaptive"), "annealed", "exact": that one alone.

    Args:
        p, q, x, observed: model, inference, rows (n, d) in the model's units, and which cells count.
        tolerance: standard error asked for, nats a row: what "auto" and "adaptive" work for; a row above it is flagged.
        time_limit: seconds after which no row goes on (None: no limit); patience: the same, counted from when every
            row has its first estimate, which is never cut short ("auto" and "adaptive").
        n_samples: importance samples a row.
        n_steps, n_chains, resample: of "annealed"; of "adaptive" the chains.
        key: the noise; with it and a row's content its estimate is fixed, whatever other rows there are, and however
            often the work was interrupted (unless the time limit was met).
        on_progress: called with words, rows done and rows to do.
        partial, on_partial: where to go on from, and what is called after each piece of work.

    Returns an `Evidence`. Raises `ValueError` for an unknown method, a method that the model does not have, or a time
    limit that leaves some row without any estimate.
    Example: `log_evidence(vae.model_, vae.inference_, x, key=jax.random.key(0)).mean()` in the model's units.
    """
    _check(method, tolerance, time_limit, patience)
    _check_counts(n_samples, n_chains, partial, len(x))
    method = "exact" if method == "auto" and _cheaply_exact(p) else method
    if method in ("auto", "adaptive"):
        stages = stages_of(p, q, n_samples=n_samples, n_chains=n_chains, key=key)
        if method == "auto" and exact_method(p) is Method.QUADRATURE:
            stages = [stages[0], _by_quadrature(p, q, key=key)]
        return _Scoring(stages, tolerance, time_limit, patience, on_progress, on_partial)(x, observed, partial)
    counts = {"n_steps": n_steps, "n_chains": n_chains, "resample": resample}
    stages = [_alone(method, p, q, n_samples, counts, key=key)]
    return _Scoring(stages, tolerance, None, None, on_progress, on_partial)(x, observed, partial)


def _alone(
    method: str, p: GenerativeModel, q: AbstractInference, n_samples: int, counts: dict[str, Any], *, key: PRNGKeyArray
) -> Stage:
    """One method for all rows, piece by piece, so that it can be kept and gone on from like any other."""
    words = f"scoring ({method})"
    if method == "exact":
        return Stage(words, functools.partial(exact_evidence, p, q, key=key), ROWS_AT_ONCE, _nothing_known)
    if method == "annealed":
        return Stage(words, *_annealing(p, q, counts, key=key), _nothing_known)
    better = closer_q(p, q) if method == "refined" else q
    share = DEFENSIVE_SHARE if method == "defensive" else 0.0

    def estimate(x: NDArray[Any], observed: NDArray[np.bool_] | None) -> Evidence:
        found = importance_evidence(p, better, x, observed, n_samples=n_samples, defensive=share, key=key)
        return _named_refined(found, better) if method == "refined" else found

    rows = rows_and_samples(n_samples)[0]
    return Stage(words, estimate, max(rows, ROWS_AT_ONCE // rows * rows), _nothing_known)


def _annealing(
    p: GenerativeModel, q: AbstractInference, counts: dict[str, Any], *, key: PRNGKeyArray
) -> tuple[Callable[..., Evidence], int]:
    """The annealing of some rows, whose schedule is found once, and how many rows it takes at once."""
    schedule = functools.cache(lambda: information_schedule(p, q, counts["n_steps"], key=key))

    def estimate(x: NDArray[Any], observed: NDArray[np.bool_] | None) -> Evidence:
        check_continuous(p)
        return annealed_evidence(p, q, x, observed, schedule=schedule(), key=key, **counts)

    return estimate, max(1, CHAINS_AT_ONCE // (min(counts["n_chains"], CHAINS_AT_ONCE) + N_ADAPTATION_CHAINS))


def refined(p: GenerativeModel, q: AbstractInference, steps: int = REFINING_STEPS) -> AbstractInference:
    """q with an inner loop of `steps` ascents for every row, in its own family where it has one."""
    own = 0 if q.inner_loop is None else q.inner_loop.steps
    return q.refined(p, Refinement(max(steps, own), tolerance=CONVERGED))


def closer_q(p: GenerativeModel, q: AbstractInference) -> AbstractInference:
    """`refined`, but where q is Gaussian with few latents, with a full covariance: mean-field q leave heavy tails."""
    gaussian = q.own_family is None or isinstance(q.own_family, DiagonalGaussianFamily | FullGaussianFamily)
    if not gaussian or p.prior.plain.n_states is not None or p.prior.dim > FULL_UP_TO:
        return refined(p, q)
    # With fewer draws than latents the gradient of a covariance has a low rank, and its noise makes q worse.
    loop = Refinement(REFINING_STEPS, n_samples=max(_LEAST_DRAWS, p.prior.dim), tolerance=CONVERGED)
    return PerDatum(FullGaussianFamily(p.prior.dim), loop, q)


def stages_of(
    p: GenerativeModel, q: AbstractInference, *, n_samples: int, n_chains: int, key: PRNGKeyArray
) -> list[Stage]:
    """What "adaptive" tries, cheapest first."""

    def importance(q: AbstractInference, n: int, which: int) -> Callable[..., Evidence]:
        keyed = key if which == 0 else jax.random.fold_in(Stream.STAGE.of(key), which)
        return lambda x, observed: importance_evidence(p, q, x, observed, n_samples=n, key=keyed)

    def closer(n: int, which: int) -> Callable[..., Evidence]:
        estimate = importance(better, n, which)
        return lambda x, observed: _named_refined(estimate(x, observed), better)

    better = closer_q(p, q)
    more = _MORE * n_samples
    stages = [
        Stage("importance sampling", importance(q, n_samples, 0), ROWS_AT_ONCE, _nothing_known),
        Stage(f"{more:,} importance samples", importance(q, more, 1), ROWS_AT_ONCE, _with_more_samples),
    ]
    if better is q:
        return stages
    stages.append(Stage("refining q", closer(n_samples, 2), ROWS_AT_ONCE, _nothing_known))
    if p.prior.plain.n_states is not None:
        words = f"{more:,} importance samples of a refined q"
        return [*stages, Stage(words, closer(more, 3), ROWS_AT_ONCE, _with_more_samples)]
    length: list[NDArray[np.float64]] = []

    def annealed(k: int) -> Callable[..., Evidence]:
        def estimate(x: NDArray[Any], observed: NDArray[np.bool_] | None) -> Evidence:
            if not length:  # measured once, when the first row needs it
                length.append(information_length(p, better, key=key))
            counts: dict[str, Any] = {
                "n_chains": n_chains,
                "chains_at_once": at_once * (n_chains + N_ADAPTATION_CHAINS),
            }
            return annealed_evidence(p, better, x, observed, schedule=equal_steps(length[0], k), key=keys[k], **counts)

        return estimate

    keys = {k: jax.random.fold_in(Stream.STAGE.of(key), k) for k in TEMPERATURES}
    at_once = max(1, min(CHAIN_ROWS_AT_ONCE, CHAINS_AT_ONCE // (n_chains + N_ADAPTATION_CHAINS)))
    for k in TEMPERATURES:
        stages.append(Stage(f"annealing, {k} temperatures", annealed(k), at_once, _with_longer_chains(k)))
    return stages


class _Scoring:
    """Takes rows from stage to stage, piece by piece."""

    def __init__(
        self,
        stages: list[Stage],
        tolerance: float | None,
        time_limit: float | None,
        patience: float | None,
        on_progress: Progress | None,
        on_partial: Callable[[Partial], None] | None,
    ):
        self._stages, self._tolerance, self._limit, self._patience = stages, tolerance, time_limit, patience
        self._on_progress, self._on_partial = on_progress, on_partial
        self._start = self._first_done = time.monotonic()

    def __call__(self, x: NDArray[Any], observed: NDArray[np.bool_] | None, partial: Partial | None) -> Evidence:
        at = partial or Partial(_blank(len(x), self._tolerance), np.full(len(x), -1))
        at = dataclasses.replace(at, evidence=dataclasses.replace(at.evidence, tolerance=self._tolerance))
        for number, stage in enumerate(self._stages):
            rows = self._who(at, number)
            if number == 1:
                self._first_done = time.monotonic()
            for done, piece in _pieces(rows, stage.rows_at_once):
                if self._over(number, at, len(x)):
                    return at.evidence

                found = stage.estimate(x[piece], None if observed is None else observed[piece])

                at = _advanced(at, piece, found, number)
                if self._on_partial is not None:
                    self._on_partial(at)
                if self._on_progress is not None:
                    self._on_progress(stage.words, done + len(piece), len(rows))
        return at.evidence

    def _who(self, at: Partial, number: int) -> NDArray[np.intp]:
        """The rows that this stage is for."""
        if number == 0:
            return np.flatnonzero(at.stage < 0)
        flags = at.evidence.reliability
        needy = np.array([f not in (Reliability.GOOD, Reliability.NOT_FINITE) for f in flags], dtype=bool)
        hopeful = self._stages[number].promised(at.evidence) <= _HOPEFUL * (self._tolerance or np.inf)
        last = number == len(self._stages) - 1
        return np.flatnonzero(needy & (at.stage < number) & (hopeful | last))

    def _over(self, number: int, at: Partial, n: int) -> bool:
        now = time.monotonic()
        if number > 0 and self._patience is not None and now - self._first_done >= self._patience:
            return True
        if self._limit is None or now - self._start < self._limit:
            return False
        if number == 0:
            reached = at.n_done
            raise ValueError(
                f"time_limit must leave time for the first importance samples of every row; {self._limit:g} s were "
                f"enough for {reached:,} of {n:,} rows; allow more, or score fewer rows."
            )
        return True


def _pieces(rows: NDArray[np.intp], size: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    return ((start, rows[start : start + size]) for start in range(0, len(rows), size))


def _advanced(at: Partial, rows: NDArray[np.intp], found: Evidence, number: int) -> Partial:
    spent = at.evidence.work[rows]
    found = dataclasses.replace(found, work=found.work + spent)
    evidence = at.evidence.with_rows(rows, found, elbo=number == 0)
    stage = at.stage.copy()
    stage[rows] = number
    return Partial(evidence, stage)


def _blank(n: int, tolerance: float | None) -> Evidence:
    empty: dict[str, Any] = {name: np.full(n, np.nan) for name in PER_ROW}
    empty.update({name: np.zeros(n, np.int64) for name in ("n_samples", "work", "n_discarded")})
    empty["method"] = np.full(n, Method.IMPORTANCE, dtype=object)
    return Evidence(**empty, tolerance=tolerance)


def _nothing_known(evidence: Evidence) -> NDArray[np.float64]:
    return np.zeros(evidence.n_rows)


def _with_more_samples(evidence: Evidence) -> NDArray[np.float64]:
    # The tail stays as it is; where it would still be too heavy, more draws would not help.
    error = evidence.standard_error / _MORE**0.5
    return np.where(evidence.khat <= CAREFUL_KHAT - CAREFUL_SLOPE * error, error, np.inf)


def _with_longer_chains(k: int) -> Callable[[Evidence], NDArray[np.float64]]:
    def promised(evidence: Evidence) -> NDArray[np.float64]:
        if k == TEMPERATURES[0]:
            return np.zeros(evidence.n_rows)
        # The variance of log w falls as 1 / K (Neal, 2001); weights near log-normal: cv^2 = exp(variance) - 1.
        c = np.maximum(evidence.n_samples, 1)
        variance = np.log(np.maximum(c / np.maximum(evidence.ess, 1), 1)) * TEMPERATURES[TEMPERATURES.index(k) - 1] / k
        return np.asarray(np.sqrt(np.expm1(variance) / c))

    return promised


def _named_refined(evidence: Evidence, q: AbstractInference) -> Evidence:
    # The loop's draws in every step, with their gradients, are work too.
    loop = q.inner_loop
    work = evidence.work + (3 * loop.n_samples * loop.steps if loop is not None else 0)
    return dataclasses.replace(evidence, method=np.full(evidence.n_rows, Method.REFINED, dtype=object), work=work)


def _cheaply_exact(p: GenerativeModel) -> bool:
    method = exact_method(p)
    if method is Method.QUADRATURE:  # in two dimensions it takes ten times as long as 1,000 samples
        return p.prior.dim == 1
    return method is not None and (method is not Method.ENUMERATION or (p.prior.plain.n_states or 0) <= FEW_STATES)


def _by_quadrature(p: GenerativeModel, q: AbstractInference, *, key: PRNGKeyArray) -> Stage:
    def estimate(x: NDArray[Any], observed: NDArray[np.bool_] | None) -> Evidence:
        return exact_evidence(p, q, x, observed, key=key)

    return Stage("adaptive quadrature", estimate, ROWS_AT_ONCE, _nothing_known)


def _check_counts(n_samples: Any, n_chains: Any, partial: Partial | None, n_rows: int) -> None:
    for name, value, usual in (("n_samples", n_samples, 1000), ("n_chains", n_chains, 16)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}; {usual} is usual.")
    if partial is not None and partial.evidence.n_rows != n_rows:
        raise ValueError(
            f"partial must be a scoring of these {n_rows:,} rows; it has {partial.evidence.n_rows:,}; give the same "
            "rows, or leave it out."
        )


def _check(method: Any, tolerance: Any, time_limit: Any, patience: Any) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}; auto is usual.")
    if not isinstance(tolerance, float | int | np.number) or not tolerance > 0:
        raise ValueError(f"tolerance must be above 0 nats; got {tolerance!r}; 0.1 is usual.")
    for name, seconds in (("time_limit", time_limit), ("patience", patience)):
        if seconds is not None and (not isinstance(seconds, float | int | np.number) or not seconds > 0):
            raise ValueError(f"{name} must be above 0 seconds; got {seconds!r}; leave it out for no limit.")
