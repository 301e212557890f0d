"""Gradient estimators that need no differentiable draws: score function, VIMCO, DisARM, Gumbel-softmax, enumeration."""

from abc import abstractmethod
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.learn.gradients.pathwise import AbstractGradient, Estimate, Problem, from_draws, weighted
from tightbound.learn.objectives import (
    AbstractObjective,
    Draws,
    frozen,
    weigh,
)
from tightbound.model import MLP, AbstractDistribution, Bernoulli, Categorical, all_states, check_enumerable
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


@final
class ScoreFunction(AbstractGradient):
    """REINFORCE: (signal - baseline) grad log q(z), for any q and any bound.

    For the ELBO each draw has its own signal (log w, or log p(x | z) where the KL has a closed form); for others the
    bound is the signal of all draws.
    Source: Williams (1992); Paisley, Blei and Jordan (2012); Mnih and Gregor (2014).
    """

    baseline: AbstractBaseline = NoBaseline()

    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Leaving one out needs two draws, and the ELBO."""
        _check_one_bound("reinforce", objective)
        if isinstance(self.baseline, LeaveOneOut) and not (objective.is_mean and objective.n_draws >= 2):
            raise ValueError(
                f"The gradient leave_one_out must have the objective elbo with at least 2 samples; got "
                f"{type(objective).__name__} with {objective.n_draws}; raise n_samples, or use vimco for iwae."
            )

    def initial_state(self, n_features: int, dtype: str) -> Any:
        """The baseline's."""
        return self.baseline.initial_state(n_features, dtype)

    def carries(self, *, in_closed_form: bool) -> bool:
        """Through the closed form alone."""
        return in_closed_form

    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """Surrogate = objective at fixed draws + sum of (signal - baseline) log q(z)."""
        draws = _fixed_draws(problem, key=key)
        held = jax.lax.stop_gradient(draws)
        if problem.objective.is_mean:
            signals = _signal(problem, held)
            score = jnp.mean((signals - self.baseline.predict(state, problem.x, signals)) * draws.weight.log_q)
            # What the density itself gives has expectation zero, and would only add noise.
            surrogate = weighted(problem, _with_held_q(draws)) + score
            return from_draws(problem, draws, surrogate, jnp.mean(signals))
        value = weighted(problem, held)
        baseline = self.baseline.predict(state, problem.x, value[None])[0]
        surrogate = weighted(problem, draws) + (value - baseline) * jnp.sum(draws.weight.log_q)
        return from_draws(problem, draws, surrogate, value)

    def updated(self, state: Any, x: Float[Array, "b d"], signals: Float[Array, " b"], weights: Array) -> Any:
        """The baseline's."""
        return self.baseline.updated(state, x, signals, weights)


