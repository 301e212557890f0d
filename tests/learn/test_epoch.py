"""One epoch: every row once, weights of ragged batches, all validation rows, the KL's warm-up, the step factor."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_gaussian import LinearGaussian
from scipy import stats
from small_pairs import ADAM_DECAY, KEY, batches_seen, blind_pair, exact_pair, first_moment, network_pair, recipe, run

from tightbound.learn import (
    ELBO,
    AbstractRegulariser,
    Dataset,
    Optimiser,
    Pair,
    Schedule,
    draw,
    initial_state,
    mean_bound,
)
from tightbound.learn import epoch as epoch_module
from tightbound.learn.regularisers import Minibatch


@pytest.mark.parametrize(("n", "batch_size", "n_batches"), [(1, 100, 1), (10, 4, 3)])
def test_every_row_of_every_epoch_is_seen_exactly_once(n: int, batch_size: int, n_batches: int) -> None:
    """Short batches included, each row with the weight 1 / (rows in its batch), in an order that is always new."""
    _, record = run(blind_pair(n), np.eye(n), recipe(batch_size=batch_size), epochs=4)
    epochs = batches_seen(record.states, n_batches)
    for batches in epochs:
        assert sorted(row for batch in batches for row in batch) == list(range(n))
        assert all(0 < len(batch) <= batch_size for batch in batches)
    if n_batches > 1:
        assert len({str(batches) for batches in epochs}) > 1
    assert int(record.states[-1].step) == 4 * n_batches


def test_the_order_depends_on_the_key() -> None:
    orders = [
        str(batches_seen(run(blind_pair(10), np.eye(10), recipe(batch_size=4), key=jax.random.key(i))[1].states, 3))
        for i in range(3)
    ]
    assert len(set(orders)) > 1


def test_no_batch_is_a_handful_of_rows() -> None:
    """Ten rows at four are 4, 3, 3 and not 4, 4, 2."""
    _, record = run(blind_pair(10), np.eye(10), recipe(batch_size=4))
    assert [len(batch) for batch in batches_seen(record.states, 3)[0]] == [4, 3, 3]


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five validation rows at a time, so that thirteen are three chunks, two of them short."""
    monkeypatch.setattr(epoch_module, "VALIDATION_CHUNK", 5)


@pytest.mark.usefixtures("short_chunks")
def test_bounds_are_means_over_all_rows() -> None:
    """At the exact posterior a row's bound is its log p(x): rows that fill up a short batch or chunk must not count."""
    pair, model = exact_pair()
    rng = np.random.default_rng(1)
    x, validation = model.sample(rng, 10) * 3, model.sample(rng, 13) * 3
    result, _ = run(pair, x, recipe(batch_size=4), validation, epochs=2)
    for entry in result.history:
        assert entry.train_bound == pytest.approx(float(model.log_p(x).mean()), abs=1e-8)
        assert entry.validation_bound == pytest.approx(float(model.log_p(validation).mean()), abs=1e-8)


@pytest.mark.usefixtures("short_chunks")
def test_validation_noise_is_the_same_in_every_epoch() -> None:
    """Epochs are compared on the same draws, so that the best is not the luckiest."""
    _, model = exact_pair()
    pair = Pair(model.p(), model.q(stretch=1.4))
    rng = np.random.default_rng(0)
    result, _ = run(pair, model.sample(rng, 10), recipe(batch_size=4), model.sample(rng, 13), epochs=3)
    assert np.ptp([entry.validation_bound for entry in result.history]) < 1e-8
    assert np.ptp([entry.train_bound for entry in result.history]) > 1e-3  # that of training is new in every epoch


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("n", [1, 5])
def test_mean_bound_takes_all_rows(n: int) -> None:
    pair, model = exact_pair()
    x = model.sample(np.random.default_rng(n), n) * 3
    bound = jax.jit(lambda data: mean_bound(pair, recipe(), data, key=KEY))(Dataset(jnp.asarray(x)))
    assert float(bound) == pytest.approx(float(model.log_p(x).mean()), abs=1e-9)


