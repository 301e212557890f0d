"""Anomalous rows: p-values that hold, flags, the cells that make rows anomalous, the scikit-learn face."""

import dataclasses
import itertools
import re
from typing import Any

import numpy as np
import pytest
from mixed_table import complete, fitted, pandas_frame
from scipy import stats
from sklearn.base import clone

from tightbound import VAE, VAEOutlierDetector, likelihoods
from tightbound.data import DataError
from tightbound.estimator.detection import OTHER_SCORES, Detection

RNG = np.random.default_rng(21)
NUMBERS: dict[str, Any] = {
    "latent_dim": 1,
    "likelihood": "gaussian",
    "network": "linear",
    "epochs": 5,
    "validation_fraction": 0,
}


def anomalous_frame() -> Any:
    """The table with a row whose height goes with nothing else in it."""
    frame = pandas_frame()
    frame.loc[1003] = complete().loc[1003]
    frame.loc[1003, "height"] = 260.0
    return frame


@pytest.fixture(scope="module")
def found() -> Detection:
    return fitted().detect(anomalous_frame(), complete(), scores=OTHER_SCORES, explain=5)


def test_p_values_are_ranks_among_the_reference_in_the_cells_that_a_row_has(found: Detection) -> None:
    score = fitted().anomaly_scores(anomalous_frame())
    np.testing.assert_array_equal(found.score, score)
    gaps = anomalous_frame().isna()
    for row in [3, *range(7, 14)]:
        hidden = complete().assign(**dict.fromkeys(gaps.columns[gaps.iloc[row]]))
        reference = fitted().anomaly_scores(hidden)
        np.testing.assert_allclose(found.p_value[row], (1 + np.sum(reference <= score[row])) / 201, rtol=1e-12)
    assert ((found.p_value > 0) & (found.p_value <= 1)).all() and found.n_reference == 200
    np.testing.assert_array_equal(found.flag, found.q_value <= found.level)
    assert (found.q_value >= found.p_value).all() and found.level == 0.1
    np.testing.assert_allclose(found.q_value, stats.false_discovery_control(found.p_value), rtol=1e-12)


def test_an_anomalous_row_is_found_and_its_cell_named(found: Detection) -> None:
    assert found.score.argmin() == 3 and found.p_value[3] == found.p_value.min() == pytest.approx(1 / 201)
    worst = found.cells[3][0]
    assert (worst.column, worst.value) == ("height", 260.0) and worst.neg_log_p_value > 3
    assert all(
        a.neg_log_p_value >= b.neg_log_p_value > 0
        for cells in found.cells.values()
        for a, b in itertools.pairwise(cells)
    )
    # The five most anomalous are explained, each by at most three of its own cells.
    assert set(found.cells) == set(found.order[:5]) and all(len(c) <= 3 for c in found.cells.values())
    frame = anomalous_frame()
    for row, cells in found.cells.items():
        for cell in cells:
            own = frame[cell.column].iloc[row]
            assert own == cell.value or cell.column == "joined"
    assert "height=260 (" in repr(found) and "200 reference rows" in repr(found)


def test_other_scores_are_higher_for_the_anomalous(found: Detection) -> None:
    assert set(found.others) == set(OTHER_SCORES)
    for name, values in found.others.items():
        assert values.shape == (200,) and np.isfinite(values).all(), name
        assert values[3] > np.median(values), name
    assert not fitted().detect(anomalous_frame(), complete(), explain=0).others


