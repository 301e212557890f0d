"""Rows given some of their columns: values, ranges, sets."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, final

import jax
import numpy as np
from numpy.typing import NDArray

from tightbound.data import DataError
from tightbound.estimator.fitted import FittedModel, precision
from tightbound.estimator.units import Numbers, Units
from tightbound.model import TOTAL
from tightbound.tasks import Constraints, Interval, OneOf, conditional_draws

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
    units = Units(model)
    codes = np.full(units.n_columns, np.nan)
    sets: dict[int, Interval | OneOf] = {}
    for name, value in given.items():
        j = units.position(name)
        if isinstance(value, slice):
            value = (value.start, value.stop)
        if isinstance(value, tuple):
            sets[j] = _interval(units, j, value)
        elif isinstance(value, set | frozenset | list | range | np.ndarray):
            sets[j] = _one_of(units, j, list(value))
        else:
            codes[j] = _code(units, j, value)
    x = np.zeros((1, units.n_columns), model.specification.dtype)
    observed = ~np.isnan(codes)[None]
    for at in np.flatnonzero(observed[0]):
        x[0, at] = units.forward(int(at), codes[at])
    return Given(x, observed, sets, codes)


def sample_given(model: FittedModel, n: int, given: Mapping[str, Any], seed: int = 0) -> Numbers:
    """n rows of p(x | what is given) in the user's numbers, (n, m): codes of levels, numbers on their grid.

    Latents are drawn from q given the known cells (a tenth from the prior), weighted by p(x_known, z) P(sets | z) / q,
    and resampled.

    Raises:
        DataError: when no row satisfies what is given.
    """
    units, known = Units(model), parse_given(model, given)
    if model.specification.conditioned:
        _check_conditions(units, known)
        if not known.sets and set(np.flatnonzero(known.observed[0])) <= set(units.given):
            values = model.sample_under(_references(model, units, known, n, seed), seed)
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
    values = units.decode(found.values[0], on_grid=True)
    return np.where(np.isnan(known.codes), values, known.codes)


def _check_conditions(units: Units, known: Given) -> None:
    """Refuses what a model of p(x | c) cannot answer: it has no p(c)."""
    for j in units.given:
        if j in known.sets:
            raise DataError(
                f"What is given for {units.names[j]!r} must be one value, since the model is given it too and has no "
                "distribution of it; got a range or a set; give one value, and sample again for others."
            )
    cells = [j for j in (*np.flatnonzero(known.observed[0]), *known.sets) if j not in units.given]
    open_ones = [units.names[j] for j in units.given if not known.observed[0, j]]
    if cells and open_ones:
        raise DataError(
            f"What is given must name all that the model is given when it names other columns; {open_ones[0]!r} is "
            "left open, and the model has no distribution of it; give a value for it."
        )
    if cells and units.model.specification.exposure == TOTAL:
        raise DataError(
            "What is given must be conditions alone where the exposure is a row's own total, which is not known before "
            f"the row is; got a value for {units.names[cells[0]]!r}; fit with a column that holds the exposure."
        )


def _references(model: FittedModel, units: Units, known: Given, n: int, seed: int) -> NDArray[Any]:
    """What the training rows were given, n times, with what is asked for in its place."""
    head: Any = model.pair.p.decoder.head
    reference = np.asarray(head.reference, np.float64)
    places = {j: i for i, j in enumerate(head.given)}
    fixed = [j for j in units.given if known.observed[0, j]]
    alike = np.ones(len(reference), bool)
    for j in fixed:
        if units.levels(j):  # what is left open goes with it: a dose with its treatment
            alike &= reference[:, places[j]] == known.x[0, j]
    if len(fixed) < reference.shape[1] and not alike.any():
        raise DataError(
            f"What is given must have been given to some training row where a part of it is left open; "
            f"{', '.join(units.names[j] for j in fixed)} never came so together; name the rest as well."
        )
    rows = reference[alike] if alike.any() else reference
    chosen = rows[np.random.default_rng(seed).integers(0, len(rows), n)]
    for j in fixed:
        chosen[:, places[j]] = known.x[0, j]
    return chosen


def _interval(units: Units, j: int, ends: tuple[Any, ...]) -> Interval:
    name = units.names[j]
    if not units.ordered(j):
        raise DataError(
            f"The range given for column {name!r} must be on a column with an order; it has the levels "
            f"{_some(units.levels(j))}; give a set of levels."
        )
    if len(ends) != 2:
        raise DataError(
            f"A range for column {name!r} must be two ends; got {ends!r}; write (low, high), None for open."
        )
    low, high = (None if end is None else _code(units, j, end) for end in ends)
    if low is not None and high is not None and low > high:
        raise DataError(
            f"The range given for column {name!r} contradicts itself: {low:g} is above {high:g}; swap them."
        )
    if units.levels(j):
        # Levels have codes, and a range of them is a set.
        return Interval(-0.5 if low is None else low - 0.5, np.inf if high is None else high + 0.5)
    at = [units.forward(j, end) if end is not None else None for end in (low, high)]
    return Interval(-np.inf if at[0] is None else at[0], np.inf if at[1] is None else at[1])


def _one_of(units: Units, j: int, values: Sequence[Any]) -> OneOf:
    name = units.names[j]
    if not values:
        raise DataError(f"The set given for column {name!r} must have a value; got none; leave the column out.")
    codes = [_code(units, j, value) for value in values]
    if units.continuous(j) and not set(codes) <= set(units.spikes(j)):
        raise DataError(
            f"The set given for column {name!r} must be of values with a probability of their own; it is continuous "
            f"(values that repeat: {_some(units.spikes(j)) or 'none'}); give one value, or a range."
        )
    return OneOf([units.forward(j, code) for code in codes])


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _code(units: Units, j: int, value: Any) -> float:
    """One given value as the column's number."""
    name, levels = units.names[j], units.levels(j)
    schema = units.encoding.table_schema
    if schema is None:
        return _number(name, value)
    column = schema.modelled[j]
    if levels:
        found = [k for k, level in enumerate(levels) if level == value or str(level) == str(value).strip()]
        if not found and {*levels} == {False, True}:
            said = _BOOLEANS.get(str(value).strip().lower())
            found = [] if said is None else [list(levels).index(said)]
        if not found:
            raise DataError(
                f"The value given for column {name!r} must be one of its levels, {_some(levels)}; got {value!r}; give "
                "one of those."
            )
        return float(found[0])
    if column.kind.value == "datetime" and not isinstance(value, int | float):
        return _days(name, value)
    number = _number(name, value)
    low, high = units.encoding.plans[j].low, units.encoding.plans[j].high  # type: ignore[union-attr]
    if not (low <= number <= high or number in units.spikes(j)):
        raise DataError(
            f"The value given for column {name!r} must lie where the column does, from {low:g} to {high:g}; got "
            f"{number:g}; give another."
        )
    if column.kind.value == "count" and number != round(number):
        raise DataError(f"The value given for column {name!r} must be a whole number; got {number:g}; give a count.")
    return number


def _days(name: str, value: Any) -> float:
    try:
        moment: np.datetime64 = np.datetime64(str(value), "us")
    except ValueError:
        moment = np.datetime64("NaT", "us")
    if np.isnat(moment):
        raise DataError(
            f"The value given for column {name!r} must be a date such as 2024-02-29 or 2024-02-29T12:30; got "
            f"{value!r}; correct it."
        )
    return float((moment - np.datetime64("1970-01-01", "us")) / np.timedelta64(1, "D"))


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise DataError(f"The value given for column {name!r} must be a number; got {value!r}; correct it.")
    return number


def _some(values: Sequence[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:10])
    return shown + (", ..." if len(values) > 10 else "")


def _words(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in given.items())
