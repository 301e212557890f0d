"""Models that are given something: conditions, exposures, bags of words; sparse tables; an encoder of sets."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats
from typer.testing import CliRunner

import tightbound
from tightbound import VAE
from tightbound.cli.app import app
from tightbound.data import DataError

RNG = np.random.default_rng(0)
N = 600
BATCH, DOSE = RNG.integers(0, 3, N), RNG.gamma(2.0, 1.0, N)
WEIGHTS = np.array([1.0, -1.0, 0.5])
NOISE = np.array([0.3, 0.3, 0.2])
SHIFT = np.column_stack([2.0 * BATCH + DOSE, BATCH, 0 * DOSE])
X = RNG.normal(size=(N, 1)) * WEIGHTS + RNG.normal(size=(N, 3)) * NOISE + SHIFT
FRAME = pd.DataFrame(X, columns=list("abc")).assign(batch=np.array(["u", "v", "w"])[BATCH], dose=DOSE)
EXACT = stats.multivariate_normal(np.zeros(3), np.outer(WEIGHTS, WEIGHTS) + np.diag(NOISE**2)).logpdf(X - SHIFT)
FEW: dict[str, Any] = {
    "epochs": 3,
    "random_state": 0,
    "n_importance_samples": 50,
    "network": "residual(hidden_sizes=8)",
}


@pytest.fixture(scope="module")
def fitted() -> VAE:
    return VAE(1, condition=["batch", "dose"], epochs=60, random_state=0).fit(FRAME)


def test_log_p_is_that_of_x_given_c(fitted: VAE) -> None:
    """Near the closed form of the linear-Gaussian model that made the rows; with another batch it is far off."""
    found = fitted.score_samples(FRAME[:200])
    assert abs(found.mean() - EXACT[:200].mean()) < 0.15
    assert np.corrcoef(found, EXACT[:200])[0, 1] > 0.8
    wrong = FRAME[:200].assign(batch=FRAME["batch"][:200].map({"u": "v", "v": "w", "w": "u"}))
    assert fitted.score_samples(wrong).mean() < found.mean() - 2
    assert "batch (condition), dose (condition)" in fitted.messages_[0]


def test_latents_need_not_know_the_condition(fitted: VAE) -> None:
    assert abs(np.corrcoef(fitted.transform(FRAME)[:, 0], BATCH)[0, 1]) < 0.15


def test_rows_are_drawn_under_conditions(fitted: VAE) -> None:
    rows = fitted.sample(2000, random_state=1)
    assert list(rows.columns) == list(FRAME.columns)
    assert set(rows["batch"]) == {"u", "v", "w"}
    for name, own in rows.groupby("batch"):
        expected = FRAME[FRAME["batch"] == name]
        assert abs(own["a"].mean() - expected["a"].mean()) < 0.4
    under = fitted.sample(1000, random_state=1, given={"batch": "w", "dose": 3.0})
    assert set(under["batch"]) == {"w"} and set(under["dose"]) == {3.0}
    np.testing.assert_allclose(under[["a", "b", "c"]].mean(), [7.0, 2.0, 0.0], atol=0.3)
    partly = fitted.sample(500, random_state=1, given={"batch": "w"})
    assert set(partly["batch"]) == {"w"}
    own = FRAME["dose"][FRAME["batch"] == "w"].to_numpy()
    assert np.abs(partly["dose"].to_numpy()[:, None] - own).min(axis=1).max() < 1e-5
    cell = fitted.sample(1000, random_state=1, given={"batch": "w", "dose": 3.0, "a": 8.0})
    # a = z + 7 + noise: z given a, and b follows it.
    assert abs(cell["b"].mean() - (2.0 - 1.0 / 1.09)) < 0.25 and set(cell["a"]) == {8.0}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"batch": {"u", "v"}}, "must be one value, since the model is given it too"),
        ({"dose": (1.0, None)}, "must be one value"),
        ({"a": 1.0}, "'batch' is left open, and the model has no distribution of it"),
        ({"batch": "x"}, "must be one of its levels, u, v, w"),
    ],
    ids=range(4),
)
def test_what_has_no_distribution_cannot_be_asked_for(fitted: VAE, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        fitted.sample(5, given=given)


def test_cells_are_filled_and_judged_under_conditions(fitted: VAE) -> None:
    holes = FRAME[:60].copy()
    holes.loc[:, "a"] = np.nan
    filled = fitted.impute(holes).values["a"]
    expected = SHIFT[:60, 0] - (X[:60, 1] - SHIFT[:60, 1])  # roughly: z = -(b - shift)
    assert np.corrcoef(filled, expected)[0, 1] > 0.95
    found = fitted.conditional(FRAME[:60], "a", given=["b"])
    assert found.given == ("b", "batch", "dose")
    assert np.corrcoef(found.predicted, expected)[0, 1] > 0.95
    anomalous = FRAME[:60].copy()
    anomalous.loc[0, "a"] = 40.0
    detected = fitted.detect(anomalous, FRAME[60:200])
    assert detected.score.argmin() == 0 and detected.cells[0][0].column == "a"
    assert not {cell.column for cells in detected.cells.values() for cell in cells} & {"batch", "dose"}
    with pytest.raises(DataError, match="it is a condition or an exposure"):
        fitted.conditional(FRAME[:5], "batch")


def test_gaps_in_conditions_are_refused_where_training_had_none(fitted: VAE) -> None:
    gaps = FRAME[:5].copy()
    gaps.loc[3, "batch"] = None
    with pytest.raises(DataError, match=r"The condition 'batch' of X must be known in every row.*row 3"):
        fitted.score_samples(gaps)


def test_unknown_conditions_can_be_learnt() -> None:
    gaps = FRAME[:200].copy()
    gaps.loc[gaps.index[::4], "batch"] = None
    vae = VAE(1, condition="batch", **FEW).fit(gaps.drop(columns="dose"))
    assert np.isfinite(vae.score_samples(gaps.drop(columns="dose"))).all()


def test_a_saved_model_gives_the_same_bits(fitted: VAE, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    again = tightbound.load(tmp_path / "model")
    np.testing.assert_array_equal(again.score_samples(FRAME[:20]), fitted.score_samples(FRAME[:20]))
    pd.testing.assert_frame_equal(again.sample(5, random_state=2), fitted.sample(5, random_state=2))


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_any_likelihood_takes_conditions(likelihood: str) -> None:
    """Of one Gaussian with a covariance, or of yes/no cells; columns of an array are named by number."""
    rows = np.column_stack([X[:150], BATCH[:150]])
    member = "gaussian(covariance=full)" if likelihood == "gaussian" else likelihood
    if likelihood == "bernoulli":
        rows = np.column_stack([X[:150] > SHIFT[:150], BATCH[:150]]).astype(float)
    vae = VAE(1, likelihood=member, condition=3, **FEW).fit(rows)
    assert np.isfinite(vae.score_samples(rows)).all()
    drawn = vae.sample(50, random_state=0)
    assert drawn.shape == (50, 4) and set(drawn[:, 3]) <= {0.0, 1.0, 2.0}
    np.testing.assert_array_equal(vae.fitted_.reconstruct(vae._table(rows))[:, 3], rows[:, 3])
    if likelihood == "bernoulli":
        assert set(np.unique(drawn[:, :3])) == {0.0, 1.0}


RATES = np.array([0.5, 2.0, 5.0, 1.0])
SIZE = RNG.uniform(0.2, 5.0, 300)
COUNTS = RNG.poisson(RATES * SIZE[:, None]).astype(float)


def test_an_exposure_is_given() -> None:
    """Poisson counts whose only cause is the exposure: log p(x | exposure) is near that of the truth."""
    rows = np.column_stack([COUNTS, SIZE])
    vae = VAE(1, exposure=4, likelihood="columns(counts=poisson)", network="linear", epochs=150, random_state=0).fit(
        rows
    )
    truth = stats.poisson(RATES * SIZE[:, None]).logpmf(COUNTS).sum(axis=1)
    assert abs(vae.score_samples(rows).mean() - truth.mean()) < 0.1
    drawn = vae.sample(2000, random_state=0)
    assert np.corrcoef(drawn[:, 2], drawn[:, 4])[0, 1] > 0.7
    fixed = vae.sample(2000, random_state=0, given={"x4": 3.0})
    np.testing.assert_allclose(fixed[:, :4].mean(axis=0), 3 * RATES, rtol=0.15)


def test_sparse_and_dense_counts_are_one_model() -> None:
    options: dict[str, Any] = {**FEW, "latent_dim": 1, "exposure": "total", "weight_decay": 0.1}
    dense = VAE(**options).fit(COUNTS)
    assert "under the total of their row" in dense.messages_[0]
    sparse = VAE(**options).fit(sp.csr_array(COUNTS))
    np.testing.assert_allclose(sparse.score_samples(COUNTS[:20]), dense.score_samples(COUNTS[:20]), rtol=1e-5)
    np.testing.assert_allclose(
        dense.score_samples(sp.csr_array(COUNTS[:20])), dense.score_samples(COUNTS[:20]), rtol=1e-5
    )
    np.testing.assert_allclose(sparse.transform(sp.coo_array(COUNTS[:20])), dense.transform(COUNTS[:20]), rtol=1e-4)
    assert sparse.sample(7, random_state=0).shape == (7, 4)
    with pytest.raises(DataError, match="conditions alone where the exposure is a row's own total"):
        sparse.sample(5, given={"x0": 3})


def test_whole_numbers_come_back_whole() -> None:
    """With a batch among them, too: an array of counts gives an array of counts."""
    rows = np.column_stack([COUNTS, BATCH[:300]]).astype(np.uint16)
    drawn = VAE(1, condition=4, exposure="total", **FEW).fit(rows).sample(5, random_state=0, given={"x4": 1})
    assert drawn.dtype == np.uint16 and set(drawn[:, 4]) == {1}


def test_a_sparse_table_of_counts_is_modelled_as_counts() -> None:
    vae = VAE(1, **FEW).fit(sp.csr_array(COUNTS))
    assert "4 count" in vae.messages_[0]
    assert "Bernoulli" in VAE(1, **FEW).fit(sp.csr_array((COUNTS > 1).astype(float))).messages_[0]
    assert "Gaussian" in VAE(1, likelihood="gaussian", **FEW).fit(sp.csr_array(COUNTS)).messages_[0]
    real = VAE(1, likelihood="columns", **FEW).fit(sp.csr_array(COUNTS * 0.37))
    assert "positive" in real.messages_[0] and "count" not in real.messages_[0]


@pytest.mark.parametrize("likelihood", ["multinomial", "dirichlet_multinomial"])
def test_probabilities_of_all_bags_of_a_length_add_up_to_one(likelihood: str) -> None:
    vae = VAE(1, likelihood=likelihood, **{**FEW, "n_importance_samples": 4000}).fit(COUNTS[:, :3])
    bags = np.array([bag for bag in itertools.product(range(5), repeat=3) if sum(bag) == 4], float)
    found = vae.evidence(bags)
    assert np.exp(found.log_evidence).sum() == pytest.approx(1, abs=0.02)
    drawn = vae.sample(50, random_state=0)
    assert set(drawn.sum(axis=1)) <= set(COUNTS[:, :3].sum(axis=1))


@pytest.mark.parametrize(
    ("options", "rows", "sentence"),
    [
        ({"condition": "nobody"}, FRAME, "have the column 'nobody' that was asked for"),
        ({"condition": [1.5]}, FRAME, "condition and exposure must name columns"),
        ({"exposure": "a"}, FRAME, "The exposure 'a' of X must be a number above 0 in every row"),
        ({"exposure": "batch"}, FRAME, "it has levels"),
        ({"exposure": "dose"}, FRAME, "must have a column of counts for the exposure 'dose'"),
        ({"exposure": "total"}, np.full((20, 2), 0.5), "hold counts"),
        ({"exposure": "total", "likelihood": "gaussian"}, FRAME, "'batch' of X must be a number for the likelihood"),
        ({"likelihood": "multinomial"}, FRAME, "hold counts for the likelihood 'multinomial'"),
        ({"likelihood": "multinomial", "exposure": 2}, COUNTS, "exposure must be 'total'"),
        ({"likelihood": "multinomial", "hide_cells": 0.5}, COUNTS, "hide_cells must be 0 for the likelihood"),
        ({"likelihood": "bernoulli", "condition": "batch"}, FRAME, "hold 0 and 1 alone"),
        ({"condition": list(FRAME.columns)}, FRAME, "all are dropped or given"),
        ({"condition": "one"}, FRAME.assign(one=1), "tell rows apart to be given"),
        ({"condition": "batch", "missingness": "self_masking"}, FRAME, "must go without condition"),
        ({"condition": "batch", "likelihood": "bernoulli(binarize=True)"}, FRAME, "must hold numbers alone"),
        (
            {"condition": "batch", "inference": "exact", "network": "linear", "likelihood": "gaussian"},
            FRAME,
            "no condition",
        ),
    ],
    ids=range(16),
)
def test_what_makes_no_sense_is_said(options: dict[str, Any], rows: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        VAE(1, **{**FEW, **options}).fit(rows)


def test_an_encoder_of_sets() -> None:
    """With half of the cells missing, it is no worse than zeros and a mask by much, and knows rows by their cells."""
    holes = FRAME.drop(columns=["batch", "dose"]).mask(RNG.random((N, 3)) < 0.5)
    options: dict[str, Any] = {
        "likelihood": "columns",
        "epochs": 40,
        "network": "residual(hidden_sizes=32)",
        "random_state": 0,
    }
    found = {
        encoder: VAE(1, encoder=encoder, n_importance_samples=100, **options).fit(holes).score(holes)
        for encoder in ("masking", "set")
    }
    assert found["set"] > found["masking"] - 0.1


def test_the_commands_know_conditions(tmp_path: Path) -> None:
    """Arrays beside the counts are conditions and exposures, at the fit and ever after."""
    place, model = tmp_path / "cells.npz", str(tmp_path / "model")
    np.savez(place, counts=COUNTS, size=SIZE, batch=BATCH[:300])
    run = CliRunner().invoke
    few = ["--epochs", "2", "--no-checks", "-q", "--no-report", "--array", "counts"]
    options = [
        "--exposure",
        "size",
        "--condition",
        "batch",
        "--latent-dim",
        "1",
        "--network",
        "residual(hidden_sizes=8)",
    ]
    done = run(app, ["fit", str(place), "-o", model, *few, *options])
    assert done.exit_code == 0, done.output
    done = run(
        app, ["score", model, str(place), "--array", "counts", "-s", "20", "-o", str(tmp_path / "score.csv"), "-q"]
    )
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(tmp_path / "score.csv")) == 300
    given = ["--given", "size=2.5", "--given", "batch=1"]
    done = run(app, ["sample", model, "-n", "20", *given, "-o", str(tmp_path / "drawn.csv")])
    assert done.exit_code == 0, done.output
    drawn = pd.read_csv(tmp_path / "drawn.csv")
    assert set(drawn["size"]) == {2.5} and set(drawn["batch"]) == {1}
    vae = tightbound.load(model)
    rows = np.column_stack([COUNTS, BATCH[:300], SIZE])
    found = vae.evaluate(rows[:20], rows, checks=["baselines"])
    assert found.comparison is not None and "independent columns" in found.comparison.names


def test_hidden_cells_count_into_a_total() -> None:
    """The distribution of one count given the others is under the whole row's total, not under that of the others."""
    vae = VAE(
        1, exposure="total", likelihood="columns(counts=poisson)", network="linear", epochs=100, random_state=0
    ).fit(COUNTS)
    found = vae.conditional(COUNTS[:50], "x2", given=["x0", "x1", "x3"])
    total = COUNTS[:50].sum(axis=1)
    np.testing.assert_allclose(found.predicted.mean(), (total * RATES[2] / RATES.sum()).mean(), rtol=0.1)


