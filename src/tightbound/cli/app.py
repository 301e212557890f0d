"""The command line: `tightbound fit`, `evaluate`, `score`, `compare`, `encode`, `reconstruct`, `sample`, `report`, ...

Here are the list of commands, exit statuses and the sentences of errors; each command is a file of `cli.commands`.
"""

import functools
import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from tightbound import __version__
from tightbound.cli.commands.axes import axes
from tightbound.cli.commands.compare import compare
from tightbound.cli.commands.demo import demo
from tightbound.cli.commands.detect import detect
from tightbound.cli.commands.encode import encode
from tightbound.cli.commands.evaluate import evaluate
from tightbound.cli.commands.fit import fit
from tightbound.cli.commands.impute import impute
from tightbound.cli.commands.info import info
from tightbound.cli.commands.reconstruct import reconstruct
from tightbound.cli.commands.report import report
from tightbound.cli.commands.sample import sample
from tightbound.cli.commands.schema import schema
from tightbound.cli.commands.score import score
from tightbound.cli.options import with_groups
from tightbound.estimator.compiler import use_cache_of_command_line

COMMANDS = (
    *(fit, evaluate, score, compare, encode, reconstruct, sample, report, info, schema, impute, detect, axes, demo),
)

MISTAKEN = 2
INTERRUPTED = 130
"""Exit statuses besides 0: of a mistake of use, and of Ctrl-C."""

app = typer.Typer(
    name="tightbound",
    help="Variational autoencoders whose likelihoods can be trusted: fit, sample, encode, score; in nats, with errors.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _with_flush(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def flushed(**given: Any) -> None:
        command(**given)
        sys.stdout.flush()  # while somebody is there to take note when this fails

    return flushed


for each in COMMANDS:
    app.command()(_with_flush(with_groups(each)))


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
    """Run the command line: exit status 0, or 2 or 130 with one sentence on standard error."""
    warnings.showwarning = _show_warning
    use_cache_of_command_line()
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
        kept = "a fit or a scoring goes on from where it was kept with --resume"
        _fail(f"Interrupted; nothing was overwritten, and {kept}.", INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _help_command(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'tightbound'} --help"


def _fail(sentence: str, status: int = MISTAKEN) -> None:
    print(f"tightbound: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(status)


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
