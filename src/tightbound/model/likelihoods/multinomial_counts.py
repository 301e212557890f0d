"""Bags of words: how a known number of tokens falls on d words. Probabilities of the counts, given their total."""

from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from numpy.typing import ArrayLike, NDArray

from tightbound.model.distributions import AbstractDistribution, Mask, Scalar, Vector
from tightbound.model.likelihoods.heads import AbstractHead, Modelled
from tightbound.model.likelihoods.special import log_choices, soft_clip, stirling_excess

_LOG_PRECISION = (-10.0, 15.0)
_LEAST_CONCENTRATION = 1e-8
_NO_TOTAL = (
    "The {} of a bag of words must have its total_count; got None; give the number of tokens, "
    "{}(..., total_count=jnp.asarray(100.0))."
)


@final
class Multinomial(AbstractDistribution):
    """n! prod_j p_j^x_j / x_j!, p = softmax(logits), given n = sum_j x_j.

    x are counts as numbers, (d,). Where words are missing: with a `total_count` they are merged into one, which has
    what is left of the total; without, the observed words are given their own total. Density with respect to counting.
    Source: Johnson, Kotz and Balakrishnan (1997), chapter 35.
    Example: `Multinomial(jnp.zeros(3)).log_prob(jnp.array([1.0, 0.0, 2.0]))` is log(3/27).
    """

    reparameterised: ClassVar[bool] = False
    logits: Vector
    total_count: Float[Array, ""] | None = None

    @property
    def dim(self) -> int:
        """Number of words."""
        return self.logits.shape[-1]

    @property
    def mean(self) -> Vector:
        """n p; raises `TypeError` without a total_count."""
        return _total(self.total_count, "mean", "Multinomial") * jax.nn.softmax(self.logits)

    @property
    def variance(self) -> Vector:
        """n p (1 - p)."""
        p = jax.nn.softmax(self.logits)
        return _total(self.total_count, "variance", "Multinomial") * p * (1 - p)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """One bag of total_count tokens; raises `TypeError` without one."""
        n = _total(self.total_count, "sample", "Multinomial")
        return jax.random.multinomial(key, n, jax.nn.softmax(self.logits), dtype=self.logits.dtype)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """sum_j x_j log(p_j n / x_j) and what Stirling's formula leaves of the factorials."""
        counts, rest, whole = _seen(x, observed, self.total_count)
        log_p = jax.nn.log_softmax(self.logits)
        if observed is not None and self.total_count is None:
            log_p = log_p - _log_share(log_p, observed)
        elif observed is not None:
            log_p = jnp.append(log_p, _log_share(log_p, ~observed))
            counts = jnp.append(counts, rest)
        n, some = jnp.sum(counts), counts > 0
        ratio = jnp.where(some, log_p, 0) - jnp.log(jnp.where(some, counts, 1) / jnp.maximum(n, 1))
        value = jnp.sum(jnp.where(some, counts * ratio, 0)) + stirling_excess(n) - jnp.sum(stirling_excess(counts))
        return jnp.where(_legal(counts) & whole, value, -jnp.inf)

    def with_total(self, log_total: Scalar) -> "Multinomial":
        """Of so many tokens."""
        return Multinomial(self.logits, jnp.round(jnp.exp(log_total)))


@final
class DirichletMultinomial(AbstractDistribution):
    """A multinomial whose p is Dirichlet: words come in bursts.

    n! Gamma(A) / Gamma(n + A) prod_j Gamma(x_j + a_j) / (x_j! Gamma(a_j)), A = sum_j a_j, given n = sum_j x_j.
    Missing words as in `Multinomial`. Density with respect to counting.
    Source: Mosimann (1962); Madsen, Kauchak and Elkan (2005).
    Example: `DirichletMultinomial(jnp.ones(3)).log_prob(jnp.array([1.0, 0.0, 2.0]))` is -log(10).
    """

    reparameterised: ClassVar[bool] = False
    concentration: Vector
    total_count: Float[Array, ""] | None = None

    @property
    def dim(self) -> int:
        """Number of words."""
        return self.concentration.shape[-1]

    @property
    def mean(self) -> Vector:
        """n a / A; raises `TypeError` without a total_count."""
        n = _total(self.total_count, "mean", "DirichletMultinomial")
        return n * self.concentration / jnp.sum(self.concentration)

    @property
    def variance(self) -> Vector:
        """n p (1 - p) (n + A) / (1 + A)."""
        n, whole = _total(self.total_count, "variance", "DirichletMultinomial"), jnp.sum(self.concentration)
        p = self.concentration / whole
        return n * p * (1 - p) * (n + whole) / (1 + whole)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """Probabilities, then one bag of total_count tokens; raises `TypeError` without one."""
        n = _total(self.total_count, "sample", "DirichletMultinomial")
        key_p, key_counts = jax.random.split(key)
        p = jax.nn.softmax(jax.random.loggamma(key_p, self.concentration, dtype=self.concentration.dtype))
        return jax.random.multinomial(key_counts, n, p, dtype=p.dtype)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """sum_j f(a_j, x_j) - f(A, n) with f(a, x) = log of Gamma(x + a) / (Gamma(a) x!)."""
        counts, rest, whole = _seen(x, observed, self.total_count)
        shapes = self.concentration
        if observed is not None:
            merged = jnp.sum(jnp.where(observed, 0, shapes)) if self.total_count is not None else 0
            shapes = jnp.append(jnp.where(observed, shapes, 0), merged)
            counts = jnp.append(counts, rest)
        safe = jnp.where(shapes > 0, shapes, 1)
        impossible = jnp.any((shapes == 0) & (counts > 0))
        value = jnp.sum(log_choices(safe, counts)) - log_choices(jnp.maximum(jnp.sum(shapes), 1e-30), jnp.sum(counts))
        return jnp.where(_legal(counts) & whole & ~impossible, value, -jnp.inf)

    def with_total(self, log_total: Scalar) -> "DirichletMultinomial":
        """Of so many tokens."""
        return DirichletMultinomial(self.concentration, jnp.round(jnp.exp(log_total)))


