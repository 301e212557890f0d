"""Hamiltonian Monte Carlo over the latents of each row: one move, and runs of many, tempered or not."""

from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.rows import Posteriors
from tightbound.model import AbstractDistribution, DiagonalGaussian, FullGaussian, GenerativeModel, Transformed
from tightbound.model.compiling import compiled
from tightbound.model.distributions import Latent, Mask, Scalar
from tightbound.model.streams import Stream

SHORTEST = 0.3
"""Each move takes steps of its own, from this share of the step size to all of it."""


class Point(NamedTuple):
    """A place of a chain with what is known there, so that no gradient is taken twice: both ends of the path."""

    u: Latent
    """Coordinates: z = loc + scale u, or what a flow makes of that."""
    log_q: Scalar
    """With respect to loc + scale u, as the next."""
    log_joint: Scalar
    grad_q: Latent
    grad_joint: Latent
    odd: Bool[Array, ""]
    """Whether log p(x, z) or log q(z) was not a number here."""

    @property
    def log_weight(self) -> Float[Array, "*n"]:
        """log p(x, z) - log q(z): what a step of the path adds, for each unit of b; of one place or of many."""
        return jnp.where(self.odd | (self.log_joint == -jnp.inf), -jnp.inf, self.log_joint - self.log_q)


class Path(eqx.Module):
    """The two ends for one row: q, and p(x, z) as a function of z; nats."""

    p: GenerativeModel
    base: AbstractDistribution
    """q itself, or what its flow transforms."""
    flow: Transformed | None
    x: Array
    observed: Mask
    loc: Latent
    scale: Array
    """(k,) standard deviations of the base, or (k, k) the Cholesky factor of a Gaussian with one."""

    def draw(self, *, key: PRNGKeyArray) -> Latent:
        """Coordinates of a draw of q."""
        return self._white(self.base.sample(key=key))

    def coordinates(self, z: Latent) -> Latent:
        """u of z."""
        return self._white(z if self.flow is None else self.flow.bijection.inverse(z, self.flow.context)[0])

    def point(self, u: Latent) -> Point:
        """Both log densities and their gradients at u."""
        log_q, grad_q = jax.value_and_grad(self._log_q)(u)
        log_joint, grad_joint = jax.value_and_grad(self._log_joint)(u)
        # A place where the decoder overflows has no density, and no slope that a chain could follow.
        odd = ~(log_joint < jnp.inf) | ~(log_q < jnp.inf)
        log_joint, log_q = jnp.where(odd, -jnp.inf, log_joint), jnp.where(log_q < jnp.inf, log_q, -jnp.inf)
        return Point(u, log_q, log_joint, _finite(grad_q), _finite(grad_joint), odd)

    def _coloured(self, u: Latent) -> Latent:
        return self.loc + (self.scale @ u if self.scale.ndim == 2 else self.scale * u)

    def _white(self, v: Latent) -> Latent:
        away = v - self.loc
        if self.scale.ndim == 2:
            return jax.scipy.linalg.solve_triangular(self.scale, away, lower=True)
        return away / self.scale

    # Of a flow z = T(v) both densities are taken with respect to v, log base(v) and log p(x, T(v)) + log |det dT/dv|:
    # their difference is the same, and none of them needs the inverse of T, which may take a pass for every latent.

    def _log_q(self, u: Latent) -> Scalar:
        if self.scale.ndim == 2:  # a Gaussian's, without the triangular systems of its log density at v
            return jnp.sum(norm.logpdf(u)) - jnp.sum(jnp.log(jnp.diagonal(self.scale)))
        return self.base.log_prob(self._coloured(u))

    def _log_joint(self, u: Latent) -> Scalar:
        v = self._coloured(u)
        if self.flow is None:
            return self.p.log_joint(self.x, v, self.observed)
        z, log_det = self.flow.bijection.forward(v, self.flow.context)
        return self.p.log_joint(self.x, z, self.observed) + log_det


def path_of(p: GenerativeModel, q: AbstractDistribution, x: Array, observed: Mask) -> Path:
    """The path of one row, in q's own coordinates: its Cholesky factor, its base's where it is a flow, or its standard
    deviations."""
    if isinstance(q, FullGaussian):
        return Path(p, q, None, x, observed, q.loc, q.scale_tril)
    if isinstance(q, Transformed):
        return Path(p, q.base, q, x, observed, q.base.loc, q.base.scale)
    return Path(p, q, None, x, observed, q.mean, q.variance**0.5)


def log_density(at: Point, b: Scalar) -> Scalar:
    """(1 - b) log q + b log p(x, z), with 0 log 0 = 0."""
    return jnp.where(b == 1, 0.0, (1 - b) * at.log_q) + jnp.where(b == 0, 0.0, b * at.log_joint)


def move(
    path: Path, at: Point, b: Scalar, step_size: Scalar, n_leapfrog: int, *, key: PRNGKeyArray
) -> tuple[Point, Scalar]:
    """One Hamiltonian move that leaves q^(1-b) p(x, z)^b as it is; the new place, and the acceptance probability.

    `n_leapfrog` steps from a fresh momentum N(0, I), then the Metropolis decision: as many gradients as steps, for
    that at the start is known. The length of the steps is random, or chains on a posterior that is narrower than q
    could go half a turn every time, from a place to its mirror image and back. Source: Neal (2011), sections 3 and 4.
    """
    key_momentum, key_accept, key_length = jax.random.split(key, 3)
    step_size = step_size * jax.random.uniform(key_length, (), at.u.dtype, SHORTEST, 1)
    momentum = jax.random.normal(key_momentum, at.u.shape, at.u.dtype)
    there, last = leapfrog(path, at, momentum, b, step_size, n_leapfrog)
    gain = log_density(there, b) - log_density(at, b) + 0.5 * (momentum @ momentum - last @ last)
    # From a place without density any other is better; to one that is not a number, none.
    lost = (log_density(at, b) == -jnp.inf) & jnp.all(jnp.isfinite(there.u))
    gain = jnp.where(jnp.isnan(gain), jnp.where(lost, 0.0, -jnp.inf), gain)
    acceptance = jnp.exp(jnp.minimum(gain, 0))
    accepted = jax.random.uniform(key_accept, (), at.u.dtype) < acceptance
    return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), there, at), acceptance


def leapfrog(
    path: Path, at: Point, momentum: Latent, b: Scalar, step_size: Scalar, n_steps: int
) -> tuple[Point, Latent]:
    """Where `n_steps` leapfrog steps lead, and the momentum there; backwards, with -momentum, they lead back."""

    def slope(at: Point) -> Latent:
        return (1 - b) * at.grad_q + b * at.grad_joint

    def step(_: Array, carry: tuple[Point, Latent]) -> tuple[Point, Latent]:
        here, momentum = carry
        momentum = momentum + 0.5 * step_size * slope(here)
        there = path.point(here.u + step_size * momentum)
        return there, momentum + 0.5 * step_size * slope(there)

    return jax.lax.fori_loop(0, n_steps, step, (at, momentum))


def _finite(gradient: Float[Array, " k"]) -> Float[Array, " k"]:
    return jnp.where(jnp.isfinite(gradient), gradient, 0)


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
