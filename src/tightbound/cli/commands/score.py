"""`tightbound score`."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tightbound.cli.options import Data, Model, Output, Quiet, ReadOptions, Refine, ScoringOptions
from tightbound.cli.shared import load, say

if TYPE_CHECKING:
    from tightbound.evidence import Evidence

NUMBERS = ("log_evidence", "standard_error", "elbo", "elbo_standard_error", "ess", "khat", "n_samples", "work")


def score(
    model: Model,
    data: Data,
    reading: ReadOptions,
    scoring: ScoringOptions,
    output: Output = "-",
    refine: Refine = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a scoring that was interrupted.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again where an interrupted scoring lies.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write log p(x) of every row with standard error, ELBO, effective sample size, k-hat, method and reliability."""
    from tightbound.data import check_apart, check_place
    from tightbound.estimator.progress import WorkProgress
    from tightbound.estimator.resume import kept_scores, score_keeper, scoring_identity

    check_place(output)
    check_apart(output, {"DATA": data})
    options = scoring.checked()
    place = Path(f"{output}.partial")
    keeping = output != "-"
    if keeping and place.exists() and not (resume or overwrite):
        raise ValueError(
            f"{place} holds an interrupted scoring, which a new one would overwrite; add --resume to go on with it, or "
            "--overwrite to start again."
        )
    fitted = load(model, refine)
    table = reading.read_for(fitted, data)
    identity = scoring_identity(fitted, table, {name: o for name, o in options.items() if name != "time_limit"})
    partial = kept_scores(place, identity) if resume else None
    keeper = score_keeper(place, identity)
    with WorkProgress(not quiet) as progress, keeper if keeping else nullcontext():
        if partial is not None:
            progress.message(f"Going on from {place}: {partial.n_done:,} of {table.n_rows:,} rows have a number.")
        on_partial = keeper if keeping else None
        evidence = fitted.evidence(table, **options, partial=partial, on_partial=on_partial, on_progress=progress)
    _write(output, evidence)
    place.unlink(missing_ok=True)
    flagged = evidence.n_unreliable
    if flagged and not quiet:
        say(f"note: {flagged:,} of {table.n_rows:,} rows are flagged: see the column reliability.", error=True)


def _write(output: str, evidence: "Evidence") -> None:
    import numpy as np

    from tightbound.data import write_table

    columns = {"row": np.arange(evidence.n_rows), **{name: getattr(evidence, name) for name in NUMBERS}}
    if Path(output).suffix.lower() == ".npy":  # one array of numbers has no place for words
        write_table(output, np.column_stack(list(columns.values())), names=list(columns))
        return
    words = {
        "kind": [kind.value for kind in evidence.kind],
        "method": [method.value for method in evidence.method],
        "reliability": [flag.name for flag in evidence.reliability],
    }
    write_table(output, {**columns, **{name: np.array(values) for name, values in words.items()}})
