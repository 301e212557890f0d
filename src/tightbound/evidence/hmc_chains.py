"""Chains of Hamiltonian moves for some rows at once: one program for every length, direction and start.

A run is a list of moves, each at a temperature, after each of which a multiple of log p(x, z) - log q(z) is added to
the chain's log weight. From q to the posterior, back, and on at the posterior are three such lists, and the program,
whose compilation takes longer than most runs, does not depend on what is in them.
"""

from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.hmc import Path, Point, move, path_of
from tightbound.evidence.rows import Posteriors
from tightbound.model import DiagonalGaussian, FullGaussian, GenerativeModel
from tightbound.model.compiling import compiled
from tightbound.model.streams import Stream

N_LEAPFROG = 3
"""Of each move."""
FURTHEST = 2.0
"""How far a move may go, in q's units: a quarter of a turn (1.6) is where a Gaussian forgets its start, and after half
a turn (3.1) it is back at its mirror image."""
N_ADAPTATION_CHAINS = 4
"""Chains of each row that find the step size for the others, and are not counted."""
ACCEPTANCE = 0.75
"""What the step size aims at; between the 0.65 that is best for long trajectories (Beskos et al., 2013) and 1."""
GROUP = 8
"""Chains that resample among each other; groups stay independent, and so give the standard error."""
AT_ONCE = 64
"""Moves of one call of the program; longer runs take several."""
FULL_UP_TO = 64
"""Latents up to which a Gaussian q is written with its whole covariance: one program for all of them."""
_FIRST_STEP = 0.5
_ADAPTATION = 0.4
_START, _FORWARD, _RESAMPLING, _ON, _BACK = range(5)


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


class Chains(NamedTuple):
    """Where the chains of a row (or of many) are: those that count, and behind them the adaptation chains."""

    points: Point
    log_weight: Sum
    """Of those that count."""
    log_step: Array


class Moves(NamedTuple):
    """A run, or the part of it that one call makes; the first `length` entries of each array."""

    b: Float[Array, " t"]
    """The temperature of each move. What is called the first move only looks at where the chains start."""
    gain: Float[Array, " t"]
    """How often log p(x, z) - log q(z) is added to the log weight after it."""
    resampled: Float[Array, " t"]
    """1 where resampling may follow, else 0."""
    first: Array
    """The number of the first of them in the whole run."""
    length: Array
    adapting: Array
    """Whether adaptation chains set the step size; else it is given."""
    phase: Array
    """Which of a row's keys the noise comes from."""


class Trace(NamedTuple):
    """What was seen after each move, (t, chains, ...) a row."""

    u: Array
    log_weight: Array
    """log p(x, z) - log q(z)."""
    log_joint: Array
    step_size: Array
    """(t,)."""
    odd: Array


@final
class Trajectory:
    """A trace of rows on the host, with a first axis for the rows."""

    def __init__(self, parts: list[Trace], counts: list[int], n_chains: int):
        """Traces of one call each, of which the first so many moves were made."""
        self._parts, self._counts, self._n_chains = parts, counts, n_chains

    def _joined(self, name: str) -> NDArray[Any]:
        found = zip(self._parts, self._counts, strict=True)
        return np.concatenate([np.asarray(getattr(part, name))[:, :n] for part, n in found], axis=1)

    @property
    def increments(self) -> NDArray[np.float64]:
        """(n, t, c) log p(x, z) - log q(z) after each move, all chains."""
        return self._joined("log_weight").astype(float)

    @property
    def step_size(self) -> NDArray[Any]:
        """(n, t) of each move."""
        return self._joined("step_size")

    @property
    def quantities(self) -> NDArray[Any]:
        """(n, t, c, k + 1) the coordinates and log p(x, z) of the chains that count."""
        both = [self._joined("u"), self._joined("log_joint")[..., None]]
        return np.concatenate(both, axis=3)[:, :, : self._n_chains]

    @property
    def odd(self) -> NDArray[np.bool_]:
        """(n, c) which of the chains that count began where log p(x, z) is not a number."""
        return np.asarray(self._joined("odd")[:, 0, : self._n_chains])


