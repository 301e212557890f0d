"""The figures: what is drawn is what the content says; limits, scales, choices."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_results import TRAIN, VALIDATION, evidence_of, history, training

from tightbound.estimator.formatting import with_error
from tightbound.evidence.diagnostics.marginals import correlation
from tightbound.evidence.rows import spread_out
from tightbound.report.sections import kl, latent, learning, log_evidence, lowest, reconstructions, samples
from tightbound.report.sections.latent import is_scale, label_groups
from tightbound.report.sections.lowest import robust_scores
from tightbound.report.sections.reconstructions import r_squared
from tightbound.report.style import as_pictures, intensity_range, mosaic, telling_columns, to_png, view_limits

FIGURES = {
    "learning curves": lambda found: learning.figure(found.training),
    "KL": lambda found: kl.figure(found.latents),
    "log p(x)": lambda found: log_evidence.figure(found.evidence),
    "latent space": lambda found: latent.figure(found.latents, found.reproduction.prior_samples),
    "aggregated": lambda found: latent.aggregated_figure(found.latents, found.reproduction.prior_samples),
    "pairs": lambda found: samples.pair_figure(found.reproduction),
    "columns": lambda found: reconstructions.column_figure(found.reproduction),
}
OF_IMAGES = {
    "samples": lambda found: samples.image_figure(found.reproduction),
    "reconstructions": lambda found: reconstructions.image_figure(found.reproduction),
    "lowest": lambda found: lowest.image_figure(found.reproduction, found.evidence.log_evidence, found.row_numbers),
}


@pytest.mark.parametrize(
    ("draw", "kind"),
    [*((draw, "plain") for draw in FIGURES.values()), *((draw, "images") for draw in OF_IMAGES.values())],
)
def test_every_figure_can_be_drawn_alone(case, draw, kind):
    figure = draw(case(kind))
    assert isinstance(figure, Figure)
    assert to_png(figure, dpi=40).startswith(b"\x89PNG")


def test_learning_curves_draw_the_history_and_mark_the_best_epoch():
    lines = {line.get_label(): line for line in learning.figure(training()).axes[0].lines}
    np.testing.assert_array_equal(lines["training rows"].get_ydata(), TRAIN)
    np.testing.assert_array_equal(lines["validation rows"].get_ydata(), VALIDATION)
    best = lines["best: epoch 16"]
    assert best.get_xdata() == [16]
    assert best.get_ydata() == [VALIDATION[15]]


def test_early_epochs_do_not_flatten_the_curves_and_the_end_is_in_view():
    low, high = learning.bound_limits(training())
    assert TRAIN[0] < low
    assert low < VALIDATION[-1] < high
    crash = np.append(VALIDATION[:-1], -500.0)
    assert learning.bound_limits(training(history=history(TRAIN, crash)))[0] < -500.0


def test_bars_are_the_kl_largest_first_active_ones_in_colour(case):
    axes = kl.figure(case("plain").latents).axes[0]
    drawn = {container.get_label(): [bar.get_height() for bar in container] for container in axes.containers}
    assert drawn == {"active": [2.5, 1.25], "inactive": [0.0]}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "1", "0"]


def test_histogram_counts_every_row():
    far = evidence_of(np.concatenate([[-1e6], np.linspace(-90, -10, 59)]), np.linspace(-92, -12, 60))
    heights = [bar.get_height() for bar in log_evidence.figure(far).axes[0].patches if hasattr(bar, "get_height")]
    assert sum(heights) == 60


def test_posterior_means_are_drawn_in_the_two_dimensions_with_the_largest_kl(case):
    found = case("no labels")
    axes = latent.figure(found.latents, found.reproduction.prior_samples).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent dimension 2", "latent dimension 1")
    np.testing.assert_array_equal(axes.collections[1].get_offsets(), found.latents.mean[:, [2, 1]])


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        (np.array([10.0, 9.0, np.nan]), ["9", "10", "missing"]),
        (np.array(["b", "a", "b"]), ["a", "b"]),
        (np.array([None, True, False], dtype=object), ["False", "True", "missing"]),
    ],
)
def test_labels_are_grouped_in_order(labels, texts):
    assert [group.text for group in label_groups(labels)] == texts


def test_many_labels_become_a_scale_or_others(case):
    assert is_scale(np.arange(13))
    assert not is_scale(np.arange(12))
    groups = label_groups(case("many text labels").reproduction.labels)
    assert len(groups) == 12
    assert groups[-1].text == "other"
    assert sum(len(group.rows) for group in groups) == 60


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, (0, 1)), (0, 0.9, (0, 1)), (3, 250, (0, 255)), (0, 16, (0, 16)), (-2, 5, (-2, 5))],
)
def test_intensities_have_one_scale(low, high, expected):
    assert intensity_range(np.array([low, np.nan, high])) == expected


def test_pictures_keep_pixels_in_place_and_show_missing_ones():
    rows = np.arange(24.0).reshape(2, 12)
    rows[1, 0] = np.nan
    grey = as_pictures(rows[:, :6], (2, 3), (0.0, 20.0))
    assert grey.shape == (2, 2, 3, 3)
    np.testing.assert_allclose(grey[0, :, :, 0], rows[0, :6].reshape(2, 3) / 20)
    assert len(set(grey[1, 0, 0])) > 1
    colour = as_pictures(rows, (2, 2, 3), (0.0, 20.0))
    np.testing.assert_allclose(colour[0, 1, 0], rows[0, 6:9] / 20)
    sheet = mosaic(grey, columns=1)
    np.testing.assert_array_equal(sheet[-2:], grey[1])


def test_columns_are_chosen_for_what_others_follow_not_copies_nor_constants():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(400, 2))
    noise = rng.normal(size=(400, 20))
    followed = shared + 0.3 * rng.normal(size=(400, 2))
    data = np.column_stack([np.ones(400), noise, shared, followed, followed[:, :1] * 7 + 2])
    chosen = telling_columns(data, 4).tolist()
    assert set(chosen) < {21, 22, 23, 24, 25}
    assert not {23, 25} <= set(chosen)
    assert chosen == sorted(chosen)
    np.testing.assert_array_equal(telling_columns(data[:, :4], 5), [0, 1, 2, 3])


def test_robust_scores_count_from_the_median_in_robust_deviations():
    values = np.array([[1.0, 0, 5], [2, 0, 5], [3, 0, 5], [4, 0, 5], [100, 3, np.nan]])
    scores = robust_scores(values)
    assert scores[4, 0] == pytest.approx(97 / 1.4826)
    assert scores[4, 1] == pytest.approx(3 / np.std([0, 0, 0, 0, 3]))
    assert not scores[:, 2].any()


def test_view_limits_leave_out_what_would_flatten_the_rest():
    values = np.concatenate([np.linspace(0, 1, 1000), [1e6]])
    low, high = view_limits(values)
    assert low < 0 < 1 < high < 8
    assert view_limits(values[:1000:100], values[-1:])[1] < 8
    np.testing.assert_allclose(view_limits(values[:-1]), (-0.04, 1.04))
    assert view_limits(np.array([0.0] * 99 + [5.0]))[1] > 5
    assert view_limits(np.full(3, 2.0)) == (1.5, 2.5)
    assert view_limits(np.zeros(0)) == (0.0, 1.0)


def test_shares_and_correlations_are_those_of_the_known_cells():
    values = np.array([1.0, 2, 3, 4, np.nan])
    assert r_squared(values, np.array([1.0, 2, 3, 4, 9])) == 1
    assert r_squared(values, np.full(5, 2.5)) == pytest.approx(0)
    assert np.isnan(r_squared(np.ones(4), np.ones(4)))
    assert correlation(values, -values) == pytest.approx(-1)
    assert np.isnan(correlation(values, np.ones(5)))
    assert spread_out(10, 3).tolist() == [0, 4, 9]


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (-98.76543, 0.0123, ("-98.765", "0.012")),
        (-98.76543, 12.3, ("-99", "12")),
        (1234567.0, None, ("1,234,567", "")),
        (0.1234567, None, ("0.12346", "")),
        (1.5, 0.0, ("1.5", "0")),
        (1.5, float("nan"), ("1.5", "")),
    ],
)
def test_a_value_is_written_as_fine_as_its_error(value, error, expected):
    assert with_error(value, error) == expected
