"""The distribution of one column given any others: a classifier, a regressor and an interval from the same model."""

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import jax
import numpy as np
from numpy.typing import NDArray

from tightbound.data import DataError, Encoding, Numbers, Table
from tightbound.estimator.fitted import FittedModel, precision
from tightbound.estimator.imputation import ROWS_AT_ONCE
from tightbound.tasks import conditional_draws, level_probabilities


@final
@dataclasses.dataclass(frozen=True)
class Conditional:
    """p(target | given columns) of n rows."""

    target: str
    given: tuple[str, ...]
    levels: tuple[Any, ...]
    """Of a column of levels; () for a number."""
    probabilities: NDArray[np.float64] | None
    """(n, n_levels) of a column of levels."""
    draws: Numbers | None
    """(n, n_draws) equally likely values of a number, in the data's units."""
    expected: Numbers | None
    """(n,) E[target | given] of a number."""

    @property
    def predicted(self) -> NDArray[Any]:
        """(n,) the most probable level, or the mean of a number."""
        if self.probabilities is not None:
            return np.array(self.levels, dtype=object)[self.probabilities.argmax(axis=1)]
        return self._number("expected")

    @property
    def median(self) -> Numbers:
        """(n,) median of a number."""
        return np.median(self._number("draws"), axis=1)

    def interval(self, level: float = 0.9) -> tuple[Numbers, Numbers]:
        """Lower and upper ends, (n,) each, that hold the value with this probability under the model."""
        if not 0 < level < 1:
            raise ValueError(f"level must be a probability between 0 and 1; got {level!r}; 0.9 is usual.")
        low, high = np.quantile(self._number("draws"), [0.5 - level / 2, 0.5 + level / 2], axis=1)
        return low, high

    def _number(self, name: str) -> Numbers:
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"The target {self.target!r} has levels and no {name}; use its probabilities.")
        return np.asarray(value)

    def __repr__(self) -> str:
        """Whose distribution it is."""
        n = len(self.probabilities) if self.probabilities is not None else len(self._number("expected"))
        kind = f"{len(self.levels)} levels" if self.levels else "a number"
        return f"Conditional({self.target!r}, {kind}, given {', '.join(self.given) or 'nothing'}; {n:,} rows)"


def _given_columns(encoding: Encoding, target: str, given: Sequence[str] | None) -> tuple[list[str], list[int]]:
    """Names and positions of what a target is conditioned on, with all that the model is given anyhow."""
    j, known = encoding.position(target), encoding.modelled_names
    names = [*known[:j], *known[j + 1 :]] if given is None else list(given)
    columns = [encoding.position(name) for name in names]
    if j in columns:
        raise DataError(f"The target {target!r} must not be among the given columns; got it there; take it out.")
    if j in encoding.given:
        raise DataError(
            f"The target {target!r} must be a column that the model has a distribution of; it is a condition or an "
            "exposure; name another."
        )
    beside = [k for k in encoding.given if k not in columns]
    return [*names, *(known[k] for k in beside)], [*columns, *beside]


def condition(
    model: FittedModel,
    table: Table,
    target: str,
    given: Sequence[str] | None = None,
    *,
    n_samples: int = 1000,
    n_draws: int = 500,
    seed: int = 0,
) -> Conditional:
    """The distribution of the column `target` given the columns `given` (None: all others) of every row.

    Raises:
        DataError: for columns that the model does not have, or a target among the given.
    """
    model.require_readable()
    encoding = model.encoding
    j = encoding.position(target)
    names, columns = _given_columns(encoding, target, given)
    rows = model.rows(table)
    seen = np.ones(rows.x.shape, bool) if rows.observed is None else rows.observed
    mask = np.zeros(rows.x.shape, bool)
    mask[:, columns] = seen[:, columns]
    levels, key = encoding.levels(j), jax.random.key(seed)
    probabilities, draws, expected = [], [], []
    for start in range(0, len(mask), ROWS_AT_ONCE):
        x, observed = rows.x[start : start + ROWS_AT_ONCE], mask[start : start + ROWS_AT_ONCE]
        with precision(model.specification.dtype):
            if levels:
                found = level_probabilities(model.pair, x, observed, j, len(levels), n_samples=n_samples, key=key)
                probabilities.append(np.asarray(found, float))
                continue
            drawn = conditional_draws(model.pair, x, observed, n_draws=n_draws, n_samples=n_samples, key=key)
        values = encoding.decode(drawn.values, on_grid=True)[:, :, j]
        draws.append(values)
        expected.append(encoding.decode(drawn.mean)[:, j] if encoding.straight(j) else values.mean(axis=1))
    if levels:
        return Conditional(target, tuple(map(str, names)), levels, np.concatenate(probabilities), None, None)
    return Conditional(target, tuple(map(str, names)), (), None, np.concatenate(draws), np.concatenate(expected))
