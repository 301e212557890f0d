"""Whatever people give: one sentence that names it and says what to do, in Python and on the command line alike."""

import gzip
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import tiny
from PIL import Image
from tiny import MODEL, run

from tightbound import VAE, load
from tightbound.data import read_table
from tightbound.data.encoding import LEAST
from tightbound.estimator.folder import sealed

X = tiny.numbers().to_numpy()
WITH_INFINITY = X.copy()
WITH_INFINITY[3, 1] = -np.inf


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with tiny.quick_compilation():
        tiny.folder()
        yield


def the_sentence(call: Callable[[], Any], error: type[Exception] = ValueError) -> str:
    """What a call that must fail says."""
    with pytest.raises(error) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said and said.endswith("."), said
    return said


def put(place: Path, content: Any) -> None:
    """A file, or a folder of files, with that content."""
    if isinstance(content, dict):
        place.mkdir()
        for name, inside in content.items():
            put(place / name, inside)
    elif isinstance(content, Image.Image):
        content.save(place)
    elif isinstance(content, np.ndarray):
        np.save(place, content, allow_pickle=True)
    elif content is not None:
        place.write_bytes(content if isinstance(content, bytes) else content.encode())


GOOD = tiny.numbers().write_csv()
GREY, WIDE = Image.new("L", (2, 2)), Image.new("L", (3, 2))


@dataclass(frozen=True)
class Bad:
    """Data that cannot be fitted: as a file, in memory where there is such a thing, and what is said of it."""

    name: str
    content: Any
    words: tuple[str, ...]
    given: tuple[Any, ...] = ()
    options: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


