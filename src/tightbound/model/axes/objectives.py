"""Objectives: what is maximised."""

from typing import Any, ClassVar, final

from tightbound.model.axes.member import Member, member
from tightbound.model.axes.parameters import parameter

_BOUNDS = "tightbound.learn.objectives"
_TERMS = "tightbound.learn.regularisers"


@member
class Objective(Member):
    """A bound on log p(x), or the ELBO with something in place of its KL, whose weight may rise."""

    axis = "objective"
    shelf = "objectives"
    term: ClassVar[str] = ""
    """What makes what stands in for the KL, as `home` does the bound."""
    plain: ClassVar[bool] = False
    """Whether the bound is the ELBO."""
    kl_warmup_steps: int = parameter(
        0, "steps over which the weight of the KL rises from 0", least=0, most=10**9, usual="0 means none"
    )
    kl_schedule: str = parameter(
        "linear", "how it rises; cyclical: every kl_warmup_steps anew", choices=("linear", "cosine", "cyclical")
    )

    @property
    def kl_weight(self) -> float:
        """The weight of the KL, or of what stands in for it, after the warm-up."""
        return 1.0

    def arguments(self) -> dict[str, Any]:
        """What `home` is called with."""
        return {}

    def term_arguments(self, total_steps: int) -> dict[str, Any]:
        """What `term` is called with, for a fit of so many steps."""
        del total_steps
        return {}


@member
class Weighted(Objective):
    """A bound whose KL has a weight."""

    beta: float = parameter(1.0, "weight of the KL", kind=float, least=0, most=1e6, usual="1 is the bound itself")

    @property
    def kl_weight(self) -> float:
        """Beta."""
        return float(self.beta)


@member
class Drawn(Weighted):
    """A bound from many draws of z a row."""

    home = f"{_BOUNDS}:ImportanceWeighted"
    n_samples: int = parameter(50, "draws of z a row and step", least=1, most=10_000, usual="50 is usual")

    def arguments(self) -> dict[str, Any]:
        """The draws."""
        return {"n_samples": int(self.n_samples)}


@member
class Grouped(Weighted):
    """Bounds from groups of draws."""

    n_samples: int = parameter(8, "draws of z a row, step and group", least=1, most=10_000, usual="8 is usual")
    n_groups: int = parameter(8, "groups of draws", least=1, most=1000, usual="8 is usual")

    def arguments(self) -> dict[str, Any]:
        """Draws and groups."""
        return {"n_samples": int(self.n_samples), "n_groups": int(self.n_groups)}


@member
class ElboLike(Objective):
    """The ELBO, or the ELBO with something in place of its KL."""

    home = f"{_BOUNDS}:ELBO"
    plain = True
    n_samples: int | None = parameter(
        None, "draws of z a row and step (1; 2 with a score function)", least=1, most=10_000, usual="1 is usual"
    )

    def arguments(self) -> dict[str, Any]:
        """The draws."""
        return {"n_samples": int(self.n_samples or 1)}


@final
@member
class ELBO(ElboLike, Weighted):
    """The evidence lower bound (Kingma and Welling, 2014); with beta above 1 the beta-VAE."""

    word = "elbo"


@final
@member
class IWAE(Drawn):
    """The importance-weighted bound (Burda, Grosse and Salakhutdinov, 2016)."""

    word = "iwae"


@final
@member
class MIWAE(Grouped):
    """The mean of several importance-weighted bounds (Rainforth et al., 2018)."""

    word = "miwae"
    home = f"{_BOUNDS}:ImportanceWeighted"


@final
@member
class PIWAE(Grouped):
    """p by the bound of all draws, q by that of groups (Rainforth et al., 2018)."""

    word = "piwae"
    home = f"{_BOUNDS}:PartiallyImportanceWeighted"
    needs = "the gradients pathwise and dreg"


