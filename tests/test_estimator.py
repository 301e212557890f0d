"""The scikit-learn face: its contract to the letter, and what goes in comes back in kind."""

import pickle
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import tiny
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from tightbound import VAE, Evidence, Reliability, load, networks

X = tiny.numbers().to_numpy()


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with tiny.quick_compilation():
        yield


# The contract does not depend on the networks, and the checks come in some forty shapes of data, each of which is
# compiled: linear networks without validation make the smallest programs. No check is expected to fail.
@pytest.mark.filterwarnings("ignore::UserWarning")  # good advice about the checks' toy data
@parametrize_with_checks([VAE(1, **tiny.SMALLEST, epochs=2, n_importance_samples=20, random_state=0)])
def test_the_contract(estimator, check):
    check(estimator)


def test_parameters_are_kept_as_given_and_cloned():
    sizes = [8]
    vae = tiny.vae(network=networks.Residual(hidden_sizes=sizes), learning_rate=np.float64(0.01))
    vae.fit(X)
    assert vae.network.hidden_sizes is sizes and vae.get_params()["learning_rate"] == np.float64(0.01)
    again = clone(vae)
    assert again.get_params() == vae.get_params() and not hasattr(again, "fitted_")
    assert repr(VAE(3, epochs=5)) == "VAE(epochs=5, latent_dim=3)"


def test_a_pickle_gives_the_same_bits():
    again = pickle.loads(pickle.dumps(tiny.fitted()))
    np.testing.assert_array_equal(again.score_samples(X), tiny.fitted().score_samples(X))
    np.testing.assert_array_equal(again.sample(3, random_state=1), tiny.fitted().sample(3, random_state=1))


def test_a_saved_estimator_is_the_same_estimator(tmp_path):
    tiny.fitted().save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.get_params() == tiny.fitted().get_params()
    np.testing.assert_array_equal(again.score_samples(X), tiny.fitted().score_samples(X))
    with pytest.raises(ValueError, match="m must not exist yet, but it does"):
        again.save(tmp_path / "m")
    again.save(tmp_path / "m", overwrite=True)
    assert again.fit(X).n_features_in_ == 3


def test_an_estimator_from_the_command_line_knows_what_was_set_aside():
    vae = load(tiny.folder() / "m")
    frame = tiny.frame()
    with_all = vae.score_samples(frame)
    np.testing.assert_array_equal(with_all, vae.score_samples(frame.select("c", "a", "b")))
    np.testing.assert_array_equal(with_all, vae.score_samples(frame.to_pandas()))
    with pytest.raises(ValueError, match="also has 'other'"):
        vae.score_samples(frame.with_columns(other=1))


def test_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), tiny.vae())
    codes = pipeline.fit_transform(X)
    assert codes.shape == (tiny.N, 1)
    np.testing.assert_array_equal(codes, pipeline.transform(X))
    decoded = pipeline.inverse_transform(codes)
    assert (np.abs(decoded.mean(axis=0) - X.mean(axis=0)) < X.std(axis=0)).all()
    assert pipeline.score(X) == np.mean(pipeline.score_samples(X))
    assert list(pipeline.get_feature_names_out()) == ["vae0"]


def test_the_dimension_is_chosen_by_held_out_score():
    search = GridSearchCV(tiny.vae(**tiny.SMALLEST), {"latent_dim": [1, 2]}, cv=KFold(2)).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all() and scores[0] != scores[1]
    assert search.best_estimator_.latent_dim == [1, 2][int(np.argmax(scores))]
    assert search.score(X) == search.best_estimator_.score(X)
    by_hand = [tiny.vae(**tiny.SMALLEST).fit(X[fit]).score(X[test]) for fit, test in KFold(2).split(X)]
    np.testing.assert_allclose(scores[0], np.mean(by_hand), rtol=1e-12)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_output_of_the_asked_for_kind(container):
    vae = tiny.vae().fit(tiny.numbers().to_pandas().set_index(np.arange(tiny.N) + 100))
    out = vae.set_output(transform=container).transform(tiny.numbers().to_pandas().set_index(np.arange(tiny.N) + 7))
    assert type(out).__module__.startswith(container) and list(out.columns) == ["vae0"]
    if container == "pandas":
        assert list(out.index[:2]) == [7, 8]
    assert isinstance(vae.set_output(transform="default").transform(tiny.numbers()), np.ndarray)


