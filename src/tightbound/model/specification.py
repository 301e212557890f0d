"""From a specification (plain words and numbers, as saved in model.json) to a generative model and an encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from tightbound.model.cells import CellWords
from tightbound.model.columns import ColumnsHead
from tightbound.model.decoders import COVARIANCES, AbstractHead, BernoulliHead, Decoder, gaussian_head
from tightbound.model.discrete import MOST_STATES
from tightbound.model.distributions import AbstractDistribution, StandardGaussian
from tightbound.model.encoders import Encoder
from tightbound.model.families import (
    DISCRETE,
    POSTERIORS,
    AbstractFamily,
    first_parameters,
    make_family,
)
from tightbound.model.generative import GenerativeModel
from tightbound.model.inputs import AbstractInputs, CentredInputs, ColumnsInputs
from tightbound.model.mechanisms import self_masking
from tightbound.model.missingness import FixedSpread, selected_decoder, selected_encoder, spreads_of
from tightbound.model.networks import ACTIVATIONS, MLP, Network
from tightbound.model.priors import LearnedPrior, VampPrior

NetworkFactory = Callable[..., Network]

NETWORKS = ("residual", "mlp", "linear")
LIKELIHOODS = ("gaussian", "bernoulli", "columns")
PRIORS = ("standard", "mixture", "vamp", "maf", "coupling", "spline", *DISCRETE)
SELF_MASKING = {"self_masking": 0, "self_masking_high": 1, "self_masking_low": -1}
"""The sign of each: 1 where high values are missing, 0 where that is to be learnt."""
INFERENCES = ("amortised", "per_datum", "semi_amortised", "exact")
FLOW_SIZES = (128,)
"""Widths of the networks inside a flow."""


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
    """The cells of every column, for the likelihood "columns"."""
    missingness: str = "random"
    """Whether and how the value of a cell decides on its being missing: "random" (it does not), "self_masking" (in a
    direction that is learnt), "self_masking_high", "self_masking_low" (such values are missing)."""
    missing_columns: tuple[int, ...] = ()
    """The columns whose missingness is modelled; the noise of their cells stands behind z."""

    def __post_init__(self) -> None:
        if (len(self.columns) if self.likelihood == "columns" else self.n_features) != self.n_features:
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
}
_TUPLES = ("hidden_sizes", "custom", "missing_columns")
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
    if not (linear and fixed and spec.prior == "standard"):
        raise ValueError(
            "inference='exact' must have a linear-Gaussian model (network='linear', likelihood='gaussian', covariance "
            f"'shared' or 'feature', prior='standard') or discrete latents; got network={spec.network!r}, likelihood="
            f"{spec.likelihood!r}, covariance={spec.covariance!r}, prior={spec.prior!r}; use inference='amortised' or "
            "'per_datum' for a nonlinear decoder."
        )


@final
@dataclasses.dataclass(frozen=True)
class Start:
    """What is known of the data before the fit: where a new model begins.

    With zeros and ones it is a template, whose arrays are to be replaced (see `Start.template`).
    """

    center: np.ndarray
    """Mean of every feature in the model's units, (n_features,): what the encoder subtracts and, for a Bernoulli
    decoder, where its log-odds start (Burda et al., 2016: about one nat on MNIST). Of columns: see `inputs`."""
    floor: np.ndarray
    """Smallest standard deviation of every feature, (n_features,)."""
    spread: np.ndarray | None = None
    """Standard deviation of every column, (n_features,), for the likelihood "columns"."""
    first: np.ndarray | None = None
    """Numbers of a `ColumnsHead` that fit the columns' marginals."""
    rows: np.ndarray | None = None
    """Training rows with `observed`, their mask, for a mechanism of missingness."""
    observed: np.ndarray | None = None
    pseudo_inputs: np.ndarray | None = None
    """Where those of a VampPrior start, (n_components, n_features) in the model's units."""

    @classmethod
    def template(cls, n_features: int, floor: np.ndarray | None = None) -> Start:
        """Nothing is known."""
        zeros, ones = np.zeros(n_features), np.ones(n_features)
        return cls(zeros, ones if floor is None else floor, ones)


@final
@dataclasses.dataclass(frozen=True)
class Parts:
    """A freshly drawn generative model, and what its inference is made of."""

    p: GenerativeModel
    encoder: Encoder | None
    """None where no network is used."""
    family: AbstractFamily
    """Family of q; the encoder's own, where there is one."""


def build(
    spec: Specification,
    *,
    start: Start,
    encoder_network: NetworkFactory | None = None,
    decoder_network: NetworkFactory | None = None,
    key: PRNGKeyArray,
) -> Parts:
    """A freshly drawn generative model and the parts of its inference.

    Args:
        spec: what to build.
        start: what is known of the data.
        encoder_network, decoder_network: factories f(in_size, out_size, key=...) -> network that replace the default.
        key: draws the weights.
    """
    key_encoder, key_decoder = jax.random.split(key)
    key_family, key_prior = (jax.random.fold_in(key, i) for i in (2, 3))  # 0 and 1 are the two above
    default = default_network(spec)
    family = make_family(spec.posterior, spec.latent_dim, key=key_family, **_family_options(spec))
    encoder = None
    if spec.inference in ("amortised", "semi_amortised"):
        inputs = _inputs(spec, start)
        network = (encoder_network or default)(inputs.size, family.n_parameters, key=key_encoder)
        encoder = Encoder(_cast(network, spec.dtype), family, inputs)
    decoder = _decoder(spec, start, decoder_network, key=key_decoder)
    if spec.missing_columns:
        return _selected(spec, start, decoder, encoder_network or default, key=key_encoder)
    return Parts(GenerativeModel(_prior(spec, start, key=key_prior), decoder), encoder, family)


