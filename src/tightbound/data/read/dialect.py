"""How a text cuts its rows into fields: its encoding, the mark between fields, and where its lines begin."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

from tightbound.data.cells.text import MISSING
from tightbound.data.errors import DataError, complain

MARKS = (",", ";", "\t", "|")
SAMPLE = 200_000
"""Bytes at the beginning of a text by which its marks are judged."""
MOST_RECORDS = 1_000

_UNICODE = (  # that of UTF-32 begins as that of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_UNCUT = re.compile(r'[,;\t|](?! )|"')
"""What a field would not hold if it were cut at the right mark; a comma before a space is one of a sentence."""
_NUMERAL = re.compile(r"[-+(]?[$€£¥₹]? ?\d[\d.,' ]*(?:[eE][-+]?\d+)? ?[%$€£¥₹)]?")


@final
@dataclass(frozen=True)
class Dialect:
    """What stands between the fields of a row.

    Attributes:
        separator: the mark.
        spaced: whether a space may stand between it and a quote.
    """

    separator: str
    spaced: bool = False

    def records(self, text: Iterable[str], *, strict: bool = False) -> Any:
        """The fields of lines (with their ends), record by record."""
        return csv.reader(text, delimiter=self.separator, skipinitialspace=self.spaced, strict=strict)


def decoded(data: bytes, source: str) -> bytes:
    """The same text in UTF-8, by its byte order mark if it has one, with line feeds at the ends of its lines."""
    name = next((name for mark, name in _UNICODE if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(name)
    except UnicodeDecodeError as error:
        raise _undecodable(data, name, error, source) from None
    if not text or text.isspace():
        raise complain(source, "hold a table", "the file is empty", "give a file with a line of names and rows of data")
    if "\0" in text:
        raise complain(
            source,
            "be text in UTF-8, or in UTF-16 that begins with a byte order mark",
            f"line {text.count(chr(10), 0, text.index(chr(0))) + 1} holds a zero byte",
            "save it as UTF-8 (iconv -f utf-16le -t utf-8 does that for most files of that kind)",
        )
    data = data if name == "utf-8" else text.encode()
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _undecodable(data: bytes, name: str, error: UnicodeDecodeError, source: str) -> DataError:
    if not name.startswith("utf-8"):
        must = f"be whole text in {name.upper()}, as its byte order mark says"
        return complain(source, must, f"it is none from byte {error.start} on", "save it anew, as UTF-8")
    line = data.count(b"\n", 0, error.start) + 1
    return complain(
        source,
        "be text in UTF-8",
        f"line {line} holds the byte 0x{data[error.start]:02x}, which is none",
        "save the file as UTF-8 (iconv -f latin1 -t utf-8 does that for most older files)",
    )


def said_separator(data: bytes) -> tuple[str | None, bytes]:
    """The mark that a first line "sep=;" names, as spreadsheets write it, and the text with that line blank."""
    first, _, rest = data.partition(b"\n")
    found = re.fullmatch(rb'"?sep=(.)"?', first.strip(b" "), re.IGNORECASE)
    return (found[1].decode(), b"\n" + rest) if found and found[1].isascii() else (None, data)


def dialect_of(data: bytes) -> Dialect:
    """The dialect that cuts the lines of a text alike, into fields that hold no mark any more.

    Marks that cut all records into the same number of fields go before those that cut most of them so, and among
    either those whose fields are numbers, words and blanks, as far as the fields of others are.
    """
    sample = data[:SAMPLE].decode("utf-8", errors="ignore")
    lines = [line for line in sample.splitlines(keepends=True) if line.strip()]
    if len(data) > SAMPLE and len(lines) > 1:
        lines = lines[:-1]
    found = [Dialect(mark) for mark in MARKS if mark in sample]
    found += [Dialect(each.separator, True) for each in found if f'{each.separator} "' in sample]
    return max(found, key=lambda each: _fitness(each, lines), default=Dialect(","))


def _fitness(dialect: Dialect, lines: Sequence[str]) -> tuple[bool, float]:
    """Whether all records have as many fields, more than one; and how well they are cut."""
    try:
        records = [record for record, _ in zip(dialect.records(lines), range(MOST_RECORDS), strict=False)]
    except csv.Error:  # a field without end: a quote is taken for the beginning of one
        return False, 0.0
    (usual, often), *_ = Counter(map(len, records)).most_common(1)
    if usual == 1:
        return False, 0.0
    fields = [field for record in records[:100] for field in record]
    return often == len(records), often / len(records) * sum(map(_sense, fields)) / len(fields)


def _sense(field: str) -> float:
    """1 for a number, a word or nothing; less for what might have been cut at another mark."""
    if field in MISSING or _NUMERAL.fullmatch(field.strip()):
        return 1.0
    if _UNCUT.search(field):
        return 0.0
    return 0.5 if field.startswith(" ") else 1.0
