"""Mixtures, discrete distributions, flows, learned priors and families: one row in CASES inherits every check."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from members import some
from scipy import stats

from tightbound.learn import ELBO, DoublyReparameterised, Enumeration, ImportanceWeighted, Pathwise, Refinement
from tightbound.model import (
    AbstractDistribution,
    Bernoulli,
    Categorical,
    CategoricalFamily,
    CentredInputs,
    DiagonalGaussian,
    DiagonalGaussianFamily,
    Encoder,
    FullGaussian,
    FullGaussianFamily,
    GaussianMixture,
    LearnedPrior,
    Mixture,
    MixtureFamily,
    Specification,
    StandardGaussian,
    Start,
    Tabulated,
    Transformed,
    VampPrior,
    all_states,
    build,
    check_enumerable,
    first_parameters,
    has_closed_form_kl,
    has_kl_terms,
    kl_divergence,
    kl_terms,
    make_family,
)
from tightbound.model.building import prior_of
from tightbound.model.networks.dense import MLP

KEY = jax.random.key(5)
RNG = np.random.default_rng(4)
N = 10_000


def moved(tree: Any, size: float) -> Any:
    """The tree with noise on every number."""
    numbers, rest = eqx.partition(tree, eqx.is_inexact_array)
    flat, back = ravel_pytree(numbers)
    return eqx.combine(back(flat + size * jax.random.normal(jax.random.key(8), flat.shape, flat.dtype)), rest)


WEIGHTS = np.array([0.2, 0.5, 0.3])
LOC = np.array([[-1.5, 0.5], [0.3, -1.0], [1.4, 1.2]])
SCALE = np.array([[0.5, 0.9], [0.7, 0.4], [0.3, 0.6]])
TRILS = np.array([[[0.6, 0.0], [0.4, 0.5]], [[0.8, 0.0], [-0.5, 0.4]], [[0.4, 0.0], [0.1, 0.7]]])
LOGITS = np.array([[0.2, -0.4, 1.0], [0.0, 2.0, -1.0]])
STATES = RNG.normal(size=(5, 2))
TABLE = np.array([0.3, -1.0, 0.8, 0.1, -0.2])


def mixture_of(covariances: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    def log_density(x: np.ndarray) -> np.ndarray:
        each = [w * stats.multivariate_normal(m, c).pdf(x) for w, m, c in zip(WEIGHTS, LOC, covariances, strict=True)]
        return np.log(sum(each))

    return log_density


def log_categorical(x: np.ndarray) -> np.ndarray:
    log_p = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    return (x.reshape(-1, 2, 3) * log_p[None]).sum(axis=(1, 2))


def log_bits(x: np.ndarray) -> np.ndarray:
    return stats.bernoulli(1 / (1 + np.exp(-LOGITS.ravel()[:4]))).logpmf(x).sum(axis=1)


def log_table(x: np.ndarray) -> np.ndarray:
    which = np.argmin(((x[:, None, :] - STATES[None]) ** 2).sum(axis=2), axis=1)
    return (TABLE - np.log(np.exp(TABLE).sum()))[which]


def flow(name: str, **options: Any) -> Transformed:
    family = make_family(
        some("posterior", name, flow_layers=1), 2, flow_sizes=(4,), context_size=1, dtype="float64", key=KEY, **options
    )
    family = moved(family, 0.25)
    return eqx.filter_jit(family)(0.3 * jax.random.normal(KEY, (family.n_parameters,)))


def tied() -> LearnedPrior:
    family = DiagonalGaussianFamily(2)
    encoder = Encoder(MLP(3, 4, (), dtype="float64", key=KEY), family, CentredInputs(jnp.zeros(3)))
    return VampPrior(jnp.array(RNG.normal(size=(3, 3))), 2).tied(encoder)


@dataclass(frozen=True)
class Case:
    """A distribution, and a second opinion on its density at many points where SciPy has one."""

    distribution: AbstractDistribution
    reference: Callable[[np.ndarray], np.ndarray] | None = None
    exact_moments: bool = True


MIXED = GaussianMixture(jnp.log(jnp.array(WEIGHTS)) + 0.7, jnp.array(LOC), jnp.array(SCALE))
FULLS = Mixture(jnp.log(jnp.array(WEIGHTS)), jax.vmap(FullGaussian)(jnp.array(LOC), jnp.array(TRILS)))
CASES = {
    "gaussian mixture": Case(MIXED, mixture_of(np.array([np.diag(s**2) for s in SCALE]))),
    "mixture of full": Case(FULLS, mixture_of(TRILS @ TRILS.transpose(0, 2, 1))),
    "categorical": Case(Categorical(jnp.array(LOGITS)), log_categorical),
    "bernoulli": Case(Bernoulli(jnp.array(LOGITS.ravel()[:4])), log_bits),
    "tabulated": Case(Tabulated(jnp.array(STATES), jnp.array(TABLE)), log_table),
    "iaf": Case(flow("iaf"), exact_moments=False),
    "maf": Case(flow("iaf", density_first=True), exact_moments=False),
    "coupling": Case(flow("coupling"), exact_moments=False),
    "planar": Case(flow("planar"), exact_moments=False),
    "learned mixture": Case(
        moved(LearnedPrior(f := MixtureFamily(DiagonalGaussianFamily(2), 2), first_parameters(f)), 0.3)
    ),
    "vamp, tied": Case(tied()),
}
each_case = pytest.mark.parametrize("name", CASES)


@eqx.filter_jit
def log_densities(distribution: AbstractDistribution, x: jax.Array) -> jax.Array:
    return jax.vmap(distribution.log_prob)(x)


@eqx.filter_jit
def _drawn(distribution: AbstractDistribution, keys: jax.Array) -> Any:
    moments = distribution.mean, distribution.variance
    return jax.vmap(lambda k: distribution.sample_and_log_prob(key=k))(keys), moments


def mean_within(values: np.ndarray, expected: Any) -> bool:
    """Five standard errors."""
    error = values.std(axis=0) / len(values) ** 0.5
    return bool(np.all(np.abs(values.mean(axis=0) - np.asarray(expected)) < 5 * error + 1e-9))


@each_case
def test_all_probability_is_one(name: str) -> None:
    distribution = CASES[name].distribution
    if distribution.n_states is not None:
        states = all_states(distribution)
        assert len(np.unique(states, axis=0)) == distribution.n_states
        assert float(jnp.sum(jnp.exp(log_densities(distribution, states)))) == pytest.approx(1, abs=1e-12)
        return
    side = np.linspace(-14, 14, 281)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    total = np.exp(log_densities(distribution, jnp.array(grid))).sum() * (side[1] - side[0]) ** 2
    assert total == pytest.approx(1, abs=2e-3 if name == "planar" else 1e-4)


@each_case
def test_draws_have_the_stated_moments_and_density(name: str) -> None:
    case = CASES[name]
    (x, log_p), (mean, variance) = _drawn(case.distribution, jax.random.split(KEY, N))
    assert x.shape == (N, case.distribution.dim)
    np.testing.assert_allclose(log_densities(case.distribution, x[:500]), log_p[:500], rtol=1e-8, atol=1e-8)
    x = np.asarray(x)
    if case.exact_moments:
        assert mean_within(x, mean)
        assert mean_within((x - np.asarray(mean)) ** 2, variance)
    else:  # 256 fixed draws in pairs
        np.testing.assert_allclose(mean, x.mean(axis=0), atol=0.35 * x.std())
        np.testing.assert_allclose(variance, x.var(axis=0), rtol=0.5)
    if case.reference is not None:
        np.testing.assert_allclose(log_p[:500], case.reference(x[:500]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["gaussian mixture", "mixture of full"])
def test_a_mask_gives_the_marginal(name: str) -> None:
    marginal = eqx.filter_jit(CASES[name].distribution.log_prob)(jnp.array([jnp.nan, 0.4]), jnp.array([False, True]))
    variances = (SCALE if name == "gaussian mixture" else np.sqrt((TRILS**2).sum(axis=2)))[:, 1]
    assert float(marginal) == pytest.approx(np.log(WEIGHTS @ stats.norm.pdf(0.4, LOC[:, 1], variances)), rel=1e-12)


def test_a_mixture_of_diagonals_is_the_gaussian_mixture() -> None:
    twin = Mixture(MIXED.logits, jax.vmap(DiagonalGaussian)(MIXED.loc, MIXED.scale))
    x = jnp.array(RNG.normal(size=(20, 2)))
    np.testing.assert_allclose(log_densities(twin, x), log_densities(MIXED, x), rtol=1e-12)
    np.testing.assert_allclose(twin.mean, MIXED.mean, rtol=1e-12)
    np.testing.assert_allclose(twin.variance, MIXED.variance, rtol=1e-12)
    assert MIXED.reparameterised and not twin.reparameterised


def test_draws_of_a_gaussian_mixture_move_its_moments() -> None:
    """d E[z] / d parameters by implicit reparameterisation equals the gradient of the mean, number by number."""

    def draw(parameters: GaussianMixture, key: jax.Array) -> jax.Array:
        z = parameters.sample(key=key)
        return z[0] * z[1]

    def moment(parameters: GaussianMixture) -> jax.Array:
        return jax.nn.softmax(parameters.logits) @ (parameters.loc[:, 0] * parameters.loc[:, 1])

    found = jax.jit(jax.vmap(jax.grad(draw), in_axes=(None, 0)))(MIXED, jax.random.split(KEY, N))
    for leaf, expected in zip(jax.tree.leaves(found), jax.tree.leaves(jax.jit(jax.grad(moment))(MIXED)), strict=True):
        assert mean_within(np.asarray(leaf), expected)
        assert np.all(np.isfinite(leaf))


# Divergences

NARROW = DiagonalGaussian(jnp.array([0.3, -0.5]), jnp.array([0.6, 1.3]))
WIDE = DiagonalGaussian(jnp.array([-0.4, 0.2]), jnp.array([1.1, 0.9]))
LEARNED = LearnedPrior(DiagonalGaussianFamily(2), jnp.array([0.2, -0.1, 0.4, -0.3]))
PAIRS = {
    "diagonal, standard": (NARROW, StandardGaussian(2, "float64")),
    "diagonal, diagonal": (NARROW, WIDE),
    "diagonal, learned": (NARROW, LEARNED),
    "full, standard": (FullGaussian(jnp.array(LOC[0]), jnp.array(TRILS[1])), StandardGaussian(2, "float64")),
    "bernoulli, bernoulli": (Bernoulli(jnp.array([0.3, -2.0, 1.0])), Bernoulli(jnp.array([-0.3, 0.5, 4.0]))),
    "categorical, categorical": (Categorical(jnp.array(LOGITS)), Categorical(jnp.array(LOGITS[::-1] * 0.7))),
}


@pytest.mark.parametrize("name", PAIRS)
def test_closed_form_divergences_are_their_definition(name: str) -> None:
    q, p = PAIRS[name]
    assert has_closed_form_kl(q, p)
    found = float(kl_divergence(q, p))
    assert found > 0.05
    if q.n_states is not None:
        log_q, log_p = (log_densities(d, all_states(q)) for d in (q, p))
        assert found == pytest.approx(float(jnp.exp(log_q) @ (log_q - log_p)), rel=1e-12)
    else:
        (z, log_q), _ = _drawn(q, jax.random.split(KEY, N))
        assert mean_within(np.asarray(log_q - log_densities(p, z)), found)
    assert has_kl_terms(q, p) == (name != "full, standard")
    if has_kl_terms(q, p):
        terms = kl_terms(q, p)
        assert terms.shape == (q.dim,)
        assert float(jnp.sum(terms)) == pytest.approx(found, rel=1e-12)
        assert np.all(np.asarray(terms) >= 0)


@pytest.mark.parametrize("name", ["gaussian mixture", "iaf", "categorical"])
def test_pairs_without_a_closed_form_are_refused(name: str) -> None:
    q, p = CASES[name].distribution, StandardGaussian(2, "float64")
    assert not has_closed_form_kl(q, p)
    with pytest.raises(TypeError, match=rf"KL\({type(q).__name__} \|\| StandardGaussian\).*closed_form_kl=False"):
        kl_divergence(q, p)


# Families

SIZES = {
    "diagonal": 6,
    "full": 9,
    "mixture": 2 * (1 + 6),
    "planar": None,
    "iaf": 6 + 2,
    "coupling": 6 + 2,
    "bernoulli": 3,
    "categorical": 12,
}


def family_of(name: str, dim: int = 3) -> Any:
    member = some("posterior", name, n_components=2, n_levels=4, flow_layers=2)
    return make_family(member, dim, flow_sizes=(4,), context_size=2, dtype="float64", key=KEY)


@pytest.mark.parametrize("name", SIZES)
def test_families_make_members_of_their_size(name: str) -> None:
    family = family_of(name)
    if SIZES[name] is not None:
        assert family.n_parameters == SIZES[name]
    first = first_parameters(family, "float64")
    assert first.shape == (family.n_parameters,) and first.dtype == jnp.float64
    member = eqx.filter_jit(lambda f, a: f(a))(family, first)
    assert member.dim == family.dim == (12 if name == "categorical" else 3)
    expected = {"bernoulli": 0.5, "categorical": 0.25}.get(name, 0.0)
    spread = {"bernoulli": 0.25, "categorical": 3 / 16}.get(name, 1.0)
    slack = 0.5 if name not in ("diagonal", "full", "bernoulli", "categorical") else 1e-9
    np.testing.assert_allclose(member.mean, expected, atol=slack)
    np.testing.assert_allclose(member.variance, spread, atol=slack)


@pytest.mark.parametrize("name", ["diagonal", "full", "mixture", "iaf"])
def test_near_is_where_it_says(name: str) -> None:
    mean, scale = jnp.array([1.0, -2.0, 0.3]), jnp.array([0.5, 2.0, 1e-3])
    family = family_of(name)
    member = jax.jit(lambda: family(family.init_from_moments(mean, scale)))()
    slack = 1e-9 if name in ("diagonal", "full") else 0.6
    np.testing.assert_allclose((member.mean - mean) / scale, 0, atol=slack)
    np.testing.assert_allclose(jnp.sqrt(member.variance) / scale, 1, atol=slack)


def test_near_of_discrete_families_is_their_probability() -> None:
    p = jnp.array([0.1, 0.7, 0.2])
    np.testing.assert_allclose(
        family_of("bernoulli")(family_of("bernoulli").init_from_moments(p, p)).mean, p, rtol=1e-9
    )
    family = make_family("categorical(n_levels=3)", 1, key=KEY)
    np.testing.assert_allclose(family(family.init_from_moments(p, p)).mean, p, rtol=1e-9)


def test_a_mixture_family_takes_its_parameters_in_the_stated_order() -> None:
    family = MixtureFamily(DiagonalGaussianFamily(2), 2)
    member = family(jnp.array([0.1, 0.9, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0]))
    np.testing.assert_array_equal(member.logits, [0.1, 0.9])
    np.testing.assert_array_equal(member.loc, [[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(member.scale, 1, rtol=1e-12)
    fulls = MixtureFamily(FullGaussianFamily(2), 2)
    assert isinstance(jax.jit(fulls)(first_parameters(fulls, "float64")), Mixture)


def test_a_tied_prior_is_the_equal_mixture_of_posteriors_at_its_pseudo_inputs() -> None:
    encoder = Encoder(MLP(3, 4, (), dtype="float64", key=KEY), DiagonalGaussianFamily(2), CentredInputs(jnp.zeros(3)))
    prior = VampPrior(jnp.array(RNG.normal(size=(3, 3))), 2)
    z = jnp.array([0.3, -0.8])
    each = [float(eqx.filter_jit(lambda e, u: e(u).log_prob(z))(encoder, u)) for u in prior.pseudo_inputs]
    assert float(eqx.filter_jit(lambda e: prior.tied(e).log_prob(z))(encoder)) == pytest.approx(
        np.log(np.mean(np.exp(each))), rel=1e-12
    )
    for use in (lambda: prior.mean, lambda: prior.variance, lambda: prior.log_prob(z), lambda: prior.sample(key=KEY)):
        with pytest.raises(TypeError, match=r"must be tied to an encoder first: use learn\.tied"):
            use()


@pytest.mark.parametrize("name", ["standard", "mixture", "maf", "bernoulli", "categorical"])
def test_priors_start_near_the_standard_one(name: str) -> None:
    discrete = name in ("bernoulli", "categorical")
    spec = Specification(
        n_features=3, latent_dim=2, prior=name, posterior=name if discrete else "diagonal", dtype="float64"
    )
    prior = prior_of(spec, key=KEY)
    assert prior.dim == spec.z_size
    expected = {"bernoulli": 0.5, "categorical": 0.1}.get(name, 0.0)
    np.testing.assert_allclose(eqx.filter_jit(lambda p: p.mean)(prior), expected, atol=0 if discrete else 0.6)


# Refusals


def spec(**changes: Any) -> Specification:
    return Specification(**{"n_features": 3, "latent_dim": 2, **changes})


BITS, GAUSSIAN = Bernoulli(jnp.zeros(17)), DiagonalGaussian(jnp.zeros(2), jnp.ones(2))
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "discrete posterior, standard prior": (
        lambda: spec(posterior="bernoulli"),
        "prior must be bernoulli for the discrete posterior 'bernoulli'; got 'standard'; .*prior='auto'",
    ),
    "continuous posterior, discrete prior": (
        lambda: spec(prior="categorical"),
        "prior must be standard or mixture .*continuous posterior 'diagonal'; got 'categorical'; ",
    ),
    "coupling posterior of one latent": (
        lambda: spec(posterior="coupling", latent_dim=1),
        "posterior='coupling' must have a latent_dim of at least 2.*got 1; use iaf",
    ),
    "spline prior of one latent": (
        lambda: spec(prior="spline", latent_dim=1),
        "prior='spline' must have a latent_dim of at least 2.*got 1; use maf",
    ),
    "vamp without an encoder": (
        lambda: spec(prior="vamp", inference="per_datum"),
        r"prior='vamp' must have an encoder .*got 'per_datum'; use prior='mixture'",
    ),
    "exact, nonlinear decoder": (
        lambda: spec(inference="exact"),
        "inference='exact' must have a linear-Gaussian model .*got network='residual'.*use inference='amortised' or",
    ),
    "exact, linear, mixture prior": (
        lambda: spec(inference="exact", network="linear", prior="mixture"),
        "inference='exact' must have .*prior='mixture'; use",
    ),
    "exact, too many states": (
        lambda: spec(inference="exact", posterior="bernoulli", prior="bernoulli", latent_dim=17),
        r"inference='exact' must have at most 2\^16 = 65536 latent states; got 131072; use a smaller latent_dim",
    ),
    "enumeration of too many states": (
        lambda: check_enumerable(BITS),
        r"Enumeration must have at most 2\^16 = 65536 latent states; got 131072; use fewer latents, or",
    ),
    "all states of too many": (lambda: all_states(BITS), "at most 2"),
    "enumeration of a continuous z": (
        lambda: Enumeration().check(ELBO(), GAUSSIAN),
        "Enumeration must have discrete latents .*got DiagonalGaussian; use the pathwise gradient",
    ),
    "no inner step": (
        lambda: spec(inference="per_datum(inner_steps=0)"),
        "inner_steps of the inference 'per_datum' must be a whole number between 1 and 10000; got 0; 10 to 100",
    ),
    "no inner rate": (
        lambda: spec(inference="per_datum(inner_rate=0.0)"),
        "inner_rate of the inference 'per_datum' must be a number between 1e-06 and 10; got 0.0; 0.3 is usual",
    ),
    "refinement without steps": (lambda: Refinement(0), "inner_steps must be a whole number of at least 1; got 0; 20"),
    "refinement without a rate": (lambda: Refinement(1, 0.0), "inner_rate must be above 0; got 0.0; 0.3 is usual"),
    "dreg of one sample": (
        lambda: DoublyReparameterised().check(ImportanceWeighted(1), GAUSSIAN),
        "gradient dreg must have an importance-weighted bound of at least two samples; got ImportanceWeighted with one "
        "sample; use stl or pathwise",
    ),
    "dreg of the elbo": (lambda: DoublyReparameterised().check(ELBO(), GAUSSIAN), "got elbo; use stl or pathwise"),
    "pathwise of bits": (
        lambda: Pathwise().check(ELBO(), BITS),
        "gradient pathwise must have a posterior with differentiable draws .*got Bernoulli; use one of those, or",
    ),
    "closed KL to a mixture": (
        lambda: ELBO(closed_form_kl=True).wants_kl(GAUSSIAN, CASES["learned mixture"].distribution),
        r"ELBO\(closed_form_kl=True\) must have a closed form of KL\(DiagonalGaussian \|\| MixtureFamily\), but "
        "there is none; use closed_form_kl=False",
    ),
    "an unknown family": (
        lambda: make_family("circular", 2, key=KEY),
        "posterior must be one of diagonal, full, .*got 'circular'; choose one of those",
    ),
    "a mixture of none": (
        lambda: MixtureFamily(DiagonalGaussianFamily(2), 0),
        "n_components must be at least 1; got 0; 10 is usual",
    ),
    "one level": (
        lambda: CategoricalFamily(2, 1),
        "n_levels must be at least 2; got 1; 10 is usual",
    ),
    "a flow without layers": (
        lambda: make_family("iaf(flow_layers=0)", 2, key=KEY),
        "must be .*between 1 and 100; got 0",
    ),
    "levels in a specification": (
        lambda: spec(posterior="categorical(n_levels=1)"),
        "n_levels of the posterior 'categorical' must be a whole number between 2 and 1000; got 1; 10 is usual",
    ),
    "components in a specification": (
        lambda: spec(prior="mixture(n_components=0)"),
        "n_components of the prior 'mixture' must be a whole number between 1 and 10000; got 0; 10",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_refused_in_one_sentence(name: str) -> None:
    use, sentence = REFUSED[name]
    with pytest.raises(ValueError, match=sentence) as refusal:
        use()
    words = str(refusal.value)
    assert words.endswith(".") and "\n" not in words and words.count(". ") == 0, words
    assert ";" in words or "use" in words  # what to do instead


def test_a_specification_survives_json() -> None:
    one = spec(posterior="categorical(n_levels=4)", prior="categorical", network="mlp(hidden_sizes=(5, 6))")
    assert Specification.from_json(one.to_json()) == one
    assert one.z_size == 8 and one.discrete
    parts = build(one, start=Start(np.zeros(3), np.full(3, 0.1)), key=KEY)
    assert parts.p.prior.dim == parts.p.decoder.latent_dim == parts.family.dim == 8
