"""Expectation-maximisation (EM) and gradient steps climb the same bound, and meet at the likelihood of PCA.

The E step makes q the posterior, so that the ELBO is log p(x); the M step maximises the ELBO over the model with q
held; neither can lower it (Dempster, Laird and Rubin 1977; Neal and Hinton 1998). In x = W'z + mu + noise of one scale,
both have closed forms, and so has the highest likelihood: it is that of the leading principal components (Tipping and
Bishop 1999). The gradient of the ELBO at the posterior is that of log p(x), so gradient steps must end there too.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from claims import claim, save
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale

from tightbound import learn
from tightbound.model import MLP, Decoder, GenerativeModel, StandardGaussian, gaussian_head, kl_divergence
from tightbound.model.families import inverse_positive
from tightbound.report.style import DATA, INK, MODEL, new_figure, style

jax.config.update("jax_enable_x64", True)
x = jnp.array(scale(load_wine().data)) + 1.0  # each column with sd 1, and a mean of 1, to be found
(N, D), K, STEPS, KEY = x.shape, 3, 300, jax.random.key(0)


def model(W, mu, s):  # x = W'z + mu + s times noise
    network = eqx.tree_at(lambda m: (m.layers[0].weight, m.layers[0].bias), MLP(K, D, (), key=KEY), (W, mu))
    head = eqx.tree_at(lambda h: h.raw_scale, gaussian_head("shared", jnp.zeros(D)), inverse_positive(s))
    return GenerativeModel(StandardGaussian(K), Decoder(network, head, K))


def elbo(q, W, mu, s):
    """Mean over rows of E_q[log p(x | z)] - KL(q || p(z)), by its formula."""
    square = jnp.sum((x - q.loc @ W - mu) ** 2, axis=1) + jnp.sum((W.T @ q.scale_tril) ** 2, axis=(1, 2))
    kl = jax.vmap(lambda one: kl_divergence(one, StandardGaussian(K)))(q)
    return jnp.mean(-D / 2 * jnp.log(2 * jnp.pi * s**2) - square / (2 * s**2) - kl)


@jax.jit
def em_step(theta):
    """E: the posterior of every row. M: regression of x on (z, 1) with its moments. Then theta, and both bounds."""
    q = jax.vmap(lambda row: learn.exact_posterior(model(*theta), row))(x)
    z1 = jnp.column_stack([q.loc, jnp.ones(N)])
    spread = jnp.sum(q.scale_tril @ q.scale_tril.swapaxes(1, 2), axis=0)
    B = jnp.linalg.solve(z1.T @ z1 + jnp.pad(spread, (0, 1)), z1.T @ x)
    s = jnp.sqrt((jnp.sum((x - z1 @ B) ** 2) + jnp.sum(spread * (B[:K] @ B[:K].T))) / (N * D))
    return (B[:K], B[K], s), jnp.array([elbo(q, *theta), elbo(q, B[:K], B[K], s)])


theta = (0.3 * jax.random.normal(KEY, (K, D)), jnp.zeros(D), jnp.array(1.0))
pair, em = learn.Pair(model(*theta), learn.Exact()), np.empty((STEPS, 2))
for i in range(STEPS):
    theta, em[i] = em_step(theta)
bound = learn.ELBO(20, closed_form_kl=False)  # from 20 draws of z, but at the posterior each says log p(x): no noise
recipe = learn.TrainingConfig(learn.Optimiser(0.05, STEPS), objective=bound, batch_size=N, dtype="float64")
result = learn.fit(pair, learn.Dataset(x), None, recipe, epochs=STEPS, key=KEY)
gradient = np.array([record.train_bound for record in result.history])
eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))
eigenvalues[:-K] = eigenvalues[:-K].mean()  # the noise takes what the K largest leave
pca = -0.5 * (D * np.log(2 * np.pi) + np.log(eigenvalues).sum() + D)
claim(np.diff(em.ravel()).min() > -1e-12, f"None of the {em.size} halves of EM's steps lowers the bound;")
claim(abs(em[-1, 1] - pca) < 1e-6, f"EM ends at PCA's {pca:.4f} nats a row, to a millionth;")
claim(abs(gradient[-1] - pca) < 1e-3, "gradient steps do, to a thousandth.")

with style():
    figure = new_figure(2.9, 7.2)
    left, right = figure.subplots(1, 2)
    left.plot(np.arange(12) / 2, em.ravel()[:12], color=DATA)
    for half, name, marker, colour in ((0, "E step: log p(x)", "o", DATA), (1, "M step", "^", MODEL)):
        left.plot(np.arange(6) + half / 2, em[:6, half], marker, color=colour, label=f"after an {name}")
    left.set(xlabel="iteration", ylabel="ELBO, nats a row", title="Neither half of an iteration lowers the bound")
    left.legend(loc="lower right")
    right.plot(pca - em[:95, 0], color=DATA, label="EM")
    right.plot(pca - gradient, color=INK, label="gradient steps (Adam, rate annealed)")
    right.set(yscale="log", xlabel="iteration, or step", ylabel="nats below PCA", title="Both reach PCA's likelihood")
    right.set_yticks(10.0 ** np.arange(-9, 2, 2), ["10⁻⁹", "10⁻⁷", "10⁻⁵", "0.001", "0.1", "10"])
    right.legend()
save(figure, "07_expectation_maximisation")