FIT = {
    "empty file": Bad("t.csv", "", ("file is empty", "give")),
    "blank lines only": Bad("t.csv", "\n\n", ("file is empty", "give")),
    "empty gzip": Bad("t.csv.gz", gzip.compress(b""), ("file is empty", "give")),
    "empty npy": Bad("t.npy", b"", ("it is empty", "write it anew")),
    "empty parquet": Bad("t.parquet", b"", ("whole parquet file", "write it anew")),
    "no rows": Bad("t.csv", "a,b\n", ("have rows", "at least one row"), (pd.DataFrame({"a": [], "b": []}), X[:0])),
    "no columns": Bad("t.npy", np.ones((3, 0)), ("must have columns", "give"), (np.ones((3, 0)),)),
    "one row": Bad("t.csv", "a,b\n1,2\n", ("at least two rows", "give more rows"), (X[:1], tiny.numbers()[:1])),
    "infinity": Bad(
        "t.csv",
        GOOD.replace("\n", "\ninf,1,1\n", 1),
        ("row 0 (counting from 0), column 'a' holds infinity", "correct it, or make it missing"),
        (tiny.numbers().with_columns(a=pl.Series([np.inf, *X[1:, 0]])),),
    ),
    "minus infinity in an array": Bad("t.npy", WITH_INFINITY, ("row 3", "infinity", "correct it"), (WITH_INFINITY,)),
    "strings": Bad(
        "t.csv",
        "a,b\n1,2\n3,four\n5,6\n",
        ("Column 'b' of", "must hold numbers", "'four'", "drop the column"),
        (pd.DataFrame({"a": [1, 2], "b": ["2", "four"]}), pl.DataFrame({"a": [1, 2], "b": ["2", "four"]})),
    ),
    "several columns of strings": Bad(
        "t.csv", "a,b,c\n1,2,u\n3,3,4\nv,5,6\n", ("Column 'a'", "the same goes for 'c'", "schema")
    ),
    "objects": Bad(
        "t.npy", np.array([[1, "x"], [2, {}]], dtype=object), ("pickled Python objects",), ([[1, "x"], [2, 3]],)
    ),
    "lists": Bad(
        "t.parquet",
        None,
        ("Column 'd' of", "type List", "convert"),
        (pl.DataFrame({"d": [["2020-01-01"], ["2020-01-02"]], "x": [1, 2]}),),
    ),
    "complex": Bad("t.npy", X * 1j, ("Complex data not supported", "two columns"), (X * 1j,)),
    "every column constant": Bad(
        "t.csv", "a,b\n1,2\n1,2\n1,2\n", ("every column is constant", "give columns"), (np.ones((9, 2)),)
    ),
    "nothing but missing cells": Bad(
        "t.csv", "a,b\nNA,\n,NA\n", ("constant or missing", "give"), (np.full((9, 2), np.nan),)
    ),
    "duplicate names": Bad(
        "t.csv",
        "a,b,a\n1,2,3\n4,5,6\n",
        ("column 2 (counting from 0) has the name 'a' again", "rename"),
        (pd.DataFrame(X, columns=["a", "b", "a"]),),
    ),
    "stacked headers": Bad(
        "t.csv", None, ("levels", "flatten"), (pd.DataFrame(X, columns=[list("uuv"), list("abc")]),)
    ),
    "a line too long": Bad("t.csv", "a,b\n1,2\n3,4,5\n", ("2 field(s) on every line", "line 3 has 3", "mend")),
    "a line too short": Bad("t.csv", 'a,b\n1,"2"\n\n3\n', ("line 4 has 1", "mend")),
    "rows of different lengths": Bad("t.csv", None, ("different lengths", "NaN"), ([[1, 2], [3]],)),
    "one dimension": Bad("t.npy", X[:, 0], ("Expected 2D array", "Reshape"), (X[:, 0],)),
    "a number": Bad("t.npy", np.array(3.0), ("Expected 2D array", "Reshape"), (3.0,)),
    "not text": Bad("t.csv", b"a,b\n1,\xff\n", ("UTF-8", "line 2", "iconv")),
    "missing path": Bad("t.csv", None, ("no such file", "check path")),
    "a suffix of another kind": Bad("t.xlsx", b"PK", (".xlsx", "convert it")),
    "a CSV that is called parquet": Bad("t.parquet", GOOD, ("whole parquet file", "write it anew")),
    "a CSV that is called npz": Bad("t.npz", GOOD, ("does not start as one does", "write it anew")),
    "a gzip cut short": Bad("t.csv.gz", gzip.compress(GOOD.encode())[:60], ("whole gzip file", "write it anew")),
    "an empty folder": Bad("images", {}, ("holds none", "name the folder with the images")),
    "a folder without images": Bad("images", {"notes.txt": "no"}, ("holds none", "name the folder with the images")),
    "images of different sizes": Bad(
        "images", {"a.png": GREY, "b.png": GREY, "c.png": WIDE}, ("2 x 2", "c.png has 3 x 2", "resize or remove")
    ),
    "a damaged image": Bad("images", {"a.png": GREY, "b.png": b"\x89PNG..."}, ("b.png", "damaged", "mend or remove")),
    "one image": Bad("images", {"a.png": GREY}, ("at least two rows",)),
    "labels of images": Bad("images", {"a.png": GREY, "b.png": GREY}, ("leave out",), options=("--label=x",)),
    "no dimension": Bad(
        "t.csv", GOOD, ("latent_dim", "got 0", "2 to 50 is usual"), (X,), ("--latent-dim=0",), {"latent_dim": 0}
    ),
    "a dimension without sense": Bad(
        "t.csv",
        GOOD,
        ("latent_dim", "between 1 and 64; got 10000", "usual"),
        (X,),
        ("--latent-dim=10000",),
        {"latent_dim": 10_000},
    ),
    "Bernoulli on real numbers": Bad(
        "t.csv",
        GOOD,
        ("only 0 and 1", "use the likelihood 'gaussian'"),
        (X,),
        ("--likelihood=bernoulli",),
        {"likelihood": "bernoulli"},
    ),
    "binarised real numbers": Bad(
        "t.csv",
        GOOD,
        ("whole numbers from 0 to 255",),
        (X,),
        ("--likelihood=bernoulli(binarize=True)",),
        {"likelihood": "bernoulli(binarize=True)"},
    ),
    "no rows left to learn from": Bad(
        "t.csv", GOOD, ("validation_fraction", "0.9"), (X,), ("--validation-fraction=1",), {"validation_fraction": 1.0}
    ),
}


