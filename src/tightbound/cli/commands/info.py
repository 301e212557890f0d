"""`tightbound info`."""

from typing import TYPE_CHECKING, Any

from tightbound.cli.options import Json, Model
from tightbound.cli.shared import load, print_json
from tightbound.estimator.visible import visible

if TYPE_CHECKING:
    from tightbound.estimator.fitted import FittedModel


def info(model: Model, as_json: Json = False) -> None:
    """Say what a saved model is: what it was fitted on, how, and how that went."""
    from rich.console import Console
    from rich.table import Table

    fitted = load(model)
    facts = _facts(fitted)
    if as_json:
        print_json({**facts, "names": list(fitted.encoding.names), "settings": fitted.summary.settings.to_json()})
        return
    table = Table(title=visible(model), title_justify="left", title_style="bold", show_header=False, box=None)
    for name, value in {**facts, **_members(fitted)}.items():
        table.add_row(name.replace("_", " "), visible(_words(value, "\n" if name == "messages" else ", ") or "none"))
    console = Console()
    with console.capture() as text:  # rich would end the program with status 1 when nobody reads on
        console.print(table, markup=False)
    print(text.get(), end="")


def _facts(fitted: "FittedModel") -> dict[str, Any]:
    summary, encoding, spec = fitted.summary, fitted.encoding, fitted.specification
    said_elsewhere = ("n_features", "mask_input", "columns")
    return {
        "fitted_on": f"{summary.source}: {summary.n_train} training and {summary.n_validation} validation rows",
        "columns": len(encoding.names),
        "modelled_columns": spec.n_features,
        "columns_set_aside": [name for name in (encoding.aside.label, *encoding.aside.dropped) if name is not None],
        **{name: value for name, value in spec.to_json().items() if name not in said_elsewhere},
        "epochs": len(summary.history),
        "best_epoch": summary.best_epoch,
        "seconds": round(summary.seconds, 1),
        "random_state": summary.seed,
        "status": summary.detail,
        "messages": list(summary.messages),
    }


def _members(fitted: "FittedModel") -> dict[str, str]:
    """The choice on each axis, as the word that makes it."""
    from tightbound.model.building import AXES

    return {axis: str(getattr(fitted.specification, axis)) for axis in AXES}


def _words(value: Any, between: str) -> str:
    """A value as a person writes it; "" for none."""
    if value is None:
        return ""
    return between.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
