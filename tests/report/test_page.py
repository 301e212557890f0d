"""The page: whole, self-contained, well-formed, escaped, with alternative text, whatever the content."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from PIL import Image
from report_pages import Page, captions
from report_results import changed

from tightbound.estimator.evaluation import EvidenceRow
from tightbound.report import render
from tightbound.report.page import Section, paragraph
from tightbound.report.sections import OF_EVALUATION, evidence

OPTIONAL = {
    "health": "health",
    "bracket": "bracket",
    "gap": "gap",
    "calibration": "health",
    "baselines": "comparison",
}
SECTIONS = (
    *("evidence", "health", "bracket", "gap", "row-evidence"),
    *("learning", "samples", "reconstructions", "latent", "kl", "log-evidence"),
    *("calibration", "baselines", "lowest", "settings"),
)


def test_every_section_that_the_content_has_is_there_in_order_and_in_the_list_of_contents(rendered):
    content, text = rendered
    page = Page(text)
    expected = [name for name in SECTIONS if name not in OPTIONAL or getattr(content, OPTIONAL[name]) is not None]
    assert [attributes["id"] for tag, attributes in page.elements if tag == "section"] == expected
    assert page.values("href") == [f"#{name}" for name in expected] + page.values("href")[len(expected) :]


def test_page_is_well_formed_and_every_id_is_unique_and_every_link_lands(rendered):
    page = Page(rendered[1])
    identities = page.values("id")
    assert len(identities) == len(set(identities))
    links = page.values("href")
    assert links
    assert {link.removeprefix("#") for link in links} <= set(identities)
    assert set(re.findall(r"url\(#([^)]+)\)", rendered[1])) <= set(identities)


def test_page_needs_no_network_and_no_script(rendered):
    page = Page(rendered[1])
    assert not {"script", "link", "iframe", "object", "base", "image"} & {
        tag for tag, attributes in page.elements if tag != "image" or not attributes["href"].startswith("data:")
    }
    assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
    assert all(link.startswith("#") for link in page.values("href"))
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "@import" not in rendered[1]
    assert not re.search(r"url\((?!#)", rendered[1])


def optional_pictures(found):
    ranks = 0 if found.health is None else 1 + (found.health.coverage is not None)
    return ranks + sum(part is not None for part in (found.bracket, found.gap, found.comparison))


def test_every_picture_has_alternative_text_with_a_number_and_a_caption(rendered):
    content, page = rendered
    alts = Page(page).pictures()
    assert len(alts) == (9 if content.reproduction.image_shape else 8) + optional_pictures(content)
    for alt in alts:
        assert alt is not None
        assert alt.endswith(".")
        assert "nan" not in alt
    if len(content.reproduction.samples) and content.training.history and np.isfinite(content.evidence.elbo).all():
        assert all(re.search(r"\d", alt) for alt in alts)
    written = captions(page)
    assert len(written) == len(alts)
    assert all(len(caption) > 30 and not re.search(r"\bnan\b", caption) for caption in written.values())


def test_page_is_light(rendered):
    assert len(rendered[1]) < 3_000_000


def test_pictures_are_pictures(page_named):
    sources = Page(page_named("images")).values("src")
    assert len(sources) == 4
    for source in sources:
        with Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))) as picture:
            assert picture.width > 300
            assert np.asarray(picture.convert("L")).std() > 5


def test_alternative_text_of_the_curves_says_where_they_start_and_end(page_named):
    page = Page(page_named("plain"))
    alt = page.picture("learning-curves")
    assert "Training bound rises from -102.2 to -12.3 nats a row in 20 epochs" in alt
    assert "Validation bound rises from -104.8 to -13.7" in alt
    assert "best at epoch 16" in alt
    assert "Validation" not in Page(page_named("no validation")).picture("learning-curves")
    assert "best" not in Page(page_named("best epoch unknown")).picture("learning-curves")


def test_alternative_text_says_what_the_numbers_say(case, page_named):
    content = case("plain")
    page = Page(page_named("plain"))
    assert "KL of 3 latent dimensions, from 2.50 nats (dimension 2) down to 0.000 nats" in page.picture("kl")
    assert "3.75 nats in all; 2 active" in page.picture("kl").replace("3.750", "3.75")
    assert "over 60 rows: mean -50.0, median -50.0" in page.picture("log-evidence")
    assert "mean ELBO -51.5" in page.picture("log-evidence")
    assert "latent dimensions 2 and 1" in page.picture("latent-space")
    assert "3 labels: setosa, versicolor, virginica" in page.picture("latent-space")
    made = content.reproduction
    spread = made.data[:, 1].mean(), made.data[:, 1].std()
    assert f"column 1: data {spread[0]:.4g} and {spread[1]:.4g}" in page.picture("samples")
    kept = 1 - np.var(made.data[:, 0] - made.reconstructions[:, 0]) / np.var(made.data[:, 0])
    assert float(re.search(r"column 0: ([\d.]+)", page.picture("reconstructions")).group(1)) == pytest.approx(
        kept, abs=0.01
    )


def test_captions_count_active_dimensions_and_give_the_gap(page_named):
    said = captions(page_named("plain"))
    assert "2 of 3 latent dimensions active" in said["kl"]
    assert "on average 1.50 ± 0.000 nats above the ELBO" in said["log-evidence"]
    assert "cut off" in said["learning-curves"]
    assert "5 of 300 columns" in captions(page_named("300 columns"))["samples"]


def test_aggregated_posterior_adds_the_widths(case, page_named):
    scale = np.sqrt(case("plain").latents.mean.var(axis=0) + 0.25)
    alt = Page(page_named("plain")).picture("aggregated")
    assert f"aggregated posterior in 3 latent dimensions: standard deviations from {scale.min():.4g}" in alt


def test_evidence_table_gives_value_error_kind_and_rows(page_named):
    rows = [[text for _, text in row] for row in Page(page_named("plain")).rows]
    error = np.linspace(-90, -10, 60).std(ddof=1) / np.sqrt(60)
    method = "importance sampling, 1,000 samples a row"
    assert ["Quantity", "Value", "Unit", "What it is", "Method", "Rows"] in rows
    assert ["log p(x)", f"-50.0 ± {error:.1f}", "nats a row", "estimate", method, "60"] in rows
    assert ["ELBO", f"-51.5 ± {error:.1f}", "nats a row", "lower bound", "mean log weight of q", "60"] in rows
    rules = "k-hat, effective samples, tolerance"
    assert ["rows with unreliable log p(x)", "0", "of 60", "count", rules, "60"] in rows
    assert ["latent_dim", "3"] in rows


def test_any_kind_of_evidence_can_stand_in_the_table():
    kinds = ("upper bound", "approximate", "exact")
    given = [EvidenceRow(kind, -1.0, float("nan"), "nats a row", kind, "", 1) for kind in kinds]
    rows = Page(evidence.body(given)).rows
    assert [row[3][1] for row in rows[1:4]] == list(kinds)


def test_footer_says_what_is_measured(case, page_named):
    def footer(page):
        return re.search("<footer>(.*?)</footer>", page)[1]

    assert footer(page_named("plain")) == (
        "Written by tightbound. log p(x) is in nats a row, the log of a density in the data&#x27;s own units."
    )
    assert footer(page_named("trusted")).endswith("nats a row, the log of a probability.")


def test_messages_are_shown_only_where_there_are_some(page_named):
    assert "Column &#x27;flat&#x27; has one value only." in page_named("plain")
    assert "<aside" not in page_named("no messages")


def test_lowest_rows_are_listed_lowest_first_with_far_cells_marked(case):
    content = case("plain")
    order = np.random.default_rng(0).permutation(60)
    made, latents = content.reproduction, content.latents
    shuffled = changed(
        content,
        **{name: getattr(made, name)[order] for name in ("data", "reconstructions", "labels")},
        evidence=content.evidence.take(order),
        latents=replace(latents, mean=latents.mean[order]),
        row_numbers=content.row_numbers[order],
    )
    page = Page(render(shuffled, "shuffled"))
    head = next(i for i, row in enumerate(page.rows) if row and row[0][1] == "Row")
    body = page.rows[head + 1 : head + 13]
    assert [row[0][1] for row in body] == [str(1000 + index) for index in range(12)]
    assert [row[1][1] for row in body[:2]] == ["-90.0", "-88.6"]
    marked = ["far" in kind for kind, _ in body[0][2:]]
    assert marked[1]
    assert body[0][3][1].startswith("50+")
    centre = np.median(made.data, axis=0)
    scores = np.abs(made.data - centre) / (1.4826 * np.median(np.abs(made.data - centre), axis=0))
    for index, row in enumerate(body):
        far = (scores[index] >= 3) | ((scores[index] == scores[index].max()) & (scores[index] >= 2))
        assert ["far" in kind for kind, _ in row[2:]] == far.tolist()


def test_lowest_images_are_the_ones_with_the_lowest_log_evidence(page_named):
    alt = Page(page_named("images")).picture("lowest-rows")
    assert alt.startswith("The 16 images with the lowest log p(x), in nats: row 1000 at -90.0, row 1001 at -88.6")
    assert "row 1015" in alt
    assert "row 1016" not in alt


def test_missing_cells_are_dashes_never_nan(page_named):
    page = page_named("missing cells")
    body = [row for row in Page(page).rows if row and row[0][1] == "1004"]
    assert [text for _, text in body[0][2:]] == ["–"] * 4
    assert "A dash is a missing cell" in page
    assert "A dash" not in page_named("plain")


def test_hostile_text_is_escaped_everywhere(page_named):
    page = page_named("hostile names")
    assert "<script" not in page.lower()
    assert "alert(1)" in page
    parsed = Page(page)
    assert all(
        set(attributes) <= {"alt", "src", "width", "height", "style"}
        for tag, attributes in parsed.elements
        if tag == "img"
    )
    assert "<script>alert(1)</script>&\"'$x_{" in "".join(parsed.text)


def test_same_content_gives_the_same_page(case, page_named):
    assert render(case("plain"), "A table") == page_named("plain")


def test_the_users_matplotlib_settings_neither_change_nor_matter(case, page_named):
    expected = page_named("plain")
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.fonttype": "none"}):
        inside = dict(matplotlib.rcParams)
        assert render(case("plain"), "A table") == expected
        assert dict(matplotlib.rcParams) == inside
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_never_imported():
    code = "import sys, tightbound.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_section_is_added_by_one_line_in_the_list(case, monkeypatch):
    added = Section(
        "rows", "How many rows", lambda found: found.evidence, lambda evidence: paragraph(str(evidence.n_rows))
    )
    monkeypatch.setattr("tightbound.report.OF_EVALUATION", (*OF_EVALUATION, added))
    text = render(case("plain"), "A table")
    assert '<section id="rows"><h2>How many rows</h2>\n<p>60</p></section>' in text
    assert '<a href="#rows">How many rows</a>' in text
