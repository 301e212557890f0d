"""From a specification, what fixes the shapes of a model, to a freshly drawn one and what its inference is made of."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model import axes
from tightbound.model.axes import as_member, from_json, networks
from tightbound.model.axes.likelihoods import MEMBERS as _LIKELIHOODS
from tightbound.model.axes.parameters import MOST_LATENTS, check_choice, check_number
from tightbound.model.axes.priors import MEMBERS as _PRIORS
from tightbound.model.distributions import MOST_STATES, AbstractDistribution, StandardGaussian
from tightbound.model.families import AbstractFamily, cast, make_family
from tightbound.model.generative import Decoder, Encoder, GenerativeModel, make_prior
from tightbound.model.likelihoods import ColumnSpecification
from tightbound.model.likelihoods.covariates import TOTAL, conditioned_decoder
from tightbound.model.likelihoods.heads import AbstractHead, Modelled
from tightbound.model.likelihoods.missingness import selected_decoder, selected_encoder, self_masking
from tightbound.model.networks.dense import MLP, Network, PartlyConstant, with_output_layer
from tightbound.model.networks.inputs import AbstractInputs, CentredInputs, ColumnsInputs, set_inputs
from tightbound.model.streams import Stream

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


NetworkFactory = Callable[..., Network]

FLOW_SIZES = (128,)
"""Widths of the networks inside a flow."""


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
    given: np.ndarray | None = None
    """Conditions of training rows, and their log exposure (or log total), (n, n_given)."""

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


def build(spec: Specification, *, start: Start, key: PRNGKeyArray) -> Parts:
    """A freshly drawn generative model and the parts of its inference.

    Args:
        spec: what to build.
        start: what is known of the data.
        key: draws the weights.
    """
    key_encoder, key_decoder, key_family, key_prior = jax.random.split(key, 4)
    family = make_family(spec.posterior, spec.latent_dim, key=key_family, flow_sizes=FLOW_SIZES, dtype=spec.dtype)
    encoder = None
    if spec.inference.has_encoder:
        inputs = _inputs(spec, start, key=key_encoder)
        factory = network_factory(spec, "encoder")
        network = _made(factory, inputs.size, family.n_parameters, spec.shape, key=key_encoder)
        encoder = Encoder(cast(network, spec.dtype), family, inputs)
    decoder = _decoder(spec, start, key=key_decoder)
    if spec.missing_columns:
        return _selected(spec, start, decoder, network_factory(spec, "encoder"), key=key_encoder)
    return Parts(GenerativeModel(prior_of(spec, start, key=key_prior), decoder), encoder, family)


def _selected(
    spec: Specification, start: Start, decoder: Decoder, encoder_network: NetworkFactory, *, key: PRNGKeyArray
) -> Parts:
    """The same with a mechanism of missingness, and the noise of the missing cells behind z."""
    rows = np.zeros((2, spec.n_features)) if start.rows is None else start.rows
    seen = np.arange(2)[:, None] * np.ones(spec.n_features) > 0 if start.observed is None else start.observed
    sign = SELF_MASKING[spec.missingness]
    mechanism = self_masking(rows, seen, columns=spec.missing_columns, sign=sign, dtype=spec.dtype)
    made = cast(
        selected_encoder(
            encoder_network, _inputs(spec, start, key=key), spec.latent_dim, mechanism, dtype=spec.dtype, key=key
        ),
        spec.dtype,
    )
    p = GenerativeModel(StandardGaussian(spec.z_size, spec.dtype), selected_decoder(decoder, mechanism))
    return Parts(p, made, made.family)


def _inputs(spec: Specification, start: Start, *, key: PRNGKeyArray) -> AbstractInputs:
    """What the encoder's network sees of a row."""
    if spec.encoder == "masking":
        return _cells_seen(spec, start, spec.mask_input)
    return set_inputs(_cells_seen(spec, start, False), dtype=spec.dtype, key=Stream.SET_INPUTS.of(key))


def _cells_seen(spec: Specification, start: Start, with_mask: bool) -> CentredInputs | ColumnsInputs:
    if not spec.columns:
        return CentredInputs(jnp.asarray(start.center, spec.dtype), with_mask)
    typical = 0.0 if start.given is None or spec.exposure is None else float(np.mean(start.given[:, -1]))
    exposure = TOTAL if spec.likelihood.of_sums else spec.exposure
    return ColumnsInputs(
        spec.columns, _moments(spec, start), exposure=exposure, log_typical=typical, with_mask=with_mask
    )


def _moments(spec: Specification, start: Start) -> Float[Array, "_ d"]:
    spread = np.ones_like(start.center) if start.spread is None else start.spread
    return jnp.asarray(np.stack([start.center, spread]), spec.dtype)


