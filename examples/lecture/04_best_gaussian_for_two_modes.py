"""The best Gaussian for a posterior with two modes takes one of them, and the start decides which.

Over q = N(m, s^2), ELBO = E_q[log p(x | z)] - KL(q || p(z)) = log p(x) - KL(q || p(z | x)). This KL charges q for being
where the posterior is not, so each mode has a local optimum (Minka 2005; Bishop 2006, section 10.1.2). What it cannot
lose is bounded below by the divergence between the masses of q and of the posterior on either side of a point (data
processing inequality), about -log of the mode's mass. (Modes of nearly equal mass have a third optimum: broad, worse.)
"""

import jax
import jax.numpy as jnp
import numpy as np
from claims import claim, save
from scipy import integrate, optimize, special, stats

from tightbound.model import Decoder, DiagonalGaussian, GenerativeModel, StandardGaussian, gaussian_head, kl_divergence
from tightbound.report.style import DATA, INK, MODEL, MUTED, PRIOR, new_figure, style

jax.config.update("jax_enable_x64", True)
decoder = Decoder(lambda z: jnp.stack([z[0] ** 2, z[0] / 2]), gaussian_head("shared", jnp.zeros(2)), 1)
p, x = GenerativeModel(StandardGaussian(1), decoder), jnp.array([3.5, 1.0])
log_joint = jax.jit(lambda z: p.log_joint(x, jnp.stack([z])))
below, above = (integrate.quad(lambda z: np.exp(log_joint(z)), *ends, epsabs=1e-13)[0] for ends in ((-9, 0), (0, 9)))
log_p, mass = np.log(below + above), above / (below + above)
nodes, weights = np.polynomial.hermite_e.hermegauss(20)


@jax.jit
def elbo(v):
    """The ELBO at (m, log s); Gauss-Hermite quadrature is exact where the log-likelihood is a polynomial in z."""
    q = DiagonalGaussian(v[:1], jnp.exp(v[1:]))
    log_likelihood = jax.vmap(lambda z: decoder(z).log_prob(x))(q.loc + q.scale * nodes[:, None])
    return weights / weights.sum() @ log_likelihood - kl_divergence(q, p.prior)


def divergences(v):
    """KL(q || posterior) by adaptive quadrature, and its lower bound from the masses on either side of zero."""
    q = stats.norm(v[0], np.exp(v[1]))
    integrand = lambda z: q.pdf(z) * (q.logpdf(z) - log_joint(z) + log_p)  # noqa: E731
    on_the_right = q.sf(0)
    bound = special.rel_entr(on_the_right, mass) + special.rel_entr(1 - on_the_right, 1 - mass)
    return integrate.quad(integrand, v[0] - 9 * q.std(), v[0] + 9 * q.std(), epsabs=1e-10)[0], bound


slope, curvature = jax.jit(jax.grad(elbo)), jax.hessian(elbo)
climb = lambda v: optimize.minimize(lambda v: -elbo(v), v, jac=lambda v: -slope(v), tol=1e-8).x  # noqa: E731
points = {"left optimum": climb([-1.0, -1.0]), "right optimum": climb([1.0, -1.0])}
points["saddle"] = optimize.root(slope, [-0.7, -0.2], tol=1e-12).x
kl, bound = {}, {}
print(f"log p(x) = {log_p:.4f} nats; {mass:.1%} of the posterior is above zero.")
for name, v in points.items():
    kl[name], bound[name] = divergences(v)
    print(f"{name:>13}: N({v[0]:5.2f}, {np.exp(v[1]):.2f}²), ELBO {elbo(v):.4f}, KL {kl[name]:.4f} > {bound[name]:.4f}")
signs = {name: np.sign(np.linalg.eigvalsh(curvature(jnp.array(v)))).tolist() for name, v in points.items()}
claim(max(np.abs(slope(v)).max() for v in points.values()) < 1e-5, "At all three the ELBO is level;")
claim([*signs.values()] == [[-1, -1], [-1, -1], [-1, 1]], "two are local optima and one is a saddle;")
claim(points["left optimum"][0] < -1 and points["right optimum"][0] > 1, "each optimum sits on its own mode.")
claim(all(abs(log_p - kl[n] - elbo(v)) < 1e-6 for n, v in points.items()), "ELBO = log p(x) - KL, to a millionth.")
claim(all(kl[n] > bound[n] > 0 for n in kl), "Every KL is above its bound from two masses.")

with style():
    figure = new_figure(3.2, 7.6)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
    z, levels = np.linspace(-3, 3, 601), [0.25, 0.5, 1, 1.5, 2, 2.5, 3, 4, 8, 16, 32]
    posterior = np.exp(jax.vmap(log_joint)(z) - log_p)
    left.fill_between(z, posterior, color=PRIOR, alpha=0.5, lw=0, label="posterior p(z | x)")
    m, s = np.meshgrid(np.linspace(-2.8, 2.8, 141), np.linspace(0.08, 1.5, 72))
    surface = log_p - jax.vmap(jax.vmap(elbo))(jnp.stack([m, np.log(s)], axis=-1))
    right.contourf(m, s, surface, [0, *levels, 1e3], colors=[str(0.8 + 0.2 * i / 11) for i in range(12)])
    right.clabel(right.contour(m, s, surface, levels, colors=MUTED, linewidths=0.5), levels[1:], fontsize=6.5, fmt="%g")
    for (name, v), colour, marker in zip(points.items(), (MODEL, DATA, INK), "^ox", strict=True):
        density, label = stats.norm(v[0], np.exp(v[1])).pdf(z), f"{name}: KL {kl[name]:.2f} nats"
        left.plot(z, density, marker + "-", color=colour, markevery=[np.argmax(density)], label=label)
        right.plot(v[0], np.exp(v[1]), marker, color=colour)
    left.set(xlabel="z", ylim=(0, 2.1), yticks=[], title="Three Gaussians q(z)")
    left.legend(loc="upper center")
    right.set(xlabel="mean m", ylabel="standard deviation s", title="log p(x) − ELBO = KL(q ‖ p(z | x)), in nats")
save(figure, "04_best_gaussian_for_two_modes")
