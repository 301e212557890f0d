"""One Gaussian for every z: a latent-variable model is a mixture of infinitely many Gaussians.

With z ~ N(0, 1) and x | z ~ N(mu(z), Sigma(z)), where one network gives the mean and another the covariance, the
marginal is p(x) = integral of p(z) N(x; mu(z), Sigma(z)) dz: every piece is a Gaussian, the whole need not look like
one. With a single latent number the integral is a matter of quadrature, and draws (first z, then x given z) must agree
with it. The model is that of Kingma and Welling (2014) and of Rezende, Mohamed and Wierstra (2014).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from claims import claim, save
from matplotlib.patches import Ellipse
from scipy import stats

from tightbound.model import MLP, Decoder, FullGaussianHead, GenerativeModel, StandardGaussian
from tightbound.report.style import MODEL, new_figure, style

jax.config.update("jax_enable_x64", True)
N, EDGE, SIDE, CELL = 100_000, 20.0, 400, 4  # draws; the grid spans ±EDGE with SIDE points, a cell has CELL a side
key_mean, key_covariance, key_draws = jax.random.split(jax.random.key(20), 3)


def steps(size, steepness, key):
    """A network with one hidden layer: twelve steps tanh(±steepness (z - c)) at places c drawn between -2 and 2."""
    key_weights, key_places = jax.random.split(key)
    mlp = MLP(1, size, (12,), activation="tanh", residual=False, key=key_weights)
    w = steepness * jnp.sign(mlp.layers[0].weight)
    places = jax.random.uniform(key_places, (12,), minval=-2, maxval=2)
    return eqx.tree_at(lambda m: (m.layers[0].weight, m.layers[0].bias), mlp, (w, -w[0] * places))


def chi_square(probability):
    """The p-value of the counts under a probability for each cell; cells that expect under five draws are one cell."""
    expected, found = (np.append(a[enough], a[~enough].sum()) for a in (probability * N, counts))
    return stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue


mu, sigma = steps(2, 2.5, key_mean), steps(3, 1.5, key_covariance)
decoder = Decoder(lambda z: jnp.concatenate([2.5 * mu(z), sigma(z) - 0.7]), FullGaussianHead(jnp.full(2, 0.15)), 1)
p = GenerativeModel(StandardGaussian(1), decoder)

# p(x) on a grid: the trapezoid rule over z, one z at a time. A cell's probability is the sum over its grid points.
width = 2 * EDGE / SIDE
line = -EDGE + width * (np.arange(SIDE) + 0.5)
grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)
joint = jax.jit(lambda z: jnp.exp(jax.vmap(p.log_joint, (0, None))(jnp.array(grid.reshape(-1, 2)), z)))
density = sum(joint(z) for z in jnp.linspace(-6, 6, 121)[:, None]) * 12 / 120
density = np.asarray(density).reshape(SIDE, SIDE)
mass = density.reshape(SIDE // CELL, CELL, SIDE // CELL, CELL).sum(axis=(1, 3)) * width**2

x = np.asarray(jax.vmap(lambda key: p.sample(key=key)[0])(jax.random.split(key_draws, N)))
counts = np.histogram2d(*x.T, bins=np.linspace(-EDGE, EDGE, SIDE // CELL + 1))[0]
enough = mass * N >= 5
one = stats.multivariate_normal(x.mean(axis=0), np.cov(x.T)).pdf(grid[CELL // 2 :: CELL, CELL // 2 :: CELL])

print(f"Integral of p(x): 1 {mass.sum() - 1:+.0e}; p-value of the draws: {chi_square(mass):.2f}")
claim(abs(mass.sum() - 1) < 1e-6, "p(x) by quadrature integrates to one, to a millionth.")
claim(chi_square(mass) > 0.001, f"{N:,} draws agree with it in {enough.sum()} cells (chi-square, level 0.1 %).")
claim(chi_square(one) < 1e-9, "The same test refuses one Gaussian with the draws' mean and covariance.")

with style():
    figure = new_figure(2.8, 7.6)
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    for z in stats.norm.ppf((np.arange(24) + 0.5) / 24):
        piece = decoder(jnp.array([z]))
        values, vectors = np.linalg.eigh(piece.scale_tril @ piece.scale_tril.T)
        angle = np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))
        axes[0].add_patch(Ellipse(piece.loc, *(2 * values[::-1] ** 0.5), angle=angle, fc="none", ec=MODEL, lw=0.7))
    for ax, shown in ((axes[1], density), (axes[2], counts / N / (CELL * width) ** 2)):
        ax.imshow(shown.T**0.5, origin="lower", extent=(-EDGE, EDGE) * 2, cmap="Blues", vmax=density.max() ** 0.5)
    titles = ("24 equally likely z: p(x | z), one sd", "All z: p(x) by quadrature", f"{N:,} draws of x")
    for ax, title in zip(axes, titles, strict=True):
        ax.set(title=title, xlabel="x₁", xlim=(-7.5, 4.5), ylim=(-9, 11), aspect="auto")
    axes[0].set_ylabel("x₂")
save(figure, "01_infinite_mixture")
