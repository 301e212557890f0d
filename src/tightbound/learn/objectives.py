"""Objectives: bounds on log p(x) as functions of the log weights of one datum.

An objective is only a value. How its gradient is estimated is the business of `learn.gradients`.
"""

from abc import abstractmethod
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model import (
    AbstractDistribution,
    GenerativeModel,
    LearnedPrior,
    has_closed_form_kl,
    kl_divergence,
)
from tightbound.model.distributions import Mask, Scalar, Vector
from tightbound.model.generative import LogWeight


class Draws(eqx.Module):
    """What k draws z ~ q(z | x) say of one datum."""

    z: Float[Array, "k l"]
    weight: LogWeight
    """(k,) of each draw."""
    kl: Scalar | None
    """KL(q || prior), nats, where it is known."""

    @property
    def any_kl(self) -> Scalar:
        """KL(q || prior): its formula where there is one, else the mean of log q - log p(z) over the draws."""
        return jnp.mean(self.weight.log_q - self.weight.log_prior) if self.kl is None else self.kl


def frozen(tree: Any) -> Any:
    """The same arrays, through which no gradient passes."""
    return jax.tree.map(lambda a: jax.lax.stop_gradient(a) if eqx.is_inexact_array(a) else a, tree)


def draw(
    p: GenerativeModel,
    q: AbstractDistribution,
    x: Vector,
    observed: Mask,
    *,
    n_samples: int,
    with_kl: bool = False,
    key: PRNGKeyArray,
) -> Draws:
    """Draw z_1..z_k ~ q and weigh them."""
    z, log_q = jax.vmap(lambda k: q.sample_and_log_prob(key=k))(jax.random.split(key, n_samples))
    return weigh(p, q, x, observed, z, log_q, with_kl=with_kl)


def weigh(
    p: GenerativeModel,
    q: AbstractDistribution,
    x: Vector,
    observed: Mask,
    z: Float[Array, "k l"],
    log_q: Float[Array, " k"],
    *,
    with_kl: bool = False,
) -> Draws:
    """The draws `z`, whose densities under q are `log_q`, with their weights."""
    weight = jax.vmap(lambda z, log_q: p.log_weight(x, z, log_q, observed))(z, log_q)
    return Draws(z, weight, kl_divergence(q, p.prior) if with_kl else None)


class AbstractObjective(eqx.Module):
    """A bound on log p(x), estimated from `n_draws` draws of q."""

    @property
    @abstractmethod
    def n_draws(self) -> int:
        """Draws of z a row."""

    @property
    def is_mean(self) -> bool:
        """Whether it is a mean over draws, each of which has a signal of its own: the ELBO."""
        return False

    @property
    def is_one_bound(self) -> bool:
        """Whether it is one log-mean-exp of at least two weights."""
        return False

    @property
    def for_inference(self) -> "AbstractObjective":
        """The bound that q maximises: this one, unless p and q have different ones."""
        return self

    def wants_kl(self, q: AbstractDistribution, prior: AbstractDistribution) -> bool:
        """Whether `Draws.kl` is to be had; raises `ValueError` where it is asked for and there is no closed form.

        A function of the log weights needs none.
        """
        return False

    @abstractmethod
    def value(self, draws: Draws, kl_weight: Float[Array, ""] | float = 1.0) -> Scalar:
        """The bound with the terms of the prior and of q weighted by `kl_weight`; with 1 it *is* the bound, in nats."""

    @abstractmethod
    def path_factors(self, log_weights: Float[Array, " k"]) -> Float[Array, " k"]:
        """What the cotangent of each draw is multiplied by for the doubly reparameterised gradient, (k,).

        Source: Tucker, Lawson, Gu and Maddison (2019).
        """