@final
class MultinomialHead(AbstractHead):
    """A bag of words given its total; the network returns logits."""

    has_total: ClassVar[bool] = True
    n_cells: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Number of words."""
        return self.n_cells

    @property
    def n_inputs(self) -> int:
        """dim."""
        return self.dim

    def __call__(self, h: Float[Array, " m"]) -> Multinomial:
        """Multinomial with logits h."""
        return Multinomial(h)

    @property
    def log_means(self) -> NDArray[np.intp]:
        """All words."""
        return np.arange(self.dim, dtype=np.intp)

    def location_at_start(self, mean: NDArray[np.float64], first: NDArray[np.float64] | None) -> ArrayLike:
        """`first`: the words' log shares of the tokens."""
        return np.zeros(self.dim) if first is None else first

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """Nothing: the logits are all there is."""
        return jnp.zeros(0)


@final
class DirichletMultinomialHead(AbstractHead):
    """A bag of words in bursts; the network returns logits of the mean and the log of the concentrations' sum.

    The sum stays within e^-10 and e^15; each concentration is at least 1e-8.
    """

    has_total: ClassVar[bool] = True
    n_cells: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Number of words."""
        return self.n_cells

    @property
    def n_inputs(self) -> int:
        """dim + 1."""
        return self.dim + 1

    def __call__(self, h: Float[Array, " m"]) -> DirichletMultinomial:
        """Concentrations exp(h_dim) softmax(h_0, ..., h_{dim-1})."""
        precision = jnp.exp(soft_clip(h[-1], *_LOG_PRECISION))
        return DirichletMultinomial(precision * jax.nn.softmax(h[:-1]) + _LEAST_CONCENTRATION)

    @property
    def log_means(self) -> NDArray[np.intp]:
        """All words."""
        return np.arange(self.dim, dtype=np.intp)

    def location_at_start(self, mean: NDArray[np.float64], first: NDArray[np.float64] | None) -> ArrayLike:
        """`first`: the words' log shares of the tokens."""
        return np.zeros(self.dim) if first is None else first

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """A concentration of 1 a word."""
        return jnp.log(jnp.full((1,), float(self.dim)))


def _total(total_count: Float[Array, ""] | None, what: str, name: str) -> Float[Array, ""]:
    if total_count is None:
        raise TypeError(_NO_TOTAL.format(what, name))
    return total_count


def _seen(
    x: Vector, observed: Mask, total_count: Float[Array, ""] | None
) -> tuple[Vector, Scalar, bool | Bool[Array, ""]]:
    """Counts with zero for the missing words, how many tokens those have together, whether all tokens have a word."""
    counts = x if observed is None else jnp.where(observed, x, 0)
    rest = jnp.zeros((), x.dtype) if total_count is None else total_count - jnp.sum(counts)
    return counts, rest, observed is not None or rest == 0


def _legal(counts: Vector) -> Bool[Array, ""]:
    return jnp.all((counts >= 0) & (counts == jnp.floor(counts)))


def _log_share(log_p: Vector, words: Bool[Array, " d"]) -> Scalar:
    """Log probability of these words together; -inf, without gradient, of none."""
    some = jnp.any(words)
    return jnp.where(some, logsumexp(jnp.where(words | ~some, log_p, -jnp.inf)), -jnp.inf)


def make(member: Any, modelled: Modelled) -> MultinomialHead:
    """The head of the member "multinomial"."""
    del member
    return MultinomialHead(modelled.size)


def make_dirichlet(member: Any, modelled: Modelled) -> DirichletMultinomialHead:
    """The head of the member "dirichlet_multinomial"."""
    del member
    return DirichletMultinomialHead(modelled.size)
