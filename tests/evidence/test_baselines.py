"""The simple models as a user fits them: what is chosen, what is left out and why, and what every one of them keeps."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simple_cases import clusters, correlated, every_state, holes, on_a_grid, prototypes
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA

from tightbound.evidence import Baseline, fit_baselines
from tightbound.evidence.reference import models as recipes
from tightbound.evidence.reference.independent_columns import Bernoullis, log_density

GAUSSIAN = tuple(recipes.GAUSSIAN)
BERNOULLI = tuple(recipes.BERNOULLI)


def by_name(x: Any, observed: Any = None, **options: Any) -> tuple[dict[str, Baseline], tuple[str, ...]]:
    """Baselines under their names, and the sentences; no MADE unless asked for."""
    found, left_out = fit_baselines(x, observed, **{"likelihood": "gaussian", "made": False, **options})
    return {b.name: b for b in found}, left_out


def factors(n: int, q: int = 3, d: int = 10) -> np.ndarray:
    """Rows of q factors with unequal noise, the same factors for every n."""
    rng = np.random.default_rng(21)
    w = rng.normal(size=(q, d)) * 1.5
    noise = rng.uniform(0.4, 1.2, size=d)
    rows = np.random.default_rng(n)
    return rows.normal(size=(n, q)) @ w + rows.normal(size=(n, d)) * noise


def chain(n: int, d: int = 12) -> np.ndarray:
    """Zeros and ones that mostly repeat the cell before."""
    rng = np.random.default_rng(n)
    stay = rng.random((n, d)) < 0.9
    x = (rng.random((n, 1)) < 0.5).astype(float)
    for j in range(1, d):
        x = np.hstack([x, np.where(stay[:, j : j + 1], x[:, -1:], 1 - x[:, -1:])])
    return x


@pytest.fixture(autouse=True, scope="module")
def _few_numbers_of_parts() -> Iterator[None]:
    """Fewer factors and components to choose from, for the time that they take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "NUMBERS_OF_PARTS", (1, 2, 3, 5, 8))
        yield


@pytest.fixture(scope="module")
def numbers() -> tuple[dict[str, Baseline], tuple[str, ...], np.ndarray]:
    """All six on two columns: two clusters, and a value that repeats."""
    x = clusters(np.random.default_rng(1), 260, 2, 2, apart=5)
    x[:80, 0] = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "STEPS_FOR_MADE", 60)
        found, left_out = by_name(x, floor=[0.1, 0.2], made=True)
    return found, left_out, x


