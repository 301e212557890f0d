"""From a specification to a freshly drawn generative model and what its inference is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.axes import networks
from tightbound.model.decoders import AbstractHead, BernoulliHead, Decoder, gaussian_head
from tightbound.model.distributions import AbstractDistribution, StandardGaussian
from tightbound.model.encoders import Encoder
from tightbound.model.families import AbstractFamily, make_family
from tightbound.model.generative import GenerativeModel
from tightbound.model.likelihoods.columns import ColumnsHead, FixedSpread, spreads_of
from tightbound.model.likelihoods.covariates import TOTAL, conditioned_decoder
from tightbound.model.likelihoods.mechanisms import self_masking
from tightbound.model.likelihoods.missingness import selected_decoder, selected_encoder
from tightbound.model.likelihoods.multinomial_counts import DirichletMultinomialHead, MultinomialHead
from tightbound.model.networks.dense import MLP, Network
from tightbound.model.networks.inputs import AbstractInputs, CentredInputs, ColumnsInputs
from tightbound.model.networks.sets import set_inputs
from tightbound.model.priors import make_prior
from tightbound.model.specification import SELF_MASKING, Specification
from tightbound.model.streams import Stream

NetworkFactory = Callable[..., Network]

FLOW_SIZES = (128,)
"""Widths of the networks inside a flow."""
_QUIET = 0.1


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
        network = network_factory(spec, "encoder")(inputs.size, family.n_parameters, key=key_encoder)
        encoder = Encoder(_cast(network, spec.dtype), family, inputs)
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
    made = _cast(
        selected_encoder(encoder_network, _inputs(spec, start, key=key), spec.latent_dim, mechanism, key=key),
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
    likelihood = spec.likelihood
    if likelihood.word == "columns":
        first = None if start.first is None else jnp.asarray(start.first, spec.dtype)
        head: AbstractHead = _cast(ColumnsHead([spec.columns[j].cells() for j in own], first), spec.dtype)
        return head
    if likelihood.word == "bernoulli":
        return BernoulliHead(len(own))
    if likelihood.of_sums:
        return MultinomialHead(len(own)) if likelihood.word == "multinomial" else DirichletMultinomialHead(len(own))
    rank = min(likelihood.rank, spec.n_features)
    return gaussian_head(likelihood.covariance, jnp.asarray(start.floor[own], spec.dtype), rank=rank)


def _decoder(spec: Specification, start: Start, *, key: PRNGKeyArray) -> Decoder:
    head, conditions = _head(spec, start), _inputs_of_conditions(spec, start)
    key_network, key_spread = jax.random.split(key)
    factory, own = network_factory(spec, "decoder"), "decoder" in spec.custom
    z_size = spec.z_size - len(spec.missing_columns)
    in_size = z_size + (0 if conditions is None else conditions.size)
    network: Any = _cast(factory(in_size, head.n_inputs, key=key_network), spec.dtype)
    if not own:
        network = _begun(_calmed(network, head, key=key_spread), head, start, list(spec.cells))
    if isinstance(head, ColumnsHead) and not own:
        if spec.likelihood.spread == "column":
            network = FixedSpread(network, spreads_of(head))
        elif spec.missing_columns:  # else a spread that depends on z explains the edge of what is missing
            network = FixedSpread(network, spreads_of(head, gaussian_alone=True))
    if not spec.conditioned:
        return Decoder(network, head, z_size)
    width = len(spec.conditions) + (spec.exposure is not None)
    given = np.zeros((1, width)) if start.given is None else start.given
    return conditioned_decoder(
        network, head, z_size, given, inputs=conditions, conditions=spec.conditions, exposure=spec.exposure
    )


def _begun(network: Any, head: AbstractHead, start: Start, own: list[int]) -> Any:
    """The network with the marginals in its last bias, so that no step is spent on learning which cells are rare."""
    if isinstance(head, ColumnsHead):
        return _with_output_bias(_quiet(network, head.counts), head.first)
    if isinstance(head, BernoulliHead):
        return _with_output_bias(network, log_odds_of(start.center[own]))
    if isinstance(head, MultinomialHead | DirichletMultinomialHead):
        network = _quiet(network, np.arange(head.dim))
    if isinstance(head, MultinomialHead | DirichletMultinomialHead) and start.first is not None:
        return _with_output_bias(network, np.append(start.first, head.spread_at_start(key=jax.random.key(0))))
    return network


def _quiet(network: Any, cells: np.ndarray) -> Any:
    """Smaller weights into log means: what is a standard deviation elsewhere multiplies and divides by e there."""
    if not len(cells):
        return network
    weight = network.layers[-1].weight
    return eqx.tree_at(lambda a: a.layers[-1].weight, network, weight.at[:, cells].multiply(_QUIET))


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
    """The factory f(in_size, out_size, key=...) of the network of the "encoder" or the "decoder"."""
    if side in spec.custom:
        own: NetworkFactory = getattr(spec.network, side)
        return own
    network = spec.network.made_here
    # With a flexible decoder a mechanism of missingness is not identified (Ipsen, Mattei and Frellsen, 2021).
    if side == "decoder" and spec.missing_columns:
        network = networks.Linear()
    hidden = network.sizes(spec.n_features)

    def make(in_size: int, out_size: int, *, key: PRNGKeyArray) -> MLP:
        options: dict[str, Any] = {"activation": network.activity, "residual": network.residual}
        return MLP(in_size, out_size, hidden, **options, dtype=spec.dtype, key=key)

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
    new = jnp.asarray(bias, network.layers[-1].weight.dtype)
    return eqx.tree_at(lambda a: a.layers[-1].bias, network, new)
