"""What a schema says of columns is what a fit does, be there texts among them or not; types and cells come back."""

import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests import tiny

from tightbound import load
from tightbound.data import Preprocessing, as_table, infer_schema, preprocess
from tightbound.data.encoding import LEAST

N = 60
RNG = np.random.default_rng(21)
CODES = pd.DataFrame(
    {
        "id": np.arange(5000, 5000 + N),
        "depot": np.array([120, 877, 93_010])[np.arange(N) % 3],
        "shift": 1 + np.arange(N) % 3,
        "load": np.round(40 + 9 * RNG.normal(size=N), 1),
    }
)
TYPED = pd.DataFrame(
    {
        "whole": pd.array(RNG.integers(-50, 50, N), dtype="Int64"),
        "small": RNG.integers(-9, 90, N).astype("int16"),
        "truth": pd.array(np.arange(N) % 3 == 0, dtype="boolean"),
        "three": np.array([True, False, None], object)[np.arange(N) % 3],
        "money": [Decimal(int(cents)).scaleb(-2) for cents in RNG.integers(-5000, 5000, N)],
        "single": RNG.normal(size=N).astype("float32"),
    }
)
TYPED.loc[3, ["whole", "truth"]] = pd.NA


def seen(frame, **wanted):
    table, encoding, _ = preprocess(as_table(frame), Preprocessing(**wanted))
    return table, encoding


@pytest.mark.parametrize(
    "frame", [CODES, pl.from_pandas(CODES), CODES.assign(word="a")], ids=["pandas", "polars", "word"]
)
def test_a_fit_does_what_the_schema_says(frame):
    _, encoding = seen(frame)
    said = {column.name: column for column in infer_schema(frame).columns}
    assert said["id"].dropped and said["depot"].type.word == said["shift"].type.word == "categorical"
    assert encoding.modelled_names == ("depot", "shift", "load")
    assert [column.type.word for column in encoding.schema.modelled] == ["categorical", "categorical", "positive"]
    assert encoding.likelihood == "columns" and encoding.levels(0) == (120, 877, 93_010)


def test_types_of_a_table_of_numbers_come_back():
    table, encoding = seen(TYPED)
    drawn = encoding.give_back(np.asarray(table.values))
    assert dict(drawn.dtypes) == dict(TYPED.dtypes)
    assert set(drawn["three"]) == {True, False, None} and drawn["truth"].isna().sum() == 1
    assert drawn["money"].tolist() == TYPED["money"].tolist() and isinstance(drawn["money"][0], Decimal)
    filled = np.where(np.isnan(table.values), 1.0, table.values)
    back = encoding.give_back(filled, table)
    known = TYPED.notna()
    pd.testing.assert_frame_equal(back.where(known), TYPED.where(known))
    assert dict(back.dtypes) == dict(TYPED.dtypes) and back.loc[3, "whole"] == 1 and back.loc[3, "truth"]


def test_types_of_a_polars_frame_of_numbers_come_back():
    frame = pl.DataFrame(
        {"a": RNG.integers(-9, 9, N), "b": RNG.normal(size=N).astype(np.float32), "c": np.arange(N) % 2 == 0}
    ).with_columns(pl.col("a").cast(pl.Int8), d=pl.Series([Decimal(int(x)) / 4 for x in RNG.integers(-90, 90, N)]))
    table, encoding = seen(frame)
    assert encoding.give_back(np.asarray(table.values)).schema == frame.schema


@pytest.mark.parametrize(
    ("frame", "likelihood"),
    [
        (pd.DataFrame(RNG.normal(size=(N, 3)), columns=list("abc")), "gaussian"),
        (pd.DataFrame({"a": RNG.normal(size=N), "name": [f"n{i}" for i in range(N)]}), "gaussian"),
        (pd.DataFrame((RNG.random((N, 4)) < 0.5).astype(int)), "bernoulli"),
        (pd.DataFrame({"a": RNG.normal(size=N), "b": np.exp(RNG.normal(size=N))}), "columns"),
        (pd.DataFrame({"a": RNG.normal(size=N), "b": [0.0] * 20 + list(RNG.normal(size=N - 20))}), "columns"),
        (RNG.normal(size=(N, 3)), "gaussian"),
    ],
    ids=["real", "real and names", "bits", "positive", "a point mass", "an array"],
)
def test_one_vector_where_no_column_says_more_than_number(frame, likelihood):
    _, encoding = seen(frame)
    assert encoding.likelihood == likelihood


def test_a_joint_gaussian_that_is_asked_for_takes_codes_as_numbers():
    _, encoding = seen(CODES, likelihood="gaussian")
    assert encoding.likelihood == "gaussian" and encoding.modelled_names == ("depot", "shift", "load")
    assert not any(map(encoding.levels, range(3)))


