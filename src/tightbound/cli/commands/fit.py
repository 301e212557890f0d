"""`tightbound fit`."""

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tightbound.cli.options import MOST_ROWS, Data, ReadOptions, checks_option
from tightbound.cli.shared import REPORT_FILE, print_json, say
from tightbound.estimator.settings import RANDOM_STATE, Settings, names_of

if TYPE_CHECKING:
    from tightbound.data import Schema, Table
    from tightbound.estimator.config import Config
    from tightbound.estimator.evaluation import Evaluation
    from tightbound.estimator.fitted import FittedModel
    from tightbound.estimator.resume import Checkpointing

MORE = "Files and reports"
_more = functools.partial(typer.Option, rich_help_panel=MORE)


def fit(
    data: Data,
    *,
    output: Annotated[str, typer.Option("--output", "-o", metavar="MODEL", help="The folder to save the model in.")],
    reading: ReadOptions,
    settings: Settings,
    random_state: Annotated[int | None, typer.Option("--random-state", help=RANDOM_STATE.help)] = None,
    schema: Annotated[
        str | None, _more("--schema", help="What each column holds, as `tightbound schema` writes it and you edit it.")
    ] = None,
    validation: Annotated[
        str | None, _more("--validation", metavar="DATA", help="To stop early on, in place of a share of DATA.")
    ] = None,
    resume: Annotated[bool, _more("--resume", help="Go on with a fit that was interrupted.")] = False,
    overwrite: Annotated[bool, _more("--overwrite", help="Replace an existing model.")] = False,
    report: Annotated[bool, _more(help="Write report.html into the model's folder.")] = True,
    checks: Annotated[bool, checks_option(rich_help_panel=MORE)] = True,
    as_json: Annotated[bool, _more("--json", help="Print one JSON object on stdout instead of text.")] = False,
    quiet: Annotated[bool, _more("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Fit a model to DATA and save it, with a report, in a folder.

    A MEMBER is a word, or a word with parameters: --prior "mixture(n_components=20)". `tightbound axes` lists them.
    """
    from tightbound.data import check_apart, reserved
    from tightbound.estimator.judges import with_reference
    from tightbound.estimator.resume import Checkpointing

    RANDOM_STATE.check("random_state", random_state)
    checkpoint = Path(f"{output.rstrip('/')}.checkpoint")
    for place in (output, checkpoint):
        check_apart(place, {"DATA": data, "the file of --schema": schema, "the data of --validation": validation})
    with reserved(output):
        _check_free(output, checkpoint, resume, overwrite)
        known = None if schema is None else _read_schema(schema)
        given = tuple(map(str, (*names_of(settings.condition), *names_of(settings.exposure))))
        table = reading.read(data, schema=known, beside=given)
        held_out = None if validation is None else _read_validation(reading, validation, table, given)
        checkpointing = Checkpointing(checkpoint, resume)
        model, config = _fitted(table, settings, random_state or 0, held_out, checkpointing, quiet)
        held_out = _of_validation(table, config) if held_out is None else held_out
        model = with_reference(model, held_out)
        found = _evaluate(model, table, held_out, table.take(config.train), checks, report, quiet)
        _save(model, found if report else None, output, checkpoint, overwrite)
        checkpoint.unlink(missing_ok=True)
    _tell(found, output, report, as_json)


def _fitted(
    table: "Table",
    settings: Settings,
    seed: int,
    held_out: "Table | None",
    checkpointing: "Checkpointing",
    quiet: bool,
) -> tuple["FittedModel", "Config"]:
    """The model, and what was made of the settings; progress and messages are shown meanwhile."""
    from tightbound.estimator.fit import fit_table
    from tightbound.estimator.progress import WorkProgress

    configs: list[Config] = []
    with WorkProgress(not quiet) as progress:

        def announce(config: "Config", messages: tuple[str, ...]) -> None:
            configs.append(config)
            for message in (_opening(table, config), *messages):
                progress.message(message)

        model = fit_table(
            table,
            settings,
            seed=seed,
            validation=held_out,
            checkpointing=checkpointing,
            on_config=announce,
            on_epoch=progress.epoch,
        )
    return model, configs[0]


def _of_validation(table: "Table", config: "Config") -> "Table | None":
    """The rows that the fit held out, where it did."""
    return table.take(config.validation) if len(config.validation) else None


def _evaluate(
    model: "FittedModel",
    table: "Table",
    held_out: "Table | None",
    train: "Table",
    checks: bool,
    pictures: bool,
    quiet: bool,
) -> "Evaluation":
    from tightbound.estimator.evaluate import CHECKS, evaluate
    from tightbound.estimator.progress import WorkProgress

    with WorkProgress(not quiet) as progress:
        return evaluate(
            model,
            table,
            most_rows=MOST_ROWS,
            held_out=held_out,
            train=train,
            checks=CHECKS if checks else (),
            pictures=pictures,
            on_progress=progress,
        )


def _save(model: "FittedModel", shown: "Evaluation | None", output: str, checkpoint: Path, overwrite: bool) -> None:
    """The model, with its report where there is something to be shown."""
    from tightbound.estimator.folder import IDENTITY, save_model
    from tightbound.estimator.resume import identity_of
    from tightbound.report import render

    page = {} if shown is None else {REPORT_FILE: render(shown, f"{Path(output).name}: {shown.source}").encode()}
    save_model(output, model, overwrite=overwrite, extra={IDENTITY: identity_of(checkpoint)}, files=page)


def _tell(found: "Evaluation", output: str, report: bool, as_json: bool) -> None:
    """What came of the fit."""
    from tightbound.estimator.progress import duration

    summary = found.training
    if as_json:
        print_json({"model": output, "seconds": summary.seconds, **found.to_json()})
        return
    say(f"{found}\n\nFitted in {duration(summary.seconds)}. {summary.detail}")
    say(f"Saved {output}" + (f"; open {os.path.join(output, REPORT_FILE)}" if report else ""))


def _opening(table: "Table", config: "Config") -> str:
    held = f", {len(config.validation)} of them held out" if len(config.validation) else ""
    return f"{table.source}: {table.n_columns} columns, {table.n_rows} rows{held}."


def _check_free(output: str, checkpoint: Path, resume: bool, overwrite: bool) -> None:
    """Refuse, before the work, a place where something would be lost."""
    from tightbound.estimator.folder import check_target, saved_from
    from tightbound.estimator.resume import identity_of

    if checkpoint.exists() and identity_of(checkpoint) == saved_from(output):
        checkpoint.unlink()  # that fit was ended after it had been saved
    if resume and not checkpoint.exists() and Path(output).exists():
        raise ValueError(
            f"--resume must find an interrupted fit, but there is no {checkpoint} and {output} exists: that fit has "
            "ended; use it as it is, or choose another name."
        )
    check_target(output, overwrite, "--overwrite")
    if checkpoint.exists() and not (resume or overwrite):
        raise ValueError(
            f"{checkpoint} holds an interrupted fit, which a new one would overwrite; "
            "add --resume to go on with it, or --overwrite to start again."
        )


def _read_validation(reading: ReadOptions, path: str, fitted: "Table", beside: tuple[str, ...]) -> "Table":
    if fitted.named:  # what was set aside there need not be here
        reading = ReadOptions(array=reading.array, unseen_as_missing=reading.unseen_as_missing)
        return reading.read(path, known=fitted.aside, schema=fitted.coded, beside=beside)
    return reading.read(path, schema=fitted.coded, beside=beside)


def _read_schema(path: str) -> "Schema":
    """A schema that a person may have edited."""
    from tightbound.data import DataError, Schema
    from tightbound.model.strict_json import loads

    try:
        with open(path, encoding="utf-8") as stream:
            values = loads(stream.read())
    except OSError as error:
        raise DataError(
            f"The schema {path} must be a file that can be read; the system says {error.strerror}; check the path."
        ) from error
    except ValueError as error:
        raise DataError(
            f"The schema {path} must be JSON as `tightbound schema` writes it; it is not ({error}); correct it."
        ) from error
    return Schema.from_json(values)
