"""The figures of the report, one function each: `ReportContent` in, matplotlib `Figure` out.

figure = learning_curves(content)
figure.savefig("learning_curves.png", dpi=180)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from matplotlib.figure import Figure

from .content import ReportContent
from .curves import kl_per_dimension, learning_curves, log_evidence
from .images import image_lowest_rows, image_reconstructions, image_samples
from .latent import aggregated_posterior, latent_space
from .tables import table_reconstructions, table_samples

__all__ = [
    "FIGURES",
    "aggregated_posterior",
    "image_lowest_rows",
    "kl_per_dimension",
    "latent_space",
    "learning_curves",
    "log_evidence",
    "reconstructions",
    "samples",
]


def samples(content: ReportContent) -> Figure:
    """Draw samples beside data: image grids where rows are images, else a pair plot."""
    return image_samples(content) if content.image_shape else table_samples(content)


def reconstructions(content: ReportContent) -> Figure:
    """Draw data and their reconstructions: images above each other, else value against reconstruction."""
    return image_reconstructions(content) if content.image_shape else table_reconstructions(content)


FIGURES: Mapping[str, Callable[[ReportContent], Figure]] = MappingProxyType(
    {
        "learning_curves": learning_curves,
        "samples": samples,
        "reconstructions": reconstructions,
        "latent_space": latent_space,
        "aggregated_posterior": aggregated_posterior,
        "kl_per_dimension": kl_per_dimension,
        "log_evidence": log_evidence,
    }
)
