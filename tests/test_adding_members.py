"""A prior, a posterior, an objective and a gradient that the package does not have, registered from outside.

Each is two things: what makes it, and its row in the registry. That is all that help, `tightbound axes`, the sentence
about a model, the fit, saving and loading read, so that adding one touches two files.
"""

import dataclasses
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import tightbound
from tightbound.learn.gradients.pathwise import AbstractGradient, Problem, from_draws, weighted
from tightbound.learn.objectives import AbstractObjective, Draws
from tightbound.model import AbstractDistribution, AbstractFamily, DiagonalGaussian, axes
from tightbound.model.axes import AXES, gradients, objectives, posteriors, priors
from tightbound.model.axes.member import member
from tightbound.model.axes.parameters import parameter

USED: set[str] = set()


@final
@member
class Wide(priors.Prior):
    """A Gaussian whose scale begins wide and is learnt."""

    word = "wide"
    phrase = "a wide Gaussian prior"
    home = f"{__name__}:make_wide"
    scale: float = parameter(2.0, "where its standard deviation begins", kind=float, least=1e-3, usual="2 is usual")


def make_wide(making, *, scale):
    return DiagonalGaussian(jnp.zeros(making.dim, making.dtype), jnp.full(making.dim, scale, making.dtype))


@final
@member
class Located(posteriors.Posterior):
    """A Gaussian of a scale that all rows share and that is not learnt."""

    word = "located"
    phrase = "a Gaussian posterior of one scale"
    home = f"{__name__}:make_located"


class LocatedFamily(AbstractFamily):
    size: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        return self.size

    @property
    def n_parameters(self) -> int:
        return self.size

    def __call__(self, parameters):
        return DiagonalGaussian(parameters, jnp.full_like(parameters, 0.5))

    def init_from_moments(self, mean, scale):
        return mean


def make_located(making):
    return LocatedFamily(making.dim)


@final
@member
class Worst(objectives.Objective):
    """The mean of the smallest log weight of some draws: a looser bound than the ELBO."""

    word = "worst"
    home = f"{__name__}:WorstOfDraws"
    n_samples: int = parameter(2, "draws of z a row", least=1, usual="2 is usual")

    def arguments(self):
        return {"n_samples": int(self.n_samples)}


class WorstOfDraws(AbstractObjective):
    n_samples: int = eqx.field(static=True)

    @property
    def n_draws(self) -> int:
        return self.n_samples

    def value(self, draws: Draws, kl_weight=1.0):
        USED.add("objective")
        return jnp.min(draws.weight.tempered(kl_weight))

    def path_factors(self, log_weights):
        return jnp.ones_like(log_weights)


@final
@member
class Halved(gradients.Gradient):
    """Half of the pathwise gradient."""

    word = "halved"
    home = f"{__name__}:HalfOfPathwise"
    needs = "continuous posteriors"


class HalfOfPathwise(AbstractGradient):
    def check(self, objective: AbstractObjective, q: AbstractDistribution) -> None:
        USED.add("gradient")

    def estimate(self, problem: Problem, state, *, key):
        draws = problem.draw(key=key)
        return from_draws(problem, draws, 0.5 * weighted(problem, draws))


ADDED = {"prior": Wide, "posterior": Located, "objective": Worst, "gradient": Halved}


@pytest.fixture
def added(monkeypatch):
    """The registry with one more member on each of four axes."""
    for axis, kind in ADDED.items():
        monkeypatch.setitem(AXES, axis, dataclasses.replace(AXES[axis], members=(*AXES[axis].members, kind)))


def test_members_registered_from_outside_are_fitted_saved_and_loaded_by_their_words(added, tmp_path):
    USED.clear()
    words = {"prior": "wide(scale=3)", "posterior": "located", "objective": "worst(n_samples=3)", "gradient": "halved"}
    rows = tiny.numbers().to_numpy()
    vae = tiny.vae(**words, validation_fraction=0).fit(rows)
    assert {"objective", "gradient"} == USED
    assert isinstance(vae.model_.prior, DiagonalGaussian) and 2 < float(vae.model_.prior.scale[0]) != 3
    np.testing.assert_array_equal(vae.inference_(vae.model_, jnp.zeros(3), key=jax.random.key(0)).scale, 0.5)
    spec = vae.fitted_.specification
    said = axes.sentence(spec.likelihood, spec.prior, spec.posterior, spec.inference)
    assert said.startswith("a wide Gaussian prior, ") and said.endswith(" and a Gaussian posterior of one scale")
    vae.save(tmp_path / "m")
    again = tightbound.load(tmp_path / "m")
    assert {axis: getattr(again, axis) for axis in words} == words
    np.testing.assert_array_equal(again.score_samples(rows[:5]), vae.score_samples(rows[:5]))


def test_members_registered_from_outside_are_listed_and_checked(added):
    with pytest.raises(ValueError, match=r"prior must be one of auto, .*, wide; got 'narrow'"):
        tiny.vae(prior="narrow").fit(tiny.numbers().to_numpy())
    with pytest.raises(ValueError, match=r"scale of the prior 'wide' must be a number of at least 0\.001; got 0"):
        Wide(scale=0)
    assert tiny.vae(prior="wide").set_params(prior__scale=4.0).prior == Wide(scale=4.0)
    assert "wide\n    A Gaussian whose scale begins wide and is learnt." in tiny.run("axes", "prior").out
