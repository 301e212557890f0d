"""The page that compares models: whole, self-contained, right in its numbers, and drawn for any content."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from report_pages import Page
from report_trust import NAN, comparison

from tightbound.report import comparison_figure, render_comparison, trust_words
from tightbound.report.forest import comparison_rows
from tightbound.report.style import to_png, to_svg

HOSTILE = "<script>alert(1)</script>&\"'$x_{"


@cache
def page_of(models: int, name: str = "model") -> str:
    return render_comparison(comparison(models, name=name))


def test_page_is_whole_and_needs_nothing_else():
    page = Page(page_of(3))
    identities = page.values("id")
    assert len(identities) == len(set(identities))
    assert [attributes["id"] for tag, attributes in page.elements if tag == "section"] == [
        "models",
        "differences",
        "rows",
    ]
    assert not {"script", "link", "iframe", "image"} & {tag for tag, _ in page.elements}
    assert {link.removeprefix("#") for link in page.values("href")} <= set(identities)
    assert "<p>model 1 is best.</p>" in page_of(3)


def test_table_has_the_best_first_and_every_number():
    rows = [[text for _, text in row] for row in Page(page_of(3)).rows]
    assert rows[1] == ["model 1", "-50.00 ± 0.50", "0.012", "best", ""]
    assert {row[0] for row in rows[2:]} == {"model 0", "model 2"}
    assert rows[2][1:] == ["-54.00 ± 0.50", "0.012", "-4.00 ± 0.55", "25%"]
    assert len(rows) == 4


def test_alternative_texts_say_what_the_pictures_show():
    page = Page(page_of(3))
    assert page.picture("differences").startswith("3 models, best model 1 at -50.0 nats a row.")
    assert "model 0 -4.00 ± 0.55" in page.picture("differences")
    assert "model 0: 25% of 40 rows above zero, median -6.00" in page.picture("rows")


def test_histograms_count_every_row():
    for axes in comparison_rows(comparison(3)).axes:
        assert sum(bar.get_height() for bar in axes.patches) == 40


def test_hostile_names_are_escaped():
    page = page_of(3, HOSTILE)
    assert "<script" not in page.lower()
    assert HOSTILE in "".join(Page(page).text)


def test_picture_can_be_saved_both_ways():
    figure = comparison_figure(comparison(3))
    assert to_png(figure, dpi=40).startswith(b"\x89PNG")
    assert to_svg(figure).startswith("<svg")
    assert len(figure.axes) == 3


def test_one_model_has_a_table_and_no_picture():
    page = Page(page_of(1))
    assert page.pictures() == []
    assert len(page.rows) == 2
    assert to_svg(comparison_figure(comparison(1)))


def test_of_many_models_the_closest_are_drawn_row_by_row():
    content = comparison(14)
    assert len(comparison_rows(content).axes) == 9
    assert "The 9 models closest to the best are shown." in trust_words.comparison_rows(content).caption
    assert "model 13" not in trust_words.comparison_rows(content).alt
    to_svg(comparison_figure(content))


def odd(differences):
    rows = np.asarray(differences, dtype=float).reshape(1, -1)
    nothing = np.full(2, NAN)
    known = np.array([0.0, rows.mean() if rows.size and np.isfinite(rows).all() else NAN])
    return replace(
        comparison(2),
        best=0,
        mean=nothing,
        standard_error=nothing,
        monte_carlo_error=nothing,
        difference=known,
        difference_standard_error=nothing,
        row_differences=rows,
        names=("_a" * 30, "b"),
    )


@pytest.mark.parametrize("differences", [[], [-1.0], [0.0, 0.0], [NAN, -np.inf], [-300.0, -301.0, -302.0, 1e6]])
def test_unusual_differences_are_drawn(differences):
    content = odd(differences)
    page = render_comparison(content)
    alts = Page(page).pictures()
    assert len(alts) == 2
    assert not any(re.search(r"\bnan\b", alt) for alt in alts)
    to_svg(comparison_figure(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"best": 3}, "best must be a position among the 3 names"),
        ({"mean": np.zeros(2)}, "comparison's mean must have shape"),
        ({"row_differences": np.zeros((3, 40))}, "comparison's row_differences must have shape"),
    ],
)
def test_numbers_of_other_models_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        replace(comparison(3), **change)
