"""The switch as a user meets it: q refined on a fitted model, a second stage, options without effect."""

import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy import stats

import tightbound
from tightbound import VAE, learn, networks, objectives, priors
from tightbound.learn.regularisers import Minibatch
from tightbound.model import Categorical

RNG = np.random.default_rng(5)
X = np.tanh(RNG.normal(size=(150, 2)) @ RNG.normal(size=(2, 5))) + 0.1 * RNG.normal(size=(150, 5))
SMALL = {
    "latent_dim": 2,
    "network": "residual(hidden_sizes=(8,))",
    "epochs": 30,
    "n_importance_samples": 400,
    "random_state": 0,
    "scoring_method": "importance",
}

LINEAR_DECODER = networks.Custom(encoder=lambda i, o, *, key: None, others=networks.Linear())


@pytest.fixture(scope="module")
def vae() -> VAE:
    """An amortised model, not trained to the end: its encoder loses something."""
    return VAE(**SMALL).fit(X)


@pytest.mark.parametrize(
    ("posterior", "start"), [(None, "encoder"), ("full", "encoder"), ("diagonal", "prior"), ("planar", "prior")]
)
def test_a_refined_q_is_tighter_and_p_is_the_same(vae: VAE, posterior: str | None, start: str):
    before, rows = vae.evidence(X[:40]), X[:40]
    after = vae.refined(60, posterior=posterior, start=start).evidence(rows)
    gain = after.elbo - before.elbo
    assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5
    error = np.hypot(before.standard_error, after.standard_error)
    assert np.mean(np.abs(after.log_evidence - before.log_evidence) < 4 * error + 0.02) > 0.9
    assert (after.elbo <= after.log_evidence + 1e-9).all()


def test_what_a_refined_q_is_used_for(vae: VAE, tmp_path: Path):
    refined = vae.refined(30)
    assert not np.allclose(refined.transform(X[:5]), vae.transform(X[:5]))
    assert refined.reconstruct(X[:5]).shape == (5, 5)
    draws = refined.sample_posterior(X[:5], 200, random_state=0).mean(axis=1)
    assert np.abs(draws - refined.transform(X[:5])).max() < 0.5
    assert (refined.sample(3, random_state=0) == vae.sample(3, random_state=0)).all()
    # A row's q does not depend on the rows beside it.
    assert (refined.score_samples(X[:3]) == refined.score_samples(X[:7])[:3]).all()
    with pytest.raises(ValueError, match="save the original"):
        refined.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"posterior": "iaf"}, "must be learnt with the model"),
        ({"posterior": "bernoulli"}, "must be one of diagonal, full, mixture, planar"),
        ({"steps": 0}, "steps must be a whole number between 1 and 10000"),
        ({"start": "middle"}, "start must be encoder or prior"),
    ],
)
def test_what_cannot_be_refined(vae: VAE, arguments: dict, words: str):
    with pytest.raises(ValueError, match=words):
        vae.refined(**arguments)


def test_exact_inference_leaves_no_gap():
    settings = {**SMALL, "network": "linear", "likelihood": "gaussian(covariance=feature)", "dtype": "float64"}
    vae = VAE(**settings, inference="exact").fit(X)
    evidence = vae.evidence(X[:20])
    assert np.abs(evidence.log_evidence - evidence.elbo).max() < 1e-6
    # The closed form in the user's units: N(W z + mu, S) with z ~ N(0, I), from what the decoder says of three z.
    mean, spread = (np.asarray(a) for a in (vae.inverse_transform(np.zeros((1, 2))), np.eye(2)))
    loadings = np.asarray(vae.inverse_transform(spread)) - mean
    scale = np.asarray(vae.model_.decoder.head.scale) * X.std(axis=0)
    truth = stats.multivariate_normal(mean[0], loadings.T @ loadings + np.diag(scale**2)).logpdf(X[:20])
    np.testing.assert_allclose(evidence.log_evidence, truth, atol=1e-6)
    with pytest.raises(ValueError, match="is the posterior itself"):
        vae.refined(10)


