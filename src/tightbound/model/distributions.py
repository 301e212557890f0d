"""Distributions over one datum (a vector), for the prior, the decoder and the posterior alike.

Every distribution is written for a single vector; batches and samples are `jax.vmap`s of it.
`log_prob(x, observed)` is the log density of the *observed* cells alone: the others are integrated out exactly.
"""

from abc import abstractmethod
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, PRNGKeyArray

Scalar = Float[Array, ""]
Vector = Float[Array, " d"]
Latent = Float[Array, " k"]
Mask = Bool[Array, " d"] | None

_LOG_2PI = 1.8378770664093453


class AbstractDistribution(eqx.Module):
    """A distribution over vectors of length `dim`."""

    reparameterised: eqx.AbstractClassVar[bool]
    """Whether draws are differentiable in the parameters."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of one draw."""

    @property
    @abstractmethod
    def mean(self) -> Vector:
        """E[x], shape (dim,)."""

    @property
    @abstractmethod
    def variance(self) -> Vector:
        """Var[x_j] of every cell, shape (dim,)."""

    @abstractmethod
    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """One draw, shape (dim,); differentiable in the parameters where the distribution is continuous."""

    @abstractmethod
    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Log density of the observed cells of `x`, in nats (all cells when `observed` is None)."""


@final
class StandardGaussian(AbstractDistribution):
    """N(0, I): the prior of the textbook.

    Example: `StandardGaussian(2).log_prob(jnp.zeros(2))` is -log(2 pi).
    """

    reparameterised: ClassVar[bool] = True
    size: int = eqx.field(static=True)
    dtype: str | None = eqx.field(static=True, default=None)

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.size

    @property
    def mean(self) -> Vector:
        """Zero."""
        return jnp.zeros(self.dim, self.dtype)

    @property
    def variance(self) -> Vector:
        """One."""
        return jnp.ones(self.dim, self.dtype)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """One draw, shape (dim,)."""
        return jax.random.normal(key, (self.dim,), self.dtype)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Sum over observed cells of -(x^2 + log 2 pi) / 2."""
        return _sum_observed(norm.logpdf(_filled(x, self.mean.astype(x.dtype), observed)), observed)


