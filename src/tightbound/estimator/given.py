"""Rows given some of their columns (values, ranges, sets), and the distribution of one column given others."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, final

import jax
import numpy as np
from numpy.typing import NDArray

from tightbound.data import DataError, Encoding, Numbers, Table
from tightbound.estimator.fitted import FittedModel, precision
from tightbound.estimator.imputation import ROWS_AT_ONCE
from tightbound.model import TOTAL
from tightbound.tasks import Constraints, Interval, OneOf, conditional_draws, level_probabilities

_LATENTS_A_DRAW = 5


@final
@dataclasses.dataclass(frozen=True)
class Given:
    """What is known of a row: cells in model units, and sets for others."""

    x: NDArray[Any]
    observed: NDArray[np.bool_]
    sets: Constraints
    codes: Numbers
    """(m,) the cells in the user's numbers, NaN where nothing is given."""


def parse_given(model: FittedModel, given: Mapping[str, Any]) -> Given:
    """What `given` says, in model units.

    Args:
        model: fitted.
        given: for a column a value; a pair (low, high) or a slice for a range, None for an open end; a set or list for
            one of several values.

    Raises:
        DataError: for columns or levels that the model does not know, and what contradicts a column's kind.
    """
    encoding = model.encoding
    codes = np.full(encoding.n_features, np.nan)
    sets: dict[int, Interval | OneOf] = {}
    for name, value in given.items():
        j = encoding.position(name)
        if isinstance(value, slice):
            value = (value.start, value.stop)
        if isinstance(value, tuple):
            sets[j] = _interval(encoding, j, value)
        elif isinstance(value, set | frozenset | list | range | np.ndarray):
            sets[j] = _one_of(encoding, j, list(value))
        else:
            codes[j] = encoding.code(j, value)
    x = np.zeros((1, encoding.n_features), model.specification.dtype)
    observed = ~np.isnan(codes)[None]
    for at in np.flatnonzero(observed[0]):
        x[0, at] = encoding.forward(int(at), codes[at])
    return Given(x, observed, sets, codes)


def sample_given(model: FittedModel, n: int, given: Mapping[str, Any], seed: int = 0) -> Numbers:
    """n rows of p(x | what is given) in the user's numbers, (n, m): codes of levels, numbers on their grid.

    Latents are drawn from q given the known cells (a tenth from the prior), weighted by p(x_known, z) P(sets | z) / q,
    and resampled.

    Raises:
        DataError: when no row satisfies what is given.
    """
    encoding, known = model.encoding, parse_given(model, given)
    if model.specification.conditioned:
        _check_conditions(model, known)
        if not known.sets and set(np.flatnonzero(known.observed[0])) <= set(encoding.given):
            values = model.sample_under(_references(model, known, n, seed), seed)
            return np.where(np.isnan(known.codes), values, known.codes)
    with precision(model.specification.dtype):
        try:
            found = conditional_draws(
                model.pair,
                known.x,
                known.observed,
                n_draws=n,
                n_samples=max(2000, _LATENTS_A_DRAW * n),
                constraints=known.sets or None,
                defensive=0.1,
                key=jax.random.key(seed),
            )
        except ValueError as error:
            raise DataError(
                f"What is given must be satisfied by some row; under the model none satisfies {_words(given)}; widen "
                "the ranges, or leave something out."
            ) from error
    if not np.isfinite(found.values).all():
        raise DataError(
            f"What is given must be possible under the model; no latent makes {_words(given)}; leave something out."
        )
    values = encoding.decode(found.values[0], on_grid=True)
    return np.where(np.isnan(known.codes), values, known.codes)


def _check_conditions(model: FittedModel, known: Given) -> None:
    """Refuses what a model of p(x | c) cannot answer: it has no p(c)."""
    encoding, names = model.encoding, model.encoding.modelled_names
    for j in encoding.given:
        if j in known.sets:
            raise DataError(
                f"What is given for {names[j]!r} must be one value, since the model is given it too and has no "
                "distribution of it; got a range or a set; give one value, and sample again for others."
            )
    cells = [j for j in (*np.flatnonzero(known.observed[0]), *known.sets) if j not in encoding.given]
    open_ones = [names[j] for j in encoding.given if not known.observed[0, j]]
    if cells and open_ones:
        raise DataError(
            f"What is given must name all that the model is given when it names other columns; {open_ones[0]!r} is "
            "left open, and the model has no distribution of it; give a value for it."
        )
    if cells and model.specification.exposure == TOTAL:
        raise DataError(
            "What is given must be conditions alone where the exposure is a row's own total, which is not known before "
            f"the row is; got a value for {names[cells[0]]!r}; fit with a column that holds the exposure."
        )


def _references(model: FittedModel, known: Given, n: int, seed: int) -> NDArray[Any]:
    """What the training rows were given, n times, with what is asked for in its place."""
    head: Any = model.pair.p.decoder.head
    encoding = model.encoding
    reference = np.asarray(head.reference, np.float64)
    places = {j: i for i, j in enumerate(head.given)}
    fixed = [j for j in encoding.given if known.observed[0, j]]
    alike = np.ones(len(reference), bool)
    for j in fixed:
        if encoding.levels(j):  # what is left open goes with it: a dose with its treatment
            alike &= reference[:, places[j]] == known.x[0, j]
    if len(fixed) < reference.shape[1] and not alike.any():
        raise DataError(
            f"What is given must have been given to some training row where a part of it is left open; "
            f"{', '.join(encoding.modelled_names[j] for j in fixed)} never came so together; name the rest as well."
        )
    rows = reference[alike] if alike.any() else reference
    chosen = rows[np.random.default_rng(seed).integers(0, len(rows), n)]
    for j in fixed:
        chosen[:, places[j]] = known.x[0, j]
    return chosen


def _interval(encoding: Encoding, j: int, ends: tuple[Any, ...]) -> Interval:
    name = encoding.modelled_names[j]
    if not encoding.ordered(j):
        raise DataError(
            f"The range given for column {name!r} must be on a column with an order; it has the levels "
            f"{_some(encoding.levels(j))}; give a set of levels."
        )
    if len(ends) != 2:
        raise DataError(
            f"A range for column {name!r} must be two ends; got {ends!r}; write (low, high), None for open."
        )
    low, high = (None if end is None else encoding.code(j, end) for end in ends)
    if low is not None and high is not None and low > high:
        raise DataError(
            f"The range given for column {name!r} contradicts itself: {low:g} is above {high:g}; swap them."
        )
    if encoding.levels(j):
        # Levels have codes, and a range of them is a set.
        return Interval(-0.5 if low is None else low - 0.5, np.inf if high is None else high + 0.5)
    at = [encoding.forward(j, end) if end is not None else None for end in (low, high)]
    return Interval(-np.inf if at[0] is None else at[0], np.inf if at[1] is None else at[1])


def _one_of(encoding: Encoding, j: int, values: Sequence[Any]) -> OneOf:
    name = encoding.modelled_names[j]
    if not values:
        raise DataError(f"The set given for column {name!r} must have a value; got none; leave the column out.")
    codes = [encoding.code(j, value) for value in values]
    if encoding.continuous(j) and not set(codes) <= set(encoding.point_masses(j)):
        raise DataError(
            f"The set given for column {name!r} must be of values with a probability of their own; it is continuous "
            f"(values that repeat: {_some(encoding.point_masses(j)) or 'none'}); give one value, or a range."
        )
    return OneOf([encoding.forward(j, code) for code in codes])


def _some(values: Sequence[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:10])
    return shown + (", ..." if len(values) > 10 else "")


def _words(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in given.items())


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
