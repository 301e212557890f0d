"""Inputs are never overwritten, one run at a time writes to a name, a signal or a full disk loses nothing."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import tiny
from tiny import CSV, MODEL, run

from tightbound import VAE
from tightbound.cli.commands import fit as fit_command
from tightbound.data import DataError, reserved
from tightbound.estimator import resume
from tightbound.estimator.progress import WorkProgress
from tightbound.estimator.visible import visible

FIT = ("--label=kind", "--drop=id", *tiny.OPTIONS)


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with tiny.quick_compilation():
        tiny.folder()
        yield


# Inputs.


def other_name(kind, place):
    """The same file by another name."""
    link = place.with_name(f"link{place.suffix}")
    if kind == "itself":
        return place
    if kind == "another spelling":
        return f"{place.parent}/../{place.parent.name}/./{place.name}"
    link.symlink_to(place) if kind == "a link" else link.hardlink_to(place)
    return link


@pytest.mark.parametrize("kind", ["itself", "another spelling", "a link", "a hard link"])
def test_the_data_are_never_written_over(tmp_path, kind):
    data = tmp_path / "t.csv"
    shutil.copy(CSV, data)
    output = other_name(kind, data)
    before = tiny.everything_under(tmp_path)
    for command in ("score", "impute", "encode", "reconstruct", "detect"):
        said = run(command, MODEL, data, "-o", output).failed()
        assert "another place than what is read, but DATA is there" in said and str(output) in said
    assert tiny.everything_under(tmp_path) == before


def test_nor_are_any_other_inputs(tmp_path):
    for name in ("s.json", "r.csv", "t.html"):
        shutil.copy(CSV, tmp_path / name)
    places = {name: tmp_path / name for name in ("s.json", "r.csv", "t.html")}
    before = tiny.everything_under(tmp_path)
    assert (
        "--reference is there"
        in run("detect", MODEL, CSV, "--reference", places["r.csv"], "-o", places["r.csv"]).failed()
    )
    assert "--train is there" in run("report", MODEL, CSV, "--train", places["t.html"], "-o", places["t.html"]).failed()
    assert "DATA is there" in run("report", MODEL, places["t.html"], "-o", places["t.html"]).failed()
    assert "DATA is there" in run("schema", places["s.json"], "-o", places["s.json"]).failed()
    assert tiny.everything_under(tmp_path) == before


def test_a_model_is_not_replaced_while_it_holds_what_is_read(tmp_path):
    model = tmp_path / "m"
    shutil.copytree(MODEL, model)
    shutil.copy(CSV, model / "train.csv")
    before = tiny.everything_under(tmp_path)
    assert "DATA is there" in run("fit", model / "train.csv", "-o", model, "--overwrite", *FIT).failed()
    assert "--validation is there" in run("fit", CSV, "--validation", model / "train.csv", "-o", model, *FIT).failed()
    assert tiny.everything_under(tmp_path) == before


def test_standard_input_is_an_input_too(tmp_path):
    data = tmp_path / "t.csv"
    shutil.copy(CSV, data)
    command = [sys.executable, "-m", "tightbound", "schema", "-", "-o", str(tmp_path / "t.json")]
    shutil.copy(CSV, tmp_path / "t.json")
    with (tmp_path / "t.json").open() as stream:
        done = subprocess.run(command, stdin=stream, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "standard input comes from there" in done.stderr
    assert (tmp_path / "t.json").read_bytes() == data.read_bytes()


def test_a_checkpoint_takes_the_place_of_nothing_else(tmp_path):
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    with pytest.raises(ValueError, match=r"thesis.txt must be free for the state .* but it is something else"):
        tiny.vae(checkpoint=thesis).fit(tiny.numbers())
    assert thesis.read_text() == "years of work" and list(tmp_path.iterdir()) == [thesis]


# One run at a time.


def test_a_second_fit_to_the_same_name_is_refused_before_it_works(tmp_path):
    with reserved(tmp_path / "m"):
        assert "be written by one run at a time" in run("fit", CSV, "-o", tmp_path / "m", *FIT).failed()
    with reserved(tmp_path / "state"), pytest.raises(DataError, match="another run is working for it"):
        VAE(checkpoint=tmp_path / "state").fit(tiny.numbers())
    with reserved(tmp_path / "s.csv.partial"):
        assert "one run at a time" in run("score", MODEL, CSV, "-o", tmp_path / "s.csv").failed()
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_a_dead_process_held_is_free(tmp_path):
    (tmp_path / ".m.lock").touch()
    with reserved(tmp_path / "a" / "b" / "m"), reserved(tmp_path / "m"):
        assert (tmp_path / "a" / "b" / ".m.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_what_killed_fits_left_is_swept_by_the_next_one_even_if_it_is_refused(tmp_path):
    shutil.copytree(MODEL, tmp_path / "m")
    for name in (".m.0a1b2c3d.part", "m.before-0a1b2c3d"):
        shutil.copytree(MODEL, tmp_path / name)
    (tmp_path / ".m.lock").touch()
    shutil.copytree(MODEL, tmp_path / "m.before-mine")
    assert "choose another name" in run("fit", CSV, "-o", tmp_path / "m", *FIT).failed()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "m.before-mine"]


def test_a_fit_that_was_ended_after_its_model_was_saved_has_ended(tmp_path, monkeypatch):
    """Its checkpoint is still there: it goes, and the model stays as it is."""
    inner = fit_command._save

    def save_and_die(*rest):
        inner(*rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_command, "_save", save_and_die)
    command = ("fit", CSV, "-o", tmp_path / "m", *FIT)
    assert run(*command).failed(130)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "m.checkpoint"]
    saved = tiny.everything_under(tmp_path / "m")
    assert "that fit has ended" in run(*command, "--resume").failed()
    assert [path.name for path in tmp_path.iterdir()] == ["m"] and tiny.everything_under(tmp_path / "m") == saved


# Signals and disks.


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_keeps_the_state_of_a_fit_and_says_so(tmp_path, monkeypatch, number, status):
    """The state of the very epoch that it came after; what is gone on from gives the same bits."""
    monkeypatch.setattr("tightbound.learn.loop._SECONDS_A_CALL", 0)
    command = ("fit", CSV, "-o", tmp_path / "m", *FIT)

    def signalled(self, record, epochs, n_rows):
        if record.epoch == 2:
            os.kill(os.getpid(), number)

    # Who runs the tests may have them ignore it.
    before = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    with monkeypatch.context() as patch:
        patch.setattr(WorkProgress, "epoch", signalled)
        said = run(*command).failed(status)
    signal.signal(number, before)
    assert "nothing was overwritten" in said and f"{tmp_path / 'm.checkpoint'} keeps its state" in said
    epochs = []
    with monkeypatch.context() as patch:
        patch.setattr(WorkProgress, "epoch", lambda self, record, *rest: epochs.append(record.epoch))
        assert run(*command, "--resume").status == 0
    assert epochs == [3]
    assert (tmp_path / "m" / "weights.safetensors").read_bytes() == (MODEL / "weights.safetensors").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_full_disk_at_a_checkpoint_is_said_and_the_fit_goes_on(tmp_path, monkeypatch):
    def full(path, contents):
        error = OSError(28, "No space left on device")
        raise DataError(f"{path} must be a file that can be written, but the system says: no space.") from error

    monkeypatch.setattr(resume, "atomic_write", full)
    monkeypatch.setattr("tightbound.learn.loop._SECONDS_A_CALL", 0)
    done = run("fit", CSV, "-o", tmp_path / "m", *FIT)
    assert done.status == 0
    assert done.err.count("note: The state of the work cannot be kept for now, and it goes on") == 1
    assert "no space" in done.err
    assert (tmp_path / "m" / "weights.safetensors").read_bytes() == (MODEL / "weights.safetensors").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_ctrl_c_while_importing_is_one_sentence_and_130():
    code = """
import sys
class Impatient:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Impatient())
from tightbound.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130 and done.stderr == "tightbound: Interrupted; nothing was begun.\n"


# What is shown.


def test_names_cannot_command_a_terminal(tmp_path):
    escape = "a\x1b[31mred\x1b]0;title\x07\x9b"
    assert visible(escape + "\u202e\n\t") == "a\\x1b[31mred\\x1b]0;title\\x07\\x9b\\u202e\n\t"
    named = tmp_path / "t.csv"
    named.write_text(CSV.read_text().replace("a,b,c", f"{escape},b,c", 1))
    for done in (
        run("schema", named),
        run("fit", named, "-o", tmp_path / "m", "--label=kind", "--drop=id", *tiny.OPTIONS[:-1]),
        run("info", tmp_path / "m"),
        run("detect", tmp_path / "m", named),
        run("score", tmp_path / "m", CSV),
    ):
        assert done.stdout + done.err.encode() and not {"\x1b", "\x07", "\x9b"} & {*done.out, *done.err}
    assert "\\x1b[31mred" in run("schema", named).out
