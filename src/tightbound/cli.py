"""The command line: `tightbound fit`, `evaluate`, `score`, `encode`, `reconstruct`, `sample`, `report`, `info`, `demo`.

Only names and help live here, so that `--help` answers at once; the work is in `tightbound.commands`.
"""

import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from tightbound import __version__
from tightbound.settings import SETTINGS, Setting

INTERRUPTED = 130
"""What typer returns when the user has pressed Ctrl-C."""

app = typer.Typer(
    name="tightbound",
    help="Variational autoencoders whose likelihoods can be trusted: fit, sample, encode, score; in nats, with errors.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A .csv, .tsv (also .gz), .parquet, .npy or .npz file, a folder of images, 'digits', or - (CSV on stdin).",
    ),
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="The folder of a fitted model.")]
Key = Annotated[str | None, typer.Option("--array", "-a", help="Name of the array in an .npz file.")]
Label = Annotated[
    str | None,
    typer.Option(
        "--label",
        help="Column (or .npz array) that colours pictures; it is not modelled. A named column is remembered: later "
        "data may have it or not.",
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option("--drop", help="Column to leave out (repeat for more); remembered like the label."),
]
Rows = Annotated[
    str,
    typer.Option(
        "--output", "-o", help="Where to write rows: .csv, .tsv, .parquet, .npy, .npz, or - for CSV on stdout."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Samples = Annotated[
    int | None,
    typer.Option("--n-importance-samples", "-s", help="Draws of z a row (default: as the model was fitted)."),
]

Refine = Annotated[
    int,
    typer.Option(
        "--refine", metavar="STEPS", min=0, help="Refine q for every row by so many steps of an inner loop (0: not)."
    ),
]


def _setting_parameter(setting: Setting) -> inspect.Parameter:
    flag = "--" + setting.name.replace("_", "-")
    kind: Any = str if setting.kind is tuple else setting.kind
    if setting.choices:
        kind = Literal[setting.choices]
    annotation: Any = Annotated[
        kind if setting.default is not None and setting.kind is not tuple else kind | None,
        typer.Option(
            f"{flag}/--no-{flag[2:]}" if setting.kind is bool else flag,
            help=setting.help,
            metavar="N,N,..." if setting.kind is tuple else None,
            rich_help_panel=setting.group,
        ),
    ]
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=setting.default, annotation=annotation
    )


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for every setting of a fit, from the table in `tightbound.settings`."""
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    given = [_setting_parameter(setting) for setting in SETTINGS if setting.name != "verbose"]
    command.__signature__ = signature.replace(parameters=[*own, *given])  # type: ignore[attr-defined]
    return command


def _run(name: str, **arguments: Any) -> None:
    getattr(importlib.import_module("tightbound.commands"), name)(**arguments)
    sys.stdout.flush()  # while somebody is there to take note when this fails


@app.command()
@_with_settings
def fit(
    data: Data,
    *,
    output: Annotated[str, typer.Option("--output", "-o", metavar="MODEL", help="The folder to save the model in.")],
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    validation: Annotated[
        str | None, typer.Option("--validation", help="Data to stop early on, in place of a share of DATA.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a fit that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing model.")] = False,
    report: Annotated[bool, typer.Option(help="Write report.html into the model's folder.")] = True,
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
        validation=validation,
        resume=resume,
        overwrite=overwrite,
        with_report=report,
        as_json=as_json,
        quiet=quiet,
        settings=settings,
    )


@app.command()
def evaluate(
    model: Model,
    data: Data,
    *,
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    n_importance_samples: Samples = None,
    refine: Refine = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print log p(x), ELBO and the state of the latents for DATA: value, standard error, unit, bound or estimate."""
    _run(
        "evaluate",
        model=model,
        data=data,
        array=array,
        label=label,
        drop=drop or (),
        n_samples=n_importance_samples,
        refine=refine,
        as_json=as_json,
        quiet=quiet,
    )


@app.command()
def score(
    model: Model,
    data: Data,
    *,
    output: Rows = "-",
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    n_importance_samples: Samples = None,
    refine: Refine = 0,
    quiet: Quiet = False,
) -> None:
    """Write log p(x) of every row with standard error, ELBO, effective sample size, k-hat and reliability."""
    _run(
        "score",
        model=model,
        data=data,
        output=output,
        array=array,
        label=label,
        drop=drop or (),
        n_samples=n_importance_samples,
        refine=refine,
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
) -> None:
    """Draw new rows from p(x), in the columns and units of the data."""
    _run("sample", model=model, n=n, output=output, random_state=random_state)


@app.command()
def report(
    model: Model,
    data: Data,
    *,
    output: Annotated[str, typer.Option("--output", "-o", help="The page to write (.html).")] = "report.html",
    array: Key = None,
    label: Label = None,
    drop: Drop = None,
    n_importance_samples: Samples = None,
    quiet: Quiet = False,
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
        n_samples=n_importance_samples,
        quiet=quiet,
    )


@app.command()
def info(model: Model, *, as_json: Json = False) -> None:
    """Say what a saved model is: what it was fitted on, how, and how that went."""
    _run("info", model=model, as_json=as_json)


@app.command()
def demo(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Where to put the model and the report.")
    ] = "tightbound-demo",
) -> None:
    """Fit the embedded handwritten digits, evaluate on held-out ones and write a report, in under two minutes."""
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
        _fail("Interrupted; nothing was overwritten, and a fit goes on from its checkpoint with --resume.")
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
