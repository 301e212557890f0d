"""How the bound went over epochs."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.fitted import TrainingSummary
from tightbound.estimator.formatting import nats, plural
from tightbound.report.page import Markup, Section, Words, picture
from tightbound.report.style import DATA, INK, MODEL, MUTED, Array, Limits, finite, grid, new_figure, styled

COLOURS = {"training": DATA, "validation": MODEL}


def curves(training: TrainingSummary) -> dict[str, Array]:
    """Return the bounds of each epoch, where there are any, by the rows that they are of; the one that judges last."""
    history = training.history
    every = {
        "training": np.array([record.train_bound for record in history], float),
        "validation": np.array([record.validation_bound for record in history], float),
    }
    return {rows: curve for rows, curve in every.items() if np.isfinite(curve).any()}


def bound_limits(training: TrainingSummary) -> Limits:
    """Return limits that let early epochs leave the view, but never the best or last one."""
    shown = list(curves(training).values())
    if not shown:
        return -1.0, 0.0
    values = finite(np.concatenate(shown))
    top, early = float(values.max()), float(np.quantile(values, 0.15))
    ends = [float(finite(curve)[-1]) for curve in shown]
    bottom = max(float(values.min()), min(early - 0.3 * (top - early), *ends))
    margin = 0.05 * (top - bottom) or max(0.5, 0.02 * abs(top))
    return bottom - margin, top + margin


def best_position(training: TrainingSummary) -> int | None:
    """Return where the best epoch stands in the history, or None."""
    epochs = [record.epoch for record in training.history]
    return epochs.index(training.best_epoch) if training.best_epoch in epochs else None


@styled
def figure(training: TrainingSummary) -> Figure:
    """Draw the training and the validation bound over epochs, with the best epoch marked."""
    drawn = new_figure(2.7)
    axes = drawn.add_subplot()
    epochs = np.array([record.epoch for record in training.history])
    marker = "o" if len(epochs) < 3 else None
    for rows, curve in curves(training).items():
        axes.plot(epochs, curve, color=COLOURS[rows], label=f"{rows} rows", marker=marker, markersize=3)
    axes.set(ylim=bound_limits(training), xlabel="epoch", ylabel="bound on log p(x), nats a row")
    _mark_best(axes, training, epochs)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if len(epochs):
        margin = max(0.5, 0.02 * np.ptp(epochs))
        axes.set_xlim(epochs.min() - margin, epochs.max() + margin)
    grid(axes)
    if axes.lines:
        drawn.legend(loc="outside upper right", ncols=3)
    return drawn


def _mark_best(axes: Axes, training: TrainingSummary, epochs: Array) -> None:
    best, shown = best_position(training), list(curves(training).values())
    if best is None or not shown or not np.isfinite(shown[-1][best]):
        return
    axes.axvline(epochs[best], color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
    label = f"best: epoch {epochs[best]:g}"
    axes.plot(epochs[best], shown[-1][best], "o", color=INK, markersize=4.5, label=label, zorder=5)


def words(training: TrainingSummary, *, cells_hidden: bool = False) -> Words:
    """Describe how the bound went; `cells_hidden`: training rows may have lost cells at random."""
    shown = curves(training)
    if not shown:
        return Words("No bound was recorded.", "No epoch was recorded, so there is no curve.")
    told = "" if best_position(training) is None else f", best at epoch {training.best_epoch}"
    alt = "; ".join(_course(rows, curve) for rows, curve in shown.items()) + f"{told}."
    caption = "Higher is better. " + _how_to_read(validated="validation" in shown)
    if cells_hidden:
        caption += (
            " Unless hide_cells is 0, training rows lose cells at random each time: their bound is of fewer cells than "
            "that of validation rows, and only the course of the two can be compared."
        )
    lowest = bound_limits(training)[0]
    hidden = int(np.sum(np.any([curve < lowest for curve in shown.values()], axis=0)))
    if hidden:
        caption += f" {plural(hidden, 'epoch')} with a bound below {nats(lowest)} nats are cut off."
    return Words(alt, caption)


def _course(rows: str, curve: Array) -> str:
    first, last = finite(curve)[[0, -1]]
    verb = "rises" if last > first else "falls" if last < first else "stays"
    epochs = plural(finite(curve).size, "epoch")
    return f"{rows.capitalize()} bound {verb} from {nats(first)} to {nats(last)} nats a row in {epochs}"


def _how_to_read(*, validated: bool) -> str:
    if not validated:
        return "There are no validation rows, so this curve alone cannot show overfitting."
    return (
        "Training rows drive the fit, validation rows judge it: a validation curve that turns down while training "
        "still rises is overfitting; curves that still rise at the right end would gain from more epochs."
    )


def body(found: Evaluation) -> Markup:
    """Show the learning curves."""
    hidden = found.columns is not None
    return picture("learning-curves", figure(found.training), words(found.training, cells_hidden=hidden))


SECTION = Section[Evaluation, Evaluation]("learning", "Learning curves", lambda found: found, body)
