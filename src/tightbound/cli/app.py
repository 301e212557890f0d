"""The command line: `tightbound fit`, `evaluate`, `score`, `compare`, `encode`, `reconstruct`, `sample`, `report`, ...

Here are the list of commands, exit statuses and the sentences of errors; each command is a file of `cli.commands`.
"""

import contextlib
import functools
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
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
from tightbound.cli.shared import say
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
        try:
            command(**given)
        except KeyboardInterrupt as error:
            raise StoppedError from error
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


class StoppedError(Exception):
    """A command that was interrupted; typer would hide by what, and what was kept."""


class Interruption(KeyboardInterrupt):
    """A signal that asks the process to end: what has been done is kept, as after Ctrl-C."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


def _end(number: int, frame: Any) -> None:
    raise Interruption(number)


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """SIGTERM (of Slurm, of Kubernetes) and SIGHUP are heard; one that the caller has us ignore stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heard = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in heard:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)


def main() -> None:
    """Run the command line: exit status 0, or 2, or 128 and the number of a signal, with one sentence."""
    with _listening():
        _run()


def _run() -> None:
    warnings.showwarning = _show_warning
    use_cache_of_command_line()
    try:
        status = app(args=sys.argv[1:] or ["--help"], prog_name="tightbound", standalone_mode=False)
    except typer.TyperException as error:
        _fail(f"{error.format_message().rstrip('.')}; {_help_command(error)} shows what there is.")
    except (typer.Abort, StoppedError, KeyboardInterrupt) as error:
        _fail(*_interrupted(error))
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
        _fail(*_interrupted(KeyboardInterrupt()))
    sys.exit(status if isinstance(status, int) else 0)


def _interrupted(error: BaseException) -> tuple[str, int]:
    """What is said after a signal, and the exit status: 128 and its number (130 for Ctrl-C)."""
    signalled: BaseException | None = error
    while signalled is not None and not isinstance(signalled, KeyboardInterrupt):
        signalled = signalled.__cause__ or signalled.__context__
    number = getattr(signalled, "number", INTERRUPTED - 128)
    kept = "".join(f"; {note}" for note in getattr(signalled, "__notes__", ()))
    how = "a fit or a scoring goes on from where it was kept with --resume"
    return f"Interrupted; nothing was overwritten{kept}; {how}.", 128 + number


def _help_command(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'tightbound'} --help"


def _fail(sentence: str, status: int = MISTAKEN) -> None:
    say(f"tightbound: {' '.join(sentence.split())}", error=True)
    sys.exit(status)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'A file'} cannot be used ({error.strerror}); check the path and its permissions."
    if isinstance(error, MemoryError):
        return f"The memory is used up ({error}); score fewer rows at a time, or use a smaller batch_size."
    return str(error) or type(error).__name__


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        say(f"note: {message}", error=True)


if __name__ == "__main__":
    main()
