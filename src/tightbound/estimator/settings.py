"""The choices of a fit: name, default, meaning and bounds of each, checked when they are put together.

Light on purpose: the command line builds its options from them without importing JAX.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, final

from tightbound.model.axes import AXES, as_member, from_json
from tightbound.model.axes.member import plain
from tightbound.model.axes.parameters import MOST_LATENTS, Parameter, parameter, parameters_of

LARGEST_SEED = 2**32 - 1
FIRST, MODEL, LEARNING, DATA, SCORING = "", "Model", "Learning", "Missing cells and noise", "Scoring"
"""Headings in help; what most people need first stands under none."""


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Every choice of a fit but its seed, checked (`ValueError`); members of axes may be given as words."""

    latent_dim: int | None = parameter(
        None,
        "Dimension of z (default: half the columns, at least 2, at most 50).",
        least=1,
        most=MOST_LATENTS,
        usual="2 to 50 is usual",
        group=FIRST,
    )
    likelihood: Any = parameter("auto", "p(x given z): how the data vary about what z says.", kind=str, group=FIRST)
    condition: Any = parameter(
        None,
        "Column that p(x given z, c) is given and does not model (repeat for more): a batch, a treatment.",
        kind=list,
        group=FIRST,
    )
    exposure: Any = parameter(
        None,
        "Column that multiplies the means of all counts (a library size, an area), or 'total' for the sum of a row's "
        "counts; it is given, not modelled.",
        kind=str,
        group=MODEL,
    )
    scaling: str = parameter(
        "standard",
        "Standardise columns inside the model, or not; densities are in your units either way.",
        kind=str,
        choices=("standard", "none"),
        group=MODEL,
    )
    prior: Any = parameter("auto", "p(z): what is believed of z before x is seen.", kind=str, group=FIRST)
    posterior: Any = parameter("diagonal", "Family of q(z given x).", kind=str, group=MODEL)
    second_stage: Any = parameter(
        "none", "Prior that is fitted to the aggregated posterior after training.", kind=str, group=MODEL
    )
    inference: Any = parameter("amortised", "How the numbers of q are found.", kind=str, group=MODEL)
    network: Any = parameter("residual", "Networks of encoder and decoder.", kind=str, group=MODEL)
    encoder: str = parameter(
        "masking",
        "What the encoder does with a row: masking puts zeros where cells are missing, beside the mask; set adds up "
        "what a network makes of each observed cell.",
        kind=str,
        choices=("masking", "set"),
        group=MODEL,
    )
    objective: Any = parameter("elbo", "What is maximised: a bound on log p(x).", kind=str, group=LEARNING)
    gradient: Any = parameter("auto", "How its gradient is estimated.", kind=str, group=LEARNING)
    epochs: int | None = parameter(
        None,
        "Most passes over the data (default: about 10,000 steps, 50 to 1,000; half for an ELBO of mixed columns).",
        least=1,
        usual="25 to 1000 is usual",
        group=FIRST,
    )
    batch_size: int = parameter(100, "Most rows a step.", least=1, usual="100 is usual", group=LEARNING)
    learning_rate: float | None = parameter(
        None,
        "Peak of the warm-up + cosine schedule of Adam (default: 0.0015; 0.006 for an ELBO of mixed columns).",
        kind=float,
        least=1e-12,
        most=1e3,
        usual="0.0015 is usual",
        group=LEARNING,
    )
    weight_decay: float = parameter(
        0.0,
        "Pull of all weight matrices towards zero at each step, in learning rates; against overfitting of few rows.",
        kind=float,
        least=0,
        most=100,
        usual="0 is usual, 0.1 to 10 for a few hundred rows of many columns",
        group=LEARNING,
    )
    smoothing: float = parameter(
        0.0,
        "Noise on continuous columns while learning, in their standard deviations.",
        kind=float,
        least=0,
        most=10,
        usual="0 to 1 is usual",
        group=DATA,
    )
    missingness: str = parameter(
        "random",
        "Whether a value decides on its being missing; self_masking: yes, in a direction that is learnt; or high / low "
        "values are missing. log p(x) is then that of the observed cells and of which they are.",
        kind=str,
        choices=("random", "self_masking", "self_masking_high", "self_masking_low"),
        group=DATA,
    )
    hide_cells: float | None = parameter(
        None,
        "Share of rows of which more cells are hidden at random each time, so that q can condition on any subset "
        "(default: 0.5 in mixed tables, else 0).",
        kind=float,
        least=0,
        most=1,
        usual="0.5 is usual",
        group=DATA,
    )
    validation_fraction: float | None = parameter(
        None,
        "Share of rows held out for early stopping (default: a tenth, at most 2,000 rows; 0: none).",
        kind=float,
        least=0,
        most=0.9,
        usual="0.1 is usual",
        group=LEARNING,
    )
    patience: int | None = parameter(
        None,
        "Epochs without a better bound before stopping (default: a quarter of the epochs, at least 20; 0: never).",
        least=0,
        usual="0 means never stop early",
        group=LEARNING,
    )
    n_importance_samples: int = parameter(
        1000, "Draws of z a row for log p.", least=1, usual="1000 is usual", group=SCORING
    )
    scoring_method: str = parameter(
        "auto",
        "How log p(x) is found; auto: exactly where that is cheap, else by as much work as each row needs.",
        kind=str,
        choices=("auto", "adaptive", "importance", "defensive", "refined", "annealed", "exact"),
        group=SCORING,
    )
    tolerance: float = parameter(
        0.1,
        "Standard error of log p(x) that auto works for, nats a row.",
        kind=float,
        least=1e-6,
        usual="0.1 is usual",
        group=SCORING,
    )
    dtype: str = parameter(
        "float32", "Precision of all computations.", kind=str, choices=("float32", "float64"), group=LEARNING
    )

    def __post_init__(self) -> None:
        for name, each in PARAMETERS.items():
            value = getattr(self, name)
            if name in AXES:
                object.__setattr__(self, name, as_member(name, value))
            else:
                each.check(name, value)
        for key in (*names_of(self.condition), *names_of(self.exposure)):
            if not isinstance(key, str | int) or key is True or key is False:
                raise ValueError(
                    f"condition and exposure must name columns, by name or by number; got {key!r}; name one that is "
                    "there."
                )

    @classmethod
    def of(cls, owner: Any) -> "Settings":
        """Those of an estimator, which has a parameter for each."""
        return cls(**{name: getattr(owner, name) for name in PARAMETERS})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: plain(getattr(self, name)) for name in PARAMETERS}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Settings":
        """The inverse of `to_json`."""
        return cls(**{**values, **{axis: from_json(axis, values[axis]) for axis in AXES}})


PARAMETERS: dict[str, Parameter] = parameters_of(Settings)
RANDOM_STATE = Parameter(
    None,
    "Seed; the same seed on the same machine gives the same bits (default: 0).",
    least=0,
    most=LARGEST_SEED,
    usual="0 is usual",
)


def names_of(columns: Any) -> tuple[Any, ...]:
    """Columns named one by one, or as several, or not at all (None)."""
    if columns is None:
        return ()
    several = isinstance(columns, Iterable) and not isinstance(columns, str)
    return tuple(columns) if several else (columns,)
