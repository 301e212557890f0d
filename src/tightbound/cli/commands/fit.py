"""`tightbound fit`."""

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tightbound.cli.options import Checks, Data, Json, Quiet, ReadOptions, with_settings
from tightbound.cli.shared import REPORT_FILE, print_json

if TYPE_CHECKING:
    from tightbound.data import Schema, Table
    from tightbound.estimator.config import Plan
    from tightbound.estimator.evaluation import Evaluation
    from tightbound.estimator.fitted import FittedModel

MOST_REFERENCES = 2000


@with_settings
def fit(
    data: Data,
    *,
    output: Annotated[str, typer.Option("--output", "-o", metavar="MODEL", help="The folder to save the model in.")],
    reading: ReadOptions,
    schema: Annotated[
        str | None,
        typer.Option("--schema", help="What each column holds, as `tightbound schema` writes it and you edit it."),
    ] = None,
    validation: Annotated[
        str | None, typer.Option("--validation", help="Data to stop early on, in place of a share of DATA.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a fit that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing model.")] = False,
    report: Annotated[bool, typer.Option(help="Write report.html into the model's folder.")] = True,
    checks: Checks = True,
    as_json: Json = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Fit a model to DATA and save it, with a report, in a folder."""
    from tightbound.estimator.checking import check_settings, names_of
    from tightbound.estimator.fit import fit_table
    from tightbound.estimator.progress import FitProgress
    from tightbound.estimator.resume import Checkpointing

    settings = {**settings, "hidden_sizes": _sizes(settings["hidden_sizes"])}
    check_settings(settings)
    checkpoint = Path(f"{output.rstrip('/')}.checkpoint")
    _check_free(output, checkpoint, resume, overwrite)
    known = None if schema is None else _read_schema(schema)
    given = tuple(map(str, (*names_of(settings["condition"]), *names_of(settings["exposure"]))))
    table = reading.read(data, schema=known, beside=given)
    held_out = None if validation is None else _read_validation(reading, validation, table, given)
    plans: list[Plan] = []
    with FitProgress(not quiet) as progress:

        def announce(plan: "Plan", messages: tuple[str, ...]) -> None:
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
    model = _with_reference(model, held_out)
    found = _evaluate(model, table, held_out, table.take(plans[0].train), checks, report, quiet)
    _save(model, found if report else None, output, overwrite)
    checkpoint.unlink(missing_ok=True)
    _tell(found, output, report, as_json)


def _evaluate(
    model: "FittedModel",
    table: "Table",
    held_out: "Table | None",
    train: "Table",
    checks: bool,
    pictures: bool,
    quiet: bool,
) -> "Evaluation":
    from tightbound.estimator.evaluate import CHECKS, MOST_REPORTED_ROWS, evaluate
    from tightbound.estimator.progress import WorkProgress

    with WorkProgress(not quiet) as progress:
        return evaluate(
            model,
            table,
            most_rows=MOST_REPORTED_ROWS,
            held_out=held_out,
            train=train,
            checks=CHECKS if checks else (),
            pictures=pictures,
            on_progress=progress,
        )


def _save(model: "FittedModel", shown: "Evaluation | None", output: str, overwrite: bool) -> None:
    """The model, with its report where there is something to be shown."""
    from tightbound.estimator.folder import save_model
    from tightbound.report import render

    page = {} if shown is None else {REPORT_FILE: render(shown, f"{Path(output).name}: {shown.source}").encode()}
    save_model(output, model, overwrite=overwrite, files=page)


def _tell(found: "Evaluation", output: str, report: bool, as_json: bool) -> None:
    """What came of the fit."""
    from tightbound.estimator.progress import duration

    summary = found.training
    if as_json:
        print_json({"model": output, "seconds": summary.seconds, **found.to_json()})
        return
    print(f"{found}\n\nFitted in {duration(summary.seconds)}. {summary.detail}")
    print(f"Saved {output}" + (f"; open {os.path.join(output, REPORT_FILE)}" if report else ""))


def _with_reference(model: "FittedModel", held_out: "Table | None") -> "FittedModel":
    """The model with the scores of rows that it was not fitted to, which p-values of other rows rest on."""
    import numpy as np

    from tightbound.estimator.detection import anomaly_scores

    if held_out is None or len(held_out.shape) > 1:
        return model
    scores = anomaly_scores(model, held_out.take(np.arange(min(held_out.n_rows, MOST_REFERENCES))))
    summary = dataclasses.replace(model.summary, reference=tuple(scores[np.isfinite(scores)].tolist()))
    return dataclasses.replace(model, summary=summary)


def _opening(table: "Table", plan: "Plan") -> str:
    held = f", {len(plan.validation)} of them held out" if len(plan.validation) else ""
    return f"{table.source}: {table.n_columns} columns, {table.n_rows} rows{held}."


def _check_free(output: str, checkpoint: Path, resume: bool, overwrite: bool) -> None:
    """Refuse, before the work, a place where something would be lost."""
    from tightbound.estimator.folder import check_target

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


def _read_validation(reading: ReadOptions, path: str, fitted: "Table", beside: tuple[str, ...]) -> "Table":
    if fitted.named:  # what was set aside there need not be here
        reading = ReadOptions(array=reading.array)
        return reading.read(path, known=fitted.aside, schema=fitted.coded, beside=beside)
    return reading.read(path, schema=fitted.coded, beside=beside)


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(
            f"--hidden-sizes must be whole numbers with commas between them; got {text!r}; 300,300,300 is usual."
        ) from None


def _read_schema(path: str) -> "Schema":
    """A schema that a person may have edited."""
    from tightbound.data import DataError, Schema

    try:
        with open(path, encoding="utf-8") as stream:
            values = json.load(stream)
    except OSError as error:
        raise DataError(
            f"The schema {path} must be a file that can be read; the system says {error.strerror}; check the path."
        ) from error
    except ValueError as error:
        raise DataError(
            f"The schema {path} must be JSON as `tightbound schema` writes it; it is not ({error}); correct it."
        ) from error
    return Schema.from_json(values)
