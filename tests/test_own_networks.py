"""Networks of a user: told the shape of a datum, with an output layer that begins where the likelihood says."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tiny

from tightbound import VAE, networks

SIDE, CHANNELS = 6, 4


class ConvolutionalEncoder(eqx.Module):
    """Two convolutions and a linear map; the mask, where there is one, is a second channel."""

    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    last: eqx.nn.Linear
    shape: tuple[int, int] = eqx.field(static=True)

    def __call__(self, x: jax.Array) -> jax.Array:
        image = x.reshape(-1, *self.shape)
        h = jax.nn.silu(self.second(jax.nn.silu(self.first(image))))
        return self.last(h.ravel())


class ConvolutionalDecoder(eqx.Module):
    """A linear map to a small image and two convolutions, the last to the numbers of every pixel."""

    first: eqx.nn.Linear
    second: eqx.nn.Conv2d
    last: eqx.nn.Conv2d
    shape: tuple[int, int] = eqx.field(static=True)

    def __call__(self, z: jax.Array) -> jax.Array:
        h = jax.nn.silu(self.first(z)).reshape(CHANNELS, *self.shape)
        return self.last(jax.nn.silu(self.second(h))).ravel()


def encoder(in_size: int, out_size: int, *, shape: tuple[int, ...], key: jax.Array) -> ConvolutionalEncoder:
    a, b, c = jax.random.split(key, 3)
    height, width = shape
    options = {"kernel_size": 3, "padding": 1}
    return ConvolutionalEncoder(
        eqx.nn.Conv2d(in_size // (height * width), CHANNELS, **options, key=a),
        eqx.nn.Conv2d(CHANNELS, CHANNELS, **options, key=b),
        eqx.nn.Linear(CHANNELS * height * width, out_size, key=c),
        (height, width),
    )


def decoder(in_size: int, out_size: int, *, shape: tuple[int, ...], key: jax.Array) -> ConvolutionalDecoder:
    a, b, c = jax.random.split(key, 3)
    height, width = shape
    options = {"kernel_size": 3, "padding": 1}
    return ConvolutionalDecoder(
        eqx.nn.Linear(in_size, CHANNELS * height * width, key=a),
        eqx.nn.Conv2d(CHANNELS, CHANNELS, **options, key=b),
        eqx.nn.Conv2d(CHANNELS, out_size // (height * width), **options, key=c),
        (height, width),
    )


def bars(n: int, seed: int) -> np.ndarray:
    """Images of one bright column, and some noise."""
    rng = np.random.default_rng(seed)
    bright = rng.integers(0, SIDE, n)[:, None, None] == np.arange(SIDE)[None, None, :]
    return (np.broadcast_to(bright, (n, SIDE, SIDE)) ^ (rng.random((n, SIDE, SIDE)) < 0.02)).astype(float)


def test_a_convolutional_pair_of_a_user_trains_on_images_from_their_marginals_on() -> None:
    X, held_out = bars(200, 0), bars(100, 1)
    options = {**tiny.SETTINGS, "latent_dim": 2, "network": networks.Custom(encoder=encoder, decoder=decoder)}
    fitted = {n: VAE(**{**options, "epochs": n}, validation_fraction=0, learning_rate=0.01).fit(X) for n in (1, 60)}
    before, after = (fitted[n].score(held_out) for n in (1, 60))
    p = np.clip(X.mean(axis=0), 1e-3, 1 - 1e-3)
    marginals = np.mean(np.sum(held_out * np.log(p) + (1 - held_out) * np.log1p(-p), axis=(1, 2)))
    assert before > marginals - 1.0, "a fit must begin at the marginals"
    assert after > marginals + 3.0, "what the convolutions learn is which column is bright"
    network = fitted[60].model_.decoder.network
    assert isinstance(network.network, ConvolutionalDecoder) and network.output.constant().shape == (SIDE**2,)


def test_the_mask_of_missing_pixels_is_a_second_image() -> None:
    X = bars(40, 0)
    X[::2, :3] = np.nan
    options = {**tiny.SETTINGS, "network": networks.Custom(encoder=encoder, decoder=decoder)}
    vae = VAE(**options, validation_fraction=0).fit(X)
    assert vae.inference_.encoder.network.first.weight.shape[:2] == (CHANNELS, 2)
    assert np.isfinite(vae.score_samples(X)).all()


def test_a_factory_that_asks_for_no_shape_is_told_none() -> None:
    def linear(in_size: int, out_size: int, *, key: jax.Array) -> eqx.nn.Linear:
        return eqx.nn.Linear(in_size, out_size, key=key)

    settings = {**tiny.SETTINGS, "network": networks.Custom(encoder=linear, decoder=linear)}
    vae = VAE(**settings, validation_fraction=0).fit(bars(40, 0))
    assert jnp.isfinite(vae.score(bars(10, 1)))
