"""Normalising flows as distributions: a Gaussian carried through a bijection."""

from typing import ClassVar, final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.distributions import AbstractDistribution, DiagonalGaussian, Latent, Mask, Scalar, Vector
from tightbound.model.flows.bijections import AbstractBijection

_MOMENT_DRAWS = 128


@final
class Transformed(AbstractDistribution):
    """z = T(u; context) with u ~ base: log q(z) = log base(u) - log |det dz/du|.

    Source: Rezende and Mohamed (2015); Papamakarios et al. (2021).
    """

    reparameterised: ClassVar[bool] = True
    base: DiagonalGaussian
    bijection: AbstractBijection
    context: Float[Array, " c"]

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.base.dim

    @property
    def mean(self) -> Vector:
        """E[z] by 256 fixed draws in antithetic pairs: a flow's moments have no closed form."""
        return jnp.mean(self._fixed_draws(), axis=0)

    @property
    def variance(self) -> Vector:
        """Var[z_j] by the draws of `mean`."""
        return jnp.var(self._fixed_draws(), axis=0)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """T(u) for one draw u of the base."""
        return self.bijection.forward(self.base.sample(key=key), self.context)[0]

    def sample_and_log_prob(self, *, key: PRNGKeyArray) -> tuple[Latent, Scalar]:
        """One draw and its log density, from one pass (log_prob would have to invert the flow)."""
        u = self.base.sample(key=key)
        z, log_det = self.bijection.forward(u, self.context)
        return z, self.base.log_prob(u) - log_det

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """log base(T^-1(x)) + log |det dT^-1/dx|; the vector is seen as a whole (`observed` is None)."""
        del observed
        u, log_det = self.bijection.inverse(x, self.context)
        return self.base.log_prob(u) + log_det

    def _fixed_draws(self) -> Float[Array, "s d"]:
        epsilon = jax.random.normal(jax.random.key(0), (_MOMENT_DRAWS, self.dim), self.base.loc.dtype)
        both = jnp.concatenate([epsilon, -epsilon])
        u = self.base.loc[None, :] + self.base.scale[None, :] * both
        return jax.vmap(lambda u: self.bijection.forward(u, self.context)[0])(u)
