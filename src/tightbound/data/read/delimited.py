"""Comma- and tab-separated text: every line must have as many fields as the first."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import polars as pl

from tightbound.data.cells.text import EXACT, MISSING, are_codes, is_number, most_numerals
from tightbound.data.errors import complain
from tightbound.data.names import default_names, require_unique
from tightbound.data.read.dialect import Dialect, decoded, dialect_of, said_separator


@final
@dataclass(frozen=True)
class Lines:
    """The text cut into lines.

    Attributes:
        names: of the columns.
        named: whether they stand there.
        numbers: where in the file each row of data stands; the first line is 1.
        semicolons: whether semicolons stand between the fields.
    """

    names: tuple[str, ...]
    named: bool
    numbers: np.ndarray
    semicolons: bool

    def words(self, row: int) -> str:
        """Words for a row of the frame."""
        return f"line {self.numbers[row]}"


def read_delimited(data: bytes, source: str, separator: str | None) -> tuple[pl.DataFrame, Lines]:
    """Delimited text as columns of numbers, or of text, exactly as it stands there, where any column holds other cells.

    The first line holds the names, unless every field of it is a number that is not simply the column's own number:
    then it is data. Blank lines are skipped. Empty cells and the usual words for missing (NA, NaN, null, ...) are
    missing.

    Args:
        data: the file's bytes: UTF-8, or what its byte order mark says.
        source: words for messages.
        separator: the character between fields; None finds out (see `dialect_of`).
    """
    data, dialect = _understood(data, source, separator)
    read = _read_quoted if b'"' in data or len(dialect.separator.encode()) > 1 else _read_plain
    frame, lines = read(data, dialect, source)
    if len(frame) == 0:
        raise complain(source, "have rows of data", "only a header line came", "give at least one row below the names")
    return frame, lines


def text_of(data: bytes, source: str, tabs: bool = False) -> pl.DataFrame:
    """Delimited text as columns of text, exactly as it stands there; empty cells are empty text."""
    data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    data, dialect = _understood(data, source, "\t" if tabs else None)
    return _read_quoted(data, dialect, source)[0]


def _understood(data: bytes, source: str, separator: str | None) -> tuple[bytes, Dialect]:
    said, data = said_separator(decoded(data, source))
    mark = said or separator
    return data, dialect_of(data) if mark is None else Dialect(mark)


def _ragged(source: str, line: object, expected: int, found: int) -> Exception:
    return complain(
        source,
        f"have {expected} field(s) on every line, as on the first",
        f"line {line} has {found}",
        "mend that line (a field that contains the separator needs quotes around it)",
    )


def _header(fields: Sequence[str], source: str) -> tuple[tuple[str, ...], bool]:
    """The column names, and whether they are names (a first line of numbers is data)."""
    names = [field.strip() for field in fields]
    counted = [str(i) for i in range(len(names))]
    if all(map(_is_numeral, names)) and names != counted:
        return default_names(len(names)), False
    names = [name or f"unnamed_{i}" for i, name in enumerate(names)]
    require_unique(names, source)
    return tuple(names), True


def _is_numeral(text: str) -> bool:
    return is_number(text) or bool(most_numerals(pl.Series([text]))[0])


def _read_quoted(data: bytes, dialect: Dialect, source: str) -> tuple[pl.DataFrame, Lines]:
    """Text with quotes in it: slower, through the csv module, which knows what a quoted line break is."""
    reader = dialect.records(io.StringIO(data.decode("utf-8"), newline=""), strict=True)
    rows: list[list[str]] = []
    numbers: list[int] = []
    try:
        for row in reader:
            if row:
                rows.append(row)
                numbers.append(reader.line_num)
            if row and len(row) != len(rows[0]):
                raise _ragged(source, reader.line_num, len(rows[0]), len(row))
    except csv.Error as error:
        raise complain(
            source, "be well-formed text", f"line {reader.line_num} is not ({error})", "mend its quotes"
        ) from None
    names, named = _header(rows[0], source)
    body = rows[1:] if named else rows
    columns = {name: pl.Series(name, [row[j] for row in body], dtype=pl.String) for j, name in enumerate(names)}
    frame = pl.DataFrame(columns)
    return frame, Lines(names, named, np.array(numbers[1:] if named else numbers), dialect.separator == ";")


def _read_plain(data: bytes, dialect: Dialect, source: str) -> tuple[pl.DataFrame, Lines]:
    """Text without quotes: every line break is a row, so that whole columns are read at once."""
    separator = dialect.separator
    data, numbers = _rectangular(data, separator, source)
    first, _, rest = data.partition(b"\n")
    names, named = _header(first.decode("utf-8").split(separator), source)
    body, numbers = (rest, numbers[1:]) if named else (data, numbers)
    return _read_columns(body, separator, names), Lines(names, named, numbers, separator == ";")


def _rectangular(data: bytes, separator: str, source: str) -> tuple[bytes, np.ndarray]:
    """The text without blank lines, and the numbers of its lines; refuses a line of another length."""
    data = data if data.endswith(b"\n") else data + b"\n"
    characters = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    numbers = np.arange(1, len(ends) + 1)
    blank = starts == ends
    if blank.any():
        data = b"".join(line for line in data.splitlines(keepends=True) if line != b"\n")
        numbers = numbers[~blank]
        characters = np.frombuffer(data, dtype=np.uint8)
        starts = np.concatenate([[0], np.flatnonzero(characters == ord("\n"))[:-1] + 1])
    fields = np.add.reduceat(characters == ord(separator), starts, dtype=np.int64) + 1
    wrong = np.flatnonzero(fields != fields[0])
    if len(wrong):
        raise _ragged(source, numbers[wrong[0]], int(fields[0]), int(fields[wrong[0]]))
    return data, numbers


def _read_columns(body: bytes, separator: str, names: Sequence[str]) -> pl.DataFrame:
    """Columns with the types that polars finds, or as text where it finds something other than numbers."""
    schema = dict.fromkeys(names, pl.String)
    if not body:
        return pl.DataFrame(schema=schema)
    options: dict[str, Any] = {"separator": separator, "has_header": False, "quote_char": None}
    options |= {"new_columns": list(names)}
    try:
        frame = pl.read_csv(io.BytesIO(body), null_values=list(MISSING), infer_schema_length=10_000, **options)
    except pl.exceptions.PolarsError:  # a later row contradicts the types of the first ten thousand
        frame = pl.DataFrame()
    if frame.is_empty() or pl.String in frame.dtypes or _zero_first(body, separator):
        return pl.read_csv(io.BytesIO(body), infer_schema=False, **options)
    vast = [column.name for column in frame if column.dtype.is_float() and (column.abs() >= EXACT).any()]
    if not vast:
        return frame
    text = pl.read_csv(io.BytesIO(body), infer_schema=False, **options)
    return text if any(are_codes(text[name]) for name in vast) else frame


def _zero_first(body: bytes, separator: str) -> bool:
    """Whether some field is digits that begin with 0: a code, and no number."""
    return re.search(rb"(?:^|[\n%b])0[0-9]" % re.escape(separator.encode()), body) is not None
