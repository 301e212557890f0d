"""Text that spells numbers, in the ways that people and spreadsheets write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from tightbound.data.types.column import NumberFormat

_BEFORE = r"(?P<sign>[-+−]?)(?P<prefix>(?:[$€£¥₹]|(?:USD|EUR|GBP|CHF|JPY)(?= ))? ?)(?P<inner>[-+−]?)"
_AFTER = r"(?P<suffix> ?%| ?[$€£¥₹]| (?:USD|EUR|GBP|CHF|JPY))?"

# Decimal mark, thousands mark, and what may stand between sign and unit. Tried in this order; the first that reads
# every cell is taken, so that "1,234" is a thousand unless some cell says otherwise ("1,5", "0,123").
_STYLES = (
    (".", "", r"\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+"),
    (".", ",", r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"),
    (",", "", r"\d+(?:,\d+)?"),
    (",", ".", r"[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?|\d+(?:,\d+)?"),
    (",", " ", r"[1-9]\d{0,2}(?:[ \u00a0\u202f]\d{3})+(?:,\d+)?|\d+(?:,\d+)?"),
    (".", " ", r"[1-9]\d{0,2}(?:[ \u00a0\u202f]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"),
    (".", "'", r"[1-9]\d{0,2}(?:['’]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"),
)
_PATTERNS = {(mark, group): re.compile(f"{_BEFORE}(?P<body>{body}){_AFTER}") for mark, group, body in _STYLES}
_DIGIT = re.compile(r"\d")


def is_code(texts: pl.Series) -> bool:
    """True for digits of one length of which some begin with 0: "007", "01234" are codes, and no numbers."""
    zero = texts.str.contains(r"^0\d+$")
    return bool(zero.any()) and bool(texts.str.contains(r"^\d+$").all()) and texts.str.len_chars().n_unique() == 1


def plain_numbers(texts: pl.Series) -> np.ndarray:
    """Numbers written as programs write them; NaN where a text is none."""
    spelled = texts.str.contains(r"^[-+]?(\d|\.\d|[iI]nf)")
    numbers = texts.str.strip_prefix("+").cast(pl.Float64, strict=False).set(~spelled, None)
    return np.asarray(numbers.to_numpy())


def number_format(texts: pl.Series) -> NumberFormat | None:
    """The one format in which every text is a number, or None; `texts` are stripped, different and not null."""
    if is_code(texts):
        return None
    if not np.isnan(plain_numbers(texts)).any():
        return NumberFormat(places=_places(texts.to_list(), "."), pointed=bool(texts.str.contains(r"\.").all()))
    words = texts.to_list()
    if not all(_DIGIT.search(word) for word in words[:20]):
        return None
    for mark, group in _PATTERNS:
        if found := _in_style(words, mark, group):
            return found
    return None


def _in_style(words: Sequence[str], mark: str, group: str) -> NumberFormat | None:
    prefixes, suffixes, bodies = set(), set(), []
    for word in words:
        match = _PATTERNS[mark, group].fullmatch(word)
        if match is None or (match["sign"] and match["inner"]):
            return None
        prefixes.add(match["prefix"] or "")
        suffixes.add(match["suffix"] or "")
        bodies.append(match["body"])
    prefix, suffix = prefixes - {""}, suffixes - {""}
    if len(prefix) > 1 or len(suffix) > 1 or (prefix and suffix):
        return None  # two currencies are two scales
    return NumberFormat(mark, group, "".join(prefix), "".join(suffix), _places(bodies, mark), _all_marked(bodies, mark))


def _all_marked(words: Sequence[str], mark: str) -> bool:
    return all(mark in word for word in words)


def _places(words: Sequence[str], mark: str) -> int | None:
    lengths = {len(word) - 1 - word.rfind(mark) if mark in word else 0 for word in words}
    plain = all("e" not in word and "E" not in word for word in words)
    return lengths.pop() or None if len(lengths) == 1 and plain else None


def read_numbers(texts: pl.Series, style: NumberFormat) -> np.ndarray:
    """Texts as float64; NaN for null and for what is not spelled so."""
    text = texts.str.strip_chars()
    if style.prefix or style.suffix or style.thousands or style.decimal != ".":
        text = text.str.replace_all("−", "-", literal=True)
        for unit in (style.prefix.strip(), style.suffix.strip()):
            text = text.str.replace(unit, "", literal=True) if unit else text
        text = text.str.replace_all(r"[\s'’]" if style.thousands in (" ", "'") else r"\s", "")
        if style.thousands in (",", "."):
            text = text.str.replace_all(style.thousands, "", literal=True)
        if style.decimal == ",":
            text = text.str.replace(",", ".", literal=True)
    return plain_numbers(text)


def unit_of(style: NumberFormat) -> str:
    """The unit that stands beside every number: "%", "$", "EUR", or ""."""
    return (style.prefix or style.suffix).strip()
