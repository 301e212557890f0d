"""The same variational autoencoder and the same update, as the users of four libraries would write them.

Encoder 784-200-200-(2 x 50) and decoder 50-200-200-784 with tanh, a diagonal Gaussian q(z given x), a standard Gaussian
prior, a Bernoulli decoder whose log-odds start at those of the pixels' means; the ELBO with its closed-form KL and one
sample; Adam at 1e-3. An epoch draws a new order of the rows and takes every row once. A contender is built from 0/1
rows as float32 [n, 784]; its `epoch()` trains for one epoch, waits until that is done, and returns the mean bound of
the epoch in nats a row.
"""

import contextlib
import importlib
import io
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

DATA_DIM, HIDDEN_DIM, LATENT_DIM = 784, 200, 50
LEARNING_RATE = 1e-3


class Contender(Protocol):
    """A model in training."""

    def epoch(self) -> float:
        """Train for one epoch; the mean bound of its steps, in nats a row."""


def log_odds(rows: np.ndarray) -> np.ndarray:
    """Where the decoder's last biases start."""
    mean = rows.mean(axis=0).clip(1e-3, 1 - 1e-3)
    return np.log(mean) - np.log1p(-mean)


class Tightbound:
    """`tightbound.learn.fit`, one more epoch at each call, all of it: data on the device, the order, the NaN guard,
    clipping, best-so-far and the record of the epoch. Only validation is left out, as no other contender has it.
    """

    def __init__(self, rows: np.ndarray, batch: int, threads: int) -> None:
        import jax
        import jax.numpy as jnp

        from tightbound import learn, model

        spec = model.Specification(
            n_features=DATA_DIM,
            latent_dim=LATENT_DIM,
            likelihood="bernoulli",
            network=model.axes.networks.MLP(hidden_sizes=(HIDDEN_DIM, HIDDEN_DIM), activation="tanh"),
        )
        parts = model.build(spec, start=model.Start(rows.mean(axis=0), np.zeros(DATA_DIM)), key=jax.random.key(1))
        self._fit = learn.fit
        self._pair = learn.Pair(parts.p, learn.make_inference(spec, parts))
        # A schedule so long that the rate stays where it starts.
        self._recipe = learn.TrainingConfig(learn.Optimiser(LEARNING_RATE, total_steps=10**9), batch_size=batch)
        self._rows = learn.Dataset(jnp.asarray(rows))
        self._key = jax.random.key(2)
        self._progress: Any = None
        self._epochs = 0

    def epoch(self) -> float:
        """Resume the fit for one epoch."""
        self._epochs += 1
        result = self._fit(
            self._pair,
            self._rows,
            None,
            self._recipe,
            epochs=self._epochs,
            key=self._key,
            resume_from=self._progress,
            on_progress=self._keep,
        )
        return result.history[-1].train_bound

    def _keep(self, state: Any, history: Any) -> None:
        self._progress = (state, history)


