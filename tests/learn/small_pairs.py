"""Pairs small enough to compile in a second, some of them with an answer that is known exactly."""

from collections.abc import Callable
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from linear_gaussian import LinearGaussian

from tightbound.learn import (
    ELBO,
    Dataset,
    EpochRecord,
    FitResult,
    FitState,
    Optimiser,
    Pair,
    TrainingConfig,
    fit,
    loop,
    make_inference,
)
from tightbound.model import Specification, Start, build

KEY = jax.random.key(7)
ADAM_DECAY = 0.9


def network_pair(d: int = 3, seed: int = 0, **changes: object) -> Pair:
    """An ordinary untrained pair of small networks."""
    values = {"latent_dim": 2, "network": "residual(hidden_sizes=(5,))", "dtype": "float64", **changes}
    spec = Specification(n_features=d, **values)
    parts = build(spec, start=Start(np.zeros(d), np.full(d, 0.01)), key=jax.random.key(seed))
    return Pair(parts.p, make_inference(spec, parts))


def blind_pair(d: int, shift: float = 0.0) -> Pair:
    """x ~ N(mu, I) whatever z is, with mu = 0, and q = N(shift, 1): log p(x) is exact, d/dmu of the bound is x - mu."""
    model = LinearGaussian(np.zeros((d, 1)), np.zeros(d), 1.0)
    return Pair(model.p(), model.q(shift=shift))


def exact_pair(d: int = 3) -> tuple[Pair, LinearGaussian]:
    """A linear-Gaussian model with its exact posterior: the sampled bound is log p(x) for every key."""
    model = LinearGaussian.random(np.random.default_rng(3), d, 2)
    return Pair(model.p(), model.q()), model


def with_network(pair: Pair, wrap: Callable[[Callable], Callable]) -> Pair:
    """The pair with its decoder's network replaced."""
    return eqx.tree_at(lambda a: a.p.decoder.network, pair, wrap(pair.p.decoder.network))


def recipe(learning_rate: float = 1e-13, **changes: object) -> TrainingConfig:
    """A recipe in float64 that hardly moves the parameters, with the bound estimated by samples alone."""
    values = {
        "optimiser": Optimiser(learning_rate, 10**9, clip=None),
        "objective": ELBO(closed_form_kl=False),
        "dtype": "float64",
        **changes,
    }
    return TrainingConfig(**values)


class Recorder:
    """Keeps what `fit` reports."""

    def __init__(self) -> None:
        self.states: list[FitState] = []
        self.histories: list[tuple[EpochRecord, ...]] = []

    def __call__(self, state: FitState, history: tuple[EpochRecord, ...]) -> None:
        self.states.append(state)
        self.histories.append(history)

    @property
    def factors(self) -> list[float]:
        return [float(state.step_factor) for state in self.states]


def run(
    pair: Pair,
    x: np.ndarray | Dataset,
    how: TrainingConfig,
    validation: np.ndarray | Dataset | None = None,
    *,
    epochs: int = 1,
    seconds_a_call: float = 0,
    **options: object,
) -> tuple[FitResult, Recorder]:
    """`fit` on arrays, with everything it reported: after every epoch, or as many as fit into `seconds_a_call`."""
    recorder = Recorder()
    options = {"key": KEY, "on_progress": recorder, **options}
    train, held_out = _dataset(x), None if validation is None else _dataset(validation)
    with mock.patch.object(loop, "_SECONDS_A_CALL", seconds_a_call):
        return fit(pair, train, held_out, how, epochs=epochs, **options), recorder


def _dataset(rows: np.ndarray | Dataset) -> Dataset:
    return rows if isinstance(rows, Dataset) else Dataset(jnp.asarray(rows))


def first_moment(state: FitState) -> Pair:
    """Adam's running mean of the gradients of the loss."""
    return Pair(*(optax.tree_utils.tree_get(part, "mu") for part in state.optimiser))


def batches_seen(states: list[FitState], n_batches: int) -> list[list[list[int]]]:
    """For each epoch the rows of each of its batches, read off Adam's first moment.

    The rows are the unit vectors and the pair is `blind_pair`: the gradient of the mean's i-th number is -1/b in the
    batch of b rows that holds row i, else 0 (up to the learning rate). Adam remembers it times 0.1 x 0.9^age, so the
    number of row i tells in which batch it was, once, and with which weight.
    """
    epochs = []
    before = 0.0
    for state in states:
        moment = np.asarray(first_moment(state).p.decoder.network.layers[0].bias)
        epochs.append(_decoded((moment - before * ADAM_DECAY**n_batches) / (ADAM_DECAY - 1), n_batches))
        before = moment
    return epochs


def _decoded(signal: np.ndarray, n_batches: int) -> list[list[int]]:
    batches = []
    for batch in range(n_batches):
        age = n_batches - 1 - batch
        rows = [
            i
            for i, value in enumerate(signal)
            if np.isclose(value * np.sum(np.isclose(signal, value, rtol=1e-6)), ADAM_DECAY**age, rtol=1e-6)
        ]
        batches.append(rows)
    return batches


def assert_same_bits(a: object, b: object) -> None:
    """Two trees have the same leaves, to the bit."""
    leaves, other = jax.tree_util.tree_leaves_with_path(a), jax.tree_util.tree_leaves_with_path(b)
    assert [path for path, _ in leaves] == [path for path, _ in other]
    for (path, leaf), (_, twin) in zip(leaves, other, strict=True):
        name = jax.tree_util.keystr(path)
        if not eqx.is_array(leaf):
            assert leaf == twin, name
            continue
        assert leaf.dtype == twin.dtype, name
        assert np.asarray(leaf).tobytes() == np.asarray(twin).tobytes(), name


def assert_same_fit(a: FitResult, b: FitResult) -> None:
    """Same parameters, history and end, to the bit."""
    assert_same_bits(eqx.filter(a.pair, eqx.is_array), eqx.filter(b.pair, eqx.is_array))
    assert repr(a.history) == repr(b.history)
    assert (a.best_epoch, a.status, a.detail) == (b.best_epoch, b.status, b.detail)


def all_finite(tree: object) -> bool:
    """Whether no array holds a NaN or an infinity."""
    return all(bool(jnp.all(jnp.isfinite(a))) for a in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)))
