"""Schedules of the weight of the KL, in steps."""

import dataclasses
from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

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
