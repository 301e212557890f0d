"""Distributions over one datum (a vector), for the prior, the decoder and the posterior alike.

Every distribution is written for a single vector; batches and samples are `jax.vmap`s of it.
`log_prob(x, observed)` is the log density of the *observed* cells alone: the others are integrated out exactly.
What else a distribution of a whole row can tell (of one cell, of some given others) are methods too, which refuse by
name where there is no answer.
"""

import itertools
from abc import abstractmethod
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from tightbound.model.truncation import truncated_gaussian

Scalar = Float[Array, ""]
Vector = Float[Array, " d"]
Latent = Float[Array, " k"]
Mask = Bool[Array, " d"] | None
Column = Int[Array, ""] | int
"""Position of a cell: a number that a program may compute (one program serves all columns of a table)."""

_LOG_2PI = 1.8378770664093453


class AbstractDistribution(eqx.Module):
    """A distribution over vectors of length `dim`."""

    reparameterised: eqx.AbstractClassVar[bool]
    """Whether draws are differentiable in the parameters."""
    tabulated: ClassVar[bool] = False
    """Whether its numbers are the logits of all its states, in their order."""

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

    def sample_and_log_prob(self, *, key: PRNGKeyArray) -> tuple[Vector, Scalar]:
        """One draw and its log density, in the cheapest way that the distribution has."""
        z = self.sample(key=key)
        return z, self.log_prob(z)

    @property
    def plain(self) -> "AbstractDistribution":
        """The distribution itself, of one that owns what it is made of."""
        return self

    @property
    def n_states(self) -> int | None:
        """How many values a draw can have; None for a continuous distribution."""
        return None

    def all_states(self) -> Float[Array, "s d"]:
        """Every value that a draw can have, one a row; raises `ValueError` for a continuous distribution."""
        raise ValueError(
            f"Enumeration must have discrete latents (bernoulli or categorical); got {type(self).__name__}; "
            "use the pathwise gradient, or a discrete posterior."
        )

    @property
    def factorised(self) -> bool:
        """Whether cells are independent."""
        return False

    @property
    def modelled(self) -> Bool[np.ndarray, " d"]:
        """Which cells it is a distribution of: all but those that are given."""
        return np.ones(self.dim, bool)

    def at(self, x: Vector, observed: Mask = None) -> "AbstractDistribution":
        """The distribution for what is given in the row `x`: itself, where nothing is."""
        del x, observed
        return self

    def given(self, x: Vector, observed: Bool[Array, " d"]) -> "AbstractDistribution":
        """p(x_missing | x_observed), over all cells, those of the observed being arbitrary."""
        del x, observed
        raise self._refusal("its missing cells given others")

    def log_prob_at(self, column: Column, x: Scalar) -> Scalar:
        """Log density of the one cell at `x`, nats: the marginal one, where cells are correlated."""
        del column, x
        raise self._refusal("one cell by itself")

    def cdf_at(self, column: Column, x: Scalar) -> Scalar:
        """P(X_column <= x), 0 and 1 at the infinities."""
        del column, x
        raise self._refusal("one cell by itself")

    def level_log_probs_at(self, column: Column, n_levels: int) -> Float[Array, " l"]:
        """Log probability of the codes 0, ..., n_levels - 1 in the column, (n_levels,)."""
        dtype = jax.eval_shape(lambda: self.mean).dtype
        return jax.vmap(lambda code: self.log_prob_at(column, code.astype(dtype)))(jnp.arange(n_levels))

    def log_probs(self, x: Vector) -> Vector:
        """Log density of every cell by itself, (d,), nats."""
        return jax.vmap(self.log_prob_at)(jnp.arange(self.dim), x)

    def nominal_levels(self, *, binary: bool = False) -> tuple[int, ...]:
        """Levels of each column whose codes have no order, 0 for the others; yes/no columns count if `binary`."""
        del binary
        return (0,) * self.dim

    def nominal_log_probs(self) -> Float[Array, " l"]:
        """Log probabilities of all levels of all nominal columns, one column after another."""
        return jnp.zeros(0, jax.eval_shape(lambda: self.mean).dtype)

    def sample_needed(self, needed: Bool[Array, " d"], *, key: PRNGKeyArray) -> Vector:
        """One draw, of which only the cells `needed` (the same for all rows of a batch) have to be right."""
        del needed
        return self.sample(key=key)

    def within(
        self, low: Vector, high: Vector, observed: Bool[Array, " d"], *, key: PRNGKeyArray
    ) -> tuple[Scalar, Vector]:
        """A row whose missing cells lie within low <= x <= high, and its log weight, of correlated cells.

        The mean of the weights over draws is the probability of that box. The distribution is already `given` the
        observed cells.
        """
        del low, high, observed, key
        raise self._refusal("cells within intervals")

    def moved(self, noise: Vector, where: Bool[np.ndarray, " d"]) -> "AbstractDistribution":
        """With the cells `where` fixed at loc + scale * noise, for cells that are Gaussian and independent."""
        del noise, where
        raise self._refusal("cells at loc + scale * noise")

    def with_total(self, log_total: Scalar) -> "AbstractDistribution":
        """Told how much its cells add up to, where draws need to know (itself, where they do not)."""
        del log_total
        return self

    def _refusal(self, what: str) -> TypeError:
        return TypeError(
            f"The decoder must give a distribution that can tell {what}; got a {type(self).__name__}, which has no "
            "answer; fit the table with one likelihood for each column, or with a Gaussian vector."
        )


