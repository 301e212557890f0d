"""Models with planted faults, built without training: each is a linear-Gaussian model that is wrong in one way."""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from linear_gaussian import GivenPosterior, LinearGaussian

from tightbound.evidence.diagnostics import Health, History, Verdict, examine
from tightbound.learn import AbstractInference, PerDatum
from tightbound.learn.inference.refinement import Refinement
from tightbound.model import (
    MLP,
    AbstractDistribution,
    Decoder,
    FixedScaleGaussianHead,
    FullGaussianFamily,
    GenerativeModel,
    StandardGaussian,
)
from tightbound.model.families import inverse_positive

D, K, ROWS = 10, 3, 600


class Memorising(AbstractInference):
    """Exact for rows of `table`, off by `shift` for others: an encoder that was fitted to its training rows alone."""

    exact: GivenPosterior
    table: jax.Array
    shift: jax.Array

    def parameters(
        self, p: GenerativeModel, x: jax.Array, observed: jax.Array | None = None, *, key: jax.Array
    ) -> jax.Array:
        known = jnp.min(jnp.sum((self.table - x[None, :]) ** 2, axis=1)) < 1e-12
        return self.exact.parameters(p, x, observed, key=key) + jnp.where(known, 0, self.shift)

    def distribution(self, p: GenerativeModel, numbers: jax.Array) -> AbstractDistribution:
        return self.exact.distribution(p, numbers)

    def per_datum(self, n_rows: int, dtype: str) -> None:
        return None

    def search(self, *_: object, **__: object) -> None:
        return None

    def learning(self, *_: object, **__: object) -> None:
        return None


class Lookup(eqx.Module):
    """A network that returns a row of its table: which one, Phi(z_1) says."""

    table: jax.Array

    def __call__(self, z: jax.Array) -> jax.Array:
        n = self.table.shape[0]
        place = jnp.floor(jax.scipy.stats.norm.cdf(z[0]) * n).astype("int32")
        return self.table[jnp.clip(place, 0, n - 1)]


@dataclass(frozen=True)
class Planted:
    """A fit to examine."""

    p: GenerativeModel
    q: AbstractInference
    x: np.ndarray
    train: np.ndarray
    history: History

    def health(self, seed: int, **more: object) -> Health:
        given = {"likelihood": "gaussian", "train": self.train, "history": self.history, "most_rows": ROWS, **more}
        return examine(self.p, self.q, self.x, key=jax.random.key(seed), **given)


def history(rng: np.random.Generator, *, fall: float = 0.0, epochs: int = 200, noise: float = 0.03) -> History:
    """A fit that levels out; after a third its validation bound falls by `fall` nats a row in all."""
    epoch = np.arange(1, epochs + 1)
    learnt = -20 - 10 * np.exp(-epoch / 12)
    late = np.clip((epoch - epochs / 3) / (epochs * 2 / 3), 0, 1)
    train = learnt + late * max(fall, 0.02) + noise / 3 * rng.normal(size=epochs)
    return History(epoch, train, learnt - 0.5 - fall * late + noise * rng.normal(size=epochs))


def _fit(rng: np.random.Generator, truth: LinearGaussian, believed: LinearGaussian, **q: object) -> Planted:
    x, train = truth.sample(rng, ROWS), truth.sample(rng, ROWS)
    return Planted(believed.p(), believed.q(**q), x, train, history(rng))


def _posterior_sd(model: LinearGaussian) -> np.ndarray:
    return model.s * np.sqrt(np.diag(np.linalg.inv(model.M)))


def healthy(rng: np.random.Generator) -> Planted:
    model = LinearGaussian.random(rng, D, K)
    return _fit(rng, model, model)


def healthy_mean_field(rng: np.random.Generator) -> Planted:
    """The best diagonal q, narrower than the posterior's marginals by nature."""
    model = LinearGaussian.random(rng, D, K)
    return _fit(rng, model, model, diagonal=True)


def some_idle_units(rng: np.random.Generator) -> Planted:
    model = LinearGaussian.random(rng, D, K)
    idle = LinearGaussian(model.W * np.array([1.0, 0.0, 0.0]), model.mu, model.s)
    return _fit(rng, idle, idle)


def collapsed(rng: np.random.Generator) -> Planted:
    model = LinearGaussian.random(rng, D, K)
    ignored = LinearGaussian(0 * model.W, model.mu, model.s)
    return _fit(rng, ignored, ignored)


def wrong_prior(rng: np.random.Generator) -> Planted:
    """The latents of the data lie in two lumps."""
    model = LinearGaussian.random(rng, D, K)
    fit = _fit(rng, model, model)
    z = 0.5 * rng.normal(size=(2 * ROWS, K))
    z[:, 0] = rng.choice([-2.0, 2.0], size=2 * ROWS) + 0.3 * rng.normal(size=2 * ROWS)
    x = z @ model.W.T + model.mu + model.s * rng.normal(size=(2 * ROWS, D))
    return Planted(fit.p, fit.q, x[:ROWS], x[ROWS:], fit.history)


def narrow_encoder(rng: np.random.Generator) -> Planted:
    model = LinearGaussian.random(rng, D, K)
    return _fit(rng, model, model, stretch=1 / 3)


def wide_encoder(rng: np.random.Generator) -> Planted:
    model = LinearGaussian.random(rng, D, K)
    return _fit(rng, model, model, stretch=2.0)


