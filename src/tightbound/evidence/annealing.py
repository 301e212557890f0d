"""log p(x) by annealing from q(z | x) to p(x, z): chains that start where q says and end at the posterior."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32
from numpy.typing import NDArray

from tightbound.evidence.hamiltonian import Path, Point, move, path_of
from tightbound.evidence.importance import INNER_LOOP, chunks, mask_of, row_hashes, take
from tightbound.evidence.pareto import pareto_khat, tail_length
from tightbound.evidence.result import Evidence, Method
from tightbound.learn import AbstractInference, plain_prior
from tightbound.model import GenerativeModel, n_states

CHAINS_AT_ONCE = 2000
"""Chains in flight, those of all rows together."""
N_LEAPFROG = 3
"""Of each move."""
FURTHEST = 2.0
"""How far a move may go, in q's units: a quarter of a turn (1.6) is where a Gaussian forgets its start, and after half
a turn (3.1) it is back at its mirror image."""
N_SCOUTS = 4
"""Chains of each row that find the step size for the others, and are not counted."""
ACCEPTANCE = 0.75
"""What the step size aims at; between the 0.65 that is best for long trajectories (Beskos et al., 2013) and 1."""
_FIRST_STEP = 0.5
_ADAPTATION = 0.4
GROUP = 8
"""Chains that resample among each other; groups stay independent, and so give the standard error."""
_USUAL = {"n_steps": 50, "n_chains": 16, "n_leapfrog": N_LEAPFROG, "chains_at_once": CHAINS_AT_ONCE, "n_moves": 200}
_PILOT_ROWS, _PILOT_STEPS, _PILOT_CHAINS = 32, 32, 8
_ANNEALING, _PILOT, _SIMULATED = 2**32 - 4, 2**32 - 5, 2**32 - 6

Schedule = NDArray[np.float64]


class Annealed(NamedTuple):
    """What the forward chains of one row found."""

    log_weight: Float[Array, " c"]
    """Log importance weight of every counted chain."""
    last: Float[Array, "c k"]
    """Where they ended, in q's coordinates: the weighted chains are draws of the posterior."""
    step_size: Float[Array, " t"]
    """Of the moves at each temperature, as the scouts found it."""
    increments: Float[Array, "t c"]
    """log p(x, z) - log q(z) at the start of each step, all chains."""
    odd: Array
    """Which of the counted chains began where log p(x, z) is not a number."""


