"""The command line: `tightbound fit`, `evaluate`, `score`, `compare`, `encode`, `reconstruct`, `sample`, `report`, ...

Only names and help live here, so that `--help` answers at once; the work is in `tightbound.cli.commands`.
"""

import importlib
import os
import sys
import warnings
from typing import Annotated, Any

import typer

from tightbound import __version__
from tightbound.cli.answers import register
from tightbound.cli.options import (
    MOST_ROWS,
    Checks,
    Data,
    Drop,
    Json,
    Key,
    Label,
    Model,
    MostRows,
    Quiet,
    Refine,
    Rows,
    Train,
    TrainKey,
    with_scoring,
    with_settings,
)
from tightbound.estimator.compiler import compile_quickly

INTERRUPTED = 130
"""What typer returns when the user has pressed Ctrl-C."""

app = typer.Typer(
    name="tightbound",
    help="Variational autoencoders whose likelihoods can be trusted: fit, sample, encode, score; in nats, with errors.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _run(name: str, **arguments: Any) -> None:
    importlib.import_module("tightbound.cli.commands").run(name, **arguments)
    sys.stdout.flush()  # while somebody is there to take note when this fails


@app.command()
@with_settings
def fit(
    data: Data,
    *,
    output: Annotated[str, typer.Option("--output", "-o", metavar="MODEL", help="The folder to save the model in.")],
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
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
    _run(
        "fit",
        data=data,
        output=output,
        array=array,
        label=label,
        drop=drop or (),
        schema=schema,
        validation=validation,
        resume=resume,
        overwrite=overwrite,
        with_report=report,
        checks=checks,
        as_json=as_json,
        quiet=quiet,
        settings=settings,
    )


@app.command()
@with_scoring
def evaluate(
    model: Model,
    data: Data,
    *,
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    train: Train = None,
    train_array: TrainKey = None,
    checks: Checks = True,
    rows: MostRows = MOST_ROWS,
    refine: Refine = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    **scoring: Any,
) -> None:
    """Say how far to trust a model on DATA: log p(x) with its error, both sides, the gap in its parts, its health."""
    _run(
        "evaluate",
        model=model,
        data=data,
        array=array,
        label=label,
        drop=drop or (),
        train=train,
        train_array=train_array,
        checks=checks,
        scoring=scoring,
        rows=rows,
        refine=refine,
        as_json=as_json,
        quiet=quiet,
    )


@app.command()
@with_scoring
def score(
    model: Model,
    data: Data,
    *,
    output: Rows = "-",
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    refine: Refine = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a scoring that was interrupted.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again where an interrupted scoring lies.")
    ] = False,
    quiet: Quiet = False,
    **scoring: Any,
) -> None:
    """Write log p(x) of every row with standard error, ELBO, effective sample size, k-hat, method and reliability."""
    _run(
        "score",
        model=model,
        data=data,
        output=output,
        array=array,
        label=label,
        drop=drop or (),
        scoring=scoring,
        refine=refine,
        resume=resume,
        overwrite=overwrite,
        quiet=quiet,
    )


@app.command()
@with_scoring
def compare(
    models_and_data: Annotated[
        list[str], typer.Argument(metavar="MODEL... DATA", help="The folders of two or more models, then the data.")
    ],
    *,
    output: Annotated[str, typer.Option("--output", "-o", help="The page to write (.html).")] = "comparison.html",
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    train: Train = None,
    train_array: TrainKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
    **scoring: Any,
) -> None:
    """Compare models on the same rows: paired differences of log p(x), and which of them are within the errors."""
    _run(
        "compare",
        models=models_and_data[:-1],
        data=models_and_data[-1],
        output=output,
        array=array,
        label=label,
        drop=drop or (),
        train=train,
        train_array=train_array,
        scoring=scoring,
        as_json=as_json,
        quiet=quiet,
    )


@app.command()
def encode(
    model: Model,
    data: Data,
    *,
    output: Rows = "-",
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    sd: Annotated[bool, typer.Option("--sd", help="Add the posterior standard deviations.")] = False,
    refine: Refine = 0,
) -> None:
    """Write the posterior mean of every latent dimension for every row."""
    _run(
        "encode", model=model, data=data, output=output, array=array, label=label, drop=drop or (), sd=sd, refine=refine
    )


@app.command()
def reconstruct(
    model: Model,
    data: Data,
    *,
    output: Rows = "-",
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    refine: Refine = 0,
) -> None:
    """Write the decoder's mean at the posterior mean of every row; missing cells are filled in."""
    _run("reconstruct", model=model, data=data, output=output, array=array, label=label, drop=drop or (), refine=refine)


@app.command()
def sample(
    model: Model,
    *,
    n: Annotated[int, typer.Option("--number", "-n", help="How many rows to draw.")] = 10,
    output: Rows = "-",
    random_state: Annotated[
        int | None, typer.Option("--random-state", help="Seed (default: other rows each time).")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="NAME=VALUE",
            help="Only rows with this value; NAME=LOW..HIGH: in this range; NAME=A|B: one of these (repeat for more).",
        ),
    ] = None,
) -> None:
    """Draw new rows from p(x), or from p(x given some columns), in the columns and units of the data."""
    _run("sample", model=model, n=n, output=output, random_state=random_state, given=given or ())