CONSTANTS = {
    "number": (7, 8),
    "share": (0.1, 0.2),
    "word": ("yes", "no"),
    "percent": ("5%", "6%"),
    "truth": (True, False),
    "day": (pd.Timestamp("2020-01-02"), pd.Timestamp("2021-01-02")),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_column_of_one_value_is_a_point_mass(name):
    usual, other = CONSTANTS[name]
    frame = pd.DataFrame({"x": RNG.normal(size=N), "same": [usual] * N})
    table, encoding = seen(frame)
    assert (encoding.give_back(np.zeros((2, 1)))["same"] == usual).all()
    before = encoding.encode(table).log_jacobian
    changed = pd.DataFrame({"x": frame["x"], "same": [other, None, *[usual] * (N - 2)]})
    new = as_table(changed, schema=encoding.schema)
    with pytest.warns(UserWarning, match="'same' of X was always .* 1 of its cells .* row 0"):
        after = encoding.encode(new).log_jacobian
    assert after[0] - before[0] == pytest.approx(LEAST) and (after[1:] == before[1:]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoding.encode(table)
    filled = encoding.give_back(np.asarray(new.values), new)["same"]
    assert filled[0] == other and (filled[1:] == usual).all()


def test_every_row_that_departs_from_a_constant_is_the_least_likely():
    frame = tiny.numbers().with_columns(site=pl.lit(3))
    with pytest.warns(UserWarning, match="'site' is not modelled"):
        vae = tiny.vae().fit(frame)
    new = frame.head(6).with_columns(site=pl.Series([3, 3, 9, 3, None, 3]))
    with pytest.warns(UserWarning, match="'site'"):
        scores = vae.score_samples(new)
    assert scores.argmin() == 2 and scores[2] < scores[[0, 1, 3, 4, 5]].min() - 600
    assert vae.sample(4)["site"].to_list() == [3] * 4


def test_a_point_mass_of_the_schema_is_one_of_the_model_and_of_its_samples():
    rng = np.random.default_rng(5)
    pay = np.round(np.exp(rng.normal(3, 0.5, 800)), 2)
    pay[:3], pay[3:43] = 0.0, 24.5  # seldom, at the end; 5 % of round values in the midst
    day = np.datetime64("2024-01-01") + rng.integers(0, 300, 800)
    day[rng.random(800) < 0.25] = np.datetime64("9999-12-31")
    frame = pl.DataFrame({"pay": pay, "until": day})
    schema = infer_schema(frame)
    assert schema["pay"].point_masses == (0.0, 24.5) and len(schema["until"].point_masses) == 1
    assert "a point mass at 9999-12-31 (" in schema["until"].reason
    vae = tiny.vae(epochs=30, validation_fraction=0).fit(frame)
    assert [plan.point_masses for plan in vae.fitted_.encoding.plans] == [c.point_masses for c in schema.columns]
    drawn = vae.sample(2000)
    for name, value, column in (("pay", 24.5, pay), ("until", np.datetime64("9999-12-31"), day)):
        share = (drawn[name].to_numpy() == value).mean()
        assert abs(share - (column == value).mean()) < 0.05, (name, share)
    other = drawn["until"].to_numpy()[drawn["until"].to_numpy() != np.datetime64("9999-12-31")]
    assert other.min() > np.datetime64("2023-01-01") and other.max() < np.datetime64("2026-01-01")
    assert np.isfinite(vae.score_samples(drawn)).all()


def thinning(*counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


@pytest.mark.parametrize(
    ("cells", "word"),
    [
        (thinning(260, 31, 5), "count"),
        (thinning(500, 90, 14, 2), "count"),
        (thinning(120, 90, 70), "categorical"),  # classes
        (thinning(30, 200, 5), "categorical"),
        (1 + thinning(260, 31, 5), "categorical"),
    ],
)
def test_small_whole_numbers_that_thin_out_are_counts(cells, word):
    assert infer_schema(pl.DataFrame({"n": cells}))["n"].type.word == word
    if word == "count":
        _, encoding = seen(pl.DataFrame({"n": cells, "x": RNG.normal(size=len(cells))}))
        new = as_table(pl.DataFrame({"n": [9], "x": [0.5]}), schema=encoding.schema)
        assert encoding.encode(new).x[0, 0] == 9


def test_an_unseen_level_is_said_in_the_words_of_the_face(tmp_path):
    frame = tiny.frame().drop("id")
    frame.write_csv(tmp_path / "t.csv")
    assert tiny.run("fit", tmp_path / "t.csv", "-o", tmp_path / "m", "--no-report", *tiny.SMALLEST_OPTIONS).status == 0
    new = frame.head(4).with_columns(kind=pl.Series(["u", "w", "v", "u"]))
    new.write_csv(tmp_path / "new.csv")
    commands: dict[str, list] = {key: [] for key in ("score", "encode", "reconstruct", "impute")}
    commands["detect"] = ["--reference", tmp_path / "t.csv"]
    for command, more in commands.items():
        said = tiny.run(command, tmp_path / "m", tmp_path / "new.csv", *more).failed()
        assert "holds 'w'" in said and said.endswith("or add --unseen-as-missing.") and "unseen=" not in said
        assert tiny.run(command, tmp_path / "m", tmp_path / "new.csv", *more, "--unseen-as-missing").status == 0
    with pytest.raises(ValueError, match=r"holds 'w'.*make it missing \(None\)\.$"):
        load(tmp_path / "m").score_samples(new)


def test_a_year_is_written_as_one():
    years = infer_schema(pl.DataFrame({"year": np.arange(1963, 2016).repeat(4)}))["year"]
    assert "from 1963 to 2015" in years.reason
