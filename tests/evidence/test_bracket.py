"""Both bounds of log p(x): on rows of the model, where the posterior draw is known, and on given rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_annealing import discrete, one_sentence
from walks import KEY, MODEL, Square, apart, gaussian, nonlinear, overflowing, overflowing_log_p, truth, with_network

from tightbound.evidence import approximate_bracket, bidirectional
from tightbound.evidence import bracket as bracket_module
from tightbound.evidence.bracket import CONVERGED_BELOW, Bracket, _split_rhat
from tightbound.evidence.hmc import AT_ONCE, N_ADAPTATION_CHAINS, RowChains, _at, _picked
from tightbound.evidence.rows import posteriors_of, simulate
from tightbound.learn import AbstractInference
from tightbound.model import GenerativeModel
from tightbound.model.streams import Stream

CASES: dict[str, tuple[GenerativeModel, AbstractInference]] = {
    "linear-Gaussian": (MODEL.p(), MODEL.q(stretch=2.0, shift=0.5)),
    "nonlinear": (nonlinear(), gaussian([0.1, -0.1], [0.8, 0.8])),
}


@pytest.fixture(autouse=True)
def ragged_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that do not divide the rows: their ragged ends are seen too."""
    monkeypatch.setattr(bracket_module, "CHAIN_ROWS_AT_ONCE", 12)


def made(p: GenerativeModel, n: int) -> np.ndarray:
    """The rows that `bidirectional` makes with `KEY`."""
    return simulate(p, n, key=Stream.BRACKET_ROWS.of(KEY))[0]


@pytest.mark.parametrize(
    "name", [name if i == 0 else pytest.param(name, marks=pytest.mark.slow) for i, name in enumerate(CASES)]
)
def test_both_sides_hold_in_expectation_and_close_with_temperatures(name: str) -> None:
    """E[lower] <= log p(x) <= E[upper]; before the logarithm both are exact: E[w] / p(x) = 1 = p(x) E[1 / w']."""
    p, q = CASES[name]
    exact = truth(p, q, made(p, 80)) if name == "nonlinear" else MODEL.log_p(made(p, 80))
    bracket = bidirectional(p, q, n_rows=80, n_steps=64, n_chains=8, key=KEY)
    assert apart(bracket.lower - exact) < 3
    assert apart(bracket.upper - exact) > -3
    assert abs(apart(np.exp(bracket.lower - exact), 1.0)) < 4
    assert abs(apart(np.exp(exact - bracket.upper), 1.0)) < 4
    assert bracket.converged.all()
    assert not bracket.approximate
    assert bracket.gap().n_rows == 80
    width = bracket.upper - bracket.lower
    assert apart(width) > 0
    np.testing.assert_allclose(bracket.gap().value, width.mean())
    if name == "linear-Gaussian":  # few temperatures leave both sides plainly away from the truth
        few = bidirectional(p, q, n_rows=80, n_steps=2, n_chains=1, key=KEY)
        assert apart(few.lower - exact) < -3
        assert apart(few.upper - exact) > 3
        assert width.mean() < 0.2 * (few.upper - few.lower).mean()


def test_the_exact_posterior_closes_the_bracket() -> None:
    bracket = bidirectional(MODEL.p(), MODEL.q(), n_rows=80, n_steps=64, n_chains=8, key=KEY)
    exact = MODEL.log_p(made(MODEL.p(), 80))
    np.testing.assert_allclose(bracket.lower, exact, atol=1e-9)
    np.testing.assert_allclose(bracket.upper, exact, atol=1e-9)


def test_one_step_back_is_the_weight_of_the_start() -> None:
    """K = 1: w' = p(x, z) / q(z | x) at the posterior draw, and with K = 2 after one move, at the same step size."""
    p, q, x = MODEL.p(), MODEL.q(stretch=1.5), jnp.asarray(made(MODEL.p(), 3))
    hashes = jnp.arange(3, dtype="uint32")
    chains = RowChains(p, posteriors_of(p, q, x, None, hashes, key=KEY), x, None, hashes, n_chains=4, key=KEY)
    z = jnp.array([[0.3, -0.5], [1.2, 0.4], [-0.8, 0.1]])
    weights = [p.log_joint(x[i], z[i]) - q(p, x[i], key=KEY).log_prob(z[i]) for i in range(3)]

    def back(schedule: list[float], sizes: list[float]) -> np.ndarray:
        chains.place(z)
        chains.backward(np.array(schedule), np.tile(sizes, (3, 1)))
        return chains.log_weight

    np.testing.assert_allclose(back([0.0, 1.0], [0.9]), np.repeat(np.array(weights)[:, None], 4, axis=1), rtol=1e-10)
    still = back([0.0, 0.3, 1.0], [0.9, 1e-9])
    np.testing.assert_allclose(still, np.repeat(np.array(weights)[:, None], 4, axis=1), rtol=1e-6)
    moved = back([0.0, 0.3, 1.0], [1e-9, 0.7])  # that of the temperature 0.3; no move is made at 1
    assert np.all(np.abs(moved - still) > 1e-3)
    np.testing.assert_array_equal(moved, back([0.0, 0.3, 1.0], [0.9, 0.7]))
    # Each move back has the step size that was found at its temperature: 0.6 comes first, then 0.3.
    chains.place(z)
    trajectory = chains.backward(np.array([0.0, 0.3, 0.6, 1.0]), np.tile([0.9, 0.2, 0.7], (3, 1)))
    np.testing.assert_array_equal(trajectory.step_size, np.tile([0.0, 0.7, 0.2], (3, 1)))


