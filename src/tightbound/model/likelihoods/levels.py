"""Column likelihoods of levels 0, 1, ..., k - 1 (codes): yes/no, nominal, ordinal. All are probabilities."""

from abc import abstractmethod
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from tightbound.model.distributions import Scalar, Vector
from tightbound.model.likelihoods.column_likelihood import (
    FAR,
    AbstractColumnLikelihood,
    Column,
    Measure,
    Raw,
    check_whole,
)


class AbstractLevelLikelihood(AbstractColumnLikelihood):
    """A distribution over the codes 0, ..., n_levels - 1."""

    @abstractmethod
    def log_probs(self, raw: Raw) -> Vector:
        """Log probability of every level, (levels,)."""

    @abstractmethod
    def log_prob_of(self, code: Scalar, raw: Raw) -> Scalar:
        """Log probability of the level with this code, one of 0, ..., n_levels - 1."""

    @abstractmethod
    def from_probs(self, probs: Column) -> Column:
        """Numbers that give these probabilities, (levels,), all above 0; on the host."""

    def probs(self, raw: Raw) -> Vector:
        """Probability of every level, (levels,)."""
        return jnp.exp(self.log_probs(raw))

    def mode(self, raw: Raw) -> Scalar:
        """The most probable level's code."""
        return jnp.argmax(self.log_probs(raw)).astype(raw.dtype)

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """Log probability of the level with code x."""
        legal = (x >= 0) & (x < self.levels) & (x == jnp.floor(x))
        found = self.log_prob_of(jnp.where(legal, x, 0), raw)
        return jnp.where(legal & (found > -0.5 * FAR), found, -jnp.inf)

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """The code of one level."""
        return jax.random.categorical(key, self.log_probs(raw)).astype(raw.dtype)

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """P(code <= x); for a nominal column in the order of its codes, which serves a PIT as well as any."""
        return jnp.sum(jnp.where(jnp.arange(self.levels) <= x, self.probs(raw), 0))

    def level_log_probs(self, raw: Raw, n_levels: int) -> Vector:
        """Log probability of the first so many levels, -inf beyond the last."""
        own = self.log_probs(raw)[:n_levels]
        return jnp.concatenate([own, jnp.full(n_levels - own.shape[0], -jnp.inf, own.dtype)])

    def start(self, column: Column) -> Column:
        """Shares of the levels in the column, half a row added to each."""
        counts = np.array([np.sum(column == level) for level in range(self.levels)]) + 0.5
        return self.from_probs(counts / np.sum(counts))


@final
class BernoulliLikelihood(AbstractLevelLikelihood):
    """P(x = 1) = 1 / (1 + e^-l).

    raw = (log-odds l). Density with respect to counting; the mean is P(x = 1).
    Example: `BernoulliLikelihood().mean(jnp.array([0.0]))` is 0.5.
    """

    measure: ClassVar[Measure] = "counting"

    @property
    def n_outputs(self) -> int:
        """1."""
        return 1

    @property
    def levels(self) -> int:
        """2."""
        return 2

    def log_probs(self, raw: Raw) -> Vector:
        """-log(1 + e^l), -log(1 + e^-l)."""
        return jax.nn.log_sigmoid(jnp.stack([-raw[0], raw[0]]))

    def log_prob_of(self, code: Scalar, raw: Raw) -> Scalar:
        """log sigmoid(l) of 1, log sigmoid(-l) of 0."""
        return jax.nn.log_sigmoid(jnp.where(code > 0, raw[0], -raw[0]))

    def mean(self, raw: Raw) -> Scalar:
        """P(x = 1)."""
        return jax.nn.sigmoid(raw[0])

    def variance(self, raw: Raw) -> Scalar:
        """p (1 - p)."""
        return jax.nn.sigmoid(raw[0]) * jax.nn.sigmoid(-raw[0])

    def from_probs(self, probs: Column) -> Column:
        """Their log-odds."""
        return np.log(probs[1:]) - np.log(probs[:1])