def biased_encoder(rng: np.random.Generator) -> Planted:
    """One posterior standard deviation off."""
    model = LinearGaussian.random(rng, D, K)
    fit = _fit(rng, model, model)
    q = eqx.tree_at(lambda q: q.shift, fit.q, jnp.asarray(_posterior_sd(model)))
    return Planted(fit.p, q, fit.x, fit.train, fit.history)


def overfitted_encoder(rng: np.random.Generator) -> Planted:
    model = LinearGaussian.random(rng, D, K)
    fit = _fit(rng, model, model)
    q = Memorising(fit.q, jnp.asarray(fit.train), jnp.asarray(_posterior_sd(model)))
    return Planted(fit.p, q, fit.x, fit.train, fit.history)


def wide_decoder(rng: np.random.Generator) -> Planted:
    model = LinearGaussian.random(rng, D, K)
    return _fit(rng, model, LinearGaussian(model.W, model.mu, 2 * model.s))


def narrow_decoder(rng: np.random.Generator) -> Planted:
    model = LinearGaussian.random(rng, D, K)
    return _fit(rng, model, LinearGaussian(model.W, model.mu, model.s / 2))


def one_narrow_column(rng: np.random.Generator) -> Planted:
    """A column three times as noisy as the one scale of the decoder says."""
    model = LinearGaussian.random(rng, D, K)
    fit = _fit(rng, model, model)
    for rows in (fit.x, fit.train):
        rows[:, 4] += np.sqrt(8) * model.s * rng.normal(size=ROWS)
    return fit


def different_samples(rng: np.random.Generator) -> Planted:
    """The columns of the data are skewed, those of the model are not."""
    model = LinearGaussian.random(rng, D, K)
    fit = _fit(rng, model, model)
    sd = np.sqrt(np.diag(model.covariance))
    skewed = [(np.exp((rows - model.mu) / sd) - np.exp(0.5)) / 2.16 * sd + model.mu for rows in (fit.x, fit.train)]
    return Planted(fit.p, fit.q, skewed[0], skewed[1], fit.history)


def copying(rng: np.random.Generator) -> Planted:
    """Every sample is a training row with next to no noise."""
    model = LinearGaussian.random(rng, D, K)
    fit = _fit(rng, model, model)
    head = FixedScaleGaussianHead(inverse_positive(jnp.asarray(0.01 * model.s)), jnp.zeros(D))
    p = GenerativeModel(StandardGaussian(K, "float64"), Decoder(Lookup(jnp.asarray(fit.train)), head, K))
    return Planted(p, fit.q, fit.x, fit.train, fit.history)


def overfitted(rng: np.random.Generator) -> Planted:
    fit = healthy(rng)
    return Planted(fit.p, fit.q, fit.x, fit.train, history(rng, fall=0.8))


def nonlinear(rng: np.random.Generator) -> Planted:
    """A decoder with a hidden layer, and a full-covariance q that an inner loop finds for every row."""
    network = MLP(2, D, (16,), dtype="float64", key=jax.random.key(int(rng.integers(2**31))))
    network = jax.tree.map(lambda a: 2 * a if eqx.is_array(a) else a, network)
    head = FixedScaleGaussianHead(inverse_positive(jnp.asarray(0.4)), jnp.zeros(D))
    p = GenerativeModel(StandardGaussian(2, "float64"), Decoder(network, head, 2))
    q = PerDatum(FullGaussianFamily(2), Refinement(60, 0.3))
    keys = jax.random.split(jax.random.key(int(rng.integers(2**31))), 2 * ROWS)
    x = np.array(jax.jit(jax.vmap(lambda k: p.sample(key=k)[0]))(keys))
    return Planted(p, q, x[:ROWS], x[ROWS:], history(rng))


@dataclass(frozen=True)
class Case:
    """A planted fault, the verdict that must be found, and those that follow from the fault and may be found."""

    build: Callable[[np.random.Generator], Planted]
    verdict: Verdict | None
    also: frozenset[Verdict] = frozenset()


V = Verdict
HEALTHY = {
    "healthy": Case(healthy, None),
    "mean field": Case(healthy_mean_field, None),
    "idle units": Case(some_idle_units, None),
}
FAULTS = {
    "collapse": Case(collapsed, V.COLLAPSED),
    "prior": Case(wrong_prior, V.PRIOR_MISMATCH, frozenset({V.SAMPLES_DIFFER})),
    "narrow encoder": Case(narrow_encoder, V.ENCODER_TOO_NARROW),
    "wide encoder": Case(wide_encoder, V.ENCODER_TOO_WIDE, frozenset({V.PRIOR_MISMATCH})),
    "biased encoder": Case(biased_encoder, V.ENCODER_BIASED, frozenset({V.PRIOR_MISMATCH})),
    "wide decoder": Case(wide_decoder, V.DECODER_TOO_WIDE, frozenset({V.SAMPLES_DIFFER})),
    "narrow decoder": Case(narrow_decoder, V.DECODER_TOO_NARROW, frozenset({V.SAMPLES_DIFFER, V.PRIOR_MISMATCH})),
    "one column": Case(one_narrow_column, V.DECODER_TOO_NARROW, frozenset({V.SAMPLES_DIFFER})),
    "samples": Case(different_samples, V.SAMPLES_DIFFER, frozenset(V) - {V.FINE}),
    "copies": Case(copying, V.COPIES, frozenset(V) - {V.FINE}),
    "overfitting": Case(overfitted, V.OVERFITTING),
}
