"""Planted faults get their verdict, healthy models none; and what the checks compute, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_gaussian import LinearGaussian
from planted import FAULTS, HEALTHY, Case, D, K, Planted, healthy, history, nonlinear, overfitted_encoder
from scipy.special import ndtri
from scipy.stats import norm

from tightbound.evidence import importance_evidence
from tightbound.evidence.diagnostics import Finding, History, Verdict, encoder_overfitting, examine
from tightbound.evidence.diagnostics.encoder import calibration
from tightbound.evidence.diagnostics.findings import overfitting
from tightbound.evidence.diagnostics.samples import copies, nearest, sample_likeness
from tightbound.evidence.diagnostics.twosample import energy_distance, separation
from tightbound.learn import EpochRecord
from tightbound.learn.inference.members import Exact
from tightbound.model import MLP, Bernoulli, BernoulliHead, Decoder, GenerativeModel


def verdicts(case: Case, seed: int) -> set[Verdict]:
    health = case.build(np.random.default_rng(seed)).health(seed)
    assert max(map(len, repr(health).splitlines())) <= 100
    return {finding.verdict for finding in health.problems}


def check(case: Case, seed: int) -> None:
    found = verdicts(case, seed)
    if case.verdict is None:
        assert found == set()
    else:
        assert case.verdict in found
        assert found <= {case.verdict} | case.also


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_fit_has_no_problem(name: str) -> None:
    for seed in range(2):
        check(HEALTHY[name], seed)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str) -> None:
    check(FAULTS[name], 0)


def test_a_nonlinear_healthy_fit_has_no_problem() -> None:
    assert verdicts(Case(nonlinear, None), 0) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*HEALTHY, *FAULTS, "nonlinear"])
def test_ten_seeds(name: str) -> None:
    case = {**HEALTHY, **FAULTS, "nonlinear": Case(nonlinear, None)}[name]
    for seed in range(10):
        check(case, seed)


def gaps(seed: int, *, overfitted: bool) -> Finding:
    """Gaps from closed forms: log p(x) - ELBO."""
    rng = np.random.default_rng(seed)
    model = LinearGaussian.random(np.random.default_rng(seed), D, K)
    fit = overfitted_encoder(rng) if overfitted else healthy(rng)
    lost = []
    for rows in (fit.train[:200], fit.x[:200]):
        elbo = importance_evidence(fit.p, fit.q, rows, n_samples=50, key=jax.random.key(seed)).elbo
        lost.append(model.log_p(rows) - elbo)
    return encoder_overfitting(lost[0], lost[1])


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(10), marks=pytest.mark.slow)])
def test_an_overfitted_encoder_is_found(seeds: range) -> None:
    for seed in seeds:
        assert gaps(seed, overfitted=True).verdict is Verdict.ENCODER_OVERFITTED
        assert gaps(seed, overfitted=False).verdict is Verdict.FINE
        health = overfitted_encoder(np.random.default_rng(seed)).health(seed)
        assert Verdict.ENCODER_BIASED in {finding.verdict for finding in health.problems}


def test_information_is_that_of_the_closed_form() -> None:
    """I(x; z) = log |I + W'W / s^2| / 2, to the error of 512 rows; none of it in idle latents."""
    model = LinearGaussian(
        0.5 * np.random.default_rng(0).normal(size=(6, 3)) * np.array([1.0, 1.0, 0.0]), np.ones(6), 1.0
    )
    fit = Planted(
        model.p(),
        model.q(),
        model.sample(np.random.default_rng(1), 600),
        np.zeros((0, 6)),
        history(np.random.default_rng(2)),
    )
    health = fit.health(0, train=None)
    exact = 0.5 * np.linalg.slogdet(np.eye(3) + model.W.T @ model.W / model.s**2)[1]
    assert abs(health.information - exact) < 4 * np.sqrt(3 / 512)
    assert health.information_per_dimension[2] < 1e-6
    assert health.active.tolist() == [True, True, False]
    assert abs(health.aggregated_kl) < 0.3
    assert health.encoder_histogram.shape == (3, 20)
    np.testing.assert_allclose(health.encoder_histogram.sum(axis=1), 1)
    assert health.coverage is not None and health.coverage.shape == (6, 2)
    np.testing.assert_allclose(health.coverage.mean(axis=0), [0.5, 0.9], atol=0.03)


