"""The choices of a fit, checked, with every default that depends on the data filled in."""

import dataclasses
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound import learn
from tightbound.data import DataError, Encoding, Rows, Table, split
from tightbound.estimator.settings import Settings
from tightbound.model import MULTINOMIALS, TOTAL, ColumnSpecification, Specification, axes
from tightbound.model.axes.parameters import check_number


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
class Config:
    """The choices of a fit, resolved and checked against its data: from here on they are only read."""

    specification: Specification
    recipe: learn.TrainingConfig
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
    notes: tuple[str, ...] = ()
    """Choices that have no effect beside the others, a sentence each."""

    @property
    def chosen(self) -> dict[str, float]:
        """What stands for settings that were left open, by their names."""
        return {
            "epochs": self.epochs,
            "learning_rate": self.recipe.optimiser.learning_rate,
            "hide_cells": self.hidden,
            "patience": self.patience or 0,
        }

    @property
    def epochs_of_second_stage(self) -> int:
        """A quarter of the first one's."""
        return max(10, self.epochs // 4)


def make_config(settings: Settings, encoding: Encoding, rows: Rows, held_out: Rows | None, seed: int) -> Config:
    """Fill in the defaults that depend on the data, and refuse choices that make no sense (`ValueError`)."""
    n = len(rows.x)
    if n < 2:
        raise DataError(
            f"{n} row(s) in the training data must be at least 2: one sample cannot be learnt from; add rows "
            "(a fitted model scores and encodes single rows)."
        )
    train, validation = _split_rows(n, settings.validation_fraction, seed, given=held_out is not None)
    hidden = _hidden(settings, encoding)
    spec = _specification(settings, encoding, rows, len(train), hidden)
    if "encoder" in spec.custom and not spec.inference.has_encoder:
        raise ValueError(
            f"A network for the encoder must go with an inference that has one; got inference={spec.inference.word!r}; "
            "leave it out, or use inference='amortised'."
        )
    second_stage = None if settings.second_stage.word == "none" else settings.second_stage
    if second_stage is not None:
        _check_second_stage(spec, second_stage)
    gradient = chosen_gradient(settings, spec)
    pace = _MIXED if spec.likelihood.word == "columns" and settings.objective.word == "elbo" else _USUAL
    steps_per_epoch, _ = learn.batch_shape(len(train), settings.batch_size)
    epochs = int(settings.epochs or pace.epochs(steps_per_epoch))
    patience = max(20, epochs // 4) if settings.patience is None else int(settings.patience)
    return Config(
        specification=spec,
        recipe=make_recipe(settings, gradient, _optimiser(settings, pace, epochs * steps_per_epoch)),
        epochs=epochs,
        patience=patience or None,
        train=train,
        validation=validation,
        hidden=hidden,
        smoothing=_smoothing(float(settings.smoothing), encoding),
        second_stage=second_stage,
        notes=_without_effect(settings),
    )


def _latent_dim(settings: Settings, encoding: Encoding) -> int:
    d = encoding.n_features - len(encoding.given)
    latent_dim = settings.latent_dim
    if latent_dim is None:
        latent_dim = min(50, max(2, d // 2 if settings.missingness == "random" else d - 1))
    check_number("latent_dim", latent_dim, 1, max(_MOST_LATENT, 2 * d), "2 to 50 is usual")
    return int(latent_dim)


def _optimiser(settings: Settings, pace: _Pace, total: int) -> learn.Optimiser:
    rate = pace.learning_rate if settings.learning_rate is None else float(settings.learning_rate)
    return learn.Optimiser(rate, total, warmup_steps=min(500, total // 10), decay=float(settings.weight_decay))


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


def _specification(settings: Settings, encoding: Encoding, rows: Rows, n_train: int, hidden: float) -> Specification:
    columns = tuple(ColumnSpecification(**words) for words in encoding.words)
    return Specification(
        n_features=encoding.n_features,
        latent_dim=_latent_dim(settings, encoding),
        likelihood=_likelihood(settings, encoding),
        prior=_prior(settings, n_train),
        posterior=settings.posterior,
        inference="amortised" if settings.inference.word == "aggressive" else settings.inference,
        network=settings.network,
        shape=encoding.shape,
        mask_input=rows.observed is not None or hidden > 0 or (columns != () and not _is_wide(settings, encoding)),
        dtype=settings.dtype,
        columns=columns,
        missingness=settings.missingness,
        missing_columns=_missing_columns(settings, columns, rows),
        conditions=encoding.conditions,
        exposure=_exposure(settings, encoding),
        encoder=settings.encoder,
    )


def _likelihood(settings: Settings, encoding: Encoding) -> Any:
    """The one that was asked for, or that the data decided on."""
    asked = settings.likelihood
    return asked if asked.word == encoding.likelihood else encoding.likelihood


def _prior(settings: Settings, n_train: int) -> Any:
    """The one that was asked for, or that goes with the posterior; a VampPrior of no more components than rows."""
    prior, posterior = settings.prior, settings.posterior
    if prior.word == "auto":
        return posterior.word if posterior.discrete else "standard"
    if prior.word == "vamp" and prior.n_components is None:
        return prior.set_params(n_components=min(100, n_train))
    return prior


def _exposure(settings: Settings, encoding: Encoding) -> int | None:
    """Where a row's exposure is; a bag's is its length."""
    if encoding.exposure is not None:
        return encoding.exposure
    return TOTAL if settings.exposure is not None or encoding.likelihood in MULTINOMIALS else None


def _missing_columns(settings: Settings, columns: tuple[ColumnSpecification, ...], rows: Rows) -> tuple[int, ...]:
    """Continuous columns with missing cells, where their values may have decided on that."""
    if settings.missingness == "random" or rows.observed is None:
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


def _hidden(settings: Settings, encoding: Encoding) -> float:
    """Of a mixed table any subset of columns may be asked for later: by default half of the rows learn that."""
    share = settings.hide_cells
    if settings.missingness != "random":
        if share:
            raise ValueError(
                f"hide_cells must be 0 where values decide on their being missing; got {share!r}: a cell hidden at "
                "random would be taken for one that masked itself; leave it out."
            )
        return 0.0
    if share is None:
        several = len(encoding.words) > 1
        return 0.5 if several and not _is_wide(settings, encoding) else 0.0
    if share and encoding.likelihood in MULTINOMIALS:
        raise ValueError(
            f"hide_cells must be 0 for the likelihood {encoding.likelihood!r}; got {share!r}: a word is not missing "
            "from a bag, it is not there; leave it out."
        )
    return float(share)


def _is_wide(settings: Settings, encoding: Encoding) -> bool:
    """A table of counts, or of many columns, is seldom asked for one of them given some others."""
    return settings.exposure is not None or encoding.likelihood in MULTINOMIALS or encoding.n_features > MANY


def _split_rows(n: int, fraction: float | None, seed: int, *, given: bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Training and validation rows; none are held out when others are given, or when there are very few."""
    if given or fraction == 0 or n < 10:
        return np.arange(n), np.arange(0)
    return split(n, 0.1, seed, MAX_VALIDATION_ROWS) if fraction is None else split(n, fraction, seed)


def _without_effect(settings: Settings) -> tuple[str, ...]:
    """A sentence for each choice that has no effect beside the others."""
    objective, inference, posterior = settings.objective, settings.inference.word, settings.posterior
    said = []
    if not objective.own and objective.kl_schedule != "linear" and not objective.kl_warmup_steps:
        said.append("kl_schedule has no effect here: it goes with kl_warmup_steps above 0.")
    if inference == "exact" and not objective.own and (objective.kl_weight != 1 or objective.kl_warmup_steps):
        said.append("A weight on the KL has no effect on an exact q, which is the best one for a weight of 1.")
    if inference == "per_datum" and not posterior.is_flow and settings.gradient.word != "auto":
        said.append("gradient has no effect on a q that an inner loop finds: the loop has its own.")
    if inference == "exact" and not posterior.discrete and posterior.word != "diagonal":
        said.append(f"posterior {posterior.word!r} has no effect here: exact inference has no family.")
    return tuple(said)


def messages_of(config: Config, table: Table) -> list[str]:
    """What the user should know: nothing held out, more latents than columns, settings without effect."""
    messages, spec = list(config.notes), config.specification
    if len(table.values) < 10 and len(config.validation) == 0:
        messages.append(
            f"{table.source} has only {len(table.values)} rows: none are held out to guard against overfitting."
        )
    if spec.latent_dim > spec.n_features:
        messages.append(
            f"latent_dim {spec.latent_dim} is larger than the number of modelled columns {spec.n_features}; a smaller "
            "one says as much."
        )
    return messages
