"""Text that spells numbers, in the ways that programs, people and spreadsheets write them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import polars as pl

from tightbound.data.errors import complain, shorten

# What people and programs write into a cell that has no value (pandas reads the same words so).
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None", "<NA>", "#N/A")


EXACT = 2**53
"""Whole numbers beyond this have no exact float64, and are codes rather than magnitudes."""


def is_number(text: str) -> bool:
    """True when the text spells a number."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000 as a number; tables do not


def numbers_from_text(
    texts: pl.Series, *, source: str, name: str, where: Callable[[int], str], usual: str = "."
) -> tuple[np.ndarray, str]:
    """A column of text as numbers, and the dtype name that fits it.

    Whole numbers give int64, `true`/`false` give bool, all else float64; with missing cells the numbers are float64
    with NaN, and the name stays that of what was written.

    Args:
        texts: one text a row, None for missing.
        source, name: words for the table and the column.
        where: words for a row number.
        usual: the decimal mark to assume where the column could be read with either.

    Raises:
        DataError: naming the first cell that is not a number.
    """
    column = texts.str.strip_chars()
    column = column.set(column.is_in(MISSING), None)
    found = _cast(column) if usual == "." else None
    if found is None:
        found = _cast(_plain_where_read(column, usual))
    if found is not None:
        return found
    row = int((~most_numerals(column)).arg_max() or 0)
    raise not_a_number(source, name, where(row), column[row])


def _cast(column: pl.Series) -> tuple[np.ndarray, str] | None:
    """Numbers as programs write them, or `true` and `false`, with their dtype name; None for anything else."""
    for dtype, kind in ((pl.Int64, "int64"), (pl.Float64, "float64")):
        numbers = column.cast(dtype, strict=False)
        if numbers.null_count() == column.null_count() and (kind == "float64" or column.null_count() < len(column)):
            return _with_missing(numbers, kind)
    lower = column.str.to_lowercase()
    return _with_missing(lower == "true", "bool") if lower.is_in(["true", "false"]).all() else None


def _plain_where_read(column: pl.Series, usual: str) -> pl.Series:
    """Numerals of one format, without a unit, as programs write them; any other column as it is."""
    style = number_format(distinct(column), usual) if column.null_count() < len(column) else None
    return column if style is None or unit_of(style) else _plainly(column, style)


def distinct(texts: pl.Series) -> pl.Series:
    """The different texts, stripped and in order."""
    return texts.drop_nulls().str.strip_chars().unique().sort()


def _with_missing(numbers: pl.Series, kind: str) -> tuple[np.ndarray, str]:
    if numbers.null_count() == 0:
        return numbers.to_numpy(), kind
    return numbers.cast(float).fill_null(np.nan).to_numpy(), kind


def not_a_number(source: str, name: str, where: str, value: object) -> Exception:
    """The error for a cell that holds text where a number belongs."""
    return complain(
        f"Column {name!r} of {source}",
        "hold numbers",
        f"{where} holds {shorten(value)}",
        "correct it (an empty cell is a missing value), or drop the column, use it as the label, or say in a schema "
        "what it holds",
    )


@final
@dataclass(frozen=True)
class NumberFormat:
    """How a column of text spells its numbers.

    Attributes:
        decimal: the decimal mark, "." or ",".
        thousands: the mark between groups of three digits, "" for none.
        prefix, suffix: what stands around every number: "$", " EUR", "%".
        places: digits after the decimal mark, when every cell has as many; None for as many as needed.
        pointed: True when whole numbers have a decimal as well: "3.0".
    """

    decimal: str = "."
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""
    places: int | None = None
    pointed: bool = False

    @property
    def plain(self) -> bool:
        """True when numbers are written as programs write them."""
        return self.decimal == "." and not (self.thousands or self.prefix or self.suffix)

    def spell(self, number: float) -> str:
        """The number as text."""
        if self.places is not None:
            digits = f"{number:{',' if self.thousands else ''}.{self.places}f}"
        else:
            plain = repr(int(number)) if number == int(number) and abs(number) < 1e16 else repr(number)
            digits = f"{int(number):,}" + plain.lstrip("-0123456789") if self.thousands else plain
            digits = f"-{digits}" if self.thousands and -1 < number < 0 else digits
            digits += ".0" if self.pointed and digits.lstrip("-").replace(",", "").isdigit() else ""
        digits = digits.replace(",", "\0").replace(".", self.decimal).replace("\0", self.thousands)
        sign, body = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
        return f"{sign}{self.prefix}{body}{self.suffix}"


_SPACE, _APOSTROPHE = "[ \u00a0\u202f]", "['’]"
_GROUPS = r"[1-9][0-9]{0,2}(?:%s[0-9]{3})+"
_TEN = r"(?:[eE][-+]?[0-9]+)?"
_NO_GROUP = r"(?:0|[0-9]{4,})\.[0-9]+|[0-9]+\.(?:[0-9]{1,2}|[0-9]{4,})"
"""A point that can stand before no group of three digits."""

