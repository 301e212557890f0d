"""Which likelihood fits the data, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from tightbound.data.errors import complain, listing
from tightbound.data.schema import Schema
from tightbound.data.table import Table

LIKELIHOODS = ("auto", "gaussian", "bernoulli")


@final
@dataclass(frozen=True)
class Decision:
    """The likelihood that was decided on.

    Attributes:
        likelihood: "gaussian" or "bernoulli".
        binarize: True when intensities are turned into 0/1 at random, each with its intensity as probability.
        sentence: what was decided and why.
    """

    likelihood: str
    binarize: bool
    sentence: str


def decide_likelihood(table: Table, schema: Schema, likelihood: str = "auto", binarize: bool = False) -> Decision:
    """The likelihood to model the data with.

    Args:
        table: the data.
        schema: what `infer_schema` says of them.
        likelihood: "auto", "gaussian" or "bernoulli". "auto" takes Bernoulli when every value is 0 or 1 and Gaussian
            otherwise.
        binarize: draw every value as 0/1 with probability value/255 (or the value itself when all lie in [0, 1]) and
            model the draws as Bernoulli.

    Raises:
        DataError: when the choice does not fit the data.
    """
    if likelihood not in LIKELIHOODS:
        raise complain(
            "likelihood", f"be one of {listing(LIKELIHOODS)}", f"it is {likelihood!r}", "choose one of these"
        )
    binary = first_outside(table, "binary") is None
    if binarize and likelihood == "gaussian":
        raise complain(
            "binarize", "go with a Bernoulli likelihood", "the likelihood is 'gaussian'", "leave out one of the two"
        )
    if binarize and not binary:
        return _binarized(table, schema)
    if likelihood == "bernoulli" and not binary:
        raise not_binary(table)
    if binary and likelihood != "gaussian":
        return _bernoulli(binarize)
    return Decision("gaussian", False, _gaussian_sentence(table, schema, binary))


def intensity_scale(schema: Schema) -> int:
    """255 when the columns hold 8-bit intensities, 1 when they hold intensities between 0 and 1."""
    return 255 if max((column.maximum or 0.0) for column in schema.columns) > 1 else 1


def first_outside(table: Table, allowed: str) -> tuple[int, int] | None:
    """Row and column of the first observed value that is not allowed.

    Args:
        table: the data.
        allowed: "binary" (0 or 1), "intensity255" (whole numbers from 0 to 255) or "intensity1" (from 0 to 1).
    """
    values = table.values
    if values.dtype == bool:
        return None
    if values.dtype.kind in "iu":
        bad = (values < 0) | (values > (255 if allowed == "intensity255" else 1))
    elif allowed == "binary":
        bad = (values != 0) & (values != 1) & ~np.isnan(values)
    elif allowed == "intensity1":
        bad = (values < 0) | (values > 1)
    else:
        bad = (values < 0) | (values > 255) | ((values != np.floor(values)) & ~np.isnan(values))
    if not bad.any():
        return None
    row, column = np.unravel_index(int(bad.argmax()), bad.shape)
    return int(row), int(column)


def not_binary(table: Table) -> Exception:
    """The error for a Bernoulli likelihood on values other than 0 and 1."""
    row, column = first_outside(table, "binary") or (0, 0)
    eight_bit = first_outside(table, "intensity255") is None or first_outside(table, "intensity1") is None
    advice = "use the likelihood 'gaussian'"
    if eight_bit:
        advice += ", or binarize=True to draw each pixel as 0/1 with its brightness as probability"
    return complain(
        table.source,
        "hold only 0 and 1 (or missing cells) for a Bernoulli likelihood",
        f"{table.cell(row, column)} holds {table.values[row, column]:g}",
        advice,
    )


def not_intensity(table: Table, scale: int) -> Exception | None:
    """The error for values that cannot be binarised, or None when all can."""
    at = first_outside(table, f"intensity{scale}")
    if at is None:
        return None
    kind = "whole numbers from 0 to 255" if scale == 255 else "values from 0 to 1, as the fitted ones"
    return complain(
        table.source,
        f"hold {kind} to be binarised (or only values from 0 to 1)",
        f"{table.cell(*at)} holds {table.values[at]:g}",
        "rescale the values, or leave out binarize",
    )


def _bernoulli(binarize: bool) -> Decision:
    sentence = "Every value is 0 or 1, so each column is modelled as Bernoulli: log p(x) is the log of a probability."
    if binarize:
        sentence += " There is nothing to binarise."
    return Decision("bernoulli", False, sentence)


def _binarized(table: Table, schema: Schema) -> Decision:
    scale = intensity_scale(schema)
    if error := not_intensity(table, scale):
        raise error
    share = "value/255" if scale == 255 else "value"
    largest = max(column.maximum or 0.0 for column in schema.columns)
    sentence = (
        f"Each value is drawn as 0 or 1, with probability {share}, anew every time it is used for fitting and once for "
        "scoring; the draws are modelled as Bernoulli, so log p(x) is the log-probability of a binary image."
    )
    if scale == 255 and largest < 128:
        sentence += (
            f" The largest value is only {largest:g} of 255, so most draws are 0: rescale the values to 0..255 if that "
            "is not meant."
        )
    return Decision("bernoulli", True, sentence)


def _gaussian_sentence(table: Table, schema: Schema, binary: bool) -> str:
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
    if all(np.dtype(column.dtype).kind in "iub" for column in schema.columns):
        return (
            "The values are whole numbers and are modelled as Gaussian: log p(x) is a density on a continuous scale, "
            "in nats and in the units of the data, not the probability of a count."
        )
    return (
        "The values are real numbers, so they are modelled as Gaussian: log p(x) is a density in the units of the data."
    )
