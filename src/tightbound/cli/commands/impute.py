"""`tightbound impute`."""

from typing import TYPE_CHECKING, Annotated

import typer

from tightbound.cli.options import Data, Model, Output, Quiet, ReadOptions, Seed
from tightbound.cli.shared import ARRAYS, load, say
from tightbound.model.axes.parameters import MOST_DRAWS

if TYPE_CHECKING:
    from tightbound.data import Table
    from tightbound.estimator.fitted import FittedModel
    from tightbound.estimator.imputation import Imputation


def impute(
    model: Model,
    data: Data,
    reading: ReadOptions,
    output: Output = "-",
    draws: Annotated[
        int,
        typer.Option(
            "--draws", min=0, max=MOST_DRAWS, help="Write so many equally likely completions, one below the other."
        ),
    ] = 0,
    interval: Annotated[
        float | None,
        typer.Option("--interval", help="Add columns with the ends of intervals of this probability, such as 0.9."),
    ] = None,
    random_state: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Fill in the missing cells of DATA; observed cells are written as they stand."""
    from tightbound.data import check_apart, check_place
    from tightbound.estimator.imputation import impute
    from tightbound.estimator.progress import WorkProgress
    from tightbound.estimator.settings import LARGEST_SEED
    from tightbound.model.axes.parameters import check_number

    check_place(output)
    check_apart(output, {"DATA": data})
    check_number("--random-state", random_state, 0, LARGEST_SEED, "0 is usual")
    fitted = load(model)
    table = reading.read_for(fitted, data)
    with WorkProgress(not quiet and output != "-") as progress:
        found = impute(fitted, table, n_draws=draws or None, interval=interval, seed=random_state, on_progress=progress)
    _write(output, fitted, table, found, data)
    if output == "-":
        return
    say(f"Filled in {found.n_cells:,} cells of {len(found.khat):,} rows; wrote {output}.")
    poor = int((found.khat > 0.7).sum())
    if poor:
        say(f"{poor:,} of these rows have unreliable weights (k-hat above 0.7): q is far from their posterior.")


def _write(output: str, model: "FittedModel", table: "Table", found: "Imputation", data: str) -> None:
    import numpy as np

    from tightbound.data import DataError, filled_text, write_frame, write_table

    if output.lower().endswith(ARRAYS):
        if model.specification.columns:
            raise DataError(f"{output} must be a table for columns of several kinds; it is an array; write .csv.")
        values = np.stack([np.asarray(each) for each in found.draws]) if found.draws else np.asarray(found.values)
        write_table(output, values)
        return
    frames = [filled_text(frame, table, data) for frame in found.draws or (found.values,)]
    ends = {"lower": found.lower, "upper": found.upper} if found.interval is not None else {}
    write_frame(output, frames, numbered="draw" if found.draws else None, beside=ends)
