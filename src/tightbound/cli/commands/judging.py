"""How far to trust a model: `evaluate`, `score`, `compare`, `report`."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tightbound.cli.commands.printing import print_json, put
from tightbound.cli.commands.shared import evaluation, load, read, read_train, scoring_options
from tightbound.data import atomic_write, check_place, write_table
from tightbound.estimator.evaluation import CHECKS, check_comparable, examination, simple_scores
from tightbound.estimator.progress import WorkProgress
from tightbound.estimator.score_file import ScoreKeeper, done_rows, read_scores, scoring_identity
from tightbound.evidence import Comparison, Evidence
from tightbound.evidence import compare as compare_evidence
from tightbound.report import exhibits, render, render_comparison
from tightbound.report.overview import MOST_REPORTED_ROWS, overview, unit_of


def evaluate(
    *,
    model: str,
    data: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    train: str | None,
    train_array: str | None,
    checks: bool,
    scoring: dict[str, Any],
    rows: int,
    refine: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print one table of evidence, and what to do."""
    options = scoring_options(scoring)
    fitted = load(model, refine)
    table = read(fitted, data, array, label, drop)
    shown = overview(
        fitted,
        table,
        most_rows=rows,
        train=read_train(fitted, train, train_array),
        checks=CHECKS if checks else (),
        progress=not quiet,
        **options,
    )
    if as_json:
        print_json({"model": model, **evaluation(shown)})
    else:
        print(shown)


def score(
    *,
    model: str,
    data: str,
    output: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    scoring: dict[str, Any],
    refine: int,
    resume: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Write the evidence of every row."""
    check_place(output)
    options = scoring_options(scoring)
    place = Path(f"{output}.partial")
    keeping = output != "-"
    if keeping and place.exists() and not (resume or overwrite):
        raise ValueError(
            f"{place} holds an interrupted scoring, which a new one would overwrite; add --resume to go on with it, or "
            "--overwrite to start again."
        )
    fitted = load(model, refine)
    table = read(fitted, data, array, label, drop)
    identity = scoring_identity(fitted, table, {name: o for name, o in options.items() if name != "time_limit"})
    partial = read_scores(place, identity) if resume else None
    with WorkProgress(not quiet) as progress, ScoreKeeper(place, identity) as keeper:
        if partial is not None:
            progress.message(f"Going on from {place}: {done_rows(partial):,} of {table.n_rows:,} rows have a number.")
        on_partial = keeper if keeping else None
        evidence = fitted.evidence(table, **options, partial=partial, on_partial=on_partial, on_progress=progress)
    _write_scores(output, evidence)
    place.unlink(missing_ok=True)
    flagged = evidence.n_unreliable
    if flagged and not quiet:
        print(f"note: {flagged:,} of {table.n_rows:,} rows are flagged: see the column reliability.", file=sys.stderr)


def _write_scores(output: str, evidence: Evidence) -> None:
    names = ("log_evidence", "standard_error", "elbo", "elbo_standard_error", "ess", "khat", "n_samples", "work")
    columns = {"row": np.arange(evidence.n_rows), **{name: getattr(evidence, name) for name in names}}
    if Path(output).suffix.lower() == ".npy":  # one array of numbers has no place for words
        write_table(output, np.column_stack(list(columns.values())), names=list(columns))
        return
    words = {
        "kind": [kind.value for kind in evidence.kind],
        "method": [method.value for method in evidence.method],
        "reliability": [flag.name for flag in evidence.reliability],
    }
    write_table(output, {**columns, **{name: np.array(values) for name, values in words.items()}})


def compare(
    *,
    models: Sequence[str],
    data: str,
    output: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    train: str | None,
    train_array: str | None,
    scoring: dict[str, Any],
    as_json: bool,
    quiet: bool,
) -> None:
    """Score the same rows with several models, print their paired differences, write a page."""
    check_place(output, (".html", ".htm"))
    options = scoring_options(scoring)
    names = _names_of(models)
    fitted = [load(model) for model in models]
    tables = [read(model, data, array, label, drop) for model in fitted]
    check_comparable(names, fitted)
    scores: dict[str, Any] = {}
    with WorkProgress(not quiet) as progress:
        for name, model, table in zip(names, fitted, tables, strict=True):
            scores[name] = model.evidence(
                table, **options, on_progress=lambda words, *so_far, of=name: progress(f"{of}: {words}", *so_far)
            )
        if train is not None:
            rows = read_train(fitted[0], train, train_array)
            found = examination(
                fitted[0], tables[0], scores[names[0]], train=rows, checks=("baselines",), on_progress=progress
            )
            scores |= simple_scores(found)
    ranked = compare_evidence(scores)
    unit = unit_of(fitted[0])
    summary = f"{len(names)} models on the same {ranked.n_rows:,} rows of {tables[0].source}; log p(x) is in {unit}."
    page = render_comparison(exhibits.comparison(ranked, title="Comparison of models", summary=summary, unit=unit))
    atomic_write(output, lambda stream: put(stream, page.encode()))
    if as_json:
        print_json(_compared(ranked))
        return
    print(f"{ranked}\n")
    for each in ranked.differences():
        if each.name != each.reference:
            print(each)
    print(f"Wrote {output}")


def _names_of(models: Sequence[str]) -> list[str]:
    """Short names of models: the folder's own, or the whole path where two are alike."""
    if len(models) < 2:
        raise ValueError(f"compare must be given at least two models and the data; got {len(models)}; name another.")
    short = [Path(model).name for model in models]
    names = short if len(set(short)) == len(short) else [str(model) for model in models]
    if len(set(names)) < len(names):
        raise ValueError(f"compare must be given different models; got {names[0]} twice; name each once.")
    return names


def _compared(ranked: Comparison) -> dict[str, Any]:
    return {
        "rows": ranked.n_rows,
        "models": {name: dataclasses.asdict(ranked.mean(name)) for name in ranked.names},
        "best": ranked.names[ranked.best],
        "differences": [
            {**dataclasses.asdict(each), "verdict": each.verdict.name.lower()} for each in ranked.differences()
        ],
    }


def report(
    *,
    model: str,
    data: str,
    output: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    train: str | None,
    train_array: str | None,
    checks: bool,
    scoring: dict[str, Any],
    quiet: bool,
) -> None:
    """Write the page."""
    check_place(output, (".html", ".htm"))
    options = scoring_options(scoring)
    fitted = load(model)
    table = read(fitted, data, array, label, drop)
    shown = overview(
        fitted,
        table,
        most_rows=MOST_REPORTED_ROWS,
        train=read_train(fitted, train, train_array),
        checks=CHECKS if checks else (),
        progress=not quiet,
        **options,
    )
    page = render(shown.content(f"{Path(model).name}: {table.source}")).encode()
    atomic_write(output, lambda stream: put(stream, page))
    print(f"Wrote {output}")
