"""The command line end to end: every command, every kind of output, pipes, status, and the same bytes twice."""

import io
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tiny
from tiny import CSV, MODEL, run

from tightbound import __version__, load
from tightbound.cli import app as cli
from tightbound.estimator.progress import WorkProgress
from tightbound.estimator.settings import PARAMETERS, Settings

COMMANDS = tuple(command.__name__ for command in cli.COMMANDS)
X = tiny.numbers().to_numpy()


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with tiny.quick_compilation():
        tiny.folder()
        yield


def table(text: str) -> pl.DataFrame:
    return pl.read_csv(io.StringIO(text))


def test_help_needs_nothing_heavy():
    """All pages of help in one fresh process: neither JAX nor anything else that takes its time is imported."""
    pages = [["--help"], ["--version"], [], *([command, "--help"] for command in COMMANDS)]
    code = f"""
import sys
from tightbound.cli.app import main
for page in {pages!r}:
    sys.argv = ["tightbound", *page]
    try:
        main()
    except SystemExit as end:
        print("STATUS", end.code)
heavy = ["jax", "numpy", "polars", "sklearn", "scipy", "matplotlib"]
print("HEAVY", [name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.count("STATUS 0") == len(pages) and done.stderr == ""
    assert "HEAVY []" in done.stdout and __version__ in done.stdout
    assert all(f" {command} " in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command):
    page = run(command, "--help")
    assert page.status == 0 and "Usage: tightbound" in page.out and "--help" in page.out


def test_fit_prints_what_it_has_done(tmp_path):
    done = run("fit", CSV, "-o", tmp_path / "m", "--label=kind", "--drop=id", *tiny.OPTIONS[:-1])
    assert done.status == 0
    assert "t.csv: 3 columns, 40 rows, 4 of them held out." in done.err
    assert "modelled as Gaussian" in done.err and re.search(r"epoch 3/3  train .* nats a row", done.err)
    for words in ("training rows included; 4 rows held out", "log p(x) of held-out rows", "lower bound", "nats a row"):
        assert words in done.out
    assert max(map(len, done.out.splitlines()[:-1])) <= 100  # the last line holds a path
    assert f"Saved {tmp_path / 'm'}" in done.out
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "model.json",
        "report.html",
        "weights.safetensors",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_the_numbers_are_those_of_python():
    done = json.loads(run("evaluate", MODEL, CSV, "--json", "--no-checks").out)
    scores = table(run("score", MODEL, CSV).out)
    evidence = load(MODEL).evidence(tiny.frame())
    assert done["log_evidence"]["value"] == evidence.mean().value
    assert done["elbo"]["standard_error"] == evidence.mean_elbo().standard_error
    np.testing.assert_array_equal(scores["log_evidence"], evidence.log_evidence)
    np.testing.assert_array_equal(scores["khat"].cast(float), evidence.khat)
    assert scores["reliability"].to_list() == [flag.name for flag in evidence.reliability]
    np.testing.assert_array_equal(evidence.log_evidence, tiny.fitted().score_samples(X))


def test_held_out_rows_are_told_apart(tmp_path):
    """What `fit` calls held out is what the training has not seen: here rows far from all others."""
    far = tiny.numbers().head(5) * 1.0 + pl.DataFrame({"a": [50.0], "b": [0.0], "c": [0.0]}).select(
        pl.all().repeat_by(5).explode()
    )
    far.write_csv(tmp_path / "far.csv")
    given = run(
        "fit", CSV, "-o", tmp_path / "m", "--label=kind", "--drop=id", "--validation", tmp_path / "far.csv",
        "--no-report", "--json", *tiny.OPTIONS,
    )  # fmt: skip
    told = json.loads(given.out)
    assert told["held_out_log_evidence"]["n_rows"] == 5 and told["rows"] == tiny.N
    assert "40 training and 5 validation rows" in json.loads(run("info", tmp_path / "m", "--json").out)["fitted_on"]
    assert told["held_out_log_evidence"]["value"] < told["log_evidence"]["value"] - 100
    (line,) = (row for row in told["table"] if "held-out" in row["quantity"])
    assert line["value"] == told["held_out_log_evidence"]["value"] and line["rows"] == 5
    again = json.loads(run("evaluate", tmp_path / "m", tmp_path / "far.csv", "--json", "--no-checks").out)
    np.testing.assert_allclose(again["log_evidence"]["value"], told["held_out_log_evidence"]["value"])
    assert again["held_out_log_evidence"] is None and again["rows"] == 5


@pytest.mark.parametrize(
    "command", [["info", MODEL], ["evaluate", MODEL, CSV, "--no-checks"]], ids=lambda command: command[0]
)
def test_json_is_one_object_without_nan(command):
    done = run(*command, "--json")
    assert done.status == 0 and done.err == ""

    def never(constant):
        raise AssertionError(constant)

    assert isinstance(json.loads(done.out, parse_constant=never), dict)


def test_json_of_one_row_has_null_for_an_error_that_is_unknown():
    one = run("evaluate", MODEL, "-", "--json", stdin=tiny.numbers().head(1).write_csv().encode())
    assert "NaN" not in one.out and json.loads(one.out)["log_evidence"]["standard_error"] is None


def test_info_says_what_a_model_is():
    told = json.loads(run("info", MODEL, "--json").out)
    assert told["columns"] == 3 and told["names"] == ["a", "b", "c"] and told["columns_set_aside"] == ["kind", "id"]
    assert (
        told["latent_dim"] == 1
        and told["network"]["hidden_sizes"] == 8
        and told["settings"]["n_importance_samples"] == 20
    )
    shown = run("info", MODEL).out
    assert "t.csv: 36 training and 4 validation rows" in shown and "kind, id" in shown
    facts = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in shown.splitlines() if "  " in line.strip())
    assert facts["prior"] == "standard" and facts["network"] == "residual(hidden_sizes=8)"
    assert facts["exposure"] == "none"


OUTPUTS = {
    "score": (
        "row",
        "log_evidence",
        "standard_error",
        "elbo",
        "elbo_standard_error",
        "ess",
        "khat",
        "n_samples",
        "work",
        "kind",
        "method",
        "reliability",
    ),
    "encode": ("z0",),
    "reconstruct": ("a", "b", "c"),
}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet", ".npy", ".npz", ".CSV"])
@pytest.mark.parametrize("command", OUTPUTS)
def test_rows_are_written_as_the_suffix_says(tmp_path, command, suffix):
    place = tmp_path / f"rows{suffix}"
    done = run(command, MODEL, CSV, "-o", place)
    assert (done.status, done.stdout) == (0, b"") and done.err.count("\n") == (command == "score")
    expected = table(run(command, MODEL, CSV).out)
    assert tuple(expected.columns) == OUTPUTS[command] and len(expected) == tiny.N
    kind = suffix.lower()
    words = ("kind", "method", "reliability")
    columns = [name for name in expected.columns if name not in words]
    if kind == ".npy":
        given = np.load(place)
    elif kind == ".npz":
        with np.load(place) as arrays:
            assert "reliability" not in expected.columns or arrays["reliability"].tolist() == list(
                expected["reliability"]
            )
            given = np.column_stack([arrays[name] for name in arrays if name not in words])
    else:
        separator = "\t" if "tsv" in kind else ","
        read = pl.read_parquet(place) if kind == ".parquet" else pl.read_csv(place, separator=separator)
        assert read.columns == expected.columns
        given = floats(read.select(columns))
    np.testing.assert_allclose(given, floats(expected.select(columns)), rtol=1e-7)  # codes are in single precision


def floats(frame: pl.DataFrame) -> np.ndarray:
    return frame.cast(pl.Float64).fill_null(np.nan).to_numpy()


def test_encode_with_spread():
    codes = table(run("encode", MODEL, CSV, "--sd").out)
    assert codes.columns == ["z0", "z0_sd"] and (codes["z0_sd"] > 0).all()
    np.testing.assert_allclose(codes["z0"], load(MODEL).transform(tiny.frame())[:, 0], rtol=1e-6)


def test_samples_are_rows_like_the_data(tmp_path):
    drawn = table(run("sample", MODEL, "-n", 7, "--random-state=3").out)
    assert drawn.columns == ["a", "b", "c"] and len(drawn) == 7
    expected = load(MODEL).sample(7, random_state=3).to_numpy()
    np.testing.assert_allclose(drawn.to_numpy(), expected, rtol=1e-6)
    assert run("sample", MODEL, "-o", tmp_path / "s.npy").status == 0 and np.load(tmp_path / "s.npy").shape == (10, 3)
    # What was drawn can be scored, through a pipe.
    scores = table(run("score", MODEL, "-", stdin=drawn.write_csv().encode()).out)
    assert len(scores) == 7 and scores["log_evidence"].is_finite().all()


def test_without_a_seed_samples_differ():
    assert run("sample", MODEL).out != run("sample", MODEL).out


def test_columns_are_found_by_name_and_what_was_set_aside_may_be_missing():
    whole = run("score", MODEL, CSV).out
    for columns in (["a", "b", "c"], ["c", "kind", "b", "a"], ["id", "a", "b", "c"]):
        given = run("score", MODEL, "-", "--quiet", stdin=tiny.frame().select(columns).write_csv().encode())
        assert (given.status, given.err) == (0, "") and given.out == whole
    also = run("score", MODEL, "-", stdin=tiny.frame().with_columns(new=1).write_csv().encode())
    assert "also has 'new'" in also.failed()


def test_importance_samples_can_be_asked_for():
    few, many = (
        json.loads(run("evaluate", MODEL, CSV, "--json", "--no-checks", "-s", samples).out) for samples in (2, 500)
    )
    assert few["method"] == "importance sampling, 2 samples a row" and "500 samples" in many["method"]
    assert many["log_evidence"]["monte_carlo_error"] < few["log_evidence"]["monte_carlo_error"] / 3
    assert json.loads(run("evaluate", MODEL, CSV, "--json", "--no-checks").out)["method"].endswith("20 samples a row")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.found += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]


@pytest.mark.parametrize("by", ["fit", "report"])
def test_the_report_needs_nothing_but_itself(tmp_path, by):
    page = MODEL / "report.html"
    if by == "report":
        page = tmp_path / "page.html"
        assert run("report", MODEL, CSV, "--no-checks", "-o", page).out == f"Wrote {page}\n"
    text = page.read_text(encoding="utf-8")
    links = _Links()
    links.feed(text)
    assert links.found and all(link.startswith(("#", "data:")) for link in links.found)
    assert not links.tags & {"script", "link", "iframe", "object", "embed"} and "@import" not in text
    assert not re.search(r"url\((?!['\"]?(data:|#))", text)
    assert "t.csv" in text and "log p(x)" in text and "1 latent dimension" in text
    assert ("log p(x) of held-out rows" in text) == (by == "fit")
    shown = dict(re.findall(r"<th scope=\"row\">(\w+)</th>\s*<td[^>]*>([^<]*)</td>", text))
    assert shown["network"] == "residual(hidden_sizes=8)" and shown["random_state"] == "0"


def without_seconds(description: bytes) -> dict:
    values = json.loads(description)
    del values["training"]["seconds"]
    return values


def test_the_same_command_twice_gives_the_same_bytes(tmp_path):
    again = run("fit", CSV, "-o", tmp_path / "m", "--label=kind", "--drop=id", *tiny.OPTIONS)
    assert again.status == 0
    assert (tmp_path / "m" / "weights.safetensors").read_bytes() == (MODEL / "weights.safetensors").read_bytes()
    first, second = (without_seconds((place / "model.json").read_bytes()) for place in (MODEL, tmp_path / "m"))
    assert first == second
    for command in (
        ["score", MODEL, CSV],
        ["encode", MODEL, CSV, "--sd"],
        ["reconstruct", MODEL, CSV],
        ["sample", MODEL, "--random-state=1"],
        ["evaluate", MODEL, CSV],
    ):
        assert run(*command).stdout == run(*command).stdout
    pages = [tmp_path / "1.html", tmp_path / "2.html"]
    for page in pages:
        run("report", MODEL, CSV, "--no-checks", "-o", page)
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_another_seed_gives_another_model(tmp_path):
    run("fit", CSV, "-o", tmp_path / "m", "--label=kind", "--drop=id", "--random-state=1", "--no-report", *tiny.OPTIONS)
    assert (tmp_path / "m" / "weights.safetensors").read_bytes() != (MODEL / "weights.safetensors").read_bytes()
    assert not (tmp_path / "m" / "report.html").exists()


def test_an_existing_model_is_refused_before_the_data_are_read(tmp_path):
    before = tiny.everything_under(tiny.folder())
    refused = run("fit", tmp_path / "nothing.csv", "-o", MODEL).failed()
    assert str(MODEL) in refused and "exists" not in refused[: len(str(MODEL))] and "choose another name" in refused
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    for options in ([], ["--overwrite"]):
        assert "choose another name" in run("fit", CSV, "-o", tmp_path / "mine", *options).failed()
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all of it"
    assert tiny.everything_under(tiny.folder()) == before


def test_overwriting_when_told_to(tmp_path):
    options = ["--label=kind", "--drop=id", "--no-report", *tiny.OPTIONS]
    for seed in (0, 1):
        done = run("fit", CSV, "-o", tmp_path / "m", "--overwrite", f"--random-state={seed}", *options)
        assert done.status == 0, done.err
    assert json.loads(run("info", tmp_path / "m", "--json").out)["random_state"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_an_interrupted_fit_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    command = ["fit", CSV, "-o", tmp_path / "m", "--label=kind", "--drop=id", *tiny.OPTIONS]

    def impatient(self, record, epochs, n_rows):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WorkProgress, "epoch", impatient)
        assert "--resume" in run(*command).failed(status=130)
    assert [path.name for path in tmp_path.iterdir()] == ["m.checkpoint"]
    assert "interrupted fit" in run(*command).failed()
    assert "must be one of this very fit" in run(*command, "--random-state=1", "--resume").failed()
    assert run(*command, "--resume").status == 0
    assert (tmp_path / "m" / "weights.safetensors").read_bytes() == (MODEL / "weights.safetensors").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert "that fit has ended" in run(*command, "--resume").failed()


def test_resume_without_anything_to_resume_is_a_fit(tmp_path):
    done = run("fit", CSV, "-o", tmp_path / "m", "--label=kind", "--drop=id", "--resume", "--no-report", *tiny.OPTIONS)
    assert done.status == 0 and (tmp_path / "m" / "model.json").exists()


def test_folders_on_the_way_are_made(tmp_path):
    place = tmp_path / "new" / "deep" / "m"
    done = run("fit", CSV, "-o", place, "--label=kind", "--drop=id", "--no-report", *tiny.OPTIONS)
    assert done.status == 0 and (place / "model.json").exists()


def test_options_reach_the_fit(tmp_path, monkeypatch):
    given = {
        "latent_dim": 2,
        "likelihood": "columns(continuous=student_t, counts=poisson, spread=column)",
        "condition": ["a", "b"],
        "exposure": "c",
        "encoder": "set",
        "weight_decay": 0.5,
        "smoothing": 0.5,
        "scaling": "none",
        "prior": "mixture(n_components=3)",
        "posterior": "full",
        "second_stage": "maf(flow_layers=1)",
        "inference": "semi_amortised(inner_steps=2, inner_rate=0.1, through=True)",
        "network": "mlp(hidden_sizes=(8, 4), activation=tanh)",
        "objective": "iwae(n_samples=2, beta=2.5, kl_schedule=cosine, kl_warmup_steps=3)",
        "gradient": "dreg",
        "epochs": 2,
        "batch_size": 20,
        "learning_rate": 0.01,
        "missingness": "self_masking",
        "hide_cells": 0.25,
        "validation_fraction": 0.2,
        "patience": 0,
        "n_importance_samples": 5,
        "scoring_method": "refined",
        "tolerance": 0.5,
        "dtype": "float64",
    }
    assert set(given) == set(PARAMETERS)
    assert not any(given[name] == PARAMETERS[name].default for name in given)
    seen = []

    def fit_table(table, settings, *, seed, **rest):
        seen.append((settings, seed))
        raise ValueError("Enough.")

    monkeypatch.setattr("tightbound.estimator.fit.fit_table", fit_table)
    options = [
        f"--{name.replace('_', '-')}={each}"
        for name, value in given.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    command = ["fit", CSV, "-o", tmp_path / "m", "--drop=kind"]
    assert run(*command, "--random-state=9", *options).failed() == "Enough."
    assert run(*command).failed() == "Enough."
    assert seen == [(Settings(**given), 9), (Settings(), 0)]


def test_images_and_archives(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, size=(tiny.N, 2, 3), dtype=np.uint8)
    kinds = np.array(["cat", "dog"] * (tiny.N // 2))
    np.savez(tmp_path / "x.npz", train=images, kinds=kinds, other=images[:3])
    place = tmp_path / "m"
    done = run(
        "fit",
        tmp_path / "x.npz",
        "-a",
        "train",
        "--label=kinds",
        "-o",
        place,
        "--likelihood=bernoulli(binarize=True)",
        "--json",
        *tiny.SMALLEST_OPTIONS,
    )
    assert done.status == 0, done.err
    told = json.loads(done.out)
    assert "the log of a probability" in told["unit"] and told["log_evidence"]["value"] < 0
    bits = next(row for row in told["table"] if row["unit"] == "bits")
    assert bits["value"] == pytest.approx(-told["log_evidence"]["value"] / np.log(2) / 6)
    assert run("sample", place, "-n", 4, "-o", tmp_path / "s.npy").status == 0
    assert np.load(tmp_path / "s.npy").shape == (4, 2, 3)
    assert len(table(run("score", place, tmp_path / "x.npz", "-a", "other").out)) == 3
    assert "it holds 'train', 'kinds', 'other'" in run("score", place, tmp_path / "x.npz").failed()


def test_a_reader_that_has_seen_enough():
    shell = f"{sys.executable} -m tightbound sample {MODEL} -n 4000 | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "a,b,c\n0\n" and done.stderr == ""


def test_a_reader_that_has_gone_before_the_last_flush(tmp_path, monkeypatch):
    class Gone(io.StringIO):
        def fileno(self):
            return file.fileno()

        def flush(self):
            raise BrokenPipeError(32, "Broken pipe")

    with (tmp_path / "pipe").open("w") as file, monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["tightbound", "info", str(MODEL)])
        patch.setattr(sys, "stdout", Gone())
        patch.setattr(sys, "stderr", io.StringIO())
        patch.setattr(warnings, "showwarning", warnings.showwarning)  # the command line sets its own
        with pytest.raises(SystemExit) as end:
            cli.main()
    assert end.value.code == 0


WRONG = {
    "no such command": (["nothing"], "No such command 'nothing'; tightbound --help shows"),
    "no such option": (["fit", CSV, "--nope"], "No such option: --nope"),
    "no data": (["fit", "-o", "m"], "Missing argument 'DATA'"),
    "no output": (["fit", CSV], "Missing option '--output'"),
    "no number": (["fit", CSV, "-o", "m", "--latent-dim=many"], "--latent-dim"),
    "no choice": (["fit", CSV, "-o", "m", "--likelihood=magic"], "one of auto, gaussian, bernoulli"),
    "no brackets": (
        ["fit", CSV, "-o", "m", "--network=mlp(8;8"],
        "network must be a word, or a word with its parameters",
    ),
    "no size": (
        ["fit", CSV, "-o", "m", "--network=mlp(hidden_sizes=(8, 0))"],
        "A layer of hidden_sizes of the network 'mlp' must be a whole number between 1 and 100000",
    ),
    "no such parameter": (
        ["fit", CSV, "-o", "m", "--prior=mixture(rank=3)"],
        "The prior 'mixture' must be given parameters of its own; got 'rank'; it has n_components",
    ),
    "no epochs": (["fit", CSV, "-o", "m", "--epochs=0"], "epochs must be a whole number of at least 1; got 0"),
    "no seed": (["fit", CSV, "-o", "m", "--random-state=-1"], "random_state must be"),
    "no rows drawn": (["sample", MODEL, "-n", 0], "--number must be a whole number between 1 and 1000000000; got 0"),
    "no seed to draw": (["sample", MODEL, "--random-state=-1"], "--random-state must be"),
    "no samples": (["evaluate", MODEL, CSV, "-s", 0], "--n-importance-samples must be"),
    "no model": (["info", "nowhere"], "nowhere must be one that tightbound has saved, but it does not exist"),
    "no data to score": (["score", MODEL, "nowhere.csv"], "no such file"),
    "no kind of file": (["score", MODEL, CSV, "-o", "x.xlsx"], "'.xlsx'"),
    "no folder": (["encode", MODEL, CSV, "-o", "no/x.csv"], "make that folder first"),
    "no page": (["report", MODEL, CSV, "--no-checks", "-o", "page.csv"], ".html"),
    "no folder for the page": (["report", MODEL, CSV, "--no-checks", "-o", "no/page.html"], "make that folder first"),
    "no column": (["fit", CSV, "-o", "m", "--label=knd"], "did you mean 'kind'?"),
    "no array": (["fit", CSV, "-o", "m", "--array=x"], ".npz"),
    "nothing to score": (["score", MODEL, "-"], "the file is empty"),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG.values(), ids=WRONG)
def test_an_error_is_one_sentence_and_status_2(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert words in run(*arguments).failed()
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_not_dressed_up_as_an_error(monkeypatch):
    monkeypatch.setattr("tightbound.cli.commands.info.load", lambda path: {}["no"])
    with pytest.raises(KeyError):
        run("info", MODEL)


def test_a_full_memory_gets_its_sentence(monkeypatch):
    def full(path):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 64384018448 bytes.")

    monkeypatch.setattr("tightbound.cli.commands.info.load", full)
    assert "memory is used up" in run("info", MODEL).failed()


def test_a_path_without_rights(monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", "/root/x")

    monkeypatch.setattr("tightbound.cli.commands.info.load", refused)
    assert (
        run("info", MODEL).failed() == "/root/x cannot be used (Permission denied); check the path and its permissions."
    )


def test_real_data(shared_data, tmp_path):
    """A table with gaps: fit, score and fill in, all of it finite."""
    data, place = shared_data / "tables" / "airquality.csv.gz", tmp_path / "m"
    fit = run("fit", data, "-o", place, "--label=Month", "--drop=Day", "--no-report", *tiny.SMALLEST_OPTIONS)
    assert fit.status == 0, fit.err
    scores = table(run("score", place, data).out)
    assert len(scores) == 153 and scores["log_evidence"].is_finite().all()
    filled = table(run("reconstruct", place, data).out)
    assert filled.columns == ["Ozone", "Solar.R", "Wind", "Temp"] and sum(filled.null_count().row(0)) == 0


def test_the_shell_completes_choices():
    code = "import sys; sys.argv = ['tightbound']; from tightbound.cli.app import main; main()"
    environment = {
        "_TIGHTBOUND_COMPLETE": "complete_bash",
        "COMP_WORDS": "tightbound fit --likelihood ",
        "COMP_CWORD": "3",
        "PATH": str(Path(sys.executable).parent),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert done.stdout.split() == ["auto", "gaussian", "bernoulli", "columns", "multinomial", "dirichlet_multinomial"]
