"""Rows given some of their columns: values, ranges, sets."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, final

import jax
import numpy as np
from numpy.typing import NDArray

from tightbound.data import DataError, Encoding, Numbers
from tightbound.estimator.fitted import FittedModel, precision
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
