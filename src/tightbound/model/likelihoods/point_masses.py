"""A continuous cell that takes some values with positive probability: 0 among amounts, 1 among shares, 99 for "top"."""

from collections.abc import Sequence
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from tightbound.model.distributions import Scalar, Vector
from tightbound.model.likelihoods.column_likelihood import (
    FAR,
    AbstractColumnLikelihood,
    Column,
    Measure,
    Raw,
    constant,
    held,
    joint,
)


@final
class SpikeAndSlabLikelihood(AbstractColumnLikelihood):
    """w_s at each spike x = s, (1 - sum_s w_s) base(x) elsewhere.

    raw = (those of the base, one logit a spike, against 0 for the slab). The density is with respect to length plus
    counting at the spikes: there log_prob is a log probability, elsewhere a log density per unit of x. A value is a
    spike when it equals one in the precision of the data, so the base stands in the data's own units, with any
    transform inside it. The spikes may lie outside the base's support.

    Raises `ValueError` for a base that is not continuous, and unless the spikes are finite and differ.
    Source: Aitchison (1955), for a spike at zero.
    Example: `SpikeAndSlabLikelihood(GammaLikelihood(), [0.0]).n_outputs == 3`.
    """

    measure: ClassVar[Measure] = "mixed"
    base: AbstractColumnLikelihood
    spikes: Float[Array, " s"]

    def __init__(self, base: AbstractColumnLikelihood, spikes: Sequence[float]):
        """`spikes` are the values with positive probability, in units of x."""
        if base.measure != "lebesgue":
            raise ValueError(
                f"The base of a spike-and-slab column must be continuous; got {type(base).__name__}; "
                "use ZeroInflatedLikelihood or HurdleLikelihood for counts."
            )
        values = np.asarray(spikes, float)
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or len(set(values)) < len(values):
            raise ValueError(
                f"spikes must be one or more finite numbers, each once; got {list(spikes)!r}; "
                "list the values that repeat, such as [0.0]."
            )
        self.base, self.spikes = base, constant(values)

    @property
    def n_outputs(self) -> int:
        """Those of the base, and one a spike."""
        return self.base.n_outputs + self.spikes.shape[-1]

    def log_weights(self, raw: Raw) -> Vector:
        """Log probabilities of the slab and of every spike, (1 + s,)."""
        return jax.nn.log_softmax(jnp.concatenate([jnp.zeros(1, raw.dtype), raw[self.base.n_outputs :]]))

    def log_prob(self, x: Scalar, raw: Raw) -> Scalar:
        """log w_s at a spike, log w_slab + log base(x) elsewhere."""
        at, log_w = self._at(x), self.log_weights(raw)
        slab = joint(log_w[0], self.base.log_prob(x, raw[: self.base.n_outputs]))
        return jnp.where(jnp.any(at), jnp.sum(jnp.where(at, log_w[1:], 0)), slab)

    def sample(self, raw: Raw, *, key: PRNGKeyArray) -> Scalar:
        """A spike, or a draw of the base."""
        key_which, key_base = jax.random.split(key)
        which = jax.random.categorical(key_which, self.log_weights(raw))
        slab = self.base.sample(raw[: self.base.n_outputs], key=key_base)
        return jnp.where(which == 0, slab, held(self.spikes, raw)[jnp.maximum(which - 1, 0)])

    def mean(self, raw: Raw) -> Scalar:
        """w_slab base mean + sum_s w_s s."""
        w = jnp.exp(self.log_weights(raw))
        return w[0] * self.base.mean(raw[: self.base.n_outputs]) + jnp.sum(w[1:] * self._values(raw))

    def variance(self, raw: Raw) -> Scalar:
        """w_slab (base variance + (base mean - mean)^2) + sum_s w_s (s - mean)^2."""
        w, own, mean = jnp.exp(self.log_weights(raw)), raw[: self.base.n_outputs], self.mean(raw)
        slab = self.base.variance(own) + (self.base.mean(own) - mean) ** 2
        return w[0] * slab + jnp.sum(w[1:] * (self._values(raw) - mean) ** 2)

    def cdf(self, x: Scalar, raw: Raw) -> Scalar:
        """w_slab F(x) + the weights of the spikes up to x."""
        w = jnp.exp(self.log_weights(raw))
        passed = jnp.sum(jnp.where(held(self.spikes, raw) <= x, w[1:], 0))
        return w[0] * self.base.cdf(x, raw[: self.base.n_outputs]) + passed

    def start(self, column: Column) -> Column:
        """Shares of the spikes (half a row added to each), and the base's start on what is no spike."""
        # In float32, the precision of a fit.
        hits = column.astype(np.float32)[:, None] == np.asarray(self.spikes, np.float32)[None, :]
        slab = ~hits.any(axis=1)
        counts = np.concatenate([[np.sum(slab)], hits.sum(axis=0)]) + 0.5
        return np.concatenate([self.base.start(column[slab]), np.log(counts[1:] / counts[0])])

    def resized(self, n_outputs: int) -> "SpikeAndSlabLikelihood":
        """With more spikes, so far out that they have no probability, or without them again."""
        n_spikes = n_outputs - self.base.n_outputs
        more = jnp.full(max(0, n_spikes - len(self.spikes)), FAR, self.spikes.dtype)
        spikes = jnp.concatenate([self.spikes, more])[:n_spikes]
        changed: SpikeAndSlabLikelihood = eqx.tree_at(lambda c: c.spikes, self, spikes)
        return changed

    def narrowest(self) -> "SpikeAndSlabLikelihood":
        """One spike."""
        return self.resized(self.base.n_outputs + 1)

    def _values(self, raw: Raw) -> Vector:
        return jnp.where(self._real(), held(self.spikes, raw), 0)

    def _real(self) -> Bool[Array, " s"]:
        # One so far out only fills up the shape: its weight is 0, which its square would make NaN.
        return jnp.abs(self.spikes) < 0.5 * FAR

    def _at(self, x: Scalar) -> Bool[Array, " s"]:
        # In the coarser of both precisions: 0.1 read as float32 is a spike of 0.1.
        dtype = min(x.dtype, self.spikes.dtype, key=lambda d: d.itemsize)
        return (jax.lax.stop_gradient(self.spikes).astype(dtype) == x.astype(dtype)) & self._real()
