"""Finite discrete latents: one-hot categoricals, and distributions given by a table of all states."""

import itertools
from typing import ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.distributions import AbstractDistribution, Mask, Scalar, Vector

MOST_STATES = 2**16
"""Sums over all states go no further."""


@final
class Categorical(AbstractDistribution):
    """Independent variables of c levels each; a draw is their one-hot codes, one after another, (n c,)."""

    reparameterised: ClassVar[bool] = False
    logits: Float[Array, "n c"]

    @property
    def dim(self) -> int:
        """Number of variables times levels."""
        return self.logits.shape[-1] * self.logits.shape[-2]

    @property
    def mean(self) -> Vector:
        """Probability of every level."""
        return jax.nn.softmax(self.logits).ravel()

    @property
    def variance(self) -> Vector:
        """p (1 - p)."""
        return self.mean * (1 - self.mean)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """One draw (not differentiable)."""
        levels = jax.random.categorical(key, self.logits)
        return jax.nn.one_hot(levels, self.logits.shape[-1], dtype=self.logits.dtype).ravel()

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Sum over variables of x . log_softmax(logits); the codes are seen as a whole (`observed` is None)."""
        del observed
        return jnp.sum(x.reshape(self.logits.shape) * jax.nn.log_softmax(self.logits))

    @property
    def n_states(self) -> int:
        """Levels to the power of variables."""
        return int(self.logits.shape[-1] ** self.logits.shape[-2])

    def all_states(self) -> Float[Array, "s d"]:
        """The codes of all combinations of levels."""
        n, c = self.logits.shape
        levels = np.array(list(itertools.product(range(c), repeat=n)))
        return jnp.asarray(np.eye(c)[levels].reshape(len(levels), n * c), self.logits.dtype)


@final
class Tabulated(AbstractDistribution):
    """A distribution over listed states z_s with probabilities softmax(logits): an exact posterior, for one."""

    reparameterised: ClassVar[bool] = False
    tabulated: ClassVar[bool] = True
    states: Float[Array, "s d"]
    logits: Float[Array, " s"]

    @property
    def dim(self) -> int:
        """Length of one state."""
        return self.states.shape[-1]

    @property
    def mean(self) -> Vector:
        """sum_s p_s z_s."""
        return jax.nn.softmax(self.logits) @ self.states

    @property
    def variance(self) -> Vector:
        """sum_s p_s (z_s - mean)^2."""
        return jax.nn.softmax(self.logits) @ (self.states - self.mean[None, :]) ** 2

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """One state."""
        return self.states[jax.random.categorical(key, self.logits)]

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """log p of the state that is nearest to `x` (the one that it is)."""
        del observed
        distances = jnp.sum((self.states - x[None, :]) ** 2, axis=1)
        return jax.nn.log_softmax(self.logits)[jnp.argmin(distances)]

    @property
    def n_states(self) -> int:
        """As many as are listed."""
        return int(self.states.shape[0])

    def all_states(self) -> Float[Array, "s d"]:
        """Those that are listed."""
        return self.states


def check_enumerable(q: AbstractDistribution) -> None:
    """Refuse a continuous distribution, and one of more than 2^16 states (`ValueError`)."""
    count = q.n_states
    if count is None:
        q.all_states()
    elif count > MOST_STATES:
        raise ValueError(
            f"Enumeration must have at most 2^16 = {MOST_STATES} latent states; got {count}; use fewer latents, or the "
            "gradient leave_one_out, disarm or vimco."
        )


def all_states(q: AbstractDistribution) -> Float[Array, "s d"]:
    """Every value that a draw can have, one a row.

    Raises `ValueError` for a continuous distribution and for more than 2^16 states.
    """
    check_enumerable(q)
    return q.all_states()
