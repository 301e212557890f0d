"""Fit, save, report: `fit` and `demo`."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tightbound.cli.commands.describing import read_schema
from tightbound.cli.commands.printing import print_json
from tightbound.cli.commands.shared import REPORT_FILE, evaluation
from tightbound.data import Table, read_table, split
from tightbound.estimator.checking import check_settings, names_of
from tightbound.estimator.config import Plan
from tightbound.estimator.detection import anomaly_scores
from tightbound.estimator.evaluation import CHECKS
from tightbound.estimator.fit import fit_table
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.folder import check_target, save_model
from tightbound.estimator.progress import FitProgress, duration
from tightbound.estimator.resume import Checkpointing
from tightbound.report import render
from tightbound.report.overview import MOST_REPORTED_ROWS, Overview, overview

MOST_REFERENCES = 2000


def fit(
    *,
    data: str,
    output: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    schema: str | None,
    validation: str | None,
    resume: bool,
    overwrite: bool,
    with_report: bool,
    checks: bool,
    as_json: bool,
    quiet: bool,
    settings: dict[str, Any],
) -> None:
    """Fit, save, examine, report."""
    settings = {**settings, "hidden_sizes": _sizes(settings["hidden_sizes"])}
    check_settings(settings)
    checkpoint = Path(f"{output.rstrip('/')}.checkpoint")
    _check_free(output, checkpoint, resume, overwrite)
    known = None if schema is None else read_schema(schema)
    given = tuple(map(str, (*names_of(settings["condition"]), *names_of(settings["exposure"]))))
    table = read_table(data, array=array, label=label, drop=tuple(drop), schema=known, beside=given)
    held_out = None if validation is None else _read_validation(validation, array, label, drop, table, given)
    plans: list[Plan] = []
    with FitProgress(not quiet) as progress:

        def announce(plan: Plan, messages: tuple[str, ...]) -> None:
            plans.append(plan)
            Path(output).parent.mkdir(parents=True, exist_ok=True)
            for message in (_opening(table, plan), *messages):
                progress.message(message)

        model = fit_table(
            table,
            {name: value for name, value in settings.items() if name != "random_state"},
            seed=settings["random_state"] or 0,
            validation=held_out,
            checkpointing=Checkpointing(checkpoint, resume),
            on_plan=announce,
            on_epoch=progress.epoch,
        )
    if held_out is None and len(plans[0].validation):
        held_out = table.take(plans[0].validation)
    model = with_reference(model, held_out)
    shown = overview(
        model,
        table,
        most_rows=MOST_REPORTED_ROWS,
        held_out=held_out,
        train=table.take(plans[0].train),
        checks=CHECKS if checks else (),
        progress=not quiet,
    )
    page = {REPORT_FILE: render(shown.content(f"{Path(output).name}: {table.source}")).encode()} if with_report else {}
    save_model(output, model, overwrite=overwrite, files=page)
    checkpoint.unlink(missing_ok=True)
    _tell(shown, output, with_report, as_json)


def _tell(shown: Overview, output: str, with_report: bool, as_json: bool) -> None:
    """What came of the fit."""
    summary = shown.model.summary
    if as_json:
        print_json({"model": output, "seconds": summary.seconds, **evaluation(shown)})
        return
    print(f"{shown}\n\nFitted in {duration(summary.seconds)}. {summary.detail}")
    print(f"Saved {output}" + (f"; open {os.path.join(output, REPORT_FILE)}" if with_report else ""))


def with_reference(model: FittedModel, held_out: Table | None) -> FittedModel:
    """The model with the scores of rows that it was not fitted to, which p-values of other rows rest on."""
    if held_out is None or len(held_out.shape) > 1:
        return model
    scores = anomaly_scores(model, held_out.take(np.arange(min(held_out.n_rows, MOST_REFERENCES))))
    summary = dataclasses.replace(model.summary, reference=tuple(scores[np.isfinite(scores)].tolist()))
    return dataclasses.replace(model, summary=summary)


def _opening(table: Table, plan: Plan) -> str:
    held = f", {len(plan.validation)} of them held out" if len(plan.validation) else ""
    return f"{table.source}: {table.n_columns} columns, {table.n_rows} rows{held}."


def _check_free(output: str, checkpoint: Path, resume: bool, overwrite: bool) -> None:
    """Refuse, before the work, a place where something would be lost."""
    if resume and not checkpoint.exists() and Path(output).exists():
        raise ValueError(
            f"--resume must find an interrupted fit, but there is no {checkpoint} and {output} exists: that fit has "
            "ended; use it as it is, or choose another name."
        )
    check_target(output, overwrite)
    if checkpoint.exists() and not (resume or overwrite):
        raise ValueError(
            f"{checkpoint} holds an interrupted fit, which a new one would overwrite; "
            "add --resume to go on with it, or --overwrite to start again."
        )


def _read_validation(
    path: str, array: str | None, label: str | None, drop: Sequence[str], fitted: Table, beside: tuple[str, ...]
) -> Table:
    if fitted.named:  # what was set aside there need not be here
        return read_table(path, array=array, known=fitted.aside, schema=fitted.coded, beside=beside)
    return read_table(path, array=array, label=label, drop=tuple(drop), schema=fitted.coded, beside=beside)


def demo(*, folder: str) -> None:
    """Fit digits, score held-out ones, write the report."""
    target = Path(folder) / "digits"
    check_target(target, overwrite=True)
    digits = read_table("digits")
    fitting_rows, held_out_rows = split(digits.n_rows, 0.2, 0)
    train, held_out = digits.take(fitting_rows), digits.take(held_out_rows)
    print(f"Fitting {train.n_rows} handwritten digits of 8x8 pixels; {held_out.n_rows} more are held out.")
    plans: list[Plan] = []
    with FitProgress(True) as progress:

        def announce(plan: Plan, messages: tuple[str, ...]) -> None:
            plans.append(plan)
            progress.message(messages[0])

        model = fit_table(
            train,
            {"latent_dim": 10, "epochs": 200, "binarize": True},
            seed=0,
            on_plan=announce,
            on_epoch=progress.epoch,
        )
    shown = overview(model, held_out, train=train.take(plans[0].train), progress=True)
    shown = dataclasses.replace(shown, row_numbers=held_out_rows)
    page = render(shown.content("tightbound demo: handwritten digits")).encode()
    save_model(target, model, overwrite=True, files={REPORT_FILE: page})
    print(f"{shown}\n\nFitted in {duration(model.summary.seconds)}. Saved {target}; open {target / REPORT_FILE}")


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(
            f"--hidden-sizes must be whole numbers with commas between them; got {text!r}; 300,300,300 is usual."
        ) from None
