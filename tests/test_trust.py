"""How far to trust a model, through its faces: evaluate, score, compare; and what is refused."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tiny
from tiny import run

import tightbound
from tightbound.estimator.evaluate import CHECKS
from tightbound.estimator.evaluation import THIS_MODEL
from tightbound.estimator.folder import sealed
from tightbound.estimator.resume import Keeper
from tightbound.evidence import Method, Reliability

ROWS = 120
FIT = (
    "--latent-dim=1",
    "--network=residual(hidden_sizes=8)",
    "--epochs=20",
    "--n-importance-samples=40",
    "--validation-fraction=0.3",
)
CHEAP = ("--method=importance", "--no-checks", "--quiet")


def rows(n: int = ROWS, seed: int = 3) -> pl.DataFrame:
    """Three columns that go together; few enough to be quick, enough for every check."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    columns = {name: np.round(s * (z + 0.6 * rng.normal(size=n)), 3) for name, s in (("a", 1), ("b", 30), ("c", 0.4))}
    return pl.DataFrame(columns)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with rows, other rows, and the model `m` that `fit` made of the first, with its checks."""
    folder = tmp_path_factory.mktemp("trust")
    rows().write_csv(folder / "train.csv")
    rows(60, seed=4).write_csv(folder / "new.csv")
    with tiny.quick_compilation():
        done = run("fit", folder / "train.csv", "-o", folder / "m", "--json", *FIT)
        assert done.status == 0, done.err
        (folder / "fit.json").write_text(done.out)
        yield folder


def told(place: Path, *options: str) -> dict:
    done = run("evaluate", place / "m", place / "new.csv", "--json", *options)
    assert done.status == 0, done.err
    return json.loads(done.out)


def test_fit_examines_what_it_held_out(place):
    fitted = json.loads((place / "fit.json").read_text())
    lines = {line["quantity"]: line for line in fitted["table"]}
    assert fitted["rows"] == ROWS and lines["log p(x) of held-out rows"]["rows"] == 36
    assert lines["log p(x)"]["kind"] == "exact" and "quadrature" in lines["log p(x)"]["method"]
    assert lines["approximation gap"]["rows"] == 36 and lines["approximation gap, training"]["rows"] == 84
    assert lines["this model - that"]["rows"] == 36
    whole = lines["log p(x) - ELBO"]["value"]
    assert 0 < whole < 2 and lines["ELBO"]["kind"] == "lower bound"
    checks = {finding["check"] for finding in fitted["health"]}
    assert {"collapse", "prior", "encoder", "decoder", "samples", "copies", "overfitting"} <= checks
    page = (place / "m" / "report.html").read_text()
    for section in ("health", "bracket", "gap", "row-evidence", "calibration", "baselines"):
        assert f'<section id="{section}"' in page, section


def test_one_table_comes_first_and_says_what_each_number_is(place, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # or whoever runs the tests would wrap it otherwise
    done = run("evaluate", place / "m", place / "new.csv", "--train", place / "train.csv")
    lines = done.out.splitlines()
    assert lines[2].split() == ["quantity", "value", "what", "it", "is", "rows", "method"]
    for words in ("log p(x) ", "ELBO ", "approximation gap ", "bracket, simulated rows", "from above", "simple: "):
        assert any(line.startswith(words.strip()) or words in line for line in lines), words
    assert re.search(r"^log p\(x\) +-?\d.* ± \d.* exact +60 +adaptive quadrature", done.out, re.MULTILINE), done.out
    assert max(map(len, lines)) <= 100 and "± is one standard error over rows" in " ".join(done.out.split())


def test_the_parts_of_the_gap_sum_to_the_whole_and_the_simple_models_are_ranked(place):
    table = {line["quantity"]: line for line in told(place, "--train", str(place / "train.csv"))["table"]}
    parts = [table[name]["value"] for name in ("approximation gap", "amortisation gap")]
    errors = [table[name]["standard_error"] for name in ("approximation gap", "amortisation gap")]
    whole = table["log p(x) - ELBO"]
    # Two estimates of the same ELBO, by 40 draws a row and by 500.
    assert abs(sum(parts) - whole["value"]) < 4 * np.hypot(*errors) + 4 * whole["standard_error"]
    (simple,) = (line for name, line in table.items() if name.startswith("simple: "))
    assert simple["kind"] == "exact"
    np.testing.assert_allclose(table["this model - that"]["value"], table["log p(x)"]["value"] - simple["value"])


def test_without_training_rows_what_needs_them_is_said_to_be_left_out(place):
    told_of = told(place)
    assert any("give them as train" in sentence for sentence in told_of["conclusions"])
    assert not any(line["quantity"].startswith("simple") for line in told_of["table"])


def test_evaluate_gives_the_same_numbers_in_python(place):
    vae = tightbound.load(place / "m")
    new, train = pl.read_csv(place / "new.csv"), pl.read_csv(place / "train.csv")
    found = vae.evaluate(new, train)
    assert found.health is not None and found.gap is not None and found.comparison is not None
    table = {line["quantity"]: line for line in told(place, "--train", str(place / "train.csv"))["table"]}
    np.testing.assert_allclose(found.gap.mean_amortisation().value, table["amortisation gap"]["value"])
    np.testing.assert_array_equal(found.comparison.log_evidence[0], vae.score_samples(new))
    assert found.comparison.names[0] == THIS_MODEL
    # In the user's units: exact densities of rows that the simple models say, times 30 and 0.4 and 1 apart.
    assert abs(found.gap.evidence.log_evidence.mean() - vae.score(new)) < 1e-4
    assert found.real_bracket is not None and found.bracket is not None
    inside = found.real_bracket.converged
    truth = vae.score_samples(new[np.unique(np.linspace(0, 59, 20).round().astype(int)).tolist()])
    assert inside.sum() >= 15
    # Both ends are estimates of one number, by 16 chains of 100 temperatures.
    np.testing.assert_allclose(found.real_bracket.lower[inside], truth[inside], atol=0.3)
    np.testing.assert_allclose(found.real_bracket.upper[inside], truth[inside], atol=0.3)
    assert "Health of the fit" in repr(found) and "amortisation gap" in repr(found)


def test_only_what_is_asked_for_is_examined(place):
    vae = tightbound.load(place / "m")
    found = vae.evaluate(rows(30, seed=5), checks=("health",))
    assert found.health is not None and found.gap is None and found.bracket is None and found.comparison is None
    with pytest.raises(ValueError, match=r"checks must be some of gap, .*'gaps'"):
        vae.evaluate(rows(30), checks=("gaps",))
    assert "takes 2 rows to which the model gives a density; there is 1" in " ".join(
        repr(vae.evaluate(rows(1))).split()
    )
    assert set(CHECKS) == {"gap", "bracket", "health", "baselines"}


def test_rows_whose_chains_do_not_agree_are_said_to_have_no_bracket(place, monkeypatch):
    monkeypatch.setattr("tightbound.evidence.bracket.CONVERGED_BELOW", 0.0)
    found = tightbound.load(place / "m").evaluate(rows(30, seed=5), checks=("bracket",))
    assert found.bracket is not None and found.real_bracket is not None
    assert any("No bracket of given rows: for none of 20" in sentence for sentence in found.left_out)
    assert "0 of 20 rows" in repr(found)


def test_a_discrete_model_says_why_it_has_no_bracket():
    x = (rows(60).to_numpy() > 0).astype(float)
    with tiny.quick_compilation():
        vae = tiny.vae(posterior="bernoulli", latent_dim=2, network="linear", scoring_method="auto").fit(x)
        found = vae.evaluate(x, checks=("bracket", "gap"))
    assert found.bracket is None and any("discrete" in sentence for sentence in found.left_out)
    assert found.gap is not None and set(found.gap.evidence.method) == {Method.ENUMERATION}


class Stopped(KeyboardInterrupt):
    pass


def test_an_interrupted_scoring_goes_on_without_losing_rows(place, monkeypatch):
    """Stopped between two pieces of work; what comes out is what an uninterrupted scoring gives, to the same bytes."""
    big = place / "big.csv"
    rows(700, seed=6).write_csv(big)
    command = ("score", place / "m", big, "--method=adaptive", "--tolerance=0.02", "-s", 30, "--quiet")
    whole, cut = place / "whole.csv", place / "cut.csv"
    assert run(*command, "-o", whole).status == 0
    keep = Keeper.__call__
    seen = []

    def stop(self, partial):
        seen.append(int((partial.stage >= 0).sum()))
        keep(self, partial)
        if len(seen) == 2:
            raise Stopped

    monkeypatch.setattr(Keeper, "__call__", stop)
    done = run(*command, "-o", cut)
    assert done.status == 130 and "Interrupted" in done.err and not cut.exists()
    monkeypatch.undo()
    assert seen == [256, 512] and (place / "cut.csv.partial").exists()
    assert "interrupted scoring" in run(*command, "-o", cut).failed()
    other = (*command[:4], "--tolerance=0.5", *command[5:], "-o", cut, "--resume")
    assert "must hold rows of this very scoring" in run(*other).failed()
    going_on = run(*command[:-1], "-o", cut, "--resume")
    assert going_on.status == 0 and "512 of 700 rows have a number" in going_on.err
    assert cut.read_bytes() == whole.read_bytes() and not (place / "cut.csv.partial").exists()
    scores = pl.read_csv(whole)
    good = scores.filter(pl.col("reliability") == "GOOD")
    assert (good["standard_error"] <= 0.02 * (1 + 1e-6)).all()
    assert scores["method"].n_unique() > 1 and set(scores["kind"]) == {"lower bound"}


def test_a_model_from_before_a_setting_was_added_can_be_scored(place):
    known = json.loads((place / "m" / "model.json").read_text())
    older = place / "older"
    shutil.copytree(place / "m", older)
    del known["training"]["settings"]["scoring_method"], known["training"]["settings"]["tolerance"]
    (older / "model.json").write_bytes(sealed(known))
    command = ("score", place / "new.csv", "-o", place / "older.csv", "-q")
    assert run(command[0], older, *command[1:]).status == 0
    np.testing.assert_array_equal(
        pl.read_csv(place / "older.csv")["log_evidence"], tightbound.load(place / "m").score_samples(rows(60, seed=4))
    )


def test_a_time_limit_flags_and_never_hides(place):
    short = run("score", place / "m", place / "new.csv", "--method=adaptive", "--time-limit=1e-9")
    assert "time_limit must leave time" in short.failed()
    assert "must be above 0" in run("score", place / "m", place / "new.csv", "--time-limit=-1").failed()
    assert "must be above 0" in run("evaluate", place / "m", place / "new.csv", "--tolerance=0").failed()


def test_patience_never_cuts_the_first_estimates_short(place):
    vae = tightbound.load(place / "m")
    found = vae.evidence(pl.read_csv(place / "new.csv"), 40, method="adaptive", tolerance=1e-3, patience=1e-9)
    assert set(found.method) == {Method.IMPORTANCE} and np.isfinite(found.log_evidence).all()
    assert found.n_unreliable == 60
    with pytest.raises(ValueError, match="patience must be above 0 seconds"):
        vae.evidence(pl.read_csv(place / "new.csv"), patience=0.0)


def test_one_method_alone_can_be_asked_for(place):
    vae = tightbound.load(place / "m")
    new = pl.read_csv(place / "new.csv")
    exact = vae.evidence(new)
    assert set(exact.method) == {Method.QUADRATURE}
    for method in ("importance", "defensive", "annealed"):
        found = vae.evidence(new, 400, method=method, n_steps=20)
        apart = (found.log_evidence - exact.log_evidence) / found.standard_error
        good = found.reliability == Reliability.GOOD
        assert good.mean() > 0.5 and np.abs(apart[good]).max() < 6, method
    with pytest.raises(ValueError, match="method must be one of auto"):
        vae.evidence(new, method="magic")


def test_models_are_compared_on_the_same_rows(place, tmp_path):
    with tiny.quick_compilation():
        worse = run("fit", place / "train.csv", "-o", place / "worse", *FIT, "--epochs=1", "--no-checks", "-q")
    assert worse.status == 0
    page = tmp_path / "c.html"
    command = ("compare", place / "m", place / "worse", place / "new.csv", "-o", page, "--train", place / "train.csv")
    done = run(*command)
    assert done.status == 0, done.err
    assert "differences are paired" in done.out and "nats a row" in done.out and f"Wrote {page}" in done.out
    assert "factor analysis" in done.out and "<svg" in page.read_text()
    given = json.loads(run(*command, "--json", "-q").out)
    means = {name: mean["value"] for name, mean in given["models"].items()}
    assert means["m"] > means["worse"]
    gaps = {gap["name"]: gap for gap in given["differences"]}
    np.testing.assert_allclose(gaps["worse"]["value"], means["worse"] - means[given["best"]], atol=1e-6)
    vae = tightbound.load(place / "m")
    np.testing.assert_allclose(means["m"], vae.score(pl.read_csv(place / "new.csv")))


def test_what_cannot_be_compared_is_refused(place, tmp_path):
    (rows() > 0).cast(pl.Int64).write_csv(tmp_path / "binary.csv")
    with tiny.quick_compilation():
        done = run("fit", tmp_path / "binary.csv", "-o", tmp_path / "b", *tiny.SMALLEST_OPTIONS, "--no-report")
    assert done.status == 0, done.err
    compare = ("compare", place / "m")
    assert "log p of the same thing" in run(*compare, tmp_path / "b", tmp_path / "binary.csv", *CHEAP[:1]).failed()
    assert "at least two models" in run(*compare, place / "new.csv").failed()
    assert "different models" in run(*compare, place / "m", place / "new.csv").failed()
    assert ".html" in run(*compare, tmp_path / "b", place / "new.csv", "-o", "page.txt").failed()


def test_with_two_latents_difficult_rows_go_on_to_quadrature():
    with tiny.quick_compilation():
        vae = tiny.vae(latent_dim=2, scoring_method="auto", n_importance_samples=20, tolerance=0.05).fit(rows(40))
        found = vae.evidence(rows(12, seed=8))
        exact = vae.evidence(rows(12, seed=8), method="exact")
    assert Method.QUADRATURE in set(found.method) and found.n_unreliable == 0
    hard = found.method == np.full(12, Method.QUADRATURE, dtype=object)
    np.testing.assert_allclose(found.log_evidence[hard], exact.log_evidence[hard], atol=1e-5)
    assert np.abs(found.log_evidence - exact.log_evidence).max() < 0.3
