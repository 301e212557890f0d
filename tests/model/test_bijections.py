"""Every bijection against its own Jacobian, its inverse and unit mass: one row in CASES inherits every check."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from tightbound.model.flows.bijections import (
    AbstractBijection,
    Affine,
    Autoregressive,
    Chain,
    Coupling,
    Inverted,
    Planar,
    RationalQuadraticSpline,
    autoregressive_flow,
    coupling,
    coupling_flow,
    planar_flow,
)
from tightbound.model.flows.masked import MaskedMLP
from tightbound.model.networks.dense import MLP

KEY = jax.random.key(0)
DIM, CONTEXT, N = 3, 2, 24
SPLINE = RationalQuadraticSpline(n_bins=5, limit=2.0)
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling takes nearly all the time


@dataclass(frozen=True)
class Case:
    """A way to build a bijection of R^dim, the least dim that it can have, and the order in which it starts."""

    name: str
    build: Callable[[int, str], AbstractBijection]
    smallest: int = 1
    start: tuple[int, ...] = (0, 1, 2)
    moves: bool = True


def autoregressive(transformer, inverted: bool, n_layers: int = 2):
    def build(dim: int, dtype: str) -> AbstractBijection:
        sizes = {"n_layers": n_layers, "hidden_sizes": (8,), "transformer": transformer}
        return autoregressive_flow(dim, CONTEXT, **sizes, inverted=inverted, dtype=dtype, key=KEY)

    return build


def couplings(transformer):
    def build(dim: int, dtype: str) -> AbstractBijection:
        sizes = {"n_layers": 2, "hidden_sizes": (8,), "transformer": transformer}
        return coupling_flow(dim, CONTEXT, **sizes, dtype=dtype, key=KEY)

    return build


def mixed(dim: int, dtype: str) -> AbstractBijection:
    layer = coupling(dim, CONTEXT, (8,), SPLINE, dtype=dtype, key=KEY)
    return Chain((Planar(dim), Inverted(layer), Planar(dim)), split_context=True)


CASES = [
    Case("coupling, affine", couplings(Affine()), 2),
    Case("coupling, spline", couplings(SPLINE), 2),
    Case("inverse autoregressive, affine", autoregressive(Affine(), False)),
    Case("inverse autoregressive, spline", autoregressive(SPLINE, False, 1)),
    Case("masked autoregressive, affine", autoregressive(Affine(), True)),
    Case("planar", lambda dim, dtype: planar_flow(dim, 3)),
    Case("chain of all sorts", mixed, 2),
]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def randomised(build: Callable[[], eqx.Module], scale: float = 1.0):
    """What `build` builds, with noise for every trained number: nothing is near the identity any more."""
    rng = np.random.default_rng(1)
    shapes = eqx.filter_eval_shape(build)  # nothing is drawn by JAX: compiling the draws takes longer than the checks
    return jax.tree.map(lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype), shapes)


def context_of(bijection: AbstractBijection, dtype: str = "float64", scale: float = 1.0):
    return jnp.asarray(scale * np.random.default_rng(2).normal(size=bijection.context_size), dtype)


def points(dtype: str = "float64", far: float = 2.5):
    """Draws about the origin; the splines' limits; points outside of them, up to 2 `far`."""
    near = 1.5 * np.random.default_rng(3).normal(size=(N - 4, DIM))
    outside = far * np.array([[1, -2, 1], [-1, 0, 2]])
    return jnp.asarray(np.concatenate([near, [[2, 2, -2], [0, 0, 0]], outside]), dtype)


@lru_cache
def built(case: Case) -> AbstractBijection:
    return case.build(DIM, "float64")


@dataclass(frozen=True)
class Trip:
    """There and back again, with the Jacobians of both ways."""

    u: np.ndarray
    z: np.ndarray
    log_det: np.ndarray
    jacobian: np.ndarray
    back: np.ndarray
    log_det_back: np.ndarray
    jacobian_back: np.ndarray


@lru_cache
def trip(case: Case) -> Trip:
    bijection = randomised(lambda: case.build(DIM, "float64"), 0.6)  # with 1.0, splines have slopes of 1e10
    context = context_of(bijection)

    def there(u):
        z, log_det = bijection.forward(u, context)
        return z, (z, log_det)

    def back(z):
        u, log_det = bijection.inverse(z, context)
        return u, (u, log_det)

    u = points()
    jacobian, (z, log_det) = quick(jax.vmap(jax.jacfwd(there, has_aux=True)))(u)
    jacobian_back, (u_back, log_det_back) = quick(jax.vmap(jax.jacrev(back, has_aux=True)))(z)
    return Trip(*(np.asarray(x) for x in (u, z, log_det, jacobian, u_back, log_det_back, jacobian_back)))


