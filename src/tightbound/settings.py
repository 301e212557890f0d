"""The choices a fit can be given: name, type, default and one sentence each. The one home of these facts.

Light on purpose: the command line builds its options from this table without importing JAX.
"""

import dataclasses
from typing import Any, final


@final
@dataclasses.dataclass(frozen=True)
class Setting:
    """One choice: its name in Python (and, with dashes, on the command line), default and meaning."""

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    group: str = "Model"


SETTINGS: tuple[Setting, ...] = (
    Setting("latent_dim", int, None, "Dimension of z (default: half the columns, at least 2, at most 50)."),
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
    Setting("rank", int, 5, "Rank of the low-rank covariance."),
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
    Setting("n_samples", int, None, "Draws of z a row and step (default: 1 for elbo, 50 for iwae).", (), "Learning"),
    Setting("kl_warmup_steps", int, 0, "Steps over which the weight of the KL rises from 0 to 1.", (), "Learning"),
    Setting(
        "epochs", int, None, "Most passes over the data (default: about 10,000 steps, 50 to 1,000).", (), "Learning"
    ),
    Setting("batch_size", int, 100, "Most rows a step.", (), "Learning"),
    Setting("learning_rate", float, 0.0015, "Peak of the warm-up + cosine schedule of Adam.", (), "Learning"),
    Setting(
        "validation_fraction",
        float,
        None,
        "Share of rows held out for early stopping (default: a tenth, at most 2,000 rows; 0: none).",
        (),
        "Learning",
    ),
    Setting(
        "patience",
        int,
        None,
        "Epochs without a better validation bound before stopping (default: a quarter).",
        (),
        "Learning",
    ),
    Setting("n_importance_samples", int, 1000, "Draws of z a row for log p(x).", (), "Scoring"),
    Setting("dtype", str, "float32", "Precision of all computations.", ("float32", "float64"), "Learning"),
    Setting("random_state", int, None, "Seed; the same seed on the same machine gives the same bits.", (), "Learning"),
    Setting("verbose", int, 0, "0: silent; 1: progress in the terminal.", (), "Learning"),
)

DEFAULTS: dict[str, Any] = {setting.name: setting.default for setting in SETTINGS}


def check_choice(name: str, value: Any) -> None:
    """Refuse a value that is not one of the setting's choices (`ValueError`)."""
    choices = next(setting.choices for setting in SETTINGS if setting.name == name)
    if choices and value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}; choose one of those.")


def check_number(name: str, value: Any, least: float, most: float, advice: str, whole: bool = True) -> None:
    """Refuse a value that is not a (whole) number between `least` and `most` (`ValueError`)."""
    number = isinstance(value, (int, float)) or hasattr(value, "__index__") or hasattr(value, "__float__")
    fits = number and not isinstance(value, bool) and least <= value <= most and (not whole or value == int(value))
    if not fits:
        kind = "a whole number" if whole else "a number"
        span = f"between {least:g} and {most:g}" if most != float("inf") else f"of at least {least:g}"
        raise ValueError(f"{name} must be {kind} {span}; got {value!r}; {advice}.")
