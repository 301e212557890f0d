"""What a fit is made of: the pair, the config, what of them does not go together, and the state between epochs."""

import dataclasses
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from tightbound.learn.gradients.pathwise import AbstractGradient, Pathwise
from tightbound.learn.inference.members import AbstractInference, Amortised, SemiAmortised
from tightbound.learn.objectives import ELBO, AbstractObjective
from tightbound.learn.regularisers import AbstractRegulariser
from tightbound.learn.source import Dataset
from tightbound.model import (
    AbstractDistribution,
    GenerativeModel,
    VampPrior,
    has_closed_form_kl,
)

KINDS = ("linear", "cosine", "cyclical")


@final
@dataclasses.dataclass(frozen=True)
class Schedule:
    """A weight that rises from 0 to `value` over `steps` steps, and stays there; 0 steps: constant.

    "linear": value t / steps (Bowman et al., 2016); "cosine": value (1 - cos(pi t / steps)) / 2; "cyclical": every
    `steps` steps anew, rising over the first half and constant over the second (Fu et al., 2019).
    """

    value: float = 1.0
    steps: int = 0
    kind: str = "linear"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {self.kind!r}; choose one of those.")
        if not self.value >= 0 or not self.steps >= 0:
            raise ValueError(
                f"A schedule's value and steps must be at least 0; got {self.value!r} and {self.steps!r}; "
                "1 and 0 are usual."
            )

    def __call__(self, step: Int[Array, ""] | int, dtype: str) -> Float[Array, ""]:
        """The weight at this step."""
        if self.steps == 0:
            return jnp.full((), self.value, dtype)
        done = jnp.minimum(1, step / self.steps)
        if self.kind == "cyclical":
            done = jnp.minimum(1, 2 * (step % self.steps) / self.steps)
        elif self.kind == "cosine":
            done = 0.5 * (1 - jnp.cos(jnp.pi * done))
        return (self.value * done).astype(dtype)


@final
@dataclasses.dataclass(frozen=True)
class Optimiser:
    """Adam (Kingma and Ba, 2015) with clipping, its rate warmed up and annealed to zero.

    Every partial derivative is clipped to +-`clip` (Graves, 2013): a freak minibatch then spoils Adam's second moments
    no further. Clipping by the norm of the whole gradient would hold up each update until the last derivative is known,
    a sixth of a step on a CPU.

    `epsilon` is as large as in Burda et al. (2016): with the usual 1e-8, Adam moves the weights of inputs that are
    almost never on as fast as all others, by noise, until one row that has such an input is encoded far out of bounds
    (seen on MNIST: one of 2,000 validation rows at -26,500 nats).

    Every weight matrix is drawn to zero by `decay` times the rate at each step, beside Adam (Loshchilov and Hutter,
    2019); biases are not.

    rate(t) = peak t / warmup for t < warmup, then peak (1 + cos(pi s)) / 2 with s from 0 to 1 at `total_steps`
    (Loshchilov and Hutter, 2017).
    """

    learning_rate: float
    total_steps: int
    warmup_steps: int = 0
    clip: float | None = 1000.0
    epsilon: float = 1e-4
    decay: float = 0.0

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0; got {self.learning_rate!r}; 0.0015 is usual.")
        if not 0 <= self.warmup_steps <= self.total_steps:
            raise ValueError(
                f"warmup_steps must lie between 0 and the number of steps {self.total_steps}; "
                f"got {self.warmup_steps!r}; lower it or train for more epochs."
            )

    def transformation(self) -> optax.GradientTransformation:
        """Clipping, Adam's scaling and decay, before the rate."""
        clip = optax.identity() if self.clip is None else optax.clip(self.clip)
        parts = [clip, optax.scale_by_adam(eps=self.epsilon)]
        if self.decay:
            parts.append(optax.add_decayed_weights(self.decay, mask=_matrices))
        return optax.chain(*parts)

    def rate(self, step: Int[Array, ""] | int) -> Float[Array, ""]:
        """The learning rate at this step."""
        schedule = optax.warmup_cosine_decay_schedule(
            0.0 if self.warmup_steps else self.learning_rate,
            self.learning_rate,
            self.warmup_steps,
            max(self.total_steps, self.warmup_steps + 1),
        )
        return jnp.asarray(schedule(step))


def _matrices(parameters: Any) -> Any:
    """Which leaves are weight matrices; constants such as scales and reference rows are not."""

    def is_matrix(path: tuple[Any, ...], leaf: Any) -> bool:
        return leaf.ndim >= 2 and bool(path) and getattr(path[-1], "name", "") == "weight"

    return jax.tree_util.tree_map_with_path(is_matrix, parameters)


