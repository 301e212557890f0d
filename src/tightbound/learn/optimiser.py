"""The optimiser: Adam on clipped gradients with a warm-up + cosine schedule, counted in steps."""

import dataclasses
from typing import Any, final

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


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
