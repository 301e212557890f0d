"""How the gradient of the objective is estimated."""

from typing import Any, ClassVar, final

from tightbound.model.axes.member import Member, member
from tightbound.model.axes.parameters import parameter

_PATHS = "tightbound.learn.gradients.pathwise"
_SCORES = "tightbound.learn.gradients.score_function"


@member
class Gradient(Member):
    """An estimator of the gradient of a bound."""

    axis = "gradient"
    shelf = "gradients"
    two_draws: ClassVar[bool] = False
    """Whether the ELBO needs two draws of z unless more are asked for."""

    def arguments(self) -> dict[str, Any]:
        """What `home` is called with."""
        return {}


@final
@member
class Auto(Gradient):
    """Pathwise; or as fits discrete latents: disarm, leave_one_out, vimco, moving_average, enumerate."""

    word = "auto"


@final
@member
class Pathwise(Gradient):
    """Through differentiable draws (Kingma and Welling, 2014)."""

    word = "pathwise"
    home = f"{_PATHS}:Pathwise"
    needs = "continuous posteriors"


@final
@member
class STL(Gradient):
    """Pathwise without the score term: it sticks the landing (Roeder, Wu and Duvenaud, 2017)."""

    word = "stl"
    home = f"{_PATHS}:StickingTheLanding"
    needs = "continuous posteriors, the ELBO"


@final
@member
class DReG(Gradient):
    """Doubly reparameterised (Tucker et al., 2019)."""

    word = "dreg"
    home = f"{_PATHS}:DoublyReparameterised"
    needs = "continuous posteriors, importance-weighted bounds of two draws or more"


@final
@member
class Resampled(Gradient):
    """Backward through one draw, chosen by its weight (Burda et al., 2016)."""

    word = "resampled"
    home = f"{_PATHS}:Resampled"
    needs = "continuous posteriors, the objective iwae with two draws or more"


@final
@member
class Reinforce(Gradient):
    """The score function without a baseline (Williams, 1992)."""

    word = "reinforce"
    home = f"{_SCORES}:reinforce"
    needs = "any objective but piwae"


@final
@member
class MovingAverage(Gradient):
    """The score function less a moving average of the signal."""

    word = "moving_average"
    home = f"{_SCORES}:moving_average"
    needs = "any objective but piwae"


@final
@member
class LeaveOneOut(Gradient):
    """The score function less the mean of the other draws (Kool, van Hoof and Welling, 2019)."""

    word = "leave_one_out"
    home = f"{_SCORES}:leave_one_out"
    needs = "the ELBO of two draws or more"
    two_draws = True


@final
@member
class LearnedBaseline(Gradient):
    """The score function less what a network expects of the row (Mnih and Gregor, 2014)."""

    word = "learned_baseline"
    home = f"{_SCORES}:learned_baseline"
    needs = "any objective but piwae"


@final
@member
class VIMCO(Gradient):
    """The score function of an importance-weighted bound, each draw less the others (Mnih and Rezende, 2016)."""

    word = "vimco"
    home = f"{_SCORES}:Vimco"
    needs = "the objective iwae with two draws or more"


@final
@member
class DisARM(Gradient):
    """Antithetic pairs of bits (Dong, Mnih and Tucker, 2020)."""

    word = "disarm"
    home = f"{_SCORES}:DisArm"
    needs = "the posterior bernoulli, the ELBO with an even number of draws"
    two_draws = True


@member
class Relaxed(Gradient):
    """The Gumbel-softmax relaxation."""

    needs = "discrete posteriors, the ELBO"
    temperature: float = parameter(
        0.5, "of the relaxation: bias grows with it", kind=float, least=1e-3, most=100, usual="0.5 is usual"
    )

    def arguments(self) -> dict[str, Any]:
        """The temperature."""
        return {"temperature": float(self.temperature)}


@final
@member
class Gumbel(Relaxed):
    """The Gumbel-softmax relaxation (Jang, Gu and Poole, 2017); biased."""

    word = "gumbel"
    home = f"{_SCORES}:GumbelSoftmax"


@final
@member
class GumbelST(Relaxed):
    """The same with discrete draws forward: straight through; biased."""

    word = "gumbel_st"
    home = f"{_SCORES}:straight_through"


@final
@member
class Enumerate(Gradient):
    """Exact sums over all states of z."""

    word = "enumerate"
    home = f"{_SCORES}:Enumeration"
    needs = "discrete posteriors of at most 2^16 states, the ELBO"


@final
@member
class Wake(Gradient):
    """Wake-sleep: q follows the weighted draws (Bornschein and Bengio, 2015)."""

    word = "wake"
    home = f"{_SCORES}:ReweightedWakeSleep"
    needs = "the objectives rws and iwae"


MEMBERS: tuple[type[Gradient], ...] = (
    *(Auto, Pathwise, STL, DReG, Resampled, Reinforce, MovingAverage, LeaveOneOut, LearnedBaseline),
    *(VIMCO, DisARM, Gumbel, GumbelST, Enumerate, Wake),
)
