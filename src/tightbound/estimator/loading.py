"""Saved models as estimators."""

import os
from collections.abc import Callable
from typing import Any

from tightbound.estimator.fit import check_factories
from tightbound.estimator.folder import load_model
from tightbound.estimator.settings import DEFAULTS
from tightbound.estimator.vae import VAE
from tightbound.model import axes


def load(
    path: str | os.PathLike[str],
    *,
    encoder_network: Callable[..., Any] | None = None,
    decoder_network: Callable[..., Any] | None = None,
) -> VAE:
    """The estimator saved in a folder by `VAE.save` or `tightbound fit`.

    Scores are the same bits as before saving. Models with custom networks need the same factories again.
    Raises `ValueError` (one sentence) for a folder that is missing, foreign, newer or damaged.
    """
    check_factories(encoder_network, decoder_network)
    own = axes.networks.Custom(encoder=encoder_network, decoder=decoder_network)
    model, _ = load_model(path, network=own)
    settings = {name: value for name, value in model.summary.settings.items() if name in DEFAULTS}
    if isinstance(settings.get("hidden_sizes"), list):
        settings["hidden_sizes"] = tuple(settings["hidden_sizes"])
    settings["random_state"] = model.summary.seed
    vae = VAE(**settings, encoder_network=encoder_network, decoder_network=decoder_network)
    return vae._adopt(model)
