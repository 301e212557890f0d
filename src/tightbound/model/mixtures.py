"""Mixtures, as priors and as posterior families."""

from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.distributions import AbstractDistribution, DiagonalGaussian, Mask, Scalar, Vector

_LOG_2PI = 1.8378770664093453


@final
class GaussianMixture(AbstractDistribution):
    """sum_c pi_c N(loc_c, diag(scale_c^2)), with pi = softmax(logits).

    Draws are differentiable in all parameters, by implicit reparameterisation: with F the conditional distribution
    functions F_j(z_j | z_<j), dz/dphi = -(dF/dz)^-1 dF/dphi (Figurnov, Mohamed and Mnih, 2018).
    """

    reparameterised: ClassVar[bool] = True
    logits: Float[Array, " c"]
    loc: Float[Array, "c d"]
    scale: Float[Array, "c d"]

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.loc.shape[-1]

    @property
    def mean(self) -> Vector:
        """sum_c pi_c loc_c."""
        return jax.nn.softmax(self.logits) @ self.loc

    @property
    def variance(self) -> Vector:
        """sum_c pi_c (scale_c^2 + loc_c^2) - mean^2."""
        return jax.nn.softmax(self.logits) @ (self.scale**2 + (self.loc - self.mean[None, :]) ** 2)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """A component, then a draw of it."""
        key_component, key_noise = jax.random.split(key)
        c = jax.random.categorical(key_component, self.logits)
        z = self.loc[c] + self.scale[c] * jax.random.normal(key_noise, (self.dim,), self.loc.dtype)
        return _implicit(jax.lax.stop_gradient(z), self.logits, self.loc, self.scale)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """log sum_c pi_c N(x_observed; ...)."""
        if observed is None:
            # What does not depend on x stands apart: under `vmap` it is computed once for all rows.
            white = (x[None, :] - self.loc) * (1 / self.scale)
            constant = jnp.sum(jnp.log(self.scale), axis=1) + 0.5 * self.dim * _LOG_2PI
            each = -0.5 * jnp.sum(white**2, axis=1) - constant
        else:
            each = jax.vmap(lambda loc, scale: DiagonalGaussian(loc, scale).log_prob(x, observed))(self.loc, self.scale)
        return logsumexp(jax.nn.log_softmax(self.logits) + each)


@final
class Mixture(AbstractDistribution):
    """sum_c pi_c p_c, with components of one type stacked along the first axis of their arrays."""

    reparameterised: ClassVar[bool] = False
    logits: Float[Array, " c"]
    components: AbstractDistribution

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self._component(jnp.zeros((), "int32")).dim

    @property
    def mean(self) -> Vector:
        """sum_c pi_c mean_c."""
        return jax.nn.softmax(self.logits) @ eqx.filter_vmap(lambda c: c.mean)(self.components)

    @property
    def variance(self) -> Vector:
        """sum_c pi_c (variance_c + mean_c^2) - mean^2."""
        means = eqx.filter_vmap(lambda c: c.mean)(self.components)
        spread = eqx.filter_vmap(lambda c: c.variance)(self.components) + (means - self.mean[None, :]) ** 2
        return jax.nn.softmax(self.logits) @ spread

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """A component, then a draw of it (not differentiable in the weights)."""
        key_component, key_draw = jax.random.split(key)
        return self._component(jax.random.categorical(key_component, self.logits)).sample(key=key_draw)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """log sum_c pi_c p_c(x_observed)."""
        each = eqx.filter_vmap(lambda c: c.log_prob(x, observed))(self.components)
        return logsumexp(jax.nn.log_softmax(self.logits) + each)

    def _component(self, c: Array) -> AbstractDistribution:
        return jax.tree.map(lambda a: a[c] if eqx.is_array(a) else a, self.components)


def _conditional_cdfs(z: Array, logits: Array, loc: Array, scale: Array) -> Array:
    """F_j(z_j | z_1..z_{j-1}) of a mixture of diagonal Gaussians, (d,)."""
    densities = norm.logpdf(z[None, :], loc, scale)
    before = jnp.cumsum(densities, axis=1) - densities
    weights = jax.nn.softmax(logits[:, None] + before, axis=0)
    return jnp.sum(weights * norm.cdf(z[None, :], loc, scale), axis=0)


@jax.custom_jvp
def _implicit(z: Array, logits: Array, loc: Array, scale: Array) -> Array:
    return z


@_implicit.defjvp
def _implicit_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    held, *parameters = primals
    dz, *changes = tangents
    z = _implicit(held, *parameters)  # so that the slopes below move with the draw, in second derivatives
    _, moved = jax.jvp(lambda *a: _conditional_cdfs(z, *a), tuple(parameters), tuple(changes))
    # Lower triangular: F_j does not depend on later z. Its diagonal is the conditional density, kept off zero.
    slope = jax.jacfwd(_conditional_cdfs)(z, *parameters)
    tiny = float(np.finfo(z.dtype).tiny) ** 0.5
    slope = slope + jnp.diag(jnp.where(jnp.diagonal(slope) < tiny, tiny, 0))
    return z, dz - solve_triangular(slope, moved, lower=True)
