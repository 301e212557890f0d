"""No free lunch: an autoregressive model beside a latent-variable model of the same binary digits.

MADE (Germain et al. 2015; several orders mixed: Uria et al. 2014) writes p(x) as a product over cells, each given those
before it: log p(x) is exact and takes one pass, a draw takes a pass for every cell, and no cell can be left out. A VAE
draws in one pass, encodes a row in a few numbers, leaves cells out exactly, and says log p(x) only up to an estimate.
"""

import time

import jax
import numpy as np
from claims import claim, save
from sklearn.datasets import load_digits

from tightbound import VAE
from tightbound.evidence import fit_made
from tightbound.report.style import DATA, MODEL, new_figure, style

KEY, best = jax.random.key(0), "MADE, 5 orders"
digits = (load_digits().data > 8).astype(float)[np.random.default_rng(0).permutation(1797)]
train, guard, test = np.split(digits, [1200, 1400])
MADES = {"MADE, natural order": ("natural", 1), "MADE, shuffled": ("shuffled", 1), "MADE, 5 orders": ("natural", 5)}
LEARNING = {"likelihood": "bernoulli", "network": "residual(hidden_sizes=(300,))", "learning_rate": 0.01, "epochs": 60}


def seconds(call):
    """The least time of five calls after a first one, which compiles."""
    times = [time.perf_counter()]
    for _ in range(6):
        call()
        times.append(time.perf_counter())
    return min(np.diff(times)[1:])


log_p, learning, drawing, draws = {}, {}, {}, {}
for name, (order, n_orders) in MADES.items():
    start = time.perf_counter()
    made = fit_made(train, validation=guard, order=order, n_orders=n_orders, key=KEY, **LEARNING)
    learning[name] = time.perf_counter() - start
    log_p[name], draws[name] = made.log_prob(test), made.sample(1000, key=KEY)
    drawing[name] = seconds(lambda made=made: made.sample(1000, key=KEY))
start = time.perf_counter()
options = {"learning_rate": 0.003, "scoring_method": "importance", "random_state": 0}
vae = VAE(16, network="residual(hidden_sizes=(128,))", epochs=150, **options).fit(train, validation=guard)
learning["VAE"], evidence = time.perf_counter() - start, vae.evidence(test, 5000)
drawing["VAE"], draws["VAE"] = seconds(lambda: vae.sample(1000, 0)), vae.sample(1000, 0)
log_p |= {"VAE": evidence.log_evidence, "VAE, its ELBO": evidence.elbo}
halves = np.where(np.arange(64) < 32, test[:7], np.nan)  # a MADE refuses such rows
gains = {n: (np.mean(log_p[best] - v), np.std(log_p[best] - v) / len(test) ** 0.5) for n, v in log_p.items()}
for n in learning:
    print(f"{n:>19}: {log_p[n].mean():.2f} nats a held-out row, {gains[n][0]:.2f} ± {gains[n][1]:.2f} below the best,")
    print(f"{'':>19}  learnt in {learning[n]:.1f} s, 1,000 draws in {1000 * drawing[n]:.1f} ms")
print(f"{evidence.n_unreliable} of the VAE's {len(test)} rows have unreliable weights: their log p(x) may be too low")
claim(all(gains[n][0] > 3 * gains[n][1] for n in MADES if n != best), "Five orders together beat each of two alone;")
error = np.hypot(gains["VAE"][1], evidence.mean().monte_carlo_error)
claim(gains["VAE"][0] > 3 * error, f"they beat the VAE by {gains['VAE'][0]:.2f} ± {error:.2f} nats a held-out row.")
claim(drawing["MADE, shuffled"] > 2 * drawing["VAE"], "Draws of a MADE take more than twice as long as the VAE's.")
claim(np.isfinite(vae.score_samples(halves)).all(), "The VAE scores halves of rows.")

with style():
    figure = new_figure(2.5, 8.6)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.4))
    for row, (name, values) in enumerate(log_p.items()):
        colour = MODEL if name in MADES else DATA
        left.errorbar(values.mean(), row, xerr=gains[name][1], fmt="o", color=colour)
        middle.plot(1000 * drawing.get(name, np.nan), row, "o", color=colour)
        middle.plot(1000 * learning.get(name, np.nan), row, "s", color=colour, mfc="white")
    left.set_yticks(range(5), log_p)
    left.set(xlabel="log p(x), nats a held-out row", title="Fit ± se of the difference", ylim=(4.5, -0.5))
    middle.set(xscale="log", xlabel="milliseconds", yticks=[], ylim=(4.5, -0.5), title="1,000 draws ●, compile + fit □")
    middle.set_xticks([1, 10, 100, 1000, 10000], ["1", "10", "100", "1,000", "10⁴"])
    filled = np.where(np.isnan(halves), vae.reconstruct(halves), halves)
    rows = {"MADE draws": draws[best], "VAE draws": draws["VAE"], "half given": np.nan_to_num(halves, nan=0.3)}
    rows |= {"VAE fills in": filled, "truth": test}
    tiles = [np.hstack([np.pad(d.reshape(8, 8), 1, constant_values=0.6) for d in data[:7]]) for data in rows.values()]
    right.imshow(np.vstack(tiles), cmap="Greys")
    right.set_yticks(4.5 + 10 * np.arange(5), rows)
    right.set_xticks([])
save(figure, "08_no_free_lunch")