def test_log_p_given_c_is_not_compared_with_log_p(fitted: VAE) -> None:
    other = VAE(1, **{**FEW, "epochs": 1}).fit(FRAME)
    evidence = {name: vae.evidence(FRAME[:9], 5) for name, vae in {"given": fitted, "whole": other}.items()}
    sentence = r"given gives log p\(x given batch, dose\) and whole log p\(x\); fit both with the same conditions"
    with pytest.raises(ValueError, match=sentence):
        tightbound.compare(evidence)


def test_densities_are_compared_with_densities_alone() -> None:
    zeros = np.where(RNG.random(N) < 0.4, 0.0, RNG.gamma(2.0, 1.0, N))
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "rain": zeros})
    few: dict[str, Any] = {**FEW, "epochs": 1}

    def evidence(likelihood: str, columns: list[str]) -> Any:
        return VAE(1, likelihood=likelihood, **few).fit(frame[columns]).evidence(frame[columns][:9], 5)

    sentence = "values of rain have a density in block and a density with point masses at 0 in columns; fit both with"
    with pytest.raises(ValueError, match=sentence):
        tightbound.compare({name: evidence(word, ["a", "b", "rain"]) for name, word in WORDS.items()})
    assert tightbound.compare({name: evidence(word, list("ab")) for name, word in WORDS.items()}).n_rows == 9