@pytest.mark.parametrize("bad", FIT.values(), ids=FIT)
def test_a_bad_fit_says_why_and_leaves_nothing(tmp_path, bad):
    place = tmp_path / bad.name
    put(place, bad.content)
    before = tiny.everything_under(tmp_path)
    said = run("fit", place, "-o", tmp_path / "m", "--quiet", *bad.options).failed()
    words = bad.words if bad.content is not None else ("no such file",)
    assert all(word in said for word in words), said
    assert tiny.everything_under(tmp_path) == before
    for X in bad.given:
        said = the_sentence(lambda: VAE(**bad.settings).fit(X))  # noqa: B023
        assert all(word in said for word in bad.words if "pickled" not in word), said
    if not bad.given and bad.content is not None and not bad.options:
        said = the_sentence(lambda: read_and_fit(place))
        assert all(word in said for word in bad.words), said


def read_and_fit(place: Path) -> None:
    """As a program of one's own might."""
    table = read_table(place)
    VAE().fit(table.values.reshape(-1, *table.shape))


@pytest.mark.parametrize("named", [True, False])
def test_the_input_is_named(tmp_path, named):
    """A sentence about data says which: the file's name on the command line, X or validation in Python."""
    np.save(tmp_path / "bad.npy", WITH_INFINITY)
    np.save(tmp_path / "good.npy", X)
    assert run("fit", tmp_path / "bad.npy", "-o", tmp_path / "m").failed().startswith("bad.npy must hold finite")
    held_out = run("fit", tmp_path / "good.npy", "--validation", tmp_path / "bad.npy", "-o", tmp_path / "m").failed()
    assert held_out.startswith("bad.npy must hold finite")
    given = pd.DataFrame(WITH_INFINITY) if named else WITH_INFINITY
    assert the_sentence(lambda: tiny.vae().fit(given)).startswith("X must hold finite")
    assert the_sentence(lambda: tiny.vae().fit(X, validation=given)).startswith("validation must hold finite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.npy", "good.npy"]


def test_a_path_that_may_not_be_read(tmp_path, monkeypatch):
    place = tmp_path / "t.csv"
    place.write_text(GOOD)
    place.chmod(0)
    if os.access(place, os.R_OK):  # a superuser reads everything

        def refused(self):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "read_bytes", refused)
    said = run("fit", place, "-o", tmp_path / "m").failed()
    assert "permission denied" in said and "check path and rights" in said
    assert "permission denied" in the_sentence(lambda: read_table(place))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_place_that_may_not_be_written(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text(GOOD)
    (tmp_path / "file").write_text("")
    said = run("fit", tmp_path / "t.csv", "-o", tmp_path / "file" / "m", *tiny.OPTIONS).failed()
    assert str(tmp_path / "file") in said and "check the path" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "t.csv"]


NEW = tiny.numbers().head(3)
SCORE = {
    "a column is missing": (NEW.drop("b"), ("lacks 'b'", "add them")),
    "columns are missing": (NEW.select("b"), ("lacks 'a', 'c'", "add them")),
    "a column has another name": (NEW.rename({"b": "B"}), ("lacks 'b'", "it has 'B'", "rename")),
    "a column too many": (NEW.with_columns(new=1.0), ("also has 'new'", "drop")),
    "strings": (NEW.with_columns(b=pl.lit("x")), ("Column 'b' of", "must hold numbers", "'x'")),
    "infinity": (
        NEW.with_columns(b=pl.lit(-np.inf)),
        ("row 0", "column 'b', holds infinity", "correct it, or make it missing"),
    ),
    "no rows": (NEW.head(0), ("have rows", "at least one row")),
    "too large": (
        NEW.with_columns(b=pl.lit(1e300)),
        ("float32 can tell from infinity", "'b' holds 1e+300", "correct it"),
    ),
}


@pytest.mark.parametrize(("frame", "words"), SCORE.values(), ids=SCORE)
def test_a_bad_new_table_says_why_and_leaves_nothing(tmp_path, frame, words):
    frame.write_csv(tmp_path / "new.csv")
    before = tiny.everything_under(tmp_path)
    for command, output in (
        ("score", "x.csv"), ("encode", "x.npy"), ("reconstruct", "x.parquet"), ("report", "x.html"), ("evaluate", None),
    ):  # fmt: skip
        options = [] if output is None else ["-o", tmp_path / output]
        said = run(command, MODEL, tmp_path / "new.csv", *options).failed()
        assert all(word in said for word in words) and "new.csv" in said, said
        assert tiny.everything_under(tmp_path) == before
    for method in ("score_samples", "transform", "reconstruct", "evidence", "sample_posterior"):
        said = the_sentence(lambda: getattr(tiny.fitted(), method)(frame))  # noqa: B023
        assert all(word in said for word in words) and "X" in said, said


