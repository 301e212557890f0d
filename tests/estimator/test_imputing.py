"""Missing cells filled in: observed ones bit for bit, every container, draws, intervals, closed forms."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pytest
from mixed_table import SIZES, complete, fitted, holes, pandas_frame, polars_frame
from scipy import special, stats
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tightbound import VAE, VAEImputer, load
from tightbound.estimator import imputation as imputing
from tightbound.estimator.imputation import Imputation, quantiles
from tightbound.tasks import ConditionalDraws, conditional_draws

RNG = np.random.default_rng(8)
SMALL: dict[str, Any] = {"network": "linear", "epochs": 2, "validation_fraction": 0, "random_state": 0}


@pytest.fixture(scope="module")
def found() -> Imputation:
    return fitted().impute(pandas_frame(), n_draws=20, interval=0.9)


def test_observed_cells_come_back_bit_for_bit(found: Imputation) -> None:
    before = pandas_frame()
    for after in (found.values, *found.draws):
        assert list(after.dtypes) == list(before.dtypes) and after.index.equals(before.index)
        assert list(after["size"].cat.categories) == SIZES and after["size"].cat.ordered
        assert not after.isna().any().any()
        for j, name in enumerate(before.columns):
            seen = ~holes()[:, j]
            pd.testing.assert_series_equal(after[name][seen], before[name][seen], check_exact=True)


def test_points_suit_the_column(found: Imputation) -> None:
    """The mean of numbers, the median of ordered levels, the most frequent of nominal ones, as the draws have them."""
    many = fitted().impute(pandas_frame(), n_draws=400, random_state=3).draws
    for j, name in enumerate(complete().columns):
        at = np.flatnonzero(holes()[:, j])
        if not len(at):
            continue
        points, draws = found.values[name].iloc[at], np.stack([d[name].iloc[at].astype(object) for d in many], axis=1)
        if name in ("height", "income"):
            values = draws.astype(float)
            error = np.hypot(1, np.sqrt(400 / 200)) * values.std(axis=1) / 20  # of 400 and of 200 draws
            assert (np.abs(points.astype(float) - values.mean(axis=1)) < 7 * error + 1e-9).mean() > 0.9
        elif name == "colour":
            shares = np.mean(draws == points.to_numpy(object)[:, None], axis=1)
            assert (shares > 0.25).all()
        elif name == "size":
            codes = np.array([[SIZES.index(v) for v in row] for row in draws])
            middle = np.array([SIZES.index(v) for v in points])
            assert (np.mean(codes <= middle[:, None], axis=1) > 0.35).all()
            assert (np.mean(codes >= middle[:, None], axis=1) > 0.35).all()


def test_draws_are_values_that_the_columns_can_hold(found: Imputation) -> None:
    assert len(found.draws) == 20
    assert len({tuple(d["height"].iloc[[7]]) for d in found.draws}) > 5  # draws differ
    for d in found.draws:
        np.testing.assert_array_equal(np.round(d["height"], 1), d["height"])
        assert (d["height"] > 0).all() and (d["income"] >= 0).all()
        assert (d["joined"] == d["joined"].dt.normalize()).all()
        assert set(d["colour"]) == {"red", "green", "blue"}
    spikes = np.mean([d["income"].to_numpy()[holes()[:, 2]] == 0 for d in found.draws])
    assert 0.05 < spikes < 0.7  # with its spike at 0


def test_rows_with_uneven_weights_get_all_their_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the others what few latents give; k-hat of the first pass decides, row by row."""
    model = fitted().fitted_
    rows = model.rows(fitted()._table(pandas_frame()))
    x, observed = rows.x[:6], rows.observed[:6]
    asked = []

    def watched(pair: Any, x: Any, observed: Any, *, n_samples: int, **rest: Any) -> ConditionalDraws:
        asked.append((len(x), n_samples))
        found = conditional_draws(pair, x, observed, n_samples=n_samples, **rest)
        khat = np.zeros(len(x))
        khat[[1, 4] if n_samples == imputing.FEW_SAMPLES else []] = imputing.MOST_KHAT + 0.1
        return dataclasses.replace(found, khat=khat, ess=np.full(len(x), 200.0))

    monkeypatch.setattr(imputing, "conditional_draws", watched)
    mean, draws, khat = imputing.draws_of(model, x, observed, 20, 700, 0)
    assert asked == [(6, imputing.FEW_SAMPLES), (2, 700)] and not khat.any()
    few = imputing.draws_of(model, x, observed, 20, imputing.FEW_SAMPLES, 0)
    monkeypatch.setattr(imputing, "FEW_SAMPLES", 700)
    many = imputing.draws_of(model, x, observed, 20, 700, 0)
    for found, of_few, of_many in zip((mean, draws), few[:2], many[:2], strict=True):
        np.testing.assert_array_equal(found[[0, 2, 3, 5]], of_few[[0, 2, 3, 5]])
        np.testing.assert_allclose(found[[1, 4]], of_many[[1, 4]], rtol=1e-5)
    assert not np.array_equal(few[0][[1, 4]], many[0][[1, 4]])


