"""The scales that columns are modelled on, how a column is planned, and a mixed table as the model sees it and back."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mixed_table
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from tightbound.data import (
    Column,
    ColumnwiseEncoding,
    DataError,
    Preprocessing,
    as_table,
    coded,
    infer_schema,
    make_columns_encoding,
    read_table,
)
from tightbound.data.columns import ColumnPlan, plan_column
from tightbound.data.columns.scales import Affine, Log, NormalScores, Scale, scale_from_json
from tightbound.data.types import (
    TYPES,
    Binary,
    Bounded,
    Categorical,
    ColumnType,
    Count,
    Datetime,
    Ordinal,
    Positive,
    Real,
)

RNG = np.random.default_rng(6)
SKEWED = np.exp(RNG.normal(1.0, 1.2, size=3000))
STEEP = NormalScores((0.0, 1e-3, 50.0), (-1.0, 1.0, 1.1))
SCORES = NormalScores.of(SKEWED)
assert SCORES is not None
SCALES: dict[str, tuple[Scale, np.ndarray]] = {
    "affine": (Affine(3.0, 2.0), np.linspace(-50, 50, 101)),
    "log": (Log(-1.0, 0.5, 2.0), np.geomspace(1e-3, 1e4, 101) - 1),
    "normal scores": (SCORES, np.append(np.linspace(-5, 100, 300), np.geomspace(0.01, 9, 300))),
    "steep": (STEEP, np.append(np.linspace(-1, 60, 598), STEEP.x)),
}
each_scale = pytest.mark.parametrize("name", SCALES)

# Scales


@each_scale
def test_a_scale_increases_and_comes_back(name: str) -> None:
    scale, x = SCALES[name][0], np.sort(SCALES[name][1])
    y, log_slope = scale.forward(x)
    assert y.dtype == log_slope.dtype == np.float64
    assert (np.diff(y)[np.diff(x) > 0] > 0).all()
    np.testing.assert_allclose(scale.inverse(y), x, rtol=1e-10, atol=1e-10)


@each_scale
def test_the_log_slope_is_that_of_finite_differences(name: str) -> None:
    scale, x = SCALES[name]
    step = 1e-6 * np.maximum(np.abs(x - (-1.0 if name == "log" else 0)), 1e-3)
    slope = (scale.forward(x + step)[0] - scale.forward(x - step)[0]) / (2 * step)
    near = np.ones(len(x), bool)
    if isinstance(scale, NormalScores):  # the slope has kinks at the knots
        near = np.abs(x[:, None] - np.array(scale.x)[None, :]).min(axis=1) > 2 * step
        assert near.sum() > 500
    np.testing.assert_allclose(slope[near], np.exp(scale.forward(x)[1])[near], rtol=1e-4)


@each_scale
def test_a_scale_survives_json_exactly(name: str) -> None:
    scale, x = SCALES[name]
    again = scale_from_json(json.loads(json.dumps(scale.to_json())))
    assert again == scale
    assert [a.tobytes() for a in again.forward(x)] == [a.tobytes() for a in scale.forward(x)]


@pytest.mark.parametrize(
    ("saved", "sentence"),
    [
        ({"scale": "cubic"}, "affine, log or normal_scores one with rising knots.*'cubic'"),
        ({"scale": "normal_scores", "x": [1.0, 0.0], "y": [0.0, 1.0]}, "rising knots"),
        ({"scale": "normal_scores", "x": [1.0], "y": [0.0]}, "rising knots"),
        ({"scale": "affine", "center": 0.0}, "spread"),
        ({}, "scale"),
    ],
)
def test_a_damaged_scale_is_refused(saved: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        scale_from_json(saved)


@pytest.mark.parametrize("of", [Affine.of, Log.of])
def test_a_scale_is_fitted_to_its_column(of: Callable[[np.ndarray], Scale]) -> None:
    y, _ = of(SKEWED).forward(SKEWED)
    assert (np.mean(y), np.std(y)) == (pytest.approx(0, abs=1e-9), pytest.approx(1))
    assert np.isfinite(of(np.full(3, 2.0)).forward(np.array([2.0, 3.0]))[0]).all()  # a constant column


def test_normal_scores_make_any_column_gaussian() -> None:
    assert stats.kstest(SCALES["normal scores"][0].forward(SKEWED)[0], "norm").statistic < 0.02
    few = NormalScores.of(np.array([1.0, 1.0, 1.0, 2.0, 2.0, 5.0]))  # ties have their mid-rank
    assert few is not None and few.x == (1, 2, 5)
    np.testing.assert_allclose(few.y, stats.norm.ppf([1.5 / 6, 4 / 6, 5.5 / 6]), rtol=1e-9)
    eight = NormalScores.of(SKEWED, n_knots=8)
    assert eight is not None and len(eight.x) <= 8
    assert NormalScores.of(np.ones(5)) is None


def test_knots_are_no_cliffs() -> None:
    """Values that are twins, and a middle half far narrower than the rest, give no slope of e^20."""
    close = NormalScores.of(np.concatenate([SKEWED, SKEWED * (1 + 1e-9)]))
    assert close is not None
    assert np.abs(np.log(np.diff(close.x) / np.diff(close.y))).max() < 10
    middle = np.subtract(*np.quantile(SKEWED, [0.75, 0.25]))
    assert np.diff(close.x).min() > 0.99e-3 * middle


def test_a_log_scale_stays_finite_on_the_way_back() -> None:
    assert np.isfinite(Log(0.0, 0.0, 100.0).inverse(np.array([-1e3, 0.0, 1e3]))).all()


# Plans


def column(kind: ColumnType, **more: Any) -> Column:
    return Column("a", kind, storage="float64", **more)


POISSON = RNG.poisson(3.0, 400).astype(float)
OVER = RNG.negative_binomial(1, 0.2, 400).astype(float)
LARGE = RNG.poisson(60.0, 400).astype(float)
UNDER = 3.0 + RNG.integers(0, 2, 400)
SHARES = RNG.beta(2, 3, 400)
USUAL: dict[str, tuple[Column, np.ndarray, str]] = {
    "real": (column(Real()), SKEWED, "normal_scores"),
    "positive": (column(Positive()), SKEWED, "normal_scores"),
    "bounded": (column(Bounded(), bounds=(0.0, 1.0)), SHARES, "normal_scores"),
    "date": (column(Datetime()), 2e4 + SKEWED, "normal_scores"),
    "small counts": (column(Count()), POISSON, "negative_binomial"),
    "dispersed counts": (column(Count()), OVER, "negative_binomial"),
    "many zeros": (column(Count(), point_masses=(0.0,)), OVER, "hurdle_negative_binomial"),
    "large counts": (column(Count()), LARGE, "normal_scores"),
    "counts that hardly vary": (column(Count()), UNDER, "normal_scores"),
    "ordinal": (column(Ordinal(), levels=(1, 2, 3)), np.arange(3.0), "cumulative_logit"),
    "two ordered levels": (column(Ordinal(), levels=(1, 2)), np.arange(2.0), "categorical"),
    "categorical": (column(Categorical(), levels=("a", "b", "c")), np.arange(3.0), "categorical"),
    "binary": (column(Binary(), levels=("n", "y")), np.arange(2.0), "bernoulli"),
}


@pytest.mark.parametrize("name", USUAL)
def test_the_usual_family(name: str) -> None:
    given_column, values, family = USUAL[name]
    plan = plan_column(given_column, values)
    assert plan.family == family
    assert plan.levels == len(given_column.levels or ())
    assert plan.continuous == (family == "normal_scores")
    if plan.continuous:
        assert plan_column(given_column, values, "student_t").family == "student_t"  # what continuous ones get
    else:
        assert plan_column(given_column, values, "student_t").family == family


@pytest.mark.parametrize(("kind", "family"), [(kind, f) for kind in TYPES for f in kind.families])
def test_a_family_named_in_the_schema_is_obeyed(kind: ColumnType, family: str) -> None:
    levels = ("a", "b", "c") if kind in (Ordinal(), Categorical()) else ("a", "b") if kind == Binary() else None
    values = np.arange(float(len(levels))) if levels else OVER if kind == Count() else SHARES
    bounds = (0.0, 1.0) if kind == Bounded() else None
    plan = plan_column(column(kind, levels=levels, bounds=bounds, family=family), values)
    assert plan.family == family
    y, log_slope = plan.forward(values)
    assert np.isfinite(y).all() and np.isfinite(log_slope).all()
    np.testing.assert_allclose(plan.inverse(y), values, rtol=1e-9)
    if kind == Count() and family in ("log_normal", "gamma"):
        assert plan.point_masses == (0.0,)  # their densities have no place for it
    assert ColumnPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    ("kind", "levels", "family", "sentence"),
    [
        (Real(), None, "gamma", "column 'a' must be one of 'normal_scores'.*since it is real, but it is 'gamma'"),
        (Real(), None, "poisson", "since it is real, but it is 'poisson'"),
        (Positive(), None, "beta", "since it is positive"),
        (Categorical(), ("a", "b"), "cumulative_logit", "since it is categorical"),
        (Binary(), ("a", "b"), "cumulative_logit", "since it is binary"),
        (Count(), None, "beta", "since it is count"),
        (Real(), None, "guassian", "choose one of these .*'gaussian'"),
    ],
)
def test_a_family_that_does_not_fit_is_refused(kind: ColumnType, levels: Any, family: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as refusal:
        plan_column(column(kind, levels=levels, family=family), np.arange(2.0))
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)


def test_a_family_that_does_not_fit_is_refused_with_the_table() -> None:
    frame = pl.DataFrame({"a": SKEWED, "b": RNG.normal(size=3000)})
    schema = infer_schema(frame)
    wrong = replace(schema["b"], family="gamma")
    with pytest.raises(DataError, match=r"'family' of column 'b' .*since it is real, but it is 'gamma'"):
        schema.with_column(wrong)
    schema = replace(schema, columns=(schema["a"], wrong))  # past the schema's own check
    with pytest.raises(DataError, match="The family of column 'b'"):
        make_columns_encoding(coded(as_table(frame), schema), schema)


def test_point_masses_have_no_jacobian_and_stay_apart() -> None:
    """A point mass inside a scale's domain stands where it falls; one that log cannot take stands below all else."""
    values = np.concatenate([np.zeros(60), np.full(50, 7.5), SKEWED])
    for family in ("log_normal", "normal_scores", "gaussian"):
        plan = plan_column(column(Positive(), point_masses=(0.0, 7.5), family=family), values)
        assert plan.point_masses == (0.0, 7.5) and plan.scale is not None
        y, log_slope = plan.forward(values)
        assert np.isfinite(y).all() and np.isfinite(log_slope).all()
        assert (y[:60] == plan.places[0]).all() and (y[60:110] == plan.places[1]).all()
        assert (log_slope[:110] == 0).all() and (log_slope[110:] != 0).all()
        assert plan.places[1] == np.float32(plan.scale.forward(np.array([7.5]))[0][0])
        assert plan.scale.domain == (0.0, np.inf) and plan.places[0] <= y[60:].min() - 0.99
        single = y.astype("float32").astype(float)  # as the model has it
        back = plan.inverse(single)
        assert (back[:60] == 0.0).all() and (back[60:110] == 7.5).all()
        np.testing.assert_allclose(back[110:], SKEWED, rtol=1e-5)
        assert plan.words["spikes"] == plan.places