@app.command()
@with_scoring
def report(
    model: Model,
    data: Data,
    *,
    output: Annotated[str, typer.Option("--output", "-o", help="The page to write (.html).")] = "report.html",
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    train: Train = None,
    train_array: TrainKey = None,
    checks: Checks = True,
    quiet: Quiet = False,
    **scoring: Any,
) -> None:
    """Write the report of a model on DATA: one self-contained HTML page of tables and pictures."""
    _run(
        "report",
        model=model,
        data=data,
        output=output,
        array=array,
        label=label,
        drop=drop or (),
        train=train,
        train_array=train_array,
        checks=checks,
        scoring=scoring,
        quiet=quiet,
    )


@app.command()
def info(model: Model, *, as_json: Json = False) -> None:
    """Say what a saved model is: what it was fitted on, how, and how that went."""
    _run("info", model=model, as_json=as_json)


register(app)


@app.command()
def demo(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Where to put the model and the report.")
    ] = "tightbound-demo",
) -> None:
    """Fit the embedded handwritten digits, evaluate on held-out ones and write a report, in about two minutes."""
    _run("demo", folder=folder)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"tightbound {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line: exit status 0, or 2 with one sentence on standard error."""
    warnings.showwarning = _show_warning
    compile_quickly()
    try:
        status = app(args=sys.argv[1:] or ["--help"], prog_name="tightbound", standalone_mode=False)
    except typer.TyperException as error:
        _fail(f"{error.format_message().rstrip('.')}; {_help_command(error)} shows what there is.")
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except SystemExit:  # how typer ends when the reader of our output has seen enough; the rest must not be flushed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (ValueError, TypeError, OSError, MemoryError) as error:
        _fail(_sentence(error))
    except RuntimeError as error:  # JAX has no error of its own for a full memory
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _fail(_sentence(MemoryError(error)))
    if status == INTERRUPTED:
        _fail(
            "Interrupted; nothing was overwritten, and a fit or a scoring goes on from where it was kept with --resume."
        )
    sys.exit(status if isinstance(status, int) else 0)


def _help_command(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'tightbound'} --help"


def _fail(sentence: str) -> None:
    print(f"tightbound: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(2)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'A file'} cannot be used ({error.strerror}); check the path and its permissions."
    if isinstance(error, MemoryError):
        return f"The memory is used up ({error}); score fewer rows at a time, or use a smaller batch_size."
    return str(error) or type(error).__name__


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        print(f"note: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
