"""`tightbound report`."""

from pathlib import Path

from tightbound.cli.options import (
    MOST_ROWS,
    Checks,
    Data,
    Model,
    Page,
    Quiet,
    ReadOptions,
    ScoringOptions,
    TrainOptions,
)
from tightbound.cli.shared import PAGES, load, say, write_bytes


def report(
    model: Model,
    data: Data,
    reading: ReadOptions,
    training: TrainOptions,
    scoring: ScoringOptions,
    output: Page = "report.html",
    checks: Checks = True,
    quiet: Quiet = False,
) -> None:
    """Write the report of a model on DATA: one self-contained HTML page of tables and pictures."""
    from tightbound.data import check_apart, check_place
    from tightbound.estimator.evaluate import CHECKS, evaluate
    from tightbound.estimator.progress import WorkProgress
    from tightbound.report import render

    check_place(output, PAGES)
    check_apart(output, {"DATA": data, "the data of --train": training.train})
    options = scoring.checked()
    fitted = load(model)
    table = reading.read_for(fitted, data)
    with WorkProgress(not quiet) as progress:
        found = evaluate(
            fitted,
            table,
            most_rows=MOST_ROWS,
            train=training.read_for(fitted),
            checks=CHECKS if checks else (),
            pictures=True,
            on_progress=progress,
            **options,
        )
    write_bytes(output, render(found, f"{Path(model).name}: {table.source}").encode())
    say(f"Wrote {output}")
