"""Saved models as estimators."""

import os
from typing import Any

from tightbound.estimator.folder import load_model
from tightbound.estimator.settings import PARAMETERS
from tightbound.estimator.vae import VAE
from tightbound.model.axes import Member


def load(path: str | os.PathLike[str], **own: Any) -> VAE:
    """The estimator saved in a folder by `VAE.save` or `tightbound fit`.

    Scores are the same bits as before saving. A model with a `network`, `prior` or `posterior` of your own needs the
    same again, since code is never saved: `load(path, network=networks.Custom(encoder=make))`.
    Raises `ValueError` (one sentence) for a folder that is missing, foreign, newer or damaged.
    """
    model, _ = load_model(path, **own)
    settings = model.summary.settings
    chosen = {name: _short(getattr(settings, name)) for name in PARAMETERS}
    return VAE(**{**chosen, **own}, random_state=model.summary.seed)._adopt(model)


def _short(value: Any) -> Any:
    """A member as its word, with its parameters where they are not the defaults."""
    return str(value) if isinstance(value, Member) and not value.own else value