def test_missing_cells_count_for_nothing_in_training_and_validation() -> None:
    """The blind model factorises: the bound of a row is the density of its observed cells."""
    rng = np.random.default_rng(2)
    x, observed = rng.normal(size=(7, 3)) + 2, rng.random((7, 3)) < 0.5
    exact = float(np.where(observed, stats.norm.logpdf(x), 0).sum(axis=1).mean())
    data = Dataset(jnp.where(observed, x, jnp.nan), jnp.asarray(observed))
    result, _ = run(blind_pair(3), data, recipe(batch_size=4), data)
    assert result.history[0].train_bound == pytest.approx(exact, abs=1e-9)
    assert result.history[0].validation_bound == pytest.approx(exact, abs=1e-9)


def test_intensities_are_binarised_anew_in_every_epoch_and_once_for_validation() -> None:
    x = np.full((6, 3), 128, np.uint8)
    x[:, 1] = 30
    pair = network_pair(likelihood="bernoulli")
    weights = lambda a: (a.p.decoder.network.layers[-1].weight, a.q.encoder.network.layers[-1].weight)  # noqa: E731
    blind = eqx.tree_at(weights, pair, replace_fn=jnp.zeros_like)  # no other noise than the binarisation's
    blind = eqx.tree_at(lambda a: a.p.decoder.network.layers[-1].bias, blind, jnp.array([0.4, -1.0, 2.0]))
    result, _ = run(blind, x, recipe(objective=ELBO(), batch_size=6), x, epochs=6)
    assert len({round(entry.train_bound, 9) for entry in result.history}) > 1
    assert np.ptp([entry.validation_bound for entry in result.history]) < 1e-8


class Nearest(AbstractRegulariser):
    """The distance of the nearest two of the rows' draws and draws of the prior."""

    def check(self, q: object, prior: object) -> None:
        pass

    def __call__(self, batch: Minibatch, *, key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, len(batch.z))
        prior = jax.vmap(lambda k: batch.prior.sample(key=k))(keys)
        return jax.lax.stop_gradient(jnp.min(jnp.abs(batch.z[:, None, 0] - prior[None, :, 0])))


def test_a_regulariser_s_draws_are_not_the_rows_own() -> None:
    """With q the prior, equal keys would give equal numbers."""
    x = np.zeros((6, 1))
    result, _ = run(blind_pair(1), x, recipe(regulariser=Nearest(), batch_size=6), epochs=3)
    nearest = [stats.norm.logpdf(0) - entry.train_objective for entry in result.history]
    assert len(nearest) == 3
    assert min(nearest) > 1e-6


WARMUP_WEIGHTS = [0, 0.25, 0.5, 0.75, 1, 1]


def test_kl_weight_rises_linearly_in_steps() -> None:
    weight = Schedule(steps=4)
    np.testing.assert_allclose([weight(jnp.int32(t), "float64") for t in range(6)], WARMUP_WEIGHTS)
    np.testing.assert_allclose(Schedule(3.0, 4)(jnp.int32(1), "float64"), 0.75)
    assert float(recipe().kl_weight(jnp.int32(0), "float64")) == 1
    assert weight(jnp.int32(1), "float32").dtype == "float32"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("cosine", [0, 0.5 - 0.5**1.5, 0.5, 0.5 + 0.5**1.5, 1, 1]), ("cyclical", [0, 0.5, 1, 1, 0, 0.5])],
)
def test_other_schedules_of_the_kl_weight(kind: str, expected: list[float]) -> None:
    """(1 - cos(pi t / 4)) / 2; and up in two steps, there for two, and anew."""
    weight = Schedule(steps=4, kind=kind)
    np.testing.assert_allclose([weight(jnp.int32(t), "float64") for t in range(6)], expected, atol=1e-15)


def test_kl_warm_up_weighs_the_gradient_and_not_the_bound() -> None:
    """With a decoder that is blind to z, the gradient for q's shift of 1 is the KL's alone, weight x 1."""
    x = np.random.default_rng(1).normal(size=(6, 1))
    how = recipe(objective=ELBO(), batch_size=2, kl_weight=Schedule(steps=4))
    result, record = run(blind_pair(1, shift=1.0), x, how, x, epochs=2)
    signal = 0.0
    for epoch, state in enumerate(record.states):
        for weight in WARMUP_WEIGHTS[3 * epoch : 3 * epoch + 3]:
            signal = ADAM_DECAY * signal + (1 - ADAM_DECAY) * weight
        np.testing.assert_allclose(first_moment(state).q.shift, signal, rtol=1e-9)
    exact = float(stats.norm.logpdf(x).mean()) - 0.5
    for entry in result.history:
        assert entry.train_bound == pytest.approx(exact, abs=1e-8)
        assert entry.validation_bound == pytest.approx(exact, abs=1e-8)
    # What is maximised is the bound plus what the weight leaves out of the KL of 1/2.
    means = np.reshape(WARMUP_WEIGHTS, (2, 3)).mean(axis=1)
    found = [entry.train_objective for entry in result.history]
    np.testing.assert_allclose(found, exact + 0.5 * (1 - means), atol=1e-8)


