"""What the commands do: read, fit or load, compute, write. Imported when a command runs, never for `--help`."""

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from tightbound.data import Encoding, Table, atomic_write, check_place, read_table, split, write_table
from tightbound.fitted import FittedModel
from tightbound.fitting import fit_table, use_compilation_cache
from tightbound.overview import MOST_REPORTED_ROWS, Overview, overview
from tightbound.persistence import check_target, load_model, save_model
from tightbound.planning import Plan
from tightbound.progress import FitProgress, RowProgress, duration
from tightbound.report import render
from tightbound.resuming import Checkpointing
from tightbound.settings import LARGEST_SEED, check_number, check_settings

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
    settings = {**settings, "hidden_sizes": _sizes(settings["hidden_sizes"])}
    check_settings(settings)
    checkpoint = Path(f"{output.rstrip('/')}.checkpoint")
    _check_free(output, checkpoint, resume, overwrite)
    table = read_table(data, array=array, label=label, drop=tuple(drop))
    held_out = None if validation is None else _read_validation(validation, array, label, drop, table)
    plans: list[Plan] = []
    with FitProgress(not quiet) as progress:

        def announce(plan: Plan, encoding: Encoding, messages: tuple[str, ...]) -> None:
            del encoding
            plans.append(plan)
            Path(output).parent.mkdir(parents=True, exist_ok=True)
            held = f", {len(plan.validation)} of them held out" if len(plan.validation) else ""
            progress.message(f"{table.source}: {table.n_columns} columns, {table.n_rows} rows{held}.")
            for message in messages:
                progress.message(message)

        model = fit_table(
            table,
            {name: value for name, value in settings.items() if name != "random_state"},
            seed=settings["random_state"] or 0,
            validation=held_out,
            checkpointing=Checkpointing(checkpoint, resume),
            on_plan=announce,
            on_epoch=progress.epoch,
        )
    if held_out is None and len(plans[0].validation):
        held_out = table.take(plans[0].validation)
    shown = overview(
        model,
        table,
        n_samples=int(settings["n_importance_samples"]),
        most_rows=MOST_REPORTED_ROWS,
        held_out=held_out,
        progress=not quiet,
    )
    page = {REPORT_FILE: render(shown.content(f"{Path(output).name}: {table.source}")).encode()} if with_report else {}
    save_model(output, model, overwrite=overwrite, files=page)
    checkpoint.unlink(missing_ok=True)
    if as_json:
        _print_json({"model": output, "seconds": model.summary.seconds, **_evaluation(shown)})
    else:
        print(f"{shown}\n\nFitted in {duration(model.summary.seconds)}. {model.summary.detail}")
        print(f"Saved {output}" + (f"; open {os.path.join(output, REPORT_FILE)}" if with_report else ""))


def _check_free(output: str, checkpoint: Path, resume: bool, overwrite: bool) -> None:
    """Refuse, before the work, a place where something would be lost."""
    if resume and not checkpoint.exists() and Path(output).exists():
        raise ValueError(
            f"--resume must find an interrupted fit, but there is no {checkpoint} and {output} exists: that fit has "
            "ended; use it as it is, or choose another name."
        )
    check_target(output, overwrite)
    if checkpoint.exists() and not (resume or overwrite):
        raise ValueError(
            f"{checkpoint} holds an interrupted fit, which a new one would overwrite; "
            "add --resume to go on with it, or --overwrite to start again."
        )


def _read_validation(path: str, array: str | None, label: str | None, drop: Sequence[str], fitted: Table) -> Table:
    if fitted.named:  # what was set aside there need not be here
        return read_table(path, array=array, known=fitted.aside)
    return read_table(path, array=array, label=label, drop=tuple(drop))


