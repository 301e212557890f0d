"""The options that commands share, each with its help: one by one, in groups, and those of a fit, from their table.

A group is a dataclass whose fields are options, with what they do together as its methods. A command takes it as one
parameter, and the command line shows its fields.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

import typer

from tightbound.model.axes import AXES
from tightbound.model.axes.parameters import MOST_STEPS, Parameter

if TYPE_CHECKING:
    from tightbound.data import Table
    from tightbound.estimator.fitted import FittedModel

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A .csv, .tsv (also .gz), .parquet, .npy or .npz file, a folder of images, 'digits', or - (CSV on stdin).",
    ),
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="The folder of a fitted model.")]
Output = Annotated[
    str,
    typer.Option(
        "--output", "-o", help="Where to write rows: .csv, .tsv, .parquet, .npy, .npz, or - for CSV on stdout."
    ),
]
Page = Annotated[str, typer.Option("--output", "-o", metavar="PAGE", help="The page to write (.html).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Seed = Annotated[int, typer.Option("--random-state", help="Seed of the noise.")]
checks_option = functools.partial(
    typer.Option,
    "--checks/--no-checks",
    help="Take the gap apart, bracket log p(x), examine the health of the fit and rank it among simple models.",
)
Checks = Annotated[bool, checks_option()]

Refine = Annotated[
    int,
    typer.Option(
        "--refine",
        metavar="STEPS",
        min=0,
        max=MOST_STEPS,
        help="Refine q for every row by so many steps of an inner loop (0: not).",
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


@final
@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How data are read."""

    array: Annotated[str | None, typer.Option("--array", "-a", help="Name of the array in an .npz file.")] = None
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            help="Column (or .npz array) that colours pictures; it is not modelled. A named column is remembered: "
            "later data may have it or not.",
        ),
    ] = None
    drop: Annotated[
        list[str] | None,
        typer.Option("--drop", help="Column to leave out (repeat for more); remembered like the label."),
    ] = None

    unseen_as_missing: Annotated[
        bool,
        typer.Option(
            "--unseen-as-missing", help="Take levels that the model, or the schema, has never met for missing cells."
        ),
    ] = False

    def read(self, data: str, **known: Any) -> "Table":
        """Data by themselves, or with what `read_table` is told of them."""
        from tightbound.data import read_table
        from tightbound.data.errors import UnseenLevelError

        known["unseen"] = "missing" if self.unseen_as_missing else "error"
        try:
            return read_table(data, array=self.array, label=self.label, drop=tuple(self.drop or ()), **known)
        except UnseenLevelError as error:
            raise error.advised("correct it, make it missing, or add --unseen-as-missing") from None

    def read_for(self, model: "FittedModel", data: str) -> "Table":
        """Data for a fitted model: what was set aside from the data that it was fitted on is set aside here too."""
        encoding = model.encoding
        return self.read(
            data,
            known=encoding.aside,
            beside=encoding.given_names,
            schema=encoding.schema,
        )


@final
@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Where the rows are that a model was fitted to, for what is fitted to the same rows."""

    train: Annotated[
        str | None,
        typer.Option(
            "--train",
            metavar="DATA",
            help="The rows that the model was fitted to: for simple models beside it, copies, and an overfitted "
            "encoder.",
        ),
    ] = None
    train_array: Annotated[
        str | None, typer.Option("--train-array", help="Name of the array in an .npz file of --train.")
    ] = None

    def read_for(self, model: "FittedModel") -> "Table | None":
        """The rows, where they were named."""
        return None if self.train is None else ReadOptions(array=self.train_array).read_for(model, self.train)


_scoring = functools.partial(typer.Option, rich_help_panel="Scoring")


@final
@dataclasses.dataclass(frozen=True)
class ScoringOptions:
    """How log p(x) is found; named as `evidence.log_evidence` names them."""

    n_samples: Annotated[
        int | None,
        _scoring(
            "--n-importance-samples", "-s", help="Draws of z a row to begin with (default: as the model was fitted)."
        ),
    ] = None
    method: Annotated[
        Literal["auto", "adaptive", "importance", "defensive", "refined", "annealed", "exact"] | None,
        _scoring(
            "--method",
            help="How log p(x) is found (default: as the model was fitted, usually auto): auto: exactly where that is "
            "cheap, else by as much work as each row needs; the others: that one alone.",
        ),
    ] = None
    tolerance: Annotated[
        float | None,
        _scoring(
            "--tolerance",
            help="Standard error of each row's log p(x) that auto works for, in nats (default: as fitted, 0.1); rows "
            "above it are flagged, whichever the method.",
        ),
    ] = None
    time_limit: Annotated[
        float | None,
        _scoring(
            "--time-limit",
            metavar="SECONDS",
            help="Take no row further after so long; those that did not get there are flagged.",
        ),
    ] = None
    n_steps: Annotated[int, _scoring("--n-steps", help="Temperatures of --method annealed.")] = 200
    n_chains: Annotated[int, _scoring("--n-chains", help="Chains a row where log p(x) is annealed.")] = 16

    def checked(self) -> dict[str, Any]:
        """Those that were given; those left out follow the model."""
        from tightbound.model.axes.parameters import MOST, MOST_CHAINS, check_number

        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        for name, flag, most, usual in (
            ("n_samples", "--n-importance-samples", MOST, "1000"),
            ("n_steps", "--n-steps", MOST_STEPS, "200"),
            ("n_chains", "--n-chains", MOST_CHAINS, "16"),
        ):
            if name in given:
                check_number(flag, given[name], 1, most, f"{usual} is usual")
        for name in {"tolerance", "time_limit"} & given.keys():
            if not given[name] > 0:
                flag = f"--{name.replace('_', '-')}"
                raise ValueError(f"{flag} must be above 0; got {given[name]:g}; leave it out for the default.")
        return given


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of its groups in place of these."""
    signature = inspect.signature(command)
    groups: dict[str, Any] = {
        p.name: p.annotation for p in signature.parameters.values() if dataclasses.is_dataclass(p.annotation)
    }

    @functools.wraps(command)
    def flat(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
        command(**given)

    def shown(parameter: inspect.Parameter) -> list[inspect.Parameter]:
        if parameter.name not in groups:
            return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
        return [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=_option(field)
            )
            for field in dataclasses.fields(groups[parameter.name])
        ]

    parameters = [each for parameter in signature.parameters.values() for each in shown(parameter)]
    flat.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return flat


def _option(field: Any) -> Any:
    """What typer makes an option of: the field's own words, or those of the parameter that it is."""
    if "parameter" not in field.metadata:
        return field.type
    each: Parameter = field.metadata["parameter"]
    kind: Any = list[str] if each.kind is list else each.kind
    shown, text = ("COLUMN" if each.kind is list else None), each.help
    words = AXES[field.name].words if field.name in AXES else each.choices
    if words:
        shown, text = ("MEMBER" if field.name in AXES else "WORD"), f"{text} One of {', '.join(words)}."
    return Annotated[
        kind | None if each.default is None else kind,
        typer.Option(
            f"--{field.name.replace('_', '-')}",
            help=text,
            metavar=shown,
            rich_help_panel=each.group or None,
            autocompletion=_beginning_with(words) if words else None,
        ),
    ]


def _beginning_with(words: Sequence[str]) -> Callable[[str], list[str]]:
    """What the shell offers for the beginning of a word."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete
