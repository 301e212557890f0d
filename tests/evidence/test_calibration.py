"""The errors that `log_evidence` reports are its errors: a small study by default, the whole one by name."""

import pytest

from calibration import BAD, SHAPES, SMALL_SHAPES, Score, study, summary
from tightbound.evidence import Reliability


def check(scores: list[Score], n_models: int) -> None:
    """What is asked of 100 models, in proportion."""
    good = [score for score in scores if score.q == "good"]
    found = summary(good)
    assert found.n == n_models
    # One in a hundred may be off by chance, and one more where there are few.
    assert found.n - found.n_within <= 1 + n_models // 100, found
    assert found.mean_absolute < 0.05, found
    n = found.n - found.n_exact
    # The variance of n z-scores has a standard error of about sqrt(2 / n); 0.7 to 1.4 is two of them at n = 100.
    slack = max(0.0, 3 * (2 / n) ** 0.5 - 0.3)
    assert 0.7 - slack < found.variance < 1.4 + slack, found
    assert abs(found.mean) < 4 / n**0.5, found
    for name in BAD:
        assert not [score for score in scores if score.q == name and not score.caught]
    assert sum(score.flag is Reliability.GOOD for score in scores) > 0.8 * len(scores)


def test_small_models() -> None:
    check(list(study(16, SMALL_SHAPES, seed=1)), 16)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_models_with_up_to_50_latents_and_784_columns() -> None:
    check(list(study(100, SHAPES, seed=0)), 100)
