"""A phi for every row against one network for all rows: how many inner steps pay?

Variational inference gives each row a q with parameters phi of its own, found by ascending the row's bound while the
model is held (Hoffman et al. 2013; Ranganath et al. 2014): better after more inner steps, and dearer. Amortised
inference (Kingma and Welling 2014) has one network name phi for any row at no such cost; semi-amortised inference (Kim
et al. 2018) refines what the network names. Here they fit the same model in as many epochs, and are timed.
"""

import time

import numpy as np
from claims import claim, save
from sklearn.datasets import load_digits

from tightbound.data import as_table
from tightbound.estimator.fit import fit_table
from tightbound.estimator.settings import Settings
from tightbound.report.style import DATA, INK, MODEL, grid, new_figure, style

EPOCHS, STEPS = 20, (1, 5, 20, 100)
MODEL_AND_LEARNING = {"latent_dim": 8, "network": "residual(hidden_sizes=(64,))", "epochs": EPOCHS}
MODEL_AND_LEARNING |= {"learning_rate": 0.01, "scoring_method": "importance"}
WAYS = {steps: {"inference": f"per_datum(inner_steps={steps})"} for steps in STEPS}
WAYS |= {"network": {"inference": "amortised"}, "both": {"inference": "semi_amortised(inner_steps=10)"}}

digits = (load_digits().data > 8).astype(float)[np.random.default_rng(0).permutation(1797)]
train, held_out = as_table(digits[:1000]), as_table(digits[1000:1400])
bound, seconds, refined, own = {}, {}, {}, {}
for name, way in WAYS.items():
    settings, stamps = {**MODEL_AND_LEARNING, **way, "validation_fraction": 0}, []
    fitted = fit_table(train, Settings(**settings), seed=0, on_epoch=lambda *_, s=stamps: s.append(time.perf_counter()))
    # The first epoch's time is the compiler's; the others take equally long each.
    seconds[name] = (stamps[-1] - stamps[0]) / (EPOCHS - 1) * np.arange(1, EPOCHS + 1)
    bound[name] = np.array([record.train_bound for record in fitted.summary.history])
    # A row never seen gets 100 steps from the prior, or what the network says; and that refined, for a fair comparison.
    own[name] = fitted.evidence(held_out, 200).elbo
    refined[name] = own[name] if name in STEPS else fitted.refined(100).evidence(held_out, 200).elbo
    print(
        f"{name!s:>7}: {1000 * seconds[name][0]:6.1f} ms an epoch; bound {bound[name][-1]:.2f} nats a training row, "
        f"{own[name].mean():.2f} a held-out row, {refined[name].mean():.2f} with its q refined by 100 steps"
    )


def gain(better, worse):
    """Mean of the rows' differences, and its standard error."""
    return np.mean(better - worse), np.std(better - worse, ddof=1) / len(better) ** 0.5


steps, error = gain(refined[20], refined[1])
more, its_error = gain(refined[100], refined[20])
refining, the_error = gain(own["both"], own["network"])
claim(steps > 3 * error, f"20 inner steps learn a better model than 1: {steps:.3f} ± {error:.3f} nats a held-out row;")
claim(more < steps / 3, f"80 more add less than a third of that: {more:.3f} ± {its_error:.3f} nats.")
claim(refining > 3 * the_error, f"Refining what the network names pays: {refining:.2f} ± {the_error:.2f} nats.")

with style():
    figure = new_figure(3.2, 7.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    shades = (*("#9dbcd6", "#5f93bf", DATA, "#0d2f4d"), MODEL, INK)
    labels = (*(f"phi per row, {n} step{'s' * (n > 1)}" for n in STEPS), "one network", "network + 10 steps")
    for row, (name, colour) in enumerate(zip(WAYS, shades, strict=True)):
        left.plot(seconds[name], bound[name], ".-" if name in STEPS else "x--", color=colour, ms=4, lw=1)
        for elbo, fill in ((own, "white"), (refined, colour)):
            mean, error = gain(elbo[name], refined[1])
            right.errorbar(mean, 5 - row, xerr=error, fmt="o" if name in STEPS else "s", color=colour, mfc=fill, ms=5)
    left.set(xscale="log", xlabel="seconds of learning, without compilation", ylabel="ELBO, nats a training row")
    left.set_xticks([0.001, 0.01, 0.1, 1, 10, 100], ["0.001", "0.01", "0.1", "1", "10", "100"])
    left.set_xlim(seconds["network"][0] / 2, seconds[100][-1] * 2)
    left.set_title(f"{EPOCHS} epochs of 1,000 digits, a point an epoch")
    right.set_yticks(range(6), labels[::-1])
    for tick, colour in zip(right.get_yticklabels(), shades[::-1], strict=True):
        tick.set_color(colour)
    right.set(
        xlabel="nats a held-out row, against 1 step", ylim=(-0.5, 5.5), title="ELBO with q refined (hollow: as it is)"
    )
    grid(right, "x")
save(figure, "05_a_phi_for_every_row")
