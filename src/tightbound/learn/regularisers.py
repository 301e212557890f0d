"""What stands in for the KL term while learning: functions of a whole minibatch, never part of a reported bound."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model import AbstractDistribution, Categorical, has_kl_terms, kl_terms
from tightbound.model.distributions import Scalar


class Minibatch(NamedTuple):
    """The posteriors of a minibatch, with one draw of each."""

    q: AbstractDistribution
    """One for every row, stacked."""
    z: Float[Array, "b k"]
    kl: Float[Array, " b"]
    """KL(q || prior) of every row, exact where it has a closed form."""
    prior: AbstractDistribution
    weights: Float[Array, " b"]
    """1, or 0 for a row that only fills up the minibatch."""
    n_rows: int
    """Rows of the whole training data."""
    step: Array

    def mean(self, values: Float[Array, " b"]) -> Scalar:
        """Mean over the rows that count."""
        return jnp.sum(self.weights * values) / jnp.sum(self.weights)


class AbstractRegulariser(eqx.Module):
    """A penalty in nats a row that takes the place of the mean KL."""

    of_kl: ClassVar[bool] = False
    """Whether it is a function of the KL alone, and so has a closed form where that has one."""

    @abstractmethod
    def check(self, q: AbstractDistribution, prior: AbstractDistribution) -> None:
        """Raise `ValueError` for a q or a prior that it cannot handle."""

    @abstractmethod
    def __call__(self, batch: Minibatch, *, key: PRNGKeyArray) -> Scalar:
        """The penalty."""


@final
class Capacity(AbstractRegulariser):
    """beta |mean KL - C|, with C rising from 0 to `capacity` nats over `steps` steps.

    Source: Burgess et al. (2018).
    """

    of_kl: ClassVar[bool] = True
    capacity: float = eqx.field(static=True)
    beta: float = eqx.field(static=True, default=1.0)
    steps: int = eqx.field(static=True, default=0)

    def check(self, q: AbstractDistribution, prior: AbstractDistribution) -> None:
        """Any pair will do."""

    def __call__(self, batch: Minibatch, *, key: PRNGKeyArray) -> Scalar:
        """The penalty."""
        reached = jnp.minimum(1, batch.step / self.steps) if self.steps else 1.0
        return self.beta * jnp.abs(batch.mean(batch.kl) - self.capacity * reached)


@final
class FreeBits(AbstractRegulariser):
    """sum over groups of latents of max(`nats`, mean KL of the group): what is below that level is not pressed further.

    `group_size` 1: each dimension for itself; 0: all together.
    Source: Kingma et al. (2016), appendix C.
    """

    of_kl: ClassVar[bool] = True
    nats: float = eqx.field(static=True, default=0.5)
    group_size: int = eqx.field(static=True, default=1)

    def check(self, q: AbstractDistribution, prior: AbstractDistribution) -> None:
        """Groups need a KL that is a sum of known terms, and a size that divides the number of latents."""
        if self.group_size == 0:
            return
        if not has_kl_terms(q, prior):
            raise ValueError(
                f"free_bits in groups must have a factorised q and prior (diagonal with standard, bernoulli, "
                f"categorical); got {type(q).__name__} and {type(prior).__name__}; use free_bits_group 0 (all latents "
                "together)."
            )
        size = q.logits.shape[0] if isinstance(q, Categorical) else q.dim
        if size % self.group_size:
            raise ValueError(
                f"free_bits_group must divide the {size} latents; got {self.group_size}; use 1 (each for itself) or 0."
            )

    def __call__(self, batch: Minibatch, *, key: PRNGKeyArray) -> Scalar:
        """The penalty."""
        if self.group_size == 0:
            return jnp.maximum(self.nats, batch.mean(batch.kl))
        terms = eqx.filter_vmap(kl_terms, in_axes=(0, None))(batch.q, batch.prior)
        if isinstance(batch.q, Categorical):  # the levels of a variable are one latent
            terms = jnp.sum(terms.reshape(batch.q.logits.shape), axis=-1)
        mean = jnp.sum(batch.weights[:, None] * terms, axis=0) / jnp.sum(batch.weights)
        return jnp.sum(jnp.maximum(self.nats, jnp.sum(mean.reshape(-1, self.group_size), axis=1)))


@final
class TotalCorrelation(AbstractRegulariser):
    """KL taken apart: `information` I(x; z) + `beta` TC(z) + `marginals` sum_j KL(q(z_j) || p(z_j)).

    The aggregated posterior is estimated within the minibatch (minibatch-weighted sampling).
    Source: Chen, Li, Grosse and Duvenaud (2018), beta-TCVAE.
    """

    beta: float = eqx.field(static=True, default=6.0)
    information: float = eqx.field(static=True, default=1.0)
    marginals: float = eqx.field(static=True, default=1.0)

    def check(self, q: AbstractDistribution, prior: AbstractDistribution) -> None:
        """Needs marginals: a diagonal Gaussian under a standard Gaussian."""
        if not (q.reparameterised and has_kl_terms(q, prior)):
            raise ValueError(
                f"The objective beta_tc must have posterior='diagonal' and prior='standard'; got {type(q).__name__} "
                f"and {type(prior).__name__}; use those, or the objective mmd."
            )

    def __call__(self, batch: Minibatch, *, key: PRNGKeyArray) -> Scalar:
        """The penalty."""
        q: Any = batch.q
        pairs = jax.scipy.stats.norm.logpdf(batch.z[:, None, :], q.loc[None, :, :], q.scale[None, :, :])
        size = jnp.sum(batch.weights)
        absent = jnp.where(batch.weights > 0, 0.0, -jnp.inf).astype(batch.z.dtype)
        scale = jnp.log(batch.n_rows * size)
        own = jnp.sum(jax.scipy.stats.norm.logpdf(batch.z, q.loc, q.scale), axis=1)
        joint = logsumexp(jnp.sum(pairs, axis=2) + absent[None, :], axis=1) - scale
        marginal = jnp.sum(logsumexp(pairs + absent[None, :, None], axis=1) - scale, axis=1)
        prior = jax.vmap(batch.prior.log_prob)(batch.z)
        return (
            self.information * batch.mean(own - joint)
            + self.beta * batch.mean(joint - marginal)
            + self.marginals * batch.mean(marginal - prior)
        )


@final
class MaximumMeanDiscrepancy(AbstractRegulariser):
    """InfoVAE: (1 - alpha) KL + (alpha + scale - 1) MMD^2 of the aggregated posterior and the prior.

    The kernel is a sum of inverse multiquadratics of widths about sqrt(2 k) for k latents.
    Source: Zhao, Song and Ermon (2019); the kernel as in Tolstikhin, Bousquet, Gelly and Schoelkopf (2018).
    """

    alpha: float = eqx.field(static=True, default=0.0)
    scale: float = eqx.field(static=True, default=10.0)

    def __check_init__(self) -> None:
        if not (0 <= self.alpha <= 1 and self.alpha + self.scale >= 1):
            raise ValueError(
                "The objective mmd must have alpha between 0 and 1, and alpha + beta of at least 1 (else it would "
                f"reward what it is to penalise); got {self.alpha!r} and {self.scale!r}; 0 and 10 are usual."
            )

    def check(self, q: AbstractDistribution, prior: AbstractDistribution) -> None:
        """Needs differentiable draws."""
        if not q.reparameterised:
            raise ValueError(
                f"The objective mmd must have a posterior with differentiable draws; got {type(q).__name__}; use a "
                "continuous posterior such as 'diagonal'."
            )

    def __call__(self, batch: Minibatch, *, key: PRNGKeyArray) -> Scalar:
        """The penalty."""
        n = batch.z.shape[0]
        prior = jax.vmap(lambda k: batch.prior.sample(key=k))(jax.random.split(key, n))
        w = batch.weights / jnp.sum(batch.weights)
        uniform = jnp.full(n, 1 / n, batch.z.dtype)
        mmd = (
            _mean_kernel(batch.z, batch.z, w, w, distinct=True)
            + _mean_kernel(prior, prior, uniform, uniform, distinct=True)
            - 2 * _mean_kernel(batch.z, prior, w, uniform, distinct=False)
        )
        return (1 - self.alpha) * batch.mean(batch.kl) + (self.alpha + self.scale - 1) * mmd


def _mean_kernel(a: Array, b: Array, wa: Array, wb: Array, *, distinct: bool) -> Scalar:
    squared = jnp.sum((a[:, None, :] - b[None, :, :]) ** 2, axis=2)
    base = 2.0 * a.shape[1]
    kernel = sum((base * s / (base * s + squared) for s in (0.2, 0.5, 1.0, 2.0, 5.0)), jnp.zeros_like(squared))
    weights = wa[:, None] * wb[None, :]
    if distinct:
        weights = weights * (1 - jnp.eye(a.shape[0], dtype=a.dtype))
    return jnp.sum(weights * kernel) / jnp.maximum(jnp.sum(weights), 1e-12)
