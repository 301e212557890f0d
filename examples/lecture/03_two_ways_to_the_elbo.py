"""Two ways to the evidence lower bound (ELBO): they meet, and what is missing to log p(x) is one KL divergence.

Jensen: log p(x) = log E_q[p(x, z) / q(z)] >= E_q[log p(x, z)] + H(q) = E_q[log p(x | z)] - KL(q || p(z)) = ELBO.
Bayes: ELBO = log p(x) - KL(q || p(z | x)): tight where q is the posterior, and only there (Jordan et al. 1999; Neal and
Hinton 1998). Here q goes from the prior to the best Gaussian, and on to the posterior itself, which is none; z is one
number, so every expectation is a quadrature, but for the entropy and KL of a Gaussian, which have closed forms.
"""

import jax
import jax.numpy as jnp
import numpy as np
from claims import claim, save
from scipy import integrate, optimize

from tightbound.model import Decoder, DiagonalGaussian, GenerativeModel, StandardGaussian, gaussian_head, kl_divergence
from tightbound.report.style import DATA, DATA_LIGHT, INK, MODEL, MUTED, PRIOR, new_figure, style

jax.config.update("jax_enable_x64", True)
decoder = Decoder(lambda z: jnp.stack([3 * jnp.sin(1.5 * z[0]), 1.5 * z[0]]), gaussian_head("shared", jnp.zeros(2)), 1)
p, x = GenerativeModel(StandardGaussian(1), decoder), jnp.array([1.2, 1.6])
log_p = np.log(integrate.quad(lambda z: np.exp(p.log_joint(x, jnp.array([z]))), -10, 10, epsabs=1e-13)[0])
z = jnp.linspace(-12, 12, 4001)[:, None]
log_joint, log_prior = jax.vmap(lambda z: p.log_joint(x, z))(z), jax.vmap(p.prior.log_prob)(z)


@jax.jit
def terms(parameters, share=0.0):
    """The terms of the ELBO for q = N(m, s^2), parameters (m, log s), or its mixture with a share of the posterior."""
    q = DiagonalGaussian(parameters[:1], jnp.exp(parameters[1:]))
    log_q = jnp.log(1 - share) + jax.vmap(q.log_prob)(z)
    log_q = jnp.logaddexp(log_q, jnp.log(share) + log_joint - log_p)
    E_q = jnp.exp(log_q) * (z[1, 0] - z[0, 0])  # E_q @ f is the expectation of f by the trapezoid rule
    entropy = jnp.where(share == 0, q.entropy(), -E_q @ log_q)
    kl = jnp.where(share == 0, kl_divergence(q, p.prior), E_q @ (log_q - log_prior))
    return E_q @ log_joint, entropy, E_q @ (log_joint - log_prior), kl, E_q @ (log_q - log_joint) + log_p, log_q


best = jnp.array(optimize.minimize(lambda v: -sum(terms(jnp.array(v))[:2]), np.zeros(2), tol=1e-9).x)
path = np.linspace(0, 2, 81)  # 0: the prior, 1: the best Gaussian, 2: the posterior; mixtures in between 1 and 2
stations = zip(*(terms(min(t, 1) * best, max(t - 1, 0)) for t in path), strict=True)
joint, entropy, reconstruction, kl, gap, log_q = (np.array(values) for values in stations)
elbo = joint + entropy

q = DiagonalGaussian(best[:1], jnp.exp(best[1:]))
draws = jax.vmap(lambda key: q.sample(key=key))(jax.random.split(jax.random.key(0), 100_000))
w = np.exp(jax.vmap(lambda z: p.log_joint(x, z) - q.log_prob(z))(draws) - log_p)
off = np.array([np.log(w).mean() + gap[40], w.mean() - 1]) / np.array([np.log(w).std(), w.std()]) * len(w) ** 0.5
print(f"log p(x) is {log_p:.4f} nats. The ELBO is {elbo[0]:.4f} at the prior, {elbo[40]:.4f} at the best Gaussian.")
claim(np.ptp([elbo, reconstruction - kl, log_p - gap], axis=0).max() < 1e-6, "The three forms agree to a millionth;")
claim(abs(gap[-1]) < 1e-6 < gap[:-1].min(), "the gap closes at the posterior, and nowhere before;")
claim(np.max(np.abs(off)) < 4, "in 100,000 draws log w has the ELBO as its mean, and log p(x) is the log of w's mean.")

with style():
    figure = new_figure(2.8, 8.6)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.2))
    for i, name, colour in ((0, "prior", MUTED), (40, "best Gaussian", DATA)):
        left.plot(z[:, 0], np.exp(log_q[i]), color=colour, label=name)
    left.fill_between(z[:, 0], np.exp(log_q[-1]), color=PRIOR, alpha=0.5, lw=0, label="posterior")
    left.set(xlim=(-2.8, 2.6), ylim=0, yticks=[], xlabel="z", title="Three stations of q(z)")
    middle.axhline(log_p, color=MODEL, label="log p(x)")
    middle.plot(path, elbo, color=INK, label="ELBO")
    middle.fill_between(path, elbo, log_p, color=DATA_LIGHT, alpha=0.5, lw=0, label="KL(q ‖ p(z | x))")
    middle.text(1, elbo[40] - 0.1, f"{gap[40]:.2f} nats below", va="top")
    curves, colours = (joint, entropy, reconstruction, -kl, elbo), (MODEL, MODEL, DATA, DATA, INK)
    names = ("E log p(x, z)", "H(q)", "E log p(x | z)", "−KL(q ‖ p(z))", "ELBO")
    for value, name, colour, line in zip(curves, names, colours, "-:-:-", strict=True):
        right.plot(path, value, line, color=colour)
        right.text(2.06, value[-1], name, color=colour, va="center")
    for ax, title in ((middle, "The gap is a KL divergence"), (right, "Terms of one colour add up to the ELBO")):
        ax.set(title=title, xlim=(0, 2), ylabel="nats")
        ax.set_xticks([0, 1, 2], ["prior", "best Gaussian", "posterior"])
    left.legend(loc="upper left", handlelength=1)
    middle.legend(loc=(0.38, 0.25), handlelength=1)
save(figure, "03_two_ways_to_the_elbo")
