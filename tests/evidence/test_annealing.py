"""Annealing against closed forms and quadrature; its moves against known targets; its errors against their spread."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from walks import KEY, MODEL, apart, gaussian, nonlinear, overflowing, overflowing_log_p, some_member, truth

from tightbound.evidence import Method, Reliability, annealed_evidence, importance_evidence, information_schedule
from tightbound.evidence.annealing import equal_steps, information_length
from tightbound.evidence.hmc import (
    GROUP,
    N_ADAPTATION_CHAINS,
    Path,
    RowChains,
    Sum,
    Trajectory,
    leapfrog,
    log_density,
    move,
    path_of,
)
from tightbound.evidence.rows import posteriors_of
from tightbound.learn import AbstractInference, Exact
from tightbound.model import FullGaussian, GenerativeModel, Specification, Start, build

LINEAR = np.linspace(0, 1, 13)
FLOWS = ("planar", "iaf", "coupling", "spline")
Q: dict[str, AbstractInference] = {
    "off": MODEL.q(shift=0.5),
    "too wide": MODEL.q(stretch=4.0, shift=0.3),
    "too narrow": MODEL.q(stretch=0.25, shift=-0.1),
    "diagonal": MODEL.q(diagonal=True),
    "one for all": gaussian([0.3, -0.2], [1.1, 0.6]),
    **{name: some_member(name) for name in ("full", "mixture", "planar", "iaf", "coupling")},
    "spline": some_member("spline", spread=0.2),
}
QUICK = ("too wide", "too narrow", "full", "mixture", "iaf")
"""Those whose mean weight every run looks at; of the others `test_a_point_says_what_it_should` sees the densities."""


def path_to(name: str) -> Path:
    p, x = MODEL.p(), jnp.asarray(rows(1)[0])
    return path_of(p, Q[name](p, x, key=KEY), x, None)


def chains(q: AbstractInference, n_chains: int, **options: object) -> RowChains:
    """Of one row."""
    x, hashes = jnp.asarray(rows(1)), jnp.array([7], "uint32")
    posteriors = posteriors_of(MODEL.p(), q, x, None, hashes, key=KEY)
    return RowChains(MODEL.p(), posteriors, x, None, hashes, n_chains=n_chains, key=KEY, **options)


def rows(n: int, seed: int = 0) -> np.ndarray:
    return MODEL.sample(np.random.default_rng(seed), n)


# The move


B, STEP = 0.6, 1.4


def wrong_path(x: np.ndarray) -> tuple[Path, np.ndarray, np.ndarray]:
    """A path from a q that is off, and the mean and covariance of q^(1-b) p(x, z)^b in its coordinates, for b = 0.6."""
    q = FullGaussian(jnp.array([0.4, -0.7]), jnp.array([[0.9, 0.0], [0.5, 0.7]]))
    inverse = np.linalg.inv(np.asarray(q.scale_tril))
    precision_q, precision_p = inverse.T @ inverse, MODEL.M / MODEL.s**2
    mean_p = np.linalg.solve(MODEL.M, MODEL.W.T @ (x - MODEL.mu))
    precision = (1 - B) * precision_q + B * precision_p
    mean = np.linalg.solve(precision, (1 - B) * precision_q @ np.asarray(q.loc) + B * precision_p @ mean_p)
    covariance = inverse @ np.linalg.inv(precision) @ inverse.T
    return path_of(MODEL.p(), q, jnp.asarray(x), None), inverse @ (mean - np.asarray(q.loc)), covariance


def moved(
    path: Path, u: np.ndarray, n_moves: int, size: float = STEP, *, corrected: bool = True
) -> tuple[np.ndarray, float]:
    """Where chains are after so many moves, and their mean acceptance; without the Metropolis decision on demand."""

    def chain(u: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(at, key):
            new, acceptance = move(path, at, jnp.asarray(B), jnp.asarray(size), 2, key=key)
            if not corrected:
                momentum = jax.random.normal(key, u.shape)
                new, _ = leapfrog(path, at, momentum, jnp.asarray(B), jnp.asarray(0.75 * size), 2)
            return new, acceptance

        end, acceptance = jax.lax.scan(step, path.point(u), jax.random.split(key, n_moves))
        return end.u, jnp.mean(acceptance)

    keys = jax.random.split(KEY, len(u))
    end, acceptance = jax.jit(jax.vmap(chain))(jnp.asarray(u), keys)
    return np.asarray(end), float(np.mean(acceptance))


def furthest(u: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    """The largest deviation of means, variances and covariance, in standard errors that draws of the target have.

    Not in those of `u`: a few chains that fly off would make an error so large that they hide behind it.
    """
    white = np.linalg.solve(np.linalg.cholesky(covariance), (u - mean).T).T
    products = np.column_stack([white, (white**2 - 1) / 2**0.5, white[:, 0] * white[:, 1]])
    return float(np.max(np.abs(products.mean(axis=0))) * len(u) ** 0.5)


def test_a_move_leaves_its_target_as_it_is() -> None:
    """Exact draws of a Gaussian stay draws of it; without the Metropolis decision they do not."""
    path, mean, covariance = wrong_path(rows(1)[0])
    start = np.random.default_rng(1).multivariate_normal(mean, covariance, size=4000)
    assert furthest(start, mean, covariance) < 5
    end, acceptance = moved(path, start, 15)
    assert 0.3 < acceptance < 0.9  # so that the decision matters
    assert furthest(end, mean, covariance) < 5
    assert np.mean(np.abs(end - start).max(axis=1) < 1e-12) < 0.01
    for size in (1.0, STEP):  # steps that distort, and steps that fly off
        wrong, _ = moved(path, start, 15, size, corrected=False)
        assert furthest(wrong, mean, covariance) > 8


@pytest.mark.slow
def test_a_move_finds_its_target_from_elsewhere() -> None:
    path, mean, covariance = wrong_path(rows(1)[0])
    end, _ = moved(path, np.tile([3.0, -4.0], (4000, 1)), 60, 0.5)
    assert furthest(end, mean, covariance) < 5


def test_a_move_does_not_go_back_and_forth() -> None:
    """Where all steps of one length would be half a turn, log p(x, z) of a chain would never change."""
    x = jnp.asarray(rows(1)[0])
    q = MODEL.q(stretch=1.5)(MODEL.p(), x, key=KEY)
    path = path_of(MODEL.p(), q, x, None)

    def walk(key: jax.Array) -> jax.Array:
        def step(at, key):
            new, _ = move(path, at, jnp.asarray(1.0), jnp.asarray(2 / 3), 3, key=key)
            return new, new.log_joint

        return jax.lax.scan(step, path.point(path.draw(key=key)), jax.random.split(key, 100))[1]

    trace = np.asarray(jax.jit(jax.vmap(walk))(jax.random.split(KEY, 200)))
    between, within = trace.mean(axis=1).var(ddof=1), trace.var(axis=1, ddof=1).mean()
    # Independent draws give 0.01; the variance of a mean of 100 grows with their correlation.
    assert between / within < 0.05


@pytest.mark.parametrize("name", ["off", "mixture", "iaf"])
def test_leapfrog_steps_lead_back_and_keep_volume(name: str) -> None:
    path = path_to(name)
    b, size = jnp.asarray(0.7), jnp.asarray(0.3)

    @jax.jit
    def there(both: jax.Array) -> jax.Array:
        end, momentum = leapfrog(path, path.point(both[:2]), both[2:], b, size, 5)
        return jnp.concatenate([end.u, momentum])

    start = jnp.array([0.7, -0.4, 1.1, 0.3])
    end = there(start)
    back = there(end * jnp.array([1, 1, -1, -1]))
    assert np.abs(np.asarray(end - start)).max() > 0.3
    np.testing.assert_allclose(back * jnp.array([1, 1, -1, -1]), start, atol=1e-10)
    np.testing.assert_allclose(np.linalg.det(jax.jit(jax.jacfwd(there))(start)), 1, atol=1e-9)


@pytest.mark.parametrize("name", ["off", "diagonal", "mixture", *FLOWS])
def test_a_point_says_what_it_should(name: str) -> None:
    """Both densities, their difference log p(x, z) - log q(z), their slopes, and the way to and from coordinates."""
    p, x = MODEL.p(), jnp.asarray(rows(1)[0])
    path = path_to(name)
    q = path.base if path.flow is None else path.flow
    z = q.sample(key=KEY)
    u = path.coordinates(z)
    point = jax.jit(lambda u: path.point(u))
    at = point(u)
    np.testing.assert_allclose(at.log_weight, p.log_joint(x, z) - q.log_prob(z), rtol=1e-6, atol=1e-6)
    for value, slope in (("log_q", at.grad_q), ("log_joint", at.grad_joint)):
        numeric = [(getattr(point(u + e), value) - getattr(point(u - e), value)) / 2e-5 for e in 1e-5 * jnp.eye(2)]
        np.testing.assert_allclose(slope, np.array(numeric), rtol=1e-5, atol=1e-6)


def test_what_a_chain_carries_belongs_to_its_place() -> None:
    """The densities and slopes kept from the last move are those of the place, accepted or not."""
    path, _, _ = wrong_path(rows(1)[0])
    step, point = (
        jax.jit(lambda at, b, size, key: move(path, at, b, size, 2, key=key)),
        jax.jit(lambda u: path.point(u)),
    )
    at = point(jnp.array([0.2, 0.9]))
    accepted = []
    for i in range(12):
        new, _ = step(at, jnp.asarray((i + 1) / 12), jnp.asarray(1.5), jax.random.fold_in(KEY, i))
        accepted.append(not np.array_equal(new.u, at.u))
        for kept, fresh in zip(new, point(new.u), strict=True):
            np.testing.assert_allclose(kept, fresh, rtol=1e-12)
        at = new
    assert 0 < sum(accepted) < 12


def test_each_step_of_a_move_costs_one_gradient() -> None:
    path, _, _ = wrong_path(rows(1)[0])
    at = path.point(jnp.zeros(2))
    half = jnp.asarray(0.5)
    program = jax.make_jaxpr(lambda at: move(path, at, half, half, 4, key=KEY))(at)
    loops = [e for e in program.jaxpr.eqns if e.primitive.name in ("scan", "while")]
    outside = jax.make_jaxpr(lambda u: path.point(u))(at.u)
    # The triangular product of the coordinates with its transposes, and the decoder's: only inside the loop.
    assert len(loops) == 1
    assert "dot_general" in str(outside)
    outer = [e for e in program.jaxpr.eqns if e.primitive.name == "dot_general"]
    assert len(outer) == 2  # the two kinetic energies


def test_the_chains_that_count_set_no_step_size() -> None:
    """Moved elsewhere they change nothing of it; the adaptation chains do. Else the weights would be biased."""

    def step_after(n_elsewhere: int, *, from_the_end: bool) -> float:
        one = chains(MODEL.q(stretch=4.0), 4)
        at = np.zeros((4 + N_ADAPTATION_CHAINS, 2))
        at[-n_elsewhere if from_the_end else 0 :][: n_elsewhere or 0] = 4.0
        one._start = jnp.asarray(at)[None]
        return float(one.forward(LINEAR).step_size[0, -1])

    with_none = step_after(0, from_the_end=False)
    assert step_after(4, from_the_end=False) == with_none
    assert step_after(N_ADAPTATION_CHAINS, from_the_end=True) != with_none


# The weights


@pytest.mark.parametrize(
    ("name", "resample"),
    [
        *(pytest.param(name, False, marks=() if name in QUICK else pytest.mark.slow) for name in Q),
        ("too wide", True),
        pytest.param("too narrow", True, marks=pytest.mark.slow),
        pytest.param("iaf", True, marks=pytest.mark.slow),
    ],
)
def test_the_mean_weight_is_p_of_x(name: str, resample: bool) -> None:
    """E[w] = p(x) for any q, with few temperatures and short moves."""
    x = rows(3)
    # From a q that is too narrow few temperatures leave weights of infinite variance, and errors that say nothing.
    schedule = np.linspace(0, 1, 49) if name == "too narrow" else LINEAR
    evidence = annealed_evidence(
        MODEL.p(), Q[name], x, n_chains=800, n_leapfrog=2, schedule=schedule, resample=resample, key=KEY
    )
    assert np.all(evidence.standard_error < 0.3)
    assert np.all(np.abs(evidence.log_evidence - MODEL.log_p(x)) < 5 * evidence.standard_error)
    assert np.all(evidence.n_samples == (800 // GROUP if resample else 800))
    assert all(method is Method.ANNEALED for method in evidence.method)


@pytest.mark.parametrize("resample", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_missing_cells_are_integrated_out(resample: bool) -> None:
    x = rows(5, seed=3)
    observed = np.random.default_rng(3).random(x.shape) < 0.6
    observed[0], observed[1] = False, True
    exact = np.array([0.0, *MODEL.log_p(x[1:], observed[1:])])
    x = np.where(observed, x, np.nan)
    q = MODEL.q(stretch=2.0)
    evidence = annealed_evidence(
        MODEL.p(), q, x, observed, n_chains=800, n_leapfrog=2, schedule=LINEAR, resample=resample, key=KEY
    )
    assert np.all(evidence.standard_error < 0.2)
    assert np.all(np.abs(evidence.log_evidence - exact) < 5 * evidence.standard_error)


@pytest.mark.parametrize(
    "name", [pytest.param("one for all", marks=pytest.mark.slow), "full", pytest.param("iaf", marks=pytest.mark.slow)]
)
def test_a_bent_posterior_agrees_with_quadrature(name: str) -> None:
    p, q = nonlinear(), Q[name]
    x = np.random.default_rng(4).normal(size=(4, 3))
    evidence = annealed_evidence(p, q, x, n_steps=24, n_chains=800, key=KEY)
    assert np.all(evidence.standard_error < 0.2)
    assert np.all(np.abs(evidence.log_evidence - truth(p, q, x)) < 5 * evidence.standard_error)


def test_one_step_is_importance_sampling() -> None:
    """K = 1: the weights are those of the draws of q; no move."""
    p, q, x = MODEL.p(), MODEL.q(stretch=1.5, shift=0.2), rows(4)
    annealed = annealed_evidence(p, q, x, n_steps=1, n_chains=800, key=KEY)
    sampled = importance_evidence(p, q, x, n_samples=800, key=KEY)
    both = np.hypot(annealed.standard_error, sampled.standard_error)
    assert np.all(np.abs(annealed.log_evidence - sampled.log_evidence) < 5 * both)
    np.testing.assert_allclose(annealed.standard_error, sampled.standard_error, rtol=0.5)
    assert np.all(annealed.work == 9 * (800 + N_ADAPTATION_CHAINS))

    one = chains(q, 6)
    trajectory = one.forward(np.array([0.0, 1.0]))
    np.testing.assert_allclose(one.log_weight, trajectory.increments[:, 0, :6], atol=1e-12)
    row = jnp.asarray(rows(1)[0])  # that of the chains
    path = path_of(p, q(p, row, key=KEY), row, None)
    drawn = jax.vmap(lambda u: path.point(u).log_weight)(jnp.asarray(trajectory.quantities[0, 0, :, :2]))
    np.testing.assert_allclose(one.log_weight[0], drawn, atol=1e-12)


def test_the_bound_of_q_comes_along() -> None:
    """`elbo` is that of q, whatever the annealing does."""
    x, q = rows(4), MODEL.q(diagonal=True)
    evidence = annealed_evidence(MODEL.p(), q, x, n_chains=800, n_leapfrog=2, schedule=LINEAR, key=KEY)
    expected = MODEL.log_p(x) - MODEL.diagonal_gap
    assert np.all(np.abs(evidence.elbo - expected) < 5 * evidence.elbo_standard_error)
    assert np.all(evidence.elbo_standard_error < 0.05)


def test_lower_in_expectation_and_tighter_with_more_temperatures() -> None:
    """Of one chain a row: E[log w] <= log p(x), and the distance falls as temperatures grow in number."""
    x, q = rows(400), MODEL.q(stretch=2.5, shift=0.6)
    short = []
    for k in (1, 8, 64):
        found = annealed_evidence(MODEL.p(), q, x, n_chains=1, n_leapfrog=2, schedule=np.linspace(0, 1, k + 1), key=KEY)
        short.append(MODEL.log_p(x) - found.log_evidence)
        assert apart(short[-1]) > 3
        assert np.isnan(found.standard_error).all()
    for before, after in itertools.pairwise(short):
        assert apart(before - after) > 5
    # The variance of log w, and with it the distance, falls as 1 / K (Neal, 2001).
    assert short[-1].mean() < 0.4 * short[-2].mean()


@pytest.mark.parametrize(
    ("resample", "n_chains"), [(False, 48), pytest.param(True, 32 * GROUP, marks=pytest.mark.slow)]
)
def test_standard_errors_are_calibrated(resample: bool, n_chains: int) -> None:
    """Over 300 rows, z-scores have variance 0.7 to 1.4 and next to all lie within 3.5 of their errors."""
    x, q = rows(300, seed=5), MODEL.q(stretch=1.6, shift=0.4)
    schedule = np.linspace(0, 1, 4)
    found = annealed_evidence(
        MODEL.p(), q, x, n_chains=n_chains, n_leapfrog=1, schedule=schedule, resample=resample, key=KEY
    )
    z = (found.log_evidence - MODEL.log_p(x)) / found.standard_error
    assert 0.7 < np.var(z) < 1.4
    assert np.sum(np.abs(z) < 3.5) >= 294
    assert abs(np.mean(z)) < 5 / np.sqrt(300)


def test_resampling_happens_and_groups_are_what_counts() -> None:
    """Copies are made only within groups, and a chain's weight in a group that resampled is the group's mean."""
    schedule = np.array([0.0, 0.9, 1.0])

    def run(resample: bool) -> tuple[Trajectory, np.ndarray]:
        both = chains(MODEL.q(stretch=4.0, shift=1.0), 4 * GROUP, n_leapfrog=1, resample=resample)
        return both.forward(schedule), both.log_weight[0]

    (plain, _), (found, weight) = run(False), run(True)
    first = 0.9 * plain.increments[0, 0, : 4 * GROUP].reshape(4, GROUP)
    before = (weight - 0.1 * found.increments[0, 1, : 4 * GROUP]).reshape(4, GROUP)
    share = np.exp(first - logsumexp(first, axis=1, keepdims=True))
    poor = 1 / (share**2).sum(axis=1) < GROUP / 2
    assert poor.sum() > 0
    # Counted chains elsewhere, and yet the same step sizes to the bit: only adaptation chains have a say in them.
    assert np.any(plain.quantities[0, 1] != found.quantities[0, 1])
    assert plain.step_size[0, 1] > 0
    np.testing.assert_array_equal(found.step_size, plain.step_size)
    level = logsumexp(first[poor], axis=1, keepdims=True) - np.log(GROUP)
    np.testing.assert_allclose(before[poor], np.repeat(level, GROUP, axis=1), rtol=1e-9)
    np.testing.assert_allclose(before[~poor], first[~poor], rtol=1e-9)


def test_the_exact_posterior_leaves_nothing_to_chance() -> None:
    x = rows(5)
    for resample in (False, True):
        found = annealed_evidence(
            MODEL.p(), Exact(), x, schedule=LINEAR, n_chains=16, resample=resample, key=KEY, chains_at_once=EIGHT_ROWS
        )
        np.testing.assert_allclose(found.log_evidence, MODEL.log_p(x), atol=1e-9)
        np.testing.assert_allclose(found.elbo, MODEL.log_p(x), atol=1e-9)
        assert np.all(found.standard_error < 1e-6)
        np.testing.assert_allclose(found.ess, 2 if resample else 16, rtol=1e-9)
        assert all(flag is Reliability.GOOD for flag in found.reliability)


def test_sums_in_float32_lose_nothing() -> None:
    """A thousand terms alike: added naively they drift, for each rounding goes the same way."""
    terms = jnp.full(5000, -7.3571 / 5, "float32")
    zero = jnp.zeros((), "float32")
    exact = float(np.sum(np.asarray(terms, np.float64)))
    kept = jax.jit(lambda t: jax.lax.scan(lambda s, a: (s.plus(a), None), Sum(zero, zero), t)[0].total)(terms)
    naive = jax.jit(lambda t: jax.lax.scan(lambda s, a: (s + a, None), zero, t)[0])(terms)
    assert abs(float(naive) - exact) > 0.05
    assert abs(float(kept) - exact) < 1e-3
    assert float(Sum(zero, zero).plus(jnp.asarray(-jnp.inf, "float32")).plus(terms[0]).total) == -np.inf


# Whose noise it is


EIGHT_ROWS = 8 * (16 + N_ADAPTATION_CHAINS)


def scored(x: np.ndarray, seed: int = 5, **options: object) -> np.ndarray:
    values = {
        "n_chains": 16,
        "n_leapfrog": 2,
        "schedule": LINEAR,
        "key": jax.random.key(seed),
        "chains_at_once": EIGHT_ROWS,
    }
    values |= options
    return annealed_evidence(MODEL.p(), Q["too wide"], x, **values).log_evidence


@settings(max_examples=5)
@given(st.permutations(range(7)))
def test_neither_order_nor_neighbours_change_a_row(order: list[int]) -> None:
    x = rows(7)
    whole = scored(x)
    np.testing.assert_array_equal(scored(x[order]), whole[order])
    np.testing.assert_array_equal(scored(x[order[:2]]), whole[order[:2]])


def test_chunks_of_rows_change_nothing_and_passes_of_chains_only_noise() -> None:
    x = rows(7)
    whole = scored(x)
    np.testing.assert_allclose(scored(x, chains_at_once=3 * (16 + N_ADAPTATION_CHAINS) + 1), whole, rtol=1e-9)
    assert np.all(scored(x, seed=6) != whole)
    many = {"n_chains": 800, "chains_at_once": 500}
    passes = annealed_evidence(MODEL.p(), Q["too wide"], x, schedule=LINEAR, n_leapfrog=2, key=KEY, **many)
    assert np.all(passes.n_samples == 800)
    assert np.all(np.abs(passes.log_evidence - MODEL.log_p(x)) < 5 * passes.standard_error)
    # Each pass has noise of its own: 496 chains, and 304 that are not the first of these.
    again = annealed_evidence(
        MODEL.p(), Q["too wide"], x, schedule=LINEAR, n_leapfrog=2, key=KEY, **many | {"n_chains": 496}
    )
    assert np.all(again.log_evidence != passes.log_evidence)
    assert np.all(np.abs(again.standard_error / passes.standard_error - (800 / 496) ** 0.5) < 0.4)


def test_progress_counts_rows() -> None:
    seen: list[int] = []
    scored(rows(7), chains_at_once=3 * (16 + N_ADAPTATION_CHAINS), on_progress=seen.append)
    assert seen == [3, 6, 7]


# Schedules


def test_a_schedule_is_made_of_equal_steps() -> None:
    """It rises from 0 to 1; where log p - log q varies most its steps are shortest; an exact q has even ones."""
    q = MODEL.q(stretch=4.0, shift=0.5)
    schedule = information_schedule(MODEL.p(), q, 40, key=KEY)
    assert schedule.shape == (41,)
    assert schedule[0] == 0
    assert schedule[-1] == 1
    steps = np.diff(schedule)
    assert np.all(steps > 0)
    # Far too wide: near q the weights vary most.
    assert steps[:5].mean() < 0.4 * steps[-5:].mean()
    np.testing.assert_allclose(np.diff(information_schedule(MODEL.p(), Exact(), 8, key=KEY)), 1 / 8, rtol=1e-6)
    length = information_length(MODEL.p(), q, key=KEY)
    reached = np.interp(schedule, np.linspace(0, 1, len(length)), length)
    np.testing.assert_allclose(np.diff(reached), length[-1] / 40, rtol=1e-6)
    np.testing.assert_array_equal(equal_steps(length, 40), schedule)


# What cannot be


@pytest.mark.parametrize("resample", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_places_that_are_not_a_number_count_as_zero(resample: bool) -> None:
    """E[w] is then the integral over the places that are; the draws that fell elsewhere are counted."""
    p, x = overflowing(MODEL.p()), rows(4, seed=9)
    exact, q = overflowing_log_p(x), MODEL.q(stretch=1.3)
    evidence = annealed_evidence(p, q, x, schedule=LINEAR, n_chains=800, resample=resample, key=KEY)
    assert np.all(evidence.standard_error < 0.1)
    assert np.all(np.abs(evidence.log_evidence - exact) < 5 * evidence.standard_error)
    assert np.max((MODEL.log_p(x) - exact) / evidence.standard_error) > 10
    assert np.all(evidence.n_discarded > 0)
    assert np.all(evidence.elbo == -np.inf)


def test_a_row_without_density_is_flagged_and_no_other() -> None:
    x = rows(3)
    x[1] = np.nan
    for resample, n_chains in ((False, 16), (True, 32 * GROUP)):
        found = annealed_evidence(
            MODEL.p(), Q["too wide"], x, schedule=LINEAR, n_leapfrog=2, n_chains=n_chains, resample=resample, key=KEY
        )
        assert found.log_evidence[1] == -np.inf
        assert [flag is Reliability.NOT_FINITE for flag in found.reliability] == [False, True, False]
        assert np.all(np.isfinite(found.log_evidence[[0, 2]]))
        assert found.n_discarded.tolist() == [0, n_chains, 0]


def test_a_place_without_density_is_left_and_never_entered() -> None:
    p = overflowing(MODEL.p())
    path = path_of(p, FullGaussian(jnp.zeros(2), jnp.eye(2)), jnp.asarray(rows(1)[0]), None)
    bad, good = path.point(jnp.array([0.9, 0.0])), path.point(jnp.array([0.7, 0.0]))
    b, size = jnp.asarray(0.5), jnp.asarray(0.4)
    many = jax.jit(lambda at: jax.vmap(lambda key: move(path, at, b, size, 2, key=key)[0])(jax.random.split(KEY, 500)))
    assert bool(bad.odd)
    assert not bool(good.odd)
    assert float(bad.log_weight) == float(log_density(bad, b)) == -np.inf
    ends = many(good)
    assert not np.any(ends.odd)
    assert np.mean(np.asarray(ends.u) != 0.7) > 0.3
    ends = many(bad)
    assert 0.2 < np.mean(ends.odd) < 0.8
    # At b = 1 it does not matter what q says, at b = 0 not what p says.
    nothing = good._replace(log_q=-jnp.inf)
    assert float(log_density(nothing, jnp.asarray(1.0))) == float(good.log_joint)
    assert float(log_density(bad, jnp.asarray(0.0))) == float(bad.log_q)


def discrete() -> tuple[GenerativeModel, AbstractInference]:
    spec = Specification(
        3, 2, prior="bernoulli", posterior="bernoulli", network="residual(hidden_sizes=4)", dtype="float64"
    )
    return build(spec, start=Start(np.zeros(3), np.full(3, 0.1)), key=KEY).p, Exact()


def one_sentence(found: pytest.ExceptionInfo[ValueError]) -> None:
    said = str(found.value)
    assert said.endswith(".")
    assert ". " not in said
    assert said.count(";") >= 2


def test_discrete_latents_are_refused() -> None:
    with pytest.raises(ValueError, match="must have continuous latents") as found:
        annealed_evidence(*discrete(), rows(2), key=KEY)
    one_sentence(found)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_steps": 0}, "n_steps must be a whole number of at least 1; got 0; 50 is usual"),
        ({"n_chains": 0}, "n_chains must be a whole number of at least 1; got 0; 16 is usual"),
        ({"n_leapfrog": -1}, "n_leapfrog must be a whole number of at least 1; got -1; 3 is usual"),
        ({"chains_at_once": 0}, "chains_at_once must be a whole number of at least 1; got 0"),
        ({"n_chains": 12, "resample": True}, "n_chains must be a multiple of 8 with resample=True"),
        ({"schedule": np.array([0.0, 0.5, 0.5, 1.0])}, "schedule must rise from 0 to 1"),
        ({"schedule": np.array([0.1, 1.0])}, "schedule must rise from 0 to 1"),
        ({"schedule": np.array([0.0])}, "schedule must rise from 0 to 1"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as found:
        annealed_evidence(MODEL.p(), MODEL.q(), rows(2), key=KEY, **options)
    one_sentence(found)