def test_rows_where_few_latents_count_get_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer effective latents than draws; a low k-hat does not make up for that."""
    model = fitted().fitted_
    rows = model.rows(fitted()._table(pandas_frame()))
    asked = []

    def watched(pair: Any, x: Any, observed: Any, *, n_samples: int, **rest: Any) -> ConditionalDraws:
        asked.append((len(x), n_samples))
        found = conditional_draws(pair, x, observed, n_samples=n_samples, **rest)
        return dataclasses.replace(found, khat=np.zeros(len(x)), ess=np.array([19.0, 21.0, 250.0])[: len(x)])

    monkeypatch.setattr(imputing, "conditional_draws", watched)
    imputing.draws_of(model, rows.x[:3], rows.observed[:3], 20, 700, 0)
    assert asked == [(3, imputing.FEW_SAMPLES), (1, 700)]


def test_draws_of_a_row_go_together() -> None:
    """Height and date of entry go with the same latent: over draws of a row that shows neither, they are correlated."""
    row = pandas_frame().iloc[[7]]
    draws = fitted().impute(row, n_draws=400).draws
    values = np.array(
        [[d["height"].iloc[0], d["joined"].iloc[0].toordinal(), SIZES.index(d["size"].iloc[0])] for d in draws]
    )
    apart = fitted().impute(row, n_draws=400, random_state=5).draws
    other = np.array([d["joined"].iloc[0].toordinal() for d in apart])
    together, by_chance = (abs(stats.spearmanr(values[:, 0], v).statistic) for v in (values[:, 1], other))
    assert by_chance < 5 / 20 and together > by_chance


def test_intervals_bracket_the_points(found: Imputation) -> None:
    lower, upper = found.lower, found.upper
    assert found.interval == 0.9
    for j, name in enumerate(complete().columns):
        # A nominal level has no order, and ends that are words are no numbers.
        filled = holes()[:, j] & (not isinstance(complete()[name].iloc[0], str))
        for ends in (lower, upper):
            np.testing.assert_array_equal(ends[name].notna(), filled)
        assert (lower[name][filled] <= upper[name][filled]).all()
    for name in ("height", "income"):
        at = holes()[:, list(complete().columns).index(name)]
        points = found.values[name][at]
        assert ((lower[name][at] <= points) & (points <= upper[name][at])).mean() > 0.95
        wider = fitted().impute(pandas_frame(), interval=0.99)
        assert (wider.upper[name][at] >= upper[name][at]).all()
        truth = complete()[name][at]
        assert ((lower[name][at] <= truth) & (truth <= upper[name][at])).mean() > 0.6


def test_what_is_said_of_the_weights(found: Imputation) -> None:
    gaps = holes().any(axis=1).sum()
    assert found.n_cells == holes().sum()
    assert found.khat.shape == (gaps,) and np.isfinite(found.khat).all()
    assert f"Imputation({holes().sum():,} cells in {gaps} rows, with intervals of 90%, 20 draws" in repr(found)


def test_the_same_seed_gives_the_same_bits(found: Imputation) -> None:
    again = fitted().impute(pandas_frame(), n_draws=20, interval=0.9)
    other = fitted().impute(pandas_frame(), n_draws=20, random_state=1)
    pd.testing.assert_frame_equal(again.values, found.values, check_exact=True)
    assert not other.values.equals(found.values)
    assert other.lower is None and other.interval is None


def test_polars_in_polars_out(found: Imputation) -> None:
    frame = polars_frame()
    after = fitted().impute(frame).values
    assert isinstance(after, pl.DataFrame) and after.schema == frame.schema
    assert after.null_count().sum_horizontal().item() == 0
    for j, name in enumerate(frame.columns):
        seen = ~holes()[:, j]
        assert after[name].filter(seen).equals(frame[name].filter(seen))
        assert [str(v) for v in after[name]] == [str(v) for v in pl.from_pandas(found.values)[name]]


def test_a_complete_table_is_left_alone() -> None:
    whole = complete()
    after = fitted().impute(whole, n_draws=2)
    pd.testing.assert_frame_equal(after.values, whole, check_exact=True)
    pd.testing.assert_frame_equal(after.draws[1], whole, check_exact=True)
    assert (after.n_cells, len(after.khat)) == (0, 0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"interval": 1.0}, "interval must be a probability between 0 and 1; got 1.0; 0.9 is usual"),
        ({"n_draws": 0}, "n_draws"),
        ({"n_samples": 0}, "n_samples"),
    ],
)
def test_what_cannot_be_asked(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        fitted().impute(pandas_frame(), **options)


def test_a_saved_model_imputes_to_the_same_bits(found: Imputation, tmp_path: Path) -> None:
    fitted().save(tmp_path / "model")
    again = load(tmp_path / "model").impute(pandas_frame(), n_draws=20, interval=0.9)
    pd.testing.assert_frame_equal(again.values, found.values, check_exact=True)
    pd.testing.assert_frame_equal(again.upper, found.upper, check_exact=True)
    pd.testing.assert_frame_equal(again.draws[7], found.draws[7], check_exact=True)
    assert again.khat.tobytes() == found.khat.tobytes()


def numbers(n: int = 150) -> np.ndarray:
    """Three columns that go together, with gaps."""
    z = RNG.normal(size=(n, 1))
    X = 100 + z * [3.0, -20.0, 0.5] + RNG.normal(size=(n, 3)) * [1.0, 5.0, 0.2]
    gone = RNG.random((n, 3)) < 0.2
    X[gone & ~gone.all(axis=1, keepdims=True)] = np.nan
    return X


def test_an_imputer_in_a_pipeline() -> None:
    X = numbers()
    imputer = VAEImputer(VAE(likelihood="columns", latent_dim=1, **SMALL), n_samples=200, random_state=0)
    pipeline = make_pipeline(imputer, StandardScaler())
    Z = pipeline.fit_transform(X)
    assert isinstance(Z, np.ndarray) and np.isfinite(Z).all()
    np.testing.assert_allclose([Z.mean(axis=0), Z.std(axis=0)], [np.zeros(3), np.ones(3)], atol=1e-9)
    fitted_imputer = pipeline[0]
    after = fitted_imputer.transform(X)
    seen = ~np.isnan(X)
    assert after.dtype == X.dtype and after[seen].tobytes() == X[seen].tobytes()
    assert list(fitted_imputer.get_feature_names_out()) == ["x0", "x1", "x2"]
    assert len(fitted_imputer.impute(X, 3, interval=0.5).draws) == 3


def mean_and_covariance(vae: VAE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """b, W and the diagonal of D of x = b + W z + e in the model's units, of a linear decoder."""
    decoder, dim = vae.model_.decoder, vae.fitted_.specification.latent_dim
    at = [decoder(jnp.asarray(z, "float64")) for z in (np.zeros(dim), *np.eye(dim))]
    mean = np.stack([np.asarray(d.mean) for d in at])
    return mean[0], (mean[1:] - mean[0]).T, np.asarray(at[0].variance)


