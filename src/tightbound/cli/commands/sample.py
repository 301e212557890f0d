"""`tightbound sample`."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from tightbound.cli.options import Model, Output
from tightbound.cli.shared import load, write_frame, write_like_data


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

    from tightbound.data import check_place
    from tightbound.estimator.given import sample_given
    from tightbound.estimator.settings import LARGEST_SEED
    from tightbound.model.axes.parameters import check_number

    check_number("--number", n, 1, math.inf, "say how many rows to draw")
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if random_state is None else random_state
    check_number("--random-state", seed, 0, LARGEST_SEED, "0 is usual")
    check_place(output)
    fitted = load(model)
    if given:
        values = sample_given(fitted, n, _parsed(given), seed)
        write_frame(output, fitted, fitted.encoding.give_back(values, rounded=True))
        return
    values, _ = fitted.sample(n, seed)
    write_like_data(output, fitted, values, rounded=True)


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