MOST_EPOCHS_AT_ONCE = 64
"""The host is asked at least so often; for small data an epoch takes less time than asking."""


class Pair(eqx.Module):
    """The generative model p (theta) and the inference q (phi), side by side.

    A model with an exact likelihood (an `AbstractDistribution`) stands in p's place with `NoInference` beside it.
    """

    p: Any
    """A `GenerativeModel`, or an `AbstractDistribution` over rows."""
    q: AbstractInference

    @property
    def has_latents(self) -> bool:
        """Whether there is a z."""
        return isinstance(self.p, GenerativeModel)


def tied(pair: Pair) -> Pair:
    """The pair with a VampPrior made of the posteriors that it stands for; any other pair as it is."""
    if not (pair.has_latents and isinstance(pair.p.prior, VampPrior)):
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


def check_pair(pair: Pair, config: TrainingConfig, train: Dataset) -> None:
    """Refuse a pair and a config that cannot be learnt together (`ValueError`)."""
    if not (pair.has_latents and pair.q.of_latents):
        _check_exact_likelihood(pair, config)
        return
    pair = tied(pair)
    q = posterior_shape(pair, train, config.dtype)
    prior = pair.p.prior.plain
    if (q.n_states is None) != (prior.n_states is None):
        raise ValueError(
            f"Prior and posterior must both be continuous or both discrete; got {type(prior).__name__} and "
            f"{type(q).__name__}; use prior='auto'."
        )
    if q.tabulated and not config.gradient.sums_states:
        raise ValueError(
            f"Exact inference of discrete latents must have the objective elbo and the gradient enumerate; got "
            f"{type(config.objective).__name__} and {type(config.gradient).__name__}; use objective='elbo' and "
            "gradient='auto'."
        )
    if config.encoder_steps > 1 and not pair.q.is_network:
        raise ValueError(
            f"encoder_steps above 1 must have amortised inference (a network alone); got {type(pair.q).__name__}; use "
            "encoder_steps=1, or inference='aggressive'."
        )
    config.objective.wants_kl(q, pair.p.prior)
    config.gradient.check(config.objective, q)
    pair.q.check(q)
    if config.regulariser is not None and pair.q.held:
        raise ValueError(
            f"{type(config.regulariser).__name__} must have a q whose gradient it can shape (amortised inference, or "
            f"semi-amortised through the steps); got {type(pair.q).__name__}; use inference='amortised'."
        )
    if config.regulariser is not None:
        _check_regulariser(config.regulariser, config, q, pair.p.prior)


def _check_regulariser(
    regulariser: AbstractRegulariser, config: TrainingConfig, q: AbstractDistribution, prior: AbstractDistribution
) -> None:
    """Its own gradient passes through q's draws, or through a KL in closed form."""
    regulariser.check(q, prior)
    known = regulariser.of_kl and has_closed_form_kl(q, prior)
    if not (config.objective.is_mean and config.gradient.carries(in_closed_form=known)):
        raise ValueError(
            f"{type(regulariser).__name__} must have the ELBO and the gradient pathwise (or a score function, where "
            f"the KL has a closed form); got {type(config.objective).__name__} and {type(config.gradient).__name__}; "
            "use gradient='auto', and a diagonal, bernoulli or categorical posterior."
        )


def posterior_shape(pair: Pair, data: Dataset, dtype: str) -> AbstractDistribution:
    """q(z | x) of one row as shapes without numbers: enough to see what kind of distribution it is."""

    def one(x: Array, observed: Array | None) -> AbstractDistribution:
        return pair.q(pair.p, x, observed, key=jax.random.key(0))

    x = jax.ShapeDtypeStruct(data.x.shape[1:], jnp.dtype(dtype))
    observed = None if data.observed is None else jax.ShapeDtypeStruct(data.x.shape[1:], jnp.dtype(bool))
    return eqx.filter_eval_shape(one, x, observed)


def _check_exact_likelihood(pair: Pair, config: TrainingConfig) -> None:
    if pair.has_latents or pair.q.of_latents or not config.gradient.of_likelihood:
        raise ValueError(
            "A model without latents must have NoInference and the gradient MaximumLikelihood, and only such a model; "
            f"got a {type(pair.p).__name__} with {type(pair.q).__name__} and {type(config.gradient).__name__}."
        )
