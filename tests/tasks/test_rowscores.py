"""Likelihood regret and reconstruction where they are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known_tables import KEY, exact_pair
from linear_gaussian import LinearGaussian
from scipy import stats

from tightbound.learn import Pair, PerDatum, Refinement, exact_posterior
from tightbound.model import DiagonalGaussianFamily
from tightbound.tasks import likelihood_regret, reconstruction


def test_regret_is_what_q_lacks_to_the_best_of_its_family() -> None:
    """A linear-Gaussian model with one latent: the best q is the posterior, and the regret KL(q || posterior)."""
    rng = np.random.default_rng(0)
    model = LinearGaussian.random(rng, 3, 1)
    # One step of no length: q stays where it starts, near the prior.
    pair = Pair(model.p(), PerDatum(DiagonalGaussianFamily(1), Refinement(1, 1e-12)))
    x = model.sample(rng, 4)
    observed = np.ones(x.shape, bool)
    observed[1, 0] = False
    regret = likelihood_regret(pair, x, observed, steps=150, n_samples=400, key=KEY)
    kls = []
    for i in range(4):
        mask = jnp.asarray(observed[i])
        q = pair.q(pair.p, jnp.asarray(x[i]), mask, key=KEY)
        best = exact_posterior(pair.p, jnp.asarray(x[i]), mask)
        m, s, best_m, best_s = (float(a[0]) for a in (q.loc, q.scale, best.loc, jnp.diagonal(best.scale_tril)))
        kl = np.log(best_s / s) + (s**2 + (m - best_m) ** 2) / (2 * best_s**2) - 0.5
        # log q / posterior at z = m + s e, whose mean is the KL.
        e = np.random.default_rng(1).normal(size=4000)
        ratio = stats.norm(m, s).logpdf(m + s * e) - stats.norm(best_m, best_s).logpdf(m + s * e)
        kls.append(kl)
        assert abs(regret[i] - kl) < 5 * ratio.std() / np.sqrt(400) + 0.01  # 0.01: what the loop leaves
    assert max(kls) > 0.2


def test_reconstruction_is_the_error_at_the_posterior_mean() -> None:
    rng = np.random.default_rng(2)
    model = LinearGaussian.random(rng, 4, 2)
    x = model.sample(rng, 5)
    observed = rng.random(x.shape) < 0.7
    observed[0] = False
    pair = exact_pair(model)
    found = reconstruction(pair, np.where(observed, x, np.nan), observed, key=KEY)
    assert np.isnan(found[0])
    for i in range(1, 5):
        z = exact_posterior(pair.p, jnp.asarray(x[i]), jnp.asarray(observed[i])).loc
        terms = stats.norm(model.W @ np.asarray(z) + model.mu, model.s).logpdf(x[i])
        assert found[i] == pytest.approx(-terms[observed[i]].mean())


def test_an_inference_without_parameters_has_no_regret() -> None:
    model = LinearGaussian.random(np.random.default_rng(3), 3, 1)
    with pytest.raises(TypeError, match="must have parameters to refine; got Exact"):
        likelihood_regret(exact_pair(model), np.zeros((1, 3)), np.ones((1, 3), bool), key=jax.random.key(0))
