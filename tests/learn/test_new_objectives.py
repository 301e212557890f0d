"""Identities between the bounds, schedules of the KL's weight, and what stands in for the KL while learning."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_gaussian import LinearGaussian
from small_pairs import run

from tightbound.learn import (
    ELBO,
    AbstractRegulariser,
    Amortised,
    Capacity,
    CombinedImportanceWeighted,
    Draws,
    FreeBits,
    ImportanceWeighted,
    MaximumMeanDiscrepancy,
    Optimiser,
    Pair,
    PartiallyImportanceWeighted,
    Renyi,
    Schedule,
    TotalCorrelation,
    TrainingConfig,
    draw,
)
from tightbound.learn.regularisers import Minibatch
from tightbound.model import (
    AbstractDistribution,
    Bernoulli,
    DiagonalGaussian,
    FullGaussian,
    Specification,
    StandardGaussian,
    Start,
    build,
    kl_divergence,
)

KEY = jax.random.key(3)
RNG = np.random.default_rng(1)
MODEL = LinearGaussian.random(np.random.default_rng(11), 4, 2)
X = jnp.array(MODEL.sample(np.random.default_rng(12), 1)[0])
LOG_P = float(MODEL.log_p(np.asarray(X))[0])
N_KEYS, MOST = 4_000, 64


# Bounds


@pytest.fixture(scope="module")
def draws() -> Draws:
    """Many times many draws of a q that is somewhat off."""
    q = DiagonalGaussian(jnp.array([0.2, -0.3]), jnp.array([0.8, 0.7]))
    q = eqx.tree_at(lambda q: q.loc, q, q.loc + jnp.array(np.linalg.solve(MODEL.M, MODEL.W.T @ (X - MODEL.mu))))

    def many(key: jax.Array) -> Draws:
        return draw(MODEL.p(), q, X, None, n_samples=MOST, key=key)

    return jax.jit(jax.vmap(many))(jax.random.split(KEY, N_KEYS))


def values(objective: Any, draws: Draws, weight: float = 1.0) -> np.ndarray:
    """The bound of every key, from the first of its draws."""
    few = jax.tree.map(lambda a: a[:, : objective.n_draws], draws)
    return np.asarray(jax.vmap(lambda d: objective.value(d, weight))(few))


def assert_above(a: np.ndarray, b: np.ndarray) -> None:
    """The mean of a is above that of b by more than five standard errors of their paired difference."""
    difference = a - b
    assert difference.mean() > 5 * difference.std() / len(difference) ** 0.5


IDENTITIES = {
    "iwae of one draw is the elbo": (ImportanceWeighted(1), ELBO(1, closed_form_kl=False)),
    "miwae of single draws is the elbo": (ImportanceWeighted(1, 6), ELBO(6, closed_form_kl=False)),
    "renyi at 1 is the elbo": (Renyi(1.0, 6), ELBO(6, closed_form_kl=False)),
    "renyi at 0 is iwae": (Renyi(0.0, 6), ImportanceWeighted(6)),
    "ciwae with all of the elbo is the elbo": (CombinedImportanceWeighted(6, 1.0), ELBO(6, closed_form_kl=False)),
    "ciwae without the elbo is iwae": (CombinedImportanceWeighted(6, 0.0), ImportanceWeighted(6)),
    "piwae reports the bound of all draws": (PartiallyImportanceWeighted(3, 2), ImportanceWeighted(6)),
    "piwae's q has the bound of groups": (PartiallyImportanceWeighted(3, 2).for_inference, ImportanceWeighted(3, 2)),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities_hold_draw_by_draw(name: str, draws: Draws) -> None:
    one, other = IDENTITIES[name]
    assert one.n_draws == other.n_draws
    for weight in (1.0, 0.3):
        np.testing.assert_allclose(values(one, draws, weight), values(other, draws, weight), rtol=1e-12)


def test_renyi_is_continuous_at_one(draws: Draws) -> None:
    middle = values(Renyi(1.0, 6), draws)
    for alpha in (1 - 1e-6, 1 + 1e-6):
        np.testing.assert_allclose(values(Renyi(alpha, 6), draws), middle, atol=1e-4)


def test_bounds_are_in_order(draws: Draws) -> None:
    """Rising with the number of draws towards log p(x), falling with alpha, CIWAE and MIWAE in between."""
    rising = [values(ImportanceWeighted(k), draws) for k in (1, 2, 8, MOST)]
    for low, high in itertools.pairwise(rising):
        assert_above(high, low)
    assert rising[-1].mean() < LOG_P + 5 * rising[-1].std() / N_KEYS**0.5
    falling = [values(Renyi(alpha, 8), draws) for alpha in (0.0, 0.5, 1.0, 2.0)]
    for high, low in itertools.pairwise(falling):
        assert np.all(high >= low - 1e-9)
        assert_above(high, low)
    for between in (CombinedImportanceWeighted(8, 0.5), ImportanceWeighted(4, 2)):
        assert_above(values(ImportanceWeighted(8), draws), values(between, draws))
        assert_above(values(between, draws), values(ELBO(8, closed_form_kl=False), draws))


@pytest.mark.parametrize(
    ("objective", "factors"),
    [
        (ImportanceWeighted(3), lambda w: w / w.sum()),
        (Renyi(0.25, 3), lambda w: 0.25 + 0.75 * w**0.75 / np.sum(w**0.75)),
        (CombinedImportanceWeighted(3, 1.0), np.ones_like),
        (CombinedImportanceWeighted(3, 0.0), lambda w: w / w.sum()),
        (ELBO(3), np.ones_like),
    ],
)
def test_path_factors(objective: Any, factors: Any) -> None:
    w = np.array([0.2, 3.0, 1.1])
    np.testing.assert_allclose(objective.path_factors(jnp.log(w)), factors(w), rtol=1e-12)


REFUSED = {
    "n_samples must be a whole number of at least 1; got 0; 50 is usual": lambda: ImportanceWeighted(0),
    "n_groups must be a whole number of at least 1; got 0; 1 is usual": lambda: ImportanceWeighted(2, 0),
    "n_groups must be a whole number of at least 1; got -1; 8 is usual": lambda: PartiallyImportanceWeighted(2, -1),
    r"elbo_weight must lie between 0 and 1; got 1\.5; 0\.05 is usual": lambda: CombinedImportanceWeighted(2, 1.5),
    r"alpha must be at least 0.*got -0\.1; 0\.5 is usual": lambda: Renyi(-0.1),
    r"elbo_weight must lie between 0 and 1; got nan": lambda: CombinedImportanceWeighted(2, float("nan")),
    r"alpha must be at least 0.*got nan": lambda: Renyi(float("nan")),
    "kind must be one of linear, cosine, cyclical; got 'steep'; choose": lambda: Schedule(1.0, 5, "steep"),
    r"value and steps must be at least 0; got -1\.0 and 3; 1 and 0 are usual": lambda: Schedule(-1.0, 3),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_numbers_without_sense_are_refused(sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        REFUSED[sentence]()


# Schedules


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(), {0: 1.0, 7: 1.0}),
        (Schedule(4.0), {0: 4.0, 10**6: 4.0}),
        (Schedule(2.0, 10), {0: 0.0, 1: 0.2, 5: 1.0, 10: 2.0, 11: 2.0, 1000: 2.0}),
        (Schedule(2.0, 8, "cosine"), {0: 0.0, 2: 1 - 0.5**0.5, 4: 1.0, 8: 2.0, 30: 2.0}),
        (Schedule(3.0, 10, "cyclical"), {0: 0.0, 1: 0.6, 4: 2.4, 5: 3.0, 9: 3.0, 10: 0.0, 12: 1.2, 17: 3.0}),
    ],
    ids=["one", "constant", "linear", "cosine", "cyclical"],
)
def test_schedules_have_their_values(schedule: Schedule, expected: dict[int, float]) -> None:
    steps = jnp.array(list(expected), "int32")
    np.testing.assert_allclose(jax.vmap(lambda t: schedule(t, "float64"))(steps), list(expected.values()), atol=1e-12)
    assert schedule(steps[0], "float32").dtype == jnp.float32


# What stands in for the KL

B, D = 6, 4
LOC, SCALE = jnp.array(RNG.normal(size=(B, D))), jnp.array(RNG.uniform(0.3, 1.2, size=(B, D)))
PRIOR = StandardGaussian(D, "float64")


def minibatch(weights: jax.Array | None = None, n_rows: int = B, step: int = 0, **changes: jax.Array) -> Minibatch:
    q = jax.vmap(DiagonalGaussian)(changes.get("loc", LOC), changes.get("scale", SCALE))
    z = q.loc + q.scale * jnp.array(np.random.default_rng(2).normal(size=q.loc.shape))
    kl = jax.vmap(lambda q: kl_divergence(q, PRIOR))(q)
    weights = jnp.ones(q.loc.shape[0]) if weights is None else weights
    return Minibatch(q, z, kl, PRIOR, weights, n_rows, jnp.asarray(step, "int32"))


def penalty(regulariser: AbstractRegulariser, batch: Minibatch, seed: int = 0) -> float:
    return float(regulariser(batch, key=jax.random.key(seed)))


def terms_by_hand() -> np.ndarray:
    return np.asarray(0.5 * (SCALE**2 + LOC**2 - 1) - jnp.log(SCALE))


def test_free_bits_of_nothing_are_the_kl() -> None:
    mean = terms_by_hand().sum(axis=1).mean()
    for size in (0, 1, 2, D):
        assert penalty(FreeBits(0.0, size), minibatch()) == pytest.approx(mean, rel=1e-12)


def test_free_bits_are_free_up_to_their_level_in_each_group() -> None:
    dimensions = terms_by_hand().mean(axis=0)
    nats = float(np.median(dimensions))
    assert penalty(FreeBits(nats, 1), minibatch()) == pytest.approx(np.maximum(nats, dimensions).sum(), rel=1e-12)
    groups = dimensions.reshape(2, 2).sum(axis=1)
    level = float(groups.mean())
    assert penalty(FreeBits(level, 2), minibatch()) == pytest.approx(np.maximum(level, groups).sum(), rel=1e-12)
    assert penalty(FreeBits(100.0, 0), minibatch()) == 100
    assert penalty(FreeBits(100.0, 2), minibatch()) == 200


def test_what_is_free_has_no_gradient() -> None:
    def of(loc: jax.Array, nats: float) -> jax.Array:
        return FreeBits(nats, 1)(minibatch(loc=loc), key=KEY)

    np.testing.assert_array_equal(jax.grad(of)(LOC, 100.0), 0)
    np.testing.assert_allclose(jax.grad(of)(LOC, 0.0), LOC / B, rtol=1e-12)


def test_rows_that_fill_up_a_minibatch_do_not_count() -> None:
    """Weight zero for the last two rows, as if they were not there; the estimate of q(z) knows too."""
    weights = jnp.array([1.0] * 4 + [0.0] * 2)
    batch, whole = minibatch(weights), minibatch()
    short = Minibatch(*jax.tree.map(lambda a: a[:4], tuple(whole[:3])), PRIOR, jnp.ones(4), B, whole.step)
    for regulariser in (FreeBits(0.3, 1), Capacity(1.0), TotalCorrelation(3.0, 2.0, 0.5)):
        assert penalty(regulariser, batch) == pytest.approx(penalty(regulariser, short), rel=1e-12)


def test_capacity_is_the_distance_from_what_is_allowed() -> None:
    mean = float(terms_by_hand().sum(axis=1).mean())
    assert penalty(Capacity(1.0, 7.0), minibatch()) == pytest.approx(7 * abs(mean - 1), rel=1e-12)
    assert penalty(Capacity(mean + 2, 7.0), minibatch()) == pytest.approx(14, rel=1e-12)
    for step, reached in ((0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)):
        found = penalty(Capacity(1.0, 7.0, 10), minibatch(step=step))
        assert found == pytest.approx(7 * abs(mean - reached), rel=1e-12)


def test_total_correlation_with_all_weights_one_is_the_sampled_kl() -> None:
    batch = minibatch()
    log_q = jax.vmap(lambda q, z: q.log_prob(z))(batch.q, batch.z)
    sampled = float(jnp.mean(log_q - jax.vmap(PRIOR.log_prob)(batch.z)))
    assert penalty(TotalCorrelation(1.0, 1.0, 1.0), batch) == pytest.approx(sampled, rel=1e-12)
    assert abs(penalty(TotalCorrelation(6.0, 1.0, 1.0), batch) - sampled) > 0.1


def test_total_correlation_terms_are_those_of_minibatch_weighted_sampling() -> None:
    """log q(z_i) = log 1/(N B) sum_j q(z_i | x_j), written out with a loop. Chen et al. (2018), equation S6."""
    batch, n = minibatch(n_rows=50), 50
    z, loc, scale = (np.asarray(a) for a in (batch.z, LOC, SCALE))
    own, joint, marginal = np.zeros(B), np.zeros(B), np.zeros(B)
    for i in range(B):
        each = np.array(
            [-0.5 * ((z[i] - loc[j]) / scale[j]) ** 2 - np.log(scale[j]) - 0.5 * np.log(2 * np.pi) for j in range(B)]
        )
        own[i] = each[i].sum()
        joint[i] = np.log(np.exp(each.sum(axis=1)).sum() / (n * B))
        marginal[i] = np.log(np.exp(each).sum(axis=0) / (n * B)).sum()
    prior = np.asarray(jax.vmap(PRIOR.log_prob)(batch.z))
    expected = {
        (1.0, 0.0, 0.0): (own - joint).mean(),
        (0.0, 1.0, 0.0): (joint - marginal).mean(),
        (0.0, 0.0, 1.0): (marginal - prior).mean(),
    }
    for (information, beta, marginals), value in expected.items():
        found = penalty(TotalCorrelation(beta, information, marginals), batch)
        assert found == pytest.approx(value, rel=1e-10)


def test_discrepancy_is_nothing_where_the_aggregate_is_the_prior_and_something_where_it_is_not() -> None:
    """Rows at draws of N(0, 0.75 I) with variance 1/4 make N(0, I) together; over many keys, in standard errors."""
    regulariser = MaximumMeanDiscrepancy(alpha=1.0, scale=1.0)  # MMD^2 alone

    def once(key: jax.Array, shift: jax.Array) -> jax.Array:
        key_loc, key_z, key_prior = jax.random.split(key, 3)
        loc = 0.75**0.5 * jax.random.normal(key_loc, (60, D)) + shift
        scale = jnp.full_like(loc, 0.5)
        z = loc + scale * jax.random.normal(key_z, loc.shape)
        nothing = jnp.zeros(60)
        q = jax.vmap(DiagonalGaussian)(loc, scale)
        return regulariser(Minibatch(q, z, nothing, PRIOR, nothing + 1, 60, jnp.asarray(0)), key=key_prior)

    many = jax.jit(jax.vmap(once, in_axes=(0, None)))
    keys = jax.random.split(KEY, 300)
    same, shifted = np.asarray(many(keys, 0.0)), np.asarray(many(keys, 1.0))
    assert abs(same.mean()) < 5 * same.std() / 300**0.5
    assert shifted.mean() > 5 * shifted.std() / 300**0.5
    assert shifted.mean() > 20 * abs(same.mean())


def test_discrepancy_weighs_kl_and_mmd_as_the_paper_does() -> None:
    batch = minibatch()
    kl = float(jnp.mean(batch.kl))
    mmd = penalty(MaximumMeanDiscrepancy(1.0, 1.0), batch)
    assert penalty(MaximumMeanDiscrepancy(0.0, 1.0), batch) == pytest.approx(kl, rel=1e-12)
    assert penalty(MaximumMeanDiscrepancy(0.5, 10.0), batch) == pytest.approx(0.5 * kl + 9.5 * mmd, rel=1e-12)


Q = DiagonalGaussian(jnp.zeros(4), jnp.ones(4))
FULL = FullGaussian(jnp.zeros(4), jnp.eye(4))
BITS = Bernoulli(jnp.zeros(4))
UNFIT: dict[str, tuple[AbstractRegulariser, AbstractDistribution, AbstractDistribution]] = {
    "free_bits in groups must have a factorised q.*got FullGaussian and Stand.*free_bits_group 0": (
        FreeBits(),
        FULL,
        PRIOR,
    ),
    "free_bits_group must divide the 4 latents; got 3; use 1": (FreeBits(0.5, 3), Q, PRIOR),
    "beta_tc must have posterior='diagonal'.*got FullGaussian.*mmd": (TotalCorrelation(), FULL, PRIOR),
    "beta_tc must have posterior='diagonal'.*got Bernoulli": (TotalCorrelation(), BITS, BITS),
    "mmd must have a posterior with differentiable draws; got Bernoulli; use": (MaximumMeanDiscrepancy(), BITS, BITS),
}


@pytest.mark.parametrize("sentence", UNFIT)
def test_regularisers_refuse_what_they_cannot_take(sentence: str) -> None:
    regulariser, q, prior = UNFIT[sentence]
    with pytest.raises(ValueError, match=sentence):
        regulariser.check(q, prior)
    MaximumMeanDiscrepancy().check(FULL, PRIOR)
    FreeBits(0.5, 0).check(FULL, PRIOR)
    FreeBits(0.5, 2).check(Q, PRIOR)


# In a fit

ROWS = RNG.normal(size=(12, 3))


def pair() -> Pair:
    spec = Specification(n_features=3, latent_dim=2, network="linear", dtype="float64")
    parts = build(spec, start=Start(np.zeros(3), np.full(3, 0.01)), key=jax.random.key(0))
    return Pair(parts.p, Amortised(parts.encoder))


def fitted(rate: float = 0.01, **changes: Any) -> Any:
    """Two epochs of two steps."""
    recipe = TrainingConfig(Optimiser(rate, 10**6), batch_size=6, dtype="float64", **changes)
    return run(pair(), ROWS, recipe, epochs=2, seconds_a_call=60)[0]


def test_a_weight_of_one_changes_no_bit() -> None:
    default, one, other = fitted(), fitted(kl_weight=Schedule(1.0)), fitted(kl_weight=Schedule(4.0))
    for a, b, c in zip(
        *(jax.tree.leaves(eqx.filter(f.pair, eqx.is_array)) for f in (default, one, other)), strict=True
    ):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        assert a.shape == c.shape
    assert repr(default.history) == repr(one.history)
    assert all(e.train_bound == e.train_objective for e in default.history)
    assert [e.train_bound for e in default.history] != [e.train_bound for e in other.history]


HELD = 1e-13
"""A rate that moves nothing: then an epoch's bound can be had again."""


def test_the_reported_bound_is_plain_whatever_is_maximised() -> None:
    """At parameters that hardly move: the same train_bound for all, and the objective by its own arithmetic."""
    kl = float(np.mean(jax.vmap(lambda x: kl_divergence(pair().q.encoder(x), pair().p.prior))(jnp.array(ROWS))))
    beta = fitted(HELD, kl_weight=Schedule(4.0)).history[0]
    capacity = fitted(HELD, regulariser=Capacity(kl + 100.0, 2.0)).history[0]
    assert beta.train_bound == pytest.approx(capacity.train_bound, rel=1e-9)
    assert beta.train_objective == pytest.approx(beta.train_bound - 3 * kl, rel=1e-9)
    assert capacity.train_objective == pytest.approx(beta.train_bound + kl - 200, rel=1e-9)
