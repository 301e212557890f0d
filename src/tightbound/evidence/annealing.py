"""log p(x) by annealing from q(z | x) to p(x, z): chains that start where q says and end at the posterior."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.hmc import GROUP, N_ADAPTATION_CHAINS, N_LEAPFROG, RowChains
from tightbound.evidence.result import Evidence, Method
from tightbound.evidence.rows import CHAIN_ROWS_AT_ONCE, by_chunks, posteriors_of, rows_of, simulate
from tightbound.evidence.weights import ess_and_khat, logmeanexp
from tightbound.learn import AbstractInference
from tightbound.model import GenerativeModel
from tightbound.model.streams import Stream

CHAINS_AT_ONCE = 2000
"""Chains in flight, those of all rows together."""
N_CHAINS = 16
_USUAL = {
    "n_steps": 50,
    "n_chains": N_CHAINS,
    "n_leapfrog": N_LEAPFROG,
    "chains_at_once": CHAINS_AT_ONCE,
    "n_moves": 200,
}
_PILOT_ROWS, _PILOT_STEPS = 32, 32
_FEWEST_FOR_KHAT = 25

Schedule = NDArray[np.float64]


def annealed_evidence(
    p: GenerativeModel,
    q: AbstractInference,
    x: NDArray[Any],
    observed: NDArray[np.bool_] | None = None,
    *,
    n_steps: int = 50,
    n_chains: int = 16,
    n_leapfrog: int = N_LEAPFROG,
    schedule: Schedule | None = None,
    resample: bool = False,
    key: PRNGKeyArray,
    chains_at_once: int = CHAINS_AT_ONCE,
    on_progress: Callable[[int], None] | None = None,
) -> Evidence:
    """Estimate log p(x) of every row by annealed importance sampling that starts at q(z | x).

    Chains walk through pi_b(z) = q(z | x)^(1-b) p(x, z)^b for 0 = b_0 < ... < b_K = 1; with z_0 ~ q and z_t the place
    after the move at b_t, log w = sum_t (b_t - b_(t-1)) [log p(x, z_(t-1)) - log q(z_(t-1) | x)], and
    E[w] = p(x): the log of their mean is a lower bound of log p(x) in expectation, as for plain importance sampling,
    to which one step (K = 1) comes down. Moves are Hamiltonian, in the coordinates in which q is standard; their step
    size is found by a few further chains of the row (`N_ADAPTATION_CHAINS`) that are not counted, so that the counted
    ones stay exactly right.

    Args:
        p, q, x, observed, key, on_progress: as for `importance_evidence`; the row's own noise here too.
        n_steps: K, temperatures.
        n_chains: independent chains a row.
        n_leapfrog: gradients a move.
        schedule: (K + 1,) b_0 ... b_K (None: `information_schedule` of this model).
        resample: sequential Monte Carlo: groups of 8 chains drop low weights for copies of high ones on the way.
            The standard error, the effective size and `n_samples` are then of groups.
        chains_at_once: how many are held in memory, all rows together. A row with more chains than that takes several
            passes, each with noise and adaptation chains of its own; else it changes nothing.

    Returns an `Evidence` in the model's units; its `elbo` is the mean first weight's, that of q.
    Raises `ValueError` for models with discrete latents and numbers that cannot be used.
    Source: Neal (2001); Wu, Burda, Salakhutdinov and Grosse (2017), who start at the prior; Del Moral, Doucet and Jasra
    (2006) for resampling.
    """
    check_continuous(p)
    check_counts(n_steps=n_steps, n_chains=n_chains, n_leapfrog=n_leapfrog, chains_at_once=chains_at_once)
    _check_groups(n_chains, resample)
    if schedule is None:
        schedule = information_schedule(p, q, n_steps, key=key)
    b = _checked(schedule, x.dtype)
    unit = GROUP if resample else 1
    at_once = max(unit, min(n_chains, (chains_at_once - N_ADAPTATION_CHAINS) // unit * unit))
    passes = -(-n_chains // at_once)
    rows_at_once = max(1, chains_at_once // (at_once + N_ADAPTATION_CHAINS))
    options: dict[str, Any] = {"n_chains": at_once, "n_leapfrog": n_leapfrog, "resample": resample}
    options["key"] = Stream.ANNEALING.of(key)

    def annealed(*rows: Any) -> list[NDArray[Any]]:
        posteriors = posteriors_of(p, q, *rows, key=key)
        found = [_annealed(RowChains(p, posteriors, *rows, which=i, **options), b) for i in range(passes)]
        return [np.concatenate(each, axis=1)[:, :n_chains] for each in zip(*found, strict=True)]

    rows = rows_of(p, x, observed)
    log_w, first, odd = by_chunks(annealed, *rows, rows_at_once=rows_at_once, on_progress=on_progress)
    # The adaptation chains' gradients count too, and those of the look at the start: they are work that was done.
    work = (n_chains + passes * N_ADAPTATION_CHAINS) * 3 * n_leapfrog * (len(b) - 1)
    return summarised(log_w, first, odd, group=unit, work=work)


def _annealed(chains: RowChains, b: Schedule) -> tuple[NDArray[Any], ...]:
    """Log weights of the chains that count, those of q among them, and which are not numbers, each (n, c)."""
    trajectory = chains.forward(b)
    log_w = chains.log_weight
    return log_w, trajectory.increments[:, 0, : log_w.shape[1]], trajectory.odd


def information_schedule(
    p: GenerativeModel, q: AbstractInference, n_steps: int, *, key: PRNGKeyArray
) -> NDArray[np.float64]:
    """Temperatures b_0 = 0 < ... < b_K = 1 that are equal steps of information, (n_steps + 1,).

    The variance of an annealed weight is least when each step is as long as every other in the Fisher metric of the
    path, whose element is the standard deviation of log p(x, z) - log q(z | x) under pi_b (Gelman and Meng, 1998;
    Grosse, Maddison and Salakhutdinov, 2013). See `information_length`.
    """
    return equal_steps(information_length(p, q, key=key), n_steps)


def information_length(p: GenerativeModel, q: AbstractInference, *, key: PRNGKeyArray) -> NDArray[np.float64]:
    """How far along the path each of 33 even values of b is, from 0 to the whole length.

    It is measured on rows that the model itself makes: the schedule belongs to the model and its q, and a row's
    estimate does not depend on the rows beside it.
    """
    grid = np.linspace(0, 1, _PILOT_STEPS + 1)
    made, _ = simulate(p, _PILOT_ROWS, key=Stream.PILOT_ROWS.of(key))
    keyed = Stream.PILOT.of(key)

    def increments(*rows: Any) -> NDArray[np.float64]:
        posteriors = posteriors_of(p, q, *rows, key=keyed)
        return RowChains(p, posteriors, *rows, n_chains=N_CHAINS, key=keyed).forward(grid).increments

    values = by_chunks(increments, *rows_of(p, made, None), rows_at_once=CHAIN_ROWS_AT_ONCE)
    # (rows, steps, chains); a robust spread, for a single chain far out would take all steps for itself.
    finite = np.isfinite(values)
    known = np.where(finite, values, np.where(finite.any(axis=2, keepdims=True), np.nan, 0))
    low, high = np.nanquantile(known, [0.15, 0.85], axis=2)
    spread = np.sqrt(np.mean((high - low) ** 2, axis=0)) / 2.07
    # Never less than a tenth of the mean anywhere: the pilot is short, and a flat stretch is cheap to be careful in.
    speed = np.maximum(spread, 0.1 * spread.mean() + 1e-12)
    return np.concatenate([[0], np.cumsum(speed * np.diff(grid))])


def equal_steps(length: NDArray[np.float64], n_steps: int) -> NDArray[np.float64]:
    """The schedule of `n_steps` equal parts of such a length."""
    grid = np.linspace(0, 1, len(length))
    schedule = np.interp(np.linspace(0, length[-1], n_steps + 1), length, grid)
    schedule[[0, -1]] = 0, 1
    return schedule


def summarised(
    log_w: NDArray[np.float64], first: NDArray[np.float64], odd: NDArray[np.bool_], *, group: int, work: int
) -> Evidence:
    """Evidence from the log weights of chains, (n, c); groups of `group` chains are the independent units."""
    n, c = log_w.shape
    level = log_w if group == 1 else logmeanexp(log_w.reshape(n, -1, group), axis=2)
    units = level.shape[1]
    estimate = logmeanexp(level, axis=1)
    ess, khat = ess_and_khat(level)
    with np.errstate(invalid="ignore", over="ignore"):
        w = np.exp(level - np.where(np.isfinite(estimate), estimate, 0)[:, None])
        error = np.sqrt(w.var(axis=1, ddof=1) / units) if units > 1 else np.full(n, np.nan)
        first = np.where(odd, -np.inf, first)
        elbo_error = first.std(axis=1, ddof=1) / np.sqrt(c) if c > 1 else np.full(n, np.nan)
    return Evidence(
        log_evidence=estimate,
        standard_error=np.where(np.isfinite(estimate), error, np.nan),
        elbo=first.mean(axis=1),
        elbo_standard_error=elbo_error,
        ess=ess,
        khat=khat if units >= _FEWEST_FOR_KHAT else np.full(n, np.nan),
        n_samples=np.full(n, units),
        method=np.full(n, Method.ANNEALED, dtype=object),
        work=np.full(n, work),
        n_discarded=odd.sum(axis=1),
    )


def check_continuous(p: GenerativeModel) -> None:
    """Refuse discrete latents (`ValueError`): there is no gradient to follow."""
    if p.prior.plain.n_states is not None:
        raise ValueError(
            "Annealing must have continuous latents, for its moves follow gradients; this model's are discrete; use "
            "method exact where they can be enumerated, else importance."
        )


def check_counts(least: int = 1, **counts: int) -> None:
    """Refuse numbers of steps, chains, ... that are not whole or below `least` (`ValueError`)."""
    for name, value in counts.items():
        if not isinstance(value, int | np.integer) or value < least:
            usual = _USUAL.get(name, 100)
            raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}; {usual} is usual.")


def _check_groups(n_chains: int, resample: bool) -> None:
    if resample and n_chains % GROUP:
        raise ValueError(
            f"n_chains must be a multiple of {GROUP} with resample=True, for chains resample in groups of that size; "
            f"got {n_chains}; 32 is usual."
        )


def _checked(schedule: Schedule, dtype: Any) -> Schedule:
    """The temperatures, of which in the precision of the chains no two may be the same."""
    b = np.asarray(schedule, dtype)
    if b.ndim != 1 or len(b) < 2 or b[0] != 0 or b[-1] != 1 or not np.all(np.diff(b) > 0):
        raise ValueError(
            f"schedule must rise from 0 to 1, each temperature above the one before; got {b.tolist()}; leave it "
            "out for one that fits the model."
        )
    return np.asarray(b, float)
