"""A row as the set of its observed cells: an encoder's input in which a missing cell leaves no trace."""

from typing import final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.distributions import Mask, Vector
from tightbound.model.networks.dense import MLP
from tightbound.model.networks.inputs import AbstractInputs, CentredInputs, ColumnsInputs

CELL_SIZE = 32
SET_SIZE = 128


@final
class SetInputs(AbstractInputs):
    """sum over observed j of phi(e_j + sum_i v_i w_i) / sqrt(d), v_i the numbers and codes that stand for cell j.

    e_j says which column a cell is of, so the order of the columns does not matter, and what is not observed is not
    there: no number stands in for it. phi is one network for all cells. `set_inputs` makes one.
    Source: Zaheer et al. (2017); for rows with missing cells, Ma et al. (2019).
    """

    cells: CentredInputs | ColumnsInputs
    """What each cell enters as."""
    columns: Float[Array, "d e"]
    """e."""
    entries: Float[Array, "i e"]
    """w."""
    phi: MLP

    @property
    def size(self) -> int:
        """Of the sum."""
        return SET_SIZE

    @property
    def n_cells(self) -> int:
        """d."""
        return self.cells.n_cells

    def __call__(self, x: Vector, observed: Mask = None) -> Float[Array, " i"]:
        """The set of one row."""
        seen = jnp.ones(x.shape, bool) if observed is None else observed
        values = self.cells(x, seen)
        owners = jnp.asarray(self.cells.owners)
        each = self.columns.at[owners].add(values[:, None] * self.entries)
        found = jax.vmap(self.phi)(each)
        return jnp.sum(jnp.where(seen[:, None], found, 0), axis=0) / self.n_cells**0.5


def set_inputs(cells: CentredInputs | ColumnsInputs, *, dtype: str, key: PRNGKeyArray) -> SetInputs:
    """The set of the cells that `cells` makes vectors of (without its mask)."""
    key_columns, key_entries, key_phi = jax.random.split(key, 3)
    columns = jax.random.normal(key_columns, (cells.n_cells, CELL_SIZE), dtype)
    entries = jax.random.normal(key_entries, (cells.size, CELL_SIZE), dtype)
    phi = MLP(CELL_SIZE, SET_SIZE, (SET_SIZE,), dtype=dtype, key=key_phi)
    return SetInputs(cells, 0.5 * columns, 0.5 * entries, phi)
