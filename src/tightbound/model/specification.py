"""What fixes the shapes of a model: plain words and numbers, as saved in model.json."""

from __future__ import annotations

import dataclasses
from typing import Any, final

from tightbound.model.decoders import COVARIANCES
from tightbound.model.discrete import MOST_STATES
from tightbound.model.families import DISCRETE, POSTERIORS
from tightbound.model.likelihoods import CellWords
from tightbound.model.networks.dense import ACTIVATIONS

NETWORKS = ("residual", "mlp", "linear")
BAGS = ("multinomial", "dirichlet_multinomial")
"""Likelihoods of a row of counts given their sum."""
LIKELIHOODS = ("gaussian", "bernoulli", "columns", *BAGS)
ENCODERS = ("masking", "set")
PRIORS = ("standard", "mixture", "vamp", "maf", "coupling", "spline", *DISCRETE)
SELF_MASKING = {"self_masking": 0, "self_masking_high": 1, "self_masking_low": -1}
"""The sign of each: 1 where high values are missing, 0 where that is to be learnt."""
INFERENCES = ("amortised", "per_datum", "semi_amortised", "exact")


@final
@dataclasses.dataclass(frozen=True)
class Specification:
    """Everything that fixes the shapes of a model.

    `network` names the default networks ("residual", "mlp" or "linear"); `custom` says which of "encoder" and "decoder"
    the user supplied instead.
    """

    n_features: int
    latent_dim: int
    """Number of latent variables; a categorical one of c levels takes c places in z (`z_size`)."""
    likelihood: str = "gaussian"
    covariance: str = "feature"
    rank: int = 5
    prior: str = "standard"
    posterior: str = "diagonal"
    inference: str = "amortised"
    n_components: int = 10
    n_levels: int = 10
    flow_layers: int = 2
    steps_on_new_rows: int = 20
    """Steps of the inner loop on a row that was never seen."""
    inner_rate: float = 0.3
    """Rate of these steps."""
    network: str = "residual"
    hidden_sizes: tuple[int, ...] = (300, 300, 300)
    activation: str = "silu"
    mask_input: bool = False
    dtype: str = "float32"
    custom: tuple[str, ...] = ()
    columns: tuple[CellWords, ...] = ()
    """The cells of every column of a mixed table; of those that are given, how the networks see them."""
    conditions: tuple[int, ...] = ()
    """Columns that p(x | z, c) is given: no part of x."""
    exposure: int | None = None
    """The column that holds a log exposure of the counts; -1: it is the sum of a row's counts; None: there is none."""
    encoder: str = "masking"
    """What the encoder does with missing cells: "masking" (zeros, and the mask), "set" (a sum over observed cells)."""
    spread: str = "latent"
    """Whether what is not the location of a continuous or count column depends on z ("latent") or not ("column")."""
    missingness: str = "random"
    """Whether and how the value of a cell decides on its being missing: "random" (it does not), "self_masking" (in a
    direction that is learnt), "self_masking_high", "self_masking_low" (such values are missing)."""
    missing_columns: tuple[int, ...] = ()
    """The columns whose missingness is modelled; the noise of their cells stands behind z."""

    def __post_init__(self) -> None:
        needed = self.likelihood in ("columns", *BAGS) or self.conditions or self.exposure is not None or self.columns
        if needed and len(self.columns) != self.n_features:
            raise ValueError(
                f"columns must have one entry for each of the {self.n_features} features; got {len(self.columns)}; "
                "give the cells of every column."
            )
        for name, legal in _LEGAL.items():
            value = getattr(self, name)
            if value not in legal:
                raise ValueError(f"{name} must be one of {', '.join(legal)}; got {value!r}; choose one of those.")
        for name, (least, usual) in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}; got {getattr(self, name)}; {usual} is usual.")
        if not self.inner_rate > 0:
            raise ValueError(f"inner_rate must be above 0; got {self.inner_rate!r}; 0.3 is usual.")
        if any(not isinstance(size, int) or size < 1 for size in self.hidden_sizes):
            raise ValueError(
                f"hidden_sizes must be whole numbers of at least 1; got {self.hidden_sizes!r}; (300, 300) is usual."
            )
        _check_latents(self)
        if self.missingness != "random":
            _check_missingness(self)
        if self.inference == "exact":
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
    def discrete(self) -> bool:
        """Whether z is."""
        return self.posterior in DISCRETE

    @property
    def z_size(self) -> int:
        """Length of z."""
        return self.latent_dim * (self.n_levels if self.posterior == "categorical" else 1) + len(self.missing_columns)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        tuples = {name: list(getattr(self, name)) for name in _TUPLES}
        return {**dataclasses.asdict(self), **tuples, "columns": [c.to_json() for c in self.columns]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Specification:
        """The inverse of `to_json`; raises `ValueError` or `TypeError` for values that make no model."""
        tuples = {name: tuple(values[name]) for name in _TUPLES}
        return cls(**{**values, **tuples, "columns": tuple(CellWords.from_json(c) for c in values["columns"])})


_LEGAL: dict[str, tuple[str, ...]] = {
    "likelihood": LIKELIHOODS,
    "covariance": COVARIANCES,
    "prior": PRIORS,
    "posterior": POSTERIORS,
    "inference": INFERENCES,
    "network": NETWORKS,
    "activation": tuple(ACTIVATIONS),
    "dtype": ("float32", "float64"),
    "missingness": ("random", *SELF_MASKING),
    "encoder": ENCODERS,
    "spread": ("latent", "column"),
}
_TUPLES = ("hidden_sizes", "custom", "missing_columns", "conditions")
_LEAST: dict[str, tuple[int, str]] = {
    "latent_dim": (1, "2 to 50"),
    "n_components": (1, "10"),
    "n_levels": (2, "10"),
    "flow_layers": (1, "2"),
    "steps_on_new_rows": (1, "20"),
}


def _check_latents(spec: Specification) -> None:
    """Refuse a prior and a posterior that are not distributions over the same z, and flows that have no room."""
    legal = (spec.posterior,) if spec.discrete else tuple(name for name in PRIORS if name not in DISCRETE)
    if spec.prior not in legal:
        raise ValueError(
            f"prior must be {' or '.join(legal)} for the {'discrete' if spec.discrete else 'continuous'} posterior "
            f"{spec.posterior!r}; got {spec.prior!r}; choose one of those, or prior='auto'."
        )
    for name in ("prior", "posterior"):
        if getattr(spec, name) in ("coupling", "spline") and spec.latent_dim < 2:
            raise ValueError(
                f"{name}={getattr(spec, name)!r} must have a latent_dim of at least 2: a coupling flow changes "
                f"one half given the other; got {spec.latent_dim}; use "
                f"{'maf' if name == 'prior' else 'iaf'}, or more latents."
            )
    if spec.prior == "vamp" and spec.inference in ("per_datum", "exact"):
        raise ValueError(
            f"prior='vamp' must have an encoder (inference amortised or semi_amortised); got {spec.inference!r}; use "
            "prior='mixture'."
        )


def _check_missingness(spec: Specification) -> None:
    """Refuse what a mechanism of missingness does not go with."""
    wanted = {"likelihood": "columns", "prior": "standard", "posterior": "diagonal", "inference": "amortised"}
    for name, value in wanted.items():
        if getattr(spec, name) != value:
            raise ValueError(
                f"missingness={spec.missingness!r} must go with {name}={value!r}; got {getattr(spec, name)!r}; use "
                "that, or missingness='random'."
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
        states = (spec.n_levels if spec.posterior == "categorical" else 2) ** spec.latent_dim
        if states > MOST_STATES:
            raise ValueError(
                f"inference='exact' must have at most 2^16 = {MOST_STATES} latent states; got {states}; use a smaller "
                "latent_dim, or inference='amortised'."
            )
        return
    linear = spec.network == "linear" and "decoder" not in spec.custom
    fixed = spec.likelihood == "gaussian" and spec.covariance in ("shared", "feature")
    if not (linear and fixed and spec.prior == "standard" and not spec.conditioned):
        raise ValueError(
            "inference='exact' must have a linear-Gaussian model (network='linear', likelihood='gaussian', covariance "
            "'shared' or 'feature', prior='standard', no condition) or discrete latents; got "
            f"network={spec.network!r}, likelihood={spec.likelihood!r}, covariance={spec.covariance!r}, "
            f"prior={spec.prior!r}; use inference='amortised' or 'per_datum' for a nonlinear decoder."
        )
