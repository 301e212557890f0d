"""What a fit is made of: the pair, the config, and the state that one epoch hands to the next."""

from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from tightbound.learn.gradients.pathwise import AbstractGradient, Pathwise
from tightbound.learn.inference.members import AbstractInference, Amortised, SemiAmortised
from tightbound.learn.objectives import ELBO, AbstractObjective
from tightbound.learn.optimiser import Optimiser
from tightbound.learn.regularisers import AbstractRegulariser
from tightbound.learn.schedules import Schedule
from tightbound.model import GenerativeModel, VampPrior

MOST_EPOCHS_AT_ONCE = 64
"""The host is asked at least so often; for small data an epoch takes less time than asking."""


class Pair(eqx.Module):
    """The generative model p (theta) and the inference q (phi), side by side.

    A model with an exact likelihood (an `AbstractDistribution`) stands in p's place with `NoInference` beside it.
    """

    p: Any
    """A `GenerativeModel`, or an `AbstractDistribution` over rows."""
    q: AbstractInference


def tied(pair: Pair) -> Pair:
    """The pair with a VampPrior made of the posteriors that it stands for; any other pair as it is."""
    if not (isinstance(pair.p, GenerativeModel) and isinstance(pair.p.prior, VampPrior)):
        return pair
    if not isinstance(pair.q, Amortised | SemiAmortised):
        raise ValueError(
            f"A VampPrior must have an inference with an encoder; got {type(pair.q).__name__}; use a mixture prior."
        )
    return Pair(GenerativeModel(pair.p.prior.tied(pair.q.encoder), pair.p.decoder), pair.q)


@final
class TrainingConfig(eqx.Module):
    """How a pair is learnt; hashable, so that equal configs share one compiled program."""

    optimiser: Optimiser = eqx.field(static=True)
    objective: AbstractObjective = ELBO()
    gradient: AbstractGradient = Pathwise()
    regulariser: AbstractRegulariser | None = None
    """What stands in for the KL while learning (the ELBO alone)."""
    kl_weight: Schedule = eqx.field(static=True, default=Schedule())
    batch_size: int = eqx.field(static=True, default=100)
    encoder_steps: int = eqx.field(static=True, default=1)
    """Steps on q for each step on p, while that pays: until the mutual information of held-out rows stops rising."""
    trains: str = eqx.field(static=True, default="all")
    """What is learnt: "all", or the "prior" alone."""
    dtype: str = eqx.field(static=True, default="float32")
    steps_a_call: int | None = eqx.field(static=True, default=None)
    """Steps of one call of a compiled program (None: whole epochs, unless that would be slow); it changes no bit."""


class FitState(eqx.Module):
    """Everything that the next epoch depends on, besides the data and the seed."""

    parameters: Any
    """The inexact arrays of a `Pair` that are learnt; None elsewhere."""
    optimiser: Any
    """One state for p and one for q."""
    best: Any
    """The parameters with the best validation bound (the latest ones where there is no validation)."""
    best_bound: Float[Array, ""]
    best_epoch: Int[Array, ""]
    epoch: Int[Array, ""]
    step: Int[Array, ""]
    step_factor: Float[Array, ""]
    """Multiplies every update; below one after a non-finite step."""
    estimator: Any
    """What the gradient estimator remembers."""
    per_datum: Float[Array, "n m"] | None
    """The variational parameters of every training row, where each has its own."""
    aggressive: Bool[Array, ""] | None
    """Whether q still takes several steps for one of p."""
    information: Float[Array, ""] | None
    """Mutual information of held-out rows (of training rows, where none are) and z after the last epoch, nats."""


class Place(eqx.Module):
    """Where in an epoch the next step stands."""

    cursor: Int[Array, ""]
    """Number of the next minibatch."""
    bound_sum: Float[Array, ""]
    """Sum of the bounds of the rows so far."""
    objective_sum: Float[Array, ""]
    """Sum of what is maximised."""
    finite: Bool[Array, ""]
    """False when the last loss, or the parameters at the end of the epoch, were not finite."""


class Records(eqx.Module):
    """What the epochs of one call gave; the first `count` places hold something."""

    count: Int[Array, ""]
    train_bound: Float[Array, " e"]
    validation_bound: Float[Array, " e"]
    best: Bool[Array, " e"]
    train_objective: Float[Array, " e"]


class Keys(NamedTuple):
    """The named streams of randomness of a fit, split once."""

    shuffle: PRNGKeyArray
    noise: PRNGKeyArray
    validation: PRNGKeyArray


class Outcome(NamedTuple):
    """What a call hands back to the host."""

    state: FitState
    place: Place
    records: Records


def divided(pair: Pair, config: TrainingConfig) -> tuple[Pair, Pair]:
    """(the arrays that are learnt, everything else), each with None in the other's places."""
    if config.trains == "all":
        return eqx.partition(pair, eqx.is_inexact_array)
    nothing = jax.tree.map(lambda _: False, pair)
    chosen: Any = eqx.tree_at(lambda a: a.p.prior, nothing, jax.tree.map(eqx.is_inexact_array, pair.p.prior))
    return eqx.partition(pair, chosen)


def initial_state(pair: Pair, config: TrainingConfig, n_rows: int = 0, n_features: int = 0) -> FitState:
    """The state before the first epoch, for training data of this shape."""
    # Python numbers make weakly typed arrays, which the first step would turn into others: two programs for one fit.
    parameters: Any = jax.tree.map(lambda a: jax.lax.convert_element_type(a, a.dtype), divided(pair, config)[0])
    zero = jnp.zeros((), "int32")
    rule = config.optimiser.transformation()
    several = config.encoder_steps > 1
    return FitState(
        parameters=parameters,
        optimiser=(rule.init(parameters.p), rule.init(parameters.q)),
        best=parameters,
        best_bound=jnp.asarray(-jnp.inf, config.dtype),
        best_epoch=zero,
        epoch=zero,
        step=zero,
        step_factor=jnp.ones((), config.dtype),
        estimator=config.gradient.initial_state(n_features, config.dtype),
        per_datum=pair.q.per_datum(n_rows, config.dtype),
        aggressive=jnp.asarray(True) if several else None,
        information=jnp.asarray(-jnp.inf, config.dtype) if several else None,
    )


def first_place(config: TrainingConfig) -> Place:
    """The beginning of an epoch."""
    zero = jnp.zeros((), config.dtype)
    return Place(jnp.zeros((), "int32"), zero, zero, jnp.asarray(True))