def test_arrays_of_another_width_are_refused():
    for wrong in (X[:, :2], np.column_stack([X, X])):
        said = the_sentence(lambda: tiny.fitted().transform(wrong))  # noqa: B023
        assert "3 columns of the fitted data" in said and f"{wrong.shape[1]} features" in said and "give" in said


def test_columns_in_another_order_are_fine():
    np.testing.assert_array_equal(
        tiny.fitted().score_samples(tiny.numbers().select("c", "b", "a").to_pandas()), tiny.fitted().score_samples(X)
    )


def edited(path: list[str], value: Any) -> Callable[[Path], None]:
    """Change one entry of model.json."""

    def edit(model: Path) -> None:
        values = json.loads((model / "model.json").read_text())
        inner = values
        for key in path[:-1]:
            inner = inner[key]
        if value is None:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
        (model / "model.json").write_bytes(sealed(values))

    return edit


def cut(name: str, size: int) -> Callable[[Path], None]:
    """Keep the first bytes of a file."""
    return lambda model: (model / name).write_bytes((model / name).read_bytes()[:size]) and None


def zipped(model: Path) -> None:
    with zipfile.ZipFile(model / "weights.safetensors", "w") as archive:
        archive.writestr("x", "y")


DAMAGE = {
    "newer": (edited(["format_version"], 99), ("format version", "99", "install that version")),
    "of no version": (edited(["format_version"], None), ("format version", "restore it")),
    "foreign": (edited(["format"], "another program's model"), ("something else", "check the path")),
    "another program's JSON": (lambda model: put(model / "model.json", "[1, 2]"), ("something else", "check the path")),
    "JSON cut short": (cut("model.json", 400), ("model.json", "damaged or incomplete", "restore it")),
    "empty JSON": (cut("model.json", 0), ("damaged or incomplete", "restore it")),
    "JSON that is no text": (lambda model: put(model / "model.json", b"\xff\xfe"), ("damaged", "restore it")),
    "no JSON": (lambda model: (model / "model.json").unlink(), ("no readable model.json", "check the path")),
    "weights cut short": (cut("weights.safetensors", 900), ("weights.safetensors", "damaged", "restore it")),
    "weights cut within the header": (cut("weights.safetensors", 20), ("weights.safetensors", "damaged", "restore it")),
    "empty weights": (cut("weights.safetensors", 0), ("weights.safetensors", "damaged", "restore it")),
    "weights of another kind": (zipped, ("weights.safetensors", "damaged", "restore it")),
    "no weights": (lambda model: (model / "weights.safetensors").unlink(), ("weights.safetensors", "restore it")),
    "another size": (edited(["specification", "latent_dim"], 2), ("weights.safetensors", "shape", "restore it")),
    "an entry gone": (edited(["encoding", "plans"], None), ("model.json", "encoding", "restore it")),
    "an entry of another kind": (edited(["specification", "network"], 3), ("model.json", "restore it")),
    "parts that do not fit": (edited(["specification", "n_features"], 4), ("do not belong together", "restore it")),
    "no summary": (edited(["training", "seed"], None), ("model.json", "restore it")),
    "no folder": (shutil.rmtree, ("does not exist", "check the path")),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE)
def test_a_bad_model_says_why_and_leaves_nothing(tmp_path, damage, words):
    model = tmp_path / "m"
    shutil.copytree(MODEL, model)
    damage(model)
    before = tiny.everything_under(tmp_path)
    for command in (["info"], ["sample", "-o", tmp_path / "x.csv"], ["score", tiny.CSV, "-o", tmp_path / "x.npy"]):
        said = run(command[0], model, *command[1:]).failed()
        assert all(word in said for word in words), said
        assert tiny.everything_under(tmp_path) == before
    assert the_sentence(lambda: load(model)) == said


def test_a_file_is_no_model():
    assert "check the path" in run("info", tiny.CSV).failed()
    assert "check the path" in the_sentence(lambda: load(tiny.CSV))