def test_missing_cells_are_left_out() -> None:
    rng = np.random.default_rng(5)
    fit = healthy(rng)
    observed = rng.random(fit.x.shape) < 0.8
    observed[:, 3] = False
    x = np.where(observed, fit.x, np.nan)
    health = examine(
        fit.p, Exact(), x, observed, likelihood="gaussian", train=x, train_observed=observed, key=jax.random.key(1)
    )
    # The held-out rows are the training rows: no sample is as near to those.
    assert health.problems == ()
    assert health.coverage is not None and np.isnan(health.coverage[3]).all()
    assert health.held_out_distances is not None and np.all(health.held_out_distances == 0)


def test_discrete_data_and_latents() -> None:
    network = MLP(3, 8, (), dtype="float64", key=jax.random.key(3))
    network = jax.tree.map(lambda a: 4 * a, network)
    p = GenerativeModel(Bernoulli(jnp.zeros(3)), Decoder(network, BernoulliHead(8), 3))
    rows = np.array(jax.vmap(lambda k: p.sample(key=k)[0])(jax.random.split(jax.random.key(4), 800)))
    health = examine(p, Exact(), rows[:400], likelihood="bernoulli", train=rows[400:], key=jax.random.key(5))
    assert health.problems == ()
    unknown = {finding.check for finding in health.findings if finding.verdict is Verdict.UNKNOWN}
    assert unknown == {"decoder", "overfitting"}
    assert health.coverage is None and health.decoder_histogram is None


def test_normal_scores_give_back_shift_and_stretch() -> None:
    u = np.random.default_rng(6).random((20_000, 1))

    found = calibration(norm.cdf(1.5 * ndtri(u) + 0.3), np.array([True]))
    assert found.pooled == pytest.approx(1.5, rel=0.05)
    assert found.bias[0] == pytest.approx(0.3, abs=0.06)


def test_energy_distance_of_points_far_apart_is_one() -> None:
    rng = np.random.default_rng(7)
    a = rng.normal(size=(80, 3))
    far = energy_distance(a, a[::-1] + 1e6, rng=rng)
    assert far.value == pytest.approx(1, abs=1e-4) and far.p_value == 1 / 200
    same = energy_distance(a, rng.normal(size=(80, 3)), rng=rng)
    assert abs(same.value) < 0.05 and same.p_value > 0.01


def test_a_classifier_sees_shifts_and_widths() -> None:
    rng = np.random.default_rng(8)
    a = rng.normal(size=(500, 2))
    shifted = separation(a, rng.normal(size=(500, 2)) + np.array([1.0, 0.0]), rng=rng)
    assert shifted.auc == pytest.approx(0.76, abs=5 * shifted.standard_error)  # Phi(1 / sqrt 2)
    assert separation(a, 2 * rng.normal(size=(500, 2)), rng=rng).auc > 0.65
    assert abs(separation(a, rng.normal(size=(500, 2)), rng=rng).auc - 0.5) < 5 * shifted.standard_error
    # Of 500 and 500 scores that say nothing.
    ranks = np.array([rng.permutation(1000)[:500].sum() for _ in range(1000)])
    aucs = (ranks - 500 * 499 / 2) / 500**2
    assert 0.9 < np.std(aucs) / shifted.standard_error < 1.1


