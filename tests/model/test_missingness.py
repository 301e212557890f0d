"""Missing not at random: log p(x_obs, s) and imputations against numerical integration, and what must not matter."""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import expit

from tightbound.evidence import importance_evidence
from tightbound.learn import Amortised, Dataset, ImportanceWeighted, Optimiser, Pair, TrainingConfig, draw, fit
from tightbound.model import (
    MLP,
    CategoricalLikelihood,
    ColumnsHead,
    Decoder,
    DiagonalGaussianFamily,
    Encoder,
    FixedScaleGaussianHead,
    GaussianLikelihood,
    GenerativeModel,
    StandardGaussian,
    StudentTLikelihood,
)
from tightbound.model.families import inverse_positive
from tightbound.model.likelihoods.missingness import (
    AbstractMechanism,
    NoiseOfMissing,
    Selected,
    SelectedHead,
    logistic,
    selected_decoder,
    selected_encoder,
    self_masking,
    with_strength,
)
from tightbound.model.networks.inputs import CentredInputs
from tightbound.tasks import conditional_draws

LOADINGS = np.array([0.9, 1.2])
MEAN = np.array([0.3, -0.5])
SCALE = np.array([0.6, 0.4])
COVARIANCE = np.outer(LOADINGS, LOADINGS) + np.diag(SCALE**2)
TABLE = np.array([[0.0, -1.0], [1.0, 0.5], [-0.4, 2.0], [2.0, 0.0]])
SEEN = np.array([[True, True], [False, True], [True, False], [True, True]])
SELF = self_masking(TABLE, SEEN, sign=1, strength=1.7)
LOW = self_masking(TABLE, SEEN, sign=-1, columns=[1])
LINEAR = logistic(TABLE, SEEN, weight=np.array([[0.4, -1.1], [1.5, 0.7]]), intercept=[0.8, -0.3], learned=False)
MECHANISMS = {"self": SELF, "low": LOW, "linear": LINEAR}
PATTERNS = [np.array(s) for s in itertools.product([True, False], repeat=2)]
ROW = np.array([0.7, 0.2])


@pytest.mark.parametrize("factor", [0.0, 0.5, 3.0])
def test_a_scaled_mechanism_has_scaled_log_odds(factor: float) -> None:
    """Intercept and slopes alike: 0 makes missingness random, with even chances."""
    for mechanism in MECHANISMS.values():
        scaled = mechanism.scaled(factor).log_odds(jnp.array(ROW))
        np.testing.assert_allclose(scaled, factor * mechanism.log_odds(jnp.array(ROW)), atol=1e-12)
        assert np.abs(mechanism.log_odds(jnp.array(ROW))).min() > 0.05


def linear_network() -> MLP:
    network = MLP(1, 2, (), key=jax.random.key(0))
    last = (jnp.array(LOADINGS[None]), jnp.array(MEAN))
    return eqx.tree_at(lambda a: (a.layers[-1].weight, a.layers[-1].bias), network, last)


def gaussian_decoder() -> Decoder:
    floor = jnp.full(2, 0.01)
    return Decoder(linear_network(), FixedScaleGaussianHead(inverse_positive(jnp.array(SCALE) - floor), floor), 1)


def pair(mechanism: AbstractMechanism, decoder: Decoder | None = None) -> Pair:
    """The linear-Gaussian model with this mechanism, and an encoder that has learnt nothing."""

    def make(i: int, o: int, *, key: jax.Array) -> MLP:
        return MLP(i, o, (), key=key)

    n = 1 + len(mechanism.reads)
    q = selected_encoder(make, CentredInputs(jnp.zeros(2), True), 1, mechanism, key=jax.random.key(1))
    q = eqx.tree_at(lambda a: a.network, q, replace_fn=lambda network: jax.tree.map(lambda a: 0.1 * a, network))
    p = GenerativeModel(StandardGaussian(n), selected_decoder(decoder or gaussian_decoder(), mechanism))
    return Pair(p, Amortised(q))


@dataclass(frozen=True)
class Truth:
    """log p(x_obs, s), and E[x | x_obs, s] of the missing cells (x_obs elsewhere)."""

    log_evidence: float
    mean: np.ndarray


