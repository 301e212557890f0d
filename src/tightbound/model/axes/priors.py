"""Priors p(z)."""

from typing import ClassVar, final

from tightbound.model.axes.member import Member, member
from tightbound.model.axes.parameters import MOST_LAYERS, parameter


@member
class Prior(Member):
    """What is believed of z before x is seen."""

    axis = "prior"
    shelf = "priors"
    discrete: ClassVar[bool] = False
    """Whether z is."""
    fewest_latents: ClassVar[int] = 1
    needs_encoder: ClassVar[bool] = False


@final
@member
class Auto(Prior):
    """Standard, or the learned one that goes with discrete latents."""

    word = "auto"


@final
@member
class Standard(Prior):
    """The standard Gaussian N(0, I)."""

    word = "standard"
    phrase = "a standard Gaussian prior"
    home = "tightbound.model.generative:standard"


@final
@member
class Mixture(Prior):
    """A mixture of diagonal Gaussians, all of it learnt."""

    word = "mixture"
    phrase = "a mixture prior"
    home = "tightbound.model.families:mixture"
    n_components: int = parameter(10, "Gaussians in the mixture", least=1, most=10_000, usual="10 is usual")


@final
@member
class Vamp(Prior):
    """The mixture of posteriors at learned pseudo-inputs (Tomczak and Welling, 2018)."""

    word = "vamp"
    phrase = "a VampPrior"
    needs = "inference with an encoder: amortised, semi_amortised, aggressive"
    home = "tightbound.model.generative:vamp"
    needs_encoder = True
    n_components: int | None = parameter(
        None, "pseudo-inputs (100, or as many as there are rows)", least=1, most=10_000, usual="100 is usual"
    )


@member
class FlowPrior(Prior):
    """A Gaussian carried through a bijection."""

    flow_layers: int = parameter(2, "layers of the flow", least=1, most=MOST_LAYERS, usual="2 is usual")


@final
@member
class MAF(FlowPrior):
    """A masked autoregressive flow (Papamakarios, Pavlakou and Murray, 2017)."""

    word = "maf"
    phrase = "an autoregressive-flow prior"
    home = "tightbound.model.families:iaf"


@final
@member
class Coupling(FlowPrior):
    """A flow of affine couplings (Dinh, Sohl-Dickstein and Bengio, 2017)."""

    word = "coupling"
    phrase = "a coupling-flow prior"
    needs = "2 latents or more"
    home = "tightbound.model.families:coupling"
    fewest_latents = 2


@final
@member
class Spline(FlowPrior):
    """A flow of rational-quadratic splines (Durkan et al., 2019)."""

    word = "spline"
    phrase = "a spline-flow prior"
    needs = "2 latents or more"
    home = "tightbound.model.families:spline"
    fewest_latents = 2


@final
@member
class Bernoulli(Prior):
    """Independent bits with learned probabilities."""

    word = "bernoulli"
    phrase = "a learned Bernoulli prior"
    needs = "the posterior bernoulli"
    home = "tightbound.model.families:bernoulli"
    discrete = True


@final
@member
class Categorical(Prior):
    """Independent categories with learned probabilities, as many levels each as the posterior has."""

    word = "categorical"
    phrase = "a learned categorical prior"
    needs = "the posterior categorical"
    home = "tightbound.model.families:categorical"
    discrete = True


@final
@member
class Unchanged(Prior):
    """No second stage: the prior stays the one that was learnt with the rest."""

    word = "none"


MEMBERS: tuple[type[Prior], ...] = (Auto, Standard, Mixture, Vamp, MAF, Coupling, Spline, Bernoulli, Categorical)
SECOND_STAGES: tuple[type[Prior], ...] = (Unchanged, Mixture, MAF, Coupling, Spline)
