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

from tightbound.model.decoders import COVARIANCES, AbstractHead, BernoulliHead, Decoder, gaussian_head
from tightbound.model.distributions import StandardGaussian
from tightbound.model.encoders import Encoder
from tightbound.model.families import FAMILIES
from tightbound.model.generative import GenerativeModel
from tightbound.model.networks import ACTIVATIONS, MLP, Network

NetworkFactory = Callable[..., Network]

NETWORKS = ("residual", "mlp", "linear")
LIKELIHOODS = ("gaussian", "bernoulli")


@final
@dataclasses.dataclass(frozen=True)
class Specification:
    """Everything that fixes the shapes of a model.

    `network` names the default networks ("residual", "mlp" or "linear"); `custom` says which of "encoder" and "decoder"
    the user supplied instead.
    """

    n_features: int
    latent_dim: int
    likelihood: str = "gaussian"
    covariance: str = "feature"
    rank: int = 5
    posterior: str = "diagonal"
    network: str = "residual"
    hidden_sizes: tuple[int, ...] = (300, 300, 300)
    activation: str = "silu"
    mask_input: bool = False
    dtype: str = "float32"
    custom: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, legal in _LEGAL.items():
            value = getattr(self, name)
            if value not in legal:
                raise ValueError(f"{name} must be one of {', '.join(legal)}; got {value!r}; choose one of those.")
        if self.latent_dim < 1:
            raise ValueError(
                f"latent_dim must be a whole number of at least 1; got {self.latent_dim}; 2 to 50 is usual."
            )
        if any(not isinstance(size, int) or size < 1 for size in self.hidden_sizes):
            raise ValueError(
                f"hidden_sizes must be whole numbers of at least 1; got {self.hidden_sizes!r}; (300, 300) is usual."
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "hidden_sizes": list(self.hidden_sizes), "custom": list(self.custom)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Specification:
        """The inverse of `to_json`; raises `ValueError` or `TypeError` for values that make no model."""
        return cls(**{**values, "hidden_sizes": tuple(values["hidden_sizes"]), "custom": tuple(values["custom"])})


_LEGAL: dict[str, tuple[str, ...]] = {
    "likelihood": LIKELIHOODS,
    "covariance": COVARIANCES,
    "posterior": tuple(FAMILIES),
    "network": NETWORKS,
    "activation": tuple(ACTIVATIONS),
    "dtype": ("float32", "float64"),
}


def build(
    spec: Specification,
    *,
    center: np.ndarray,
    floor: np.ndarray,
    encoder_network: NetworkFactory | None = None,
    decoder_network: NetworkFactory | None = None,
    key: PRNGKeyArray,
) -> tuple[GenerativeModel, Encoder]:
    """A freshly drawn generative model and its encoder.

    Args:
        spec: what to build.
        center: mean of every feature in the model's units, (n_features,): what the encoder subtracts and, for a
            Bernoulli decoder, where its log-odds start (Burda et al., 2016: about one nat on MNIST).
        floor: smallest standard deviation of every feature, (n_features,).
        encoder_network, decoder_network: factories f(in_size, out_size, key=...) -> network that replace the default.
        key: draws the weights.
    """
    key_encoder, key_decoder = jax.random.split(key)
    default = default_network(spec)
    family = FAMILIES[spec.posterior](spec.latent_dim)
    n_inputs = spec.n_features * (2 if spec.mask_input else 1)
    encoder = Encoder(
        _cast((encoder_network or default)(n_inputs, family.n_parameters, key=key_encoder), spec.dtype),
        family,
        jnp.asarray(center, spec.dtype),
        spec.mask_input,
    )
    if spec.likelihood == "bernoulli":
        head: AbstractHead = BernoulliHead(spec.n_features)
    else:
        head = gaussian_head(spec.covariance, jnp.asarray(floor, spec.dtype), rank=spec.rank)
    key_network, key_spread = jax.random.split(key_decoder)
    network: Any = _cast((decoder_network or default)(spec.latent_dim, head.n_inputs, key=key_network), spec.dtype)
    if decoder_network is None:
        network = _calmed(network, head, key=key_spread)
        network = _with_output_bias(network, center) if spec.likelihood == "bernoulli" else network
    decoder = Decoder(network, head, spec.latent_dim)
    return GenerativeModel(StandardGaussian(spec.latent_dim, spec.dtype), decoder), encoder


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


def _with_output_bias(network: Any, mean: np.ndarray) -> Any:
    # Log-odds of the training mean, so that the first steps are not spent on learning which pixels are always off.
    p = np.clip(mean, 1e-3, 1 - 1e-3)
    bias = jnp.asarray(np.log(p) - np.log1p(-p), network.layers[-1].weight.dtype)
    return eqx.tree_at(lambda a: a.layers[-1].bias, network, bias)