def truth(mechanism: AbstractMechanism, observed: np.ndarray, x: np.ndarray = ROW) -> Truth:
    """By integration over the missing cells, with the mechanism written out again in NumPy."""
    values = np.linspace(-9, 9, 1201)
    axes = [np.array([x[j]]) if observed[j] else values for j in range(2)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    density = stats.multivariate_normal(MEAN, COVARIANCE).pdf(grid).reshape(grid.shape[:-1])
    for j, log_odds in odds(mechanism, grid).items():
        density = density * expit(log_odds if observed[j] else -log_odds)
    total = integrate_all(density, axes)
    return Truth(
        float(np.log(total)), np.array([integrate_all(density * grid[..., j], axes) for j in range(2)]) / total
    )


def odds(mechanism: AbstractMechanism, grid: np.ndarray) -> dict[int, np.ndarray]:
    center, scale = np.asarray(mechanism.center), np.asarray(mechanism.scale)
    if mechanism is LINEAR:
        standard = (grid - center) / scale
        return {0: 0.8 - standard @ [0.4, -1.1], 1: -0.3 - standard @ [1.5, 0.7]}
    strength = {id(SELF): 1.7, id(LOW): -1.0}[id(mechanism)]
    return {
        j: float(mechanism.intercept[i]) - strength * (grid[..., j] - center[i]) / scale[i]
        for i, j in enumerate(mechanism.columns)
    }


def integrate_all(f: np.ndarray, axes: list[np.ndarray]) -> float:
    for axis in reversed(axes):
        f = f[..., 0] if len(axis) == 1 else integrate.simpson(f, x=axis, axis=-1)
    return float(f)


def test_the_truth_is_a_density() -> None:
    """All patterns together have probability 1."""
    values = np.linspace(-7, 7, 57)
    total = np.exp(truth(SELF, np.array([False, False])).log_evidence)
    for j in range(2):
        seen = np.arange(2) == j
        rows = [np.where(seen, v, 0.0) for v in values]
        total += integrate.simpson([np.exp(truth(SELF, seen, r).log_evidence) for r in rows], x=values)
    grid = [
        [np.exp(truth(SELF, np.array([True, True]), np.array([a, b])).log_evidence) for b in values] for a in values
    ]
    assert total + integrate.simpson(integrate.simpson(grid, x=values), x=values) == pytest.approx(1, abs=1e-4)


class Filled(NamedTuple):
    """E[x | x_obs, s] of n rows, the standard deviation of that posterior without the cells' own noise, and ess."""

    mean: np.ndarray
    scale: np.ndarray
    ess: np.ndarray


def filled_in(both: Pair, x: np.ndarray, seen: np.ndarray, n_samples: int, key: int = 3) -> Filled:
    found = conditional_draws(both, x, seen, n_draws=4000, n_samples=n_samples, key=jax.random.key(key))
    variance = found.values.var(axis=1)
    # A column that the mechanism does not read keeps its noise given z, which is averaged out exactly in a mean.
    unread = ~seen & ~np.isin(np.arange(x.shape[1]), both.p.decoder.head.mechanism.reads)
    return Filled(
        found.mean, np.where(seen, 0, np.sqrt(np.maximum(variance - np.where(unread, SCALE**2, 0), 0))), found.ess
    )


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("observed", PATTERNS, ids=str)
def test_evidence_is_that_of_the_observed_cells_and_the_pattern(name: str, observed: np.ndarray) -> None:
    if name == "low" and not observed[0]:
        pytest.skip("a column outside the mechanism that is missing is integrated out: tested below")
    both, mechanism = pair(MECHANISMS[name]), MECHANISMS[name]
    x = np.where(observed, ROW, np.nan)[None]
    found = importance_evidence(both.p, both.q, x, observed[None], n_samples=20_000, key=jax.random.key(3))
    expected = truth(mechanism, observed)
    assert found.standard_error[0] < 0.03
    assert abs(found.log_evidence[0] - expected.log_evidence) < 4.5 * found.standard_error[0]
    filled = filled_in(both, x, observed[None], 20_000)
    error = np.where(observed, 1e-12, filled.scale[0] / np.sqrt(filled.ess[0]))
    assert (np.abs(filled.mean[0] - expected.mean) < 4.5 * error).all()


def test_a_missing_cell_outside_the_mechanism_is_integrated_out() -> None:
    both = pair(LOW)
    x = np.where([False, True], ROW, np.nan)[None]
    seen = np.array([[False, True]])
    found = importance_evidence(both.p, both.q, x, seen, n_samples=20_000, key=jax.random.key(3))
    log_odds = float(odds(LOW, ROW)[1])
    expected = stats.norm(MEAN[1], COVARIANCE[1, 1] ** 0.5).logpdf(ROW[1]) + np.log(expit(log_odds))
    assert abs(found.log_evidence[0] - expected) < 4.5 * found.standard_error[0]
    filled = filled_in(both, x, seen, 20_000)
    given = MEAN[0] + COVARIANCE[0, 1] / COVARIANCE[1, 1] * (ROW[1] - MEAN[1])
    assert abs(filled.mean[0, 0] - given) < 4.5 * filled.scale[0, 0] / np.sqrt(filled.ess[0])


def test_a_gaussian_column_beside_a_categorical_one() -> None:
    """p(x_0 missing, level) by quadrature over z and the cell's noise."""
    head = ColumnsHead([GaussianLikelihood(0.01), CategoricalLikelihood(3)])
    network = MLP(1, head.n_inputs, (), key=jax.random.key(4))
    mechanism = self_masking(np.array([[1.0], [3.0]]), np.array([[True], [False]]), columns=[0], sign=1, strength=2.0)
    both = pair(mechanism, Decoder(network, head, 1))
    x, seen = np.array([[np.nan, 2.0]]), np.array([[False, True]])
    found = importance_evidence(both.p, both.q, x, seen, n_samples=20_000, key=jax.random.key(5))
    z = np.linspace(-8, 8, 401)
    raw = np.asarray(jax.vmap(network)(jnp.array(z)[:, None]))  # two locations first, then the scale
    loc, scale = raw[:, 0], 0.01 + np.logaddexp(0, raw[:, 2] + np.log(np.expm1(1)))
    value = loc[:, None] + scale[:, None] * z
    missing = expit(2.0 * (value - 1.0) - float(mechanism.intercept[0]))  # one value, 1: its scale is 1
    cells = jax.vmap(lambda r: head(r).log_prob(jnp.array([0.0, 2.0]), jnp.array([False, True])))(jnp.array(raw))
    inner = integrate.simpson(missing * stats.norm.pdf(z), x=z)
    expected = np.log(integrate.simpson(inner * np.exp(np.asarray(cells)) * stats.norm.pdf(z), x=z))
    assert abs(found.log_evidence[0] - expected) < 4.5 * found.standard_error[0]


@pytest.mark.parametrize("name", MECHANISMS)
def test_what_stands_in_a_missing_cell_changes_no_bit(name: str) -> None:
    both, objective = pair(MECHANISMS[name]), ImportanceWeighted(5)
    observed = jnp.array([True, False])

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def bound(both: Pair, x: jax.Array) -> jax.Array:
        q = both.q(both.p, x, observed, key=jax.random.key(0))
        return objective.value(draw(both.p, q, x, observed, n_samples=5, key=jax.random.key(1)))

    results = [bound(both, jnp.array([0.7, filler])) for filler in (0.0, -3.0, jnp.inf, jnp.nan)]
    leaves = [jax.tree.leaves(eqx.filter(each, eqx.is_array)) for each in results]
    assert all(np.isfinite(leaf).all() for leaf in leaves[0])
    assert all((a == b).all() for other in leaves[1:] for a, b in zip(leaves[0], other, strict=True))
    gradient = results[0][1].p.decoder.head.mechanism
    learnt = [gradient.intercept, gradient.weight if name == "linear" else gradient.raw]
    assert all(bool((leaf != 0).any()) == (name != "linear") for leaf in learnt)
    assert all((leaf == 0).all() for leaf in (gradient.center, gradient.scale, gradient.factor))


@pytest.mark.parametrize("name", MECHANISMS)
def test_masks_follow_the_log_odds(name: str) -> None:
    mechanism, n = MECHANISMS[name], 20_000
    masks = jax.vmap(lambda k: mechanism.sample(jnp.array(ROW), key=k))(jax.random.split(jax.random.key(0), n))
    expected = {0: 1.0, 1: 1.0} | {j: float(expit(v)) for j, v in odds(mechanism, ROW).items()}
    for j, share in enumerate(np.asarray(masks).mean(axis=0)):
        assert abs(share - expected[j]) <= 4.5 * np.sqrt(expected[j] * (1 - expected[j]) / n)
    log_p = sum(np.log(expected[j]) for j in range(2))
    assert float(mechanism.log_prob(jnp.array(ROW))) == pytest.approx(log_p)


def test_strength_and_threshold_say_what_the_log_odds_are() -> None:
    for mechanism in (SELF, SELF.scaled(0.5), SELF.scaled(3.0), LOW):
        at = jnp.zeros(2).at[np.array(mechanism.columns)].set(mechanism.threshold)
        assert np.allclose(mechanism.log_odds(at), 0, atol=1e-12)
        spread = jnp.zeros(2).at[np.array(mechanism.columns)].set(mechanism.scale)
        assert np.allclose(mechanism.log_odds(at) - mechanism.log_odds(at + spread), mechanism.strength)
    assert np.allclose(SELF.scaled(3.0).threshold, SELF.threshold)
    assert np.allclose(SELF.log_odds(jnp.array(ROW)), [float(v) for v in odds(SELF, ROW).values()])


def test_the_noise_of_an_observed_cell_keeps_its_prior() -> None:
    network = MLP(4, 6, (5,), key=jax.random.key(8))
    encoder = Encoder(NoiseOfMissing(network, (0, 1), 2), DiagonalGaussianFamily(3), CentredInputs(jnp.zeros(2), True))
    q = encoder(jnp.array(ROW), jnp.array([True, False]))
    assert q.loc[1] == 0 and q.scale[1] == pytest.approx(1)
    assert q.loc[2] != 0 and q.loc[0] != 0


def test_a_row_before_any_cell_is_lost_is_the_bases() -> None:
    z = jnp.array([0.4, 1.0, -2.0])
    cells, base = pair(SELF).p.decoder(z), gaussian_decoder()(z[:1])
    assert isinstance(cells, Selected)
    assert (cells.mean == base.mean).all() and (cells.variance == base.variance).all()
    assert (cells.sample(key=jax.random.key(0)) == base.sample(key=jax.random.key(0))).all()
    filled = cells.completed(jnp.array([9.0, jnp.nan]), jnp.array([True, False]))
    assert np.allclose(filled, [9.0, base.mean[1] - 2 * SCALE[1]])


@pytest.mark.parametrize("mixed", [False, True])
def test_given_its_noise_a_cell_that_is_read_is_fixed(mixed: bool) -> None:
    """And one that is not keeps its distribution."""
    base = gaussian_decoder()(jnp.array([0.4]))
    if mixed:
        head = ColumnsHead([GaussianLikelihood(0.01), GaussianLikelihood(0.02)])
        base = head(jnp.concatenate([base.mean, inverse_positive(jnp.array(SCALE) - jnp.array([0.01, 0.02]))]))
    cells = Selected(base, jnp.array([-2.0]), LOW)
    rest = cells.given_noise()
    assert np.allclose(base.variance, SCALE**2)
    assert np.allclose(rest.mean, [base.mean[0], base.mean[1] - 2 * SCALE[1]])
    assert np.allclose(rest.variance, [SCALE[0] ** 2, 0])
    drawn = rest.sample(key=jax.random.key(0))
    assert drawn[1] == rest.mean[1] and drawn[0] != rest.mean[0]


def test_sensitivity_runs_from_missing_at_random_to_sharper() -> None:
    both = pair(SELF)
    x, seen = np.where([True, False], ROW, np.nan)[None], np.array([[True, False]])
    factors = (0.0, 0.5, 1.0, 2.0)
    found = {f: filled_in(Pair(with_strength(both.p, f), both.q), x, seen, 20_000, 6) for f in factors}
    at_random = MEAN[1] + COVARIANCE[0, 1] / COVARIANCE[0, 0] * (ROW[0] - MEAN[0])
    error = found[0.0].scale[0, 1] / np.sqrt(found[0.0].ess[0])
    assert abs(found[0.0].mean[0, 1] - at_random) < 4.5 * error
    same = filled_in(both, x, seen, 20_000, 6)
    assert (found[1.0].mean == same.mean).all()
    means = [each.mean[0, 1] for each in found.values()]
    assert means == sorted(means) and means[-1] > means[0] + 0.1
    assert all(each.mean[0, 0] == ROW[0] and each.scale[0, 0] == 0 for each in found.values())


def test_rows_are_imputed_one_by_one() -> None:
    """Chunks and neighbours change no bit."""
    both, rng = pair(SELF), np.random.default_rng(0)
    x, seen = rng.normal(size=(20, 2)), rng.random((20, 2)) < 0.6
    together = filled_in(both, x, seen, 20, 6)
    alone = filled_in(both, x[17:18], seen[17:18], 20, 6)
    assert (together.mean[17] == alone.mean[0]).all()
    assert (together.mean[seen] == x[seen]).all()


def fitted_bias(learned: bool, rows: np.ndarray, seen: np.ndarray) -> float:
    """Mean error, in the column's standard deviations, of imputations after learning with a mechanism or without."""
    strength = None if learned else 1e-6
    mechanism = self_masking(rows, seen, sign=1, strength=strength, learned=learned, columns=[1])
    start = pair(mechanism)
    steps = 300
    recipe = TrainingConfig(
        Optimiser(0.03, steps, warmup_steps=20), objective=ImportanceWeighted(10), batch_size=50, dtype="float64"
    )
    data = Dataset(jnp.array(np.where(seen, rows, 0)), jnp.array(seen))
    done = fit(start, data, None, recipe, epochs=steps // -(-len(rows) // 50), key=jax.random.key(2)).pair
    filled = filled_in(done, rows, seen, 100)
    return float(np.mean((filled.mean - rows)[~seen[:, 1], 1]) / rows[:, 1].std())


def test_learning_the_mechanism_takes_most_of_the_bias_away() -> None:
    rng = np.random.default_rng(5)
    rows = rng.multivariate_normal(MEAN, np.array([[1.0, 0.6], [0.6, 1.0]]), size=200)
    seen = np.ones(rows.shape, bool)
    seen[:, 1] = rng.random(200) < expit(-5 * (rows[:, 1] - MEAN[1]))
    ignoring, learning = (fitted_bias(learned, rows, seen) for learned in (False, True))
    assert ignoring < -0.5
    assert abs(learning) < 0.5 * abs(ignoring)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="sign must be"):
        self_masking(TABLE, SEEN, sign=2)
    with pytest.raises(ValueError, match="strength must have the sign"):
        self_masking(TABLE, SEEN, sign=1, strength=-1.0)
    with pytest.raises(ValueError, match="a column with a missing cell"):
        self_masking(TABLE, np.ones_like(SEEN))
    with pytest.raises(ValueError, match="weight must have the shape"):
        logistic(TABLE, SEEN, weight=np.ones((2, 3)))
    with pytest.raises(ValueError, match="must name columns between 0 and 1"):
        selected_decoder(
            gaussian_decoder(), self_masking(np.tile(TABLE, (1, 2)), np.tile(SEEN, (1, 2)), columns=[0, 3])
        )
    for cells in (CategoricalLikelihood(3), StudentTLikelihood()):
        with pytest.raises(ValueError, match="Gaussian given z"):
            SelectedHead(ColumnsHead([GaussianLikelihood(), cells]), LOW)
    without = GenerativeModel(StandardGaussian(1), gaussian_decoder())
    with pytest.raises(ValueError, match="must have a missingness mechanism"):
        with_strength(without, 1.0)