@final
class RowChains:
    """The chains of some rows (n of them, together), which go where they are told to.

    Args:
        p, posteriors: model and q of the rows; x (n, d), observed (n, d) or None, hashes (n,): the rows.
        n_chains: how many count.
        n_leapfrog: gradients a move.
        resample: whether groups of 8 chains drop low weights for copies of high ones on the way from q.
        which: sets this pass over the rows apart from others.
        key: the noise; a row's own is fixed by it and the row's hash.
    """

    def __init__(
        self,
        p: GenerativeModel,
        posteriors: Posteriors,
        x: Array,
        observed: Array | None,
        hashes: Array,
        *,
        n_chains: int,
        n_leapfrog: int = N_LEAPFROG,
        resample: bool = False,
        which: int = 0,
        key: PRNGKeyArray,
    ):
        self._posteriors, self._keys, self._start = _begin(
            p, posteriors, x, observed, hashes, jnp.uint32(which), n_chains + N_ADAPTATION_CHAINS, key=key
        )
        self._p, self._x, self._observed = p, x, observed
        self._static = (n_chains, n_leapfrog, resample)
        self._chains = _at(self._start, n_chains, n_leapfrog)

    @property
    def log_weight(self) -> NDArray[np.float64]:
        """(n, c) of the last run, of the chains that count."""
        return np.asarray(self._chains.log_weight.value, float) + np.asarray(self._chains.log_weight.lost, float)

    def forward(self, schedule: NDArray[np.float64]) -> Trajectory:
        """From q to the posterior, at the temperatures b_0 = 0 < ... < b_K = 1; no move at the last: it would change
        no weight."""
        self._chains = _at(self._start, *self._static[:2])
        may_resample = np.arange(len(schedule) - 1) < len(schedule) - 2
        return self._run(schedule[:-1], np.diff(schedule), _FORWARD, may_resample)

    def onward(self, n_moves: int) -> Trajectory:
        """`n_moves` at the posterior, from places of the forward chains that their weights have picked."""
        self._stand(_picked(self._chains, self._keys, self._static[0]))
        length = n_moves + 1
        sizes = np.repeat(np.exp(np.asarray(self._chains.log_step))[:, None], length, axis=1)
        return self._run(np.ones(length), np.zeros(length), _ON, np.zeros(length), sizes)

    def stay(self) -> None:
        """From here on the chains are draws of the posterior; what they have weighed is forgotten."""
        self._stand(np.asarray(self._chains.points.u)[:, : self._static[0]])

    def place(self, z: Array) -> None:
        """All chains of each row to its z, (n, k)."""
        self._stand(_coordinates(self._p, self._posteriors, self._x, self._observed, z, self._static[0]))

    def backward(self, schedule: NDArray[np.float64], step_size: NDArray[Any]) -> Trajectory:
        """From draws of the posterior back to q; E[1 / w] = 1 / p(x).

        `step_size` (n, K) is what `forward` had at each temperature: found by chains that never saw these.
        Source: Grosse, Ghahramani and Adams (2015).
        """
        sizes = np.concatenate([step_size[:, :1], step_size[:, :0:-1]], axis=1)
        b = np.concatenate([schedule[-1:], schedule[-2:0:-1]])
        return self._run(b, np.diff(schedule)[::-1], _BACK, np.zeros(len(b)), sizes)

    def _stand(self, u: Array | NDArray[Any]) -> None:
        """The chains that count at these places, (n, c, k); the others have nothing to find there and go along."""
        self._chains = _at(_with_adaptation_chains(jnp.asarray(u)), *self._static[:2], self._chains.log_step)

    def _run(
        self,
        b: NDArray[Any],
        gain: NDArray[Any],
        phase: int,
        resampled: NDArray[Any],
        sizes: NDArray[Any] | None = None,
    ) -> Trajectory:
        parts, counts, dtype = [], [], self._x.dtype
        given = np.zeros((len(self._x), len(b))) if sizes is None else sizes
        for start in range(0, len(b), AT_ONCE):
            count = min(AT_ONCE, len(b) - start)
            these = [
                jnp.asarray(np.pad(np.asarray(a[..., start : start + count], dtype), _ragged(a.ndim, AT_ONCE - count)))
                for a in (b, gain, resampled, given)
            ]
            moves = Moves(
                these[0],
                these[1],
                these[2],
                jnp.int32(start),
                jnp.int32(count),
                jnp.asarray(sizes is None),
                jnp.int32(phase),
            )
            rows = (self._x, self._observed, self._keys)
            self._chains, trace = _run(self._p, self._posteriors, *rows, self._chains, moves, these[3], *self._static)
            parts.append(trace)
            counts.append(count)
        return Trajectory(parts, counts, self._static[0])