@pytest.fixture(scope="module")
def bits() -> tuple[dict[str, Baseline], tuple[str, ...]]:
    """All three on zeros and ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "STEPS_FOR_MADE", 1500)
        return by_name(chain(2000), likelihood="bernoulli", made=True)


class TestWhatTheyAre:
    def test_independent_gaussians(self) -> None:
        x = correlated(np.random.default_rng(2), 60, 4)
        got = by_name(x)[0]["independent Gaussians"].log_prob(x)
        np.testing.assert_allclose(got, stats.norm.logpdf(x, x.mean(axis=0), x.std(axis=0)).sum(axis=1))

    @pytest.mark.parametrize("n", [400, 25], ids=["many rows", "few rows"])
    def test_a_full_gaussian_is_shrunk_where_that_helps(self, n: int) -> None:
        x = np.random.default_rng(3).normal(size=(n, 12)) if n == 25 else correlated(np.random.default_rng(3), n, 4)
        found = by_name(x)[0]["Gaussian, full covariance"]
        cov = ledoit_wolf(x)[0] if n == 25 else np.cov(x.T, ddof=0)
        assert ("Ledoit and Wolf" in found.detail) == (n == 25)
        expected = stats.multivariate_normal.logpdf(x, x.mean(axis=0), cov)
        np.testing.assert_allclose(found.log_prob(x), expected, rtol=1e-8)

    def test_factors_are_counted_on_held_out_rows_and_fitted_to_all(self) -> None:
        x, test = factors(3000), factors(4000)
        found, _ = by_name(x)
        assert "3 factors" in found["factor analysis"].detail
        score = {name: float(b.log_prob(test).mean()) for name, b in found.items()}
        assert score["independent Gaussians"] < score["probabilistic PCA"] < score["factor analysis"]
        # The truth lies in both families: they lose half a nat a parameter and row.
        assert score["Gaussian, full covariance"] == pytest.approx(score["factor analysis"], abs=5 * 65 / 2 / 3000)
        q = int(re.match(r"\d+", found["probabilistic PCA"].detail)[0])  # type: ignore[index]
        peer = PCA(q).fit(x).score_samples(test)
        np.testing.assert_allclose(found["probabilistic PCA"].log_prob(test), peer, atol=0.05)

    def test_clusters_are_counted_on_held_out_rows(self) -> None:
        x = clusters(np.random.default_rng(4), 900, 4, 3)
        test = clusters(np.random.default_rng(5), 900, 4, 3)
        found = by_name(x)[0]["Gaussian mixture"]
        assert found.detail.startswith("3 components")
        each = [stats.multivariate_normal.logpdf(test, m) for m in 8 * np.eye(3, 4)]
        truth = np.logaddexp.reduce(each, axis=0) - np.log(3)
        lost = truth - found.log_prob(test)
        assert -0.01 < lost.mean() < 45 / 900 + 5 * lost.std() / 30

    def test_prototypes_are_counted_on_held_out_rows(self) -> None:
        x, probs = prototypes(np.random.default_rng(6), 3000, 20, 3)
        found = by_name(x[:1500], likelihood="bernoulli")[0]["Bernoulli mixture"]
        assert found.detail.startswith("3 components")
        lost = log_density(Bernoullis(np.full(3, 1 / 3), probs), x[1500:]) - found.log_prob(x[1500:])
        assert -0.02 < lost.mean() < 62 / 1500 + 5 * lost.std() / np.sqrt(1500)

    def test_the_best_of_all_knows_the_order(self, bits: Any) -> None:
        """A chain is no mixture of a few products: MADE gets nearly all, a mixture some, independent cells nothing."""
        test = chain(3000)
        truth = -np.log(2) + 11 * (0.9 * np.log(0.9) + 0.1 * np.log(0.1))
        score = {name: float(b.log_prob(test).mean()) for name, b in bits[0].items()}
        error = np.sqrt(11 * 0.09 / len(test)) * np.log(9)
        assert score["independent Bernoullis"] == pytest.approx(-12 * np.log(2), abs=0.02)
        assert score["independent Bernoullis"] + 0.5 < score["Bernoulli mixture"] < score["MADE"]
        assert truth - 0.1 - 5 * error < score["MADE"] < truth + 5 * error

    def test_names_and_order(self, numbers: Any, bits: Any) -> None:
        assert tuple(numbers[0]) == ("independent Gaussians", "Gaussian, full covariance", "Gaussian mixture", "MADE")
        assert [s.split(" left out")[0] for s in numbers[1]] == ["Probabilistic PCA", "Factor analysis"]
        assert tuple(bits[0]) == BERNOULLI
        assert bits[1] == ()
        assert all(b.takes_missing == (b.name != "MADE") and b.likelihood == "bernoulli" for b in bits[0].values())
        assert "128 hidden units" in numbers[0]["MADE"].detail


class TestWhatEveryOneKeeps:
    @pytest.mark.parametrize("name", ["independent Gaussians", "Gaussian, full covariance", "Gaussian mixture", "MADE"])
    def test_a_density_integrates_to_one(self, name: str, numbers: Any) -> None:
        points, volume = on_a_grid(-14, 18, 641, 2)
        assert np.exp(numbers[0][name].log_prob(points)).sum() * volume == pytest.approx(1, abs=1e-3)

    @pytest.mark.parametrize("name", BERNOULLI)
    def test_probabilities_add_up_to_one(self, name: str, bits: Any) -> None:
        p = np.exp(bits[0][name].log_prob(every_state(12)))
        assert p.sum() == pytest.approx(1, abs=1e-5)
        if name != "independent Bernoullis":
            assert p.max() > 10 * p.min()

    def test_one_column(self) -> None:
        x = np.random.default_rng(7).normal(size=(200, 1)) + 6 * (np.arange(200) % 2)[:, None]
        found, left_out = by_name(x)
        assert list(found) == ["independent Gaussians", "Gaussian mixture"]
        assert len(left_out) == 3
        points, volume = on_a_grid(-20, 25, 4001, 1)
        for b in found.values():
            assert np.exp(b.log_prob(points)).sum() * volume == pytest.approx(1, abs=1e-6)

    def test_no_density_exceeds_what_the_floor_allows(self, numbers: Any) -> None:
        """Eighty rows share a value: without a floor a component would close in on it."""
        found, _, x = numbers
        most = -np.sum(np.log(np.sqrt(2 * np.pi) * np.array([0.1, 0.2])))
        for b in found.values():
            assert b.log_prob(x).max() <= most + 1e-6
        assert found["Gaussian mixture"].log_prob(x[:80]).max() > found["independent Gaussians"].log_prob(x).max() + 0.5

    @pytest.mark.parametrize("value", [0.0, 0.1, -1e5 / 3])
    def test_a_constant_column_is_worth_the_same_whatever_its_value(self, value: float) -> None:
        """The mean of 0.1, 0.1, ... may differ from 0.1 in its last digit, which is no spread."""
        x = np.column_stack([clusters(np.random.default_rng(8), 300, 3, 3), np.full(300, value)])
        found, left_out = by_name(x, made=True)
        without, _ = by_name(x[:, :3])
        assert len(found) == 6 and not left_out
        name = "independent Gaussians"
        gain = found[name].log_prob(x) - without[name].log_prob(x[:, :3])
        np.testing.assert_allclose(gain, -np.log(1e-3 * np.sqrt(2 * np.pi)), rtol=1e-6)
        for b in found.values():
            assert np.abs(b.log_prob(x)).max() < 1e3

    def test_more_columns_than_rows(self) -> None:
        x = correlated(np.random.default_rng(9), 24, 40)
        found, _ = by_name(x, floor=np.full(40, 0.1))
        assert {"Gaussian, full covariance", "probabilistic PCA", "factor analysis"} <= set(found)
        most = -40 * np.log(0.1 * np.sqrt(2 * np.pi))
        for b in found.values():
            assert b.log_prob(x).max() <= most

    def test_units_change_a_score_by_their_jacobian_alone(self) -> None:
        x = clusters(np.random.default_rng(10), 200, 3, 3, apart=4)
        units = np.array([1.0, 1e3, 1e-3])
        floor = np.full(3, 0.01)
        plain, _ = by_name(x, floor=floor)
        other, _ = by_name(x * units, floor=floor * units)
        for name in ("independent Gaussians", "factor analysis", "Gaussian mixture"):
            gain = other[name].log_prob(x * units) - plain[name].log_prob(x)
            np.testing.assert_allclose(gain, -np.log(units).sum(), atol=1e-4)

    @settings(max_examples=25)
    @given(seed=st.integers(0, 1000), n=st.integers(0, 30))
    def test_row_order_and_company_change_no_score(self, seed: int, n: int, numbers: Any, bits: Any) -> None:
        rng = np.random.default_rng(seed)
        x, ones = rng.normal(size=(n, 2)) * 3, (rng.random((n, 12)) < 0.5).astype(float)
        order = rng.permutation(n)
        for rows, found in ((x, numbers[0]), (ones, bits[0])):
            for b in found.values():
                got = b.log_prob(rows)
                assert got.shape == (n,)
                # MADE works in the precision of JAX, and a matrix product of another shape may round otherwise.
                np.testing.assert_allclose(b.log_prob(rows[order]), got[order], rtol=1e-5, atol=1e-6)
                np.testing.assert_allclose(b.log_prob(rows[: n // 2]), got[: n // 2], rtol=1e-5, atol=1e-6)

    def test_the_seed_alone_decides(self) -> None:
        x = clusters(np.random.default_rng(11), 120, 3, 2, apart=4)
        first, again, other = (by_name(x, seed=seed)[0]["Gaussian mixture"].log_prob(x) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_each_fit_is_announced(self) -> None:
        calls: list[tuple[int, int, str]] = []
        x = correlated(np.random.default_rng(12), 30, 3)
        by_name(x, on_progress=lambda done, total, name: calls.append((done, total, name)))
        assert calls == [(i, 5, name) for i, name in enumerate(GAUSSIAN[:-1])]
        del calls[:]
        by_name(x > 0, likelihood="bernoulli", made=True, on_progress=lambda *now: calls.append(now))
        assert calls == [(i, 3, name) for i, name in enumerate(BERNOULLI)]


def missing_table(likelihood: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(13)
    x = clusters(rng, 300, 4, 3) if likelihood == "gaussian" else prototypes(rng, 300, 8, 3)[0]
    return x, holes(rng, x.shape, 0.25)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
class TestMissingCells:
    def test_what_they_hold_does_not_matter(self, likelihood: str) -> None:
        x, seen = missing_table(likelihood)
        blank = np.where(seen, x, np.nan)
        found, left_out = by_name(blank, seen, likelihood=likelihood, made=True)
        assert len(found) == (6 if likelihood == "gaussian" else 3) and not left_out
        assert "given which are observed" in found["MADE"].detail and found["MADE"].takes_missing
        other, _ = by_name(np.where(seen, x, 7), seen, likelihood=likelihood, made=True)
        for name, b in found.items():
            np.testing.assert_array_equal(b.log_prob(blank, seen), other[name].log_prob(np.where(seen, x, -9), seen))

    def test_a_score_is_that_of_the_observed_cells(self, likelihood: str) -> None:
        """Summed or integrated over a cell, the joint density gives what the mask gives."""
        x, seen = missing_table(likelihood)
        found, _ = by_name(x, seen, likelihood=likelihood)
        grid, step = on_a_grid(-20, 30, 4001, 1) if likelihood == "gaussian" else (np.array([[0.0], [1.0]]), 1.0)
        rows = np.repeat(x[:1], len(grid), axis=0)
        rows[:, 2] = grid[:, 0]
        mask = np.arange(x.shape[1]) != 2
        for b in found.values():
            total = np.exp(b.log_prob(rows)).sum() * step
            assert np.log(total) == pytest.approx(b.log_prob(x[:1], mask[None])[0], abs=1e-4)

    def test_an_empty_row_is_worth_nothing_and_teaches_nothing(self, likelihood: str) -> None:
        x, seen = missing_table(likelihood)
        more, none = np.vstack([x, x[:5]]), np.vstack([seen, np.zeros((5, x.shape[1]), bool)])
        plain, _ = by_name(x, seen, likelihood=likelihood)
        other, _ = by_name(more, none, likelihood=likelihood)
        for name, b in plain.items():
            got = other[name].log_prob(more, none)
            np.testing.assert_array_equal(got[:-5], b.log_prob(x, seen))
            np.testing.assert_allclose(got[-5:], 0, atol=1e-12)

    def test_a_full_mask_is_no_mask(self, likelihood: str) -> None:
        x, _ = missing_table(likelihood)
        full = np.ones(x.shape, bool)
        plain, _ = by_name(x, likelihood=likelihood)
        other, _ = by_name(x, full, likelihood=likelihood)
        for name, b in plain.items():
            np.testing.assert_array_equal(other[name].log_prob(x, full), b.log_prob(x))

    def test_holes_cost_little_of_what_is_learnt(self, likelihood: str) -> None:
        """Fits that took a hole for a value would be far off on complete rows."""
        x, seen = missing_table(likelihood)
        rng = np.random.default_rng(13)
        test = clusters(rng, 2000, 4, 3) if likelihood == "gaussian" else prototypes(rng, 2000, 8, 3)[0]
        plain, _ = by_name(x, likelihood=likelihood)
        holed, _ = by_name(x, seen, likelihood=likelihood)
        for name, b in plain.items():
            lost = b.log_prob(test) - holed[name].log_prob(test)
            # The parameters: half a nat each and row, and a third more of it with a quarter of the cells missing.
            assert abs(lost.mean()) < 0.25 + 5 * lost.std() / np.sqrt(len(test))


def table(n: int, d: int, likelihood: str = "gaussian") -> np.ndarray:
    x = np.random.default_rng(14).normal(size=(n, d)) * np.arange(1, d + 1)
    return (x > 0).astype(float) if likelihood == "bernoulli" else x


def never_together(n: int) -> np.ndarray:
    seen = np.ones((n, 3), bool)
    seen[: n // 2, 0] = seen[n // 2 :, 1] = False
    return seen


REASONS: dict[str, tuple[np.ndarray, Any, dict[str, Any], dict[str, str]]] = {
    "one column": (
        table(300, 1),
        None,
        {},
        {
            "Gaussian, full covariance": "with one column it is the same as independent Gaussians",
            "Probabilistic PCA": "it needs at least 3 columns; there is 1",
            "Factor analysis": "it needs at least 3 columns; there is 1",
            "MADE": "it needs at least 2 columns; there is 1",
        },
    ),
    "two columns": (
        table(100, 2),
        None,
        {},
        {
            "Probabilistic PCA": "it needs at least 3 columns; there are 2",
            "Factor analysis": "it needs at least 3 columns; there are 2",
            "MADE": "it needs at least 200 rows; there are 100",
        },
    ),
    "ten rows": (
        table(10, 4),
        None,
        {},
        {
            "Probabilistic PCA": "its factors are chosen on held-out rows, which takes at least 20 rows; there are 10",
            "Gaussian mixture": "its components are chosen on held-out rows, which takes at least 20 rows; there are",
            "MADE": "it needs at least 200 rows; there are 10",
        },
    ),
    "one row": (
        table(1, 3),
        None,
        {"floor": [1, 1, 1]},
        {"Gaussian, full covariance": "it needs at least 2 rows; there is 1"},
    ),
    "one cluster": (table(400, 6), None, {"made": False}, {"Gaussian mixture": "one component ("}),
    "few rows with holes": (
        table(30, 20),
        holes(np.random.default_rng(0), (30, 20), 0.3),
        {},
        dict.fromkeys(
            ("Gaussian, full covariance", "Probabilistic PCA", "Factor analysis"),
            "with missing cells it needs more than 40 rows (twice the columns); there are 30",
        )
        | {"MADE": "it needs at least 200 rows; there are 30"},
    ),
    "never together": (
        table(60, 3),
        never_together(60),
        {},
        dict.fromkeys(
            ("Gaussian, full covariance", "Probabilistic PCA", "Factor analysis"),
            "some two columns are never observed together",
        ),
    ),
    "one column of bits": (
        table(300, 1, "bernoulli"),
        None,
        {"likelihood": "bernoulli"},
        {
            "Bernoulli mixture": "with one column it is the same as independent Bernoullis",
            "MADE": "it needs at least 2 columns; there is 1",
        },
    ),
    "ten rows of bits": (
        table(10, 5, "bernoulli"),
        None,
        {"likelihood": "bernoulli"},
        {
            "Bernoulli mixture": "its components are chosen on held-out rows, which takes at least 20 rows; there are",
            "MADE": "it needs at least 200 rows; there are 10",
        },
    ),
    "independent bits": (
        table(180, 5, "bernoulli"),
        None,
        {"likelihood": "bernoulli"},
        {"Bernoulli mixture": "one component explains held-out rows best, which is independent Bernoullis"},
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_what_is_left_out_says_why(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "STEPS_FOR_MADE", 3)
    x, seen, options, reasons = REASONS[case]
    found, left_out = by_name(x, seen, **{"made": True, **options})
    all_names = BERNOULLI if "likelihood" in options else GAUSSIAN
    assert len(found) + len(left_out) == len(all_names) - (not options.get("made", True))
    assert len(found) >= 1
    for name, reason in reasons.items():
        assert any(s.startswith(f"{name} left out: {reason}") for s in left_out), left_out
    for sentence in left_out:
        assert re.fullmatch(r"[A-Z].* left out: [^.].*[^.]\.", sentence)
    for b in found.values():
        assert np.isfinite(b.log_prob(x, seen)).all()


def test_too_many_columns_for_a_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "WIDEST_GAUSSIAN_MADE", 1)
    _, left_out = by_name(table(200, 2), made=True)
    assert left_out[-1] == "MADE left out: it would take too long with 2 columns (at most 1)."


def test_patterns_too_many_to_integrate_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "MOST_PATTERN_WORK", 100)
    x = table(100, 5)
    found, left_out = by_name(x, holes(np.random.default_rng(1), x.shape, 0.4))
    assert "Gaussian, full covariance" not in found
    assert "integrating out missing cells would take too long with 5 columns and so many patterns" in left_out[0]


def test_a_mixture_that_takes_too_long_is_fitted_to_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x = prototypes(np.random.default_rng(15), 400, 10, 2)[0]
    monkeypatch.setattr(recipes, "MOST_MIXTURE_WORK", recipes.FEWEST_ROUNDS * 10 * 2 * 150)
    found = by_name(x, likelihood="bernoulli")[0]["Bernoulli mixture"]
    assert found.detail == "2 components, chosen on held-out rows, and fitted to 150 of 400 rows to save time"


BITS = table(30, 3, "bernoulli")
WITH_HOLE = np.array([[0.0, 1.0], [np.nan, 0.0]])
BAD_FITS: dict[str, tuple[Callable[[], Any], str]] = {
    "likelihood": (lambda: by_name(BITS, likelihood="poisson"), r"likelihood must be .*; got 'poisson'; choose one"),
    "one dimension": (lambda: by_name(BITS[0]), r"x must be an array \(rows, columns\).*got the shape \(3,\); pass"),
    "no rows": (lambda: by_name(BITS[:0]), r"x must be .* at least one of each; got the shape \(0, 3\)"),
    "no columns": (lambda: by_name(BITS[:, :0]), r"x must be .* at least one of each; got the shape \(30, 0\)"),
    "not finite": (lambda: by_name(WITH_HOLE), r"x must hold finite numbers.*got nan in row 1, column 0; mark it"),
    "infinite": (lambda: by_name([[1.0, -np.inf]]), r"x must hold finite numbers.*got -inf in row 0, column 1; mark"),
    "no bit": (
        lambda: by_name([[0, 0.5]], likelihood="bernoulli"),
        r"x must hold zeros and ones.*got 0.5 in row 0, col",
    ),
    "a blank bit": (lambda: by_name(WITH_HOLE, likelihood="bernoulli"), r"zeros and ones.*got nan in row 1, column 0"),
    "mask": (lambda: by_name(BITS, BITS[:5] > 0), r"observed must have the shape of x, \(30, 3\); got \(5, 3\); mark"),
    "empty column": (
        lambda: by_name(BITS, np.arange(3) != 1 + np.zeros((30, 1))),
        r"observed must mark at least one cell in every column; got none in column 1; leave it out",
    ),
    "floors": (
        lambda: by_name(BITS, floor=[0.1, 0.1]),
        r"floor must be 3 positive numbers.*got \[0.1, 0.1\]; pass None",
    ),
    "one floor": (
        lambda: by_name(BITS, floor=np.array(0.1)),
        r"floor must be 3 positive numbers.*got array\(0.1\); pass None",
    ),
    "no floor": (lambda: by_name(BITS, floor=[0.1, 0, 1]), r"floor must be 3 positive numbers"),
    "blank floor": (lambda: by_name(BITS, floor=[0.1, np.nan, 1]), r"floor must be 3 positive numbers"),
    "negative seed": (
        lambda: by_name(BITS, seed=-1),
        r"seed must be a whole number from 0 to 4294967295; got -1; 0 is",
    ),
    "large seed": (lambda: by_name(BITS, seed=2**32), r"seed must be a whole number from 0 to 4294967295; got"),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_a_fit_refuses_with_a_sentence(case: str) -> None:
    call, sentence = BAD_FITS[case]
    with pytest.raises(ValueError, match=sentence):
        call()


BAD_SCORES: dict[str, tuple[tuple[Any, ...], str]] = {
    "one dimension": (([0, 1] * 6,), r"x must be an array \(rows, 12\); got the shape \(12,\); pass"),
    "too narrow": ((np.zeros((4, 5)),), r"x must be an array \(rows, 12\); got the shape \(4, 5\)"),
    "no bit": (([[0, 1, 2] * 4],), r"x must hold zeros and ones.*got 2.0 in row 0, column 2"),
    "mask": ((np.zeros((4, 12)), np.ones((4, 5))), r"observed must have the shape of x, \(4, 12\); got \(4, 5\)"),
}


@pytest.mark.parametrize("name", BERNOULLI)
@pytest.mark.parametrize("case", BAD_SCORES)
def test_a_score_refuses_with_a_sentence(case: str, name: str, bits: Any) -> None:
    arguments, sentence = BAD_SCORES[case]
    with pytest.raises(ValueError, match=sentence):
        bits[0][name].log_prob(*arguments)


def test_a_score_of_numbers_refuses_what_is_not_finite(numbers: Any) -> None:
    for b in numbers[0].values():
        with pytest.raises(ValueError, match=r"x must hold finite numbers.*got nan in row 1, column 0"):
            b.log_prob(WITH_HOLE)


def test_a_made_refuses_a_mask_with_holes(bits: Any) -> None:
    x, seen = np.zeros((3, 12)), np.ones((3, 12), bool)
    seen[1, 2:4] = False
    with pytest.raises(
        ValueError, match=r"observed must be None for the baseline MADE.*got a mask with 2 missing cells"
    ):
        bits[0]["MADE"].log_prob(x, seen)
    full = np.ones((3, 12))
    np.testing.assert_array_equal(bits[0]["MADE"].log_prob(x, full), bits[0]["MADE"].log_prob(x))


def read(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a table, standardised, and which are there."""
    path = folder / "tables" / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"needs the table {name}")
    frame = pl.read_csv(path, null_values=["", "NA"], infer_schema_length=None)
    x = frame.select(pl.col(c) for c in frame.columns if frame[c].dtype.is_numeric()).cast(pl.Float64).to_numpy()
    return (x - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0), np.isfinite(x)


@pytest.mark.parametrize("name", ["iris", "wine", "glass", "pima", "boys"])
def test_real_tables(name: str, shared_data: Path) -> None:
    """What knows more wins on held-out rows: every one beats independent columns, and the fits are no flukes."""
    x, seen = read(shared_data, name)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[: len(x) * 3 // 4], order[len(x) * 3 // 4 :]
    found, left_out = by_name(x[train], seen[train])
    assert len(found) == 5, left_out
    score = {key: b.log_prob(x[test], seen[test]) for key, b in found.items()}
    worst = score["independent Gaussians"]
    for key in GAUSSIAN[1:-1]:
        gain = score[key] - worst
        assert gain.mean() > 2 * gain.std() / np.sqrt(len(test)), key