@each_case
def test_inverse_undoes_forward(case: Case) -> None:
    found = trip(case)
    np.testing.assert_allclose(found.back, found.u, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.log_det_back, -found.log_det, rtol=1e-8, atol=1e-8)
    if case.moves:
        assert np.all(np.abs(found.z - found.u)[: N - 4].max(axis=1) > 0.05)


@each_case
def test_log_det_is_that_of_the_jacobian(case: Case) -> None:
    found = trip(case)
    np.testing.assert_allclose(found.log_det, np.linalg.slogdet(found.jacobian)[1], rtol=1e-8, atol=1e-8)
    # The inverse is solved for, not written down: its derivatives are held to the inverse matrix.
    scale = np.abs(found.jacobian_back).max()
    np.testing.assert_allclose(found.jacobian_back, np.linalg.inv(found.jacobian), rtol=1e-6, atol=1e-8 * scale)


@each_case
def test_starts_as_the_identity(case: Case) -> None:
    bijection = built(case)
    zero = jnp.zeros(bijection.context_size)
    z, log_det = quick(jax.vmap(lambda u: bijection.forward(u, zero)))(points())
    np.testing.assert_allclose(z, np.asarray(points())[:, case.start], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(log_det, 0, atol=1e-12)


@each_case
def test_gradients_are_finite_compiled_and_not_all_zero(case: Case) -> None:
    """Of density and draw, in every parameter, context and point, at the start and elsewhere, near and far."""

    @quick
    def gradients(inputs, u):
        def loss(inputs, u):
            bijection, context = inputs
            z, log_det = bijection.forward(u, context)
            u_back, log_det_back = bijection.inverse(u, context)
            return jnp.sum(jnp.tanh(z)) + jnp.sum(jnp.tanh(u_back)) + log_det + 2 * log_det_back

        return jax.vmap(jax.grad(loss, (0, 1)), in_axes=(None, 0))(inputs, u)

    start = built(case)
    for bijection, scale in ((start, 0.0), (randomised(lambda: case.build(DIM, "float64")), 1.0)):
        context = context_of(bijection, scale=scale)
        (trained, by_context), by_u = gradients((bijection, context), points(far=1e3))
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((trained, by_context))]
        assert all(np.isfinite(leaf).all() for leaf in (*leaves, np.asarray(by_u)))
        assert not case.moves or any(np.any(leaf != 0) for leaf in leaves)
    assert np.all(np.any(np.asarray(by_context) != 0, axis=0))


