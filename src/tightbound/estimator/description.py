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
    """The settings in words: what was left to the program to choose as it was chosen, where the model says so."""
    spec, settings = model.specification, model.summary.settings
    given = {**{name: getattr(settings, name) for name in PARAMETERS}, "random_state": model.summary.seed}
    return {
        name: f"{_words(getattr(spec, name))} ({_words(value)})"
        if (value is None or str(value) == "auto") and name in _CHOSEN
        else _words(value)
        for name, value in given.items()
    }


def _words(value: Any) -> str:
    if value is None:
        return "default"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
