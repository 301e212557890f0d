"""What the commands do: read, fit or load, compute, write. Imported when a command runs, never for `--help`."""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from tightbound.data import Encoding, atomic_write, read_table, split, write_table
from tightbound.fitted import FittedModel
from tightbound.fitting import Checkpointing, Plan, fit_table, use_compilation_cache
from tightbound.overview import MOST_REPORTED_ROWS, Overview, overview
from tightbound.persistence import check_target, load_model, save_model
from tightbound.progress import FitProgress, RowProgress, duration
from tightbound.report import render

REPORT_FILE = "report.html"


def fit(
    *,
    data: str,
    output: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    validation: str | None,
    resume: bool,
    overwrite: bool,
    with_report: bool,
    as_json: bool,
    quiet: bool,
    settings: dict[str, Any],
) -> None:
    """Fit, save, report."""
    check_target(output, overwrite)
    checkpoint = Path(f"{output.rstrip('/')}.checkpoint")
    if checkpoint.exists() and not (resume or overwrite):
        raise ValueError(
            f"{checkpoint} holds an interrupted fit, which a new one would overwrite; "
            "add --resume to go on with it, or --overwrite to start again."
        )
    table = read_table(data, array=array, label=label, drop=tuple(drop))
    held_out = None if validation is None else read_table(validation, array=array, label=label, drop=tuple(drop))
    settings = {**settings, "hidden_sizes": _sizes(settings["hidden_sizes"])}
    seed = 0 if settings["random_state"] is None else settings["random_state"]
    with FitProgress(not quiet) as progress:

        def announce(plan: Plan, encoding: Encoding, messages: tuple[str, ...]) -> None:
            del encoding
            held = f", {len(plan.validation)} rows held out" if len(plan.validation) else ""
            progress.message(f"{table.source}: {table.n_rows} rows, {table.n_columns} columns{held}.")
            for message in messages:
                progress.message(message)

        model = fit_table(
            table,
            {name: value for name, value in settings.items() if name != "random_state"},
            seed=seed,
            validation=held_out,
            checkpointing=Checkpointing(checkpoint, resume),
            on_plan=announce,
            on_epoch=progress.epoch,
        )
    files = {}
    shown = overview(
        model,
        table,
        n_samples=int(settings["n_importance_samples"]),
        most_rows=MOST_REPORTED_ROWS,
        progress=not quiet,
    )
    if with_report:
        files[REPORT_FILE] = render(shown.content(f"{Path(output).name}: {table.source}")).encode()
    save_model(output, model, overwrite=overwrite, files=files)
    with contextlib.suppress(FileNotFoundError):
        checkpoint.unlink()
    if as_json:
        _print_json({"model": output, "seconds": model.summary.seconds, **_evaluation(shown)})
        return
    _print_overview(shown, f"{shown.evidence.n_rows} of the {table.n_rows} rows fitted")
    print(f"Fitted in {duration(model.summary.seconds)}. {model.summary.detail}")
    print(f"Saved {output}" + (f"; open {os.path.join(output, REPORT_FILE)}" if with_report else ""))


