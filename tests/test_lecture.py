"""The lecture's scripts: each runs as a reader would run it, draws its picture and holds its own claims."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[1] / "examples" / "lecture").glob("[0-9]*.py"))
SLOW: set[str] = {"05_a_phi_for_every_row", "06_gradient_estimators"}  # they take more than 15 seconds


def marked(script: Path) -> object:
    return pytest.param(script, id=script.stem, marks=[pytest.mark.slow] if script.stem in SLOW else [])


def test_there_are_scripts_and_slow_names_some_of_them() -> None:
    assert SCRIPTS
    assert {script.stem for script in SCRIPTS} >= SLOW


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_script_can_be_read_in_one_sitting(script: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.parametrize("script", [marked(script) for script in SCRIPTS])
def test_script_holds_its_claims_and_draws_its_picture(script: Path, tmp_path: Path) -> None:
    # Without the suite's JAX settings: a reader has none of them.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**environment, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    picture = tmp_path / f"{script.stem}.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 150_000