class PlainJax:
    """A loop written by hand for speed: a dict of arrays, batched matrix products, the epoch as one compiled scan."""

    def __init__(self, rows: np.ndarray, batch: int, threads: int) -> None:
        import jax
        import jax.numpy as jnp
        import optax

        sizes = {
            "e1": (DATA_DIM, HIDDEN_DIM),
            "e2": (HIDDEN_DIM, HIDDEN_DIM),
            "q": (HIDDEN_DIM, 2 * LATENT_DIM),
            "d1": (LATENT_DIM, HIDDEN_DIM),
            "d2": (HIDDEN_DIM, HIDDEN_DIM),
            "p": (HIDDEN_DIM, DATA_DIM),
        }
        glorot = jax.nn.initializers.glorot_uniform()
        keys = dict(zip(sizes, jax.random.split(jax.random.key(1), len(sizes)), strict=True))
        params = {name: (glorot(keys[name], size), jnp.zeros(size[1])) for name, size in sizes.items()}
        params["p"] = (params["p"][0], jnp.asarray(log_odds(rows)))
        optimiser = optax.adam(LEARNING_RATE)

        def dense(layer, x):
            return x @ layer[0] + layer[1]

        def loss(params, x, noise):
            hidden = jnp.tanh(dense(params["e2"], jnp.tanh(dense(params["e1"], x))))
            loc, log_var = jnp.split(dense(params["q"], hidden), 2, axis=1)
            z = loc + jnp.exp(0.5 * log_var) * noise
            hidden = jnp.tanh(dense(params["d2"], jnp.tanh(dense(params["d1"], z))))
            logits = dense(params["p"], hidden)
            log_prob = jnp.sum(x * logits - jax.nn.softplus(logits))
            kl = 0.5 * jnp.sum(loc**2 + jnp.exp(log_var) - 1 - log_var)
            return (kl - log_prob) / x.shape[0]

        def epoch(state, rows, key):
            order, noise = jax.random.split(key)
            batches = jax.random.permutation(order, rows.shape[0]).reshape(-1, batch)

            def step(state, inputs):
                params, moments = state
                indices, key = inputs
                noise = jax.random.normal(key, (batch, LATENT_DIM))
                value, gradient = jax.value_and_grad(loss)(params, rows[indices], noise)
                updates, moments = optimiser.update(gradient, moments, params)
                return (optax.apply_updates(params, updates), moments), value

            state, losses = jax.lax.scan(step, state, (batches, jax.random.split(noise, batches.shape[0])))
            return state, losses.mean()

        self._epoch = jax.jit(epoch, donate_argnums=0)
        self._split = jax.random.split
        self._key = jax.random.key(2)
        self._rows = jnp.asarray(rows)
        self._state = (params, optimiser.init(params))

    def epoch(self) -> float:
        """One call of the compiled epoch."""
        self._key, key = self._split(self._key)
        self._state, loss = self._epoch(self._state, self._rows, key)
        return -float(loss)


def torch_networks(rows: np.ndarray) -> tuple[Any, Any]:
    """Encoder (to means and log variances, side by side) and decoder (to logits)."""
    import torch
    from torch import nn

    def mlp(*sizes: int) -> Any:
        layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        return nn.Sequential(*[part for layer in layers[:-1] for part in (layer, nn.Tanh())], layers[-1])

    encoder = mlp(DATA_DIM, HIDDEN_DIM, HIDDEN_DIM, 2 * LATENT_DIM)
    decoder = mlp(LATENT_DIM, HIDDEN_DIM, HIDDEN_DIM, DATA_DIM)
    with torch.no_grad():
        decoder[-1].bias.copy_(torch.from_numpy(log_odds(rows)))
    return encoder, decoder


class EagerTorch:
    """PyTorch as most write it, at its best without a compiler: rows in one tensor, no DataLoader, fused Adam."""

    def __init__(self, rows: np.ndarray, batch: int, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(1)
        self._torch = torch
        self._rows = torch.from_numpy(rows)
        self._batch = batch
        self._encoder, self._decoder = torch_networks(rows)
        parameters = [*self._encoder.parameters(), *self._decoder.parameters()]
        self._optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)

    def _loss(self, x: Any) -> Any:
        torch = self._torch
        loc, log_var = self._encoder(x).chunk(2, dim=1)
        z = loc + torch.exp(0.5 * log_var) * torch.randn_like(loc)
        logits = self._decoder(z)
        cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = 0.5 * torch.sum(loc**2 + log_var.exp() - 1 - log_var)
        return (cross_entropy + kl) / len(x)

    def epoch(self) -> float:
        """The usual loop; the bound is summed on the side, and read once."""
        total = self._torch.zeros(())
        batches = self._torch.randperm(len(self._rows)).split(self._batch)
        for indices in batches:
            self._optimiser.zero_grad()
            loss = self._loss(self._rows[indices])
            loss.backward()
            self._optimiser.step()
            total += loss.detach()
        return -float(total) / len(batches)