def test_names_of_inputs_and_outputs():
    assert list(tiny.fitted().feature_names_in_) == ["a", "b", "c"]
    assert list(tiny.fitted().get_feature_names_out()) == ["vae0"]
    assert not hasattr(tiny.vae().fit(X), "feature_names_in_")


def test_refitting_forgets_the_first_data():
    vae = tiny.vae().fit(tiny.numbers())
    vae.fit(pl.DataFrame(X, schema=["p", "q", "r"]))
    assert list(vae.feature_names_in_) == ["p", "q", "r"]
    with pytest.raises(ValueError, match="lacks 'p', 'q', 'r'"):
        vae.transform(tiny.numbers())
    vae.set_params(latent_dim=2, **tiny.SMALLEST).fit(X[:, :2])
    assert not hasattr(vae, "feature_names_in_") and vae.n_features_in_ == 2
    assert vae.transform(X[:, :2]).shape == (tiny.N, 2) and vae.sample(3).shape == (3, 2)


def test_the_same_seed_gives_the_same_bits():
    first, second, other = (tiny.vae(random_state=seed).fit(X) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.score_samples(X), second.score_samples(X))
    for name in first.history_:
        np.testing.assert_array_equal(first.history_[name], second.history_[name])
    assert (first.score_samples(X) != other.score_samples(X)).all()
    assert (first.transform(X) != other.transform(X)).all()


def test_a_random_state_is_a_seed_or_a_generator():
    draws = [tiny.fitted().sample(2, random_state=seed) for seed in (np.random.RandomState(5), 0, np.int64(0), None)]
    assert not draws[0].equals(draws[1]) and draws[1].equals(draws[2]) and not draws[1].equals(draws[3])
    generator = np.random.RandomState(5)
    assert tiny.fitted().sample(2, random_state=generator).equals(draws[0])
    assert not tiny.fitted().sample(2, random_state=generator).equals(draws[0])
    for bad in (-1, 2**32):
        with pytest.raises(ValueError, match=f"random_state must be a whole number between 0 and .*; got {bad}"):
            tiny.fitted().sample(2, random_state=bad)
        with pytest.raises(ValueError, match="random_state"):
            tiny.vae(random_state=bad).fit(X)


def test_a_score_is_a_property_of_the_row():
    """Neither the rows beside it, nor their order, nor asking again changes a row's log p(x)."""
    score = tiny.fitted().score_samples
    whole = score(X)
    np.testing.assert_array_equal(score(X), whole)
    np.testing.assert_array_equal(score(X[::-1]), whole[::-1])
    np.testing.assert_array_equal(score(X[3:4]), whole[3:4])
    np.testing.assert_array_equal(score(tiny.numbers().select("c", "a", "b")), whole)
    assert len(set(whole)) == tiny.N


def test_scores_are_densities_in_the_users_units():
    """Columns a million times larger: the same model, log p(x) lower by the logarithm of that."""
    factors = np.array([1e6, 1e-3, 10])
    other = tiny.vae().fit(X * factors)
    difference = tiny.vae().fit(X).score_samples(X) - other.score_samples(X * factors)
    np.testing.assert_allclose(difference, np.log(factors).sum(), atol=2e-3)


def test_score_is_the_mean_and_evidence_says_how_sure():
    vae = tiny.fitted()
    evidence = vae.evidence(tiny.numbers())
    assert isinstance(evidence, Evidence) and (evidence.n_samples == 20).all()
    np.testing.assert_array_equal(evidence.log_evidence, vae.score_samples(X))
    assert vae.score(X) == np.mean(evidence.log_evidence) == evidence.mean().value
    assert (vae.evidence(X, 7).n_samples == 7).all() and set(evidence.reliability) <= set(Reliability)
    more = vae.evidence(X, 2000)
    assert (more.standard_error < evidence.standard_error).mean() > 0.9
    spread = np.hypot(more.standard_error, evidence.standard_error)
    assert (np.abs(more.log_evidence - evidence.log_evidence) < 6 * spread).all()


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "3", None])
def test_counts_that_make_no_sense(n):
    with pytest.raises(ValueError, match="must be a whole number of at least 1; got"):
        tiny.fitted().sample(n)
    with pytest.raises(ValueError, match="must be a whole number of at least 1; got"):
        tiny.fitted().sample_posterior(X, n)
    if n is not None:
        with pytest.raises(ValueError, match="must be a whole number of at least 1; got"):
            tiny.fitted().evidence(X, n)


