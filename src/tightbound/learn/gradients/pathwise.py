"""Gradient estimators: from a bound to a surrogate whose gradient is used for learning.

The bound is reported; the surrogate is differentiated and never reported.
"""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.learn.objectives import ELBO, AbstractObjective, Draws, draw, frozen, weigh
from tightbound.model import AbstractDistribution, GenerativeModel
from tightbound.model.distributions import Mask, Scalar, Vector
from tightbound.model.generative import LogWeight


class Problem(NamedTuple):
    """One datum and the bound to be raised for it."""

    objective: AbstractObjective
    p: GenerativeModel
    q: AbstractDistribution
    x: Vector
    observed: Mask
    kl_weight: Float[Array, ""] | float

    @property
    def with_kl(self) -> bool:
        """Whether the KL comes from its formula."""
        return self.objective.wants_kl(self.q, self.p.prior)

    def draw(self, *, key: PRNGKeyArray) -> Draws:
        """Draws of q with their weights, differentiable where q's draws are."""
        n = self.objective.n_draws
        return draw(self.p, self.q, self.x, self.observed, n_samples=n, with_kl=self.with_kl, key=key)


class Estimate(NamedTuple):
    """All faces of one stochastic evaluation for one datum, in nats."""

    surrogate: Scalar
    """Maximised: its gradient estimates the gradient of the training objective."""
    bound: Scalar
    """Reported: the bound itself, without any weight."""
    objective: Scalar
    """What is maximised, as a number: the bound with its weights; equal to `bound` where they are 1."""
    draws: Draws
    """What the estimate rests on."""
    signal: Scalar
    """What a baseline should predict."""


class AbstractGradient(eqx.Module):
    """How the gradient of an objective is estimated."""

    sums_states: ClassVar[bool] = False
    """Whether it looks at every state of z."""
    of_likelihood: ClassVar[bool] = False
    """Whether it is that of a likelihood that is known, of a model without latents."""

    @abstractmethod
    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Raise `ValueError`, naming what can be used instead, for an objective or q that this cannot handle."""

    def carries(self, *, in_closed_form: bool) -> bool:
        """Whether the gradient of a term on q reaches q: through its draws, or through the term's closed form."""
        del in_closed_form
        return False

    def initial_state(self, n_features: int, dtype: str) -> Any:
        """What the estimator remembers from step to step (None: nothing)."""
        return None

    @abstractmethod
    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """Surrogate and bound for one datum."""

    def updated(self, state: Any, x: Float[Array, "b d"], signals: Float[Array, " b"], weights: Array) -> Any:
        """The state after a minibatch with these signals."""
        return state


def from_draws(problem: Problem, draws: Draws, surrogate: Scalar, signal: Scalar | None = None) -> Estimate:
    """The estimate whose bound and objective are those of `draws`."""
    bound = jax.lax.stop_gradient(problem.objective.value(draws))
    value = jax.lax.stop_gradient(problem.objective.value(draws, jnp.asarray(problem.kl_weight, bound.dtype)))
    return Estimate(surrogate, bound, value, draws, bound if signal is None else jax.lax.stop_gradient(signal))


def weighted(problem: Problem, draws: Draws) -> Scalar:
    """The objective with the problem's KL weight."""
    return problem.objective.value(draws, jnp.asarray(problem.kl_weight, draws.z.dtype))


@final
class Pathwise(AbstractGradient):
    """Differentiate through z = T(epsilon; phi): the surrogate is the objective itself.

    Source: Kingma and Welling (2014); Rezende, Mohamed and Wierstra (2014).
    """

    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Needs a family whose draws are differentiable in its parameters."""
        check_reparameterised("pathwise", q)

    def carries(self, *, in_closed_form: bool) -> bool:
        """Through its draws."""
        return True

    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """Surrogate = weighted objective, bound = objective, from the same draws."""
        if problem.objective.for_inference == problem.objective:
            draws = problem.draw(key=key)
            return from_draws(problem, draws, weighted(problem, draws))
        return _by_halves(problem, lambda half: half.draw(key=key), key=key)


@final
class StickingTheLanding(AbstractGradient):
    """Pathwise through the draws alone: log q(z) enters with its parameters held, so that the noise of the gradient
    vanishes when q is the posterior.

    Source: Roeder, Wu and Duvenaud (2017).
    """

    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Needs differentiable draws and the ELBO (for importance-weighted bounds it is biased)."""
        check_reparameterised("stl", q)
        if isinstance(objective, ELBO) and objective.closed_form_kl:
            raise ValueError("The gradient stl must have ELBO(closed_form_kl=False): it samples the KL; got True.")
        if not objective.is_mean:
            raise ValueError(
                f"The gradient stl must have the objective elbo, for it is biased for others; got "
                f"{type(objective).__name__}; use dreg."
            )

    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """Surrogate = mean log weight with q's density held."""
        draws = _held_draws(problem, key=key)
        return from_draws(problem, draws, weighted(problem, draws))


