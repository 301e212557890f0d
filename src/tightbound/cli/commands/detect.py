"""`tightbound detect`."""

import dataclasses
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tightbound.cli.options import Data, Json, Model, Quiet, ReadOptions, Seed
from tightbound.cli.shared import load, print_json, say

if TYPE_CHECKING:
    from tightbound.estimator.detection import Detection

MOST_SHOWN = 100


def detect(
    model: Model,
    data: Data,
    reading: ReadOptions,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Where to write every row's score, p-value, flag and most anomalous cells."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="DATA",
            help="Ordinary rows that the model was not fitted to (default: those that fit held out).",
        ),
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Share of false discoveries among the flagged rows.")] = 0.1,
    random_state: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the anomalous rows of DATA, with p-values, and the cells that make them anomalous."""
    from tightbound.data import check_apart, check_place, write_table
    from tightbound.estimator.detection import detect
    from tightbound.estimator.judges import Judge
    from tightbound.estimator.progress import WorkProgress

    if output is not None:
        check_place(output)
        check_apart(output, {"DATA": data, "the data of --reference": reference})
    fitted = load(model)
    table = reading.read_for(fitted, data)
    with WorkProgress(not quiet) as progress:
        ordinary = None if reference is None else reading.read_for(fitted, reference)
        judge = Judge.of(fitted, ordinary, seed=random_state)
        found = detect([judge], table, level=level, seed=random_state, on_progress=progress)
    if output is not None:
        write_table(output, _columns(found))
    if as_json:
        print_json(_as_json(found))
        return
    say(f"{os.path.basename(data)}: {found!r}")
    if output is not None:
        say(f"Wrote {output}")


def _columns(found: "Detection") -> dict[str, Any]:
    """Every row's numbers as columns."""
    import numpy as np

    rows = range(len(found.score))
    cells = ["; ".join(map(str, found.cells.get(row, ()))) for row in rows]
    return {
        "row": np.arange(len(rows)),
        "log_evidence": found.score,
        "p_value": found.p_value,
        "q_value": found.q_value,
        "flag": found.flag,
        "anomalous_cells": np.array(cells, dtype=str),
    }


def _as_json(found: "Detection") -> dict[str, Any]:
    return {
        "rows": len(found.score),
        "flagged": int(found.flag.sum()),
        "level": found.level,
        "reference_rows": found.n_reference,
        "notes": list(found.notes),
        "anomalies": [
            {
                "row": int(row),
                "log_evidence": float(found.score[row]),
                "p_value": float(found.p_value[row]),
                "q_value": float(found.q_value[row]),
                "flag": bool(found.flag[row]),
                "cells": [dataclasses.asdict(cell) for cell in found.cells.get(int(row), ())],
            }
            for row in found.order[:MOST_SHOWN]
        ],
    }
