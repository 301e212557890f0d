"""`log_evidence`: which method it takes, which rows go on, and what interruption, limits and odd numbers do."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scoring import KEY, SMALL, Setting, bits, make_setting, network_parts, same

from tightbound.evidence import (
    METHODS,
    Evidence,
    Method,
    Partial,
    Reliability,
    automatic,
    exact_evidence,
    importance_evidence,
    log_evidence,
)

TIGHT = 0.0005
"""What only rows with an exact q reach, so that the others try everything."""


@pytest.fixture(autouse=True, scope="module")
def few_stages() -> Iterator[None]:
    """Annealing with few temperatures: its own tests look at how good it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(automatic, "TEMPERATURES", (4, 8))
        yield


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting()


@pytest.fixture(scope="module")
def scored(setting: Setting) -> tuple[Evidence, list[Partial], list[tuple[str, int, int]]]:
    """All stages, with everything that was reported on the way."""
    partials: list[Partial] = []
    words: list[tuple[str, int, int]] = []
    found = log_evidence(
        setting.p,
        setting.q,
        setting.x,
        tolerance=TIGHT,
        on_partial=partials.append,
        on_progress=lambda *a: words.append(a),
        **SMALL,
    )
    return found, partials, words


def test_only_rows_that_need_it_go_on(setting: Setting, scored: Any) -> None:
    found, partials, words = scored
    first = importance_evidence(setting.p, setting.q, setting.x, n_samples=200, key=KEY)
    good = found.method == np.full(9, Method.IMPORTANCE, dtype=object)
    good &= found.n_samples == 200
    np.testing.assert_array_equal(good, ~setting.hard)
    for name in ("log_evidence", "standard_error", "khat", "ess", "work"):
        np.testing.assert_array_equal(getattr(found, name)[good], getattr(first, name)[good])
    # The ELBO is that of the model's own q, whatever came later.
    np.testing.assert_array_equal(found.elbo, first.elbo)
    assert np.all(found.work[~good] > first.work[~good])
    assert words[0][0] == "importance sampling"
    assert all(done <= rows for _, done, rows in words)
    assert np.all(np.diff([p.stage for p in partials], axis=0) >= 0)
    assert np.all(partials[-1].stage[good] == 0)
    same(partials[-1].evidence, found)


def test_rows_end_within_the_tolerance_or_flagged(setting: Setting, scored: Any) -> None:
    found, _, _ = scored
    good = np.array([flag is Reliability.GOOD for flag in found.reliability])
    assert np.all(found.standard_error[good] <= TIGHT * (1 + 1e-6))
    assert good.sum() >= 5
    off = np.abs(found.log_evidence - setting.model.log_p(setting.x))
    assert np.all(off < 6 * found.standard_error + 1e-9)
    assert {Method.IMPORTANCE, Method.ANNEALED} <= set(found.method)


def test_an_interrupted_scoring_goes_on_to_the_same_bits(setting: Setting, scored: Any) -> None:
    """From every piece of work, and from one in the middle of a stage."""
    found, partials, _ = scored
    assert len(partials) >= 4 and partials[-1].stage.max() == 4
    for partial in partials:
        same(log_evidence(setting.p, setting.q, setting.x, tolerance=TIGHT, partial=partial, **SMALL), found)


def test_pieces_change_nothing(setting: Setting, scored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows at a time: interruptions now fall between rows of one stage."""
    found, _, _ = scored
    monkeypatch.setattr(automatic, "ROWS_AT_ONCE", 2)
    partials: list[Partial] = []
    more = log_evidence(setting.p, setting.q, setting.x, tolerance=TIGHT, on_partial=partials.append, **SMALL)
    same(more, found)
    halfway = next(p for p in partials if len(set(p.stage)) == 2)
    assert np.isnan(halfway.evidence.log_evidence[halfway.stage < 0]).all()
    same(log_evidence(setting.p, setting.q, setting.x, tolerance=TIGHT, partial=halfway, **SMALL), found)


def test_neighbours_and_order_change_nothing(setting: Setting, scored: Any) -> None:
    found, _, _ = scored
    order = np.random.default_rng(1).permutation(9)[:6]
    same(log_evidence(setting.p, setting.q, setting.x[order], tolerance=TIGHT, **SMALL), found.take(order))
    same(log_evidence(setting.p, setting.q, setting.x[[0]], tolerance=TIGHT, **SMALL), found.take(np.array([0])))


def test_stages_draw_afresh(setting: Setting) -> None:
    """A second stage that began with the first one's draws would confirm its luck."""
    stages = automatic.stages_of(setting.p, setting.q, n_samples=200, n_chains=8, key=KEY)
    first, second = (stage.estimate(setting.x, None) for stage in stages[:2])
    more = importance_evidence(setting.p, setting.q, setting.x, n_samples=2000, key=KEY)
    assert np.all((second.log_evidence != more.log_evidence)[setting.hard])
    assert np.all(second.n_samples == 2000) and np.all(first.n_samples == 200)
    np.testing.assert_array_equal(
        first.log_evidence,
        importance_evidence(setting.p, setting.q, setting.x, n_samples=200, key=KEY).log_evidence,
    )


# ---- the other methods


def test_auto_is_exact_where_that_is_cheap(setting: Setting) -> None:
    found = log_evidence(setting.p, setting.q, setting.x, key=KEY)
    assert all(method is Method.CLOSED_FORM for method in found.method)
    same(dataclasses.replace(found, tolerance=None), exact_evidence(setting.p, setting.q, setting.x, key=KEY))
    np.testing.assert_allclose(found.log_evidence, setting.model.log_p(setting.x), rtol=1e-9)


def test_auto_samples_where_the_sum_is_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "FEW_STATES", 2**4)
    x = np.ones((2, 4))
    assert log_evidence(*bits(4), x, key=KEY).method[0] is Method.ENUMERATION
    assert not log_evidence(*bits(5), x, n_samples=100, key=KEY).method[0].exact
    assert automatic._cheaply_exact(network_parts(1)[0].p)
    assert not automatic._cheaply_exact(network_parts(2)[0].p)


