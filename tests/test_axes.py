"""Members of axes are values: words, parameters, texts and JSON of them; searched, replaced, and one's own."""

import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ParameterGrid

import tightbound
from tightbound import VAE, VAEImputer, learn, networks, objectives, posteriors, priors
from tightbound.estimator.settings import Settings
from tightbound.model import DiagonalGaussian, DiagonalGaussianFamily, axes
from tightbound.model.axes import AXES, as_member, from_json, maker
from tightbound.model.axes.member import Member

KINDS = [(axis.name, kind) for axis in AXES.values() for kind in axis.members]


@pytest.mark.parametrize(("axis", "kind"), KINDS, ids=[f"{axis}-{kind.word}" for axis, kind in KINDS])
def test_every_member_has_all_that_is_read_of_it(axis: str, kind: type[Member]):
    member = kind()
    assert as_member(axis, kind.word) == member == as_member(axis, member)
    assert from_json(axis, json.loads(json.dumps(member.to_json()))) == member
    assert kind.sentence().endswith((".", "…")) and len(kind.sentence()) < 110
    assert all(each.help for each in kind.parameters().values())
    assert member.axis == ("prior" if axis == "second_stage" else axis)
    assert repr(member) == f"{member.shelf}.{kind.__name__}()"
    assert eval(repr(member), {member.shelf: getattr(tightbound, member.shelf)}) == member
    assert clone(member) == member
    if member.home:
        assert callable(maker(member.home))
    if axis in ("likelihood", "prior", "posterior", "inference") and kind.word not in ("auto", "none"):
        assert member.describe()


CHANGED = {
    "prior": priors.Mixture(n_components=20),
    "posterior": posteriors.Categorical(n_levels=3),
    "network": networks.MLP(hidden_sizes=(8, 4), activation="tanh"),
    "objective": objectives.Renyi(alpha=0.25, beta=2.0),
    "inference": axes.inference.SemiAmortised(inner_steps=3, through=True),
}


@pytest.mark.parametrize("axis", CHANGED)
def test_a_member_is_read_back_from_its_text_and_its_json(axis: str):
    member = CHANGED[axis]
    assert as_member(axis, str(member)) == member
    assert from_json(axis, json.loads(json.dumps(member.to_json()))) == member
    assert eval(repr(member), {member.shelf: getattr(tightbound, member.shelf)}) == member


