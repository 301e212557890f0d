"""The choices a fit can be given: name, type, default and one sentence each. The one home of these facts.

Light on purpose: the command line builds its options from this table without importing JAX.
"""

import dataclasses
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any, final


@final
@dataclasses.dataclass(frozen=True)
class Setting:
    """One choice: its name in Python (and, with dashes, on the command line), default, meaning, and what it may be."""

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    group: str = "Model"
    least: float | None = None
    """The smallest number it may be; None where a number has no bounds, or where it is none."""
    most: float = math.inf
    usual: str = ""
    """What to do when it is something else."""


LARGEST_SEED = 2**32 - 1

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "latent_dim",
        int,
        None,
        "Dimension of z (default: half the columns, at least 2, at most 50).",
        least=1,
        usual="2 to 50 is usual",
    ),
    Setting(
        "likelihood",
        str,
        "auto",
        "Distribution of the data given z; auto: Bernoulli for 0/1 data, else Gaussian.",
        ("auto", "gaussian", "bernoulli"),
    ),
    Setting("binarize", bool, False, "Binarise 8-bit intensities anew each time a row is drawn (Bernoulli)."),
    Setting(
        "covariance",
        str,
        "feature",
        "Covariance of x given z: one learned scale, one a feature, or scales / low-rank / full from z.",
        ("shared", "feature", "diagonal", "low_rank", "full"),
    ),
    Setting("rank", int, 5, "Rank of the low-rank covariance.", least=1, usual="5 is usual"),
    Setting(
        "scaling",
        str,
        "standard",
        "Standardise columns inside the model, or not; densities are in your units either way.",
        ("standard", "none"),
    ),
    Setting("posterior", str, "diagonal", "Family of q(z given x).", ("diagonal", "full")),
    Setting("network", str, "residual", "Networks of encoder and decoder.", ("residual", "mlp", "linear")),
    Setting(
        "hidden_sizes", tuple, None, "Widths of the hidden layers (default: 300,300,300; 128,128 below 100 columns)."
    ),
    Setting(
        "activation",
        str,
        "silu",
        "Nonlinearity of the networks.",
        ("elu", "gelu", "relu", "silu", "softplus", "tanh"),
    ),
    Setting("objective", str, "elbo", "Bound that is maximised.", ("elbo", "iwae"), "Learning"),
    Setting(
        "n_samples",
        int,
        None,
        "Draws of z a row and step (default: 1 for elbo, 50 for iwae).",
        group="Learning",
        least=1,
        usual="1 is usual for elbo, 50 for iwae",
    ),
    Setting(
        "kl_warmup_steps",
        int,
        0,
        "Steps over which the weight of the KL rises from 0 to 1.",
        group="Learning",
        least=0,
        usual="0 means none",
    ),
    Setting(
        "epochs",
        int,
        None,
        "Most passes over the data (default: about 10,000 steps, 50 to 1,000).",
        group="Learning",
        least=1,
        usual="50 to 1000 is usual",
    ),
    Setting("batch_size", int, 100, "Most rows a step.", group="Learning", least=1, usual="100 is usual"),
    Setting(
        "learning_rate",
        float,
        0.0015,
        "Peak of the warm-up + cosine schedule of Adam.",
        group="Learning",
        least=1e-12,
        most=1e3,
        usual="0.0015 is usual",
    ),
    Setting(
        "validation_fraction",
        float,
        None,
        "Share of rows held out for early stopping (default: a tenth, at most 2,000 rows; 0: none).",
        group="Learning",
        least=0,
        most=0.9,
        usual="0.1 is usual",
    ),
    Setting(
        "patience",
        int,
        None,
        "Epochs without a better validation bound before stopping (default: a quarter of the epochs, at least 20; "
        "0: never).",
        group="Learning",
        least=0,
        usual="0 means never stop early",
    ),
    Setting(
        "n_importance_samples",
        int,
        1000,
        "Draws of z a row for log p(x).",
        group="Scoring",
        least=1,
        usual="1000 is usual",
    ),
    Setting("dtype", str, "float32", "Precision of all computations.", ("float32", "float64"), "Learning"),
    Setting(
        "random_state",
        int,
        None,
        "Seed; the same seed on the same machine gives the same bits (default: 0).",
        group="Learning",
        least=0,
        most=LARGEST_SEED,
        usual="0 is usual",
    ),
    Setting("verbose", int, 0, "0: silent; 1: progress in the terminal.", group="Learning"),
)

DEFAULTS: dict[str, Any] = {setting.name: setting.default for setting in SETTINGS}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse values that make no sense whatever the data are (`ValueError`); None stands for the default."""
    for setting in SETTINGS:
        value = settings.get(setting.name, setting.default)
        if setting.choices:
            check_choice(setting.name, value)
        elif setting.kind is bool and value not in (True, False):
            raise ValueError(f"{setting.name} must be True or False; got {value!r}; choose one of the two.")
        elif setting.least is not None and (value is not None or setting.default is not None):
            check_number(setting.name, value, setting.least, setting.most, setting.usual, whole=setting.kind is int)
    _check_sizes(settings.get("hidden_sizes"))


def check_choice(name: str, value: Any) -> None:
    """Refuse a value that is not one of the setting's choices (`ValueError`)."""
    choices = next(setting.choices for setting in SETTINGS if setting.name == name)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}; choose one of those.")


def check_number(name: str, value: Any, least: float, most: float, advice: str, whole: bool = True) -> None:
    """Refuse a value that is not a (whole) number between `least` and `most` (`ValueError`)."""
    number = isinstance(value, numbers.Real) and value is not True and value is not False and math.isfinite(value)
    if not (number and least <= value <= most and (not whole or value == int(value))):
        kind = "a whole number" if whole else "a number"
        span = f"between {least:.10g} and {most:.10g}" if most != math.inf else f"of at least {least:.10g}"
        raise ValueError(f"{name} must be {kind} {span}; got {value!r}; {advice}.")


def _check_sizes(sizes: Any) -> None:
    several = isinstance(sizes, Iterable) and not isinstance(sizes, str)
    for size in sizes if several else () if sizes is None else (sizes,):
        check_number("A layer of hidden_sizes", size, 1, math.inf, "(300, 300) is usual")