@final
class Vimco(AbstractGradient):
    """The score function for the importance-weighted bound, each draw's baseline being the bound without it.

    Its own weight is replaced by the geometric mean of the others.
    Source: Mnih and Rezende (2016).
    """

    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Needs one importance-weighted bound of at least two draws."""
        if not objective.is_one_bound:
            raise ValueError(
                f"The gradient vimco must have the objective iwae with at least 2 samples; got "
                f"{type(objective).__name__} with {objective.n_draws}; use leave_one_out for the ELBO, or raise "
                "n_samples."
            )

    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """Surrogate = bound at fixed draws + sum_i (L - L without i) log q(z_i)."""
        draws = _fixed_draws(problem, key=key)
        log_w = jax.lax.stop_gradient(draws.weight.tempered(problem.kl_weight))
        k = log_w.shape[0]
        others = (jnp.sum(log_w) - log_w) / (k - 1)
        without = jnp.where(jnp.eye(k, dtype=bool), others[:, None], log_w[None, :])
        signals = logsumexp(log_w) - logsumexp(without, axis=1)
        surrogate = weighted(problem, draws) + jnp.sum(signals * draws.weight.log_q)
        return from_draws(problem, draws, surrogate)


@final
class DisArm(AbstractGradient):
    """Antithetic pairs of Bernoulli draws, with the noise of who is which integrated out.

    For a pair b = 1[u < p], b' = 1[1 - u < p]: d/d logit_j = (f(b) - f(b')) (b_j - b'_j) sigmoid(|logit_j|) / 2.
    Source: Dong, Mnih and Tucker (2020); Yin, Ho, Yan, Qian and Zhou (2020, as U2G).
    """

    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Needs Bernoulli latents and the ELBO with an even number of draws."""
        if not isinstance(q, Bernoulli):
            raise ValueError(
                f"The gradient disarm must have posterior='bernoulli'; got {type(q).__name__}; use leave_one_out."
            )
        if not objective.is_mean or objective.n_draws % 2:
            raise ValueError(
                f"The gradient disarm must have the objective elbo with an even number of samples (pairs); got "
                f"{type(objective).__name__} with {objective.n_draws}; set n_samples to 2."
            )

    def carries(self, *, in_closed_form: bool) -> bool:
        """Through the closed form alone."""
        return in_closed_form

    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """Surrogate = objective at fixed draws + derivative times logits."""
        q: Any = problem.q
        p = jax.lax.stop_gradient(q.mean)
        u = jax.random.uniform(key, (problem.objective.n_draws // 2, q.dim), p.dtype)
        first, second = (u < p[None, :]).astype(p.dtype), (1 - u < p[None, :]).astype(p.dtype)
        z = jnp.concatenate([first, second])
        held_q = frozen(q)
        draws = weigh(
            problem.p, q, problem.x, problem.observed, z, jax.vmap(held_q.log_prob)(z), with_kl=problem.with_kl
        )
        one, two = jnp.split(jax.lax.stop_gradient(_signal(problem, draws)), 2)
        sure = jax.nn.sigmoid(jnp.abs(held_q.logits))
        derivative = 0.5 * jnp.mean((one - two)[:, None] * (first - second) * sure[None, :], axis=0)
        return from_draws(problem, draws, weighted(problem, draws) + derivative @ q.logits)


@final
class GumbelSoftmax(AbstractGradient):
    """The pathwise gradient of a continuous relaxation of discrete draws at this temperature: biased, of low variance.

    `straight_through`: the decoder sees the discrete draw, the gradient that of the relaxed one. What is reported is
    the bound at discrete draws either way.
    Source: Jang, Gu and Poole (2017); Maddison, Mnih and Teh (2017).
    """

    temperature: float = eqx.field(static=True, default=0.5)
    straight_through: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0; got {self.temperature!r}; 0.5 is usual.")

    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Needs discrete latents and the ELBO."""
        if not isinstance(q, Bernoulli | Categorical):
            raise ValueError(
                f"The gradient gumbel must have posterior='bernoulli' or 'categorical'; got {type(q).__name__}; "
                "use pathwise."
            )
        if not objective.is_mean:
            raise ValueError(
                f"The gradient gumbel must have the objective elbo; got {type(objective).__name__}; use vimco for iwae."
            )

    def carries(self, *, in_closed_form: bool) -> bool:
        """Through the closed form alone."""
        return in_closed_form

    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """Surrogate = objective at relaxed draws; bound = objective at the discrete draws of the same noise."""
        keys = jax.random.split(key, problem.objective.n_draws)
        hard, soft = jax.vmap(lambda k: _relaxed(problem.q, self.temperature, key=k))(keys)
        seen = hard + soft - jax.lax.stop_gradient(soft) if self.straight_through else soft

        def draws_at(z: Array) -> Draws:
            log_q = jax.vmap(problem.q.log_prob)(z)
            return weigh(problem.p, problem.q, problem.x, problem.observed, z, log_q, with_kl=problem.with_kl)

        return from_draws(problem, draws_at(hard), weighted(problem, draws_at(seen)))


@final
class Enumeration(AbstractGradient):
    """The exact ELBO and its exact gradient, as a sum over all states of discrete latents (at most 2^16)."""

    sums_states: ClassVar[bool] = True

    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Needs few enough states, and the ELBO."""
        check_enumerable(q)
        if not objective.is_mean:
            raise ValueError(
                f"The gradient enumerate must have the objective elbo; got {type(objective).__name__}; use "
                "objective='elbo', or for iwae the gradient vimco with a network for q."
            )

    def carries(self, *, in_closed_form: bool) -> bool:
        """Through the closed form alone."""
        return in_closed_form

    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """Surrogate = sum_z q(z) (log p(x | z) + weight (log p(z) - log q(z))); the draws are all states."""
        q: Any = problem.q
        z = all_states(q)
        # A table is already in the order of its states; looking each of them up would take the square of their number.
        log_q = jax.nn.log_softmax(q.logits) if q.tabulated else jax.vmap(q.log_prob)(z)
        draws = weigh(problem.p, q, problem.x, problem.observed, z, log_q)

        def value(weight: Any) -> Scalar:
            # A state of probability zero adds nothing, and has a log probability of minus infinity.
            return jnp.sum(jnp.where(log_q > -1e30, jnp.exp(log_q) * draws.weight.tempered(weight), 0))

        bound, held = jax.lax.stop_gradient(value(1.0)), jax.lax.stop_gradient(value(problem.kl_weight))
        kl = jnp.sum(jnp.where(log_q > -1e30, jnp.exp(log_q) * (log_q - draws.weight.log_prior), 0))
        draws = eqx.tree_at(lambda d: d.kl, draws, kl, is_leaf=lambda a: a is None)
        return Estimate(value(problem.kl_weight), bound, held, draws, bound)


@final
class ReweightedWakeSleep(AbstractGradient):
    """p ascends the importance-weighted bound, q the weighted log q(z): it descends KL(p(z | x) || q), for any q.

    Both are wake-phase updates, from the same draws.
    Source: Bornschein and Bengio (2015); Le, Kosiorek, Siddharth, Teh and Wood (2019).
    """

    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Needs one importance-weighted bound of at least two draws."""
        if not objective.is_one_bound:
            raise ValueError(
                f"The gradient wake must have the objective rws (or iwae) with at least 2 samples; got "
                f"{type(objective).__name__} with {objective.n_draws}; raise n_samples."
            )

    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """Surrogate = bound with q held + sum of normalised weights times log q(z)."""
        draws = _fixed_draws(problem, key=key)
        weights = jax.lax.stop_gradient(jax.nn.softmax(draws.weight.tempered(problem.kl_weight)))
        surrogate = weighted(problem, _with_held_q(draws)) + jnp.sum(weights * draws.weight.log_q)
        return from_draws(problem, draws, surrogate)


def _check_one_bound(name: str, objective: AbstractObjective) -> None:
    if objective.for_inference != objective:
        raise ValueError(
            f"The gradient {name} must have one objective for p and q; got {type(objective).__name__}; use pathwise or "
            "dreg, or the objective miwae."
        )


def _signal(problem: Problem, draws: Draws) -> Float[Array, " k"]:
    """What each draw adds to the weighted ELBO: without the KL, where that comes from its formula."""
    return draws.weight.tempered(problem.kl_weight) if draws.kl is None else draws.weight.log_likelihood


def _with_held_q(draws: Draws) -> Draws:
    return eqx.tree_at(lambda d: d.weight.log_q, draws, jax.lax.stop_gradient(draws.weight.log_q))


def _fixed_draws(problem: Problem, *, key: PRNGKeyArray) -> Draws:
    """Draws that are numbers, not functions of q; their densities under q are functions of it."""
    keys = jax.random.split(key, problem.objective.n_draws)
    z = jax.lax.stop_gradient(jax.vmap(lambda k: problem.q.sample(key=k))(keys))
    log_q = jax.vmap(problem.q.log_prob)(z)
    return weigh(problem.p, problem.q, problem.x, problem.observed, z, log_q, with_kl=problem.with_kl)


def _relaxed(q: AbstractDistribution, temperature: float, *, key: PRNGKeyArray) -> tuple[Vector, Vector]:
    """A discrete draw and its relaxation, from the same noise."""
    if isinstance(q, Bernoulli):
        noisy = q.logits + jax.random.logistic(key, q.logits.shape, q.logits.dtype)
        return (noisy > 0).astype(noisy.dtype), jax.nn.sigmoid(noisy / temperature)
    logits: Any = q.logits  # type: ignore[attr-defined]
    noisy = jax.nn.log_softmax(logits) + jax.random.gumbel(key, logits.shape, logits.dtype)
    hard = jax.nn.one_hot(jnp.argmax(noisy, axis=-1), noisy.shape[-1], dtype=noisy.dtype)
    return hard.ravel(), jax.nn.softmax(noisy / temperature).ravel()


def reinforce() -> ScoreFunction:
    """Without a baseline."""
    return ScoreFunction()


def moving_average() -> ScoreFunction:
    """With a moving average of the signal for a baseline."""
    return ScoreFunction(MovingAverage())


def leave_one_out() -> ScoreFunction:
    """With the mean of the other draws for a baseline."""
    return ScoreFunction(LeaveOneOut())


def learned_baseline() -> ScoreFunction:
    """With a network of the row for a baseline."""
    return ScoreFunction(LearnedBaseline())


def straight_through(temperature: float) -> GumbelSoftmax:
    """Gumbel-softmax with discrete draws forward."""
    return GumbelSoftmax(temperature, straight_through=True)
