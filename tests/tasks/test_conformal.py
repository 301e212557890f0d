"""Conformal p-values and false discoveries on simulated data, within binomial error."""

import numpy as np
import pytest
from scipy import stats

from tightbound.tasks import benjamini_hochberg, conformal_p_values, count_as_low, log_place, typicality


def p_values(scores: list[float], reference: list[float]) -> np.ndarray:
    return conformal_p_values([count_as_low(scores, reference)], [len(reference)])


def test_p_values_by_hand() -> None:
    p = p_values([-9.0, 2.0, -2.0, np.nan, np.inf], [-1.0, -2.0, -3.0])
    np.testing.assert_allclose(p, [1 / 4, 1, 3 / 4, np.nan, 1])


def test_p_values_of_several_models_count_under_each_the_rows_it_has_not_seen() -> None:
    below = [count_as_low([-9.0, -1.5], [-1.0, -2.0]), count_as_low([-1.5, -1.5], [-3.0, -1.0])]
    np.testing.assert_allclose(conformal_p_values(below, [2, 2]), [2 / 5, 3 / 5])


@pytest.mark.parametrize("n", [50, 2000])
def test_a_place_among_draws_is_the_share_of_lower_ones_and_its_tail_that_of_the_scores(n: int) -> None:
    """Scores of Gaussian vectors of two dimensions, -r^2 / 2: P(score <= s) = exp(s), far beyond the lowest draw."""
    drawn = -np.random.default_rng(4).exponential(size=n)
    scores = np.array([-0.5, -1.0, -2.0, -20.0])
    place = log_place(scores, drawn)
    assert (np.diff(place) < 0).all()
    shares = np.exp(scores[:3])
    assert (np.abs(np.exp(place[:3]) - shares) < 4.5 * np.sqrt(shares * (1 - shares) / n) + 1 / n).all()
    # The scale of the tail has a relative error of 1 / sqrt of the draws that it rests on.
    assert abs(place[3] / scores[3] - 1) < 4.5 / np.sqrt(max(5, n // 10)) + 1 / 20
    assert np.exp(log_place(np.sort(drawn)[n // 2], drawn)) == pytest.approx((n // 2 + 1) / n)


def test_places_among_few_different_scores_are_shares_of_those_as_low() -> None:
    np.testing.assert_allclose(np.exp(log_place([1.0, 2.0], [1.0, 1.0, 2.0, 2.0])), [0.5, 1.0])
    assert np.isfinite(log_place([-1e30], [3.0] * 60)).all()


def test_p_values_are_uniform_on_new_rows_and_never_too_small() -> None:
    """19 reference rows: p is uniform on 1/20, ..., 1, whatever the distribution of the scores."""
    rng = np.random.default_rng(0)
    scores = rng.gumbel(size=(20_000, 20)) ** 3
    p = np.array([p_values(row[:1], row[1:])[0] for row in scores])
    counts = np.bincount(np.round(p * 20).astype(int), minlength=21)[1:]
    assert counts.sum() == 20_000
    assert stats.chisquare(counts).pvalue > 1e-4


def test_ties_make_p_values_larger_not_smaller() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 3, size=(5000, 20))
    p = np.array([p_values(row[:1], row[1:])[0] for row in scores])
    for level in (0.05, 0.1, 0.4, 0.7):
        assert np.mean(p <= level) <= level + 4 * np.sqrt(level * (1 - level) / 5000)


def test_q_values_agree_with_scipy() -> None:
    p = np.random.default_rng(2).beta(0.4, 1.0, size=60)
    flags, q = benjamini_hochberg(p, 0.1)
    np.testing.assert_allclose(q, stats.false_discovery_control(p))
    np.testing.assert_array_equal(flags, q <= 0.1)
    assert 0 < flags.sum() < 60


def test_missing_p_values_are_no_hypotheses_and_none_are_fine() -> None:
    p = np.array([0.01, np.nan, 0.5])
    flags, q = benjamini_hochberg(p, 0.1)
    np.testing.assert_array_equal(flags, [True, False, False])
    np.testing.assert_allclose(q, [0.02, np.nan, 0.5])
    assert benjamini_hochberg([], 0.1)[0].shape == (0,)
    assert not benjamini_hochberg([np.nan], 0.1)[0].any()


def test_false_discoveries_stay_below_the_level() -> None:
    """180 normal and 20 anomalous rows, p-values from a shared reference: the rate is at most 0.9 times the level."""
    rng = np.random.default_rng(3)
    level, shares, power = 0.2, [], []
    for _ in range(600):
        reference, normal, anomalous = rng.normal(size=500), rng.normal(size=180), rng.normal(-4, 1, size=20)
        flags, _ = benjamini_hochberg(p_values(np.concatenate([normal, anomalous]), reference), level)
        shares.append(flags[:180].sum() / max(flags.sum(), 1))
        power.append(flags[180:].mean())
    error = np.std(shares) / np.sqrt(600)
    assert np.mean(shares) < 0.9 * level + 3 * error
    assert np.mean(shares) > 0.9 * level - 0.05
    assert np.mean(power) > 0.7


def test_bad_input_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="one number or more; got 0"):
        count_as_low([1.0], [])
    with pytest.raises(ValueError, match="got 2 with 1 that are not a number"):
        count_as_low([1.0], [1.0, np.nan])
    with pytest.raises(ValueError, match="level must lie between 0 and 1; got 1"):
        benjamini_hochberg([0.1], 1)
    with pytest.raises(ValueError, match=r"p-values must lie from 0 to 1; got 1\.5"):
        benjamini_hochberg([0.1, 1.5])
    with pytest.raises(ValueError, match="must have reference rows"):
        typicality([1.0], [])


def test_typicality_is_the_distance_from_the_mean() -> None:
    np.testing.assert_allclose(typicality([-1.0, 5.0], [1.0, 3.0]), [3.0, 3.0])
