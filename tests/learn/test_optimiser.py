"""The optimiser against its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tightbound.learn import Optimiser

PEAK = 0.02


def updates(optimiser: Optimiser, gradient: np.ndarray, n: int) -> np.ndarray:
    """The updates of n steps with one and the same gradient, (n, d)."""
    transformation = optimiser.transformation()
    step = jax.jit(transformation.update)
    state = transformation.init(jnp.zeros(len(gradient)))
    taken = []
    for t in range(n):
        direction, state = step(jnp.asarray(gradient), state)
        taken.append(-float(optimiser.rate(jnp.int32(t))) * np.asarray(direction))
    return np.array(taken)


def rate(t: np.ndarray, warmup: int, total: int) -> np.ndarray:
    """peak t / warmup, then peak (1 + cos(pi s)) / 2."""
    s = np.clip((t - warmup) / max(total - warmup, 1), 0, 1)
    return np.where(t < warmup, PEAK * t / max(warmup, 1), PEAK * (1 + np.cos(np.pi * s)) / 2)


@pytest.mark.parametrize(("warmup", "total"), [(0, 8), (3, 10)])
def test_adam_follows_its_schedule_downhill(warmup: int, total: int) -> None:
    """With a constant gradient g, Adam's direction is g / (|g| + epsilon), so that an update is minus the rate."""
    optimiser, g = Optimiser(PEAK, total, warmup, epsilon=0.01), np.array([0.5, -3.0])
    taken = updates(optimiser, g, total + 2)
    expected = -rate(np.arange(total + 2), warmup, total)[:, None] * g / (np.abs(g) + 0.01)
    np.testing.assert_allclose(taken, expected, rtol=1e-6, atol=1e-12)  # optax counts in float32
    np.testing.assert_allclose(taken[total:], 0, atol=1e-15)


def test_a_warm_up_as_long_as_the_fit_is_possible() -> None:
    assert np.all(np.isfinite(updates(Optimiser(PEAK, 3, 3), np.ones(2), 4)))


@pytest.mark.parametrize("clip", [200.0, 350.0, None])
def test_every_derivative_is_clipped_on_its_own(clip: float | None) -> None:
    """Seen in Adam's first moment, a tenth of the first gradient."""
    gradient = {"a": jnp.array([300.0, 7.0]), "b": jnp.array([0.0, -400.0])}
    transformation = Optimiser(PEAK, 10, clip=clip).transformation()
    _, state = transformation.update(gradient, transformation.init(gradient))
    for name, moment in optax.tree_utils.tree_get(state, "mu").items():
        most = np.inf if clip is None else clip
        np.testing.assert_allclose(moment, 0.1 * np.clip(gradient[name], -most, most), rtol=1e-12)


def test_equal_optimisers_are_equal_keys() -> None:
    assert hash(Optimiser(0.1, 10, 2)) == hash(Optimiser(0.1, 10, 2))
    assert Optimiser(0.1, 10, 2) == Optimiser(0.1, 10, 2) != Optimiser(0.1, 10, 3)


@pytest.mark.parametrize("learning_rate", [0.0, -1.0, float("nan")])
def test_a_rate_without_sense_is_refused(learning_rate: float) -> None:
    with pytest.raises(ValueError, match="learning_rate must be above 0; got"):
        Optimiser(learning_rate, 10)


@pytest.mark.parametrize("warmup", [-1, 11])
def test_a_warm_up_outside_the_fit_is_refused(warmup: int) -> None:
    with pytest.raises(ValueError, match=f"warmup_steps must lie between 0 and the number of steps 10; got {warmup}"):
        Optimiser(0.1, 10, warmup)