def _ragged(ndim: int, missing: int) -> list[tuple[int, int]]:
    return [(0, 0)] * (ndim - 1) + [(0, missing)]


@compiled
def _with_adaptation_chains(u: Array) -> Array:
    return jnp.concatenate([u, jnp.repeat(u[:, :1], N_ADAPTATION_CHAINS, axis=1)], axis=1)


@compiled
def _at(u: Array, n_chains: int, n_leapfrog: int, log_step: Array | None = None) -> Chains:
    """Chains that stand at u (n, c, k) and have seen nothing yet: any place is better, so their first move, of length
    0, is always made, and looks at where they are. (To look outside the loop would compile the model twice.)"""
    nothing = jnp.full(u.shape[:2], -jnp.inf, u.dtype)
    flat = jnp.zeros_like(u)
    points = Point(u, nothing, nothing, flat, flat, jnp.ones(u.shape[:2], bool))
    zero = jnp.zeros((len(u), n_chains), u.dtype)
    first = jnp.log(jnp.full(len(u), min(_FIRST_STEP, FURTHEST / n_leapfrog), u.dtype))
    return Chains(points, Sum(zero, zero), first if log_step is None else log_step)


@compiled
def _begin(
    p: GenerativeModel,
    posteriors: Posteriors,
    x: Array,
    observed: Array | None,
    hashes: Array,
    which: Array,
    n_chains: int,
    *,
    key: PRNGKeyArray,
) -> tuple[Posteriors, Array, Array]:
    """q as a run takes it, keys (n, phases), and draws of q in its coordinates (n, c, k)."""
    posteriors = _with_covariance(posteriors)

    def one(x: Array, mask: Array | None, found: Any, h: Array) -> tuple[Array, Array]:
        keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, h), which), 5)
        path = path_of(p, posteriors.of_row(p, found), x, mask)
        return keys, jax.vmap(lambda k: path.draw(key=k))(jax.random.split(keys[_START], n_chains))

    keys, start = jax.vmap(one)(x, observed, posteriors.found, hashes)
    return posteriors, keys, start


def _with_covariance(posteriors: Posteriors) -> Posteriors:
    found = posteriors.found
    if not isinstance(found, DiagonalGaussian) or found.loc.shape[1] > FULL_UP_TO:
        return posteriors
    return Posteriors(None, jax.vmap(lambda q: FullGaussian(q.loc, jnp.diag(q.scale)))(found))


@compiled
def _coordinates(
    p: GenerativeModel, posteriors: Posteriors, x: Array, observed: Array | None, z: Array, n_chains: int
) -> Array:
    def one(x: Array, mask: Array | None, found: Any, z: Array) -> Array:
        return jnp.tile(path_of(p, posteriors.of_row(p, found), x, mask).coordinates(z), (n_chains, 1))

    return jax.vmap(one)(x, observed, posteriors.found, z)