@final
class ELBO(AbstractObjective):
    """The evidence lower bound, E_q[log p(x | z)] - KL(q || p(z)) <= log p(x).

    The KL is exact where it has a closed form (`closed_form_kl` None), always (True: refused where there is none) or
    never (False: estimated from the same draws).
    Source: Jordan et al. (1999); Kingma and Welling (2014).
    """

    n_samples: int = eqx.field(static=True, default=1)
    closed_form_kl: bool | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        _check_count("n_samples", self.n_samples, 1, "1 is usual for the ELBO")

    @property
    def n_draws(self) -> int:
        """n_samples."""
        return self.n_samples

    @property
    def is_mean(self) -> bool:
        """It is."""
        return True

    def wants_kl(self, q: AbstractDistribution, prior: AbstractDistribution) -> bool:
        """Where there is a closed form, unless it is switched off."""
        known = has_closed_form_kl(q, prior)
        if self.closed_form_kl and not known:
            raise ValueError(
                f"ELBO(closed_form_kl=True) must have a closed form of KL({type(q).__name__} || "
                f"{_name_of(prior)}), but there is none; use closed_form_kl=False (which samples it)."
            )
        return known if self.closed_form_kl is None else self.closed_form_kl

    def value(self, draws: Draws, kl_weight: Float[Array, ""] | float = 1.0) -> Scalar:
        """Mean over draws of log p(x|z), minus `kl_weight` times the KL."""
        return jnp.mean(draws.weight.log_likelihood) - kl_weight * draws.any_kl

    def path_factors(self, log_weights: Float[Array, " k"]) -> Float[Array, " k"]:
        """One: the gradient that sticks the landing."""
        return jnp.ones_like(log_weights)


@final
class ImportanceWeighted(AbstractObjective):
    """The importance-weighted bound, E[log (1/k) sum_i w_i] <= log p(x), tighter as k grows; k = 1 is the ELBO.

    With `n_groups` m it is the mean of m such bounds of k draws each (MIWAE).
    Source: Burda, Grosse and Salakhutdinov (2016); Rainforth et al. (2018).
    """

    n_samples: int = eqx.field(static=True, default=50)
    n_groups: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        _check_count("n_samples", self.n_samples, 1, "50 is usual")
        _check_count("n_groups", self.n_groups, 1, "1 is usual, 8 for MIWAE")

    @property
    def n_draws(self) -> int:
        """n_groups times n_samples."""
        return self.n_groups * self.n_samples

    @property
    def is_one_bound(self) -> bool:
        """With one group of several draws."""
        return self.n_groups == 1 and self.n_samples > 1

    def value(self, draws: Draws, kl_weight: Float[Array, ""] | float = 1.0) -> Scalar:
        """log-mean-exp of the log weights of each group, averaged over groups."""
        log_weights = draws.weight.tempered(kl_weight).reshape(self.n_groups, self.n_samples)
        return jnp.mean(logsumexp(log_weights, axis=1)) - jnp.log(self.n_samples)

    def path_factors(self, log_weights: Float[Array, " k"]) -> Float[Array, " k"]:
        """The normalised weights of each group."""
        return jax.nn.softmax(log_weights.reshape(self.n_groups, self.n_samples), axis=1).ravel()


@final
class PartiallyImportanceWeighted(AbstractObjective):
    """PIWAE: p maximises the importance-weighted bound of all m k draws, q the mean of m bounds of k draws each.

    A tighter bound is better for p, but drowns the gradient of q in noise.
    Source: Rainforth et al. (2018).
    """

    n_samples: int = eqx.field(static=True, default=8)
    n_groups: int = eqx.field(static=True, default=8)

    def __check_init__(self) -> None:
        _check_count("n_samples", self.n_samples, 1, "8 is usual")
        _check_count("n_groups", self.n_groups, 1, "8 is usual")

    @property
    def n_draws(self) -> int:
        """n_groups times n_samples."""
        return self.n_groups * self.n_samples

    @property
    def for_inference(self) -> AbstractObjective:
        """The bound in groups."""
        return ImportanceWeighted(self.n_samples, self.n_groups)

    def value(self, draws: Draws, kl_weight: Float[Array, ""] | float = 1.0) -> Scalar:
        """log-mean-exp of all log weights."""
        return ImportanceWeighted(self.n_draws).value(draws, kl_weight)

    def path_factors(self, log_weights: Float[Array, " k"]) -> Float[Array, " k"]:
        """Those of the bound that q maximises."""
        return self.for_inference.path_factors(log_weights)


