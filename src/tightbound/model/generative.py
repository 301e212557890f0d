"""The generative model p(x, z) = p(z) p(x | z): its priors and its decoder; and the encoder q(z | x)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model import axes
from tightbound.model.distributions import AbstractDistribution, Latent, Mask, Scalar, StandardGaussian, Vector
from tightbound.model.families import AbstractFamily, Making, MixtureFamily, first_parameters, made
from tightbound.model.likelihoods.heads import AbstractHead
from tightbound.model.networks.dense import Network, check_size, dtype_of
from tightbound.model.networks.inputs import AbstractInputs


@final
class Decoder(eqx.Module):
    """p(x | z) = head(network(z)).

    Raises `ValueError` when the network does not return the numbers that the head needs.
    """

    network: Network
    head: AbstractHead
    latent_dim: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        self.head.check_network(self.network, self.latent_dim, dtype_of(self))

    def __call__(self, z: Latent) -> AbstractDistribution:
        """p(x | z) for one latent vector."""
        return self.head(self.network(z))


@final
class Encoder(eqx.Module):
    """q(z | x_observed) = family(network(inputs(x, observed))).

    Raises `ValueError` when the network's output does not have the family's number of parameters.
    """

    network: Network
    family: AbstractFamily
    inputs: AbstractInputs

    def __check_init__(self) -> None:
        sizes = self.inputs.size, self.family.n_parameters
        needed_by = f"a {type(self.family).__name__} of dimension {self.family.dim}"
        check_size(self.network, sizes, dtype_of(self.inputs), "encoder", needed_by)

    def __call__(self, x: Vector, observed: Mask = None) -> AbstractDistribution:
        """The posterior approximation for one row (`observed` None: every cell is)."""
        return self.family(self.parameters(x, observed))

    def parameters(self, x: Vector, observed: Mask = None) -> Float[Array, " m"]:
        """The numbers that the family makes it from, (n_parameters,)."""
        return self.network(self.inputs(x, observed))


class LogWeight(NamedTuple):
    """log p(x, z) - log q(z | x) of one z (or of many side by side) in its parts, nats.

    Every bound, every estimate of log p(x) and every expectation given x is a function of such weights.
    """

    log_likelihood: Float[Array, "*k"]
    """log p(x_observed | z)."""
    log_prior: Float[Array, "*k"]
    """log p(z)."""
    log_q: Float[Array, "*k"]
    """Log density of what z was drawn from."""

    @property
    def log_joint(self) -> Float[Array, "*k"]:
        """log p(x, z)."""
        return self.log_likelihood + self.log_prior

    @property
    def total(self) -> Float[Array, "*k"]:
        """log p(x, z) - log q(z | x)."""
        return self.log_joint - self.log_q

    def tempered(self, kl_weight: Float[Array, ""] | float) -> Float[Array, "*k"]:
        """With the terms of the prior and of q weighted by `kl_weight`; with 1 it is `total`."""
        return self.log_likelihood + kl_weight * (self.log_prior - self.log_q)


@final
class GenerativeModel(eqx.Module):
    """p(x, z) = p(z) p(x | z): what is believed, apart from how z is inferred."""

    prior: AbstractDistribution
    decoder: Decoder

    def __check_init__(self) -> None:
        if self.prior.dim != self.decoder.latent_dim:
            raise ValueError(
                f"The prior must have the decoder's latent dimension {self.decoder.latent_dim}; "
                f"it has {self.prior.dim}; build both with the same number."
            )

    def log_joint(self, x: Vector, z: Latent, observed: Mask = None) -> Scalar:
        """log p(x_observed, z) in nats."""
        return self.decoder(z).log_prob(x, observed) + self.prior.log_prob(z)

    def log_weight(
        self,
        x: Vector,
        z: Latent,
        log_q: Scalar,
        observed: Mask = None,
        given_z: AbstractDistribution | None = None,
    ) -> LogWeight:
        """The log weight of a z whose log density under q is `log_q`; `given_z`: p(x | z), where it is at hand."""
        likelihood = self.decoder(z) if given_z is None else given_z
        return LogWeight(likelihood.log_prob(x, observed), self.prior.log_prob(z), log_q)

    def sample(self, *, key: PRNGKeyArray) -> tuple[Vector, Latent]:
        """One ancestral draw (x, z): z ~ p(z), then x ~ p(x | z)."""
        key_z, key_x = jax.random.split(key)
        z = self.prior.sample(key=key_z)
        return self.decoder(z).sample(key=key_x), z


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
