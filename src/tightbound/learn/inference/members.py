"""Ways of inference: how the variational parameters of a row are found."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.learn.inference.refinement import Refined, Refinement
from tightbound.learn.objectives import frozen
from tightbound.model import (
    MLP,
    AbstractDistribution,
    AbstractFamily,
    DiagonalGaussianFamily,
    Encoder,
    FixedScaleGaussianHead,
    FullGaussian,
    GenerativeModel,
    Parts,
    Specification,
    StandardGaussian,
    Tabulated,
    all_states,
    axes,
    first_parameters,
)
from tightbound.model.distributions import Mask, Scalar, Vector
from tightbound.model.streams import Stream


def exact_posterior(p: GenerativeModel, x: Vector, observed: Mask = None) -> FullGaussian | Tabulated:
    """p(z | x_observed) itself.

    Linear-Gaussian, x = W z + mu + noise of scales s: N(M^-1 W' S^-1 (x - mu), M^-1) with M = I + W' S^-1 W and
    S = diag(s^2) over the observed cells (Tipping and Bishop, 1999; Rubin and Thayer, 1982). Discrete z: the normalised
    table of p(x, z).
    Raises `ValueError` for a model that has neither form.
    """
    if p.prior.plain.n_states is not None:
        z = all_states(p.prior.plain)
        return Tabulated(z, jax.vmap(lambda z: p.log_joint(x, z, observed))(z))
    check_linear_gaussian(p)
    network: Any = p.decoder.network
    head: Any = p.decoder.head
    loadings, mean = network.layers[0].weight, network.layers[0].bias
    precision = 1 / head.scale**2
    residual = x - mean
    if observed is not None:
        precision = jnp.where(observed, precision, 0)
        residual = jnp.where(observed, residual, 0)
    inner = jnp.eye(loadings.shape[0], dtype=loadings.dtype) + (loadings * precision[None, :]) @ loadings.T
    tril = jnp.linalg.cholesky(inner)
    loc = cho_solve((tril, True), loadings @ (precision * residual))
    covariance = cho_solve((tril, True), jnp.eye(loadings.shape[0], dtype=loadings.dtype))
    return FullGaussian(loc, jnp.linalg.cholesky(covariance))


def check_linear_gaussian(p: GenerativeModel) -> None:
    """Refuse a model whose posterior is not Gaussian in closed form (`ValueError`)."""
    network, head = p.decoder.network, p.decoder.head
    linear = isinstance(network, MLP) and len(network.layers) == 1
    if not (linear and isinstance(head, FixedScaleGaussianHead) and isinstance(p.prior, StandardGaussian)):
        raise ValueError(
            "Exact inference must have a linear-Gaussian model (a linear decoder with fixed scales and a standard "
            f"Gaussian prior) or discrete latents; got a {type(head).__name__} on a {type(network).__name__} of "
            f"{len(network.layers) if isinstance(network, MLP) else 'unknown'} layers and a {type(p.prior).__name__}; "
            "use amortised or per-datum inference."
        )


Parameters = Float[Array, " m"]
Weight = Float[Array, ""] | float


CONVERGED = 0.01
"""Nats that an inner loop must still promise a row for it to go on."""


class Row(NamedTuple):
    """One training row, and the model that a step sees it under."""

    p: Any
    x: Vector
    observed: Mask
    kl_weight: Weight
    """That of the KL in this step."""

    @property
    def nothing(self) -> Scalar:
        """The term of a q that adds none to the surrogate."""
        return jnp.zeros((), self.x.dtype)


class AbstractInference(eqx.Module):
    """From a model and a row to the row's q(z | x)."""

    @abstractmethod
    def parameters(self, p: GenerativeModel, x: Vector, observed: Mask = None, *, key: PRNGKeyArray) -> Parameters:
        """What is found for one row, (m,); the draws that an inner loop needs come from `key`."""

    @abstractmethod
    def distribution(self, p: GenerativeModel, parameters: Parameters) -> AbstractDistribution:
        """q(z | x) made of these parameters."""

    def __call__(
        self, p: GenerativeModel, x: Vector, observed: Mask = None, *, key: PRNGKeyArray
    ) -> AbstractDistribution:
        """The posterior approximation of one row: the member that its parameters make."""
        return self.distribution(p, self.parameters(p, x, observed, key=key))

    @property
    def own_family(self) -> AbstractFamily | None:
        """The family whose member a row's parameters pick (None: they do not come from one)."""
        return None

    @property
    def inner_loop(self) -> Refinement | None:
        """What a row never seen goes through (None: no loop)."""
        return None

    @property
    def held(self) -> bool:
        """Whether q is found before a training step, so that the step's gradient does not reach it."""
        return False

    of_latents: ClassVar[bool] = True
    """Whether there is a z to infer."""

    @property
    def is_network(self) -> bool:
        """Whether one network is all there is, so that it can take steps of its own."""
        return False

    def check(self, q: AbstractDistribution) -> None:
        """Refuse (`ValueError`) a posterior of the kind of `q` that cannot be learnt this way."""
        del q

    def refined(self, p: GenerativeModel, loop: Refinement) -> AbstractInference:
        """This q, bettered for every row by an inner loop, in its own family where it has one."""
        if p.prior.plain.n_states is not None:
            return self
        return PerDatum(DiagonalGaussianFamily(p.prior.dim), loop, self)

    def per_datum(self, n_rows: int, dtype: str) -> Float[Array, "n m"] | None:
        """What is kept of every training row from epoch to epoch, as it starts (None: nothing)."""
        return None

    def search(self, row: Row, per_datum: Parameters | None, *, key: PRNGKeyArray) -> Refined | None:
        """The inner loop of a training step, before the step on the networks (None: there is none).

        It ascends the bound whose KL has the weight that the step has; no gradient passes through it.
        """
        return None

    @abstractmethod
    def learning(self, row: Row, found: Refined | None, *, key: PRNGKeyArray) -> tuple[AbstractDistribution, Scalar]:
        """q for a training step, and a term to add to its surrogate (a number whose gradient trains the encoder)."""


@final
class Amortised(AbstractInference):
    """One network for all rows.

    Source: Kingma and Welling (2014); Gershman and Goodman (2014) for the name.
    """

    encoder: Encoder

    @property
    def own_family(self) -> AbstractFamily:
        """The encoder's."""
        return self.encoder.family

    @property
    def is_network(self) -> bool:
        """It is."""
        return True

    def refined(self, p: GenerativeModel, loop: Refinement) -> AbstractInference:
        """The network proposes, the loop refines."""
        return SemiAmortised(self.encoder, loop)

    def parameters(self, p: GenerativeModel, x: Vector, observed: Mask = None, *, key: PRNGKeyArray) -> Parameters:
        """The encoder's answer."""
        return self.encoder.parameters(x, observed)

    def distribution(self, p: GenerativeModel, parameters: Parameters) -> AbstractDistribution:
        """The encoder's family."""
        return self.encoder.family(parameters)

    def learning(self, row: Row, found: Refined | None, *, key: PRNGKeyArray) -> tuple[AbstractDistribution, Scalar]:
        """The encoder's answer."""
        return self.encoder(row.x, row.observed), row.nothing


@final
class PerDatum(AbstractInference):
    """Every row has variational parameters of its own, found by an inner loop with the model held.

    While learning they are kept from epoch to epoch; a row never seen starts near the prior, or where `start` says.
    This is the textbook's stochastic variational inference row by row (Hoffman et al., 2013; Ranganath, Gerrish and
    Blei, 2014), with the gradients of `Refinement`.
    """

    family: AbstractFamily
    refinement: Refinement
    start: Any = None
    """Another inference, whose answer is where the loop starts (None: near the prior)."""
    while_learning: Refinement | None = None
    """The inner loop of a training step (None: that for a row never seen)."""

    @property
    def own_family(self) -> AbstractFamily:
        """The family."""
        return self.family

    @property
    def inner_loop(self) -> Refinement:
        """The refinement."""
        return self.refinement

    @property
    def held(self) -> bool:
        """Always."""
        return True

    def refined(self, p: GenerativeModel, loop: Refinement) -> AbstractInference:
        """On from what this one finds."""
        return PerDatum(self.family, loop, self)

    def parameters(self, p: GenerativeModel, x: Vector, observed: Mask = None, *, key: PRNGKeyArray) -> Parameters:
        """Where the inner loop ends."""
        return self.refinement(p, self.family, self._first(p, x, observed, key=key), x, observed, key=key).parameters

    def _first(self, p: GenerativeModel, x: Vector, observed: Mask, *, key: PRNGKeyArray) -> Parameters:
        if self.start is None:
            return first_parameters(self.family, x.dtype.name)
        parameters = self.start.parameters(p, x, observed, key=Stream.INNER_START.of(key))
        # Not by identity: compiled code sees a copy of each.
        own: Any = jax.tree.structure(self.family)
        if own == jax.tree.structure(self.start.own_family):
            return parameters
        guess = self.start.distribution(p, parameters)
        return self.family.init_from_moments(guess.mean, jnp.sqrt(guess.variance))

    def distribution(self, p: GenerativeModel, parameters: Parameters) -> AbstractDistribution:
        """The family's."""
        return self.family(parameters)

    def per_datum(self, n_rows: int, dtype: str) -> Float[Array, "n m"] | None:
        """The parameters of every row: near the prior."""
        return jnp.tile(first_parameters(self.family, dtype), (n_rows, 1))

    def search(self, row: Row, per_datum: Parameters | None, *, key: PRNGKeyArray) -> Refined | None:
        """On from what was kept."""
        loop = self.while_learning or self.refinement
        first = first_parameters(self.family, row.x.dtype.name) if per_datum is None else per_datum
        return loop(row.p, self.family, first, row.x, row.observed, kl_weight=row.kl_weight, key=key)

    def learning(self, row: Row, found: Refined | None, *, key: PRNGKeyArray) -> tuple[AbstractDistribution, Scalar]:
        """What was found, held; a flow's networks, which all rows share, still learn."""
        return self.family(jax.lax.stop_gradient(_needed(found).parameters)), row.nothing


@final
class SemiAmortised(AbstractInference):
    """A network proposes, a few steps of the inner loop refine.

    `through`: the encoder learns from the refined bound, by the derivative of the steps themselves (which costs second
    derivatives); else from the bound's gradient at what it proposed.
    Source: Kim, Wiseman, Miller, Sontag and Rush (2018); Marino, Yue and Mandt (2018).
    """

    encoder: Encoder
    refinement: Refinement
    while_learning: Refinement | None = None
    """The inner loop of a training step (None: that for use)."""
    through: bool = eqx.field(static=True, default=False)

    @property
    def own_family(self) -> AbstractFamily:
        """The encoder's."""
        return self.encoder.family

    @property
    def inner_loop(self) -> Refinement:
        """The refinement."""
        return self.refinement

    @property
    def held(self) -> bool:
        """Unless the encoder learns through the steps."""
        return not self.through

    def check(self, q: AbstractDistribution) -> None:
        """Through the steps only differentiable draws can be learnt."""
        if self.through and not q.reparameterised:
            raise ValueError(
                f"A gradient through the inner steps must have a posterior with differentiable draws; got "
                f"{type(q).__name__}; use through=False."
            )

    def refined(self, p: GenerativeModel, loop: Refinement) -> AbstractInference:
        """The same network, another loop."""
        return SemiAmortised(self.encoder, loop)

    def parameters(self, p: GenerativeModel, x: Vector, observed: Mask = None, *, key: PRNGKeyArray) -> Parameters:
        """The refined proposal."""
        start = self.encoder.parameters(x, observed)
        return self.refinement(p, self.encoder.family, start, x, observed, key=key).parameters

    def distribution(self, p: GenerativeModel, parameters: Parameters) -> AbstractDistribution:
        """The encoder's family."""
        return self.encoder.family(parameters)

    def search(self, row: Row, per_datum: Parameters | None, *, key: PRNGKeyArray) -> Refined | None:
        """On from the proposal."""
        if self.through:
            return None
        start, loop = self.encoder.parameters(row.x, row.observed), self.while_learning or self.refinement
        return loop(row.p, self.encoder.family, start, row.x, row.observed, kl_weight=row.kl_weight, key=key)

    def learning(self, row: Row, found: Refined | None, *, key: PRNGKeyArray) -> tuple[AbstractDistribution, Scalar]:
        """The refined q, and the term that trains the encoder."""
        start, family = self.encoder.parameters(row.x, row.observed), self.encoder.family
        if self.through:
            loop, p = self.while_learning or self.refinement, frozen(row.p)
            refined = loop.unrolled(p, family, start, row.x, row.observed, kl_weight=row.kl_weight, key=key)
            return family(refined), row.nothing
        found = _needed(found)
        return family(jax.lax.stop_gradient(found.parameters)), jax.lax.stop_gradient(found.ascent) @ start


@final
class Exact(AbstractInference):
    """The posterior itself, where it has a closed form: the gap is zero, and ascending p is expectation-maximisation.

    Source: Dempster, Laird and Rubin (1977); Neal and Hinton (1998).
    """

    @property
    def held(self) -> bool:
        """Always."""
        return True

    def refined(self, p: GenerativeModel, loop: Refinement) -> AbstractInference:
        """There is nothing to better."""
        return self

    def parameters(self, p: GenerativeModel, x: Vector, observed: Mask = None, *, key: PRNGKeyArray) -> Parameters:
        """Location and triangle of a Gaussian, or the logits of all states."""
        posterior = exact_posterior(p, x, observed)
        if isinstance(posterior, FullGaussian):
            return jnp.concatenate([posterior.loc, posterior.scale_tril.ravel()])
        return posterior.logits

    def distribution(self, p: GenerativeModel, parameters: Parameters) -> AbstractDistribution:
        """The posterior that has these."""
        prior = p.prior.plain
        if prior.n_states is not None:
            return Tabulated(all_states(prior), parameters)
        loc, tril = jnp.split(parameters, [prior.dim])
        return FullGaussian(loc, tril.reshape(prior.dim, prior.dim))

    def learning(self, row: Row, found: Refined | None, *, key: PRNGKeyArray) -> tuple[AbstractDistribution, Scalar]:
        """The posterior, held (the E step); the bound's gradient is then that of log p(x)."""
        return frozen(exact_posterior(row.p, row.x, row.observed)), row.nothing


@final
class NoInference(AbstractInference):
    """For models that have no latents: an `AbstractDistribution` in p's place."""

    of_latents: ClassVar[bool] = False

    def parameters(self, p: Any, x: Vector, observed: Mask = None, *, key: PRNGKeyArray) -> Parameters:
        """Refused."""
        raise TypeError(_NO_POSTERIOR)

    def distribution(self, p: Any, parameters: Parameters) -> AbstractDistribution:
        """Refused."""
        raise TypeError(_NO_POSTERIOR)

    def learning(self, row: Row, found: Refined | None, *, key: PRNGKeyArray) -> tuple[Any, Scalar]:
        """Nothing."""
        return None, row.nothing


def make_inference(spec: Specification, parts: Parts) -> AbstractInference:
    """The way of inference that a specification names."""
    made: AbstractInference = axes.maker(spec.inference.home)(parts, spec.inference)
    return made


def amortised(parts: Parts, member: axes.inference.Inference) -> AbstractInference:
    """One network for all rows."""
    del member
    return Amortised(_encoder(parts))


def per_datum(parts: Parts, member: axes.inference.PerDatum) -> AbstractInference:
    """An inner loop for every row; a row that was never seen has more steps."""
    return PerDatum(parts.family, _loop(member.steps, member), None, _brief(member))


def semi_amortised(parts: Parts, member: axes.inference.SemiAmortised) -> AbstractInference:
    """A network, then an inner loop."""
    loop = _loop(member.inner_steps, member)
    return SemiAmortised(_encoder(parts), loop, _brief(member), bool(member.through))


def exact(parts: Parts, member: axes.inference.Exact) -> AbstractInference:
    """The posterior itself."""
    del parts, member
    return Exact()


def _loop(steps: int, member: axes.inference.InnerLoop) -> Refinement:
    return Refinement(int(steps), member.rate, tolerance=CONVERGED)


def _brief(member: axes.inference.PerDatum | axes.inference.SemiAmortised) -> Refinement:
    # One draw a step while learning: the noise averages out over steps and rows, as it does for the networks.
    return Refinement(int(member.inner_steps), member.rate, n_samples=1, tolerance=CONVERGED)


def _encoder(parts: Parts) -> Encoder:
    if parts.encoder is None:
        raise TypeError("This way of inference must have an encoder; got parts without one; build them for it.")
    return parts.encoder


_NO_POSTERIOR = "A model without latents has no posterior; use its log_prob."


def _needed(found: Refined | None) -> Refined:
    if found is None:
        raise TypeError("This way of inference must search before it learns: call `search` first.")
    return found
