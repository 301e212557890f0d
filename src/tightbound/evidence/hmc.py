"""Hamiltonian moves along the path q^(1-b) p(x, z)^b, in the coordinates in which q has location 0 and scale 1."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from tightbound.model import AbstractDistribution, FullGaussian, GenerativeModel, Transformed
from tightbound.model.distributions import Latent, Mask, Scalar

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
