"""Rows of mixed columns, and bags of words."""

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from tightbound.model import (
    MLP,
    AbstractColumnLikelihood,
    BernoulliLikelihood,
    BetaLikelihood,
    CategoricalLikelihood,
    ColumnsHead,
    ColumnSpecification,
    CumulativeLogitLikelihood,
    Decoder,
    DirichletMultinomial,
    DirichletMultinomialHead,
    GammaLikelihood,
    GaussianLikelihood,
    Multinomial,
    MultinomialHead,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    ProductOfColumns,
    Specification,
    SpikeAndSlabLikelihood,
    Start,
    build,
    columns_head,
)
from tightbound.model.networks.dense import PartlyConstant

RNG = np.random.default_rng(6)
KEY = jax.random.key(2)
N = 4000

CELLS: tuple[AbstractColumnLikelihood, ...] = (
    GaussianLikelihood(0.1),
    PoissonLikelihood(),
    CategoricalLikelihood(3),
    GaussianLikelihood(0.5),
    BernoulliLikelihood(),
    BetaLikelihood(-1.0, 150.0),
    CategoricalLikelihood(4),
    SpikeAndSlabLikelihood(GammaLikelihood(), [0.0]),
    PoissonLikelihood(),
    BetaLikelihood(-3.0, -2.5),
    CumulativeLogitLikelihood(3),
)
ROW = np.array([0.3, 2.0, 1.0, -0.8, 1.0, 130.0, 3.0, 0.0, 0.0, -2.7, 2.0])
DIM = len(CELLS)
HEAD = ColumnsHead(CELLS)
H = jnp.array(RNG.normal(size=HEAD.n_inputs))


def own_numbers(h: Any) -> list[Any]:
    """Every column's numbers by the stated layout: all first ones, then the others column by column."""
    found, at = [], DIM
    for j, cells in enumerate(CELLS):
        found.append(jnp.concatenate([h[j : j + 1], h[at : at + cells.n_outputs - 1]]))
        at += cells.n_outputs - 1
    assert at == len(h) == HEAD.n_inputs
    return found


@eqx.filter_jit
def row(head: ColumnsHead, h: jax.Array, x: jax.Array) -> Any:
    p = head(h)
    return p.log_probs(x), p.cdf(x), p.mean, p.variance


@eqx.filter_jit
def log_prob(head: ColumnsHead, h: jax.Array, x: jax.Array, observed: jax.Array) -> jax.Array:
    return head(h).log_prob(x, observed)


def test_columns_that_differ_in_numbers_alone_are_one_group() -> None:
    assert HEAD.places == ((0, 3), (1, 8), (2, 6), (4,), (5, 9), (7,), (10,))
    assert HEAD.dim == DIM and HEAD.n_inputs == sum(c.n_outputs for c in CELLS)
    for one, other in zip(HEAD.likelihoods(), CELLS, strict=True):
        assert eqx.tree_equal(one, other)


