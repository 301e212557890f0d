"""A block of numbers as what the model sees, and back: one affine map for all of its columns, be they 10,000 pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.data.cells.storage import frame_from_columns
from tightbound.data.encoding import Encoding, Numbers, Rows
from tightbound.data.errors import complain, listing
from tightbound.data.saved import damaged, restored
from tightbound.data.schema import Schema
from tightbound.data.summary import (
    Summary,
    blank_rows,
    first_outside,
    not_binary,
    not_intensity,
    require_finite,
    rounding,
    summarised,
)
from tightbound.data.table import Table
from tightbound.data.types import Binary, Column, Real

LIKELIHOODS = ("gaussian", "bernoulli")
SCALINGS = ("standard", "none")
CELLS_AT_ONCE = 2**22  # how many cells are worked on at a time, so that temporaries stay small beside the data


@final
@dataclass(frozen=True, eq=False)
class BlockEncoding(Encoding):
    """x = loc + scale * u for the user's x and the model's u: log p(x) = log p(u) - sum log scale.

    Under a Gaussian, constant columns are left out and carry 0 nats (a density on a single point is without bound); a
    Bernoulli keeps them, since there a constant has an honest probability. Columns without any value are left out.

    Attributes:
        schema: the columns as fitted; those that are left out are dropped in it.
        likelihood: "gaussian" or "bernoulli".
        binarize: whether intensities are turned into 0/1.
        standard: whether observed training cells get mean 0 and standard deviation 1.
        loc, scale: (m,) the user's units; scale is a standard deviation.
        floor: (m,) max(grid / sqrt(12), 1e-3 sd) / scale. Values on a grid are rounded, and 1/sqrt(12) of the grid's
            step is the standard deviation of rounding: a density narrower than the grid is not knowledge. It can exceed
            1 where a column rarely moves by one step. 0 for a Bernoulli.
        sd: (m,) standard deviation of the fitted cells, the user's units.
        origin: (m,) the lowest of them: a point of the grid.
        full: the highest intensity, 255 or 1.
    """

    schema: Schema
    likelihood: str
    binarize: bool
    standard: bool
    loc: Numbers
    scale: Numbers
    floor: Numbers
    sd: Numbers
    origin: Numbers
    full: int
    messages: tuple[str, ...] = ()

    @property
    def discrete(self) -> bool:
        return self.likelihood == "bernoulli"

    def encode(
        self, table: Table, *, dtype: str = "float32", draw: bool = False, seed: int = 0, expected_by: str = "the model"
    ) -> Rows:
        """See `Encoding.encode`; values outside of the likelihood's support and infinite ones are refused."""
        table = self.check(table, expected_by=expected_by)
        require_finite(table)
        self._warn_empty(table)
        observed = self._observed(table)
        jacobian = self._log_jacobian(table.n_rows, observed) + self._log_departures(table)
        if self.likelihood == "gaussian":
            return Rows(self._standardised(table, dtype), observed, jacobian, False)
        if first_outside(table, "binary") is None:
            return Rows(self._as_they_are(table, dtype), observed, jacobian, False)
        if not self.binarize:
            raise not_binary(table)
        if error := not_intensity(table, self.full):
            raise error
        if draw:
            return Rows(self._as_they_are(table, "uint8", 255 // self.full), observed, jacobian, True)
        return Rows(self._binarised(table, dtype, 255 // self.full, seed), observed, jacobian, False)

    def modelled(self, table: Table) -> Numbers:
        return np.asarray(self.check(table).values[:, self.kept].astype(np.float64))

    def complete_log_jacobian(self, rows: Rows) -> float:
        return float(-np.sum(np.log(self.scale)))

    def center(self, rows: Rows) -> Numbers:
        return np.zeros(self.n_features) if self.standard else super().center(rows)

    def noise_scales(self, families: Sequence[str]) -> Numbers:
        return self.sd / self.scale * (self.likelihood == "gaussian")

    def on_grid(self, x: NDArray[Any]) -> NDArray[Any]:
        step = np.array([column.grid for column in self.schema.modelled])
        values = self.loc + self.scale * x.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.where(step > 0, np.rint((values - self.origin) / step) * step + self.origin, values)
        return ((moved - self.loc) / self.scale).astype(x.dtype)

    def decode(self, x: NDArray[Any], *, on_grid: bool = False) -> Numbers:
        """Numbers where they were drawn; a draw of 1 of a binarised intensity is the full one (255)."""
        return self.loc + self.scale * (np.asarray(x) * (self.full if self.binarize else 1))

    def filled(self, codes: Numbers) -> Numbers:
        """(..., d): constants are filled in, empty columns are NaN."""
        values = np.full((*codes.shape[:-1], len(self.schema.columns)), np.nan)
        for j, column in enumerate(self.schema.columns):
            if column.constant is not None:
                values[..., j] = column.constant
        values[..., self.kept] = codes
        return values

    def _built(self, codes: Numbers, table: Table | None, container: str, rounded: bool) -> Any:
        """An array of shape (n, *shape of a datum), or a data frame with the user's column names.

        Floats keep their dtype. Columns of whole numbers and of bool come back as float64, since means are not whole;
        `rounded` rounds them to their dtype, within its range. A column of `table` in which nothing changes is the one
        that it was.
        """
        values = self.filled(codes)
        if table is not None:
            out = self._left_out
            values[:, out] = np.where(table.observed[:, out], table.values[:, out], values[:, out])
        columns = [_restore(values[:, j], column.storage, rounded) for j, column in enumerate(self.schema.columns)]
        if table is not None:
            for j in np.flatnonzero((table.values == values).all(axis=0)):
                columns[j] = np.asarray(table.values[:, j])
        if container == "numpy":
            dtype = np.result_type(*[column.dtype for column in columns])
            return np.stack(columns, axis=1).astype(dtype, copy=False).reshape(len(values), *self.schema.shape)
        named = dict(zip(self.schema.names, columns, strict=True))
        return frame_from_columns(named, container, None, self.schema.named, self.schema.integers)

    def continuous(self, j: int) -> bool:
        return self.likelihood == "gaussian"

    def forward(self, j: int, value: float) -> float:
        return float((value - self.loc[j]) / self.scale[j])

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BlockEncoding:
        """See `encoding_from_json`."""
        what = "The saved encoding"
        made = restored(cls, data, what, schema=Schema.from_json)
        m = len(made.schema.modelled)
        lengths = {len(each) for each in (made.loc, made.scale, made.floor, made.sd, made.origin)}
        if lengths != {m} or m == 0 or not made.schema.block:
            raise damaged(what, f"have {m} numbers of each kind, one for each modelled column", f"it has {lengths}")
        if made.likelihood not in LIKELIHOODS:
            raise damaged(what, f"have one of the likelihoods {listing(LIKELIHOODS)}", f"it has {made.likelihood!r}")
        if not (made.scale > 0).all() or (made.floor < 0).any():
            raise damaged(what, "have scales above 0 and floors of at least 0", "one is not")
        return made

    @property
    def _left_out(self) -> NDArray[np.intp]:
        return np.setdiff1d(np.arange(len(self.schema.columns)), self.kept)

    def _observed(self, table: Table) -> np.ndarray | None:
        if table.values.dtype.kind != "f" or not np.isnan(table.values[:, self.kept]).any():
            return None
        return table.observed[:, self.kept]

    def _log_jacobian(self, n: int, observed: np.ndarray | None) -> np.ndarray:
        # The same summation for complete and incomplete rows: a row's number does not depend on its neighbours.
        log_scale = np.log(self.scale)
        if observed is None:
            return np.full(n, 0.0 - log_scale.sum())
        jacobian = np.empty(n)
        for rows in _chunks(n, self.n_features):
            jacobian[rows] = 0.0 - np.where(observed[rows], log_scale, 0.0).sum(axis=1)
        return jacobian

    def _standardised(self, table: Table, dtype: str) -> np.ndarray:
        x = np.empty((table.n_rows, self.n_features), dtype=dtype)
        for rows in _chunks(*x.shape):
            with np.errstate(over="ignore"):
                x[rows] = (table.values[rows][:, self.kept].astype(np.float64) - self.loc) / self.scale
        np.copyto(x, 0, where=np.isnan(x))
        if np.isinf(x).any():
            row, j = np.unravel_index(int(np.isinf(x).argmax()), x.shape)
            column = int(self.kept[j])
            raise complain(
                table.source,
                f"hold values that {dtype} can tell from infinity once they are standardised",
                f"{table.cell(int(row), column)} holds {table.values[row, column]:g}",
                "correct it, or make it missing",
            )
        return x

    def _as_they_are(self, table: Table, dtype: str, factor: int = 1) -> np.ndarray:
        """The values times a whole factor, 0 where missing."""
        x = np.empty((table.n_rows, self.n_features), dtype=dtype)
        for rows in _chunks(*x.shape):
            values = table.values[rows][:, self.kept]
            x[rows] = np.nan_to_num(values) if factor == 1 else np.rint(np.nan_to_num(values) * factor)
        return x

    def _binarised(self, table: Table, dtype: str, factor: int, seed: int) -> np.ndarray:
        # Drawn for all d columns in row order, kept or not, so that the draws follow from the file alone.
        rng = np.random.default_rng(seed)
        x = np.empty((table.n_rows, self.n_features), dtype=dtype)
        for rows in _chunks(*table.values.shape):
            values = table.values[rows]
            intensity = values if factor == 1 else np.rint(values * factor)
            x[rows] = (rng.random(values.shape) * 255 < intensity)[:, self.kept]
        return x

    def departures(self, table: Table) -> dict[str, NDArray[np.bool_]]:
        found = {}
        for j, column in enumerate(self.schema.columns):
            if column.dropped and column.constant is not None:
                constant = float(column.constant)
                off = np.abs(table.values[:, j].astype(np.float64) - constant)
                found[column.name] = off > rounding(column.storage, abs(constant))
        return found

    def _warn_empty(self, table: Table) -> None:
        for j in self._left_out.tolist():
            column, here = self.schema.columns[j], table.observed[:, j]
            if column.constant is None and here.any():
                row = int(here.argmax())
                warnings.warn(
                    f"Column {column.name!r} of {table.source} had no value in the fitted data, but "
                    f"{table.cell(row, j)} holds {table.values[row, j]:g}: the column is not modelled and counts for "
                    "nothing, so look at such rows yourself.",
                    UserWarning,
                    stacklevel=3,
                )


def make_encoding(
    table: Table, likelihood: str, binarize: bool, scaling: str = "standard", facts: Summary | None = None
) -> BlockEncoding:
    """The encoding of numbers that a model is to be fitted on.

    Args:
        table: the training data.
        likelihood: "gaussian" or "bernoulli".
        binarize: whether intensities are turned into 0/1.
        scaling: "standard", or "none" to model the values as they are.
        facts: what `summarised` says of the table, if that is known.

    Raises:
        DataError: as `summarised`, and for an unknown likelihood or scaling.
    """
    if scaling not in SCALINGS:
        raise complain("scaling", f"be one of {listing(SCALINGS)}", f"it is {scaling!r}", "choose one of these")
    if likelihood not in LIKELIHOODS:
        raise complain(
            "likelihood", f"be one of {listing(LIKELIHOODS)}", f"it is {likelihood!r}", "choose one of these"
        )
    facts = summarised(table) if facts is None else facts
    gaussian = likelihood == "gaussian"
    levels = None if gaussian or binarize else (0, 1)
    columns = tuple(
        Column(
            name,
            Binary() if levels else Real(),
            storage=dtype,
            levels=levels,
            grid=float(facts.grid[j]),
            n_missing=int(facts.n_missing[j]),
            dropped=bool(facts.empty[j] or (gaussian and facts.constant[j])),
            constant=float(facts.low[j]) if facts.constant[j] else None,
        )
        for j, (name, dtype) in enumerate(zip(table.names, table.dtypes, strict=True))
    )
    schema = Schema(columns, table.container, table.named, (), table.shape, table.aside, table.integers)
    kept = np.flatnonzero([not column.dropped for column in columns])
    standard = gaussian and scaling == "standard"
    sd, origin = facts.sd[kept], facts.low[kept]
    loc, scale = (facts.mean[kept], sd) if standard else (np.zeros_like(sd), np.ones_like(sd))
    floor = np.maximum(facts.grid[kept] / np.sqrt(12), 1e-3 * sd) / scale if gaussian else np.zeros_like(sd)
    full = 255 if facts.largest > 1 else 1
    messages = _messages(table, schema, kept)
    return BlockEncoding(schema, likelihood, binarize, standard, loc, scale, floor, sd, origin, full, messages)


def _messages(table: Table, schema: Schema, kept: NDArray[np.intp]) -> tuple[str, ...]:
    left_out = [column for column in schema.columns if column.dropped]
    constant = [column.name for column in left_out if column.constant is not None]
    empty = [column.name for column in left_out if column.constant is None]
    messages = []
    if constant:
        messages.append(
            f"{len(constant)} constant column(s) of {table.source} are left out of the model as point masses, which "
            f"add 0 nats: {listing(constant)}."
        )
    if empty:
        messages.append(f"{len(empty)} column(s) of {table.source} without any value are left out: {listing(empty)}.")
    if any(column.n_missing for column in schema.columns):
        messages += blank_rows(table.observed[:, kept], table.source)
    return tuple(messages)


def _chunks(n: int, width: int) -> Iterator[slice]:
    step = max(1, CELLS_AT_ONCE // max(width, 1))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _restore(values: np.ndarray, dtype: str, rounded: bool) -> np.ndarray:
    """One column in the dtype it came in; whole numbers only when they shall be rounded."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return values.astype(kind)
    if not rounded or np.isnan(values).any():
        return values.astype(np.float64)
    if kind.kind == "b":
        return values >= 0.5
    limits = np.iinfo(kind)
    # float64 cannot hold the largest 64-bit integers: clip below, then let the dtype's own limit stand in above.
    most = np.nextafter(float(limits.max), 0) if kind.itemsize == 8 else float(limits.max)
    return np.clip(np.rint(values), float(limits.min), most).astype(kind)
