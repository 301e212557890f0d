"""Objectives: bounds on log p(x) as functions of the log weights of one datum.

An objective is only a value. How its gradient is estimated is the business of `learn.gradients`.
"""

from abc import abstractmethod
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model import AbstractDistribution, GenerativeModel, has_closed_form_kl, kl_divergence
from tightbound.model.distributions import Mask, Scalar, Vector


class Draws(eqx.Module):
    """What k draws z ~ q(z | x) say of one datum: the parts of the log weights, and KL(q || prior) if known; nats."""

    log_likelihood: Float[Array, " k"]
    log_prior: Float[Array, " k"]
    log_q: Float[Array, " k"]
    kl: Scalar | None

    @property
    def log_weights(self) -> Float[Array, " k"]:
        """log w = log p(x | z) + log p(z) - log q(z | x), shape (k,)."""
        return self.log_likelihood + self.log_prior - self.log_q


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
    """Draw z_1..z_k ~ q and weigh them: the one place where p and q meet."""

    def weigh(k: PRNGKeyArray) -> tuple[Scalar, Scalar, Scalar]:
        z = q.sample(key=k)
        return p.decoder(z).log_prob(x, observed), p.prior.log_prob(z), q.log_prob(z)

    log_likelihood, log_prior, log_q = jax.vmap(weigh)(jax.random.split(key, n_samples))
    return Draws(log_likelihood, log_prior, log_q, kl_divergence(q, p.prior) if with_kl else None)


class AbstractObjective(eqx.Module):
    """A lower bound on log p(x), estimated from `n_samples` draws of q."""

    n_samples: eqx.AbstractVar[int]

    @property
    @abstractmethod
    def uses_closed_form_kl(self) -> bool:
        """Whether `Draws.kl` is needed."""

    @abstractmethod
    def value(self, draws: Draws, kl_weight: Float[Array, ""] | float = 1.0) -> Scalar:
        """The bound with the terms of the prior and of q weighted by `kl_weight`; with 1 it *is* the bound, in nats."""


@final
class ELBO(AbstractObjective):
    """The evidence lower bound, E_q[log p(x | z)] - KL(q || p(z)) <= log p(x).

    The KL is exact where it has a closed form and `closed_form_kl` is on, else it is estimated from the same draws.
    Source: Jordan et al. (1999); Kingma and Welling (2014).
    """

    n_samples: int = eqx.field(static=True, default=1)
    closed_form_kl: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        _check_n_samples(self.n_samples)

    @property
    def uses_closed_form_kl(self) -> bool:
        """Whether the KL comes from its formula."""
        return self.closed_form_kl

    def value(self, draws: Draws, kl_weight: Float[Array, ""] | float = 1.0) -> Scalar:
        """Mean over draws of log p(x|z), minus `kl_weight` times the KL."""
        kl = jnp.mean(draws.log_q - draws.log_prior) if draws.kl is None else draws.kl
        return jnp.mean(draws.log_likelihood) - kl_weight * kl


@final
class ImportanceWeighted(AbstractObjective):
    """The importance-weighted bound, E[log (1/k) sum_i w_i] <= log p(x), tighter as k grows; k = 1 is the ELBO.

    Source: Burda, Grosse and Salakhutdinov (2016).
    """

    n_samples: int = eqx.field(static=True, default=50)

    def __check_init__(self) -> None:
        _check_n_samples(self.n_samples)

    @property
    def uses_closed_form_kl(self) -> bool:
        """Never: the KL sits inside the logarithm."""
        return False

    def value(self, draws: Draws, kl_weight: Float[Array, ""] | float = 1.0) -> Scalar:
        """log-mean-exp of the log weights."""
        log_weights = draws.log_likelihood + kl_weight * (draws.log_prior - draws.log_q)
        return logsumexp(log_weights) - jnp.log(log_weights.shape[0])


def check_objective(
    objective: AbstractObjective, q: type[AbstractDistribution], prior: type[AbstractDistribution]
) -> None:
    """Refuse an objective that needs a closed-form KL which this pair does not have (`ValueError`)."""
    if objective.uses_closed_form_kl and not has_closed_form_kl(q, prior):
        raise ValueError(
            f"ELBO(closed_form_kl=True) needs a closed form of KL({q.__name__} || {prior.__name__}); there is "
            "none, so use ELBO(closed_form_kl=False) or ImportanceWeighted."
        )


def _check_n_samples(n_samples: int) -> None:
    if not isinstance(n_samples, int) or n_samples < 1:
        raise ValueError(f"n_samples must be a whole number of at least 1; got {n_samples!r}; 1 is usual for the ELBO.")
