"""A network of your own: anything that maps one vector to one vector, here an equinox module with a skip connection.

python examples/own_network.py
"""

import equinox as eqx
import jax
import numpy as np

from tightbound import VAE, load, networks


class Skip(eqx.Module):
    """W x + V tanh(U x)."""

    straight: eqx.nn.Linear
    inner: eqx.nn.Linear
    outer: eqx.nn.Linear

    def __init__(self, in_size: int, out_size: int, *, key: jax.Array):
        a, b, c = jax.random.split(key, 3)
        self.straight = eqx.nn.Linear(in_size, out_size, key=a)
        self.inner = eqx.nn.Linear(in_size, 32, key=b)
        self.outer = eqx.nn.Linear(32, out_size, key=c)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.straight(x) + self.outer(jax.numpy.tanh(self.inner(x)))


angle = np.random.default_rng(0).uniform(0, np.pi, 500)
noise = np.random.default_rng(1).normal(size=(500, 2))
X = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.05 * noise  # half a circle

vae = VAE(latent_dim=1, network=networks.Custom(encoder=Skip, decoder=Skip), random_state=0).fit(X)
print(vae.evidence(X))

vae.save("half-circle", overwrite=True)
again = load(
    "half-circle", network=networks.Custom(encoder=Skip, decoder=Skip)
)  # code is never saved: bring your own again
print("same scores after loading:", (again.score_samples(X[:5]) == vae.score_samples(X[:5])).all())