class AbstractGaussian(AbstractDistribution):
    """A Gaussian vector: every cell is Gaussian by itself."""

    def log_prob_at(self, column: Column, x: Scalar) -> Scalar:
        """log N(x; mean_j, variance_j)."""
        return norm.logpdf(x, self.mean[column], jnp.sqrt(self.variance[column]))

    def cdf_at(self, column: Column, x: Scalar) -> Scalar:
        """Phi((x - mean_j) / sd_j)."""
        inside = norm.cdf(finite(x), self.mean[column], jnp.sqrt(self.variance[column]))
        return between_ends(inside, x)


class AbstractLocated(AbstractGaussian):
    """One with a location."""

    loc: eqx.AbstractVar[Vector]

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.loc.shape[-1]

    @property
    def mean(self) -> Vector:
        """The location."""
        return self.loc


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
class DiagonalGaussian(AbstractLocated):
    """N(loc, diag(scale^2)); `scale` is a standard deviation."""

    reparameterised: ClassVar[bool] = True
    loc: Vector
    scale: Vector

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

    @property
    def factorised(self) -> bool:
        """True."""
        return True

    def given(self, x: Vector, observed: Bool[Array, " d"]) -> AbstractDistribution:
        """The same."""
        return self

    def moved(self, noise: Vector, where: Bool[np.ndarray, " d"]) -> "DiagonalGaussian":
        """A scale of 0 there."""
        return DiagonalGaussian(self.loc + self.scale * noise, jnp.where(where, 0, self.scale))


@final
class FullGaussian(AbstractLocated):
    """N(loc, L L') with `scale_tril` = L, lower triangular with a positive diagonal."""

    reparameterised: ClassVar[bool] = True
    loc: Vector
    scale_tril: Float[Array, "d d"]

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

    def given(self, x: Vector, observed: Bool[Array, " d"]) -> "FullGaussian":
        """Mean loc_m + Sigma_mo Sigma_oo^-1 (x_o - loc_o), covariance Sigma_mm - Sigma_mo Sigma_oo^-1 Sigma_om."""
        covariance = self.scale_tril @ self.scale_tril.T
        eye = jnp.eye(self.dim, dtype=self.loc.dtype)
        both, across = observed[:, None] & observed[None, :], ~observed[:, None] & observed[None, :]
        tril = jnp.linalg.cholesky(jnp.where(both, covariance, eye))
        cross = jnp.where(across, covariance, 0)
        residual = jnp.where(observed, x - self.loc, 0)
        loc = self.loc + cross @ cho_solve((tril, True), residual)
        explained = solve_triangular(tril, cross.T, lower=True)
        neither = ~observed[:, None] & ~observed[None, :]
        return FullGaussian(loc, jnp.linalg.cholesky(jnp.where(neither, covariance - explained.T @ explained, eye)))

    def within(
        self, low: Vector, high: Vector, observed: Bool[Array, " d"], *, key: PRNGKeyArray
    ) -> tuple[Scalar, Vector]:
        """Cell after cell."""
        return truncated_gaussian(self.loc, self.scale_tril, low, high, observed, key=key)