@final
class CombinedImportanceWeighted(AbstractObjective):
    """CIWAE: `elbo_weight` ELBO + (1 - elbo_weight) importance-weighted bound, from the same k draws.

    Source: Rainforth et al. (2018).
    """

    n_samples: int = eqx.field(static=True, default=50)
    elbo_weight: float = eqx.field(static=True, default=0.05)

    def __check_init__(self) -> None:
        _check_count("n_samples", self.n_samples, 1, "50 is usual")
        if not 0 <= self.elbo_weight <= 1:
            raise ValueError(f"elbo_weight must lie between 0 and 1; got {self.elbo_weight!r}; 0.05 is usual.")

    @property
    def n_draws(self) -> int:
        """n_samples."""
        return self.n_samples

    def value(self, draws: Draws, kl_weight: Float[Array, ""] | float = 1.0) -> Scalar:
        """The weighted sum of mean and log-mean-exp of the log weights."""
        log_weights = draws.weight.tempered(kl_weight)
        tight = logsumexp(log_weights) - jnp.log(self.n_samples)
        return self.elbo_weight * jnp.mean(log_weights) + (1 - self.elbo_weight) * tight

    def path_factors(self, log_weights: Float[Array, " k"]) -> Float[Array, " k"]:
        """(b/k + (1-b) w^2) / (b/k + (1-b) w), with w the normalised weights."""
        w, mean = jax.nn.softmax(log_weights), self.elbo_weight / self.n_samples
        plain = mean + (1 - self.elbo_weight) * w
        return (mean + (1 - self.elbo_weight) * w**2) / jnp.maximum(plain, float(np.finfo(w.dtype).tiny))


@final
class Renyi(AbstractObjective):
    """The variational Renyi bound, 1/(1 - a) log E[w^(1 - a)]: a = 1 is the ELBO, a = 0 the importance-weighted bound.

    It is a lower bound of log p(x) for a >= 0. From k draws it lies, on average, between the ELBO (k = 1) and that
    bound: too low for a < 1, too high for a > 1.
    Source: Li and Turner (2016).
    """

    alpha: float = eqx.field(static=True, default=0.5)
    n_samples: int = eqx.field(static=True, default=50)

    def __check_init__(self) -> None:
        _check_count("n_samples", self.n_samples, 1, "50 is usual")
        if not self.alpha >= 0:
            raise ValueError(
                f"alpha must be at least 0, where the Renyi bound is a lower one; got {self.alpha!r}; 0.5 is usual."
            )

    @property
    def n_draws(self) -> int:
        """n_samples."""
        return self.n_samples

    def value(self, draws: Draws, kl_weight: Float[Array, ""] | float = 1.0) -> Scalar:
        """log-mean-exp of (1 - a) log w, over (1 - a)."""
        log_weights, power = draws.weight.tempered(kl_weight), 1 - self.alpha
        if power == 0:
            return jnp.mean(log_weights)
        return (logsumexp(power * log_weights) - jnp.log(self.n_samples)) / power

    def path_factors(self, log_weights: Float[Array, " k"]) -> Float[Array, " k"]:
        """a + (1 - a) v, with v the normalised w^(1 - a)."""
        return self.alpha + (1 - self.alpha) * jax.nn.softmax((1 - self.alpha) * log_weights)


def _name_of(prior: AbstractDistribution) -> str:
    return type(prior.family if isinstance(prior, LearnedPrior) else prior).__name__


def _check_count(name: str, value: Any, least: int, usual: str) -> None:
    if not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}; {usual}.")