class Sum(NamedTuple):
    """A running sum and what rounding has taken from it: in float32 a thousand terms alike would miss by 0.01 %."""

    value: Array
    lost: Array

    def plus(self, term: Array) -> "Sum":
        """With one more term. Source: Knuth (1997), section 4.2.2, theorem B."""
        value = self.value + term
        part = value - self.value
        error = (self.value - (value - part)) + (term - part)
        return Sum(value, self.lost + jnp.where(jnp.isfinite(error), error, 0))

    @property
    def total(self) -> Array:
        """The sum."""
        return self.value + self.lost


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
    size is found by a few further chains of the row (`N_SCOUTS`) that are not counted, so that the counted ones stay
    exactly right.

    Args:
        p, q, x, observed, key, on_progress: as for `importance_evidence`; the row's own noise here too.
        n_steps: K, temperatures.
        n_chains: independent chains a row.
        n_leapfrog: gradients a move.
        schedule: (K + 1,) b_0 ... b_K (None: `information_schedule` of this model).
        resample: sequential Monte Carlo: groups of 8 chains drop low weights for copies of high ones on the way.
            The standard error, the effective size and `n_samples` are then of groups.
        chains_at_once: how many are held in memory, all rows together. A row with more chains than that takes several
            passes, each with noise and scouts of its own; else it changes nothing.

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
    at_once = max(unit, min(n_chains, (chains_at_once - N_SCOUTS) // unit * unit))
    passes = -(-n_chains // at_once)
    rows_at_once = max(1, chains_at_once // (at_once + N_SCOUTS))
    options = (at_once, n_leapfrog, resample)
    observed = mask_of(p, x, observed)
    parts = []
    for start, size in chunks(len(x), rows_at_once):
        rows = take(x, start, size, rows_at_once)
        mask = None if observed is None else take(observed, start, size, rows_at_once)
        given = (jnp.asarray(rows), None if mask is None else jnp.asarray(mask), jnp.asarray(row_hashes(rows, mask)))
        found = [jax.device_get(_anneal_rows(p, q, *given, b, jnp.uint32(i), *options, key=key)) for i in range(passes)]
        log_w, first, odd = (np.concatenate([f[j] for f in found], axis=1)[:size] for j in range(3))
        parts.append((log_w[:, :n_chains].astype(float), first[:, :n_chains].astype(float), odd[:, :n_chains]))
        if on_progress is not None:
            on_progress(start + size)
    log_w, first, odd = (np.concatenate([part[j] for part in parts]) for j in range(3))
    # The scouts' gradients count too: they are work that was done.
    work = (n_chains + passes * N_SCOUTS) * (1 + 3 * n_leapfrog * (len(b) - 2))
    return summarised(log_w, first, odd, group=unit, work=work)


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
    x, _ = simulate(p, _PILOT_ROWS, key=jax.random.fold_in(key, _SIMULATED))
    hashes = jnp.asarray(row_hashes(np.asarray(x), None))
    keyed = jax.random.fold_in(key, _PILOT)
    values = np.asarray(_pilot(p, q, x, hashes, jnp.asarray(grid, x.dtype), key=keyed), float)
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


def simulate(p: GenerativeModel, n: int, *, key: PRNGKeyArray) -> tuple[Array, Array]:
    """n draws (x, z) from the model, (n, d) and (n, k): each z is an exact posterior draw given its x."""
    return _simulate(p, jax.random.split(key, n))


@eqx.filter_jit
def _simulate(p: GenerativeModel, keys: Array) -> tuple[Array, Array]:
    return jax.vmap(lambda key: p.sample(key=key))(keys)


@eqx.filter_jit
def _pilot(
    p: GenerativeModel, q: AbstractInference, x: Array, hashes: Array, schedule: Array, *, key: PRNGKeyArray
) -> Array:
    def one(x: Array, h: Array) -> Array:
        path, key_row = row_path(p, q, x, None, h, key=key)
        return forward(path, schedule, _PILOT_CHAINS, N_LEAPFROG, key=key_row).increments

    return jax.vmap(one)(x, hashes)


@eqx.filter_jit
def _anneal_rows(
    p: GenerativeModel,
    q: AbstractInference,
    x: Float[Array, "n d"],
    observed: Bool[Array, "n d"] | None,
    hashes: UInt32[Array, " n"],
    schedule: Float[Array, " t"],
    which: Array,
    n_chains: int,
    n_leapfrog: int,
    resample: bool,
    *,
    key: PRNGKeyArray,
) -> tuple[Array, Array, Array]:
    def one(x: Array, mask: Array | None, h: Array) -> tuple[Array, Array, Array]:
        path, key_row = row_path(p, q, x, mask, h, key=key)
        found = forward(path, schedule, n_chains, n_leapfrog, resample=resample, key=jax.random.fold_in(key_row, which))
        return found.log_weight, found.increments[0, :n_chains], found.odd

    return jax.vmap(one, in_axes=(0, None if observed is None else 0, 0))(x, observed, hashes)


def row_path(
    p: GenerativeModel, q: AbstractInference, x: Array, mask: Array | None, row_hash: Array, *, key: PRNGKeyArray
) -> tuple[Path, PRNGKeyArray]:
    """The path of one row and the key of its chains; q is the very one that `importance_evidence` finds with `key`."""
    inner = jax.random.fold_in(jax.random.fold_in(key, INNER_LOOP), row_hash)
    path = path_of(p, q(p, x, mask, key=inner), x, mask)
    return path, jax.random.fold_in(jax.random.fold_in(key, _ANNEALING), row_hash)


def forward(
    path: Path, schedule: Array, n_chains: int, n_leapfrog: int, *, resample: bool = False, key: PRNGKeyArray
) -> Annealed:
    """Chains of one row from q to the posterior: `n_chains` that count, and the scouts."""
    key_start, key_moves, key_resample = jax.random.split(key, 3)
    u = jax.vmap(lambda k: path.draw(key=k))(jax.random.split(key_start, n_chains + N_SCOUTS))
    points = jax.vmap(path.point)(u)
    odd = points.odd[:n_chains]
    longest = jnp.log(jnp.asarray(FURTHEST / n_leapfrog, u.dtype))

    def step(carry: tuple[Point, Sum, Array], t: Array) -> tuple[tuple[Point, Sum, Array], tuple[Array, Array]]:
        points, log_w, log_step = carry
        b = schedule[t]
        values = points.log_weight
        log_w = log_w.plus((b - schedule[t - 1]) * values[:n_chains])
        if resample:
            points, log_w = _resampled(points, log_w, n_chains, key=jax.random.fold_in(key_resample, t))
        keys = jax.random.split(jax.random.fold_in(key_moves, t), n_chains + N_SCOUTS)
        used = jnp.exp(log_step)
        points, acceptance = jax.vmap(lambda at, k: move(path, at, b, used, n_leapfrog, key=k))(points, keys)
        log_step = log_step + _ADAPTATION * (jnp.mean(acceptance[n_chains:]) - ACCEPTANCE)
        log_step = jnp.minimum(log_step, longest)
        return (points, log_w, log_step), (used, values)

    n_steps = schedule.shape[0] - 1
    first_step = jnp.minimum(jnp.log(jnp.asarray(_FIRST_STEP, u.dtype)), longest)
    nothing = jnp.zeros(n_chains, u.dtype)
    start = (points, Sum(nothing, nothing), first_step)
    # No move at b = 1: it would change no weight.
    (points, log_w, log_step), (sizes, values) = jax.lax.scan(step, start, jnp.arange(1, n_steps))
    last = points.log_weight
    log_w = log_w.plus((schedule[n_steps] - schedule[n_steps - 1]) * last[:n_chains])
    sizes = jnp.concatenate([sizes, jnp.exp(log_step)[None]])
    return Annealed(log_w.total, points.u[:n_chains], sizes, jnp.concatenate([values, last[None]]), odd)


def reverse(
    path: Path, schedule: Array, start: Float[Array, "c k"], step_size: Array, n_leapfrog: int, *, key: PRNGKeyArray
) -> Float[Array, " c"]:
    """Log weights of the same walk backwards, from posterior draws (in q's coordinates) to q; E[1 / w] = 1 / p(x).

    `step_size` is that of `forward` at each temperature: found by chains that never saw `start`.
    Source: Grosse, Ghahramani and Adams (2015).
    """
    points = jax.vmap(path.point)(start)
    n_steps = schedule.shape[0] - 1
    first = (schedule[n_steps] - schedule[n_steps - 1]) * points.log_weight

    def step(carry: tuple[Point, Sum], t: Array) -> tuple[tuple[Point, Sum], None]:
        points, log_w = carry
        keys = jax.random.split(jax.random.fold_in(key, t), start.shape[0])
        b, size = schedule[t], step_size[t - 1]
        points, _ = jax.vmap(lambda at, k: move(path, at, b, size, n_leapfrog, key=k))(points, keys)
        return (points, log_w.plus((b - schedule[t - 1]) * points.log_weight)), None

    start_sum = Sum(first, jnp.zeros_like(first))
    return jax.lax.scan(step, (points, start_sum), jnp.arange(n_steps - 1, 0, -1))[0][1].total


def _resampled(points: Point, log_w: Sum, n_chains: int, *, key: PRNGKeyArray) -> tuple[Point, Sum]:
    """Within each group whose effective size is below half: systematic resampling, and equal weights after it."""
    grouped = log_w.total.reshape(-1, GROUP)
    total = logsumexp(grouped, axis=1, keepdims=True)
    share = jnp.exp(grouped - jnp.where(jnp.isfinite(total), total, 0))
    poor = 1 / jnp.maximum(jnp.sum(share**2, axis=1), 1e-30) < 0.5 * GROUP
    poor = poor & jnp.isfinite(total[:, 0])
    # From 0 (without) to 1 (with): a mark at 0 would pick a first chain whose weight is zero.
    offset = 1 - jax.random.uniform(key, (len(grouped), 1), grouped.dtype)
    marks = (jnp.arange(GROUP)[None, :] + offset) / GROUP
    cumulative = jnp.cumsum(share, axis=1)
    picked = jax.vmap(jnp.searchsorted)(cumulative / cumulative[:, -1:], marks).clip(0, GROUP - 1)
    own = jnp.arange(GROUP)[None, :]
    source = (jnp.where(poor[:, None], picked, own) + GROUP * jnp.arange(len(grouped))[:, None]).reshape(-1)
    index = jnp.concatenate([source, jnp.arange(n_chains, points.u.shape[0])])
    level = jnp.broadcast_to(total - jnp.log(GROUP).astype(grouped.dtype), grouped.shape).reshape(-1)
    changed = jnp.repeat(poor, GROUP)
    log_w = Sum(jnp.where(changed, level, log_w.value), jnp.where(changed, 0, log_w.lost))
    return jax.tree.map(lambda leaf: leaf[index], points), log_w


def summarised(
    log_w: NDArray[np.float64], first: NDArray[np.float64], odd: NDArray[np.bool_], *, group: int, work: int
) -> Evidence:
    """Evidence from the log weights of chains, (n, c); groups of `group` chains are the independent units."""
    n, c = log_w.shape
    level = log_w if group == 1 else logmeanexp(log_w.reshape(n, -1, group), axis=2)
    units = level.shape[1]
    estimate = logmeanexp(level, axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        w = np.exp(level - np.where(np.isfinite(estimate), estimate, 0)[:, None])
        ess = w.sum(axis=1) ** 2 / (w**2).sum(axis=1)
        error = np.sqrt(w.var(axis=1, ddof=1) / units) if units > 1 else np.full(n, np.nan)
        first = np.where(odd, -np.inf, first)
        elbo_error = first.std(axis=1, ddof=1) / np.sqrt(c) if c > 1 else np.full(n, np.nan)
    khat = np.full(n, np.nan)
    if units >= 25:
        finite = np.isfinite(estimate)
        tail = np.sort(level[finite], axis=1)[:, -tail_length(units) - 1 :]
        khat[finite] = pareto_khat(np.maximum(tail, tail[:, -1:] - 700))
    return Evidence(
        log_evidence=estimate,
        standard_error=np.where(np.isfinite(estimate), error, np.nan),
        elbo=first.mean(axis=1),
        elbo_standard_error=elbo_error,
        ess=ess,
        khat=khat,
        n_samples=np.full(n, units),
        method=np.full(n, Method.ANNEALED, dtype=object),
        work=np.full(n, work),
        n_discarded=odd.sum(axis=1),
    )


def logmeanexp(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """log of the mean of exp(values) along an axis; -inf where all are."""
    top = values.max(axis=axis, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(np.log(np.mean(np.exp(values - safe), axis=axis)) + np.squeeze(safe, axis=axis))


def check_continuous(p: GenerativeModel) -> None:
    """Refuse discrete latents (`ValueError`): there is no gradient to follow."""
    if n_states(plain_prior(p)) is not None:
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


def _checked(schedule: Schedule, dtype: Any) -> Array:
    """The temperatures in the precision of the chains, where no two may be the same."""
    b = np.asarray(schedule, dtype)
    if b.ndim != 1 or len(b) < 2 or b[0] != 0 or b[-1] != 1 or not np.all(np.diff(b) > 0):
        raise ValueError(
            f"schedule must rise from 0 to 1, each temperature above the one before; got {b.tolist()}; leave it "
            "out for one that fits the model."
        )
    return jnp.asarray(b)
