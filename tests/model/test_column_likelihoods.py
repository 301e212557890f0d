"""Every kind of cell against SciPy, against its own sums and integrals, and against its own draws.

One row in CASES inherits every check. Each case compiles two programs a precision: `everything` and `gradients`.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from tightbound.model import (
    AbstractColumnLikelihood,
    BernoulliLikelihood,
    BetaLikelihood,
    CategoricalLikelihood,
    CumulativeLogitLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    GaussianMixtureLikelihood,
    HurdleLikelihood,
    LogisticMixtureLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    SpikeAndSlabLikelihood,
    StudentTLikelihood,
    ZeroInflatedLikelihood,
)
from tightbound.model.families import positive
from tightbound.model.likelihoods import AbstractLevelLikelihood
from tightbound.model.likelihoods.special import log1mexp, log_choices, log_softplus, soft_clip, stirling_error

RNG = np.random.default_rng(3)
N = 3001
LOG_DENSITY = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Grid:
    """Values of x over the support, and the weights of an integral over them (1 for a sum).

    A continuous support is the smooth image of an interval, along which the trapezoid rule is exact to rounding.
    """

    x: np.ndarray
    weight: np.ndarray


S = np.linspace(-1, 1, N)
STEP = S[1] - S[0]
REAL = Grid(0.4 + 1.3 * np.sinh(13 * S), 1.3 * 13 * np.cosh(13 * S) * STEP)
POSITIVE = Grid(np.exp(-10 + 30 * S), 30 * np.exp(-10 + 30 * S) * STEP)
COUNTS = Grid(np.arange(float(N)), np.ones(N))


def interval(low: float, high: float) -> Grid:
    t = special.expit(36 * S)
    return Grid(low + (high - low) * t, (high - low) * 36 * t * (1 - t) * STEP)


def first(n: int) -> Grid:
    return Grid(np.arange(float(n)), np.ones(n))


@dataclass(frozen=True)
class Case:
    """Cells, numbers for them, a grid over the support, and a second opinion on the log density."""

    cells: AbstractColumnLikelihood
    raw: tuple[float, ...]
    grid: Grid
    reference: LOG_DENSITY
    outside: tuple[float, ...] = ()
    spikes: tuple[float, ...] = ()

    @property
    def discrete(self) -> bool:
        return self.cells.measure == "counting"


def sp(raw: float) -> float:
    return float(positive(jnp.array(raw)))


def parameters(cells: Any, raw: tuple[float, ...]) -> list[np.ndarray]:
    return [np.asarray(p) for p in cells.parameters(jnp.array(raw))]


def mixture(cells: Any, raw: tuple[float, ...], family: Any) -> LOG_DENSITY:
    log_weights, loc, scale = parameters(cells, raw)
    return lambda x: special.logsumexp(log_weights + family.logpdf(x[:, None], loc, scale), axis=1)


def gamma(raw: tuple[float, ...]) -> LOG_DENSITY:
    mean, shape = (np.exp(p) for p in parameters(GammaLikelihood(), raw))
    return stats.gamma(shape, scale=mean / shape).logpdf


def beta(raw: tuple[float, ...], low: float, high: float) -> LOG_DENSITY:
    logit, log_c = parameters(BetaLikelihood(), raw)
    m, c = special.expit(logit), np.exp(log_c)
    return stats.beta(m * c, (1 - m) * c, low, high - low).logpdf


def nbinom(raw: tuple[float, ...]) -> Any:
    mean, dispersion = (np.exp(p) for p in parameters(NegativeBinomialLikelihood(), raw))
    return stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean))


def inflated(base: Any, gate: float) -> LOG_DENSITY:
    pi = special.expit(gate)
    return lambda x: np.where(x == 0, np.log(pi + (1 - pi) * base.pmf(0)), np.log(1 - pi) + base.logpmf(x))


def hurdle(base: Any, gate: float) -> LOG_DENSITY:
    pi = special.expit(gate)
    return lambda x: np.where(x == 0, np.log(pi), np.log(1 - pi) + base.logpmf(x) - np.log(base.sf(0)))


def listed(probs: np.ndarray) -> LOG_DENSITY:
    return lambda x: np.log(probs)[x.astype(int)]


def cumulative(raw: tuple[float, ...]) -> LOG_DENSITY:
    cuts = -raw[0] + np.concatenate([[0], np.cumsum(np.log1p(np.exp(raw[1:])))])
    return listed(np.diff(np.concatenate([[0], special.expit(cuts), [1]])))


def spiked(base: LOG_DENSITY, logits: tuple[float, ...], spikes: tuple[float, ...]) -> LOG_DENSITY:
    log_w = np.log(special.softmax([0.0, *logits]))
    where = [(s, w) for s, w in zip(spikes, log_w[1:], strict=True)]
    return lambda x: np.select([x == s for s, _ in where], [w for _, w in where], log_w[0] + base(x))


MIXED = (0.4, 0.2, -0.5, 0.9, -1.5, 0.3, 2.2, -0.5, 0.2, -1.0)

CASES: dict[str, Case] = {
    "gaussian": Case(GaussianLikelihood(0.1), (0.4, -0.5), REAL, stats.norm(0.4, 0.1 + sp(-0.5)).logpdf),
    "student": Case(
        StudentTLikelihood(0.1),
        (0.4, 0.3, 1.2),
        REAL,
        stats.t(*parameters(StudentTLikelihood(0.1), (0.4, 0.3, 1.2))).logpdf,
    ),
    "gaussian mixture": Case(
        GaussianMixtureLikelihood(3, 0.05), MIXED, REAL, mixture(GaussianMixtureLikelihood(3, 0.05), MIXED, stats.norm)
    ),
    "logistic mixture": Case(
        LogisticMixtureLikelihood(3, 0.05),
        MIXED,
        REAL,
        mixture(LogisticMixtureLikelihood(3, 0.05), MIXED, stats.logistic),
    ),
    "gamma": Case(GammaLikelihood(), (0.7, 1.1), POSITIVE, gamma((0.7, 1.1)), (0, -1)),
    "gamma with a pole": Case(GammaLikelihood(), (0.7, -0.4), POSITIVE, gamma((0.7, -0.4)), (0, -1)),
    "beta": Case(BetaLikelihood(-1.0, 4.0), (0.6, 1.3), interval(-1, 4), beta((0.6, 1.3), -1, 4), (-1, 4, 5)),
    "beta with poles": Case(BetaLikelihood(), (-0.3, 0.1), interval(0, 1), beta((-0.3, 0.1), 0, 1), (0, 1, -0.5)),
    "poisson": Case(PoissonLikelihood(), (1.1,), COUNTS, stats.poisson(np.exp(1.1)).logpmf, (-1, 0.5)),
    "large poisson": Case(PoissonLikelihood(), (7.0,), COUNTS, stats.poisson(np.exp(7.0)).logpmf, (-1, 0.5)),
    "negative binomial": Case(NegativeBinomialLikelihood(), (1.4, 0.2), COUNTS, nbinom((1.4, 0.2)).logpmf, (-1, 0.5)),
    "nearly poisson": Case(NegativeBinomialLikelihood(), (3.0, -9.0), COUNTS, nbinom((3.0, -9.0)).logpmf, (-1, 0.5)),
    "zero-inflated": Case(
        ZeroInflatedLikelihood(PoissonLikelihood()),
        (1.1, -0.4),
        COUNTS,
        inflated(stats.poisson(np.exp(1.1)), -0.4),
        (-1, 0.5),
    ),
    "hurdle poisson": Case(
        HurdleLikelihood(PoissonLikelihood()), (0.2, -0.4), COUNTS, hurdle(stats.poisson(np.exp(0.2)), -0.4), (-1, 0.5)
    ),
    "hurdle": Case(
        HurdleLikelihood(NegativeBinomialLikelihood()),
        (1.0, 0.5, 0.3),
        COUNTS,
        hurdle(nbinom((1.0, 0.5)), 0.3),
        (-1, 0.5),
    ),
    "bernoulli": Case(BernoulliLikelihood(), (0.8,), first(2), stats.bernoulli(special.expit(0.8)).logpmf, (2, 0.5)),
    "categorical": Case(
        CategoricalLikelihood(3), (0.2, -1, 0.9), first(3), listed(special.softmax([0.2, -1, 0.9])), (-1, 3, 0.5)
    ),
    "ordinal": Case(
        CumulativeLogitLikelihood(4), (0.6, 0.4, -0.7), first(4), cumulative((0.6, 0.4, -0.7)), (-1, 4, 0.5)
    ),
    "spikes on gaussian": Case(
        SpikeAndSlabLikelihood(GaussianLikelihood(0.1), [0.0, 1.5]),
        (0.4, -0.5, 0.3, -0.8),
        REAL,
        spiked(stats.norm(0.4, 0.1 + sp(-0.5)).logpdf, (0.3, -0.8), (0.0, 1.5)),
        spikes=(0.0, 1.5),
    ),
    "spike under gamma": Case(
        SpikeAndSlabLikelihood(GammaLikelihood(), [0.0]),
        (0.7, 1.1, 0.5),
        POSITIVE,
        spiked(gamma((0.7, 1.1)), (0.5,), (0.0,)),
        (-1,),
        spikes=(0.0,),
    ),
}
each_case = pytest.mark.parametrize("name", CASES)


@eqx.filter_jit
def _density(cells: AbstractColumnLikelihood, raw: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
    log_p = jax.vmap(lambda x: cells.log_prob(x, raw))(x)
    return log_p, jax.vmap(lambda x: cells.cdf(x, raw))(x), cells.mean(raw), cells.variance(raw)


@eqx.filter_jit
def _draws(cells: AbstractColumnLikelihood, raw: jax.Array, keys: jax.Array) -> jax.Array:
    return jax.vmap(lambda k: cells.sample(raw, key=k))(keys)


@eqx.filter_jit
def _gradients(cells: AbstractColumnLikelihood, raws: jax.Array, x: jax.Array) -> Any:
    return jax.vmap(jax.value_and_grad(lambda raw, x: cells.log_prob(x, raw), argnums=(0, 1)))(raws, x)


def density(name: str, x: np.ndarray, dtype: str = "float64", raw: np.ndarray | None = None) -> list[np.ndarray]:
    """Log density and distribution function at x, mean and variance; x is filled up, so that one program serves."""
    full = np.concatenate([x, np.full(N - len(x), x[-1])])
    numbers = jnp.array(CASES[name].raw if raw is None else raw, dtype)
    found = _density(CASES[name].cells, numbers, jnp.array(full, dtype))
    assert all(each.dtype == dtype for each in found), [each.dtype for each in found]
    log_p, cdf, mean, variance = (np.asarray(each) for each in found)
    return [log_p[: len(x)], cdf[: len(x)], mean, variance]


@functools.cache
def on_grid(name: str) -> list[np.ndarray]:
    return density(name, CASES[name].grid.x)


@functools.cache
def draws(name: str) -> np.ndarray:
    keys = jax.random.split(jax.random.key(11), N)
    return np.asarray(_draws(CASES[name].cells, jnp.array(CASES[name].raw), keys))


def probabilities(name: str) -> np.ndarray:
    """What each point of the grid stands for; spikes stand apart."""
    grid = CASES[name].grid
    return np.where(np.isin(grid.x, CASES[name].spikes), 0, np.exp(on_grid(name)[0])) * grid.weight


def at_spikes(name: str) -> np.ndarray:
    spikes = CASES[name].spikes
    return np.exp(density(name, np.array(spikes))[0]) if spikes else np.zeros(0)


def points(name: str) -> np.ndarray:
    """Some values inside the support, off its ends, where the density is not negligible; spikes included."""
    case = CASES[name]
    x = case.grid.x[on_grid(name)[0] > -12]
    x = x[np.all(np.abs(x[:, None] - np.array(case.outside)) > 1e-3, axis=1)]
    return np.concatenate([case.spikes, x[:: max(len(x) // 8, 1)]])


@each_case
def test_all_probability_is_one(name: str) -> None:
    total = probabilities(name).sum() + at_spikes(name).sum()
    assert total == pytest.approx(1, abs=1e-7)


@each_case
def test_log_density_agrees_with_scipy(name: str) -> None:
    grid = CASES[name].grid.x
    x = np.concatenate([points(name), grid[:: max(len(grid) // 400, 1)]])
    found, expected = density(name, x)[0], CASES[name].reference(x)
    # Nearer to an end than this, x itself has lost its distance to it.
    near = (expected > -1e4) & np.all(np.abs(x[:, None] - np.array(CASES[name].outside)) > 1e-9, axis=1)
    np.testing.assert_allclose(found[near], expected[near], rtol=1e-7, atol=1e-8)


@each_case
def test_moments_are_those_of_the_density(name: str) -> None:
    case, (*_, mean, variance) = CASES[name], on_grid(name)
    if isinstance(case.cells, CategoricalLikelihood):
        p = special.softmax(case.raw)
        assert (mean, variance) == (p.argmax(), pytest.approx(np.sum(p * (1 - p))))
        return
    p, w, s = probabilities(name), at_spikes(name), np.array(case.spikes)
    assert mean == pytest.approx(np.sum(p * case.grid.x) + np.sum(w * s), rel=1e-6)
    spread = np.sum(p * (case.grid.x - mean) ** 2) + np.sum(w * (s - mean) ** 2)
    assert variance == pytest.approx(spread, rel=1e-6)


@each_case
def test_distribution_function_is_the_integral_of_the_density(name: str) -> None:
    case, (_, cdf, *_) = CASES[name], on_grid(name)
    p = probabilities(name)
    assert (np.diff(cdf) >= -1e-12).all() and cdf.min() >= 0 and cdf.max() <= 1 + 1e-12
    if case.discrete:
        np.testing.assert_allclose(cdf, np.cumsum(p), atol=1e-9)
        between = np.array([-0.5, 0.5, 1.5])
        np.testing.assert_allclose(density(name, between)[1], [0, cdf[0], cdf[1]], rtol=1e-12)
        return
    area = integrate.cumulative_simpson(p, initial=0)
    passed = sum((w * (case.grid.x >= s) for w, s in zip(at_spikes(name), case.spikes, strict=True)), 0 * area)
    np.testing.assert_allclose(cdf, area + passed, atol=1e-6)


@each_case
def test_draws_follow_the_distribution(name: str) -> None:
    """The randomised probability integral transform is uniform (Kolmogorov-Smirnov), and the moments are as stated."""
    case, x = CASES[name], draws(name)
    log_p, cdf, mean, variance = density(name, x)
    assert np.isfinite(log_p).all()
    jump = np.exp(log_p) * (np.isin(x, case.spikes) | case.discrete)
    u = cdf - jump * np.random.default_rng(1).uniform(size=N)
    assert stats.kstest(u, "uniform").pvalue > 1e-4
    if isinstance(case.cells, CategoricalLikelihood):
        return
    for values, stated in ((x, mean), ((x - mean) ** 2, variance)):
        assert abs(values.mean() - stated) < 5 * values.std() / N**0.5


@each_case
def test_what_comes_out_has_the_precision_of_the_numbers(name: str) -> None:
    cells, raw = CASES[name].cells, jnp.array(CASES[name].raw, "float32")
    x = jnp.array(1.0, "float32")

    def all_of_it(key: jax.Array) -> tuple[jax.Array, ...]:
        return cells.sample(raw, key=key), cells.mean(raw), cells.variance(raw), cells.cdf(x, raw)

    for each in eqx.filter_eval_shape(all_of_it, jax.random.key(0)):
        assert (each.shape, each.dtype) == ((), "float32")


def stacked(name: str, dtype: str, values: list[float]) -> np.ndarray:
    """The case's numbers with one of them, or all, replaced by each of these values."""
    raw = np.array(CASES[name].raw)
    rows = [np.where(np.arange(len(raw)) == i, v, raw) for v in values for i in range(len(raw))]
    return np.array([*rows, *[np.full(len(raw), v) for v in values]]).astype(dtype)


