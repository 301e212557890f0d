"""The page: whole, self-contained, well-formed, escaped, with alternative text, whatever the content."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from PIL import Image

from tightbound.report import render

VOID = {"meta", "img", "br", "hr", "link", "input"}
SECTIONS = ("evidence", "learning", "samples", "reconstructions", "latent", "kl", "log-evidence", "lowest", "settings")


class Page(HTMLParser):
    """A page taken apart: elements with attributes, text by element, table rows; unbalanced tags raise."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[tuple[str, str]]] = []  # of each table row: class and text of its cells
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of {tag} is written twice"
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append((dict(attrs).get("class", ""), ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if "td" in self.open or "th" in self.open:
            kind, text = self.rows[-1][-1]
            self.rows[-1][-1] = (kind, text + data)

    def values(self, attribute):
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]

    def pictures(self):
        """Alternative texts of all pictures, and None for one without."""
        found = [
            attributes.get("alt" if tag == "img" else "aria-label")
            for tag, attributes in self.elements
            if tag in ("img", "svg")
        ]
        return found

    def picture(self, name):
        """Alternative text of the picture in the figure called `name`."""
        start = next(i for i, (_, attributes) in enumerate(self.elements) if attributes.get("id") == f"figure-{name}")
        for tag, attributes in self.elements[start:]:
            if tag in ("img", "svg"):
                return attributes["alt" if tag == "img" else "aria-label"]
        raise AssertionError(f"no picture in {name}")


def captions(page):
    return {
        name: re.sub(r"\s+", " ", text)
        for name, text in re.findall(r'<figure id="figure-([^"]+)">.*?<figcaption>(.*?)</figcaption>', page, re.DOTALL)
    }


def test_every_section_is_there_in_order(rendered):
    _, page = rendered
    found = [attributes["id"] for tag, attributes in Page(page).elements if tag == "section"]
    assert tuple(found) == SECTIONS


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


def test_every_picture_has_alternative_text_with_a_number_and_a_caption(rendered):
    content, page = rendered
    alts = Page(page).pictures()
    assert len(alts) == (8 if content.image_shape else 7)
    for alt in alts:
        assert alt is not None
        assert alt.endswith(".")
        assert "nan" not in alt
    if len(content.samples) and content.history and np.isfinite(content.elbo).all():
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
    spread = content.data[:, 1].mean(), content.data[:, 1].std()
    assert f"column 1: data {spread[0]:.4g} and {spread[1]:.4g}" in page.picture("samples")
    kept = 1 - np.var(content.data[:, 0] - content.reconstructions[:, 0]) / np.var(content.data[:, 0])
    assert float(re.search(r"column 0: ([\d.]+)", page.picture("reconstructions")).group(1)) == pytest.approx(
        kept, abs=0.01
    )


def test_captions_count_active_dimensions_and_give_the_gap(page_named):
    said = captions(page_named("plain"))
    assert "2 of 3 latent dimensions active" in said["kl"]
    assert "on average 1.50 ± 0.000 nats above the ELBO" in said["log-evidence"]
    assert "cut off" in said["learning-curves"]
    assert "5 of 300 columns" in captions(page_named("300 columns"))["samples"]


def test_aggregated_posterior_adds_the_widths_where_they_are_known(case, page_named):
    content = case("posterior widths")
    scale = np.sqrt(content.latent_means.var(axis=0) + 0.25)
    alt = Page(page_named("posterior widths")).picture("aggregated")
    assert f"aggregated posterior in 3 latent dimensions: standard deviations from {scale.min():.4g}" in alt
    assert "posterior means" in Page(page_named("plain")).picture("aggregated")


def test_evidence_table_gives_value_error_kind_and_rows(page_named):
    rows = [[text for _, text in row] for row in Page(page_named("plain")).rows]
    assert ["Quantity", "Value", "Unit", "What it is", "Method", "Rows"] in rows
    assert ["ELBO", "-52.35 ± 0.21", "nats a row", "lower bound", "closed-form KL", "1,234"] in rows
    assert ["rows with high k-hat", "3", "rows", "count", "importance weights", "1,234"] in rows
    assert ["latent_dim", "3"] in rows


def test_messages_are_shown_only_where_there_are_some(page_named):
    assert "Column &#x27;flat&#x27; has one value only." in page_named("plain")
    assert "<aside" not in page_named("no messages")


def test_lowest_rows_are_listed_lowest_first_with_far_cells_marked(case):
    content = case("plain")
    order = np.random.default_rng(0).permutation(60)
    shuffled = {
        name: getattr(content, name)[order]
        for name in ("data", "reconstructions", "log_evidence", "elbo", "row_numbers", "latent_means", "labels")
    }
    page = Page(render(replace(content, **shuffled)))
    head = next(i for i, row in enumerate(page.rows) if row and row[0][1] == "Row")
    body = page.rows[head + 1 : head + 13]
    assert [row[0][1] for row in body] == [str(1000 + index) for index in range(12)]
    assert [row[1][1] for row in body[:2]] == ["-90.0", "-88.6"]
    marked = ["far" in kind for kind, _ in body[0][2:]]
    assert marked[1]
    assert body[0][3][1].startswith("50+")
    centre = np.median(content.data, axis=0)
    scores = np.abs(content.data - centre) / (1.4826 * np.median(np.abs(content.data - centre), axis=0))
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
    assert render(case("plain")) == page_named("plain")


def test_the_users_matplotlib_settings_neither_change_nor_matter(case, page_named):
    expected = page_named("plain")
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.fonttype": "none"}):
        inside = dict(matplotlib.rcParams)
        assert render(case("plain")) == expected
        assert dict(matplotlib.rcParams) == inside
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_never_imported():
    code = "import sys, tightbound.report; sys.exit('matplotlib.pyplot' in sys.modules or 'jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("elbo", np.zeros(59)), ("samples", np.zeros((5, 3))), ("labels", np.zeros(3)), ("names", ("a",))],
)
def test_arrays_of_other_rows_are_refused_by_name(case, field, value):
    with pytest.raises(ValueError, match=f"report's {field} must have"):
        replace(case("plain"), **{field: value})
