"""The sections on how far to trust the fit: their numbers in pictures, tables and sentences, and what is unusual."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from report_pages import Page, captions
from report_trust import NAN, baselines, bracket, calibration, gap, health, row_evidence
from scipy import stats

from tightbound.report import (
    FIGURES,
    BaselineContent,
    BaselineRow,
    BracketContent,
    GapContent,
    GapGroup,
    HealthContent,
    PredictiveContent,
    RankContent,
    RealBracket,
    RowEvidenceContent,
    figures_of,
    forest,
    trust,
    trust_words,
    uniform,
)
from tightbound.report.style import to_svg
from tightbound.report.trust_sections import health_sentence


def table_after(page, identity):
    """The rows of the first table at or after the element called `identity`, as text, and the classes inside."""
    start = page[page.index(f'id="{identity}"') :]
    found = start[start.index("<table") : start.index("</table>") + len("</table>")]
    parsed = Page(found)
    return [[text for _, text in row] for row in parsed.rows], found


@pytest.fixture
def with_rows(case):
    """Content whose rows have this evidence."""
    return lambda rows, **other: replace(case("plain"), row_evidence=rows, **other)


def test_a_part_alone_is_one_section_alone(case):
    from tightbound.report import render

    page = Page(render(replace(case("plain"), health=health())))
    found = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert found[:3] == ["evidence", "health", "learning"]
    assert "#bracket" not in page.values("href")


def test_figures_by_name_are_those_that_the_content_has_numbers_for(case):
    assert list(figures_of(case("plain"))) == list(FIGURES)
    found = figures_of(case("trusted"))
    parts = ["bracket", "gap", "row_evidence", "rank_histograms", "predictive_calibration", "baselines"]
    assert list(found) == [*FIGURES, *parts]
    assert to_svg(found["gap"]()).startswith("<svg")


# Brackets.


def test_brackets_are_drawn_narrowest_first_around_their_middle():
    content = bracket()
    simulated, real = trust.bracket(content).axes
    drawn = np.array([path.vertices[:, 1] for path in simulated.collections[0].get_paths()])
    np.testing.assert_allclose(drawn[:, 1], np.arange(1, 9) / 20)
    np.testing.assert_allclose(drawn[:, 0], -drawn[:, 1])
    settled, unsettled = (len(lines.get_paths()) for lines in real.collections)
    assert (settled, unsettled) == (4, 1)
    assert "approximate" in real.get_title(loc="left")


def test_words_of_brackets_give_the_gaps_and_count_what_did_not_converge(page_named):
    alt = Page(page_named("trusted")).picture("bracket")
    assert "8 simulated rows, 0.100 to 0.800 nats wide: mean gap 0.450 ± 0.087 nats." in alt
    assert "5 real rows, 0.200 to 1.60 nats wide: mean gap 0.72 ± 0.24 nats; 1 row did not converge." in alt
    assert "Method: 64 chains." in captions(page_named("trusted"))["bracket"]
    assert "real rows" not in Page(page_named("trusted images, 12 latent dimensions")).picture("bracket")


def bracket_of(width, **other):
    lower = np.zeros(len(width))
    return BracketContent(lower, lower + np.array(width, dtype=float), 0.5, None, "", **other)


UNSETTLED = RealBracket(np.zeros(2), np.array([1.0, np.inf]), 1.0, None, np.zeros(2, dtype=bool))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bracket_of([0.5]), "1 simulated row, 0.500 to 0.500"),
        (bracket_of([0, 0, 0]), "0.000 to 0.000"),
        (bracket_of([0.5, -0.1]), "Hollow ends: 1 row"),
        (bracket_of([*np.linspace(0.1, 1, 50), 900]), "1 bar wider than 3.20 nats cut off, at the small arrows"),
        (bracket_of([NAN, np.inf]), "none of a known width"),
        (bracket_of([NAN, 1]), "1 row without a finite bracket not drawn"),
        (bracket_of(np.ones(1000)), "At most 400 rows"),
        (bracket_of([1.0], real=UNSETTLED), "2 rows did not converge"),
    ],
)
def test_unusual_brackets_are_drawn_and_said(content, said):
    to_svg(trust.bracket(content))
    words = trust_words.bracket(content)
    assert said in words.alt + words.caption


# Gaps.


def test_parts_of_the_gap_stack_to_the_total():
    axes = trust.gap_parts(gap()).axes[0]
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    np.testing.assert_allclose(bars, [(0, 1.25), (1.25, 0.25), (0, 1.3), (1.3, 2.6)])
    written = [text.get_text() for text in axes.texts]
    assert written == ["1.250", "1.500 ± 0.060 nats", "1.30", "2.60", "3.90 ± 0.20 nats"]


def test_a_negative_part_of_the_gap_leaves_zero_to_the_left_and_is_called_noise():
    content = GapContent((GapGroup("rows", 1.0, 0.1, -0.3, 0.2, 0.7, 0.2, 9),))
    axes = trust.gap_parts(content).axes[0]
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [(0, 1.0), (0, -0.3)]
    assert axes.get_xlim()[0] < -0.5
    assert "below zero is noise" in trust_words.gap(content).caption
    assert "noise" not in trust_words.gap(gap()).caption


def test_gap_section_has_words_table_and_advice(page_named):
    page = page_named("trusted")
    alt = Page(page).picture("gap")
    assert "held-out rows: 3.90 ± 0.20 nats in all, of which approximation 1.30 ± 0.10 nats and amortisation" in alt
    rows, _ = table_after(page, "figure-gap")
    assert rows[2] == ["held-out rows", "1.30 ± 0.10", "2.60 ± 0.20", "3.90 ± 0.20", "20"]
    assert "<p>Refine q for held-out rows.</p>" in page


@pytest.mark.parametrize(
    "groups",
    [
        (),
        (GapGroup("a", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1),),
        (GapGroup("a" * 80, NAN, NAN, np.inf, None, NAN, None, 1),),
        (GapGroup("$x_{", 1e-9, None, 1e9, 1.0, 1e9, 1.0, 1),),
    ],
)
def test_unusual_gaps_are_drawn(groups):
    content = GapContent(groups)
    to_svg(trust.gap_parts(content))
    assert "nan" not in trust_words.gap(content).alt


# Rows.


def test_rows_stand_at_their_error_on_a_log_scale_with_plain_ticks(with_rows):
    content = with_rows(row_evidence(60))
    axes = trust.row_evidence(content).axes[0]
    legend = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert legend == ["importance: 39", "annealed: 20", "quadrature: 1", "flagged: 6"]
    good, bad = (drawn.get_offsets() for drawn in axes.collections[:2])
    np.testing.assert_allclose(good[:, 1], -2)
    np.testing.assert_array_equal(bad[:, 0], content.log_evidence[[0, 10, 30, 40]])
    labels = dict(zip([tick.get_text() for tick in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    assert labels["0.01"] == pytest.approx(-2)
    assert labels["0.1"] == pytest.approx(-1)
    assert labels["0"] < -2
    assert axes.collections[4].get_offsets()[0, 1] == labels["0"]


def test_words_and_table_of_rows_count_methods_and_flags(page_named):
    page = page_named("trusted")
    alt = Page(page).picture("row-evidence")
    assert "of 60 rows: standard errors from 0 to 0.1 nats, median 0.01." in alt
    assert "By method: importance 39, annealed 20, quadrature 1. 6 rows flagged." in alt
    caption = captions(page)["row-evidence"]
    assert "1 row without error at 0." in caption
    assert "Flags: heavy-tailed (6 rows). heavy-tailed: heavy-tailed." in caption
    rows, _ = table_after(page, "figure-row-evidence")
    assert rows[0][-1] == "Mean work, decoder passes a row"
    assert rows[1:] == [
        ["importance", "none", "35", "0.010", "0.25", "5,000"],
        ["importance", "▲ heavy-tailed", "4", "0.010", "0.25", "5,000"],
        ["annealed", "none", "18", "0.10", "0.25", "5,000"],
        ["annealed", "▲ heavy-tailed", "2", "0.10", "0.25", "5,000"],
        ["quadrature", "none", "1", "0.0", "0.25", "5,000"],
    ]


def rows_of(error, flag="", method="q"):
    error = np.broadcast_to(np.asarray(error, dtype=float), 60)
    return RowEvidenceContent(error, np.full(60, method), np.full(60, flag, dtype=object))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (rows_of(0.02), "No row is flagged"),
        (rows_of(0.02, flag="bad"), "Flags: bad (60 rows)"),
        (rows_of(0.0), "60 rows without error at 0"),
        (rows_of(NAN, flag="bad"), "60 rows of unknown error at the top"),
        (rows_of(np.logspace(-7, 5, 60)), "from 1e-07 to 1e+05"),
        (rows_of(np.linspace(0.10, 0.11, 60)), "from 0.1 to 0.11"),
        (rows_of(0.1, method="_$x_{" * 9), "60"),
    ],
)
def test_unusual_rows_are_drawn_and_said(with_rows, rows, said):
    content = with_rows(rows)
    figure = trust.row_evidence(content)
    to_svg(figure)
    words = trust_words.row_evidence(content)
    assert said in words.alt + words.caption
    assert len(figure.legends[0].get_texts()) == (2 if rows.flags[0] else 1)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert 1 <= len(labels) <= 9
    assert not any("$" in label for label in labels)


def test_rare_methods_share_a_colour_and_unknown_rows_are_counted(with_rows):
    many = replace(rows_of(0.1), method=np.array([f"method {place % 20}" for place in range(60)]))
    assert trust.method_groups(many)[-1][0] == "other"
    assert sum(len(members) for _, members in trust.method_groups(many)) == 60
    odd = np.r_[NAN, -np.inf, np.linspace(0, 1, 56), 900.0, 901.0]
    caption = trust_words.row_evidence(with_rows(many, log_evidence=odd)).caption
    assert "2 rows without a finite log p(x) not drawn." in caption
    to_svg(trust.row_evidence(with_rows(many, log_evidence=odd)))


# Calibration.


@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (40, 0.1), (1000, 0.05), (100_000, 0.9)])
def test_band_is_the_binomial_interval(count, share):
    low, high = uniform.binomial_band(count, share)
    assert (low, high) == tuple(stats.binom.ppf([0.025, 0.975], count, share))


def test_shapes_are_named_and_chance_is_not():
    rng = np.random.default_rng(2)
    assert uniform.shape_of(np.full(10, 100)) == "within what chance explains"
    flukes = sum(not uniform.is_uniform(rng.multinomial(2000, np.full(20, 0.05))) for _ in range(500))
    assert flukes < 500 * 0.01 + 5 * math.sqrt(500 * 0.01)
    place = np.arange(10)
    for weight, said in (
        (1 + np.abs(place - 4.5), "too full at both ends"),
        (9 - np.abs(place - 4.5), "too full in the middle"),
        (1 + place, "too full on the right"),
        (10 - place, "too full on the left"),
    ):
        assert uniform.shape_of(weight * 50) == said


def test_rank_histograms_show_the_worst_dimensions_first(page_named):
    alt = Page(page_named("trusted images, 12 latent dimensions")).picture("ranks")
    assert "12 latent dimensions: all together too full at both ends" in alt
    assert "dimension by dimension 8 of 120 bins, where chance gives about 6." in alt
    assert "Furthest from uniform: dimension 0, too full at both ends." in alt
    figure = uniform.rank_histograms(calibration(12, ("a",)).ranks)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["all 12 latent dimensions", "dimension 0"]
    assert len(titles) == 9
    shares = figure.axes[1].patches[-1].get_data().values
    np.testing.assert_allclose(shares, calibration(1, ("a",)).ranks.counts[0] / 100)


def test_coverage_shows_the_worst_columns_first(page_named):
    alt = Page(page_named("trusted")).picture("predictive")
    assert "0% and 25% in the worst, column 3." in alt
    assert "within what chance explains, 0 of 20 bins outside the band" in alt
    names = tuple(f"column {place}" for place in range(300))
    content = calibration(2, names).predictive
    axes = uniform.predictive_calibration(content).axes[1]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert (labels[:2], len(labels)) == (["column 299", "column 298"], 20)
    assert "20 of 300 columns: those furthest off." in trust_words.predictive(content).caption
    assert "<p>column 0 is calibrated.</p>" in page_named("trusted")


@pytest.mark.parametrize("counts", [np.zeros((2, 10)), np.array([[5]]), np.array([[5, 3, 2, 9]]), np.ones((3, 50))])
def test_unusual_ranks_are_drawn(counts):
    to_svg(uniform.rank_histograms(RankContent(counts)))
    assert "nan" not in trust_words.ranks(RankContent(counts)).alt


@pytest.mark.parametrize("coverage", [np.full((2, 2), NAN), np.array([[NAN, 0.9], [1.0, 1.0]])])
def test_unknown_coverage_is_left_out(coverage):
    content = PredictiveContent(np.zeros(10), coverage, ("a", "b" * 80))
    to_svg(uniform.predictive_calibration(content))
    words = trust_words.predictive(content)
    assert "nan" not in words.alt
    assert f"{np.isfinite(coverage).all(axis=1).sum()} of 2 columns: those with values." in words.caption


# Health.


def test_problems_come_first_and_are_marked_in_words(page_named):
    rows, html = table_after(page_named("trusted"), "health")
    assert [row[0] for row in rows[1:]] == ["overfitting", "ranks", "collapse"]
    assert [row[1] for row in rows[1:]] == ["▲ Problemoverfits", "? Unknownnot checked", "✓ Fine"]
    assert rows[1][2] == "3.457differencethreshold 1"
    assert rows[2][2] == "–"
    assert html.count('class="mark problem"') == 1
    assert "1 problem found in 2 checks. 1 check could not be made." in page_named("trusted")


def test_health_without_problems_says_so(page_named):
    fine = tuple(finding for finding in health().findings if not finding.is_problem)
    assert health_sentence(fine) == "No problem found in 1 check. 1 check could not be made."
    assert health_sentence(()) == "No problem found: no check was made."
    assert "No problem found" in page_named("nothing known")


# Simple models.


def test_differences_are_drawn_with_two_errors_and_far_ones_as_arrows():
    axes = forest.baselines(baselines()).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()][:2] == ["full Gaussian", "autoencoder"]
    dots = [float(container.lines[0].get_xdata()[0]) for container in axes.containers]
    assert dots == [1.25, 0, -1.25]
    whisker = axes.containers[0].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(whisker[:, 0], [1.25 - 0.22, 1.25 + 0.22])
    assert axes.get_xlim()[0] > -10
    assert [text.get_text() for text in axes.texts][:3] == ["+1.25 ± 0.11", "reference", "−1.25 ± 0.20"]
    assert "Arrows: 1 model beyond the axis." in trust_words.baselines(baselines()).caption


def test_ranking_says_which_model_wins(page_named):
    page = page_named("trusted")
    rows, html = table_after(page, "baselines")
    assert rows[1] == ["full Gaussian", "-50.00 ± 0.50", "+1.25 ± 0.11", "full Gaussian"]
    assert rows[2][0] == "autoencoderthe fitted model"
    assert "<strong>autoencoder</strong>" in html
    assert "<p>full Gaussian wins.</p>" in page
    alt = Page(page).picture("baselines")
    assert "3 simple models" in alt
    assert "full Gaussian +1.25 ± 0.11" in alt
    assert "1 above the fitted model." in alt


@pytest.mark.parametrize("others", [[(0.0, 0.0)], [(NAN, NAN)], [(-np.inf, None), (1e-12, 1e-13)], []])
def test_unusual_rankings_are_drawn(others):
    ranking = [BaselineRow("_$x_{" * 20, -1.0, None, *each) for each in others]
    content = BaselineContent((*ranking, BaselineRow("model", -1.0, 0.1, 0.0, None, is_model=True)))
    to_svg(forest.baselines(content))
    assert "nan" not in trust_words.baselines(content).alt


def test_a_ranking_of_the_fitted_model_alone_has_no_picture(case):
    from tightbound.report import render

    alone = BaselineContent((BaselineRow("model", -1.0, 0.1, 0.0, None, is_model=True),))
    page = render(replace(case("two rows"), baselines=alone, health=HealthContent(())))
    assert "figure-baselines" not in page


# What does not fit.


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BracketContent(np.zeros(3), np.zeros(2), 0.0, None, ""), "bracket's upper must have shape"),
        (lambda: RealBracket(np.zeros(3), np.zeros(3), 0.0, None, np.zeros(2)), "rows's converged must"),
        (lambda: RowEvidenceContent(np.zeros(3), np.zeros(3), np.zeros(2)), "row evidence's flags must"),
        (lambda: RankContent(np.zeros(5)), "rank histogram's counts must"),
        (lambda: RankContent(np.zeros((2, 5)), np.zeros(4)), "rank histogram's pooled must"),
        (lambda: PredictiveContent(np.zeros(5), np.zeros((2, 2)), ("a",)), "calibration's coverage must"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused_by_name(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_evidence_of_other_rows_is_refused(case):
    with pytest.raises(ValueError, match="row_evidence must be of the 60 rows"):
        replace(case("plain"), row_evidence=row_evidence(59))
