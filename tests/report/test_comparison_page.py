"""The page that compares models: whole, self-contained, right in its numbers, and drawn for any content."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
from report_pages import Page
from report_results import NAN, compared

from tightbound.evidence import Comparison
from tightbound.report import render_comparison
from tightbound.report.sections import comparison
from tightbound.report.style import to_png, to_svg

HOSTILE = "<script>alert(1)</script>&\"'$x_{"


def page_with(ranked: Comparison) -> str:
    return render_comparison(ranked, title="Comparison of models", summary="Some models.", unit="nats a row")


@cache
def page_of(models: int, name: str = "model") -> str:
    return page_with(compared(models, name=name))


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
    assert "<p>model 0 - model 1: -4.000 ± 0.555 nats a row" in page_of(3)
    assert "The difference is clear" in page_of(3)


def test_table_has_the_best_first_and_every_number():
    rows = [[text for _, text in row] for row in Page(page_of(3)).rows]
    error = compared(3).mean("model 0").standard_error
    assert rows[1] == ["model 1", "-50.00 ± 0.50", "0.012", "best", ""]
    assert {row[0] for row in rows[2:]} == {"model 0", "model 2"}
    assert rows[2][1:] == [f"-54.00 ± {error:.2f}", "0.012", "-4.00 ± 0.55", "25%"]
    assert len(rows) == 4


def test_alternative_texts_say_what_the_pictures_show():
    page = Page(page_of(3))
    assert page.picture("differences").startswith("3 models, best model 1 at -50.0 nats a row.")
    assert "model 0 -4.00 ± 0.55" in page.picture("differences")
    assert "model 0: 25% of 40 rows above zero, median -6.00" in page.picture("rows")


def test_histograms_count_every_row():
    for axes in comparison.rows_figure(compared(3)).axes:
        assert sum(bar.get_height() for bar in axes.patches) == 40


def test_hostile_names_are_escaped():
    page = page_of(3, HOSTILE)
    assert "<script" not in page.lower()
    assert HOSTILE in "".join(Page(page).text)


def test_pictures_can_be_saved_both_ways():
    for figure in (comparison.forest_figure(compared(3)), comparison.rows_figure(compared(3))):
        assert to_png(figure, dpi=40).startswith(b"\x89PNG")
        assert to_svg(figure).startswith("<svg")


def test_of_many_models_the_closest_are_drawn_row_by_row():
    ranked = compared(14)
    assert len(comparison.rows_figure(ranked).axes) == 9
    assert "The 9 models closest to the best are shown." in comparison.rows_words(ranked).caption
    assert "model 13" not in comparison.rows_words(ranked).alt


@pytest.mark.parametrize("differences", [[-1.0], [0.0, 0.0], [NAN, -np.inf], [-300.0, -301.0, -302.0, 1e2]])
def test_unusual_differences_are_drawn(differences):
    rows = np.stack([np.zeros(len(differences)), np.array(differences)])
    page = page_with(Comparison(("_a" * 30, "b"), rows, np.zeros(rows.shape)))
    alts = Page(page).pictures()
    assert len(alts) == 2
    assert not any(re.search(r"\bnan\b", alt) for alt in alts)
