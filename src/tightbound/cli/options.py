"""The options that commands share, each with its help, and those made from tables: of a fit, and of a scoring."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from tightbound.estimator.settings import SETTINGS, Setting

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
Train = Annotated[
    str | None,
    typer.Option(
        "--train",
        metavar="DATA",
        help="The rows that the model was fitted to: for simple models beside it, copies, and an overfitted encoder.",
    ),
]
TrainKey = Annotated[str | None, typer.Option("--train-array", help="Name of the array in an .npz file of --train.")]
Checks = Annotated[
    bool,
    typer.Option(
        "--checks/--no-checks",
        help="Take the gap apart, bracket log p(x), examine the health of the fit and rank it among simple models.",
    ),
]

Refine = Annotated[
    int,
    typer.Option(
        "--refine", metavar="STEPS", min=0, help="Refine q for every row by so many steps of an inner loop (0: not)."
    ),
]

MOST_ROWS = 2_000
"""A mean over so many is known to a few tenths of a nat where rows differ by ten; more rows take longer."""
MostRows = Annotated[
    int,
    typer.Option(
        "--rows", metavar="N", min=0, help="Of a longer table use so many rows, spread evenly over it (0: all)."
    ),
]


_TYPED: dict[Any, Any] = {tuple: str, list: list[str]}
_SHOWN: dict[Any, str] = {tuple: "N,N,...", list: "COLUMN"}


def _setting_parameter(setting: Setting) -> inspect.Parameter:
    flag = "--" + setting.name.replace("_", "-")
    kind: Any = _TYPED.get(setting.kind, setting.kind)
    if setting.choices:
        kind = Literal[setting.choices]
    annotation: Any = Annotated[
        kind if setting.default is not None and setting.kind is not tuple else kind | None,
        typer.Option(
            f"{flag}/--no-{flag[2:]}" if setting.kind is bool else flag,
            help=setting.help,
            metavar=_SHOWN.get(setting.kind),
            rich_help_panel=setting.group,
        ),
    ]
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=setting.default, annotation=annotation
    )


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for every setting of a fit, from the table in `tightbound.estimator.settings`."""
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    given = [_setting_parameter(setting) for setting in SETTINGS if setting.name != "verbose"]
    command.__signature__ = signature.replace(parameters=[*own, *given])  # type: ignore[attr-defined]
    return command


_PANEL = "Scoring"
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "n_samples": (
        None,
        Annotated[
            int | None,
            typer.Option(
                "--n-importance-samples",
                "-s",
                help="Draws of z a row to begin with (default: as the model was fitted).",
                rich_help_panel=_PANEL,
            ),
        ],
    ),
    "method": (
        None,
        Annotated[
            Literal["auto", "adaptive", "importance", "defensive", "refined", "annealed", "exact"] | None,
            typer.Option(
                "--method",
                help="How log p(x) is found (default: as the model was fitted, usually auto): auto: exactly where that "
                "is cheap, else by as much work as each row needs; the others: that one alone.",
                rich_help_panel=_PANEL,
            ),
        ],
    ),
    "tolerance": (
        None,
        Annotated[
            float | None,
            typer.Option(
                "--tolerance",
                help="Standard error of each row's log p(x) that auto works for, in nats (default: as fitted, 0.1).",
                rich_help_panel=_PANEL,
            ),
        ],
    ),
    "time_limit": (
        None,
        Annotated[
            float | None,
            typer.Option(
                "--time-limit",
                metavar="SECONDS",
                help="Take no row further after so long; those that did not get there are flagged.",
                rich_help_panel=_PANEL,
            ),
        ],
    ),
    "n_steps": (
        200,
        Annotated[int, typer.Option("--n-steps", help="Temperatures of --method annealed.", rich_help_panel=_PANEL)],
    ),
    "n_chains": (
        16,
        Annotated[
            int, typer.Option("--n-chains", help="Chains a row where log p(x) is annealed.", rich_help_panel=_PANEL)
        ],
    ),
}


def with_scoring(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in place of its `**scoring`, the options of a scoring, named as `evidence.log_evidence` does."""
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    given = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (default, annotation) in _OPTIONS.items()
    ]
    command.__signature__ = signature.replace(parameters=[*own, *given])  # type: ignore[attr-defined]
    return command
