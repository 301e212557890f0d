"""From a table and a few choices to the encoding that a model sees it by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from tightbound.data.block import BlockEncoding, make_encoding
from tightbound.data.coding import coded, counted
from tightbound.data.columns.encoding import BAGS, ColumnwiseEncoding, Roles, make_columns_encoding
from tightbound.data.encoding import Encoding
from tightbound.data.errors import DataError, complain, listing
from tightbound.data.names import column_position
from tightbound.data.summary import Summary, summarised
from tightbound.data.support import first_outside, not_binary, not_intensity
from tightbound.data.table import Table
from tightbound.data.types.families import COUNTS

TOTAL = "total"
"""The exposure that is the sum of a row's counts."""
OF_NUMBERS = ("auto", "gaussian", "bernoulli")


@final
@dataclass(frozen=True)
class Preprocessing:
    """What the user says of how a table is modelled; the rest follows from the table.

    Attributes:
        likelihood: "auto" (of columns in a mixed table or beside anything given, and for sparse counts; else Bernoulli
            when every value is 0 or 1, and Gaussian otherwise), "columns", "gaussian", "bernoulli", "multinomial" or
            "dirichlet_multinomial".
        binarize: draw every value as 0/1 with probability value/255 (or the value itself when all lie in [0, 1]) and
            model the draws as Bernoulli.
        scaling: "standard", or "none" to model numbers as they are.
        condition: columns that p(x | z, c) is given.
        exposure: a column that multiplies the means of counts; "total" for their sum; None.
        continuous, counts: families of the columns that name none.
        plain: model continuous columns with missing cells as Gaussian, without spikes, whatever the rest is.
    """

    likelihood: str = "auto"
    binarize: bool = False
    scaling: str = "standard"
    condition: tuple[str | int, ...] = ()
    exposure: str | int | None = None
    continuous: str = "normal_scores"
    counts: str = "auto"
    plain: bool = False

    def __call__(self, table: Table) -> tuple[Table, Encoding, str]:
        """The table (coded, if it is seen column by column), its encoding, and a sentence on what was decided.

        Raises:
            DataError: when a choice does not fit the data.
        """
        if table.coded is None and not self._by_columns(table):
            return self._of_numbers(table.dense())
        self._check(table)
        return self._of_columns(*self._with_names(table))

    @property
    def _given(self) -> tuple[str | int, ...]:
        """The columns that are given: conditions, then an exposure."""
        exposure = self.exposure
        return self.condition if exposure is None or exposure == TOTAL else (*self.condition, exposure)

    @property
    def _of_counts(self) -> bool:
        """Whether something was asked for that counts alone have."""
        return self.exposure is not None or self.likelihood in BAGS or self.counts != "auto"

    def _by_columns(self, table: Table) -> bool:
        """Whether a table of numbers is modelled column by column."""
        itself = self.likelihood == "auto" and not self.binarize and _is_sparse_of_counts(table)
        return bool(self._given) or self._of_counts or self.likelihood == "columns" or itself

    def _of_numbers(self, table: Table) -> tuple[Table, Encoding, str]:
        if self.likelihood not in OF_NUMBERS:
            raise complain(
                "likelihood", f"be one of {listing(OF_NUMBERS)}", f"it is {self.likelihood!r}", "choose one of these"
            )
        facts, binary = summarised(table), first_outside(table, "binary") is None
        if self.binarize and self.likelihood == "gaussian":
            raise complain(
                "binarize", "go with a Bernoulli likelihood", "the likelihood is 'gaussian'", "leave out one of the two"
            )
        drawn = self.binarize and not binary
        if self.likelihood == "bernoulli" and not (binary or drawn):
            raise not_binary(table)
        gaussian = not drawn and (self.likelihood == "gaussian" or not binary)
        encoding = make_encoding(table, "gaussian" if gaussian else "bernoulli", drawn, self.scaling, facts)
        if gaussian:
            return table, encoding, _gaussian_sentence(table, binary)
        if drawn and (error := not_intensity(table, encoding.full)):
            raise error
        return table, encoding, _drawn_sentence(facts, encoding.full) if drawn else _bernoulli_sentence(self.binarize)

    def _check(self, table: Table) -> None:
        """Refuses choices that columns have no place for."""
        if self.likelihood in BAGS and self.exposure not in (None, TOTAL):
            raise ValueError(
                f"exposure must be {TOTAL!r} (or nothing) for the likelihood {self.likelihood!r}, which is that of "
                f"counts given their sum; got {self.exposure!r}; leave it out."
            )
        if self.binarize or (self.likelihood in ("gaussian", "bernoulli") and not self._given):
            asked = "binarize" if self.binarize else f"likelihood {self.likelihood!r}"
            raise DataError(
                f"{table.source} must hold numbers alone, without exposure and conditions, for the {asked}; leave one "
                "of the two out, or drop the columns that are no numbers."
            )

    def _with_names(self, table: Table) -> tuple[Table, list[str]]:
        """The table with its cells coded, and the names of what is given."""
        given = self._given
        if table.coded is not None:
            return coded(table, table.coded), [_named(key, table) for key in given]
        positions = [column_position(key, table.names, table.source) for key in given]
        counts = self._of_counts or (table.sparse and table.values.are_counts(tuple(positions)))
        if counts and table.container == "numpy" and self.likelihood != "gaussian":
            table = counted(table, given)
        table = coded(table.dense() if table.coded is None else table, table.coded)
        schema: Any = table.coded
        return table, [schema.names[j] for j in positions]

    def _of_columns(self, table: Table, given: list[str]) -> tuple[Table, Encoding, str]:
        schema: Any = table.coded
        named = len(given) > len(self.condition)
        roles = Roles(
            conditions=tuple(given[: len(self.condition)]),
            exposure=given[-1] if named else None if self.exposure is None else TOTAL,
            continuous=self.continuous,
            counts=self.counts,
            likelihood="columns" if self.likelihood == "auto" else self.likelihood,
            plain=self.plain,
        )
        encoding = make_columns_encoding(table, schema, roles)
        if self.exposure is not None:
            _check_exposure(encoding, self.exposure, table)
        by_total = self.exposure == TOTAL or self.likelihood in BAGS
        under = " Counts are under the total of their row, which is given too." if by_total else ""
        return replace(table, coded=encoding.schema), encoding, encoding.sentence + under


