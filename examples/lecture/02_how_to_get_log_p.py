"""What log p(x) costs: draws from the prior, or from a q near the posterior, as the latent space grows.

p(x) = E_r[p(x, z) / r(z)] for any r that covers p, so it can be estimated by the mean of S weights w = p(x, z) / r(z),
z ~ r. The log of that mean has a standard error of sd(w) / (mean(w) sqrt(S)) (delta method; Owen 2013, chapter 9): 0.1
nat costs S = 100 (E[w^2] / E[w]^2 - 1) draws. In a linear-Gaussian model (Tipping and Bishop 1999) log p(x) and that
ratio are known: E[w^2] / E[w]^2 is the integral of N(z; m, V)^2 / r(z), with m and V from the posterior.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from claims import claim, save
from scipy import stats

from tightbound.model import Decoder, DiagonalGaussian, GenerativeModel, StandardGaussian, gaussian_head
from tightbound.report.style import DATA, MODEL, MUTED, grid, new_figure, style

jax.config.update("jax_enable_x64", True)
DIMENSIONS, MEASURED, MOST, ROWS, REPEATS, WIDER = range(1, 21), (1, 2, 3, 4, 8, 14, 20), 6000, 501, 300, 1.2


def draws_needed(m, V, loc, scale):
    """100 (E[w^2] / E[w]^2 - 1) for r = N(loc, diag(scale^2)), for every row of m and loc."""
    P, R = np.linalg.inv(V), np.diag(scale**-2.0)
    A, b = 2 * P - R, 2 * m @ P - loc @ R
    log_det = 2 * np.sum(np.log(scale)) - 2 * np.linalg.slogdet(V)[1] - np.linalg.slogdet(A)[1]
    squares = np.sum(b @ np.linalg.inv(A) * b - 2 * m @ P * m + loc @ R * loc, axis=1)
    return 100 * np.expm1(0.5 * (log_det + squares))


@eqx.filter_jit
def estimates(p, r, x, S):
    """REPEATS times log p(x) by importance sampling: the log of the mean of S weights."""
    z = jax.vmap(lambda key: r.sample(key=key))(jax.random.split(jax.random.key(0), REPEATS * S))
    log_w = jax.vmap(lambda z: p.log_joint(x, z) - r.log_prob(z))(z)
    return jax.nn.logsumexp(log_w.reshape(REPEATS, S), axis=1) - jnp.log(S)


needed, measured, errors, rng = {"prior": [], "q": []}, {"prior": [], "q": []}, [], np.random.default_rng(0)
for d in DIMENSIONS:
    # z ~ N(0, I), x | z ~ N(W z, I); neighbouring latent numbers have similar effects: W'W = 5 (0.4^|i - j|).
    W = 5**0.5 * np.linalg.cholesky(0.4 ** np.abs(np.subtract.outer(range(d), range(d)))).T
    x = rng.normal(size=(ROWS, d)) @ W.T + rng.normal(size=(ROWS, d))
    V = np.linalg.inv(W.T @ W + np.eye(d))
    p = GenerativeModel(StandardGaussian(d), Decoder(lambda z, W=W: W @ z, gaussian_head("shared", jnp.zeros(d)), d))
    m = x @ W @ V  # the posterior's mean; q has it, leaves out the correlations and is a bit too wide
    for name, loc, scale in (("prior", 0 * m, np.ones(d)), ("q", m, WIDER * np.sqrt(np.diag(V)))):
        needed[name].append(draws_needed(m, V, loc, scale))
        row = np.argsort(needed["prior"][-1])[ROWS // 2]
        S = int(np.ceil(needed[name][-1][row]))
        if d in MEASURED and S <= MOST:
            exact = stats.multivariate_normal(np.zeros(d), W @ W.T + np.eye(d)).logpdf(x[row])
            found = estimates(p, DiagonalGaussian(jnp.array(loc[row]), jnp.array(scale)), jnp.array(x[row]), S)
            errors.append(np.sqrt(np.mean((np.asarray(found) - exact) ** 2)))
            measured[name].append((d, S * (errors[-1] / 0.1) ** 2))

prior, q = (np.median(needed[name], axis=1) for name in ("prior", "q"))
for d in (1, 2, 4, 8, 16, 20):
    print(f"{d:2d} latent numbers: {prior[d - 1]:14,.0f} draws from the prior, {q[d - 1]:4,.0f} from q")
claim(np.all(np.abs(np.log(np.array(errors) / 0.1)) < 0.25), "At the formula's S, 300 estimates err by 0.1 nat.")
claim(np.all(prior[1:] > 1.6 * prior[:-1]), "Every latent number more multiplies the prior's cost by more than 1.6;")
claim(prior[19] > 1e4 * prior[9] and q[19] < 6 * q[9], "ten more by more than 10,000, the cost of q by less than 6.")

with style():
    figure = new_figure(3.4)
    axes = figure.subplots()
    for name, colour, marker in (("prior", MODEL, "o"), ("q", DATA, "s")):
        axes.fill_between(DIMENSIONS, *np.quantile(needed[name], (0.1, 0.9), axis=1), color=colour, alpha=0.15, lw=0)
        axes.plot(DIMENSIONS, np.median(needed[name], axis=1), color=colour)
        axes.plot(*np.transpose(measured[name]), marker, color=colour, ms=5, mec="white", mew=0.6)
    axes.text(10.6, 3e8, "z from the prior", color=MODEL, ha="right")
    axes.text(20, 14, "z from q: the posterior's mean, 1.2 times too wide", color=DATA, ha="right")
    axes.text(1, 8e10, "line: formula, median row; band: 8 rows in 10\nmarker: measured in 300 estimates", color=MUTED)
    axes.set(yscale="log", ylim=(1, 3e12), ylabel="draws for ± 0.1 nat in log p(x)", xlabel="latent dimension")
    axes.set_yticks(100.0 ** np.arange(7), ["1", "100", "10⁴", "10⁶", "10⁸", "10¹⁰", "10¹²"])
    axes.set_xticks(DIMENSIONS[1::2])
    grid(axes)
save(figure, "02_how_to_get_log_p")
