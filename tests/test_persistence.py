"""A model is a folder: exact, whole or not there at all, plain, and explained in one sentence when it is damaged."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mixed_table import fitted, pandas_frame
from safetensors.numpy import load, save
from small_fits import CASES, SMALL, whole

from tightbound import learn
from tightbound.data import DataError, as_table, atomic
from tightbound.estimator import folder as persistence
from tightbound.estimator.fit import fit_table
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.folder import MODEL_FILE, WEIGHTS_FILE, check_target, load_model, save_model, sealed
from tightbound.estimator.settings import Settings
from tightbound.model import Start, build
from tightbound.model.axes.networks import Custom, Residual

GAPS, BINARISED = "gaps, early stopping", "binarised"


@pytest.fixture(scope="module")
def model() -> FittedModel:
    """One of the fitted models, where any will do."""
    return whole(GAPS)


@pytest.fixture
def folder(model: FittedModel, tmp_path: Path) -> Path:
    """That one, saved; to be damaged."""
    save_model(tmp_path / "model", model, extra={"note": [1, "two"]})
    return tmp_path / "model"


def scores(model: FittedModel, name: str) -> bytes:
    """log p(x), errors and latents of every row, to the bit."""
    table = as_table(CASES[name][0])
    evidence = model.evidence(table, 5)
    latents = model.latents(table)
    return b"".join(a.tobytes() for a in (evidence.log_evidence, evidence.standard_error, latents.mean, latents.sd))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


@pytest.mark.parametrize("name", CASES)
def test_a_model_survives_saving_exactly(name: str, tmp_path: Path) -> None:
    saved = whole(name)
    save_model(tmp_path / "model", saved, extra={"note": [1, "two"]})
    loaded, extra = load_model(tmp_path / "model")
    assert extra == {"note": [1, "two"]}
    assert loaded.specification == saved.specification
    assert loaded.encoding.to_json() == saved.encoding.to_json()
    assert repr(loaded.summary.history) == repr(saved.summary.history)
    for field in ("source", "n_train", "n_validation", "best_epoch", "status", "detail", "seconds", "seed", "messages"):
        assert getattr(loaded.summary, field) == getattr(saved.summary, field), field
    assert loaded.summary.settings == saved.summary.settings
    before, after = (learn.named_arrays(eqx.filter(m.pair, eqx.is_array)) for m in (saved, loaded))
    assert before.keys() == after.keys()
    for key in before:
        assert (before[key].dtype, before[key].tobytes()) == (after[key].dtype, after[key].tobytes()), key
    assert scores(loaded, name) == scores(saved, name)
    a, b = (m.sample(5, seed=1)[0] for m in (saved, loaded))
    assert a.tobytes() == b.tobytes()


def test_a_model_of_a_mixed_table_survives_saving_exactly(tmp_path: Path) -> None:
    """Schema, families, scales, spikes and grids come back, and with them every answer's bits."""
    saved = fitted().fitted_
    save_model(tmp_path / "model", saved)
    loaded, _ = load_model(tmp_path / "model")
    assert loaded.specification == saved.specification and len(saved.specification.columns) == 7
    assert loaded.encoding.to_json() == saved.encoding.to_json() and type(loaded.encoding) is type(saved.encoding)
    before, after = (learn.named_arrays(eqx.filter(m.pair, eqx.is_array)) for m in (saved, loaded))
    assert {k: (a.dtype, a.tobytes()) for k, a in before.items()} == {
        k: (a.dtype, a.tobytes()) for k, a in after.items()
    }
    tables = [as_table(pandas_frame(), schema=m.encoding.table_schema) for m in (saved, loaded)]
    for one, other in zip(*(_answers(m, t) for m, t in zip((saved, loaded), tables, strict=True)), strict=True):
        assert one.tobytes() == other.tobytes()


def _answers(model: FittedModel, table: Any) -> list[np.ndarray]:
    evidence = model.evidence(table, 50, method="importance")
    return [evidence.log_evidence, evidence.elbo, model.latents(table).mean, *model.sample(5, seed=1)]


def _fall(d: dict[str, Any]) -> None:
    """The first scale with knots turned about, wherever it stands within others."""
    scales = [plan["scale"] for plan in d["encoding"]["plans"] if plan.get("scale")]
    for scale in scales:
        while "inner" in scale:
            scale = scale["inner"]
        if "x" in scale:
            scale["x"].reverse()
            return
    raise AssertionError("no scale with knots")


