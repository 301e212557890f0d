"""k-hat against tails whose shape is known."""

import numpy as np
import pytest
from scipy import stats

from tightbound.evidence import khat_threshold, pareto_khat
from tightbound.evidence.result import tail_length


@pytest.mark.parametrize("k", [0.1, 0.5, 0.9, 1.5])
def test_khat_recovers_the_shape_of_a_pareto_tail(k: float) -> None:
    rng = np.random.default_rng(0)
    w = stats.genpareto(k).rvs(size=(40, 20_000), random_state=rng)
    tail = np.sort(np.log(w), axis=1)[:, -tail_length(20_000) - 1 :]
    khat = pareto_khat(tail)
    # The exceedances over a high threshold of a generalised Pareto have its shape again.
    m = tail_length(20_000)
    shrunk = (k * m + 5) / (m + 10)
    assert abs(khat.mean() - shrunk) < 5 * khat.std(ddof=1) / np.sqrt(40) + 0.02


def test_a_short_tail_is_shrunk_towards_one_half() -> None:
    """Of 20 exceedances at the quantiles of their distribution, by the weight of ten observations."""
    m, k = 20, 1.5
    levels = (np.arange(m) + 0.5) / m
    tail = np.log(np.concatenate([[1e-9], stats.genpareto(k).ppf(levels)]))[None]
    assert abs(pareto_khat(tail)[0] - (k * m + 5) / (m + 10)) < 0.15


def test_khat_ignores_order_and_scale_of_the_weights() -> None:
    log_w = np.random.default_rng(1).normal(size=(3, 60)) * 2
    khat = pareto_khat(log_w)
    np.testing.assert_allclose(pareto_khat(log_w[:, ::-1] + 1000), khat, rtol=1e-9)
    assert np.all(np.diff(pareto_khat(np.stack([log_w[0], 2 * log_w[0], 4 * log_w[0]]))) > 0)


def test_equal_weights_have_no_tail_and_few_have_no_khat() -> None:
    assert np.all(pareto_khat(np.zeros((2, 50))) == -np.inf)
    assert np.all(np.isnan(pareto_khat(np.zeros((2, 5)))))


def test_tail_length_and_threshold() -> None:
    assert tail_length(100) == 20
    assert tail_length(10_000) == 300
    assert khat_threshold(100) == pytest.approx(0.5)
    assert khat_threshold(10**6) == 0.7