@final
class DoublyReparameterised(AbstractGradient):
    """DReG: the score that is left in the pathwise gradient of an importance-weighted bound, reparameterised too.

    For p the usual gradient; for q each path's gradient is multiplied by the objective's `path_factors`, with log q
    held. Unbiased, and its signal-to-noise ratio does not fall with the number of draws.
    Source: Tucker, Lawson, Gu and Maddison (2019); for Renyi bounds see `Renyi.path_factors`.
    """

    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Needs differentiable draws and a bound of at least two of them."""
        check_reparameterised("dreg", q)
        if objective.is_mean or objective.n_draws < 2:
            what = "elbo" if objective.is_mean else f"{type(objective).__name__} with one sample"
            raise ValueError(
                f"The gradient dreg must have an importance-weighted bound of at least two samples; got {what}; "
                "use stl or pathwise for the ELBO, or objective iwae with n_samples above 1."
            )

    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """Surrogate = objective of draws whose cotangents are scaled."""

        def draws_of(half: Problem) -> Draws:
            return _held_draws(half, key=key, scaled=True)

        if problem.objective.for_inference == problem.objective:
            draws = draws_of(problem)
            return from_draws(problem, draws, weighted(problem, draws))
        return _by_halves(problem, draws_of, key=key)


@final
class Resampled(AbstractGradient):
    """DReG through one draw alone, picked with the probability of its normalised weight: unbiased, and cheap.

    All k draws are weighed, but only one is differentiated: E over j ~ w of (factor_j grad log w_j) is the whole sum.
    A forward pass costs a third of a step's work. Picking one draw is what Burda, Grosse and Salakhutdinov (2016,
    section 3) propose for the plain gradient; the factor is that of Tucker et al. (2019).
    """

    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Needs differentiable draws and one importance-weighted bound of at least two of them."""
        check_reparameterised("resampled", q)
        if not objective.is_one_bound:
            raise ValueError(
                f"The gradient resampled must have the objective iwae with at least 2 samples; got "
                f"{type(objective).__name__} with {objective.n_draws}; use dreg or pathwise, or raise n_samples."
            )

    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """Surrogate = tempered log weight of the draw that was picked, its cotangent scaled."""
        key_draws, key_pick = jax.random.split(key)
        draws = jax.lax.stop_gradient(problem._replace(p=frozen(problem.p), q=frozen(problem.q)).draw(key=key_draws))
        tempered = draws.weight.tempered(problem.kl_weight)
        picked = jax.random.categorical(key_pick, tempered)
        factor = 1 - problem.kl_weight * (1 - jax.nn.softmax(tempered)[picked])
        again = jax.random.split(key_draws, problem.objective.n_draws)[picked]
        z = _scale_cotangent(problem.q.sample_and_log_prob(key=again)[0], factor)
        weight = problem.p.log_weight(problem.x, z, frozen(problem.q).log_prob(z), problem.observed)
        return from_draws(problem, draws, weight.tempered(problem.kl_weight))


@final
class MaximumLikelihood(AbstractGradient):
    """The gradient of log p(x) itself, for a model that has one: no latents, no q, no bound."""

    of_likelihood: ClassVar[bool] = True

    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        """Nothing to refuse: there is no q."""

    def estimate(self, problem: Problem, state: Any, *, key: PRNGKeyArray) -> Estimate:
        """log p(x) on every face."""
        value = problem.p.log_prob(problem.x, problem.observed)  # type: ignore[attr-defined]
        held, none = jax.lax.stop_gradient(value), jnp.zeros(1, value.dtype)
        return Estimate(value, held, held, Draws(none[None, :], LogWeight(held[None], none, none), None), held)


def check_reparameterised(name: str, q: AbstractDistribution) -> None:
    """Refuse a q whose draws are not differentiable (`ValueError`)."""
    if not q.reparameterised:
        raise ValueError(
            f"The gradient {name} must have a posterior with differentiable draws (diagonal, full, mixture, planar, "
            f"iaf, coupling or spline); got {type(q).__name__}; use one of those, or the gradient leave_one_out, "
            "reinforce, disarm, vimco, gumbel or enumerate."
        )


def _by_halves(problem: Problem, draws_of: Any, *, key: PRNGKeyArray) -> Estimate:
    """p from its own bound and q from another, by the same noise: each with the other held."""
    whole = problem._replace(q=frozen(problem.q))
    draws = whole.draw(key=key)
    half = problem._replace(objective=problem.objective.for_inference, p=frozen(problem.p))
    return from_draws(problem, draws, weighted(whole, draws) + weighted(half, draws_of(half)))


def _held_draws(problem: Problem, *, key: PRNGKeyArray, scaled: bool = False) -> Draws:
    """Differentiable draws, with log q as a function of z alone; `scaled`: their cotangents times path factors."""
    p, q, held = problem.p, problem.q, frozen(problem.q)
    keys = jax.random.split(key, problem.objective.n_draws)
    z, _ = jax.vmap(lambda k: q.sample_and_log_prob(key=k))(keys)

    def weights_of(z: Array) -> Draws:
        return weigh(p, held, problem.x, problem.observed, z, jax.vmap(held.log_prob)(z))

    if not scaled:
        return weights_of(z)
    # The same numbers twice: the compiler computes them once, for the factors do not change the values.
    first = jax.lax.stop_gradient(weights_of(z))
    tempered = first.weight.tempered(problem.kl_weight)
    # With a weight b on log q the score's share is b times as large: 1 - b (1 - factor).
    factors = 1 - problem.kl_weight * (1 - problem.objective.path_factors(tempered))
    return weights_of(_scale_cotangent(z, factors[:, None]))


@jax.custom_vjp
def _scale_cotangent(z: Array, factors: Array) -> Array:
    return z


def _scale_forward(z: Array, factors: Array) -> tuple[Array, Array]:
    return z, factors


def _scale_backward(factors: Array, cotangent: Array) -> tuple[Array, Array]:
    return cotangent * factors, jnp.zeros_like(factors)


_scale_cotangent.defvjp(_scale_forward, _scale_backward)