EXPECTED = {
    "importance": Method.IMPORTANCE,
    "defensive": Method.DEFENSIVE,
    "refined": Method.REFINED,
    "annealed": Method.ANNEALED,
    "exact": Method.CLOSED_FORM,
}


@pytest.mark.parametrize("method", EXPECTED)
def test_each_method_alone_is_right(setting: Setting, method: str) -> None:
    steps: list[tuple[str, int, int]] = []
    q = setting.model.q(stretch=1.3)
    options: dict[str, Any] = {"n_samples": 500, "n_steps": 5, "n_chains": 64, "key": KEY}
    found = log_evidence(setting.p, q, setting.x, method=method, on_progress=lambda *a: steps.append(a), **options)
    assert all(each is EXPECTED[method] for each in found.method)
    off = np.abs(found.log_evidence - setting.model.log_p(setting.x))
    assert np.all(off <= 5 * found.standard_error + 1e-9)
    assert steps[-1] == (f"scoring ({method})", 9, 9)
    assert found.tolerance == automatic.TOLERANCE
    assert set(EXPECTED) | {"auto", "adaptive"} == set(METHODS)


def test_missing_cells(setting: Setting) -> None:
    rng = np.random.default_rng(2)
    observed = rng.random(setting.x.shape) < 0.6
    observed[0], observed[1] = False, True
    truth = np.array([0.0, *setting.model.log_p(setting.x[1:], observed[1:])])
    x = np.where(observed, setting.x, np.nan)
    found = log_evidence(setting.p, setting.q, x, observed, tolerance=0.3, **SMALL)
    good = np.array([flag is Reliability.GOOD for flag in found.reliability])
    assert np.all(np.abs(found.log_evidence - truth)[good] < 5 * found.standard_error[good] + 1e-9)
    assert good.sum() >= 7
    order = np.array([4, 0, 2])
    same(log_evidence(setting.p, setting.q, x[order], observed[order], tolerance=0.3, **SMALL), found.take(order))


# ---- limits


class Clock:
    """Time that passes by `step` seconds whenever someone looks."""

    def __init__(self, step: float):
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


def test_a_limit_that_leaves_rows_without_an_estimate_is_refused(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automatic, "ROWS_AT_ONCE", 4)
    monkeypatch.setattr(automatic, "time", Clock(1.0))
    # The clock is read at the start and before each piece: the second piece begins in time, the third does not.
    with pytest.raises(ValueError, match=r"^time_limit must .*; 2.5 s were enough for 8 of 9 rows; allow more"):
        log_evidence(setting.p, setting.q, setting.x, time_limit=2.5, **SMALL)


def test_rows_that_time_does_not_reach_are_flagged(setting: Setting, scored: Any, monkeypatch: Any) -> None:
    """After the first stage alone: all rows have an estimate, and those that should have gone on say so."""
    found, partials, _ = scored
    monkeypatch.setattr(automatic, "time", Clock(1.0))
    limited = log_evidence(setting.p, setting.q, setting.x, tolerance=TIGHT, time_limit=1.5, **SMALL)
    same(limited, partials[0].evidence)
    assert np.isfinite(limited.log_evidence).all()
    went_on = found.work > limited.work
    assert went_on.any() and not went_on.all()
    flagged = np.array([flag is not Reliability.GOOD for flag in limited.reliability])
    np.testing.assert_array_equal(flagged, went_on)
    monkeypatch.undo()
    # A limit is no dead end: with time it goes on from there.
    on = log_evidence(setting.p, setting.q, setting.x, tolerance=TIGHT, partial=partials[0], time_limit=1e6, **SMALL)
    same(on, found)


def test_patience_begins_when_every_row_has_an_estimate(setting: Setting, scored: Any, monkeypatch: Any) -> None:
    """It never cuts the first stage short, however many pieces that has, and flags what it leaves."""
    _, partials, _ = scored
    monkeypatch.setattr(automatic, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(automatic, "time", Clock(1.0))
    first = log_evidence(setting.p, setting.q, setting.x, tolerance=TIGHT, patience=0.5, **SMALL)
    same(first, partials[0].evidence)
    more = log_evidence(setting.p, setting.q, setting.x, tolerance=TIGHT, patience=1.5, **SMALL)
    assert 0 < np.sum(more.work > first.work) <= 2


def test_another_tolerance_from_the_same_partial(setting: Setting, scored: Any) -> None:
    _, partials, _ = scored
    loose = log_evidence(setting.p, setting.q, setting.x, tolerance=0.5, partial=partials[0], **SMALL)
    assert loose.tolerance == 0.5
    same(loose, log_evidence(setting.p, setting.q, setting.x, tolerance=0.5, **SMALL))


def test_a_partial_of_other_rows_is_refused(setting: Setting, scored: Any) -> None:
    with pytest.raises(ValueError, match=r"^partial must be a scoring of these 2 rows; it has 9; give the same rows"):
        log_evidence(setting.p, setting.q, setting.x[:2], partial=scored[1][0], **SMALL)
