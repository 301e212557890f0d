"""Families of q(z given x)."""

from typing import ClassVar, final

from tightbound.model.axes.member import Member, member
from tightbound.model.axes.parameters import MOST_LAYERS, parameter


@member
class Posterior(Member):
    """A family of distributions over z, from numbers that inference finds."""

    axis = "posterior"
    shelf = "posteriors"
    discrete: ClassVar[bool] = False
    """Whether z is."""
    fewest_latents: ClassVar[int] = 1
    is_flow: ClassVar[bool] = False
    owned: ClassVar[bool] = True
    """Whether all of its numbers belong to the row, so that an inner loop can start without a fit."""

    @property
    def states(self) -> int:
        """States of one latent variable: places that it takes in z."""
        return 1

    @property
    def width(self) -> int:
        """Places that one latent variable takes in z."""
        return 1


@final
@member
class Diagonal(Posterior):
    """A Gaussian with independent latents."""

    word = "diagonal"
    phrase = "a diagonal Gaussian posterior"
    home = "tightbound.model.families:diagonal"


@final
@member
class Full(Posterior):
    """A Gaussian with a full covariance."""

    word = "full"
    phrase = "a full-covariance Gaussian posterior"
    home = "tightbound.model.families:full"


@final
@member
class Mixture(Posterior):
    """A mixture of diagonal Gaussians."""

    word = "mixture"
    phrase = "a Gaussian-mixture posterior"
    home = "tightbound.model.families:mixture"
    n_components: int = parameter(10, "Gaussians in the mixture", least=1, most=1000, usual="10 is usual")


@member
class FlowPosterior(Posterior):
    """A diagonal Gaussian carried through a bijection."""

    owned = False
    is_flow = True
    flow_layers: int = parameter(2, "layers of the flow", least=1, most=MOST_LAYERS, usual="2 is usual")


@final
@member
class Planar(FlowPosterior):
    """Planar flows, whose numbers are the row's own (Rezende and Mohamed, 2015)."""

    word = "planar"
    phrase = "a planar-flow posterior"
    home = "tightbound.model.families:planar"
    owned = True


@final
@member
class IAF(FlowPosterior):
    """An inverse autoregressive flow (Kingma et al., 2016)."""

    word = "iaf"
    phrase = "an inverse autoregressive-flow posterior"
    home = "tightbound.model.families:iaf"


@final
@member
class Coupling(FlowPosterior):
    """A flow of affine couplings (Dinh, Sohl-Dickstein and Bengio, 2017)."""

    word = "coupling"
    phrase = "a coupling-flow posterior"
    needs = "2 latents or more"
    home = "tightbound.model.families:coupling"
    fewest_latents = 2


@final
@member
class Spline(FlowPosterior):
    """A flow of rational-quadratic splines (Durkan et al., 2019)."""

    word = "spline"
    phrase = "a spline-flow posterior"
    needs = "2 latents or more"
    home = "tightbound.model.families:spline"
    fewest_latents = 2


@final
@member
class Bernoulli(Posterior):
    """Independent bits: z is discrete."""

    word = "bernoulli"
    phrase = "a Bernoulli posterior"
    needs = "the prior bernoulli, which auto is then"
    home = "tightbound.model.families:bernoulli"
    discrete = True

    @property
    def states(self) -> int:
        """Two."""
        return 2


@final
@member
class Categorical(Posterior):
    """Independent categories, as one-hot codes: z is discrete."""

    word = "categorical"
    phrase = "a categorical posterior"
    needs = "the prior categorical, which auto is then"
    home = "tightbound.model.families:categorical"
    discrete = True
    n_levels: int = parameter(10, "levels of each latent", least=2, most=1000, usual="10 is usual")

    @property
    def states(self) -> int:
        """The levels."""
        return self.n_levels

    @property
    def width(self) -> int:
        """One for each level."""
        return self.n_levels


MEMBERS: tuple[type[Posterior], ...] = (
    *(Diagonal, Full, Mixture, Planar, IAF, Coupling, Spline, Bernoulli, Categorical),
)
