"""Rows of independent zeros and ones."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike, NDArray

from tightbound.model.distributions import Bernoulli
from tightbound.model.likelihoods.heads import AbstractHead, Modelled


@final
class BernoulliHead(AbstractHead):
    """Independent yes/no cells; the network returns log-odds."""

    n_cells: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.n_cells

    @property
    def n_inputs(self) -> int:
        """dim."""
        return self.dim

    def __call__(self, h: Float[Array, " m"]) -> Bernoulli:
        """Bernoulli with log-odds h."""
        return Bernoulli(h)

    def location_at_start(self, mean: NDArray[np.float64], first: NDArray[np.float64] | None) -> ArrayLike:
        """Log-odds of the means, kept from 0 and 1 (Burda et al., 2016: about one nat on MNIST)."""
        p = np.clip(mean, 1e-3, 1 - 1e-3)
        return np.log(p) - np.log1p(-p)

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """Nothing: the log-odds are all there is."""
        return jnp.zeros(0)


def make(member: Any, modelled: Modelled) -> BernoulliHead:
    """The head of the member "bernoulli"."""
    del member
    return BernoulliHead(modelled.size)
