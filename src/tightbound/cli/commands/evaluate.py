"""`tightbound evaluate`."""

from tightbound.cli.options import (
    MOST_ROWS,
    Checks,
    Data,
    Json,
    Model,
    MostRows,
    Quiet,
    ReadOptions,
    Refine,
    ScoringOptions,
    TrainOptions,
)
from tightbound.cli.shared import load, print_json, say


def evaluate(
    model: Model,
    data: Data,
    reading: ReadOptions,
    training: TrainOptions,
    scoring: ScoringOptions,
    checks: Checks = True,
    rows: MostRows = MOST_ROWS,
    refine: Refine = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how far to trust a model on DATA: log p(x) with its error, both sides, the gap in its parts, its health."""
    from tightbound.estimator.evaluate import CHECKS
    from tightbound.estimator.evaluate import evaluate as evaluate_model
    from tightbound.estimator.progress import WorkProgress

    options = scoring.checked()
    fitted = load(model, refine)
    with WorkProgress(not quiet) as progress:
        found = evaluate_model(
            fitted,
            reading.read_for(fitted, data),
            most_rows=rows,
            train=training.read_for(fitted),
            checks=CHECKS if checks else (),
            on_progress=progress,
            **options,
        )
    if as_json:
        print_json({"model": model, **found.to_json()})
    else:
        say(found)