@final
class DiagonalGaussian(AbstractDistribution):
    """N(loc, diag(scale^2)); `scale` is a standard deviation."""

    reparameterised: ClassVar[bool] = True
    loc: Vector
    scale: Vector

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.loc.shape[-1]

    @property
    def mean(self) -> Vector:
        """The location."""
        return self.loc

    @property
    def variance(self) -> Vector:
        """scale^2."""
        return self.scale**2

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """loc + scale * epsilon (the pathwise form)."""
        return self.loc + self.scale * jax.random.normal(key, self.loc.shape, self.loc.dtype)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Sum over observed cells of log N(x_j; loc_j, scale_j^2)."""
        return _sum_observed(norm.logpdf(_filled(x, self.loc, observed), self.loc, self.scale), observed)

    def entropy(self) -> Scalar:
        """H = sum_j log scale_j + d/2 (1 + log 2 pi), in nats."""
        return jnp.sum(jnp.log(self.scale)) + 0.5 * self.dim * (1 + _LOG_2PI)


@final
class FullGaussian(AbstractDistribution):
    """N(loc, L L') with `scale_tril` = L, lower triangular with a positive diagonal."""

    reparameterised: ClassVar[bool] = True
    loc: Vector
    scale_tril: Float[Array, "d d"]

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.loc.shape[-1]

    @property
    def mean(self) -> Vector:
        """The location."""
        return self.loc

    @property
    def variance(self) -> Vector:
        """Diagonal of L L'."""
        return jnp.sum(self.scale_tril**2, axis=-1)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """loc + L epsilon (the pathwise form)."""
        return self.loc + self.scale_tril @ jax.random.normal(key, self.loc.shape, self.loc.dtype)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Log density of the marginal over the observed cells, N(loc_o, (L L')_oo)."""
        residual = _filled(x, self.loc, observed) - self.loc
        tril = self.scale_tril if observed is None else _marginal_tril(self.scale_tril, observed)
        n = self.dim if observed is None else jnp.sum(observed)
        white = solve_triangular(tril, residual, lower=True)
        return -0.5 * (jnp.sum(white**2) + n * _LOG_2PI) - jnp.sum(jnp.log(jnp.diagonal(tril)))

    def entropy(self) -> Scalar:
        """H = sum_j log L_jj + d/2 (1 + log 2 pi), in nats."""
        return jnp.sum(jnp.log(jnp.diagonal(self.scale_tril))) + 0.5 * self.dim * (1 + _LOG_2PI)


@final
class LowRankGaussian(AbstractDistribution):
    """N(loc, F F' + diag(scale^2)) with a factor F of shape (d, rank)."""

    reparameterised: ClassVar[bool] = True
    loc: Vector
    factor: Float[Array, "d r"]
    scale: Vector

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.loc.shape[-1]

    @property
    def mean(self) -> Vector:
        """The location."""
        return self.loc

    @property
    def variance(self) -> Vector:
        """Row sums of F^2, plus scale^2."""
        return jnp.sum(self.factor**2, axis=-1) + self.scale**2

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """loc + F eta + scale * epsilon."""
        key_factor, key_scale = jax.random.split(key)
        eta = jax.random.normal(key_factor, (self.factor.shape[-1],), self.loc.dtype)
        epsilon = jax.random.normal(key_scale, self.loc.shape, self.loc.dtype)
        return self.loc + self.factor @ eta + self.scale * epsilon

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Log density of the observed cells by the matrix inversion and determinant lemmas, O(d rank^2)."""
        residual = _filled(x, self.loc, observed) - self.loc
        keep = jnp.ones_like(self.scale) if observed is None else observed.astype(self.scale.dtype)
        # Dropping row j of F and D is the marginal over the others; a weight of zero does just that.
        weight = keep / self.scale**2
        weighted = self.factor * weight[:, None]
        inner = jnp.eye(self.factor.shape[-1], dtype=self.loc.dtype) + self.factor.T @ weighted
        tril = jnp.linalg.cholesky(inner)
        projected = weighted.T @ residual
        mahalanobis = jnp.sum(weight * residual**2) - projected @ cho_solve((tril, True), projected)
        log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(tril))) + 2 * jnp.sum(keep * jnp.log(self.scale))
        return -0.5 * (mahalanobis + log_det + jnp.sum(keep) * _LOG_2PI)


@final
class Bernoulli(AbstractDistribution):
    """Independent yes/no cells with log-odds `logits`; values are 0 and 1."""

    reparameterised: ClassVar[bool] = False
    logits: Vector

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.logits.shape[-1]

    @property
    def mean(self) -> Vector:
        """Probability of 1."""
        return jax.nn.sigmoid(self.logits)

    @property
    def variance(self) -> Vector:
        """p (1 - p)."""
        return jax.nn.sigmoid(self.logits) * jax.nn.sigmoid(-self.logits)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """One draw of zeros and ones (not differentiable)."""
        return jax.random.bernoulli(key, self.mean).astype(self.logits.dtype)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Sum over observed cells of x l - log(1 + e^l): stable where the probability rounds to 0 or 1."""
        x = _filled(x, jnp.zeros_like(x), observed)
        return _sum_observed(x * self.logits - jax.nn.softplus(self.logits), observed)

    def entropy(self) -> Scalar:
        """H = sum_j log(1 + e^l_j) - p_j l_j, in nats."""
        return jnp.sum(jax.nn.softplus(self.logits) - self.mean * self.logits)


def _filled(x: Vector, value: Vector, observed: Mask) -> Vector:
    # A missing cell may hold anything, NaN included; NaN times zero would poison the gradient, so it is replaced first.
    return x if observed is None else jnp.where(observed, x, value)


def _sum_observed(terms: Vector, observed: Mask) -> Scalar:
    return jnp.sum(terms) if observed is None else jnp.sum(jnp.where(observed, terms, 0))


def _marginal_tril(scale_tril: Float[Array, "d d"], observed: Bool[Array, " d"]) -> Float[Array, "d d"]:
    # The missing block becomes the identity: its determinant is 1 and its residual 0, so only the marginal is left.
    both = observed[:, None] & observed[None, :]
    covariance = jnp.where(both, scale_tril @ scale_tril.T, jnp.eye(observed.shape[0], dtype=scale_tril.dtype))
    return jnp.linalg.cholesky(covariance)
