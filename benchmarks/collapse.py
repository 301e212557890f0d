"""Posterior collapse: a decoder so strong that it needs no z, and what keeps the latents alive.

    python benchmarks/collapse.py

The decoder is autoregressive (a masked network over the cells, with z as its context), so p(x | z) can be p(x) by
itself. A row is a chain of 50 bits whose two transition probabilities are its own, drawn uniformly. For each way of
learning: mutual information of held-out rows and z, KL(q || prior), active units, ELBO and log p(x) (500 draws).
"""

import argparse
import time
from typing import ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound import learn
from tightbound.evidence import encode, importance_evidence
from tightbound.model import (
    MLP,
    AbstractDistribution,
    CentredInputs,
    Decoder,
    DiagonalGaussianFamily,
    Encoder,
    GenerativeModel,
    StandardGaussian,
)
from tightbound.model.distributions import Mask, Scalar, Vector
from tightbound.model.flows.masked import MaskedMLP
from tightbound.model.likelihoods.heads import AbstractHead


@final
class AutoregressiveBits(AbstractDistribution):
    """prod_j Bernoulli(x_j | x_<j, context)."""

    reparameterised: ClassVar[bool] = False
    network: MaskedMLP
    context: Float[Array, " c"]

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.network.dim

    @property
    def mean(self) -> Vector:
        """Not known without draws."""
        raise TypeError("An autoregressive decoder has no mean in closed form.")

    @property
    def variance(self) -> Vector:
        """Not known without draws."""
        raise TypeError("An autoregressive decoder has no variance in closed form.")

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """Not needed here."""
        raise TypeError("This benchmark draws no rows.")

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """Sum over cells of x l - log(1 + e^l), in one pass."""
        logits = self.network(x, self.context)[:, 0]
        return jnp.sum(x * logits - jax.nn.softplus(logits))


@final
class AutoregressiveHead(AbstractHead):
    """The network of the decoder makes the context of a masked network over the cells."""

    masked: MaskedMLP

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.masked.dim

    @property
    def n_inputs(self) -> int:
        """Size of the context."""
        return self.masked.context_size

    def __call__(self, h: Float[Array, " m"]) -> AutoregressiveBits:
        """The cells given this context."""
        return AutoregressiveBits(self.masked, h)

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """Nothing."""
        return jnp.zeros(0)


def pair_for(n_features: int, latent_dim: int, center: np.ndarray) -> learn.Pair:
    """A pair with an autoregressive decoder."""
    keys = jax.random.split(jax.random.key(0), 3)
    masked = MaskedMLP(n_features, 32, (256,), 1, dtype="float32", key=keys[0])
    decoder = Decoder(MLP(latent_dim, 32, (64,), dtype="float32", key=keys[1]), AutoregressiveHead(masked), latent_dim)
    family = DiagonalGaussianFamily(latent_dim)
    network = MLP(n_features, family.n_parameters, (128, 128), dtype="float32", key=keys[2])
    encoder = Encoder(network, family, CentredInputs(jnp.asarray(center, "float32")))
    return learn.Pair(GenerativeModel(StandardGaussian(latent_dim, "float32"), decoder), learn.Amortised(encoder))


def chains(n: int, length: int = 50) -> np.ndarray:
    """Rows of bits, each a Markov chain with transition probabilities of its own."""
    rng = np.random.default_rng(0)
    up, x = rng.random((n, 2)), np.zeros((n, length), np.float32)
    x[:, 0] = rng.random(n) < 0.5
    for j in range(1, length):
        x[:, j] = rng.random(n) < np.where(x[:, j - 1] == 1, up[:, 1], up[:, 0])
    return x


def main() -> None:
    """Learn in every way and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--latent-dim", type=int, default=4)
    arguments = parser.parse_args()
    x = chains(3000)
    train, held_out = learn.Dataset(jnp.asarray(x[:2500])), learn.Dataset(jnp.asarray(x[2500:]))
    steps = arguments.epochs * learn.batch_shape(2500, 50)[0]
    ways = {
        "plain": {},
        "warm-up (half of the steps)": {"kl_weight": learn.Schedule(1.0, steps // 2)},
        "free bits, 0.5 nats a unit": {"regulariser": learn.FreeBits(0.5)},
        "aggressive encoder": {"encoder_steps": 10},
        "aggressive + warm-up": {"encoder_steps": 10, "kl_weight": learn.Schedule(1.0, steps // 4)},
    }
    print("| way | mutual information | KL | active units | ELBO | log p(x) | seconds |\n|---|---|---|---|---|---|---|")
    for name, way in ways.items():
        recipe = learn.TrainingConfig(learn.Optimiser(4e-3, steps, warmup_steps=50), batch_size=50, **way)
        started = time.perf_counter()
        pair = learn.fit(
            pair_for(50, arguments.latent_dim, x[:2500].mean(axis=0)),
            train,
            None,
            recipe,
            epochs=arguments.epochs,
            key=jax.random.key(1),
        ).pair
        seconds = time.perf_counter() - started
        information = learn.mutual_information(pair, recipe, held_out, key=jax.random.key(2))
        latents = encode(pair.p, pair.q, np.asarray(held_out.x))
        evidence = importance_evidence(pair.p, pair.q, np.asarray(held_out.x), n_samples=500, key=jax.random.key(3))
        print(
            f"| {name} | {float(information):.2f} | {latents.total_kl.mean():.2f} | {int(latents.active.sum())} | "
            f"{evidence.mean_elbo().value:.2f} | {evidence.mean().value:.2f} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
