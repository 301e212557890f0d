"""What an encoder's network sees of counts: their logarithms, relative to the exposure that they were counted under."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import ArrayLike, NDArray

from tightbound.model.distributions import Mask, Vector
from tightbound.model.inputs import AbstractInputs


@final
class CountInputs(AbstractInputs):
    """(f - center) / scale with f_j = log(1 + x_j E / exposure) of count cells, f_j = x_j of the others.

    E is a typical exposure, so that a cell of a typical row enters as log(1 + x_j). What is missing enters as zero, an
    average cell; with the mask, "average" and "unknown" differ. `count_inputs` makes one from rows.
    """

    counts: Bool[Array, " d"]
    """Which cells are counts."""
    center: Float[Array, " d"]
    scale: Float[Array, " d"]
    log_typical: Float[Array, ""]
    """log E."""
    exposure: str | None = eqx.field(static=True)
    """Where a row's exposure is: "given", its logarithm is the last cell; "total", it is the sum of the row's observed
    counts; None, it is E for all."""
    with_mask: bool = eqx.field(static=True, default=False)

    @property
    def size(self) -> int:
        """d, or 2 d with the mask."""
        return self.n_cells * (2 if self.with_mask else 1)

    @property
    def n_cells(self) -> int:
        """d."""
        return self.center.shape[0]

    def __call__(self, x: Vector, observed: Mask = None) -> Float[Array, " i"]:
        """Scaled features of one row, and 1 or 0 for each cell."""
        seen = jnp.ones(x.shape, bool) if observed is None else observed
        center, scale = jax.lax.stop_gradient((self.center, self.scale))
        h = jnp.where(seen, (self.features(jnp.where(seen, x, 0)) - center) / scale, 0)
        return jnp.concatenate([h, seen.astype(h.dtype)]) if self.with_mask else h

    def features(self, x: Vector) -> Vector:
        """f of a row, (d,)."""
        log_typical = jax.lax.stop_gradient(self.log_typical)
        counts = jnp.where(self.counts, jnp.maximum(x, 0), 0)
        log_exposure = log_typical
        if self.exposure == "given":
            log_exposure = x[-1]
        elif self.exposure == "total":
            log_exposure = jnp.log(jnp.maximum(jnp.sum(counts), 1))
        return jnp.where(self.counts, jnp.log1p(counts * jnp.exp(log_typical - log_exposure)), x)


def count_inputs(
    x: ArrayLike,
    counts: ArrayLike | None = None,
    *,
    exposure: str | None = None,
    with_mask: bool = False,
    floor: float = 0.1,
    dtype: str = "float32",
) -> CountInputs:
    """The `CountInputs` whose features have mean zero and standard deviation one over training rows.

    Args:
        x: (n, d) training rows without gaps (some thousand are enough).
        counts: (d,) which cells are counts (None: all, but a log exposure).
        exposure: None, "given" (its logarithm is the last cell) or "total" (bags of words).
        with_mask: whether the network sees which cells are observed.
        floor: the least scale, so that a count that is almost never there does not shout.
        dtype: of what the network sees.

    Raises `ValueError` for rows that are no table, or another exposure.
    """
    rows = np.asarray(x, float)
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(f"x must be a table of one or more rows; got the shape {rows.shape}; give training rows.")
    if exposure not in (None, "given", "total"):
        raise ValueError(f"exposure must be None, 'given' or 'total'; got {exposure!r}; choose one of those.")
    which = np.ones(rows.shape[1], bool) if counts is None else np.array(counts, bool)
    if exposure == "given":
        which[-1] = False
    blank, typical = jnp.zeros(rows.shape[1], dtype), jnp.asarray(_log_typical(rows, which, exposure), dtype)
    raw = CountInputs(jnp.asarray(which), blank, blank + 1, typical, exposure, with_mask)
    found = np.asarray(jax.vmap(raw.features)(jnp.asarray(rows, dtype)), float)
    center, scale = jnp.asarray(found.mean(axis=0), dtype), jnp.asarray(np.maximum(found.std(axis=0), floor), dtype)
    return CountInputs(jnp.asarray(which), center, scale, typical, exposure, with_mask)


def _log_typical(rows: NDArray[np.float64], which: NDArray[np.bool_], exposure: str | None) -> float:
    """Mean log exposure."""
    if exposure == "given":
        return float(rows[:, -1].mean())
    return float(np.log(np.maximum(rows[:, which].sum(axis=1), 1)).mean()) if exposure == "total" else 0.0