@compiled
def _picked(chains: Chains, keys: Array, n_chains: int) -> Array:
    """As many places as there are chains that count, (n, c, k), each with the probability that its weight gives it."""

    def one(u: Array, log_weight: Array, key: Array) -> Array:
        finite = jnp.where(jnp.isfinite(log_weight), log_weight, -1e30)
        return u[jax.random.categorical(Stream.PICKING.of(key), finite, shape=(n_chains,))]

    return jax.vmap(one)(chains.points.u, chains.log_weight.total, keys[:, _ON])


@compiled
def _run(
    p: GenerativeModel,
    posteriors: Posteriors,
    x: Array,
    observed: Array | None,
    keys: Array,
    chains: Chains,
    moves: Moves,
    sizes: Array,
    n_chains: int,
    n_leapfrog: int,
    resample: bool,
) -> tuple[Chains, Trace]:
    def one(
        x: Array, mask: Array | None, found: Any, keys: Array, chains: Chains, sizes: Array
    ) -> tuple[Chains, Trace]:
        path, key = path_of(p, posteriors.of_row(p, found), x, mask), keys[moves.phase]

        def step(i: Array, carry: tuple[Chains, Trace]) -> tuple[Chains, Trace]:
            chains, trace = carry
            chains, seen = _moved(path, chains, moves, i, sizes[i], n_chains, n_leapfrog, key=key)
            trace = jax.tree.map(lambda all_of, now: all_of.at[i].set(now), trace, seen)
            if resample:
                key_now = jax.random.fold_in(keys[_RESAMPLING], moves.first + i)
                points, log_w = _resampled(chains.points, chains.log_weight, n_chains, moves.resampled[i], key=key_now)
                chains = Chains(points, log_w, chains.log_step)
            return chains, trace

        at = chains.points
        empty = Trace(at.u, at.log_q, at.log_q, chains.log_step, at.odd)
        empty = jax.tree.map(lambda a: jnp.zeros((AT_ONCE, *a.shape), a.dtype), empty)
        return jax.lax.fori_loop(0, moves.length, step, (chains, empty))

    return jax.vmap(one)(x, observed, posteriors.found, keys, chains, sizes)


def _moved(
    path: Path,
    chains: Chains,
    moves: Moves,
    i: Array,
    size: Array,
    n_chains: int,
    n_leapfrog: int,
    *,
    key: PRNGKeyArray,
) -> tuple[Chains, Trace]:
    """The chains of one row after one more move, and what was seen there."""
    t = moves.first + i
    used = jnp.where(t == 0, 0, jnp.where(moves.adapting, jnp.exp(chains.log_step), size))
    keys = jax.random.split(jax.random.fold_in(key, t), n_chains + N_ADAPTATION_CHAINS)
    b = moves.b[i]
    points, acceptance = jax.vmap(lambda at, k: move(path, at, b, used, n_leapfrog, key=k))(chains.points, keys)
    found = chains.log_step + _ADAPTATION * (jnp.mean(acceptance[n_chains:]) - ACCEPTANCE)
    longest = jnp.log(jnp.asarray(FURTHEST / n_leapfrog, used.dtype))
    log_step = jnp.where(moves.adapting & (t > 0), jnp.minimum(found, longest), chains.log_step)
    values = points.log_weight
    gain = moves.gain[i]
    log_weight = chains.log_weight.plus(jnp.where(gain == 0, 0, gain * values[:n_chains]))
    return Chains(points, log_weight, log_step), Trace(points.u, values, points.log_joint, used, points.odd)


def _resampled(points: Point, log_w: Sum, n_chains: int, wanted: Array, *, key: PRNGKeyArray) -> tuple[Point, Sum]:
    """Within each group whose effective size is below half: systematic resampling, and equal weights after it."""
    grouped = log_w.total.reshape(-1, GROUP)
    total = logsumexp(grouped, axis=1, keepdims=True)
    share = jnp.exp(grouped - jnp.where(jnp.isfinite(total), total, 0))
    poor = 1 / jnp.maximum(jnp.sum(share**2, axis=1), 1e-30) < 0.5 * GROUP
    poor = poor & jnp.isfinite(total[:, 0]) & (wanted > 0)
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