def encoding_from_json(data: Mapping[str, Any]) -> Encoding:
    """The encoding that `to_json` wrote; a foreign or damaged one is a DataError."""
    columnwise = isinstance(data, Mapping) and "plans" in data
    return ColumnwiseEncoding.from_json(data) if columnwise else BlockEncoding.from_json(data)


def _named(key: str | int, table: Table) -> str:
    """The name of a column of a coded table; one that was dropped keeps it."""
    schema: Any = table.coded
    if str(key) in schema.names:
        return str(key)
    return table.names[column_position(key, table.names, table.source)]


def _is_sparse_of_counts(table: Table) -> bool:
    """Whether a sparse table holds counts, some of them above 1."""
    return table.sparse and bool((table.values.stored > 1).any()) and table.values.are_counts()


def _check_exposure(encoding: ColumnwiseEncoding, exposure: str | int, table: Table) -> None:
    """Refuses an exposure that nothing is under, and a total of what is not all there."""
    counts = [j for j, plan in enumerate(encoding.plans) if plan.words["family"] in COUNTS and not plan.role]
    if not counts:
        raise DataError(
            f"{table.source} must have a column of counts for the exposure {exposure!r} to work on; it has none; leave "
            "the exposure out, or call the columns counts in a schema."
        )
    if exposure == TOTAL and not table.sparse:
        gaps = [j for j in counts if np.isnan(np.asarray(table.values[:, j], float)).any()]
        if gaps:
            raise DataError(
                f"{table.source} must have no gaps in its counts for the exposure 'total'; column "
                f"{encoding.names[gaps[0]]!r} has some; fill them in, or name a column that holds the total."
            )


def _bernoulli_sentence(binarize: bool) -> str:
    sentence = "Every value is 0 or 1, so each column is modelled as Bernoulli: log p(x) is the log of a probability."
    return f"{sentence} There is nothing to binarise." if binarize else sentence


def _drawn_sentence(facts: Summary, full: int) -> str:
    share = "value/255" if full == 255 else "value"
    sentence = (
        f"Each value is drawn as 0 or 1, with probability {share}, anew every time it is used for fitting and once for "
        "scoring; the draws are modelled as Bernoulli, so log p(x) is the log-probability of a binary image."
    )
    if full == 255 and facts.largest < 128:
        sentence += (
            f" The largest value is only {facts.largest:g} of 255, so most draws are 0: rescale the values to 0..255 "
            "if that is not meant."
        )
    return sentence


def _gaussian_sentence(table: Table, binary: bool) -> str:
    if binary:
        return (
            "Gaussian was asked for although every value is 0 or 1: log p(x) is then a density on a line, not the "
            "probability of a yes or no; Bernoulli would give that."
        )
    if len(table.shape) > 1 and set(table.dtypes) == {"uint8"}:
        size = " x ".join(str(side) for side in table.shape)
        return (
            f"8-bit images of {size} are modelled as Gaussian on the pixel values as they are, without dequantisation: "
            "log p(x) is a density, not to be compared with bits per dimension; binarize=True would draw black and "
            "white images and model them as Bernoulli."
        )
    if all(np.dtype(dtype).kind in "iub" for dtype in table.dtypes):
        return (
            "The values are whole numbers and are modelled as Gaussian: log p(x) is a density on a continuous scale, "
            "in nats and in the units of the data, not the probability of a count."
        )
    return (
        "The values are real numbers, so they are modelled as Gaussian: log p(x) is a density in the units of the data."
    )
