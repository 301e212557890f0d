"""How the numbers of q are found."""

from typing import ClassVar, final

from tightbound.model.axes.member import Member, member
from tightbound.model.axes.parameters import parameter

_HOME = "tightbound.learn.inference.members"
RATE = 0.3
STEPS_ON_NEW_ROWS = 100
"""The least steps of an inner loop for a row that was never seen."""


@member
class Inference(Member):
    """From a row to its q."""

    axis = "inference"
    shelf = "inference"
    has_encoder: ClassVar[bool] = True
    """Whether a network says what q is, or where its search begins."""

    encoder_steps: ClassVar[int] = 1
    """Steps on q for each on p."""

    @property
    def rate(self) -> float:
        """Of an inner loop, should one be asked for."""
        return RATE


@member
class InnerLoop(Inference):
    """An inner loop that ascends the bound of each row."""

    inner_rate: float = parameter(
        RATE,
        "rate of the inner loop; 1 is a full natural-gradient step",
        kind=float,
        least=1e-6,
        most=10,
        usual="0.3 is usual",
    )

    @property
    def rate(self) -> float:
        """As given."""
        return float(self.inner_rate)


@final
@member
class Amortised(Inference):
    """One network for all rows (Kingma and Welling, 2014)."""

    word = "amortised"
    home = f"{_HOME}:amortised"
    phrase = "{}"


@final
@member
class PerDatum(InnerLoop):
    """An inner loop for every row (Hoffman et al., 2013)."""

    word = "per_datum"
    home = f"{_HOME}:per_datum"
    has_encoder = False
    phrase = "{} found for every row by an inner loop"
    needs = "priors that need no encoder, and no regularising objective"
    inner_steps: int = parameter(20, "steps of the inner loop", least=1, most=10_000, usual="10 to 100 is usual")
    steps_on_new_rows: int | None = parameter(
        None,
        "those for a row that was never seen (inner_steps, at least 100)",
        least=1,
        most=10_000,
        usual="100 is usual",
    )

    @property
    def steps(self) -> int:
        """For a row that was never seen, which starts far from its q; one met in every epoch does not."""
        return int(self.steps_on_new_rows or max(STEPS_ON_NEW_ROWS, self.inner_steps))


@final
@member
class SemiAmortised(InnerLoop):
    """A network proposes, an inner loop refines (Kim et al., 2018)."""

    word = "semi_amortised"
    home = f"{_HOME}:semi_amortised"
    phrase = "{} that a network proposes and an inner loop refines"
    inner_steps: int = parameter(10, "steps of the inner loop", least=1, most=10_000, usual="10 to 100 is usual")
    through: bool = parameter(
        False, "differentiate through the inner steps (slow; needs differentiable draws)", kind=bool
    )


@final
@member
class Aggressive(Inference):
    """A network that takes several steps for each of the decoder, while that pays (He et al., 2019)."""

    word = "aggressive"
    home = f"{_HOME}:amortised"
    phrase = "{}"
    encoder_steps: int = parameter(  # type: ignore[misc]
        10, "steps on q for each on p", least=1, most=1000, usual="10 is usual"
    )


@final
@member
class Exact(Inference):
    """The posterior itself, where it has a closed form."""

    word = "exact"
    home = f"{_HOME}:exact"
    has_encoder = False
    phrase = "the exact posterior"
    needs = "the network linear with a Gaussian of covariance shared or feature; or few discrete states"


MEMBERS: tuple[type[Inference], ...] = (Amortised, PerDatum, SemiAmortised, Aggressive, Exact)
