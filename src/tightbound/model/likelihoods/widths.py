"""Cells of different sizes as cells of one: three levels as five of which two have no probability.

What is stacked is compiled once. A wider cell is given `FAR` (or its negative) for the numbers that it has beyond its
own: so far out that a level there has probability 0, and no gradient, in float32 too.
"""

import equinox as eqx
import jax.numpy as jnp

from tightbound.model.likelihoods.base import FAR, AbstractCells
from tightbound.model.likelihoods.levels import AbstractLevelCells, CategoricalCells, CumulativeLogitCells
from tightbound.model.likelihoods.point_masses import SpikeAndSlabCells


def filler(cells: AbstractCells) -> float:
    """What stands for the numbers that resized cells do not have themselves.

    -FAR as the logit of a level or of a spike, FAR as the gap between ordered levels.
    """
    return FAR if isinstance(cells, CumulativeLogitCells) else -FAR


def resized(cells: AbstractCells, n_outputs: int) -> AbstractCells:
    """The cells with so many numbers: more levels or spikes that never occur, or without them again."""
    if isinstance(cells, CategoricalCells):
        return CategoricalCells(n_outputs)
    if isinstance(cells, CumulativeLogitCells):
        return CumulativeLogitCells(n_outputs + 1)
    if isinstance(cells, SpikeAndSlabCells):
        n_spikes = n_outputs - cells.base.n_outputs
        more = jnp.full(max(0, n_spikes - len(cells.spikes)), FAR, cells.spikes.dtype)
        return eqx.tree_at(lambda c: c.spikes, cells, jnp.concatenate([cells.spikes, more])[:n_spikes])
    return cells


def narrowest(cells: AbstractCells) -> AbstractCells:
    """The cells with two levels or one spike: what can be made of one size looks the same."""
    if isinstance(cells, SpikeAndSlabCells):
        return resized(cells, cells.base.n_outputs + 1)
    return resized(cells, 1 if isinstance(cells, CumulativeLogitCells) else 2)


def levels_of(cells: AbstractLevelCells, n_outputs: int) -> int:
    """How many levels so many numbers are of."""
    return cells.levels - (cells.n_outputs - n_outputs)
