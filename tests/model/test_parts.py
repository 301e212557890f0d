"""Families, heads, networks, encoders and decoders: sizes, floors, masks, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from members import some

from tightbound.model import (
    MLP,
    POSTERIORS,
    CentredInputs,
    Decoder,
    Encoder,
    GenerativeModel,
    Specification,
    StandardGaussian,
    Start,
    build,
    gaussian_head,
    make_family,
)
from tightbound.model.axes.likelihoods import Gaussian
from tightbound.model.axes.networks import Custom
from tightbound.model.families import DiagonalGaussianFamily, inverse_positive, lower_triangle, positive
from tightbound.model.likelihoods.gaussian_vectors import COVARIANCES

KEY = jax.random.key(0)


def specification(**changes) -> Specification:
    values = {
        "n_features": 5,
        "latent_dim": 2,
        "network": "residual(hidden_sizes=(7, 7))",
        "dtype": "float64",
        **changes,
    }
    return Specification(**values)


def built(spec: Specification, floor: float = 0.01) -> tuple[GenerativeModel, Encoder]:
    parts = build(spec, start=Start(np.full(5, 0.2), np.full(5, floor)), key=KEY)
    assert parts.encoder is not None
    assert parts.family is parts.encoder.family
    return parts.p, parts.encoder


@pytest.mark.parametrize("name", POSTERIORS)
def test_family_maps_its_number_of_parameters_to_a_distribution(name: str) -> None:
    family = make_family(some("posterior", name, n_components=2, n_levels=4), 3, flow_sizes=(5,), key=KEY)
    q = family(jax.random.normal(KEY, (family.n_parameters,)))
    size = 12 if name == "categorical" else 3
    assert family.dim == q.dim == size
    z = q.sample(key=KEY)
    assert z.shape == q.mean.shape == q.variance.shape == (size,)
    assert bool(jnp.isfinite(q.log_prob(z)))
    assert q.reparameterised == (name not in ("bernoulli", "categorical"))
    if name in ("diagonal", "full"):
        start = family(jnp.zeros(family.n_parameters))
        np.testing.assert_allclose(start.variance, 1, rtol=1e-6)


def test_a_family_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"posterior must be one of diagonal, full, .*; got 'round'; choose"):
        make_family("round", 3, key=KEY)


def test_positive_and_its_inverse() -> None:
    values = jnp.array([1e-3, 0.5, 1.0, 20.0])
    np.testing.assert_allclose(positive(inverse_positive(values)), values, rtol=1e-9)
    assert float(positive(jnp.zeros(()))) == pytest.approx(1)


def test_lower_triangle_is_lower_with_positive_diagonal() -> None:
    matrix = np.asarray(lower_triangle(jax.random.normal(KEY, (6,)), 3))
    assert np.all(np.triu(matrix, 1) == 0)
    assert np.all(np.diag(matrix) > 0)
    assert np.all(matrix[np.tril_indices(3, -1)] != 0)


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_every_combination_gives_finite_joint_densities(covariance: str, posterior: str) -> None:
    p, encoder = built(specification(likelihood=Gaussian(covariance=covariance), posterior=posterior))
    x = jnp.arange(5.0)
    q = encoder(x)
    z = q.sample(key=KEY)
    for observed in (None, jnp.array([True, False, True, False, True])):
        assert bool(jnp.isfinite(p.log_joint(x, z, observed)))
    sample, latent = p.sample(key=KEY)
    assert sample.shape == (5,)
    assert latent.shape == (2,)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_scales_stay_above_their_floor(covariance: str) -> None:
    floor = jnp.array([0.5, 0.1, 0.2])
    head = gaussian_head(covariance, floor, rank=2)
    head = eqx.tree_at(lambda h: h.raw_scale, head, head.raw_scale - 1e3) if hasattr(head, "raw_scale") else head
    d = head(jnp.full(head.n_inputs, -1e3) * jnp.where(jnp.arange(head.n_inputs) < 6, 1.0, 0.0))
    least = jnp.sqrt(jnp.mean(floor**2)) if covariance == "shared" else floor
    assert bool(jnp.all(jnp.sqrt(d.variance) >= least * (1 - 1e-12)))
    gradient = jax.grad(lambda h: h(jnp.zeros(h.n_inputs)).log_prob(jnp.ones(3)))(head)
    np.testing.assert_array_equal(gradient.floor, 0)  # the floor is data, never learnt


def test_log_joint_is_the_sum_of_its_parts() -> None:
    p, _ = built(specification())
    x, z = jnp.arange(5.0), jnp.array([0.3, -2.0])
    expected = p.decoder(z).log_prob(x) + StandardGaussian(2).log_prob(z)
    assert float(p.log_joint(x, z)) == float(expected)


def test_encoder_cannot_see_missing_cells_but_sees_that_they_are_missing() -> None:
    _, encoder = built(specification(mask_input=True))
    observed = jnp.array([True, True, False, True, True])
    x = jnp.arange(5.0)
    q = encoder(x, observed)
    other = encoder(x.at[2].set(jnp.nan), observed)
    np.testing.assert_array_equal(q.mean, other.mean)
    at_mean = encoder(x.at[2].set(0.2))
    assert not np.allclose(q.mean, at_mean.mean)


def test_bernoulli_decoder_starts_at_the_mean_of_the_data() -> None:
    center = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    p = build(specification(likelihood="bernoulli"), start=Start(center, np.zeros(5)), key=KEY).p
    start = p.decoder(jnp.zeros(2)).mean
    np.testing.assert_allclose(start, np.clip(center, 1e-3, 1 - 1e-3), rtol=1e-6)


def test_residual_layers_add_their_input() -> None:
    network = MLP(4, 2, (6, 6), residual=True, dtype="float64", key=KEY)
    network = eqx.tree_at(lambda m: m.layers[1].weight, network, jnp.zeros((6, 6)))
    first = jax.nn.silu(network.layers[0](jnp.ones(4)))  # silu(0) = 0: the second layer passes its input on
    np.testing.assert_allclose(network(jnp.ones(4)), network.layers[2](first), rtol=1e-12)
    plain = eqx.tree_at(
        lambda m: m.layers[1].weight, MLP(4, 2, (6, 6), residual=False, dtype="float64", key=KEY), jnp.zeros((6, 6))
    )
    np.testing.assert_allclose(plain(jnp.ones(4)), plain.layers[2](jnp.zeros(6)), rtol=1e-12)


def test_a_users_network_takes_the_place_of_the_default() -> None:
    def linear(in_size: int, out_size: int, *, key: jax.Array) -> eqx.nn.Linear:
        return eqx.nn.Linear(in_size, out_size, key=key, dtype="float64")

    parts = build(
        specification(network=Custom(encoder=linear, decoder=linear)), start=Start(np.zeros(5), np.zeros(5)), key=KEY
    )
    p = parts.p
    assert isinstance(p.decoder.network.network, eqx.nn.Linear)
    assert bool(jnp.isfinite(p.log_joint(jnp.zeros(5), parts.encoder(jnp.zeros(5)).mean)))


REFUSED = [
    (
        lambda: specification(latent_dim=0),
        "latent_dim must be a whole number between 1 and 10000; got 0; ",
    ),
    (lambda: specification(likelihood="gaussian(covariance=round)"), "covariance of .*must be one of shared"),
    (
        lambda: specification(network="mlp(hidden_sizes=(0,))"),
        "hidden_sizes of the network 'mlp' must be a whole number",
    ),
    (lambda: gaussian_head("low_rank", jnp.ones(3), rank=0), "rank must be a whole number of at least 1"),
    (lambda: gaussian_head("round", jnp.ones(3)), "covariance must be one of"),
    (lambda: MLP(2, 2, (3,), activation="sine", key=KEY), "activation must be one of"),
    (
        lambda: Encoder(eqx.nn.Linear(5, 3, key=KEY), DiagonalGaussianFamily(2), CentredInputs(jnp.zeros(5))),
        "must return 4 numbers.*returned 3",
    ),
    (
        lambda: Encoder(eqx.nn.Linear(4, 4, key=KEY), DiagonalGaussianFamily(2), CentredInputs(jnp.zeros(5))),
        "one vector of 5 numbers",
    ),
    (
        lambda: Encoder(lambda x: jnp.zeros((2, 2)), DiagonalGaussianFamily(2), CentredInputs(jnp.zeros(5))),
        r"array of shape \(2, 2\)",
    ),
    (lambda: Decoder(eqx.nn.Linear(2, 4, key=KEY), gaussian_head("diagonal", jnp.ones(3)), 2), "must return 6 numbers"),
    (
        lambda: GenerativeModel(
            StandardGaussian(3), Decoder(eqx.nn.Linear(2, 3, key=KEY), gaussian_head("shared", jnp.ones(3)), 2)
        ),
        "latent dimension 2; it has 3",
    ),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED, ids=[s[:30] for _, s in REFUSED])
def test_parts_that_do_not_fit_are_refused_by_name(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_specification_survives_json() -> None:
    spec = specification(likelihood="gaussian(covariance=low_rank, rank=3)", network="mlp(hidden_sizes=(9, 4))")
    assert Specification.from_json(spec.to_json()) == spec
