"""What was fitted, in words: the model, its settings, and what its log p(x) is measured in."""

from typing import Any

from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.formatting import plural
from tightbound.estimator.progress import duration
from tightbound.estimator.settings import PARAMETERS
from tightbound.model import axes

_CHOSEN = ("latent_dim", "likelihood", "prior")
"""What the data may decide on."""


def about(model: FittedModel) -> str:
    """What was fitted, to what, and how the fit ended, in two sentences."""
    spec, summary = model.specification, model.summary
    n_rows = summary.n_train + summary.n_validation
    held = f" ({summary.n_validation:,} of them held out for early stopping)" if summary.n_validation else ""
    members = axes.sentence(spec.likelihood, spec.prior, spec.posterior, spec.inference)
    return (
        f"A variational autoencoder with {plural(spec.latent_dim, 'latent dimension')}, {members}, "
        f"fitted to {n_rows:,} rows of {summary.source}{held} with "
        f"{plural(spec.n_features, 'modelled column')}, in {duration(summary.seconds)} "
        f"({plural(len(summary.history), 'epoch')}; the parameters of epoch {summary.best_epoch} are kept). "
        f"{summary.detail}"
    )


def unit_of(model: FittedModel) -> str:
    """What log p(x) of a model is measured in."""
    if model.encoding.discrete:
        return "nats a row, the log of a probability"
    return "nats a row, the log of a density in the data's units"


def settings_of(model: FittedModel) -> dict[str, str]:
    """The settings in words: what was left to the program to choose as it was chosen."""
    summary = model.summary
    given = {**{name: getattr(summary.settings, name) for name in PARAMETERS}, "random_state": summary.seed}
    return {name: _words(value, _chosen(model, name)) for name, value in given.items()}


def _chosen(model: FittedModel, name: str) -> Any:
    """What stood for a setting that was left open; None where nothing did."""
    summary = model.summary
    if name == "validation_fraction":
        return summary.n_validation / (summary.n_train + summary.n_validation)
    return getattr(model.specification, name) if name in _CHOSEN else summary.chosen.get(name)


def _words(value: Any, chosen: Any) -> str:
    if (value is None or str(value) == "auto") and chosen is not None:
        return f"{_words(chosen, None)} ({'by default' if value is None else value})"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