def evaluate(
    *,
    model: str,
    data: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    n_samples: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print one table of evidence."""
    fitted = _load(model)
    table = read_table(data, array=array, label=label, drop=tuple(drop))
    shown = overview(fitted, table, n_samples=_n_samples(fitted, n_samples), progress=not quiet)
    if as_json:
        _print_json(_evaluation(shown))
    else:
        _print_overview(shown, f"{table.source}, {table.n_rows} rows")


def score(
    *,
    model: str,
    data: str,
    output: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    n_samples: int | None,
    quiet: bool,
) -> None:
    """Write the evidence of every row."""
    fitted = _load(model)
    table = read_table(data, array=array, label=label, drop=tuple(drop))
    with RowProgress(not quiet, table.n_rows, "scoring") as progress:
        evidence = fitted.evidence(table, _n_samples(fitted, n_samples), on_progress=progress)
    columns = {
        "row": np.arange(table.n_rows),
        **{
            name: getattr(evidence, name)
            for name in ("log_evidence", "standard_error", "elbo", "elbo_standard_error", "ess", "khat")
        },
    }
    if Path(output).suffix == ".npy":  # one array of numbers has no place for words
        write_table(output, np.column_stack(list(columns.values())), names=list(columns))
    else:
        write_table(output, {**columns, "reliability": np.array([flag.name for flag in evidence.reliability])})


def encode(
    *, model: str, data: str, output: str, array: str | None, label: str | None, drop: Sequence[str], sd: bool
) -> None:
    """Write posterior means."""
    fitted = _load(model)
    latents = fitted.latents(read_table(data, array=array, label=label, drop=tuple(drop)))
    k = latents.mean.shape[1]
    names = [f"z{j}" for j in range(k)] + ([f"z{j}_sd" for j in range(k)] if sd else [])
    values = np.column_stack([latents.mean, latents.sd]) if sd else latents.mean
    write_table(output, values, names=names)


def reconstruct(
    *, model: str, data: str, output: str, array: str | None, label: str | None, drop: Sequence[str]
) -> None:
    """Write reconstructions in the columns of the data."""
    fitted = _load(model)
    values = fitted.reconstruct(read_table(data, array=array, label=label, drop=tuple(drop)))
    _write_like_data(output, fitted, values, rounded=False)


def sample(*, model: str, n: int, output: str, random_state: int | None) -> None:
    """Write draws from p(x)."""
    if n < 1:
        raise ValueError(f"--number must be a whole number of at least 1; got {n}; say how many rows to draw.")
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if random_state is None else random_state
    fitted = _load(model)
    values, _ = fitted.sample(n, seed)
    _write_like_data(output, fitted, values, rounded=True)


def report(
    *,
    model: str,
    data: str,
    output: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    n_samples: int | None,
    quiet: bool,
) -> None:
    """Write the page."""
    fitted = _load(model)
    table = read_table(data, array=array, label=label, drop=tuple(drop))
    shown = overview(
        fitted, table, n_samples=_n_samples(fitted, n_samples), most_rows=MOST_REPORTED_ROWS, progress=not quiet
    )
    page = render(shown.content(f"{Path(model).name}: {table.source}")).encode()
    atomic_write(output, lambda stream: _write(stream, page))
    print(f"Wrote {output}")


def info(*, model: str, as_json: bool) -> None:
    """Describe a saved model."""
    fitted = _load(model)
    summary, schema = fitted.summary, fitted.encoding.schema
    facts = {
        "fitted on": f"{summary.source}: {summary.n_train} training and {summary.n_validation} validation rows",
        "columns": len(schema.columns),
        "modelled columns": fitted.encoding.n_features,
        **fitted.specification.to_json(),
        "epochs": len(summary.history),
        "best epoch": summary.best_epoch,
        "seconds": round(summary.seconds, 1),
        "seed": summary.seed,
        "status": summary.detail,
        "messages": list(summary.messages),
    }
    if as_json:
        _print_json({**facts, "names": list(schema.names), "settings": summary.settings})
        return
    table = RichTable(title=model, show_header=False, title_justify="left")
    for name, value in facts.items():
        words = "\n".join(value) if isinstance(value, list) and name == "messages" else _words(value)
        table.add_row(name.replace("_", " "), words)
    Console().print(table, markup=False)


def demo(*, folder: str) -> None:
    """Fit digits, score held-out ones, write the report."""
    target = Path(folder) / "digits"
    check_target(target, overwrite=True)
    digits = read_table("digits")
    fitting_rows, held_out_rows = split(digits.n_rows, 0.2, 0)
    train, held_out = digits.take(fitting_rows), digits.take(held_out_rows)
    print(f"Fitting {train.n_rows} handwritten digits of 8x8 pixels; {held_out.n_rows} more are held out.")
    with FitProgress(True) as progress:
        model = fit_table(
            train,
            {"latent_dim": 10, "epochs": 200, "binarize": True},
            seed=0,
            on_plan=lambda plan, encoding, messages: progress.message(messages[0]),
            on_epoch=progress.epoch,
        )
    shown = overview(model, held_out, n_samples=1000, progress=True)
    shown = dataclasses.replace(shown, row_numbers=held_out_rows)
    page = render(shown.content("tightbound demo: handwritten digits")).encode()
    save_model(target, model, overwrite=True, files={REPORT_FILE: page})
    _print_overview(shown, f"{held_out.n_rows} digits held out from the fit")
    print(f"Fitted in {duration(model.summary.seconds)}. Saved {target}; open {target / REPORT_FILE}")


def _load(path: str) -> FittedModel:
    use_compilation_cache()
    return load_model(path)[0]


def _n_samples(model: FittedModel, given: int | None) -> int:
    return int(model.summary.settings["n_importance_samples"]) if given is None else given


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(
            f"--hidden-sizes must be whole numbers with commas between them; got {text!r}; 300,300,300 is usual."
        ) from None


def _write_like_data(output: str, model: FittedModel, values: np.ndarray, *, rounded: bool) -> None:
    schema = model.encoding.schema
    if Path(output).suffix in (".npy", ".npz"):
        write_table(output, model.encoding.give_back(values, container="numpy", rounded=rounded))
        return
    flat = model.encoding.give_back(values, container="polars", rounded=rounded)
    write_table(output, {name: flat[name].to_numpy() for name in schema.names})


def _evaluation(shown: Overview) -> dict[str, Any]:
    mean, elbo = shown.evidence.mean(), shown.evidence.mean_elbo()
    return {
        "rows": shown.evidence.n_rows,
        "unit": "nats a row, density in the data's units",
        "log_evidence": dataclasses.asdict(mean),
        "elbo": dataclasses.asdict(elbo),
        "n_importance_samples": shown.evidence.n_samples,
        "unreliable_rows": shown.evidence.n_unreliable,
        "active_units": int(shown.latents.active.sum()),
        "kl_per_dimension": shown.latents.kl_per_dimension.tolist(),
        "table": [dataclasses.asdict(row) for row in shown.evidence_rows()],
    }


def _print_overview(shown: Overview, title: str) -> None:
    table = RichTable(title=title, title_justify="left")
    for name, justify in (
        ("quantity", "left"),
        ("value", "right"),
        ("standard error", "right"),
        ("unit", "left"),
        ("kind", "left"),
        ("method", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in shown.evidence_rows():
        value = (
            f"{row.value:,.0f}"
            if row.kind == "count"
            else f"{row.value:,.4g}"
            if abs(row.value) < 1
            else f"{row.value:,.3f}"
        )
        error = "" if row.standard_error is None else f"{row.standard_error:.3g}"
        table.add_row(row.quantity, value, error, row.unit, row.kind, row.method)
    Console().print(table, markup=False)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    # JSON knows neither NaN nor infinity: they become null.
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _write(stream: Any, data: bytes) -> None:
    stream.write(data)


def _stderr(text: str) -> None:
    print(text, file=sys.stderr)
