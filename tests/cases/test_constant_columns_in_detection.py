"""A column that had one value while learning is a point mass: a row with another one is as anomalous as can be."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tightbound import VAE, VAEOutlierDetector

LINEAR: dict[str, Any] = {
    "latent_dim": 1,
    "network": "linear",
    "epochs": 3,
    "validation_fraction": 0,
    "random_state": 0,
}
RNG = np.random.default_rng(8)


def numbers(n: int) -> np.ndarray:
    x = RNG.normal(size=(n, 4)) + RNG.normal(size=(n, 1))
    x[:, 2] = 5.0
    return x


def frame(n: int) -> pd.DataFrame:
    table = pd.DataFrame(numbers(n), columns=list("abcd"))
    return table.assign(word=RNG.choice(["u", "v"], size=n), country="DE")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("likelihood", ["gaussian", "columns"])
def test_another_number_is_as_anomalous_as_can_be_and_is_named(likelihood: str) -> None:
    vae = VAE(**LINEAR, likelihood=likelihood).fit(numbers(200))
    new = numbers(40)
    new[11, 2], new[12, 2] = 5.5, np.nan
    found = vae.detect(new, numbers(100), explain=3)
    assert found.order[0] == 11 and found.p_value[11] == pytest.approx(1 / 101)
    worst = found.cells[11][0]
    assert worst.column in ("x2", "2") and worst.value == 5.5 and worst.neg_log_p_value > 700
    assert "=5.5 (over 708.4)" in repr(found)
    assert np.asarray(vae.impute(new).values)[12, 2] == 5.0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_another_word_and_another_number_of_a_mixed_table_are_named() -> None:
    vae = VAE(**LINEAR).fit(frame(200))
    new = frame(40)
    new.loc[3, "country"], new.loc[5, "c"], new.loc[7, ["a", "b", "d", "word"]] = "FR", 4.0, None
    new.loc[8, :], new.loc[8, "country"] = None, "AT"
    found = vae.detect(new, frame(100), explain=5)
    assert set(found.order[:3]) == {3, 5, 8}
    assert [(found.cells[i][0].column, found.cells[i][0].value) for i in (3, 5)] == [("country", "FR"), ("c", 4.0)]
    assert found.p_value[[3, 5, 8]] == pytest.approx(1 / 101)
    assert np.isnan(found.p_value[7])  # what else it holds is as it always was


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_outlier_detector_predicts_it() -> None:
    detector = VAEOutlierDetector(VAE(**LINEAR, likelihood="gaussian"), folds=1, random_state=0).fit(numbers(120))
    new = numbers(30)
    new[4, 2] = 6.0
    assert detector.predict(new)[4] == -1 and detector.decision_function(new).argmin() == 4
