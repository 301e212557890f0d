"""P-values of rows with gaps: comparable between patterns of missing cells, and the same in any unit."""

import functools
import warnings
from typing import Any

import numpy as np
import pytest

import tightbound
from tightbound import VAE, VAEOutlierDetector

RNG = np.random.default_rng(31)
D = 6
COMPLETE, LEFT, RIGHT = np.ones(D, bool), np.arange(D) < 3, np.arange(D) >= 2
LINEAR: dict[str, Any] = {
    "latent_dim": 1,
    "likelihood": "gaussian",
    "network": "linear",
    "epochs": 5,
    "validation_fraction": 0.25,
    "random_state": 0,
}
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.9)


def rows(n: int, unit: float = 1.0) -> np.ndarray:
    return (3 + RNG.normal(size=(n, 1)) * np.linspace(-2, 2, D) + RNG.normal(size=(n, D))) * unit


def seen(x: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    return np.where(pattern, x, np.nan)


@functools.cache
def fitted(unit: float = 1.0) -> VAE:
    """Fitted to the same rows in any unit; not to be changed."""
    own = np.random.default_rng(5)
    x = 3 + own.normal(size=(1200, 1)) * np.linspace(-2, 2, D) + own.normal(size=(1200, D))
    return VAE(**LINEAR).fit(x * unit)


def assert_uniform(p: np.ndarray, n_reference: int, others: float = 0.0) -> None:
    """At every level, within the errors of the rows, of the reference and of what else the ranks rest on."""
    for level in LEVELS:
        error = np.sqrt(level * (1 - level) * (1 / len(p) + 1 / n_reference + others))
        assert abs(np.mean(p <= level) - level) < 4.5 * error + 1 / n_reference, (level, np.mean(p <= level))


@pytest.mark.parametrize(
    ("reference", "new", "by_model"),
    [
        (COMPLETE, LEFT, False),
        (COMPLETE, RIGHT, False),
        (LEFT, LEFT, False),
        (LEFT, COMPLETE, True),
        (RIGHT, LEFT, True),
    ],
)
@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_p_values_are_uniform_for_every_pair_of_patterns(
    unit: float, reference: np.ndarray, new: np.ndarray, by_model: bool
) -> None:
    """In thousandths log p of three cells lies 20 nats below that of six, in thousands 20 above."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = fitted(unit).detect(seen(rows(300, unit), new), seen(rows(300, unit), reference), explain=0)
    assert_uniform(found.p_value, 300, 2 / 1000 if by_model else 0)
    assert (found.by_model == by_model).all()
    # Where they rest on the model that is said, and not where they do not.
    assert any("rest on the model as well" in str(each.message) for each in told) == by_model == bool(found.notes)


def test_p_values_by_the_references_that_fit_kept_are_uniform_for_rows_with_gaps() -> None:
    with pytest.warns(UserWarning, match="300 of 500 rows rest on the model as well"):
        x = rows(500)
        x[:300] = seen(x[:300], LEFT)
        found = fitted().detect(x, explain=0)
    assert found.n_reference == 300
    assert_uniform(found.p_value[:300], 300, 2 / 1000)
    assert_uniform(found.p_value[300:], 300)


def test_p_values_are_the_same_in_any_unit() -> None:
    new, reference = seen(rows(60), LEFT), rows(100)
    new[:20] = rows(20)
    found = [fitted(unit).detect(new * unit, reference * unit, explain=0).p_value for unit in (1e-3, 1.0, 1e3)]
    # The fits differ by rounding alone: rows change places with their next neighbours at most.
    assert np.abs(found[0] - found[1]).max() <= 0.02 and np.abs(found[2] - found[1]).max() <= 0.02


def test_an_anomalous_row_with_gaps_is_found_and_an_empty_one_is_nothing() -> None:
    new = seen(rows(40), LEFT)
    new[3, :3], new[7] = [3 - 12, 3, 3 + 12], np.nan
    found = fitted().detect(new, rows(200), explain=5, level=0.3)
    assert found.order[0] == 3 and found.p_value[3] == pytest.approx(1 / 201) and found.flag[3]
    assert np.isnan(found.p_value[7]) and np.isnan(found.q_value[7]) and not found.flag[7] and found.order[-1] == 7
    assert found.notes == ("1 row(s) have no cell to be judged by: no p-value, no flag.",)
    assert "1 row(s) have no cell" in repr(found) and 7 not in found.cells


def test_many_patterns_cost_little_and_hold() -> None:
    """Every row has gaps of its own; rows that are ordinary are compared with 200 reference rows at first."""
    new = np.where(RNG.random((80, D)) < 0.4, np.nan, rows(80))
    new = new[~np.isnan(new).all(axis=1)]
    found = fitted().detect(new, rows(300), explain=0)
    assert_uniform(found.p_value, 200)
    assert not found.by_model.any()


def test_a_row_that_two_hundred_reference_rows_settle_has_its_p_value_from_them() -> None:
    new, reference = seen(rows(50), LEFT), rows(300)
    p = fitted().detect(new, reference, explain=0).p_value
    score, hidden = fitted().anomaly_scores(new), fitted().anomaly_scores(seen(reference, LEFT))
    exact = np.array([(1 + np.sum(hidden <= each)) / 301 for each in score])
    surely_low = exact < 0.03
    np.testing.assert_allclose(p[surely_low], exact[surely_low])
    assert np.abs(p - exact).max() < 4.5 * np.sqrt(0.25 * (1 / 200 - 1 / 300))


def test_fit_keeps_reference_scores_in_python_too_and_saves_them(tmp_path: Any) -> None:
    x = rows(50)
    found = fitted().detect(x, explain=0)
    assert found.n_reference == 300
    fitted().save(tmp_path / "m")
    again = tightbound.load(tmp_path / "m").detect(x, explain=0)
    np.testing.assert_array_equal(found.p_value, again.p_value)
    assert not (tmp_path / "m" / "model.json").read_text().count(f"{x[0, 0]!r}")


def test_gaps_of_kept_references_are_kept(tmp_path: Any) -> None:
    x = rows(200)
    x[::2] = seen(x[::2], LEFT)
    vae = VAE(**LINEAR).fit(x)
    vae.save(tmp_path / "m")
    (summary,) = {tightbound.load(tmp_path / "m").fitted_.summary}
    assert len(summary.reference) == 50 and set(summary.reference_gaps) == {"00", "1c"}


def test_an_outlier_detector_compares_rows_by_the_cells_they_have() -> None:
    detector = VAEOutlierDetector(VAE(**{**LINEAR, "validation_fraction": 0}), folds=1, random_state=0)
    detector.set_params(calibration_fraction=0.5).fit(rows(600, 1e-3))
    new = seen(rows(300, 1e-3), LEFT)
    new[0, :3] = np.array([3 - 12, 3, 3 + 12]) * 1e-3
    new[1] = np.nan
    p, decision = detector.p_values(new), detector.decision_function(new)
    assert_uniform(p[2:], 300)
    np.testing.assert_array_equal(detector.predict(new) == -1, np.nan_to_num(p, nan=1) <= 0.1)
    assert decision[0] == decision.min() < 0 <= decision[1]
    complete = rows(9, 1e-3)
    np.testing.assert_allclose(
        detector.decision_function(complete), detector.score_samples(complete) - detector.offset_
    )


def test_where_gaps_belong_to_the_data_p_values_say_what_they_are() -> None:
    x = rows(120)
    x = np.where((x > 4) & (RNG.random(x.shape) < 0.5), np.nan, x)
    vae = VAE(**{**LINEAR, "likelihood": "columns", "missingness": "self_masking"}).fit(x)
    with pytest.warns(UserWarning, match="gaps belong to the data"):
        found = vae.detect(x[:20], x, explain=0)
    assert np.isfinite(found.p_value).all()
