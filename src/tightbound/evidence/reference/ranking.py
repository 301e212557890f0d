"""Simple models with an exact likelihood, fitted to the same rows: what a variational autoencoder has to beat.

Each is given its best chance: how many factors or components it has is chosen on held-out rows out of the training
rows, and it is then fitted to all of them. All work in the model's units and keep to the decoder's floor.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol, final, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from tightbound.evidence.reference.independent_columns import Numbers, Seen, column_moments
from tightbound.evidence.reference.models import BERNOULLI, COLUMNS, GAUSSIAN, Scorer, prepared
from tightbound.model import AbstractDistribution, ColumnSpecification
from tightbound.model.compiling import compiled

LIKELIHOODS = ("gaussian", "bernoulli", "columns")


@final
@dataclasses.dataclass(frozen=True)
class Baseline:
    """A fitted simple model of the rows, with an exact likelihood.

    Example: `baselines, left_out = fit_baselines(x, likelihood="gaussian"); baselines[0].log_prob(x_test).mean()`.
    """

    name: str
    """What it is: "factor analysis"."""
    detail: str
    """How it was set: "4 factors, chosen on held-out rows"."""
    likelihood: str
    """"gaussian": log densities in the model's units; "bernoulli": log probabilities."""
    n_columns: int
    takes_missing: bool
    """Whether rows with missing cells have a likelihood."""
    scorer: Scorer = dataclasses.field(repr=False)
    """Checked rows and mask to (n,) nats."""

    def log_prob(self, x: ArrayLike, observed: ArrayLike | None = None) -> Numbers:
        """log p of the observed cells of every row: exact, missing cells integrated out.

        Args:
            x: (n, d) rows in the model's units; cells that are not observed may hold anything.
            observed: (n, d) which cells count; None for all.

        Returns:
            (n,) nats; 0 for a row without observed cells.

        Raises:
            ValueError: for another shape, a cell that is not finite (or not 0 or 1), a mask that the model cannot take.
        """
        rows, seen = _checked(x, observed, self.likelihood, self.n_columns)
        if seen is not None and not self.takes_missing:
            raise ValueError(
                f"observed must be None for the baseline {self.name}, which needs complete rows; got a mask with "
                f"{int((~seen).sum())} missing cells; score complete rows only, or take another baseline."
            )
        return self.scorer(rows, seen)


@runtime_checkable
class Listener(Protocol):
    """Called before each fit."""

    def __call__(self, done: int, total: int, name: str) -> None:
        """How many of how many are done, and what comes next."""
        ...


def fit_baselines(
    x: ArrayLike,
    observed: ArrayLike | None = None,
    *,
    likelihood: str,
    floor: ArrayLike | None = None,
    made: bool = True,
    independent: AbstractDistribution | None = None,
    columns: Sequence[ColumnSpecification] = (),
    seed: int = 0,
    on_progress: Listener | None = None,
) -> tuple[tuple[Baseline, ...], tuple[str, ...]]:
    """Fit every simple model that these rows allow.

    Gaussian: independent Gaussians; one with full covariance; probabilistic PCA; factor analysis; a mixture of
    Gaussians; MADE. Bernoulli: independent Bernoullis; a mixture of them; MADE. Columns of several kinds: independent
    ones; MADE.

    Args:
        x: (n, d) training rows in the model's units; cells that are not observed may hold anything.
        observed: (n, d) which cells count; None for all. Missing ones are integrated out in every fit, too.
        likelihood: "gaussian" or "bernoulli".
        floor: (d,) least standard deviation of each column, as the decoder's (None: a thousandth of the column's, or of
            1 where that is 0).
        made: whether to fit a MADE as well: the slowest, and often the best.
        independent: of columns of several kinds: their product, fitted to their marginals.
        columns: of columns of several kinds: the likelihood of each, for a MADE; () for none.
        seed: of the held-out rows, of starting points, and of MADE's weights.
        on_progress: called before each fit with how many of how many are done, and the name of the next.

    Returns:
        The baselines, and a sentence for each that was left out.

    Raises:
        ValueError: for rows, a mask, a floor or a likelihood that cannot be used.
    """
    if likelihood not in LIKELIHOODS:
        raise ValueError(f"likelihood must be gaussian, bernoulli or columns; got {likelihood!r}; choose one of those.")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be a whole number from 0 to {2**32 - 1}; got {seed!r}; 0 is usual.")
    rows, seen = _checked(x, observed, likelihood)
    steps = dict({"gaussian": GAUSSIAN, "bernoulli": BERNOULLI, "columns": COLUMNS}[likelihood])
    if not made or (likelihood == "columns" and not columns):
        del steps["MADE"]
    found = [] if independent is None else [_independent_columns(rows.shape[1], independent)]
    floors = _checked_floor(floor, rows, seen, likelihood)
    task = prepared(rows, seen, likelihood, floors, seed, tuple(columns))
    left_out: list[str] = []
    for i, (name, step) in enumerate(steps.items()):
        if on_progress is not None:
            on_progress(i, len(steps), name)
        outcome = step(task)
        if isinstance(outcome, str):
            left_out.append(f"{name[0].upper()}{name[1:]} left out: {outcome}.")
        else:
            scorer, detail = outcome
            takes_missing = name != "MADE" or task.fit is None or task.fit.seen is not None
            found.append(Baseline(name, detail, likelihood, rows.shape[1], takes_missing, scorer))
    return tuple(found), tuple(left_out)