@final
class CategoricalLikelihood(AbstractLevelLikelihood):
    """P(x = j) = softmax(raw)_j over levels without an order.

    raw = n_levels logits. Density with respect to counting. A code has no arithmetic, so `mean` is the code of the most
    probable level (the best guess under the share of wrong ones), and `variance` is 1 - sum_j p_j^2, the total variance
    of the one-hot code. Raises `ValueError` for fewer than two levels.
    Example: `CategoricalLikelihood(3).probs(jnp.zeros(3))`.
    """

    measure: ClassVar[Measure] = "counting"
    is_nominal: ClassVar[bool] = True
    n_levels: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_whole("n_levels", self.n_levels, 2, "drop a column with one level, which carries no information")

    @property
    def n_outputs(self) -> int:
        """n_levels."""
        return self.n_levels

    def resized(self, n_outputs: int) -> "CategoricalLikelihood":
        """So many levels."""
        return CategoricalLikelihood(n_outputs)

    def narrowest(self) -> "CategoricalLikelihood":
        """Two levels."""
        return CategoricalLikelihood(2)

    @property
    def levels(self) -> int:
        """n_levels."""
        return self.n_levels

    def log_probs(self, raw: Raw) -> Vector:
        """log softmax(raw)."""
        return jax.nn.log_softmax(raw)

    def log_prob_of(self, code: Scalar, raw: Raw) -> Scalar:
        """One entry of log softmax(raw)."""
        # A masked sum: the gradient of a gather is slow.
        return jnp.sum(jnp.where(jnp.arange(self.levels) == code, self.log_probs(raw), 0))

    def mean(self, raw: Raw) -> Scalar:
        """The mode: the most probable level's code."""
        return self.mode(raw)

    def variance(self, raw: Raw) -> Scalar:
        """1 - sum_j p_j^2."""
        return 1 - jnp.sum(self.probs(raw) ** 2)

    def from_probs(self, probs: Column) -> Column:
        """log p, centred."""
        return np.log(probs) - np.mean(np.log(probs))


@final
class CumulativeLogitLikelihood(AbstractLevelLikelihood):
    """P(x <= j) = 1 / (1 + e^{loc - c_j}) over ordered levels, c_0 = 0 < c_1 < ... < c_{k-2}.

    raw = (loc, k - 2 raw gaps), gap = softplus(raw gap). A larger loc moves all probability up; gaps that do not depend
    on z make it the proportional-odds model. Density with respect to counting; `mean` and `variance` are those of the
    code, which takes the levels as equally spaced: `probs` and `mode` do not.
    Raises `ValueError` for fewer than two levels.
    Source: McCullagh (1980).
    Example: `CumulativeLogitLikelihood(5).probs(jnp.array([1.0, 0.0, 0.0, 0.0]))`.
    """

    measure: ClassVar[Measure] = "counting"
    filler: ClassVar[float] = FAR
    """A gap between ordered levels that nothing crosses."""
    n_levels: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_whole("n_levels", self.n_levels, 2, "drop a column with one level, which carries no information")

    @property
    def n_outputs(self) -> int:
        """n_levels - 1."""
        return self.n_levels - 1

    def resized(self, n_outputs: int) -> "CumulativeLogitLikelihood":
        """One more level than numbers."""
        return CumulativeLogitLikelihood(n_outputs + 1)

    def narrowest(self) -> "CumulativeLogitLikelihood":
        """Two levels."""
        return CumulativeLogitLikelihood(2)

    @property
    def levels(self) -> int:
        """n_levels."""
        return self.n_levels

    def log_probs(self, raw: Raw) -> Vector:
        """log of F(c_j) - F(c_{j-1}) = F(c_j) F(-c_{j-1}) (1 - e^-gap), where 1 - e^-softplus(g) = F(g), F logistic."""
        cuts = jnp.cumsum(jnp.concatenate([-raw[:1], jax.nn.softplus(raw[1:])]))
        end = jnp.zeros(1, raw.dtype)
        below = jnp.concatenate([jax.nn.log_sigmoid(cuts), end])
        above = jnp.concatenate([end, jax.nn.log_sigmoid(-cuts)])
        return below + above + jnp.concatenate([end, jax.nn.log_sigmoid(raw[1:]), end])

    def log_prob_of(self, code: Scalar, raw: Raw) -> Scalar:
        """The same for one level, for which three logarithms do in place of three a level."""
        number, gaps = jnp.arange(1, self.levels - 1), jax.nn.softplus(raw[1:])
        lower = jnp.sum(jnp.where(number < code, gaps, 0)) - raw[0]
        own = number == code
        upper, gap = lower + jnp.sum(jnp.where(own, gaps, 0)), jnp.sum(jnp.where(own, raw[1:], 0))
        first, last = code == 0, code == self.levels - 1
        three = [jnp.where(last, FAR, upper), jnp.where(first, FAR, -lower), jnp.where(first | last, FAR, gap)]
        return jnp.sum(jax.nn.log_sigmoid(jnp.stack(three)))

    def mean(self, raw: Raw) -> Scalar:
        """sum_j p_j j."""
        return jnp.sum(self.probs(raw) * jnp.arange(self.levels))

    def variance(self, raw: Raw) -> Scalar:
        """sum_j p_j (j - mean)^2."""
        return jnp.sum(self.probs(raw) * (jnp.arange(self.levels) - self.mean(raw)) ** 2)

    def from_probs(self, probs: Column) -> Column:
        """Log-odds of the cumulative sums, and the inverse softplus of their gaps."""
        below, above = np.cumsum(probs)[:-1], np.cumsum(probs[::-1])[::-1][1:]
        cuts = np.log(below) - np.log(above)
        gaps = np.diff(cuts)
        return np.concatenate([-cuts[:1], gaps + np.log(-np.expm1(-gaps))])
