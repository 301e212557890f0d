"""What is saved is legal JSON whatever the numbers were, comes back exactly, and shows every change to it."""

import ast
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_fits import fitted, whole

import tightbound
from tightbound import learn
from tightbound.data import DataError
from tightbound.estimator.folder import MODEL_FILE, load_model, save_model
from tightbound.estimator.resume import Checkpointing
from tightbound.learn.checkpoint import packed, unpacked
from tightbound.model import strict_json

CASE = "gaps, early stopping"
STRANGE = {"a": [1.5, -math.inf, math.inf, [math.nan, 10**30]], "NaN": "Infinity", "number": 2, "": None, "t": True}


def no_constant(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def test_what_is_saved_comes_back_exactly_and_is_legal_json():
    text = strict_json.dumps(STRANGE)
    json.loads(text, parse_constant=no_constant)
    assert repr(strict_json.loads(text)) == repr(STRANGE)


def test_what_others_read_has_null_for_numbers_that_are_not_finite():
    assert json.loads(strict_json.dumps_plain(STRANGE))["a"] == [1.5, None, None, [None, 10**30]]


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", '{"a": 1', "[" * 100_000, '{"a": }'])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        strict_json.loads(text)


def test_json_is_written_and_read_in_one_place():
    package = Path(tightbound.__file__).parent
    users = [
        path.name
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(name.name == "json" for name in node.names)
    ]
    assert users == ["strict_json.py"]


@pytest.mark.parametrize("bound", [-math.inf, math.inf, math.nan])
def test_a_fit_with_an_epoch_that_is_not_finite_can_be_saved(bound, tmp_path):
    model = whole(CASE)
    history = (learn.EpochRecord(1, bound, -bound, False, bound), *model.summary.history[1:])
    changed = replace(model, summary=replace(model.summary, history=history))
    save_model(tmp_path / "m", changed)
    json.loads((tmp_path / "m" / MODEL_FILE).read_text(), parse_constant=no_constant)
    assert repr(load_model(tmp_path / "m")[0].summary.history) == repr(history)


def test_every_number_and_word_of_a_model_is_under_its_digest(tmp_path):
    """One changed character, of a number, a name, a word or a version: found; other blanks are no change."""
    save_model(tmp_path / "m", whole(CASE), extra={"note": [1, "two"]})
    place = tmp_path / "m" / MODEL_FILE
    text = place.read_text()
    rng = np.random.default_rng(0)
    changed = 0
    for at in rng.permutation(len(text))[:150]:
        if not text[at].isalnum():
            continue
        other = "7" if text[at] != "7" and text[at].isdigit() else "1" if text[at].isdigit() else text[at].swapcase()
        edited = text[:at] + other + text[at + 1 :]
        try:
            if strict_json.loads(edited) == strict_json.loads(text):  # a digit beyond the precision of its number
                continue
        except ValueError:
            pass
        place.write_text(edited)
        changed += 1
        with pytest.raises(DataError, match=r"damaged or incomplete|something else|install that version"):
            load_model(tmp_path / "m")
    assert changed > 60
    place.write_text(json.dumps(json.loads(text)))
    load_model(tmp_path / "m")


def test_a_checkpoint_is_under_a_digest_with_its_words():
    arrays = {"x": np.arange(3.0)}
    data = packed(arrays, "mine", history="[1]")
    assert unpacked(data, "mine")[1]["history"] == "[1]"
    for before, after in ((b'"[1]"', b'"[2]"'), (b'"mine"', b'"many"'), (b'"version":"0.', b'"version":"9.')):
        with pytest.raises(ValueError, match="it is damaged"):
            unpacked(data.replace(before, after), "mine")


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "fit.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(tightbound, "__version__", "0.0.9")
        fitted(CASE, Checkpointing(path))
    with pytest.raises(ValueError, match=r"tightbound 0\.0\.9 wrote it, and this is .* remove the checkpoint"):
        fitted(CASE, Checkpointing(path, resume=True))