# Decimal mark, thousands mark, and what may stand between sign and unit. Tried in this order, those with the usual
# decimal mark of the table first; the first that reads every cell is taken, so that "1,234" is a thousand unless some
# cell of the column ("1,5", "0,123"), or else the rest of the table, says otherwise.
_STYLES = (
    (".", "", rf"[0-9]+(?:\.[0-9]*)?{_TEN}|\.[0-9]+{_TEN}"),
    (".", ",", rf"{_GROUPS % ','}(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?"),
    (",", "", rf"[0-9]+(?:,[0-9]*)?{_TEN}|,[0-9]+{_TEN}|(?:{_NO_GROUP}){_TEN}"),
    (",", ".", rf"{_GROUPS % '[.]'}(?:,[0-9]+)?|[0-9]+(?:,[0-9]+)?"),
    (",", " ", rf"{_GROUPS % _SPACE}(?:,[0-9]+)?|[0-9]+(?:,[0-9]+)?"),
    (".", " ", rf"{_GROUPS % _SPACE}(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?"),
    (".", "'", rf"{_GROUPS % _APOSTROPHE}(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?"),
)
_UNITS = r"USD|EUR|GBP|CHF|JPY"
_BEFORE = rf"^(?P<sign>[-+]?)(?P<prefix>(?:[$€£¥₹] ?|(?:{_UNITS}) )?)(?P<inner>[-+]?)"
_AFTER = rf"(?P<suffix>(?: ?%| ?[$€£¥₹]| (?:{_UNITS}))?)$"
_PATTERNS = {(mark, group): f"{_BEFORE}(?P<body>{body}){_AFTER}" for mark, group, body in _STYLES}
# Cells that only one of the two decimal marks can read.
_SURELY = {
    ",": r"(?:^|[^0-9.,])0?,[0-9]|[0-9]{4},[0-9]|[0-9],[0-9]{1,2}(?:[^0-9]|$)|,[0-9]{4}|\.[0-9]{3}[.,]",
    ".": r"(?:^|[^0-9.,])0?\.[0-9]|[0-9]{4}\.[0-9]|[0-9]\.[0-9]{1,2}(?:[^0-9]|$)|\.[0-9]{4}|,[0-9]{3}[.,]",
}


def usual_decimal(columns: Iterable[pl.Series], semicolons: bool = False) -> str:
    """The decimal mark of a table's numerals, "." or ",", for columns that could be read either way ("1,234").

    Args:
        columns: texts, stripped, different and not null.
        semicolons: whether they came from a file with semicolons between fields, as are written where commas are
            decimal marks.
    """
    numerals = [texts for texts in columns if texts.len() and number_format(texts) is not None]
    sure = {mark for mark, cells in _SURELY.items() if any(bool(texts.str.contains(cells).any()) for texts in numerals)}
    commas = any(bool(texts.str.contains(",", literal=True).any()) for texts in numerals)
    return "," if sure == {","} or (semicolons and not sure and commas) else "."


def western(texts: pl.Series) -> pl.Series:
    """Texts with the digits of all scripts, full-width forms and the minus sign as their ASCII counterparts."""
    if not bool(texts.str.contains(r"[^\x00-\x7f]").any()):
        return texts
    found = {mark: _western(mark) for mark in set("".join(texts.drop_nulls().unique())) if not mark.isascii()}
    changed = {mark: plain for mark, plain in found.items() if mark != plain}
    return texts.str.replace_many(changed) if changed else texts


def _western(mark: str) -> str:
    digit = unicodedata.decimal(mark, None)
    if digit is not None:
        return str(digit)
    if mark == "−":
        return "-"
    return chr(ord(mark) - 0xFEE0) if "！" <= mark <= "～" else mark


def is_code(texts: pl.Series) -> bool:
    """True for digits of one length of which some begin with 0: "007", "01234" are codes, and no numbers."""
    zero = texts.str.contains(r"^0\d+$")
    return bool(zero.any()) and bool(texts.str.contains(r"^\d+$").all()) and texts.str.len_chars().n_unique() == 1


def are_codes(series: pl.Series) -> bool:
    """True for whole numbers that float64 does not hold: digits that begin with 0, and numbers beyond 2^53."""
    if series.dtype.is_integer():
        return bool((series.cast(pl.Int128).abs() > EXACT).any())
    if series.dtype != pl.String:
        return False
    texts = distinct(series)
    texts = texts.filter(~texts.is_in(MISSING))
    return texts.len() > 0 and (is_code(texts) or beyond_exact(texts))


def beyond_exact(texts: pl.Series) -> bool:
    """True for texts that are whole numbers all, some of them beyond 2^53."""
    long = texts.filter(texts.str.len_chars() > 15)
    if not long.len() or not bool(texts.str.contains(r"^[-+]?\d+$").all()):
        return False
    return any(abs(int(text)) > EXACT for text in long)


