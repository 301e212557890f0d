"""Rows of which nothing was observed."""

import jax
import jax.numpy as jnp
import numpy as np
import tiny


def test_a_blank_row_of_a_model_of_missingness_has_the_probability_of_that_pattern() -> None:
    """log p(nothing seen) = log E[prod_j p(cell j missing | x)], by draws of x from the model; not 0."""
    table = np.random.default_rng(3).normal(size=(60, 2))
    table[table[:, 0] > 0.4, 0] = np.nan
    table[np.flatnonzero(~np.isnan(table[:, 0]))[::5], 1] = np.nan
    vae = tiny.vae(missingness="self_masking", likelihood="columns", **tiny.SMALLEST).fit(table)
    model = vae.fitted_
    found = model.evidence(vae._table(np.full((1, 2), np.nan)), 20_000)

    p = model.pair.p
    _, z = model.sample(20_000, 1)

    def missing(z: jax.Array) -> jax.Array:
        return p.decoder(z).log_prob(jnp.zeros(2), jnp.zeros(2, bool))

    each = np.exp(np.asarray(jax.vmap(missing)(jnp.asarray(z)), float))
    error = np.hypot(found.standard_error[0], each.std() / each.mean() / len(each) ** 0.5)
    assert 0 < error < 0.05
    assert abs(found.log_evidence[0] - np.log(each.mean())) < 5 * error
    assert found.log_evidence[0] < -0.5


def test_a_blank_row_of_any_other_model_is_certain() -> None:
    found = tiny.fitted().fitted_.evidence(tiny.fitted()._table(np.full((2, 3), np.nan)))
    np.testing.assert_array_equal(found.log_evidence, 0)
    np.testing.assert_array_equal(found.standard_error, 0)
