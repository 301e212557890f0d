"""Use a fitted model: `encode`, `reconstruct`, `sample`, `info`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from tightbound.cli.commands.printing import print_json
from tightbound.cli.commands.shared import load, read, words_of
from tightbound.data import check_place, write_polars, write_table
from tightbound.estimator.checking import check_number
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.given import sample_given
from tightbound.estimator.settings import LARGEST_SEED


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
    fitted = load(model, refine)
    latents = fitted.latents(read(fitted, data, array, label, drop))
    k = latents.mean.shape[1]
    names = [f"z{j}" for j in range(k)] + ([f"z{j}_sd" for j in range(k)] if sd else [])
    values = np.column_stack([latents.mean, latents.sd]) if sd else latents.mean
    write_table(output, values, names=names)


def reconstruct(
    *, model: str, data: str, output: str, array: str | None, label: str | None, drop: Sequence[str], refine: int
) -> None:
    """Write reconstructions in the columns of the data."""
    check_place(output)
    fitted = load(model, refine)
    values = fitted.reconstruct(read(fitted, data, array, label, drop))
    _write_like_data(output, fitted, values, rounded=False)


def sample(*, model: str, n: int, output: str, random_state: int | None, given: Sequence[str]) -> None:
    """Write draws from p(x), or from p(x | what is given)."""
    check_number("--number", n, 1, math.inf, "say how many rows to draw")
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if random_state is None else random_state
    check_number("--random-state", seed, 0, LARGEST_SEED, "0 is usual")
    check_place(output)
    fitted = load(model)
    if given:
        values = sample_given(fitted, n, _parsed(given), seed)
        _write_frame_of(output, fitted, fitted.encoding.give_back(values, rounded=True))
        return
    values, _ = fitted.sample(n, seed)
    _write_like_data(output, fitted, values, rounded=True)


def _parsed(given: Sequence[str]) -> dict[str, Any]:
    """name=value, name=low..high (either end may be left out), name=a|b|c."""
    found: dict[str, Any] = {}
    for each in given:
        name, mark, text = each.partition("=")
        if not mark or not name.strip() or not text.strip():
            raise ValueError(
                f"--given must be name=value, name=low..high or name=a|b; got {each!r}; write --given age=40, say."
            )
        name, text = name.strip(), text.strip()
        if name in found:
            raise ValueError(f"--given must name each column once; got {name!r} twice; put both into one set or range.")
        low, dots, high = text.partition("..")
        if dots:
            found[name] = (low.strip() or None, high.strip() or None)
        else:
            found[name] = [part.strip() for part in text.split("|")] if "|" in text else text
    return found


def info(*, model: str, as_json: bool) -> None:
    """Describe a saved model."""
    fitted = load(model)
    summary, encoding, spec = fitted.summary, fitted.encoding, fitted.specification
    aside = [name for name in (encoding.aside.label, *encoding.aside.dropped) if name is not None]
    facts: dict[str, Any] = {
        "fitted_on": f"{summary.source}: {summary.n_train} training and {summary.n_validation} validation rows",
        "columns": len(encoding.names),
        "modelled_columns": spec.n_features,
        "columns_set_aside": aside,
        **{
            name: value for name, value in spec.to_json().items() if name not in ("n_features", "mask_input", "columns")
        },
        "epochs": len(summary.history),
        "best_epoch": summary.best_epoch,
        "seconds": round(summary.seconds, 1),
        "random_state": summary.seed,
        "status": summary.detail,
        "messages": list(summary.messages),
    }
    if as_json:
        print_json({**facts, "names": list(encoding.names), "settings": summary.settings})
        return
    table = RichTable(title=model, title_justify="left", title_style="bold", show_header=False, box=None)
    for name, value in facts.items():
        words = "\n".join(value) if name == "messages" else words_of(value)
        table.add_row(name.replace("_", " "), words or "none")
    console = Console()
    with console.capture() as text:  # rich would end the program with status 1 when nobody reads on
        console.print(table, markup=False)
    print(text.get(), end="")


def _write_like_data(output: str, model: FittedModel, values: np.ndarray, *, rounded: bool) -> None:
    if model.specification.columns:
        _write_frame_of(output, model, model.encoding.give_back(values, container="polars"))
        return
    schema: Any = model.encoding.schema
    if Path(output).suffix.lower() in (".npy", ".npz"):
        write_table(output, model.encoding.give_back(values, container="numpy", rounded=rounded))
        return
    flat = model.encoding.give_back(values, container="polars", rounded=rounded)
    write_table(output, {name: flat[name].to_numpy() for name in schema.names})


def _write_frame_of(output: str, model: FittedModel, frame: Any) -> None:
    """Rows in the columns of the data, whatever they came in."""
    import narwhals as nw
    import polars as pl

    if isinstance(frame, np.ndarray):
        write_table(output, frame, names=model.encoding.names)
        return
    native = nw.from_native(frame)
    numbers = all(native[name].dtype.is_numeric() for name in native.columns)
    if numbers and Path(output).suffix.lower() in (".npy", ".npz"):
        write_table(output, native.to_numpy(), names=model.encoding.names)
        return
    own = native.to_native()
    write_polars(output, own if native.implementation.is_polars() else pl.from_pandas(own))
