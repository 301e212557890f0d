"""Comma- and tab-separated text: every line must have as many fields as the first."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import polars as pl

from tightbound.data.cells.text import MISSING, is_number
from tightbound.data.errors import complain
from tightbound.data.names import default_names, require_unique


@final
@dataclass(frozen=True)
class Lines:
    """The text cut into lines: the names, and where in the file each row of data stands (first line is 1)."""

    names: tuple[str, ...]
    named: bool
    numbers: np.ndarray

    def words(self, row: int) -> str:
        """Words for a row of the frame."""
        return f"line {self.numbers[row]}"


def read_delimited(data: bytes, source: str, separator: str | None) -> tuple[pl.DataFrame, Lines]:
    """Delimited text as columns of numbers, or of text where something else stands there.

    The first line holds the names, unless every field of it is a number that is not simply the column's own number:
    then it is data. Blank lines are skipped. Empty cells and the usual words for missing (NA, NaN, null, ...) are
    missing.

    Args:
        data: the file's bytes, UTF-8.
        source: words for messages.
        separator: the character between fields; None finds out (comma, semicolon or tab).
    """
    data = _plain_utf8(data, source)
    separator = separator or _separator(data)
    frame, lines = (_read_quoted if b'"' in data else _read_plain)(data, separator, source)
    if len(frame) == 0:
        raise complain(source, "have rows of data", "only a header line came", "give at least one row below the names")
    return frame, lines


def text_of(data: bytes, source: str, tabs: bool = False) -> pl.DataFrame:
    """Delimited text as columns of text, exactly as it stands there; empty cells are empty text."""
    data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    data = _plain_utf8(data, source)
    return _read_quoted(data, "\t" if tabs else _separator(data), source)[0]


def _plain_utf8(data: bytes, source: str) -> bytes:
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise complain(
            source,
            "be text in UTF-8",
            f"line {line} holds the byte 0x{data[error.start]:02x}, which is none",
            "save the file as UTF-8 (iconv -f latin1 -t utf-8 does that for most older files)",
        ) from None
    if not data.strip():
        raise complain(source, "hold a table", "the file is empty", "give a file with a line of names and rows of data")
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _separator(data: bytes) -> str:
    first = data.lstrip(b"\n").split(b"\n", 1)[0]
    found = [mark for mark in (",", ";", "\t") if mark.encode() in first]
    return found[0] if found else ","


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
    if all(is_number(name) for name in names) and names != counted:
        return default_names(len(names)), False
    names = [name or f"unnamed_{i}" for i, name in enumerate(names)]
    require_unique(names, source)
    return tuple(names), True


def _read_quoted(data: bytes, separator: str, source: str) -> tuple[pl.DataFrame, Lines]:
    """Text with quotes in it: slower, through the csv module, which knows what a quoted line break is."""
    reader = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=separator, strict=True)
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
    return _decimal_points(pl.DataFrame(columns), separator), Lines(
        names, named, np.array(numbers[1:] if named else numbers)
    )


def _decimal_points(frame: pl.DataFrame, separator: str) -> pl.DataFrame:
    # Where a semicolon separates the fields, the comma is the decimal point of what would be a number with a point.
    if separator != ";":
        return frame
    number = r"^\s*[-+]?(\d+,\d*|,\d+)([eE][-+]?\d+)?\s*$"
    text = pl.col(pl.String)
    pointed = text.str.replace(",", ".", literal=True)
    return frame.with_columns(pl.when(text.str.contains(number)).then(pointed).otherwise(text))


def _read_plain(data: bytes, separator: str, source: str) -> tuple[pl.DataFrame, Lines]:
    """Text without quotes: every line break is a row, so that whole columns are read at once."""
    data, numbers = _rectangular(data, separator, source)
    first, _, rest = data.partition(b"\n")
    names, named = _header(first.decode("utf-8").split(separator), source)
    body, numbers = (rest, numbers[1:]) if named else (data, numbers)
    frame = _decimal_points(_read_columns(body, separator, names), separator)
    return frame, Lines(names, named, numbers)


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
    options |= {"new_columns": list(names), "decimal_comma": separator == ";"}
    try:
        frame = pl.read_csv(io.BytesIO(body), null_values=list(MISSING), infer_schema_length=10_000, **options)
    except pl.exceptions.PolarsError:  # a later row contradicts the types of the first ten thousand
        frame = pl.DataFrame()
    if frame.is_empty() or pl.String in frame.dtypes:
        frame = pl.read_csv(io.BytesIO(body), infer_schema=False, **options)
    return frame