def test_every_column_is_its_own_cells() -> None:
    @jax.jit
    def apart(h: jax.Array, x: jax.Array) -> Any:
        each = list(zip(CELLS, own_numbers(h), x, strict=True))
        terms = [c.log_prob(v, r) for c, r, v in each]
        return (
            jnp.stack(terms),
            jnp.stack([c.mean(r) for c, r, _ in each]),
            jnp.stack([c.variance(r) for c, r, _ in each]),
        )

    log_p, cdf, mean, variance = row(HEAD, H, jnp.array(ROW))
    for found, expected in zip((log_p, mean, variance), apart(H, jnp.array(ROW)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    counts, yes_or_no, numbers, shares = [1, 8], 4, [0, 3], [5, 9]
    np.testing.assert_allclose(cdf[np.array(counts)], stats.poisson(mean[np.array(counts)]).cdf(ROW[counts]), rtol=1e-9)
    assert float(cdf[yes_or_no]) == 1
    z = (ROW - np.asarray(mean)) / np.sqrt(variance)
    np.testing.assert_allclose(cdf[np.array(numbers)], stats.norm.cdf(z[numbers]), rtol=1e-9)
    for j, low, width in zip(shares, (-1.0, -3.0), (151.0, 0.5), strict=True):
        m, v = (float(mean[j]) - low) / width, float(variance[j]) / width**2  # of a beta on (0, 1)
        c = m * (1 - m) / v - 1
        assert float(cdf[j]) == pytest.approx(stats.beta(m * c, (1 - m) * c, low, width).cdf(ROW[j]), rel=1e-7)


SIZES: tuple[AbstractColumnLikelihood, ...] = (
    CategoricalLikelihood(5),
    CumulativeLogitLikelihood(3),
    SpikeAndSlabLikelihood(GaussianLikelihood(0.1), [0.0]),
    CategoricalLikelihood(3),
    CumulativeLogitLikelihood(6),
    SpikeAndSlabLikelihood(GaussianLikelihood(0.2), [2.0, -1.0, 0.5]),
    CategoricalLikelihood(200),
    CumulativeLogitLikelihood(2),
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cells_of_several_sizes_in_one_group_stay_what_they_are(dtype: str) -> None:
    head = ColumnsHead(SIZES)
    assert head.places == ((0, 3), (1, 4, 7), (2, 5), (6,))  # 200 levels are too many for five to be filled up to
    for one, other in zip(head.likelihoods(), SIZES, strict=True):
        assert eqx.tree_equal(one, other)
    h = jnp.array(RNG.normal(size=head.n_inputs), dtype)
    begin = len(SIZES) + np.concatenate([[0], np.cumsum([c.n_outputs - 1 for c in SIZES])])
    own = [np.array([j, *range(begin[j], begin[j + 1])]) for j in range(len(SIZES))]

    @jax.jit
    def apart(h: jax.Array, x: jax.Array) -> Any:
        each = list(zip(SIZES, [h[at] for at in own], x, strict=True))
        return tuple(
            jnp.stack(v)
            for v in (
                [c.log_prob(v, r) for c, r, v in each],
                [c.cdf(v, r) for c, r, v in each],
                [c.mean(r) for c, r, _ in each],
                [c.variance(r) for c, r, _ in each],
            )
        )

    finite = eqx.filter_jit(lambda h, x, seen: jax.grad(lambda h: head(h).log_prob(x, seen))(h))
    alone = jax.jit(lambda h, x, seen: jax.grad(lambda h: jnp.sum(jnp.where(seen, apart(h, x)[0], 0)))(h))
    for value in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -1.0, 0.5, 1e30):
        x = jnp.full(len(SIZES), value, dtype)
        found, expected = row(head, h, x), apart(h, x)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == dtype
            np.testing.assert_allclose(one, other, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6)
        possible = jnp.isfinite(expected[0])
        slope = finite(h, x, possible)
        assert np.isfinite(slope).all()
        if value < 1e15:  # its square overflows in float32
            np.testing.assert_allclose(slope, alone(h, x, possible), rtol=1e-4, atol=1e-6)
    draws = np.asarray(
        eqx.filter_jit(lambda keys: jax.vmap(lambda k: head(h).sample(key=k))(keys))(jax.random.split(KEY, 500))
    )
    assert [draws[:, j].max() for j in (0, 1, 3, 4, 7)] == [4, 2, 2, 5, 1]
    assert set(np.unique(draws[:, 5])) >= {2.0, -1.0, 0.5} and np.abs(draws[:, [2, 5]]).max() < 100


def test_a_mask_leaves_columns_out_exactly() -> None:
    """Whatever stands in a missing cell: the value is the sum over the others, and no gradient is NaN or leaks."""
    terms = np.asarray(row(HEAD, H, jnp.array(ROW))[0])
    gradient = eqx.filter_jit(jax.value_and_grad(lambda h, x, seen: HEAD(h).log_prob(x, seen)))
    places = [np.isin(np.arange(len(H)), np.asarray(own)) for own in own_numbers(jnp.arange(len(H)))]
    for observed in [np.zeros(DIM, bool), np.ones(DIM, bool), *(RNG.random((12, DIM)) < 0.5)]:
        for anything in (np.nan, np.inf, -7.3):
            x = jnp.array(np.where(observed, ROW, anything))
            value, slope = gradient(H, x, jnp.array(observed))
            assert float(value) == pytest.approx(terms[observed].sum(), rel=1e-12, abs=1e-12)
            assert np.isfinite(slope).all()
            assert all((slope[places[j]] == 0).all() for j in np.flatnonzero(~observed))
    everything = eqx.filter_jit(lambda x: HEAD(H).log_prob(x))(jnp.array(ROW))
    assert float(everything) == pytest.approx(terms.sum(), rel=1e-12)


def test_columns_that_are_needed_are_drawn_as_ever_and_groups_of_others_not_at_all() -> None:
    row = HEAD(0.3 * jnp.asarray(RNG.normal(size=HEAD.n_inputs)))
    keys = jax.random.split(KEY, 50)
    whole = jax.vmap(lambda k: row.sample(key=k))(keys)
    needed = jnp.zeros(DIM, bool).at[jnp.array([1, 4])].set(True)
    drawn = jax.jit(jax.vmap(lambda k, n: row.sample_needed(n, key=k), in_axes=(0, None)))(keys, needed)
    together = np.isin(np.arange(DIM), [1, 4, 8])  # both Poisson columns are one group
    np.testing.assert_allclose(drawn[:, together], whole[:, together])
    assert not np.any(drawn[:, ~together]) and np.any(whole[:, 8])


def test_draws_have_the_stated_moments_in_the_order_of_the_table() -> None:
    draws = eqx.filter_jit(lambda h, keys: jax.vmap(lambda k: HEAD(h).sample(key=k))(keys))
    x = np.asarray(draws(H, jax.random.split(KEY, N)))
    assert x.shape == (N, DIM)
    *_, mean, variance = (np.asarray(v) for v in row(HEAD, H, jnp.array(ROW)))
    numeric = [j for j, c in enumerate(CELLS) if not isinstance(c, CategoricalLikelihood)]
    for values, stated in ((x, mean), ((x - mean) ** 2, variance)):
        error = values.std(axis=0) / N**0.5
        assert (np.abs(values.mean(axis=0) - stated) < 5 * error)[numeric].all()
    for j in set(range(DIM)) - set(numeric):
        shares = np.bincount(x[:, j].astype(int)) / N
        np.testing.assert_allclose(shares, special.softmax(own_numbers(H)[j]), atol=5 * 0.5 / N**0.5)
    correlation = np.corrcoef(x[:, numeric].T)
    assert np.abs(correlation[np.triu_indices(len(numeric), 1)]).max() < 6 / N**0.5  # independent columns


def test_float32_stays_float32() -> None:
    head = jax.tree.map(lambda a: a.astype("float32") if eqx.is_inexact_array(a) else a, HEAD)
    for shapes in (head, HEAD):  # whatever the precision of the constants
        outcome = eqx.filter_eval_shape(row, shapes, H.astype("float32"), jnp.array(ROW, "float32"))
        assert [(v.shape, v.dtype) for v in outcome] == 4 * [((DIM,), "float32")]


def test_a_decoder_of_columns_starts_where_it_was_told() -> None:
    """The last bias at `first` and no weights: the model begins at the moments of the observed cells."""
    table = np.stack([RNG.normal(5, 2, 500), RNG.poisson(3.0, 500), RNG.integers(0, 3, 500)], axis=1).astype(float)
    table[RNG.random(table.shape) < 0.2] = np.nan
    cells = (GaussianLikelihood(), NegativeBinomialLikelihood(), CategoricalLikelihood(3))
    head = columns_head(cells, table)
    np.testing.assert_array_equal(head.first[3:], head.spread_at_start(key=KEY))
    network = MLP(2, head.n_inputs, (), key=KEY)
    network = eqx.tree_at(
        lambda n: (n.layers[-1].weight, n.layers[-1].bias), network, (0 * network.layers[-1].weight, head.first)
    )
    p = eqx.filter_jit(Decoder(network, head, 2))(jnp.array([0.3, -2.0]))
    assert isinstance(p, ProductOfColumns) and p.dim == 3
    mean, variance = eqx.filter_jit(lambda p: (p.mean, p.variance))(p)
    np.testing.assert_allclose(mean[:2], np.nanmean(table, axis=0)[:2], rtol=1e-6)
    np.testing.assert_allclose(variance[0], np.nanvar(table[:, 0]), rtol=1e-6)
    same = columns_head(cells, np.nan_to_num(table, nan=1e9), ~np.isnan(table))
    np.testing.assert_array_equal(same.first, head.first)


def test_an_exposure_reaches_the_counts_alone() -> None:
    more = HEAD.exposed(H, jnp.log(7.0))
    *_, mean, _ = row(HEAD, H, jnp.array(ROW))
    *_, larger, _ = row(HEAD, more, jnp.array(ROW))
    np.testing.assert_allclose(larger / mean, np.where(np.isin(np.arange(DIM), [1, 8]), 7, 1), rtol=1e-9)
    assert ColumnsHead([GaussianLikelihood()]).exposed(jnp.zeros(2), jnp.ones(())).tolist() == [0, 0]


def test_what_a_cell_owns_is_data() -> None:
    """Floors, bounds and spikes have no gradient: an optimiser leaves them alone."""
    head = ColumnsHead(
        [GaussianLikelihood(), BetaLikelihood(-1.0, 2.0), SpikeAndSlabLikelihood(GaussianLikelihood(), [0.0])]
    )
    x = jnp.array([0.5, 0.3, 1.4])
    slope = eqx.filter_jit(eqx.filter_grad(lambda head: head(jnp.zeros(head.n_inputs)).log_prob(x)))(head)
    leaves = jax.tree.leaves(slope)
    assert len(leaves) == 6 and all((np.asarray(leaf) == 0).all() for leaf in leaves)


# Bags of words

P = np.array([0.2, 0.5, 0.1, 0.2])
LOGITS = jnp.log(jnp.array(P)) + 0.7
SHAPES = np.array([0.4, 2.0, 0.05, 30.0])
BAGS: dict[str, tuple[Any, Callable[[int], Any]]] = {
    "multinomial": (lambda n=None: Multinomial(LOGITS, n), lambda n: stats.multinomial(n, P)),
    "dirichlet": (
        lambda n=None: DirichletMultinomial(jnp.array(SHAPES), n),
        lambda n: stats.dirichlet_multinomial(SHAPES, n),
    ),
}
TOTAL = 5
ALL = np.array([x for x in itertools.product(range(TOTAL + 1), repeat=4) if sum(x) == TOTAL], float)
each_bag = pytest.mark.parametrize("name", BAGS)


@eqx.filter_jit
def bag_log_prob(bag: Any, x: jax.Array, observed: jax.Array | None = None) -> jax.Array:
    return jax.vmap(lambda v: bag.log_prob(v, observed))(x)


def padded(*bags: list[float]) -> jax.Array:
    """As many rows as ALL, for which a program is there."""
    return jnp.array(np.resize(np.array(bags), ALL.shape))


@each_bag
def test_bags_agree_with_scipy_and_sum_to_one(name: str) -> None:
    make, reference = BAGS[name]
    for total in (None, jnp.array(float(TOTAL))):
        found = np.asarray(bag_log_prob(make(total), jnp.array(ALL)))
        np.testing.assert_allclose(found, [reference(TOTAL).logpmf(x.astype(int)) for x in ALL], rtol=1e-9, atol=1e-10)
        assert np.exp(found).sum() == pytest.approx(1, rel=1e-12)
    expected = reference(5000).logpmf([300, 700, 0, 4000])
    assert float(bag_log_prob(make(), padded([300.0, 700.0, 0.0, 4000.0]))[0]) == pytest.approx(expected, rel=1e-9)


@each_bag
def test_illegal_bags_have_no_probability(name: str) -> None:
    make = BAGS[name][0]
    bad = padded([1.0, 2.0, 3.0, -1.0], [0.5, 0.5, 2.0, 2.0])
    assert (bag_log_prob(make(), bad) == -np.inf).all()
    assert (bag_log_prob(make(jnp.array(6.0)), jnp.array(ALL)) == -np.inf).all()  # another total
    assert float(bag_log_prob(make(), padded([0.0] * 4))[0]) == 0  # an empty bag


@each_bag
def test_missing_words_are_marginalised_given_the_total(name: str) -> None:
    """By summing over all bags; without a total, the observed words are given theirs."""
    make = BAGS[name][0]
    everything = np.exp(bag_log_prob(make(), jnp.array(ALL)))
    for observed in ([True, False, True, False], [True] * 4, [False] * 4, [False, True, True, True]):
        seen = np.array(observed)
        x = np.where(seen, ALL, np.nan)
        same = ((ALL[:, None, :] == ALL[None, :, :]) | ~seen).all(axis=2)
        marginal = same @ everything
        found = bag_log_prob(make(jnp.array(float(TOTAL))), jnp.array(x), jnp.array(seen))
        np.testing.assert_allclose(np.exp(found), marginal, rtol=1e-9)
        sums = ALL[:, seen].sum(axis=1)
        with_sum = np.array([everything[sums == s].sum() for s in sums])
        found = bag_log_prob(make(), jnp.array(x), jnp.array(seen))
        np.testing.assert_allclose(np.exp(found), marginal / with_sum, rtol=1e-9)


@each_bag
def test_bags_drawn_have_the_stated_moments(name: str) -> None:
    bag = BAGS[name][0](jnp.array(20.0))
    draw = eqx.filter_jit(lambda b, keys: jax.vmap(lambda k: b.sample(key=k))(keys))
    x = np.asarray(draw(bag, jax.random.split(KEY, N)))
    assert (x.sum(axis=1) == 20).all()
    for values, stated in ((x, bag.mean), ((x - np.asarray(bag.mean)) ** 2, bag.variance)):
        assert (np.abs(values.mean(axis=0) - stated) < 5 * values.std(axis=0) / N**0.5 + 1e-9).all()


@pytest.mark.parametrize("head", [MultinomialHead(4), DirichletMultinomialHead(4)], ids=["multinomial", "dirichlet"])
def test_heads_of_bags_have_finite_gradients_everywhere(head: Any) -> None:
    assert (head.dim, head.n_inputs) == (4, 4 + len(head.spread_at_start(key=KEY)))
    extremes = np.array([-1e4, -30.0, 0.0, 30.0, 1e4])
    h = np.concatenate([np.zeros((1, head.n_inputs)), *[v * np.eye(head.n_inputs) for v in extremes]])
    x = jnp.array([3.0, 0.0, jnp.nan, 8000.0], "float32")
    slope = eqx.filter_jit(lambda h, seen: jax.vmap(jax.value_and_grad(lambda h: head(h).log_prob(x, seen)))(h))
    for observed in ([True, True, False, True], [True, False, False, False]):
        value, gradient = slope(jnp.array(h, "float32"), jnp.array(observed))
        assert np.isfinite(value).all() and np.isfinite(gradient).all() and value.dtype == "float32"


def test_the_dirichlet_head_takes_logits_and_a_log_precision() -> None:
    bag = DirichletMultinomialHead(3)(jnp.array([0.2, -1.0, 0.5, 2.0]))
    np.testing.assert_allclose(bag.concentration, np.exp(2.0) * special.softmax([0.2, -1.0, 0.5]), rtol=1e-4)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no column": (lambda: ColumnsHead([]), "must have a column or more; got none; give the cells"),
    "a start of another length": (
        lambda: ColumnsHead([GaussianLikelihood()], jnp.zeros(3)),
        r"one number for each of the 2 .*got the shape \(3,\); make it with columns_head",
    ),
    "a table of another width": (
        lambda: columns_head([GaussianLikelihood()], np.zeros((3, 2))),
        "table with 1 columns",
    ),
    "bounded twice": (lambda: BetaLikelihood(0.0, np.inf), "must be finite, low below high"),
    "a bag without a total": (lambda: Multinomial(jnp.zeros(2)).mean, "mean of a bag of words must have its total_cou"),
    "its spread": (lambda: DirichletMultinomial(jnp.ones(2)).variance, "variance of a bag .*got None; give the number"),
    "its draws": (lambda: DirichletMultinomial(jnp.ones(2)).sample(key=KEY), "sample of a bag of words must have"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_row_is_refused_in_one_sentence(name: str) -> None:
    use, sentence = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=sentence) as refusal:
        use()
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("gaussian_alone", [False, True])
def test_a_spread_of_the_column_does_not_follow_from_z(gaussian_alone: bool) -> None:
    """Of continuous and count columns all but the location is a constant; levels and spikes follow z as before."""
    fixed = HEAD.spreads(gaussian_alone=gaussian_alone)
    decoder = MLP(2, HEAD.n_inputs, (8,), key=KEY)
    network = decoder.with_output(PartlyConstant(decoder.output, fixed))
    h = np.asarray(jax.vmap(network)(jnp.asarray(RNG.normal(size=(20, 2)))))
    own = [own_numbers(np.arange(HEAD.n_inputs))[j] for j in range(DIM)]
    with_spread = (0, 3) if gaussian_alone else (0, 3, 5, 9)
    assert sorted(fixed) == sorted(int(i) for j in with_spread for i in own[j][1:])
    assert np.all(np.ptp(h[:, fixed], axis=0) == 0)
    np.testing.assert_allclose(h[0, fixed], decoder.output.constant()[np.array(fixed)])
    assert np.all(np.ptp(np.delete(h, fixed, axis=1), axis=0) > 0)


def test_the_specification_says_whose_the_spread_is() -> None:
    columns = tuple(ColumnSpecification(family) for family in ("gaussian", "negative_binomial", "bernoulli"))
    for spread, fixed in (("latent", ()), ("column", (3, 4))):
        spec = Specification(3, 2, f"columns(spread={spread})", columns=columns, network="residual(hidden_sizes=(4,))")
        output = build(spec, start=Start.template(3, None), key=KEY).p.decoder.network.output
        assert (output.at if isinstance(output, PartlyConstant) else ()) == fixed
        assert Specification.from_json(spec.to_json()) == spec
