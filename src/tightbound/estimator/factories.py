"""From members to the objects of `learn`: objective, gradient, regulariser, schedule."""

from typing import Any

from tightbound import learn
from tightbound.estimator.settings import Settings
from tightbound.model import Specification, axes


def chosen_gradient(settings: Settings, spec: Specification) -> Any:
    """The gradient estimator, with "auto" made definite."""
    given, objective = settings.gradient, settings.objective
    if given.word not in ("auto", "wake") and objective.word == "rws":
        raise ValueError(
            f"The objective rws must have gradient='auto' (or 'wake'), which makes it wake-sleep; got {given.word!r}; "
            "use objective='iwae' for other gradients."
        )
    return given if given.word != "auto" else axes.as_member("gradient", _fitting(objective, spec))


def _fitting(objective: axes.Member, spec: Specification) -> str:
    if objective.word == "rws":
        return "wake"
    if not spec.discrete:
        return "pathwise"
    if spec.inference.word == "exact":
        return "enumerate"
    if isinstance(objective, axes.objectives.ElboLike):
        odd = (objective.n_samples or 2) % 2
        return "disarm" if spec.posterior.word == "bernoulli" and not odd else "leave_one_out"
    return "vimco" if objective.word == "iwae" else "moving_average"


def make_recipe(settings: Settings, gradient: Any, optimiser: learn.Optimiser) -> learn.TrainingConfig:
    """How the pair is learnt."""
    objective, inference, total = settings.objective, settings.inference, optimiser.total_steps
    parts: dict[str, Any] = {"objective": objective.value} if objective.own else _bound(objective, gradient, total)
    made = gradient.value if isinstance(gradient, axes.Own) else axes.maker(gradient.home)(**gradient.arguments())
    if not (isinstance(made, learn.AbstractGradient) and isinstance(parts["objective"], learn.AbstractObjective)):
        raise TypeError(
            "objective and gradient must be words, members, or objects of tightbound.learn (an AbstractObjective, an "
            f"AbstractGradient); got {type(parts['objective']).__name__} and {type(made).__name__}; use one of those."
        )
    return learn.TrainingConfig(
        optimiser,
        gradient=made,
        batch_size=int(settings.batch_size),
        encoder_steps=int(inference.encoder_steps),
        dtype=settings.dtype,
        **parts,
    )


def _bound(objective: axes.objectives.Objective, gradient: Any, total_steps: int) -> dict[str, Any]:
    """The bound, what stands in for its KL, and how the weight of that rises."""
    if isinstance(objective, axes.objectives.ElboLike) and objective.n_samples is None and gradient.two_draws:
        objective = objective.set_params(n_samples=2)
    term = axes.maker(objective.term)(**objective.term_arguments(total_steps)) if objective.term else None
    weight = learn.Schedule(objective.kl_weight, int(objective.kl_warmup_steps), objective.kl_schedule)
    return {
        "objective": axes.maker(objective.home)(**objective.arguments()),
        "regulariser": term,
        "kl_weight": weight,
    }
