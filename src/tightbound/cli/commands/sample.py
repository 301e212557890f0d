"""`tightbound sample`."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from tightbound.cli.options import Model, Output
from tightbound.cli.shared import load, write_frame, write_like_data

AT_ONCE = 100_000
"""Rows that are held in memory; more are written as they are drawn."""


def sample(
    model: Model,
    n: Annotated[int, typer.Option("--number", "-n", help="How many rows to draw.")] = 10,
    output: Output = "-",
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
    import numpy as np

    from tightbound.data import check_place, write_pieces
    from tightbound.estimator.given import sample_given
    from tightbound.estimator.settings import LARGEST_SEED
    from tightbound.model.axes.parameters import MOST, MOST_ROWS, check_number

    check_number("--number", n, 1, MOST if given else MOST_ROWS, "say how many rows to draw")
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if random_state is None else random_state
    check_number("--random-state", seed, 0, LARGEST_SEED, "0 is usual")
    check_place(output)
    fitted = load(model)
    if given:
        values = sample_given(fitted, n, _parsed(given), seed)
        write_frame(output, fitted, fitted.encoding.give_back(values, rounded=True))
        return
    if n <= AT_ONCE:
        write_like_data(output, fitted, fitted.sample(n, seed)[0], rounded=True)
        return
    starts = range(0, n, AT_ONCE)
    pieces = (fitted.sample(min(AT_ONCE, n - start), seed, first=start)[0] for start in starts)
    write_pieces(output, (fitted.encoding.give_back(piece, container="polars", rounded=True) for piece in pieces))


def _parsed(given: Sequence[str]) -> dict[str, Any]:
    """name=value, name=low..high (either end may be left out), name=a|b|c."""
    found: dict[str, Any] = {}
    for each in given:
        name, mark, text = (part.strip() for part in each.partition("="))
        if not (mark and name and text):
            raise ValueError(
                f"--given must be name=value, name=low..high or name=a|b; got {each!r}; write --given age=40, say."
            )
        if name in found:
            raise ValueError(f"--given must name each column once; got {name!r} twice; put both into one set or range.")
        low, dots, high = text.partition("..")
        if dots:
            found[name] = (low.strip() or None, high.strip() or None)
        else:
            found[name] = [part.strip() for part in text.split("|")] if "|" in text else text
    return found
