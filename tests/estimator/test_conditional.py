"""The distribution of one column given others: levels, numbers, and what cannot be asked."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from mixed_table import SIZES, complete, fitted, holes, pandas_frame

from tightbound.data import DataError
from tightbound.estimator.given import Conditional


@pytest.fixture(scope="module")
def size() -> Conditional:
    return fitted().conditional(pandas_frame(), "size")


@pytest.fixture(scope="module")
def height() -> Conditional:
    return fitted().conditional(pandas_frame(), "height")


def test_levels_have_probabilities(size: Conditional) -> None:
    assert size.levels == tuple(SIZES) and size.given == ("height", "age", "income", "colour", "member", "joined")
    assert size.probabilities is not None and size.probabilities.shape == (200, 4)
    np.testing.assert_allclose(size.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (size.probabilities >= 0).all() and size.probabilities.std(axis=0).max() > 0.01
    np.testing.assert_array_equal(size.predicted, np.array(SIZES)[size.probabilities.argmax(axis=1)])
    assert repr(size).startswith("Conditional('size', 4 levels, given height, age")


@pytest.mark.parametrize(("target", "levels"), [("colour", ("blue", "green", "red")), ("member", (False, True))])
def test_nominal_and_binary_targets(target: str, levels: tuple[Any, ...]) -> None:
    found = fitted().conditional(pandas_frame().iloc[:20], target, given=["size", "height"])
    assert found.levels == levels and found.given == ("size", "height") and found.probabilities is not None
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert set(found.predicted) <= set(levels)


def test_the_target_itself_is_not_looked_at(size: Conditional) -> None:
    frame = pandas_frame()
    frame["size"] = pd.Categorical([None] * 200, SIZES, ordered=True)
    blind = fitted().conditional(frame, "size")
    np.testing.assert_array_equal(blind.probabilities, size.probabilities)


def test_what_is_not_given_is_not_looked_at() -> None:
    few = fitted().conditional(pandas_frame(), "size", given=["member"])
    assert few.probabilities is not None
    member = complete()["member"].to_numpy()
    for group in (few.probabilities[member], few.probabilities[~member]):
        assert group.std(axis=0).max() < 0.05  # one answer for all rows, up to the noise of 1,000 latents
    nothing = fitted().conditional(pandas_frame().iloc[:5], "size", given=[])
    assert nothing.probabilities is not None and nothing.probabilities.std(axis=0).max() < 0.05
    assert "given nothing" in repr(nothing)
    drawn = fitted().sample(20_000, 0)["size"].value_counts(normalize=True)[SIZES].to_numpy()
    np.testing.assert_allclose(nothing.probabilities.mean(axis=0), drawn, atol=0.05)


def test_numbers_have_draws_a_mean_and_intervals(height: Conditional) -> None:
    assert height.draws is not None and height.draws.shape == (200, 500) and height.levels == ()
    assert height.probabilities is None
    np.testing.assert_array_equal(np.round(height.draws, 1), height.draws)
    np.testing.assert_array_equal(height.median, np.median(height.draws, axis=1))
    np.testing.assert_allclose(height.predicted, height.draws.mean(axis=1), atol=3.0)
    low, high = height.interval(0.9)
    lower, higher = height.interval(0.99)
    assert (
        (low < height.median).all() and (height.median < high).all() and (lower <= low).all() and (higher >= high).all()
    )
    inside = (low <= complete()["height"]) & (complete()["height"] <= high)
    assert inside.mean() > 0.7
    assert "'height', a number, given age" in repr(height)


def test_a_missing_given_cell_is_left_out() -> None:
    """A row in which a given column is missing is answered by the others."""
    frame = pandas_frame()
    row = int(np.flatnonzero(holes()[:, 2] & ~holes()[:, 4])[0])
    two = fitted().conditional(frame.iloc[[row]], "size", given=["income", "colour"])
    one = fitted().conditional(frame.iloc[[row]], "size", given=["colour"])
    np.testing.assert_allclose(two.probabilities, one.probabilities, rtol=1e-6)


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (
            lambda: fitted().conditional(pandas_frame(), "weight"),
            "must be one that the model has: height, .*; got 'weight'",
        ),
        (lambda: fitted().conditional(pandas_frame(), "size", ["weight"]), "got 'weight'; name one of those"),
        (lambda: fitted().conditional(pandas_frame(), "size", ["age", "size"]), "'size' must not be among the given"),
        (lambda: fitted().conditional(pandas_frame(), "size", n_samples=0), "n_samples"),
    ],
)
def test_what_cannot_be_asked(ask: Any, sentence: str) -> None:
    with pytest.raises((DataError, ValueError), match=sentence):
        ask()


def test_a_level_has_no_interval_and_a_number_one_between_0_and_1(size: Conditional, height: Conditional) -> None:
    for use in (lambda: size.interval(0.9), lambda: size.median):
        with pytest.raises(ValueError, match="'size' has levels and no draws; use its probabilities"):
            use()
    with pytest.raises(ValueError, match=r"level must be a probability between 0 and 1; got 1.5; 0.9 is usual"):
        height.interval(1.5)
