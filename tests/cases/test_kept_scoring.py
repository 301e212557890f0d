"""A scoring by any method is kept and gone on from; a row's noise is its own, whatever gaps its neighbours have."""

import jax
import numpy as np
import pytest
from linear_gaussian import LinearGaussian

from tightbound.evidence import Partial, automatic
from tightbound.evidence.automatic import METHODS, log_evidence
from tightbound.evidence.result import PER_ROW, Method
from tightbound.evidence.rows import row_hashes

MODEL = LinearGaussian.random(np.random.default_rng(3), 4, 1)
X = MODEL.sample(np.random.default_rng(4), 23)
OBSERVED = np.random.default_rng(5).random(X.shape) < 0.8
OBSERVED[::3] = True
P, Q = MODEL.p(), MODEL.q(stretch=1.1)
OPTIONS = {"n_samples": 1000, "n_steps": 3, "n_chains": 4, "key": jax.random.key(1)}


class StoppedError(Exception):
    """What ends a scoring in the middle."""


def scored(method, observed=OBSERVED, **options):
    return log_evidence(P, Q, X, observed, method=method, **{**OPTIONS, **options})


def same(one, other):
    for name in PER_ROW:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.tolerance == other.tolerance


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(automatic, "ROWS_AT_ONCE", 16)
    monkeypatch.setattr(automatic, "CHAINS_AT_ONCE", 60)


@pytest.mark.parametrize("method", METHODS)
def test_a_scoring_by_any_method_is_gone_on_from(method):
    """From its first piece, through bytes, to the same bits: the rows that were done are not done again."""
    kept = []

    def stop(partial):
        kept.append(partial)
        raise StoppedError

    with pytest.raises(StoppedError):
        scored(method, on_partial=stop)
    (first,) = kept
    assert 0 < first.n_done < len(X)
    more = []
    resumed = scored(method, partial=Partial.of(first.arrays), on_partial=more.append)
    same(resumed, scored(method))
    assert more[0].n_done > first.n_done and more[-1].n_done == len(X)


def test_an_exact_scoring_is_exact_and_has_its_tolerance_where_one_was_asked_for():
    assert set(scored("exact").method) == {Method.CLOSED_FORM} and scored("exact").tolerance == 0.1
    assert scored("auto", tolerance=0.3).tolerance == 0.3
    np.testing.assert_allclose(
        scored("exact", None).log_evidence, MODEL.log_p(X), rtol=1e-6, err_msg="the model's own log p(x)"
    )


@pytest.mark.parametrize("method", ["importance", "annealed"])
def test_a_row_without_gaps_has_the_same_noise_beside_rows_with_gaps(method):
    whole = np.flatnonzero(OBSERVED.all(axis=1))
    beside, alone = scored(method).take(whole), scored(method, None).take(whole)
    np.testing.assert_allclose(beside.log_evidence, alone.log_evidence, rtol=1e-9)
    assert (row_hashes(X, OBSERVED)[whole] == row_hashes(X, None)[whole]).all()
    assert len(set(row_hashes(X, OBSERVED))) == len(X)
