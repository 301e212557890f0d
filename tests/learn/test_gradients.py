"""The pathwise gradient against the exact gradient of the closed-form ELBO, and what it refuses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_pairs import KEY, network_pair, recipe, run

from tightbound.learn import (
    ELBO,
    AbstractInference,
    AbstractObjective,
    ImportanceWeighted,
    Pair,
    Pathwise,
    Problem,
    draw,
)
from tightbound.learn.inference.members import Row
from tightbound.model import (
    AbstractDistribution,
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    FullGaussian,
    FullGaussianFamily,
    GenerativeModel,
    LowRankGaussian,
    MixtureFamily,
)

X = jnp.array([0.7, -1.9, 1.2])
N_KEYS = 6_000


def linear_pair(posterior: str) -> Pair:
    """Linear encoder and decoder, one scale a feature, everything away from symmetric values."""
    pair = network_pair(3, seed=4, network="linear", posterior=posterior)
    leaves, treedef = jax.tree.flatten(pair)
    keys = jax.random.split(jax.random.key(9), len(leaves))
    moved = [a + 0.3 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    pair = jax.tree.unflatten(treedef, moved)
    return eqx.tree_at(lambda a: a.p.decoder.head.floor, pair, jnp.array([0.1, 0.2, 0.05]))


def q_of(pair: Pair) -> AbstractDistribution:
    return pair.q(pair.p, X, key=KEY)


def problem(pair: Pair, objective: AbstractObjective, kl_weight: jax.Array | float = 1.0) -> Problem:
    return Problem(objective, pair.p, q_of(pair), X, None, kl_weight)


def exact_elbo(pair: Pair, kl_weight: float) -> jax.Array:
    """E_q[log N(x; W z + b, diag s^2)] - w KL(N(m, S) || N(0, I)), written out.

    E|x - W z - b|_j^2 = (x - W m - b)_j^2 + (W S W')_jj.
    """
    q = q_of(pair)
    m = q.loc
    tril = q.scale_tril if isinstance(q, FullGaussian) else jnp.diag(q.scale)
    S = tril @ tril.T
    network, s = pair.p.decoder.network, pair.p.decoder.head.scale
    W = jax.jacfwd(network)(m)
    second = (X - network(m)) ** 2 + jnp.diag(W @ S @ W.T)
    reconstruction = -0.5 * jnp.sum(second / s**2 + jnp.log(2 * jnp.pi * s**2))
    kl = 0.5 * (jnp.trace(S) + m @ m - m.shape[0] - jnp.linalg.slogdet(S)[1])
    return reconstruction - kl_weight * kl


exact_gradient = jax.jit(jax.grad(exact_elbo))


def gradients(pair: Pair, objective, kl_weight: float) -> Pair:
    """The gradient of the surrogate for every key, stacked."""

    return _gradients(pair, objective, jnp.asarray(kl_weight, "float64"), jax.random.split(KEY, N_KEYS))


@eqx.filter_jit
def _gradients(pair: Pair, objective, kl_weight: jax.Array, keys: jax.Array) -> Pair:
    def surrogate(pair: Pair, key: jax.Array) -> jax.Array:
        return Pathwise().estimate(problem(pair, objective, kl_weight), None, key=key).surrogate

    return jax.vmap(jax.grad(surrogate), in_axes=(None, 0))(pair, keys)


CASES = {
    "elbo": (ELBO(1), "diagonal", 1.0),
    "elbo of three draws, KL at 0.3": (ELBO(3), "full", 0.3),
    "sampled elbo": (ELBO(2, closed_form_kl=False), "diagonal", 1.0),
    "sampled elbo, KL at 0.3": (ELBO(2, closed_form_kl=False), "diagonal", 0.3),
}


@pytest.mark.parametrize("case", CASES)
def test_mean_pathwise_gradient_is_the_gradient_of_the_closed_form(case: str) -> None:
    objective, posterior, kl_weight = CASES[case]
    pair = linear_pair(posterior)
    exact = jax.tree_util.tree_leaves_with_path(exact_gradient(pair, kl_weight))
    sampled = jax.tree.leaves(gradients(pair, objective, kl_weight))
    assert len(exact) == 7  # W, b, raw scale and floor of p; W, b and centre of q
    moving = 0
    for (path, expected), draws in zip(exact, sampled, strict=True):
        name = jax.tree_util.keystr(path)
        error = np.std(draws, axis=0, ddof=1) / N_KEYS**0.5
        assert np.all(np.abs(np.mean(draws, axis=0) - expected) < 5 * error + 1e-9), name
        if np.any(np.asarray(expected) != 0):
            moving += 1
            assert np.linalg.norm(expected) > 10 * np.linalg.norm(error), name  # else the check could not fail
    assert moving == 5  # floor and centre are data


def test_importance_weighted_gradient_is_the_weighted_mean_of_gradients() -> None:
    """grad log (1/k) sum w_i = sum_i (w_i / sum w) grad log w_i. Burda et al. (2016), equations 13 and 14."""
    pair, k = linear_pair("diagonal"), 5

    def log_weights(pair: Pair) -> jax.Array:
        return draw(pair.p, q_of(pair), X, None, n_samples=k, key=KEY).weight.total

    def surrogate(pair: Pair) -> jax.Array:
        return Pathwise().estimate(problem(pair, ImportanceWeighted(k)), None, key=KEY).surrogate

    @jax.jit
    def both_ways(pair: Pair) -> tuple[jax.Array, Pair, Pair]:
        return jnp.exp(log_weights(pair)), jax.jacrev(log_weights)(pair), jax.grad(surrogate)(pair)

    w, jacobian, gradient = both_ways(pair)
    share = np.asarray(w / w.sum())
    assert share.max() > 1.5 / k
    for a, j in zip(jax.tree.leaves(gradient), jax.tree.leaves(jacobian), strict=True):
        np.testing.assert_allclose(a, np.tensordot(share, j, axes=1), rtol=1e-9, atol=1e-12)


def test_what_is_reported_has_no_gradient() -> None:
    def reported(pair: Pair) -> jax.Array:
        estimate = Pathwise().estimate(problem(pair, ELBO(), 0.5), None, key=KEY)
        return estimate.bound + estimate.objective + estimate.signal

    for leaf in jax.tree.leaves(jax.jit(jax.grad(reported))(linear_pair("diagonal"))):
        np.testing.assert_array_equal(leaf, 0)


TWO = MixtureFamily(FullGaussianFamily(2), 2)(jnp.zeros(12))
UNDIFFERENTIABLE = [Bernoulli(jnp.zeros(2)), Categorical(jnp.zeros((1, 2))), TWO]


@pytest.mark.parametrize("q", UNDIFFERENTIABLE, ids=lambda q: type(q).__name__)
@pytest.mark.parametrize("objective", [ELBO(closed_form_kl=False), ImportanceWeighted(2)], ids=["elbo", "iw"])
def test_families_without_differentiable_draws_are_refused_by_name(q, objective) -> None:
    sentence = rf"pathwise must have .*\(diagonal, full, .*got {type(q).__name__}; use one of those"
    with pytest.raises(ValueError, match=sentence):
        Pathwise().check(objective, q)


@pytest.mark.parametrize(
    "q",
    [
        DiagonalGaussian(jnp.zeros(2), jnp.ones(2)),
        FullGaussian(jnp.zeros(2), jnp.eye(2)),
        LowRankGaussian(jnp.zeros(2), jnp.ones((2, 1)), jnp.ones(2)),
    ],
    ids=lambda q: type(q).__name__,
)
def test_families_with_differentiable_draws_are_taken(q) -> None:
    Pathwise().check(ELBO(), q)


class Foreign(AbstractInference):
    """An inference whose family no gradient estimator knows."""

    inner: AbstractInference

    def parameters(
        self, p: GenerativeModel, x: jax.Array, observed: jax.Array | None = None, *, key: jax.Array
    ) -> jax.Array:
        return self.inner.parameters(p, x, observed, key=key)

    def distribution(self, p: GenerativeModel, numbers: jax.Array) -> AbstractDistribution:
        return TWO

    def per_datum(self, n_rows: int, dtype: str) -> None:
        return None

    def search(
        self,
        p: GenerativeModel,
        x: jax.Array,
        observed: jax.Array | None,
        kept: None,
        *,
        kl_weight: jax.Array,
        key: jax.Array,
    ) -> None:
        return None

    def learning(self, row: Row, found: None, *, key: jax.Array) -> tuple[AbstractDistribution, jax.Array]:
        return TWO, row.nothing


@pytest.mark.parametrize(
    ("objective", "sentence"),
    [
        (ELBO(closed_form_kl=True), "closed form of KL"),
        (ELBO(), "differentiable draws.*got Mixture"),
        (ELBO(closed_form_kl=False), "differentiable draws.*got Mixture"),
    ],
    ids=["closed KL", "pathwise", "pathwise, sampled KL"],
)
def test_fit_refuses_parts_that_do_not_go_together_before_it_starts(objective, sentence: str) -> None:
    pair = linear_pair("diagonal")
    pair = Pair(pair.p, Foreign(pair.q))
    with pytest.raises(ValueError, match=sentence):
        run(pair, np.zeros((4, 3)), recipe(objective=objective))