MEAN_OF_20 = np.random.default_rng(5).normal(size=(20, 2)) + np.array([3.0, -2.0])
MEAN_RECIPE = recipe(optimiser=Optimiser(0.3, 400), batch_size=20)


def test_the_step_factor_scales_the_step() -> None:
    """Adam's first step has the length of the rate; with half the factor, half of it."""
    pair = blind_pair(2)
    start = initial_state(pair, MEAN_RECIPE)
    halved = eqx.tree_at(lambda s: s.step_factor, start, start.step_factor * 0.5)
    for state, length in ((start, 0.3), (halved, 0.15)):
        _, record = run(pair, MEAN_OF_20, MEAN_RECIPE, resume_from=(state, ()))
        bias = record.states[0].parameters.p.decoder.network.layers[0].bias
        np.testing.assert_allclose(bias, [length, -length], rtol=1e-3)


def test_learning_finds_the_maximum_likelihood_mean() -> None:
    """Downhill and not up: the mean of the blind model goes to the mean of the data."""
    result, _ = run(blind_pair(2), MEAN_OF_20, MEAN_RECIPE, epochs=400, seconds_a_call=9)
    np.testing.assert_allclose(result.pair.p.decoder.network.layers[0].bias, MEAN_OF_20.mean(axis=0), atol=0.02)


def test_the_step_factor_grows_back_to_one_and_no_further() -> None:
    pair, how = blind_pair(10), recipe(batch_size=4)
    start = initial_state(pair, how)
    start = eqx.tree_at(lambda s: s.step_factor, start, start.step_factor / 8)
    _, record = run(pair, np.eye(10), how, epochs=5, resume_from=(start, ()))
    assert record.factors == [0.25, 0.5, 1, 1, 1]


def test_a_fit_of_weakly_typed_numbers_compiles_once() -> None:
    """A user's parameter may be a Python number; the first step must not turn it into another type."""
    pair = blind_pair(2)
    pair = eqx.tree_at(lambda a: a.p.decoder.head.raw_scale, pair, jnp.asarray(0.3))
    assert pair.p.decoder.head.raw_scale.weak_type
    state = initial_state(pair, recipe())
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))


def test_a_linear_model_learns_its_evidence() -> None:
    """Trained with the full posterior and one scale, the bound reaches the best log p(x) a linear model has (PPCA)."""
    rng = np.random.default_rng(6)
    model = LinearGaussian(rng.normal(size=(4, 1)) * 2, rng.normal(size=4), 0.7)
    x = model.sample(rng, 60)
    values = np.linalg.eigvalsh(np.cov(x.T, ddof=0))[::-1]
    s2 = values[1:].mean()
    best = -0.5 * (4 * np.log(2 * np.pi) + np.log(values[0]) + 3 * np.log(s2) + 4)
    pair = network_pair(4, latent_dim=1, network="linear", likelihood="gaussian(covariance=shared)")
    how = recipe(optimiser=Optimiser(0.15, 800, 30), objective=ELBO(5), batch_size=60)
    result, _ = run(pair, x, how, epochs=800, seconds_a_call=9)
    trained = float(jax.jit(lambda p: jnp.mean(bounds(p, jnp.asarray(x))))(result.pair))
    assert best - 0.03 < trained < best + 0.01


def bounds(pair: Pair, x: jax.Array) -> jax.Array:
    """The mean bound over 1,000 draws of each row."""

    def one(x: jax.Array, key: jax.Array) -> jax.Array:
        return ELBO(1000).value(
            draw(pair.p, pair.q(pair.p, x, key=key), x, None, n_samples=1000, with_kl=True, key=key)
        )

    return jax.vmap(one)(x, jax.random.split(KEY, len(x)))
