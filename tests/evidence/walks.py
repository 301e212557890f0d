"""Models, q's and moments that the tests of annealing share."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from linear_gaussian import LinearGaussian
from members import some
from scipy import stats

from tightbound.evidence import exact_evidence
from tightbound.learn import AbstractInference
from tightbound.model import (
    MLP,
    AbstractDistribution,
    AbstractFamily,
    Decoder,
    FixedScaleGaussianHead,
    GenerativeModel,
    StandardGaussian,
    make_family,
)
from tightbound.model.families import inverse_positive

KEY = jax.random.key(5)
MODEL = LinearGaussian(np.array([[1.2, 0.3], [-0.4, 0.9], [0.7, -1.1]]), np.array([0.5, -1.0, 0.2]), 0.8)
"""Two latents, three columns; its posterior's correlation is -0.3."""


class Same(AbstractInference):
    """One q for all rows, whatever they hold."""

    family: AbstractFamily
    vector: jax.Array

    def parameters(self, p: Any, x: jax.Array, observed: jax.Array | None = None, *, key: jax.Array) -> jax.Array:
        return self.vector

    def distribution(self, p: Any, numbers: jax.Array) -> AbstractDistribution:
        return self.family(numbers)

    def per_datum(self, *_: object) -> None:
        return None

    def search(self, *_: object, **__: object) -> None:
        return None

    def learning(self, *_: object, **__: object) -> Any:
        raise NotImplementedError


def some_member(name: str, seed: int = 2, spread: float = 0.4) -> Same:
    """A q of this family with random numbers, and random networks where it has any."""
    member = some("posterior", name, n_components=3)
    family = make_family(member, 2, flow_sizes=(8,), context_size=4, dtype="float64", key=KEY)
    leaves, tree = jax.tree.flatten(family, is_leaf=eqx.is_inexact_array)
    rng = np.random.default_rng(seed)
    moved = [a + spread * rng.normal(size=a.shape) if eqx.is_inexact_array(a) else a for a in leaves]
    family = jax.tree.unflatten(tree, moved)
    return Same(family, jnp.asarray(spread * rng.normal(size=family.n_parameters)))


def gaussian(loc: list[float], scale: list[float]) -> Same:
    """A diagonal Gaussian q."""
    family = make_family("diagonal", len(loc), key=KEY)
    return Same(family, family.init_from_moments(jnp.asarray(loc), jnp.asarray(scale)))


def with_network(network: eqx.Module, k: int, d: int, scale: float) -> GenerativeModel:
    """z ~ N(0, I), x | z ~ N(network(z), scale^2 I)."""
    head = FixedScaleGaussianHead(inverse_positive(jnp.asarray(scale)), jnp.zeros(d))
    return GenerativeModel(StandardGaussian(k, "float64"), Decoder(network, head, k))


def nonlinear() -> GenerativeModel:
    """Two latents, three columns, a hidden layer whose posteriors are bent."""
    network = MLP(2, 3, (12,), dtype="float64", key=jax.random.key(8))
    return with_network(jax.tree.map(lambda a: 1.8 * a if eqx.is_array(a) else a, network), 2, 3, 0.5)


def truth(p: GenerativeModel, q: AbstractInference, x: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
    """log p(x) by quadrature."""
    found = exact_evidence(p, q, x, observed, key=KEY)
    assert np.all(found.standard_error < 1e-4)
    return found.log_evidence


class Square(eqx.Module):
    """x is about z^2: two posteriors in one, at sqrt(x) and -sqrt(x)."""

    def __call__(self, z: jax.Array) -> jax.Array:
        return z**2


class Overflowing(eqx.Module):
    """A network that returns NaN where z_1 is above `most`."""

    inner: Any
    most: float = eqx.field(static=True, default=0.8)

    def __call__(self, z: jax.Array) -> jax.Array:
        return jnp.where(z[0] > self.most, jnp.nan, self.inner(z))


def overflowing(p: GenerativeModel, most: float = 0.8) -> GenerativeModel:
    """The model with such a decoder."""
    return eqx.tree_at(lambda m: m.decoder.network, p, Overflowing(p.decoder.network, most))


def overflowing_log_p(x: np.ndarray, most: float = 0.8) -> np.ndarray:
    """log p(x) of `overflowing(MODEL.p())`: that of `MODEL`, times the posterior's share up to z_1 = `most`."""
    mean = np.linalg.solve(MODEL.M, MODEL.W.T @ (x - MODEL.mu).T)[0]
    scale = MODEL.s * np.sqrt(np.linalg.inv(MODEL.M)[0, 0])
    return MODEL.log_p(x) + stats.norm.logcdf(most, mean, scale)


def apart(values: np.ndarray, expected: float = 0.0) -> float:
    """How many standard errors the mean of independent values is above what it should be."""
    return float((values.mean() - expected) / (values.std(ddof=1) / np.sqrt(len(values))))