def test_a_linear_gaussian_model_gives_its_conditional_means() -> None:
    """b_m + S_mo S_oo^-1 (x_o - b_o), up to the noise of 2,000 draws of z."""
    X = numbers()
    vae = VAE(1, likelihood="gaussian", inference="exact", dtype="float64", **SMALL).fit(X)
    found = vae.impute(X, n_draws=300, n_samples=2000)
    b, W, D = mean_and_covariance(vae)
    S = W @ W.T + np.diag(D)
    rows = vae.fitted_.rows(vae._table(X))
    x, seen = rows.x, rows.observed
    y = vae.fitted_.encoding.encode(vae._table(found.values)).x
    draws = np.stack([vae.fitted_.encoding.encode(vae._table(d)).x for d in found.draws], axis=1)
    assert found.values[seen].tobytes() == X[seen].tobytes()
    for i in np.flatnonzero(~seen.all(axis=1)):
        o, m = seen[i], ~seen[i]
        gain = S[np.ix_(m, o)] @ np.linalg.inv(S[np.ix_(o, o)])
        expected = b[m] + gain @ (x[i, o] - b[o])
        precision = np.eye(1) + W[o].T @ np.diag(1 / D[o]) @ W[o]
        of_means = np.sqrt(np.diag(W[m] @ np.linalg.inv(precision) @ W[m].T))  # of E[x | z] over p(z | x_o)
        assert (np.abs(y[i, m] - expected) < 6 * of_means / np.sqrt(2000) + 1e-6).all()
        spread = S[np.ix_(m, m)] - gain @ S[np.ix_(o, m)]
        error = np.sqrt(np.diag(spread) / 300)
        assert (np.abs(draws[i][:, m].mean(axis=0) - expected) < 6 * error).all()
    np.testing.assert_allclose(found.khat < 0.7, True)  # q is the posterior: all weights are alike