MANY = 1024


def gradients(
    cells: AbstractColumnLikelihood, raws: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, and gradients in raw and x, at pairs filled up to MANY."""
    n, dtype = len(x), raws.dtype
    assert n <= MANY
    pad = MANY - n
    r = np.concatenate([raws, np.repeat(raws[-1:], pad, axis=0)])
    value, (d_raw, d_x) = _gradients(cells, jnp.array(r), jnp.array(np.append(x, [x[-1]] * pad), dtype))
    return np.asarray(value)[:n], np.asarray(d_raw)[:n], np.asarray(d_x)[:n]


IN_BOTH = ["gamma", "ordinal"]


@pytest.mark.parametrize(("name", "dtype"), [*((n, "float32") for n in CASES), *((n, "float64") for n in IN_BOTH)])
def test_extreme_numbers_give_finite_gradients(name: str, dtype: str) -> None:
    """Inside the support the log density is finite too; outside it is -inf, without gradient."""
    case = CASES[name]
    inside = points(name)
    if case.discrete and not isinstance(case.cells, AbstractLevelLikelihood):
        inside = np.append(inside, [0.0, 1.0, 1e6])
    raws = stacked(name, dtype, [-1e4, -100.0, -20.0, 20.0, 100.0, 1e4])
    x = np.concatenate([inside, case.outside])
    pairs = np.repeat(raws, len(x), axis=0), np.tile(x, len(raws))
    value, d_raw, d_x = gradients(CASES[name].cells, *pairs)
    assert value.dtype == d_raw.dtype == dtype
    legal = np.tile(np.arange(len(x)) < len(inside), len(raws))
    bad = ~np.isfinite(value) & legal
    assert not bad.any(), (pairs[0][bad][:3], pairs[1][bad][:3], value[bad][:3])
    bad = ~np.isfinite(d_raw).all(axis=1)
    assert not bad.any(), (pairs[0][bad][:3], pairs[1][bad][:3], d_raw[bad][:3])
    assert np.isfinite(d_x).all()
    assert (value[~legal] == -np.inf).all() and (d_raw[~legal] == 0).all()


@each_case
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    """The values and gradients of float32, against the values of float64."""
    case, step = CASES[name], 1e-5
    x, raw = points(name).astype("float32").astype(float), np.array(case.raw, "float32")
    x = np.concatenate([case.spikes, x[len(case.spikes) :]])
    value, slope, _ = gradients(CASES[name].cells, np.tile(raw, (len(x), 1)), x)
    np.testing.assert_allclose(value, density(name, x, raw=raw.astype(float))[0], rtol=1e-5, atol=1e-5)
    for i, shift in enumerate(step * np.eye(len(raw))):
        up, down = (density(name, x, raw=raw.astype(float) + sign * shift)[0] for sign in (1, -1))
        np.testing.assert_allclose(slope[:, i], (up - down) / (2 * step), rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "error"), [("nearly poisson", 5e-3), ("large poisson", 5e-3)])
def test_distribution_functions_lose_digits_in_float32_as_stated(name: str, error: float) -> None:
    x = points(name)
    for single, double in zip(density(name, x, "float32")[1:], density(name, x)[1:], strict=True):
        np.testing.assert_allclose(single, double, rtol=error, atol=error)


@each_case
def test_the_start_has_the_moments_of_the_column(name: str) -> None:
    """The column is drawn from the case itself, so that there is a member with its moments."""
    case, column = CASES[name], draws(name)
    raw = jnp.asarray(case.cells.start(column))
    assert raw.shape == (case.cells.n_outputs,) == (len(case.raw),) and raw.dtype == column.dtype
    if isinstance(case.cells, AbstractLevelLikelihood):
        shares = np.bincount(column.astype(int), minlength=case.cells.levels) / N
        np.testing.assert_allclose(case.cells.probs(raw), shares, atol=1e-3)
        return
    *_, mean, variance = _density(case.cells, raw, jnp.array(np.zeros(N)))
    loose = {"hurdle": 0.05, "hurdle poisson": 0.05}.get(name, 2e-3)
    assert mean == pytest.approx(column.mean(), rel=loose)
    if "poisson" not in name and name != "zero-inflated":  # a Poisson has no variance of its own
        assert variance == pytest.approx(column.var(), rel=4 * loose)


@pytest.mark.parametrize("name", ["zero-inflated", "hurdle poisson", "hurdle"])
def test_the_start_has_about_the_share_of_zeros(name: str) -> None:
    cells, column = CASES[name].cells, draws(name)
    zero = jax.jit(lambda r: cells.log_prob(jnp.zeros(()), r))(jnp.asarray(cells.start(column)))
    assert np.exp(zero) == pytest.approx(np.mean(column == 0), abs=0.02)


@each_case
def test_the_start_of_hardly_anything_is_finite(name: str) -> None:
    value = CASES[name].grid.x[len(CASES[name].grid.x) // 2]
    for column in (np.zeros(0), np.array([value]), np.array([0.0, 0.0])):
        assert np.isfinite(CASES[name].cells.start(column)).all()


# What single families promise


@pytest.mark.parametrize(
    ("cells", "raw", "x", "reference"),
    [
        (PoissonLikelihood(), (13.8155,), 1_002_000.0, lambda r: stats.poisson(np.exp(r[0])).logpmf),
        (NegativeBinomialLikelihood(), (13.8155, -14.0), 1_002_000.0, lambda r: nbinom(tuple(r)).logpmf),
        (NegativeBinomialLikelihood(), (2.0, -10.0), 9.0, lambda r: nbinom(tuple(r)).logpmf),
        (GammaLikelihood(), (2.0, 13.0), 7.39, lambda r: gamma(tuple(r))),
        (BetaLikelihood(), (1.0, 12.0), 0.732, lambda r: beta(tuple(r), 0, 1)),
    ],
    ids=["poisson", "negative binomial", "nearly poisson", "gamma", "beta"],
)
def test_large_numbers_keep_their_digits_in_float32(cells: Any, raw: Any, x: float, reference: Any) -> None:
    """A difference of log-gammas would be off by up to a nat here."""
    single = np.array(raw, "float32")
    found = gradients(cells, single[None], np.array([x]))[0][0]
    expected = float(reference(single.astype(float))(float(np.float32(x))))
    assert found == pytest.approx(expected, abs=0.01)


def test_an_exposure_multiplies_the_mean() -> None:
    exposure, x = 250.0, np.array([9.0, 0.0])
    for name, raw in (("negative binomial", (-3.0, 0.4)), ("poisson", (-3.0,)), ("zero-inflated", (-3.0, -1.0))):
        more = np.asarray(CASES[name].cells.exposed(jnp.array(raw), jnp.log(exposure)))
        log_p, _, mean, _ = density(name, x, raw=more)
        assert mean == pytest.approx(exposure * density(name, x, raw=np.array(raw))[2], rel=1e-9)
        if name == "negative binomial":
            expected = nbinom((-3.0 + np.log(exposure), 0.4)).logpmf(x)
            np.testing.assert_allclose(log_p, expected, rtol=1e-9)


def test_a_hurdle_over_hardly_anything_is_a_single_one() -> None:
    """Given x > 0, a count of mean e^-40 is 1, though P(X > 0) is below the precision of its distance to 1."""
    p = special.expit(-0.3)
    for name, raw in (("hurdle poisson", (-40.0, 0.3)), ("hurdle", (-40.0, 0.2, 0.3))):
        log_p, _, mean, variance = density(name, np.array([1.0]), raw=np.array(raw))
        assert (log_p[0], mean, variance) == (pytest.approx(np.log(p)), pytest.approx(p), pytest.approx(p * (1 - p)))
        cells = CASES[name].cells
        assert gradients(cells, np.array([raw], "float32"), np.ones(1))[0][0] == pytest.approx(np.log(p), rel=1e-5)
        mean, variance = jax.jit(lambda r, c=cells: (c.mean(r), c.variance(r)))(jnp.array(raw, "float32"))
        assert (float(mean), float(variance)) == (pytest.approx(p, rel=1e-5), pytest.approx(p * (1 - p), rel=1e-4))


def test_levels_have_probabilities_and_a_mode() -> None:
    raw = jnp.array([0.6, 0.4, -0.7])
    cells = CumulativeLogitLikelihood(4)
    assert float(cells.probs(raw).sum()) == pytest.approx(1, rel=1e-12)
    assert float(cells.mode(raw)) == np.argmax(cells.probs(raw))
    higher = cells.probs(raw.at[0].add(1.0))
    assert (np.cumsum(higher)[:-1] < np.cumsum(cells.probs(raw))[:-1]).all()  # all probability moves up
    assert float(CategoricalLikelihood(3).mode(raw)) == 0


def test_a_spike_is_recognised_in_the_precision_of_the_data() -> None:
    cells = SpikeAndSlabLikelihood(GaussianLikelihood(), [0.1])
    raw = jnp.array([0.0, 0.0, 1.0])
    for dtype in ("float32", "float64"):
        log_p = eqx.filter_jit(cells.log_prob)(jnp.array(0.1, dtype), raw.astype(dtype))
        assert float(log_p) == pytest.approx(np.log(special.expit(1.0)), rel=1e-6)
        assert float(eqx.filter_jit(cells.log_prob)(jnp.array(0.1001, dtype), raw.astype(dtype))) < -1.5


def test_special_functions() -> None:
    n = np.array([1e-3, 0.5, 3.0, 15.9, 16.1, 1e3])
    exact = special.gammaln(n + 1) - ((n + 0.5) * np.log(n) - n + 0.5 * np.log(2 * np.pi))
    np.testing.assert_allclose(jax.jit(stirling_error)(jnp.array(n)), exact, rtol=1e-9, atol=1e-12)
    a, x = np.array([1e-6, 0.3, 7.0, 200.0]), np.array([3.0, 0.0, 5.0, 40.0])
    choices = special.gammaln(a + x) - special.gammaln(a) - special.gammaln(x + 1)
    np.testing.assert_allclose(jax.jit(log_choices)(jnp.array(a), jnp.array(x)), choices, rtol=1e-9, atol=1e-12)
    t = np.array([-700.0, -30.0, -20.0, -19.9, 0.0, 50.0])
    np.testing.assert_allclose(jax.jit(log_softplus)(jnp.array(t)), np.log(np.log1p(np.exp(t))), rtol=1e-9)
    found = jax.jit(log1mexp)(jnp.array([-800.0, -30.0, 0.0]))
    np.testing.assert_allclose(found, [-800, -30, np.log1p(-np.exp(-1))], rtol=1e-9)
    ends = jax.jit(lambda r: soft_clip(r, -5.0, 30.0))(jnp.array([-1e10, -1e4, 0.0, 1e4, 1e10], "float32"))
    assert float(ends.min()) >= -5 and float(ends.max()) <= 30
    assert float(ends[2]) == pytest.approx(np.log1p(np.exp(-5)), rel=1e-5)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "floor": (lambda: GaussianLikelihood(0.0), "floor must be above 0, .*; got 0.0; 0.01 is usual"),
    "floor of t": (lambda: StudentTLikelihood(-1.0), "floor must be above 0"),
    "no component": (
        lambda: GaussianMixtureLikelihood(0),
        "n_components must be a whole number of at least 1; got 0; 2 to",
    ),
    "no logistic": (lambda: LogisticMixtureLikelihood(-1), "n_components must be .*got -1"),
    "bounds": (lambda: BetaLikelihood(1.0, 1.0), "bounds of a beta column must be finite, low below high; got low=1.0"),
    "one level": (
        lambda: CategoricalLikelihood(1),
        "n_levels must be a whole number of at least 2; got 1; drop a column",
    ),
    "one ordered level": (lambda: CumulativeLogitLikelihood(1), "n_levels must be .* at least 2; got 1"),
    "spikes on counts": (
        lambda: SpikeAndSlabLikelihood(PoissonLikelihood(), [0.0]),
        "must be continuous; got PoissonLikelihood; use ZeroInflatedLikelihood or HurdleLikelihood",
    ),
    "spikes twice": (lambda: SpikeAndSlabLikelihood(GammaLikelihood(), [0.0, 0.0]), r"each once; got \[0.0, 0.0\]"),
    "no spike": (
        lambda: SpikeAndSlabLikelihood(GammaLikelihood(), []),
        r"one or more finite numbers, each once; got \[\]",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_cell_is_refused_in_one_sentence(name: str) -> None:
    use, sentence = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=sentence) as refusal:
        use()
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)
