"""`tightbound compare`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tightbound.cli.options import Json, Page, Quiet, ReadOptions, ScoringOptions, TrainOptions
from tightbound.cli.shared import PAGES, load, print_json, say, write_bytes

if TYPE_CHECKING:
    from tightbound.evidence import Comparison


def compare(
    models_and_data: Annotated[
        list[str], typer.Argument(metavar="MODEL... DATA", help="The folders of two or more models, then the data.")
    ],
    reading: ReadOptions,
    training: TrainOptions,
    scoring: ScoringOptions,
    output: Page = "comparison.html",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare models on the same rows: paired differences of log p(x), and which of them are within the errors."""
    from tightbound import evidence
    from tightbound.data import check_apart, check_place
    from tightbound.estimator.description import unit_of
    from tightbound.estimator.evaluate import simple_scores
    from tightbound.estimator.progress import WorkProgress
    from tightbound.evidence.result import check_same
    from tightbound.report import render_comparison

    *models, data = models_and_data
    check_place(output, PAGES)
    check_apart(output, {"DATA": data, "the data of --train": training.train})
    options = scoring.checked()
    names = _names_of(models)
    fitted = [load(model) for model in models]
    tables = [reading.read_for(model, data) for model in fitted]
    check_same({name: model.measure for name, model in zip(names, fitted, strict=True)})
    scores: dict[str, Any] = {}
    with WorkProgress(not quiet) as progress:
        for name, model, table in zip(names, fitted, tables, strict=True):
            scores[name] = model.evidence(
                table, **options, on_progress=lambda words, *so_far, of=name: progress(f"{of}: {words}", *so_far)
            )
        rows = training.read_for(fitted[0])
        if rows is not None:
            scores |= simple_scores(fitted[0], tables[0], rows, on_progress=progress)
    ranked = evidence.compare(scores)
    unit = unit_of(fitted[0])
    summary = f"{len(names)} models on the same {ranked.n_rows:,} rows of {tables[0].source}; log p(x) is in {unit}."
    page = render_comparison(ranked, title="Comparison of models", summary=summary, unit=unit)
    write_bytes(output, page.encode())
    if as_json:
        print_json(_as_json(ranked))
        return
    say(f"{ranked}\n")
    for each in ranked.differences():
        if each.name != each.reference:
            say(each)
    say(f"Wrote {output}")


def _names_of(models: Sequence[str]) -> list[str]:
    """Short names of models: the folder's own, or the whole path where two are alike."""
    if len(models) < 2:
        raise ValueError(f"compare must be given at least two models and the data; got {len(models)}; name another.")
    short = [Path(model).name for model in models]
    names = short if len(set(short)) == len(short) else [str(model) for model in models]
    if len(set(names)) < len(names):
        raise ValueError(f"compare must be given different models; got {names[0]} twice; name each once.")
    return names


def _as_json(ranked: "Comparison") -> dict[str, Any]:
    return {
        "rows": ranked.n_rows,
        "models": {name: dataclasses.asdict(ranked.mean(name)) for name in ranked.names},
        "best": ranked.names[ranked.best],
        "differences": [
            {**dataclasses.asdict(each), "verdict": each.verdict.name.lower()} for each in ranked.differences()
        ],
    }
