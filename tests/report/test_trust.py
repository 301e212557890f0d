"""The sections on how far to trust the fit: their numbers in pictures, tables and sentences, and what is unusual."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from report_pages import Page, captions
from report_results import (
    NAN,
    bracket,
    coverage_of,
    evidence_of,
    findings,
    flagged_evidence,
    gap,
    health_of,
    pattern,
    rank_counts,
    real_bracket,
    simple_models,
)
from scipy import stats

from tightbound.estimator.evaluation import THIS_MODEL
from tightbound.evidence import Bracket, Comparison, Mean, Method, Reliability
from tightbound.report import render
from tightbound.report.sections import bracket as brackets
from tightbound.report.sections import calibration, rows
from tightbound.report.sections import gap as gaps
from tightbound.report.sections import health as checks
from tightbound.report.sections import simple_models as ranking
from tightbound.report.style import to_svg


def table_after(page, identity):
    """The rows of the first table at or after the element called `identity`, as text, and the classes inside."""
    start = page[page.index(f'id="{identity}"') :]
    found = start[start.index("<table") : start.index("</table>") + len("</table>")]
    parsed = Page(found)
    return [[text for _, text in row] for row in parsed.rows], found


def test_a_part_alone_is_one_section_alone(case):
    page = Page(render(replace(case("plain"), bracket=bracket()), "bracket"))
    found = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert found[:4] == ["evidence", "bracket", "row-evidence", "learning"]
    assert "#health" not in page.values("href")


# Brackets.


def test_brackets_are_drawn_narrowest_first_around_their_middle():
    simulated, real = brackets.figure(bracket(), real_bracket()).axes
    drawn = np.array([path.vertices[:, 1] for path in simulated.collections[0].get_paths()])
    np.testing.assert_allclose(drawn[:, 1], np.arange(1, 9) / 20)
    np.testing.assert_allclose(drawn[:, 0], -drawn[:, 1])
    settled, unsettled = (len(lines.get_paths()) for lines in real.collections)
    assert (settled, unsettled) == (4, 1)
    assert "approximate" in real.get_title(loc="left")


def test_words_of_brackets_give_the_gaps_and_count_what_did_not_converge(page_named):
    alt = Page(page_named("trusted")).picture("bracket")
    assert "8 simulated rows, 0.100 to 0.800 nats wide: mean gap 0.450 ± 0.087 nats." in alt
    assert "5 real rows, 0.200 to 1.60 nats wide: mean gap 0.50 ± 0.13 nats; 1 row did not converge." in alt
    assert "Method: annealing from q, 100 temperatures, 64 chains" in captions(page_named("trusted"))["bracket"]
    assert "real rows" not in Page(page_named("trusted images, 12 latent dimensions")).picture("bracket")


def bracket_of(width):
    lower = np.zeros(len(width))
    return Bracket(lower, lower + np.array(width, dtype=float), 100, 16)


UNSETTLED = Bracket(np.zeros(2), np.array([1.0, np.inf]), 100, 16, np.full(2, 2.0))


@pytest.mark.parametrize(
    ("made", "real", "said"),
    [
        (bracket_of([0.5]), None, "1 simulated row, 0.500 to 0.500"),
        (bracket_of([0, 0, 0]), None, "0.000 to 0.000"),
        (bracket_of([0.5, -0.1]), None, "Hollow ends: 1 row"),
        (bracket_of([*np.linspace(0.1, 1, 50), 900]), None, "1 bar wider than 3.20 nats cut off, at the small arrows"),
        (bracket_of([NAN, np.inf]), None, "none of a known width"),
        (bracket_of([NAN, 1]), None, "1 row without a finite bracket not drawn"),
        (bracket_of(np.ones(1000)), None, "At most 400 rows"),
        (bracket_of([1.0]), UNSETTLED, "2 rows did not converge"),
    ],
)
def test_unusual_brackets_are_drawn_and_said(made, real, said):
    to_svg(brackets.figure(made, real))
    words = brackets.words(made, real)
    assert said in words.alt + words.caption


# Gaps.

GROUPS = [
    gaps.Group.of("training rows", gap((1.25, 0.05), (0.25, 0.02), 40)),
    gaps.Group.of("held-out rows", gap((1.3, 0.12), (2.6, 0.2), 20)),
]


def mean(value, error, n=9):
    return Mean(value, error, 0.0, n)


def test_parts_of_the_gap_stack_to_the_total():
    axes = gaps.figure(GROUPS).axes[0]
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    np.testing.assert_allclose(bars, [(0, 1.25), (1.25, 0.25), (0, 1.3), (1.3, 2.6)])
    written = [text.get_text() for text in axes.texts]
    assert written == ["1.250", "1.500 ± 0.054 nats", "1.30", "2.60", "3.90 ± 0.23 nats"]


def test_a_negative_part_of_the_gap_leaves_zero_to_the_left_and_is_called_noise():
    group = gaps.Group("rows", mean(1.0, 0.1), mean(-0.3, 0.2), mean(0.7, 0.2))
    axes = gaps.figure([group]).axes[0]
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [(0, 1.0), (0, -0.3)]
    assert axes.get_xlim()[0] < -0.5
    assert "below zero is noise" in gaps.words([group], "").caption
    assert "noise" not in gaps.words(GROUPS, "").caption


def test_gap_section_has_words_table_and_advice(page_named):
    page = page_named("trusted")
    alt = Page(page).picture("gap")
    assert "held-out rows: 3.90 ± 0.23 nats in all, of which approximation 1.30 ± 0.12 nats and amortisation" in alt
    rows, _ = table_after(page, "figure-gap")
    assert rows[1] == ["held-out rows", "1.30 ± 0.12", "2.60 ± 0.20", "3.90 ± 0.23", "20"]
    assert rows[2][0] == "training rows"
    assert "<p>Refine q.</p>" in page
    assert "Method: the best q of the family by 400 steps" in captions(page)["gap"]


@pytest.mark.parametrize(
    "groups",
    [
        [],
        [gaps.Group("a", mean(0.0, 0.0), mean(0.0, 0.0), mean(0.0, 0.0))],
        [gaps.Group("a" * 80, mean(NAN, NAN), mean(np.inf, NAN), mean(NAN, NAN))],
        [gaps.Group("$x_{", mean(1e-9, NAN), mean(1e9, 1.0), mean(1e9, 1.0))],
    ],
)
def test_unusual_gaps_are_drawn(groups):
    to_svg(gaps.figure(groups))
    assert "nan" not in gaps.words(groups, "").alt


# Rows.


def test_rows_stand_at_their_error_on_a_log_scale_with_plain_ticks():
    evidence = flagged_evidence(60)
    axes = rows.figure(evidence).axes[0]
    legend = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert legend == [
        "importance sampling: 39",
        "annealed importance sampling: 20",
        "adaptive quadrature: 1",
        "flagged: 6",
    ]
    good, bad = (drawn.get_offsets() for drawn in axes.collections[:2])
    np.testing.assert_allclose(good[:, 1], -2)
    np.testing.assert_array_equal(bad[:, 0], evidence.log_evidence[[0, 10, 30, 40]])
    labels = dict(zip([tick.get_text() for tick in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    assert labels["0.01"] == pytest.approx(-2)
    assert labels["0.1"] == pytest.approx(-1)
    assert labels["0"] < -2
    assert axes.collections[4].get_offsets()[0, 1] == labels["0"]


def test_words_and_table_of_rows_count_methods_and_flags(page_named):
    page = page_named("trusted")
    alt = Page(page).picture("row-evidence")
    assert "of 60 rows: standard errors from 0 to 0.1 nats, median 0.01." in alt
    methods = "importance sampling 39, annealed importance sampling 20, adaptive quadrature 1"
    assert f"By method: {methods}. 6 rows flagged." in alt
    caption = captions(page)["row-evidence"]
    assert "1 row without error at 0." in caption
    assert f"Flags: heavy tailed (6 rows). heavy tailed: {Reliability.HEAVY_TAILED.value}" in caption
    lines, _ = table_after(page, "figure-row-evidence")
    assert lines[0][-1] == "Mean work, decoder passes a row"
    assert lines[1:] == [
        ["importance sampling", "none", "35", "0.010", "0.25", "5,000"],
        ["importance sampling", "▲ heavy tailed", "4", "0.010", "0.90", "5,000"],
        ["annealed importance sampling", "none", "18", "0.10", "0.25", "5,000"],
        ["annealed importance sampling", "▲ heavy tailed", "2", "0.10", "0.90", "5,000"],
        ["adaptive quadrature", "none", "1", "0.0", "0.25", "5,000"],
    ]


def rows_of(error, **other):
    error = np.broadcast_to(np.asarray(error, dtype=float), 60)
    return evidence_of(np.linspace(-90, -10, 60), standard_error=error, **other)


FEW = {"ess": np.ones(60)}


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (rows_of(0.02), "No row is flagged"),
        (rows_of(0.02, **FEW), "Flags: few effective (60 rows)"),
        (rows_of(0.0), "60 rows without error at 0"),
        (rows_of(NAN, **FEW), "60 rows of unknown error at the top"),
        (rows_of(np.logspace(-7, 5, 60)), "from 1e-07 to 100,000"),
        (rows_of(np.linspace(0.10, 0.11, 60)), "from 0.1 to 0.11"),
    ],
)
def test_unusual_rows_are_drawn_and_said(evidence, said):
    figure = rows.figure(evidence)
    to_svg(figure)
    words = rows.words(evidence)
    assert said in words.alt + words.caption
    assert len(figure.legends[0].get_texts()) == (2 if evidence.n_unreliable else 1)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert 1 <= len(labels) <= 9
    assert not any("$" in label for label in labels)


def test_every_method_has_its_colour_and_unknown_rows_are_counted():
    odd = np.r_[NAN, -np.inf, np.linspace(0, 1, 56), 900.0, 901.0]
    many = evidence_of(odd, method=np.array([list(Method)[place % len(Method)] for place in range(60)], dtype=object))
    assert sum(len(members) for _, members in rows.method_groups(many)) == 60
    assert len(rows.figure(many).legends[0].get_texts()) == len(Method) + 1
    assert "2 rows without a finite log p(x) not drawn." in rows.words(many).caption


# Calibration.


@pytest.mark.parametrize(("count", "bins"), [(1, 2), (4, 10), (50, 20), (10_000, 5)])
def test_band_is_the_binomial_interval_of_a_bin(count, bins):
    band = np.array(calibration.expected_band(np.full(bins, count)))
    np.testing.assert_allclose(band * count, stats.binom.ppf([0.025, 0.975], count * bins, 1 / bins))


def test_shapes_are_named_and_chance_is_not():
    rng = np.random.default_rng(2)
    assert calibration.shape_of(np.full(10, 100)) == "within what chance explains"
    flukes = sum(not calibration.is_uniform(rng.multinomial(2000, np.full(20, 0.05))) for _ in range(500))
    assert flukes < 500 * 0.01 + 5 * math.sqrt(500 * 0.01)
    place = np.arange(10)
    for weight, said in (
        (1 + np.abs(place - 4.5), "too full at both ends"),
        (9 - np.abs(place - 4.5), "too full in the middle"),
        (1 + place, "too full on the right"),
        (10 - place, "too full on the left"),
    ):
        assert calibration.shape_of(weight * 50) == said


def test_rank_histograms_show_the_worst_dimensions_first(page_named):
    alt = Page(page_named("trusted images, 12 latent dimensions")).picture("ranks")
    assert "12 latent dimensions: all together too full at both ends" in alt
    assert "dimension by dimension 8 of 120 bins, where chance gives about 6." in alt
    assert "Furthest from uniform: dimension 0, too full at both ends." in alt
    figure = calibration.rank_figure(health_of(rank_counts(12)))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["all 12 latent dimensions", "dimension 0"]
    assert len(titles) == 9
    shares = figure.axes[1].patches[-1].get_data().values
    np.testing.assert_allclose(shares, rank_counts(1)[0] / 100)


def test_idle_dimensions_do_not_hide_the_others():
    counts = rank_counts(3)
    health = replace(health_of(counts), active=np.array([True, False, False]))
    np.testing.assert_array_equal(calibration.pooled_ranks(health), counts[0])
    idle = replace(health, active=np.zeros(3, bool))
    np.testing.assert_array_equal(calibration.pooled_ranks(idle), counts.sum(axis=0))


def test_coverage_shows_the_worst_columns_first(page_named):
    alt = Page(page_named("trusted")).picture("predictive")
    assert "0% and 25% in the worst, column 3." in alt
    assert "within what chance explains, 0 of 20 bins outside the band" in alt
    names = tuple(f"column {place}" for place in range(300))
    fit = (np.full(20, 5.0), coverage_of(300), names, 100)
    axes = calibration.decoder_figure(*fit).axes[1]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert (labels[:2], len(labels)) == (["column 299", "column 298"], 20)
    assert "20 of 300 columns: those furthest off." in calibration.decoder_words(*fit).caption


def test_what_the_checks_of_encoder_and_decoder_found_stands_above_the_pictures():
    told = [replace(findings()[0], check=check, sentence=f"{check} is calibrated.") for check in ("encoder", "decoder")]
    found = replace(health_of(rank_counts(2)), findings=(*findings(), *told))
    assert calibration.body(found, ()).startswith("<p>encoder is calibrated.</p>\n<p>decoder is calibrated.</p>")


@pytest.mark.parametrize("counts", [np.zeros((2, 10)), np.array([[5]]), np.array([[5, 3, 2, 9]]), np.ones((3, 50))])
def test_unusual_ranks_are_drawn(counts):
    to_svg(calibration.rank_figure(health_of(counts)))
    assert "nan" not in calibration.rank_words(health_of(counts)).alt


@pytest.mark.parametrize("coverage", [np.full((2, 2), NAN), np.array([[NAN, 0.9], [1.0, 1.0]])])
def test_unknown_coverage_is_left_out(coverage):
    fit = (np.zeros(10), coverage, ("a", "b" * 80), 0)
    to_svg(calibration.decoder_figure(*fit))
    words = calibration.decoder_words(*fit)
    assert "nan" not in words.alt
    assert f"{np.isfinite(coverage).all(axis=1).sum()} of 2 columns: those with values." in words.caption


# Health.


def test_problems_come_first_and_are_marked_in_words(page_named):
    lines, html = table_after(page_named("trusted"), "health")
    assert [row[0] for row in lines[1:]] == ["overfitting", "ranks", "collapse"]
    assert [row[1] for row in lines[1:]] == ["▲ Problemoverfitting", "? Unknown", "✓ Fine"]
    assert lines[1][2] == "3.457differencethreshold 1"
    assert lines[2][2] == "–nothing"
    assert html.count('class="mark problem"') == 1
    assert "1 problem found in 2 checks. 1 check could not be made." in page_named("trusted")


def test_health_without_problems_says_so(page_named):
    fine = tuple(finding for finding in findings() if not finding.is_problem)
    assert checks.summary(fine) == "No problem found in 1 check. 1 check could not be made."
    assert checks.summary(()) == "No problem found: no check was made."
    assert "No problem found" in page_named("nothing known")


# Simple models.


def test_differences_are_drawn_with_two_errors_and_far_ones_as_arrows():
    axes = ranking.figure(simple_models()).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()][:2] == ["full Gaussian", THIS_MODEL]
    dots = {float(container.lines[0].get_xdata()[0]): container for container in axes.containers}
    assert sorted(dots) == pytest.approx([-1.25, 0, 1.25])
    whisker = dots[max(dots)].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(whisker[:, 0], [1.25 - 0.22, 1.25 + 0.22])
    assert axes.get_xlim()[0] > -10
    assert [text.get_text() for text in axes.texts][:3] == ["+1.25 ± 0.11", "reference", "−1.25 ± 0.20"]
    assert "Arrows: 1 model beyond the axis." in ranking.words(simple_models()).caption


def test_ranking_says_which_model_wins(page_named):
    page = page_named("trusted")
    lines, html = table_after(page, "baselines")
    assert lines[1] == ["full Gaussian", "-50.00 ± 0.51", "+1.25 ± 0.11", "one covariance"]
    assert lines[2][0] == f"{THIS_MODEL}the fitted model"
    assert f"<strong>{THIS_MODEL}</strong>" in html
    assert "<p>The baseline full Gaussian explains these rows better than this model by 1.25 ± 0.11 nats" in page
    alt = Page(page).picture("baselines")
    assert "3 simple models" in alt
    assert "full Gaussian +1.25 ± 0.11" in alt
    assert "1 above the fitted model." in alt


def test_a_model_that_no_simple_one_beats_is_ranked(case):
    rows = np.stack([pattern(60), pattern(60) - 1])
    ranked = Comparison((THIS_MODEL, "simple"), rows, np.zeros((2, 60)))
    found = replace(case("plain"), comparison=ranked, left_out=("One was left out.",))
    said = ranking.sentence(found, ranked)
    assert said == "This model ranks 1 of 2 by mean log p(x) on the same rows. One was left out."


@pytest.mark.parametrize("others", [[0.0], [NAN], [-np.inf, 1e-12]])
def test_unusual_rankings_are_drawn(others):
    names = (THIS_MODEL, *(f"{'_$x_{' * 20} {place}" for place in range(len(others))))
    rows = np.zeros((len(names), 5)) + np.array([0.0, *others])[:, None]
    ranked = Comparison(names, rows, np.zeros(rows.shape))
    to_svg(ranking.figure(ranked))
    assert "nan" not in ranking.words(ranked).alt
