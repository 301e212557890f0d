"""Priors with parameters of their own: a family with one set of parameters, and the VampPrior."""

from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model import axes
from tightbound.model.distributions import AbstractDistribution, Mask, Scalar, StandardGaussian, Vector
from tightbound.model.families import AbstractFamily, Making, MixtureFamily, first_parameters, made
from tightbound.model.generative import Encoder


@final
class LearnedPrior(AbstractDistribution):
    """family(parameters): any posterior family, with one set of parameters for all rows, is a prior that can learn."""

    reparameterised: ClassVar[bool] = False
    family: AbstractFamily
    parameters: Float[Array, " m"]

    @property
    def member(self) -> AbstractDistribution:
        """The distribution itself."""
        return self.family(self.parameters)

    @property
    def plain(self) -> AbstractDistribution:
        """The member."""
        return self.member

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.family.dim

    @property
    def mean(self) -> Vector:
        """E[z]."""
        return self.member.mean

    @property
    def variance(self) -> Vector:
        """Var[z_j]."""
        return self.member.variance

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """One draw."""
        return self.member.sample(key=key)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """log p(x)."""
        return self.member.log_prob(x, observed)


@final
class VampPrior(AbstractDistribution):
    """The mixture of posteriors at learned pseudo-inputs, p(z) = (1/K) sum_k q(z | u_k).

    It needs the encoder: `tied(encoder)` is the prior as it stands, with which everything else is computed. After a fit
    the model keeps that, so that p no longer depends on q.
    Source: Tomczak and Welling (2018).
    """

    reparameterised: ClassVar[bool] = False
    pseudo_inputs: Float[Array, "c d"]
    size: int = eqx.field(static=True)

    def tied(self, encoder: Encoder) -> LearnedPrior:
        """The equal mixture of the encoder's posteriors at the pseudo-inputs."""
        n = self.pseudo_inputs.shape[0]
        members = jax.vmap(encoder.parameters)(self.pseudo_inputs)
        parameters = jnp.concatenate([jnp.zeros(n, members.dtype), members.ravel()])
        return LearnedPrior(MixtureFamily(encoder.family, n), parameters)

    @property
    def dim(self) -> int:
        """Length of one draw."""
        return self.size

    @property
    def mean(self) -> Vector:
        """Unknown without an encoder."""
        raise TypeError(_UNTIED)

    @property
    def variance(self) -> Vector:
        """Unknown without an encoder."""
        raise TypeError(_UNTIED)

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """Unknown without an encoder."""
        raise TypeError(_UNTIED)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Unknown without an encoder."""
        raise TypeError(_UNTIED)


_UNTIED = "A VampPrior must be tied to an encoder first: use learn.tied(pair), or VampPrior.tied(encoder)."


def standard(making: Making) -> AbstractDistribution:
    """N(0, I)."""
    return StandardGaussian(making.dim, making.dtype)


def vamp(making: Making, *, n_components: int) -> AbstractDistribution:
    """The mixture of posteriors at pseudo-inputs, which start where they are given."""
    if making.pseudo_inputs is None or len(making.pseudo_inputs) != n_components:
        raise ValueError(
            f"A VampPrior must start at as many rows as it has components; got {making.pseudo_inputs!r} for "
            f"{n_components}; give Start.pseudo_inputs."
        )
    return VampPrior(making.pseudo_inputs, making.dim)


def make_prior(prior: Any, dim: int, *, key: PRNGKeyArray, **making: Any) -> AbstractDistribution:
    """The prior that a member of the axis, or its word, stands for; a family becomes one with parameters of its own.

    Args:
        prior: `priors.Mixture(n_components=5)`, say, or "mixture(n_components=5)".
        dim: length of z (of discrete latents: number of variables).
        key: draws the weights of a flow's networks.
        making: further fields of `families.Making`.
    """
    options: dict[str, Any] = {"context_size": 0, "density_first": True, **making}
    member = prior if isinstance(prior, axes.Member) else axes.as_member("prior", prior)
    found = made(member, Making(dim, key, **options))
    if isinstance(found, AbstractFamily):
        return LearnedPrior(found, first_parameters(found, options.get("dtype")))
    return found