def test_places_are_picked_by_their_weights() -> None:
    """Three of two rows' chains, the second of each with all the weight but a third of the first row's."""
    u = jnp.arange(12.0).reshape(2, 6, 1)
    chains = _at(u, 3, 3)
    log_weight = jnp.array([[np.log(0.5), 0.0, -np.inf], [-1e4, -2e4, jnp.nan]])
    chains = chains._replace(log_weight=chains.log_weight._replace(value=log_weight))
    keys = jax.random.split(KEY, (2, 300))
    picked = np.concatenate([np.asarray(_picked(chains, keys[:, i : i + 5], 3))[:, :, 0] for i in range(290)], axis=1)
    assert set(picked[0]) == {0.0, 1.0}
    assert abs(np.mean(picked[0]) - 2 / 3) < 0.06
    assert set(picked[1]) == {6.0}


def test_a_walk_in_several_calls_is_one_walk() -> None:
    """Its length decides nothing else: the first moves of a longer one are the same, and no noise comes twice."""
    p, q, x = MODEL.p(), MODEL.q(stretch=1.5), jnp.asarray(made(MODEL.p(), 2))
    hashes = jnp.arange(2, dtype="uint32")
    chains = RowChains(p, posteriors_of(p, q, x, None, hashes, key=KEY), x, None, hashes, n_chains=4, key=KEY)
    schedule = np.linspace(0, 1, 2 * AT_ONCE + 6)
    long = chains.forward(schedule)
    first = chains.forward(np.append(schedule[: AT_ONCE - 3], 1.0))
    np.testing.assert_array_equal(first.increments, long.increments[:, : AT_ONCE - 3])
    assert long.increments.shape == (2, 2 * AT_ONCE + 5, 4 + N_ADAPTATION_CHAINS)
    assert np.all(long.step_size[:, 0] == 0)
    assert np.all(long.step_size[:, 1:] > 0)
    on = chains.onward(3 * AT_ONCE).quantities
    assert np.all(np.abs(np.diff(on[:, ::AT_ONCE, :, 0], axis=1)).max(axis=2) > 1e-3)


def test_given_rows_are_covered_when_their_chains_agree() -> None:
    p, q = CASES["linear-Gaussian"]
    x = MODEL.sample(np.random.default_rng(0), 60)
    observed = np.random.default_rng(1).random(x.shape) < 0.8
    observed[:, 0] = True
    exact = MODEL.log_p(x, observed)
    bracket = approximate_bracket(p, q, np.where(observed, x, np.nan), observed, n_steps=30, n_chains=8, key=KEY)
    assert bracket.approximate
    assert bracket.converged.mean() > 0.8
    sure = bracket.converged
    assert apart((bracket.lower - exact)[sure]) < 3
    assert apart((bracket.upper - exact)[sure]) > -3
    assert abs(apart(np.exp(exact - bracket.upper)[sure], 1.0)) < 4
    assert apart((bracket.upper - bracket.lower)[sure]) > -3
    assert bracket.gap().value < 0.3
    assert bracket.gap().n_rows == sure.sum()


def test_chains_that_do_not_mix_are_flagged() -> None:
    """x = 4 of x ~ N(z^2, 0.5^2): z is 2 or -2, with a valley of 32 nats between them."""
    p, q = with_network(Square(), 1, 1, 0.5), gaussian([0.0], [2.0])
    x = np.array([[4.0], [4.5], [5.0]])
    bracket = approximate_bracket(p, q, x, n_steps=60, n_chains=16, key=KEY)
    assert not bracket.converged.any()
    assert np.all(bracket.rhat > 2)
    # Annealing itself is right: it starts where both are.
    assert np.all(np.abs(bracket.lower - truth(p, q, x)) < 1)
    assert bracket.gap().n_rows == 0
    assert np.isnan(bracket.gap().value)
    assert "3 rows left out: R-hat of their chains is 1.05 or more" in repr(bracket)


