"""Commands for tables: `tightbound schema`, `impute`, `detect`."""

import importlib
import sys
from typing import Annotated, Any

import typer

from tightbound.cli.options import Data, Drop, Json, Key, Label, Model, Quiet, Rows

Seed = Annotated[int, typer.Option("--random-state", help="Seed of the noise.")]
Unseen = Annotated[
    bool,
    typer.Option("--unseen-as-missing", help="Take levels that the model has never met for missing cells."),
]


def _run(name: str, **arguments: Any) -> None:
    importlib.import_module("tightbound.cli.commands").run(name, **arguments)
    sys.stdout.flush()  # while somebody is there to take note when this fails


def schema(
    data: Data,
    *,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="SCHEMA", help="A .json file to write the schema to.")
    ] = None,
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    as_json: Json = False,
) -> None:
    """Say what each column of DATA holds, and why; the file it writes can be edited and given to fit --schema."""
    _run("schema", data=data, output=output, array=array, label=label, drop=drop or (), as_json=as_json)


def impute(
    model: Model,
    data: Data,
    *,
    output: Rows = "-",
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    draws: Annotated[
        int, typer.Option("--draws", min=0, help="Write so many equally likely completions, one below the other.")
    ] = 0,
    interval: Annotated[
        float | None,
        typer.Option("--interval", help="Add columns with the ends of intervals of this probability, such as 0.9."),
    ] = None,
    unseen_as_missing: Unseen = False,
    random_state: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Fill in the missing cells of DATA; observed cells are written as they stand."""
    _run(
        "impute",
        model=model,
        data=data,
        output=output,
        array=array,
        label=label,
        drop=drop or (),
        draws=draws,
        interval=interval,
        unseen_as_missing=unseen_as_missing,
        random_state=random_state,
        quiet=quiet,
    )


def detect(
    model: Model,
    data: Data,
    *,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Where to write every row's score, p-value, flag and strangest cells."),
    ] = None,
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="DATA",
            help="Ordinary rows that the model was not fitted to (default: those that fit held out).",
        ),
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Share of false discoveries among the flagged rows.")] = 0.1,
    unseen_as_missing: Unseen = False,
    random_state: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the strange rows of DATA, with p-values, and the cells that make them strange."""
    _run(
        "detect",
        model=model,
        data=data,
        output=output,
        array=array,
        label=label,
        drop=drop or (),
        reference=reference,
        level=level,
        unseen_as_missing=unseen_as_missing,
        random_state=random_state,
        as_json=as_json,
        quiet=quiet,
    )


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (schema, impute, detect):
        app.command()(command)
