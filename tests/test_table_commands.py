"""The commands that read a fitted table: schema, impute, detect, sample --given."""

import json
from pathlib import Path
from typing import Any

import mixed_table
import numpy as np
import pandas as pd
import polars as pl
import pytest
from typer.testing import CliRunner

from tightbound.cli.app import app

NAMES = list(mixed_table.complete().columns)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("table") / "model"
    mixed_table.fitted().save(place)
    return str(place)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Thirty rows with gaps, and a column that no model knows."""
    return mixed_table.pandas_frame()[:30].assign(note=[f"row {i}" for i in range(30)])


@pytest.fixture(scope="module")
def csv(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("rows") / "rows.csv"
    frame.to_csv(place, index=False)
    return str(place)


def run(*arguments: Any) -> Any:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output
    return done


def test_a_filled_file_is_the_old_one_but_for_its_gaps(model: str, csv: str, tmp_path: Path) -> None:
    """Text stays as it is written, columns that were set aside as well; intervals stand beside."""
    out = tmp_path / "filled.csv"
    done = run("impute", model, csv, "--drop", "note", "-o", out, "--interval", "0.9", "-q")
    before, after = (pd.read_csv(place, dtype=str, keep_default_na=False) for place in (csv, out))
    assert list(after.columns[: len(before.columns)]) == list(before.columns)
    gaps = before == ""
    assert f"Filled in {gaps.to_numpy().sum()} cells of {gaps.any(axis=1).sum()} rows" in done.output
    assert (after[NAMES] != "").all(axis=None)
    pd.testing.assert_frame_equal(after[before.columns].mask(gaps, ""), before)
    filled = pd.read_csv(out)
    numeric = gaps["height"].to_numpy()
    lower, upper = filled["height_lower"][numeric], filled["height_upper"][numeric]
    assert (lower < filled["height"][numeric]).all() and (filled["height"][numeric] < upper).all()
    assert set(filled["size"]) <= set(mixed_table.SIZES)


def test_a_filled_parquet_file_keeps_types_and_further_columns(model: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    source, out = tmp_path / "rows.parquet", tmp_path / "filled.parquet"
    pl.from_pandas(frame.reset_index(drop=True)).write_parquet(source)
    run("impute", model, source, "--drop", "note", "-o", out, "-q")
    before, after = pl.read_parquet(source), pl.read_parquet(out)
    assert after.schema == before.schema
    assert after["note"].to_list() == before["note"].to_list()
    assert sum(after.null_count().row(0)) == 0
    for name in NAMES:
        seen = before[name].is_not_null()
        assert after[name].filter(seen).to_list() == before[name].filter(seen).to_list()


def test_several_completions_stand_below_each_other(model: str, csv: str, tmp_path: Path) -> None:
    out = tmp_path / "draws.csv"
    run("impute", model, csv, "--drop", "note", "-o", out, "--draws", 3, "-q")
    drawn = pd.read_csv(out)
    assert drawn["draw"].tolist() == [i for i in (1, 2, 3) for _ in range(30)]
    heights = drawn["height"].to_numpy().reshape(3, 30)
    gone = pd.read_csv(csv)["height"].isna().to_numpy()
    assert np.all(np.ptp(heights[:, ~gone], axis=0) == 0) and np.all(np.ptp(heights[:, gone], axis=0) > 0)


@pytest.mark.filterwarnings("ignore:The p-values of:UserWarning")
def test_anomalous_rows_are_listed_with_their_cells(model: str, csv: str, tmp_path: Path) -> None:
    anomalous = pd.read_csv(csv)
    anomalous["size"] = anomalous["size"].astype(object)
    anomalous.loc[4, ["height", "size"]] = [260.0, "S"]
    place, out = tmp_path / "anomalies.csv", tmp_path / "found.csv"
    anomalous.to_csv(place, index=False)
    ordinary = tmp_path / "ordinary.csv"
    mixed_table.pandas_frame()[60:160].assign(note="").to_csv(ordinary, index=False)
    run("detect", model, place, "--drop", "note", "--reference", ordinary, "-o", out, "-q")
    found = pd.read_csv(out)
    assert len(found) == 30
    assert found["p_value"].between(0, 1).all()
    assert found["p_value"].idxmin() == 4
    assert "height" in " ".join(map(str, found.loc[4]))


def test_rows_under_what_is_given(model: str, tmp_path: Path) -> None:
    out = tmp_path / "drawn.csv"
    given = ["--given", "colour=red|blue", "--given", "height=170..180", "--given", "member=true"]
    run("sample", model, "-n", 50, *given, "-o", out)
    drawn = pd.read_csv(out)
    assert list(drawn.columns) == NAMES and len(drawn) == 50
    assert set(drawn["colour"]) == {"red", "blue"}
    assert drawn["height"].between(170, 180).all()
    assert drawn["member"].all()
    failed = CliRunner().invoke(app, ["sample", model, "-n", "5", "--given", "colour=mauve", "-o", str(out)])
    assert isinstance(failed.exception, ValueError) and "must be one of its levels" in str(failed.exception)
    assert len(pd.read_csv(out)) == 50  # what was there is there


def test_a_schema_is_shown_edited_and_obeyed(csv: str, tmp_path: Path) -> None:
    place = tmp_path / "schema.json"
    shown = run("schema", csv, "-o", place).output
    assert all(name in shown for name in NAMES)
    schema = json.loads(place.read_text())
    column = next(each for each in schema["columns"] if each["name"] == "age")
    assert column["type"] == "count"
    column["type"] = "real"
    place.write_text(json.dumps(schema))
    few = [
        "--epochs",
        1,
        "--network",
        "residual(hidden_sizes=4)",
        "--latent-dim",
        1,
        "--no-checks",
        "--no-report",
        "-q",
        "--n-importance-samples",
        5,
    ]
    run("fit", csv, "-o", tmp_path / "m", "--schema", place, *few)
    saved = json.loads((tmp_path / "m" / "model.json").read_text())
    kinds = {each["name"]: each["type"] for each in saved["encoding"]["schema"]["columns"]}
    assert kinds["age"] == "real"
    column["type"] = "wholly"
    place.write_text(json.dumps(schema))
    failed = CliRunner().invoke(app, ["fit", csv, "-o", str(tmp_path / "n"), "--schema", str(place)])
    assert isinstance(failed.exception, ValueError) and "'wholly'" in str(failed.exception)
    assert not (tmp_path / "n").exists()
