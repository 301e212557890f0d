"""Adaptive quadrature over one and two latents against closed forms and dense grids."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_gaussian import GivenPosterior, LinearGaussian
from scipy.special import logsumexp
from scipy.stats import norm

from tightbound.evidence import Method, exact, exact_evidence
from tightbound.evidence.exact import exact_method
from tightbound.evidence.exact import quadrature as integrals
from tightbound.model import (
    BernoulliHead,
    Decoder,
    DiagonalGaussianHead,
    FixedScaleGaussianHead,
    GaussianMixture,
    GenerativeModel,
    StandardGaussian,
)
from tightbound.model.families import inverse_positive

KEY = jax.random.key(0)


class Formula(eqx.Module):
    """A network that is a formula: what it returns has `size` numbers."""

    formula: Callable[[jax.Array], jax.Array] = eqx.field(static=True)

    def __call__(self, z: jax.Array) -> jax.Array:
        return self.formula(z)


def gaussian(formula: Callable[[jax.Array], jax.Array], k: int, d: int, s: float, dtype: str = "float64") -> Any:
    """x ~ N(formula(z), s^2 I), z ~ N(0, I)."""
    head = FixedScaleGaussianHead(inverse_positive(jnp.asarray(s, dtype)), jnp.zeros(d, dtype))
    return GenerativeModel(StandardGaussian(k, dtype), Decoder(Formula(formula), head, k))


def q_at(loc: list[float], scale: float, d: int, dtype: str = "float64") -> GivenPosterior:
    """N(loc, scale^2 I), whatever x is."""
    k = len(loc)
    zero = jnp.zeros((k, d), dtype), jnp.zeros(d, dtype)
    return GivenPosterior(*zero, scale * jnp.eye(k, dtype=dtype), jnp.asarray(loc, dtype))


def integral(
    p: GenerativeModel, x: np.ndarray, n: int = 1201, reach: float = 7.0, observed: np.ndarray | None = None
) -> float:
    """log p(x) by the trapezoid rule on a dense grid, which is exponentially precise for peaks that it resolves."""
    z = np.linspace(-reach, reach, n)
    k = p.prior.dim
    points = np.stack(np.meshgrid(*[z] * k, indexing="ij"), axis=-1).reshape(-1, k)
    mask = None if observed is None else jnp.asarray(observed)
    values = np.asarray(_joint(p, jnp.asarray(x), jnp.asarray(points), mask))
    return float(logsumexp(values) + k * np.log(z[1] - z[0]))


@eqx.filter_jit
def _joint(p: GenerativeModel, x: jax.Array, z: jax.Array, observed: jax.Array | None) -> jax.Array:
    return jax.vmap(lambda z: p.log_joint(x, z, observed))(z)


def found_by(p: GenerativeModel, x: np.ndarray, loc: float, scale: float) -> tuple[np.ndarray, ...]:
    """Estimate, error, work and discarded points, with a q that is N(loc, scale^2 I)."""
    shape = (len(x), p.prior.dim)
    return integrals(p, jnp.full(shape, loc), jnp.full(shape, scale), jnp.asarray(x), None, len(x))


def square(z: jax.Array) -> jax.Array:
    return jnp.stack([z[0] ** 2])


def waves(z: jax.Array) -> jax.Array:
    return jnp.stack([jnp.sin(3 * z[0]), jnp.cos(2 * z[0]) + 0.5 * z[0]])


def bent(z: jax.Array) -> jax.Array:
    return jnp.stack([z[0] + 0.3 * z[1] ** 2, jnp.tanh(2 * z[1]) * z[0], jnp.sin(z[0] - z[1])])


def squares(z: jax.Array) -> jax.Array:
    return z**2


# What q says: about right, a little off, and nowhere near.
PLACES = ((0.5, 0.5), (-4.0, 0.05), (40.0, 3.0))


@pytest.mark.parametrize(
    ("formula", "k", "s", "rows", "n"),
    [
        (square, 1, 0.01, [[1.0], [0.0], [4.0]], 100_001),
        (square, 1, 0.5, [[0.3], [-2.0], [9.0]], 100_001),
        (waves, 1, 0.02, [[float(np.sin(3.9)), float(np.cos(2.6) + 0.65)], [0.4, 0.7]], 100_001),
        (bent, 2, 0.5, [[0.5, -0.2, 0.8], [3.0, 1.0, -1.0]], 1201),
        (squares, 2, 0.05, [[1.0, 0.49]], 2001),
    ],
)
def test_nonlinear_decoders(formula: Any, k: int, s: float, rows: list[list[float]], n: int) -> None:
    """Narrow posteriors, with one, two and four modes, wherever q is."""
    x = np.array(rows)
    p = gaussian(formula, k, x.shape[1], s)
    truth = [integral(p, row, n) for row in x]
    for loc, scale in PLACES:
        value, error, _, odd = found_by(p, x, loc, scale)
        assert np.all(np.abs(value - truth) <= error + 1e-9), (loc, value - truth, error)
        assert np.all(error < 1e-4)
        assert np.all(odd == 0)


@pytest.mark.parametrize("k", [1, 2])
def test_bernoulli_cells(k: int) -> None:
    """Wide posteriors, cut off on one side, with missing cells."""
    rng = np.random.default_rng(k)
    w = jnp.asarray(3 * rng.normal(size=(k, 6)))
    p = GenerativeModel(
        StandardGaussian(k, "float64"), Decoder(Formula(lambda z: jnp.tanh(z) @ w), BernoulliHead(6), k)
    )
    x = (rng.random((3, 6)) < 0.5).astype(float)
    observed = rng.random(x.shape) < 0.7
    found = exact_evidence(p, q_at([1.0] * k, 0.3, 6), x, observed, key=KEY)
    truth = [integral(p, row, observed=mask) for row, mask in zip(x, observed, strict=True)]
    assert np.all(np.abs(found.log_evidence - truth) <= found.standard_error + 1e-9)
    assert np.all(found.standard_error < 1e-4)


def test_scales_that_depend_on_z() -> None:
    p = GenerativeModel(
        StandardGaussian(1, "float64"),
        Decoder(Formula(lambda z: jnp.stack([z[0], z[0] - 2.0])), DiagonalGaussianHead(jnp.full(1, 0.01)), 1),
    )
    x = np.array([[-1.0], [0.2], [3.0]])
    value, error, _, _ = found_by(p, x, 0.0, 1.0)
    assert np.all(np.abs(value - [integral(p, row, 100_001) for row in x]) <= error + 1e-9)
    assert np.all(error < 1e-4)


# ---- against the closed form, which the quadrature does not use


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("k", "d", "s"), [(1, 2, 0.01), (1, 40, 0.3), (2, 3, 0.01), (2, 20, 1.0)])
def test_linear_decoders_have_a_closed_form(k: int, d: int, s: float, dtype: str) -> None:
    """Narrow and wide posteriors; the first row is an outlier far from the prior, where q does not look."""
    rng = np.random.default_rng([k, d])
    exact = LinearGaussian(rng.normal(size=(d, k)), rng.normal(size=d), s)
    p: Any = jax.tree.map(lambda a: jnp.asarray(a, dtype) if eqx.is_inexact_array(a) else a, exact.p())
    p = GenerativeModel(StandardGaussian(k, dtype), p.decoder)
    layer = p.decoder.network.layers[0]
    model = LinearGaussian(
        *(np.asarray(a, float) for a in (layer.weight.T, layer.bias)), float(p.decoder.head.scale[0])
    )
    x = model.sample(rng, 4)
    x[0] = model.mu + model.W @ np.full(k, 25.0)
    x = x.astype(dtype)
    truth = model.log_p(x.astype(float))
    for loc, scale in ((0.3, 0.7), (-6.0, 0.02)):
        value, error, _, _ = found_by(p, x, loc, scale)
        # What is lost in x - W z before it is squared, of a peak that is narrow and far out.
        lost = 0 if dtype == "float64" else 10 * np.finfo(dtype).eps * np.abs(x).max(axis=1) / s
        assert np.all(np.abs(value - truth) <= error + lost + 1e-9), (value - truth, error)
        assert np.all(error < 1e-4 + 1e-5 * (dtype == "float32") * np.abs(truth))


def test_priors_that_are_not_standard() -> None:
    """Two narrow lumps far apart: log p(x) is that of a mixture of Gaussians."""
    loc, scale = np.array([[-30.0], [5.0]]), np.array([[0.1], [2.0]])
    head = FixedScaleGaussianHead(inverse_positive(jnp.asarray(0.2)), jnp.zeros(1))
    prior = GaussianMixture(jnp.log(jnp.array([0.4, 0.6])), jnp.asarray(loc), jnp.asarray(scale))
    p = GenerativeModel(prior, Decoder(Formula(lambda z: z), head, 1))
    x = np.array([[-30.0], [-10.0], [5.0], [40.0]])
    found = exact_evidence(p, q_at([0.0], 1.0, 1), x, key=KEY)
    var = scale.T**2 + 0.04
    each = -0.5 * (x - loc.T) ** 2 / var - 0.5 * np.log(2 * np.pi * var) + np.log([0.4, 0.6])
    assert np.all(np.abs(found.log_evidence - logsumexp(each, axis=1)) <= found.standard_error + 1e-9)
    assert np.all(found.standard_error < 1e-4)


# ---- what cannot be integrated well says so


def test_points_that_are_not_a_number_are_counted_and_hold_nothing() -> None:
    """The decoder overflows above z = 0.5: what is left is half a Gaussian integral."""
    p = gaussian(lambda z: jnp.where(z > 0.5, jnp.nan, 0.0 * z), 1, 1, 1.0)
    found = exact_evidence(p, q_at([0.0], 1.0, 1), np.array([[0.7]]), key=KEY)
    truth = norm.logpdf(0.7) + norm.logcdf(0.5)
    assert abs(found.log_evidence[0] - truth) <= found.standard_error[0] + 1e-9
    assert found.standard_error[0] < 1e-3
    assert found.n_discarded[0] > 0
    assert exact_evidence(gaussian(square, 1, 1, 1.0), q_at([0.0], 1.0, 1), np.array([[0.7]]), key=KEY).n_discarded == 0


def test_effort_that_is_cut_short_is_an_error_that_is_owned_up_to(monkeypatch: pytest.MonkeyPatch) -> None:
    p, x = gaussian(squares, 2, 2, 0.003), np.array([1.0, 0.49])
    q = q_at([-4.0, 4.0], 0.05, 2)
    whole = exact_evidence(p, q, x[None], key=KEY)
    monkeypatch.setattr(exact, "MOST_POINTS", 20_000)
    limited = exact_evidence(p, q, x[None], key=KEY)
    monkeypatch.undo()
    monkeypatch.setattr(exact, "_MOST_HALVINGS", 2)
    shallow = exact_evidence(p, q, x[None], key=KEY)
    for cut in (limited, shallow):
        assert cut.work[0] < whole.work[0]
        assert cut.standard_error[0] > 0.01
        assert abs(cut.log_evidence[0] - whole.log_evidence[0]) <= cut.standard_error[0]


def test_a_row_has_the_value_that_it_has_alone() -> None:
    p = gaussian(bent, 2, 3, 0.3)
    x = np.random.default_rng(0).normal(size=(5, 3))
    whole = exact_evidence(p, q_at([0.0, 0.0], 1.0, 3), x, key=KEY)
    for i in range(5):
        alone = exact_evidence(p, q_at([0.0, 0.0], 1.0, 3), x[[i]], key=KEY)
        for name in ("log_evidence", "standard_error", "elbo", "work"):
            assert getattr(alone, name)[0] == getattr(whole, name)[i], name


def test_work_is_the_number_of_points(monkeypatch: pytest.MonkeyPatch) -> None:
    cells: list[int] = []
    one_level = exact._integrated

    def counted(*args: Any) -> Any:
        found = one_level(*args)
        cells.append(len(found.row))
        return found

    monkeypatch.setattr(exact, "_integrated", counted)
    p = gaussian(square, 1, 1, 0.5)
    assert exact_method(p) is Method.QUADRATURE
    x = np.array([[0.3], [2.0]])
    found = exact_evidence(p, q_at([0.0], 1.0, 1), x, key=KEY)
    assert len(cells) > 2
    assert np.sum(found.work) == 9 * sum(cells) + 2 * 128
