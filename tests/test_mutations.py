"""The tests themselves are tested: an edit of the mathematics turns at least one of them red."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "tightbound"
SURVIVORS_ALLOWED = 3
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "--no-header")


def test_every_mutation_can_be_made() -> None:
    """A text that has moved on would be a mutation that nobody makes."""
    assert len(MUTATIONS) >= 60
    for mutation in MUTATIONS:
        text = (PACKAGE / mutation.file).read_text(encoding="utf-8")
        assert text.count(mutation.before) == 1, f"{mutation.file}: {mutation.before}"
        assert all((ROOT / "tests" / name).is_file() for name in mutation.tests.split())


def survives(mutation: Mutation, folder: Path) -> bool:
    """Whether the tests pass with the edit."""
    source = folder / "src"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(PACKAGE, source / "tightbound", ignore=shutil.ignore_patterns("__pycache__"))
    edited = source / "tightbound" / mutation.file
    edited.write_text(edited.read_text(encoding="utf-8").replace(mutation.before, mutation.after), encoding="utf-8")
    tests = [str(ROOT / "tests" / name) for name in mutation.tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *PYTEST, *tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    return done.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_the_default_suite_kills_them(tmp_path: Path) -> None:
    """All but `SURVIVORS_ALLOWED` die; MUTATIONS=a:b in the environment takes a part of the list."""
    first, _, last = os.environ.get("MUTATIONS", ":").partition(":")
    chosen = MUTATIONS[slice(int(first or 0), int(last or len(MUTATIONS)))]
    alive = []
    for mutation in chosen:
        if survives(mutation, tmp_path):
            alive.append(f"{mutation.file}: {mutation.before} -> {mutation.after}")
        print(f"{len(alive)} alive: {mutation.file}: {mutation.before}", flush=True)
    assert len(alive) <= SURVIVORS_ALLOWED, "\n".join(alive)
