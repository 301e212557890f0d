"""Steps that are not finite: undone, retried with a smaller step, and a fit that ends with a sentence that helps."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_pairs import (
    all_finite,
    assert_same_bits,
    assert_same_fit,
    batches_seen,
    blind_pair,
    exact_pair,
    recipe,
    run,
    with_network,
)

from tightbound.learn import FitResult, Optimiser, Status
from tightbound.learn.loop import MAX_RETRIES, MAX_UNDONE, non_finite_leaves

Network = Callable[[jax.Array], jax.Array]


class RareNaN(eqx.Module):
    """Overflows for one draw of z in fifteen, as exp of a rare large number would."""

    inner: Network

    def __call__(self, z: jax.Array) -> jax.Array:
        return jnp.where(z[0] > 1.5, jnp.nan, self.inner(z))


class Cliff(eqx.Module):
    """Overflows as soon as the mean's first number is above 0.5."""

    inner: Network

    def __call__(self, z: jax.Array) -> jax.Array:
        return jnp.where(self.inner.layers[0].bias[0] > 0.5, jnp.nan, self.inner(z))


class SteepRoot(eqx.Module):
    """A finite value, whose derivative for `root` is not a number at zero."""

    inner: Network
    root: jax.Array

    def __call__(self, z: jax.Array) -> jax.Array:
        return self.inner(z) + 0 * jnp.sqrt(self.root)


class HiddenRoot(eqx.Module):
    """The same, but with a value that stays finite even when `root` itself is not a number."""

    inner: Network
    root: jax.Array

    def __call__(self, z: jax.Array) -> jax.Array:
        return self.inner(z) + jnp.where(self.root > 0, jnp.sqrt(self.root), 0)


@pytest.mark.parametrize("bad", [1e200, np.inf, np.nan], ids=["huge", "infinite", "nan"])
def test_a_row_without_a_finite_bound_is_named(bad: float) -> None:
    pair, _ = exact_pair()
    x = np.random.default_rng(0).normal(size=(11, 3))
    x[8, 1] = bad
    result, record = run(pair, x, recipe(0.01, batch_size=4), epochs=3)
    assert result.status is Status.NON_FINITE
    assert result.detail.startswith(Status.NON_FINITE.value + " ")
    assert "training row 8 (and 0 more of" in result.detail
    assert record.states == []
    assert_same_bits(eqx.filter(result.pair, eqx.is_inexact_array), eqx.filter(pair, eqx.is_inexact_array))


def test_the_number_of_tries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from tightbound.learn import loop

    factors: dict[int, float] = {}
    inner = loop.run_epochs

    def counted(*args: object) -> object:
        factors.setdefault(int(args[7]), float(args[2].step_factor))
        return inner(*args)

    monkeypatch.setattr(loop, "run_epochs", counted)
    x = np.ones((11, 3))
    x[8] = np.inf
    run(exact_pair()[0], x, recipe(0.01, batch_size=4), epochs=3)
    expected = [0.1**undone * 0.5**retry for undone in range(MAX_UNDONE + 1) for retry in range(MAX_RETRIES + 1)]
    np.testing.assert_allclose([factors[attempt] for attempt in sorted(factors)], expected)


def rows_and_validation() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(11, 3)), rng.normal(size=(5, 3))


def test_the_last_good_parameters_and_history_are_kept() -> None:
    """Two good epochs, then data that cannot be learnt from."""
    x, validation = rows_and_validation()
    pair, how = exact_pair()[0], recipe(0.01, batch_size=4)
    good, record = run(pair, x, how, validation, epochs=2)
    x[3, 0] = np.inf
    result, later = run(pair, x, how, validation, epochs=9, resume_from=(record.states[-1], record.histories[-1]))
    assert result.status is Status.NON_FINITE
    assert "training row 3 " in result.detail
    assert later.states == []
    assert result.history == good.history
    assert result.best_epoch == good.best_epoch > 0
    assert_same_bits(eqx.filter(result.pair, eqx.is_inexact_array), record.states[-1].best)
    assert all_finite(result.pair)


@pytest.mark.parametrize(("root", "batch_size"), [(SteepRoot, 4), (HiddenRoot, 2)])
def test_a_gradient_that_is_not_finite_is_named_by_its_parameter(root: type, batch_size: int) -> None:
    pair = with_network(blind_pair(2), lambda n: root(n, jnp.zeros(())))
    result, record = run(pair, np.ones((4, 2)), recipe(0.01, batch_size=batch_size), epochs=2)
    assert result.status is Status.NON_FINITE
    assert "In epoch 1 the gradient of p.decoder.network.root (and 0 more arrays) is not finite" in result.detail
    assert record.states == []
    assert_same_bits(eqx.filter(result.pair, eqx.is_inexact_array), eqx.filter(pair, eqx.is_inexact_array))