def _selected(
    spec: Specification, start: Start, decoder: Decoder, encoder_network: NetworkFactory, *, key: PRNGKeyArray
) -> Parts:
    """The same with a mechanism of missingness, and the noise of the missing cells behind z."""
    rows = np.zeros((2, spec.n_features)) if start.rows is None else start.rows
    seen = np.arange(2)[:, None] * np.ones(spec.n_features) > 0 if start.observed is None else start.observed
    sign = SELF_MASKING[spec.missingness]
    mechanism = self_masking(rows, seen, columns=spec.missing_columns, sign=sign, dtype=spec.dtype)
    made = _cast(
        selected_encoder(encoder_network, _inputs(spec, start), spec.latent_dim, mechanism, key=key), spec.dtype
    )
    p = GenerativeModel(StandardGaussian(spec.z_size, spec.dtype), selected_decoder(decoder, mechanism))
    return Parts(p, made, made.family)


def _inputs(spec: Specification, start: Start) -> AbstractInputs:
    if spec.likelihood == "columns":
        spread = np.ones_like(start.center) if start.spread is None else start.spread
        return ColumnsInputs(spec.columns, jnp.asarray(np.stack([start.center, spread]), spec.dtype))
    return CentredInputs(jnp.asarray(start.center, spec.dtype), spec.mask_input)


def _family_options(spec: Specification) -> dict[str, Any]:
    return {
        "n_components": spec.n_components,
        "n_levels": spec.n_levels,
        "flow_layers": spec.flow_layers,
        "flow_sizes": FLOW_SIZES,
        "dtype": spec.dtype,
    }


def _decoder(
    spec: Specification,
    start: Start,
    decoder_network: NetworkFactory | None,
    *,
    key: PRNGKeyArray,
) -> Decoder:
    if spec.likelihood == "columns":
        first = None if start.first is None else jnp.asarray(start.first, spec.dtype)
        head: AbstractHead = _cast(ColumnsHead([c.cells() for c in spec.columns], first), spec.dtype)
    elif spec.likelihood == "bernoulli":
        head = BernoulliHead(spec.n_features)
    else:
        head = gaussian_head(spec.covariance, jnp.asarray(start.floor, spec.dtype), rank=spec.rank)
    key_network, key_spread = jax.random.split(key)
    # With a flexible decoder a mechanism of missingness is not identified (Ipsen, Mattei and Frellsen, 2021).
    linear = dataclasses.replace(spec, network="linear") if spec.missing_columns else spec
    factory = decoder_network or default_network(linear)
    z_size = spec.z_size - len(spec.missing_columns)
    network: Any = _cast(factory(z_size, head.n_inputs, key=key_network), spec.dtype)
    if decoder_network is None:
        network = _calmed(network, head, key=key_spread)
        if spec.likelihood == "bernoulli":
            network = _with_output_bias(network, log_odds_of(start.center))
        elif isinstance(head, ColumnsHead):
            network = _with_output_bias(network, head.first)
    if spec.missing_columns and isinstance(head, ColumnsHead) and decoder_network is None:
        network = FixedSpread(network, spreads_of(head))
    return Decoder(network, head, z_size)


def make_prior(name: str, spec: Specification, *, key: PRNGKeyArray) -> AbstractDistribution:
    """The prior with this name that needs no data: all of `PRIORS` but "vamp"."""
    if name == "standard":
        return StandardGaussian(spec.latent_dim, spec.dtype)
    options = {**_family_options(spec), "context_size": 0, "density_first": True}
    family = make_family("iaf" if name == "maf" else name, spec.latent_dim, key=key, **options)
    return LearnedPrior(family, first_parameters(family, spec.dtype))


def _prior(spec: Specification, start: Start, *, key: PRNGKeyArray) -> AbstractDistribution:
    if spec.prior != "vamp":
        return make_prior(spec.prior, spec, key=key)
    rows = np.tile(start.center, (spec.n_components, 1)) if start.pseudo_inputs is None else start.pseudo_inputs
    return VampPrior(jnp.asarray(rows, spec.dtype), spec.latent_dim)


def default_network(spec: Specification) -> NetworkFactory:
    """The factory f(in_size, out_size, key=...) of the network that the specification names."""
    hidden = () if spec.network == "linear" else spec.hidden_sizes

    def make(in_size: int, out_size: int, *, key: PRNGKeyArray) -> MLP:
        residual = spec.network == "residual"
        return MLP(in_size, out_size, hidden, activation=spec.activation, residual=residual, dtype=spec.dtype, key=key)

    return make


def _cast(network: Any, dtype: str) -> Any:
    # A user's network comes in the precision of the process, which need not be the model's.
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, network)


def _calmed(network: Any, head: AbstractHead, *, key: PRNGKeyArray) -> Any:
    # Whatever is not the location begins as a constant that does not depend on z.
    last = network.layers[-1]
    start = head.spread_at_start(key=key).astype(last.bias.dtype)
    new = (last.weight.at[:, head.dim :].set(0), last.bias.at[head.dim :].set(start))
    return eqx.tree_at(lambda a: (a.layers[-1].weight, a.layers[-1].bias), network, new)


def log_odds_of(mean: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities, kept from 0 and 1."""
    p = np.clip(mean, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(p) - np.log1p(-p))


def _with_output_bias(network: Any, bias: Any) -> Any:
    # The marginals, so that the first steps are not spent on learning which pixels are always off.
    new = jnp.asarray(bias, network.layers[-1].weight.dtype)
    return eqx.tree_at(lambda a: a.layers[-1].bias, network, new)