@pytest.mark.parametrize(
    "method", ["transform", "reconstruct", "score_samples", "score", "evidence", "sample_posterior"]
)
def test_nothing_works_before_the_fit(method):
    with pytest.raises(NotFittedError):
        getattr(tiny.vae(), method)(X)


def test_nothing_else_works_before_the_fit(tmp_path):
    for call in (tiny.vae().sample, lambda: tiny.vae().inverse_transform(X), lambda: tiny.vae().save(tmp_path / "m")):
        with pytest.raises(NotFittedError):
            call()
    assert list(tmp_path.iterdir()) == []


CONTAINERS = {
    "polars": tiny.numbers(),
    "pandas": tiny.numbers().to_pandas(),
    "float32": X.astype("float32"),
    "lists": X.tolist(),
    "sparse": scipy.sparse.csr_array(X),
    "fortran": np.asfortranarray(X),
}


@pytest.mark.parametrize("given", CONTAINERS.values(), ids=CONTAINERS)
def test_what_comes_in_goes_out(given):
    vae = tiny.vae().fit(given)
    frames = type(given) if isinstance(given, (pl.DataFrame, pd.DataFrame)) else np.ndarray
    for out in (vae.sample(4), vae.reconstruct(given), vae.inverse_transform(vae.transform(given))):
        assert isinstance(out, frames) and out.shape[1] == 3
        if frames is np.ndarray:
            assert out.dtype == ("float32" if getattr(given, "dtype", None) == np.float32 else "float64")
        else:
            assert list(out.columns) == ["a", "b", "c"]


def test_whole_numbers_and_names_come_back():
    frame = pd.DataFrame({"n": np.arange(tiny.N, dtype="int16") % 5, "x": X[:, 0], "y": X[:, 1]})
    vae = tiny.vae().fit(frame)
    drawn = vae.sample(50, random_state=0)
    assert list(drawn.dtypes) == list(frame.dtypes) and drawn["n"].between(-10, 15).all()
    index = [f"row {i}" for i in range(tiny.N)]
    assert list(vae.reconstruct(frame.set_axis(index)).index) == index


def test_images_come_back_as_images():
    images = np.random.default_rng(0).integers(0, 2, size=(tiny.N, 2, 3)).astype("uint8")
    vae = tiny.vae().fit(images)
    assert vae.n_features_in_ == 6 and vae.sample(5).shape == (5, 2, 3)
    assert vae.sample(5).dtype == np.uint8 and set(np.unique(vae.sample(99))) == {0, 1}
    assert vae.reconstruct(images).shape == images.shape and (np.abs(vae.reconstruct(images) - 0.5) < 0.5).all()
    assert (vae.score_samples(images) < 0).all()  # probabilities
    with pytest.raises(ValueError, match="give images of the same size"):
        vae.transform(images.reshape(tiny.N, 3, 2))


def test_samples_of_z_follow_the_posterior():
    vae, n = tiny.fitted(), 4000
    z = vae.sample_posterior(X[:5], n, random_state=0)
    assert z.shape == (5, n, 1)
    error = z.std(axis=1) / np.sqrt(n)
    assert (np.abs(z.mean(axis=1) - vae.transform(X[:5])) < 5 * error).all()
    assert not (np.abs(z.mean(axis=1) - vae.transform(X[5:10])) < 5 * error).all()
    np.testing.assert_array_equal(vae.sample_posterior(X[:5], n, random_state=0), z)


def test_reconstructions_are_decoded_means():
    vae = tiny.vae().fit(X)
    np.testing.assert_array_equal(vae.reconstruct(X), vae.inverse_transform(vae.transform(X)))
    assert not np.array_equal(vae.reconstruct(X)[0], vae.reconstruct(X)[1])
    for bad, words in ((np.zeros((2, 3)), "must have 1 columns"), ([[np.nan]], "finite"), ([[np.inf]], "finite")):
        with pytest.raises(ValueError, match=words):
            vae.inverse_transform(bad)


