"""Linear-Gaussian models, whose log p(x) and posterior are known in closed form (Tipping and Bishop, 1999)."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

from tightbound.learn import AbstractInference
from tightbound.learn.inference.members import Row
from tightbound.model import (
    MLP,
    AbstractDistribution,
    Decoder,
    DiagonalGaussian,
    FixedScaleGaussianHead,
    FullGaussian,
    GenerativeModel,
    StandardGaussian,
)
from tightbound.model.families import inverse_positive


class GivenPosterior(AbstractInference):
    """q(z | x) = N(A (x_observed - mu) + shift, stretch^2 S): exact for shift 0 and stretch 1 and complete rows."""

    matrix: jax.Array
    mean: jax.Array
    scale_tril: jax.Array
    shift: jax.Array
    diagonal: bool = eqx.field(static=True, default=False)

    def parameters(
        self, p: GenerativeModel, x: jax.Array, observed: jax.Array | None = None, *, key: jax.Array
    ) -> jax.Array:
        residual = x - self.mean if observed is None else jnp.where(observed, x - self.mean, 0)
        return self.matrix @ residual + self.shift

    def distribution(self, p: GenerativeModel, numbers: jax.Array) -> AbstractDistribution:
        if self.diagonal:
            return DiagonalGaussian(numbers, jnp.diagonal(self.scale_tril))
        return FullGaussian(numbers, self.scale_tril)

    def per_datum(self, n_rows: int, dtype: str) -> None:
        return None

    def search(self, row: Row, per_datum: None, *, key: jax.Array) -> None:
        return None

    def learning(self, row: Row, found: None, *, key: jax.Array) -> tuple[AbstractDistribution, jax.Array]:
        return self(row.p, row.x, row.observed, key=key), row.nothing


@dataclass(frozen=True)
class LinearGaussian:
    """z ~ N(0, I), x | z ~ N(W z + mu, s^2 I)."""

    W: np.ndarray
    mu: np.ndarray
    s: float

    @classmethod
    def random(cls, rng: np.random.Generator, D: int, d: int) -> "LinearGaussian":
        return cls(rng.normal(size=(D, d)), rng.normal(size=D), float(rng.uniform(0.5, 1.5)))

    @property
    def covariance(self) -> np.ndarray:
        return self.W @ self.W.T + self.s**2 * np.eye(len(self.mu))

    @property
    def M(self) -> np.ndarray:
        return self.W.T @ self.W + self.s**2 * np.eye(self.W.shape[1])

    def log_p(self, x: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        if observed is None:
            return np.atleast_1d(stats.multivariate_normal(self.mu, self.covariance).logpdf(x))
        return np.array(
            [
                stats.multivariate_normal(self.mu[o], self.covariance[np.ix_(o, o)]).logpdf(row[o])
                for row, o in zip(x, observed, strict=True)
            ]
        )

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        D, d = self.W.shape
        return rng.normal(size=(n, d)) @ self.W.T + self.mu + self.s * rng.normal(size=(n, D))

    def p(self) -> GenerativeModel:
        D, d = self.W.shape
        linear = MLP(d, D, (), dtype="float64", key=jax.random.key(0))
        linear = eqx.tree_at(
            lambda m: (m.layers[0].weight, m.layers[0].bias), linear, (jnp.array(self.W.T), jnp.array(self.mu))
        )
        head = FixedScaleGaussianHead(inverse_positive(jnp.asarray(self.s)), jnp.zeros(D))
        return GenerativeModel(StandardGaussian(d, "float64"), Decoder(linear, head, d))

    def q(self, *, stretch: float = 1.0, shift: float = 0.0, diagonal: bool = False) -> GivenPosterior:
        """The exact posterior, or one that is off by `shift` in every coordinate and `stretch` times as wide."""
        d = self.W.shape[1]
        covariance = self.s**2 * np.linalg.inv(self.M)
        tril = np.linalg.cholesky(covariance) * stretch
        if diagonal:  # the best diagonal Gaussian: var_j = s^2 / M_jj
            tril = np.diag(self.s / np.sqrt(np.diag(self.M)))
        return GivenPosterior(
            jnp.array(np.linalg.solve(self.M, self.W.T)),
            jnp.array(self.mu),
            jnp.array(tril),
            jnp.full(d, shift),
            diagonal,
        )

    @property
    def diagonal_gap(self) -> float:
        """log p(x) - ELBO of the best diagonal q: (sum_j log M_jj - log |M|) / 2, the same for every x."""
        return 0.5 * float(np.sum(np.log(np.diag(self.M))) - np.linalg.slogdet(self.M)[1])


def gap_of_best_diagonal(loadings: Float[Array, "k d"], scale: Float[Array, " d"]) -> Array:
    """KL of the best diagonal Gaussian from the posterior of a linear-Gaussian model, the same for every row; nats.

    1/2 (sum_j log M_jj - log |M|), with M = I + W' S^-1 W.
    """
    inner = jnp.eye(loadings.shape[0], dtype=loadings.dtype) + (loadings / scale[None, :] ** 2) @ loadings.T
    return 0.5 * (jnp.sum(jnp.log(jnp.diagonal(inner))) - jnp.linalg.slogdet(inner)[1])
