"""From a specification to a freshly drawn generative model and what its inference is made of."""

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
from tightbound.model.axes import networks
from tightbound.model.distributions import AbstractDistribution, StandardGaussian
from tightbound.model.families import AbstractFamily, cast, make_family
from tightbound.model.generative import Decoder, Encoder, GenerativeModel
from tightbound.model.likelihoods.covariates import TOTAL, conditioned_decoder
from tightbound.model.likelihoods.heads import AbstractHead, Modelled
from tightbound.model.likelihoods.missingness import selected_decoder, selected_encoder, self_masking
from tightbound.model.networks.dense import MLP, Network, PartlyConstant, with_output_layer
from tightbound.model.networks.inputs import AbstractInputs, CentredInputs, ColumnsInputs, set_inputs
from tightbound.model.priors import make_prior
from tightbound.model.specification import SELF_MASKING, Specification
from tightbound.model.streams import Stream

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
