"""A block of numbers as what the model sees, and back: one affine map for all of its columns, be they 10,000 pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tightbound.data.cells.frames import frame_from_columns
from tightbound.data.coding import require_numbers
from tightbound.data.encoding import Encoding, Numbers, Rows, number_of
from tightbound.data.errors import complain, listing
from tightbound.data.likelihood import first_outside, intensity_scale, not_binary, not_intensity
from tightbound.data.names import Aside
from tightbound.data.saved import damaged, field
from tightbound.data.schema import CONTAINERS, Schema, infer_schema, require_finite, rounding
from tightbound.data.table import Table

SCALINGS = ("standard", "none")
CELLS_AT_ONCE = 2**22  # how many cells are worked on at a time, so that temporaries stay small beside the data


@final
@dataclass(frozen=True, eq=False)
class BlockEncoding(Encoding):
    """x = loc + scale * u for the user's x and the model's u: log p(x) = log p(u) - sum log scale.

    Attributes:
        schema: the columns as fitted.
        likelihood: "gaussian" or "bernoulli".
        binarize: whether intensities are turned into 0/1.
        scaling: "standard" (observed training cells get mean 0 and standard deviation 1) or "none".
        kept: (m,) indices of the modelled columns. Under a Gaussian, constant columns are left out and carry 0 nats (a
            density on a single point is without bound); a Bernoulli keeps them, since there a constant has an honest
            probability. Columns without any value are always left out.
        loc, scale: (m,) float64, the user's units; scale is a standard deviation.
        floor: (m,) the smallest standard deviation a decoder may have, in model units:
            max(resolution / sqrt(12), 1e-3 sd) / scale. Values on a grid are rounded, and 1/sqrt(12) of the grid's step
            is the standard deviation of rounding: a density narrower than the grid is not knowledge. It can exceed 1
            where a column rarely moves by one step. 0 for a Bernoulli.
        messages: what the user should be told about the columns and rows; nobody has told it yet.
    """

    schema: Schema
    likelihood: str
    binarize: bool
    scaling: str
    kept: np.ndarray
    loc: np.ndarray
    scale: np.ndarray
    floor: np.ndarray
    messages: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns that new data must have, in order."""
        return self.schema.names

    @property
    def aside(self) -> Aside:
        """Columns that the data had beside these."""
        return self.schema.aside

    @property
    def table_schema(self) -> None:
        """None: the columns are numbers."""
        return None

    @property
    def places(self) -> list[int]:
        """Where the modelled columns stand among all."""
        return list(self.kept.tolist())

    @property
    def discrete(self) -> bool:
        """Whether log p(x) is the log of a probability."""
        return self.likelihood == "bernoulli"

    def check(self, table: Table, *, expected_by: str = "the model") -> Table:
        """New data in the order and shape of the fitted columns; see `Schema.check`."""
        require_numbers(table)
        return self.schema.check(table, expected_by=expected_by)

    @property
    def modelled_names(self) -> tuple[str, ...]:
        """Names of the modelled columns, (m,)."""
        return tuple(self.schema.names[j] for j in self.kept)

    def encode(
        self, table: Table, *, dtype: str = "float32", draw: bool = False, seed: int = 0, expected_by: str = "the model"
    ) -> Rows:
        """See `Encoding.encode`; values outside of the likelihood's support and infinite ones are refused."""
        table = self.check(table, expected_by=expected_by)
        require_finite(table)
        self._warn_left_out(table)
        observed = self._observed(table)
        jacobian = self._log_jacobian(table.n_rows, observed)
        if self.likelihood == "gaussian":
            return Rows(self._standardised(table, dtype), observed, jacobian, False)
        if first_outside(table, "binary") is None:
            return Rows(self._filled(table, dtype), observed, jacobian, False)
        if not self.binarize:
            raise not_binary(table)
        scale = intensity_scale(self.schema)
        if error := not_intensity(table, scale):
            raise error
        if draw:
            return Rows(self._filled(table, "uint8", 255 // scale), observed, jacobian, True)
        return Rows(self._binarised(table, dtype, 255 // scale, seed), observed, jacobian, False)

    def on_grid(self, x: np.ndarray) -> np.ndarray:
        """(n, m) in model units, moved to the nearest value of each column's grid: as recorded data would be."""
        columns = [self.schema.columns[j] for j in self.kept]
        step, start = (np.array([getattr(c, key) or 0.0 for c in columns]) for key in ("resolution", "minimum"))
        values = self.loc + self.scale * x.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.where(step > 0, np.rint((values - start) / step) * step + start, values)
        return ((moved - self.loc) / self.scale).astype(x.dtype)

    def modelled(self, table: Table) -> Numbers:
        """The numbers of the modelled columns."""
        return np.asarray(self.check(table).values[:, self.kept].astype(np.float64))

    def complete_log_jacobian(self, rows: Rows) -> float:
        """Minus the sum of all log scales."""
        return float(-np.sum(np.log(self.scale)))

    def center(self, rows: Rows) -> Numbers:
        """0 where columns are standardised."""
        if self.likelihood == "gaussian" and self.scaling == "standard":
            return np.zeros(self.n_features)
        x = rows.x.astype(np.float64) / (255 if rows.binary_intensity else 1)
        if rows.observed is None:
            return np.asarray(x.mean(axis=0))
        return np.asarray((x * rows.observed).sum(axis=0) / np.maximum(rows.observed.sum(axis=0), 1))

    def noise_scales(self, families: Sequence[str]) -> Numbers:
        """The standard deviation of every column under a Gaussian."""
        del families
        sd = np.array([self.schema.columns[j].sd for j in self.kept], float)
        return sd / self.scale * (self.likelihood == "gaussian")

    def decode(self, x: NDArray[Any], *, on_grid: bool = False) -> Numbers:
        """Numbers where they were drawn; a draw of 1 of a binarised intensity is the full one (255)."""
        del on_grid
        return self.loc + self.scale * (np.asarray(x) * (intensity_scale(self.schema) if self.binarize else 1))

    def filled(self, codes: Numbers) -> Numbers:
        """(..., d): constants are filled in, empty columns are NaN."""
        values = np.full((*codes.shape[:-1], len(self.schema.columns)), np.nan)
        for j, column in enumerate(self.schema.columns):
            if column.constant is not None:
                values[..., j] = column.constant
        values[..., self.kept] = codes
        return values

    def give_back(
        self,
        codes: Numbers,
        table: Table | None = None,
        *,
        index: Any | None = None,
        container: str | None = None,
        rounded: bool = False,
    ) -> Any:
        """An array of shape (n, *shape of a datum), or a data frame with the user's column names.

        Floats keep their dtype. Columns of whole numbers and of bool come back as float64, since means are not whole;
        `rounded` rounds them to their dtype, within its range.
        """
        container = container or self.schema.container
        if container not in CONTAINERS:
            raise complain(
                "container", f"be one of {listing(CONTAINERS)}", f"it is {container!r}", "choose one of these"
            )
        values = self.filled(codes)
        if table is not None:
            index = table.index
            left_out = np.setdiff1d(np.arange(values.shape[1]), self.kept)
            known = table.observed[:, left_out]
            values[:, left_out] = np.where(known, table.values[:, left_out], values[:, left_out])
        columns = [_restore(values[:, j], column.dtype, rounded) for j, column in enumerate(self.schema.columns)]
        if container == "numpy":
            dtype = np.result_type(*[column.dtype for column in columns])
            return np.stack(columns, axis=1).astype(dtype, copy=False).reshape(len(values), *self.schema.shape)
        return frame_from_columns(
            dict(zip(self.schema.names, columns, strict=True)), container, index, self.schema.named
        )

    def described(self, j: int) -> tuple[str, str, str, tuple[str, ...]]:
        """A real number, or one of 0 and 1."""
        levels = self.levels(j)
        return self.modelled_names[j], "binary" if levels else "real", self.likelihood, tuple(map(str, levels))

    def levels(self, j: int) -> tuple[Any, ...]:
        """0 and 1 of a Bernoulli that is no drawn intensity."""
        return (0, 1) if self.likelihood == "bernoulli" and not self.binarize else ()

    def continuous(self, j: int) -> bool:
        """Every column under a Gaussian."""
        return self.likelihood == "gaussian"

    def forward(self, j: int, value: float) -> float:
        """(value - loc) / scale."""
        return float((value - self.loc[j]) / self.scale[j])

    def code(self, j: int, value: Any) -> float:
        """Any finite number."""
        return number_of(self.modelled_names[j], value)

    def to_json(self) -> dict[str, Any]:
        """The encoding as a dictionary that `json` can write; numbers survive exactly."""
        return {
            "schema": self.schema.to_json(),
            "likelihood": self.likelihood,
            "binarize": self.binarize,
            "scaling": self.scaling,
            "kept": self.kept.tolist(),
            "loc": self.loc.tolist(),
            "scale": self.scale.tolist(),
            "floor": self.floor.tolist(),
            "messages": list(self.messages),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BlockEncoding:
        """The encoding that `to_json` wrote; a foreign or damaged one is a DataError."""
        what = "The saved encoding"
        schema = Schema.from_json(field(data, "schema", dict, what))
        kept = field(data, "kept", list, what)
        d = len(schema.columns)
        if not (kept and all(type(j) is int and 0 <= j < d for j in kept) and sorted(set(kept)) == kept):
            raise damaged(what, f"keep columns between 0 and {d - 1}, in order", f"it keeps {kept[:5]}")
        loc, scale, floor = (_numbers_from_json(data, key, len(kept), what) for key in ("loc", "scale", "floor"))
        likelihood, scaling = field(data, "likelihood", str, what), field(data, "scaling", str, what)
        if likelihood not in ("gaussian", "bernoulli") or scaling not in SCALINGS:
            raise damaged(what, "name a likelihood and a scaling", f"it names {likelihood!r} and {scaling!r}")
        if not (scale > 0).all() or (floor < 0).any():
            raise damaged(what, "have scales above 0 and floors of at least 0", "one is not")
        messages = tuple(str(message) for message in field(data, "messages", list, what))
        binarize = field(data, "binarize", bool, what)
        return cls(schema, likelihood, binarize, scaling, np.array(kept), loc, scale, floor, messages)

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

    def _filled(self, table: Table, dtype: str, factor: int = 1) -> np.ndarray:
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

    def _warn_left_out(self, table: Table) -> None:
        left_out = sorted(set(range(len(self.schema.columns))) - set(self.kept.tolist()))
        for j in left_out:
            column, values = self.schema.columns[j], table.values[:, j]
            if column.constant is None:
                different = table.observed[:, j]
                words, fate = "had no value in the fitted data", "is not modelled and counts for nothing"
            else:
                distance = np.abs(values.astype(np.float64) - column.constant)
                different = distance > rounding(column.dtype, abs(column.constant))
                words, fate = f"was always {column.constant:g} in the fitted data", "is not modelled and adds 0 nats"
            if different.any():
                row = int(different.argmax())
                warnings.warn(
                    f"Column {column.name!r} of {table.source} {words}, but {table.cell(row, j)} holds "
                    f"{values[row]:g}: the column {fate}, so look at such rows yourself.",
                    UserWarning,
                    stacklevel=3,
                )


def make_encoding(table: Table, likelihood: str, binarize: bool, scaling: str = "standard") -> BlockEncoding:
    """The encoding of the data that a model is to be fitted on.

    Args:
        table: the training data.
        likelihood: "gaussian" or "bernoulli", as `decide_likelihood` says.
        binarize: whether intensities are turned into 0/1.
        scaling: "standard", or "none" to model the values as they are.

    Raises:
        DataError: as `infer_schema`, and for an unknown likelihood or scaling.
    """
    if scaling not in SCALINGS:
        raise complain("scaling", f"be one of {listing(SCALINGS)}", f"it is {scaling!r}", "choose one of these")
    if likelihood not in ("gaussian", "bernoulli"):
        raise complain("likelihood", "be 'gaussian' or 'bernoulli'", f"it is {likelihood!r}", "ask decide_likelihood")
    schema = infer_schema(table)
    gaussian = likelihood == "gaussian"
    kept = np.array(
        [
            j
            for j, column in enumerate(schema.columns)
            if not column.all_missing and (column.constant is None or not gaussian)
        ]
    )
    columns = [schema.columns[j] for j in kept]
    mean, sd, resolution = (
        np.array([getattr(column, key) for column in columns], dtype=np.float64) for key in ("mean", "sd", "resolution")
    )
    standard = gaussian and scaling == "standard"
    loc, scale = (mean, sd) if standard else (np.zeros_like(mean), np.ones_like(sd))
    floor = np.maximum(resolution / np.sqrt(12), 1e-3 * sd) / scale if gaussian else np.zeros_like(sd)
    return BlockEncoding(schema, likelihood, binarize, scaling, kept, loc, scale, floor, _messages(table, schema, kept))


def _messages(table: Table, schema: Schema, kept: np.ndarray) -> tuple[str, ...]:
    modelled = set(kept.tolist())
    left_out = [column for j, column in enumerate(schema.columns) if j not in modelled]
    constant = [column.name for column in left_out if column.constant is not None]
    empty = [column.name for column in left_out if column.all_missing]
    messages = []
    if constant:
        messages.append(
            f"{len(constant)} constant column(s) of {table.source} are left out of the model and add 0 nats: "
            f"{listing(constant)}."
        )
    if empty:
        messages.append(f"{len(empty)} column(s) of {table.source} without any value are left out: {listing(empty)}.")
    if any(column.n_missing for column in schema.columns):
        blank = np.flatnonzero(~table.observed[:, kept].any(axis=1))
        if len(blank):
            messages.append(
                f"{len(blank)} row(s) of {table.source} have no value in any modelled column, the first of them row "
                f"{blank[0]} (counting from 0); they are kept, with log p(nothing) = 0 nats."
            )
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
    rounded_values = np.rint(values)
    # float64 cannot hold the largest 64-bit integers: clip below, then let the dtype's own limit stand in above.
    inside = np.clip(
        rounded_values,
        float(limits.min),
        np.nextafter(float(limits.max), 0) if kind.itemsize == 8 else float(limits.max),
    )
    return inside.astype(kind)


def _numbers_from_json(data: Mapping[str, Any], key: str, m: int, what: str) -> np.ndarray:
    numbers = field(data, key, list, what)
    fine = all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
    if len(numbers) != m or not fine or not np.isfinite(numbers).all():
        raise damaged(f"Entry {key!r} of {what}", f"hold {m} finite numbers", f"it holds {len(numbers)} values")
    return np.array(numbers, dtype=np.float64)
