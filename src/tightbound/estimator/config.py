"""The choices of a fit, checked, with every default that depends on the data filled in."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound import learn
from tightbound.data import DataError, Encoding, Rows, Table, split
from tightbound.estimator.checking import check_number, check_settings
from tightbound.estimator.factories import (
    gradient_name,
    make_gradient,
    make_kl_weight,
    make_objective,
    make_regulariser,
)
from tightbound.estimator.settings import DEFAULTS
from tightbound.model import BAGS, TOTAL, CellWords, Specification, axes

MAX_VALIDATION_ROWS = 2000
_MOST_LATENT = 64
SMOOTH = ("normal_scores", "gaussian", "student_t", "gaussian_mixture", "logistic_mixture")
"""Families that have a density on the whole line."""
MANY = 500
"""Columns from which on no cells are hidden unless that is asked for."""


@final
@dataclasses.dataclass(frozen=True)
class _Pace:
    """How long and how fast a fit learns unless told otherwise."""

    steps: int
    fewest_epochs: int
    most_epochs: int
    learning_rate: float

    def epochs(self, steps_per_epoch: int) -> int:
        """About so many steps."""
        return int(np.clip(round(self.steps / steps_per_epoch), self.fewest_epochs, self.most_epochs))


_USUAL = _Pace(10_000, 50, 1000, 0.0015)
# Held-out nats of tables of mixed columns stay what they are at 10,000 steps of 0.0015 (docs/performance.md); with an
# importance-weighted bound imputations of a table of 30 columns got worse (squared error 0.293, not 0.275).
_MIXED = _Pace(5_000, 25, 500, 0.006)


@final
@dataclasses.dataclass(frozen=True)
class Plan:
    """The choices of a fit with every default filled in."""

    specification: Specification
    recipe: learn.Recipe
    epochs: int
    patience: int | None
    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    hidden: float = 0.0
    """Share of rows of which further cells are hidden whenever they are drawn."""
    smoothing: NDArray[np.float64] | None = None
    """Standard deviations of the noise on each column while learning, in the model's units."""
    second_stage: axes.Member | None = None
    """The prior that is fitted to the aggregated posterior afterwards."""

    @property
    def epochs_of_second_stage(self) -> int:
        """A quarter of the first one's."""
        return max(10, self.epochs // 4)


def make_plan(
    settings: Mapping[str, Any],
    encoding: Encoding,
    rows: Rows,
    held_out: Rows | None,
    seed: int,
    *,
    factories: Mapping[str, Any] = MappingProxyType({}),
) -> Plan:
    """Fill in the defaults that depend on the data, and refuse choices that make no sense (`ValueError`)."""
    check_settings(settings)
    n, latent_dim = len(rows.x), _latent_dim(settings, encoding)
    if n < 2:
        raise DataError(
            f"{n} row(s) in the training data must be at least 2: one sample cannot be learnt from; add rows "
            "(a fitted model scores and encodes single rows)."
        )
    train, validation = _split_rows(n, settings["validation_fraction"], seed, given=held_out is not None)
    steps_per_epoch, _ = learn.batch_shape(len(train), settings["batch_size"])
    pace = _MIXED if encoding.likelihood == "columns" and settings["objective"] == "elbo" else _USUAL
    epochs = pace.epochs(steps_per_epoch) if settings["epochs"] is None else settings["epochs"]
    patience = settings["patience"]
    if patience is None:
        patience = max(20, epochs // 4)
    total = epochs * steps_per_epoch
    spec = _specification(settings, encoding, rows, latent_dim, len(train), factories)
    if "encoder" in spec.custom and not spec.inference.has_encoder:
        raise ValueError(
            f"encoder_network must go with an inference that has a network; got inference={spec.inference.word!r}; "
            "leave it out, or use inference='amortised'."
        )
    gradient = gradient_name(settings, spec)
    second_stage = None
    if settings["second_stage"] != "none":
        second_stage = _given("second_stage", settings["second_stage"], settings)
        _check_second_stage(spec, second_stage)
    return Plan(
        specification=spec,
        recipe=learn.Recipe(
            _optimiser(settings, pace, total),
            objective=make_objective(settings, gradient),
            gradient=make_gradient(gradient, settings),
            regulariser=make_regulariser(settings, total),
            kl_weight=make_kl_weight(settings),
            batch_size=int(settings["batch_size"]),
            encoder_steps=int(settings["encoder_steps"]) if settings["inference"] == "aggressive" else 1,
            dtype=settings["dtype"],
        ),
        epochs=int(epochs),
        patience=None if patience == 0 else int(patience),
        train=train,
        validation=validation,
        hidden=_hidden(settings, encoding),
        smoothing=_smoothing(float(settings["smoothing"]), encoding),
        second_stage=second_stage,
    )


def _latent_dim(settings: Mapping[str, Any], encoding: Encoding) -> int:
    d = encoding.n_features - len(encoding.given)
    latent_dim = settings["latent_dim"]
    if latent_dim is None:
        latent_dim = min(50, max(2, d // 2 if settings["missingness"] == "random" else d - 1))
    check_number("latent_dim", latent_dim, 1, max(_MOST_LATENT, 2 * d), "2 to 50 is usual")
    return int(latent_dim)


def _optimiser(settings: Mapping[str, Any], pace: _Pace, total: int) -> learn.Optimiser:
    rate = pace.learning_rate if settings["learning_rate"] is None else float(settings["learning_rate"])
    return learn.Optimiser(rate, total, warmup_steps=min(500, total // 10), decay=float(settings["weight_decay"]))


def _check_second_stage(spec: Specification, prior: axes.Member) -> None:
    """Refuse a second stage that cannot follow before the first one is run."""
    if spec.inference.word != "amortised":
        raise ValueError(
            f"second_stage must have a network that says what the aggregated posterior is; got inference="
            f"{spec.inference.word!r}, whose inner loop would follow the new prior; use 'amortised' or 'aggressive'."
        )
    try:
        dataclasses.replace(spec, prior=prior)
    except ValueError as error:
        raise ValueError(
            f"second_stage must be a prior that goes with the rest; got {prior.word!r}, which does not: {error}"
        ) from error


def _members(settings: Mapping[str, Any], n_train: int, factories: Mapping[str, Any]) -> dict[str, Any]:
    """The members that the words and numbers of these settings stand for."""
    prior, posterior, inference = (settings[k] for k in ("prior", "posterior", "inference"))
    if prior == "auto":
        prior = posterior if posterior in ("bernoulli", "categorical") else "standard"
    if inference == "aggressive":
        inference = "amortised"
    words = {"prior": prior, "posterior": posterior, "inference": inference, "network": settings["network"]}
    found = {axis: _given(axis, word, settings) for axis, word in words.items()}
    if prior == "vamp" and found["prior"].n_components is None:
        found["prior"] = found["prior"].set_params(n_components=min(100, n_train))
    if any(factories.values()):
        found["network"] = axes.networks.Custom(**factories, others=found["network"])
    return found


def _given(axis: str, word: str, settings: Mapping[str, Any]) -> Any:
    kind = axes.AXES[axis].kind(word)
    own = {name: settings[name] for name in kind.parameters() if settings.get(name) is not None}
    return kind(**own)


def _specification(
    settings: Mapping[str, Any],
    encoding: Encoding,
    rows: Rows,
    latent_dim: int,
    n_train: int,
    factories: Mapping[str, Any],
) -> Specification:
    d = encoding.n_features
    columns = tuple(CellWords(**words) for words in encoding.words)
    hidden = _hidden(settings, encoding)
    return Specification(
        n_features=d,
        latent_dim=latent_dim,
        likelihood=_given("likelihood", encoding.likelihood, settings),
        **_members(settings, n_train, factories),
        shape=encoding.shape,
        mask_input=rows.observed is not None or hidden > 0 or (columns != () and not _is_wide(settings, encoding)),
        dtype=settings["dtype"],
        columns=columns,
        missingness=settings["missingness"],
        missing_columns=_missing_columns(settings, columns, rows),
        conditions=encoding.conditions,
        exposure=_exposure(settings, encoding),
        encoder=settings["encoder"],
    )


def _exposure(settings: Mapping[str, Any], encoding: Encoding) -> int | None:
    """Where a row's exposure is; a bag's is its length."""
    if encoding.exposure is not None:
        return encoding.exposure
    return TOTAL if settings["exposure"] is not None or encoding.likelihood in BAGS else None


def _missing_columns(settings: Mapping[str, Any], columns: tuple[CellWords, ...], rows: Rows) -> tuple[int, ...]:
    """Continuous columns with missing cells, where their values may have decided on that."""
    if settings["missingness"] == "random" or rows.observed is None:
        return ()
    gaps = np.asarray(~rows.observed.all(axis=0))
    return tuple(j for j, each in enumerate(columns) if gaps[j] and each.family == "gaussian" and not each.spikes)


def _smoothing(width: float, encoding: Encoding) -> NDArray[np.float64] | None:
    """Standard deviations of the noise on each column as the model sees it; `ValueError` where there is none for it."""
    if not width:
        return None
    noise = width * encoding.noise_scales(SMOOTH)
    if not noise.any():
        raise ValueError(
            f"smoothing must be 0 for a table without continuous columns (of the families {', '.join(SMOOTH)}, without "
            f"spikes); got {width:g}; leave it out."
        )
    return noise


def _hidden(settings: Mapping[str, Any], encoding: Encoding) -> float:
    """Of a mixed table any subset of columns may be asked for later: by default half of the rows learn that."""
    share = settings["hide_cells"]
    if settings["missingness"] != "random":
        if share:
            raise ValueError(
                f"hide_cells must be 0 where values decide on their being missing; got {share!r}: a cell hidden at "
                "random would be taken for one that masked itself; leave it out."
            )
        return 0.0
    if share is None:
        several = len(encoding.words) > 1
        return 0.5 if several and not _is_wide(settings, encoding) else 0.0
    if share and encoding.likelihood in BAGS:
        raise ValueError(
            f"hide_cells must be 0 for the likelihood {encoding.likelihood!r}; got {share!r}: a word is not missing "
            "from a bag, it is not there; leave it out."
        )
    return float(share)


def _is_wide(settings: Mapping[str, Any], encoding: Encoding) -> bool:
    """A table of counts, or of many columns, is seldom asked for one of them given some others."""
    return settings["exposure"] is not None or encoding.likelihood in BAGS or encoding.n_features > MANY


def _split_rows(n: int, fraction: float | None, seed: int, *, given: bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Training and validation rows; none are held out when others are given, or when there are very few."""
    if given or fraction == 0 or n < 10:
        return np.arange(n), np.arange(0)
    return split(n, 0.1, seed, MAX_VALIDATION_ROWS) if fraction is None else split(n, fraction, seed)


_FLOWS = ("planar", "iaf", "maf", "coupling", "spline")
_USED_WITH: dict[str, Mapping[str, tuple[Any, ...]]] = {
    "rank": {"covariance": ("low_rank",)},
    "n_components": {"prior": ("mixture", "vamp"), "posterior": ("mixture",), "second_stage": ("mixture",)},
    "n_levels": {"posterior": ("categorical",)},
    "flow_layers": {"prior": _FLOWS, "posterior": _FLOWS, "second_stage": _FLOWS},
    "inner_steps": {"inference": ("per_datum", "semi_amortised")},
    "through": {"inference": ("semi_amortised",)},
    "encoder_steps": {"inference": ("aggressive",)},
    "n_groups": {"objective": ("miwae", "piwae")},
    "alpha": {"objective": ("renyi", "ciwae", "mmd")},
    "capacity": {"objective": ("capacity",)},
    "free_bits": {"objective": ("free_bits",)},
    "free_bits_group": {"objective": ("free_bits",)},
    "temperature": {"gradient": ("gumbel", "gumbel_st")},
}
"""Where a setting matters: with any of these values of these other settings."""


def unused_settings(settings: Mapping[str, Any]) -> list[str]:
    """A sentence for every setting that was given and has no effect beside the others."""
    sentences = []
    for name, partners in _USED_WITH.items():
        used = any(settings[other] in values for other, values in partners.items())
        if settings[name] != DEFAULTS[name] and not used:
            where = " or ".join(f"{other} {'/'.join(map(str, values))}" for other, values in partners.items())
            sentences.append(f"{name} {settings[name]!r} has no effect here: it goes with {where}.")
    if settings["kl_schedule"] != "linear" and not settings["kl_warmup_steps"]:
        sentences.append("kl_schedule has no effect here: it goes with kl_warmup_steps above 0.")
    if settings["inference"] == "exact" and (settings["beta"] not in (None, 1) or settings["kl_warmup_steps"]):
        sentences.append("A weight on the KL has no effect on an exact q, which is the best one for a weight of 1.")
    held = settings["inference"] == "per_datum" and settings["posterior"] not in _FLOWS
    if held and settings["gradient"] != "auto":
        sentences.append("gradient has no effect on a q that an inner loop finds: the loop has its own.")
    if settings["inference"] == "exact" and settings["posterior"] in ("full", "mixture", *_FLOWS):
        sentences.append(f"posterior {settings['posterior']!r} has no effect here: exact inference has no family.")
    return sentences


def plan_messages(plan: Plan, table: Table, settings: Mapping[str, Any]) -> list[str]:
    """What the user should know of the plan: nothing held out, more latents than columns, settings without effect."""
    messages = unused_settings(settings)
    if len(table.values) < 10 and len(plan.validation) == 0:
        messages.append(
            f"{table.source} has only {len(table.values)} rows: none are held out to guard against overfitting."
        )
    if plan.specification.latent_dim > plan.specification.n_features:
        messages.append(
            f"latent_dim {plan.specification.latent_dim} is larger than the number of modelled columns "
            f"{plan.specification.n_features}; a smaller one says as much."
        )
    return messages
