"""The registry: every axis of a model with its members. Light, so that help needs no JAX.

A new member is a class in the file of its axis, with the module that makes it; help, tables, reports and checks read it
here.
"""

import dataclasses
import pkgutil
from typing import Any, final

from tightbound.model.axes import (
    gradients,
    inference,
    likelihoods,
    networks,
    objectives,
    posteriors,
    priors,
)
from tightbound.model.axes.member import Member, Own, check_names, read

__all__ = [
    "AXES",
    "Axis",
    "Member",
    "Own",
    "as_member",
    "from_json",
    "gradients",
    "inference",
    "likelihoods",
    "maker",
    "networks",
    "objectives",
    "posteriors",
    "priors",
    "sentence",
]


@final
@dataclasses.dataclass(frozen=True)
class Axis:
    """One independent choice."""

    name: str
    question: str
    members: tuple[type[Member], ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Of its members."""
        return tuple(each.word for each in self.members)

    def kind(self, word: Any) -> type[Member]:
        """The member's class; raises `ValueError` for another word."""
        for each in self.members:
            if each.word == word:
                return each
        raise ValueError(f"{self.name} must be one of {', '.join(self.words)}; got {word!r}; choose one of those.")


AXES: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis("likelihood", "the distribution of the data given z", likelihoods.MEMBERS),
        Axis("prior", "p(z)", priors.MEMBERS),
        Axis("posterior", "the family of q(z given x)", posteriors.MEMBERS),
        Axis("inference", "how the numbers of q are found", inference.MEMBERS),
        Axis("network", "the networks of encoder and decoder", networks.MEMBERS),
        Axis("objective", "what is maximised", objectives.MEMBERS),
        Axis("gradient", "how its gradient is estimated", gradients.MEMBERS),
        Axis("second_stage", "the prior that is fitted to the aggregated posterior afterwards", priors.SECOND_STAGES),
    )
}


def as_member(axis: str, value: Any) -> Any:
    """The member that a word, a word with parameters, or the member itself stands for; other objects are `Own`.

    Raises `ValueError` for a word, a parameter or a member that the axis does not have.
    Example: `as_member("prior", "mixture(n_components=20)")`.
    """
    if isinstance(value, str):
        word, given = read(axis, value) if "(" in value else (value, {})
        kind = AXES[axis].kind(word)
        check_names(kind, given)
        return kind(**given)
    if isinstance(value, Own):
        return value
    if isinstance(value, Member):
        if type(value) not in AXES[axis].members:
            AXES[axis].kind(f"{value!r}")
        return value
    return _own(axis, value)


def _own(axis: str, value: Any) -> Member:
    """A member of the user's making, where the axis takes one."""
    if axis == "network" and callable(value):
        return networks.Custom(encoder=value, decoder=value)
    made = callable(value) or type(value).__module__ != "builtins"
    if axis in ("prior", "posterior", "objective", "gradient") and made:
        return Own.of(value)
    return AXES[axis].kind(value)()


def from_json(axis: str, values: Any) -> Any:
    """The member that `to_json` wrote; one of the user's own as an `Own` without its value."""
    if values["member"] == Own.word:
        return Own(name=values["name"])
    given = {name: _read_back(value) for name, value in values.items() if name != "member"}
    return AXES[axis].kind(values["member"])(**given)


def _read_back(value: Any) -> Any:
    if isinstance(value, dict):  # the only member within one
        return from_json("network", value)
    return tuple(value) if isinstance(value, list) else value


def maker(home: str) -> Any:
    """What a member's `home` names."""
    return pkgutil.resolve_name(home)


def sentence(likelihood: Member, prior: Member, posterior: Member, inference: Member) -> str:
    """What a model is, in words: "a standard Gaussian prior, a Bernoulli decoder and a diagonal Gaussian posterior"."""
    found = inference.describe().format(posterior.describe())
    return f"{prior.describe()}, {likelihood.describe()} and {found}"