class Pythae:
    """pythae's VAE in pythae's own BaseTrainer: `train_step`, its name for an epoch, with its DataLoader and callbacks.

    Left out is what `train` does between epochs: a deep copy of the best model, and log lines. The networks are ours,
    as pythae's default ones are of another shape.
    """

    def __init__(self, rows: np.ndarray, batch: int, threads: int) -> None:
        import torch
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.trainers import BaseTrainer, BaseTrainerConfig

        class Encoder(BaseEncoder):
            def __init__(self, network: Any) -> None:
                super().__init__()
                self.network = network

            def forward(self, x: Any) -> Any:
                loc, log_var = self.network(x).chunk(2, dim=1)
                return ModelOutput(embedding=loc, log_covariance=log_var)

        class Decoder(BaseDecoder):
            def __init__(self, network: Any) -> None:
                super().__init__()
                self.network = network

            def forward(self, z: Any) -> Any:
                return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))

        logging.disable(logging.INFO)
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        encoder, decoder = torch_networks(rows)
        config = VAEConfig(input_dim=(DATA_DIM,), latent_dim=LATENT_DIM, reconstruction_loss="bce")
        self._folder = tempfile.TemporaryDirectory()
        self._trainer = BaseTrainer(
            VAE(config, encoder=Encoder(encoder), decoder=Decoder(decoder)),
            train_dataset=BaseDataset(torch.from_numpy(rows), torch.zeros(len(rows))),
            training_config=BaseTrainerConfig(
                output_dir=self._folder.name,
                per_device_train_batch_size=batch,
                learning_rate=LEARNING_RATE,
                no_cuda=True,
            ),
        )
        self._trainer.prepare_training()
        self._epochs = 0

    def epoch(self) -> float:
        """One `train_step`; its progress bar draws into a string."""
        self._epochs += 1
        with contextlib.redirect_stderr(io.StringIO()):
            loss = self._trainer.train_step(self._epochs)
            self._trainer.callback_handler.on_epoch_end(training_config=self._trainer.training_config)
        return -float(loss)


class MissingError(Exception):
    """A contender's library is not installed; the message says so in one sentence."""


@dataclass(frozen=True)
class Entry:
    """A contender's name on screen, the packages that it needs, its class, and whether it has threads to be set."""

    title: str
    packages: tuple[str, ...]
    start: Callable[[np.ndarray, int, int], Contender]
    threaded: bool = False


CONTENDERS = {
    "tightbound": Entry("tightbound", ("tightbound.learn",), Tightbound),
    "plain": Entry("JAX by hand", ("jax", "optax"), PlainJax),
    "torch": Entry("PyTorch, eager", ("torch",), EagerTorch, threaded=True),
    "pythae": Entry("pythae", ("torch", "pythae"), Pythae, threaded=True),
}

TRIAL_STEPS = 30


def fewest_seconds(entry: Entry, rows: np.ndarray, batch: int, counts: list[int]) -> int:
    """The number of threads with which a short trial is fastest; small batches are often better off with one."""

    def seconds(threads: int) -> float:
        trial = entry.start(rows[: TRIAL_STEPS * batch], batch, threads)
        trial.epoch()
        start = time.perf_counter()
        trial.epoch()
        return time.perf_counter() - start

    return min(counts, key=seconds)


def build(name: str, rows: np.ndarray, batch: int, threads: list[int]) -> tuple[Contender, int | None]:
    """The contender of that name, ready for its first epoch, and its number of threads where that can be set."""
    entry = CONTENDERS[name]
    for package in entry.packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingError(f"{entry.title} is left out: {package} cannot be imported here ({error}).") from error
    if not entry.threaded:
        return entry.start(rows, batch, 0), None
    best = threads[0] if len(threads) == 1 else fewest_seconds(entry, rows, batch, threads)
    return entry.start(rows, batch, best), best