WORDS = {"block": "gaussian", "columns": "columns"}


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_a_gaussian_of_the_whole_row_tells_of_its_cells(covariance: str) -> None:
    """Gaps are filled under the condition, draws obey what is given, and the anomalous cell is named."""
    vae = VAE(1, likelihood=f"gaussian(covariance={covariance})", condition=["batch", "dose"], **FEW).fit(FRAME)
    holed = FRAME[:20].copy()
    holed.loc[::2, "a"] = np.nan
    filled = vae.impute(holed).values
    assert np.isfinite(filled["a"]).all() and filled.drop(columns="a").equals(holed.drop(columns="a"))
    under = vae.sample(5, random_state=1, given={"batch": "w", "dose": 3.0, "b": (0.0, None)})
    assert (under["b"] >= 0).all() and set(under["batch"]) == {"w"}
    assert vae.conditional(holed, "a").draws.shape[0] == 20
    anomalous = FRAME[:20].copy()
    anomalous.loc[3, "b"] = 40.0
    found = vae.detect(anomalous, FRAME[100:])
    assert found.cells[3][0].column == "b" and {cell.column for cell in found.cells[3]} <= {"a", "b", "c"}


def test_a_word_is_not_missing_from_a_bag() -> None:
    vae = VAE(1, likelihood="multinomial", **FEW).fit(COUNTS)
    for ask in (lambda: vae.impute(COUNTS), lambda: vae.conditional(COUNTS, 0)):
        with pytest.raises(DataError, match=r"distribution of single cells given others.*multinomial"):
            ask()