def test_a_full_covariance_model_gives_its_conditional_means() -> None:
    """By quadrature over z of E[x_m | z, x_o], weighted by p(z) p(x_o | z); where k-hat says that q is near enough."""
    X = numbers()
    vae = VAE(1, likelihood="gaussian(covariance=full)", dtype="float64", **SMALL).fit(X)
    found = vae.impute(X, n_samples=2000)
    rows = vae.fitted_.rows(vae._table(X))
    x, seen = rows.x, rows.observed
    y = vae.fitted_.encoding.encode(vae._table(found.values)).x
    z = np.linspace(-8, 8, 801)
    decoder = vae.model_.decoder
    loc, tril = jax.jit(jax.vmap(lambda z: (decoder(z[None]).loc, decoder(z[None]).scale_tril)))(jnp.asarray(z))
    loc, tril = np.asarray(loc), np.asarray(tril)
    S = tril @ tril.transpose(0, 2, 1)
    gaps = np.flatnonzero(~seen.all(axis=1))
    fine = gaps[found.khat < 0.5]
    assert len(fine) > len(gaps) / 2
    for i in fine:
        o, m = seen[i], ~seen[i]
        log_p = stats.norm.logpdf(z)
        means = loc[:, m]
        inverse, off = np.linalg.inv(S[:, o][:, :, o]), x[i, o] - loc[:, o]
        log_p = log_p - 0.5 * np.einsum("zi,zij,zj->z", off, inverse, off) + 0.5 * np.linalg.slogdet(inverse)[1]
        means = means + np.einsum("zmi,zij,zj->zm", S[:, m][:, :, o], inverse, off)
        weight = special.softmax(log_p)
        expected = weight @ means
        spread = np.sqrt(weight @ (means - expected) ** 2)
        assert (np.abs(y[i, m] - expected) < 6 * spread / np.sqrt(200) + 1e-4).all()


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_levels_that_are_numbers_can_be_filled_with_means(container):
    rng = np.random.default_rng(5)
    stars = rng.integers(1, 5, 120).astype(float)
    stars[::6] = np.nan
    columns = {"stars": stars, "word": np.array(["a", "b"])[rng.integers(0, 2, 120)], "x": rng.normal(size=120)}
    frame = (
        pd.DataFrame(columns)
        if container == "pandas"
        else pl.DataFrame(columns).with_columns(pl.col("stars").fill_nan(None))
    )
    vae = VAE(epochs=2, network="residual(hidden_sizes=(8,))", random_state=0).fit(frame)
    assert vae.fitted_.encoding.plans[0].levels == 4
    typical, mean = (vae.impute(frame, point=point, interval=0.9) for point in ("typical", "mean"))
    gaps = np.isnan(stars)
    filled = [np.asarray(found.values["stars"], float) for found in (typical, mean)]
    assert set(filled[0][gaps]) <= {1.0, 2.0, 3.0, 4.0}
    assert np.all((filled[1][gaps] > 1) & (filled[1][gaps] < 4)) and not set(filled[1][gaps]) <= {1.0, 2.0, 3.0, 4.0}
    for values in filled:
        np.testing.assert_array_equal(values[~gaps], stars[~gaps])
    ends = np.asarray(typical.lower["stars"], float), np.asarray(typical.upper["stars"], float)
    assert all(set(end[gaps]) <= {1.0, 2.0, 3.0, 4.0} and np.isnan(end[~gaps]).all() for end in ends)
    with pytest.raises(ValueError, match="point must be typical or mean"):
        vae.impute(frame, point="median")