def _inputs_of_conditions(spec: Specification, start: Start) -> ColumnsInputs | None:
    """What the decoder sees of the conditions."""
    if not spec.conditions:
        return None
    where = list(spec.conditions)
    return ColumnsInputs([spec.columns[j] for j in where], _moments(spec, start)[:, np.array(where)])


def _head(spec: Specification, start: Start) -> AbstractHead:
    """The distribution of the modelled cells."""
    own = list(spec.cells)
    columns = tuple(spec.columns[j] for j in own) if spec.columns else ()
    made: AbstractHead = axes.maker(spec.likelihood.home)(
        spec.likelihood, Modelled(start.floor[own], spec.dtype, columns, start.first)
    )
    return made


def _decoder(spec: Specification, start: Start, *, key: PRNGKeyArray) -> Decoder:
    head, conditions = _head(spec, start), _inputs_of_conditions(spec, start)
    key_network, key_spread = jax.random.split(key)
    factory = network_factory(spec, "decoder")
    z_size = spec.z_size - len(spec.missing_columns)
    in_size = z_size + (0 if conditions is None else conditions.size)
    made = cast(_made(factory, in_size, head.n_inputs, spec.shape, key=key_network), spec.dtype)
    head.check_network(made, in_size, spec.dtype)
    network = with_output_layer(made, head.n_inputs, spec.dtype)
    output = head.start(network.output, start.center[list(spec.cells)], start.first, key=key_spread)
    # With a mechanism, a spread that depends on z explains the edge of what is missing.
    of_column = spec.likelihood.word == "columns" and spec.likelihood.spread == "column"
    fixed = head.spreads(gaussian_alone=not of_column) if of_column or spec.missing_columns else ()
    network = network.with_output(PartlyConstant(output, fixed) if fixed else output)
    if not spec.conditioned:
        return Decoder(network, head, z_size)
    width = len(spec.conditions) + (spec.exposure is not None)
    given = np.zeros((1, width)) if start.given is None else start.given
    return conditioned_decoder(
        network, head, z_size, given, inputs=conditions, conditions=spec.conditions, exposure=spec.exposure
    )


def prior_of(spec: Specification, start: Start | None = None, *, key: PRNGKeyArray) -> AbstractDistribution:
    """The prior that a specification names; a VampPrior starts at the mean row unless `start` says where."""
    making: dict[str, Any] = {"flow_sizes": FLOW_SIZES, "dtype": spec.dtype}
    if spec.discrete:
        return make_prior(spec.posterior, spec.latent_dim, key=key, **making)  # of as many levels
    if spec.prior.needs_encoder:
        n = spec.prior.n_components
        known = Start.template(spec.n_features) if start is None else start
        rows = np.tile(known.center, (n, 1)) if known.pseudo_inputs is None else known.pseudo_inputs
        making["pseudo_inputs"] = jnp.asarray(rows, spec.dtype)
    return make_prior(spec.prior, spec.latent_dim, key=key, **making)


def network_factory(spec: Specification, side: str) -> NetworkFactory:
    """The factory f(in_size, out_size, key=...) of the network of the "encoder" or the "decoder".

    One of a user with a parameter `shape` is told the shape of a datum: (height, width) or (height, width, channels) of
    an image. Its network sees and returns the datum as one vector, row after row: an encoder's that of the values,
    followed by that of the mask where it is 2 prod(shape) long, a decoder's that of the locations, then the
    likelihood's other numbers. The output layer, at the marginals when a fit begins, is put behind a decoder's network.
    """
    if side in spec.custom:
        return _checked(getattr(spec.network, side))
    network = spec.network.made_here
    # With a flexible decoder a mechanism of missingness is not identified (Ipsen, Mattei and Frellsen, 2021).
    if side == "decoder" and spec.missing_columns:
        network = networks.Linear()
    hidden = network.sizes(spec.n_features)

    def make(in_size: int, out_size: int, *, key: PRNGKeyArray) -> MLP:
        options: dict[str, Any] = {"activation": network.activity, "residual": network.residual}
        return MLP(in_size, out_size, hidden, **options, dtype=spec.dtype, key=key)

    return make


def _made(factory: NetworkFactory, in_size: int, out_size: int, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Any:
    """What the factory makes; one with a parameter `shape` is told that of a datum: () of a row of columns."""
    told = {"shape": shape} if "shape" in inspect.signature(factory).parameters else {}
    return factory(in_size, out_size, **told, key=key)


def _checked(factory: Any) -> NetworkFactory:
    """A user's factory; refuses what is none (`TypeError`)."""
    if not callable(factory) or isinstance(factory, eqx.Module):
        raise TypeError(
            "A network of your own must be functions f(in_size, out_size, *, key) that return a network; got "
            f"{type(factory).__name__}; wrap yours: lambda i, o, *, key: MyNetwork(i, o, key)."
        )
    made: NetworkFactory = factory
    return made