def test_missing_cells_are_integrated_out():
    gaps = X.copy()
    gaps[::3, 0] = gaps[1::3, 2] = np.nan
    gaps[5] = np.nan
    with pytest.warns(UserWarning, match=r"1 row\(s\) of X have no value .* row 5 .*0 nats"):
        vae = tiny.vae().fit(gaps)
    scores = vae.score_samples(gaps)
    assert np.isfinite(scores).all() and np.isfinite(vae.reconstruct(gaps)).all()
    assert (vae.score_samples(X)[::3] != scores[::3]).all()
    # Of one observed cell: the marginal of that column, whatever the others hold.
    alone = vae.evidence([[0.5, np.nan, np.nan]], 4000)
    draws, width = vae.sample(20_000, random_state=0)[:, 0], 0.2
    share = np.mean(np.abs(draws - 0.5) < width / 2)
    error = np.hypot(np.sqrt((1 - share) / share / len(draws)), alone.standard_error[0])
    assert abs(alone.log_evidence[0] - np.log(share / width)) < 5 * error + 0.02


def test_a_row_without_any_value_has_0_nats():
    gaps = X.copy()
    gaps[::3, 0] = gaps[1::3, 2] = gaps[5] = np.nan
    with pytest.warns(UserWarning, match="log p"):
        vae = tiny.vae().fit(gaps)
    evidence = vae.evidence(gaps)
    assert (
        evidence.log_evidence[5] == 0
        and evidence.standard_error[5] == 0
        and evidence.elbo[5] < 5 * evidence.elbo_standard_error[5]
    )
    assert vae.score_samples([[np.nan] * 3]) == 0 and (np.delete(evidence.log_evidence, 5) != 0).all()


def test_history():
    vae = tiny.fitted()
    assert list(vae.history_) == ["epoch", "train_bound", "validation_bound", "train_objective"]
    assert list(vae.history_["epoch"]) == [1, 2, 3] and vae.n_iter_ == 3
    assert vae.best_epoch_ == 1 + int(np.argmax(vae.history_["validation_bound"]))
    assert (vae.history_["train_objective"] == vae.history_["train_bound"]).all()  # the ELBO itself is maximised
    # Bounds are in the user's units, as scores are: log 100 and log 0.01 nats from those of the standardised model.
    assert abs(vae.history_["validation_bound"].max() - vae.score(X)) < 3
    alone = tiny.vae(validation_fraction=0).fit(X)
    assert np.isnan(alone.history_["validation_bound"]).all() and alone.best_epoch_ == 3


def test_rows_to_stop_early_on_can_be_given():
    given = tiny.vae().fit(X[:36], validation=X[36:])
    assert given.fitted_.summary.n_train == 36 and given.fitted_.summary.n_validation == 4
    assert np.isfinite(given.history_["validation_bound"]).all()
    with pytest.raises(ValueError, match=r"^validation must have the 3 columns"):
        tiny.vae().fit(X[:30], validation=X[:, :2])


def test_advice_is_given_as_warnings_and_kept():
    with pytest.warns(UserWarning, match="1 constant column"):
        vae = tiny.vae().fit(np.column_stack([X, np.ones(tiny.N)]))
    assert any("1 constant column" in message for message in vae.messages_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.vae().fit(X)


def test_silent_unless_asked(capfd):
    tiny.vae().fit(X)
    assert capfd.readouterr() == ("", "")
    tiny.vae(verbose=1).fit(X)
    out, err = capfd.readouterr()
    assert out == "" and "epoch 3/3" in err and "nats a row" in err and "modelled as Gaussian" in err


def test_own_networks():
    def linear(in_size, out_size, *, key):
        import equinox as eqx

        return eqx.nn.Linear(in_size, out_size, key=key)

    vae = tiny.vae(network=networks.Custom(encoder=linear, decoder=linear), dtype="float64", validation_fraction=0).fit(
        X
    )
    assert np.isfinite(vae.score(X))
    for wrong in (3, linear(2, 2, key=__import__("jax").random.key(0))):
        with pytest.raises(TypeError, match="must be functions f"):
            tiny.vae(network=networks.Custom(encoder=wrong)).fit(X)


def test_a_fit_goes_on_from_its_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="resume=True must come with a checkpoint file"):
        tiny.vae().fit(X, resume=True)
    kept = tiny.vae(checkpoint=tmp_path / "c")
    first = kept.fit(X).score_samples(X)
    assert (tmp_path / "c").exists()
    np.testing.assert_array_equal(kept.fit(X, resume=True).score_samples(X), first)
    with pytest.raises(ValueError, match="this very fit"):
        kept.fit(X + 1, resume=True)