def test_non_finite_leaves_are_found_by_path() -> None:
    tree = {"good": jnp.ones(2), "nan": jnp.array([0, jnp.nan]), "infinite": jnp.array(jnp.inf), "whole": jnp.arange(2)}
    assert non_finite_leaves(tree) == ["['infinite']", "['nan']"]


def test_a_rare_overflow_is_retried_with_fresh_noise_and_costs_no_row() -> None:
    """After the retries every row of every epoch has been seen once, and the epoch's bound is the mean of its rows."""
    pair = with_network(blind_pair(10), RareNaN)
    result, record = run(pair, np.eye(10), recipe(batch_size=4), epochs=20)
    assert result.status is Status.COMPLETED
    assert min(record.factors) < 1
    inner = record.states[0].parameters.p.decoder.network
    assert all_finite(inner)
    flat = [_without_wrapper(state) for state in record.states]
    for batches in batches_seen(flat, 3):
        assert sorted(row for batch in batches for row in batch) == list(range(10))
    for entry in result.history:
        assert entry.train_bound == pytest.approx(-5 * np.log(2 * np.pi) - 0.5, abs=1e-9)
    assert int(record.states[-1].step) == 3 * 20  # a step that was undone is not counted


def _without_wrapper(state: object) -> object:
    def wrapped(node: object) -> bool:
        return isinstance(node, RareNaN)

    return jax.tree.map(lambda node: node.inner if wrapped(node) else node, state, is_leaf=wrapped)


CLIFF = with_network(blind_pair(1), Cliff)
TOO_FAST = Optimiser(0.2, 10**9, clip=None)
FAR = np.full((20, 1), 10.0)


def test_a_rate_that_is_too_high_is_lowered_and_the_fit_goes_on() -> None:
    """Steps of 0.2 fall off the cliff at 0.5 within an epoch of ten; undone and run again with a tenth, they do not."""
    result, record = run(CLIFF, FAR, recipe(optimiser=TOO_FAST, batch_size=2), epochs=4)
    assert result.status is Status.COMPLETED
    assert len(result.history) == 4
    assert record.factors[0] == pytest.approx(0.2)  # a tenth, doubled after a whole finite epoch
    assert all(factor < 1 for factor in record.factors)
    assert np.isfinite([entry.train_bound for entry in result.history]).all()
    bias = [float(state.parameters.p.decoder.network.inner.layers[0].bias[0]) for state in record.states]
    assert bias[0] == pytest.approx(0.2, rel=0.02)  # ten steps of 0.02
    assert np.all(np.diff(bias) > 0)
    assert bias[-1] <= 0.5


@pytest.fixture(scope="module")
def one_batch_an_epoch() -> FitResult:
    """The same, where an epoch is a single step: the third one goes too far, and the fourth epoch finds out."""
    return run(CLIFF, FAR, recipe(optimiser=TOO_FAST, batch_size=100), epochs=6)[0]


def test_a_rate_that_is_too_high_is_lowered_where_an_epoch_is_one_batch(one_batch_an_epoch: FitResult) -> None:
    assert one_batch_an_epoch.status is Status.COMPLETED


def test_the_parameters_kept_have_a_finite_bound(one_batch_an_epoch: FitResult) -> None:
    assert all_finite(one_batch_an_epoch.pair.p.decoder(jnp.zeros(1)).mean)


def test_a_step_that_goes_too_far_at_the_end_of_an_epoch_is_undone() -> None:
    """In the third epoch the network overflows: it is run again with a smaller step, and every bound is finite."""
    result, record = run(CLIFF, FAR, recipe(optimiser=TOO_FAST, batch_size=100), FAR, epochs=3)
    assert all(np.isfinite(epoch.validation_bound) for epoch in result.history)
    assert result.best_epoch >= 2
    assert_same_bits(eqx.filter(result.pair, eqx.is_inexact_array), record.states[result.best_epoch - 1].parameters)
    assert 0.35 < float(result.pair.p.decoder.network.inner.layers[0].bias[0]) < 0.5


def test_validation_rows_without_a_finite_bound_do_not_pass_as_success() -> None:
    x, validation = rows_and_validation()
    validation[2] = 1e200
    result, _ = run(exact_pair()[0], x, recipe(0.01, batch_size=4), validation, epochs=3)
    assert result.status is Status.NON_FINITE
    assert "validation" in result.detail


def test_how_many_epochs_run_at_once_changes_no_bit() -> None:
    """Retries included: an epoch that is undone among others is the same as one that was run by itself."""
    pair = with_network(blind_pair(10), RareNaN)
    one, _ = run(pair, np.eye(10), recipe(batch_size=4), epochs=30)
    several, record = run(pair, np.eye(10), recipe(batch_size=4), epochs=30, seconds_a_call=1e9)
    assert len(record.states) < 30
    assert_same_fit(several, one)
