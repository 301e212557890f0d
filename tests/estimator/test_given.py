"""Rows given some of their columns: values, ranges, sets; and what cannot be given."""

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mixed_table import SIZES, complete, fitted

from tightbound.data import DataError
from tightbound.estimator.given import parse_given, sample_given

COLUMNS = list(complete().columns)


def test_rows_hold_what_is_given() -> None:
    """Equality, ranges, sets and ordinal ranges at once; the rest respects kinds, levels, bounds and grids."""
    given = {
        "age": 40,
        "height": (165, 180.0),
        "size": ("M", None),
        "colour": {"red", "blue"},
        "income": {0},
        "joined": ("2021-01-01", dt.date(2021, 4, 1)),
    }
    rows = fitted().sample(300, 0, given=given)
    assert isinstance(rows, pd.DataFrame) and list(rows.dtypes) == list(complete().dtypes) and len(rows) == 300
    assert (rows["age"] == 40).all() and (rows["income"] == 0).all()
    assert rows["height"].between(165, 180).all() and rows["height"].nunique() > 20
    np.testing.assert_array_equal(rows["height"], np.round(rows["height"], 1))
    assert set(rows["size"]) == {"M", "L", "XL"} and list(rows["size"].cat.categories) == SIZES
    assert set(rows["colour"]) == {"red", "blue"}
    assert rows["joined"].between("2021-01-01", "2021-04-01").all() and rows["joined"].nunique() > 20
    assert set(rows["member"]) == {True, False}


def test_what_is_given_moves_the_rest() -> None:
    """By importance weights over unconditional draws: shares among the draws that happen to fit what is given."""
    free = fitted().sample(20_000, 1)
    fits = free[free["colour"] == "red"]
    rows = fitted().sample(2000, 2, given={"colour": "red"})
    assert (rows["colour"] == "red").all()
    shares = (
        lambda f: f["member"],
        lambda f: f["size"] >= "L",
        lambda f: f["height"] > 170,
        lambda f: f["income"] == 0,
    )
    for share in shares:
        p, q = share(fits).mean(), share(rows).mean()
        # Draws are resampled from 10,000 latents: some come more than once.
        assert abs(p - q) < 5 * np.sqrt(p * (1 - p) * (1 / len(fits) + 3 / 2000))
    other = free[free["colour"] == "blue"]
    apart = [abs(share(fits).mean() - share(other).mean()) for share in shares]
    assert max(apart) > 0.1  # the other condition gives other rows


def test_a_slice_an_open_end_and_a_list_say_the_same() -> None:
    model = fitted().fitted_

    def sets(given: dict[str, Any]) -> Any:
        return parse_given(model, given).sets

    assert sets({"height": slice(165, 180)}) == sets({"height": (165, 180)})
    assert sets({"size": slice("M", None)}) == sets({"size": ("M", None)})
    for same in (["red", "blue"], {"red", "blue"}, frozenset({"red", "blue"}), np.array(["red", "blue"])):
        assert sorted(sets({"colour": same})[COLUMNS.index("colour")].codes) == [0, 2]
    assert sorted(sets({"size": ["S", "XL"]})[3].codes) == [0, 3]


def test_a_given_value_is_in_the_users_units() -> None:
    known = parse_given(
        fitted().fitted_, {"member": True, "joined": pd.Timestamp("2021-01-02"), "size": "L", "income": 0.0}
    )
    assert known.codes[[3, 5]].tolist() == [2, 1]
    assert known.codes[6] == (pd.Timestamp("2021-01-02") - pd.Timestamp(0)).days
    assert known.observed[0].tolist() == [False, False, True, True, False, True, True] and not known.sets
    plans = fitted().fitted_.encoding.plans
    assert known.x[0, 2] == np.float32(plans[2].places[0])


def test_the_same_seed_gives_the_same_rows() -> None:
    first, again, other = (fitted().sample(50, seed, given={"colour": "red"}) for seed in (4, 4, 5))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert not first.equals(other)
    assert len(fitted().sample(3, 0, given={})) == 3


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another column": ({"weight": 3}, "must be one that the model has: height, age, .*; got 'weight'"),
    "a range of nominal levels": (
        {"colour": ("red", "blue")},
        "'colour' must be on a column with an order; .* blue, green",
    ),
    "three ends": ({"age": (1, 2, 3)}, r"'age' must be two ends; got \(1, 2, 3\); write \(low, high\)"),
    "ends that cross": ({"age": (50, 30)}, "'age' contradicts itself: 50 is above 30; swap them"),
    "levels that cross": ({"size": ("XL", "S")}, "'size' contradicts itself: 3 is above 0"),
    "an empty set": ({"colour": set()}, "'colour' must have a value; got none; leave the column out"),
    "a set of lengths": (
        {"height": {170.0, 180.0}},
        "probability of their own; it is continuous .*none.; give one value",
    ),
    "a set beside the spike": ({"income": {0.0, 100.0}}, r"continuous \(values that repeat: 0.0\)"),
    "an unknown level": ({"colour": "violet"}, "must be one of its levels, blue, green, red; got 'violet'"),
    "an unknown level in a set": ({"size": {"S", "XXL"}}, "'size' must be one of its levels, S, M, L, XL; got 'XXL'"),
    "a word": ({"height": "tall"}, "'height' must be a number; got 'tall'"),
    "nothing": ({"height": None}, "'height' must be a number; got None"),
    "not a number": ({"height": np.nan}, "'height' must be a number; got nan"),
    "an endless number": ({"height": np.inf}, "'height' must be a number; got inf"),
    "a word for a date": ({"joined": "soon"}, "'joined' must be a date such as .*; got 'soon'"),
    "no date": ({"joined": (pd.NaT, None)}, "'joined' must be a date"),
    "below the support": ({"height": -5}, "'height' must lie where the column does, from .*; got -5; give another"),
    "half a person": ({"age": 40.5}, "'age' must be a whole number; got 40.5; give a count"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_given_is_refused_in_one_sentence(name: str) -> None:
    given, sentence = REFUSED[name]
    with pytest.raises(DataError, match=sentence) as refusal:
        fitted().sample(5, 0, given=given)
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)


def test_what_no_row_satisfies_is_said() -> None:
    given = {"height": (1e6, 2e6)}
    with pytest.raises(
        DataError, match=r"satisfied by some row; under the model none satisfies height=.*; widen the ranges"
    ):
        sample_given(fitted().fitted_, 5, given)