def broken_pair(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Rows whose marginals are those of the data, and whose first two columns go together as they never do there."""
    rows = rng.normal(size=(n, d))
    rows[:, 1] = np.sign(rows[:, 0]) * np.abs(rows[:, 1])
    return rows


def test_a_lost_association_among_many_columns_is_seen_and_named() -> None:
    """Leading principal components of 80 columns would not show it; a gap in half of the cells does not hide it."""
    rng = np.random.default_rng(10)
    data, samples = broken_pair(1000, 80, rng), rng.normal(size=(1000, 80))
    names = [f"x{j}" for j in range(80)]
    finding, auc, _ = sample_likeness(samples, data, names=names, rng=rng)
    assert finding.verdict is Verdict.SAMPLES_DIFFER and auc > 0.7
    told = finding.sentence.split("told most by ")[1].split(";")[0].split(", ")
    assert set(told[:2]) == {"x0", "x1"}
    gaps = rng.random(data.shape) < 0.3
    for rows in (data, samples):
        rows[gaps] = np.nan
    assert sample_likeness(samples, data, rng=rng)[0].verdict is Verdict.SAMPLES_DIFFER


def test_fine_is_said_with_certainty_alone() -> None:
    """Alike: fine where there are many rows, open where a difference could not have been seen."""
    rng = np.random.default_rng(11)
    many, _, _ = sample_likeness(rng.normal(size=(1000, 6)), rng.normal(size=(1000, 6)), rng=rng)
    assert many.verdict is Verdict.FINE
    few, auc, _ = sample_likeness(rng.normal(size=(60, 6)), rng.normal(size=(60, 6)), rng=rng)
    assert few.verdict is Verdict.UNKNOWN and "is open" in few.sentence and few.value == auc
    assert not few.is_problem


def test_what_a_gap_hides_tells_nothing() -> None:
    """Cells that are missing in both by the same chance, for other reasons than their value, separate nobody."""
    rng = np.random.default_rng(12)
    a, b = rng.normal(size=(600, 5)), rng.normal(size=(600, 5))
    for rows in (a, b):
        rows[rng.random(rows.shape) < 0.5] = np.nan
    found = separation(a, b, rng=rng)
    assert abs(found.auc - 0.5) < 4 * found.standard_error


def test_one_copy_in_ten_is_found_and_natural_duplicates_are_not() -> None:
    rng = np.random.default_rng(9)
    train, fresh, samples = (rng.normal(size=(500, 5)) for _ in range(3))
    samples[::10] = train[::10] + 1e-4
    assert copies(nearest(samples, train), nearest(fresh, train)).verdict is Verdict.COPIES
    samples[::10] = rng.normal(size=(50, 5))
    assert copies(nearest(samples, train), nearest(fresh, train)).verdict is Verdict.FINE
    coarse, held_out, drawn = (rng.integers(0, 2, size=(500, 5)) for _ in range(3))
    assert copies(nearest(drawn, coarse), nearest(held_out, coarse)).verdict is Verdict.FINE
    assert copies(None, None).verdict is Verdict.UNKNOWN


def test_noise_about_a_plateau_is_no_overfitting() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        assert overfitting(history(rng, noise=float(rng.uniform(0, 2)))).verdict is Verdict.FINE
        # Early stopping: the last epochs are worse than the best by less than the noise.
        assert overfitting(history(rng, fall=0.05, epochs=40, noise=0.1)).verdict is Verdict.FINE
    found = overfitting(history(np.random.default_rng(0), fall=1.0))
    assert found.verdict is Verdict.OVERFITTING
    assert 40 < int(found.sentence.split("epoch ")[1].split(":")[0]) < 90
    # It names the epoch whose parameters were kept.
    own = history(np.random.default_rng(0), fall=1.0)
    assert f"best epoch {own.epoch[np.argmax(own.validation_bound)]}:" in found.sentence
    without = [EpochRecord(e, -1.0, float("nan"), True, -1.0) for e in range(30)]
    assert overfitting(History.of(without)).verdict is Verdict.UNKNOWN
    assert overfitting(None).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("shape", [(10,), (10, 4), (1, 10)])
def test_rows_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    fit = healthy(np.random.default_rng(0))
    with pytest.raises(ValueError, match="x must have at least 2 rows of 10 cells"):
        examine(fit.p, fit.q, np.zeros(shape), likelihood="gaussian", key=jax.random.key(0))


def test_values_that_are_not_finite_are_refused() -> None:
    fit = healthy(np.random.default_rng(0))
    fit.x[4, 2] = np.nan
    with pytest.raises(ValueError, match="row 5, column 3"):
        examine(fit.p, fit.q, fit.x, likelihood="gaussian", key=jax.random.key(0))
    with pytest.raises(ValueError, match="most_rows"):
        examine(fit.p, fit.q, fit.train, likelihood="gaussian", key=jax.random.key(0), most_rows=1)


def test_few_rows_are_no_evidence() -> None:
    fit = healthy(np.random.default_rng(0))
    health = examine(
        fit.p, fit.q, fit.x[:20], likelihood="gaussian", train=fit.train, key=jax.random.key(0), most_rows=600
    )
    unknown = {finding.check for finding in health.findings if finding.verdict is Verdict.UNKNOWN}
    assert unknown == {"prior", "decoder", "samples", "copies", "overfitting"}


def test_same_key_same_findings() -> None:
    fit = healthy(np.random.default_rng(0))
    assert repr(fit.health(3)) == repr(fit.health(3))
