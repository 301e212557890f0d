"""What several commands do: load, read, print, write."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tightbound.data import Table, read_table
from tightbound.estimator.checking import check_number
from tightbound.estimator.fit import prepare_compiler
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.folder import load_model

if TYPE_CHECKING:
    from tightbound.report.overview import Overview

REPORT_FILE = "report.html"


def load(path: str, refine: int = 0) -> FittedModel:
    """A saved model, with a q refined by so many steps (0: its own)."""
    prepare_compiler()
    fitted = load_model(path)[0]
    return fitted.refined(refine) if refine else fitted


def read(
    model: FittedModel,
    data: str,
    array: str | None,
    label: str | None,
    drop: Sequence[str],
    unseen: str = "error",
) -> Table:
    """Data for a fitted model: what was set aside from the data that it was fitted on is set aside here too."""
    encoding = model.encoding
    return read_table(
        data,
        array=array,
        label=label,
        drop=tuple(drop),
        known=encoding.aside,
        beside=encoding.given_names,
        schema=encoding.table_schema,
        unseen=unseen,
    )


def read_train(model: FittedModel, train: str | None, array: str | None) -> Table | None:
    """The rows that a model was fitted to, for what is fitted to the same rows."""
    return None if train is None else read(model, train, array, None, ())


def scoring_options(given: dict[str, Any]) -> dict[str, Any]:
    """The options of a scoring that were given; those left out follow the model."""
    for name, flag, usual in (
        ("n_samples", "--n-importance-samples", "1000"),
        ("n_steps", "--n-steps", "200"),
        ("n_chains", "--n-chains", "16"),
    ):
        if given[name] is not None:
            check_number(flag, given[name], 1, math.inf, f"{usual} is usual")
    for name in ("tolerance", "time_limit"):
        value = given[name]
        if value is not None and not value > 0:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} must be above 0; got {value:g}; leave it out for the default.")
    return {name: value for name, value in given.items() if value is not None}


def evaluation(shown: "Overview") -> dict[str, Any]:
    """An overview as plain values."""
    evidence, held_out = shown.evidence, shown.held_out
    return {
        "data": shown.table.source,
        "rows": evidence.n_rows,
        "unit": shown.unit(),
        "log_evidence": dataclasses.asdict(evidence.mean()),
        "held_out_log_evidence": None if held_out is None else dataclasses.asdict(held_out.mean()),
        "elbo": dataclasses.asdict(evidence.mean_elbo()),
        "method": evidence.how,
        "unreliable_rows": evidence.n_unreliable,
        "active_units": int(shown.latents.active.sum()),
        "kl_per_dimension": shown.latents.kl_per_dimension.tolist(),
        "table": [dataclasses.asdict(row) for row in shown.evidence_rows()],
        "health": [
            {**dataclasses.asdict(finding), "verdict": finding.verdict.name.lower()}
            for finding in (shown.examined.health.findings if shown.examined.health is not None else ())
        ],
        "conclusions": list(shown.conclusions()),
    }


def words_of(value: Any) -> str:
    """A value as a person writes it."""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
