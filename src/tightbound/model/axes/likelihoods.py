"""Likelihoods p(x given z)."""

from typing import ClassVar, final

from tightbound.model.axes.member import Member, member
from tightbound.model.axes.parameters import parameter

_COVARIANCES = {
    "shared": "one learned scale",
    "feature": "one learned scale a feature",
    "diagonal": "scales that depend on z",
    "low_rank": "a rank-{} plus diagonal covariance that depends on z",
    "full": "a full covariance that depends on z",
}


@member
class Likelihood(Member):
    """The distribution of a row given z."""

    axis = "likelihood"
    shelf = "likelihoods"
    by_column: ClassVar[bool] = False
    """Whether the model must know what each column holds."""
    of_sums: ClassVar[bool] = False
    """Whether it is of counts given their sum."""

    @property
    def fixed_scale(self) -> bool:
        """Whether it is a Gaussian whose scales do not depend on z."""
        return False

    @property
    def binarised(self) -> bool:
        """Whether 8-bit intensities are made bits."""
        return False

    @property
    def columns(self) -> "Columns":
        """How columns are seen where each is modelled, or given, by its kind."""
        return Columns()


@final
@member
class Auto(Likelihood):
    """Columns for tables with texts, categories or dates and sparse counts; bernoulli for 0/1; else gaussian."""

    word = "auto"


@final
@member
class Gaussian(Likelihood):
    """A joint Gaussian of all columns, which are numbers."""

    word = "gaussian"
    home = "tightbound.model.likelihoods.gaussian_vectors:make"
    covariance: str = parameter(
        "feature",
        "shared: one learned scale, feature: one a column; diagonal, low_rank, full: from z",
        choices=tuple(_COVARIANCES),
    )
    rank: int = parameter(5, "of the covariance low_rank", least=1, most=1000, usual="5 is usual")

    @property
    def fixed_scale(self) -> bool:
        """For these covariances."""
        return self.covariance in ("shared", "feature")

    def describe(self) -> str:
        """With its covariance."""
        return f"a Gaussian decoder with {_COVARIANCES[self.covariance].format(self.rank)}"


@final
@member
class Bernoulli(Likelihood):
    """Independent cells of 0 and 1."""

    word = "bernoulli"
    phrase = "a Bernoulli decoder"
    home = "tightbound.model.likelihoods.binary_vectors:make"
    binarize: bool = parameter(
        False, "binarise 8-bit intensities anew each time a row is drawn; for scoring, once", kind=bool
    )

    @property
    def binarised(self) -> bool:
        """As given."""
        return bool(self.binarize)


@final
@member
class Columns(Likelihood):
    """Every column by its kind: numbers, counts, categories, levels, shares, dates."""

    word = "columns"
    phrase = "a decoder that gives every column its own distribution"
    home = "tightbound.model.likelihoods.columns:make"
    by_column = True
    continuous: str = parameter(
        "normal_scores",
        "family of continuous columns; the schema can name one for each",
        choices=("normal_scores", "gaussian", "student_t", "gaussian_mixture", "logistic_mixture"),
    )
    counts: str = parameter(
        "auto",
        "family of counts; auto: by their mean and variance, negative_binomial under an exposure",
        choices=(
            *("auto", "poisson", "negative_binomial", "zero_inflated_poisson", "zero_inflated_negative_binomial"),
            *("hurdle_poisson", "hurdle_negative_binomial"),
        ),
    )
    spread: str = parameter(
        "latent",
        "latent: scales and dispersions follow from z; column: they are one a column",
        choices=("latent", "column"),
    )

    @property
    def columns(self) -> "Columns":
        """Itself."""
        return self


@final
@member
class Multinomial(Likelihood):
    """A row of counts given their sum, a bag of words."""

    word = "multinomial"
    phrase = "a multinomial decoder of counts given their sum"
    home = "tightbound.model.likelihoods.multinomial_counts:make"
    by_column = True
    of_sums = True


@final
@member
class DirichletMultinomial(Likelihood):
    """A row of counts given their sum, with more variance than the multinomial has."""

    word = "dirichlet_multinomial"
    phrase = "a Dirichlet-multinomial decoder of counts given their sum"
    home = "tightbound.model.likelihoods.multinomial_counts:make_dirichlet"
    by_column = True
    of_sums = True


MEMBERS: tuple[type[Likelihood], ...] = (Auto, Gaussian, Bernoulli, Columns, Multinomial, DirichletMultinomial)