def test_several_point_masses_outside_a_scale_have_places_of_their_own() -> None:
    values = np.concatenate([np.full(60, -1.0), np.zeros(60), SKEWED])
    plan = plan_column(column(Positive(), point_masses=(-1.0, 0.0), family="log_normal"), values)
    assert len({*plan.places}) == 2
    y, _ = plan.forward(values)
    np.testing.assert_array_equal(plan.inverse(y)[:120], values[:120])


def test_a_plan_has_the_point_masses_of_the_schema() -> None:
    values = np.concatenate([np.zeros(5), SKEWED])
    for family in ("normal_scores", "gaussian", "student_t"):
        assert plan_column(column(Positive(), point_masses=(0.0, 9.5), family=family), values).point_masses == (
            0.0,
            9.5,
        )
        assert plan_column(column(Positive(), family=family), values).point_masses == ()


def test_draws_are_moved_to_the_grid_and_into_the_bounds() -> None:
    tenths = np.round(RNG.normal(3.0, 1.0, 500), 1)
    plan = plan_column(column(Real(), grid=0.1, family="gaussian"), tenths)
    assert (plan.inverse(plan.forward(tenths)[0], on_grid=True) == tenths).all()  # bit for bit: 0.1 has no exact double
    drawn = plan.inverse(RNG.normal(size=1000), on_grid=True)
    assert (np.round(drawn, 1) == drawn).all() and len(np.unique(drawn)) > 20
    assert not (np.round(plan.inverse(RNG.normal(size=1000)), 1) == drawn).all()
    ages = RNG.integers(35, 21_000, 500) / 1000  # 0.035 + 10777 * 0.001 is 10.812000000000001
    drawn = plan_column(column(Real(), grid=0.001), ages).inverse(RNG.normal(size=2000), on_grid=True)
    assert all(value == float(f"{value:.3f}") for value in drawn)
    shifted = plan_column(column(Real(), grid=5.0, family="gaussian"), 2.5 + 5.0 * RNG.integers(0, 40, 300))
    assert set(np.unique(shifted.inverse(RNG.normal(size=100), on_grid=True) % 5)) == {2.5}
    bounded = plan_column(column(Bounded(), bounds=(0.0, 1.0), family="gaussian"), SHARES)
    drawn = bounded.inverse(np.linspace(-9, 9, 50), on_grid=True)
    assert 0 < drawn.min() < 1e-9 and 1 - 1e-8 < drawn.max() < 1  # no mass on the ends, where no value lies
    positive = plan_column(column(Positive(), family="gaussian"), SKEWED)
    assert 0 < positive.inverse(np.array([-99.0]), on_grid=True)[0] <= SKEWED.min()
    counts = plan_column(column(Count()), LARGE)
    assert counts.inverse(np.array([-99.0]), on_grid=True)[0] == 0
    assert set(plan_column(column(Count()), POISSON).inverse(np.array([0.2, 3.7]), on_grid=True)) == {0.0, 4.0}


