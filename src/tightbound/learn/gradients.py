"""Gradient estimators: from a bound to a surrogate whose gradient is used for learning.

The bound is reported; the surrogate is differentiated and never reported.
"""

from abc import abstractmethod
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.learn.objectives import AbstractObjective, draw
from tightbound.model import AbstractDistribution, DiagonalGaussian, FullGaussian, GenerativeModel
from tightbound.model.distributions import Mask, Scalar, Vector


class Estimate(NamedTuple):
    """Both faces of one stochastic evaluation for one datum, in nats."""

    surrogate: Scalar
    """Maximised: its gradient estimates the gradient of the objective."""
    bound: Scalar
    """Reported: the objective itself, without a KL weight."""


class AbstractGradient(eqx.Module):
    """How the gradient of an objective is estimated."""

    @abstractmethod
    def check(self, objective: AbstractObjective, q: type[AbstractDistribution]) -> None:
        """Raise `ValueError`, naming what can be used instead, for an objective or family that this cannot handle."""

    @abstractmethod
    def estimate(
        self,
        objective: AbstractObjective,
        p: GenerativeModel,
        q: AbstractDistribution,
        x: Vector,
        observed: Mask,
        kl_weight: Float[Array, ""] | float,
        *,
        key: PRNGKeyArray,
    ) -> Estimate:
        """Surrogate and bound for one datum."""


_REPARAMETERISED = (DiagonalGaussian, FullGaussian)


@final
class Pathwise(AbstractGradient):
    """Differentiate through z = T(epsilon; phi): the surrogate is the objective itself.

    Source: Kingma and Welling (2014); Rezende, Mohamed and Wierstra (2014).
    """

    def check(self, objective: AbstractObjective, q: type[AbstractDistribution]) -> None:
        """Needs a family whose draws are differentiable in its parameters."""
        if q not in _REPARAMETERISED:
            raise ValueError(
                f"The pathwise gradient must have a family with differentiable draws; got {q.__name__}; "
                f"use one of {', '.join(t.__name__ for t in _REPARAMETERISED)}."
            )

    def estimate(
        self,
        objective: AbstractObjective,
        p: GenerativeModel,
        q: AbstractDistribution,
        x: Vector,
        observed: Mask,
        kl_weight: Float[Array, ""] | float,
        *,
        key: PRNGKeyArray,
    ) -> Estimate:
        """Surrogate = weighted objective, bound = objective, from the same draws."""
        with_kl = objective.uses_closed_form_kl
        draws = draw(p, q, x, observed, n_samples=objective.n_samples, with_kl=with_kl, key=key)
        bound = jax.lax.stop_gradient(objective.value(draws))
        return Estimate(objective.value(draws, jnp.asarray(kl_weight, bound.dtype)), bound)