def test_a_decoder_that_overflows_is_lived_with() -> None:
    """Rows that the model cannot make are left out; places that are not a number have no density."""
    p, q = overflowing(MODEL.p()), MODEL.q(stretch=1.5)
    rows = made(p, 40)
    usable = np.isfinite(rows).all(axis=1)
    assert 0 < (~usable).sum() < 20
    bracket = bidirectional(p, q, n_rows=40, n_steps=40, n_chains=8, key=KEY)
    assert len(bracket.lower) == usable.sum()
    exact = overflowing_log_p(rows[usable])
    assert apart(exact - MODEL.log_p(rows[usable])) < -3
    assert np.all(np.isfinite(bracket.lower))
    assert np.all(np.isfinite(bracket.upper))
    assert abs(apart(np.exp(bracket.lower - exact), 1.0)) < 4
    # p(x) E[1 / w'] is the share of forward chains that have a weight at all: those that begin where there is none do
    # not, and the upper bound is that much above.
    assert apart(np.exp(exact - bracket.upper), 1.0) < 3
    assert apart(bracket.upper - exact) > -3
    assert (bracket.upper - exact).mean() < 0.5
    with pytest.raises(ValueError, match="must make rows of finite numbers") as found:
        bidirectional(overflowing(MODEL.p(), -9.0), q, n_rows=4, key=KEY)
    one_sentence(found)


def test_neighbours_change_no_row() -> None:
    p, q = CASES["linear-Gaussian"]
    x = MODEL.sample(np.random.default_rng(2), 6)
    order, seen = np.array([4, 0, 5]), np.arange(18).reshape(6, 3) % 5 > 0
    options = {"n_steps": 30, "n_chains": 8, "key": KEY}
    whole = approximate_bracket(p, q, x, seen, **options)
    some = approximate_bracket(p, q, x[order], seen[order], **options)
    for name in ("lower", "upper", "rhat"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[order])


def test_split_rhat_tells_chains_that_agree_from_those_that_do_not() -> None:
    """As defined: sqrt(((n - 1) W + B) / (n W)) of half chains, with B n times the variance of their means."""
    draws = np.random.default_rng(3).normal(size=(100, 6, 4))
    draws[:, 3, 1] += 2  # one chain elsewhere
    draws[:, :, 2] += np.linspace(0, 4, 100)[:, None]  # all chains on their way together
    draws[:, :, 3] = 1.5  # none moves
    halves = np.concatenate([draws[:50], draws[50:]], axis=1)
    within = halves.var(axis=0, ddof=1).mean(axis=0)
    between = 50 * halves.mean(axis=0).var(axis=0, ddof=1)
    found = _split_rhat(draws)
    expected = np.sqrt((49 / 50 * within + between / 50)[:3] / within[:3])
    np.testing.assert_allclose(found[:3], expected, rtol=1e-12)
    assert found[0] < CONVERGED_BELOW < found[1]
    assert found[2] > CONVERGED_BELOW
    assert found[3] == np.inf


def test_a_bracket_in_words() -> None:
    lower, upper = np.array([-3.0, -2.0]), np.array([-2.5, -1.0])
    simulated = Bracket(lower, upper, 200, 16)
    assert "on rows simulated from the model: 2 of 2 rows" in repr(simulated)
    assert "gap    0.750 +- 0.250" in repr(simulated)
    assert simulated.how.endswith("200 temperatures, 16 chains, and back from the latents that made the rows")
    given = Bracket(lower, upper, 200, 16, np.array([1.01, np.nan]))
    assert given.converged.tolist() == [True, False]
    assert "approximate, on given rows: 1 of 2 rows" in repr(given)
    assert "1 rows left out" in repr(given)
    shifted = given.shifted(np.array([1.0, 2.0]))
    assert shifted.lower.tolist() == [-2.0, 0.0]
    assert shifted.upper.tolist() == [-1.5, 1.0]


@pytest.mark.parametrize("function", ["simulated", "given"])
def test_discrete_latents_are_refused(function: str) -> None:
    p, q = discrete()
    with pytest.raises(ValueError, match="must have continuous latents") as found:
        bidirectional(p, q, key=KEY) if function == "simulated" else approximate_bracket(
            p, q, np.zeros((2, 3)), key=KEY
        )
    one_sentence(found)


@pytest.mark.parametrize(
    ("simulated", "options", "words"),
    [
        (True, {"n_rows": 0}, "n_rows must be a whole number of at least 1; got 0; 100 is usual"),
        (True, {"n_steps": 0}, "n_steps must be a whole number of at least 1; got 0"),
        (True, {"n_chains": -2}, "n_chains must be a whole number of at least 1; got -2"),
        (False, {"n_chains": 3}, "n_chains must be a whole number of at least 4; got 3; 16 is usual"),
        (False, {"n_moves": 7}, "n_moves must be a whole number of at least 8; got 7; 200 is usual"),
        (False, {"n_steps": 0}, "n_steps must be a whole number of at least 1; got 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(simulated: bool, options: dict[str, int], words: str) -> None:
    p, q = CASES["linear-Gaussian"]
    with pytest.raises(ValueError, match=words) as found:
        if simulated:
            bidirectional(p, q, key=KEY, **options)
        else:
            approximate_bracket(p, q, np.zeros((2, 3)), key=KEY, **options)
    one_sentence(found)