def test_the_floor_is_the_rounding() -> None:
    values = RNG.normal(0.0, 2.0, 2000)
    steps = np.round(values)
    plan = plan_column(column(Real(), grid=1.0, family="gaussian"), steps)
    assert plan.floor == pytest.approx(1 / np.sqrt(12) / steps.std(), rel=1e-9)
    assert plan_column(column(Real(), family="gaussian"), values).floor == 0.01
    assert plan_column(column(Real(), grid=1e-9, family="gaussian"), values).floor == 0.01
    coarse = np.array([0.0] * 99 + [1.0])
    assert plan_column(column(Real(), grid=1.0, family="gaussian"), coarse).floor == 1.0
    scores = plan_column(column(Real(), grid=1.0), steps)
    assert plan.floor / 2 < scores.floor < plan.floor * 2


def test_a_damaged_plan_is_refused() -> None:
    saved = plan_column(column(Real()), SKEWED).to_json()
    for damage in ({"family": "round"}, {"point_masses": None}, {"levels": "3"}, {"scale": {"scale": "cubic"}}):
        with pytest.raises(DataError):
            ColumnPlan.from_json({**saved, **damage})


# The encoding of a table


def mixed_frame(n: int = 200) -> pd.DataFrame:
    """A column of every kind, with gaps and a point mass."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "real": z + 0.4 * rng.normal(size=n),
            "income": np.where(rng.random(n) < 0.3, 0.0, np.exp(z + rng.normal(size=n))),
            "age": rng.poisson(np.exp(3.4 + 0.2 * z)).astype("int64"),
            "visits": rng.poisson(np.exp(0.3 + 0.5 * z)),
            "size": pd.Categorical.from_codes(
                np.clip(np.rint(z + 1.5), 0, 3).astype(int), ["S", "M", "L", "XL"], ordered=True
            ),
            "colour": np.array(["red", "green", "blue"])[rng.integers(0, 3, n)],
            "yes": rng.random(n) < special.expit(z),
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
        }
    )
    frame.loc[rng.random(n) < 0.1, "real"] = np.nan
    frame.loc[rng.random(n) < 0.1, "colour"] = None
    frame.loc[rng.random(n) < 0.1, "when"] = pd.NaT
    return frame


def encoded(frame: Any, continuous: str = "normal_scores") -> tuple[Any, ColumnwiseEncoding]:
    table = coded(as_table(frame))
    assert table.coded is not None
    return table, make_columns_encoding(table, table.coded, Preprocessing(continuous=continuous))


MIXED, ENCODING = encoded(mixed_frame())


def test_every_kind_of_column_is_in_the_table() -> None:
    families = {plan.name: plan.family for plan in ENCODING.plans}
    assert families == {
        "real": "normal_scores",
        "income": "normal_scores",
        "age": "normal_scores",
        "visits": "negative_binomial",
        "size": "cumulative_logit",
        "colour": "categorical",
        "yes": "bernoulli",
        "when": "normal_scores",
    }
    assert ENCODING.plans[1].point_masses == (0.0,)
    assert ENCODING.n_features == 8 and ENCODING.names == ENCODING.modelled_names == tuple(families)
    assert not ENCODING.discrete and "a density in the data's units" in ENCODING.sentence


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_are_codes_and_numbers_on_their_scales(dtype: str) -> None:
    rows = ENCODING.encode(MIXED, dtype=dtype)
    assert rows.x.dtype == dtype and rows.observed is not None and rows.x.shape == MIXED.values.shape
    np.testing.assert_array_equal(rows.observed, ~np.isnan(MIXED.values))
    assert np.isfinite(rows.x).all() and (rows.x[~rows.observed] == 0).all()
    levels = [j for j, plan in enumerate(ENCODING.plans) if not plan.continuous]
    np.testing.assert_array_equal(rows.x[:, levels], np.nan_to_num(MIXED.values[:, levels]))
    back = ENCODING.decode(rows.x)
    seen = rows.observed
    np.testing.assert_array_equal(back[:, levels][seen[:, levels]], MIXED.values[:, levels][seen[:, levels]])
    np.testing.assert_allclose(back[seen], MIXED.values[seen], rtol=1e-5 if dtype == "float32" else 1e-10)
    on_grid = ENCODING.decode(rows.x, on_grid=True)
    for name in ("income", "age", "visits", "size", "colour", "yes", "when"):
        j = ENCODING.names.index(name)
        kept = seen[:, j] & ((MIXED.values[:, j] == 0) | (name != "income"))  # the mass, not the slab, is exact
        np.testing.assert_array_equal(on_grid[kept, j], MIXED.values[kept, j])


def test_the_log_jacobian_is_the_sum_of_the_scales_own() -> None:
    rows = ENCODING.encode(MIXED, dtype="float64")
    expected = np.zeros(MIXED.n_rows)
    for j, plan in enumerate(ENCODING.plans):
        for i, value in enumerate(MIXED.values[:, j]):
            if plan.scale is None or np.isnan(value) or value in plan.point_masses:
                continue
            step = 1e-6 * max(abs(value), 1e-2)
            up, down = (plan.scale.forward(np.array([value + s]))[0][0] for s in (step, -step))
            knots = np.array(getattr(getattr(plan.scale, "inner", plan.scale), "x", ()))
            # At a knot the difference quotient mixes two slopes; the scale's own is checked above.
            at_knot = len(knots) and np.abs(knots - value).min() <= 2 * step
            own = plan.scale.forward(np.array([value]))[1][0]
            expected[i] += own if at_knot else np.log((up - down) / (2 * step))
    np.testing.assert_allclose(rows.log_jacobian, expected, rtol=1e-4, atol=1e-3)
    straight = encoded(mixed_frame(), "gaussian")[1]
    found = straight.encode(MIXED, dtype="float64").log_jacobian
    by_hand = np.zeros(MIXED.n_rows)
    for j, plan in enumerate(straight.plans):
        scale = getattr(plan.scale, "inner", plan.scale)
        if isinstance(scale, Affine):
            density = ~np.isnan(MIXED.values[:, j]) & ~np.isin(MIXED.values[:, j], plan.point_masses)
            by_hand -= np.log(scale.spread) * density
    np.testing.assert_allclose(found, by_hand, rtol=1e-12, atol=1e-12)
    assert by_hand.std() > 0.1


def test_an_encoding_survives_json_exactly() -> None:
    again = ColumnwiseEncoding.from_json(json.loads(json.dumps(ENCODING.to_json())))
    assert again.to_json() == ENCODING.to_json() and again.plans == ENCODING.plans
    one, other = (
        e.encode(again.check(as_table(mixed_frame(), schema=e.schema)), dtype="float32") for e in (ENCODING, again)
    )
    assert one.x.tobytes() == other.x.tobytes() and one.log_jacobian.tobytes() == other.log_jacobian.tobytes()
    saved = ENCODING.to_json()
    for damage in ({"plans": saved["plans"][1:]}, {"schema": {}}, {"plans": 3}, {"messages": None}):
        with pytest.raises(DataError):
            ColumnwiseEncoding.from_json({**saved, **damage})


@pytest.mark.parametrize("make", [lambda f: f, pl.from_pandas], ids=["pandas", "polars"])
def test_what_has_not_changed_comes_back_bit_for_bit(make: Callable[[Any], Any]) -> None:
    frame = make(mixed_frame())
    table, encoding = encoded(frame)
    back = encoding.give_back(table.values, table)
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_frame_equal(back, frame, check_exact=True)
    else:
        assert back.equals(frame) and back.schema == frame.schema
    codes = table.values.copy()
    codes[3] = [0.125, 0.0, 40.0, 2.0, 3.0, 1.0, 0.0, 18300.0]
    changed = encoding.give_back(codes, table)
    rows = changed if isinstance(changed, pd.DataFrame) else changed.to_pandas()
    colours = encoding.schema["colour"].levels
    assert colours is not None
    assert list(rows.iloc[3])[:7] == [0.125, 0.0, 40, 2, "XL", colours[1], False]
    assert rows.iloc[3]["when"] == pd.Timestamp("2020-02-08")
    assert list(rows.dtypes)[2] == np.dtype("int64") and str(rows["size"].iloc[3]) == "XL"


@pytest.mark.parametrize("make", [lambda f: f, pl.from_pandas], ids=["pandas", "polars"])
def test_any_column_in_any_container(make: Callable[[Any], Any]) -> None:
    """As the command line writes rows of a model that was fitted elsewhere."""
    table, encoding = encoded(make(mixed_frame().assign(same="a")))
    as_polars = encoding.give_back(table.values, container="polars")
    as_pandas = encoding.give_back(table.values, container="pandas")
    array = encoding.give_back(table.values, container="numpy")
    for name in table.names:
        texts = [[str(v) for v in column] for column in (as_polars[name].drop_nulls(), as_pandas[name].dropna())]
        texts = [[t.removesuffix(".0").removesuffix(" 00:00:00") for t in each] for each in texts]
        assert texts[0] == texts[1] and len(texts[0]) == (~np.isnan(table.values[:, table.names.index(name)])).sum()
    assert as_polars["when"].dtype == pl.Datetime("us") and as_pandas["age"].dtype == "int64"
    assert array.shape == (200, 9) and array[3, 4] == as_polars["size"][3]


def test_other_containers_on_request() -> None:
    complete = mixed_frame()[["real", "age", "visits"]].fillna(0.5)
    table, encoding = encoded(complete)
    assert isinstance(encoding.give_back(table.values, container="polars"), pl.DataFrame)
    array = encoding.give_back(table.values, container="numpy")
    np.testing.assert_array_equal(np.asarray(array, float), complete.to_numpy(float))
    own = encoding.give_back(table.values, like=as_table(complete.set_index(pd.Index(range(5, 205)))))
    assert list(own.index)[:2] == [5, 6]


@given(scale=st.floats(-3, 3), offset=st.floats(-1e6, 1e6), seed=st.integers(0, 100))
def test_any_column_comes_back(scale: float, offset: float, seed: int) -> None:
    values = offset + 10**scale * np.random.default_rng(seed).standard_t(2, size=60)
    for family in ("normal_scores", "gaussian"):
        plan = plan_column(column(Real(), family=family), values)
        y, log_slope = plan.forward(values)
        assert np.isfinite(y).all() and np.isfinite(log_slope).all()
        np.testing.assert_allclose(plan.inverse(y), values, rtol=1e-9, atol=1e-9 * 10**scale)


def test_dates_and_large_offsets_lose_no_digits() -> None:
    """Moments a second apart, and account numbers, are as far apart on the scale as they should be, in float32."""
    seconds = pd.Timestamp("2024-02-29") + pd.to_timedelta(RNG.permutation(400) * 7.0, unit="s")
    number = 9_007_199_254_000_000.0 + 2.0 * RNG.permutation(400)
    frame = pd.DataFrame({"moment": seconds, "account": number, "x": RNG.normal(size=400)})
    schema = infer_schema(frame)
    for name in ("moment", "account"):
        kept = replace(schema[name], dropped=False, constant=None, levels=None)
        schema = schema.with_column(kept) if schema[name].dropped else schema
    table = coded(as_table(frame), schema)
    encoding = make_columns_encoding(table, schema, Preprocessing(continuous="gaussian"))
    x = encoding.encode(table, dtype="float32").x
    for j in range(2):
        assert len(np.unique(x[:, j])) == 400
        expected = (table.values[:, j] - table.values[:, j].mean()) / table.values[:, j].std()
        np.testing.assert_allclose(x[:, j], expected, atol=1e-6)
    back = encoding.give_back(encoding.decode(encoding.encode(table, dtype="float64").x, on_grid=True))
    assert (abs(back["moment"] - frame["moment"]) < pd.Timedelta("1ms")).all()
    np.testing.assert_array_equal(back["account"], number)


def test_levels_that_were_never_seen() -> None:
    new = mixed_frame(20)
    new.loc[4, "colour"] = "violet"
    with pytest.raises(DataError, match=r"(?s)'colour'.*'violet'"):
        ENCODING.check(as_table(new, schema=ENCODING.schema))
    table = as_table(new, schema=ENCODING.schema, unseen="missing")
    rows = ENCODING.encode(table)
    assert rows.observed is not None and not rows.observed[4, ENCODING.names.index("colour")]


def test_levels_of_an_array_that_were_never_seen() -> None:
    """`unseen` holds for arrays as for frames."""
    codes = RNG.choice([1, 2, 3, 5, 6, 7], 200).astype(float)
    X = np.column_stack([RNG.normal(size=200), codes])
    schema = infer_schema(X)
    assert schema.columns[1].type == Categorical()
    new = X[:5].copy()
    new[2, 1] = 4
    with pytest.raises(DataError, match="4"):
        as_table(new, schema=schema)
    assert np.isnan(as_table(new, schema=schema, unseen="missing").values[2, 1])


def test_numbers_that_no_float32_holds_are_refused() -> None:
    _, encoding = encoded(pd.DataFrame({"a": RNG.normal(size=50), "b": RNG.normal(size=50)}), "gaussian")
    far = as_table(pd.DataFrame({"a": [0.0, 0.0], "b": [1.0, 1e38]}), schema=encoding.schema)
    with pytest.raises(DataError, match=r"infinity.*row 1 \(counting from 0\), column 'b' holds 1e\+38"):
        encoding.encode(far)


def test_a_table_with_nothing_to_model_is_refused() -> None:
    frame = pl.DataFrame({"id": [f"person {i}" for i in range(50)], "same": [1.0] * 50})
    with pytest.raises(DataError, match="must have a column that can be modelled"):
        encoded(frame)


def test_dropped_columns_are_told() -> None:
    frame = pl.DataFrame({"x": RNG.normal(size=50), "same": ["a"] * 50, "word": ["u", "v"] * 25})
    _, encoding = encoded(frame)
    assert encoding.names == ("x", "word")
    assert any("'same' is not modelled" in message for message in encoding.messages)


def test_a_scale_that_cannot_take_the_data_gives_way_to_a_straight_one() -> None:
    """Whatever the values, the model sees finite numbers, and they come back."""
    for values in ([0.0, 1e-300, 1.0, 2.0], [1e300, -1e300, 0.0, 1.0], [1.0, np.nextafter(1.0, 2), 2.0, 3.0]):
        plan = plan_column(column(Real()), np.array(values))
        table, encoding = encoded(pd.DataFrame({"a": values * 10, "b": RNG.normal(size=40)}))
        x = encoding.encode(table, dtype="float64")
        assert np.isfinite(x.x).all() and np.isfinite(x.log_jacobian).all()
        assert plan.continuous


@pytest.mark.parametrize(("name", "rows"), [("penguins", None), ("adult", 2000), ("credit_data", None)])
def test_real_tables_come_back(name: str, rows: int | None, shared_data: Path) -> None:
    frame = pl.read_csv(shared_data / "tables" / f"{name}.csv.gz", null_values=["NA", "?", ""], n_rows=rows)
    table, encoding = encoded(frame)
    seen = encoding.encode(table, dtype="float64")
    observed = np.ones(table.values.shape, bool) if seen.observed is None else seen.observed
    exact = encoding.decode(seen.x, on_grid=True)
    np.testing.assert_array_equal(exact[observed], table.values[observed])
    single = encoding.encode(table, dtype="float32")
    assert np.isfinite(single.x).all() and np.isfinite(single.log_jacobian).all()
    close = encoding.decode(single.x)
    np.testing.assert_allclose(close[observed], table.values[observed], rtol=1e-5, atol=1e-4)
    for j, plan in enumerate(encoding.plans):
        if plan.levels or plan.scale is None:
            np.testing.assert_array_equal(close[observed[:, j], j], table.values[observed[:, j], j])
        else:  # on a scale, no column drowns another
            assert np.abs(single.x[:, j]).max() < 50
    assert encoding.give_back(table.values, table).equals(frame.select(encoding.schema.names))
    again = ColumnwiseEncoding.from_json(json.loads(json.dumps(encoding.to_json())))
    assert again.encode(read_back(frame, again), dtype="float64").x.tobytes() == seen.x.tobytes()


def read_back(frame: pl.DataFrame, encoding: ColumnwiseEncoding) -> Any:
    return encoding.check(as_table(frame, schema=encoding.schema))


def test_files_are_read_by_the_schema(shared_data: Path) -> None:
    path = shared_data / "tables" / "penguins.csv.gz"
    table = read_table(path)
    again = coded(table, table.coded)
    assert again.coded is not None
    encoding = make_columns_encoding(again, again.coded)
    assert {"species", "island", "sex"} <= {p.name for p in encoding.plans if p.levels}


def test_log_p_is_a_density_in_the_users_units() -> None:
    """The same model of the same rows, height in other units: log p(x) falls by the log of the factor, and no more."""
    frame = mixed_table.complete().copy()
    frame.loc[1004, "height"] = np.nan
    model = mixed_table.fitted().fitted_
    factor = 1024.0  # near a thousand, and exact: every bit that the model sees is the same
    log_p = []
    for unit in (1.0, factor):
        table, encoding = encoded(frame.assign(height=frame["height"] * unit))
        log_p.append(replace(model, encoding=encoding).evidence(table, 50, method="importance").log_evidence)
    seen = frame["height"].notna().to_numpy()
    np.testing.assert_allclose(log_p[1] - log_p[0], np.where(seen, -np.log(factor), 0.0), atol=1e-9)
    assert seen.sum() == len(seen) - 1