def _independent_columns(n_columns: int, independent: AbstractDistribution) -> Baseline:
    """The simplest model that columns of any kinds have."""

    def scorer(x: Numbers, seen: Seen) -> Numbers:
        mask = np.ones(x.shape, bool) if seen is None else seen
        return np.asarray(_log_probs(independent, jnp.asarray(x, "float32"), jnp.asarray(mask)), np.float64)

    name, detail = "independent columns", "families as in the model, fitted to each column by its moments"
    return Baseline(name, detail, "columns", n_columns, True, scorer)


@compiled
def _log_probs(of: AbstractDistribution, x: Array, observed: Array) -> Array:
    return jax.vmap(of.log_prob)(x, observed)


def _checked(
    x: ArrayLike, observed: ArrayLike | None, likelihood: str, n_columns: int | None = None
) -> tuple[Numbers, Seen]:
    """Rows with 0 in missing cells, and the mask; None if nothing is missing."""
    rows = np.asarray(x, np.float64)
    wanted = f"(rows, {'columns' if n_columns is None else n_columns})"
    fitting = n_columns is None and rows.size > 0
    if rows.ndim != 2 or not (fitting or rows.shape[1] == n_columns):
        least = " with at least one of each" if n_columns is None else ""
        raise ValueError(f"x must be an array {wanted}{least}; got the shape {rows.shape}; pass one row a datum.")
    seen: Seen = None if observed is None else np.asarray(observed, np.bool_)
    if seen is not None and seen.shape != rows.shape:
        raise ValueError(
            f"observed must have the shape of x, {rows.shape}; got {seen.shape}; mark each cell True or False."
        )
    if seen is not None:
        rows = np.where(seen, rows, 0.0)
        if n_columns is None and not seen.any(axis=0).all():
            column = int(np.argmin(seen.any(axis=0)))
            raise ValueError(
                f"observed must mark at least one cell in every column; got none in column {column}; leave it out."
            )
    wrong = ~np.isfinite(rows) if likelihood != "bernoulli" else (rows != 0) & (rows != 1)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        kind = "finite numbers" if likelihood != "bernoulli" else "zeros and ones for the likelihood bernoulli"
        raise ValueError(
            f"x must hold {kind} in observed cells; got {rows[row, column]} in row {row}, column {column}; "
            f"mark it as missing with observed, or correct it."
        )
    return rows, None if seen is None or seen.all() else seen


def _checked_floor(floor: ArrayLike | None, x: Numbers, seen: Seen, likelihood: str) -> Numbers:
    d = x.shape[1]
    if likelihood != "gaussian":
        return np.zeros(d)
    if floor is None:
        spread = np.sqrt(column_moments(x, seen, np.zeros(d))[1])
        # The mean of a constant column may be off by its last digit: that is no spread.
        return 1e-3 * np.where(spread > 1e-12 * np.abs(x).max(axis=0), spread, 1.0)
    least = np.asarray(floor, np.float64)
    if least.shape != (d,) or not (np.isfinite(least) & (least > 0)).all():
        raise ValueError(
            f"floor must be {d} positive numbers, a least standard deviation for every column; got {floor!r}; pass "
            f"None for a thousandth of each column's."
        )
    return least