MIXED_DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "plans missing": lambda d: d["encoding"]["plans"].pop(),
    "an unknown family": lambda d: d["encoding"]["plans"][0].update(family="round"),
    "a scale that falls": _fall,
    "no schema": lambda d: d["encoding"].pop("schema"),
    "cells missing": lambda d: d["specification"]["columns"].pop(),
    "cells of no family": lambda d: d["specification"]["columns"][0].update(family="round"),
}


@pytest.mark.parametrize("damage", MIXED_DAMAGES)
def test_a_damaged_model_of_a_mixed_table_is_explained(damage: str, tmp_path: Path) -> None:
    save_model(tmp_path / "model", fitted().fitted_)
    edited(MIXED_DAMAGES[damage])(tmp_path / "model")
    with pytest.raises(ValueError, match=DAMAGED) as caught:
        load_model(tmp_path / "model")
    assert "\n" not in str(caught.value)


FRESH = """
import hashlib, sys
import numpy as np
from tightbound import load

for folder in sys.argv[1:]:
    vae = load(folder)
    vae.n_importance_samples = 5
    X = np.load(folder + ".npy")
    print(hashlib.sha256(vae.score_samples(X).tobytes() + vae.transform(X).tobytes()).hexdigest())
"""


def test_a_fresh_process_gives_the_same_bits(tmp_path: Path) -> None:
    expected, folders = [], []
    for i, (name, (x, _)) in enumerate(CASES.items()):
        folder = tmp_path / str(i)
        saved, table = whole(name), as_table(x)
        save_model(folder, saved)
        np.save(f"{folder}.npy", x)
        parts = saved.evidence(table, 5).log_evidence.tobytes() + saved.latents(table).mean.tobytes()
        expected.append(hashlib.sha256(parts).hexdigest())
        folders.append(str(folder))
    done = subprocess.run([sys.executable, "-c", FRESH, *folders], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected


def test_the_folder_holds_plain_json_and_plain_arrays(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [MODEL_FILE, WEIGHTS_FILE]
    text = (folder / MODEL_FILE).read_text()
    description = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert description["format"] == "tightbound model"
    assert description["format_version"] == 4
    arrays = load((folder / WEIGHTS_FILE).read_bytes())
    assert "p.decoder.network.layers[0].weight" in arrays
    assert folder.stat().st_mode & 0o777 == 0o755


def test_loading_cannot_execute_anything() -> None:
    """Neither pickle nor its relatives, nor eval, nor an import by name."""
    tree = ast.parse(Path(persistence.__file__).read_text())
    modules = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {m.split(".")[0] for m in modules} & {"pickle", "marshal", "shelve", "joblib", "dill", "importlib"}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"eval", "exec", "__import__", "compile"}


def test_further_files_are_kept_in_the_folder(model: FittedModel, tmp_path: Path) -> None:
    save_model(tmp_path / "a" / "b" / "model", model, files={"report.html": b"<p>"})
    assert (tmp_path / "a" / "b" / "model" / "report.html").read_bytes() == b"<p>"
    load_model(tmp_path / "a" / "b" / "model")


# Nothing is lost.


def test_an_existing_model_is_overwritten_only_when_told_to(folder: Path) -> None:
    before = snapshot(folder.parent)
    for attempt in (lambda: save_model(folder, whole(BINARISED)), lambda: check_target(folder, overwrite=False)):
        with pytest.raises(ValueError, match=f"The model's folder {folder} must not exist yet, but it does"):
            attempt()
    assert snapshot(folder.parent) == before
    (folder / "report.html").write_text("of the old model")
    save_model(folder, whole(BINARISED), overwrite=True)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["model"]
    assert sorted(p.name for p in folder.iterdir()) == [MODEL_FILE, WEIGHTS_FILE]  # nothing of the old one is left
    assert load_model(folder)[0].specification.likelihood.word == "bernoulli"


@pytest.mark.parametrize("kind", ["folder", "file", "empty folder"])
def test_what_is_no_model_is_never_overwritten(kind: str, model: FittedModel, tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    if kind == "file":
        target.write_text("years of work")
    else:
        target.mkdir()
        if kind == "folder":
            (target / "chapter.txt").write_text("years of work")
    before = snapshot(tmp_path)
    with pytest.raises(ValueError, match=f"Only a model can be overwritten, but {target} is not one"):
        save_model(target, model, overwrite=True)
    assert snapshot(tmp_path) == before


class DiskFullError(OSError):
    """What a full disk raises."""


def failing(monkeypatch: pytest.MonkeyPatch, name: str, call: int, error: BaseException) -> None:
    """Let the given call (counted from 1) of an `os` function fail, and the others work."""
    inner, calls = getattr(os, name), []

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == call:
            raise error
        return inner(*args, **kwargs)

    monkeypatch.setattr(os, name, sometimes)


FAILURES = {
    "writing model.json": ("fsync", 1, DiskFullError("no space")),
    "writing the weights": ("fsync", 2, DiskFullError("no space")),
    "putting the new one in place": ("rename", 2, DiskFullError("no")),
    "interrupted while writing": ("fsync", 2, KeyboardInterrupt()),
    "setting the old one aside": ("rename", 1, DiskFullError("no")),
    "interrupted while putting the new one in place": ("rename", 2, KeyboardInterrupt()),
}


def without_exchange(patch: pytest.MonkeyPatch) -> None:
    """As where a system cannot exchange two folders in one step."""
    patch.setattr(atomic, "_exchange", lambda one, other: False)


@pytest.mark.parametrize("failure", FAILURES)
def test_an_existing_model_survives_a_save_that_fails(
    failure: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(folder.parent)
    name, call, error = FAILURES[failure]
    with monkeypatch.context() as patch:
        without_exchange(patch)
        failing(patch, name, call, error)
        with pytest.raises((DataError, KeyboardInterrupt)) as caught:
            save_model(folder, whole(BINARISED), overwrite=True)
    assert snapshot(folder.parent) == before
    if isinstance(error, OSError):
        assert str(folder) in str(caught.value) and str(error) in str(caught.value)


@pytest.mark.parametrize(("name", "call"), [("fsync", 1), ("fsync", 2), ("rename", 1)])
def test_a_first_save_that_fails_leaves_nothing(
    name: str, call: int, model: FittedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, name, call, DiskFullError("no space"))
        with pytest.raises(DataError, match="the system says: no space"):
            save_model(tmp_path / "model", model)
    assert list(tmp_path.iterdir()) == []


def test_an_old_model_that_cannot_be_put_back_is_not_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays in sight, and the next save puts it back before anything else."""
    before = snapshot(folder)
    inner, calls = os.rename, []

    def only_once(*args: Any) -> None:
        calls.append(args)
        if len(calls) > 1:
            raise DiskFullError("no")
        inner(*args)

    with monkeypatch.context() as patch:
        without_exchange(patch)
        patch.setattr(os, "rename", only_once)
        with pytest.raises(DataError, match="no"):
            save_model(folder, whole(BINARISED), overwrite=True)
    (kept,) = folder.parent.iterdir()
    assert kept.name.startswith("model.before-") and snapshot(kept) == before
    with pytest.raises(DataError, match=f"{kept} holds the model that it was to replace"):
        load_model(folder)
    atomic.sweep(folder)
    assert snapshot(folder) == before and list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("exchanging", [True, False])
@pytest.mark.parametrize("moment", [1, 2])
def test_a_save_killed_while_it_replaces_a_model_leaves_one_in_its_place(
    exchanging: bool, moment: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of what a killed process would have done afterwards is done: neither putting back nor sweeping."""
    before = snapshot(folder)
    with monkeypatch.context() as patch:
        if not exchanging:
            without_exchange(patch)
        patch.setattr(atomic, "_remove", lambda place: None)
        patch.setattr(os, "rename", _dying_at(moment))
        if exchanging:
            save_model(folder, whole(BINARISED), overwrite=True)
        else:
            with pytest.raises(SystemExit):
                save_model(folder, whole(BINARISED), overwrite=True)
    assert len(list(folder.parent.iterdir())) > 1
    atomic.sweep(folder)
    assert list(folder.parent.iterdir()) == [folder]
    assert exchanging or snapshot(folder) == before
    load_model(folder)


def _dying_at(moment: int) -> Callable[..., None]:
    """An `os.rename` before whose so many-th call the process ends; it does not come to put anything back."""
    inner, calls = os.rename, []

    def rename(*args: Any) -> None:
        calls.append(args)
        if len(calls) >= moment:
            raise SystemExit
        inner(*args)

    return rename


# What is no model, or no longer one.


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Damage: a change of what model.json says, by someone who seals it again."""

    def damage(folder: Path) -> None:
        description = json.loads((folder / MODEL_FILE).read_text())
        change(description)
        (folder / MODEL_FILE).write_bytes(sealed(description))

    return damage


def weighed(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable[[Path], None]:
    """Damage: a change of the arrays."""

    def damage(folder: Path) -> None:
        arrays = load((folder / WEIGHTS_FILE).read_bytes())
        change(arrays)
        (folder / WEIGHTS_FILE).write_bytes(save(arrays))

    return damage


def rewritten(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Damage: other bytes."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return damage


def retyped(folder: Path, dtype: str) -> None:
    """Damage: arrays of another type, in a header that is whole."""
    data = (folder / WEIGHTS_FILE).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(b'"F32"', f'"{dtype}"'.encode())
    (folder / WEIGHTS_FILE).write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])


def piped(place: Path) -> None:
    """Damage: a pipe that nobody writes to."""
    place.unlink()
    os.mkfifo(place)


def linked(place: Path, to: str) -> None:
    """Damage: a link."""
    place.unlink()
    place.symlink_to(to)


WEIGHT = "p.decoder.network.layers[0].weight"
DAMAGED = f"{MODEL_FILE} must be as tightbound saved it, but it is damaged or incomplete"
BAD_WEIGHTS = f"{WEIGHTS_FILE} must be as tightbound saved it, but it is damaged or incomplete"
FOREIGN = f"{MODEL_FILE} must describe a tightbound model, but it is something else"
DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated json": (rewritten(MODEL_FILE, lambda b: b[: len(b) // 2]), DAMAGED),
    "empty json": (rewritten(MODEL_FILE, lambda b: b""), DAMAGED),
    "binary json": (rewritten(MODEL_FILE, lambda b: b"\xff\xfe\x00" + b), DAMAGED),
    "foreign json": (rewritten(MODEL_FILE, lambda b: b'{"model_type": "bert"}'), FOREIGN),
    "json list": (rewritten(MODEL_FILE, lambda b: b"[1, 2]"), FOREIGN),
    "json number": (rewritten(MODEL_FILE, lambda b: b"3"), FOREIGN),
    "no json": (lambda f: (f / MODEL_FILE).unlink(), f"it has no readable {MODEL_FILE}"),
    "newer": (
        edited(lambda d: d.update(format_version=5, tightbound_version="9.1")),
        "it has 5, written by tightbound 9.1",
    ),
    "a version of very many letters": (
        edited(lambda d: d.update(format_version=5, tightbound_version="9" * 5000)),
        r"must have format version 4; it has 5, written by tightbound 9{200}\.\.\.; install that version",
    ),
    "older": (edited(lambda d: d.update(format_version=3)), "it has 3, written by .* install that version"),
    "no version": (edited(lambda d: d.pop("format_version")), f"{DAMAGED}.*its format version is None"),
    "a negative version": (edited(lambda d: d.update(format_version=-5)), f"{DAMAGED}.*its format version is -5"),
    "a version that is true": (
        edited(lambda d: d.update(format_version=True)),
        f"{DAMAGED}.*its format version is True",
    ),
    "settings are null": (edited(lambda d: d["training"].update(settings=None)), DAMAGED),
    "a latent_dim of 4,000 digits": (
        edited(lambda d: d["specification"].update(latent_dim=10**4000)),
        f"{DAMAGED}.*latent_dim must be",
    ),
    "weights of a type that is not ours": (lambda f: retyped(f, "BF16"), f"{BAD_WEIGHTS}.*found 'BF16'"),
    "weights of eight bits": (lambda f: retyped(f, "F8_E4M3"), f"{BAD_WEIGHTS}.*found 'F8_E4M3'"),
    "weights that are a pipe": (lambda f: piped(f / WEIGHTS_FILE), f"{BAD_WEIGHTS}.*it is no regular file"),
    "weights without end": (lambda f: linked(f / WEIGHTS_FILE, "/dev/zero"), f"{BAD_WEIGHTS}.*it is no regular file"),
    "json that is a pipe": (lambda f: piped(f / MODEL_FILE), f"{DAMAGED}.*it is no regular file"),
    "far more weights": (rewritten(WEIGHTS_FILE, lambda b: b + bytes(2**22)), f"{BAD_WEIGHTS}.*would be plenty"),
    "no specification": (edited(lambda d: d.pop("specification")), DAMAGED),
    "no encoding": (edited(lambda d: d.pop("encoding")), DAMAGED),
    "no training": (edited(lambda d: d.pop("training")), DAMAGED),
    "unknown choice": (edited(lambda d: d["specification"]["likelihood"].update(covariance="round")), DAMAGED),
    "unknown entry": (edited(lambda d: d["specification"].update(colour="red")), DAMAGED),
    "specification is a list": (edited(lambda d: d.update(specification=[1])), DAMAGED),
    "other columns": (edited(lambda d: d["specification"].update(n_features=4)), "do not belong together"),
    "other likelihood": (
        edited(lambda d: d["specification"].update(likelihood={"member": "bernoulli"})),
        "do not belong together",
    ),
    "latent_dim is text": (edited(lambda d: d["specification"].update(latent_dim="2")), DAMAGED),
    "history is text": (edited(lambda d: d["training"].update(history="long")), DAMAGED),
    "history is short": (edited(lambda d: d["training"].update(history=[[1, 2]])), DAMAGED),
    "scale of zero": (edited(lambda d: d["encoding"]["scale"].__setitem__(0, 0.0)), DAMAGED),
    "scales missing": (edited(lambda d: d["encoding"]["scale"].pop()), DAMAGED),
    "truncated weights": (rewritten(WEIGHTS_FILE, lambda b: b[: len(b) // 2]), BAD_WEIGHTS),
    "one byte short": (rewritten(WEIGHTS_FILE, lambda b: b[:-1]), BAD_WEIGHTS),
    "empty weights": (rewritten(WEIGHTS_FILE, lambda b: b""), BAD_WEIGHTS),
    "foreign weights": (rewritten(WEIGHTS_FILE, lambda b: b"PK\x03\x04" + b), BAD_WEIGHTS),
    "no weights": (lambda f: (f / WEIGHTS_FILE).unlink(), BAD_WEIGHTS),
    "missing array": (weighed(lambda a: a.pop(WEIGHT)), f"{BAD_WEIGHTS}.*{WEIGHT} is missing"),
    "extra array": (weighed(lambda a: a.update(more=np.ones(2))), f"{BAD_WEIGHTS}.*more does not belong to this model"),
    "transposed": (
        weighed(lambda a: a.update({WEIGHT: a[WEIGHT].T.copy()})),
        f"{BAD_WEIGHTS}.*{WEIGHT} must be float32",
    ),
    "other dtype": (
        weighed(lambda a: a.update({WEIGHT: a[WEIGHT].astype("float64")})),
        f"{BAD_WEIGHTS}.*found float64",
    ),
    "another latent_dim": (edited(lambda d: d["specification"].update(latent_dim=3)), BAD_WEIGHTS),
    "latent_dim is no whole number": (edited(lambda d: d["specification"].update(latent_dim=2.5)), DAMAGED),
    "rank of zero": (edited(lambda d: d["specification"]["likelihood"].update(covariance="low_rank", rank=0)), DAMAGED),
    "nested without end": (rewritten(MODEL_FILE, lambda b: b"[" * 100_000), DAMAGED),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_explained_in_one_sentence(damage: str, folder: Path) -> None:
    harm, sentence = DAMAGES[damage]
    harm(folder)
    pattern = sentence.replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(ValueError, match=pattern) as caught:
        load_model(folder)
    message = str(caught.value)
    assert isinstance(caught.value, DataError)
    assert str(folder) in message
    assert "\n" not in message
    assert message.endswith((".", "path."))


def test_a_weights_file_cut_off_anywhere_is_refused(folder: Path) -> None:
    whole = (folder / WEIGHTS_FILE).read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 25)):
        (folder / WEIGHTS_FILE).write_bytes(whole[:length])
        with pytest.raises(ValueError, match=BAD_WEIGHTS):
            load_model(folder)


def test_a_path_without_a_model_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"The model's folder {tmp_path / 'none'} must be one.*but it does not exist"):
        load_model(tmp_path / "none")
    with pytest.raises(ValueError, match=f"it has no readable {MODEL_FILE}"):
        load_model(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=f"it has no readable {MODEL_FILE}"):
        load_model(tmp_path / "file")


def test_a_folder_can_be_moved(folder: Path, model: FittedModel) -> None:
    moved = folder.parent / "elsewhere" / "renamed"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    assert scores(load_model(moved)[0], GAPS) == scores(model, GAPS)


# Custom networks: their code is not saved.


def bottleneck(width: int) -> Callable[..., Any]:
    """A factory of a user's own network."""

    def make(in_size: int, out_size: int, *, key: jax.Array) -> eqx.Module:
        return eqx.nn.MLP(in_size, out_size, width, 1, dtype=jnp.float32, key=key)

    return make


OWN = {"encoder": bottleneck(3), "decoder": bottleneck(2)}


class PlannedError(Exception):
    """Ends a fit before it begins."""


def untrained(*custom: str) -> FittedModel:
    """A model with these networks replaced by the user's own, as a fit would start from it."""
    plans = []

    def stop(plan: Any, *rest: Any) -> None:
        plans.append(plan)
        raise PlannedError

    network = brought(*custom).set_params(others=Residual(hidden_sizes=(4,)))
    with pytest.raises(PlannedError):
        fit_table(as_table(CASES[GAPS][0]), Settings(**{**SMALL, "network": network}), seed=0, on_config=stop)
    base, spec = whole(GAPS), plans[0].specification
    parts = build(spec, start=Start.template(3, base.encoding.floor), key=jax.random.key(1))
    return FittedModel(learn.Pair(parts.p, learn.make_inference(spec, parts)), spec, base.encoding, base.summary)


def brought(*custom: str) -> Custom:
    """These networks."""
    return Custom(**{name: OWN[name] for name in custom})


@pytest.mark.parametrize("custom", [("encoder",), ("decoder",), ("encoder", "decoder")])
def test_custom_networks_come_back_with_their_factories(custom: tuple[str, ...], tmp_path: Path) -> None:
    model = untrained(*custom)
    save_model(tmp_path / "model", model)
    loaded, _ = load_model(tmp_path / "model", network=brought(*custom))
    before, after = (learn.named_arrays(eqx.filter(m.pair, eqx.is_array)) for m in (model, loaded))
    assert {k: a.tobytes() for k, a in before.items()} == {k: a.tobytes() for k, a in after.items()}
    assert jax.tree.structure(loaded.pair) == jax.tree.structure(model.pair)


def test_a_factory_may_ask_for_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's code is called with a key that can be drawn from, when loading too."""

    def factory(in_size: int, out_size: int, *, key: Any) -> Any:
        return bottleneck(2 + int(jax.random.uniform(key) < 2))(in_size, out_size, key=key)

    monkeypatch.setitem(OWN, "decoder", factory)
    save_model(tmp_path / "model", untrained("decoder"))
    loaded, _ = load_model(tmp_path / "model", network=brought("decoder"))
    assert loaded.specification.custom == ("decoder",)


def test_one_custom_network_leaves_the_other_as_it_was() -> None:
    """The decoder asked for is residual, whatever the encoder is."""
    assert untrained("encoder").pair.p.decoder.network.residual
    assert untrained("decoder").pair.q.encoder.network.residual


@pytest.mark.parametrize(
    ("custom", "given", "asked_for"),
    [
        (("encoder", "decoder"), (), r"networks.Custom\(encoder=.*, decoder=.*bottleneck.*\)"),
        (("encoder", "decoder"), ("encoder",), r"networks.Custom\(decoder=.*bottleneck.*\)"),
        (("encoder",), ("decoder",), r"networks.Custom\(encoder=.*bottleneck.*\)"),
    ],
    ids=["both", "one of two", "the other"],
)
def test_custom_networks_are_asked_for_by_name(
    custom: tuple[str, ...], given: tuple[str, ...], asked_for: str, tmp_path: Path
) -> None:
    save_model(tmp_path / "model", untrained(*custom))
    with pytest.raises(ValueError, match=f"whose code is not saved; give load the same again: network={asked_for}"):
        load_model(tmp_path / "model", network=brought(*given))


def test_other_factories_are_refused_with_the_array_that_differs(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(folder, untrained("encoder", "decoder"))
    with pytest.raises(
        ValueError, match=r"array p\.decoder\.network\.network\.layers.* must be float32 of shape"
    ) as caught:
        load_model(folder, network=Custom(encoder=bottleneck(2), decoder=bottleneck(3)))
    assert str(folder) in str(caught.value)


def test_factories_take_no_part_in_a_model_of_default_networks(folder: Path) -> None:
    loaded, _ = load_model(folder, network=brought("encoder", "decoder"))
    assert loaded.specification.custom == () and loaded.pair.p.decoder.network.residual