def test_a_second_stage_changes_the_prior_alone():
    first = VAE(**SMALL).fit(X)
    both = VAE(**SMALL, second_stage="mixture(n_components=4)").fit(X)
    assert np.array_equal(first.inverse_transform(np.ones((1, 2))), both.inverse_transform(np.ones((1, 2))))
    assert np.array_equal(first.transform(X[:5]), both.transform(X[:5]))
    assert both.fitted_.specification.prior == priors.Mixture(n_components=4)
    assert both.n_iter_ > first.n_iter_
    assert both.history_["train_bound"][-1] > first.history_["train_bound"][-1]


def test_an_option_without_effect_is_said():
    settings = {**SMALL, "epochs": 1, "objective": "elbo(kl_schedule=cosine)"}
    with pytest.warns(UserWarning, match="kl_schedule has no effect here: it goes with kl_warmup_steps above 0"):
        VAE(**settings).fit(X[:40])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VAE(**{**SMALL, "epochs": 1, "objective": "free_bits(free_bits=2.0)"}).fit(X[:40])


@pytest.mark.parametrize("inference", ["per_datum", "semi_amortised"])
def test_a_weight_on_the_kl_reaches_the_inner_loop(inference: str):
    """Beta shapes a q that is found before the step, too: with a large one it stays near the prior."""
    settings = {**SMALL, "epochs": 8, "inference": f"{inference}(inner_steps=4)"}
    plain, heavy = (
        VAE(**settings, objective=objectives.ELBO(beta=beta)).fit(X).history_["train_bound"][-1] for beta in (1.0, 20.0)
    )
    assert heavy < plain - 0.1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"inference": "per_datum", "objective": "free_bits"}, "whose gradient it can shape"),
        ({"inference": "semi_amortised", "second_stage": "maf"}, "would follow the new prior"),
        ({"posterior": "bernoulli", "second_stage": "mixture"}, "second_stage must be a prior that goes with the rest"),
        ({"objective": "rws", "gradient": "dreg"}, "which makes it wake-sleep"),
        ({"objective": "mmd(beta=0.5)"}, "alpha \\+ beta of at least 1"),
        ({"posterior": "bernoulli", "inference": "exact", "objective": "iwae"}, "use objective='elbo'"),
        (
            {"inference": "exact", "network": LINEAR_DECODER},
            "inference that has one",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_before_the_fit(settings: dict, words: str):
    with pytest.raises(ValueError, match=words):
        VAE(**{**SMALL, **settings}).fit(X)


def test_the_levels_of_a_categorical_latent_share_their_free_bits():
    logits = 50.0 * np.eye(10)[:, None, :]  # ten rows, each certain of another level of its one latent
    prior, weights = Categorical(jnp.zeros((1, 10))), jnp.ones(10)
    rows = Minibatch(
        eqx.filter_vmap(Categorical)(jnp.asarray(logits)),
        jnp.zeros((10, 10)),
        jnp.zeros(10),
        prior,
        weights,
        10,
        jnp.asarray(0),
    )
    assert float(learn.FreeBits(0.5)(rows, key=jax.random.key(0))) == pytest.approx(np.log(10))


def test_what_was_maximised_stands_beside_the_bound():
    vae = VAE(**{**SMALL, "epochs": 3}, objective="elbo(beta=3.0)").fit(X)
    history = vae.history_
    assert (history["train_objective"] < history["train_bound"]).all()
    plain = VAE(**{**SMALL, "epochs": 3}).fit(X)
    assert np.array_equal(plain.history_["train_objective"], plain.history_["train_bound"])


def test_refining_on_the_command_line(vae: VAE, tmp_path: Path):
    vae.save(tmp_path / "model")
    table = tmp_path / "rows.npy"
    np.save(table, X[:20])
    model = str(tmp_path / "model")
    plain = tiny.run("score", model, str(table)).out
    refined = tiny.run("score", model, str(table), "--refine", "40").out

    def column(text: str, name: str) -> np.ndarray:
        header, *lines = text.strip().splitlines()
        j = header.split(",").index(name)
        return np.array([float(line.split(",")[j]) for line in lines])

    assert column(refined, "elbo").mean() > column(plain, "elbo").mean()
    told = tiny.run("evaluate", model, str(table), "--refine", "40", "--no-checks").out
    assert "q refined by 40 steps" in " ".join(told.split())
    again = tightbound.load(model).refined(40).evidence(X[:20])
    np.testing.assert_allclose(again.elbo, column(refined, "elbo"), rtol=1e-5)