@pytest.mark.parametrize(
    ("axis", "text", "sentence"),
    [
        ("prior", "round", "^prior must be one of auto, standard, .*; got 'round'; choose one of those"),
        ("prior", "mixture(rank=3)", "^The prior 'mixture' must be given .*; got 'rank'; it has n_components"),
        ("prior", "standard(rank=3)", "got 'rank'; it has none"),
        ("prior", "mixture(n_components=0)", "^n_components of the prior 'mixture' must be a whole .* got 0; 10"),
        ("prior", "mixture(3)", "must be a word, or a word with its parameters in brackets"),
        ("prior", "mixture(n_components=print())", "must be a word, or a word with its parameters in brackets"),
        ("prior", "__import__('os').getcwd()", "must be a word, or a word with its parameters in brackets"),
        ("prior", "mixture(", "must be a word, or a word with its parameters in brackets"),
        ("likelihood", "gaussian(covariance=round)", "^covariance of the likelihood 'gaussian' must be one of shared"),
        ("prior", posteriors.Mixture(), "^prior must be one of"),
    ],
)
def test_what_is_no_member_is_refused_by_name(axis: str, text: object, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        as_member(axis, text)


def test_bare_words_need_no_quotation_marks():
    assert as_member("network", "mlp(activation=tanh, hidden_sizes=8)").activation == "tanh"


def test_parameters_of_members_are_parameters_of_the_estimator():
    vae = VAE(prior="mixture")
    assert vae.get_params()["prior__n_components"] == 10
    assert "prior__n_components" not in vae.get_params(deep=False)
    assert vae.set_params(prior__n_components=20).prior == priors.Mixture(n_components=20)
    assert vae.set_params(prior="vamp", prior__n_components=5).prior == priors.Vamp(n_components=5)
    assert clone(vae).get_params() == vae.get_params()
    with pytest.raises(ValueError, match="must be given parameters of its own; got 'rank'"):
        vae.set_params(prior__rank=3)
    nested = VAEImputer(VAE(prior="mixture")).set_params(model__prior__n_components=7)
    assert nested.model.prior.n_components == 7
    assert "Mixture(n_components=5)" in repr(VAE(prior=priors.Mixture(n_components=5)))


def test_parameters_of_members_can_be_searched():
    grid = {"prior__n_components": [1, 2]}
    assert len(ParameterGrid(grid)) == 2
    vae = tiny.vae(prior="mixture", epochs=1, validation_fraction=0, network="linear")
    found = GridSearchCV(vae, grid, cv=2).fit(tiny.numbers().to_numpy())
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    assert found.best_estimator_.fitted_.specification.prior == priors.Mixture(
        n_components=found.best_params_.popitem()[1]
    )


def shifted(latent_dim, *, key):
    """A Gaussian whose location and scale are learnt."""
    del key
    return DiagonalGaussian(jnp.zeros(latent_dim), jnp.ones(latent_dim))


def plain_family(latent_dim, *, key):
    del key
    return DiagonalGaussianFamily(latent_dim)


def test_members_of_ones_own_are_fitted_saved_and_asked_for_again(tmp_path):
    rows = tiny.numbers().to_numpy()
    own = {"prior": shifted, "posterior": plain_family, "objective": learn.Renyi(0.25, 3), "gradient": learn.Pathwise()}
    vae = tiny.vae(**own, validation_fraction=0).fit(rows)
    assert isinstance(vae.model_.prior, DiagonalGaussian)
    assert not np.array_equal(vae.model_.prior.loc, np.zeros(1))
    vae.save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"give load the same again: prior=.*shifted, posterior=.*plain_family"):
        tightbound.load(tmp_path / "m")
    again = tightbound.load(tmp_path / "m", prior=shifted, posterior=plain_family)
    np.testing.assert_array_equal(again.score_samples(rows[:5]), vae.score_samples(rows[:5]))
    assert clone(vae).prior is shifted
    with pytest.raises(TypeError, match="objective and gradient must be words, members, or objects of"):
        tiny.vae(objective=len).fit(rows)


def test_settings_are_kept_as_json_of_the_members():
    settings = Settings(prior="mixture(n_components=3)", network=networks.MLP(hidden_sizes=[4]))
    values = json.loads(json.dumps(settings.to_json()))
    assert values["prior"] == {"member": "mixture", "n_components": 3}
    assert Settings.from_json(values).network.sizes(3) == (4,)


def test_a_sentence_about_a_model_is_made_of_its_members():
    member = {"prior": "vamp", "posterior": "full", "inference": "per_datum", "likelihood": "multinomial"}
    said = axes.sentence(**{axis: as_member(axis, word) for axis, word in member.items()})
    assert said == (
        "a VampPrior, a multinomial decoder of counts given their sum and a full-covariance Gaussian posterior found "
        "for every row by an inner loop"
    )


def test_the_registry_needs_no_numbers():
    code = "import sys, tightbound; tightbound.priors.Mixture(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"jax", "numpy", "equinox"} & set(modules)


def test_the_command_lists_axes_and_members():
    listed = tiny.run("axes")
    assert listed.status == 0 and all(axis.question in listed.out for axis in AXES.values())
    one = tiny.run("axes", "prior").out
    assert "mixture\n    A mixture of diagonal Gaussians" in one and "n_components=10: Gaussians in the mixture" in one
    assert max(map(len, (listed.out + one).splitlines())) <= 80
    assert "AXIS must be one of likelihood, prior" in tiny.run("axes", "colour").failed()
