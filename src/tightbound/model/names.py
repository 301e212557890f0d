"""The public names of this room, fetched when the first of them is used (`tightbound.model`)."""

from tightbound.model.building import Parts, Start, build
from tightbound.model.discrete import MOST_STATES, Categorical, Tabulated, all_states, check_enumerable
from tightbound.model.distributions import (
    AbstractDistribution,
    Bernoulli,
    DiagonalGaussian,
    FullGaussian,
    LowRankGaussian,
    StandardGaussian,
)
from tightbound.model.divergences import has_closed_form_kl, has_kl_terms, kl_divergence, kl_per_dimension, kl_terms
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
from tightbound.model.flows.transformed import Transformed
from tightbound.model.generative import Decoder, Encoder, GenerativeModel
from tightbound.model.likelihoods import (
    AbstractColumnLikelihood,
    BernoulliLikelihood,
    BetaLikelihood,
    CategoricalLikelihood,
    ColumnSpecification,
    CumulativeLogitLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    GaussianMixtureLikelihood,
    HurdleLikelihood,
    LogisticMixtureLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    SpikeAndSlabLikelihood,
    StudentTLikelihood,
    ZeroInflatedLikelihood,
)
from tightbound.model.likelihoods.binary_vectors import BernoulliHead
from tightbound.model.likelihoods.column_specification import COUNTS
from tightbound.model.likelihoods.columns import ColumnsHead, ProductOfColumns, columns_head
from tightbound.model.likelihoods.covariates import TOTAL, Conditioned, ConditionedHead, conditioned_decoder
from tightbound.model.likelihoods.gaussian_vectors import (
    DiagonalGaussianHead,
    FixedScaleGaussianHead,
    FullGaussianHead,
    LowRankGaussianHead,
    gaussian_head,
)
from tightbound.model.likelihoods.missingness import with_strength
from tightbound.model.likelihoods.multinomial_counts import (
    DirichletMultinomial,
    DirichletMultinomialHead,
    Multinomial,
    MultinomialHead,
)
from tightbound.model.mixtures import GaussianMixture, Mixture
from tightbound.model.networks.dense import MLP
from tightbound.model.networks.inputs import AbstractInputs, CentredInputs, ColumnsInputs, log_totals, moments_of
from tightbound.model.priors import LearnedPrior, VampPrior, make_prior
from tightbound.model.specification import MULTINOMIALS, Specification

__all__ = [
    "COUNTS",
    "MLP",
    "MOST_STATES",
    "MULTINOMIALS",
    "POSTERIORS",
    "TOTAL",
    "AbstractColumnLikelihood",
    "AbstractDistribution",
    "AbstractFamily",
    "AbstractInputs",
    "Bernoulli",
    "BernoulliFamily",
    "BernoulliHead",
    "BernoulliLikelihood",
    "BetaLikelihood",
    "Categorical",
    "CategoricalFamily",
    "CategoricalLikelihood",
    "CentredInputs",
    "ColumnSpecification",
    "ColumnsHead",
    "ColumnsInputs",
    "Conditioned",
    "ConditionedHead",
    "CumulativeLogitLikelihood",
    "Decoder",
    "DiagonalGaussian",
    "DiagonalGaussianFamily",
    "DiagonalGaussianHead",
    "DirichletMultinomial",
    "DirichletMultinomialHead",
    "Encoder",
    "FixedScaleGaussianHead",
    "FlowFamily",
    "FullGaussian",
    "FullGaussianFamily",
    "FullGaussianHead",
    "GammaLikelihood",
    "GaussianLikelihood",
    "GaussianMixture",
    "GaussianMixtureLikelihood",
    "GenerativeModel",
    "HurdleLikelihood",
    "LearnedPrior",
    "LogisticMixtureLikelihood",
    "LowRankGaussian",
    "LowRankGaussianHead",
    "Mixture",
    "MixtureFamily",
    "Multinomial",
    "MultinomialHead",
    "NegativeBinomialLikelihood",
    "Parts",
    "PoissonLikelihood",
    "ProductOfColumns",
    "Specification",
    "SpikeAndSlabLikelihood",
    "StandardGaussian",
    "Start",
    "StudentTLikelihood",
    "Tabulated",
    "Transformed",
    "VampPrior",
    "ZeroInflatedLikelihood",
    "all_states",
    "build",
    "check_enumerable",
    "columns_head",
    "conditioned_decoder",
    "first_parameters",
    "gaussian_head",
    "has_closed_form_kl",
    "has_kl_terms",
    "kl_divergence",
    "kl_per_dimension",
    "kl_terms",
    "log_totals",
    "make_family",
    "make_prior",
    "moments_of",
    "with_strength",
]