def plain_numbers(texts: pl.Series) -> np.ndarray:
    """Numbers written as programs write them; NaN where a text is none."""
    spelled = texts.str.contains(r"^[-+]?(\d|\.\d|[iI]nf)")
    numbers = texts.str.strip_prefix("+").cast(pl.Float64, strict=False).set(~spelled, None)
    return np.asarray(numbers.to_numpy())


def number_format(texts: pl.Series, usual: str = ".") -> NumberFormat | None:
    """The one format in which every text is a number, or None.

    Args:
        texts: stripped, different and not null.
        usual: the decimal mark to assume where every text could be read with either.
    """
    texts = western(texts)
    if is_code(texts) or beyond_exact(texts):
        return None
    if not np.isnan(plain_numbers(texts)).any():
        if usual == "," and _all_groups(texts):
            return NumberFormat(",", ".")
        return NumberFormat(places=_places(texts.to_list(), "."), pointed=bool(texts.str.contains(r"\.").all()))
    if not bool(texts.str.contains("[0-9]").all()):
        return None
    for mark, group in sorted(_PATTERNS, key=lambda style: style[0] != usual):
        if found := _in_style(texts, mark, group):
            return found
    return None


def _all_groups(texts: pl.Series) -> bool:
    """Whether every point could stand before a group of three digits."""
    pointed = texts.filter(texts.str.contains(".", literal=True))
    return pointed.len() > 0 and bool(pointed.str.contains(rf"^[-+]?{_GROUPS % '[.]'}$").all())


def _in_style(texts: pl.Series, mark: str, group: str) -> NumberFormat | None:
    pattern = _PATTERNS[mark, group]
    if not bool(texts.str.contains(pattern).all()):
        return None
    parts = texts.str.extract_groups(pattern).struct.unnest()
    if bool(((parts["sign"] != "") & (parts["inner"] != "")).any()):
        return None
    prefix, suffix = (set(parts[name].unique()) - {""} for name in ("prefix", "suffix"))
    if len(prefix) > 1 or len(suffix) > 1 or (prefix and suffix):
        return None  # two currencies are two scales
    bodies = parts["body"].to_list()
    return NumberFormat(mark, group, "".join(prefix), "".join(suffix), _places(bodies, mark), _all_marked(bodies, mark))


def _all_marked(words: Sequence[str], mark: str) -> bool:
    return all(mark in word for word in words)


def _places(words: Sequence[str], mark: str) -> int | None:
    lengths = {len(word) - 1 - word.rfind(mark) if mark in word else 0 for word in words}
    plain = all("e" not in word and "E" not in word for word in words)
    return lengths.pop() or None if len(lengths) == 1 and plain else None


def read_numbers(texts: pl.Series, style: NumberFormat) -> np.ndarray:
    """Texts as float64; NaN for null and for what is not spelled so."""
    return plain_numbers(_plainly(texts, style))


def numbers_like(texts: pl.Series, style: NumberFormat) -> np.ndarray:
    """Texts as float64 in a style or, where it does not read them all, in the only one that does; NaN for the rest."""
    numbers = read_numbers(texts, style)
    if not (np.isnan(numbers) & texts.is_not_null().to_numpy()).any():
        return numbers
    one, other = (number_format(distinct(texts), usual) for usual in ".,")
    if one is None or one != other or unit_of(one) not in ("", unit_of(style)):
        return numbers
    return read_numbers(texts, one)


def most_numerals(texts: pl.Series) -> pl.Series:
    """Which texts spell a number in the format that most are in; null where there is no text."""
    plain = western(texts.str.strip_chars())
    found = (plain.str.contains(pattern) for pattern in _PATTERNS.values())
    return max(found, key=lambda spelled: int(spelled.sum() or 0))


def _plainly(texts: pl.Series, style: NumberFormat) -> pl.Series:
    """Numerals as programs write them; null for what is not spelled so."""
    text = western(texts.str.strip_chars())
    if style.plain:
        return text
    if pattern := _PATTERNS.get((style.decimal, style.thousands)):
        text = text.set(~text.str.contains(pattern), None)
    for unit in (style.prefix.strip(), style.suffix.strip()):
        text = text.str.replace(unit, "", literal=True) if unit else text
    text = text.str.replace_all(r"[\s'’]" if style.thousands in (" ", "'") else r"\s", "")
    if style.thousands in (",", "."):
        text = text.str.replace_all(style.thousands, "", literal=True)
    return text.str.replace(",", ".", literal=True) if style.decimal == "," else text


def unit_of(style: NumberFormat) -> str:
    """The unit that stands beside every number: "%", "$", "EUR", or ""."""
    return (style.prefix or style.suffix).strip()