def evaluate(
    *,
    model: str,
    data: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    n_samples: int | None,
    refine: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print one table of evidence."""
    fitted = _load(model, refine)
    table = _read(fitted, data, array, label, drop)
    shown = overview(fitted, table, n_samples=_n_samples(fitted, n_samples), progress=not quiet)
    if as_json:
        _print_json({"model": model, **_evaluation(shown)})
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
    n_samples: int | None,
    refine: int,
    quiet: bool,
) -> None:
    """Write the evidence of every row."""
    check_place(output)
    fitted = _load(model, refine)
    table = _read(fitted, data, array, label, drop)
    with RowProgress(not quiet, table.n_rows, "scoring") as progress:
        evidence = fitted.evidence(table, _n_samples(fitted, n_samples), on_progress=progress)
    columns = {
        "row": np.arange(table.n_rows),
        **{
            name: getattr(evidence, name)
            for name in ("log_evidence", "standard_error", "elbo", "elbo_standard_error", "ess", "khat")
        },
    }
    if Path(output).suffix.lower() == ".npy":  # one array of numbers has no place for words
        write_table(output, np.column_stack(list(columns.values())), names=list(columns))
    else:
        write_table(output, {**columns, "reliability": np.array([flag.name for flag in evidence.reliability])})


def encode(
    *,
    model: str,
    data: str,
    output: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    sd: bool,
    refine: int,
) -> None:
    """Write posterior means."""
    check_place(output)
    fitted = _load(model, refine)
    latents = fitted.latents(_read(fitted, data, array, label, drop))
    k = latents.mean.shape[1]
    names = [f"z{j}" for j in range(k)] + ([f"z{j}_sd" for j in range(k)] if sd else [])
    values = np.column_stack([latents.mean, latents.sd]) if sd else latents.mean
    write_table(output, values, names=names)


def reconstruct(
    *, model: str, data: str, output: str, array: str | None, label: str | None, drop: Sequence[str], refine: int
) -> None:
    """Write reconstructions in the columns of the data."""
    check_place(output)
    fitted = _load(model, refine)
    values = fitted.reconstruct(_read(fitted, data, array, label, drop))
    _write_like_data(output, fitted, values, rounded=False)


def sample(*, model: str, n: int, output: str, random_state: int | None) -> None:
    """Write draws from p(x)."""
    check_number("--number", n, 1, math.inf, "say how many rows to draw")
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if random_state is None else random_state
    check_number("--random-state", seed, 0, LARGEST_SEED, "0 is usual")
    check_place(output)
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
    check_place(output, (".html", ".htm"))
    fitted = _load(model)
    table = _read(fitted, data, array, label, drop)
    shown = overview(
        fitted, table, n_samples=_n_samples(fitted, n_samples), most_rows=MOST_REPORTED_ROWS, progress=not quiet
    )
    page = render(shown.content(f"{Path(model).name}: {table.source}")).encode()
    atomic_write(output, lambda stream: _write(stream, page))
    print(f"Wrote {output}")


def info(*, model: str, as_json: bool) -> None:
    """Describe a saved model."""
    fitted = _load(model)
    summary, schema, spec = fitted.summary, fitted.encoding.schema, fitted.specification
    aside = [name for name in (schema.aside.label, *schema.aside.dropped) if name is not None]
    facts: dict[str, Any] = {
        "fitted_on": f"{summary.source}: {summary.n_train} training and {summary.n_validation} validation rows",
        "columns": len(schema.columns),
        "modelled_columns": spec.n_features,
        "columns_set_aside": aside,
        **{name: value for name, value in spec.to_json().items() if name not in ("n_features", "mask_input")},
        "epochs": len(summary.history),
        "best_epoch": summary.best_epoch,
        "seconds": round(summary.seconds, 1),
        "random_state": summary.seed,
        "status": summary.detail,
        "messages": list(summary.messages),
    }
    if as_json:
        _print_json({**facts, "names": list(schema.names), "settings": summary.settings})
        return
    table = RichTable(title=model, title_justify="left", title_style="bold", show_header=False, box=None)
    for name, value in facts.items():
        words = "\n".join(value) if name == "messages" else _words(value)
        table.add_row(name.replace("_", " "), words or "none")
    console = Console()
    with console.capture() as text:  # rich would end the program with status 1 when nobody reads on
        console.print(table, markup=False)
    print(text.get(), end="")


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
    print(f"{shown}\n\nFitted in {duration(model.summary.seconds)}. Saved {target}; open {target / REPORT_FILE}")


def _load(path: str, refine: int = 0) -> FittedModel:
    use_compilation_cache()
    fitted = load_model(path)[0]
    return fitted.refined(refine) if refine else fitted


def _read(model: FittedModel, data: str, array: str | None, label: str | None, drop: Sequence[str]) -> Table:
    """Data for a fitted model: what was set aside from the data that it was fitted on is set aside here too."""
    return read_table(data, array=array, label=label, drop=tuple(drop), known=model.encoding.schema.aside)


def _n_samples(model: FittedModel, given: int | None) -> int:
    if given is None:
        return int(model.summary.settings["n_importance_samples"])
    check_number("--n-importance-samples", given, 1, math.inf, "1000 is usual")
    return given


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
    if Path(output).suffix.lower() in (".npy", ".npz"):
        write_table(output, model.encoding.give_back(values, container="numpy", rounded=rounded))
        return
    flat = model.encoding.give_back(values, container="polars", rounded=rounded)
    write_table(output, {name: flat[name].to_numpy() for name in schema.names})


def _evaluation(shown: Overview) -> dict[str, Any]:
    evidence, held_out = shown.evidence, shown.held_out
    return {
        "data": shown.table.source,
        "rows": evidence.n_rows,
        "unit": shown.unit(),
        "log_evidence": dataclasses.asdict(evidence.mean()),
        "held_out_log_evidence": None if held_out is None else dataclasses.asdict(held_out.mean()),
        "elbo": dataclasses.asdict(evidence.mean_elbo()),
        "n_importance_samples": evidence.n_samples,
        "unreliable_rows": evidence.n_unreliable,
        "active_units": int(shown.latents.active.sum()),
        "kl_per_dimension": shown.latents.kl_per_dimension.tolist(),
        "table": [dataclasses.asdict(row) for row in shown.evidence_rows()],
    }


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
