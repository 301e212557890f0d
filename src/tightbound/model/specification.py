"""What fixes the shapes of a model: plain words and numbers, as saved in model.json."""

from __future__ import annotations

import dataclasses
from typing import Any, final

from tightbound.model.axes import as_member, from_json
from tightbound.model.axes.likelihoods import MEMBERS as _LIKELIHOODS
from tightbound.model.axes.parameters import MOST_LATENTS, check_choice, check_number
from tightbound.model.axes.priors import MEMBERS as _PRIORS
from tightbound.model.discrete import MOST_STATES
from tightbound.model.likelihoods import ColumnSpecification

MULTINOMIALS = tuple(each.word for each in _LIKELIHOODS if each.of_sums)
"""Likelihoods of a row of counts given their sum."""
ENCODERS = ("masking", "set")
SELF_MASKING = {"self_masking": 0, "self_masking_high": 1, "self_masking_low": -1}
"""The sign of each: 1 where high values are missing, 0 where that is to be learnt."""


@final
@dataclasses.dataclass(frozen=True)
class Specification:
    """Everything that fixes the shapes of a model.

    Members of axes may be given as words.
    """

    n_features: int
    latent_dim: int
    """Number of latent variables; a categorical one of c levels takes c places in z (`z_size`)."""
    likelihood: Any = "gaussian"
    prior: Any = "standard"
    posterior: Any = "diagonal"
    inference: Any = "amortised"
    network: Any = "residual"
    shape: tuple[int, ...] = ()
    """Of a datum, where it is an image: (height, width) or (height, width, channels)."""
    mask_input: bool = False
    dtype: str = "float32"
    columns: tuple[ColumnSpecification, ...] = ()
    """The cells of every column of a mixed table; of those that are given, how the networks see them."""
    conditions: tuple[int, ...] = ()
    """Columns that p(x | z, c) is given: no part of x."""
    exposure: int | None = None
    """The column that holds a log exposure of the counts; -1: it is the sum of a row's counts; None: there is none."""
    encoder: str = "masking"
    """What the encoder does with missing cells: "masking" (zeros, and the mask), "set" (a sum over observed cells)."""
    missingness: str = "random"
    """Whether and how the value of a cell decides on its being missing: "random" (it does not), "self_masking" (in a
    direction that is learnt), "self_masking_high", "self_masking_low" (such values are missing)."""
    missing_columns: tuple[int, ...] = ()
    """The columns whose missingness is modelled; the noise of their cells stands behind z."""

    def __post_init__(self) -> None:
        for axis in AXES:
            object.__setattr__(self, axis, as_member(axis, getattr(self, axis)))
        needed = self.likelihood.by_column or self.conditions or self.exposure is not None or self.columns
        if needed and len(self.columns) != self.n_features:
            raise ValueError(
                f"columns must have one entry for each of the {self.n_features} features; got {len(self.columns)}; "
                "give the cells of every column."
            )
        for name, legal in _LEGAL.items():
            check_choice(name, getattr(self, name), legal)
        check_number("latent_dim", self.latent_dim, 1, MOST_LATENTS, "2 to 50 is usual")
        _check_latents(self)
        if self.missingness != "random":
            _check_missingness(self)
        if self.inference.word == "exact":
            _check_exact(self)

    @property
    def conditioned(self) -> bool:
        """Whether p(x | z, c) is given something."""
        return bool(self.conditions) or self.exposure is not None

    @property
    def cells(self) -> tuple[int, ...]:
        """The columns that are modelled."""
        given = {*self.conditions, self.exposure}
        return tuple(j for j in range(self.n_features) if j not in given)

    @property
    def custom(self) -> tuple[str, ...]:
        """Which of "encoder" and "decoder" have a network of the user's own."""
        return tuple(self.network.replaced)

    @property
    def discrete(self) -> bool:
        """Whether z is."""
        return bool(self.posterior.discrete)

    @property
    def z_size(self) -> int:
        """Length of z."""
        return int(self.latent_dim * self.posterior.width) + len(self.missing_columns)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        members = {axis: plain[axis].to_json() for axis in AXES}
        tuples = {name: list(plain[name]) for name in _TUPLES}
        return {**plain, **members, **tuples, "columns": [c.to_json() for c in self.columns]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Specification:
        """The inverse of `to_json`; raises `ValueError` or `TypeError` for values that make no model."""
        members = {axis: from_json(axis, values[axis]) for axis in AXES}
        tuples = {name: tuple(values[name]) for name in _TUPLES}
        columns = tuple(ColumnSpecification.from_json(c) for c in values["columns"])
        return cls(**{**values, **members, **tuples, "columns": columns})


AXES = ("likelihood", "prior", "posterior", "inference", "network")
"""Those that fix the shapes."""
_LEGAL: dict[str, tuple[str, ...]] = {
    "dtype": ("float32", "float64"),
    "missingness": ("random", *SELF_MASKING),
    "encoder": ENCODERS,
}
_TUPLES = ("shape", "missing_columns", "conditions")


def _check_latents(spec: Specification) -> None:
    """Refuse a prior and a posterior that are not distributions over the same z, and flows that have no room."""
    if spec.prior.discrete != spec.discrete or (spec.discrete and spec.prior.word != spec.posterior.word):
        continuous = (each.word for each in _PRIORS if not each.discrete and each.word != "auto")
        legal = (spec.posterior.word,) if spec.discrete else tuple(continuous)
        raise ValueError(
            f"prior must be {' or '.join(legal)} for the {'discrete' if spec.discrete else 'continuous'} posterior "
            f"{spec.posterior.word!r}; got {spec.prior.word!r}; choose one of those, or prior='auto'."
        )
    for name, other in (("prior", "maf"), ("posterior", "iaf")):
        each = getattr(spec, name)
        if spec.latent_dim < each.fewest_latents:
            raise ValueError(
                f"{name}={each.word!r} must have a latent_dim of at least {each.fewest_latents}: a coupling flow "
                f"changes one half given the other; got {spec.latent_dim}; use {other}, or more latents."
            )
    if spec.prior.needs_encoder and not spec.inference.has_encoder:
        raise ValueError(
            f"prior={spec.prior.word!r} must have an encoder (inference amortised or semi_amortised); got "
            f"{spec.inference.word!r}; use prior='mixture'."
        )


def _check_missingness(spec: Specification) -> None:
    """Refuse what a mechanism of missingness does not go with."""
    wanted = {"likelihood": "columns", "prior": "standard", "posterior": "diagonal", "inference": "amortised"}
    for name, word in wanted.items():
        if (got := getattr(spec, name).word) != word:
            raise ValueError(
                f"missingness={spec.missingness!r} must go with {name}={word!r}; got {got!r}; use that, or "
                "missingness='random'."
            )
    if spec.conditioned or spec.encoder != "masking":
        raise ValueError(
            f"missingness={spec.missingness!r} must go without condition, exposure and encoder='set'; leave them out, "
            "or use missingness='random'."
        )
    if not spec.missing_columns:
        raise ValueError(
            f"missingness={spec.missingness!r} must have a continuous column with missing cells; there is none; use "
            "missingness='random'."
        )


def _check_exact(spec: Specification) -> None:
    """Refuse exact inference where there is no closed form."""
    if spec.discrete:
        states = spec.posterior.states**spec.latent_dim
        if states > MOST_STATES:
            raise ValueError(
                f"inference='exact' must have at most 2^16 = {MOST_STATES} latent states; got {states}; use a smaller "
                "latent_dim, or inference='amortised'."
            )
        return
    linear = spec.network.made_here.word == "linear" and "decoder" not in spec.custom
    if not (linear and spec.likelihood.fixed_scale and spec.prior.word == "standard" and not spec.conditioned):
        raise ValueError(
            "inference='exact' must have a linear-Gaussian model (network='linear', likelihood='gaussian' with "
            "covariance 'shared' or 'feature', prior='standard', no condition) or discrete latents; got "
            f"network={str(spec.network)!r}, likelihood={str(spec.likelihood)!r}, prior={str(spec.prior)!r}; use "
            "inference='amortised' or 'per_datum' for a nonlinear decoder."
        )
