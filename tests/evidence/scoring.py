"""Models and rows for the tests of `log_evidence`."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from linear_gaussian import GivenPosterior, LinearGaussian

from tightbound.evidence import Evidence
from tightbound.learn import AbstractInference, PerDatum
from tightbound.learn.inference.refinement import Refinement
from tightbound.model import (
    MLP,
    BernoulliFamily,
    BernoulliHead,
    Decoder,
    GenerativeModel,
    LearnedPrior,
    Specification,
    Start,
    build,
)

KEY = jax.random.key(11)
D, K = 6, 3
SMALL: dict[str, Any] = {"method": "adaptive", "n_samples": 200, "n_chains": 10, "key": KEY}


def same(a: Evidence, b: Evidence) -> None:
    """Bit for bit."""
    for field in dataclasses.fields(Evidence):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), err_msg=field.name)


class SomeRowsBadly(AbstractInference):
    """The exact posterior of complete rows, but a quarter as wide where the first cell is above `above`."""

    exact: GivenPosterior
    above: float = eqx.field(static=True, default=0.0)

    def parameters(self, p: Any, x: jax.Array, observed: jax.Array | None = None, *, key: jax.Array) -> jax.Array:
        mean = self.exact.parameters(p, x, observed, key=key)
        first = x[0] if observed is None else jnp.where(observed[0], x[0], -jnp.inf)
        return jnp.append(mean, jnp.where(first > self.above, 0.25, 1.0))

    def distribution(self, p: Any, numbers: jax.Array) -> Any:
        tight = eqx.tree_at(lambda q: q.scale_tril, self.exact, numbers[-1] * self.exact.scale_tril)
        return tight.distribution(p, numbers[:-1])

    def per_datum(self, n_rows: int, dtype: str) -> None:
        return None

    def search(self, *_: object, **__: object) -> None:
        return None

    def learning(self, *_: object, **__: object) -> None:
        return None


@dataclasses.dataclass(frozen=True)
class Setting:
    """A linear-Gaussian model and rows, of which those with a positive first cell have a q that is far too narrow."""

    model: LinearGaussian
    p: GenerativeModel
    q: AbstractInference
    x: np.ndarray

    @property
    def hard(self) -> np.ndarray:
        return self.x[:, 0] > 0


def make_setting() -> Setting:
    """Nine rows, the first three of them hard."""
    rng = np.random.default_rng(0)
    model = LinearGaussian(0.7 * rng.normal(size=(D, K)), np.zeros(D), 0.8)
    x = model.sample(rng, 9)
    x[:3, 0] = np.abs(x[:3, 0])
    x[3:, 0] = -np.abs(x[3:, 0])
    return Setting(model, model.p(), SomeRowsBadly(model.q()), x)


def bits(n: int, seed: int = 0) -> tuple[GenerativeModel, PerDatum]:
    network = MLP(n, 4, (5,), dtype="float64", key=jax.random.key(seed))
    family = BernoulliFamily(n)
    p = GenerativeModel(LearnedPrior(family, jnp.zeros(n)), Decoder(network, BernoulliHead(4), n))
    return p, PerDatum(family, Refinement(4))


def network_parts(k: int) -> tuple[Any, Specification]:
    spec = Specification(4, k, network="residual(hidden_sizes=(5,))", dtype="float64")
    return build(spec, start=Start(np.zeros(4), np.full(4, 0.1)), key=KEY), spec