@final
class LowRankGaussian(AbstractLocated):
    """N(loc, F F' + diag(scale^2)) with a factor F of shape (d, rank)."""

    reparameterised: ClassVar[bool] = True
    loc: Vector
    factor: Float[Array, "d r"]
    scale: Vector

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

    def given(self, x: Vector, observed: Bool[Array, " d"]) -> "LowRankGaussian":
        """The factor's N(0, I) updated by the observed cells."""
        residual = jnp.where(observed, x - self.loc, 0)
        weighted = self.factor * jnp.where(observed, 1 / self.scale**2, 0)[:, None]
        precision = jnp.eye(self.factor.shape[1], dtype=self.loc.dtype) + self.factor.T @ weighted
        tril = jnp.linalg.cholesky(precision)
        eta = cho_solve((tril, True), weighted.T @ residual)
        # Precision L L', so covariance L^-T L^-1, and F L^-T is the factor that is left: its transpose is L^-1 F'.
        left = solve_triangular(tril, self.factor.T, lower=True).T
        return LowRankGaussian(self.loc + self.factor @ eta, left, self.scale)

    def within(
        self, low: Vector, high: Vector, observed: Bool[Array, " d"], *, key: PRNGKeyArray
    ) -> tuple[Scalar, Vector]:
        """Cell after cell."""
        missing = ~observed[:, None] & ~observed[None, :]
        covariance = self.factor @ self.factor.T + jnp.diag(self.scale**2)
        tril = jnp.linalg.cholesky(jnp.where(missing, covariance, jnp.eye(self.dim, dtype=self.loc.dtype)))
        return truncated_gaussian(self.loc, tril, low, high, observed, key=key)


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

    @property
    def n_states(self) -> int:
        """2^dim."""
        return int(2**self.dim)

    def all_states(self) -> Float[Array, "s d"]:
        """All rows of zeros and ones."""
        codes = np.array(list(itertools.product((0.0, 1.0), repeat=self.dim)))
        return jnp.asarray(codes, self.logits.dtype)

    @property
    def factorised(self) -> bool:
        """True."""
        return True

    def given(self, x: Vector, observed: Bool[Array, " d"]) -> AbstractDistribution:
        """The same."""
        return self

    def log_prob_at(self, column: Column, x: Scalar) -> Scalar:
        """x l - log(1 + e^l) of 0 and 1."""
        at = self.logits[column]
        return jnp.where((x == 0) | (x == 1), x * at - jax.nn.softplus(at), -jnp.inf)

    def cdf_at(self, column: Column, x: Scalar) -> Scalar:
        """0 below 0, P(0) below 1, then 1."""
        none, known = jax.nn.sigmoid(-self.logits[column]), finite(x)
        return between_ends(jnp.where(known < 0, 0, jnp.where(known < 1, none, 1)), x)

    def nominal_levels(self, *, binary: bool = False) -> tuple[int, ...]:
        """Two of each if `binary`."""
        return (2 if binary else 0,) * self.dim


def finite(x: Scalar) -> Scalar:
    """x, or 0 where it is infinite, so that no gradient is NaN there."""
    return jnp.where(jnp.isfinite(x), x, 0)


def between_ends(cdf: Scalar, x: Scalar) -> Scalar:
    """A cdf of `finite(x)` as one of x: within [0, 1], 0 and 1 at the infinities."""
    return jnp.where(jnp.isfinite(x), jnp.clip(cdf, 0, 1), (x > 0).astype(cdf.dtype))


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
