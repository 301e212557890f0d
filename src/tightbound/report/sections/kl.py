"""How much each latent dimension carries."""

import numpy as np
from matplotlib.figure import Figure

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.formatting import nats, plural
from tightbound.evidence import Latents
from tightbound.report.page import Markup, Section, Words, picture
from tightbound.report.style import DATA, PRIOR, WIDTH, dimension_ticks, grid, largest_first, new_figure, styled

MOST_BARS = 64


@styled
def figure(latents: Latents) -> Figure:
    """Draw the KL of each latent dimension as bars, largest first, active ones in colour."""
    order = largest_first(latents.kl_per_dimension)[:MOST_BARS]
    drawn = new_figure(2.4, width=min(WIDTH, 2.8 + 0.25 * len(order)))
    axes = drawn.add_subplot()
    position = np.arange(len(order))
    kl, active = latents.kl_per_dimension[order], latents.active[order]
    for chosen, colour, name in ((active, DATA, "active"), (~active, PRIOR, "inactive")):
        if chosen.any():
            axes.bar(position[chosen], kl[chosen], width=0.75, color=colour, label=name)
    dimension_ticks(axes, order)
    axes.set_ylim(0, max(0.01, 1.06 * float(np.max(kl))))
    axes.set_ylabel("KL, nats a row")
    grid(axes)
    axes.legend(loc="upper right")
    return drawn


def words(latents: Latents) -> Words:
    """Describe the KL of each dimension."""
    kl, active, order = latents.kl_per_dimension, latents.active.sum(), largest_first(latents.kl_per_dimension)
    dimensions = plural(len(kl), "latent dimension")
    alt = (
        f"KL of {dimensions}, from {nats(kl[order[0]])} nats (dimension {order[0]}) down to {nats(kl[order[-1]])} nats "
        f"(dimension {order[-1]}), {nats(float(np.sum(kl)))} nats in all; {active} active."
    )
    caption = (
        f"{active} of {dimensions} active (variance of the posterior mean above 0.01). "
        "The KL is what a dimension carries about a row; an inactive one carries nothing, and the model ignores it."
    )
    if len(kl) > MOST_BARS:
        caption += f" The {MOST_BARS} largest are shown."
    return Words(alt, caption)


def body(latents: Latents) -> Markup:
    """Show the KL of each dimension."""
    return picture("kl", figure(latents), words(latents))


SECTION = Section[Evaluation, Latents]("kl", "KL of each latent dimension", lambda found: found.latents, body)