def test_nothing_explained_where_nothing_is_asked() -> None:
    assert fitted().detect(pandas_frame().iloc[:30], complete(), explain=0).cells == {}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"reference": complete().iloc[:9]}, "must rest on 10 or more ordinary rows .*; there are 9; give such rows"),
        (
            {"reference": complete(), "level": 0.0},
            "level must be a share of false discoveries .*; got 0.0; 0.1 is usual",
        ),
        ({"reference": complete(), "scores": ["magic"]}, "scores must be among regret, .*; got 'magic'; choose one"),
    ],
)
def test_what_cannot_be_asked(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((DataError, ValueError), match=sentence):
        fitted().detect(pandas_frame(), **options)


def test_a_model_without_reference_rows_says_where_to_get_some() -> None:
    model = fitted().fitted_
    without = dataclasses.replace(model, summary=dataclasses.replace(model.summary, reference=()))
    with pytest.raises(DataError, match="there are 0; give such rows as the reference, or fit with more rows"):
        VAE()._adopt(without).detect(pandas_frame())


def gaussian_rows(n: int) -> np.ndarray:
    return 5 + RNG.normal(size=(n, 1)) * [3.0, -2.0, 1.0] + RNG.normal(size=(n, 3))


@pytest.fixture(scope="module")
def detector() -> VAEOutlierDetector:
    one = VAEOutlierDetector(VAE(**NUMBERS), folds=1, calibration_fraction=0.5, random_state=0)
    return one.fit(gaussian_rows(600))


@pytest.fixture(scope="module")
def folded() -> VAEOutlierDetector:
    return VAEOutlierDetector(VAE(**NUMBERS), random_state=0).fit(gaussian_rows(602))


def test_p_values_are_uniform_on_ordinary_rows(detector: VAEOutlierDetector) -> None:
    """At every level within the binomial error of the new rows and of the reference."""
    n, r = 500, len(detector.references_[0])
    assert r == 300
    p = detector.p_values(gaussian_rows(n))
    for level in (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9):
        error = np.sqrt(level * (1 - level) * (1 / n + 1 / r))
        assert abs(np.mean(p <= level) - level) < 4.5 * error + 1 / r
    assert ((p > 0) & (p <= 1)).all()


def test_predictions_are_signs_of_the_decision_function(detector: VAEOutlierDetector) -> None:
    ordinary = gaussian_rows(300)
    X = np.concatenate([ordinary, [[30.0, 30.0, 30.0], [5.0, 5.0, -20.0]]])
    decision, predicted = detector.decision_function(X), detector.predict(X)
    np.testing.assert_array_equal(predicted, np.where(decision < 0, -1, 1))
    np.testing.assert_allclose(decision, detector.score_samples(X) - detector.offset_, rtol=1e-12)
    assert list(predicted[-2:]) == [-1, -1]
    share = np.mean(predicted[:300] == -1)
    assert abs(share - 0.1) < 4.5 * np.sqrt(0.09 * (1 / 300 + 1 / 300)) + 1 / 300
    # An outlier is what has a p-value of at most the contamination, up to the row that stands at the offset itself.
    np.testing.assert_array_equal(detector.p_values(X) <= detector.contamination, decision < 0)
    found = detector.detect(X[-2:])
    assert found.flag.all()
    assert "x2" in [
        cell.column for cell in found.cells[1] if cell.neg_log_p_value > 3
    ]  # and what x2 says of the others


def test_the_offset_is_where_the_contamination_says(detector: VAEOutlierDetector) -> None:
    (reference,) = detector.references_
    below = np.mean(reference < detector.offset_)
    assert below <= 0.1 < np.mean(reference <= detector.offset_) + 1 / 300


def test_with_folds_every_row_is_held_back_once_and_all_models_are_fitted_to_as_many(
    folded: VAEOutlierDetector,
) -> None:
    assert [len(each) for each in folded.references_] == [121, 121, 120, 120, 120]
    assert {vae.fitted_.summary.n_train + vae.fitted_.summary.n_validation for vae in folded.vaes_} == {481}
    assert len({vae.random_state for vae in folded.vaes_}) == 5


def test_a_folded_score_is_that_of_the_equal_mixture_and_its_p_value_a_rank_under_each_model(
    folded: VAEOutlierDetector,
) -> None:
    X = np.concatenate([gaussian_rows(5), [[30.0, 30.0, 30.0]]])
    own = np.stack([vae.anomaly_scores(X) for vae in folded.vaes_])
    np.testing.assert_allclose(folded.score_samples(X), np.log(np.mean(np.exp(own - own.max()), axis=0)) + own.max())
    pairs = list(zip(own, folded.references_, strict=True))
    below = [sum(int(np.sum(known <= scores[i])) for scores, known in pairs) for i in range(6)]
    found = folded.detect(X, explain=6)
    np.testing.assert_allclose(found.p_value, (1 + np.array(below)) / 603)
    assert found.n_reference == 602 and found.p_value[-1] == 1 / 603 and folded.predict(X)[-1] == -1
    assert len(found.cells[5]) == 3


def test_cross_conformal_p_values_are_close_to_uniform(folded: VAEOutlierDetector) -> None:
    n = 500
    p = folded.p_values(gaussian_rows(n))
    for level in (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9):
        error = np.sqrt(level * (1 - level) * (1 / n + 1 / 602))
        assert abs(np.mean(p <= level) - level) < 4.5 * error + 1 / 602


def test_a_column_that_is_constant_for_one_of_the_models_has_no_place_there() -> None:
    X = gaussian_rows(60)
    X[:, 2] = 1.0
    X[7, 2] = 2.0  # in the rows of all models but one
    with pytest.warns(UserWarning, match="constant column|always 1 in the fitted data"):
        detector = VAEOutlierDetector(VAE(**NUMBERS), folds=3, random_state=0).fit(X)
    sizes = [len(vae.fitted_.encoding.kept) for vae in detector.vaes_]
    assert sorted(sizes) == [2, 3, 3]
    with pytest.warns(UserWarning, match="was always 1 in the fitted data"):
        found = detector.detect(X[:9], explain=9)
    assert np.isfinite(found.score).all() and set(found.cells) <= set(range(9))


def test_fit_predict_and_clone(detector: VAEOutlierDetector) -> None:
    X = np.concatenate([gaussian_rows(300), np.full((3, 3), 40.0)])
    fresh = clone(detector)
    assert not hasattr(fresh, "vaes_")
    labels = fresh.fit_predict(X)
    assert set(labels) == {-1, 1} and (labels[-3:] == -1).all()
    assert fresh.n_features_in_ == 3


@pytest.mark.parametrize(
    ("rows", "smoothing"),
    [
        (gaussian_rows(60), 0.7),
        (gaussian_rows(2000), 0.35),
        (gaussian_rows(5001), 0.0),
        ((gaussian_rows(60) > 5).astype(float), 0.0),
    ],
    ids=["few", "more", "many", "zeros_and_ones"],
)
def test_numbers_are_smoothed_where_rows_are_few(rows: np.ndarray, smoothing: float, monkeypatch: Any) -> None:
    seen: list[VAE] = []

    def fit_table(self: VAE, table: Any) -> VAE:
        seen.append(self)
        raise RuntimeError("Enough.")

    monkeypatch.setattr(VAE, "fit_table", fit_table)
    with pytest.raises(RuntimeError, match=r"Enough\."):
        VAEOutlierDetector(random_state=0).fit(rows)
    assert seen[0].smoothing == pytest.approx(smoothing)
    bits = bool(np.isin(rows, (0, 1)).all())
    assert seen[0].likelihood == ("auto" if bits else likelihoods.Gaussian(covariance="low_rank"))


@pytest.mark.parametrize("folds", [0, 26, 2.5, True])
def test_folds_are_a_number_of_parts(folds: Any) -> None:
    with pytest.raises(ValueError, match="folds must be a whole number between 1 and 25; got"):
        VAEOutlierDetector(VAE(**NUMBERS), folds=folds).fit(gaussian_rows(50))


@pytest.mark.parametrize("options", [{"contamination": 0.0}, {"contamination": True}, {"calibration_fraction": 1.5}])
def test_shares_are_shares(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be a share between 0 and 1; got"):
        VAEOutlierDetector(VAE(**NUMBERS), **options).fit(gaussian_rows(50))


def test_the_users_model_keeps_its_seed_and_dates_are_dates() -> None:
    detector = VAEOutlierDetector(VAE(epochs=1, network="residual(hidden_sizes=(8,))", random_state=3)).fit(
        pandas_frame().iloc[:100]
    )
    assert detector.vaes_[0].random_state == 3
    named = {
        cell.column: cell.value
        for cells in detector.detect(pandas_frame()[:60], explain=60).cells.values()
        for cell in cells
    }
    assert re.fullmatch(r"20(20|21|22)-\d\d-\d\d", named["joined"])
