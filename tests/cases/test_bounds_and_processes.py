"""No number that can be asked for is without an end; many rows are written as they are drawn; forks are refused."""

import multiprocessing
import os
from collections.abc import Iterator

import numpy as np
import pytest
import tiny
from tiny import CSV, MODEL, run

from tightbound.cli.commands import sample as sample_command
from tightbound.estimator import compiler
from tightbound.estimator.settings import PARAMETERS
from tightbound.model.axes import AXES
from tightbound.model.axes.parameters import check_number, check_sizes

X = tiny.numbers().to_numpy()


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with tiny.quick_compilation():
        tiny.folder()
        yield


def test_kept_programs_that_were_swapped_are_compiled_anew(tmp_path):
    """JAX would run the one in the place of the other; what is as it was noted, or new, stays."""
    for name in "abc":
        (tmp_path / f"{name}-cache").write_text(name * 9)
    assert compiler._changed(tmp_path) == []
    compiler._remember(tmp_path)
    assert compiler._changed(tmp_path) == []
    (tmp_path / "d-cache").write_text("new")
    for one, other in (("a-cache", "x"), ("b-cache", "a-cache"), ("x", "b-cache")):
        (tmp_path / one).rename(tmp_path / other)
        os.utime(tmp_path / other, ns=(1, 10**9 * ord(other[0])))  # written at different times
    assert sorted(path.name for path in compiler._changed(tmp_path)) == ["a-cache", "b-cache"]
    (tmp_path / "tightbound.index").write_text("{")
    assert compiler._changed(tmp_path) == []


def test_every_number_has_an_upper_end():
    every = {f"{name}": each for name, each in PARAMETERS.items()}
    for axis in AXES.values():
        for member in axis.members:
            every |= {f"{axis.name} {member.word} {name}": each for name, each in member.parameters().items()}
    bounded = {name: each for name, each in every.items() if each.least is not None}
    assert len(bounded) > 30
    for name, each in bounded.items():
        assert each.most <= 1e9, name
        with pytest.raises(ValueError, match=r"must be a (whole )?number between .* and .*; got 1000000000000"):
            each.check(name, 10**12)


TOO_LARGE = (10**12, 1e12, float("inf"), 10**5000, -(10**5000), float("nan"), np.int64(2**62))


@pytest.mark.parametrize("value", TOO_LARGE, ids=range(len(TOO_LARGE)))
def test_a_number_that_is_too_large_gets_a_short_sentence(value):
    with pytest.raises(ValueError, match=r"^n must be a whole number") as caught:
        check_number("n", value, 1, 10**6, "1 is usual")
    assert len(str(caught.value)) < 150
    with pytest.raises(ValueError, match="at most 100 layers"):
        check_sizes("hidden_sizes", [3] * 10**6)


HUGE = 10**12
TOO_MUCH = {
    "samples": ("score", MODEL, CSV, "-s", HUGE),
    "steps of refinement": ("encode", MODEL, CSV, "--refine", HUGE),
    "chains": ("score", MODEL, CSV, "--method=annealed", "--n-chains", HUGE),
    "temperatures": ("score", MODEL, CSV, "--method=annealed", "--n-steps", HUGE),
    "rows": ("sample", MODEL, "-n", 3 * 10**9),
    "rows given something": ("sample", MODEL, "-n", 10**8, "--given", "a=1"),
    "completions": ("impute", MODEL, CSV, "--draws", HUGE),
    "epochs": ("fit", CSV, "-o", "m", "--epochs", HUGE),
    "patience": ("fit", CSV, "-o", "m", "--patience", HUGE),
    "rows a step": ("fit", CSV, "-o", "m", "--batch-size", HUGE),
    "latents": ("fit", CSV, "-o", "m", "--latent-dim", 10**6),
    "steps of warm-up": ("fit", CSV, "-o", "m", "--objective", f"elbo(kl_warmup_steps={HUGE})"),
    "layers of a flow": ("fit", CSV, "-o", "m", "--posterior", "iaf(flow_layers=100000)"),
    "width of a layer": ("fit", CSV, "-o", "m", "--network", f"mlp(hidden_sizes={HUGE})"),
    "digits": ("fit", CSV, "-o", "m", "--epochs", "9" * 5000),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_what_would_never_end_is_refused_at_once(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = run(*TOO_MUCH[what]).failed()
    assert len(said) < 300 and any(words in said for words in ("between", "range", "valid")), said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz"])
def test_rows_written_as_they_are_drawn_are_the_same_rows(suffix, tmp_path, monkeypatch):
    whole, pieces = tmp_path / f"whole{suffix}", tmp_path / f"pieces{suffix}"
    assert run("sample", MODEL, "-n", 25, "--random-state=4", "-o", whole).status == 0
    monkeypatch.setattr(sample_command, "AT_ONCE", 10)
    assert run("sample", MODEL, "-n", 25, "--random-state=4", "-o", pieces).status == 0
    if suffix == ".csv":
        assert pieces.read_bytes() == whole.read_bytes() and whole.read_text().count("\n") == 26
        assert run("sample", MODEL, "-n", 25, "--random-state=4").stdout == whole.read_bytes()
    refused = run("sample", MODEL, "-n", 25, "-o", tmp_path / "x.parquet").failed()
    assert ".csv" in refused and not (tmp_path / "x.parquet").exists()


def score_in_a_fork(queue):
    """What another process has to say of a score."""
    try:
        queue.put(repr(tiny.fitted().score(X)))
    except RuntimeError as error:
        queue.put(str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore")  # JAX and Python themselves warn of forks
def test_a_fork_of_a_process_that_ran_a_model_says_what_to_do():
    tiny.fitted().score(X)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=score_in_a_fork, args=(queue,))
    process.start()
    try:
        said = queue.get(timeout=60)
    finally:
        process.kill()
        process.join()
    assert "it is a fork of one that had run one" in said and "'spawn'" in said
