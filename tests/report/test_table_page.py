"""The page of a mixed table: its numbers against brute force and scipy, its words and figures, and a real page."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from mixed_table import SETTINGS, pandas_frame
from report_pages import Page, captions
from scipy import stats
from scipy.stats.contingency import association as scipy_association
from scipy.stats.contingency import crosstab

from tightbound.report import (
    AssociationContent,
    ColumnContent,
    CopiesContent,
    EvidenceRow,
    ImputationContent,
    ImputationRow,
    ReportContent,
    StrangeCellContent,
    StrangeContent,
    StrangeRow,
    TableContent,
    associated,
    copied,
    figures_of,
    measured,
    render,
    value_of,
)
from tightbound.report.style import to_png
from tightbound.report.table_figures import date_ticks
from tightbound.report.table_making import numbers_only
from tightbound.report.table_numbers import (
    association,
    closest,
    correlation_ratio,
    cramers_v,
    marginal_distance,
    missing_patterns,
    missing_together,
    scales,
)
from tightbound.report.table_words import largest_differences

HOSTILE = "<script>alert(1)</script>&\"'$x_{"
LEVELS = ("red", HOSTILE, "a level with a very long name, longer than any axis has room for", "blue")
COLUMNS = (
    ColumnContent("weight", "positive", "normal_scores"),
    ColumnContent("colour", "categorical", "categorical", LEVELS),
    ColumnContent("joined", "datetime", "normal_scores"),
    ColumnContent("city", "categorical", "categorical", tuple(f"city {k}" for k in range(30))),
    ColumnContent("size", "ordinal", "cumulative_logit", ("S", "M", "L")),
    ColumnContent("visits", "count", "negative_binomial"),
)
WHITE = 250


def plain(rows: int, columns: int) -> ReportContent:
    """Return the page of a table of numbers."""
    rng = np.random.default_rng(7)
    data, means = rng.normal(size=(rows, columns)), rng.normal(size=(rows, 2))
    log_evidence = np.linspace(-90.0, -10.0, rows)
    return ReportContent(
        title="A table",
        summary="A variational autoencoder fitted to a table.",
        settings={"latent_dim": "2"},
        messages=(),
        history={"epoch": np.arange(1, 4), "train_bound": np.array([-60.0, -50.0, -49.0])},
        best_epoch=3,
        evidence=(EvidenceRow("ELBO", -52.3456, 0.213, "nats a row", "lower bound", "closed-form KL", rows),),
        log_evidence=log_evidence,
        elbo=log_evidence - 1.5,
        data=data,
        samples=rng.normal(size=(50, columns)),
        reconstructions=data,
        names=tuple(f"column {j}" for j in range(columns)),
        image_shape=None,
        latent_means=means,
        prior_samples=rng.normal(size=(200, 2)),
        labels=None,
        kl_per_dimension=np.array([0.5, 1.5]),
        active=np.array([True, True]),
        row_numbers=np.arange(rows) + 1000,
    )


def rows_of(n: int, seed: int, *, tied: bool) -> np.ndarray:
    """Codes of n rows; `tied`: the colour is read off the weight, else it has nothing to do with it."""
    rng = np.random.default_rng(seed)
    weight = rng.gamma(3.0, 20.0, n)
    colour = np.digitize(weight, [25, 50, 80]) if tied else rng.integers(4, size=n)
    city = np.minimum(rng.geometric(0.15, n) - 1, 29)
    return np.column_stack(
        [weight, colour, 19000 + rng.integers(900, size=n), city, rng.integers(3, size=n), rng.poisson(3, n)]
    ).astype(float)


def with_gaps(data: np.ndarray) -> np.ndarray:
    """Weight and colour are missing together in 20 rows, city alone in 10."""
    data = data.copy()
    data[:20, :2] = np.nan
    data[30:40, 3] = np.nan
    return data


@cache
def mixed() -> ReportContent:
    """A page of 300 rows whose samples have lost the tie of colour to weight and know one city."""
    data, samples = with_gaps(rows_of(300, 0, tied=True)), rows_of(200, 1, tied=False)
    samples[:, 3] = 0
    table = TableContent(
        measured(COLUMNS, data, samples),
        associated(COLUMNS, data, samples),
        ImputationContent(
            (
                ImputationRow("weight", True, 40, 0.51, 1.02, 0.70),
                ImputationRow("colour", False, 36, 0.25, 0.75),
                ImputationRow("size", False, 50, 0.70, 0.62, 0.92),
            ),
            300,
            held_out=True,
        ),
        StrangeContent(
            (
                StrangeRow(3, (StrangeCellContent("colour", HOSTILE, 6.9), StrangeCellContent("city", "b", 0.5)), 0.02),
                StrangeRow(7, (), 0.04),
            ),
            50,
        ),
        copied(COLUMNS, data, samples),
    )
    base = plain(rows=300, columns=6)
    names = tuple(column.name for column in COLUMNS)
    return replace(base, data=data, samples=samples, reconstructions=data, names=names, table=table)


@cache
def page() -> str:
    return render(mixed())


# Numbers.


def test_cramers_v_is_that_of_scipy_with_bergsmas_correction():
    rng = np.random.default_rng(3)
    for r, c, noise in ((3, 4, 0.5), (2, 2, 0.2), (6, 3, 0.9)):
        first = rng.integers(r, size=400)
        second = np.where(rng.random(400) < noise, rng.integers(c, size=400), first % c)
        table = crosstab(first, second).count
        phi = scipy_association(table, method="cramer") ** 2 * (min(table.shape) - 1)
        corrected = max(0, phi - (r - 1) * (c - 1) / 399)
        smaller = min(r - (r - 1) ** 2 / 399, c - (c - 1) ** 2 / 399) - 1
        assert cramers_v(first.astype(float), second.astype(float)) == pytest.approx(np.sqrt(corrected / smaller))


def test_correlation_ratio_is_that_of_an_analysis_of_variance():
    rng = np.random.default_rng(4)
    groups = rng.integers(5, size=300).astype(float)
    values = 0.7 * groups + rng.normal(size=300)
    f = stats.f_oneway(*[values[groups == k] for k in range(5)]).statistic
    # Kelley's epsilon squared by way of F: (F - 1) / (F + (n - k) / (k - 1)).
    expected = np.sqrt((f - 1) / (f + 295 / 4))
    assert correlation_ratio(groups, values) == pytest.approx(expected)
    assert association(values, groups, (0, 5)) == pytest.approx(expected)
    assert association(groups, values, (5, 0)) == pytest.approx(expected)


def test_association_of_independent_columns_is_small_and_of_copies_is_one():
    rng = np.random.default_rng(5)
    levels, others = rng.integers(20, size=(2, 2000)).astype(float)
    numbers = rng.normal(size=2000)
    assert association(levels, others, (20, 20)) < 0.05
    assert association(levels, numbers, (20, 0)) < 0.12
    assert association(levels, levels, (20, 20)) == pytest.approx(1)
    assert association(numbers, -3 * numbers + 1, (0, 0)) == pytest.approx(1)
    assert np.isnan(association(np.ones(50), numbers[:50], (1, 0)))
    assert np.isnan(association(np.full(50, np.nan), numbers[:50], (0, 0)))
    assert np.isnan(association(np.arange(50.0), numbers[:50], (50, 0)))  # a level for every row


def test_distances_of_marginals():
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=250), rng.normal(0.4, 1, size=180)
    distance, chance = marginal_distance(np.append(first, np.nan), second, 0)
    assert distance == pytest.approx(stats.ks_2samp(first, second).statistic)
    # Smirnov's limit, at which scipy's asymptotic p-value is 5 %.
    assert stats.kstwobign.sf(chance * np.sqrt(250 * 180 / 430)) == pytest.approx(0.05, abs=0.002)
    distance, chance = marginal_distance(np.array([0.0, 0, 1, 2]), np.array([0.0, 1, 1, 1, 2]), 4)
    assert distance == pytest.approx(0.5 * (0.3 + 0.35 + 0.05))
    assert chance > distance  # of four and five rows


def test_chance_holds_what_it_says_for_levels():
    rng = np.random.default_rng(7)
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    beyond = 0
    for _ in range(200):
        data, samples = rng.choice(4, 120, p=shares), rng.choice(4, 90, p=shares)
        distance, chance = marginal_distance(data.astype(float), samples.astype(float), 4)
        beyond += distance > chance
    assert beyond <= 10 + 4 * np.sqrt(200 * 0.05 * 0.95)


def test_missing_patterns_are_counted():
    data = with_gaps(rows_of(300, 0, tied=True))
    found = missing_patterns(data, 20, 10)
    assert found.columns.tolist() == [0, 1, 3]
    assert found.share == pytest.approx([20 / 300, 20 / 300, 10 / 300])
    patterns = {tuple(map(int, p)): int(n) for p, n in zip(found.patterns, found.counts, strict=True)}
    assert patterns == {(0, 0, 0): 270, (1, 1, 0): 20, (0, 0, 1): 10}
    assert found.counts.tolist() == [270, 20, 10]
    rows, expected = missing_together(data)
    p, q = 1 / 15, 1 / 30
    exactly_none = (1 - p) ** 2 * (1 - q)
    exactly_one = 2 * p * (1 - p) * (1 - q) + q * (1 - p) ** 2
    assert rows == 20
    assert expected == pytest.approx(300 * (1 - exactly_none - exactly_one))
    assert len(missing_patterns(data, 2, 2).columns) == 2
    assert len(missing_patterns(data, 2, 2).counts) == 2


def test_closest_rows_against_brute_force():
    data, samples = with_gaps(rows_of(130, 0, tied=True)), rows_of(70, 1, tied=False)
    data[5] = np.nan
    levels = [len(column.levels) for column in COLUMNS]
    scale = scales(data, levels)
    assert scale[0] == pytest.approx(np.subtract(*np.nanquantile(data[:, 0], [0.99, 0.01])))

    def gower(a: np.ndarray, b: np.ndarray) -> float:
        both = np.isfinite(a) & np.isfinite(b)
        parts = [float(x != y) if n else min(abs(x - y) / s, 1) for x, y, n, s in zip(a, b, levels, scale, strict=True)]
        return float(np.mean(np.array(parts)[both])) if 2 * both.sum() >= len(a) else np.inf

    expected = [min(gower(a, b) for b in data) for a in samples]
    assert closest(samples, data, levels, scale) == pytest.approx(expected)
    expected = [min(gower(a, b) for j, b in enumerate(data) if i != j) for i, a in enumerate(data)]
    assert closest(data, data, levels, scale, same=True) == pytest.approx(expected)
    assert expected[5] == np.inf


def test_planted_copies_are_found():
    data, samples = rows_of(300, 0, tied=True), rows_of(200, 1, tied=False)
    assert (copied(COLUMNS, data, samples).of_samples == 0).sum() == 0
    samples[:7] = data[50:57]
    found = copied(COLUMNS, data, samples)
    assert (found.of_samples == 0).sum() == 7
    assert (found.of_data == 0).sum() == 0
    assert (
        "7 of 200 samples equal a row in every cell; of as many rows of the data, 0.0 equal another"
        in captions(render(replace(mixed(), table=replace(mixed().table, copies=found))))["copies"]
    )
    doubled = np.concatenate([data, data[:30]])
    assert (copied(COLUMNS, doubled, samples).of_data == 0).sum() == 60
    assert copied(COLUMNS, data[:1], samples) is None


def test_numbers_only_leaves_levels_out():
    content = numbers_only(mixed())
    assert content.names == ("weight", "joined", "visits")
    assert np.array_equal(content.data, mixed().data[:, [0, 2, 5]], equal_nan=True)
    numbers = plain(20, 3)
    assert numbers_only(numbers) is numbers


def test_values_are_written_as_a_person_writes_them():
    assert value_of(18322.0, "datetime") == "2020-03-01"
    assert value_of(18322.5, "datetime") == "2020-03-01 12:00:00"
    assert value_of(1234567.0, "count") == "1,234,567"
    assert value_of(0.123456, "real") == "0.1235"


@pytest.mark.parametrize("span", [3, 40, 100, 400, 2000, 9000, 90000, 900000])
def test_ticks_of_dates_are_few_and_stand_at_their_dates(span):
    low = np.datetime64("2019-11-17").astype(int) - (span > 90000) * 500000 + 0.3
    ticks, words = date_ticks(low, low + span)
    assert 1 <= len(ticks) <= 6
    assert [str(np.datetime64(word, "D").astype(int)) for word in words] == [f"{tick:.0f}" for tick in ticks]
    assert all(low <= tick <= low + span for tick in ticks)


# Words.


def test_lost_association_is_named():
    found = mixed().table.associations
    named = largest_differences(found)
    assert named[0][:2] == ("weight", "colour")
    assert named[0][2] > 0.8
    assert named[0][3] < 0.3
    caption = captions(page())["associations"]
    assert f"weight and colour {named[0][2]:.2f} in the data, {named[0][3]:.2f} in the samples" in caption
    same = replace(found, samples=found.data)
    text = render(replace(mixed(), table=replace(mixed().table, associations=same)))
    assert "No two columns differ by more than 0.1" in captions(text)["associations"]


def test_missing_cells_are_told():
    alt, caption = Page(page()).picture("missing"), captions(page())["missing"]
    assert "in 3 of 6 columns: weight 6.7%, colour 6.7%, city 3.3%" in alt
    assert "270 of 300 rows complete; 3 patterns" in alt
    assert "20 rows miss two cells or more, 2.6 would by chance: columns go missing together" in caption
    assert "weight and colour (correlation 1.00)" in caption
    alone = mixed().data.copy()
    alone[:20, 0] = 1.0
    caption = captions(render(replace(mixed(), data=alone)))["missing"]
    assert "columns go missing about independently" in caption
    assert "Most together" not in caption


def test_imputation_is_told_and_marked():
    text = page()
    assert "The model beats the simple value in 2 of 3 columns" in text
    assert f"hold {(0.7 * 40 + 0.92 * 50) / 90:.1%} ± {100 * np.sqrt(0.09 / 90):.1f} of 90 cells with an order" in text
    lines = {line[0][1]: line for line in Page(text).rows if len(line) == 6 and line[1][1] in MEASURES}
    assert [kind for kind, _ in lines["weight"]][2:5] == ["number", "number", "number flagged"]
    assert [kind for kind, _ in lines["size"]][2:5] == ["number flagged", "number", "number"]
    assert [cell for _, cell in lines["colour"]][1:5] == ["wrong levels", "25.0%", "75.0%", "–"]
    assert lines["weight"][4][1] == f"70% ± {100 * np.sqrt(0.09 / 40):.0f}"


MEASURES = ("error in sd", "wrong levels")


def test_strange_rows_have_their_cells():
    lines = [[cell for _, cell in line] for line in Page(page()).rows]
    assert ["1003", "-89.2", "0.02", f"colour = {HOSTILE} 1 in 992"] in lines
    assert next(line for line in lines if line[0] == "1007")[3] == "none stands out"
    assert "city = b" not in page()
    unknown = replace(mixed().table, strange=StrangeContent((StrangeRow(3, ()),)))
    assert "p-value" not in render(replace(mixed(), table=unknown)).split('id="strangest"')[1]


def test_strange_rows_of_wide_tables_have_no_cells():
    strange = StrangeContent((StrangeRow(3, (), 0.02),), 50, explained=False)
    part = render(replace(mixed(), table=replace(mixed().table, strange=strange))).split('id="strangest"')[1]
    assert "none stands out" not in part
    assert "Strangest cells" not in part
    assert "were not looked at" in part


def test_marginals_are_told_and_marked():
    lines = {line[0][1]: line for line in Page(page()).rows if len(line) == 5}
    assert lines["colour"][1][1] == "categorical, 4 levelscategorical"
    assert lines["weight"][2][1] == "6.7%"
    assert lines["size"][2][1] == "–"
    for column in mixed().table.columns:
        kind, text = lines[column.name][4]
        assert text == f"{column.distance:.3f}chance {column.chance:.3f}"
        assert ("flagged" in kind) == (column.distance > column.chance)
    assert "flagged" in lines["city"][4][0]


# The page.


def test_page_has_the_sections_of_a_mixed_table():
    parts = [a["id"] for tag, a in Page(page()).elements if tag == "section"]
    for name in ("columns", "associations", "missing", "samples", "copies", "imputation", "strangest"):
        assert name in parts
    assert "lowest" not in parts
    order = [parts.index(name) for name in ("columns", "associations", "missing", "samples", "copies", "imputation")]
    assert all(a < b for a, b in pairwise(order))


def test_page_is_whole_and_escaped():
    found = Page(page())
    identities = found.values("id")
    assert len(identities) == len(set(identities))
    assert set(re.findall(r"url\(#([^)]+)\)", page())) <= set(identities)
    assert "<script>" not in page()
    assert all(alt and "nan" not in alt and alt.endswith(".") for alt in found.pictures())
    assert not any(re.search(r"\bnan\b", caption) for caption in captions(page()).values())


def test_pair_plot_and_reconstructions_are_of_numbers():
    alt = Page(page()).picture("samples")
    assert "weight" in alt
    assert "colour" not in alt
    assert "city" not in Page(page()).picture("reconstructions")


def test_table_of_levels_alone_has_no_pair_plot():
    at = [1, 3, 4]
    content = mixed()
    columns = tuple(COLUMNS[j] for j in at)
    data, samples = content.data[:, at], content.samples[:, at]
    table = TableContent(measured(columns, data, samples), associated(columns, data, samples))
    levels = replace(
        content, data=data, samples=samples, reconstructions=data, names=("colour", "city", "size"), table=table
    )
    parts = [a["id"] for tag, a in Page(render(levels)).elements if tag == "section"]
    assert "columns" in parts
    assert not {"samples", "reconstructions", "copies", "imputation", "strangest", "lowest"} & set(parts)
    assert not {"samples", "reconstructions", "copies"} & set(figures_of(levels))


@pytest.mark.parametrize("name", ["associations", "missing", "copies", "samples", "reconstructions"])
def test_figures_are_drawn(name):
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(to_png(figures_of(mixed())[name](), dpi=60))) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert (pixels < WHITE).mean() > 0.01


def wide(columns: int) -> ReportContent:
    """Columns with long names, and a gap in each."""
    rng = np.random.default_rng(8)
    data = np.cumsum(rng.normal(size=(60, columns)), axis=1)
    data[rng.random(data.shape) < 0.1] = np.nan
    kinds = tuple(ColumnContent(f"a column with a long name, number {j}", "real", "gaussian") for j in range(columns))
    samples = rng.normal(size=(50, columns))
    table = TableContent(
        measured(kinds, data, samples),
        associated(kinds, data, samples),
        copies=copied(kinds, data, samples),
    )
    base = plain(rows=60, columns=columns)
    names = tuple(each.name for each in kinds)
    return replace(base, data=data, samples=samples, reconstructions=data, names=names, table=table)


def test_wide_table_shows_the_columns_that_matter():
    content = wide(70)
    text = render(content)
    assert len(text) < 3_000_000
    assert len(content.table.associations.names) == 20
    assert sum("chance" in line[-1][1] for line in Page(text).rows if len(line) == 5) == 40
    assert "40 of 70 columns" in text
    assert "20 of 70 columns" in captions(text)["associations"]
    assert "The 20 columns that miss most are shown" in captions(text)["missing"]


def test_odd_tables_are_drawn():
    columns = (
        ColumnContent("only", "categorical", "categorical", ("a", "b")),
        ColumnContent("gone", "real", "gaussian"),
    )
    data = np.array([[0.0, np.nan], [1.0, np.nan], [0.0, np.nan]])
    table = TableContent(
        measured(columns, data, data[:0]), associated(columns, data, data[:0]), copies=copied(columns, data, data[:0])
    )
    assert table.associations is None
    assert table.copies is None
    base = plain(rows=3, columns=2)
    text = render(replace(base, data=data, samples=data[:0], reconstructions=data, names=("only", "gone"), table=table))
    assert Page(text).rows
    assert "Only one column has missing cells" in text


def test_content_of_other_columns_is_refused():
    with pytest.raises(ValueError, match="must describe each of the 6 columns of data, but describes 5"):
        replace(mixed(), table=replace(mixed().table, columns=COLUMNS[:5]))
    with pytest.raises(ValueError, match="associations's samples must have shape"):
        AssociationContent(("a", "b"), np.zeros((2, 2)), np.zeros((3, 3)), 2)


def test_copies_of_equal_distances_are_drawn():
    table = replace(mixed().table, copies=CopiesContent(np.zeros(20), np.zeros(30)))
    assert "20 of 20 samples equal a row" in captions(render(replace(mixed(), table=table)))["copies"]


# A model.


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_page_of_a_fitted_model_has_each_section():
    from tightbound import VAE
    from tightbound.report.overview import overview

    frame = pandas_frame().iloc[:150]
    vae = VAE(**{**SETTINGS, "epochs": 3}).fit(frame)
    table = vae._table(frame)
    found = overview(
        vae.fitted_, table, n_samples=20, held_out=table.take(np.arange(30)), checks=(), method="importance"
    )
    content = found.content("mixed")
    text = render(content)
    parts = [a["id"] for tag, a in Page(text).elements if tag == "section"]
    for name in ("columns", "associations", "missing", "samples", "copies", "imputation", "strangest"):
        assert name in parts
    assert [column.kind for column in content.table.columns][2:] == [
        *("positive", "ordinal", "categorical", "binary", "datetime"),
    ]
    check = content.table.imputation
    assert check.held_out
    assert check.n_rounds == 10
    observed = np.isfinite(table.values[:30])
    assert [row.cells for row in check.rows] == observed.sum(axis=0).tolist()  # every cell was hidden once
    simple = {row.name: row.simple_error for row in check.rows}
    colours = table.values[:, 4]
    common = np.bincount(colours[np.isfinite(colours)].astype(int)).argmax()
    held = colours[:30][np.isfinite(colours[:30])]
    assert simple["colour"] == pytest.approx(np.mean(held != common))
    heights = table.values[:, 0]
    errors = heights[:30] - np.nanmean(heights)
    assert simple["height"] == pytest.approx(np.sqrt(np.nanmean(errors**2)) / np.nanstd(heights))
    assert all(row.coverage is None for row in check.rows if row.name in ("colour", "member"))
    lowest = [row.position for row in content.table.strange.rows]
    assert lowest == np.argsort(found.evidence.log_evidence, kind="stable")[:12].tolist()
    dates = [c.value for row in content.table.strange.rows for c in row.cells if c.column == "joined"]
    assert all(re.match(r"\d{4}-\d\d-\d\d", value) for value in dates)
