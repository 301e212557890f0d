"""The inner loop: the variational parameters of one row, found by ascending its bound with the model held."""

from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.learn.gradients.pathwise import AbstractGradient, Problem, StickingTheLanding
from tightbound.learn.gradients.score_function import DisArm, Enumeration, LeaveOneOut, ScoreFunction
from tightbound.learn.objectives import ELBO, frozen
from tightbound.model import (
    AbstractFamily,
    BernoulliFamily,
    GenerativeModel,
)
from tightbound.model.distributions import Mask, Scalar, Vector
from tightbound.model.families import first_parameters

Parameters = Float[Array, " m"]
Weight = Float[Array, ""] | float
_FEW_STATES = 256
_SMOOTH = 0.9
_FALL = 0.3
"""How fast the rate falls: r / (1 + 0.3 r t). Faster, and nonlinear decoders get stuck on the way; slower, and noise
is left."""


class Refined(NamedTuple):
    """What an inner loop found for one row."""

    parameters: Parameters
    ascent: Parameters
    """The gradient of the bound at the start: what an encoder that proposed it can learn from."""
    steps: Array
    """How many steps it took."""


@final
class Refinement(eqx.Module):
    """Up to `steps` ascents of the ELBO of one row, from given parameters, with p held.

    For Gaussians (and a flow's base) along the natural gradient F^-1 g (Amari, 1998; Khan and Nielsen, 2018), whose
    step needs no tuning, shortened so that (to second order) none moves q by more than `most_kl` nats; their rate falls
    as 1/t after the first ten steps, so that the noise of the gradient averages out (Robbins and Monro, 1951). For
    other families Adam, its rate falling linearly to a tenth. A row stops early when the ascent that its smoothed
    gradient still promises, g' F^-1 g / 2, is below `tolerance`.
    """

    steps: int = eqx.field(static=True, default=100)
    rate: float = eqx.field(static=True, default=0.3)
    n_samples: int = eqx.field(static=True, default=4)
    tolerance: float = eqx.field(static=True, default=0.0)
    most_kl: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"inner_steps must be a whole number of at least 1; got {self.steps!r}; 20 is usual.")
        if not self.rate > 0:
            raise ValueError(f"inner_rate must be above 0; got {self.rate!r}; 0.3 is usual.")

    def __call__(
        self,
        p: GenerativeModel,
        family: AbstractFamily,
        start: Parameters,
        x: Vector,
        observed: Mask,
        *,
        kl_weight: Weight = 1.0,
        key: PRNGKeyArray,
    ) -> Refined:
        """The refined parameters of one row; no gradient passes through the loop."""
        target = Target(frozen(p), frozen(family), x, observed, kl_weight)
        start = jax.lax.stop_gradient(start)

        def unfinished(carry: tuple[Array, Any, Array]) -> Array:
            t, _, promise = carry
            return (t < self.steps) & (promise >= self.tolerance)

        def step(carry: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
            t, inner, _ = carry
            inner = self._ascend(target, inner, t, key=jax.random.fold_in(key, t))
            return t + 1, inner, self._promise(family, inner, t)

        nothing = jnp.zeros_like(start)
        inner = Inner(start, nothing, nothing, nothing, nothing)
        infinite = jnp.full((), jnp.inf, start.dtype)
        t, inner, _ = jax.lax.while_loop(unfinished, step, (jnp.zeros((), "int32"), inner, infinite))
        return Refined(inner.parameters, inner.first, t)

    def unrolled(
        self,
        p: GenerativeModel,
        family: AbstractFamily,
        start: Parameters,
        x: Vector,
        observed: Mask,
        *,
        kl_weight: Weight = 1.0,
        key: PRNGKeyArray,
    ) -> Parameters:
        """The same steps without stopping early, differentiable in `start`, p and the family (second derivatives)."""

        target = Target(p, family, x, observed, kl_weight)

        def step(inner: Inner, t: Array) -> tuple[Inner, None]:
            return self._ascend(target, inner, t, key=jax.random.fold_in(key, t)), None

        nothing = jnp.zeros_like(start)
        inner, _ = jax.lax.scan(step, Inner(start, nothing, nothing, nothing, nothing), jnp.arange(self.steps))
        return inner.parameters

    def _ascend(self, target: "Target", inner: "Inner", t: Array, *, key: PRNGKeyArray) -> "Inner":
        family = target.family
        gradient = self._gradient(target, inner.parameters, key=key)
        # A freak draw must not throw the row off: what is not finite is no step.
        gradient = jnp.where(jnp.all(jnp.isfinite(gradient)), gradient, 0)
        first = jnp.where(t == 0, gradient, inner.first)
        smooth = _SMOOTH * inner.smooth + (1 - _SMOOTH) * gradient
        direction = family.natural_direction(inner.parameters, gradient)
        if direction is None:
            rate = (self.rate * (1 - 0.9 * t / self.steps)).astype(gradient.dtype)
            return self._adam(inner, gradient, first, smooth, rate, t)
        rate = (self.rate / (1 + _FALL * self.rate * jnp.maximum(t - 10, 0))).astype(gradient.dtype)
        # KL(new || old) is about rate^2 g' F^-1 g / 2.
        length = jnp.sqrt(2 * self.most_kl / jnp.maximum(gradient @ direction, 1e-12))
        parameters = inner.parameters + jnp.minimum(rate, length) * direction
        return Inner(parameters, first, smooth, inner.moment, inner.square)

    def _gradient(self, target: "Target", at: Parameters, *, key: PRNGKeyArray) -> Parameters:
        objective, rule = inner_rule(target.family, self.n_samples)
        if isinstance(rule, StickingTheLanding):
            return _landing(target, at, self.n_samples, key=key)

        def surrogate(parameters: Parameters) -> Scalar:
            q = target.family(parameters)
            problem = Problem(objective, target.p, q, target.x, target.observed, target.kl_weight)
            return rule.estimate(problem, None, key=key).surrogate

        return jax.grad(surrogate)(at)

    def _adam(
        self, inner: "Inner", gradient: Parameters, first: Parameters, smooth: Parameters, rate: Array, t: Array
    ) -> "Inner":
        moment, square = 0.9 * inner.moment + 0.1 * gradient, 0.99 * inner.square + 0.01 * gradient**2
        power = (t + 1).astype(gradient.dtype)
        corrected = moment / (1 - 0.9**power), square / (1 - 0.99**power)
        # A third of the rate: its steps are in the parameters' units, not in the posterior's.
        parameters = inner.parameters + rate / 3 * corrected[0] / (jnp.sqrt(corrected[1] + 1e-12) + 1e-4)
        return Inner(parameters, first, smooth, moment, square)

    def _promise(self, family: AbstractFamily, inner: "Inner", t: Array) -> Scalar:
        smooth = inner.smooth / (1 - _SMOOTH ** (t + 1).astype(inner.smooth.dtype))
        direction = family.natural_direction(inner.parameters, smooth)
        promise = 0.5 * smooth @ direction if direction is not None else self.rate / 3 * jnp.sum(jnp.abs(smooth))
        # The first few gradients are too few to go by.
        return jnp.where(t < 9, jnp.inf, promise).astype(inner.smooth.dtype)


class Target(NamedTuple):
    """What an inner loop ascends: the ELBO of one row under one model."""

    p: GenerativeModel
    family: AbstractFamily
    x: Vector
    observed: Mask
    kl_weight: Weight


class Inner(eqx.Module):
    """Where an inner loop stands."""

    parameters: Parameters
    first: Parameters
    smooth: Parameters
    moment: Parameters
    square: Parameters


def _landing(target: Target, at: Parameters, n_samples: int, *, key: PRNGKeyArray) -> Parameters:
    """The gradient of `StickingTheLanding`, as a function of q that can be differentiated in its turn.

    Its surrogate holds log q by a stop_gradient, behind which the second derivatives of `unrolled` would be lost.
    """
    p, family = target.p, target.family
    keys = jax.random.split(key, n_samples)
    z, back = jax.vjp(lambda a: jax.vmap(lambda k: family(a).sample_and_log_prob(key=k)[0])(keys), at)
    q = family(at)

    def log_weight(z: Vector) -> Scalar:
        return p.log_weight(target.x, z, q.log_prob(z), target.observed).tempered(target.kl_weight)

    return back(jax.vmap(jax.grad(log_weight))(z) / n_samples)[0]


def inner_rule(family: AbstractFamily, n_samples: int) -> tuple[ELBO, AbstractGradient]:
    """The objective and the gradient estimator with the least noise that this family has."""
    q = jax.eval_shape(lambda: family(first_parameters(family)))
    if q.reparameterised:
        return ELBO(n_samples, closed_form_kl=False), StickingTheLanding()
    if (q.n_states or _FEW_STATES + 1) <= _FEW_STATES:
        return ELBO(), Enumeration()
    even = max(2, n_samples + n_samples % 2)
    return ELBO(even), DisArm() if isinstance(family, BernoulliFamily) else ScoreFunction(LeaveOneOut())
