"""Every gradient estimator against the exact gradient: by enumeration of all states, in closed form or by quadrature.

The mean over many keys must be the exact gradient within five standard errors, for every number of p and of q.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from members import some

from tightbound.learn import (
    ELBO,
    Amortised,
    CombinedImportanceWeighted,
    DisArm,
    DoublyReparameterised,
    Enumeration,
    GumbelSoftmax,
    ImportanceWeighted,
    LearnedBaseline,
    LeaveOneOut,
    MovingAverage,
    Pair,
    PartiallyImportanceWeighted,
    Pathwise,
    Problem,
    Renyi,
    Resampled,
    ReweightedWakeSleep,
    ScoreFunction,
    StickingTheLanding,
    Vimco,
    exact_posterior,
)
from tightbound.learn.gradients.pathwise import Estimate
from tightbound.learn.gradients.score_function import Average
from tightbound.model import (
    BernoulliHead,
    CentredInputs,
    Encoder,
    FullGaussian,
    FullGaussianFamily,
    Specification,
    Start,
    all_states,
    build,
    make_family,
)
from tightbound.model.families import inverse_positive
from tightbound.model.networks.dense import MLP

N_KEYS = 10_000
BITS = jnp.array([1.0, 0.0, 1.0])
REALS = jnp.array([0.7, -1.9, 1.2])
KEYS = jax.random.split(jax.random.key(7), N_KEYS)


# The models


def moved(tree: Any, seed: int, size: float = 0.5) -> Any:
    """The tree with noise on every number: away from zeros and symmetries."""
    numbers, rest = eqx.partition(tree, eqx.is_inexact_array)
    flat, back = ravel_pytree(numbers)
    return eqx.combine(back(flat + size * jax.random.normal(jax.random.key(seed), flat.shape, flat.dtype)), rest)


def discrete(posterior: str, latent_dim: int) -> Pair:
    """Three Bernoulli cells, a small network either way, a prior with parameters of its own."""
    spec = Specification(
        n_features=3,
        latent_dim=latent_dim,
        likelihood="bernoulli",
        prior=posterior,
        posterior=some("posterior", posterior, n_levels=3),
        network="mlp(hidden_sizes=(3,), activation=tanh)",
        dtype="float64",
    )
    parts = build(spec, start=Start(np.full(3, 0.4), np.full(3, 0.01)), key=jax.random.key(0))
    return moved(Pair(parts.p, Amortised(parts.encoder)), 1)


@functools.cache
def continuous(posterior: str) -> Pair:
    """A linear decoder with a scale for every one of three cells, two latents, a linear encoder of a small family."""
    member = some("posterior", posterior, n_components=2, flow_layers=1)
    options = {"flow_sizes": (3,), "context_size": 2, "dtype": "float64"}
    spec = Specification(n_features=3, latent_dim=2, network="linear", dtype="float64")
    parts = build(spec, start=Start(np.zeros(3), np.full(3, 0.01)), key=jax.random.key(4))
    family = make_family(member, 2, key=jax.random.key(5), **options)
    network = MLP(3, family.n_parameters, (), dtype="float64", key=jax.random.key(6))
    pair = moved(Pair(parts.p, Amortised(Encoder(network, family, CentredInputs(jnp.zeros(3))))), 9, 0.3)
    pair = eqx.tree_at(lambda a: a.p.decoder.head.floor, pair, jnp.array([0.1, 0.2, 0.05]))
    # Near the prior: a grid has to reach to both its ends.
    return eqx.tree_at(lambda a: a.q.encoder, pair, replace_fn=lambda e: jax.tree.map(lambda a: 0.3 * a, e))


BERNOULLI, CATEGORICAL = discrete("bernoulli", 4), discrete("categorical", 2)


# Exact gradients


def parts_at(pair: Pair, x: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """log p(x | z), log p(z) and log q(z | x) at many z."""
    q = pair.q.encoder(x)
    return jax.vmap(lambda z: (pair.p.decoder(z).log_prob(x), pair.p.prior.log_prob(z), q.log_prob(z)))(z)


def enumerated_elbo(pair: Pair, weight: jax.Array) -> jax.Array:
    """sum_z q(z) (log p(x | z) + weight (log p(z) - log q(z)))."""
    log_likelihood, log_prior, log_q = parts_at(pair, BITS, all_states(pair.q.encoder(BITS)))
    return jnp.exp(log_q) @ (log_likelihood + weight * (log_prior - log_q))


def of_pairs(value: Callable) -> Callable:
    """sum over all pairs of states of q(z) q(z') value(log w, log w'), with tempered weights."""

    def exact(pair: Pair, weight: jax.Array) -> jax.Array:
        log_likelihood, log_prior, log_q = parts_at(pair, BITS, all_states(pair.q.encoder(BITS)))
        log_w = log_likelihood + weight * (log_prior - log_q)
        values = value(log_w[:, None] + jnp.zeros_like(log_w)[None, :], log_w[None, :] + jnp.zeros_like(log_w)[:, None])
        return jnp.exp(log_q) @ values @ jnp.exp(log_q)

    return exact


def tight(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.logaddexp(a, b) - jnp.log(2)


def combined(a: jax.Array, b: jax.Array) -> jax.Array:
    return 0.3 * (a + b) / 2 + 0.7 * tight(a, b)


def renyi(a: jax.Array, b: jax.Array) -> jax.Array:
    return tight(0.6 * a, 0.6 * b) / 0.6


def wake(pair: Pair, weight: jax.Array) -> jax.Array:
    """For p the bound of two draws; for q the expected sum of normalised weights times log q at draws of the held q."""
    held = jax.lax.stop_gradient(pair.q.encoder(BITS).logits)
    q = eqx.tree_at(lambda q: q.logits, pair.q.encoder(BITS), held)
    z = all_states(q)
    log_joint = jax.vmap(lambda z: pair.p.log_joint(BITS, z))(z)
    log_held, log_q = jax.vmap(q.log_prob)(z), jax.vmap(pair.q.encoder(BITS).log_prob)(z)
    log_w = log_joint - log_held
    chance = jnp.exp(log_held[:, None] + log_held[None, :])
    bound = jnp.sum(chance * jnp.logaddexp(log_w[:, None], log_w[None, :]))
    share = jax.lax.stop_gradient(jax.nn.sigmoid(log_w[:, None] - log_w[None, :]))
    return bound + jnp.sum(chance * (share * log_q[:, None] + (1 - share) * log_q[None, :]))


def closed_elbo(pair: Pair, weight: jax.Array) -> jax.Array:
    """E_q[log N(x; W z + b, diag s^2)] - weight KL(N(m, S) || N(0, I)), written out."""
    q = pair.q.encoder(REALS)
    tril = q.scale_tril if isinstance(q, FullGaussian) else jnp.diag(q.scale)
    network, s = pair.p.decoder.network, pair.p.decoder.head.scale
    W = jax.jacfwd(network)(q.loc)
    second = (REALS - network(q.loc)) ** 2 + jnp.sum((W @ tril) ** 2, axis=1)
    reconstruction = -0.5 * jnp.sum(second / s**2 + jnp.log(2 * jnp.pi * s**2))
    kl = 0.5 * (jnp.sum(tril**2) + q.loc @ q.loc - 2) - jnp.sum(jnp.log(jnp.diagonal(tril)))
    return reconstruction - weight * kl


def gridded_elbo(pair: Pair, weight: jax.Array) -> jax.Array:
    """The ELBO by the trapezium rule over z: no draw, no path, only densities."""
    side = jnp.linspace(-12.0, 12.0, 161)
    z = jnp.stack(jnp.meshgrid(side, side), axis=-1).reshape(-1, 2)
    log_likelihood, log_prior, log_q = parts_at(pair, REALS, z)
    return (side[1] - side[0]) ** 2 * jnp.exp(log_q) @ (log_likelihood + weight * (log_prior - log_q))


def by_quadrature(value: Callable) -> Callable:
    """E value(log w, log w') for a diagonal q, by Gauss-Hermite quadrature over the four noises."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    noise = jnp.asarray(np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2))
    chance = jnp.asarray(np.outer(weights, weights).ravel() / (2 * np.pi))

    def exact(pair: Pair, weight: jax.Array) -> jax.Array:
        q = pair.q.encoder(REALS)
        log_likelihood, log_prior, log_q = parts_at(pair, REALS, q.loc[None, :] + q.scale[None, :] * noise)
        log_w = log_likelihood + weight * (log_prior - log_q)
        nothing = jnp.zeros((log_w.size, log_w.size))
        return chance @ value(log_w[:, None] + nothing, log_w[None, :] + nothing) @ chance

    return exact


@eqx.filter_jit
def exact_gradient(exact: Callable, pair: Pair, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The exact value and its gradient, as one vector."""
    value, gradient = jax.value_and_grad(exact)(pair, weight)
    return value, ravel_pytree(gradient)[0]


# What is checked


def names(pair: Pair) -> np.ndarray:
    """The path of every number of the flat gradient."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(pair, eqx.is_inexact_array))
    return np.concatenate([np.full(leaf.size, jax.tree_util.keystr(path)) for path, leaf in leaves])


@eqx.filter_jit
def _samples(pair: Pair, estimator: Any, objective: Any, x: jax.Array, state: Any, weight: jax.Array, keys: jax.Array):
    def one(pair: Pair, key: jax.Array) -> tuple[jax.Array, Estimate]:
        problem = Problem(objective, pair.p, pair.q.encoder(x), x, None, weight)
        estimate = estimator.estimate(problem, state, key=key)
        return estimate.surrogate, estimate

    def flat(key: jax.Array) -> tuple[jax.Array, Estimate]:
        gradient, estimate = eqx.filter_grad(one, has_aux=True)(pair, key)
        return ravel_pytree(gradient)[0], estimate

    return jax.vmap(flat)(keys)


def samples(
    pair: Pair, estimator: Any, objective: Any, *, state: Any = None, weight: float = 1.0, keys: jax.Array = KEYS
) -> tuple[np.ndarray, Estimate]:
    """The gradient of the surrogate for every key, (n, m), and all that was estimated."""
    x = BITS if isinstance(pair.p.decoder.head, BernoulliHead) else REALS
    estimator.check(objective, pair.q.encoder(x))
    gradient, estimate = _samples(pair, estimator, objective, x, state, jnp.asarray(weight), keys)
    return np.asarray(gradient), estimate


def assert_unbiased(found: np.ndarray, exact: np.ndarray, where: np.ndarray, power: float = 3) -> None:
    """Five standard errors for every number; and the gradients of p and of q stand out of their noise."""
    error = found.std(axis=0, ddof=1) / len(found) ** 0.5
    off = np.abs(found.mean(axis=0) - exact) / (error + 1e-9)
    worst = int(np.argmax(off))
    assert off[worst] < 5, f"{where[worst]}: {off[worst]:.1f} standard errors from {exact[worst]:.3g}"
    for side in (".p", ".q"):
        mine = np.char.startswith(where, side)
        assert np.linalg.norm(exact[mine]) > power * np.linalg.norm(error[mine]), f"{side} is lost in noise"


# Discrete latents

CLOSED, SAMPLED = ELBO(2), ELBO(2, closed_form_kl=False)
IWAE = ImportanceWeighted(2)


def remembered(baseline: Any) -> Any:
    """A baseline's state after some minibatches, with a number in every place."""
    if isinstance(baseline, MovingAverage):
        return Average(jnp.asarray(-1.6), jnp.asarray(4.0), jnp.asarray(0.8))
    if isinstance(baseline, LearnedBaseline):
        state = baseline.initial_state(3, "float64")
        state = eqx.filter_jit(baseline.updated)(state, jnp.eye(3), jnp.array([-3.0, -1.0, -2.0]), jnp.ones(3))
        return eqx.tree_at(lambda s: s.network, state, moved(state.network, 3, 0.2))
    return None


LEARNED = LearnedBaseline(4)
DISCRETE: dict[str, tuple[Pair, Any, Any, float, Callable]] = {
    "reinforce": (BERNOULLI, ScoreFunction(), SAMPLED, 1.0, enumerated_elbo),
    "reinforce, closed KL at 0.3": (BERNOULLI, ScoreFunction(), CLOSED, 0.3, enumerated_elbo),
    "moving average at 0.3": (BERNOULLI, ScoreFunction(MovingAverage()), SAMPLED, 0.3, enumerated_elbo),
    "learned baseline": (BERNOULLI, ScoreFunction(LEARNED), SAMPLED, 1.0, enumerated_elbo),
    "leave one out": (BERNOULLI, ScoreFunction(LeaveOneOut()), SAMPLED, 1.0, enumerated_elbo),
    "leave one out, closed KL at 0.3": (BERNOULLI, ScoreFunction(LeaveOneOut()), CLOSED, 0.3, enumerated_elbo),
    "disarm": (BERNOULLI, DisArm(), SAMPLED, 1.0, enumerated_elbo),
    "disarm at 0.3": (BERNOULLI, DisArm(), SAMPLED, 0.3, enumerated_elbo),
    "disarm, two pairs, closed KL at 0.3": (BERNOULLI, DisArm(), ELBO(4), 0.3, enumerated_elbo),
    "reinforce for iwae": (BERNOULLI, ScoreFunction(), IWAE, 1.0, of_pairs(tight)),
    "moving average for iwae at 0.3": (BERNOULLI, ScoreFunction(MovingAverage()), IWAE, 0.3, of_pairs(tight)),
    "vimco": (BERNOULLI, Vimco(), IWAE, 1.0, of_pairs(tight)),
    "vimco at 0.3": (BERNOULLI, Vimco(), IWAE, 0.3, of_pairs(tight)),
    "reinforce for ciwae": (
        BERNOULLI,
        ScoreFunction(),
        CombinedImportanceWeighted(2, 0.3),
        0.3,
        of_pairs(combined),
    ),
    "wake": (BERNOULLI, ReweightedWakeSleep(), IWAE, 1.0, wake),
    "categorical, leave one out": (CATEGORICAL, ScoreFunction(LeaveOneOut()), CLOSED, 0.3, enumerated_elbo),
    "categorical, vimco": (CATEGORICAL, Vimco(), IWAE, 1.0, of_pairs(tight)),
    "categorical, reinforce for renyi": (CATEGORICAL, ScoreFunction(), Renyi(0.4, 2), 1.0, of_pairs(renyi)),
}


def by_hand(objective: Any, estimate: Estimate) -> np.ndarray:
    """The plain bound of every key from the parts of its log weights."""
    draws = jax.tree.map(np.asarray, estimate.draws)
    weight = draws.weight
    log_w = weight.log_likelihood + weight.log_prior - weight.log_q
    if isinstance(objective, ELBO):
        return log_w.mean(axis=1) if draws.kl is None else weight.log_likelihood.mean(axis=1) - draws.kl
    if isinstance(objective, CombinedImportanceWeighted):
        tight = np.log(np.exp(log_w).mean(axis=1))
        return objective.elbo_weight * log_w.mean(axis=1) + (1 - objective.elbo_weight) * tight
    if isinstance(objective, Renyi):
        power = 1 - objective.alpha
        return np.log(np.exp(power * log_w).mean(axis=1)) / power
    groups = 1 if isinstance(objective, PartiallyImportanceWeighted) else objective.n_groups
    return np.log(np.exp(log_w).reshape(len(log_w), groups, -1).mean(axis=2)).mean(axis=1)


def assert_reported(objective: Any, estimate: Estimate, weight: float) -> None:
    """The bound is the objective's, without any weight; what is maximised is another number where there is one."""
    np.testing.assert_allclose(estimate.bound, by_hand(objective, estimate), rtol=1e-10)
    if weight == 1:
        np.testing.assert_allclose(estimate.objective, estimate.bound, rtol=1e-13)
    else:
        assert np.mean(np.abs(estimate.objective - estimate.bound)) > 1e-3


@pytest.mark.parametrize("name", DISCRETE)
def test_mean_gradient_is_the_sum_over_all_states(name: str) -> None:
    pair, estimator, objective, weight, exact = DISCRETE[name]
    state = remembered(getattr(estimator, "baseline", None))
    found, estimate = samples(pair, estimator, objective, state=state, weight=weight)
    value, gradient = exact_gradient(exact, pair, jnp.asarray(weight))
    assert_unbiased(found, np.asarray(gradient), names(pair))
    assert_reported(objective, estimate, weight)
    assert np.mean(np.abs(estimate.surrogate - estimate.bound) > 1e-9) > 0.5  # the surrogate is another number
    if not isinstance(estimator, ReweightedWakeSleep):
        error = np.std(estimate.objective) / N_KEYS**0.5
        assert abs(np.mean(estimate.objective) - value) < 5 * error


@pytest.mark.parametrize("pair", [BERNOULLI, CATEGORICAL], ids=["bernoulli", "categorical"])
def test_enumeration_is_exact(pair: Pair) -> None:
    for weight in (1.0, 0.3):
        found, estimate = samples(pair, Enumeration(), CLOSED, weight=weight, keys=KEYS[:2])
        value, gradient = exact_gradient(enumerated_elbo, pair, jnp.asarray(weight))
        np.testing.assert_allclose(found, np.stack([gradient] * 2), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(estimate.objective, value, rtol=1e-12)
        np.testing.assert_allclose(estimate.bound, exact_gradient(enumerated_elbo, pair, jnp.asarray(1.0))[0])


def test_the_bias_of_gumbel_softmax_shrinks_with_its_temperature() -> None:
    value, exact = exact_gradient(enumerated_elbo, BERNOULLI, jnp.asarray(1.0))
    biases, errors = [], []
    for temperature in (3.0, 0.3):
        found, estimate = samples(BERNOULLI, GumbelSoftmax(temperature), CLOSED)
        biases.append(np.linalg.norm(found.mean(axis=0) - exact))
        errors.append(np.linalg.norm(found.std(axis=0)) / N_KEYS**0.5)
        assert set(np.unique(estimate.draws.z)) == {0.0, 1.0}  # what is reported rests on discrete draws
        assert_reported(CLOSED, estimate, 1.0)
        assert abs(np.mean(estimate.bound) - value) < 5 * np.std(estimate.bound) / N_KEYS**0.5
        assert np.mean(estimate.surrogate != estimate.bound) == 1
    assert biases[0] > 5 * errors[0]
    assert biases[1] + 3 * errors[1] < 0.5 * biases[0]


def test_the_straight_through_surrogate_is_the_bound_at_discrete_draws() -> None:
    found, estimate = samples(BERNOULLI, GumbelSoftmax(0.5, straight_through=True), CLOSED, keys=KEYS[:200])
    np.testing.assert_allclose(estimate.surrogate, estimate.bound, rtol=1e-12)
    encoder = np.char.startswith(names(BERNOULLI), ".q")
    assert np.all(np.isfinite(found)) and np.linalg.norm(found[:, encoder]) > 0


# How noisy they are


def test_control_variates_lower_the_variance_as_they_promise() -> None:
    """Of the gradient of q, summed over its numbers, from two draws each; x is improbable, as it is for real data."""
    pair = eqx.tree_at(lambda a: a.p.decoder.network.layers[-1].bias, BERNOULLI, 4 * jnp.array([-1.0, 1.0, -1.0]))
    encoder = np.char.startswith(names(pair), ".q")

    def variance(estimator: Any, objective: Any, state: Any = None) -> float:
        return float(samples(pair, estimator, objective, state=state)[0][:, encoder].var(axis=0).sum())

    plain = variance(ScoreFunction(), SAMPLED)
    mean = samples(pair, ScoreFunction(), SAMPLED)[1].signal.mean()
    one, square = jnp.asarray(1.0), jnp.asarray(mean**2 + 1)
    leave_one_out = variance(ScoreFunction(LeaveOneOut()), SAMPLED)
    disarm = variance(DisArm(), SAMPLED)
    assert variance(ScoreFunction(MovingAverage()), SAMPLED, Average(mean, square, one)) < plain / 5
    assert leave_one_out < plain / 5
    assert disarm < plain / 5
    assert disarm < 1.2 * leave_one_out
    assert variance(Vimco(), IWAE) < variance(ScoreFunction(), IWAE) / 5


# Continuous latents


def families(*posteriors: str) -> list[tuple[str, Any, float]]:
    closed = [(name, CLOSED, 0.3) for name in posteriors if name in ("diagonal", "full")]
    return [*((name, SAMPLED, 0.3) for name in posteriors), *closed]


PATHWISE = families("diagonal", "full", "mixture", "iaf", "coupling")


@pytest.mark.parametrize(("posterior", "objective", "weight"), PATHWISE)
def test_mean_pathwise_gradient_is_that_of_the_integral(posterior: str, objective: ELBO, weight: float) -> None:
    pair = continuous(posterior)
    found, estimate = samples(pair, Pathwise(), objective, weight=weight)
    value, gradient = exact_gradient(gridded_elbo, pair, jnp.asarray(weight))
    assert_unbiased(found, np.asarray(gradient), names(pair))
    assert_reported(objective, estimate, weight)
    assert abs(np.mean(estimate.objective) - value) < 5 * np.std(estimate.objective) / N_KEYS**0.5
    if posterior in ("diagonal", "full"):  # the rule itself is as good as the closed form
        np.testing.assert_allclose(gradient, exact_gradient(closed_elbo, pair, jnp.asarray(weight))[1], atol=1e-8)


@pytest.mark.parametrize("posterior", ["diagonal", "full", "mixture"])
def test_mean_gradient_that_sticks_the_landing_is_that_of_the_integral(posterior: str) -> None:
    pair = continuous(posterior)
    found, estimate = samples(pair, StickingTheLanding(), SAMPLED, weight=0.3)
    _, gradient = exact_gradient(gridded_elbo, pair, jnp.asarray(0.3))
    assert_unbiased(found, np.asarray(gradient), names(pair))
    assert_reported(SAMPLED, estimate, 0.3)


TIGHTER: dict[str, tuple[Any, Callable | None]] = {
    "iwae": (IWAE, tight),
    "miwae": (ImportanceWeighted(2, 2), tight),
    "piwae": (PartiallyImportanceWeighted(2, 2), None),
    "ciwae": (CombinedImportanceWeighted(2, 0.3), combined),
    "renyi": (Renyi(0.4, 2), renyi),
}


@pytest.mark.parametrize("name", TIGHTER)
def test_doubly_reparameterised_and_pathwise_gradients_are_those_of_the_integral(name: str) -> None:
    """Each against quadrature, and one against the other key by key, with half the KL's weight and with all of it."""
    objective, value = TIGHTER[name]
    pair = continuous("diagonal")
    where = names(pair)
    encoder = np.char.startswith(where, ".q")
    for weight in (0.5, 1.0):
        plain, estimate = samples(pair, Pathwise(), objective, weight=weight)
        double, other = samples(pair, DoublyReparameterised(), objective, weight=weight)
        np.testing.assert_allclose(double[:, ~encoder], plain[:, ~encoder], rtol=1e-8, atol=1e-9)
        difference = double - plain
        error = difference.std(axis=0) / N_KEYS**0.5
        assert np.all(np.abs(difference.mean(axis=0)) < 5 * error + 1e-9)
        assert np.linalg.norm(difference[:, encoder]) > 0.1 * np.linalg.norm(plain[:, encoder])
        for each in (estimate, other):
            assert_reported(objective, each, weight)
        if value is not None:
            _, gradient = exact_gradient(by_quadrature(value), pair, jnp.asarray(weight))
            assert_unbiased(plain, np.asarray(gradient), where)
            assert_unbiased(double, np.asarray(gradient), where)


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_a_gradient_through_one_resampled_draw_is_that_of_the_integral(weight: float) -> None:
    pair = continuous("diagonal")
    found, estimate = samples(pair, Resampled(), IWAE, weight=weight)
    _, gradient = exact_gradient(by_quadrature(tight), pair, jnp.asarray(weight))
    assert_unbiased(found, np.asarray(gradient), names(pair))
    assert_reported(IWAE, estimate, weight)


def test_piwae_has_one_bound_for_p_and_another_for_q() -> None:
    pair = continuous("diagonal")
    encoder = np.char.startswith(names(pair), ".q")
    both, _ = samples(pair, Pathwise(), PartiallyImportanceWeighted(2, 2))
    groups, _ = samples(pair, Pathwise(), ImportanceWeighted(2, 2))
    whole, _ = samples(pair, Pathwise(), ImportanceWeighted(4))
    np.testing.assert_allclose(both[:, encoder], groups[:, encoder], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(both[:, ~encoder], whole[:, ~encoder], rtol=1e-8, atol=1e-10)
    assert np.abs(groups - whole).max() > 0.1


def test_at_the_posterior_the_landing_is_stuck() -> None:
    """Each key's gradient with respect to q is zero there; the plain pathwise one is zero on average alone."""
    p = continuous("full").p
    posterior = jax.jit(exact_posterior)(p, REALS)
    family = FullGaussianFamily(2)
    tril = posterior.scale_tril
    numbers = jnp.concatenate([posterior.loc, inverse_positive(jnp.diagonal(tril)), tril[1:, 0] * 2**0.5])
    np.testing.assert_allclose(jax.jit(family)(numbers).scale_tril, tril, rtol=1e-12)

    @eqx.filter_jit
    def gradients(estimator: Any, keys: jax.Array) -> jax.Array:
        def surrogate(numbers: jax.Array, key: jax.Array) -> jax.Array:
            problem = Problem(SAMPLED, p, family(numbers), REALS, None, 1.0)
            return estimator.estimate(problem, None, key=key).surrogate

        return jax.vmap(jax.grad(surrogate), in_axes=(None, 0))(numbers, keys)

    stuck, plain = gradients(StickingTheLanding(), KEYS[:500]), gradients(Pathwise(), KEYS[:500])
    np.testing.assert_allclose(stuck, 0, atol=1e-9)
    assert np.all(np.std(plain, axis=0) > 0.1)


@pytest.mark.parametrize(
    ("estimator", "objective"),
    [(Pathwise(), CLOSED), (DoublyReparameterised(), PartiallyImportanceWeighted(2, 2))],
    ids=["pathwise", "dreg"],
)
def test_what_is_reported_has_no_gradient(estimator: Any, objective: Any) -> None:
    pair = continuous("diagonal")

    @eqx.filter_jit
    def gradient(pair: Pair) -> Pair:
        def reported(pair: Pair) -> jax.Array:
            problem = Problem(objective, pair.p, pair.q.encoder(REALS), REALS, None, 0.3)
            estimate = estimator.estimate(problem, None, key=KEYS[0])
            return estimate.bound + estimate.objective + estimate.signal

        return eqx.filter_grad(reported)(pair)

    np.testing.assert_array_equal(ravel_pytree(gradient(pair))[0], 0)


# The checks have teeth


def wrong(found: np.ndarray, other: np.ndarray, exact: np.ndarray) -> None:
    with pytest.raises(AssertionError, match="standard errors from"):
        assert_unbiased(found, exact, other)


class Mutant(eqx.Module):
    """An estimator whose surrogate is taken apart and put together wrongly."""

    inner: Any
    broken: Callable = eqx.field(static=True)

    def check(self, objective: Any, q: Any) -> None:
        """Anything goes."""

    def estimate(self, problem: Problem, state: Any, *, key: jax.Array) -> Estimate:
        return self.broken(self.inner, problem, state, key)


def without_the_score(inner: Any, problem: Problem, state: Any, key: jax.Array) -> Estimate:
    """The objective alone, at draws that are held."""
    estimate = inner.estimate(problem, state, key=key)
    return estimate._replace(surrogate=problem.objective.value(estimate.draws, problem.kl_weight))


def with_the_other_sign(inner: Any, problem: Problem, state: Any, key: jax.Array) -> Estimate:
    """The score subtracted."""
    estimate = inner.estimate(problem, state, key=key)
    value = problem.objective.value(estimate.draws, problem.kl_weight)
    return estimate._replace(surrogate=2 * value - estimate.surrogate)


def with_a_baseline_that_looks(inner: Any, problem: Problem, state: Any, key: jax.Array) -> Estimate:
    """Half the mean of all draws, its own among them, taken off: the baseline depends on the draw."""
    estimate = inner.estimate(problem, state, key=key)
    signals = jax.lax.stop_gradient(estimate.draws.weight.total)
    return estimate._replace(surrogate=estimate.surrogate - jnp.mean(jnp.mean(signals) * estimate.draws.weight.log_q))


def without_the_path_factor(inner: Any, problem: Problem, state: Any, key: jax.Array) -> Estimate:
    """The density of q held as in sticking the landing, though the bound is a tighter one."""
    estimate = inner.estimate(problem, state, key=key)
    held = jax.tree.map(lambda a: jax.lax.stop_gradient(a) if eqx.is_inexact_array(a) else a, problem.q)
    draws = eqx.tree_at(lambda d: d.weight.log_q, estimate.draws, jax.vmap(held.log_prob)(estimate.draws.z))
    return estimate._replace(surrogate=problem.objective.value(draws, problem.kl_weight))


@pytest.mark.parametrize(
    ("inner", "objective", "broken"),
    [
        (ScoreFunction(), SAMPLED, without_the_score),
        (ScoreFunction(), SAMPLED, with_the_other_sign),
        (ScoreFunction(), SAMPLED, with_a_baseline_that_looks),
        (Vimco(), IWAE, without_the_score),
    ],
    ids=["no score", "sign", "baseline that looks", "vimco without score"],
)
def test_a_wrong_surrogate_is_found_out(inner: Any, objective: Any, broken: Callable) -> None:
    found, _ = samples(BERNOULLI, Mutant(inner, broken), objective)
    exact = enumerated_elbo if isinstance(objective, ELBO) else of_pairs(tight)
    wrong(found, names(BERNOULLI), np.asarray(exact_gradient(exact, BERNOULLI, jnp.asarray(1.0))[1]))


def test_sticking_the_landing_of_a_tighter_bound_is_found_out() -> None:
    pair = continuous("diagonal")
    found, _ = samples(pair, Mutant(Pathwise(), without_the_path_factor), IWAE)
    wrong(found, names(pair), np.asarray(exact_gradient(by_quadrature(tight), pair, jnp.asarray(1.0))[1]))
