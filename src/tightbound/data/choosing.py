"""From a table and a few choices to the encoding that a model sees it by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tightbound.data.block import BlockEncoding, make_encoding
from tightbound.data.coding import coded, counted
from tightbound.data.columns.encoding import ColumnwiseEncoding, make_columns_encoding
from tightbound.data.encoding import Encoding
from tightbound.data.errors import DataError, complain, listing
from tightbound.data.names import column_position
from tightbound.data.preprocessing import MULTINOMIALS, TOTAL, Preprocessing
from tightbound.data.schema import infer_schema
from tightbound.data.summary import (
    Summary,
    first_outside,
    not_binary,
    not_intensity,
    require_finite,
    require_rows,
    summarised,
)
from tightbound.data.table import Table
from tightbound.data.types.line import COUNTS

OF_NUMBERS = ("auto", "gaussian", "bernoulli")


def encoding_from_json(data: Mapping[str, Any]) -> Encoding:
    """The encoding that `to_json` wrote; a foreign or damaged one is a DataError."""
    columnwise = isinstance(data, Mapping) and "plans" in data
    return ColumnwiseEncoding.from_json(data) if columnwise else BlockEncoding.from_json(data)


def preprocess(table: Table, wanted: Preprocessing) -> tuple[Table, Encoding, str]:
    """The table (coded, if it is seen column by column), its encoding, and a sentence on what was decided.

    Raises:
        DataError: when a choice does not fit the data.
    """
    counts = wanted.likelihood == "auto" and not wanted.binarize and is_sparse_of_counts(table)
    if table.coded is None and not (wanted.by_columns or counts):
        if table.native is None or wanted.binarize or wanted.scaling != "standard":
            return _of_numbers(table.dense(), wanted)
        table = by_its_types(table, wanted.likelihood)
    _check(table, wanted)
    table, names = _with_names(table, wanted)
    schema: Any = table.coded
    n = len(wanted.condition)
    wanted = replace(wanted, condition=tuple(names[:n]), exposure=names[n] if names[n:] else wanted.exposure)
    if wanted.likelihood == "auto" and not wanted.by_columns:
        wanted = replace(wanted, likelihood=_of_row(schema))
    encoding = make_columns_encoding(table, schema, wanted)
    if wanted.exposure is not None:
        _check_exposure(encoding, wanted.exposure, table)
    return replace(table, coded=encoding.schema), encoding, _sentence(table, encoding, wanted)


def _sentence(table: Table, encoding: ColumnwiseEncoding, wanted: Preprocessing) -> str:
    if encoding.likelihood == "gaussian" and not wanted.given:
        return _gaussian_sentence(table, binary=first_outside(table, "binary") is None)
    if encoding.likelihood == "bernoulli" and not wanted.given:
        return _bernoulli_sentence(binarize=False)
    by_total = wanted.exposure == TOTAL or wanted.likelihood in MULTINOMIALS
    under = " Counts are under the total of their row, which is given too." if by_total else ""
    return encoding.sentence + under


def by_its_types(table: Table, likelihood: str) -> Table:
    """A frame of numbers coded as its schema says, without levels where a joint Gaussian is asked for; an array as it
    is."""
    if table.native is None or table.coded is not None:
        return table
    _require_likelihood(likelihood)
    require_finite(table)
    require_rows(table)
    if likelihood == "bernoulli" and first_outside(table, "binary") is not None:
        raise not_binary(table)
    seen = coded(table)
    schema: Any = seen.coded
    real = {column.name: "real" for column in schema.modelled if column.type.levelled and likelihood == "gaussian"}
    return coded(table, infer_schema(table.native, types=real, source=table.source)) if real else seen


def on_a_line(table: Table) -> bool:
    """Whether it is an array, or a frame whose schema finds nothing but numbers: no levels, no dates."""
    if table.coded is not None or table.native is None:
        return table.coded is None
    schema: Any = coded(table).coded
    return not any(column.type.levelled or column.type.moments for column in schema.modelled)


def _of_row(schema: Any) -> str:
    """The likelihood of columns: that of a whole row where none says more than number, or 0 and 1."""
    columns = schema.modelled
    if all(column.levels is not None and {*column.levels} == {0, 1} and not column.family for column in columns):
        return "bernoulli"
    plain = all(column.type.any_number and not (column.point_masses or column.family) for column in columns)
    return "gaussian" if plain else "columns"


def _require_likelihood(word: str) -> None:
    if word not in OF_NUMBERS:
        raise complain("likelihood", f"be one of {listing(OF_NUMBERS)}", f"it is {word!r}", "choose one of these")


def how_modelled(table: Table) -> str:
    """One sentence: whether a fit takes a table column by column."""
    if table.coded is None and table.native is None:
        return "A fit takes an array as one block of numbers; with this schema it models each column by its type."
    told = {
        "gaussian": "A fit takes these columns, real numbers all, as one Gaussian vector.",
        "bernoulli": "A fit takes these columns, zeros and ones all, as one Bernoulli vector.",
        "columns": "A fit models each column by its type.",
    }
    return told[_of_row(coded(table, table.coded).coded)]


def _of_numbers(table: Table, wanted: Preprocessing) -> tuple[Table, Encoding, str]:
    likelihood, binarize = wanted.likelihood, wanted.binarize
    _require_likelihood(likelihood)
    facts, binary = summarised(table), first_outside(table, "binary") is None
    if binarize and likelihood == "gaussian":
        raise complain(
            "binarize", "go with a Bernoulli likelihood", "the likelihood is 'gaussian'", "leave out one of the two"
        )
    drawn = binarize and not binary
    if likelihood == "bernoulli" and not (binary or drawn):
        raise not_binary(table)
    gaussian = not drawn and (likelihood == "gaussian" or not binary)
    encoding = make_encoding(table, "gaussian" if gaussian else "bernoulli", drawn, wanted.scaling, facts)
    if gaussian:
        return table, encoding, _gaussian_sentence(table, binary)
    if drawn and (error := not_intensity(table, encoding.full)):
        raise error
    return table, encoding, _drawn_sentence(facts, encoding.full) if drawn else _bernoulli_sentence(binarize)


def _check(table: Table, wanted: Preprocessing) -> None:
    """Refuses choices that columns have no place for."""
    if wanted.likelihood in MULTINOMIALS and wanted.exposure not in (None, TOTAL):
        raise ValueError(
            f"exposure must be {TOTAL!r} (or nothing) for the likelihood {wanted.likelihood!r}, which is that of "
            f"counts given their sum; got {wanted.exposure!r}; leave it out."
        )
    if wanted.binarize:
        raise DataError(
            f"{table.source} must hold numbers alone, without exposure and conditions, for the binarize; leave one of "
            "the two out, or drop the columns that are no numbers."
        )


def _with_names(table: Table, wanted: Preprocessing) -> tuple[Table, list[str]]:
    """The table with its cells coded, and the names of what is given."""
    given = wanted.given
    if table.coded is not None:
        return coded(table, table.coded), [_named(key, table) for key in given]
    positions = [column_position(key, table.names, table.source) for key in given]
    counts = wanted.of_counts or (table.sparse and table.values.are_counts(tuple(positions)))
    if counts and table.container == "numpy" and wanted.likelihood != "gaussian":
        table = counted(table, given)
    table = coded(table.dense() if table.coded is None else table, table.coded)
    schema: Any = table.coded
    return table, [schema.names[j] for j in positions]


def _named(key: str | int, table: Table) -> str:
    """The name of a column of a coded table; one that was dropped keeps it."""
    schema: Any = table.coded
    if str(key) in schema.names:
        return str(key)
    return table.names[column_position(key, table.names, table.source)]


def is_sparse_of_counts(table: Table) -> bool:
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
            "log p(x) is a density, not to be compared with bits per dimension; the likelihood "
            "'bernoulli(binarize=True)' would draw black and white images and model them as Bernoulli."
        )
    if all(np.dtype(dtype).kind in "iub" for dtype in table.dtypes):
        return (
            "The values are whole numbers and are modelled as Gaussian: log p(x) is a density on a continuous scale, "
            "in nats and in the units of the data, not the probability of a count."
        )
    return (
        "The values are real numbers, so they are modelled as Gaussian: log p(x) is a density in the units of the data."
    )
