"""Inner loops, exact posteriors and what is learnt with them, against closed forms and enumeration."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_gaussian import LinearGaussian, gap_of_best_diagonal
from small_pairs import run

from tightbound.learn import (
    ELBO,
    Amortised,
    Dataset,
    Enumeration,
    Exact,
    Optimiser,
    Pair,
    PerDatum,
    Refinement,
    Schedule,
    SemiAmortised,
    TrainingConfig,
    exact_posterior,
    mutual_information,
)
from tightbound.learn.inference.refinement import inner_rule
from tightbound.model import (
    MLP,
    AbstractFamily,
    BernoulliFamily,
    CentredInputs,
    DiagonalGaussianFamily,
    Encoder,
    FullGaussian,
    FullGaussianFamily,
    GenerativeModel,
    Specification,
    Start,
    all_states,
    build,
    make_family,
)

KEY = jax.random.key(2)
MODEL = LinearGaussian.random(np.random.default_rng(3), 4, 2)
X = jnp.array(MODEL.sample(np.random.default_rng(5), 20))
P = MODEL.p()
DIAGONAL, FULL = DiagonalGaussianFamily(2), FullGaussianFamily(2)


def gaussian_kl(q: Any, p: Any) -> jax.Array:
    """KL between Gaussians, written out."""
    a = q.scale_tril if isinstance(q, FullGaussian) else jnp.diag(q.scale)
    b = p.scale_tril if isinstance(p, FullGaussian) else jnp.diag(p.scale)
    white = jnp.linalg.solve(b, jnp.column_stack([a, q.loc - p.loc]))
    log_dets = jnp.log(jnp.diagonal(b)) - jnp.log(jnp.diagonal(a))
    return 0.5 * (jnp.sum(white**2) - q.dim) + jnp.sum(log_dets)


@eqx.filter_jit
def gaps(inference: Any, p: GenerativeModel, x: jax.Array, key: jax.Array) -> jax.Array:
    """KL(q || posterior) of every row."""
    keys = jax.random.split(key, x.shape[0])
    return jax.vmap(lambda x, k: gaussian_kl(inference(p, x, key=k), exact_posterior(p, x)))(x, keys)


def test_a_diagonal_gaussian_for_each_row_reaches_the_closed_form_gap() -> None:
    best = float(gap_of_best_diagonal(P.decoder.network.layers[0].weight, P.decoder.head.scale))
    assert best == pytest.approx(MODEL.diagonal_gap, rel=1e-9) and best > 0.1
    found = np.asarray(gaps(PerDatum(DIAGONAL, Refinement(300, n_samples=8)), P, X, KEY))
    assert np.all(found > best - 1e-9)
    assert found.mean() < best + 1e-3
    # It is the steps that bring it there.
    assert np.asarray(gaps(PerDatum(DIAGONAL, Refinement(5)), P, X, KEY)).mean() > best + 1e-2


def test_a_full_gaussian_for_each_row_reaches_the_posterior() -> None:
    found = np.asarray(gaps(PerDatum(FULL, Refinement(100)), P, X, KEY))
    assert np.abs(found).mean() < 1e-3


@pytest.mark.parametrize("family", [DiagonalGaussianFamily(3), FullGaussianFamily(3)], ids=["diagonal", "full"])
def test_natural_direction_is_the_gradient_over_the_fisher_information(family: AbstractFamily) -> None:
    """F is the Hessian of KL(q_new || q_old) at q_old, in the unconstrained numbers."""
    rng = np.random.default_rng(7)
    numbers, gradient = (jnp.array(rng.normal(size=family.n_parameters)) for _ in range(2))

    @jax.jit
    def both(numbers: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        fisher = jax.hessian(lambda new: gaussian_kl(family(new), family(numbers)))(numbers)
        return family.natural_direction(numbers, gradient), jnp.linalg.solve(fisher, gradient)

    found, expected = both(numbers, gradient)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def test_other_families_have_their_own_rules() -> None:
    mixture = make_family("mixture(n_components=2)", 2, key=KEY)
    flow = make_family("iaf", 2, flow_sizes=(3,), context_size=1, dtype="float64", key=KEY)
    assert mixture.natural_direction(jnp.zeros(10), jnp.ones(10)) is None
    direction = flow.natural_direction(jnp.zeros(5), jnp.ones(5))
    np.testing.assert_allclose(direction[:4], DIAGONAL.natural_direction(jnp.zeros(4), jnp.ones(4)), rtol=1e-12)
    rules = {8: "Enumeration", 9: "DisArm"}
    for size, name in rules.items():
        assert type(inner_rule(BernoulliFamily(size), 3)[1]).__name__ == name
    assert inner_rule(BernoulliFamily(9), 3)[0].n_draws == 4
    categorical = make_family("categorical(n_levels=3)", 6, key=KEY)
    assert type(inner_rule(categorical, 4)[1]).__name__ == "ScoreFunction"
    assert type(inner_rule(FULL, 4)[1]).__name__ == "StickingTheLanding"


START = jnp.array([0.3, -0.2, 0.1, 0.4])


@eqx.filter_jit
def refined(loop: Refinement, start: jax.Array, key: jax.Array) -> Any:
    return loop(P, DIAGONAL, start, X[0], None, key=key), loop.unrolled(P, DIAGONAL, start, X[0], None, key=key)


def test_the_unrolled_steps_are_the_same_and_carry_a_gradient() -> None:
    loop = Refinement(12)
    found, unrolled = refined(loop, START, KEY)
    np.testing.assert_allclose(found.parameters, unrolled, rtol=1e-10)
    assert int(found.steps) == 12
    direction = jnp.array([0.5, -1.0, 0.7, 0.3])

    @jax.jit
    def jacobian(start: jax.Array) -> jax.Array:
        return jax.jacrev(lambda s: loop.unrolled(P, DIAGONAL, s, X[0], None, key=KEY))(start)

    ends = [refined(loop, START + h * direction, KEY)[0].parameters for h in (1e-5, -1e-5)]
    slope = (ends[0] - ends[1]) / 2e-5  # of the loop that carries no gradient itself
    np.testing.assert_allclose(jacobian(START) @ direction, slope, rtol=1e-5, atol=1e-8)
    assert np.abs(slope).max() > 1e-4


def test_a_row_stops_early_when_no_ascent_is_promised() -> None:
    never, early = Refinement(200), Refinement(200, tolerance=0.05)
    assert int(refined(never, START, KEY)[0].steps) == 200
    steps = int(refined(early, START, KEY)[0].steps)
    assert 10 <= steps < 100


def test_ascent_is_the_gradient_of_the_bound_at_the_start() -> None:
    """Over many keys: that of -KL(q || posterior), within five standard errors."""
    posterior = jax.jit(exact_posterior)(P, X[0])
    exact = jax.jit(jax.grad(lambda s: -gaussian_kl(DIAGONAL(s), posterior)))(START)
    loop, keys = Refinement(1), jax.random.split(KEY, 4_000)
    found = jax.jit(jax.vmap(lambda k: loop(P, DIAGONAL, START, X[0], None, key=k).ascent))(keys)
    error = np.std(found, axis=0) / len(keys) ** 0.5
    assert np.all(np.abs(np.mean(found, axis=0) - exact) < 5 * error + 1e-9)


def test_no_step_is_longer_than_it_may_be() -> None:
    """From far away, where the gradient is huge: KL(new || old) of one step is about `most_kl`, and finite."""
    far = jnp.array([300.0, -200.0, 0.0, 0.0])
    for most in (1.0, 0.01):
        loop = Refinement(1, 1.0, most_kl=most)
        new = jax.jit(lambda key, loop=loop: loop(P, DIAGONAL, far, X[0], None, key=key).parameters)(KEY)
        assert 0.5 * most < float(gaussian_kl(DIAGONAL(new), DIAGONAL(far))) < 2 * most


# Exact posteriors


def test_exact_posterior_of_a_linear_model_with_gaps() -> None:
    """Gaussian conditioning on the observed cells, by the joint covariance."""
    find = jax.jit(exact_posterior)
    for mask in ([1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]):
        o = np.array(mask, bool)
        x = np.where(o, np.asarray(X[1]), np.nan)
        found = find(P, jnp.array(x), jnp.array(o))
        W, s = MODEL.W[o], MODEL.s
        gain = W.T @ np.linalg.inv(W @ W.T + s**2 * np.eye(o.sum()))
        np.testing.assert_allclose(found.loc, gain @ (x - MODEL.mu)[o], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.scale_tril @ found.scale_tril.T, np.eye(2) - gain @ W, rtol=1e-9, atol=1e-12)
    whole, masked = find(P, X[0]), find(P, X[0], jnp.ones(4, bool))
    np.testing.assert_allclose(whole.loc, masked.loc, rtol=1e-12)


def bits_pair(d: int = 5, latent_dim: int = 3) -> Pair:
    """Bits from bits, with exact inference."""
    names = {"likelihood": "bernoulli", "prior": "bernoulli", "posterior": "bernoulli", "network": "linear"}
    spec = Specification(n_features=d, latent_dim=latent_dim, inference="exact", dtype="float64", **names)
    parts = build(spec, start=Start(np.full(d, 0.5), np.full(d, 0.1)), key=jax.random.key(1))
    weight = jax.random.normal(jax.random.key(2), (latent_dim, d))
    p = eqx.tree_at(lambda p: p.decoder.network.layers[0].weight, parts.p, weight)
    return Pair(eqx.tree_at(lambda p: p.prior.parameters, p, jnp.array([0.4, -1.0, 0.2])), Exact())


BITS = jnp.array(np.random.default_rng(3).integers(0, 2, size=(24, 5)).astype(float))


def log_evidence(p: GenerativeModel, x: jax.Array) -> jax.Array:
    """log p(x) as a sum over all states, for every row."""
    z = all_states(p.prior.member)
    return jax.vmap(lambda x: jax.nn.logsumexp(jax.vmap(lambda z: p.log_joint(x, z))(z)))(x)


def test_the_exact_posterior_of_discrete_latents_is_bayes_rule_and_leaves_no_gap() -> None:
    p, x = bits_pair().p, BITS[0]

    @jax.jit
    def both(p: GenerativeModel) -> Any:
        q = exact_posterior(p, x)
        z = all_states(q)
        log_joint, log_q = jax.vmap(lambda z: p.log_joint(x, z))(z), jax.vmap(q.log_prob)(z)
        again = Exact()(p, x, key=KEY)
        return log_joint, log_q, log_evidence(p, x[None, :])[0], again.logits - q.logits

    log_joint, log_q, log_p, difference = both(p)
    np.testing.assert_allclose(log_q, log_joint - log_p, rtol=1e-10)
    assert float(jnp.exp(log_q) @ (log_joint - log_q)) == pytest.approx(float(log_p), rel=1e-12)
    np.testing.assert_array_equal(difference, 0)


def test_with_exact_inference_the_bound_is_the_evidence_and_rises_at_every_step() -> None:
    """A few full-batch steps: generalised expectation-maximisation."""
    pair = bits_pair()
    recipe = TrainingConfig(Optimiser(0.02, 10**6), ELBO(), Enumeration(), batch_size=24, dtype="float64")
    result, _ = run(pair, np.asarray(BITS), recipe, epochs=12, seconds_a_call=60)
    bounds = [epoch.train_bound for epoch in result.history]
    assert np.all(np.diff(bounds) > 0)
    assert bounds[0] == pytest.approx(float(jnp.mean(jax.jit(log_evidence)(pair.p, BITS))), rel=1e-10)
    assert float(jnp.mean(jax.jit(log_evidence)(result.pair.p, BITS))) > bounds[-1]


REFUSED = {
    "must have a linear-Gaussian model .*BernoulliHead on a MLP of 1 layers": {"likelihood": "bernoulli"},
    "of 2 layers and a StandardGaussian; use amortised or per-datum": {"network": "mlp(hidden_sizes=(2,))"},
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_models_without_a_closed_form_are_refused(sentence: str) -> None:
    spec = Specification(**{"n_features": 3, "latent_dim": 2, "network": "linear", **REFUSED[sentence]})
    parts = build(spec, start=Start(np.full(3, 0.5), np.full(3, 0.1)), key=KEY)
    with pytest.raises(ValueError, match=sentence):
        exact_posterior(parts.p, X[0, :3])


# Mutual information


def information_of(spread: float, scale: float, n: int = 60) -> float:
    """Of n rows whose q is N(spread x, scale^2)."""
    encoder = Encoder(MLP(1, 2, (), dtype="float64", key=KEY), DiagonalGaussianFamily(1), CentredInputs(jnp.zeros(1)))
    raw = jnp.log(jnp.expm1(jnp.asarray(scale))) - jnp.log(jnp.expm1(jnp.asarray(1.0)))
    encoder = eqx.tree_at(
        lambda e: (e.network.layers[0].weight, e.network.layers[0].bias),
        encoder,
        (jnp.array([[spread, 0.0]]), jnp.array([0.0, raw])),
    )
    model = LinearGaussian(np.ones((1, 1)), np.zeros(1), 1.0)
    recipe = TrainingConfig(Optimiser(0.1, 1), dtype="float64")
    rows = Dataset(jnp.arange(n, dtype="float64")[:, None])
    found = eqx.filter_jit(mutual_information)(Pair(model.p(), Amortised(encoder)), recipe, rows, key=KEY)
    return float(found)


def test_mutual_information_lies_between_nothing_and_the_logarithm_of_the_rows() -> None:
    assert information_of(0.0, 1.0) == pytest.approx(0, abs=1e-9)  # collapsed: every q the same
    assert information_of(100.0, 1.0) == pytest.approx(np.log(60), abs=1e-9)  # apart: the draw tells the row
    # In between: x even on a stretch 60 long, noise 4: the entropy of the sum less that of the noise.
    grid = np.linspace(-40, 100, 20_001)
    density = np.exp(-0.5 * ((grid[:, None] - np.arange(60)) / 4) ** 2).mean(axis=1) / (4 * np.sqrt(2 * np.pi))
    entropy = -np.sum(density * np.log(density + 1e-300)) * (grid[1] - grid[0])
    truth = entropy - 0.5 * np.log(2 * np.pi * np.e * 16)
    assert information_of(1.0, 4.0) == pytest.approx(truth, abs=5 / 60**0.5)
    assert 0 < truth < np.log(60)


# Aggressive learning


def network_pair() -> Pair:
    spec = Specification(n_features=4, latent_dim=2, network="linear", dtype="float64")
    parts = build(spec, start=Start(np.zeros(4), np.full(4, 0.01)), key=jax.random.key(0))
    return Pair(parts.p, Amortised(parts.encoder))


def test_aggressive_learning_steps_on_q_alone_and_then_stops() -> None:
    """With p's step so small and q's many: q moves more than without; once information no longer rises, no more."""
    rows = np.asarray(X)

    def recipe(steps: int) -> TrainingConfig:
        return TrainingConfig(Optimiser(0.01, 10**6), batch_size=10, encoder_steps=steps, dtype="float64")

    start = network_pair()
    (one, _), (many, recorder) = (run(start, rows, recipe(steps), epochs=1) for steps in (1, 6))

    def distance(a: Any, b: Any) -> float:
        pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        return float(sum(jnp.sum(jnp.abs(x - y)) for x, y in pairs))

    assert distance(many.pair.q, start.q) > 3 * distance(one.pair.q, start.q)
    assert distance(many.pair.p, start.p) < 2 * distance(one.pair.p, start.p)
    first = recorder.states[0]
    assert int(first.step) == 2  # steps on p, and on q with it; the extra ones are not counted
    assert bool(first.aggressive) and np.isfinite(float(first.information))
    _, recorder = run(start, rows, recipe(6), epochs=150, seconds_a_call=0.05)
    last = recorder.states[-1]
    assert not bool(last.aggressive)
    assert float(last.information) <= np.log(20)


def test_extra_steps_on_q_are_refused_where_there_is_no_encoder_alone() -> None:
    pair, loop = network_pair(), Refinement(2)
    recipe = TrainingConfig(Optimiser(0.01, 10), encoder_steps=3, dtype="float64", kl_weight=Schedule())
    for q in (PerDatum(DIAGONAL, loop), SemiAmortised(pair.q.encoder, loop)):
        with pytest.raises(ValueError, match=rf"encoder_steps above 1 .*got {type(q).__name__}; use encoder_steps=1"):
            run(Pair(pair.p, q), np.asarray(X), recipe)
