"""`tightbound axes`, which reads the registry of members."""

import textwrap
from typing import Annotated

import typer

from tightbound.cli.shared import say
from tightbound.model.axes import AXES, Axis, Member

WIDTH = 80


def axes(
    axis: Annotated[str | None, typer.Argument(metavar="AXIS", help="One axis (default: all, in a line each).")] = None,
) -> None:
    """List the choices that make a model, or the members of one of them, with their parameters."""
    if axis is not None and (axis := axis.replace("-", "_")) not in AXES:
        raise ValueError(f"AXIS must be one of {', '.join(AXES)}; got {axis!r}; leave it out to see them all.")
    say("\n\n".join(map(_summary, AXES.values())) if axis is None else _full(AXES[axis]))


def _summary(axis: Axis) -> str:
    return f"{_option(axis)}  {axis.question}\n{_filled(', '.join(axis.words), 4)}"


def _full(axis: Axis) -> str:
    return "\n\n".join([f"{_option(axis)}  {axis.question}", *map(_described, axis.members)])


def _option(axis: Axis) -> str:
    return f"--{axis.name.replace('_', '-')}"


def _described(kind: type[Member]) -> str:
    lines = [f"  {kind.word}", _filled(kind.sentence(), 4)]
    if kind.needs:
        lines.append(_filled(f"Goes with {kind.needs}.", 4))
    for name, each in kind.parameters().items():
        choices = f" ({', '.join(each.choices)})" if each.choices else ""
        lines.append(_filled(f"{name}={each.default}: {each.help}{choices}", 6))
    return "\n".join(lines)


def _filled(text: str, indent: int) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))