@final
@member
class CIWAE(Drawn):
    """A mixture of ELBO and importance-weighted bound (Rainforth et al., 2018)."""

    word = "ciwae"
    home = f"{_BOUNDS}:CombinedImportanceWeighted"
    alpha: float = parameter(0.05, "share of the ELBO", kind=float, least=0, most=1, usual="0.05 is usual")

    def arguments(self) -> dict[str, Any]:
        """The draws and the share."""
        return {"n_samples": int(self.n_samples), "elbo_weight": float(self.alpha)}


@final
@member
class Renyi(Drawn):
    """The Renyi bound (Li and Turner, 2016)."""

    word = "renyi"
    home = f"{_BOUNDS}:Renyi"
    alpha: float = parameter(
        0.5,
        "its order: 1 is the ELBO, 0 the importance-weighted bound",
        kind=float,
        least=0,
        most=100,
        usual="0.5 is usual",
    )

    def arguments(self) -> dict[str, Any]:
        """The draws and the order."""
        return {"n_samples": int(self.n_samples), "alpha": float(self.alpha)}


@final
@member
class RWS(Drawn):
    """Reweighted wake-sleep (Bornschein and Bengio, 2015)."""

    word = "rws"
    needs = "the gradient wake, which auto is then"


@final
@member
class Capacity(ElboLike):
    """The KL is drawn to a capacity, which rises over half of the steps (Burgess et al., 2018)."""

    word = "capacity"
    needs = "the gradient pathwise, or a score function where the KL has a closed form"
    term = f"{_TERMS}:Capacity"
    capacity: float = parameter(25.0, "nats that the KL is drawn to", kind=float, least=0, usual="25 is usual")
    beta: float = parameter(
        100.0, "weight of the distance from it", kind=float, least=0, most=1e6, usual="100 is usual"
    )

    def term_arguments(self, total_steps: int) -> dict[str, Any]:
        """The capacity, rising over half of the steps."""
        return {"capacity": float(self.capacity), "beta": float(self.beta), "steps": total_steps // 2}


@final
@member
class FreeBits(ElboLike, Weighted):
    """Some nats of each group of latents cost nothing (Kingma et al., 2016)."""

    word = "free_bits"
    needs = (
        "the gradient pathwise, or a score function where the KL has a closed form; in groups a factorised q and prior"
    )
    term = f"{_TERMS}:FreeBits"
    free_bits: float = parameter(0.5, "nats of each group that cost nothing", kind=float, least=0, usual="0.5 is usual")
    free_bits_group: int = parameter(1, "latents in a group; 0: all together", least=0, usual="1 is usual")

    def term_arguments(self, total_steps: int) -> dict[str, Any]:
        """The nats and the size of a group."""
        return {"nats": float(self.free_bits), "group_size": int(self.free_bits_group)}


@final
@member
class BetaTC(ElboLike):
    """The total correlation of z has a weight of its own (Chen et al., 2018)."""

    word = "beta_tc"
    needs = "the posterior diagonal, the prior standard, the gradient pathwise"
    term = f"{_TERMS}:TotalCorrelation"
    beta: float = parameter(6.0, "weight of the total correlation", kind=float, least=0, most=1e6, usual="6 is usual")

    def term_arguments(self, total_steps: int) -> dict[str, Any]:
        """The weight."""
        return {"beta": float(self.beta)}


@final
@member
class MMD(ElboLike):
    """The aggregated posterior is held to the prior by their discrepancy (Zhao, Song and Ermon, 2019)."""

    word = "mmd"
    needs = "the gradient pathwise"
    term = f"{_TERMS}:MaximumMeanDiscrepancy"
    alpha: float = parameter(
        0.0, "share of the mutual information that is kept", kind=float, least=0, most=1, usual="0 is usual"
    )
    beta: float = parameter(10.0, "weight of the discrepancy", kind=float, least=0, most=1e6, usual="10 is usual")

    def term_arguments(self, total_steps: int) -> dict[str, Any]:
        """Share and weight."""
        return {"alpha": float(self.alpha), "scale": float(self.beta)}


MEMBERS: tuple[type[Objective], ...] = (
    *(ELBO, IWAE, MIWAE, PIWAE, CIWAE, Renyi, RWS),
    *(Capacity, FreeBits, BetaTC, MMD),
)
