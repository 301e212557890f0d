"""The page of a mixed table: its numbers against brute force and scipy, its words and figures, and a real page."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from mixed_table import SETTINGS, pandas_frame
from report_pages import Page, captions
from report_results import changed
from report_results import plain as table_of_numbers
from scipy import stats
from scipy.stats.contingency import association as scipy_association
from scipy.stats.contingency import crosstab

from tightbound.estimator.detection import AnomalousCell
from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.reproduction import (
    AnomalousRow,
    AnomalousRows,
    ColumnChecks,
    HiddenCells,
    HiddenColumn,
)
from tightbound.evidence.diagnostics.marginals import (
    ClosestRows,
    Marginal,
    association,
    associations,
    closest,
    closest_rows,
    correlation_ratio,
    cramers_v,
    marginal_distance,
    scales,
)
from tightbound.evidence.diagnostics.missing_cells import missing_patterns, missing_together, most_together
from tightbound.report import render
from tightbound.report.sections import OF_EVALUATION, missing
from tightbound.report.sections import associations as of_associations
from tightbound.report.sections import copies as of_copies
from tightbound.report.sections.associations import largest_differences
from tightbound.report.sections.columns import name_dates, value_of
from tightbound.report.style import new_figure, to_png

HOSTILE = "<script>alert(1)</script>&\"'$x_{"
LEVELS = ("red", HOSTILE, "a level with a very long name, longer than any axis has room for", "blue")
COLUMNS = (
    Marginal("weight", "positive", "normal_scores"),
    Marginal("colour", "categorical", "categorical", LEVELS),
    Marginal("joined", "datetime", "normal_scores"),
    Marginal("city", "categorical", "categorical", tuple(f"city {k}" for k in range(30))),
    Marginal("size", "ordinal", "cumulative_logit", ("S", "M", "L")),
    Marginal("visits", "count", "negative_binomial"),
)
WHITE = 250


def measured(columns: tuple[Marginal, ...], data: np.ndarray, samples: np.ndarray) -> tuple[Marginal, ...]:
    return tuple(column.measured(data[:, j], samples[:, j]) for j, column in enumerate(columns))


def by_columns(data: np.ndarray, samples: np.ndarray, checks: ColumnChecks) -> Evaluation:
    """The evaluation of a table of columns by type, without labels."""
    names = tuple(column.name for column in checks.marginals)
    found = table_of_numbers(len(data), data.shape[1])
    made = {"data": data, "samples": samples, "reconstructions": data, "names": names, "columns": checks}
    return changed(found, **made, labels=None)


def with_checks(found: Evaluation, **checks: object) -> Evaluation:
    """The same with other checks of its columns."""
    return changed(found, columns=replace(found.columns, **checks))


def page_of(found: Evaluation) -> str:
    return render(found, "A table")


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
def mixed() -> Evaluation:
    """A page of 300 rows whose samples have lost the tie of colour to weight and know one city."""
    data, samples = with_gaps(rows_of(300, 0, tied=True)), rows_of(200, 1, tied=False)
    samples[:, 3] = 0
    hidden = (
        HiddenColumn("weight", True, 40, 0.51, 1.02, 0.70),
        HiddenColumn("colour", False, 36, 0.25, 0.75),
        HiddenColumn("size", False, 50, 0.70, 0.62, 0.92),
    )
    cells = (AnomalousCell("colour", HOSTILE, 6.9), AnomalousCell("city", "b", 0.5))
    checks = ColumnChecks(
        measured(COLUMNS, data, samples),
        associations(COLUMNS, data, samples),
        HiddenCells(hidden, 300, held_out=True),
        AnomalousRows((AnomalousRow(3, cells, 0.02), AnomalousRow(7, (), 0.04)), 50),
        closest_rows(COLUMNS, data, samples),
    )
    return by_columns(data, samples, checks)


@cache
def page() -> str:
    return page_of(mixed())


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


def gaps(n: int, *rows_of_columns: range) -> np.ndarray:
    """(n, d) numbers, missing in these rows of each column."""
    data = np.ones((n, len(rows_of_columns)))
    for j, rows in enumerate(rows_of_columns):
        data[list(rows), j] = np.nan
    return data


def told_together(data: np.ndarray) -> str:
    return missing.words(data, [f"c{j}" for j in range(data.shape[1])]).caption


def test_columns_that_miss_one_row_together_have_no_correlation_worth_a_word():
    """The one gap of two columns in the same row: a correlation of 1.00 from a single row."""
    data = gaps(400, range(7, 8), range(7, 8), range(40, 80))
    assert most_together(np.isnan(data)) is None
    assert "Most together" not in told_together(data) and "columns go missing together" not in told_together(data)


def test_fewer_rows_than_by_chance_are_no_going_together_though_a_pair_does():
    """Two columns go together in 9 rows of 900; the many gaps of two others avoid each other."""
    data = gaps(900, range(9), range(10), range(300), range(250, 600))
    rows, expected = missing_together(data)
    assert rows < expected
    said = told_together(data)
    assert "columns go missing together" not in said and "columns avoid going missing together" in said
    pair = most_together(np.isnan(data))
    assert pair is not None and pair.columns == (0, 1) and pair.rows == 9 and pair.expected == pytest.approx(0.1)
    assert pair.correlation == pytest.approx(np.corrcoef(np.isnan(data[:, 0]), np.isnan(data[:, 1]))[0, 1])
    assert "Most together: c0 and c1, in 9 rows, 0.1 by chance (correlation 0.95)." in said


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
    assert (closest_rows(COLUMNS, data, samples).of_samples == 0).sum() == 0
    samples[:7] = data[50:57]
    found = closest_rows(COLUMNS, data, samples)
    assert (found.of_samples == 0).sum() == 7
    assert (found.of_data == 0).sum() == 0
    said = "7 of 200 samples equal a row in every cell; of as many rows of the data, 0.0 equal another"
    assert said in captions(page_of(with_checks(mixed(), closest=found)))["copies"]
    doubled = np.concatenate([data, data[:30]])
    assert (closest_rows(COLUMNS, doubled, samples).of_data == 0).sum() == 60
    assert closest_rows(COLUMNS, data[:1], samples) is None


def test_numbers_only_leaves_levels_out():
    made = mixed().reproduction
    kept = made.numbers_only()
    assert kept.names == ("weight", "joined", "visits")
    assert np.array_equal(kept.data, made.data[:, [0, 2, 5]], equal_nan=True)
    numbers = table_of_numbers(20, 3).reproduction
    assert numbers.numbers_only() is numbers


def test_values_are_written_as_a_person_writes_them():
    assert value_of(18322.0, "datetime") == "2020-03-01"
    assert value_of(18322.5, "datetime") == "2020-03-01 12:00:00"
    assert value_of(1234567.0, "count") == "1,234,567"
    assert value_of(0.123456, "real") == "0.1235"


@pytest.mark.parametrize("span", [3, 40, 100, 400, 2000, 9000, 90000, 900000])
def test_ticks_of_dates_are_few_and_stand_at_their_dates(span):
    low = np.datetime64("2019-11-17").astype(int) - (span > 90000) * 500000 + 0.3
    axes = new_figure(1.0).add_subplot()
    axes.set_xlim(low, low + span)
    name_dates(axes)
    ticks, words = axes.get_xticks(), [label.get_text() for label in axes.get_xticklabels()]
    inside = [(tick, word) for tick, word in zip(ticks, words, strict=True) if low <= tick <= low + span]
    assert 1 <= len(inside) <= 6
    assert all(np.datetime64(word.replace(" ", "T"), "D").astype(int) == int(tick) for tick, word in inside)


# Words.


def test_lost_association_is_named():
    found = mixed().columns.associations
    named = largest_differences(found)
    assert named[0][:2] == ("weight", "colour")
    assert named[0][2] > 0.8
    assert named[0][3] < 0.3
    caption = captions(page())["associations"]
    assert f"weight and colour {named[0][2]:.2f} in the data, {named[0][3]:.2f} in the samples" in caption
    same = replace(found, samples=found.data)
    text = page_of(with_checks(mixed(), associations=same))
    assert "No two columns differ by more than 0.1" in captions(text)["associations"]


def test_missing_cells_are_told():
    alt, caption = Page(page()).picture("missing"), captions(page())["missing"]
    assert "in 3 of 6 columns: weight 6.7%, colour 6.7%, city 3.3%" in alt
    assert "270 of 300 rows complete; 3 patterns" in alt
    assert "20 rows miss two cells or more, 2.6 would by chance: columns go missing together" in caption
    assert "weight and colour, in 20 rows, 1.3 by chance (correlation 1.00)" in caption
    alone = mixed().reproduction.data.copy()
    alone[:20, 0] = 1.0
    caption = captions(page_of(changed(mixed(), data=alone)))["missing"]
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


def test_anomalous_rows_have_their_cells():
    lines = [[cell for _, cell in line] for line in Page(page()).rows]
    assert ["1003", "-89.2", "0.02", f"colour = {HOSTILE} 1 in 992"] in lines
    assert next(line for line in lines if line[0] == "1007")[3] == "none stands out"
    assert "city = b" not in page()
    unknown = with_checks(mixed(), anomalous=AnomalousRows((AnomalousRow(3, ()),)))
    assert "p-value" not in page_of(unknown).split('id="anomalies"')[1]


def test_anomalous_rows_of_wide_tables_have_no_cells():
    anomalous = AnomalousRows((AnomalousRow(3, (), 0.02),), 50, explained=False)
    part = page_of(with_checks(mixed(), anomalous=anomalous)).split('id="anomalies"')[1]
    assert "none stands out" not in part
    assert "Most anomalous cells" not in part
    assert "were not looked at" in part


def test_marginals_are_told_and_marked():
    lines = {line[0][1]: line for line in Page(page()).rows if len(line) == 5}
    assert lines["colour"][1][1] == "categorical, 4 levelscategorical"
    assert lines["weight"][2][1] == "6.7%"
    assert lines["size"][2][1] == "–"
    for column in mixed().columns.marginals:
        kind, text = lines[column.name][4]
        assert text == f"{column.distance:.3f}chance {column.chance:.3f}"
        assert ("flagged" in kind) == (column.distance > column.chance)
    assert "flagged" in lines["city"][4][0]


# The page.


def test_page_has_the_sections_of_a_mixed_table():
    parts = [a["id"] for tag, a in Page(page()).elements if tag == "section"]
    for name in ("columns", "associations", "missing", "samples", "copies", "imputation", "anomalies"):
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
    made = mixed().reproduction
    columns = tuple(COLUMNS[j] for j in at)
    data, samples = made.data[:, at], made.samples[:, at]
    checks = ColumnChecks(measured(columns, data, samples), associations(columns, data, samples))
    parts = [a["id"] for tag, a in Page(page_of(by_columns(data, samples, checks))).elements if tag == "section"]
    assert "columns" in parts
    assert not {"samples", "reconstructions", "copies", "imputation", "anomalies", "lowest"} & set(parts)


FIGURES = {
    "associations": lambda: of_associations.figure(mixed().columns.associations),
    "missing": lambda: missing.figure(mixed().reproduction.data, mixed().reproduction.names),
    "copies": lambda: of_copies.figure(mixed().columns.closest),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn(name):
    from io import BytesIO

    from PIL import Image

    figure: Figure = FIGURES[name]()
    with Image.open(BytesIO(to_png(figure, dpi=60))) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert (pixels < WHITE).mean() > 0.01


def wide(columns: int) -> Evaluation:
    """Columns with long names, and a gap in each."""
    rng = np.random.default_rng(8)
    data = np.cumsum(rng.normal(size=(60, columns)), axis=1)
    data[rng.random(data.shape) < 0.1] = np.nan
    kinds = tuple(Marginal(f"a column with a long name, number {j}", "real", "gaussian") for j in range(columns))
    samples = rng.normal(size=(50, columns))
    checks = ColumnChecks(
        measured(kinds, data, samples),
        associations(kinds, data, samples),
        closest=closest_rows(kinds, data, samples),
    )
    return by_columns(data, samples, checks)


def test_wide_table_shows_the_columns_that_matter():
    found = wide(70)
    text = page_of(found)
    assert len(text) < 3_000_000
    assert len(found.columns.associations.names) == 20
    assert sum("chance" in line[-1][1] for line in Page(text).rows if len(line) == 5) == 40
    assert "40 of 70 columns" in text
    assert "20 of 70 columns" in captions(text)["associations"]
    assert "The 20 columns that miss most are shown" in captions(text)["missing"]


def test_odd_tables_are_drawn():
    columns = (Marginal("only", "categorical", "categorical", ("a", "b")), Marginal("gone", "real", "gaussian"))
    data = np.array([[0.0, np.nan], [1.0, np.nan], [0.0, np.nan]])
    none = data[:0]
    checks = ColumnChecks(
        measured(columns, data, none), associations(columns, data, none), closest=closest_rows(columns, data, none)
    )
    assert checks.associations is None
    assert checks.closest is None
    text = page_of(by_columns(data, none, checks))
    assert Page(text).rows
    assert "Only one column has missing cells" in text


def test_copies_of_equal_distances_are_drawn():
    found = with_checks(mixed(), closest=ClosestRows(np.zeros(20), np.zeros(30)))
    assert "20 of 20 samples equal a row" in captions(page_of(found))["copies"]


def test_every_section_has_its_own_name():
    names = [section.name for section in OF_EVALUATION]
    assert len(set(names)) == len(names)


# A model.


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_page_of_a_fitted_model_has_each_section():
    from tightbound import VAE
    from tightbound.estimator.evaluate import evaluate

    frame = pandas_frame().iloc[:150]
    vae = VAE(**{**SETTINGS, "epochs": 3}).fit(frame)
    table = vae._table(frame)
    found = evaluate(
        vae.fitted_,
        table,
        n_samples=20,
        held_out=table.take(np.arange(30)),
        checks=(),
        pictures=True,
        method="importance",
    )
    text = page_of(found)
    parts = [a["id"] for tag, a in Page(text).elements if tag == "section"]
    for name in ("columns", "associations", "missing", "samples", "copies", "imputation", "anomalies"):
        assert name in parts
    assert [column.kind for column in found.columns.marginals][2:] == [
        *("positive", "ordinal", "categorical", "binary", "datetime"),
    ]
    check = found.columns.hidden
    assert check.held_out
    assert check.n_rounds == 10
    observed = np.isfinite(table.values[:30])
    assert [row.cells for row in check.columns] == observed.sum(axis=0).tolist()  # every cell was hidden once
    simple = {row.name: row.simple_error for row in check.columns}
    colours = table.values[:, 4]
    common = np.bincount(colours[np.isfinite(colours)].astype(int)).argmax()
    held = colours[:30][np.isfinite(colours[:30])]
    assert simple["colour"] == pytest.approx(np.mean(held != common))
    heights = table.values[:, 0]
    errors = heights[:30] - np.nanmean(heights)
    assert simple["height"] == pytest.approx(np.sqrt(np.nanmean(errors**2)) / np.nanstd(heights))
    assert all(row.coverage is None for row in check.columns if row.name in ("colour", "member"))
    lowest = [row.position for row in found.columns.anomalous.rows]
    assert lowest == np.argsort(found.evidence.log_evidence, kind="stable")[:12].tolist()
    dates = [c.value for row in found.columns.anomalous.rows for c in row.cells if c.column == "joined"]
    assert all(re.match(r"\d{4}-\d\d-\d\d", value) for value in dates)
