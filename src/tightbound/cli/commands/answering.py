"""Tables: what their columns hold, their gaps filled in, their strange rows."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tightbound.cli.commands.printing import print_json
from tightbound.cli.commands.shared import load, read
from tightbound.data import DataError, Table, check_place, filled_text, write_frame, write_table
from tightbound.estimator.checking import check_number
from tightbound.estimator.detection import Detection, Judge, anomaly_scores
from tightbound.estimator.detection import detect as detect_rows
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.imputation import Imputation
from tightbound.estimator.imputation import impute as impute_table
from tightbound.estimator.progress import WorkProgress
from tightbound.estimator.settings import LARGEST_SEED


def impute(
    *,
    model: str,
    data: str,
    output: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    draws: int,
    interval: float | None,
    unseen_as_missing: bool,
    random_state: int,
    quiet: bool,
) -> None:
    """Write the table with its gaps filled in."""
    check_place(output)
    check_number("--random-state", random_state, 0, LARGEST_SEED, "0 is usual")
    fitted = load(model)
    table = read(fitted, data, array, label, drop, unseen="missing" if unseen_as_missing else "error")
    with WorkProgress(not quiet and output != "-") as progress:
        found = impute_table(
            fitted, table, n_draws=draws or None, interval=interval, seed=random_state, on_progress=progress
        )
    _write_imputation(output, fitted, table, found, data)
    if output != "-":
        print(f"Filled in {found.n_cells:,} cells of {len(found.khat):,} rows; wrote {output}.")
        poor = int(np.sum(found.khat > 0.7))
        if poor:
            print(f"{poor:,} of these rows have unreliable weights (k-hat above 0.7): q is far from their posterior.")


def _write_imputation(output: str, model: FittedModel, table: Table, found: Imputation, data: str) -> None:
    if output.lower().endswith((".npy", ".npz")):
        if model.specification.columns:
            raise DataError(f"{output} must be a table for columns of several kinds; it is an array; write .csv.")
        values = np.stack([np.asarray(each) for each in found.draws]) if found.draws else np.asarray(found.values)
        write_table(output, values)
        return
    frames = [filled_text(frame, table, data) for frame in found.draws or (found.values,)]
    ends = {"lower": found.lower, "upper": found.upper} if found.interval is not None else {}
    write_frame(output, frames, numbered="draw" if found.draws else None, beside=ends)


def detect(
    *,
    model: str,
    data: str,
    output: str | None,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    reference: str | None,
    level: float,
    unseen_as_missing: bool,
    random_state: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print the strangest rows; write all."""
    if output is not None:
        check_place(output)
    fitted = load(model)
    unseen = "missing" if unseen_as_missing else "error"
    table = read(fitted, data, array, label, drop, unseen=unseen)
    judge = Judge.of(fitted)
    with WorkProgress(not quiet) as progress:
        if reference is not None:
            ordinary = read(fitted, reference, array, label, drop, unseen=unseen)
            judge = Judge(fitted, anomaly_scores(fitted, ordinary, seed=random_state))
        found = detect_rows([judge], table, level=level, seed=random_state, on_progress=progress)
    if output is not None:
        write_table(output, detection_columns(found))
    if as_json:
        print_json(_as_json(found))
        return
    print(f"{os.path.basename(data)}: {found!r}")
    if output is not None:
        print(f"Wrote {output}")


def detection_columns(found: Detection) -> dict[str, Any]:
    """Every row's numbers as columns."""
    cells = [
        "; ".join(f"{cell.column}={cell.value} ({cell.surprise:.1f})" for cell in found.cells.get(row, ()))
        for row in range(len(found.score))
    ]
    return {
        "row": np.arange(len(found.score)),
        "log_evidence": found.score,
        "p_value": found.p_value,
        "q_value": found.q_value,
        "flag": found.flag,
        "strangest_cells": np.array(cells, dtype=str),
    }


def _as_json(found: Detection) -> dict[str, Any]:
    order = np.argsort(found.score, kind="stable")[:100]
    return {
        "rows": len(found.score),
        "flagged": int(found.flag.sum()),
        "level": found.level,
        "reference_rows": found.n_reference,
        "strangest": [
            {
                "row": int(row),
                "log_evidence": float(found.score[row]),
                "p_value": float(found.p_value[row]),
                "q_value": float(found.q_value[row]),
                "flag": bool(found.flag[row]),
                "cells": [
                    {"column": cell.column, "value": cell.value, "surprise": cell.surprise}
                    for cell in found.cells.get(int(row), ())
                ],
            }
            for row in order
        ],
    }
