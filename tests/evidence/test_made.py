"""Autoregressive models: their density adds up to one, their draws follow it, and the loop fits them."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from tightbound import learn
from tightbound.evidence import MADE, MadeFit, fit_made, make_made
from tightbound.model import ColumnSpecification, Mixture

KEY = jax.random.key(5)
STATES = np.array(list(itertools.product((0.0, 1.0), repeat=6)))
ORDERS = {"natural": None, "shuffled": (3, 0, 5, 1, 4, 2)}
SMALL: dict[str, Any] = {"hidden_sizes": (16,), "epochs": 60, "learning_rate": 0.02, "key": KEY}


BINARY = ColumnSpecification("bernoulli")


def untrained(
    column: ColumnSpecification, d: int, order: Any = None, factor: float = 3.0, observed: Any = None
) -> MADE:
    """Random weights that are larger than usual: cells, and their spreads, that depend on each other strongly."""
    rows = np.random.default_rng(6).integers(0, 2, (50, d)).astype(float)
    return wilder(make_made((column,) * d, rows, observed, hidden_sizes=(16,), order=order, key=KEY), factor)


def wilder(made: MADE, factor: float) -> MADE:
    """The same with larger weights everywhere, in its output layer too."""
    last = made.layers[-1]
    noise = jax.random.normal(KEY, last.weight.shape, last.weight.dtype) / last.weight.shape[0] ** 0.5
    made = eqx.tree_at(lambda m: m.layers[-1].weight, made, noise)
    scale = lambda a: factor * a if a.ndim == 2 else a  # noqa: E731
    return eqx.tree_at(lambda m: m.layers, made, jax.tree.map(scale, made.layers))


def autoregressive(rng: np.random.Generator, n: int) -> np.ndarray:
    """x_1 ~ Bernoulli(0.3), x_j ~ Bernoulli(0.9 where x_{j-1} = x_1, else 0.2): no product, no chain."""
    x = (rng.random((n, 4)) < 0.3).astype(float)
    for j in (1, 2, 3):
        x[:, j] = rng.random(n) < np.where(x[:, j - 1] == x[:, 0], 0.9, 0.2)
    return x


def truth(x: np.ndarray) -> np.ndarray:
    """Its log p(x)."""
    p = [np.full(len(x), 0.3)] + [np.where(x[:, j - 1] == x[:, 0], 0.9, 0.2) for j in (1, 2, 3)]
    p = np.stack(p, axis=1)
    return np.sum(np.log(np.where(x == 1, p, 1 - p)), axis=1)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_probabilities_of_all_states_add_up_to_one(order: Any) -> None:
    made = untrained(BINARY, 6, order)
    log_p = jax.vmap(made.log_prob)(jnp.asarray(STATES))
    assert np.std(log_p) > 0.5
    np.testing.assert_allclose(logsumexp(log_p), 0, atol=1e-12)


def test_each_cell_depends_on_those_before_it_in_its_order() -> None:
    made = untrained(BINARY, 6, ORDERS["shuffled"])
    slopes = np.asarray(jax.jacobian(made.numbers)(jnp.asarray(STATES[21])))
    seen = slopes[np.asarray(made.order)][:, np.asarray(made.order)] != 0
    assert not np.triu(seen).any()
    assert np.tril(seen, -1).sum() == 15


@pytest.mark.parametrize("n_components", [1, 3])
@pytest.mark.parametrize("order", [None, (1, 0)], ids=["natural", "reversed"])
def test_density_of_two_numbers_integrates_to_one(n_components: int, order: Any) -> None:
    made = untrained(ColumnSpecification("gaussian_mixture", n_components, 0.3), 2, order, 1.5)
    line = jnp.linspace(-30, 30, 501)
    grid = jnp.stack(jnp.meshgrid(line, line), axis=-1).reshape(-1, 2)
    log_p = jax.jit(jax.vmap(made.log_prob))(grid)
    np.testing.assert_allclose(jnp.sum(jnp.exp(log_p)) * (line[1] - line[0]) ** 2, 1, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_draws_follow_the_probabilities(order: Any) -> None:
    made, n = untrained(BINARY, 6, order), 20_000
    draws = np.asarray(jax.jit(jax.vmap(lambda key: made.sample(key=key)))(jax.random.split(KEY, n)))
    p = np.exp(jax.vmap(made.log_prob)(jnp.asarray(STATES)))
    counts = np.bincount((draws @ 2 ** np.arange(5, -1, -1)).astype(int), minlength=64)
    error = np.sqrt(n * p * (1 - p))
    assert np.max(np.abs(counts - n * p) / (error + 1)) < 5


def test_draws_of_numbers_follow_the_density() -> None:
    made, n = untrained(ColumnSpecification("gaussian_mixture", 2, 0.3), 2, (1, 0), 1.5), 20_000
    draws = np.asarray(jax.jit(jax.vmap(lambda key: made.sample(key=key)))(jax.random.split(KEY, n)))
    line = jnp.linspace(-30, 30, 501)
    grid = jnp.stack(jnp.meshgrid(line, line), axis=-1).reshape(-1, 2)
    p = np.exp(jax.jit(jax.vmap(made.log_prob))(grid)) * float(line[1] - line[0]) ** 2
    for f in (lambda x: x[:, 0], lambda x: x[:, 1], lambda x: x[:, 0] ** 2, lambda x: x[:, 0] * x[:, 1]):
        values = f(draws)
        assert abs(values.mean() - p @ f(np.asarray(grid))) < 5 * values.std() / np.sqrt(n)


def bernoulli_fit() -> tuple[MadeFit, np.ndarray]:
    rng = np.random.default_rng(1)
    x, held_out = autoregressive(rng, 4000), autoregressive(rng, 2000)
    return fit_made(x, likelihood="bernoulli", validation=held_out, **SMALL), held_out


def test_a_trained_model_reaches_the_entropy() -> None:
    fit, held_out = bernoulli_fit()
    fresh = autoregressive(np.random.default_rng(2), 20_000)
    # KL(truth || fit) as the mean of paired differences, and -entropy as the mean of the truth's own log p.
    kl = truth(fresh) - fit.log_prob(fresh)
    assert abs(kl.mean()) < 5 * kl.std() / np.sqrt(len(fresh)) + 15 / (2 * 4000)  # 15 free probabilities, n = 4000
    states = STATES[:16, 2:]
    entropy = -np.sum(np.exp(truth(states)) * truth(states))
    log_p = fit.log_prob(fresh)
    assert abs(log_p.mean() + entropy) < 5 * log_p.std() / np.sqrt(len(fresh))
    # What the loop reports of the epoch that was kept is the mean of log p.
    best = fit.fits[0].history[fit.fits[0].best_epoch - 1]
    np.testing.assert_allclose(best.validation_bound, fit.log_prob(held_out).mean(), rtol=1e-12)


def test_densities_and_draws_are_in_the_units_of_the_data() -> None:
    rng = np.random.default_rng(3)
    unit = rng.normal(size=(600, 2)) @ np.array([[1.0, 0.9], [0.0, 0.4]])
    factor, shift = np.array([1000.0, 0.01]), np.array([5.0, -3.0])
    one = fit_made(unit, likelihood="gaussian", **SMALL)
    other = fit_made(unit * factor + shift, likelihood="gaussian", **SMALL)
    np.testing.assert_allclose(other.log_prob(unit * factor + shift), one.log_prob(unit) - np.log(10), atol=1e-6)
    np.testing.assert_allclose(np.prod(other.scale), 10 * np.prod(one.scale))
    assert (
        one.fits[0].history[-1].train_bound - np.sum(np.log(one.scale)) > -2.9
    )  # the truth has -1.92, independence -2.84
    draws = one.sample(4000, key=KEY)
    error = unit.std(axis=0) * np.sqrt(1 / 600 + 1 / 4000)
    assert np.all(np.abs(draws.mean(axis=0) - unit.mean(axis=0)) < 5 * error)
    assert abs(np.corrcoef(draws.T)[0, 1] - np.corrcoef(unit.T)[0, 1]) < 0.05


def test_several_orders_are_an_equal_mixture() -> None:
    rng = np.random.default_rng(4)
    x = autoregressive(rng, 200)
    fit = fit_made(x, likelihood="bernoulli", n_orders=3, **{**SMALL, "epochs": 2})
    members = [result.pair.p for result in fit.fits]
    orders = {tuple(np.asarray(m.order).tolist()) for m in members}
    assert isinstance(fit.model, Mixture) and len(orders) > 1 and (0, 1, 2, 3) in orders
    each = np.stack([jax.vmap(m.log_prob)(jnp.asarray(x)) for m in members])
    np.testing.assert_allclose(fit.log_prob(x), logsumexp(each, axis=0) - np.log(3), atol=1e-12)
    np.testing.assert_allclose(logsumexp(fit.log_prob(STATES[:16, 2:])), 0, atol=1e-12)
    draws, p = fit.sample(20_000, key=KEY), np.exp(fit.log_prob(STATES[:16, 2:]))
    counts = np.bincount((draws @ [8, 4, 2, 1]).astype(int), minlength=16)
    assert draws.shape == (20_000, 4)
    assert np.max(np.abs(counts - 20_000 * p) / np.sqrt(20_000 * p * (1 - p))) < 5
    np.testing.assert_array_equal(fit.sample(7, key=KEY).shape, (7, 4))
    alone = fit_made(x, likelihood="bernoulli", order="shuffled", **{**SMALL, "epochs": 2})
    assert isinstance(alone.model, MADE)


MIXED = (ColumnSpecification("categorical", 3), BINARY, ColumnSpecification("cumulative_logit", 3))
CODES = np.array(list(itertools.product(range(3), range(2), range(3))), float)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_whatever_is_missing_the_observed_cells_of_a_mixed_row_add_up_to_one(order: tuple[int, ...]) -> None:
    """And what a cell that is not observed holds changes nothing."""
    rows = CODES[np.random.default_rng(7).integers(0, len(CODES), 60)]
    made = wilder(make_made(MIXED, rows, np.ones(rows.shape, bool), hidden_sizes=(16,), order=order, key=KEY), 3.0)
    for pattern in itertools.product((False, True), repeat=3):
        observed = jnp.array(pattern)
        log_p = np.asarray(jax.vmap(lambda x, seen=observed: made.log_prob(x, seen))(jnp.asarray(CODES)))
        hidden = int(np.prod([n for n, seen in zip((3, 2, 3), pattern, strict=True) if not seen]))
        np.testing.assert_allclose(logsumexp(log_p) - np.log(hidden), 0, atol=1e-12)
        for values in {tuple(row[list(pattern)]) for row in CODES}:
            same = [i for i, row in enumerate(CODES) if tuple(row[list(pattern)]) == values]
            assert np.ptp(log_p[same]) < 1e-12


def test_a_made_of_a_mixed_table_learns_what_its_columns_say_of_each_other() -> None:
    """A level, a count whose mean it sets, a number that follows the count; a third of the cells missing."""
    rng = np.random.default_rng(8)

    def table(n: int) -> tuple[np.ndarray, np.ndarray]:
        level = rng.integers(0, 3, n)
        count = rng.poisson(np.array([1.0, 4.0, 12.0])[level])
        x = np.column_stack([level, count, np.log1p(count) + 0.3 * rng.normal(size=n)])
        return x, rng.random(x.shape) < 2 / 3

    columns = (
        ColumnSpecification("categorical", 3),
        ColumnSpecification("negative_binomial"),
        ColumnSpecification("gaussian"),
    )
    options = {**SMALL, "likelihood": "columns", "columns": columns, "epochs": 30}
    x, observed = table(2000)
    fresh, seen = table(2000)
    fit = fit_made(np.where(observed, x, np.nan), observed, **options)
    alone = fit_made(np.where(observed, x, np.nan), observed, **{**options, "epochs": 1, "learning_rate": 1e-9})
    for mask in (seen, np.ones(seen.shape, bool)):
        gain = fit.log_prob(np.where(mask, fresh, np.nan), mask) - alone.log_prob(np.where(mask, fresh, np.nan), mask)
        assert gain.mean() > 5 * gain.std() / np.sqrt(len(gain)) + 0.2
    both = np.tile([True, True, False], (2, 1))
    np.testing.assert_array_equal(
        fit.log_prob(np.where(both, fresh[:2], 7.0), both), fit.log_prob(np.where(both, fresh[:2], -3.0), both)
    )
    draws = fit.sample(2000, key=KEY)
    for level, mean in enumerate((1.0, 4.0, 12.0)):
        assert abs(draws[draws[:, 0] == level, 1].mean() - mean) < 0.3 * mean
    complete = fit_made(x, **options)
    with pytest.raises(ValueError, match="complete rows"):
        complete.log_prob(np.where(seen, fresh, np.nan), seen)


def test_what_a_made_cannot_do_is_refused_by_name() -> None:
    made = untrained(BINARY, 3)
    with pytest.raises(ValueError, match="cannot leave a cell out"):
        made.log_prob(jnp.zeros(3), jnp.ones(3, bool))
    for name in ("mean", "variance"):
        with pytest.raises(TypeError, match=f"no {name} in closed form"):
            getattr(made, name)
    with pytest.raises(ValueError, match="use a VAE"):
        fit_made(np.array([[0.0, np.nan]]), likelihood="bernoulli", **SMALL)
    observed = learn.Dataset(jnp.zeros((4, 3)), jnp.ones((4, 3), bool))
    recipe = learn.TrainingConfig(learn.Optimiser(0.1, 1), gradient=learn.MaximumLikelihood(), dtype="float64")
    with pytest.raises(ValueError, match="drop or fill in such rows"):
        learn.fit(learn.Pair(made, learn.NoInference()), observed, None, recipe, epochs=1, key=KEY)


ZEROS = np.zeros((2, 2))
BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "likelihood": (
        ZEROS,
        {"likelihood": "poisson"},
        "likelihood must be bernoulli, gaussian or columns; got",
    ),
    "order": (ZEROS, {"order": "random"}, "order must be natural or shuffled"),
    "n_orders": (ZEROS, {"n_orders": 0}, "n_orders must be a whole number of at least 1; got 0"),
    "epochs": (ZEROS, {"epochs": 0}, "epochs must be a whole number"),
    "shape": (np.zeros(3), {}, r"x must be an array \(rows, columns\)"),
    "validation": (ZEROS, {"validation": np.zeros((2, 3))}, r"validation must be an array \(rows, 2\)"),
    "binary": (ZEROS + 0.5, {}, "got 0.5 in row 0, column 0"),
    "components": (ZEROS, {"likelihood": "gaussian", "n_components": 0}, "n_components must be"),
    "floor": (ZEROS, {"likelihood": "gaussian", "floor": 0.0}, "floor must be above 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_sentence(case: str) -> None:
    x, changes, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence):
        fit_made(x, **{"likelihood": "bernoulli", **SMALL, **changes})


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="order must hold each of the numbers 0 to 2 once"):
        make_made((BINARY,) * 3, np.zeros((2, 3)), order=(0, 0, 1), key=KEY)
    with pytest.raises(ValueError, match="activation must be one of"):
        make_made((BINARY,) * 3, np.zeros((2, 3)), activation="sin", key=KEY)
    with pytest.raises(ValueError, match="columns must be given with likelihood='columns'"):
        fit_made(np.zeros((2, 3)), likelihood="columns", **SMALL)