def test_what_is_odd_but_meant_is_handled_with_a_warning(tmp_path):
    """Constant and empty columns, empty rows, gaps: fitted, said, and back at their place in what comes out."""
    odd = np.column_stack([X[:, 0], np.full(tiny.N, 7.0), np.full(tiny.N, np.nan), X[:, 1:]])
    odd[4] = np.nan
    frame = pd.DataFrame(odd, columns=["a", "seven", "void", "b", "c"])
    with pytest.warns(UserWarning) as caught:
        vae = tiny.vae().fit(frame)
    said = [str(warning.message) for warning in caught]
    for words in (
        "Column 'seven' is not modelled: every cell is 7.0", "Column 'void' is not modelled: every cell is missing",
        r"1 row\(s\) of X have no value .* row 4 \(counting from 0\)",
    ):  # fmt: skip
        assert any(re.search(words, sentence) for sentence in said), said
    assert vae.n_features_in_ == 3 and np.isfinite(vae.score_samples(frame)).all()
    for out in (vae.reconstruct(frame), vae.sample(5)):
        assert list(out.columns) == ["a", "seven", "b", "c"]
        assert (out["seven"] == 7).all() and out.notna().all().all()
    other = frame.assign(seven=8.0).head(2)
    with pytest.warns(UserWarning, match="'seven' of X was always 7 .* nothing is less likely"):
        np.testing.assert_allclose(vae.score_samples(other), vae.score_samples(frame.head(2)) + LEAST)
    # The same from the command line: notes on standard error, status 0.
    frame.to_csv(tmp_path / "odd.csv", index=False)
    done = run("fit", tmp_path / "odd.csv", "-o", tmp_path / "m", "--no-report", *tiny.OPTIONS[:-1])
    assert done.status == 0 and all(words in done.err for words in ("'seven'", "'void'", "row 4"))
    other.to_csv(tmp_path / "other.csv", index=False)
    scored = run("score", tmp_path / "m", tmp_path / "other.csv")
    assert scored.status == 0 and scored.err.startswith("note: Column 'seven' of other.csv was always 7")
    assert scored.err.count("\n") == 1 and scored.out.count("\n") == 3


def test_a_single_column(tmp_path):
    (tmp_path / "one.csv").write_text(tiny.numbers().select("b").write_csv())
    done = run("fit", tmp_path / "one.csv", "-o", tmp_path / "m", *tiny.SMALLEST_OPTIONS)
    assert done.status == 0 and (tmp_path / "m" / "report.html").exists(), done.err
    vae = load(tmp_path / "m")
    assert vae.sample(4).shape == (4, 1) and vae.score_samples(X[:, 1:2]).shape == (tiny.N,)


def test_a_single_row_can_be_looked_at():
    vae, row = tiny.fitted(), X[3:4]
    assert vae.score_samples(row).shape == (1,) and vae.score_samples(row) == vae.score_samples(X)[3]
    np.testing.assert_allclose(vae.transform(row), vae.transform(X)[3:4], rtol=1e-6)
    assert vae.reconstruct(row).shape == (1, 3) and np.isfinite(vae.evidence(row).mean().value)
    given = NEW.head(1).write_csv().encode()
    for command in ("score", "encode", "reconstruct"):
        assert run(command, MODEL, "-", stdin=given).out.count("\n") == 2
    assert run("evaluate", MODEL, "-", stdin=given).status == 0


def test_a_report_on_a_single_row(tmp_path):
    done = run("report", MODEL, "-", "-o", tmp_path / "x.html", stdin=NEW.head(1).write_csv().encode())
    assert done.status == 0 and (tmp_path / "x.html").exists(), done.err


def test_two_rows_can_be_fitted():
    with pytest.warns(UserWarning, match="X has only 2 rows: none are held out"):
        vae = tiny.vae().fit(X[:2])
    assert np.isfinite(vae.score(X[:2]))


def test_a_row_without_any_value_has_0_nats():
    scores = run("score", MODEL, "-", stdin=b"a,b,c\n,,\n0.1,1000,-1\n").out.splitlines()
    assert scores[1].startswith("0,0.0,0.0,") and not scores[2].startswith("1,0.0")
