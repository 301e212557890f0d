"""From the words of a fit's settings to the objects of `learn`: objective, gradient, regulariser, schedule."""

from collections.abc import Callable, Mapping
from typing import Any

from tightbound import learn
from tightbound.model import Specification

_PLAIN_ELBO = ("elbo", "capacity", "free_bits", "beta_tc", "mmd")


def make_objective(settings: Mapping[str, Any], gradient: str) -> learn.AbstractObjective:
    """The bound that these settings name."""
    name, given, alpha = settings["objective"], settings["n_samples"], settings["alpha"]
    if name in _PLAIN_ELBO:
        several = gradient in ("leave_one_out", "disarm")
        return learn.ELBO(int(given or (2 if several else 1)))
    groups = int(settings["n_groups"])
    if name in ("miwae", "piwae"):
        kind = learn.ImportanceWeighted if name == "miwae" else learn.PartiallyImportanceWeighted
        return kind(int(given or 8), groups)
    n_samples = int(given or 50)
    if name == "ciwae":
        return learn.CombinedImportanceWeighted(n_samples, 0.05 if alpha is None else float(alpha))
    if name == "renyi":
        return learn.Renyi(0.5 if alpha is None else float(alpha), n_samples)
    return learn.ImportanceWeighted(n_samples)


def gradient_name(settings: Mapping[str, Any], spec: Specification) -> str:
    """The gradient estimator's name, with "auto" made definite."""
    name, objective = settings["gradient"], settings["objective"]
    if name not in ("auto", "wake") and objective == "rws":
        raise ValueError(
            f"The objective rws must have gradient='auto' (or 'wake'), which makes it wake-sleep; got {name!r}; "
            "use objective='iwae' for other gradients."
        )
    if name != "auto":
        return str(name)
    if objective == "rws":
        return "wake"
    if not spec.discrete:
        return "pathwise"
    if spec.inference.word == "exact":
        return "enumerate"
    if objective in _PLAIN_ELBO:
        odd = (settings["n_samples"] or 2) % 2
        return "disarm" if spec.posterior.word == "bernoulli" and not odd else "leave_one_out"
    return "vimco" if objective == "iwae" else "moving_average"


def make_gradient(name: str, settings: Mapping[str, Any]) -> learn.AbstractGradient:
    """The gradient estimator with this name."""
    temperature = float(settings["temperature"])
    made: dict[str, Callable[[], learn.AbstractGradient]] = {
        "pathwise": learn.Pathwise,
        "stl": learn.StickingTheLanding,
        "dreg": learn.DoublyReparameterised,
        "resampled": learn.Resampled,
        "reinforce": learn.ScoreFunction,
        "moving_average": lambda: learn.ScoreFunction(learn.MovingAverage()),
        "leave_one_out": lambda: learn.ScoreFunction(learn.LeaveOneOut()),
        "learned_baseline": lambda: learn.ScoreFunction(learn.LearnedBaseline()),
        "vimco": learn.Vimco,
        "disarm": learn.DisArm,
        "gumbel": lambda: learn.GumbelSoftmax(temperature),
        "gumbel_st": lambda: learn.GumbelSoftmax(temperature, straight_through=True),
        "enumerate": learn.Enumeration,
        "wake": learn.ReweightedWakeSleep,
    }
    return made[name]()


def make_regulariser(settings: Mapping[str, Any], total_steps: int) -> learn.AbstractRegulariser | None:
    """What stands in for the KL; None where nothing does."""
    name, beta, alpha = settings["objective"], settings["beta"], settings["alpha"]
    if name == "capacity":
        return learn.Capacity(float(settings["capacity"]), 100.0 if beta is None else float(beta), total_steps // 2)
    if name == "free_bits":
        return learn.FreeBits(float(settings["free_bits"]), int(settings["free_bits_group"]))
    if name == "beta_tc":
        return learn.TotalCorrelation(6.0 if beta is None else float(beta))
    if name == "mmd":
        return learn.MaximumMeanDiscrepancy(float(alpha or 0), 10.0 if beta is None else float(beta))
    return None


def make_kl_weight(settings: Mapping[str, Any]) -> learn.Schedule:
    """The schedule of the weight on the KL, or on what stands in for it."""
    own = settings["objective"] in ("capacity", "beta_tc", "mmd")  # their beta weighs something else
    beta = 1.0 if own or settings["beta"] is None else float(settings["beta"])
    return learn.Schedule(beta, int(settings["kl_warmup_steps"]), settings["kl_schedule"])