def test_a_constant_column_of_an_array_moves_no_other() -> None:
    rng = np.random.default_rng(6)
    X = np.column_stack([np.full(90, 7.0), rng.integers(0, 2, 90), rng.normal(size=90)])
    X[::4, 1], X[1::4, 2] = np.nan, np.nan
    with pytest.warns(UserWarning, match="'x0' is not modelled"):
        vae = VAE(likelihood="columns", epochs=2, network="residual(hidden_sizes=(8,))", random_state=0).fit(X)
    found = vae.impute(X, interval=0.8, point="mean")
    assert found.values.shape == found.lower.shape == found.upper.shape == X.shape
    seen = ~np.isnan(X)
    np.testing.assert_array_equal(found.values[seen], X[seen])
    shares = found.values[::4, 1]
    assert np.all((shares > 0) & (shares < 1)) and not set(shares) <= {0.0, 1.0}
    assert np.isfinite(found.lower[1::4, 2]).all() and np.isnan(found.lower[:, :2]).all()


def test_the_users_model_keeps_what_the_imputer_does_not_say() -> None:
    X = np.random.default_rng(7).normal(size=(60, 2))
    X[:20, 0] = np.nan
    own = VAE(likelihood="columns(continuous=gaussian)", missingness="self_masking", epochs=1, random_state=3)
    vae = VAEImputer(own).fit(X).vae_
    assert vae.missingness == "self_masking" and vae.random_state == 3
    assert VAEImputer(own, random_state=4).fit(X).vae_.random_state == 4


@pytest.mark.parametrize(("n", "interval", "k"), [(100, 0.9, 5), (99, 0.9, 5), (200, 0.5, 50), (7, 0.9, 1)])
def test_ends_are_draws_that_hold_another_with_the_probability_asked_for(n: int, interval: float, k: int) -> None:
    """The k-th smallest and largest; with enough draws (n + 1 - 2 k) / (n + 1) is the probability, or just above."""
    draws = np.random.default_rng(0).normal(size=(4000, n + 1, 1))
    low, high = quantiles(draws[:, :n], interval)
    ordered = np.sort(draws[:, :n], axis=1)
    np.testing.assert_array_equal([low, high], [ordered[:, k - 1], ordered[:, n - k]])
    held = np.mean((low < draws[:, n]) & (draws[:, n] < high))
    assert abs(held - (n + 1 - 2 * k) / (n + 1)) < 0.03
