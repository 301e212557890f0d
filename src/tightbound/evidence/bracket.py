"""log p(x) from both sides: forward annealing gives a lower bound, backward annealing from the posterior an upper."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

import numpy as np
from jaxtyping import PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.annealing import check_continuous, check_counts, information_schedule
from tightbound.evidence.hmc import RowChains
from tightbound.evidence.result import Mean, mean_over_rows
from tightbound.evidence.rows import CHAIN_ROWS_AT_ONCE, by_chunks, posteriors_of, rows_of, simulate
from tightbound.evidence.weights import logmeanexp
from tightbound.learn import AbstractInference
from tightbound.model import GenerativeModel
from tightbound.model.streams import Stream

CONVERGED_BELOW = 1.05
"""Split R-hat below which the chains of a row are taken to have reached its posterior; 1.01 is asked for where moments
are reported (Vehtari et al., 2021), but a start that is a little off costs this bound only a little."""
N_MOVES = 200


@final
@dataclasses.dataclass(frozen=True, repr=False)
class Bracket:
    """Stochastic bounds of log p(x), row by row; nats, in the units of the rows."""

    lower: NDArray[np.float64]
    """(n,) log of the mean weight of forward chains: E[lower] <= log p(x)."""
    upper: NDArray[np.float64]
    """(n,) -log of the mean inverse weight of backward chains: E[upper] >= log p(x), if they start at the posterior."""
    n_steps: int
    n_chains: int
    rhat: NDArray[np.float64] | None = None
    """(n,) largest split R-hat of the chains that looked for the posterior; None where it is known (simulated rows)."""

    def shifted(self, by: NDArray[np.float64] | float) -> "Bracket":
        """The same with `by` nats added to both ends: the log Jacobian of a change of units."""
        return dataclasses.replace(self, lower=self.lower + by, upper=self.upper + by)

    @property
    def approximate(self) -> bool:
        """Whether the upper side rests on chains that were only seen to have converged."""
        return self.rhat is not None

    @property
    def converged(self) -> NDArray[np.bool_]:
        """(n,) whether the start of the backward chains can be believed."""
        return np.ones(len(self.lower), bool) if self.rhat is None else np.asarray(self.rhat < CONVERGED_BELOW)

    def gap(self) -> Mean:
        """Mean of upper - lower over converged rows: twice the accuracy that the estimator has on this model."""
        width = (self.upper - self.lower)[self.converged]
        return mean_over_rows(width, np.full(len(width), np.nan))

    def means(self) -> tuple[Mean, Mean]:
        """Mean lower and mean upper end, over converged rows."""
        ends = (self.lower[self.converged], self.upper[self.converged])
        return mean_over_rows(ends[0], np.full(len(ends[0]), np.nan)), mean_over_rows(
            ends[1], np.full(len(ends[1]), np.nan)
        )

    @property
    def how_lower(self) -> str:
        """The method of the lower end alone."""
        return f"annealing from q, {self.n_steps} temperatures"

    @property
    def how_both(self) -> str:
        """The method of both ends in short."""
        return f"annealing both ways, {self.n_steps} temperatures"

    @property
    def how(self) -> str:
        """The method in words."""
        start = "chains that were run for long" if self.approximate else "the latents that made the rows"
        return f"{self.how_lower}, {self.n_chains} chains, and back from {start}"

    def __repr__(self) -> str:
        gap = self.gap()
        kind = "approximate, on given rows" if self.approximate else "on rows simulated from the model"
        lower, upper = (mean_over_rows(a[self.converged], a[self.converged]).value for a in (self.lower, self.upper))
        lines = [
            f"Bracket of log p(x), {kind}: {gap.n_rows} of {len(self.lower)} rows, nats a row",
            f"  lower  {lower:.3f}",
            f"  upper  {upper:.3f}",
            f"  gap    {gap.value:.3f} +- {gap.standard_error:.3f}",
        ]
        if self.approximate and not self.converged.all():
            lines.append(
                f"  {np.sum(~self.converged)} rows left out: R-hat of their chains is {CONVERGED_BELOW} or more"
            )
        return "\n".join(lines)


def bidirectional(
    p: GenerativeModel,
    q: AbstractInference,
    *,
    n_rows: int = 100,
    n_steps: int = 200,
    n_chains: int = 16,
    key: PRNGKeyArray,
    on_progress: Callable[[int], None] | None = None,
) -> Bracket:
    """Both bounds on rows that the model itself makes, where an exact posterior draw is known: the z that made the row.

    E[log (1/C) sum w] <= log p(x) <= E[-log (1/C) sum 1/w'], with w' the weights of the same run backwards. Their
    distance bounds the error of annealing with so many temperatures and chains on this model, from both sides.

    Args:
        p, q: the model and the q to start from.
        n_rows: how many rows to simulate; those that are not finite, for the decoder overflowed, are left out.
        n_steps, n_chains: as for `annealed_evidence`.
        key: noise.

    Returns a `Bracket` in the model's units. Raises `ValueError` for discrete latents and numbers that cannot be used.
    Source: Grosse, Ghahramani and Adams (2015); Wu, Burda, Salakhutdinov and Grosse (2017).
    """
    check_continuous(p)
    check_counts(n_rows=n_rows, n_steps=n_steps, n_chains=n_chains)
    x, z = simulate(p, n_rows, key=Stream.BRACKET_ROWS.of(key))
    usable = np.isfinite(x).all(axis=1)
    if not usable.any():
        raise ValueError(
            f"The model must make rows of finite numbers for its bracket; none of {n_rows} was finite; look at its "
            "samples, or fit it again."
        )
    schedule = information_schedule(p, q, n_steps, key=key)
    return _run(p, q, x[usable], None, z[usable], schedule, n_chains, 0, key, on_progress)


def approximate_bracket(
    p: GenerativeModel,
    q: AbstractInference,
    x: NDArray[Any],
    observed: NDArray[np.bool_] | None = None,
    *,
    n_steps: int = 200,
    n_chains: int = 16,
    n_moves: int = N_MOVES,
    key: PRNGKeyArray,
    on_progress: Callable[[int], None] | None = None,
) -> Bracket:
    """Both bounds on given rows, the upper one *approximate*: its chains start where a long run has ended.

    The forward chains, resampled by their weights, make `n_moves` more moves at the posterior; split R-hat (Gelman et
    al., 2013) of log p(x, z) and of every coordinate over their second halves says whether they agree; from where they
    end, the backward chains start. Chains that agree can still all have missed a mode: hence approximate.

    Args: as for `bidirectional`, with the rows x (n, d) and observed cells; n_moves: of the long run.
    """
    check_continuous(p)
    check_counts(n_steps=n_steps)
    # Fewer, and R-hat says nothing.
    check_counts(least=4, n_chains=n_chains)
    check_counts(least=8, n_moves=n_moves)
    schedule = information_schedule(p, q, n_steps, key=key)
    return _run(p, q, x, observed, None, schedule, n_chains, n_moves, key, on_progress)


def _run(
    p: GenerativeModel,
    q: AbstractInference,
    x: NDArray[Any],
    observed: NDArray[np.bool_] | None,
    z: NDArray[Any] | None,
    schedule: NDArray[np.float64],
    n_chains: int,
    n_moves: int,
    key: PRNGKeyArray,
    on_progress: Callable[[int], None] | None,
) -> Bracket:
    def both_ways(x: Any, observed: Any, hashes: Any, z: Any) -> tuple[NDArray[Any], ...]:
        rows = (x, observed, hashes)
        chains = RowChains(p, posteriors_of(p, q, *rows, key=key), *rows, n_chains=n_chains, key=key)
        step_size = chains.forward(schedule).step_size
        there, rhat = chains.log_weight, np.full(len(x), np.nan)
        if z is None:
            long = chains.onward(n_moves).quantities[:, 1:]
            rhat = np.array([np.max(_split_rhat(trace[n_moves // 2 :])) for trace in long.astype(float)])
            chains.stay()
        else:
            chains.place(z)
        chains.backward(schedule, step_size)
        return there, chains.log_weight, rhat

    rows = (*rows_of(p, x, observed), z)
    there, back, rhat = by_chunks(both_ways, *rows, rows_at_once=CHAIN_ROWS_AT_ONCE, on_progress=on_progress)
    lower, upper = logmeanexp(there, axis=1), -logmeanexp(-back, axis=1)
    return Bracket(lower, upper, len(schedule) - 1, n_chains, rhat if z is None else None)


def _split_rhat(trace: NDArray[np.float64]) -> NDArray[np.float64]:
    """Split R-hat of every quantity, for draws (t, c, k). Source: Gelman et al. (2013), section 11.4."""
    half = trace.shape[0] // 2
    split = np.concatenate([trace[:half], trace[half : 2 * half]], axis=1)
    within = split.var(axis=0, ddof=1).mean(axis=0)
    between = split.mean(axis=0).var(axis=0, ddof=1)
    # Chains that do not move have no within-variance, and have converged to nothing.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(within > 0, np.sqrt((half - 1) / half + between / within), np.inf)
