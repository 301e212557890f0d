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
from tightbound.model.discrete import MOST_STATES, Categorical, Tabulated, all_states, check_enumerable, n_states
from tightbound.model.distributions import (
    AbstractDistribution,
    Bernoulli,
    DiagonalGaussian,
    FullGaussian,
    LowRankGaussian,
    StandardGaussian,
)
from tightbound.model.divergences import (
    has_closed_form_kl,
    has_kl_terms,
    kl_divergence,
    kl_per_dimension,
    kl_terms,
)
from tightbound.model.encoders import Encoder
from tightbound.model.families import (
    POSTERIORS,
    AbstractFamily,
    BernoulliFamily,
    CategoricalFamily,
    DiagonalGaussianFamily,
    FlowFamily,
    FullGaussianFamily,
    MixtureFamily,
    first_parameters,
    make_family,
)
from tightbound.model.generative import GenerativeModel
from tightbound.model.mixtures import GaussianMixture, Mixture
from tightbound.model.networks import MLP
from tightbound.model.priors import LearnedPrior, VampPrior
from tightbound.model.specification import Parts, Specification, build, make_prior
from tightbound.model.transformed import Transformed, sample_and_log_prob

__all__ = [
    "MLP",
    "MOST_STATES",
    "POSTERIORS",
    "AbstractDistribution",
    "AbstractFamily",
    "Bernoulli",
    "BernoulliFamily",
    "BernoulliHead",
    "Categorical",
    "CategoricalFamily",
    "Decoder",
    "DiagonalGaussian",
    "DiagonalGaussianFamily",
    "DiagonalGaussianHead",
    "Encoder",
    "FixedScaleGaussianHead",
    "FlowFamily",
    "FullGaussian",
    "FullGaussianFamily",
    "FullGaussianHead",
    "GaussianMixture",
    "GenerativeModel",
    "LearnedPrior",
    "LowRankGaussian",
    "LowRankGaussianHead",
    "Mixture",
    "MixtureFamily",
    "Parts",
    "Specification",
    "StandardGaussian",
    "Tabulated",
    "Transformed",
    "VampPrior",
    "all_states",
    "build",
    "check_enumerable",
    "first_parameters",
    "gaussian_head",
    "has_closed_form_kl",
    "has_kl_terms",
    "kl_divergence",
    "kl_per_dimension",
    "kl_terms",
    "make_family",
    "make_prior",
    "n_states",
    "sample_and_log_prob",
]
