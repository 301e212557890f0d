"""Scales keep densities where values can be, take numbers of any size, and whatever is drawn can be read again."""

import io
import warnings

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tightbound.data import ColumnPlan, Preprocessing, as_table, infer_schema, preprocess

RNG = np.random.default_rng(31)
N = 400
COLUMNS = {
    "amount": np.exp(RNG.normal(2, 1, N)),
    "share": RNG.beta(0.7, 0.9, N),
    "angle": np.r_[RNG.uniform(-90, 90, N - 2), -90.0, 90.0],
    "decades": 10.0 ** (-30 * RNG.random(N) ** 2),
    "tiny": 1e-300 * np.exp(RNG.normal(size=N)),
    "minute": 1e-300 * RNG.normal(size=N),
    "huge": np.r_[RNG.normal(size=N - 1), 1e300],
    "large": 1e300 * np.exp(RNG.normal(size=N)),
    "zeros": np.where(RNG.random(N) < 0.01, 0.0, np.exp(RNG.normal(size=N))),
    "tenths": np.round(RNG.normal(3, 4, N), 1),
    "many": RNG.poisson(np.exp(RNG.normal(4.5, 0.4, N))),
    "day": np.datetime64("2024-01-01") + np.where(RNG.random(N) < 0.2, 2_900_000, RNG.integers(0, 300, N)),
}


def planned(name: str, family: str = "normal_scores") -> tuple[ColumnPlan, tuple[float, float], np.ndarray]:
    frame = pl.DataFrame({name: COLUMNS[name]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted = Preprocessing("columns", continuous=family)
        table, encoding, _ = preprocess(as_table(frame, schema=infer_schema(frame)), wanted)
    column = encoding.schema.columns[0]
    return encoding.plans[0], column.type.support(column), np.asarray(table.values)[:, 0]


@pytest.mark.parametrize("family", ["normal_scores", "gaussian"])
@pytest.mark.parametrize("name", COLUMNS)
def test_all_mass_lies_in_the_support_and_samples_are_of_the_density(name, family):
    plan, (low, high), values = planned(name, family)
    y = np.linspace(-6.5, 6.5, 400_001)
    x = plan.scale.inverse(y)
    assert np.isfinite(x).all() and (x > low).all() and (x < high).all() and (np.diff(x) >= 0).all()
    # p(x) dx = N(y) T'(x) dx, summed over small steps of x, is the mass that N(y) gives them, though x runs over many
    # decades; steps in which the density is no straight line (from one value to the next, which is 1e300) are left out.
    log_slope = plan.scale.forward(x)[1]
    log_density = stats.norm.logpdf(y) + log_slope
    middle = np.logaddexp(log_density[1:], log_density[:-1]) - np.log(2)
    with np.errstate(divide="ignore"):
        steps = np.exp(middle + np.log(np.diff(x)))
    smooth = np.abs(np.diff(log_density)) < 0.5
    expected = np.diff(stats.norm.cdf(y))[smooth].sum()
    assert steps[smooth].sum() == pytest.approx(expected, abs=2e-3) and expected > 0.97
    observed = values[~np.isnan(values)]
    there, slope = plan.forward(observed)
    assert np.isfinite(there).all() and np.isfinite(slope).all() and np.abs(there).max() < 1e6


def test_a_scale_over_decades_keeps_its_small_values():
    plan, _, values = planned("decades")
    drawn = plan.inverse(np.random.default_rng(1).normal(size=4000), on_grid=True)
    assert drawn.min() > 0 and stats.ks_2samp(drawn, values).statistic < 0.06
    assert stats.ks_2samp(np.log(drawn), np.log(values)).pvalue > 1e-4


def test_another_unit_changes_the_density_by_its_factor_alone():
    for name in ("amount", "tenths"):
        frame = pl.DataFrame({name: COLUMNS[name]})
        found = {}
        for unit in (1.0, 1e-300, 1e290):
            scaled = frame * unit if unit != 1.0 else frame
            table, encoding, _ = preprocess(as_table(scaled), Preprocessing("columns"))
            rows = encoding.encode(table, dtype="float64")
            found[unit] = stats.norm.logpdf(rows.x[:, 0]) + rows.log_jacobian
        for unit in (1e-300, 1e290):
            np.testing.assert_allclose(found[unit] + np.log(unit), found[1.0], atol=1e-6)


@pytest.mark.parametrize("far", [1.0, 3.0, 30.0])
def test_whatever_is_drawn_can_be_written_and_read_again(far):
    frame = pl.DataFrame(COLUMNS)
    _, encoding, _ = preprocess(as_table(frame), Preprocessing())
    drawn = encoding.decode(far * np.random.default_rng(2).normal(size=(300, encoding.n_features)), on_grid=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written = io.BytesIO(encoding.give_back(drawn).write_csv().encode())
        again = as_table(pl.read_csv(written, infer_schema=False), schema=encoding.schema)
        rows = encoding.encode(again, dtype="float64")
    assert np.isfinite(rows.x).all() and np.isfinite(rows.log_jacobian).all() and rows.observed is None
