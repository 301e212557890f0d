"""Comparisons: paired errors mean what they say, verdicts follow from them, and no row is dropped in silence."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from tightbound.evidence import Evidence, Method, nothing_observed
from tightbound.evidence.comparison import Comparison, Significance, compare
from tightbound.evidence.result import Measure

RNG = np.random.default_rng(3)
N = 400
SHARED = 5 * RNG.standard_normal(N)


def two(gap: float, spread: float = 0.5, noise: float = 0.0) -> Comparison:
    """Rows of very different difficulty, the same for both; "b" is better by `gap` exactly in the mean."""
    own = spread * RNG.standard_normal(N)
    own += gap - own.mean()
    return compare({"a": (SHARED, 0.0), "b": (SHARED + own, np.full(N, noise))})


def test_the_methods_of_rows_are_counted_in_words() -> None:
    none = nothing_observed(3)
    assert none.how == none.method[0].value
    ways = np.array([Method.IMPORTANCE, Method.IMPORTANCE, Method.ANNEALED], dtype=object)
    mixed = dataclasses.replace(none, method=ways, n_samples=np.array([1000, 1000, 16]))
    assert mixed.how == f"{ways[0].value}, 1,000 samples a row: 2 rows; {ways[2].value}, 16 chains a row: 1 row"


def test_means_and_paired_differences_by_hand() -> None:
    a, b = np.array([1.0, 2.0, 6.0]), np.array([0.0, 2.5, 3.0])
    found = compare({"a": (a, 0.0), "b": (b, [0.3, 0.0, 0.4])})
    mean = found.mean("b")
    assert mean.value == pytest.approx(5.5 / 3)
    assert mean.standard_error == pytest.approx(np.std(b, ddof=1) / np.sqrt(3))
    assert mean.monte_carlo_error == pytest.approx(0.5 / 3)
    assert found.best == 0
    gap = found.difference("b")
    assert (gap.name, gap.reference) == ("b", "a")
    assert gap.value == pytest.approx(-3.5 / 3)
    assert gap.standard_error == pytest.approx(np.std([1.0, -0.5, 3.0], ddof=1) / np.sqrt(3))
    assert gap.monte_carlo_error == pytest.approx(0.5 / 3)
    assert found.difference("a", "b").value == pytest.approx(3.5 / 3)
    assert found.difference("a").verdict is Significance.SAME


def test_monte_carlo_errors_of_both_models_add_up() -> None:
    found = compare({"a": (SHARED, 0.3), "b": (SHARED, 0.4)})
    assert found.difference("b", "a").monte_carlo_error == pytest.approx(0.5 / np.sqrt(N))


@pytest.mark.parametrize(
    ("gap", "spread", "noise", "verdict"),
    [
        (0.5, 0.5, 0.5, Significance.CLEAR),
        (-0.5, 0.5, 0.5, Significance.CLEAR),
        (0.02, 0.5, 0.0, Significance.ROWS),
        (0.02, 0.5, 0.1, Significance.ROWS),
        (0.2, 0.5, 4.0, Significance.ESTIMATES),
        (0.02, 0.5, 0.5, Significance.ESTIMATES),
    ],
)
def test_verdicts(gap: float, spread: float, noise: float, verdict: Significance) -> None:
    # The errors of the mean are spread / 20 and noise / 20.
    found = two(gap, spread, noise).difference("b", "a")
    assert found.value == pytest.approx(gap)
    assert found.verdict is verdict
    assert found.verdict.value in str(found)


def test_pairing_finds_what_the_means_alone_hide() -> None:
    found = two(0.2)
    a, b = found.means
    assert abs(a.value - b.value) < 2 * a.standard_error
    assert found.difference("b", "a").verdict is Significance.CLEAR


def test_paired_errors_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    n, truth, repeats = 60, 0.3, 2000
    shared = 4 * rng.standard_normal((repeats, n))
    noise = rng.uniform(0.2, 0.6, n)
    others = shared + truth + 0.7 * rng.standard_normal((repeats, n))
    estimates = others + noise * rng.standard_normal((repeats, n))
    gaps = [
        compare({"a": (s, 0.0), "b": (e, noise)}).difference("b", "a") for s, e in zip(shared, estimates, strict=True)
    ]
    z = np.array([(gap.value - truth) / gap.standard_error for gap in gaps])
    # A t of 59 degrees of freedom; the error of its spread over 2000 repeats is 0.016.
    assert abs(np.std(z) - np.sqrt(59 / 57)) < 5 * 0.016
    assert abs(np.mean(z)) < 5 / np.sqrt(repeats)
    # The Monte Carlo error is how far the mean moves with other noise for the same rows.
    moved = np.std(estimates.mean(axis=1) - others.mean(axis=1))
    assert gaps[0].monte_carlo_error == pytest.approx(moved, rel=0.1)


@pytest.mark.parametrize("bad", [-np.inf, np.nan, np.inf])
def test_rows_without_density_are_counted_and_named(bad: float) -> None:
    values = np.array([1.0, bad, 3.0, bad])
    found = compare({"broken": (values, [0.0, np.nan, 0.0, 0.0]), "good": (np.zeros(4), 0.0)})
    assert found.mean("broken").value == -np.inf
    np.testing.assert_array_equal(found.n_not_finite, [2, 0])
    np.testing.assert_array_equal(found.rows_not_finite("broken"), [1, 3])
    assert found.best == 1
    gap = found.difference("broken")
    assert gap.value == -np.inf
    assert gap.verdict is Significance.NOT_FINITE
    assert found.difference("good", "broken").value == np.inf
    assert "broken gives no finite log p(x) to 2 rows (1, 3)" in repr(found)
    assert "2 rows (1, 3)" in found._repr_html_()
    assert "gives none to 2 rows (1, 3)" in str(found.warning("broken"))
    assert found.warning("good") is None


def test_two_models_without_density() -> None:
    broken = (np.array([np.nan, 0.0]), 0.0)
    found = compare({"a": broken, "b": broken})
    assert np.isnan(found.difference("b", "a").value)
    assert found.difference("b", "a").verdict is Significance.NOT_FINITE
    assert found.warning("a") is None
    repr(found)


def test_a_warning_where_a_baseline_wins() -> None:
    gap = 1.3 + 4.0 * (np.arange(N) % 2 - 0.5)  # error 2 / sqrt(N)
    found = compare(
        {"VAE": (SHARED, 0.1), "mixture": (SHARED + gap, 0.0), "PCA": (SHARED + 0.4, 0.0), "poor": (SHARED - 1, 0.0)}
    )
    warning = found.warning("VAE")
    assert warning is not None
    assert "baseline mixture explains these rows better than VAE by 1.30 ± 0.10 nats a row" in warning
    assert "lower bound" in warning
    assert "PCA" in str(found.warning("VAE", ["PCA", "poor"]))
    assert found.warning("VAE", ["poor"]) is None
    assert found.warning("mixture") is None
    assert "lower bound" not in str(found.warning("PCA"))


def test_no_warning_within_the_errors() -> None:
    assert two(0.02).warning("a") is None
    assert two(0.2, noise=4.0).warning("a") is None


def test_tables() -> None:
    found = compare(
        {
            "a model with a name of more than thirty letters": (SHARED, 0.2),
            "<b>": (SHARED + 0.1 * RNG.standard_normal(N) - 1, 0.0),
            "c": (SHARED - 123456.0, 0.0),
        }
    )
    lines = repr(found).splitlines()
    assert max(len(line) for line in lines) <= 100
    assert len(lines) == 5
    assert lines[2].startswith("a model with a name of more t…")
    assert lines[2].endswith("best")
    assert lines[3].startswith("<b>")
    assert lines[3].endswith("clear")
    page = found._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count("<tr>") == 4


def test_one_row_has_no_standard_error() -> None:
    gap = compare({"a": ([1.0], 0.0), "b": ([2.0], 0.0)}).difference("a")
    assert np.isnan(gap.standard_error)
    assert gap.verdict is Significance.ROWS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "at least two models to compare; got 0; add a baseline"),
        ({"a": ([1.0], 0.0)}, "at least two models to compare; got 1; add a baseline"),
        ({"a": ([], 0.0), "b": ([], 0.0)}, r"log_evidence of a must be one number for each .* shape \(0,\); score"),
        ({"a": ([[1.0]], 0.0), "b": ([1.0], 0.0)}, r"log_evidence of a must be .* got the shape \(1, 1\)"),
        ({"a": ([1.0, 2.0], 0.0), "b": ([1.0], 0.0)}, "the same rows for every model; got 2 of a, 1 of b; score"),
        ({"a": ([1.0, 2.0], 0.0), "b": ([1.0, 2.0], [0.0])}, r"errors of b must be one number or 2, .* shape \(1,\)"),
        ({"a": ([1.0, 2.0], 0.0), "b": ([1.0, 2.0], [0.0, -1.0])}, "errors of b must be finite .* got -1.0 in row 1"),
        ({"a": ([1.0, 2.0], [np.nan, 0.0]), "b": ([1.0, 2.0], 0.0)}, "errors of a must be finite .* got nan in row 0"),
    ],
)
def test_errors(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(given)


@pytest.mark.parametrize("call", [Comparison.mean, Comparison.difference, Comparison.warning])
def test_an_unknown_name_is_refused(call: Any) -> None:
    with pytest.raises(ValueError, match="must be one of a, b; got 'c'; choose one of those"):
        call(two(0.1), "c")


# Like with like.

PLAIN = Measure({"a": "a density", "b": "probabilities"})
OTHER_MEASURES = {
    "given a column": (
        Measure(PLAIN.columns, given=("c",)),
        "first gives log p(x) and second log p(x given c); fit both with the same conditions and exposure",
    ),
    "a column less": (Measure({"a": "a density"}), "b stands in first and not in second; fit both to the same columns"),
    "a column more": (Measure({**PLAIN.columns, "c": "a density"}), "c stands in second and not in first"),
    "point masses": (
        Measure({**PLAIN.columns, "a": "a density with point masses at 0"}),
        "values of a have a density in first and a density with point masses at 0 in second; fit both with the same "
        "type and family of that column",
    ),
    "probabilities": (
        Measure({**PLAIN.columns, "a": "probabilities"}),
        "a density in first and probabilities in second",
    ),
    "missingness": (
        Measure(PLAIN.columns, missingness=("b",)),
        "whether b is observed counts in second alone; fit both",
    ),
}


def of(measure: Measure | None) -> Evidence:
    return dataclasses.replace(nothing_observed(4), measure=measure)


@pytest.mark.parametrize("name", OTHER_MEASURES)
def test_other_things_are_not_compared(name: str) -> None:
    measure, sentence = OTHER_MEASURES[name]
    with pytest.raises(
        ValueError, match=f"^Models must give log p of the same thing to be compared, but .*{re.escape(sentence)}"
    ):
        compare({"zero": (np.zeros(4), 0.0), "first": of(PLAIN), "second": of(measure)})


def test_the_same_thing_is_compared_in_whatever_order_it_comes() -> None:
    turned = Measure({"b": "probabilities", "a": "a density"})
    assert compare({"first": of(PLAIN), "second": of(turned), "unknown": of(None)}).n_rows == 4
    both = [Measure(PLAIN.columns, given=given) for given in (("c", "d"), ("d", "c"))]
    assert compare({"first": of(both[0]), "second": of(both[1])}).n_rows == 4
