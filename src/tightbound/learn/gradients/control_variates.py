"""Control variates of the score-function gradient: what is subtracted from the learning signal."""

from abc import abstractmethod
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from tightbound.model import MLP
from tightbound.model.distributions import Scalar, Vector

_DECAY = 0.99


class AbstractBaseline(eqx.Module):
    """A number to subtract from each draw's signal; it must not depend on that draw."""

    def initial_state(self, n_features: int, dtype: str) -> Any:
        """What it remembers from step to step (None: nothing)."""
        return None

    @abstractmethod
    def predict(self, state: Any, x: Vector, signals: Float[Array, " k"]) -> Float[Array, " k"]:
        """One number a draw."""

    def updated(self, state: Any, x: Float[Array, "b d"], signals: Float[Array, " b"], weights: Array) -> Any:
        """The state after a minibatch whose rows had these mean signals."""
        return state


@final
class NoBaseline(AbstractBaseline):
    """Zero: the estimator as it stands in the textbook. Source: Williams (1992)."""

    def predict(self, state: Any, x: Vector, signals: Float[Array, " k"]) -> Float[Array, " k"]:
        """Zeros."""
        return jnp.zeros_like(signals)


@final
class LeaveOneOut(AbstractBaseline):
    """The mean signal of the row's other draws. Source: Kool, van Hoof and Welling (2019)."""

    def predict(self, state: Any, x: Vector, signals: Float[Array, " k"]) -> Float[Array, " k"]:
        """(sum - own) / (k - 1)."""
        return (jnp.sum(signals) - signals) / (signals.shape[0] - 1)


class Average(eqx.Module):
    """Exponential moving moments with the weight they have gathered so far."""

    mean: Scalar
    square: Scalar
    weight: Scalar

    @property
    def location(self) -> Scalar:
        """The mean (0 before the first minibatch)."""
        return self.mean / jnp.maximum(self.weight, 1e-6)

    @property
    def scale(self) -> Scalar:
        """The standard deviation, at least 1."""
        return jnp.sqrt(jnp.maximum(self.square / jnp.maximum(self.weight, 1e-6) - self.location**2, 1))

    def after(self, signals: Float[Array, " b"], weights: Array) -> "Average":
        """With one more minibatch."""
        total = jnp.sum(weights)
        mean, square = jnp.sum(weights * signals) / total, jnp.sum(weights * signals**2) / total
        keep, new = _DECAY, 1 - _DECAY
        return Average(keep * self.mean + new * mean, keep * self.square + new * square, keep * self.weight + new)


def _nothing_yet(dtype: str) -> Average:
    zero = jnp.zeros((), dtype)
    return Average(zero, zero, zero)


@final
class MovingAverage(AbstractBaseline):
    """The exponential moving average of past signals (decay 0.99). Source: Mnih and Gregor (2014)."""

    def initial_state(self, n_features: int, dtype: str) -> Average:
        """Empty."""
        return _nothing_yet(dtype)

    def predict(self, state: Average, x: Vector, signals: Float[Array, " k"]) -> Float[Array, " k"]:
        """The average so far."""
        return jnp.broadcast_to(state.location, signals.shape)

    def updated(self, state: Average, x: Float[Array, "b d"], signals: Float[Array, " b"], weights: Array) -> Average:
        """One minibatch more."""
        return state.after(signals, weights)


class Learner(eqx.Module):
    """A network, its optimiser's state, and the moments in whose units it speaks."""

    network: MLP
    optimiser: Any
    average: Average


@final
class LearnedBaseline(AbstractBaseline):
    """average + sd * network(x), fitted to the signals by least squares as learning goes on (Adam, 0.001).

    Source: Mnih and Gregor (2014).
    """

    hidden_size: int = eqx.field(static=True, default=100)

    def initial_state(self, n_features: int, dtype: str) -> Learner:
        """A network that says zero, as drawn with key 0."""
        network = MLP(n_features, 1, (self.hidden_size,), activation="tanh", dtype=dtype, key=jax.random.key(0))
        network = eqx.tree_at(lambda n: n.layers[-1].weight, network, jnp.zeros_like(network.layers[-1].weight))
        return Learner(network, self._rule().init(eqx.filter(network, eqx.is_inexact_array)), _nothing_yet(dtype))

    def predict(self, state: Learner, x: Vector, signals: Float[Array, " k"]) -> Float[Array, " k"]:
        """One number for all draws of a row."""
        value = state.average.location + state.average.scale * state.network(jnp.nan_to_num(x))[0]
        return jnp.broadcast_to(jax.lax.stop_gradient(value), signals.shape)

    def updated(self, state: Learner, x: Float[Array, "b d"], signals: Float[Array, " b"], weights: Array) -> Learner:
        """One step on the squared error."""
        average = state.average.after(signals, weights)
        target = (signals - average.location) / average.scale

        @jax.grad
        def gradient(network: MLP) -> Array:
            error = jax.vmap(network)(jnp.nan_to_num(x))[:, 0] - target
            return jnp.sum(weights * error**2) / jnp.sum(weights)

        updates, optimiser = self._rule().update(gradient(state.network), state.optimiser)
        return Learner(optax.apply_updates(state.network, updates), optimiser, average)

    def _rule(self) -> optax.GradientTransformation:
        return optax.adam(1e-3)
