"""Every command and every example of README and docs runs as it is printed, on small tables that have its columns."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import load_wine
from typer.testing import CliRunner

from tightbound import VAE
from tightbound.cli.app import app
from tightbound.estimator import config

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/guide.md", "docs/tables.md", "docs/models.md", "docs/evidence.md", "docs/health.md")
QUICK = config._Pace(20, 2, 3, 0.003)
ONE_STEP = ("--network", "residual(hidden_sizes=(8,))", "--no-checks")


def commands(page: str) -> list[str]:
    """The indented lines that begin with the program's name, with those that a backslash continues."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.startswith("    tightbound ")]


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def people(n: int, rng: np.random.Generator) -> pd.DataFrame:
    age = rng.integers(20, 80, size=n).astype(float)
    age[rng.random(n) < 0.1] = np.nan
    education = rng.choice(["school", "college", "university"], size=n)
    income = np.round(np.exp(rng.normal(10, 0.5, size=n)))
    return pd.DataFrame({"age": age, "sex": rng.choice(["F", "M"], size=n), "education": education, "income": income})


def penguins(n: int, rng: np.random.Generator) -> pd.DataFrame:
    species = rng.choice(["Adelie", "Gentoo", "Chinstrap"], size=n)
    bill = np.where(species == "Gentoo", 47.5, 38.8) + rng.normal(size=n)
    bill[rng.random(n) < 0.1] = np.nan
    return pd.DataFrame({"species": species, "bill_length": bill, "mass": rng.normal(4200, 300, size=n).round()})


def cells(n: int, rng: np.random.Generator) -> pd.DataFrame:
    counts = {f"gene_{i}": rng.poisson(3 + i, size=n) for i in range(4)}
    return pd.DataFrame({"batch": rng.choice(["A", "B"], size=n), "dose": rng.normal(size=n), **counts})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tables that the pages speak of; fits of a few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "_USUAL", QUICK)
    monkeypatch.setattr(config, "_MIXED", QUICK)
    rng = np.random.default_rng(0)
    penguins(120, rng).to_csv("penguins.csv", index=False)
    people(120, rng).to_csv("customers.csv", index=False)
    cells(120, rng).to_csv("cells.csv", index=False)
    pd.DataFrame(rng.normal(size=(120, 4)), columns=list("abcd")).to_csv("t.csv", index=False)
    genes = rng.poisson(2, size=(120, 6))
    np.savez("cells.npz", counts=genes, total_umi=genes.sum(axis=1), batch=rng.integers(2, size=120))
    return tmp_path


def run(line: str) -> None:
    """One command as it is printed; fits and evaluations without what takes minutes."""
    words = shlex.split(line, comments=True)[1:]
    quick = [*words, *(ONE_STEP if words[0] == "fit" else ())]
    done = CliRunner().invoke(app, quick)
    assert done.exit_code == 0, f"{line}\n{done.output}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES)
def test_commands_run(page: str, place: Path) -> None:
    made: Any = penguins if page == "README.md" else people
    made(40, np.random.default_rng(1)).to_csv("new.csv", index=False)
    VAE(latent_dim=1, epochs=1, random_state=1).fit(penguins(120, np.random.default_rng(2))).save("other")
    for line in commands(page):
        if "model" in line and line.split()[1] == "fit" and (place / "model").exists():
            line = f"{line} --overwrite"
        run(line)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_examples_run(page: str, place: Path) -> None:
    """Block after block with the names of those before; what a page takes for granted is made here."""
    rng = np.random.default_rng(3)
    wine = load_wine(as_frame=True).data
    frame = people(120, rng)
    names: dict[str, Any] = {"frame": frame, "new": people(20, rng), "ordinary": people(60, rng), "X": wine}
    names["csr"] = scipy.sparse.csr_array(rng.poisson(1.0, size=(60, 80)))
    for block in blocks(page):
        if "batch" in block:
            names["frame"] = cells(120, rng)
        exec(compile(block, page, "exec"), names)


def test_there_are_commands_and_examples() -> None:
    """The patterns above find what they look for."""
    assert len(commands("README.md")) >= 7 and len(commands("docs/tables.md")) >= 8
    assert len(blocks("README.md")) >= 2 and len(blocks("docs/tables.md")) >= 3
