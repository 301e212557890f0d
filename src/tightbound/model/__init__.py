"""What is believed: distributions, networks, priors, decoders, encoders, the generative model."""

from tightbound.model.decoders import (
    BernoulliHead,
    Decoder,
    DiagonalGaussianHead,
    FixedScaleGaussianHead,
    FullGaussianHead,
    LowRankGaussianHead,
    gaussian_head,
)
from tightbound.model.distributions import (
    AbstractDistribution,
    Bernoulli,
    DiagonalGaussian,
    FullGaussian,
    LowRankGaussian,
    StandardGaussian,
)
from tightbound.model.divergences import has_closed_form_kl, kl_divergence, kl_per_dimension
from tightbound.model.encoders import Encoder
from tightbound.model.families import DiagonalGaussianFamily, FullGaussianFamily
from tightbound.model.generative import GenerativeModel
from tightbound.model.networks import MLP
from tightbound.model.specification import Specification, build

__all__ = [
    "MLP",
    "AbstractDistribution",
    "Bernoulli",
    "BernoulliHead",
    "Decoder",
    "DiagonalGaussian",
    "DiagonalGaussianFamily",
    "DiagonalGaussianHead",
    "Encoder",
    "FixedScaleGaussianHead",
    "FullGaussian",
    "FullGaussianFamily",
    "FullGaussianHead",
    "GenerativeModel",
    "LowRankGaussian",
    "LowRankGaussianHead",
    "Specification",
    "StandardGaussian",
    "build",
    "gaussian_head",
    "has_closed_form_kl",
    "kl_divergence",
    "kl_per_dimension",
]
