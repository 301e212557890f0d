"""What a person stumbled over in the report: combed histograms, powers of ten, settings without numbers, long cells."""

import dataclasses

import numpy as np
import pytest
import tiny

from tightbound.estimator.description import settings_of
from tightbound.estimator.evaluation import EvidenceRow
from tightbound.estimator.formatting import short
from tightbound.evidence.result import Method, nothing_observed
from tightbound.report.sections.columns import axis_number, histogram_edges, value_of
from tightbound.report.sections.evidence import body
from tightbound.report.style import view_limits

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("step", [1.0, 0.1, 25.0])
@pytest.mark.parametrize("spread", [3, 30, 300])
def test_every_bin_of_a_histogram_holds_as_many_values_as_the_others(step: float, spread: int) -> None:
    data = step * np.rint(RNG.normal(100, spread, size=2000))
    edges = np.array(histogram_edges(data, view_limits(data)))
    places = step * np.arange(np.floor(edges[0] / step), np.ceil(edges[-1] / step) + 1)
    held, _ = np.histogram(places, edges)
    assert len(set(held.tolist())) == 1 and held[0] >= 1
    assert 5 <= len(edges) <= 80


def test_numbers_that_lie_on_no_steps_have_even_bins_over_the_view() -> None:
    data = RNG.normal(size=500)
    edges = histogram_edges(data, view_limits(data))
    assert (edges[0], edges[-1]) == pytest.approx(view_limits(data))
    assert np.ptp(np.diff(edges)) < 1e-9


def test_numbers_are_written_out() -> None:
    assert [short(value) for value in (33760.25, 13482.0, 1e6, 0.012345, -1234.5)] == [
        *("33,760", "13,482", "1,000,000", "0.01235", "-1,234"),
    ]
    assert value_of(33760.25, "real") == "33,760" and value_of(13482.0, "count") == "13,482"
    assert [axis_number(value) for value in (1e6, 2e20, 3e-7, 0.5)] == ["1,000,000", "2e20", "3e-7", "0.5"]


def test_settings_that_were_left_open_show_what_was_chosen() -> None:
    model = tiny.fitted().fitted_
    shown = settings_of(model)
    assert shown["hide_cells"] == "0 (by default)" and shown["patience"] == "20 (by default)"
    assert shown["learning_rate"] == "0.0015 (by default)" and shown["validation_fraction"] == "0.1 (by default)"
    assert shown["epochs"] == "3" and shown["condition"] == "none"
    assert not any("default" in value and not any(c.isdigit() for c in value) for value in shown.values())


def test_several_methods_are_a_bar_that_unfolds() -> None:
    ways = np.array([Method.IMPORTANCE] * 6 + [Method.REFINED] * 3 + [Method.ANNEALED], dtype=object)
    taken = np.array([1000, 1000, 1000, 1000, 10_000, 4000, 1000, 1000, 1000, 16])
    found = dataclasses.replace(nothing_observed(10), method=ways, n_samples=taken)
    assert found.ways == (
        ("importance sampling, 1,000 to 10,000 samples a row", 6),
        ("importance sampling with a refined q, 1,000 samples a row", 3),
        ("annealed importance sampling, 16 chains a row", 1),
    )
    row = EvidenceRow("log p(x)", -3.0, 0.1, "nats", "estimate", found.how, 10, found.ways)
    page = body([row])
    assert "<summary>3 methods" in page and page.count("<li>") == 3
    assert "width:60.00%" in page and "width:30.00%" in page and "width:10.00%" in page
    assert "<details" not in body([dataclasses.replace(row, ways=())])
