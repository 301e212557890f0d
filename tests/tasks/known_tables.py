"""Small models whose conditional distributions are known: linear-Gaussian ones, and a mixed table over a 1-d latent."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from linear_gaussian import GivenPosterior, LinearGaussian
from scipy.special import logsumexp

from tightbound.learn import Exact, Pair
from tightbound.model import MLP, Decoder, GenerativeModel, ProductOfColumns, StandardGaussian
from tightbound.model.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    CumulativeLogitLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    PoissonLikelihood,
    SpikeAndSlabLikelihood,
)
from tightbound.model.likelihoods.columns import ColumnsHead

KEY = jax.random.key(5)
REAL, COUNT, NOMINAL, BINARY, ORDINAL, SPIKED, OTHER = range(7)
CELLS = (
    GaussianLikelihood(),
    PoissonLikelihood(),
    CategoricalLikelihood(3),
    BernoulliLikelihood(),
    CumulativeLogitLikelihood(4),
    SpikeAndSlabLikelihood(GammaLikelihood(), [0.0]),
    GaussianLikelihood(),
)
GRID = np.linspace(-7, 7, 1401)


def exact_pair(model: LinearGaussian) -> Pair:
    """The model with its own posterior, whatever is observed."""
    return Pair(model.p(), Exact())


def conditional(
    model: LinearGaussian, x: np.ndarray, observed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, mean and covariance of the missing cells of one row given the others."""
    o, m = np.flatnonzero(observed), np.flatnonzero(~observed)
    C = model.covariance
    gain = C[np.ix_(m, o)] @ np.linalg.inv(C[np.ix_(o, o)])
    return m, model.mu[m] + gain @ (x[o] - model.mu[o]), C[np.ix_(m, m)] - gain @ C[np.ix_(o, m)]


def mixed_model(seed: int = 0) -> GenerativeModel:
    """Seven columns of every kind, whose numbers are linear in a 1-d latent."""
    head = ColumnsHead(CELLS)
    rng = np.random.default_rng(seed)
    linear = MLP(1, head.n_inputs, (), dtype="float64", key=KEY)
    weight, bias = rng.normal(size=(1, head.n_inputs)), 0.4 * rng.normal(size=head.n_inputs)
    linear = eqx.tree_at(lambda m: (m.layers[0].weight, m.layers[0].bias), linear, (jnp.array(weight), jnp.array(bias)))
    return GenerativeModel(StandardGaussian(1, "float64"), Decoder(linear, head, 1))


def wide_inference(dim: int, latent_dim: int = 1) -> GivenPosterior:
    """q = N(0, 1.3^2) for every row: wrong for each, and wide enough for all."""
    nothing = jnp.zeros(latent_dim)
    return GivenPosterior(jnp.zeros((latent_dim, dim)), jnp.zeros(dim), 1.3 * jnp.eye(latent_dim), nothing)


@functools.cache
def mixed_pair() -> Pair:
    """The mixed table with a q that importance weights must correct."""
    return Pair(mixed_model(), wide_inference(len(CELLS)))


def on_grid(p: GenerativeModel) -> ProductOfColumns:
    """p(x | z) at every point of the grid."""
    return eqx.filter_jit(eqx.filter_vmap(p.decoder))(jnp.asarray(GRID)[:, None])


def log_probs_on_grid(p: GenerativeModel, x: np.ndarray) -> np.ndarray:
    """log p(x_j | z) at every point of the grid and in every column, (grid, m)."""
    return np.asarray(eqx.filter_jit(lambda d, x: jax.vmap(lambda d: d.log_probs(x))(d))(on_grid(p), jnp.asarray(x)))


def cdfs_on_grid(p: GenerativeModel, x: np.ndarray) -> np.ndarray:
    """P(X_j <= x_j | z) at every point of the grid and in every column, (grid, m)."""
    return np.asarray(eqx.filter_jit(lambda d, x: jax.vmap(lambda d: d.cdf(x))(d))(on_grid(p), jnp.asarray(x)))


def posterior_on_grid(
    p: GenerativeModel, x: np.ndarray, observed: np.ndarray, log_extra: np.ndarray | float = 0.0
) -> np.ndarray:
    """p(z | x_observed) e^log_extra at the points of the grid, summing to 1."""
    log_p = log_probs_on_grid(p, np.where(observed, x, 0.0))[:, observed].sum(axis=1)
    log_w = log_p - GRID**2 / 2 + log_extra
    return np.exp(log_w - logsumexp(log_w))


def rows(p: GenerativeModel, n: int, seed: int = 1) -> np.ndarray:
    """Rows of the model."""
    draw = eqx.filter_jit(lambda p, keys: jax.vmap(lambda key: p.sample(key=key)[0])(keys))
    return np.array(draw(p, jax.random.split(jax.random.key(seed), n)))