@each_case
def test_float32_stays_float32(case: Case) -> None:
    """In a process whose default is float64, and where mixing the two is an error."""
    bijection = randomised(lambda: case.build(DIM, "float32"), 0.3)
    leaves = jax.tree.leaves(eqx.filter(bijection, eqx.is_array))
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)
    context, u = context_of(bijection, "float32"), points("float32")[: N - 4]
    with jax.numpy_dtype_promotion("strict"):
        z, log_det = quick(jax.vmap(lambda u: bijection.forward(u, context)))(u)
        back, log_det_back = quick(jax.vmap(lambda z: bijection.inverse(z, context)))(z)
    assert {x.dtype.name for x in (z, log_det, back, log_det_back)} == {"float32"}
    np.testing.assert_allclose(back, u, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(log_det_back, -log_det, rtol=2e-3, atol=2e-3)


def mass(bijection: AbstractBijection, dim: int, limit: float, n: int) -> float:
    """The integral of the density of T(u), u ~ N(0, I), by the midpoint rule (n points a side of a cube)."""
    context = context_of(bijection, scale=0.5)
    middles = limit * (2 * (np.arange(n) + 0.5) / n - 1)
    grid = jnp.asarray(np.stack(np.meshgrid(*[middles] * dim), axis=-1).reshape(-1, dim))

    @eqx.filter_jit
    def total(bijection, grid):
        u, log_det = jax.vmap(lambda z: bijection.inverse(z, context))(grid)
        return jnp.sum(jnp.exp(jnp.sum(norm.logpdf(u), axis=1) + log_det))

    return float(total(bijection, grid)) * (2 * limit / n) ** dim


@each_case
def test_densities_integrate_to_one(case: Case) -> None:
    if case.smallest <= 1:
        assert mass(randomised(lambda: case.build(1, "float64"), 0.5), 1, 30.0, 60_000) == pytest.approx(1, abs=1e-3)
    assert mass(randomised(lambda: case.build(2, "float64"), 0.25), 2, 8.0, 400) == pytest.approx(1, abs=1e-3)


# Transformers


@pytest.mark.parametrize("transformer", [Affine(), SPLINE, RationalQuadraticSpline(1), RationalQuadraticSpline(8, 0.5)])
def test_transformers_are_increasing_and_undone(transformer) -> None:
    u = jnp.asarray(np.linspace(-7, 7, 2001))
    forward, inverse = quick(transformer.forward), quick(transformer.inverse)
    for scale in (0.0, 1.0, 5.0):
        row = scale * np.random.default_rng(0).normal(size=transformer.n_parameters)
        raw = jnp.asarray(np.broadcast_to(row, (u.size, row.size)))
        z, slope = forward(u, raw)
        back, slope_back = inverse(z, raw)
        assert np.all(np.diff(z) > 0)
        np.testing.assert_allclose(back, u, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(slope_back, -slope, rtol=1e-7, atol=1e-7)
        if scale == 0:
            np.testing.assert_allclose(z, u, rtol=1e-13, atol=1e-13)
            np.testing.assert_allclose(slope, 0, atol=1e-13)


def test_affine_is_affine_with_a_bounded_scale() -> None:
    raw = jnp.array([[0.3, -2.0], [1e3, 1.0], [-1e3, 0.0]])
    z, s = Affine().forward(jnp.array([1.5, 1.0, 1.0]), raw)
    np.testing.assert_allclose(s, [3 * np.tanh(0.1), 3, -3])
    np.testing.assert_allclose(z, np.exp(s) * [1.5, 1, 1] + [-2, 1, 0])


def test_spline_passes_through_its_knots() -> None:
    """Softmax widths and heights, softplus slopes, by numpy; between two knots, equation 4 of Durkan et al. (2019)."""
    raw = np.random.default_rng(0).normal(size=SPLINE.n_parameters)
    n, limit = SPLINE.n_bins, SPLINE.limit

    def edges(part):
        part = 1e-3 + (1 - n * 1e-3) * np.exp(part) / np.exp(part).sum()
        return limit * (2 * np.concatenate([[0], np.cumsum(part)]) - 1)

    x, y = edges(raw[:n]), edges(raw[n : 2 * n])
    slopes = np.concatenate([[1], 1e-3 + np.log1p(np.exp(raw[2 * n :]) * np.expm1(1 - 1e-3)), [1]])
    rows = jnp.asarray(np.broadcast_to(raw, (n + 1, raw.size)))
    z, log_slope = quick(SPLINE.forward)(jnp.asarray(x), rows)
    np.testing.assert_allclose(z, y, atol=1e-12)
    np.testing.assert_allclose(np.exp(log_slope), slopes, rtol=1e-10)
    xi, s, d = 0.3, np.diff(y) / np.diff(x), slopes
    z, _ = quick(SPLINE.forward)(jnp.asarray(x[:-1] + xi * np.diff(x)), jnp.asarray(np.asarray(rows)[:-1]))
    below = s + (d[1:] + d[:-1] - 2 * s) * xi * (1 - xi)
    np.testing.assert_allclose(z, y[:-1] + np.diff(y) * (s * xi**2 + d[:-1] * xi * (1 - xi)) / below, atol=1e-12)


def test_spline_is_the_identity_outside() -> None:
    u = jnp.array([-1e30, -2.1, -2.0, 2.0, 2.1, 1e30])
    raw = jax.random.normal(KEY, (6, SPLINE.n_parameters))
    for way in (SPLINE.forward, SPLINE.inverse):

        def total(u, raw, way=way):
            z, log_slope = way(u, raw)
            return jnp.sum(z) + jnp.sum(log_slope), (z, log_slope)

        gradient, (z, log_slope) = quick(jax.grad(total, (0, 1), has_aux=True))(u, raw)
        np.testing.assert_array_equal(z, u)
        np.testing.assert_array_equal(log_slope, 0)
        np.testing.assert_array_equal(gradient[0], 1)
        np.testing.assert_array_equal(gradient[1], 0)


# Planar


def test_planar_is_that_of_the_paper_and_inverts_where_the_paper_needs_the_constraint() -> None:
    layer = Planar(2)
    context = jnp.array([0.9, 0.2, 0.5, -0.3, 0.4])
    v, w, b = np.array([0.9, 0.2]), np.array([0.5, -0.3]) + 0.5**0.5, 0.4
    u = np.array([0.3, -1.1])
    wv = 0.999 * (np.log1p(np.exp(w @ v) * (np.e - 1)) - 1)
    v = v + (wv - w @ v) * w / (w @ w)
    z, log_det = layer.forward(jnp.asarray(u), context)
    np.testing.assert_allclose(z, u + v * np.tanh(w @ u + b))
    np.testing.assert_allclose(log_det, np.log(abs(1 + (1 - np.tanh(w @ u + b) ** 2) * w @ v)))
    for strength in (-30.0, -3.0, 3.0, 300.0):  # w'v far below -1 before the constraint
        steep = jnp.array([strength, strength, 1.0, 1.0, 0.1])
        z, log_det = layer.forward(jnp.asarray(u), steep)
        back, log_det_back = layer.inverse(z, steep)
        np.testing.assert_allclose(back, u, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-8, atol=1e-8)


def test_planar_without_a_direction_is_finite() -> None:
    context = jnp.array([1.0, 2.0, -(0.5**0.5), -(0.5**0.5), 0.0])
    gradient = quick(jax.jacrev(lambda c: Planar(2).forward(jnp.ones(2), c)))(context)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in gradient)


def test_second_derivatives_of_the_planar_inverse() -> None:
    """H of T^-1 from that of T: the Newton steps carry more than the first order."""
    layer, u = Planar(1), jnp.array([0.3])
    context = context_of(layer)
    z = layer.forward(u, context)[0]

    def there(u):
        return layer.forward(u[None], context)[0][0]

    def back(z):
        return layer.inverse(z[None], context)[0][0]

    slope, bend = quick(jax.grad(there))(u[0]), quick(jax.grad(jax.grad(there)))(u[0])
    np.testing.assert_allclose(quick(jax.grad(jax.grad(back)))(z[0]), -bend / slope**3, rtol=1e-8)


# The masked network

ORDERS = [None, (2, 0, 3, 1)]


@pytest.mark.parametrize(
    ("order", "hidden_sizes", "n_context"),
    [(None, (), 2), (None, (3,), 0), (None, (16, 9), 2), (ORDERS[1], (2, 16), 2), (ORDERS[1], (16, 9), 0)],
)
def test_rows_depend_on_the_inputs_before_them(order, hidden_sizes, n_context) -> None:
    network = randomised(lambda: MaskedMLP(4, n_context, hidden_sizes, 3, order=order, key=KEY))
    both = quick(jax.jacrev(network, argnums=(0, 1)))(jnp.arange(4.0), jnp.ones(n_context))
    jacobian, by_context = (np.asarray(j) for j in both)
    place = np.argsort(order or range(4))
    before = place[None, :] < place[:, None]
    seen = np.all(jacobian != 0, axis=1)
    assert not np.any(np.any(jacobian != 0, axis=1) & ~before)
    if min(hidden_sizes, default=4) >= 4:  # enough units for every place
        np.testing.assert_array_equal(seen, before)
        assert np.all(by_context != 0)


def test_masked_network_with_one_input_sees_the_context_alone() -> None:
    network = randomised(lambda: MaskedMLP(1, 2, (5,), 2, key=KEY))
    by_x, by_context = quick(jax.jacrev(network, argnums=(0, 1)))(jnp.ones(1), jnp.ones(2))
    assert not by_x.any()
    assert bool(jnp.all(by_context != 0))
    assert MaskedMLP(1, 0, (5,), 2, key=KEY)(jnp.ones(1), jnp.zeros(0)).shape == (1, 2)


def test_masks_are_not_trained() -> None:
    network = randomised(lambda: MaskedMLP(4, 2, (7,), 3, key=KEY))
    trained = eqx.filter(network, eqx.is_inexact_array)
    assert [leaf.shape for leaf in jax.tree.leaves(trained)] == [(6, 7), (7,), (7, 12), (12,)]
    assert len(jax.tree.leaves(network)) == 4
    gradient = quick(jax.grad(lambda n: jnp.sum(n(jnp.ones(4), jnp.ones(2)) ** 2)))(network)
    np.testing.assert_array_equal(gradient.layers[0].weight[3], 0)  # the last input comes before no other
    assert bool(jnp.any(gradient.layers[0].weight[:3] != 0))


@pytest.mark.parametrize("order", ORDERS, ids=["natural", "shuffled"])
def test_masked_network_is_an_exact_likelihood(order) -> None:
    """The probabilities of all 2^4 binary vectors add up to one."""
    network = randomised(lambda: MaskedMLP(4, 0, (16,), 1, order=order, key=KEY))
    every = jnp.asarray(np.indices((2,) * 4).reshape(4, -1).T, jnp.float64)
    logits = jax.vmap(lambda x: network(x, jnp.zeros(0))[:, 0])(every)
    log_prob = jnp.sum(every * logits - jax.nn.softplus(logits), axis=1)
    assert float(jnp.exp(log_prob).sum()) == pytest.approx(1, abs=1e-12)
    assert float(log_prob.std()) > 0.1


def test_masked_units_start_with_unit_variance() -> None:
    weight = np.asarray(MaskedMLP(40, 0, (2000,), 1, key=KEY).layers[0].weight)
    by_degree = np.sum(weight**2, axis=0)[:1989].reshape(39, -1).mean(axis=1)
    np.testing.assert_allclose(by_degree, 1, atol=5 * (2 / 51) ** 0.5)


# Structure


@pytest.mark.parametrize("inverted", [False, True])
def test_autoregressive_layers_are_triangular(inverted: bool) -> None:
    network = randomised(lambda: MaskedMLP(3, 0, (8,), 2, order=(1, 2, 0), key=KEY))
    layer = Autoregressive(network, Affine())
    bijection = Inverted(layer) if inverted else layer
    jacobian = np.asarray(quick(jax.jacrev(lambda u: bijection.forward(u, jnp.zeros(0))[0]))(jnp.ones(3)))
    place = np.array([2, 0, 1])
    np.testing.assert_array_equal(jacobian != 0, place[None, :] <= place[:, None])


@pytest.mark.parametrize("flip", [False, True])
def test_coupling_keeps_one_half(flip: bool) -> None:
    layer = randomised(lambda: coupling(5, 1, (8,), Affine(), flip, key=KEY))
    u = jnp.arange(5.0)
    z, _ = layer.forward(u, jnp.ones(1))
    moved = np.arange(5) % 2 == (0 if flip else 1)
    np.testing.assert_array_equal(z != u, moved)


def test_context_is_shared_or_split() -> None:
    assert planar_flow(3, 4).context_size == 4 * 7
    assert coupling_flow(3, 5, n_layers=2, hidden_sizes=(), transformer=SPLINE, key=KEY).context_size == 5
    assert Chain(()).context_size == 0
    context = jax.random.normal(KEY, (6,))
    u = jnp.array([0.7])
    first = Planar(1).forward(u, context[:3])
    second = Planar(1).forward(first[0], context[3:])
    z, log_det = planar_flow(1, 2).forward(u, context)
    np.testing.assert_allclose(z, second[0])
    np.testing.assert_allclose(log_det, first[1] + second[1])


REFUSED = {
    "coupling of one": (lambda: coupling(1, 0, (4,), Affine(), key=KEY), "dimension of at least 2; got 1"),
    "flow of one": (
        lambda: coupling_flow(1, 0, n_layers=2, hidden_sizes=(), transformer=Affine(), key=KEY),
        "dimension of at least 2; got 1",
    ),
    "no layers": (lambda: planar_flow(2, 0), "n_layers must be at least 1; got 0"),
    "masked order": (lambda: MaskedMLP(3, 0, (), 1, order=(0, 1), key=KEY), "order must hold"),
    "activation": (lambda: MaskedMLP(3, 0, (), 1, activation="sin", key=KEY), "activation must be one of"),
    "bins": (lambda: RationalQuadraticSpline(0), "n_bins must be from 1 to 999; got 0"),
    "limit": (lambda: RationalQuadraticSpline(8, -1.0), "limit must be positive"),
    "contexts": (lambda: Chain((Planar(2), Planar(3))), r"equally many numbers of it; got \[5, 7\]"),
    "outputs": (lambda: Autoregressive(MaskedMLP(3, 0, (), 1, key=KEY), Affine()), "n_outputs must be 2"),
    "network": (
        lambda: Coupling(MLP(2, 3, (), key=KEY), Affine(), 3, 0).forward(jnp.zeros(3), jnp.zeros(0)),
        r"must return 2 numbers \(2 for each moved dimension\); it returned an array of shape \(3,\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(name: str) -> None:
    build, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        build()
